"""Images that come as arrays: scikit-learn's digits, and NumPy archives in the manner of ImageNet16."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainless.data.dataset import LabelledImages
from trainless.errors import DataError

__all__ = ["read_digits", "read_npz", "resize"]

_IMAGE_NAMES = ("x", "images", "data")
_LABEL_NAMES = ("y", "labels")
_CHANNELS = (1, 3)


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


def resize(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize images bilinearly, with smoothing where they shrink, and without keeping their proportions.

    Args:
        images: uint8, images x channels x height x width.
        height: rows of the result, in pixels.
        width: columns of the result, in pixels.

    Example:
        >>> resize(np.full((2, 3, 8, 8), 7, np.uint8), 4, 4).shape
        (2, 3, 4, 4)
    """
    if images.shape[2:] == (height, width):
        return images
    resized = np.empty((*images.shape[:2], height, width), np.uint8)
    for number, channel in np.ndindex(images.shape[:2]):
        plane = Image.fromarray(np.ascontiguousarray(images[number, channel]))
        resized[number, channel] = plane.resize((width, height), Image.Resampling.BILINEAR)
    return resized


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays whose names are known, under these names in lower case."""
    try:
        # numpy.load leaves a file that it opened itself open when it fails.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = [name for name in archive.files if name.lower() in _IMAGE_NAMES + _LABEL_NAMES]
            return {name.lower(): archive[name] for name in wanted}
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"'{path}' cannot be read as a NumPy archive ({error}): save it with numpy.savez, without Python objects."
        ) from error


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
    elif images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in _CHANNELS or not images.size:
        raise DataError(
            f"Images in '{path}' are {images.dtype} of shape {images.shape}, but uint8 of shape (images, 3, height, "
            "width) or (images, height, width, 3) was expected: save them so."
        )
    return images
