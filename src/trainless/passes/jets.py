"""The Hessian of the loss between the weights and their gradient, by second-order forward mode.

GraSP needs the one number θᵀHg, the mixed derivative at 0 of L(θ + sθ + tg) in s and t. A double backward pass gets it
by way of the vector Hg, at about seven times the cost of a forward pass beyond the gradient itself. Here the four
numbers (value, ∂/∂s, ∂/∂t, ∂²/∂s∂t) of every activation travel forward together, as four blocks of one batch:
along s a weight moves by itself, so a convolution takes six ordinary ones, whatever its kind, and nothing is kept.

The result is the derivative that double backward gives, ReLU taken as linear on either side of its kink: exactly so
in float64, and nearer to that than double backward in float32 where images lie in channels-last order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from trainless.passes.marks import METADATA
from trainless.passes.observers import average_pool2d

__all__ = ["Jet", "JetError", "hessian_form"]


class JetError(Exception):
    """An operation was met that jets do not know; a double backward pass still does."""


class Jet(torch.Tensor):
    """Activations with their derivatives: blocks (value, ∂/∂s, ∂/∂t, ∂²/∂s∂t) along the batch dimension.

    To a network it is a tensor of the images' shape, on which only those functions work for which there is a rule.

    Args:
        blocks: shape ``(4 · images, ...)``.
        directions: for each weight tensor that moves, by ``id``, its direction in t.

    Raises:
        JetError: a torch function or a method is used for which there is no rule.

    Example:
        >>> jet = Jet(torch.ones(8, 3), {})
        >>> jet.shape
        torch.Size([2, 3])
    """

    blocks: torch.Tensor
    directions: Mapping[int, torch.Tensor]

    @staticmethod
    def __new__(cls, blocks: torch.Tensor, directions: Mapping[int, torch.Tensor]) -> Jet:
        shape = (blocks.shape[0] // 4, *blocks.shape[1:])
        jet: Jet = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=blocks.dtype, device=blocks.device)
        return jet

    def __init__(self, blocks: torch.Tensor, directions: Mapping[int, torch.Tensor]) -> None:
        self.blocks = blocks
        self.directions = directions
        # The last ReLU of this activation: several edges of a cell apply one to the same node.
        self._rectified: tuple[Any, torch.Tensor, torch.Tensor] | None = None

    @property
    def images(self) -> int:
        """Number of images, a quarter of the rows."""
        return self.blocks.shape[0] // 4

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Jet(shape={tuple(self.blocks.shape)})"

    def _new(self, blocks: torch.Tensor) -> Jet:
        return Jet(blocks, self.directions)

    def _quarters(self) -> torch.Tensor:
        quarters: torch.Tensor = self.blocks.unflatten(0, (4, self.images))
        return quarters

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule = _RULES.get(function)
        if rule is not None:
            return rule(*args, **(kwargs or {}))
        if function in METADATA:  # it answers as the tensor would in whose place it stands
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **(kwargs or {}))
        raise JetError(f"jets have no rule for {getattr(function, '__name__', function)}")

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise JetError(f"jets have no rule for {func}")


def _jet(value: Any) -> Jet:
    """The argument of a rule, which has to be a jet."""
    if not isinstance(value, Jet):
        raise JetError(f"jets have no rule for a {type(value).__name__} in that place")
    return value


def _add(input: Any, other: Any, *, alpha: float = 1) -> Jet:
    if not isinstance(input, Jet):
        input, other = other, input
    if isinstance(other, Jet) and input.shape == other.shape and alpha == 1:
        return _jet(input)._new(input.blocks + other.blocks)
    if isinstance(other, int | float) and other == 0:
        return _jet(input)
    raise JetError(f"jets have no rule for adding {type(other).__name__}")


def _add_in_place(input: Any, other: Any) -> Jet:
    # Other names of this activation must see the change too, as they would with a tensor.
    _jet(input).blocks = _add(input, other).blocks
    return _jet(input)


def _multiply(input: Any, factor: Any) -> Jet:
    if not isinstance(input, Jet):
        input, factor = factor, input
    jet = _jet(input)
    if isinstance(factor, Jet) and (jet.images, jet.dim()) == (factor.images, factor.dim()):
        return jet._new(_product(jet._quarters(), factor._quarters()).flatten(0, 1))
    if not isinstance(factor, int | float):
        raise JetError(f"jets have no rule for multiplying by {type(factor).__name__}")
    return jet._new(jet.blocks * factor)


def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Jet:
    if start_dim == 0:
        raise JetError("jets keep their batch dimension")
    return _jet(input)._new(input.blocks.flatten(start_dim, end_dim))


def _reshape(input: Any, *shape: Any) -> Jet:
    jet = _jet(input)
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if not sizes or sizes[0] != jet.images:
        raise JetError("jets keep their batch dimension")
    return jet._new(jet.blocks.reshape(4 * jet.images, *sizes[1:]))


def _mean(input: Any, dim: Any = None, keepdim: bool = False) -> Jet:
    jet = _jet(input)
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if not dims or any(d % jet.dim() == 0 for d in dims):
        raise JetError("jets keep their batch dimension")
    return jet._new(jet.blocks.mean(dims, keepdim=keepdim))


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product rule twice, on four blocks each; one of them may have one pixel for all of the other's."""
    out = a * b[0]
    out[1:3].addcmul_(a[0], b[1:3])
    out[3].addcmul_(a[1], b[2]).addcmul_(a[2], b[1]).addcmul_(a[0], b[3])
    return out


def _weighted(operation: Callable[..., torch.Tensor]) -> Callable[..., Jet]:
    """The rule of an operation that is linear in its input and in its weight."""

    def rule(input: Any, weight: Any, bias: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Jet:
        if isinstance(weight, Jet):
            raise JetError("jets have no rule for a weight that depends on the images")
        x, n = _jet(input).blocks, input.images
        y = operation(x, weight, None, *args, **kwargs).to(x.dtype)  # from bfloat16, where products are in that
        direction = input.directions.get(id(weight))
        if direction is not None:
            # Product rule; the weight's own derivatives are (weight, direction, 0).
            y[n : 2 * n] += y[:n]
            y[3 * n :] += y[2 * n : 3 * n]
            y[2 * n :] += operation(x[: 2 * n], direction, None, *args, **kwargs)
        if bias is not None:
            y[:n] += bias if operation is F.linear else bias.view(-1, *[1] * (y.dim() - 2))
        return _jet(input)._new(y)

    return rule


def _matmul(input: Any, other: Any) -> Jet:
    """A product with a matrix on the right, which is a linear map."""
    if not isinstance(other, torch.Tensor) or isinstance(other, Jet) or other.dim() != 2:
        raise JetError("jets have no rule for this matrix product")
    product: Jet = _LINEAR_PRODUCT(input, other)
    return product


def _batch_norm(
    input: Jet,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Jet:
    x = input.blocks
    # Channels last costs no copy where the images lie so already.
    rows = x.movedim(1, -1).reshape(4, -1, x.shape[1])
    if training:
        out = _normalise(rows, weight, bias, eps)
    else:
        if running_mean is None or running_var is None:
            raise JetError("batch normalisation has no statistics")
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        out = rows * scale
        out[0] -= running_mean * scale
        if bias is not None:
            out[0] += bias
    return input._new(out.view(x.shape[0], *x.shape[2:], x.shape[1]).movedim(-1, 1))


# Rows are worked on in pieces of so many numbers, which stay in a core's cache from one operation to the next.
_PIECE = 1 << 18


def _normalise(rows: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float) -> torch.Tensor:
    """Batch normalisation of ``(4, images · pixels, channels)``: the derivatives of c·(mean c² + eps)^(-1/2)."""
    means = rows.mean(1)
    length = max(_PIECE // (4 * rows.shape[2]), 1)
    v, vs, vt, vst = _moments(rows, means, length)
    r = (v + eps).rsqrt()
    rs, rt = -0.5 * r**3 * vs, -0.5 * r**3 * vt
    rst = -0.5 * r**3 * vst + 0.75 * r**5 * vs * vt
    factors = torch.stack([r, rs, rt, rst])
    if weight is not None:
        factors = factors * weight
    r, rs, rt, rst = factors
    # The same sums as below, of the means: what centring would take away.
    m, ms, mt, mst = means.double()
    shifts = -torch.stack([m * r, ms * r + m * rs, mt * r + m * rt, mst * r + m * rst + mt * rs + ms * rt])
    if bias is not None:
        shifts[0] += bias
    shifts, factors = shifts.to(rows.dtype).unsqueeze(1), factors.to(rows.dtype).unsqueeze(1)
    out = torch.empty_like(rows)
    for x, y in zip(rows.split(length, 1), out.split(length, 1), strict=True):
        torch.addcmul(shifts, x, factors[:1], out=y)
        y[1:].addcmul_(x[:1], factors[1:])
        y[3].addcmul_(x[2], factors[1]).addcmul_(x[1], factors[2])
    return out


def _moments(rows: torch.Tensor, means: torch.Tensor, length: int) -> tuple[torch.Tensor, ...]:
    """Variance over the rows and its derivatives, per channel, in double precision."""
    with_value = torch.zeros(rows.shape[0], rows.shape[2], dtype=torch.float64, device=rows.device)
    mixed = torch.zeros_like(with_value[0])
    for piece in rows.split(length, 1):
        centred = piece - means.unsqueeze(1)
        with_value += (centred * centred[0]).sum(1)
        mixed += (centred[1] * centred[2]).sum(0)
    v, vs, vt, vst = with_value / rows.shape[1]
    return v, 2 * vs, 2 * vt, 2 * (vst + mixed / rows.shape[1])


def _piecewise_linear(slope: Callable[..., torch.Tensor]) -> Callable[..., Jet]:
    """The rule of an activation function through the origin: every block takes the slope at the value."""

    def rule(input: Jet, *args: Any, inplace: bool = False, **kwargs: Any) -> Jet:
        inplace = inplace or (bool(args) and args[-1] is True)
        key = (slope, args, *kwargs.items())
        if input._rectified is None or input._rectified[0] != key or input._rectified[1] is not input.blocks:
            slopes = slope(input.blocks[: input.images], *args, **kwargs)
            input._rectified = key, input.blocks, (input._quarters() * slopes).flatten(0, 1)
        result = input._rectified[2]
        if not inplace:
            return input._new(result)
        input.blocks = result
        return input

    return rule


def _relu_slope(x: torch.Tensor, *_: Any) -> torch.Tensor:
    # A product with 0 and 1: torch.where on broadcast blocks is five times slower.
    positive: torch.Tensor = x > 0
    return positive.to(x.dtype)


def _hard_tangent(input: Jet, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Jet:
    value = input.blocks[: input.images]
    inside = (value > min_val) & (value < max_val)
    result = input._quarters() * inside.to(value.dtype)
    result[0] = value.clamp(min_val, max_val)  # not through the origin beyond its bounds
    if not inplace:
        return input._new(result.flatten(0, 1))
    input.blocks = result.flatten(0, 1)
    return input


def _relu6(input: Jet, inplace: bool = False) -> Jet:
    return _hard_tangent(input, 0.0, 6.0, inplace)


def _leaky_relu_slope(x: torch.Tensor, negative_slope: float = 0.01, *_: Any) -> torch.Tensor:
    return _relu_slope(x) * (1 - negative_slope) + negative_slope


def _sigmoid(input: Jet) -> Jet:
    x, xs, xt, xst = input._quarters()
    y = x.sigmoid()
    first = y * (1 - y)
    second = first * (1 - 2 * y)
    return input._new(torch.cat([y, first * xs, first * xt, first * xst + second * xs * xt]))


def _relu_in_place(input: Jet) -> Jet:
    jet: Jet = _RULES[F.relu](input, inplace=True)
    return jet


def _linear_map(operation: Callable[..., torch.Tensor]) -> Callable[..., Jet]:
    def rule(input: Jet, *args: Any, **kwargs: Any) -> Jet:
        return input._new(operation(input.blocks, *args, **kwargs))

    return rule


def _max_pool2d(
    input: Jet, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Jet:  # fmt: skip
    if return_indices:
        raise JetError("jets have no rule for the indices of a pooling")
    x, n = input.blocks, input.images
    value, index = F.max_pool2d(x[:n], kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
    picked = x.flatten(2).gather(2, index.flatten(2).repeat(4, 1, 1))
    return input._new(picked.view(4 * n, *value.shape[1:]))


def _concatenate(tensors: Any, dim: int = 0) -> Jet:
    if dim == 0 or not all(isinstance(t, Jet) for t in tensors):
        raise JetError("jets keep their batch dimension")
    first: Jet = tensors[0]
    return first._new(torch.cat([t.blocks for t in tensors], dim))


def _dropout(input: Jet, p: float = 0.5, training: bool = True, inplace: bool = False) -> Jet:
    if training and p > 0:
        raise JetError("jets cannot draw the mask of the first pass again")
    return input


_T = torch.Tensor
_LINEAR_PRODUCT = _weighted(lambda x, weight, bias: torch.matmul(x, weight))

_RULES: dict[Any, Callable[..., Any]] = {
    F.conv1d: _weighted(F.conv1d),
    F.conv2d: _weighted(F.conv2d),
    F.conv3d: _weighted(F.conv3d),
    F.linear: _weighted(F.linear),
    F.batch_norm: _batch_norm,
    F.relu: _piecewise_linear(_relu_slope),
    torch.relu: _piecewise_linear(_relu_slope),
    torch.relu_: _relu_in_place,
    F.relu6: _relu6,
    F.hardtanh: _hard_tangent,
    F.leaky_relu: _piecewise_linear(_leaky_relu_slope),
    F.avg_pool2d: _linear_map(average_pool2d),
    torch.sigmoid: _sigmoid,
    F.adaptive_avg_pool2d: _linear_map(F.adaptive_avg_pool2d),
    F.max_pool2d: _max_pool2d,
    F.dropout: _dropout,
    torch.flatten: _flatten,
    torch.mean: _mean,
    torch.reshape: _reshape,
    torch.cat: _concatenate,
    **dict.fromkeys((_T.add, _T.__add__, _T.__radd__, torch.add), _add),
    **dict.fromkeys((_T.add_, _T.__iadd__), _add_in_place),
    **dict.fromkeys((_T.mul, _T.__mul__, _T.__rmul__, torch.mul), _multiply),
    **dict.fromkeys((torch.matmul, _T.matmul, _T.__matmul__), _matmul),
    _T.flatten: _flatten,
    _T.reshape: _reshape,
    _T.view: _reshape,
    _T.mean: _mean,
}


@torch.no_grad()
def hessian_form(
    forward: Callable[[Any], Any],
    images: torch.Tensor,
    labels: torch.Tensor,
    weights: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    directions: dict[int, torch.Tensor] | None = None,
) -> float:
    """Compute θᵀHg of the mean cross-entropy, with the Hessian H at the weights θ and any direction g.

    Args:
        forward: the network as a function of its input, using the very tensors in `weights`.
        images: the batch, shape ``(images, channels, height, width)``.
        labels: class of each image, shape ``(images,)``.
        weights: the tensors that make up θ.
        gradients: the direction g, shaped as `weights`.
        directions: is filled with each weight's direction by ``id``; `forward` may add those of other tensors.

    Raises:
        JetError: the network uses an operation without a rule.

    Example:
        >>> weight = torch.eye(2)
        >>> images, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
        >>> round(hessian_form(lambda x: F.linear(x, weight), images, labels, [weight], [weight]), 6)  # p (1 - p)
        0.196612
    """
    blocks = images.new_zeros(4 * len(images), *images.shape[1:])
    if images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last):
        blocks = blocks.contiguous(memory_format=torch.channels_last)
    blocks[: len(images)] = images
    directions = {} if directions is None else directions
    directions.update((id(weight), gradient) for weight, gradient in zip(weights, gradients, strict=True))
    output = forward(Jet(blocks, directions))
    if not isinstance(output, Jet):
        raise JetError("the network lost the jets on the way")
    z, zs, zt, zst = output._quarters().double()
    p = z.softmax(1)
    first = (p * zst).sum(1) - zst.gather(1, labels[:, None])[:, 0]
    second = (p * zs * zt).sum(1) - (p * zs).sum(1) * (p * zt).sum(1)
    return float((first + second).mean())
