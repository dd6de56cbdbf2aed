"""Proxies of the input Jacobian: how differently the network bends around different images."""

from __future__ import annotations

import math

import torch

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["JACOBIAN", "epe_nas", "jacov"]

_K = 1e-5


def jacov(signals: Signals) -> float:
    """−Σ [log(v + k) + 1/(v + k)] over the eigenvalues v of the images' Jacobian correlation, k = 1e-5.

    The matrix is symmetric, so its eigenvalues are taken as such and, being those of a correlation, as at least 0;
    NaN where an image has a constant Jacobian, which correlates with nothing.

    Example:
        >>> rows = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])  # uncorrelated: eigenvalues 1, 1
        >>> round(jacov(Signals(input_jacobian=rows)), 4)
        -2.0
    """
    correlation = _correlation(signals.input_jacobian)
    if not bool(correlation.isfinite().all()):
        return math.nan
    eigenvalues = torch.linalg.eigvalsh(correlation).clamp_min(0) + _K
    return -float((eigenvalues.log() + eigenvalues.reciprocal()).sum())


def epe_nas(signals: Signals) -> float:
    """Σ_c |s_c|, s_c = Σ log(|correlation of the Jacobians of class c| + 1e-5).

    Classes with fewer than two images in the batch are left out.
    With more than 100 classes, s_c is divided by the number of images and the score is the sum over pairs of classes
    of |s_c − s_c'| divided by the number of classes. NaN where no class has two images in the batch.

    Example:
        >>> rows = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
        >>> round(epe_nas(Signals(classes=2, input_jacobian=rows, labels=torch.tensor([0, 0]))), 6)
        4e-05
    """
    jacobian, labels = signals.input_jacobian, signals.labels
    if jacobian is None or labels is None:
        return math.nan
    many = signals.classes > 100
    values = []
    for label in labels.unique().tolist():
        rows = jacobian[labels == label]
        if len(rows) >= 2:
            value = float((_correlation(rows).abs() + _K).log().sum())
            values.append(value / len(rows) if many else value)
    if not values:
        return math.nan
    if not many:
        return sum(abs(value) for value in values)
    return sum(abs(a - b) for a in values for b in values) / len(values)


def _correlation(rows: torch.Tensor | None) -> torch.Tensor:
    if rows is None:
        return torch.full((1, 1), math.nan)
    return torch.corrcoef(rows.double())


JACOBIAN = (
    Proxy(
        "jacov",
        jacov,
        PassSpec(),
        frozenset({Signal.INPUT_JACOBIAN}),
        data_independent=False,
        paper="Mellor et al., arXiv 2006.04647v1; Abdelfattah et al., ICLR 2021",
        summary="how little the input Jacobians of the images correlate",
        when_not_finite="the outputs do not depend on some image, so its Jacobian is constant",
    ),
    Proxy(
        "epe_nas",
        epe_nas,
        PassSpec(),
        frozenset({Signal.INPUT_JACOBIAN}),
        data_independent=False,
        paper="Lopes et al., EPE-NAS, ICANN 2021",
        summary="correlation of the input Jacobians within classes",
        when_not_finite="no class has two images in the batch, or the outputs do not depend on the images",
    ),
)
