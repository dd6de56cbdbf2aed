"""The contract of a proxy: a pure function of signals, with what it needs and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainless.passes import Measured, PassSpec, Signals, check_conditions, signal_name
from trainless.precision import is_rounded

if TYPE_CHECKING:
    import torch

__all__ = ["Proxy", "total", "with_uniform_weights"]


@dataclass(frozen=True)
class Proxy:
    """One zero-cost proxy: its name, its formula and the conditions under which its signals are measured.

    Args:
        name: what it is asked for by; a variant follows after a colon, as in ``"zen:running"``.
        formula: computes the raw number of the paper from the signals; may give an infinite value or NaN.
        pass_spec: the conditions; proxies with equal ones share a pass.
        signals: what it reads: members of `Signal`, or recorders of one's own.
        data_independent: whether the images' values and labels play no part.
        paper: where the formula comes from.
        summary: what it measures, in one line.
        higher_is_better: whether a larger value is meant to promise a more accurate network.
        when_not_finite: the reason to record where the value is not finite.
        version: goes up whenever its values change; part of a stored score's key.
        bfloat16: whether it may be measured with convolutions and linear maps in bfloat16: where that leaves its order
            of networks as it is, as `benchmarks/precision.py` measures. One that may not stays in single precision.

    Raises:
        ValueError: no signal is named, or one cannot be measured under these conditions.

    Example:
        >>> from trainless.passes import Signal
        >>> proxy = Proxy("outputs", lambda signals: signals.classes, PassSpec(), frozenset({Signal.RELU_KERNEL}),
        ...               data_independent=True, paper="none", summary="number of outputs")
        >>> proxy.base
        'outputs'
    """

    name: str
    formula: Callable[[Signals], float]
    pass_spec: PassSpec
    signals: frozenset[Measured]
    data_independent: bool
    paper: str
    summary: str
    higher_is_better: bool = True
    when_not_finite: str = "the formula gives no finite value on this network"
    version: int = 1
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if not self.signals:
            raise ValueError(f"Proxy '{self.name}' names no signal: name at least one member of Signal.")
        check_conditions(self.pass_spec, self.signals)

    @property
    def base(self) -> str:
        """The name without a variant."""
        return self.name.partition(":")[0]

    @property
    def kind(self) -> str:
        """Data-independent or data-dependent, in words."""
        return "data-independent" if self.data_independent else "data-dependent"

    @property
    def as_written(self) -> bool:
        """Whether it scores a cell as it is written, dead branches and all, and not the network it amounts to."""
        return self.pass_spec.dead_branches

    def in_precision(self, precision: str) -> Proxy:
        """Give the proxy as measured in one of `trainless.precision.PRECISIONS`; itself where it is not rounded.

        Example:
            >>> from trainless.proxies import proxy
            >>> proxy("snip").in_precision("bfloat16").pass_spec.bfloat16
            True
            >>> proxy("synflow").in_precision("bfloat16") is proxy("synflow")
            True
        """
        if not (self.bfloat16 and is_rounded(precision, self.pass_spec.input)):
            return self
        return replace(self, pass_spec=replace(self.pass_spec, bfloat16=True))

    def compute(self, signals: Signals) -> tuple[float, str]:
        """Compute the score, with the reason where it is not finite.

        Example:
            >>> from trainless.proxies import proxy
            >>> proxy("synflow:log").compute(Signals())
            (-inf, 'no gradient reaches a weight')
        """
        missing = next((name for name in map(signal_name, self.signals) if name in signals.reasons), None)
        if missing is not None:
            return math.nan, signals.reasons[missing]
        value = float(self.formula(signals))
        return value, "" if math.isfinite(value) else self.when_not_finite


def with_uniform_weights(record: Proxy) -> Proxy:
    """Give the variant of a proxy that draws its own weights, as PyTorch's layers do, whatever the network has.

    Example:
        >>> from trainless.proxies import proxy
        >>> with_uniform_weights(proxy("az_expressivity")).name
        'az_expressivity:uniform'
    """
    return replace(
        record,
        name=f"{record.name}:uniform",
        pass_spec=replace(record.pass_spec, weights="uniform"),
        summary=f"{record.summary}; weights drawn as PyTorch's layers draw them",
        bfloat16=False,  # not measured
    )


def total(terms: list[torch.Tensor]) -> float:
    """Add up one number a layer, in double precision and in module order.

    Example:
        >>> import torch
        >>> total([torch.tensor(1.0), torch.tensor(2.0)])
        3.0
    """
    return sum((float(term) for term in terms), 0.0)
