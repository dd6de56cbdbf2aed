"""Synaptic flow: how much of a signal of ones each weight carries when every weight is positive."""

from __future__ import annotations

import math

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy, total

__all__ = ["FLOW", "log_synflow", "synflow", "synflow_logarithm"]

# Double precision: the products of whole layers reach 1e60.
_FLOW = PassSpec(input="ones", weights="absolute", batch_norm="bypassed", float64=True)
_SIGNALS = frozenset({Signal.WEIGHTS, Signal.WEIGHT_GRADIENTS})


def synflow(signals: Signals) -> float:
    """Σ |θ ⊙ ∂R/∂θ|, where R is the sum of the outputs on an input of ones with weights |θ|.

    Example:
        >>> import torch
        >>> synflow(Signals(weights=[torch.tensor([2.0])], weight_gradients=[torch.tensor([3.0])]))
        6.0
    """
    pairs = zip(signals.weights, signals.weight_gradients, strict=True)
    return total([(weight * gradient).abs().sum() for weight, gradient in pairs])


def synflow_logarithm(signals: Signals) -> float:
    """Natural logarithm of `synflow`, as NASLib reports it; −inf where nothing flows.

    Example:
        >>> import torch
        >>> synflow_logarithm(Signals(weights=[torch.tensor([1.0])], weight_gradients=[torch.tensor([1.0])]))
        0.0
    """
    value = synflow(signals)
    return math.log(value) if value > 0 else -math.inf


def log_synflow(signals: Signals) -> float:
    """Σ |θ · log(∂R/∂θ + 1)|: synaptic flow with the gradients scaled down by a logarithm.

    Example:
        >>> import torch
        >>> log_synflow(Signals(weights=[torch.tensor([2.0])], weight_gradients=[torch.tensor([0.0])]))
        0.0
    """
    pairs = zip(signals.weights, signals.weight_gradients, strict=True)
    return total([(weight * gradient.log1p()).abs().sum() for weight, gradient in pairs])


FLOW = (
    Proxy(
        "synflow",
        synflow,
        _FLOW,
        _SIGNALS,
        data_independent=True,
        paper="Tanaka et al., NeurIPS 2020",
        summary="synaptic flow, the raw sum",
        when_not_finite="the flow is beyond the largest double-precision number",
    ),
    Proxy(
        "synflow:log",
        synflow_logarithm,
        _FLOW,
        _SIGNALS,
        data_independent=True,
        paper="Tanaka et al., NeurIPS 2020; logarithm by NASLib",
        summary="natural logarithm of synflow",
        when_not_finite="no gradient reaches a weight",
    ),
    Proxy(
        "logsynflow",
        log_synflow,
        _FLOW,
        _SIGNALS,
        data_independent=True,
        paper="Cavagnero et al., FreeREA, WACV 2023",
        summary="synaptic flow with the logarithm of the gradients",
        when_not_finite="the flow is beyond the largest double-precision number, or some gradient is below -1: layer "
        "normalisation, attention and differences turn a positive flow around",
    ),
)
