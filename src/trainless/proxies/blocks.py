"""Proxies of the feature maps between the blocks of a network: AZ-NAS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["BLOCKS", "az_expressivity", "az_progressivity", "az_trainability", "az_trainability_published"]

_PAPER = "Lee and Ham, AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search, CVPR 2024"
_SPECTRA, _GAINS = frozenset({Signal.FEATURE_SPECTRA}), frozenset({Signal.BLOCK_GAINS})
_SMALL = 1e-6  # added to a singular value before it divides


def az_expressivity(signals: Signals) -> float:
    """Σ_l H(λ_l), the entropy of the eigenvalues of the covariance of the channels of each feature map, as shares.

    Maps between blocks count, so that more blocks and more channels may come to more; -inf where one is constant.

    Example:
        >>> round(az_expressivity(Signals(feature_spectra=[torch.ones(2), torch.tensor([1.0, 0.0])])), 6)  # log 2
        0.693147
    """
    entropies = _entropies(signals.feature_spectra)
    return sum(entropies) if entropies else math.nan


def az_progressivity(signals: Signals) -> float:
    """min_l (H(λ_l) - H(λ_(l-1))): by how much each block adds to the entropy of `az_expressivity`, at the least.

    Example:
        >>> round(az_progressivity(Signals(feature_spectra=[torch.ones(1), torch.ones(2), torch.ones(8)])), 6)
        0.693147
    """
    entropies = _entropies(signals.feature_spectra)
    if len(entropies) < 2:
        return math.nan
    if -math.inf in entropies:
        return -math.inf
    return min(after - before for before, after in itertools.pairwise(entropies))


def az_trainability(signals: Signals) -> float:
    """Mean over blocks of 2 - t - 1/t, t the largest singular value of what a block does to random gradients.

    At most 0, where gradients neither grow nor shrink. A block that does nothing at all has no part in it; -inf where a
    block lets nothing through.

    Example:
        >>> round(az_trainability(Signals(block_gains=[1.0, 0.5, math.inf])), 4)
        -0.25
    """
    gains = [gain for gain in signals.block_gains if gain != math.inf]
    if not gains:
        return math.nan
    return -math.inf if 0 in gains else _trainability(gains)


def az_trainability_published(signals: Signals) -> float:
    """`az_trainability` as public code has it.

    It is -inf with any block that does nothing, and a block that lets nothing through counts as -1e6.

    Example:
        >>> az_trainability_published(Signals(block_gains=[1.0, math.inf]))
        -inf
    """
    gains = signals.block_gains
    if not gains:
        return math.nan
    return -math.inf if math.inf in gains else _trainability(gains)


def _trainability(gains: Sequence[float]) -> float:
    return sum(2 - gain - 1 / (gain + _SMALL) for gain in gains) / len(gains)


def _entropies(spectra: Sequence[torch.Tensor]) -> list[float]:
    return [_entropy(values.double()) for values in spectra]


def _entropy(values: torch.Tensor) -> float:
    total = float(values.sum())
    return -math.inf if total == 0 else float(torch.special.entr(values / total).sum())


_CONSTANT = "a feature map between two blocks is constant, or there are fewer than two"
_BLOCKED = "a block lets no gradient through, or there is none that does anything"

BLOCKS = (
    Proxy(
        "az_expressivity",
        az_expressivity,
        PassSpec(),
        _SPECTRA,
        data_independent=False,
        paper=_PAPER,
        summary="how many directions the features between the blocks take",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "az_progressivity",
        az_progressivity,
        PassSpec(),
        _SPECTRA,
        data_independent=False,
        paper=_PAPER,
        summary="by how much each block adds to the directions of the features, at the least",
        when_not_finite=_CONSTANT,
        bfloat16=True,
    ),
    Proxy(
        "az_trainability",
        az_trainability,
        PassSpec(),
        _GAINS,
        data_independent=False,
        paper=_PAPER,
        summary="how nearly each block leaves gradients their size",
        when_not_finite=_BLOCKED,
        bfloat16=True,
    ),
    Proxy(
        "az_trainability:published",
        az_trainability_published,
        PassSpec(),
        _GAINS,
        data_independent=False,
        paper=_PAPER,
        summary="az_trainability as public code has it, where a block that does nothing spoils the whole",
        when_not_finite="a block does nothing, or there is none",
        bfloat16=True,
    ),
)
