"""Recorder of the tangent kernel as TE-NAS's public code has it: a backward pass an image, through a whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run

__all__ = ["CoupledTangentKernel"]


@contextmanager
def _differentiated(tensors: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Have all of these gradients for a while."""
    before = [tensor.requires_grad for tensor in tensors]
    try:
        yield [tensor.requires_grad_() for tensor in tensors]
    finally:
        for tensor, was in zip(tensors, before, strict=True):
            tensor.requires_grad_(was)


class CoupledTangentKernel(Recorder):
    """Computes the inner products of the gradients of any two images' summed outputs, normalised by the batch.

    Counted are the weights, and the gains of normalisations that are parameters by the name of ``weight``.
    """

    name = "coupled_tangent_kernel"
    inputs = frozenset({"batch"})

    def __init__(self) -> None:
        self._kernel: torch.Tensor | None = None

    def finish(self, run: Run) -> None:
        """Run the network once more, for gains that have gradients change how a batch is normalised."""
        weights = [weight.leaf for weight in run.weights]
        seen = frozenset().union(*(weight.names for weight in run.weights))
        gains = [
            tensor
            for name, tensor in run.tensors.items()
            if "weight" in name and name not in seen and tensor.is_floating_point()
        ]
        with _differentiated([*weights, *gains]) as leaves, run.tracker.watching({}, alone=True):
            output = run.forward(*(tensor.detach() for tensor in run.inputs))
            with run.tracker.recomputing():
                gradients = torch.stack([self._row(value, leaves) for value in output.flatten(1).sum(1)])
        # In pieces, for in double precision the whole would take twice the memory again.
        pieces = [piece.double() @ piece.double().t() for piece in gradients.split(2**16, dim=1)]
        self._kernel = torch.stack(pieces).sum(0)

    @staticmethod
    def _row(value: torch.Tensor, leaves: list[torch.Tensor]) -> torch.Tensor:
        gradients = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.flatten() for gradient in gradients])

    def value(self) -> torch.Tensor | None:
        """Shape ``(images, images)``."""
        return self._kernel
