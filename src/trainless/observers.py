"""Watch what a network does while it runs, without touching it: ReLU codes, normalisations, the last feature map.

A `torch.overrides.TorchFunctionMode` sees every torch function a network calls, so a functional ReLU counts as much as
a module and nothing has to be hooked, patched or removed afterwards.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = [
    "FeatureObserver",
    "Observer",
    "ReluObserver",
    "agreement",
    "batch_norm_bypassed",
    "packed",
    "precise_batch_norm",
]

Rules = Mapping[Any, Callable[..., Any]]


_RELUS: tuple[Any, ...] = (
    F.relu, F.relu_, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_,
    F.relu6, F.hardtanh, F.leaky_relu, F.leaky_relu_, F.prelu, torch.prelu, F.rrelu,
)  # fmt: skip


class Observer(TorchFunctionMode):
    """While active, calls of some torch functions go to a rule in their place.

    Args:
        rules: for a torch function what is called instead, with the same arguments. Several dictionaries may be given.
            Whatever they are, ``view`` works on images that lie channels-last, as it would on others.

    Example:
        >>> with Observer({F.relu: lambda x, inplace=False: x}):
        ...     torch.nn.ReLU()(torch.tensor([-1.0])).tolist()
        [-1.0]
    """

    def __init__(self, *rules: Rules) -> None:
        super().__init__()
        self._rules: dict[Any, Callable[..., Any]] = {torch.Tensor.view: _view}
        for each in rules:
            self._rules.update(each)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._rules.get(func, func)(*args, **(kwargs or {}))


def _view(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A view, or a copy of the same values where the images lie channels-last and a view is impossible."""
    try:
        return input.view(*args, **kwargs)
    except RuntimeError:
        return input.reshape(*args, **kwargs)


def batch_norm_bypassed() -> Rules:
    """Rules that make batch normalisation the identity.

    Example:
        >>> with Observer(batch_norm_bypassed()):
        ...     torch.nn.BatchNorm1d(1)(torch.tensor([[1.0], [2.0]])).tolist()
        [[1.0], [2.0]]
    """
    return {F.batch_norm: lambda input, *args, **kwargs: input}


def precise_batch_norm() -> Rules:
    """Rules that give batch normalisation exact sums on channels-last images in single precision.

    PyTorch's kernel adds up a channel's values one after the other there, which puts the variance off by 1e-5 and
    GraSP by 2e-3; with the mean and variance from a pairwise sum both errors go, and it takes no longer.
    """
    return {F.batch_norm: _precise_batch_norm}


def _precise_batch_norm(
    input: torch.Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    lies_so = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    moves = any(t is not None and t.requires_grad for t in (weight, bias))
    if training and lies_so and input.device.type == "cpu" and input.dtype == torch.float32 and not moves:
        return _PreciseBatchNorm.apply(input, weight, bias, eps)  # type: ignore[no-untyped-call]
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


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


class ReluObserver:
    """Collects the on-off codes of every ReLU, reduced at once to what is needed.

    Args:
        reduce: what to keep of a code: it is given the ReLU's output as a matrix (images, units) in any unit order.

    Attributes:
        rules: what to give an `Observer`.

    Example:
        >>> relus = ReluObserver(agreement)
        >>> with Observer(relus.rules):
        ...     output = torch.relu(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        >>> relus.reaching(output)[0].tolist()
        [[2.0, 1.0], [1.0, 2.0]]
    """

    def __init__(self, reduce: Callable[[torch.Tensor], Any]) -> None:
        self.reduce = reduce
        self.rules: Rules = {function: self._watch(function) for function in _RELUS}
        self._kept: list[tuple[Any, Any]] = []
        self._seen: dict[int, tuple[weakref.ref[torch.Tensor], int, Any]] = {}

    def _watch(self, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def rule(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            version = input._version
            output = function(input, *args, **kwargs)
            if function is F.hardtanh and (args[0] if args else kwargs.get("min_val", -1.0)) != 0:
                return output  # only from 0 on is it a ReLU: nn.ReLU6 is written so
            self._kept.append((output.grad_fn, self._reduced(input, version, output)))
            return output

        return rule

    def _reduced(self, source: torch.Tensor, version: int, output: torch.Tensor) -> Any:
        """Reduce a code, or take it from before: several edges of a cell apply ReLU to the same node."""
        known = self._seen.get(id(source))
        if known and known[0]() is source and known[1] == version:
            return known[2]
        with torch.no_grad():
            value = self.reduce(_as_matrix(output.detach()))
        if output is not source:
            self._seen[id(source)] = weakref.ref(source), version, value
        return value

    def reaching(self, output: torch.Tensor, dead_branches: bool = False) -> list[Any]:
        """What was kept of those ReLUs that the output depends on, or of all, in the order they ran."""
        if dead_branches or output.grad_fn is None:
            return [value for _, value in self._kept]
        reached: set[Any] = set()
        stack = [output.grad_fn]
        while stack:
            node = stack.pop()
            if node not in reached:
                reached.add(node)
                stack.extend(parent for parent, _ in node.next_functions if parent is not None)
        return [value for node, value in self._kept if node is None or node in reached]


def _as_matrix(output: torch.Tensor) -> torch.Tensor:
    """One row an image; in the order of memory, so that channels-last activations are not copied."""
    if output.dim() == 4 and output.is_contiguous(memory_format=torch.channels_last):
        output = output.permute(0, 2, 3, 1)
    return output.flatten(1) if output.dim() > 1 else output[:, None]


def agreement(output: torch.Tensor) -> torch.Tensor:
    """Count the units on which each pair of images agrees, as an exact float64 matrix.

    With X the binary codes, X Xᵀ + (1−X)(1−X)ᵀ = 2 X Xᵀ + units − s − sᵀ, where s is the diagonal of X Xᵀ: one product.
    A float32 product of zeros and ones is exact up to 2²⁴ units; wider layers are cut into such pieces.
    """
    total = torch.zeros(len(output), len(output), dtype=torch.float64, device=output.device)
    for piece in output.split(1 << 24, dim=1):
        codes = (piece > 0).to(torch.float32)
        both = (codes @ codes.t()).double()
        ones = both.diagonal()
        total += 2 * both + piece.shape[1] - ones[:, None] - ones[None, :]
    return total


def packed(output: torch.Tensor) -> np.ndarray:
    """Pack the codes into bits, shape (images, bytes)."""
    return np.packbits((output > 0).cpu().numpy(), axis=1)


class FeatureObserver:
    """Keeps the variance of what each batch normalisation sees, and the feature map before global pooling.

    Attributes:
        rules: what to give an `Observer`.
        variances: for each batch normalisation that ran: variance per channel, number of values behind it, momentum.
        features: input of the last global average pooling, or None where none was seen.
    """

    def __init__(self) -> None:
        self.variances: list[tuple[torch.Tensor, int, float]] = []
        self.features: torch.Tensor | None = None
        pools = (F.adaptive_avg_pool2d, F.avg_pool2d, torch.mean, torch.Tensor.mean)
        self.rules: Rules = {F.batch_norm: self._batch_norm, **{pool: self._watch(pool) for pool in pools}}

    def _batch_norm(
        self, input: torch.Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None,
        bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> torch.Tensor:  # fmt: skip
        # The kernel that F.batch_norm ends in hands out the batch's statistics, which costs no second look.
        output, _, inverse = torch.native_batch_norm(input, weight, bias, None, None, True, momentum, eps)
        self.variances.append((inverse.double().pow(-2) - eps, input.numel() // input.shape[1], momentum))
        return output

    def _watch(self, pool: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def rule(input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            output = pool(input, *args, **kwargs)
            if input.dim() == 4 and output.numel() == input.shape[0] * input.shape[1]:
                self.features = input
            return output

        return rule
