"""What the page and the static figures of a study both show, computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError
from trainless.ranking import finite_last
from trainless.report.common.colours import KIND_COLOURS, LINE_COLOURS
from trainless.report.common.formats import seconds

if TYPE_CHECKING:
    from trainless.aggregation import Sweep
    from trainless.study import Study

__all__ = [
    "HIGHLIGHTED",
    "MOST_NUMBERED",
    "Views",
    "cost_ticks",
    "make_views",
    "random_curve",
    "ratio_curve",
    "thinned",
]

HIGHLIGHTED = len(LINE_COLOURS)
MOST_NUMBERED = 25
"""Most columns of a heat map of which the numbers do not run into each other."""
_NEEDED = ("kendall", "argmax_accuracy", "regret", "kind", "seconds")
_MOST_RATIOS = 600


@dataclass(frozen=True, eq=False)
class Views:
    """A study with all that is shown of it.

    Args:
        study: what it is about.
        leaderboard: as `Study.leaderboard` gives it, the best Kendall's tau first.
        k: how many of the best-scored count as found there.
        agreement: Spearman's rho of every two columns, in the leaderboard's order.
        curves: best accuracy among the k best-scored, by k, in the leaderboard's order.
        front: which of the proxies are worth their seconds.
    """

    study: Study
    leaderboard: pd.DataFrame
    k: int
    agreement: pd.DataFrame
    curves: pd.DataFrame
    front: pd.DataFrame

    @property
    def names(self) -> list[str]:
        """The proxies and mixes, the best Kendall's tau first."""
        return [str(name) for name in self.leaderboard.index]

    @property
    def optimum(self) -> float:
        """Highest accuracy of all architectures, in percent."""
        return float(self.study.accuracies.max())

    def kind(self, name: str) -> str:
        """Kind of a proxy or mix; ``"unknown"`` where it is none of the known ones."""
        kind = str(self.study.kinds.get(name, "unknown"))
        return kind if kind in KIND_COLOURS else "unknown"

    def highlighted(self, most: int = HIGHLIGHTED) -> list[str]:
        """Choose the proxies that a figure has room for: the best of each kind, the best first choice, then the best.

        Returns:
            In the leaderboard's order.
        """
        firsts = {self.kind(name): name for name in reversed(self.names) if self.kind(name) != "unknown"}
        chosen = [*firsts.values(), str(self.leaderboard["regret"].idxmin()), *self.names]
        few = set(list(dict.fromkeys(chosen))[:most])
        return [name for name in self.names if name in few]

    def known_costs(self) -> tuple[pd.DataFrame, float]:
        """Give the front where cost and quality are known, with a column ``place`` that has room on a log axis.

        Returns:
            The table, and the place of what costs nothing: a quarter of the lowest cost above zero.
        """
        costs = self.front[["quality", "seconds"]].to_numpy(dtype=float)
        known: pd.DataFrame = self.front[np.isfinite(costs).all(axis=1)]
        above = known["seconds"][known["seconds"] > 0]
        floor = float(above.min()) / 4 if len(above) else 1e-3
        return known.assign(place=known["seconds"].clip(lower=floor)), floor


def make_views(study: Study, leaderboard: pd.DataFrame | None, resamples: int, k: int) -> Views:
    """Compute what is shown of a study.

    Args:
        study: what it is about.
        leaderboard: as `Study.leaderboard` gives it; None computes it.
        resamples: bootstrap samples behind each interval, for that.
        k: how many of the best-scored count as found.

    Raises:
        InputError: the leaderboard lacks a column or a proxy of the study.
    """
    table = study.leaderboard(resamples=resamples, k=k) if leaderboard is None else leaderboard
    missing = [name for name in _NEEDED if name not in table] + [
        str(name) for name in study.scores.columns if name not in table.index
    ]
    if missing:
        raise InputError(f"The leaderboard lacks {', '.join(missing)}: give what the study's leaderboard() returns.")
    order = list(table.index)
    return Views(
        study=study,
        leaderboard=table,
        k=k,
        agreement=study.agreement().loc[order, order],
        curves=study.top_curves(_growing(len(study.accuracies)))[order],
        front=study.front(table),
    )


def thinned(views: Views, most: int = 3000, top: int = 100, seed: int = 0) -> npt.NDArray[np.intp]:
    """Choose the architectures that a scatter has room for.

    Returns:
        Places, upwards: all where there are no more than `most` and `top` together; else `most` at random, the `top`
        most accurate, and the first choice of every proxy.
    """
    truth = views.study.accuracies.to_numpy(dtype=float)
    if len(truth) <= most + top:
        return np.arange(len(truth))
    drawn = np.random.default_rng(seed).choice(len(truth), most, replace=False)
    firsts = [first_choice(values) for _, values in views.study.oriented.items()]
    return np.unique(np.concatenate([drawn, np.argsort(-truth, kind="stable")[:top], firsts]))


def first_choice(oriented: pd.Series) -> int:
    """Place of the best-scored architecture; of equal ones the first."""
    return int(finite_last(oriented.to_numpy(dtype=float)).argmax())


def cost_ticks(known: pd.DataFrame, floor: float) -> dict[float, str]:
    """Choose the marks of a logarithmic axis of costs, and name them.

    Args:
        known: as `Views.known_costs` gives it, at least one row.
        floor: where what costs nothing stands.

    Returns:
        Powers of ten, or 1, 2 and 5 times these where there would be fewer than three; the floor is named 0.

    Example:
        >>> known = pd.DataFrame({"seconds": [0.0, 0.004, 0.03], "place": [0.001, 0.004, 0.03]})
        >>> list(cost_ticks(known, 0.001).values())
        ['0', '2 ms', '5 ms', '10 ms', '20 ms']
    """
    low, high = float(known["place"].min()), float(known["place"].max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    free = bool((known["seconds"] == 0).any())
    for digits in ((1,), (1, 2, 5)):
        marks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [mark for mark in marks if low * (1.5 if free else 1) <= mark <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            break
    return {**({floor: "0"} if free else {}), **{mark: seconds(mark) for mark in inside}}


def random_curve(accuracies: npt.ArrayLike, ks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the expected highest accuracy of k architectures drawn at random without replacement.

    It is Σ aᵢ (C(i, k) − C(i − 1, k)) / C(n, k) over the accuracies aᵢ in rising order.

    Args:
        accuracies: shape ``(n,)``.
        ks: each from 1 to n.

    Returns:
        One value for each k.

    Example:
        >>> random_curve([1.0, 2.0, 3.0], [1, 2, 3]).round(3).tolist()  # of 2: 2, 3 or 3
        [2.0, 2.667, 3.0]
    """
    from scipy.special import gammaln

    rising = np.sort(np.asarray(accuracies, dtype=float))
    size, rank = len(rising), np.arange(1, len(rising) + 1)
    expected = []
    for k in np.asarray(ks, dtype=int):
        inside = rank >= k
        # The logarithm of C(i, k) / C(n, k).
        logs = gammaln(rank + 1) - gammaln(np.maximum(rank - k, 0) + 1) - gammaln(size + 1) + gammaln(size - k + 1)
        reached = np.where(inside, np.exp(np.where(inside, logs, 0.0)), 0.0)
        expected.append(rising @ np.diff(reached, prepend=0.0))
    return np.array(expected)


def ratio_curve(sweep: Sweep) -> tuple[pd.DataFrame, dict[str, float]]:
    """Thin Kendall's tau by the ratio beta / alpha to what a line can show.

    Args:
        sweep: as `trainless.aggregation.sweep` gives it.

    Returns:
        Columns ``ratio`` and ``kendall``, evenly spread in the logarithm, with the best ratio in it; and Kendall's tau
        of each proxy of the pair alone, where the grid has it.
    """
    table = sweep.by_ratio()["kendall"].dropna()
    ratios = table.index.to_numpy(dtype=float)
    inner = table[(ratios > 0) & np.isfinite(ratios)]
    alone = {
        name: float(table.loc[end]) for name, end in zip(sweep.pair, (0.0, math.inf), strict=True) if end in table.index
    }
    if len(inner) > _MOST_RATIOS:
        logs = np.log(inner.index.to_numpy(dtype=float))
        even = np.searchsorted(logs, np.linspace(logs[0], logs[-1], _MOST_RATIOS)).clip(max=len(logs) - 1)
        inner = inner.iloc[np.unique([*even, int(inner.to_numpy().argmax())])]
    return pd.DataFrame({"ratio": inner.index, "kendall": inner.to_numpy()}), alone


def _growing(size: int) -> list[int]:
    """About 60 values of k from 1 to all, evenly spread in the logarithm."""
    return sorted(set(np.geomspace(1, size, 60).round().astype(int).tolist()))
