"""Proxies that count: parameters, multiply-adds, the spans of skip edges, the norms of the weights."""

from __future__ import annotations

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy, total

__all__ = ["COUNTS", "l2_norm", "skipped_layers"]

_ARCHITECTURE = PassSpec(input="architecture", dead_branches=True)


def l2_norm(signals: Signals) -> float:
    """Σ_l ‖W_l‖₂ over the weight layers: a sum of norms, not the norm of all weights.

    Example:
        >>> import torch
        >>> l2_norm(Signals(weights=[torch.tensor([3.0, 4.0]), torch.tensor([2.0])]))
        7.0
    """
    return total([weight.double().norm() for weight in signals.weights])


def skipped_layers(signals: Signals) -> float:
    """Mean span (target node − source node) of the skip edges of a cell; 0 where there are none.

    Example:
        >>> skipped_layers(Signals(skip_spans=(3, 1)))
        2.0
    """
    spans = signals.skip_spans
    return sum(spans) / len(spans) if spans else 0.0


COUNTS = (
    Proxy(
        "params",
        lambda signals: signals.parameters,
        _ARCHITECTURE,
        frozenset({Signal.PARAMETERS}),
        data_independent=True,
        paper="Abdelfattah et al., ICLR 2021 (baseline)",
        summary="number of parameters, dead edges of a cell included",
    ),
    Proxy(
        "params:trainable",
        lambda signals: signals.trainable_parameters,
        _ARCHITECTURE,
        frozenset({Signal.TRAINABLE_PARAMETERS}),
        data_independent=True,
        paper="Abdelfattah et al., ICLR 2021 (baseline)",
        summary="number of the parameters that learn, those that are frozen left out",
    ),
    Proxy(
        "flops",
        lambda signals: signals.multiply_adds,
        _ARCHITECTURE,
        frozenset({Signal.MULTIPLY_ADDS}),
        data_independent=True,
        paper="Abdelfattah et al., ICLR 2021 (baseline)",
        summary="multiply-adds of convolutions and matrix products for one image, dead edges included",
    ),
    Proxy(
        "skipped_layers",
        skipped_layers,
        _ARCHITECTURE,
        frozenset({Signal.SKIP_SPANS}),
        data_independent=True,
        paper="Cavagnero et al., FreeREA, WACV 2023",
        summary="mean span of the skip edges of a cell",
    ),
    Proxy(
        "l2_norm",
        l2_norm,
        PassSpec(input="none", dead_branches=True),
        frozenset({Signal.WEIGHTS}),
        data_independent=True,
        paper="Abdelfattah et al., ICLR 2021 (baseline)",
        summary="sum over layers of the norm of the weights, dead edges included",
    ),
)
