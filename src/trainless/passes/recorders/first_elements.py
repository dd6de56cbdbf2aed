"""Recorder of what the first element of each parameter tensor does to each output of each image."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
import torch.nn.functional as F

from trainless.errors import NetworkError
from trainless.passes.marks import origin
from trainless.passes.observers import Rules
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run
from trainless.passes.signals import OutputJacobian, PassSpec

__all__ = ["FirstElements"]

_MOST = 128  # parameter tensors, those that are registered first

# Gives what one image's gradient of an output has to be multiplied by and summed over, for a parameter's first element.
_Factor = Callable[[], torch.Tensor]


class FirstElements(Recorder):
    """Takes these gradients, a backward pass a class, of which no gradient of a whole weight is computed.

    The first 128 parameter tensors are looked at, in the order in which they are registered.
    """

    name = "output_jacobian"
    inputs = frozenset({"batch"})
    needs_graph = True

    def __init__(self) -> None:
        self._columns: dict[str, torch.Tensor] = {}
        self._seen: set[str] = set()
        self._found: OutputJacobian | None = None
        self._class = 0

    @classmethod
    def refusal(cls, spec: PassSpec) -> str:
        """Normalised by the batch, images have a part in each other."""
        if spec.batch_norm == "train" and spec.mode == "train":
            return "is measured in mode='eval', or where images are normalised each for itself"
        return super().refusal(spec)

    def begin(self, run: Run) -> None:
        """Forget what an earlier attempt left."""
        self._columns, self._seen, self._class = {}, set(), 0

    def rules(self, run: Run) -> Rules:
        """Rules that see what uses parameters."""

        def convolve(function: Callable[..., torch.Tensor], images: torch.Tensor, weight: Any, *rest: Any) -> Any:
            output = function(images, weight, *rest)
            bias, stride, padding = (*rest, *(None, 1, 0)[len(rest) :])[:3]
            inputs = images.detach()[:, 0]
            return self._watched(run, output, {
                self._name(run, weight): lambda: _first_inputs(inputs, output.shape[2:], stride, padding),
                self._name(run, bias): _ones,
            })  # fmt: skip

        def map_linearly(function: Callable[..., torch.Tensor], images: torch.Tensor, weight: Any, *rest: Any) -> Any:
            inputs, bias = images.detach()[..., 0], rest[0] if rest else None
            return self._watched(
                run, function(images, weight, *rest), {
                    self._name(run, weight): lambda: inputs, self._name(run, bias): _ones,
                }, channels=-1,
            )  # fmt: skip

        def normalise(
            function: Callable[..., torch.Tensor], images: torch.Tensor, mean: Any = None, variance: Any = None,
            weight: Any = None, bias: Any = None, *rest: Any, **settings: Any,
        ) -> Any:  # fmt: skip
            output = function(images, mean, variance, weight, bias, *rest, **settings)
            first = output.detach()[:, 0]
            return self._watched(run, output, {
                self._name(run, weight): lambda: (first - bias.detach()[0]) / weight.detach()[0],
                self._name(run, bias): _ones,
            })  # fmt: skip

        return {F.conv2d: convolve, F.conv1d: convolve, F.linear: map_linearly, F.batch_norm: normalise}

    @staticmethod
    def _name(run: Run, tensor: Any) -> Hashable:
        """What a parameter is called by; None of what is no registered one."""
        if tensor is None:
            return None
        mark = origin(tensor)
        if mark is not None:
            return mark.key
        return next((weight.key for weight in run.tracker.weights.values() if weight.leaf is tensor), None)

    def _watched(
        self, run: Run, output: torch.Tensor, factors: dict[Hashable, _Factor], channels: int = 1
    ) -> torch.Tensor:  # fmt: skip
        names = [name for name in factors if isinstance(name, str)]
        self._seen.update(names)  # those of dead branches have no gradients
        if output.requires_grad and names:

            def on_gradient(gradient: torch.Tensor) -> None:
                with run.clock(FirstElements):
                    first = gradient.select(channels, 0)
                    for name in names:
                        by_image = (first * factors[name]()).reshape(len(run.inputs[0]), -1).sum(1)
                        columns = self._columns.setdefault(name, by_image.new_zeros(run.classes, len(by_image)))
                        columns[self._class] += by_image

            output.register_hook(on_gradient)
        return output

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Go back from each class to the images."""
        inputs = [tensor for tensor in run.inputs if tensor.is_floating_point()]
        for number in range(output.shape[1]):
            self._class = number
            run.gradients(output[:, number].sum(), inputs, keep_graph=True)
        names = [name for name, _ in run.network.named_parameters()]
        missing = next((name for name in names[:_MOST] if name not in self._seen and self._is_used(run, name)), None)
        if missing is not None:
            raise NetworkError(
                f"The parameter '{missing}' is none of a convolution, a linear map or a batch normalisation: what its "
                "first element does to each image cannot be seen."
            )
        nothing = output.new_zeros(output.shape[1], len(output))
        columns = [self._columns.get(name, nothing) for name in names[:_MOST]]
        self._found = OutputJacobian(torch.stack(columns).permute(2, 1, 0), output.detach(), len(names))

    def _is_used(self, run: Run, name: str) -> bool:
        """Whether a weight is made of a parameter."""
        return run.tensors[name].requires_grad and any(name in weight.names for weight in run.weights)

    def value(self) -> OutputJacobian | None:
        """The Jacobian with the outputs."""
        return self._found


def _ones() -> torch.Tensor:
    return torch.ones(())


def _first_inputs(channel: torch.Tensor, size: torch.Size, stride: Any, padding: Any) -> torch.Tensor:
    """The inputs that the first element of a kernel meets, one for each position of the output."""
    dims = len(size)
    steps, pads = (value if isinstance(value, tuple | list) else (value,) * dims for value in (stride, padding))
    around = [pad for pad in reversed(pads) for _ in range(2)]
    padded = F.pad(channel, around)
    places = tuple(slice(0, step * (count - 1) + 1, step) for count, step in zip(size, steps, strict=True))
    return padded[(slice(None), *places)]
