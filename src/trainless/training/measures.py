"""Classification metrics of logits, higher is better: accuracy, balanced accuracy, macro-F1, log loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainless.errors import UnknownNameError

if TYPE_CHECKING:
    import torch

__all__ = ["BALANCED", "MEASURES", "Measure", "measure_named"]

MEASURES = ("accuracy", "balanced-accuracy", "macro-f1", "log-loss")
"""Names of the measures: the first three in percent, the last in nats and with its sign turned."""

BALANCED = ("balanced-accuracy", "macro-f1")
"""Measures for which rare classes count as much as others."""

Measure = Callable[["torch.Tensor", "torch.Tensor"], float]


def measure_named(name: str, classes: int) -> Measure:
    """Look up a measure of logits, shape ``(images, classes)``, against labels, shape ``(images,)``; higher is better.

    Balanced accuracy is the mean over the classes that occur of the share that is recognised; macro-F1 the mean of
    their F1. Log loss is the mean cross-entropy, turned round.

    Args:
        name: one of `MEASURES`.
        classes: number of classes.

    Raises:
        UnknownNameError: there is no such measure.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]]), torch.tensor([0, 0, 0, 1])
        >>> [round(measure_named(name, 2)(logits, labels), 2) for name in MEASURES]
        [75.0, 83.33, 73.33, -0.63]
    """
    from torchmetrics.functional import classification as metrics

    if name not in MEASURES:
        raise UnknownNameError("measure", name, MEASURES)

    def measure(logits: torch.Tensor, labels: torch.Tensor) -> float:
        import torch

        if name == "log-loss":
            return -float(torch.nn.functional.cross_entropy(logits.double(), labels))
        if name == "accuracy":
            return 100 * float((logits.argmax(1) == labels).double().mean())
        if name == "balanced-accuracy":
            return 100 * float(metrics.multiclass_accuracy(logits, labels, classes, average="macro"))
        return 100 * float(metrics.multiclass_f1_score(logits, labels, classes, average="macro"))

    return measure
