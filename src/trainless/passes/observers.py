"""Watch what a network does while it runs, without touching it: function calls, normalisations, the last feature map.

A `torch.overrides.TorchFunctionMode` sees every torch function a network calls, so a functional ReLU counts as much as
a module and nothing has to be hooked, patched or removed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from trainless.errors import NetworkError
from trainless.operations import is_perilous, strided_pointwise

__all__ = [
    "NORMALISATIONS",
    "TWICE_DIFFERENTIABLE",
    "FeatureObserver",
    "Observer",
    "Rules",
    "average_pool2d",
    "batch_norm_bypassed",
    "faster_pooling",
    "image_norm",
    "layer_norm",
    "precise_batch_norm",
    "products_in_bfloat16",
]

Rules = Mapping[Any, Callable[..., Any]]


class Observer(TorchFunctionMode):
    """While active, calls of some torch functions go to a rule in their place.

    Args:
        rules: for a torch function what is called instead: with the function itself, or the rule of an earlier
            dictionary for it, and then the arguments. Whatever they are, ``view`` works on images that lie
            channels-last, as it would on others, and no convolution endangers the process.

    Example:
        >>> with Observer({F.relu: lambda relu, x, inplace=False: -relu(x)}):
        ...     torch.nn.ReLU()(torch.tensor([-1.0, 1.0])).tolist()
        [-0.0, -1.0]
    """

    def __init__(self, *rules: Rules) -> None:
        super().__init__()
        self._rules: dict[Any, Callable[..., Any]] = dict(_ALWAYS)
        self._add(rules)

    def _add(self, rules: Iterable[Rules]) -> None:
        for mapping in rules:
            for function, rule in mapping.items():
                self._rules[function] = partial(rule, self._rules.get(function, function))

    @contextmanager
    def watching(self, *rules: Rules, alone: bool = False) -> Iterator[None]:
        """Have more rules for a while, on top of the others or in their place."""
        before = self._rules
        self._rules = dict(_ALWAYS) if alone else dict(before)
        self._add(rules)
        try:
            yield
        finally:
            self._rules = before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._rules.get(func, func)(*args, **(kwargs or {}))


def _view(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A view, or a copy of the same values where the images lie channels-last and a view is impossible."""
    try:
        return input.view(*args, **kwargs)
    except RuntimeError:
        return input.reshape(*args, **kwargs)


def _convolve(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> torch.Tensor:  # fmt: skip
    """A convolution, by other means where its backward pass would endanger the process."""
    if is_perilous(weight, stride, padding):
        return strided_pointwise(input, weight, bias, stride, groups)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


_ALWAYS: Mapping[Any, Callable[..., Any]] = {torch.Tensor.view: _view, F.conv2d: _convolve}


_PRODUCTS = (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear)


def products_in_bfloat16() -> Rules:
    """Rules that compute convolutions and linear maps in bfloat16, forward and backward.

    What goes in is rounded, and so is what comes out of them and of their gradients; sums are in single precision, and
    all else in the precision of what goes in.

    Example:
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(layer.weight)
        >>> with Observer(products_in_bfloat16()):
        ...     layer(torch.tensor([1.001])).tolist()
        [1.0]
    """
    return dict.fromkeys(_PRODUCTS, _in_bfloat16)


def _in_bfloat16(product: Callable[..., Any], input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    # Each weight is used once or nearly so: nothing would be found in a cache of rounded ones.
    with torch.autocast(input.device.type, torch.bfloat16, cache_enabled=False):
        output = product(input, *args, **kwargs)
    return output if output.dtype == input.dtype else output.to(input.dtype)


def faster_pooling() -> Rules:
    """Rules that compute average pooling of overlapping windows on channels-last images by a depthwise convolution.

    PyTorch's own kernel takes several times as long there.
    """
    return {F.avg_pool2d: _pool_faster}


def _pool_faster(pool: Callable[..., torch.Tensor], input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return average_pool2d(input, *args, **kwargs, pool=pool)


def average_pool2d(
    input: torch.Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, *,
    pool: Callable[..., torch.Tensor] = F.avg_pool2d,
) -> torch.Tensor:  # fmt: skip
    """Compute what ``pool``, by default PyTorch's average pooling, computes with these arguments, the fastest way.

    Example:
        >>> images = torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
        >>> expected = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
        >>> torch.allclose(average_pool2d(images, 3, 1, 1, count_include_pad=False), expected)
        True
    """
    kernel, step, pad = (_pair(value) for value in (kernel_size, stride or kernel_size, padding))
    lies_so = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    is_usual = lies_so and input.device.type == "cpu" and input.dtype == torch.float32
    if not is_usual or ceil_mode or divisor_override is not None or min(kernel) <= max(step):
        return pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    channels, size = input.shape[1], tuple(input.shape[2:])
    ones, shares = input.new_ones(channels, 1, *kernel), _window_shares(size, kernel, step, pad, count_include_pad)
    return F.conv2d(input, ones, None, step, pad, groups=channels) * shares


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


@cache
def _window_shares(
    size: tuple[int, ...], kernel: tuple[int, int], step: tuple[int, int], pad: tuple[int, int], with_pad: bool
) -> torch.Tensor:  # fmt: skip
    """One over the number of pixels that count in each window."""
    image, ones = (torch.ones(1, 1, *shape, dtype=torch.float32) for shape in (size, kernel))
    padded = F.pad(image, (pad[1], pad[1], pad[0], pad[0]), value=float(with_pad))
    return F.conv2d(padded, ones, stride=step).reciprocal()


def batch_norm_bypassed() -> Rules:
    """Rules that make batch normalisation the identity.

    Example:
        >>> with Observer(batch_norm_bypassed()):
        ...     torch.nn.BatchNorm1d(1)(torch.tensor([[1.0], [2.0]])).tolist()
        [[1.0], [2.0]]
    """
    return {F.batch_norm: lambda batch_norm, input, *args, **kwargs: input}


def precise_batch_norm() -> Rules:
    """Rules that give batch normalisation exact sums on channels-last images in single precision.

    PyTorch's kernel adds up a channel's values one after the other there, which puts the variance off by 1e-5 and
    GraSP by 2e-3; with the mean and variance from a pairwise sum both errors go, and it takes no longer.
    """
    return {F.batch_norm: _precise_batch_norm}


def _precise_batch_norm(
    batch_norm: Callable[..., torch.Tensor], input: torch.Tensor, running_mean: Any = None, running_var: Any = None,
    weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    lies_so = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    moves = any(t is not None and t.requires_grad for t in (weight, bias))
    if training and lies_so and input.device.type == "cpu" and input.dtype == torch.float32 and not moves:
        return _PreciseBatchNorm.apply(input, weight, bias, eps)  # type: ignore[no-untyped-call]
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


class _PreciseBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: Any, bias: Any, eps: float) -> torch.Tensor:
        rows = input.permute(0, 2, 3, 1).reshape(-1, input.shape[1])
        mean = rows.mean(0)
        variance = (rows - mean).square_().mean(0)
        ctx.save_for_backward(input, weight, mean, (variance + eps).rsqrt())
        ctx.eps = eps
        return torch.native_batch_norm(input, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        input, weight, mean, inverse = ctx.saved_tensors
        back, _, _ = torch.ops.aten.native_batch_norm_backward(
            gradients[0], input, weight, None, None, mean, inverse, True, ctx.eps, [True, False, False]
        )
        return back, None, None, None


def image_norm() -> Rules:
    """Rules that let batch normalisation normalise each image by itself, as it does with a batch of one.

    Example:
        >>> with Observer(image_norm()):
        ...     torch.nn.BatchNorm1d(1, eps=0)(torch.tensor([[[0.0, 2.0]], [[4.0, 8.0]]])).tolist()
        [[[-1.0, 1.0]], [[-1.0, 1.0]]]
    """
    return {F.batch_norm: _image_norm}


def _image_norm(
    batch_norm: Callable[..., torch.Tensor], input: torch.Tensor, running_mean: Any = None, running_var: Any = None,
    weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if input[0, 0].numel() < 2:
        raise NetworkError(
            f"A batch normalisation of maps of one value, of shape {tuple(input.shape)}, has nothing to normalise an "
            "image by: give larger images."
        )
    return F.instance_norm(input, None, None, weight, bias, True, 0.0, eps)


def layer_norm() -> Rules:
    """Rules that let batch normalisation normalise each image over all channels and positions at once.

    Example:
        >>> with Observer(layer_norm()):
        ...     torch.nn.BatchNorm1d(2, eps=0)(torch.tensor([[[0.0], [2.0]], [[4.0], [8.0]]])).flatten(1).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]
    """
    return {F.batch_norm: _layer_norm}


def _layer_norm(
    batch_norm: Callable[..., torch.Tensor], input: torch.Tensor, running_mean: Any = None, running_var: Any = None,
    weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    return F.group_norm(input, 1, weight, bias, eps)


# The rules of a `PassSpec` for batch normalisation, and those that can be differentiated twice.
NORMALISATIONS: Mapping[str, Callable[[], Rules]] = {
    "train": precise_batch_norm,
    "images": image_norm,
    "layer": layer_norm,
    "bypassed": batch_norm_bypassed,
}
TWICE_DIFFERENTIABLE: Mapping[str, Callable[[], Rules]] = {
    "train": dict,
    "images": image_norm,
    "layer": layer_norm,
    "bypassed": batch_norm_bypassed,
}


class FeatureObserver:
    """Keeps the variance of what each batch normalisation sees, and the feature map before global pooling.

    Attributes:
        rules: what to give an `Observer`.
        variances: for each batch normalisation that ran: variance per channel, number of values behind it, momentum.
        features: input of the last global pooling, by averages or ``amax``, or None where none was seen.
    """

    def __init__(self) -> None:
        self.variances: list[tuple[torch.Tensor, int, float]] = []
        self.features: torch.Tensor | None = None
        averages = (F.adaptive_avg_pool2d, F.avg_pool2d, torch.mean, torch.Tensor.mean)
        pools = (*averages, torch.amax, torch.Tensor.amax)
        self.rules: Rules = {F.batch_norm: self._batch_norm, **dict.fromkeys(pools, self._pool)}

    def _batch_norm(
        self, batch_norm: Any, input: torch.Tensor, running_mean: Any = None, running_var: Any = None,
        weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> torch.Tensor:  # fmt: skip
        # The kernel that F.batch_norm ends in hands out the batch's statistics, which costs no second look.
        output, _, inverse = torch.native_batch_norm(input, weight, bias, None, None, True, momentum, eps)
        self.variances.append((inverse.double().pow(-2) - eps, input.numel() // input.shape[1], momentum))
        return output

    def _pool(self, pool: Callable[..., torch.Tensor], input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        output = pool(input, *args, **kwargs)
        if input.dim() == 4 and output.numel() == input.shape[0] * input.shape[1]:
            self.features = input
        return output
