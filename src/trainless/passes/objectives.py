"""What backward passes start from: one number made of the outputs of a forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from trainless.errors import NetworkError
from trainless.passes.run import Run

__all__ = ["Objective", "loss", "output_sum"]

Objective = Callable[[Run, torch.Tensor], torch.Tensor]


def loss(run: Run, output: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the labels, on labelled noise of random ones.

    NetworkError where there are none, or they are no outputs of the network.
    """
    if output.dim() != 2:
        raise NetworkError(
            "This proxy reads the loss of a classifier, one row of logits an image; the network gives outputs of shape "
            f"{tuple(output.shape)}."
        )
    labels = run.labels
    if run.spec.input == "labelled_noise":
        drawn = torch.randint(output.shape[1], (len(output),), generator=run.streams("labels"))
        labels = drawn.to(output.device)
    if labels is None:
        raise NetworkError("This proxy reads the loss: give the labels of the images.")
    if int(labels.max()) >= output.shape[1] or int(labels.min()) < 0:
        raise NetworkError(
            f"The labels run from {int(labels.min())} to {int(labels.max())}, the network has {output.shape[1]} "
            "outputs: give labels from 0 up to the number of outputs less one."
        )
    return F.cross_entropy(output, labels)


def output_sum(run: Run, output: torch.Tensor) -> torch.Tensor:
    """Sum of all outputs."""
    return output.sum()
