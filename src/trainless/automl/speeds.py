"""Prediction of training times from multiply-adds and memory traffic, fitted to what was measured on this machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainless.search_spaces.blueprint import Blueprint

__all__ = ["SpeedModel", "Work", "work_of"]

# Before two networks are measured: on a core of today a multiply-add of a training step, forward and backward, takes
# about a fifteenth of the time in which a value is written and read again.
_PRIOR = np.array([1.0, 15.0])


class Work(NamedTuple):
    """What a network does for one image.

    Args:
        multiply_adds: of its convolutions and linear layers.
        values: that its operations read and write.
    """

    multiply_adds: int
    values: int


def work_of(blueprint: Blueprint) -> Work:
    """Count what a network does for one image.

    Example:
        >>> from trainless.search_spaces.blueprint import Part
        >>> from trainless.search_spaces.nodes import Node
        >>> work_of(Blueprint((Part([Node("body", "conv", 2, 3, (4, 4))]),)))
        Work(multiply_adds=96, values=80)
    """
    values = 0
    for node in blueprint.nodes:
        if node.operation == "none" or node.record.is_identity:
            continue
        read, written = (int(np.prod(size)) for size in (node.size, node.output_size))
        values += node.repeat * node.expansion * (node.inputs * read + node.channels * written)
    return Work(blueprint.multiply_adds, values)


class SpeedModel:
    """Predicts how long a network learns from an image: a time a multiply-add and a time a value, both not negative.

    Both are fitted by least squares of the relative errors to the networks that were measured; of one alone, to that
    with the usual ratio of both times.

    Example:
        >>> model = SpeedModel()
        >>> model.add(Work(1000, 100), 2.5e-6)
        >>> round(model.predict(Work(2000, 200)), 9)
        5e-06
        >>> model.add(Work(1000, 200), 3e-6)
        >>> round(model.predict(Work(0, 1000)), 9)
        5e-06
    """

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._seconds: list[float] = []

    def add(self, work: Work, seconds: float) -> None:
        """Take a measured time, in seconds an image."""
        self._works.append(work)
        self._seconds.append(seconds)

    def predict(self, work: Work) -> float:
        """Give the time that an image takes, in seconds; NaN where nothing was measured."""
        if not self._works:
            return float("nan")
        return float(np.array(work, float) @ self._times())

    def _times(self) -> np.ndarray:
        from scipy.optimize import nnls

        works, seconds = np.array(self._works, float), np.array(self._seconds)
        if len(works) == 1:
            times: np.ndarray = _PRIOR * (seconds[0] / float(works[0] @ _PRIOR))
            return times
        scale = works.max(0).clip(1)
        fitted, _ = nnls(works / scale / seconds[:, None], np.ones(len(works)))
        return fitted / scale  # type: ignore[no-any-return]
