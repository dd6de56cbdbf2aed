"""Recorders of the codes of activation units."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch

from trainless.passes.marks import batched
from trainless.passes.observers import Rules
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run
from trainless.passes.units import UnitObserver, agreement, distinct_patterns, distinct_rows, packed

__all__ = ["DistinctPatterns", "ReluKernel", "ReluPatterns"]


class Codes(Recorder):
    """Reduces the codes of the units that the output depends on, as the network runs."""

    needs_graph = True
    goes_back = False
    reason = "no activation function was seen, and so no unit that is on or off"
    reduce: ClassVar[Any]

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._units = UnitObserver(type(self).reduce)

    def begin(self, run: Run) -> None:
        """Forget an earlier forward pass."""
        self._units = UnitObserver(type(self).reduce, lambda tensor: batched(tensor) is not None, run.masks)

    def rules(self, run: Run) -> Rules:
        """Rules that see every activation function."""
        return self._units.rules

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Keep the units that the output depends on, or all."""
        self._kept = self._units.reaching(output, run.spec.dead_branches)
        self._units = UnitObserver(type(self).reduce)

    def value(self) -> Any:
        """All units together, or None where there are none."""
        return self.together() if self._kept else None

    @abstractmethod
    def together(self) -> Any:
        """Put what was kept of all units together."""


class ReluKernel(Codes):
    """Counts for each two images the units on which they agree."""

    name = "relu_kernel"
    reduce = staticmethod(agreement)

    def together(self) -> torch.Tensor:
        """The sum over all activation functions."""
        total: torch.Tensor = sum(self._kept[1:], self._kept[0].clone())
        return total


class ReluPatterns(Codes):
    """Packs the units of each image into bits."""

    name = "relu_patterns"
    reduce = staticmethod(packed)

    def together(self) -> np.ndarray:
        """Shape ``(images, bytes)``."""
        return np.concatenate(self._kept, axis=1)


class DistinctPatterns(Codes):
    """Counts the distinct patterns of the images that turn a unit on."""

    name = "distinct_patterns"
    reduce = staticmethod(distinct_patterns)

    def together(self) -> int:
        """How many there are among all units."""
        return len(distinct_rows(np.concatenate(self._kept)))
