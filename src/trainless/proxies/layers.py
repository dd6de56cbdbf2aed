"""Proxies of how the channels of each layer vary together: NEAR, MeCo, InTrain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["LAYERS", "intrain", "meco", "meco_opt", "near"]

_BATCH = PassSpec()
_COVARIANCES, _CORRELATIONS = frozenset({Signal.LAYER_COVARIANCES}), frozenset({Signal.FIRST_IMAGE_CORRELATIONS})
_NEAR = "Husistein et al., NEAR: A Training-Free Pre-Estimator of Machine Learning Model Performance, ICLR 2025"
_MECO = (
    "Jiang et al., MeCo: Zero-Shot NAS with One Data and Single Forward Pass via Minimum Eigenvalue of Correlation, \
NeurIPS 2023"
)
_INTRAIN = "Zhou et al., InTrain: Intrinsic Trainability for Zero-Cost Neural Architecture Search, CVPR 2026"
_SAMPLED, _DRAWS = 8, 16  # channels that MeCo-opt looks at, and how often they are drawn
_JITTER, _SMALL = 1e-10, 1e-8
_CONSTANT = "what a layer gives is not finite, or no layer was seen"


def near(signals: Signals) -> float:
    """Σ_l exp(H(s_l)), the effective rank of what each layer gives: s_l its singular values as shares, once centred.

    Example:
        >>> round(near(Signals(layer_covariances=[torch.eye(3), torch.diag(torch.tensor([1.0, 0.0]))])), 6)
        4.0
    """
    return _summed([_effective_rank(matrix.double()) for matrix in signals.layer_covariances])


def near_published(signals: Signals) -> float:
    """`near` as public code has it: of a square block of what each layer, normalisation and activation gives.

    Example:
        >>> near_published(Signals(module_ranks=[2.0, 3.5]))
        5.5
    """
    return _summed(list(signals.module_ranks))


def meco(signals: Signals) -> float:
    """Σ_l λ_min of the correlation of a layer's channels over the positions of the first image.

    Example:
        >>> meco(Signals(first_image_correlations=[torch.eye(2), torch.ones(2, 2)]))
        1.0
    """
    return _summed([_least(matrix.double()) for matrix in signals.first_image_correlations])


def meco_published(signals: Signals) -> float:
    """`meco` as public code has it: of whatever each module gives, so that wrappers count what they wrap again.

    Example:
        >>> meco_published(Signals(module_correlations=[0.25, 0.5]))
        0.75
    """
    return _summed(list(signals.module_correlations))


def meco_opt(signals: Signals) -> float:
    """Σ_l C/8 · λ_min of the correlation of eight of a layer's C channels, the mean over sixteen draws of the eight.

    A layer of fewer channels counts with all of them.

    Example:
        >>> meco_opt(Signals(first_image_correlations=[torch.eye(16)]))
        2.0
    """
    drawing = np.random.default_rng(0)
    values = []
    for matrix in signals.first_image_correlations:
        channels = len(matrix)
        drawn = [drawing.permutation(channels)[:_SAMPLED] for _ in range(_DRAWS if channels > _SAMPLED else 1)]
        blocks = torch.stack([matrix.double()[rows][:, rows] for rows in map(torch.from_numpy, drawn)])
        values.append(_least(blocks) * channels / min(channels, _SAMPLED))
    return _summed(values)


def meco_opt_published(signals: Signals) -> float:
    """`meco_opt` as public code has it: of whatever each module gives, by one draw.

    Example:
        >>> meco_opt_published(Signals(sampled_module_correlations=[0.5, 1.0]))
        1.5
    """
    return _summed(list(signals.sampled_module_correlations))


def intrain(signals: Signals) -> float:
    """γ (1 + o) / log(L + 1), γ = Σ_l log((tr C)² / tr C²), o = Σ_W min(1, std g / max |g|), for L layers.

    C is the covariance of what a layer gives, a small multiple of the identity added, and g the gradients of the loss.

    Example:
        >>> layer = Signals(layer_covariances=[torch.eye(2)], weight_gradients=[torch.zeros(3)])
        >>> round(intrain(layer), 6)
        1.0
    """
    matrices = [
        matrix.double() + _JITTER * torch.eye(len(matrix), dtype=torch.float64, device=matrix.device)
        for matrix in signals.layer_covariances
    ]
    if not matrices:
        return math.nan
    spread = sum(float((matrix.trace() ** 2 / matrix.square().sum()).log()) for matrix in matrices)
    order = sum(_evenness(gradient.double()) for gradient in signals.weight_gradients)
    return spread * (1 + order) / math.log(len(matrices) + 1)


def _evenness(gradient: torch.Tensor) -> float:
    return min(1.0, float(gradient.std(correction=0) / (gradient.abs().max() + _SMALL)))


def _summed(values: Sequence[float]) -> float:
    return sum(values) if values else math.nan


def _effective_rank(covariance: torch.Tensor) -> float:
    if not bool(covariance.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt()
    total = float(values.sum())
    return math.exp(float(torch.special.entr(values / total).sum())) if total > 0 else 0.0


def _least(correlations: torch.Tensor) -> float:
    """The least eigenvalue of a correlation, which rounding makes no less than 0; the mean of that of several."""
    if not bool(correlations.isfinite().all()):
        return math.nan
    return float(torch.linalg.eigvalsh(correlations)[..., 0].clamp_min(0).mean())


LAYERS = (
    Proxy(
        "near",
        near,
        _BATCH,
        _COVARIANCES,
        data_independent=False,
        paper=_NEAR,
        summary="sum of the effective ranks of what the layers give",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "near:published",
        near_published,
        _BATCH,
        frozenset({Signal.MODULE_RANKS}),
        data_independent=False,
        paper=_NEAR,
        summary="near as public code has it, of a square block drawn from each module's output",
        when_not_finite=_CONSTANT,
    ),
    Proxy(
        "meco",
        meco,
        _BATCH,
        _CORRELATIONS,
        data_independent=False,
        paper=_MECO,
        summary="sum over layers of the least eigenvalue of the correlation of their channels for one image",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "meco:published",
        meco_published,
        _BATCH,
        frozenset({Signal.MODULE_CORRELATIONS}),
        data_independent=False,
        paper=_MECO,
        summary="meco as public code has it, of every module, wrappers too",
        when_not_finite=_CONSTANT,
    ),
    Proxy(
        "meco_opt",
        meco_opt,
        _BATCH,
        _CORRELATIONS,
        data_independent=False,
        paper=_MECO,
        summary="meco of eight channels at a time",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "meco_opt:published",
        meco_opt_published,
        _BATCH,
        frozenset({Signal.SAMPLED_MODULE_CORRELATIONS}),
        data_independent=False,
        paper=_MECO,
        summary="meco_opt as public code has it, of every module, by one draw",
        when_not_finite=_CONSTANT,
    ),
    Proxy(
        "intrain",
        intrain,
        _BATCH,
        _COVARIANCES | {Signal.WEIGHT_GRADIENTS},
        data_independent=False,
        paper=_INTRAIN,
        summary="how many directions the layers use, and how even the gradients of their weights are",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "intrain:noise",
        intrain,
        PassSpec(input="labelled_noise", inputs=64),
        _COVARIANCES | {Signal.WEIGHT_GRADIENTS},
        data_independent=True,
        paper=_INTRAIN,
        summary="intrain on 64 Gaussian images with random labels",
        when_not_finite=_CONSTANT,
    ),
)
