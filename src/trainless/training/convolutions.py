"""Convolutions whose weights PyTorch learns slowly, or at the peril of the process, learnt another way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.nn.grad import conv2d_input

from trainless.operations import is_perilous, strided_pointwise

__all__ = ["mended_convolutions"]

Pair = tuple[int, int]


@contextmanager
def mended_convolutions(network: torch.nn.Module) -> Iterator[None]:
    """Let the convolutions of a network learn fast and safely; what they give is the same but for rounding.

    - Depthwise ones on maps that are smaller than their kernel: there oneDNN has no kernel of its own for the gradient
      of the weights, and takes some forty times as long as for the output (`benchmarks/depthwise.py`). Here it is one
      product and one sum for each weight of a channel.
    - Strided ones of 1 x 1 with few channels, as `trainless.operations.is_perilous` has it.

    Args:
        network: on the CPU in float32 it gains; elsewhere nothing changes.

    Example:
        >>> layer = torch.nn.Conv2d(8, 8, 5, padding=2, groups=8)
        >>> with mended_convolutions(layer):
        ...     layer(torch.ones(2, 8, 4, 4)).sum().backward()
        >>> layer.weight.grad[0, 0, 2].tolist()
        [16.0, 24.0, 32.0, 24.0, 16.0]
    """
    changed = [
        (module, kind)
        for module in network.modules()
        if type(module) is torch.nn.Conv2d and module.padding_mode == "zeros" and (kind := _kind(module)) is not None
    ]
    for module, kind in changed:
        module.__class__ = kind  # not an attribute: copies of the network are to compute with their own
    try:
        yield
    finally:
        for module, _ in changed:
            module.__class__ = torch.nn.Conv2d


def _kind(layer: torch.nn.Conv2d) -> type[torch.nn.Conv2d] | None:
    """The class of its own that a convolution gets."""
    if is_perilous(layer.weight, layer.stride, layer.padding):
        return _PointwiseConv2d
    is_depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
    is_plain = layer.dilation == (1, 1) and not isinstance(layer.padding, str)
    return _DepthwiseConv2d if is_depthwise and is_plain else None


class _PointwiseConv2d(torch.nn.Conv2d):
    """Leaves out what its stride skips before it computes."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return strided_pointwise(input, weight, bias, self.stride, self.groups)


class _DepthwiseConv2d(torch.nn.Conv2d):
    """Takes the quick way where it is one."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        padding, is_small = cast(Pair, self.padding), False
        for size, kernel, pad, step in zip(input.shape[2:], self.kernel_size, padding, self.stride, strict=True):
            is_small |= (size + 2 * pad - kernel) // step + 1 < kernel
        is_plain = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
        if not (is_small and is_plain and weight.requires_grad and not torch.is_autocast_enabled("cpu")):
            output: torch.Tensor = super()._conv_forward(input, weight, bias)
            return output
        output = _Convolution.apply(input, weight, self.stride, padding)  # type: ignore[no-untyped-call]
        return output if bias is None else output + bias.view(-1, 1, 1)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair) -> torch.Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.nn.functional.conv2d(images, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        images, weight = ctx.saved_tensors
        of_images = None
        if ctx.needs_input_grad[0]:
            of_images = conv2d_input(images.shape, weight, gradient, ctx.stride, ctx.padding, groups=len(weight))
        return of_images, _weight_gradient(images, gradient, weight.shape[2:], ctx.stride, ctx.padding), None, None


def _weight_gradient(
    images: torch.Tensor, gradient: torch.Tensor, kernel: torch.Size, stride: Pair, padding: Pair
) -> torch.Tensor:
    """Sum, for each weight of a channel, what it was multiplied by with the gradient of what came of that."""
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # channels last, as they mostly lie
    found = images.new_zeros(*kernel, images.shape[-1])
    rows, columns = (
        [_met(offset, images.shape[axis], gradient.shape[axis], stride[axis - 1], padding[axis - 1])
         for offset in range(kernel[axis - 1])]
        for axis in (1, 2)
    )  # fmt: skip
    for row, (outputs_y, inputs_y) in enumerate(rows):
        for column, (outputs_x, inputs_x) in enumerate(columns):
            products = gradient[:, outputs_y, outputs_x] * images[:, inputs_y, inputs_x]
            torch.sum(products, (0, 1, 2), out=found[row, column])
    return found.permute(2, 0, 1).unsqueeze(1)


def _met(offset: int, inputs: int, outputs: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Which outputs a weight takes part in along one axis, padding aside, and the inputs it is multiplied by there."""
    first = max(0, -((offset - padding) // stride))
    last = max(first, min(outputs, (inputs - 1 - offset + padding) // stride + 1))
    begin = offset - padding + stride * first
    return slice(first, last), slice(begin, begin + stride * (last - first), stride)
