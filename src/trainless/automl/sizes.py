"""How large a network may be, given the time to train it: the machine is measured, not guessed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from trainless.errors import InputError
from trainless.hardware import limited_threads
from trainless.search import Costs, Limits
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, preserve_rng_state
from trainless.types import Architecture, Task

__all__ = ["Size", "choose_size", "seconds_an_image"]

_FRACTIONS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
_DRAWN = 200  # architectures tried for one size until some are within the limits
_ENOUGH = 8  # within the limits, of which the heaviest but one is measured
_MEASURED_SECONDS = 0.5


@dataclass(frozen=True)
class Size:
    """A search space of a size that can be trained in time.

    Args:
        space: the search space.
        fraction: its size relative to the one asked for.
        seconds: time in which a heavy network of it learns from one image once; NaN where it was not measured.
    """

    space: SearchSpace
    fraction: float
    seconds: float


def choose_size(
    space: SearchSpace, task: Task, limits: Limits, images: int, seconds: float, *, epochs: int, seed: int = 0,
    threads: int = 1,
) -> Size:  # fmt: skip
    """Choose the largest size of a space at which a heavy network within the limits gets its epochs in time.

    Args:
        space: the search space in the size that is wanted.
        task: shape of the images and number of classes.
        limits: what a network may cost.
        images: number of images of an epoch.
        seconds: time for the training; where it is infinite, nothing is measured.
        epochs: how many there shall be.
        seed: which networks are measured.
        threads: threads of the training.

    Raises:
        InputError: no network of any size is within the limits.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> task = Task("digits", 10, channels=1, height=8, width=8)
        >>> choose_size(search_space("nasbench201"), task, Limits(), 1000, 1e9, epochs=1).fraction
        1.0
    """
    smallest = None
    for fraction in _FRACTIONS:
        resized = space if fraction == 1 else space.resized(fraction)
        heavy = _heavy(resized, task, limits, seed)
        if heavy is None:
            continue
        if seconds == math.inf:
            return Size(resized, fraction, math.nan)
        smallest = Size(resized, fraction, seconds_an_image(resized, heavy, task, threads=threads))
        if smallest.seconds * images * epochs <= seconds:
            return smallest
    if smallest is None:
        raise InputError(
            f"None of {len(_FRACTIONS) * _DRAWN:,} networks of {space.name}, large and small, is within the limits "
            f"({limits}): widen them."
        )
    return smallest


def _heavy(space: SearchSpace, task: Task, limits: Limits, seed: int) -> Architecture | None:
    """The heaviest but one of some architectures within the limits, by multiply-adds; None where none is."""
    costs, rng = Costs(space, task), np.random.default_rng(derive_seed(seed, "sizes"))
    within: list[Architecture] = []
    for _ in range(_DRAWN):
        one = space.sample(rng)
        if not limits.broken(lambda name, one=one: costs(one, name)):  # type: ignore[misc]
            within.append(one)
        if len(within) == _ENOUGH:
            break
    within.sort(key=lambda one: -space.flops(one, task))
    return within[min(1, len(within) - 1)] if within else None


def seconds_an_image(
    space: SearchSpace, architecture: Architecture, task: Task, *, batch: int = 64, threads: int = 1
) -> float:  # fmt: skip
    """Measure in which time a network learns from one image: forward, backward and a step of the optimizer.

    Args:
        space: the search space.
        architecture: what is measured.
        task: shape of the images and number of classes.
        batch: images in a step.
        threads: threads of the training.

    Returns:
        Seconds, the median of several steps.
    """
    with preserve_rng_state(), limited_threads(threads):
        network = space.build(architecture, task).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = torch.zeros(batch, *task.input_shape).contiguous(memory_format=torch.channels_last)
        labels = torch.arange(batch) % task.classes
        optimizer = torch.optim.AdamW(network.parameters(), fused=False)
        taken: list[float] = []
        end = time.monotonic() + _MEASURED_SECONDS
        while len(taken) < 3 or time.monotonic() < end:
            start = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:])) / batch
