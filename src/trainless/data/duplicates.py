"""Duplicate images, by a hash of their pixels, and nearly constant ones, by their standard deviation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["digests", "group", "nearly_constant"]

_CHUNK = 2**24  # values whose deviation is computed at a time


def digests(images: NDArray[np.uint8]) -> list[bytes]:
    """Hash the pixels of each image to 16 bytes (BLAKE2b).

    Files with the same bytes decode to the same pixels, so hashes of files would find nothing more.

    Args:
        images: uint8, images x channels x height x width.

    Example:
        >>> first, second, third = digests(np.array([0, 7, 0], np.uint8).reshape(3, 1, 1, 1))
        >>> first == third, first == second
        (True, False)
    """
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]


def group(keys: Iterable[bytes]) -> NDArray[np.int64]:
    """Number the different keys in the order in which they come.

    Example:
        >>> group([b"a", b"b", b"a"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def nearly_constant(images: NDArray[np.uint8], deviation: float = 2.0) -> NDArray[np.bool_]:
    """Tell for each image whether every channel's standard deviation is at most `deviation`, of 255.

    Args:
        images: uint8, images x channels x height x width.
        deviation: bound of the population standard deviation of a channel's pixels.

    Example:
        >>> nearly_constant(np.array([[7, 7], [0, 255]], np.uint8).reshape(2, 1, 1, 2)).tolist()
        [True, False]
    """
    constant = np.empty(len(images), bool)
    step = max(1, _CHUNK // images[0].size) if len(images) else 1
    for start in range(0, len(images), step):
        part = images[start : start + step]
        spread = part.std(axis=(2, 3), dtype=np.float32)
        constant[start : start + step] = (spread <= deviation).all(1)
    return constant
