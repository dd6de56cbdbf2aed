"""The size to which images are resized: the median of their shorter sides."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainless.errors import DataError

__all__ = ["ImageSize", "check_memory", "propose_size"]

_SMALLEST = 4  # pixels: two halvings leave one
_LEAST_PROPOSED = 16  # of 8 x 8 digits, the networks of nasbench201 learn more when they are enlarged to this
_STEP = 8  # three halvings leave no odd number of rows
# Where Linux tells how much memory a container may have, in its second and first version of control groups.
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class ImageSize(NamedTuple):
    """A size that some images have, in pixels, and how many images."""

    height: int
    width: int
    images: int


def propose_size(sizes: Sequence[ImageSize], at_most: int = 64) -> int:
    """Propose the rows and columns to which images are resized.

    It is the median of the images' shorter sides, so that half of them at least lose no detail to enlarging. Where
    these sides differ it is rounded down to a multiple of 8. Below 16 it is 16: networks halve images several times,
    and of smaller ones hardly a pixel would be left. What exceeds the upper bound is the upper bound.

    Args:
        sizes: the sizes found, each with its number of images.
        at_most: upper bound, in pixels: a network's cost grows with its square.

    Raises:
        DataError: the upper bound is below 4 pixels, or so is the median.

    Example:
        >>> propose_size([ImageSize(28, 28, 60_000)])
        28
        >>> propose_size([ImageSize(45, 60, 30), ImageSize(50, 50, 20)], at_most=224)
        40
        >>> propose_size([ImageSize(480, 640, 100)])
        64
    """
    if at_most < _SMALLEST:
        raise DataError(f"Images of at most {at_most} pixels were asked for: allow at least {_SMALLEST}.")
    shorter, counts = (np.array(values) for values in zip(*((min(h, w), n) for h, w, n in sizes), strict=True))
    order = np.argsort(shorter)
    median = int(shorter[order][np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)])
    if median < _SMALLEST:
        raise DataError(
            f"Half of the images are at most {median} pixel(s) high or wide, but a network needs {_SMALLEST}: give "
            "larger images."
        )
    differ = shorter.min() < shorter.max()
    return min(max(median // _STEP * _STEP if differ else median, _LEAST_PROPOSED), at_most)


def check_memory(images: int, channels: int, height: int, width: int) -> None:
    """Refuse more images than the machine has memory for, a byte a value, twice: once read, once split in parts.

    Raises:
        DataError: they need more.

    Example:
        >>> check_memory(10**9, 3, 64, 64)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.DataError: 1,000,000,000 images of 3 x 64 x 64 need 22,888 GiB of memory...
    """
    needed, there = 2 * math.prod((images, channels, height, width)), _memory()
    if needed > there:
        raise DataError(
            f"{images:,} images of {channels} x {height} x {width} need {needed / 2**30:,.0f} GiB of memory, but there "
            f"are {there / 2**30:,.0f} here: give a smaller image size, or fewer images."
        )


def _memory() -> float:
    """Bytes of the machine's memory, or of the container's; infinite where the system does not tell."""
    known = list[float]()
    with suppress(AttributeError, OSError, ValueError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _CONTAINER:
        with suppress(OSError, ValueError):  # "max" is no number: nothing limits it
            known.append(int(path.read_text()))
    return min(known, default=math.inf)
