"""Image files: size and mode from their headers, pixels as bytes.

The EXIF orientation is applied, transparency is laid on white, 16-bit values are reduced to 8 bits and rounded, and of
several frames the first counts.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from trainless.data.image_formats import has_heif
from trainless.data.pixels import DEEP_MODES, FORMATS, DepthError, prepare
from trainless.data.preprocessing import Preprocessing
from trainless.errors import DataError

__all__ = ["BrokenFile", "Header", "largest_value", "read_header", "read_pixels"]

_GREY_MODES = frozenset({*DEEP_MODES, "1", "F", "L", "LA", "La"})
_QUARTER_TURNS = (5, 6, 7, 8)  # values of the EXIF orientation that swap width and height
# What Pillow's decoders raise on damaged files.
_DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Header(NamedTuple):
    """What the first bytes of a file tell of its image.

    Args:
        height: rows, in pixels, after the EXIF orientation.
        width: columns, in pixels.
        grey: whether it has no colour.
        deep: whether it is grey with values of 16 bits.
        deep_colours: whether it has 16 bits for each colour, of which Pillow decodes the upper 8.
    """

    height: int
    width: int
    grey: bool
    deep: bool = False
    deep_colours: bool = False


class BrokenFile(NamedTuple):
    """A file that cannot be decoded, and why.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    path: str
    reason: str

    @classmethod
    def of(cls, path: Path, error: DataError) -> BrokenFile:
        """Note what `read_header` or `read_pixels` raised.

        Example:
            >>> BrokenFile.of(Path("1.png"), DataError("Image '1.png' has values from -3 to 4."))
            BrokenFile(path='1.png', reason="Image '1.png' has values from -3 to 4.")
        """
        return cls(str(path), _cause(error.__cause__ or error))


def read_header(path: Path) -> Header:
    """Read the size of an image, and whether it is grey, without decoding it.

    Raises:
        DataError: the file is damaged or no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6)).save(Path(folder, "1.png"))
        ...     read_header(Path(folder, "1.png"))
        Header(height=6, width=8, grey=True, deep=False, deep_colours=False)
    """
    with _opened(path) as image:
        width, height = image.size
        if _is_turned(image):
            width, height = height, width
        deep = image.mode in DEEP_MODES
        layout = str(getattr(image, "tile", ""))  # where the file's own layout stands, which the mode does not tell
        return Header(height, width, _is_grey(image), deep, not deep and ";16" in layout)


def largest_value(path: Path) -> int:
    """Decode an image of 16 bits and give its largest value.

    Raises:
        DataError: the file is damaged or no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[7, 4000]], np.uint16)).save(Path(folder, "1.png"))
        ...     largest_value(Path(folder, "1.png"))
        4000
    """
    with _opened(path) as image:
        return int(np.asarray(image).max())


def read_pixels(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decode one image as a network gets it: bytes, channels x height x width.

    Args:
        path: the file.
        preprocessing: size, colour, and how the image is brought to them.

    Raises:
        DataError: the file is damaged or no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 6), 7).save(Path(folder, "1.png"))
        ...     read_pixels(Path(folder, "1.png"), Preprocessing(1, 1, 2)).tolist()
        [[[7, 7]]]
    """
    wanted = preprocessing
    with _opened(path) as image:
        image.load()
        try:
            return prepare(image, *wanted.input_shape, wanted.resize, wanted.deep_white)
        except DepthError as error:
            raise DataError(f"Image '{path}' has {error}: save it as a picture of 8 bits.") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; whatever goes wrong inside names the file."""
    try:
        # Pillow warns of large pictures and of damaged EXIF data, from which nothing follows.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_formats()) as image:
            yield image
    except DataError:
        raise
    except _DECODER_ERRORS as error:
        raise DataError(f"Image '{path}' is damaged or no image ({_cause(error)}): replace or remove it.") from error


def _formats() -> tuple[str, ...]:
    return (*FORMATS, _heif_format()) if has_heif() else FORMATS


@cache
def _heif_format() -> str:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return "HEIF"


def _cause(error: BaseException) -> str:
    # Pillow's own sentence would name the path a second time, and so would the operating system's.
    if isinstance(error, UnidentifiedImageError):
        return "its content is not that of an image"
    return (isinstance(error, OSError) and error.strerror) or str(error)


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
