"""The size to which images are resized: the median of their shorter sides, as far as time and limits allow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainless.errors import DataError

__all__ = ["ImageSize", "MostPixels", "affordable_size", "check_bytes", "check_memory", "propose_size"]

_SMALLEST = 4  # pixels: two halvings leave one
_LEAST_PROPOSED = 16  # of 8 x 8 digits, the networks of nasbench201 learn more when they are enlarged to this
_STEP = 8  # three halvings leave no odd number of rows
# What training takes: 16 passes over the images, of few images 32,000 in all, in half of the time. On one thread a
# residual network of 0.26 M parameters took 0.9 microseconds for a pixel, bfloat16, forward and backward.
_PASSES, _LEAST_IMAGES, _SHARE, _SECONDS = 16, 32_000, 0.5, 1e-6
# What a light network takes for a pixel of one image, with a stem that halves it.
_FLOPS, _LATENCY, _MEMORY = 2000, 2e-4, 2e-4  # multiply-adds, milliseconds, MiB
_BOUNDS = (32, 128)  # pixels: below, little is left to see; above, networks of few layers see parts of things
# Where Linux tells how much memory a container may have, in its second and first version of control groups.
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


MostPixels = int | Callable[[int], int]
"""The largest size to propose, in rows and columns; or what gives it for a number of images."""


class ImageSize(NamedTuple):
    """A size that some images have, in pixels, and how many images."""

    height: int
    width: int
    images: int


def propose_size(sizes: Sequence[ImageSize], at_most: MostPixels = 64, resize: str = "stretch") -> int:
    """Propose the rows and columns to which images are resized.

    It is the median of the images' shorter sides, so that half of them at least lose no detail to enlarging; where they
    are padded, the median of the squares of as many pixels, for the shorter sides shrink then. Where these sides differ
    it is rounded down to a multiple of 8. Below 16 it is 16: networks halve images several times, and of smaller ones
    hardly a pixel would be left. What exceeds the upper bound is the upper bound.

    Args:
        sizes: the sizes found, each with its number of images.
        at_most: upper bound, in pixels: a network's cost grows with its square. Or what gives it for the number of
            images.
        resize: how the images are brought to it, a name of `trainless.data.preprocessing.RESIZES`.

    Raises:
        DataError: the upper bound is below 4 pixels, or so is the median.

    Example:
        >>> propose_size([ImageSize(28, 28, 60_000)])
        28
        >>> propose_size([ImageSize(45, 60, 30), ImageSize(50, 50, 20)], at_most=224)
        40
        >>> propose_size([ImageSize(480, 640, 100)]), propose_size([ImageSize(20, 80, 9)], resize="pad")
        (64, 40)
    """
    most = at_most if isinstance(at_most, int) else at_most(sum(size.images for size in sizes))
    if most < _SMALLEST:
        raise DataError(f"Images of at most {most} pixels were asked for: allow at least {_SMALLEST}.")
    shorter = _median([(min(height, width), images) for height, width, images in sizes])
    if shorter < _SMALLEST:
        raise DataError(
            f"Half of the images are at most {shorter} pixel(s) high or wide, but a network needs {_SMALLEST}: give "
            "larger images."
        )
    if resize == "pad":
        sides = [(math.isqrt(height * width), images) for height, width, images in sizes]
    else:
        sides = [(min(height, width), images) for height, width, images in sizes]
    median, differ = _median(sides), len({side for side, _ in sides}) > 1
    return min(max(median // _STEP * _STEP if differ else median, _LEAST_PROPOSED), most)


def _median(counted: Sequence[tuple[int, int]]) -> int:
    """The lower median of numbers of which each is there so many times."""
    numbers, counts = (np.array(values) for values in zip(*sorted(counted), strict=True))
    return int(numbers[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def affordable_size(
    images: int, *, seconds: float | None = None, threads: int = 1, flops: float | None = None,
    latency: float | None = None, memory: float | None = None,
) -> int:  # fmt: skip
    """Estimate the largest rows and columns that can be trained on in a time and are within limits: 32 to 128.

    A rough rule, for a network's cost grows with its pixels: the size before any network is chosen. It is a multiple
    of 8, and 64 where there is neither a time nor a limit.

    Args:
        images: number of images.
        seconds: of the whole fit.
        threads: that train.
        flops: most multiply-adds for an image.
        latency: most milliseconds for an image.
        memory: most MiB for an image.

    Example:
        >>> affordable_size(500, seconds=120, threads=2), affordable_size(500, seconds=600, threads=2)
        (56, 128)
        >>> affordable_size(500, seconds=600, threads=2, flops=10e6), affordable_size(10**6, seconds=600, threads=2)
        (64, 32)
    """
    passes = max(_PASSES * images, _LEAST_IMAGES)
    needs = ((flops, _FLOPS), (latency, _LATENCY), (memory, _MEMORY))
    pixels = [most / need for most, need in needs if most is not None]
    if seconds is not None:
        pixels.append(_SHARE * seconds * max(1, threads) / (passes * _SECONDS))
    smallest, largest = _BOUNDS
    side = math.sqrt(min(min(pixels, default=64**2), largest**2))
    return max(smallest, int(side) // _STEP * _STEP)


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
    needed = 2 * math.prod((images, channels, height, width))
    check_bytes(
        needed, f"{images:,} images of {channels} x {height} x {width}", "a smaller image size, or fewer images"
    )


def check_bytes(needed: int, what: str, remedy: str) -> None:
    """Refuse what needs more memory than the machine has.

    Args:
        needed: bytes.
        what: needs them, in the plural.
        remedy: what to give in its place.

    Raises:
        DataError: it needs more.

    Example:
        >>> check_bytes(2**60, "The arrays of 'a.npz'", "fewer images")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.DataError: The arrays of 'a.npz' need 1,073,741,824 GiB of memory, but there are ... here: ...
    """
    if needed > (there := _memory()):
        raise DataError(
            f"{what} need {needed / 2**30:,.0f} GiB of memory, but there are {there / 2**30:,.0f} here: give {remedy}."
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
