"""Zen-score: how strongly the last feature map answers to a small change of a Gaussian input."""

from __future__ import annotations

import math

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["ZEN", "zen", "zen_running"]

_ONCE = PassSpec(input="noise_pair", weights="normal")
_SIGNALS = frozenset({Signal.FEATURE_CHANGES, Signal.NORMALISATION_VARIANCES})


def zen(signals: Signals) -> float:
    """Log Δ + Σ_BN log √(mean variance of the batch), averaged over the repeats.

    Example:
        >>> zen(Signals(feature_changes=[1.0], normalisation_variances=[[(math.e**2, 1.0)]]))
        1.0
    """
    return _zen(signals, 0)


def zen_running(signals: Signals) -> float:
    """`zen` with running variances after two forward passes at their momentum from 1, as NASLib reads them.

    Example:
        >>> zen_running(Signals(feature_changes=[1.0], normalisation_variances=[[(math.e**2, 1.0)]]))
        0.0
    """
    return _zen(signals, 1)


def _zen(signals: Signals, which: int) -> float:
    scores = []
    for change, variances in zip(signals.feature_changes, signals.normalisation_variances, strict=True):
        if change == 0:
            return -math.inf
        # A variance of exactly 0 has no finite logarithm; the paper's sum is −inf there too.
        logs = [0.5 * math.log(pair[which]) if pair[which] > 0 else -math.inf for pair in variances]
        scores.append(math.log(change) + sum(logs))
    return sum(scores) / len(scores) if scores else math.nan


_NOT_FINITE = "the feature map does not depend on the input, or what a normalisation sees is constant"

ZEN = (
    Proxy(
        "zen",
        zen,
        _ONCE,
        _SIGNALS,
        data_independent=True,
        paper="Lin et al., Zen-NAS, ICCV 2021",
        summary="expressivity of the last feature map, one draw of weights and inputs",
        when_not_finite=_NOT_FINITE,
        bfloat16=True,
    ),
    Proxy(
        "zen:repeated",
        zen,
        PassSpec(input="noise_pair", weights="normal", repeats=32),
        _SIGNALS,
        data_independent=True,
        paper="Lin et al., Zen-NAS, ICCV 2021",
        summary="zen averaged over 32 draws, the paper's number",
        when_not_finite=_NOT_FINITE,
    ),
    Proxy(
        "zen:running",
        zen_running,
        _ONCE,
        _SIGNALS,
        data_independent=True,
        paper="Lin et al., Zen-NAS, ICCV 2021; as in NASLib",
        summary="zen from running variances at their momentum",
        when_not_finite=_NOT_FINITE,
        bfloat16=True,
    ),
)
