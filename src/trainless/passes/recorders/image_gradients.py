"""Recorders of what each image alone would change the weights by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from trainless.errors import NetworkError
from trainless.passes.marks import Batched, batched
from trainless.passes.objectives import loss, output_sum
from trainless.passes.observers import Rules
from trainless.passes.recorders.base import Backward, Recorder
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec

__all__ = ["GradientSigns", "TangentKernel"]

_DEFAULTS = (None, 1, 0, 1, 1)  # bias, stride, padding, dilation and groups of a convolution
_NUMBERS = 2**24  # of gradients by image that are computed at once: 64 MiB


class _Use(NamedTuple):
    """A use of a weight in a convolution or a linear map.

    Args:
        inputs: what went in.
        gradient: of what came out.
        mark: how both count images.
        settings: stride, padding, dilation and groups of a convolution; None of a linear map.
    """

    inputs: torch.Tensor
    gradient: torch.Tensor
    mark: Batched
    settings: tuple[Any, Any, Any, int] | None


class ImageGradients(Recorder):
    """Reduces the gradients of each image's own objective with respect to each weight.

    Images have to be normalised each for itself, so that no image has a part in another's output. Then the gradient of
    an image is what it has in the sum over all, which one backward pass gives: it is put together from what goes into a
    convolution or a linear map and the gradient of what comes out.
    """

    inputs = frozenset({"batch"})

    def __init__(self) -> None:
        self._uses: dict[int, list[_Use]] = {}
        self._reduced: dict[tuple[int, int], Any] = {}

    @classmethod
    def refusal(cls, spec: PassSpec) -> str:
        """Batch normalisation lets images have a part in each other."""
        if spec.batch_norm == "train":
            return "is measured where images are normalised each for itself, not by batch_norm='train'"
        return super().refusal(spec)

    def begin(self, run: Run) -> None:
        """Forget what an earlier attempt left."""
        self._uses, self._reduced = {}, {}

    def rules(self, run: Run) -> Rules:
        """Rules that see convolutions and linear maps."""

        def convolve(function: Callable[..., torch.Tensor], inputs: torch.Tensor, weight: Any, *rest: Any) -> Any:
            settings = (*rest, *_DEFAULTS[len(rest) :])[1:]
            return self._watched(run, inputs, weight, function(inputs, weight, *rest), settings)

        def map_linearly(function: Callable[..., torch.Tensor], inputs: torch.Tensor, weight: Any, *rest: Any) -> Any:
            return self._watched(run, inputs, weight, function(inputs, weight, *rest), None)

        return {F.conv2d: convolve, F.linear: map_linearly}

    def _watched(self, run: Run, inputs: torch.Tensor, weight: Any, output: torch.Tensor, settings: Any) -> Any:
        mark, kept, key = batched(inputs), inputs.detach(), id(weight)
        if output.requires_grad and mark is not None:

            def on_gradient(gradient: torch.Tensor) -> None:
                if run.objective is self.backward(run.spec).objective:  # type: ignore[union-attr]
                    with run.clock(type(self)):
                        self._uses.setdefault(key, []).append(_Use(kept, gradient, mark, settings))
                        self._reduce(run, key)

            output.register_hook(on_gradient)
        return output

    def _reduce(self, run: Run, key: int) -> None:
        """Reduce a weight when all its uses are there: kept for all layers they would take much memory."""
        weight = next((weight for weight in run.weights if id(weight.leaf) == key), None)
        if weight is not None and len(weight.inputs) == len(self._uses[key]):
            self._reduced[weight.order, key] = self.reduce(_by_image(weight.leaf, self._uses.pop(key)))

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """Refuse weights that were used in a way that was not seen."""
        self._uses = {}
        for weight, gradient in zip(run.weights, gradients, strict=True):
            if (weight.order, id(weight.leaf)) not in self._reduced and bool(gradient.any()):
                raise NetworkError(
                    f"The weight '{weight.key}' is used otherwise than in a convolution of images or a linear map: "
                    "its gradients cannot be had image by image."
                )

    def value(self) -> Any:
        """What the weights come to together, in their order."""
        return self.together([self._reduced[key] for key in sorted(self._reduced)])

    @abstractmethod
    def reduce(self, pieces: Iterator[torch.Tensor]) -> Any:
        """Reduce the gradients of one weight, which come in pieces of shape ``(images, numbers)``."""

    @abstractmethod
    def together(self, reduced: list[Any]) -> Any:
        """Put what the weights were reduced to together."""


class TangentKernel(ImageGradients):
    """Computes the inner products of the gradients of any two images' summed outputs."""

    name = "tangent_kernel"

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the summed outputs."""
        return Backward(output_sum, "weights")

    def reduce(self, pieces: Iterator[torch.Tensor]) -> torch.Tensor:
        """One matrix a weight, in double precision."""
        return sum(piece.double() @ piece.double().t() for piece in pieces)  # type: ignore[return-value]

    def together(self, reduced: list[torch.Tensor]) -> torch.Tensor | None:
        """Shape ``(images, images)``."""
        return sum(reduced[1:], reduced[0].clone()) if reduced else None


class GradientSigns(ImageGradients):
    """Adds up for each weight the signs of the gradients of each image's loss."""

    name = "gradient_signs"

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the loss, whose mean over the images has the signs of each."""
        return Backward(loss, "weights")

    def reduce(self, pieces: Iterator[torch.Tensor]) -> torch.Tensor:
        """One number for each number of the weight."""
        return torch.cat([piece.sign().sum(0) for piece in pieces])

    def together(self, reduced: list[torch.Tensor]) -> list[torch.Tensor]:
        """One tensor a weight."""
        return reduced


def _by_image(weight: torch.Tensor, uses: list[_Use]) -> Iterator[torch.Tensor]:
    """Gradients of a weight by image, in pieces of some of its numbers: shape ``(images, numbers)``."""
    groups = uses[0].settings[3] if uses[0].settings else 1
    outputs, numbers = len(weight) // groups, weight[0].numel()
    budget = max(1, _NUMBERS // uses[0].mark.images)
    some_groups, some_outputs = max(1, budget // (outputs * numbers)), max(1, min(outputs, budget // numbers))
    for group in range(0, groups, some_groups):
        for output in range(0, outputs, some_outputs):
            region = slice(None), slice(group, group + some_groups), slice(output, output + some_outputs)
            piece = _piece(weight, uses[0], region)
            for use in uses[1:]:
                piece = piece + _piece(weight, use, region)
            yield piece


def _piece(weight: torch.Tensor, use: _Use, region: tuple[slice, slice, slice]) -> torch.Tensor:
    inputs, gradient = (_images_first(tensor, use.mark) for tensor in (use.inputs, use.gradient))
    positions = gradient[0].numel() // len(weight) if use.settings else gradient[0].numel() // gradient.shape[-1]
    some = max(1, _NUMBERS // (positions * inputs.shape[1 if use.settings else -1] * weight[0, 0].numel()))
    rows = [
        torch.matmul(_outputs(part, use)[region], _columns(given, weight, use)[region[:2]].transpose(-1, -2)).flatten(1)
        for part, given in zip(gradient.split(some), inputs.split(some), strict=True)
    ]
    found = torch.cat(rows)
    # Several rows of what goes in may be of one image.
    return found if len(found) == use.mark.images else found.unflatten(0, (use.mark.images, -1)).sum(1)


def _images_first(tensor: torch.Tensor, mark: Batched) -> torch.Tensor:
    return tensor.movedim(mark.dim, 0) if mark.dim else tensor


def _columns(inputs: torch.Tensor, weight: torch.Tensor, use: _Use) -> torch.Tensor:
    """What each output is a weighed sum of: shape ``(rows, groups, weights of an output, positions)``."""
    if use.settings is None:
        return inputs.reshape(len(inputs), -1, inputs.shape[-1]).transpose(1, 2).unsqueeze(1)
    stride, padding, dilation, groups = use.settings
    columns: torch.Tensor = F.unfold(inputs, weight.shape[2:], dilation, padding, stride).unflatten(1, (groups, -1))
    return columns


def _outputs(gradient: torch.Tensor, use: _Use) -> torch.Tensor:
    """The gradient of what came out: shape ``(rows, groups, outputs, positions)``."""
    if use.settings is None:
        return gradient.reshape(len(gradient), -1, gradient.shape[-1]).transpose(1, 2).unsqueeze(1)
    outputs: torch.Tensor = gradient.flatten(2).unflatten(1, (use.settings[3], -1))
    return outputs
