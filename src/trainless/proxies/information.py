"""Proxies of the Fisher information of a network's parameters: VKDNW."""

from __future__ import annotations

import math

import torch

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["INFORMATION", "trainable_layers", "vkdnw", "vkdnw_dimension", "vkdnw_entropy", "vkdnw_entropy_published"]

_PASS = PassSpec(mode="eval")
_SIGNALS = frozenset({Signal.OUTPUT_JACOBIAN})
_PAPER = "Tybl and Neumann, Training-free Neural Architecture Search through Variance of Knowledge of Deep Network \
Weights, CVPR 2025"
_TENTHS = 9
_SMALL = 1e-10
_SINGULAR = "the outputs depend on no parameter that is looked at"
# As public code has them, in half precision: all but 0.05 of the probabilities, and 0.05 spread over the classes.
_KEPT, _SPREAD = (float(torch.tensor(value, dtype=torch.float16)) for value in (0.95, 0.05))


def vkdnw_entropy(signals: Signals) -> float:
    """Entropy of the tenths of the spectrum of F = mean_i J_iᵀ (diag(π_i) − π_i π_iᵀ) J_i, π_i the class probabilities.

    J_i are the gradients of image i's outputs with respect to the first element of each parameter tensor, of the first
    128 tensors; the 10 % to 90 % quantiles of the singular values of F are divided by their sum. The more even the
    spectrum, the higher: at most log 9.

    Example:
        >>> from trainless.passes.signals import OutputJacobian
        >>> jacobian = OutputJacobian(torch.eye(3).expand(2, 3, 3), torch.zeros(2, 3), tensors=3)
        >>> round(vkdnw_entropy(Signals(output_jacobian=jacobian)), 3)
        2.114
    """
    found = signals.output_jacobian
    if found is None or not _is_finite(found.values, found.outputs):
        return math.nan
    jacobian, shares = found.values.double(), found.outputs.double().softmax(1)
    centred = jacobian - (shares.unsqueeze(-1) * jacobian).sum(1, keepdim=True)
    rows = (shares.sqrt().unsqueeze(-1) * centred).flatten(0, 1)
    return _entropy(rows.t() @ rows / len(jacobian))


def vkdnw_entropy_published(signals: Signals) -> float:
    """`vkdnw_entropy` as public code has it: F = mean_i (L_i J_i)ᵀ L_i J_i, with L_i L_iᵀ = diag(π_i) − π_i π_iᵀ.

    That is no Fisher information, which would have J_iᵀ L_i L_iᵀ J_i. Probabilities are drawn towards even ones by a
    twentieth, which public code computes in half precision.
    """
    found = signals.output_jacobian
    if found is None or not _is_finite(found.values, found.outputs):
        return math.nan
    classes = found.outputs.shape[1]
    spread = float(torch.tensor(_SPREAD / classes, dtype=torch.float16))
    shares = found.outputs.double().softmax(1) * _KEPT + spread
    rows = (_factor(shares) @ found.values.double()).flatten(0, 1)
    return _entropy(rows.t() @ rows / len(found.values))


def vkdnw_dimension(signals: Signals) -> float:
    """Number of parameter tensors, which counts the layers.

    Example:
        >>> vkdnw_dimension(Signals(parameter_tensors=3))
        3
    """
    return signals.parameter_tensors


def vkdnw(signals: Signals) -> float:
    """`vkdnw_dimension` plus `vkdnw_entropy`: the number of tensors ranks, and the entropy among those of as many."""
    return _tensors(signals) + vkdnw_entropy(signals)


def vkdnw_published(signals: Signals) -> float:
    """`vkdnw_dimension` plus `vkdnw_entropy_published`."""
    return _tensors(signals) + vkdnw_entropy_published(signals)


def _tensors(signals: Signals) -> float:
    return math.nan if signals.output_jacobian is None else signals.output_jacobian.tensors


def trainable_layers(signals: Signals) -> float:
    """Number of convolutions, linear maps and matrix products that learn, of the network an architecture amounts to.

    Example:
        >>> trainable_layers(Signals(trainable_layers=5))
        5
    """
    return signals.trainable_layers


def _is_finite(*tensors: torch.Tensor) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _entropy(matrix: torch.Tensor) -> float:
    values = torch.linalg.svdvals(matrix)
    if float(values[0]) == 0:
        return -math.inf
    places = torch.arange(1, _TENTHS + 1, dtype=values.dtype, device=values.device) / (_TENTHS + 1)
    tenths = torch.quantile(values, places)
    shares = tenths / (tenths.abs().sum() + _SMALL)
    return -float((shares * torch.log(shares + _SMALL)).sum())


def _factor(shares: torch.Tensor) -> torch.Tensor:
    """The lower triangular factor of diag(π) − ππᵀ for each row π, in closed form; shape ``(rows, classes, classes)``.

    Source: Tanabe and Sagae, An exact Cholesky decomposition and the generalized inverse of the variance-covariance
    matrix of the multinomial distribution, Journal of the Royal Statistical Society B 1992.
    """
    left = 1 - shares.cumsum(1)
    left[:, -1] = 0
    before = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], 1)
    diagonal = (shares * left / before).clamp(min=0).sqrt()
    ratio = torch.where(left > 0, diagonal / left, 0.0)
    lower = -shares.unsqueeze(2) * ratio.unsqueeze(1)
    return torch.diag_embed(diagonal) + lower.tril(-1)


INFORMATION = (
    Proxy(
        "trainable_layers", trainable_layers, PassSpec(input="none"), frozenset({Signal.TRAINABLE_LAYERS}),
        data_independent=True, paper=_PAPER, summary="number of weight layers that learn",
    ),
    Proxy(
        "vkdnw_dimension", vkdnw_dimension, PassSpec(input="none"), frozenset({Signal.PARAMETER_TENSORS}),
        data_independent=True, paper=_PAPER, summary="number of parameter tensors",
    ),
    Proxy(
        "vkdnw", vkdnw, _PASS, _SIGNALS, data_independent=False, paper=_PAPER,
        summary="number of parameter tensors, and how even the spectrum of their Fisher information is",
        when_not_finite=_SINGULAR,
    ),
    Proxy(
        "vkdnw:published", vkdnw_published, _PASS, _SIGNALS, data_independent=False, paper=_PAPER,
        summary="vkdnw as public code has it, by a matrix that is not the Fisher information",
        when_not_finite=_SINGULAR,
    ),
    Proxy(
        "vkdnw_entropy", vkdnw_entropy, _PASS, _SIGNALS, data_independent=False, paper=_PAPER,
        summary="how even the spectrum of the Fisher information of the parameters is",
        when_not_finite=_SINGULAR,
    ),
    Proxy(
        "vkdnw_entropy:published", vkdnw_entropy_published, _PASS, _SIGNALS, data_independent=False, paper=_PAPER,
        summary="vkdnw_entropy as public code has it, by a matrix that is not the Fisher information",
        when_not_finite=_SINGULAR,
    ),
)  # fmt: skip
