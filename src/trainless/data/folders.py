"""Folders of image files: one folder per class."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from trainless.data.dataset import LabelledImages
from trainless.errors import DataError

__all__ = ["read_image_folder"]

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Files are recognised by content, so without this list a renamed file could reach any decoder, Ghostscript included.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_SPLITS = frozenset({"train", "val", "valid", "validation", "test"})
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = _DEEP_MODES | {"1", "F", "L", "LA", "La"}
_QUARTER_TURNS = (5, 6, 7, 8)  # values of the EXIF orientation that swap width and height
# What Pillow's decoders raise on damaged files.
_DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class _Header(NamedTuple):
    """What the first bytes of a file tell of its image."""

    height: int
    width: int
    grey: bool


def read_image_folder(folder: Path, image_size: int | None = None) -> LabelledImages:
    """Read a folder that has one folder of images per class: BMP, GIF, JPEG, PNG, TIFF or WebP files.

    Class names are the folder names, sorted. Files may lie deeper; what begins with a dot, has another suffix or
    lies beside the class folders is ignored. Where the folders are nothing but train and val, valid, validation or
    test, the classes are those inside train.

    The EXIF orientation is applied, transparency is laid on white, 16-bit values are divided by 257 and rounded, and
    of several frames the first counts. If all images are grey there is one channel, otherwise three. Images of
    another size are resized bilinearly, without keeping their proportions.

    Sizes are read from the headers before any image is decoded, so memory is that of the result and one image.

    Args:
        folder: where the class folders are.
        image_size: rows and columns of the result; None takes the most common size, and of several the smallest.

    Raises:
        DataError: there are fewer than 2 class folders, one is empty, or a file cannot be decoded.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         Path(folder, name).mkdir()
        ...         Image.new("L", (8, 6)).save(Path(folder, name, "1.png"))
        ...     pets = read_image_folder(Path(folder))
        >>> pets.images.shape, pets.labels.tolist(), pets.class_names
        ((2, 1, 6, 8), [0, 1], ('cat', 'dog'))
    """
    class_folders = _class_folders(folder)
    files = [_image_files(class_folder) for class_folder in class_folders]
    paths = [path for group in files for path in group]
    headers = [_header(path) for path in paths]
    height, width = (image_size, image_size) if image_size else _common_size(headers)
    mode = "L" if all(header.grey for header in headers) else "RGB"
    images = np.empty((len(paths), 1 if mode == "L" else 3, height, width), np.uint8)
    for number, path in enumerate(paths):
        images[number] = _pixels(path, mode, height, width)
    labels = np.repeat(np.arange(len(files)), [len(group) for group in files]).astype(np.int64)
    return LabelledImages(folder.resolve().name, images, labels, tuple(path.name for path in class_folders))


def _class_folders(folder: Path) -> list[Path]:
    inside = _subfolders(folder)
    names = {path.name for path in inside}
    if "train" in names and names <= _SPLITS:
        folder = folder / "train"
        inside = _subfolders(folder)
    if len(inside) < 2:
        loose = sum(_is_image_name(path.name) for path in folder.iterdir())
        raise DataError(
            f"Folder '{folder}' holds {len(inside)} class folder(s) and {loose} loose image(s), but at least 2 classes "
            f"are needed: put the images of each class into a folder of its own, such as {folder.name}/cat/1.png and "
            f"{folder.name}/dog/1.png."
        )
    return inside


def _subfolders(folder: Path) -> list[Path]:
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(inside, key=lambda path: path.name)  # paths themselves sort without case on Windows


def _image_files(class_folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(class_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if _is_image_name(name)]
    if not found:
        raise DataError(
            f"Class folder '{class_folder}' holds no images ({', '.join(sorted(_SUFFIXES))}): add some or remove it."
        )
    return sorted(found, key=Path.as_posix)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; whatever goes wrong inside names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except DataError:
        raise
    except _DECODER_ERRORS as error:
        raise DataError(f"Image '{path}' is damaged or no image ({error}): replace or remove it.") from error


def _header(path: Path) -> _Header:
    with _opened(path) as image:
        width, height = image.size
        if _is_turned(image):
            width, height = height, width
        return _Header(height, width, _is_grey(image))


def _is_grey(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA") or image.palette is None:
        return image.mode in _GREY_MODES
    # A GIF is grey by its palette alone. `Image.getpalette` would decode the image.
    layout, palette = image.palette.getdata()
    if layout not in ("RGB", "BGRX"):
        return False
    colours = np.frombuffer(bytes(palette), np.uint8).reshape(-1, len(layout))[:, :3]
    return bool((colours == colours[:, :1]).all())


def _is_turned(image: Image.Image) -> bool:
    # Pillow's TIFF reader swaps the size itself, and its PNG reader decodes the image to look for late EXIF data.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS


def _common_size(headers: list[_Header]) -> tuple[int, int]:
    counts = Counter((header.height, header.width) for header in headers)
    return min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))


def _pixels(path: Path, mode: str, height: int, width: int) -> NDArray[np.uint8]:
    """Decode one image as channels x height x width."""
    with _opened(path) as opened:
        opened.load()
        image = _flatten(_reduce_depth(ImageOps.exif_transpose(opened), path)).convert(mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(height, width, -1).transpose(2, 0, 1)


def _reduce_depth(image: Image.Image, path: Path) -> Image.Image:
    """Turn an image of 16 bits into one of 8, which `convert` would do by clipping."""
    if image.mode not in _DEEP_MODES | {"F"}:
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(
            f"Image '{path}' has values from {values.min()} to {values.max()}, which are neither 8 nor 16 bits: save "
            "it as a picture of 8 bits."
        )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _flatten(image: Image.Image) -> Image.Image:
    """Lay what is transparent on white: the colour below is arbitrary."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
