"""Recorder of the input Jacobian."""

from __future__ import annotations

import torch

from trainless.passes.objectives import output_sum
from trainless.passes.recorders.base import Backward, Recorder
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec

__all__ = ["InputJacobian"]


class InputJacobian(Recorder):
    """Takes the gradient of each image's summed outputs with respect to the image."""

    name = "input_jacobian"

    def __init__(self) -> None:
        self._jacobian: torch.Tensor | None = None

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the summed outputs to what goes in."""
        return Backward(output_sum, "inputs")

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """One row an image, all its inputs side by side."""
        rows = [gradient.contiguous().flatten(1) for gradient in gradients]
        self._jacobian = rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def value(self) -> torch.Tensor | None:
        """Shape ``(images, values of an image)``."""
        return self._jacobian
