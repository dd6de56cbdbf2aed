"""Latency of networks predicted from their operations, each kind measured once, and the measurement of finalists."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch

from trainless.costs import Candidate
from trainless.hardware import Latency, limited_threads, measure_latency
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.nodes import INPUT, OUTPUT, Node
from trainless.seeding import preserve_rng_state
from trainless.types import Architecture, Task

__all__ = ["MARGIN", "WHOLE", "LatencyModel", "calmest_latency", "first_within", "is_within", "measured_latency"]

MARGIN = 0.05
"""Share of a limit on the latency that a measured network stays below, for what the next measurement says more."""

WHOLE = "a whole network for the sum of its operations"
"""Under this name a `LatencyModel` keeps its factor."""

_WARM_UP, _LEAST_RUNS = 2, 5
_SECONDS = 0.005  # of runs of an operation, from the fifth on
_TRIES = 3  # measurements of a finalist, of which the calmest counts: other work on the machine only ever adds


class LatencyModel:
    """Predicts the latency of one image on one thread: the sum of a network's operations, which are measured once each.

    What a network takes beside its operations is told by a factor, the mean ratio of networks that were measured whole.

    Args:
        task: shape of the images and number of classes.
        measured: milliseconds by kind of operation, and under `WHOLE` the factor, as an earlier model had them.
        mirror_average: whether networks average over each image and its mirror image.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space, model = search_space("nasbench201(channels=2, cells=1)"), LatencyModel(Task("toy", 10))
        >>> model.predict(space, space.make(["nor_conv_3x3"] * 6)) > model.predict(space, space.make(["none"] * 6)) > 0
        True
    """

    def __init__(
        self, task: Task, measured: Mapping[str, float] = MappingProxyType({}), *, mirror_average: bool = False
    ) -> None:
        self.task, self.measured, self.mirror_average = task, dict(measured), mirror_average

    def predict(self, space: SearchSpace, architecture: Architecture) -> float:
        """Predict the latency of an architecture as it is trained, without dead branches, in milliseconds."""
        return self.measured.get(WHOLE, 1.0) * self._sum(self._candidate(space, architecture))

    def calibrate(self, space: SearchSpace, architectures: Iterable[Architecture]) -> None:
        """Measure whole networks, and let predictions follow them."""
        ratios = [
            measured_latency(candidate, tries=1).milliseconds / total
            for architecture in architectures
            if (total := self._sum(candidate := self._candidate(space, architecture))) > 0
        ]
        self.measured[WHOLE] = float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0

    def _candidate(self, space: SearchSpace, architecture: Architecture) -> Candidate:
        return Candidate(space, space.canonical(architecture), self.task, mirror_average=self.mirror_average)

    def _sum(self, candidate: Candidate) -> float:
        blueprint = candidate.space.blueprint(candidate.architecture, self.task)
        return candidate.passes * sum(node.repeat * self._operation(node) for node in blueprint.nodes)

    def _operation(self, node: Node) -> float:
        if node.operation == "none" or node.record.is_identity:
            return 0.0
        kind = replace(
            node, name="", source=INPUT, target=OUTPUT, is_joined=False, repeat=1, position=0, block="", label=""
        )
        if str(kind) not in self.measured:
            self.measured[str(kind)] = _milliseconds(kind)
        return self.measured[str(kind)]


def _milliseconds(node: Node) -> float:
    """The shortest of some runs of one operation: other work on the machine only ever adds."""
    taken: list[float] = []
    with preserve_rng_state(), limited_threads(1), torch.inference_mode():
        module = node.record.build(node).eval()
        images = torch.randn(node.tiles, node.inputs, *(() if node.operation == "linear" else node.size))
        for _ in range(_WARM_UP):
            module(images)
        end = time.perf_counter() + _SECONDS
        while len(taken) < _LEAST_RUNS or time.perf_counter() < end:
            start = time.perf_counter()
            module(images)
            taken.append(time.perf_counter() - start)
    return 1000 * min(taken)


def measured_latency(candidate: Candidate, *, tries: int = _TRIES) -> Latency:
    """Measure the latency of a network as it is trained, without dead branches, as `calmest_latency` does."""
    trained = replace(candidate, architecture=candidate.space.canonical(candidate.architecture))
    return calmest_latency(trained.build(), trained.task, tries=tries)


def calmest_latency(network: torch.nn.Module, task: Task, *, tries: int = _TRIES) -> Latency:
    """Measure the latency of one image with its quartiles, the calmest of some measurements."""
    measurements = [measure_latency(network, task.input_shape) for _ in range(tries)]
    return min(measurements, key=lambda latency: latency.milliseconds)


def is_within(latency: Latency, most: float) -> bool:
    """Tell whether a measured latency keeps a limit with its spread and a margin: the upper quartile, and some more.

    Example:
        >>> [is_within(Latency(4.5, 4.4, high, 40, 1, 1, "cpu"), 5.0) for high in (4.7, 4.9)]
        [True, False]
    """
    return latency.high * (1 + MARGIN) <= most


def first_within(
    best_first: Iterable[Candidate], most: float
) -> tuple[Candidate | None, list[tuple[Candidate, Latency]]]:  # fmt: skip
    """Measure networks one after another until one keeps a limit on the latency.

    Returns:
        That one, None where there is none, and all that were measured.
    """
    measured: list[tuple[Candidate, Latency]] = []
    for candidate in best_first:
        measured.append((candidate, measured_latency(candidate)))
        if is_within(measured[-1][1], most):
            return candidate, measured
    return None, measured
