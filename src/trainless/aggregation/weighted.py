"""The Hybrid proxy as a formula: two scores, each divided by its largest, and their weighted sum."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.ranking import check_same_index, column

__all__ = ["ALPHA", "BETA", "HYBRID_PAIR", "check_weight", "combine", "hybrid", "largest_finite", "normalize"]

HYBRID_PAIR = ("logsynflow", "nwot")
"""The data-independent and the data-dependent proxy that the Hybrid was defined for."""

ALPHA, BETA = 0.5, 1.5
"""The published weights of the data-independent and the data-dependent score."""


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
    values = column(scores, "scores")
    return values / largest_finite(values, "scores")


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
    `HYBRID_PAIR`. The value depends on all architectures given, through the two largest values: score them together,
    or with a `Hybrid` that holds a reference.

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
    check_weight("alpha", alpha)
    check_weight("beta", beta)
    check_same_index(data_independent, data_dependent, "The data-independent and the data-dependent scores")
    first = column(data_independent, "data_independent")
    second = column(data_dependent, "data_dependent")
    if len(first) != len(second):
        raise InputError(
            f"There are {len(first)} data-independent and {len(second)} data-dependent scores, "
            "expected one of each for every architecture."
        )
    din = first / largest_finite(first, "data_independent")
    ddn = second / largest_finite(second, "data_dependent")
    return combine(din, ddn, alpha, beta, condition)


def check_weight(name: str, weight: float) -> None:
    """Refuse a weight that is negative or not finite.

    Example:
        >>> check_weight("alpha", 0.5)
    """
    is_number = isinstance(weight, int | float | np.integer | np.floating)
    if not is_number or not 0 <= weight <= sys.float_info.max:
        raise InputError(f"{name} is {weight!r}, expected a finite number of at least 0.")


def largest_finite(values: npt.NDArray[np.float64], name: str) -> float:
    """Find the largest finite score, by which the others are divided.

    Raises:
        InputError: there is none, or it is not above zero.

    Example:
        >>> largest_finite(np.array([1.0, np.inf]), "nwot")
        1.0
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise InputError(f"{name} holds no finite score among {len(values)}, expected at least one to divide by.")
    largest = float(finite.max())
    if largest <= 0:
        raise InputError(
            f"The largest finite score in {name} is {largest:g}, expected one above 0 to divide by: "
            "choose a proxy with positive scores."
        )
    return largest


def combine(
    din: npt.NDArray[np.float64], ddn: npt.NDArray[np.float64], alpha: float, beta: float, condition: bool = True
) -> npt.NDArray[np.float64]:
    """Compute equation 5.4 from normalised scores; see `hybrid`.

    Example:
        >>> combine(np.array([0.5, 1.0]), np.array([1.0, 0.5]), 0.5, 1.5)
        array([1.75, 1.  ])
    """
    unknown = np.isnan(din) | np.isnan(ddn)
    finite = np.isfinite(din) & np.isfinite(ddn)
    # An infinite score times a weight of zero would be NaN, with a warning.
    din, ddn = np.where(finite, din, 0.0), np.where(finite, ddn, 0.0)
    total = alpha * din + beta * ddn
    value = np.where(din <= ddn, total, din) if condition else total
    return np.where(unknown, np.nan, np.where(finite, value, -np.inf))
