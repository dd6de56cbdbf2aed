"""Recorders of the weights and of their gradients, layer by layer."""

from __future__ import annotations

import torch

from trainless.passes.objectives import loss, output_sum
from trainless.passes.recorders.base import Backward, Recorder
from trainless.passes.run import Run, joined
from trainless.passes.signals import PassSpec
from trainless.passes.weights import Weight

__all__ = ["PartGradients", "WeightGradients", "Weights", "objective_of"]


def by_layer(layers: list[list[Weight]], tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Join tensors, one a weight, to one a layer."""
    remaining = iter(tensors)
    return [joined([next(remaining) for _ in layer]) for layer in layers]


def objective_of(spec: PassSpec) -> Backward:
    """The backward pass to the weights: from the loss where there are labels, from the summed outputs elsewhere."""
    return Backward(loss if spec.input in ("batch", "labelled_noise") else output_sum, "weights")


class Weights(Recorder):
    """Collects the weights that a forward pass uses, or, without one, those that it would use."""

    name = "weights"
    inputs = frozenset({"none", *Recorder.inputs})

    def __init__(self) -> None:
        self._weights: list[torch.Tensor] = []

    def finish(self, run: Run) -> None:
        """Take the weights of the forward pass, or find them."""
        layers = run.trace() if run.spec.input == "none" else run.layers
        self._weights = [joined([weight.leaf.detach() for weight in layer]) for layer in layers]

    def value(self) -> list[torch.Tensor]:
        """One tensor a layer."""
        return self._weights


class WeightGradients(Recorder):
    """Takes the gradients of the objective with respect to the weights."""

    name = "weight_gradients"

    def __init__(self) -> None:
        self._gradients: list[torch.Tensor] = []

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the loss where there are labels, from the summed outputs elsewhere."""
        return objective_of(spec)

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """Join them by layer."""
        self._gradients = by_layer(run.layers, gradients)

    def value(self) -> list[torch.Tensor]:
        """One tensor a layer, shaped as the weights."""
        return self._gradients


class PartGradients(Recorder):
    """Takes the gradients of the loss of each part of the batch with respect to the weights."""

    name = "part_gradients"
    inputs = frozenset({"halves"})

    def __init__(self) -> None:
        self._gradients: list[list[torch.Tensor]] = []

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the loss."""
        return Backward(loss, "weights")

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """Join them by layer."""
        self._gradients.append(by_layer(run.layers, gradients))

    def value(self) -> list[list[torch.Tensor]]:
        """For each part one tensor a layer, shaped as the weights."""
        return self._gradients
