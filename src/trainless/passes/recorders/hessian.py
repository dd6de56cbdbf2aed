"""Recorder of the Hessian between the weights and their gradients."""

from __future__ import annotations

import torch

from trainless.passes.jets import JetError, hessian_form
from trainless.passes.objectives import loss
from trainless.passes.observers import TWICE_DIFFERENTIABLE
from trainless.passes.recorders.base import Backward, Recorder
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec

__all__ = ["HessianForm"]


class HessianForm(Recorder):
    """Computes θᵀHg by second-order forward mode, or by a double backward pass where that has no rule."""

    name = "hessian_form"
    inputs = frozenset({"batch"})

    def __init__(self) -> None:
        self._gradients: list[torch.Tensor] = []
        self._form = float("nan")

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """The gradient of the loss, along which the Hessian is taken."""
        return Backward(loss, "weights")

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """Keep the gradients until the graph is gone."""
        self._gradients = gradients

    def finish(self, run: Run) -> None:
        """Compute the form."""
        weights = [weight.leaf for weight in run.weights]
        with run.tracker.watching(TWICE_DIFFERENTIABLE[run.spec.batch_norm](), run.products, alone=True):
            try:
                self._form = self._by_jets(run, weights)
            except JetError:
                self._form = self._by_double_backward(run, weights)
        self._gradients = []

    def _by_jets(self, run: Run, weights: list[torch.Tensor]) -> float:
        if len(run.inputs) > 1 or run.labels is None:
            raise JetError("jets travel from one input")
        directions = run.tracker.directions
        try:
            images = run.inputs[0].detach()
            return hessian_form(run.forward, images, run.labels, weights, self._gradients, directions)
        finally:
            directions.clear()

    def _by_double_backward(self, run: Run, weights: list[torch.Tensor]) -> float:
        output = run.forward(*(tensor.detach() for tensor in run.inputs))
        first = run.gradients(loss(run, output), weights, keep_graph=True, again=True)
        inner = torch.stack([(g.detach() * g).sum() for g in first]).sum()
        second = run.gradients(inner, weights, keep_graph=False)
        terms = [(w.detach() * h).sum().double() for w, h in zip(weights, second, strict=True)]
        return float(torch.stack(terms).sum())

    def value(self) -> float:
        """θᵀHg."""
        return self._form
