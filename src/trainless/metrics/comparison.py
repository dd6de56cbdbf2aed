"""Proxies compared with each other: how much they agree, what they cost, and which of them are worth their cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError
from trainless.metrics.base import Array
from trainless.metrics.correlations import centred_ranks, correlation, normal_scores, spearman
from trainless.ranking import average_ranks, column, finite_last

__all__ = ["agreement", "cost_quality_front", "costs_of", "redundancy", "seed_agreement"]


def agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Compute Spearman's rho of every two proxies.

    Every pair is compared on all architectures, what is not finite in one tie below all others. Two proxies that fail
    on the same architectures therefore agree the more for it.

    Args:
        scores: one row an architecture, one column a proxy, higher is better.

    Returns:
        Symmetric, proxies in rows and columns; NaN for a proxy whose scores are all tied.

    Raises:
        InputError: a column holds something that is no number.

    Example:
        >>> agreement(pd.DataFrame({"snip": [1.0, 2.0, 3.0], "nwot": [9.0, 1.0, float("nan")]}))
              snip  nwot
        snip   1.0  -1.0
        nwot  -1.0   1.0
    """
    ranks = [centred_ranks(finite_last(values)) for values in _columns(scores)]
    return _matrix(ranks, scores.columns)


def seed_agreement(scores: Sequence[pd.Series]) -> float:
    """Compute how far the scores of several seeds agree: the mean of Spearman's rho of each two of them.

    What is not finite is in one tie below all else.

    Args:
        scores: of the same architectures in the same order, one column a seed.

    Returns:
        NaN for fewer than two seeds, or where all scores of one are tied.

    Example:
        >>> seed_agreement([pd.Series([1.0, 2.0, 3.0]), pd.Series([1.0, 2.0, 4.0]), pd.Series([1.0, 3.0, 2.0])])
        0.6666666666666666
    """
    ranks = [average_ranks(finite_last(values.to_numpy(float))) for values in scores]
    pairs = [spearman(a, b) for a, b in itertools.combinations(ranks, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def redundancy(scores: pd.DataFrame) -> pd.DataFrame:
    """Compute how much of each proxy the others hold already: its nearest other, and its R² by all others.

    R² is the share of the variance of the proxy's normal scores that a least-squares line through the normal scores of
    all others explains. Near 1 the proxy brings nothing that a weighted sum of the others has not, whatever its own
    correlation with accuracy; 1 − R² is what only it can add. It is not to be read where there are hardly more
    architectures than proxies, for then it is high by chance.

    Args:
        scores: one row an architecture, one column a proxy.

    Returns:
        One row a proxy: ``nearest``, the other proxy with the largest absolute Spearman's rho (empty where there is
        none), ``rho``, with its sign, and ``r_squared``. NaN for a proxy whose scores are all tied, and R² also where
        there are not more architectures than proxies.

    Raises:
        InputError: a column holds something that is no number.

    Example:
        >>> scores = pd.DataFrame({"a": [1, 2, 3, 4, 5], "b": [5, 4, 3, 2, 1], "c": [2, 1, 4, 5, 3]})
        >>> redundancy(scores).round(2).to_dict("index")["c"]
        {'nearest': 'a', 'rho': 0.6, 'r_squared': 0.29}
    """
    rho = agreement(scores).to_numpy(copy=True)
    np.fill_diagonal(rho, np.nan)
    normal = [normal_scores(values) for values in _columns(scores)]
    rows = []
    for number, values in enumerate(normal):
        distances = np.nan_to_num(np.abs(rho[number]), nan=-1.0)
        nearest = int(distances.argmax())
        known = distances[nearest] >= 0
        rows.append(
            {
                "nearest": scores.columns[nearest] if known else "",
                "rho": rho[number, nearest] if known else np.nan,
                "r_squared": _explained(values, normal[:number] + normal[number + 1 :]),
            }
        )
    columns = ["nearest", "rho", "r_squared"]
    return pd.DataFrame(rows, index=scores.columns, columns=columns).rename_axis("proxy")


def cost_quality_front(quality: pd.Series, seconds: pd.Series) -> pd.DataFrame:
    """Find the proxies that are worth their cost: no other is as good for as little, and better in one of the two.

    Args:
        quality: by proxy, higher is better, for instance Kendall's tau.
        seconds: by proxy, lower is better; may lack some, or hold others, which are left out.

    Returns:
        One row a proxy of `quality`: ``quality``, ``seconds``, ``on_front`` and ``dominated_by``, the best of the
        proxies that cost no more (the cheapest of equally good ones), empty where none dominates. Two equal in both
        are on the front together. A proxy with an unknown quality or cost is neither on the front nor dominated.

    Raises:
        InputError: a proxy is there twice, or a value is no number.

    Example:
        >>> front = cost_quality_front(pd.Series({"nwot": 0.6, "snip": 0.5, "flops": 0.5}),
        ...                            pd.Series({"nwot": 0.2, "snip": 0.3, "flops": 0.0}))
        >>> front["dominated_by"].to_dict()
        {'nwot': '', 'snip': 'nwot', 'flops': ''}
    """
    for series, what in ((quality, "quality"), (seconds, "seconds")):
        if not series.index.is_unique:
            repeated = series.index[series.index.duplicated()][0]
            raise InputError(f"'{repeated}' is in {what} more than once, expected one value a proxy.")
    costs, values = column(seconds.reindex(quality.index), "seconds"), column(quality, "quality")
    known = np.flatnonzero(~(np.isnan(costs) | np.isnan(values)))
    rivals = np.full(len(values), -1)
    rivals[known] = known[_best_rivals(values[known], costs[known])]
    better = (values[rivals] > values) | (costs[rivals] < costs)
    return pd.DataFrame(
        {
            "quality": values,
            "seconds": costs,
            "on_front": (rivals >= 0) & ~better,
            "dominated_by": np.where((rivals >= 0) & better, quality.index[rivals], ""),
        },
        index=quality.index,
    )


def costs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Compute what a score costs, by proxy, from the rows of a store; failed scores are left out.

    Args:
        rows: as `trainless.store.Store.rows` gives them: ``proxy``, ``status``, ``seconds`` and ``peak_memory``.

    Returns:
        One row a proxy, in the order of their first scores: ``mean_seconds`` and ``median_seconds`` for one
        architecture; ``peak_memory``, the highest of the process so far in MiB, NaN where unknown.

    Raises:
        InputError: a column is missing.

    Example:
        >>> rows = pd.DataFrame({"proxy": ["nwot", "nwot", "nwot"], "status": ["ok", "not finite", "failed"],
        ...                      "seconds": [0.25, 0.75, 9.0], "peak_memory": [300.0, None, 900.0]})
        >>> costs_of(rows).loc["nwot"].to_dict()
        {'mean_seconds': 0.5, 'median_seconds': 0.5, 'peak_memory': 300.0}
    """
    missing = [name for name in ("proxy", "status", "seconds", "peak_memory") if name not in rows]
    if missing:
        raise InputError(f"The rows have no column {', '.join(missing)}: give them as Store.rows() does.")
    groups = rows[rows["status"] != "failed"].groupby("proxy", sort=False)
    return groups.agg(
        mean_seconds=("seconds", "mean"), median_seconds=("seconds", "median"), peak_memory=("peak_memory", "max")
    ).astype(float)


def _columns(scores: pd.DataFrame) -> list[Array]:
    return [column(scores.iloc[:, number], f"The column '{name}'") for number, name in enumerate(scores.columns)]


def _matrix(columns: list[Array], names: pd.Index) -> pd.DataFrame:
    """Correlations of every two columns of mean 0."""
    values = [[correlation(first, second) for second in columns] for first in columns]
    return pd.DataFrame(values, index=names, columns=names, dtype=float)


def _explained(values: Array, others: list[Array]) -> float:
    """Share of the variance of one column that a least-squares sum of the others explains."""
    if len(values) <= len(others) + 1 or np.ptp(values) == 0:
        return float("nan")
    centred = values - values.mean()
    design = np.column_stack([np.ones(len(values)), *others])
    residual = values - design @ np.linalg.lstsq(design, values)[0]
    return 1 - float(residual @ residual) / float(centred @ centred)


def _best_rivals(quality: Array, costs: Array) -> npt.NDArray[np.intp]:
    """For each point the best of those that cost no more, itself included; of equally good ones the cheapest."""
    order = np.lexsort((-quality, costs))
    leads = np.maximum.accumulate(quality[order])
    record = np.concatenate([[True], leads[1:] > leads[:-1]])[: len(order)]
    leaders = order[np.maximum.accumulate(np.where(record, np.arange(len(order)), 0))]
    return leaders[np.searchsorted(costs[order], costs, side="right") - 1]
