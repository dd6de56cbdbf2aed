"""The estimator that trains a share of the epochs and extrapolates the learning curve to all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.estimators.base import Estimate
from trainless.estimators.curves import extrapolate
from trainless.estimators.trained import Trained
from trainless.training import TrainingResult
from trainless.types import Architecture

__all__ = ["LearningCurve"]

_LEAST = 3  # epochs that say where a curve leads


@dataclass(frozen=True)
class LearningCurve(Trained):
    """Trains each architecture for the first epochs of a whole training and extrapolates its accuracy to the end.

    The learning rate is that of the whole training. Where it falls towards the end, as it does by default, accuracies
    rise then more than their beginning shows: the order of architectures is what is estimated, the level is too low.

    Args:
        epochs: of the whole training.
        share: of these epochs that are run, at least 3.
        recipe: how it is trained.

    Raises:
        InputError: there is no epoch, or the share is not above 0 and at most 1.

    Example:
        >>> LearningCurve(epochs=20, share=0.25).fidelity
        'the first 5 of 20 epochs, and the learning curve extrapolated'
    """

    name = "learning-curve"
    measures_accuracy = False
    share: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise InputError(f"The share of the epochs is {self.share}, expected one above 0 and at most 1.")

    @property
    def until(self) -> int:
        """Epochs that are run."""
        return min(self.epochs, max(_LEAST, round(self.share * self.epochs)))

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return f"the first {self.until} of {self.epochs} epochs, and the learning curve extrapolated"

    def _options(self) -> Mapping[str, Any]:
        return {"until": self.until}

    def _estimate(self, architecture: Architecture, result: TrainingResult, valid_set: ImageDataset) -> Estimate:
        found = super()._estimate(architecture, result, valid_set)
        if found.reason:
            return found
        right = result.valid_accuracies[-1] / 100
        # Successive accuracies are of the same images, so this is more than how far they scatter.
        noise = 100 * math.sqrt(right * (1 - right) / len(valid_set)) / 2
        forecast = extrapolate(result.valid_accuracies, self.epochs, noise=noise)
        return replace(found, value=forecast.value, deviation=forecast.deviation)
