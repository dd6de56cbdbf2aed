"""The study of the Hybrid's two weights: every pair of a grid, exactly, in seconds.

Only the ratio beta / alpha decides the order of two architectures for which the condition DIN ≤ DDN holds, so two
architectures change places at one ratio at most: at ``−(x_i − x_j) / (y_i − y_j)``, where x is DIN and y is DDN.
Sorting these crossings of all pairs into the grid's distinct ratios gives Kendall's and Spearman's numerators at every
ratio by one cumulative sum, instead of sorting the architectures again for each pair of weights. Architectures for
which the condition does not hold are few and keep x as their value: another one passes them at one beta for each alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.aggregation.weighted import HYBRID_PAIR, combine, largest_finite
from trainless.errors import InputError
from trainless.ranking import average_ranks, check_same_index, column, finite_last

__all__ = ["Sweep", "grid", "sweep"]

Array = npt.NDArray[np.float64]

_BLOCK = 128  # rows of pairs at a time
_MOST_FLIPPED = 8  # for each beta: with more, evaluating each pair of weights by itself is quicker
_ROUNDING = 16 * np.finfo(float).eps


def grid(stop: float = 100.0, step: float = 0.5) -> Array:
    """Give the weights of the thesis's study: 0 to 100 in steps of 0.5, 201 of them.

    Raises:
        InputError: the step is not above zero, or above the end.

    Example:
        >>> len(grid()), grid(1.0).tolist()
        (201, [0.0, 0.5, 1.0])
    """
    if not 0 < step <= stop:
        raise InputError(f"The grid ends at {stop} with step {step}, expected a step above 0 and no larger.")
    return np.arange(int(np.floor(stop / step + 1e-9)) + 1, dtype=np.float64) * step


@dataclass(frozen=True, eq=False)
class Sweep:
    """Correlations of the Hybrid with accuracies at every pair of weights.

    Args:
        pair: the data-independent and the data-dependent proxy.
        alphas: weights of the first, shape ``(a,)``.
        betas: weights of the second, shape ``(b,)``.
        kendall: tau-b, shape ``(a, b)``; NaN where all values are tied.
        spearman: rho, shape ``(a, b)``; NaN there too.
        condition: whether the condition DIN ≤ DDN was on.
        flipped: number of architectures with DIN > DDN, whose value is DIN alone whatever the weights; 0 where the
            condition was off.
    """

    pair: tuple[str, str]
    alphas: Array
    betas: Array
    kendall: Array
    spearman: Array
    condition: bool = True
    flipped: int = 0

    def best(self, metric: str = "kendall") -> tuple[float, float, float]:
        """Find the weights with the largest correlation: the smallest alpha that reaches it, then the smallest beta.

        Values that differ by less than 1e-12 count as equal, since rounding would else decide among weights of one
        ratio.

        Args:
            metric: ``"kendall"`` or ``"spearman"``.

        Returns:
            alpha, beta and the correlation; this is in-sample, see `cross_validate`.

        Raises:
            InputError: no pair of weights has a correlation, since all scores or all accuracies are equal.

        Example:
            >>> study = Sweep(HYBRID_PAIR, grid(1), grid(1), np.eye(3), np.eye(3))
            >>> study.best()
            (0.0, 0.0, 1.0)
        """
        values = self._values(metric)
        if np.isnan(values).all():
            raise InputError(
                "No pair of weights has a correlation, since all scores or all accuracies are equal: give others."
            )
        top = np.nanmax(values)
        first, second = np.argwhere(values >= top - 1e-12)[0]
        return float(self.alphas[first]), float(self.betas[second]), float(values[first, second])

    def at(self, alpha: float, beta: float, metric: str = "kendall") -> float:
        """Give the correlation at one pair of weights of the grid.

        Raises:
            InputError: the grid does not hold that pair.
        """
        found = np.argwhere(np.isclose(self.alphas, alpha)), np.argwhere(np.isclose(self.betas, beta))
        if not all(len(positions) for positions in found):
            raise InputError(f"The grid holds no pair alpha {alpha}, beta {beta}: choose one of its points.")
        return float(self._values(metric)[found[0][0, 0], found[1][0, 0]])

    def by_ratio(self) -> pd.DataFrame:
        """List the distinct ratios beta / alpha upwards with the best correlations at each.

        Returns:
            Columns ``kendall`` and ``spearman``, indexed by ``ratio``; alpha 0 is the ratio infinity.
        """
        frame = self.frame()
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = frame["beta"] / frame["alpha"]
        return frame.assign(ratio=ratio).dropna().groupby("ratio")[["kendall", "spearman"]].max()

    def frame(self) -> pd.DataFrame:
        """List every pair of weights: columns ``alpha``, ``beta``, ``kendall`` and ``spearman``."""
        alpha, beta = np.meshgrid(self.alphas, self.betas, indexing="ij")
        columns = {"alpha": alpha, "beta": beta, "kendall": self.kendall, "spearman": self.spearman}
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()})

    def _values(self, metric: str) -> Array:
        if metric not in ("kendall", "spearman"):
            raise InputError(f"The metric is '{metric}', expected kendall or spearman.")
        return self.kendall if metric == "kendall" else self.spearman


def sweep(
    data_independent: npt.ArrayLike,
    data_dependent: npt.ArrayLike,
    accuracies: npt.ArrayLike,
    *,
    alphas: npt.ArrayLike | None = None,
    betas: npt.ArrayLike | None = None,
    condition: bool = True,
    pair: tuple[str, str] = HYBRID_PAIR,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Compute Kendall's tau-b and Spearman's rho of the Hybrid at every pair of weights of a grid.

    The same numbers as computing the Hybrid and both correlations for each pair, with what is not finite as one tie
    below all other architectures. Only two architectures whose scores differ in the last digits of double precision
    may differ: here they keep the order of their scores, where rounding might make their sums equal.

    Args:
        data_independent: one score an architecture, shape ``(n,)``, higher is better.
        data_dependent: the same for the other proxy.
        accuracies: shape ``(n,)``, finite.
        alphas: weights of the first, at least 0; None is `grid`.
        betas: weights of the second.
        condition: False takes the weighted sum everywhere.
        pair: names of the two proxies, for the record.
        progress: called with the number of steps done and of all.

    Raises:
        InputError: the three do not belong together, fewer than two architectures, an accuracy is not finite, a weight
            is negative, or a score cannot be normalised.

    Example:
        >>> study = sweep([1.0, 2.0, 3.0, 4.0], [1.0, 9.0, 2.0, 8.0], [10.0, 30.0, 20.0, 40.0], condition=False)
        >>> study.best()
        (0.5, 0.5, 1.0)
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    check_same_index(data_independent, data_dependent, "The two proxies' scores")
    check_same_index(data_independent, accuracies, "The scores and the accuracies")
    first, second = column(data_independent, pair[0]), column(data_dependent, pair[1])
    truth = column(accuracies, "accuracies")
    if not len(first) == len(second) == len(truth) >= 2:
        raise InputError(
            f"There are {len(first)} and {len(second)} scores and {len(truth)} accuracies, expected as many of each, "
            "at least 2."
        )
    if not np.isfinite(truth).all():
        raise InputError("An accuracy is not finite, expected a number for each architecture: leave the others out.")
    rows, columns = _weights(alphas, "alpha"), _weights(betas, "beta")
    din = first / largest_finite(first, pair[0])
    ddn = second / largest_finite(second, pair[1])
    work = _Work(din, ddn, truth, condition, progress or (lambda done, total: None))
    with threadpool_limits(1, user_api="blas"):  # many small products, which several threads make twice as slow
        kendall, spearman = work.run(rows, columns)
    return Sweep(pair, rows, columns, kendall, spearman, condition, int(work.flipped.sum()))


def _weights(values: npt.ArrayLike | None, name: str) -> Array:
    weights = grid() if values is None else column(values, name)
    if not len(weights) or not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError(f"The weights {name} hold a negative or infinite number, or none: give numbers of at least 0.")
    return weights


@dataclass
class _Work:
    """One study; higher of x, y and truth is better, and `flipped` tells where the condition does not hold."""

    x: Array
    y: Array
    truth: Array
    condition: bool
    progress: Callable[[int, int], None]
    finite: npt.NDArray[np.bool_] = field(init=False)
    flipped: npt.NDArray[np.bool_] = field(init=False)
    ranks: Array = field(init=False)

    def __post_init__(self) -> None:
        self.finite = np.isfinite(self.x) & np.isfinite(self.y)
        with np.errstate(invalid="ignore"):
            self.flipped = self.finite & (self.x > self.y) & self.condition
        self.ranks = average_ranks(self.truth) - (len(self.truth) + 1) / 2

    def run(self, alphas: Array, betas: Array) -> tuple[Array, Array]:
        shape = len(alphas), len(betas)
        kendall, spearman = np.full(shape, np.nan), np.full(shape, np.nan)
        direct = np.ones(shape, dtype=bool)
        if self.flipped.sum() <= _MOST_FLIPPED * len(betas):
            direct = self._fill(alphas, betas, kendall, spearman)
        left = np.argwhere(direct)
        for done, (first, second) in enumerate(left):
            kendall[first, second], spearman[first, second] = self._direct(alphas[first], betas[second])
            if done % 100 == 0:
                self.progress(direct.size - len(left) + done, direct.size)
        self.progress(direct.size, direct.size)
        return kendall, spearman

    def _direct(self, alpha: float, beta: float) -> tuple[float, float]:
        """Both correlations at one pair of weights, by sorting."""
        from scipy.stats import kendalltau

        values = finite_last(combine(self.x, self.y, alpha, beta, self.condition))
        ranks = average_ranks(values) - (len(values) + 1) / 2
        scale = np.sqrt((ranks @ ranks) * (self.ranks @ self.ranks))
        if scale == 0:
            return np.nan, np.nan
        return float(kendalltau(values, self.truth).statistic), float(ranks @ self.ranks / scale)

    def _fill(self, alphas: Array, betas: Array, kendall: Array, spearman: Array) -> npt.NDArray[np.bool_]:
        """Fill in all that crossings give, and tell which pairs of weights have to be evaluated by themselves.

        These are the ones with a weight of 0, where architectures of equal score are tied, and those where rounding
        might decide between two architectures or tie them.
        """
        direct = np.ones(kendall.shape, dtype=bool)
        inner = np.ix_(alphas > 0, betas > 0)
        if not direct[inner].size:
            return direct
        alpha, beta = alphas[alphas > 0], betas[betas > 0]
        ratios, positions = np.unique(beta / alpha[:, None], return_inverse=True)
        crossing, near = self._crossings(ratios)
        flipped, close = self._flipped_pairs(alpha, beta)
        scales = self._scales()
        if min(scales) == 0:
            return direct
        sums = crossing[:, positions] + flipped + self._fixed_pairs()[:, None, None]
        kendall[inner], spearman[inner] = sums[0] / scales[0], sums[1] / scales[1]
        direct[inner] = near[positions] | close
        return direct

    def _crossings(self, ratios: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Sum sign(v_i − v_j) · sign(t_i − t_j) and sign(v_i − v_j) · (r_i − r_j) over pairs that obey the condition.

        v is x + ratio · y, t the accuracy and r its rank.

        Returns:
            Both sums at each ratio, shape ``(2, ratios)``, and whether rounding would decide on a crossing there.
        """
        chosen = np.flatnonzero(self.finite & ~self.flipped)
        order = chosen[np.lexsort((self.y[chosen], self.x[chosen]))]
        x, y, truth, ranks = self.x[order], self.y[order], self.truth[order], self.ranks[order]
        steps = np.zeros((2, len(ratios) + 1))
        near = np.zeros(len(ratios), dtype=bool)
        for start in range(0, len(order), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(order)))
            # Only pairs i < j: x_j ≥ x_i, and so v_j > v_i at ratio 0 wherever they are not equal.
            upper = np.arange(start, len(order))[None, :] > np.arange(start, rows.stop)[:, None]
            dx, dy = x[None, start:] - x[rows, None], y[None, start:] - y[rows, None]
            sign = np.sign(truth[None, start:] - truth[rows, None])
            drank = ranks[None, start:] - ranks[rows, None]
            varied = upper & ((dx != 0) | (dy != 0))
            # Where x is equal the order by y has put the larger one behind, too.
            steps[:, 0] += sign[varied].sum(), drank[varied].sum()
            crossing = varied & (dy < 0) & (dx > 0)
            fall = -dy[crossing]
            at = dx[crossing] / fall
            # Both scores are at most about 1, so a difference of sums is known to a few units of 1 + ratio.
            slack = _ROUNDING * (1 + at) / fall + _ROUNDING * at
            falls, close = _binned(ratios, at, slack, (sign[crossing], drank[crossing]))
            steps -= 2 * falls
            near |= close
            self.progress(start, 2 * len(order))
        # A pair whose crossing is sorted before ratio k has already crossed there; bin 0 holds the start as well.
        return np.cumsum(steps[:, :-1], axis=1), near

    def _fixed_pairs(self) -> Array:
        """Both sums over pairs whose order no weight changes: one or both not finite, or both flipped."""
        low, high = np.sort(self.truth[~self.finite]), self.truth[self.finite]
        # Whatever is finite is above what is not, so that accuracies alone decide on a sign.
        signs = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right") - len(low)
        ranks = len(low) * self.ranks[self.finite].sum() - len(high) * self.ranks[~self.finite].sum()
        flipped = np.flatnonzero(self.flipped)
        sums: Array = np.array([signs.sum(), ranks], dtype=np.float64)
        for architecture in flipped:
            sums += self._gains(architecture, flipped) @ np.sign(self.x[architecture] - self.x[flipped]) / 2
        return sums

    def _flipped_pairs(self, alphas: Array, betas: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Both sums over pairs of which one is flipped and one is not, at each pair of weights.

        Returns:
            Shape ``(2, alphas, betas)``, and whether rounding would decide there.
        """
        levels, positions = np.unique(betas, return_inverse=True)
        sums = np.zeros((2, len(alphas), len(levels)))
        near = np.zeros(sums.shape[1:], dtype=bool)
        flipped, others = np.flatnonzero(self.flipped), np.flatnonzero(self.finite & ~self.flipped)
        moving, still = others[self.y[others] != 0], others[self.y[others] == 0]
        x, y = self.x[moving], self.y[moving]
        for done, architecture in enumerate(flipped):
            # The flipped one's value less the other's has the sign of y up to the crossing, and the opposite one after.
            gains, rest = self._gains(architecture, moving) * np.sign(y), self._gains(architecture, still)
            for row, alpha in enumerate(alphas):
                with np.errstate(over="ignore"):
                    at = (self.x[architecture] - alpha * x) / y
                    slack = _ROUNDING * (abs(self.x[architecture]) + alpha * np.abs(x)) / np.abs(y)
                steps, close = _binned(levels, at, slack, gains)
                signs = np.sign(self.x[architecture] - alpha * self.x[still])
                sums[:, row] += (gains.sum(axis=1) + rest @ signs)[:, None] - 2 * np.cumsum(steps[:, :-1], axis=1)
                near[row] |= close | (signs == 0).any()
            self.progress(len(flipped) + done, 2 * len(flipped))
        return sums[:, :, positions], near[:, positions]

    def _gains(self, architecture: np.intp, others: npt.NDArray[np.intp]) -> Array:
        """By how much one architecture beats others: the sign of the accuracies' difference, and that of the ranks."""
        signs: Array = np.sign(self.truth[architecture] - self.truth[others])
        return np.stack([signs, self.ranks[architecture] - self.ranks[others]])

    def _scales(self) -> tuple[float, float]:
        """The denominators of both sums, with the ties that all weights leave."""
        groups = pd.DataFrame({"x": self.x, "y": self.y})
        groups.loc[self.flipped, "y"] = np.inf
        groups.loc[~self.finite] = -np.inf
        sizes = groups.value_counts(sort=False).to_numpy(dtype=float)
        truths = pd.Series(self.truth).value_counts(sort=False).to_numpy(dtype=float)
        n = float(len(self.truth))
        pairs, cubes = n * (n - 1) / 2, n**3 - n
        tied = [
            (float((counts * (counts - 1)).sum() / 2), float((counts**3 - counts).sum())) for counts in (sizes, truths)
        ]
        kendall = np.sqrt((pairs - tied[0][0]) * (pairs - tied[1][0]))
        # Σ over pairs of sign · (r_i − r_j) is twice the covariance sum of the ranks.
        spearman = 2 * np.sqrt((cubes - tied[0][1]) * (cubes - tied[1][1])) / 12
        return float(kendall), float(spearman)


def _binned(levels: Array, at: Array, slack: Array, weights: Iterable[Array]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Sum the weights of crossings between sorted levels, and tell the levels to which one is nearer than its slack.

    Returns:
        Shape ``(2, levels + 1)``, of which column k is of the crossings below level k and not below the one before; and
        shape ``(levels,)``.
    """
    bins = np.searchsorted(levels, at)
    sums: Array = np.stack([np.bincount(bins, weight, minlength=len(levels) + 1) for weight in weights]).astype(float)
    near: npt.NDArray[np.bool_] = np.zeros(len(levels), dtype=bool)
    for places in (np.minimum(bins, len(levels) - 1), np.maximum(bins - 1, 0)):
        near[places[np.abs(levels[places] - at) <= slack]] = True
    return sums, near
