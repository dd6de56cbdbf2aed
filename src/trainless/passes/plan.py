"""Merge what proxies need into passes, and what recorders need into forward and backward passes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trainless.errors import InputError
from trainless.passes.recorders import RECORDERS, Backward, Recorder
from trainless.passes.signals import PassSpec, Signal

__all__ = ["Measured", "PassPlan", "check_conditions", "merge_backwards", "plan_passes", "recorder_of", "signal_name"]

Measured = Signal | type[Recorder]
"""What a proxy reads: a built-in signal, or a recorder of one's own."""

PassPlan = dict[PassSpec, frozenset[Measured]]


class _Reader(Protocol):
    @property
    def pass_spec(self) -> PassSpec: ...

    @property
    def signals(self) -> frozenset[Measured]: ...


def recorder_of(signal: Measured) -> type[Recorder]:
    """What measures a signal: a recorder is taken as it is.

    Example:
        >>> recorder_of(Signal.WEIGHTS).__name__
        'Weights'
    """
    return RECORDERS[signal] if isinstance(signal, Signal) else signal


def signal_name(signal: Measured) -> str:
    """The attribute of `Signals` that holds a signal.

    Example:
        >>> signal_name(Signal.WEIGHT_GRADIENTS)
        'weight_gradients'
    """
    return recorder_of(signal).name


def check_conditions(spec: PassSpec, signals: Iterable[Measured]) -> None:
    """Refuse signals that cannot be measured under the conditions of a pass.

    Raises:
        InputError: the message says which signal, and why.

    Example:
        >>> check_conditions(PassSpec(input="noise"), {Signal.HESSIAN_FORM})
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The signal 'hessian_form' is measured on batch, not on 'noise'.
    """
    for signal in signals:
        refusal = recorder_of(signal).refusal(spec)
        if refusal:
            raise InputError(f"The signal '{signal_name(signal)}' {refusal}.")


def plan_passes(proxies: Iterable[_Reader]) -> PassPlan:
    """Merge what proxies need: for each distinct pass the signals wanted of it.

    Example:
        >>> from trainless.proxies import proxies
        >>> len(plan_passes(proxies("snip, grad_norm, nwot, jacov")))
        1
    """
    plan: PassPlan = {}
    for proxy in proxies:
        plan[proxy.pass_spec] = plan.get(proxy.pass_spec, frozenset()) | proxy.signals
    return plan


def merge_backwards(spec: PassSpec, signals: Iterable[Measured]) -> dict[Backward, list[Measured]]:
    """For each backward pass that is needed, in the order in which they are run, the signals that share it.

    Example:
        >>> wanted = [Signal.WEIGHT_GRADIENTS, Signal.HESSIAN_FORM, Signal.INPUT_JACOBIAN]
        >>> list(map(len, merge_backwards(PassSpec(), wanted).values()))
        [2, 1]
    """
    merged: dict[Backward, list[Measured]] = {}
    for signal in signals:
        backward = recorder_of(signal).backward(spec)
        if backward is not None:
            merged.setdefault(backward, []).append(signal)
    return merged
