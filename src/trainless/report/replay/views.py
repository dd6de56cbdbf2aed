"""What the page and the picture of a replay both show, computed once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError

if TYPE_CHECKING:
    from trainless.search.results import ReplayResult

__all__ = ["FLOOR", "Panel", "Regret", "check", "datasets", "marks", "panels", "regret", "regret_range", "series"]

FLOOR = 0.01
"""Regret in percentage points at the foot of a figure: accuracies are not published to more digits."""
_MOST_STEPS = 300

Array = npt.NDArray[np.float64]


class Panel(NamedTuple):
    """One of the small figures of a data set.

    Args:
        title: what its lines have in common.
        lines: by what tells them apart, the key of each one's curves.
    """

    title: str
    lines: dict[str, tuple[str, str, str]]


class Regret(NamedTuple):
    """Mean regret of many seeds with its standard error, in percentage points.

    Args:
        evaluations: after how many, rising.
        mean: optimum less the mean test accuracy of the choice, at least `FLOOR`.
        low: mean less one standard error, at least `FLOOR`.
        high: mean and one standard error.
    """

    evaluations: npt.NDArray[np.intp]
    mean: Array
    low: Array
    high: Array


def check(result: ReplayResult) -> None:
    """Refuse a replay of nothing.

    Raises:
        InputError: there is no curve to show, or a data set has no optimum.
    """
    if not result.curves or not result.rows:
        raise InputError("The replay has no curves or no rows, expected at least one of each: replay some strategy.")
    for name in datasets(result):
        if name not in result.optima:
            raise InputError(f"The replay has no optimum of '{name}', expected one for each data set.")


def datasets(result: ReplayResult) -> list[str]:
    """List the data sets, in the order of the curves."""
    return list(dict.fromkeys(dataset for _, _, dataset in result.curves))


def _by_score(result: ReplayResult) -> bool:
    """Whether there is a panel for each score, and a line for each strategy; else it is the other way round."""
    return len({score for _, score, _ in result.curves}) <= len({strategy for strategy, _, _ in result.curves})


def series(result: ReplayResult) -> list[str]:
    """List what lines stand for, in the order that decides their colours: the strategies or the scores."""
    part = 0 if _by_score(result) else 1
    return list(dict.fromkeys(key[part] for key in result.curves))


def panels(result: ReplayResult, dataset: str) -> list[Panel]:
    """Divide the curves of a data set into small figures: by score, or where there are fewer strategies, by these."""
    divides, tells = (1, 0) if _by_score(result) else (0, 1)
    kind = "score" if _by_score(result) else "strategy"
    lines: dict[str, dict[str, tuple[str, str, str]]] = {}
    for key in result.curves:
        if key[2] == dataset:
            lines.setdefault(key[divides], {})[key[tells]] = key
    return [Panel(f"{kind}: {name}", members) for name, members in lines.items()]


def regret(accuracies: npt.ArrayLike, optimum: float) -> Regret:
    """Compute the mean regret by evaluations, with its standard error over the seeds; thinned to what a line can show.

    Args:
        accuracies: of the choice in percent, shape ``(seeds, evaluations)``; NaN where there was no choice yet.
        optimum: best accuracy of all.

    Example:
        >>> curve = regret([[90.0, 94.0], [92.0, 94.0]], 94.0)
        >>> curve.mean, curve.low, curve.high
        (array([3.  , 0.01]), array([2.  , 0.01]), array([4.  , 0.01]))
    """
    values = np.asarray(accuracies, dtype=float)
    steps = np.unique(np.linspace(0, values.shape[1] - 1, _MOST_STEPS).round().astype(int))
    lost = optimum - values[:, steps]
    known = np.isfinite(lost)
    number = known.sum(axis=0)
    mean = np.where(known, lost, 0.0).sum(axis=0) / np.where(number, number, math.nan)
    squares = np.where(known, (lost - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(squares / np.maximum(number - 1, 1) / np.maximum(number, 1))
    return Regret(steps + 1, *(np.maximum(line, FLOOR) for line in (mean, mean - error, mean + error)))


def regret_range(curves: list[Regret]) -> tuple[float, float]:
    """Choose the ends of an axis that all curves of a data set share."""
    lows = [float(np.nanmin(curve.mean)) for curve in curves if np.isfinite(curve.mean).any()]
    highs = [float(np.nanmax(curve.high)) for curve in curves if np.isfinite(curve.mean).any()]
    return max(FLOOR, min(lows, default=FLOOR)) / 1.25, max(highs, default=1.0) * 1.1


def marks(low: float, high: float) -> dict[float, str]:
    """Choose the marks of a logarithmic axis of regrets: powers of ten, with 2 and 5 times these where there is room.

    Example:
        >>> list(marks(0.3, 4.0).values())
        ['0.5', '1', '2']
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < 3000 else (1,)
    values = sorted(digit * 10.0**power for power in powers for digit in digits)
    return {value: f"{value:g}" for value in values if low <= value <= high}
