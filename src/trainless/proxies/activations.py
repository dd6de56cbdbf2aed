"""Proxies of the ReLU codes: which units are on for which input."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from trainless.errors import InputError
from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy

__all__ = ["ACTIVATIONS", "linear_regions", "nwot", "nwot_single_precision", "regularised_swap", "swap"]

_KERNEL = frozenset({Signal.RELU_KERNEL})
_SINGULAR = "the kernel is singular: two images have the same code"
_PAPER = "Mellor et al., Neural Architecture Search without Training, ICML 2021"


def nwot(signals: Signals) -> float:
    """Log |det K|, K the number of ReLU units on which two images agree; −inf where two images never differ.

    Example:
        >>> round(nwot(Signals(relu_kernel=torch.tensor([[2.0, 1.0], [1.0, 2.0]]))), 6)  # log 3
        1.098612
    """
    return _log_determinant(signals.relu_kernel, torch.float64)


def nwot_single_precision(signals: Signals) -> float:
    """`nwot` with the determinant in single precision, as FreeREA has it: −inf on more networks.

    Example:
        >>> round(nwot_single_precision(Signals(relu_kernel=torch.tensor([[2.0, 1.0], [1.0, 2.0]]))), 5)
        1.09861
    """
    return _log_determinant(signals.relu_kernel, torch.float32)


def _log_determinant(kernel: torch.Tensor | None, dtype: torch.dtype) -> float:
    if kernel is None:
        return math.nan
    if not bool(kernel.isfinite().all()):
        return math.nan
    return float(torch.linalg.slogdet(kernel.to(dtype)).logabsdet)


def linear_regions(signals: Signals) -> float:
    """Number of distinct on-off patterns of all ReLU units over random inputs.

    A network of ordinary size has so many units that every input has a pattern of its own, and the number of inputs is
    all that one learns. So, as in TE-NAS, an architecture is built thin and given thousands of inputs of few pixels.

    Example:
        >>> linear_regions(Signals(relu_patterns=np.array([[1], [2], [1]], dtype=np.uint8)))
        2
    """
    patterns = signals.relu_patterns
    return math.nan if patterns is None else len(np.unique(patterns, axis=0))


def swap(signals: Signals) -> float:
    """Number of distinct patterns of the images that turn a unit on, over all units.

    Where `linear_regions` asks how many images the units tell apart, this asks how many units the images do, so that a
    batch of ordinary size does not exhaust it: there may be as many as units, or two to the power of the images.

    Example:
        >>> swap(Signals(distinct_patterns=12))
        12
    """
    return math.nan if signals.distinct_patterns is None else signals.distinct_patterns


def regularised_swap(mean: float, variance: float) -> Proxy:
    """Make the regularised SWAP score, which prefers networks of a size: ``swap · exp(-(P - mean)² / variance)``.

    Args:
        mean: the size that is wanted, in thousands of parameters.
        variance: of how much others are tolerated, in their square.

    Returns:
        A proxy that stands wherever a name of one does.

    Raises:
        InputError: the variance is not above 0.

    Example:
        >>> from trainless import score
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.ReLU())
        >>> images = torch.eye(4).reshape(4, 1, 2, 2)
        >>> small, large = regularised_swap(0.04, 1e-4), regularised_swap(0.02, 1e-4)
        >>> scores = score(network, images, proxies=["swap", small, large])
        >>> scores[small.name] == scores["swap"], scores[large.name] < 1
        (True, True)
    """
    if not variance > 0:
        raise InputError(f"The variance of a regularised SWAP score is {variance}, expected a number above 0.")
    return replace(
        next(record for record in ACTIVATIONS if record.name == "swap"),
        name=f"swap:{_short(mean)}±{_short(variance)}", formula=partial(_regularised, mean=mean, variance=variance),
        signals=frozenset({Signal.DISTINCT_PATTERNS, Signal.PARAMETERS}),
        summary=f"swap, less the further from {mean:g} thousand parameters",
    )  # fmt: skip


def _short(number: float) -> str:
    """A number that reads back as it is, without the zero of a whole one."""
    return repr(float(number)).removesuffix(".0")


def _regularised(signals: Signals, mean: float, variance: float) -> float:
    return swap(signals) * math.exp(-((signals.parameters / 1000 - mean) ** 2) / variance)


ACTIVATIONS = (
    Proxy(
        "nwot",
        nwot,
        PassSpec(),
        _KERNEL,
        data_independent=False,
        paper=_PAPER,
        summary="log-determinant of the kernel of ReLU codes",
        when_not_finite=_SINGULAR,
        bfloat16=True,
    ),
    Proxy(
        "nwot:output",
        nwot_single_precision,
        PassSpec(),
        _KERNEL,
        data_independent=False,
        paper=f"{_PAPER}; as in FreeREA",
        summary="nwot with the determinant in single precision",
        when_not_finite=_SINGULAR,
        bfloat16=True,
    ),
    Proxy(
        "nwot:all",
        nwot,
        PassSpec(dead_branches=True),
        _KERNEL,
        data_independent=False,
        paper=f"{_PAPER}; as in NASLib",
        summary="nwot with the ReLUs of branches that never reach the output",
        when_not_finite=_SINGULAR,
    ),
    Proxy(
        "ncd",
        nwot,
        PassSpec(batch_norm="layer", masked=0.95),
        _KERNEL,
        data_independent=False,
        paper="Kang et al., Beyond the Limits: Overcoming Negative Correlation of Activation-Based Training-Free NAS, \
ICCV 2025",
        summary="nwot with 95 % of the activations masked, and layer normalisation for batch normalisation",
        when_not_finite=_SINGULAR,
        bfloat16=True,
    ),
    Proxy(
        "swap",
        swap,
        PassSpec(),
        frozenset({Signal.DISTINCT_PATTERNS}),
        data_independent=False,
        paper="Peng et al., SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS, ICLR 2024",
        summary="distinct patterns of the images that turn a ReLU unit on",
        when_not_finite="no activation function was seen",
        bfloat16=True,
    ),
    Proxy(
        "linear_regions",
        linear_regions,
        PassSpec(input="noise", inputs=5000, image_size=3, thin=True),
        frozenset({Signal.RELU_PATTERNS}),
        data_independent=True,
        paper="Chen et al., TE-NAS, ICLR 2021",
        summary="distinct ReLU patterns of a thin network over 5,000 Gaussian inputs of 3 x 3 pixels",
        when_not_finite="no activation function was seen",
    ),
)
