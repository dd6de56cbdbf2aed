"""All metrics on many bootstrap samples at once, as the plain functions have them.

A bootstrap sample is held as counts: how often each architecture was drawn. It stands for the columns in which each
architecture is repeated that often, in the order of the architectures. Sorting and grouping are then done once for all
samples, and what remains are sums of counts. Below, b is the number of samples.
"""

from __future__ import annotations

import numpy as np

from trainless.metrics.base import Array
from trainless.metrics.concordance import Places, groups_of, net_concordance, sum_by_group
from trainless.metrics.correlations import TOP_SHARE, top_number
from trainless.ranking import best_first, finite_last

__all__ = ["Samples", "draw"]


def draw(architectures: int, samples: int, generator: np.random.Generator) -> Array:
    """Draw bootstrap samples, each of as many architectures as there are, with replacement.

    The first samples of a generator are the same however many are drawn.

    Returns:
        How often each architecture is in each sample: shape ``(architectures, samples)``.

    Example:
        >>> draw(5, 2, np.random.default_rng(0)).sum(axis=0)
        array([5., 5.])
    """
    counts = np.empty((architectures, samples))
    for sample in range(samples):
        drawn = generator.integers(architectures, size=architectures)
        counts[:, sample] = np.bincount(drawn, minlength=architectures)
    return counts


class Samples:
    """Bootstrap samples of architectures with their accuracies, on which any number of proxies can be measured.

    Args:
        accuracies: shape ``(n,)``, finite.
        counts: how often each architecture is in each sample, shape ``(n, b)``, each column summing to n.
        k: from 1 to n.

    Example:
        >>> once = Samples(np.array([80.0, 90.0, 85.0]), np.ones((3, 1)), k=2)
        >>> once.metrics(np.array([1.0, 2.0, 3.0]))["regret"]
        array([5.])
    """

    def __init__(self, accuracies: Array, counts: Array, k: int) -> None:
        self._accuracies, self._counts, self._k = accuracies, counts, k
        self._size = len(accuracies)
        self._harmonic = _running_sum(1 / np.arange(1, self._size + 1))
        self._groups = groups_of(accuracies)
        self._equal, self._ranks = _ties_and_ranks(self._groups, counts)
        order = best_first(accuracies)
        self._optimum = _Top(order, counts, 1).highest(accuracies)
        self._top = _Top(order, counts, k)
        lowest = _Top(order, counts, top_number(TOP_SHARE, self._size)).lowest(accuracies)
        # Of the most accurate share: who is in it in any sample, and how often in each.
        self._share = np.flatnonzero(accuracies >= lowest.min())
        self._share_counts = np.where(accuracies[self._share, None] >= lowest, counts[self._share], 0.0)

    def metrics(self, scores: Array) -> dict[str, Array]:
        """Compute every metric on every sample.

        Args:
            scores: shape ``(n,)``, higher is better; what is not finite is one tie below all others.

        Returns:
            By name of the metric its values, shape ``(b,)``.
        """
        values = finite_last(scores)
        order = best_first(values)
        top, argmax = _Top(order, self._counts, self._k), _Top(order, self._counts, 1).highest(self._accuracies)
        return {
            **self._correlations(groups_of(values)),
            "top_kendall": self._top_kendall(values),
            "precision_at": self._precision(top),
            "best_of_top": top.highest(self._accuracies),
            "argmax_accuracy": argmax,
            "regret": self._optimum - argmax,
            "ndcg_at": _ratio(self._gain(top), self._gain(self._top)),
        }

    def _correlations(self, groups: Places) -> dict[str, Array]:
        equal, ranks = _ties_and_ranks(groups, self._counts)
        concordance = net_concordance(groups, self._groups, self._counts)
        untied = self._size - equal, self._size - self._equal
        # Downwards by accuracy, and by score where accuracies are equal.
        weights = self._hyperbolic_weights(np.lexsort((groups, self._groups))[::-1])
        mean = (self._size + 1) / 2
        return {
            "kendall": _tau(self._counts, concordance, *untied),
            "spearman": _rho(self._counts, ranks - mean, self._ranks - mean),
            "weighted_kendall": _tau(weights, concordance, *untied),
        }

    def _hyperbolic_weights(self, order: Places) -> Array:
        """Sum 1/(1 + rank) over all times that an architecture is in a sample, rank 0 the first of the order."""
        counts = self._counts[order].astype(np.intp)
        until = np.cumsum(counts, axis=0)
        weights = np.empty_like(self._counts)
        weights[order] = self._harmonic[until] - self._harmonic[until - counts]
        return weights

    def _top_kendall(self, values: Array) -> Array:
        counts, columns = self._share_counts, (groups_of(values[self._share]), groups_of(self._groups[self._share]))
        untied = [counts.sum(axis=0) - _ties_and_ranks(groups, counts)[0] for groups in columns]
        return _tau(counts, net_concordance(*columns, counts), *untied)

    def _precision(self, top: _Top) -> Array:
        accurate = self._accuracies[top.places, None] >= self._top.lowest(self._accuracies)
        hits: Array = np.einsum("ib,ib->b", top.taken, accurate)
        return hits / self._k

    def _gain(self, top: _Top) -> Array:
        # One architecture has no others to be ranked among, and the gain 0/0.
        gain = (self._ranks[top.places] - 1) / max(1, self._size - 1)
        discounted: Array = np.einsum("ib,ib->b", gain, top.discounts())
        return discounted


class _Top:
    """The first k of an order, in every sample.

    Attributes:
        places: as much of the order's beginning, p architectures, as holds the first k of every sample.
        taken: how often each of them is among the first k, shape ``(p, b)``.
    """

    def __init__(self, order: Places, counts: Array, k: int) -> None:
        length = 2 * k + 64
        while length < len(order) and counts[order[:length]].sum(axis=0).min() < k:
            length *= 2
        self.places, self._k = order[:length], k
        self._until = np.minimum(np.cumsum(counts[self.places], axis=0), k)
        self.taken = np.diff(self._until, axis=0, prepend=0.0)

    def highest(self, accuracies: Array) -> Array:
        """Highest accuracy among the first k."""
        highest: Array = np.where(self.taken > 0, accuracies[self.places, None], -np.inf).max(axis=0)
        return highest

    def lowest(self, accuracies: Array) -> Array:
        """Lowest accuracy among the first k."""
        lowest: Array = np.where(self.taken > 0, accuracies[self.places, None], np.inf).min(axis=0)
        return lowest

    def discounts(self) -> Array:
        """Sum of the discounts 1/log₂(1 + place) of all times that an architecture is among the first k."""
        sums = _running_sum(1 / np.log2(np.arange(2, self._k + 2)))
        until = self._until.astype(np.intp)
        return sums[until] - sums[until - self.taken.astype(np.intp)]


def _running_sum(terms: Array) -> Array:
    """Sums of the first 0, 1, ... terms."""
    return np.concatenate([[0.0], np.cumsum(terms)])


def _ties_and_ranks(groups: Places, counts: Array) -> tuple[Array, Array]:
    """Size of the tie that each architecture is in, itself included, and its average rank upwards from 1."""
    sums = sum_by_group(groups, counts)
    ranks = np.cumsum(sums, axis=0) - (sums - 1) / 2
    return sums[groups], ranks[groups]


def _tau(weights: Array, concordance: Array, *untied: Array) -> Array:
    """Tau-b of each sample, where a pair weighs the sum of the weights of its two; NaN where all are tied.

    A sum over pairs is one over architectures, of the weight times the number of such pairs that it is in.
    """
    first, second = (np.einsum("ib,ib->b", weights, others) for others in untied)
    return _ratio(np.einsum("ib,ib->b", weights, concordance), np.sqrt(first * second))


def _rho(counts: Array, first: Array, second: Array) -> Array:
    """Linear correlation of two columns of mean 0 in each sample; NaN where one is constant."""
    weighted = counts * first
    scale = np.einsum("ib,ib->b", weighted, first) * np.einsum("ib,ib,ib->b", counts, second, second)
    return _ratio(np.einsum("ib,ib->b", weighted, second), np.sqrt(scale))


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
