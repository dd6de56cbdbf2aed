"""Result and resumable state of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TrainingResult", "TrainingState"]


@dataclass(frozen=True, eq=False)
class TrainingState:
    """State of a training after an epoch: all that is needed to resume it.

    It holds nothing but tensors, numbers and plain containers, so it can be saved with ``torch.save`` and read back
    with ``weights_only=True``.

    Args:
        weights: the network's state.
        best_weights: the network's state after the best epoch; where weights are averaged, that of the average.
        optimizer: the optimizer's state.
        train_losses: mean cross-entropy of each epoch, while the weights changed.
        valid_accuracies: accuracy on the validation images after each epoch, in percent.
        valid_measures: what decides the best epoch, higher is better; the accuracies where nothing else was asked for.
        seconds: time spent so far.
        progress: share of the schedule of the learning rate that is done, from 0 to 1.
        averaged_weights: the moving average of the network's states, where the recipe has one; empty otherwise.
        precision: in which it trains, ``"32-true"`` or ``"bf16-mixed"``.
        part: share of the images that were seen in the last epoch, which a deadline may cut.

    Example:
        >>> accuracies = [20.0, 45.0, 45.0]
        >>> TrainingState({}, {}, {}, [2.0, 1.5, 1.4], accuracies, accuracies, 1.0).best_epoch
        2
    """

    weights: Mapping[str, Any]
    best_weights: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    train_losses: Sequence[float]
    valid_accuracies: Sequence[float]
    valid_measures: Sequence[float]
    seconds: float
    progress: float = 0.0
    averaged_weights: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "32-true"
    part: float = 1.0

    @property
    def validated_weights(self) -> Mapping[str, Any]:
        """The network's state that was validated last: the average where there is one."""
        return self.averaged_weights or self.weights

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.valid_accuracies)

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest measure, counted from 1; the first of equal ones."""
        return max(range(self.epochs), key=lambda epoch: (self.valid_measures[epoch], -epoch)) + 1


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training: accuracy of the epoch that was kept, and curves by epoch.

    Args:
        valid_accuracy: accuracy on the validation images after the epoch that was kept, in percent. Where the epoch is
            chosen by these images, it is a little too high as an estimate for new ones: measure those on a test set.
        epochs: epochs that were run, fewer than asked for where it stopped early.
        best_epoch: the epoch that was kept, counted from 1: that with the highest measure on the validation images, or
            the last one where that was preferred; 0 where the weights that it began with were kept, being better.
        seconds: wall-clock time.
        train_losses: mean cross-entropy of each epoch, while the weights changed.
        valid_accuracies: accuracy on the validation images after each epoch, in percent.
        valid_measure: what decided the best epoch, there, where it is another than the accuracy.
        reason: why a training in a run-off came to nothing, with an accuracy of NaN; empty otherwise.
        precision: in which it was trained, ``"32-true"`` or ``"bf16-mixed"``; validation is in float32 always.
        part: share of the images that were seen in the last epoch, which a deadline may cut.

    Example:
        >>> TrainingResult(45.0, 3, 2, 1.0, (2.0, 1.5, 1.4), (20.0, 45.0, 44.0)).valid_accuracy
        45.0
    """

    valid_accuracy: float
    epochs: int
    best_epoch: int
    seconds: float
    train_losses: tuple[float, ...] = ()
    valid_accuracies: tuple[float, ...] = ()
    valid_measure: float | None = None
    reason: str = ""
    precision: str = "32-true"
    part: float = 1.0

    @property
    def worth(self) -> float:
        """What decides between trainings, higher is better: the measure, or the accuracy where there is none."""
        return self.valid_accuracy if self.valid_measure is None else self.valid_measure
