"""What a search gets that trusts the scores: measures of the best-scored architectures.

Equal scores keep their order, as in `trainless.aggregation.ranking`, and so do those that are not finite, which come
last: where a choice falls within a tie, it falls on the architecture that stands first.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainless.metrics.base import check_k, paired
from trainless.metrics.correlations import centred_ranks
from trainless.ranking import best_first

__all__ = ["argmax_accuracy", "best_of_top", "ndcg_at", "precision_at", "regret"]


def precision_at(scores: npt.ArrayLike, accuracies: npt.ArrayLike, k: int = 10) -> float:
    """Compute the share of the k best-scored architectures that are among the k most accurate.

    All that are as accurate as the k-th most accurate count as among them.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite comes last.
        accuracies: shape ``(n,)``, finite.
        k: from 1 to n.

    Returns:
        From 0 to 1; k/n by chance.

    Raises:
        InputError: the columns do not fit together, an accuracy is not finite, or k is out of range.

    Example:
        >>> precision_at([4, 3, 2, 1], [80, 95, 90, 85], k=2)
        0.5
    """
    values, truth = paired(scores, accuracies)
    k = check_k(k, len(truth))
    return float(np.mean(truth[best_first(values)[:k]] >= np.sort(truth)[-k]))


def best_of_top(scores: npt.ArrayLike, accuracies: npt.ArrayLike, k: int = 10) -> float:
    """Compute the highest accuracy among the k best-scored architectures: what training all k of them gives.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite comes last.
        accuracies: shape ``(n,)``, finite.
        k: from 1 to n.

    Returns:
        An accuracy, in the unit of `accuracies`.

    Raises:
        InputError: the columns do not fit together, an accuracy is not finite, or k is out of range.

    Example:
        >>> best_of_top([4, 3, 2, 1], [80, 90, 95, 85], k=2)
        90.0
    """
    values, truth = paired(scores, accuracies)
    return float(truth[best_first(values)[: check_k(k, len(truth))]].max())


def argmax_accuracy(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """Compute the accuracy of the best-scored architecture: what a search without any training gives.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite comes last.
        accuracies: shape ``(n,)``, finite.

    Returns:
        An accuracy, in the unit of `accuracies`.

    Raises:
        InputError: the columns do not fit together, or an accuracy is not finite.

    Example:
        >>> argmax_accuracy([float("inf"), 1, 2, 2], [95, 90, 85, 80])
        85.0
    """
    return best_of_top(scores, accuracies, 1)


def regret(scores: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """Compute the highest accuracy of all less that of the best-scored architecture.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite comes last.
        accuracies: shape ``(n,)``, finite.

    Returns:
        0 or more, in the unit of `accuracies`: percentage points where these are percent.

    Raises:
        InputError: the columns do not fit together, or an accuracy is not finite.

    Example:
        >>> regret([4, 3, 2], [90.0, 94.5, 80.0])
        4.5
    """
    _, truth = paired(scores, accuracies)
    return float(truth.max()) - argmax_accuracy(scores, accuracies)


def ndcg_at(scores: npt.ArrayLike, accuracies: npt.ArrayLike, k: int = 10) -> float:
    """Compute nDCG@k: discounted gain of the k best-scored architectures, over that of the k most accurate.

    The gain is linear in the rank by accuracy: the share of the others that are less accurate, of equal ones half. The
    discount is 1/log₂(1 + place). The usual gain 2^accuracy is of no use for percentages, for the most accurate
    architecture would outweigh all others; the accuracy above the worst is little better, for a few networks that did
    not learn bring even a random order near 1. By rank, a random order gives about 1/2, whatever the data set.

    Args:
        scores: shape ``(n,)``, higher is better; what is not finite comes last.
        accuracies: shape ``(n,)``, finite.
        k: from 1 to n.

    Returns:
        From 0 to 1; 1 where all accuracies are equal, for then every order is the ideal one, and NaN where there is
        only one architecture.

    Raises:
        InputError: the columns do not fit together, an accuracy is not finite, or k is out of range.

    Source:
        Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, TOIS 2002.

    Example:
        >>> ndcg_at([2, 3, 1], [80, 90, 95], k=1)  # the first choice has one of two others below it
        0.5
    """
    values, truth = paired(scores, accuracies)
    k = check_k(k, len(truth))
    if len(truth) == 1:
        return math.nan
    gain = 0.5 + centred_ranks(truth) / (len(truth) - 1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = discount @ np.sort(gain)[::-1][:k]
    return float(discount @ gain[best_first(values)[:k]] / ideal)
