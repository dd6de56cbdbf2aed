"""Pixels of an opened image as a network gets them, by Pillow and NumPy alone: exports carry this code with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["DEEP_MODES", "FILL", "FORMATS", "DepthError", "crop_box", "fit_size", "prepare", "resized_image"]

# Files are recognised by content, so without this list a renamed file could reach any decoder, Ghostscript included.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
FILL = 128  # grey beside what is padded, in the middle of black and white


class DepthError(ValueError):
    """Values of an image that are neither of 8 nor of 16 bits."""


def prepare(
    image: Image.Image, channels: int, height: int, width: int, resize: str = "stretch", deep_white: int = 65535
) -> NDArray[np.uint8]:
    """Turn an image, upright by its EXIF orientation, into bytes: channels x height x width.

    Args:
        image: as Pillow opened it.
        channels: 1 for grey, 3 for red, green and blue.
        height: rows of the result.
        width: columns of the result.
        resize: ``stretch``, ``pad`` or ``crop``, as `resized_image` does.
        deep_white: the value that is white in an image of 16 bits.

    Raises:
        DepthError: the image has values that are neither of 8 nor of 16 bits.

    Example:
        >>> prepare(Image.new("RGBA", (8, 6)), 1, 1, 2).tolist()  # what is transparent lies on white
        [[[255, 255]]]
    """
    upright = ImageOps.exif_transpose(image)
    plain = _flatten(_reduce_depth(upright, deep_white)).convert("L" if channels == 1 else "RGB")
    fitted = resized_image(plain, height, width, resize)
    return np.asarray(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def resized_image(image: Image.Image, height: int, width: int, resize: str = "stretch") -> Image.Image:
    """Resize an image bilinearly, with smoothing where it shrinks (Pillow's ``BILINEAR``), rows first, then columns.

    Both are rounded to bytes. Pillow left to itself takes columns first of tall images, in some versions.

    Args:
        image: grey or RGB, of 8 bits.
        height: rows of the result.
        width: columns of the result.
        resize: ``stretch`` changes the proportions, ``pad`` keeps them and fills what is left on both sides with grey
            of 128, ``crop`` keeps them and cuts off what is too much on both sides.

    Example:
        >>> wide = Image.new("L", (8, 4), 255)
        >>> np.asarray(resized_image(wide, 4, 4, "pad"))[:, 0].tolist()
        [128, 255, 255, 128]
    """
    if resize == "crop":
        image = image.crop(crop_box(image.height, image.width, height, width))
    rows, columns = fit_size(image.height, image.width, height, width) if resize == "pad" else (height, width)
    for size in ((columns, image.height), (columns, rows)):
        image = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    if image.size == (width, height):
        return image
    canvas = Image.new(image.mode, (width, height), (FILL,) * len(image.getbands()))
    canvas.paste(image, ((width - columns) // 2, (height - rows) // 2))
    return canvas


def fit_size(tall: int, wide: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of an image that is scaled until it just fits into others, rounded, halves up, at least 1.

    Example:
        >>> fit_size(480, 640, 64, 64)
        (48, 64)
    """
    rows = min(height, max(1, (2 * tall * width + wide) // (2 * wide)))
    columns = min(width, max(1, (2 * wide * height + tall) // (2 * tall)))
    return rows, columns


def crop_box(tall: int, wide: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest part in the middle that has the proportions of others.

    Example:
        >>> crop_box(480, 640, 64, 64)
        (80, 0, 560, 480)
    """
    rows = min(tall, max(1, (2 * wide * height + width) // (2 * width)))
    columns = min(wide, max(1, (2 * tall * width + height) // (2 * height)))
    left, top = (wide - columns) // 2, (tall - rows) // 2
    return left, top, left + columns, top + rows


def _reduce_depth(image: Image.Image, deep_white: int) -> Image.Image:
    """Turn an image of 16 bits into one of 8, which `convert` would do by clipping."""
    if image.mode not in (*DEEP_MODES, "F"):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise DepthError(f"values from {values.min()} to {values.max()}, which are neither 8 nor 16 bits")
    scaled = (values.astype(np.uint32) * 255 + deep_white // 2) // deep_white
    return Image.fromarray(np.minimum(scaled, 255).astype(np.uint8))


def _flatten(image: Image.Image) -> Image.Image:
    """Lay what is transparent on white: the colour below is arbitrary."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
