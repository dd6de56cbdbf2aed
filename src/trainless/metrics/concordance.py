"""Concordant and discordant pairs of architectures in many samples at once.

A sample is held as counts: how often each architecture is in it. Below, n is the number of architectures and b that of
samples; groups are the distinct values of a column, numbered upwards from 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainless.metrics.base import Array

__all__ = ["groups_of", "net_concordance", "sum_by_group"]

Places = npt.NDArray[np.intp]


def groups_of(values: npt.NDArray[np.float64 | np.intp]) -> Places:
    """Number the distinct values upwards from 0 and give each value its number.

    Example:
        >>> groups_of(np.array([7.0, -1.0, 7.0]))
        array([1, 0, 1])
    """
    return np.unique(values, return_inverse=True)[1]


def sum_by_group(groups: Places, counts: Array, number: int | None = None) -> Array:
    """Sum the counts of each group.

    Args:
        groups: shape ``(n,)``.
        counts: shape ``(n, b)``.
        number: of groups; one more than the highest by default.

    Returns:
        Shape ``(number, b)``.

    Example:
        >>> sum_by_group(np.array([1, 0, 1]), np.array([[1.0], [2.0], [3.0]]))
        array([[2.],
               [4.]])
    """
    from scipy.sparse import csr_array

    size = len(groups)
    shape = (int(groups.max()) + 1 if number is None else number, size)
    sums: Array = csr_array((np.ones(size), (groups, np.arange(size))), shape=shape) @ counts
    return sums


def net_concordance(first: Places, second: Places, counts: Array) -> Array:
    """Count for each architecture the others in a sample that are concordant with it, less the discordant ones.

    Ties are first broken, those in one column by the other and those in both by place, so that a tie counts as
    concordant, and are taken off at the end. Each of the two orders is cut into about √n runs of about √n neighbours. A
    pair in different runs of both orders is counted through a table with one cell for each two runs; the pairs within a
    run are compared one by one. All of that are products of matrices of signs with the counts: n^1.5 multiplications a
    sample, and exact, for the sums are whole numbers.

    Args:
        first: group of each architecture in one column, shape ``(n,)``.
        second: the same for the other column.
        counts: whole numbers, shape ``(n, b)``.

    Returns:
        Shape ``(n, b)``.

    Example:
        >>> net_concordance(np.array([0, 1, 2]), np.array([0, 2, 1]), np.ones((3, 1))).ravel()
        array([2., 0., 0.])
    """
    run = math.isqrt(len(first)) + 1
    orders = np.lexsort((second, first)), np.lexsort((first, second))
    places = [np.argsort(order) for order in orders]
    runs = [ranks // run for ranks in places]
    concordance = _between_runs(runs[0], runs[1], counts)
    for start in range(0, len(first), run):
        near = orders[0][start : start + run]
        concordance[near] += _signs(places[1][near]) @ counts[near]
        near = orders[1][start : start + run]
        apart = np.not_equal.outer(runs[0][near], runs[0][near])  # the others were just counted
        concordance[near] += (_signs(places[0][near]) * apart) @ counts[near]
    return concordance - _tied_in_either(first, second, counts)


def _between_runs(first: Places, second: Places, counts: Array) -> Array:
    """Count the pairs in different runs of both orders."""
    runs, samples = int(first.max()) + 1, counts.shape[1]
    cells = first * runs + second
    signs = np.sign(np.subtract.outer(np.arange(runs), np.arange(runs))).astype(np.float64)
    table = sum_by_group(cells, counts, runs * runs).reshape(runs, runs * samples)
    table = np.matmul(signs, (signs @ table).reshape(runs, runs, samples))
    between: Array = table.reshape(runs * runs, samples)[cells]
    return between


def _tied_in_either(first: Places, second: Places, counts: Array) -> Array:
    """Count those that an architecture is tied with in a column or both, itself included."""
    both = groups_of(first * (int(second.max()) + 1) + second)
    equal = [sum_by_group(groups, counts)[groups] for groups in (first, second, both)]
    return equal[0] + equal[1] - equal[2]


def _signs(places: Places) -> Array:
    """Which of some architectures, sorted by one column, are concordant by their places in the other: 1 or −1.

    An architecture is concordant with itself.
    """
    rises = np.greater_equal.outer(places, places) == np.tri(len(places), dtype=bool)
    return np.where(rises, 1.0, -1.0)
