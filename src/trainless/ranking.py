"""The order of scores: columns of them, the policy for what is not finite, and ranks.

Metrics, aggregations, searches and pages rank by these functions alone, so that they agree on ties and on what is not
finite.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError

__all__ = ["NON_FINITE_POLICY", "average_ranks", "best_first", "check_same_index", "column", "finite_last", "ranking"]

NON_FINITE_POLICY = "ranked last"
"""What becomes of a score that is infinite, of either sign, or NaN, wherever scores are put in order."""


def column(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Turn scores into a one-dimensional array in double precision.

    Raises:
        InputError: not one-dimensional, or not numbers.

    Example:
        >>> column([1, None], "scores")
        array([ 1., nan])
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{name} holds something that is no number ({error}), expected numbers only.") from error
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected one number an architecture, shape (n,).")
    return array


def check_same_index(first: npt.ArrayLike, second: npt.ArrayLike, what: str) -> None:
    """Refuse two labelled columns whose labels differ: they would be joined by position, silently.

    Example:
        >>> check_same_index(pd.Series([1.0], index=["a"]), [2.0], "The scores")
    """
    if isinstance(first, pd.Series) and isinstance(second, pd.Series) and not first.index.equals(second.index):
        raise InputError(
            f"{what} have different indexes, expected the same architectures in the same order: "
            "reindex one of them like the other."
        )


def finite_last(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Put what is not finite in one tie below every finite score, as −∞.

    Example:
        >>> finite_last(np.array([1.0, np.nan, np.inf]))
        array([  1., -inf, -inf])
    """
    return np.where(np.isfinite(values), values, -np.inf)


def average_ranks(
    values: npt.NDArray[np.float64], reference: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Rank values among those of a reference: 1 is the lowest, ties share their average rank.

    A value of the reference itself gets its rank there, 1 to n; one between two neighbours gets the half rank between
    theirs, one outside 1/2 or n + 1/2.

    Args:
        values: shape ``(m,)``, without NaN.
        reference: shape ``(n,)``, sorted upwards, without NaN; None ranks the values among themselves.

    Example:
        >>> average_ranks(np.array([10.0, 20.0, 15.0, 99.0]), np.array([10.0, 20.0, 20.0]))
        array([1. , 2.5, 1.5, 3.5])
        >>> average_ranks(np.array([7.0, 5.0, 7.0]))
        array([2.5, 1. , 2.5])
    """
    reference = np.sort(values) if reference is None else reference
    below = np.searchsorted(reference, values, side="left")
    not_above = np.searchsorted(reference, values, side="right")
    ranks: npt.NDArray[np.float64] = (below + not_above + 1) / 2
    return ranks


def best_first(values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Sort positions by value downwards; equal values keep their order, and what is not finite comes last.

    Example:
        >>> best_first(np.array([1.0, np.inf, 3.0, 3.0]))
        array([2, 3, 0, 1])
    """
    return np.argsort(-finite_last(values), kind="stable")


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
    values = column(scores, "scores")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[best_first(values if higher_is_better else -values)] = np.arange(1, len(values) + 1)
    return pd.Series(ranks, index=scores.index, name="rank")
