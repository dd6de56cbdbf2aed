"""Scores made of scores: the Hybrid proxy and the ranking of what any proxy gives.

Nothing here looks at a network: a column of scores comes in, a column goes out, in the same order.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError

__all__ = ["ALPHA", "BETA", "HYBRID_PAIR", "NON_FINITE_POLICY", "hybrid", "normalize", "ranking"]

HYBRID_PAIR = ("logsynflow", "nwot")
"""The data-independent and the data-dependent proxy that the Hybrid was defined for."""

ALPHA, BETA = 0.5, 1.5
"""The published weights of the data-independent and the data-dependent score."""

NON_FINITE_POLICY = "ranked last"
"""What becomes of a score that is infinite, of either sign, or NaN: `hybrid` and `ranking` both hold to it."""


def normalize(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Divide scores by the largest finite one, equation 5.3 of the thesis on the Hybrid proxy.

    Args:
        scores: one number an architecture, shape ``(n,)``; what is not finite stays as it is.

    Returns:
        Shape ``(n,)``, in double precision; the largest finite value is 1.

    Raises:
        InputError: not one-dimensional, not numbers, nothing finite, or the largest finite score is not above zero.

    Example:
        >>> normalize([1.0, 4.0, float("-inf")])
        array([0.25, 1.  , -inf])
    """
    return _normalize(_column(scores, "scores"), "scores")


def hybrid(
    data_independent: npt.ArrayLike,
    data_dependent: npt.ArrayLike,
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    condition: bool = True,
) -> npt.NDArray[np.float64]:
    """Compute the Hybrid proxy, a weighted sum of a data-independent and a data-dependent score.

    With DIN and DDN the two scores, each divided by its largest finite value (equation 5.3), the value is
    ``alpha · DIN + beta · DDN`` where ``DIN ≤ DDN`` and ``DIN`` elsewhere (equation 5.4). The published pair is
    `HYBRID_PAIR`. The value depends on all architectures given, through the two largest values: score them together.

    What is not finite is ranked last: the value is NaN where either score is NaN, and otherwise −∞ where either is
    infinite, of either sign, since +∞ is an overflow and promises nothing.

    Args:
        data_independent: one score an architecture, shape ``(n,)``, higher is better.
        data_dependent: the same for the same architectures in the same order.
        alpha: weight of the data-independent score, at least 0.
        beta: weight of the data-dependent score, at least 0.
        condition: whether the sum is taken only where ``DIN ≤ DDN``, as published; otherwise it is taken everywhere.

    Returns:
        Shape ``(n,)``, in double precision and in the order given.

    Raises:
        InputError: the two do not belong together, a weight is negative or not finite, or `normalize` refuses one.

    Example:
        >>> hybrid([1.0, 2.0, 8.0], [10.0, 20.0, 10.0])
        array([0.8125, 1.625 , 1.    ])
    """
    for name, weight in (("alpha", alpha), ("beta", beta)):
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"{name} is {weight}, expected a finite number of at least 0.")
    _check_order(data_independent, data_dependent)
    first = _column(data_independent, "data_independent")
    second = _column(data_dependent, "data_dependent")
    if len(first) != len(second):
        raise InputError(
            f"There are {len(first)} data-independent and {len(second)} data-dependent scores, "
            "expected one of each for every architecture."
        )
    return _combine(_normalize(first, "data_independent"), _normalize(second, "data_dependent"), alpha, beta, condition)


def ranking(scores: pd.Series, higher_is_better: bool = True) -> pd.Series:
    """Rank scores: 1 is the best, equal scores keep their order, and what is not finite comes last.

    Args:
        scores: one number an architecture, with any index.
        higher_is_better: whether the largest score is the best one.

    Returns:
        The whole numbers 1 to n in a series named ``"rank"``, with the index and the order of `scores`.

    Raises:
        InputError: `scores` holds something that is no number.

    Example:
        >>> ranking(pd.Series([0.5, float("-inf"), 0.9], index=["a", "b", "c"])).to_dict()
        {'a': 2, 'b': 3, 'c': 1}
    """
    values = _column(scores, "scores")
    # numpy sorts upwards: the best gets the smallest key, and what is not finite the largest there is.
    keys = np.where(np.isfinite(values), -values if higher_is_better else values, np.inf)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(keys, kind="stable")] = np.arange(1, len(values) + 1)
    return pd.Series(ranks, index=scores.index, name="rank")


def _combine(
    din: npt.NDArray[np.float64], ddn: npt.NDArray[np.float64], alpha: float, beta: float, condition: bool
) -> npt.NDArray[np.float64]:
    unknown = np.isnan(din) | np.isnan(ddn)
    finite = np.isfinite(din) & np.isfinite(ddn)
    # An infinite score times a weight of zero would be NaN, with a warning.
    din, ddn = np.where(finite, din, 0.0), np.where(finite, ddn, 0.0)
    total = alpha * din + beta * ddn
    value = np.where(din <= ddn, total, din) if condition else total
    return np.where(unknown, np.nan, np.where(finite, value, -np.inf))


def _check_order(first: npt.ArrayLike, second: npt.ArrayLike) -> None:
    """Refuse two labelled columns whose labels differ: they would be joined by position, silently."""
    if isinstance(first, pd.Series) and isinstance(second, pd.Series) and not first.index.equals(second.index):
        raise InputError(
            "The data-independent and the data-dependent scores have different indexes, expected the same "
            "architectures in the same order: reindex one of them like the other."
        )


def _column(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds something that is no number ({error}), expected numbers only.") from error
    if column.ndim != 1:
        raise InputError(f"{name} has shape {column.shape}, expected one number an architecture, shape (n,).")
    return column


def _normalize(column: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    finite = column[np.isfinite(column)]
    if not len(finite):
        raise InputError(f"{name} holds no finite score among {len(column)}, expected at least one to divide by.")
    largest = float(finite.max())
    if largest <= 0:
        raise InputError(
            f"The largest finite score in {name} is {largest:g}, expected one above 0 to divide by: "
            "choose a proxy with positive scores."
        )
    return column / largest
