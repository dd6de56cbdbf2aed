"""What the page and the picture of a search both show, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless import ranking
from trainless.costs import COSTS, Cost, cost_named
from trainless.errors import InputError
from trainless.metrics import cost_quality_front
from trainless.report.common.scales import needs_logarithm

if TYPE_CHECKING:
    from trainless.search.results import SearchResult

__all__ = [
    "Range",
    "best_first",
    "best_so_far",
    "check",
    "front",
    "known_costs",
    "seed_curves",
    "shown",
]

Array = npt.NDArray[np.float64]


class Range(NamedTuple):
    """Which scores a figure shows.

    Args:
        low: lowest.
        high: highest.
        is_logarithmic: whether the axis is.
        below: how many finite scores are lower than `low`.
    """

    low: float
    high: float
    is_logarithmic: bool
    below: int


def check(result: SearchResult) -> None:
    """Refuse a search that evaluated nothing.

    Raises:
        InputError: there is no evaluation to show.
    """
    if result.evaluations.empty:
        raise InputError(
            f"The search '{result.title}' evaluated no architecture, expected at least one: loosen its limits or give "
            "it a larger budget."
        )


def known_costs(result: SearchResult) -> list[Cost]:
    """List the costs that are known of some evaluation, those that the search minimised first."""
    columns = result.evaluations
    of_a_table = [str(name) for name in columns if "." in str(name)]
    order = dict.fromkeys([*result.objectives[1:], *COSTS, *of_a_table])
    return [cost for cost in map(cost_named, order) if cost.column in columns and columns[cost.column].notna().any()]


def best_so_far(scores: npt.ArrayLike) -> Array:
    """Give the highest finite score up to each evaluation, NaN before the first finite one.

    Example:
        >>> best_so_far([float("-inf"), 1.0, 0.5, float("nan"), 2.0])
        array([nan,  1.,  1.,  1.,  2.])
    """
    finite = ranking.finite_last(np.asarray(scores, dtype=float))
    best = np.maximum.accumulate(finite)
    return np.where(np.isfinite(best), best, np.nan)


def seed_curves(results: Sequence[SearchResult]) -> Array:
    """Give the best score so far of several searches; one that ended early keeps its last.

    Returns:
        Shape ``(searches, evaluations of the longest)``.
    """
    curves = [best_so_far(result.evaluations["score"]) for result in results]
    longest = max(len(curve) for curve in curves)
    return np.array([np.pad(curve, (0, longest - len(curve)), "edge") for curve in curves])


def best_first(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Sort evaluations by their score, the earliest of equal ones first and what is not finite last."""
    return evaluations.iloc[ranking.best_first(evaluations["score"].to_numpy(dtype=float))]


def front(result: SearchResult, cost: str) -> pd.DataFrame:
    """Give the evaluations with a finite score and a known cost, and which of them are on the front of these two.

    Returns:
        The evaluations with columns ``cost`` and ``on_front``, the cheapest first.
    """
    table = result.evaluations.assign(cost=result.evaluations[cost_named(cost).column].astype(float))
    known: pd.DataFrame = table[np.isfinite(table[["score", "cost"]].to_numpy(dtype=float)).all(axis=1)]
    edge = cost_quality_front(known["score"].astype(float), known["cost"])["on_front"]
    return known.assign(on_front=edge).sort_values(["cost", "score"], kind="stable")


def shown(result: SearchResult) -> Range:
    """Choose the scores that figures show: all but the lowest twentieth, which would flatten the rest."""
    scores = result.evaluations["score"].to_numpy(dtype=float)
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return Range(0.0, 1.0, False, 0)
    logarithmic = needs_logarithm(finite)
    usable = finite[finite > 0] if logarithmic else finite
    low, high = float(np.quantile(usable, 0.05, method="lower")), float(usable.max())
    if logarithmic:
        room = (high / low) ** 0.05
        low, high = low / room, high * room
    else:
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - room, high + room
    return Range(low, high, logarithmic, int((finite < low).sum()))
