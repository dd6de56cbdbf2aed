"""What all metrics share: the record of a metric, the two columns it compares, the order in which it chooses."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.ranking import check_same_index, column, finite_last

__all__ = ["Metric", "check_k", "paired"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One measure of how well scores find accurate architectures.

    Args:
        name: what it is asked for by, and its column in a table.
        function: computes it from scores and accuracies, and from k where it takes one.
        unit: of its value; ``"1"`` for a number without unit.
        higher_is_better: whether a larger value speaks for the scores.
        summary: what it tells, in one line.
        takes_k: whether it looks at the k best-scored architectures.

    Example:
        >>> metric = Metric("worst", lambda scores, accuracies: min(accuracies), "%", True, "accuracy of the worst")
        >>> metric([1.0, 2.0], [90.0, 80.0])
        80.0
    """

    name: str
    function: Callable[..., float]
    unit: str
    higher_is_better: bool
    summary: str
    takes_k: bool = False

    def __call__(self, scores: npt.ArrayLike, accuracies: npt.ArrayLike, k: int = 10) -> float:
        """Compute the metric; k plays no part where it takes none."""
        return float(self.function(scores, accuracies, k) if self.takes_k else self.function(scores, accuracies))


def paired(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> tuple[Array, Array]:
    """Turn scores and accuracies into two arrays of equal length, what is not finite among the scores in one last tie.

    Returns:
        Scores and accuracies, each of shape ``(n,)``; scores that are not finite are −∞.

    Raises:
        InputError: not numbers, different lengths or labels, nothing at all, or an accuracy that is not finite.

    Example:
        >>> paired([1.0, float("nan")], [90, 80])
        (array([  1., -inf]), array([90., 80.]))
    """
    check_same_index(scores, accuracies, "The scores and the accuracies")
    values, truth = column(scores, "scores"), column(accuracies, "accuracies")
    if len(values) != len(truth):
        raise InputError(
            f"There are {len(values)} scores and {len(truth)} accuracies, expected one of each an architecture: "
            "leave out the architectures that lack one."
        )
    if not len(truth):
        raise InputError("There are no architectures, expected at least one: give scores and accuracies.")
    if not np.isfinite(truth).all():
        first = int(np.flatnonzero(~np.isfinite(truth))[0])
        raise InputError(
            f"Accuracy number {first + 1} is {truth[first]}, expected a finite number: "
            "leave out the architectures of unknown accuracy."
        )
    return finite_last(values), truth


def check_k(k: int, architectures: int) -> int:
    """Refuse a number of best-scored architectures that is no whole number between 1 and all of them.

    Example:
        >>> check_k(10, 15625)
        10
    """
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if not 1 <= number <= architectures:
        advice = ": give a smaller k or more architectures" if number > architectures else ""
        raise InputError(
            f"k is {k}, expected a whole number from 1 to {architectures}, the number of architectures{advice}."
        )
    return number
