"""Prediction of training times from what a network's operations do, fitted to what was measured on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from trainless.hardware import limited_threads
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint
from trainless.seeding import preserve_rng_state
from trainless.training import fit_recipe
from trainless.training.precision import faster_precision, few_seconds, step_seconds
from trainless.types import Architecture, Task

__all__ = ["SpeedModel", "Work", "fastest_threads", "seconds_an_image", "work_of"]

# Nanoseconds that a training step, forward and backward, takes for a multiply-add, for a normalised value
# and for an operation, on one thread of a processor with AVX2: fitted to networks of `benchmarks/convnet_trainings.py`.
_PRIOR = np.array([0.0915, 7.88, 856_000.0])
_UNNORMALISED = ("conv", "linear", "whitening")
_SQUARES = 12  # four products of square matrices in each of three iterations
_SIDE, _PRODUCTS = 512, 5  # about 3 ms each on one thread
_TRUST = 0.1  # of each ratio between the three in what is usual, beside one network that was measured


class Work(NamedTuple):
    """What a training step does for one image, its share of the optimizer's part with it.

    Args:
        multiply_adds: of convolutions and linear layers, each for the three that a step takes; those by which the
            optimizer makes matrices orthogonal count as a third.
        values: that are normalised, and activated mostly, and the weights that are stepped: all move memory.
        operations: how many begin, for one image of a batch.
    """

    multiply_adds: float
    values: float
    operations: float = 0.0


def work_of(blueprint: Blueprint, batch: int = 64) -> Work:
    """Count what a training step of a network does for one image.

    Args:
        blueprint: the network.
        batch: images of a step: of few, the optimizer is much of it.

    Example:
        >>> from trainless.search_spaces.blueprint import Part
        >>> from trainless.search_spaces.nodes import Node
        >>> work_of(Blueprint((Part([Node("body", "conv", 2, 3, (4, 4))]),)), batch=2)
        Work(multiply_adds=116.0, values=3.0, operations=0.5)
    """
    values = operations = matrices = 0
    for node in blueprint.nodes:
        if node.operation == "none" or node.record.is_identity:
            continue
        operations += node.repeat
        if node.parameters and node.operation not in _UNNORMALISED:
            values += node.repeat * node.expansion * node.channels * math.prod(node.output_size)
        if "conv" in node.operation and node.groups == 1:
            matrices += node.repeat * _orthogonalizing(node.channels, node.parameters // node.repeat)
    return Work(
        blueprint.multiply_adds + matrices / 3 / batch, values + blueprint.parameters / batch, operations / batch
    )  # fmt: skip


def _orthogonalizing(rows: int, weights: int) -> int:
    """Multiply-adds of `trainless.training.muon.orthogonalized` for a matrix: all but two products are square."""
    short, long = sorted((rows, weights // rows))
    return 2 * short**2 * long + _SQUARES * short**3


class SpeedModel:
    """Predicts how long a network learns from an image: by a time a multiply-add, one a value and one an operation.

    None of them is negative. They are fitted to the networks that were measured, by least squares of the relative
    errors; the fewer these are, the more the ratios between the three are the usual ones.

    Args:
        times: nanoseconds of the three, where they are known already; what is added then counts for nothing.

    Example:
        >>> model = SpeedModel()
        >>> model.add(Work(2e6, 1e5, 0.2), 0.001)
        >>> round(model.predict(Work(4e6, 2e5, 0.4)), 9)
        0.002
    """

    def __init__(self, times: Sequence[float] = ()) -> None:
        self._works: list[Work] = []
        self._seconds: list[float] = []
        self._known = np.array(times) if len(times) else None

    def add(self, work: Work, seconds: float) -> None:
        """Take a measured time, in seconds an image."""
        self._works.append(work)
        self._seconds.append(seconds)

    @property
    def times(self) -> tuple[float, ...]:
        """Nanoseconds of a multiply-add, a value and an operation; NaN where nothing was measured."""
        if self._known is not None:
            return tuple(self._known.tolist())
        if not self._works:
            return (float("nan"),) * len(_PRIOR)
        from scipy.optimize import nnls

        works, seconds = np.array(self._works, float), np.array(self._seconds) * 1e9
        usual = _PRIOR * np.exp(np.mean(np.log(seconds / (works @ _PRIOR))))
        rows = np.vstack([works * usual / seconds[:, None], np.sqrt(_TRUST) * np.eye(len(usual))])
        goal = np.concatenate([np.ones(len(works)), np.full(len(usual), np.sqrt(_TRUST))])
        return tuple((nnls(rows, goal)[0] * usual).tolist())

    def predict(self, work: Work) -> float:
        """Give the time that an image takes, in seconds; NaN where nothing was measured."""
        return float(np.array(work, float) @ np.array(self.times)) * 1e-9


def seconds_an_image(
    space: SearchSpace, architecture: Architecture, task: Task, *, batch: int = 64, threads: int = 1,
    precision: str = "32-true", seconds: float = 0.5, beaten: float = math.inf,
) -> float:  # fmt: skip
    """Measure the training time of an image in seconds: forward, backward and a step of the optimizer.

    Args:
        space: the search space.
        architecture: what is measured.
        task: shape of the images and number of classes.
        batch: images in a step.
        threads: threads of the training.
        precision: ``"32-true"``, ``"bf16-mixed"``, or ``"auto"`` for the faster one.
        seconds: after which no further step is begun; one is taken at least, with ``"auto"`` as many again before it.
        beaten: seconds an image; where a few images take longer than a batch does by these, no more is measured.

    Returns:
        Seconds, of the shortest of several steps; infinite where it is beaten.
    """
    with preserve_rng_state(), limited_threads(threads):
        network = space.build(space.canonical(architecture), task).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = torch.zeros(batch, *task.input_shape).contiguous(memory_format=torch.channels_last)
        labels, recipe = torch.arange(batch) % task.classes, fit_recipe(batch, photographs=False)
        if beaten < math.inf and few_seconds(network, images, labels, recipe) > batch * beaten:
            return math.inf
        if precision == "auto":
            precision = faster_precision(network, images, labels, recipe, most=seconds)
        return step_seconds(network, images, labels, recipe, precision, most=seconds) / batch


def _product_seconds(threads: int) -> float:
    """Seconds of some products of matrices on so many threads, which wait for each other in each as in a network."""
    matrix = torch.ones(_SIDE, _SIDE)
    with limited_threads(threads):
        matrix @ matrix  # threads begin
        begun = time.perf_counter()
        for _ in range(_PRODUCTS):
            matrix @ matrix
        return time.perf_counter() - begun


def fastest_threads(
    space: SearchSpace, architecture: Architecture, task: Task, threads: Iterable[int], *, batch: int = 64,
    precision: str = "32-true", seconds: float = 0.5, end: float = math.inf,
) -> tuple[float, int]:  # fmt: skip
    """Measure the training time of an image with several numbers of threads, and give the shortest and its number.

    On a machine that others use too, threads that wait for each other cost more than they bring: where they take longer
    for some products of matrices than one does, or for a few images than fewer threads for a batch, no more is
    measured.

    Args:
        space: the search space.
        architecture: what is measured.
        task: shape of the images and number of classes.
        threads: the numbers that there may be.
        batch: images in a step.
        precision: as for `seconds_an_image`.
        seconds: as there, for each number.
        end: value of `time.monotonic` after which no measurement but the first shall end.

    Returns:
        Seconds, and the number of threads.
    """
    best, taken = (math.inf, 1), 0.0
    for number in sorted(threads):
        begun = time.monotonic()
        if taken and (begun + taken > end or _product_seconds(number) > _product_seconds(1)):
            break
        found = seconds_an_image(
            space, architecture, task, batch=batch, threads=number, precision=precision, seconds=seconds,
            beaten=best[0],
        )  # fmt: skip
        best, taken = min(best, (found, number)), time.monotonic() - begun
    return best
