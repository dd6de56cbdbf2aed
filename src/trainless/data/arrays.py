"""Data sets from arrays: scikit-learn's digits, NumPy archives, and arrays in memory."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image

from trainless.data.dataset import ImageDataset, LabelledImages, channel_statistics
from trainless.data.pixels import resized_image
from trainless.data.sizes import check_bytes, check_memory
from trainless.errors import DataError
from trainless.types import Task

__all__ = ["check_unpacked", "images_of", "load_arrays", "read_digits", "read_npz", "resize", "value_range"]

_IMAGE_NAMES = ("x", "images", "data")
_LABEL_NAMES = ("y", "labels")
_CHANNELS = (1, 3)
_CHUNK = 1024  # images turned into bytes at a time: as numbers they take 8 bytes a value


def read_digits() -> LabelledImages:
    """Read the 1,797 handwritten digits that come with scikit-learn: grey, 8 x 8 pixels, 10 classes.

    Their ink values v = 0..16 become bytes by ``(255 v + 8) // 16``, which is 255 v / 16 rounded, halves up.

    Example:
        >>> digits = read_digits()
        >>> digits.images.shape, int(digits.images.max())
        ((1797, 1, 8, 8), 255)
    """
    from sklearn.datasets import load_digits

    ink, labels = load_digits(return_X_y=True)
    images = ((255 * ink.astype(np.int64) + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    return LabelledImages("digits", images, labels.astype(np.int64), tuple(map(str, range(10))))


def load_arrays(
    X: Any,
    y: Any,
    *,
    name: str = "arrays",
    image_shape: tuple[int, int, int] | None = None,
    values: tuple[float, float] | None = None,
) -> ImageDataset:
    """Make a data set of an array of images and an array of labels.

    Args:
        X: images, as `images_of` takes them.
        y: one label per image: whole numbers, text or truth values. Classes are numbered in the labels' order, and
            the class names are the labels as text.
        name: name of the data set.
        image_shape: channels, height and width of one image, where X has flat rows that are no square grey images.
        values: what means black and what means white; None takes `value_range`.

    Raises:
        DataError: X or y has another form, holds values that are not finite, or there are fewer than 2 classes.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> load_arrays(*load_digits(return_X_y=True), name="digits").task
        Task(name='digits', classes=10, channels=1, height=8, width=8)
    """
    images = images_of(X, image_shape=image_shape, values=values)
    labels, class_names = _classes(y, len(images))
    task = Task(name, len(class_names), *images.shape[1:])
    return ImageDataset(task, images, labels, class_names, *channel_statistics(images))


def images_of(
    X: Any, *, image_shape: tuple[int, int, int] | None = None, values: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Turn an array of images into bytes, images x channels x height x width.

    Numbers from the first of `values` to the second become bytes from 0 to 255, rounded, halves up; what lies beyond
    is cut off.

    Args:
        X: numbers or truth values, images x height x width, images x height x width x channels, or images x channels
            x height x width, with 1 or 3 channels; where the last two both fit, channels come first. Or flat rows,
            images x pixels, of square grey images, or of images of `image_shape`.
        image_shape: channels, height and width of one image, for flat rows.
        values: what means black and what means white; None takes `value_range`. New images need those of the images
            that a network was trained on.

    Raises:
        DataError: X has another form or holds values that are not finite.

    Example:
        >>> images_of(np.array([[0.0, 0.1, 0.5, 1.0]])).tolist()
        [[[[0, 26], [128, 255]]]]
    """
    pixels = _numbers(X)
    low, high = values or value_range(pixels)
    if not low < high:
        raise DataError(f"Pixel values from {low} to {high} were asked for: give a lower and a higher number.")
    shaped = _shaped(pixels, image_shape)
    if shaped.dtype == np.uint8 and (low, high) == (0, 255):
        return shaped
    images = np.empty(shaped.shape, np.uint8)
    for start in range(0, len(shaped), _CHUNK):
        scaled = (shaped[start : start + _CHUNK].astype(np.float64) - low) * (255 / (high - low))
        images[start : start + _CHUNK] = np.clip(scaled, 0, 255) + 0.5
    return images


def value_range(X: Any) -> tuple[float, float]:
    """Tell which numbers mean black and white in an array of images.

    Whole numbers within 0 to 255 are bytes. Floating-point numbers within 0 to 1 go from 0 to 1. Truth values do so
    too, and all else goes from its smallest to its largest value.

    Args:
        X: numbers or truth values.

    Raises:
        DataError: X is empty, or holds anything but finite numbers.

    Example:
        >>> value_range(np.array([3, 7])), value_range(np.array([0.3, 0.7])), value_range(np.array([0.0, 16.0]))
        ((0.0, 255.0), (0.0, 1.0), (0.0, 16.0))
    """
    pixels = _numbers(X)
    low, high = float(pixels.min()), float(pixels.max())
    white = 255.0 if pixels.dtype.kind in "iu" else 1.0
    if low >= 0 and high <= white:
        return 0.0, white
    return low, max(high, low + 1)


def read_npz(path: Path) -> LabelledImages:
    """Read a NumPy archive of images and labels, such as the ImageNet16 files.

    Images are the array named x, images or data: uint8, images x channels x height x width or images x height x
    width x channels, with 1 or 3 channels, or images x height x width. Where both readings fit, the first holds.
    Labels are the integer array named y or labels. They may start anywhere and skip values: classes are numbered in
    their order, and the class names keep the original labels.

    Raises:
        DataError: the file is no archive of such arrays. Arrays of Python objects are refused.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "toy.npz")
        ...     np.savez(path, x=np.zeros((3, 8, 8, 3), np.uint8), y=[7, 1000, 7])
        ...     toy = read_npz(path)
        >>> toy.images.shape, toy.labels.tolist(), toy.class_names
        ((3, 3, 8, 8), [0, 1, 0], ('7', '1000'))
    """
    arrays = _arrays(path)
    images = _channels_first(_named(arrays, _IMAGE_NAMES, path), path)
    labels = _named(arrays, _LABEL_NAMES, path)
    if labels.dtype.kind not in "iu" or labels.size != len(images) or labels.ndim == 0:
        raise DataError(
            f"Labels in '{path}' are {labels.dtype} of shape {labels.shape}, but one integer for each of the "
            f"{len(images)} images was expected: save them so."
        )
    originals, numbered = np.unique(labels.ravel(), return_inverse=True)
    return LabelledImages(path.stem, images, numbered.astype(np.int64), tuple(str(label) for label in originals))


def resize(images: NDArray[np.uint8], height: int, width: int, how: str = "stretch") -> NDArray[np.uint8]:
    """Resize images bilinearly, with smoothing where they shrink.

    Args:
        images: uint8, images x channels x height x width.
        height: rows of the result, in pixels.
        width: columns of the result, in pixels.
        how: ``stretch``, ``pad`` or ``crop``, as `trainless.data.pixels.resized_image` does.

    Raises:
        DataError: the result needs more memory than there is.

    Example:
        >>> resize(np.full((2, 3, 8, 8), 7, np.uint8), 4, 4).shape
        (2, 3, 4, 4)
    """
    if images.shape[2:] == (height, width):
        return images
    check_memory(images.shape[0], images.shape[1], height, width)
    resized = np.empty((*images.shape[:2], height, width), np.uint8)
    for number, channel in np.ndindex(images.shape[:2]):
        plane = Image.fromarray(np.ascontiguousarray(images[number, channel]))
        resized[number, channel] = resized_image(plane, height, width, how)
    return resized


def _numbers(X: Any) -> NDArray[Any]:
    pixels = np.asarray(X)
    if pixels.dtype.kind not in "biuf" or not pixels.size:
        raise DataError(
            f"The images are {pixels.dtype} of shape {pixels.shape}, but an array of numbers was expected, one image "
            "after the other: give such an array, not empty."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError("The images hold values that are infinite or no numbers (NaN): replace them or leave them out.")
    return pixels


def _shaped(pixels: NDArray[Any], image_shape: tuple[int, int, int] | None) -> NDArray[Any]:
    """View any of the known forms as images x channels x height x width."""
    if pixels.ndim == 2:
        return pixels.reshape(-1, *_shape_of_row(pixels.shape[1], image_shape))
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.ndim == 4:
        pixels = _channels_in_front(pixels)
    if pixels.ndim != 4 or pixels.shape[1] not in _CHANNELS or image_shape not in (None, pixels.shape[1:]):
        raise DataError(
            f"The images have the shape {pixels.shape}, but (images, {image_shape or '1 or 3, height, width'}), "
            "(images, height, width, 1 or 3), (images, height, width) or flat rows were expected: give them so."
        )
    return pixels


def _shape_of_row(length: int, image_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    side = math.isqrt(length)
    channels, height, width = image_shape or (1, side, side)
    if channels * height * width != length or channels not in _CHANNELS:
        raise DataError(
            f"Rows of {length} values are no images of {channels} x {height} x {width}: give image_shape, such as "
            "(3, 32, 32) for rows of 3072, or images with their own axes."
        )
    return channels, height, width


def _classes(y: Any, number: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the labels in their order, and name the classes."""
    labels = np.asarray(y)
    if labels.shape not in ((number,), (number, 1)):
        several = ", and several for an image would be multi-label classification" if labels.ndim > 1 else ""
        raise DataError(
            f"Labels are of shape {labels.shape}, but one for each of the {number} images was expected{several}: give "
            "one class for each."
        )
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(np.str_)
    if labels.dtype.kind == "f" and (np.isfinite(labels) & (labels == np.floor(labels))).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuU":
        named = [isinstance(label, str) or (isinstance(label, float) and label.is_integer()) for label in labels.flat]
        example = labels.ravel().tolist()[named.index(False) if False in named else 0]
        raise DataError(
            f"Labels are {labels.dtype}, such as {example!r}, but each was expected to name a class, and real numbers "
            "would be regression: give whole numbers, or text for all."
        )
    originals, numbered = np.unique(labels.ravel(), return_inverse=True)
    return numbered.astype(np.int64), tuple(str(label) for label in originals)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays whose names are known, under these names in lower case."""
    try:
        # numpy.load leaves a file that it opened itself open when it fails.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = [name for name in archive.files if name.lower() in _IMAGE_NAMES + _LABEL_NAMES]
            check_unpacked(path, archive, wanted)
            return {name.lower(): archive[name] for name in wanted}
    except DataError:
        raise
    except (
        OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DataError(
            f"'{path}' cannot be read as a NumPy archive ({error}): save it with numpy.savez, without Python objects."
        ) from error


def check_unpacked(path: Path, archive: NpzFile, names: Collection[str]) -> None:
    """Refuse arrays that have no room in memory, by what the directory of their archive says, before any is unpacked.

    Args:
        path: of the archive.
        archive: as NumPy opened it; no more of an array is unpacked than its directory says.
        names: of the arrays.

    Raises:
        DataError: there is no room, for the arrays and once more for what is made of them.
    """
    assert archive.zip is not None  # as long as it is open
    entries = [entry for entry in archive.zip.infolist() if entry.filename.removesuffix(".npy") in names]
    check_bytes(
        2 * sum(entry.file_size for entry in entries),
        f"The arrays of '{path}'",
        "an archive of fewer or smaller images",
    )


def _named(arrays: dict[str, NDArray[Any]], names: tuple[str, ...], path: Path) -> NDArray[Any]:
    found = [name for name in names if name in arrays]
    if len(found) != 1:
        raise DataError(
            f"'{path}' holds {' and '.join(found) or 'none'} of the arrays {', '.join(names)}: save exactly one of "
            "them, and name images x and labels y."
        )
    return arrays[found[0]]


def _channels_first(images: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if images.dtype == np.uint8 and images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4:
        images = _channels_in_front(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in _CHANNELS or not images.size:
        raise DataError(
            f"Images in '{path}' are {images.dtype} of shape {images.shape}, but uint8 of shape (images, 3, height, "
            "width) or (images, height, width, 3) was expected: save them so."
        )
    return images


def _channels_in_front(images: NDArray[Any]) -> NDArray[Any]:
    last = images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS
    return images.transpose(0, 3, 1, 2) if last else images
