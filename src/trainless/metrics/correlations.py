"""How far the order by score agrees with the order by accuracy: rank correlations.

Ties, that of all scores that are not finite included, are as tau-b and average ranks have them. A correlation is NaN
where all scores or all accuracies are tied, and so for a single architecture.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.metrics.base import Array, paired
from trainless.ranking import average_ranks, column, finite_last

__all__ = ["kendall", "normal_scores", "spearman", "top_kendall", "top_number", "weighted_kendall"]

TOP_SHARE = 0.1
"""The share of the most accurate architectures that `top_kendall` looks at by default."""


def kendall(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """Compute Kendall's tau-b: concordant minus discordant pairs, over √(pairs untied in score × untied in accuracy).

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite is one tie below all others.
        accuracies: shape ``(n,)``, finite.

    Returns:
        From −1 to 1; NaN where all scores or all accuracies are tied.

    Raises:
        InputError: the columns do not fit together, or an accuracy is not finite.

    Source:
        Kendall, The Treatment of Ties in Ranking Problems, Biometrika 1945.

    Example:
        >>> round(kendall([1, 2, 3, 4], [80, 90, 85, 95]), 4)  # 5 pairs concordant, 1 discordant
        0.6667
    """
    return _kendall(*paired(scores, accuracies))


def spearman(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """Compute Spearman's rho: the linear correlation of the ranks, those of ties averaged.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite is one tie below all others.
        accuracies: shape ``(n,)``, finite.

    Returns:
        From −1 to 1; NaN where all scores or all accuracies are tied.

    Raises:
        InputError: the columns do not fit together, or an accuracy is not finite.

    Source:
        Spearman, The Proof and Measurement of Association between Two Things, 1904.

    Example:
        >>> round(spearman([1, 2, 3, 4], [80, 90, 85, 95]), 4)  # 1 − 6 · 2 / (4 · 15)
        0.8
    """
    centred = [centred_ranks(values) for values in paired(scores, accuracies)]
    return correlation(*centred)


def weighted_kendall(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """Compute the weighted tau: tau-b where a pair of ranks r and s weighs 1/(1 + r) + 1/(1 + s).

    The ranks are those by accuracy, 0 the most accurate; equal accuracies are ranked by score, so that the order of the
    architectures plays no part. A mistake about the best architectures thus costs most.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite is one tie below all others.
        accuracies: shape ``(n,)``, finite.

    Returns:
        From −1 to 1; NaN where all scores or all accuracies are tied.

    Raises:
        InputError: the columns do not fit together, or an accuracy is not finite.

    Source:
        Vigna, A Weighted Correlation Index for Rankings with Ties, WWW 2015.

    Example:
        >>> round(weighted_kendall([1, 2, 3], [80, 95, 90]), 4)  # weights 4/3, 5/6 and, discordant, 3/2
        0.1818
    """
    from scipy.stats import weightedtau

    values, truth = paired(scores, accuracies)
    if _is_constant(values) or _is_constant(truth):
        return math.nan
    # Ranks in place of the values: the same order, and no infinity. `rank=None` is by accuracy, then by score.
    return float(weightedtau(average_ranks(truth), average_ranks(values), rank=None).statistic)


def top_kendall(scores: npt.ArrayLike, accuracies: npt.ArrayLike, share: float = TOP_SHARE) -> float:
    """Compute tau-b within the most accurate architectures, where a search has to choose.

    These are the ⌈share · n⌉ most accurate, and all that are as accurate as the last of them.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite is one tie below all others.
        accuracies: shape ``(n,)``, finite.
        share: above 0, at most 1.

    Returns:
        From −1 to 1; NaN where all scores or all accuracies in the share are tied, and where it is one architecture.

    Raises:
        InputError: the columns do not fit together, an accuracy is not finite, or `share` is out of range.

    Example:
        >>> top_kendall([9, 9, 1, 2], [10, 20, 95, 90], share=0.5)
        -1.0
    """
    values, truth = paired(scores, accuracies)
    number = top_number(share, len(truth))
    top = truth >= np.sort(truth)[-number]
    return _kendall(values[top], truth[top])


def top_number(share: float, architectures: int) -> int:
    """Count the architectures in a share, rounded up.

    Example:
        >>> top_number(0.1, 30), top_number(0.1, 31)
        (3, 4)
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share}, expected a number above 0 and at most 1, such as 0.1.")
    # 0.1 × 30 is 3.0000000000000004.
    return max(1, math.ceil(round(share * architectures, 6)))


def normal_scores(values: npt.ArrayLike) -> Array:
    """Turn values into normal scores: the normal quantiles at (rank − 3/8) / (n + 1/4), those of ties by average rank.

    Only the order of the values counts; without ties the result is as good as a standard normal sample.

    Args:
        values: shape ``(n,)``; what is not finite is one tie below all others.

    Returns:
        Shape ``(n,)``.

    Raises:
        InputError: not one-dimensional, or not numbers.

    Source:
        Blom, Statistical Estimates and Transformed Beta-Variables, 1958.

    Example:
        >>> normal_scores([10.0, 1e9, 20.0]).round(3)
        array([-0.869,  0.869,  0.   ])
    """
    from scipy.special import ndtri

    ranks = average_ranks(finite_last(column(values, "values")))
    quantiles: Array = ndtri((ranks - 0.375) / (len(ranks) + 0.25))
    return quantiles


def centred_ranks(values: Array) -> Array:
    """Average ranks less their mean, the mean rank being (n + 1)/2 whatever the ties."""
    return average_ranks(values) - (len(values) + 1) / 2


def correlation(first: Array, second: Array) -> float:
    """Linear correlation of two columns of mean 0; NaN where one of them is constant."""
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else math.nan


def _kendall(values: Array, truth: Array) -> float:
    from scipy.stats import kendalltau

    if _is_constant(values) or _is_constant(truth):
        return math.nan
    return float(kendalltau(values, truth).statistic)


def _is_constant(values: Array) -> bool:
    return bool((values == values[0]).all())
