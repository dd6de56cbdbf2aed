"""Formats of image files by their suffix: what is read, what an extra reads, and what is not."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import features

__all__ = ["has_heif", "image_suffixes", "is_hidden_image", "is_image_name", "unread_format"]

_ALWAYS = frozenset({
    ".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
})  # fmt: skip
# Read where Pillow was built with their decoder, as its wheels are.
_BY_BUILD = {
    "avif": ("AVIF", frozenset({".avif", ".avifs"})),
    "jpg_2000": ("JPEG 2000", frozenset({".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"})),
}
_HEIF = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
# Camera raws, drawings and what else a folder of pictures holds.
_NEVER = frozenset({
    ".arw", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".exr", ".hdr", ".ico", ".jls", ".jxl", ".jxr", ".nef", ".orf",
    ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".raf", ".rw2", ".svg", ".tga", ".xcf",
})  # fmt: skip


@cache
def has_heif() -> bool:
    """Whether the package of the extra ``heif`` is there."""
    return find_spec("pillow_heif") is not None


@cache
def image_suffixes() -> frozenset[str]:
    """Suffixes of the files that are read here, in lower case.

    Example:
        >>> ".jpg" in image_suffixes(), ".svg" in image_suffixes()
        (True, False)
    """
    built = [suffixes for feature, (_, suffixes) in _BY_BUILD.items() if features.check(feature)]
    return _ALWAYS.union(*built, _HEIF if has_heif() else ())


def is_image_name(name: str) -> bool:
    """Tell by its suffix whether a file should be an image that is read; what begins with a dot is hidden.

    Example:
        >>> is_image_name("cat.JPG"), is_image_name(".cat.jpg"), is_image_name("cat.txt")
        (True, False, False)
    """
    return not name.startswith(".") and Path(name).suffix.lower() in image_suffixes()


def is_hidden_image(name: str) -> bool:
    """Tell whether a file would be read if it were not hidden, such as what macOS writes beside each file.

    Example:
        >>> is_hidden_image("._cat.jpg"), is_hidden_image(".DS_Store"), is_hidden_image("cat.jpg")
        (True, False, False)
    """
    return name.startswith(".") and Path(name).suffix.lower() in image_suffixes()


def unread_format(name: str) -> str | None:
    """Say of an image that is not read which format it has and what helps; None of any other file.

    Example:
        >>> unread_format("cat.PSD"), unread_format("cat.jpg"), unread_format("cat.txt")
        ('.psd image(s), which are not read: save them as PNG or JPEG', None, None)
    """
    suffix = Path(name).suffix.lower()
    if name.startswith(".") or suffix in image_suffixes():
        return None
    if suffix in _HEIF:
        return "HEIF image(s), which are read after pip install 'trainless[heif]'"
    for kind, suffixes in _BY_BUILD.values():
        if suffix in suffixes:
            return f"{kind} image(s), which this build of Pillow does not read: save them as PNG or JPEG"
    return f"{suffix} image(s), which are not read: save them as PNG or JPEG" if suffix in _NEVER else None
