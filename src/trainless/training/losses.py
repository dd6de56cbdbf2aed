"""The loss that networks learn by."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, log_softmax

__all__ = ["smoothed_cross_entropy"]


def smoothed_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Compute the cross-entropy whose targets are spread over all classes, each image weighed by its own class.

    PyTorch weighs what is spread by the class that it falls on: with a class that counts fifty times as much, all
    images are then best answered by that one.

    Args:
        logits: shape ``(images, classes)``.
        targets: classes, or class probabilities of shape ``(images, classes)``.
        weights: of the classes; None weighs them alike.
        smoothing: share of a target that is spread.

    Returns:
        The mean over the weights of the images; of class probabilities over the images, as PyTorch has it.

    Example:
        >>> logits = torch.tensor([[3.0, 0.0]])
        >>> alike = smoothed_cross_entropy(logits, torch.tensor([0]), None, 0.1)
        >>> torch.equal(alike, smoothed_cross_entropy(logits, torch.tensor([0]), torch.tensor([1.0, 50.0]), 0.1))
        True
    """
    if weights is None or not smoothing:
        return cross_entropy(logits, targets, weights, label_smoothing=smoothing)
    is_soft = targets.is_floating_point()
    own = targets @ weights if is_soft else weights[targets]
    spread = (own * -log_softmax(logits.float(), 1).mean(1)).sum() / (len(targets) if is_soft else own.sum())
    return (1 - smoothing) * cross_entropy(logits, targets, weights) + smoothing * spread
