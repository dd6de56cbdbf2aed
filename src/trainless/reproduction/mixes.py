"""Mixes of proxies beyond the thesis's pair: chosen on one data set, and what becomes of them on all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from trainless.aggregation import Aggregate, Hybrid, aggregate
from trainless.errors import InputError
from trainless.metrics import kendall, spearman
from trainless.ranking import finite_last
from trainless.reproduction.rows import OwnScores
from trainless.reproduction.thesis import DATASETS
from trainless.tables import benchmark_table, published_scores
from trainless.tables.published import TRANSNAS_TASKS

__all__ = [
    "COUNTS", "THESIS_PROXIES", "Source", "candidates", "choose", "compare_mixes", "everywhere", "mix_sources",
    "notable_mixes", "own_mix_sources", "sizes_of", "thesis_mixes", "worst_and_mean",
]  # fmt: skip

THESIS_PROXIES = (
    "synflow:log", "snip", "jacov", "grad_norm", "grasp", "fisher", "epe_nas", "l2_norm", "logsynflow", "nwot", "plain",
    "zen:running",
)  # fmt: skip
"""The twelve proxies of the thesis's tables, of which the mixes are made."""

COUNTS = ("params", "flops")
"""The two that need no pass, which join the search for robust mixes."""


@dataclass(frozen=True, eq=False)
class Source:
    """Scores of one benchmark and data set with its accuracies, over the same architectures.

    Args:
        name: benchmark and data set.
        scores: one row an architecture, one column a proxy, raw.
        accuracies: with the same index.
    """

    name: str
    scores: pd.DataFrame
    accuracies: pd.Series


def mix_sources(folder: str | Path | None = None) -> list[Source]:
    """Read all published score sets: NAS-Bench-201 on three data sets, NB101, NB301, and TransNAS macro on its tasks.

    Those of NAS-Bench-201 are joined with FreeREA's logsynflow; CIFAR-10 takes NASLib's 9,445 cells and is held
    against the test accuracy, as the mean over seeds, like the other two.

    Args:
        folder: as for `trainless.tables.benchmark_table`.

    Raises:
        TableError: a file is missing or damaged.
    """
    table = benchmark_table("nasbench201", folder)
    sources = []
    for dataset in DATASETS:
        name = "naslib.cifar10" if dataset == "cifar10" else f"suite-zero.nasbench201.{dataset}"
        scores = published_scores(name, folder).scores
        extra = published_scores(f"freerea.{dataset}", folder).scores["logsynflow"]
        sources.append(_joined(f"NB201 {dataset}", scores.join(extra), table.accuracies(dataset, "test")))
    others = {"NB101": "suite-zero.nasbench101.cifar10", "NB301": "suite-zero.nasbench301.cifar10"}
    others |= {f"TransNAS {task}": f"suite-zero.transnas-macro.{task}" for task in TRANSNAS_TASKS}
    for label, name in others.items():
        found = published_scores(name, folder)
        assert found.accuracies is not None
        sources.append(_joined(label, found.scores, found.accuracies))
    return sources


def own_mix_sources(scores: OwnScores, folder: str | Path | None = None) -> list[Source]:
    """Hold our own scores against the test accuracies, over the sample that the dear proxies have."""
    table = benchmark_table("nasbench201", folder)
    return [
        _joined(
            f"own NB201 {dataset}",
            everywhere(scores[dataset], sampled=True),
            table.accuracies(dataset, "test"),
        )
        for dataset in DATASETS
        if dataset in scores
    ]


def everywhere(scores: pd.DataFrame, *, sampled: bool = False) -> pd.DataFrame:
    """Keep the proxies with the most scores, or also those of the sample, on its cells.

    A proxy that was scored for fewer cells would have no score on the rest, which is not the same as a bad one.

    Args:
        scores: one row a cell, one column a proxy; NaN where it was not scored.
        sampled: keep the sample's proxies and cells; grasp, which has a smaller sample, is left out.

    Example:
        >>> scores = pd.DataFrame({"nwot": [1.0, 2.0], "snip": [3.0, None]})
        >>> everywhere(scores).shape, everywhere(scores, sampled=True).shape
        ((2, 1), (1, 2))
    """
    if sampled:
        return scores.drop(columns="grasp", errors="ignore").dropna()
    chosen: pd.DataFrame = scores.loc[:, scores.count() == scores.count().max()]
    return chosen


def _joined(name: str, scores: pd.DataFrame, accuracies: pd.Series) -> Source:
    common = scores.index.intersection(accuracies.index)
    return Source(name, scores.loc[common], accuracies.loc[common])


def candidates(
    proxies: Sequence[str] = THESIS_PROXIES, sizes: Iterable[int] = (2, 3), kind: str = "log-rank"
) -> list[Aggregate]:
    """List every mix of so many of the proxies.

    Example:
        >>> [mix.name for mix in candidates(["nwot", "snip", "zen"], sizes=[2])]
        ['log-rank(nwot, snip)', 'log-rank(nwot, zen)', 'log-rank(snip, zen)']
    """
    return [aggregate(kind, chosen) for size in sizes for chosen in combinations(proxies, size)]


def compare_mixes(
    sources: Iterable[Source],
    mixes: Iterable[Aggregate],
    *,
    metric: str = "kendall",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure each mix on each source.

    A mix is relative to the sample it scores, so each source is its own reference; no accuracy has a part in that.

    Args:
        sources: where to measure.
        mixes: what to measure.
        metric: ``"kendall"`` or ``"spearman"``.
        progress: called with the sources done and the number of all.

    Returns:
        One row a mix and one column a source; NaN where the source lacks a proxy of the mix.

    Example:
        >>> scores = pd.DataFrame({"nwot": [1.0, 2.0, 3.0], "snip": [1.0, 3.0, 2.0]})
        >>> toy = Source("toy", scores, pd.Series([10.0, 20.0, 30.0]))
        >>> compare_mixes([toy], candidates(["nwot", "snip"], sizes=[1])).round(2)["toy"].to_dict()
        {'log-rank(nwot)': 1.0, 'log-rank(snip)': 0.33}
    """
    measures: Mapping[str, Callable[..., float]] = {"kendall": kendall, "spearman": spearman}
    if metric not in measures:
        raise InputError(f"The metric is '{metric}', expected kendall or spearman.")
    chosen, listed = list(mixes), list(sources)
    columns = {}
    for done, source in enumerate(listed):
        if progress:
            progress(done, len(listed))
        columns[source.name] = [_measure(mix, source, measures[metric]) for mix in chosen]
    if progress:
        progress(len(listed), len(listed))
    return pd.DataFrame(columns, index=pd.Index([mix.name for mix in chosen], name="mix"))


def _measure(mix: Aggregate, source: Source, measure: Callable[..., float]) -> float:
    usable = [name for name in mix.proxies if name in source.scores and source.scores[name].notna().any()]
    if len(usable) < len(mix.proxies):
        return float("nan")
    try:
        values = mix.fit_score(source.scores).to_numpy()
    except InputError:  # a Hybrid or a sum of a proxy without positive scores
        return float("nan")
    return measure(finite_last(values), source.accuracies.to_numpy())


def choose(table: pd.DataFrame, source: str) -> str:
    """Name the mix that is best on one source, to be reported on the others.

    Raises:
        InputError: the table has no such source, or no value on it.

    Example:
        >>> choose(pd.DataFrame({"a": [0.1, 0.5]}, index=["first", "second"]), "a")
        'second'
    """
    if source not in table.columns:
        raise InputError(f"There is no source '{source}', expected one of {', '.join(map(str, table.columns))}.")
    if not table[source].notna().any():
        raise InputError(f"No mix has a value on '{source}': choose another source.")
    return str(table[source].idxmax())


def notable_mixes(
    table: pd.DataFrame, chosen_on: str, sizes: Mapping[str, int], allowed: Sequence[str] | None = None
) -> pd.DataFrame:
    """Keep of a comparison what a reader needs: the best of each size on one source, and the most robust ones.

    Robust is the mix with the best worst case; it may lack one source, for no public scores have all proxies on all.

    Args:
        table: what `compare_mixes` gave, with single proxies too.
        chosen_on: the source on which the best are chosen.
        sizes: number of proxies of each mix.
        allowed: the mixes among which the best are chosen; None is all.

    Returns:
        Rows of the table with a first column ``why``.
    """
    size = pd.Series(sizes).reindex(table.index)
    picked: dict[str, str] = {}
    for number, word in ((1, "proxy"), (2, "pair"), (3, "triple")):
        rows = table[size == number]
        best = rows if allowed is None else rows.loc[rows.index.intersection(list(allowed))]
        if best[chosen_on].notna().any():
            picked.setdefault(choose(best, chosen_on), f"best {word} on {chosen_on}")
        robust = rows.dropna(thresh=len(rows.columns) - 1).min(axis=1)
        if len(robust):
            picked.setdefault(str(robust.idxmax()), f"most robust {word}")
    return table.loc[list(picked)].assign(why=list(picked.values()))[["why", *table.columns]]


def thesis_mixes() -> list[Aggregate]:
    """List the mixes that need no choice: the thesis's pair in each kind, FreeREA's sum, and pairs from the literature.

    Example:
        >>> thesis_mixes()[0].name
        'hybrid(logsynflow, nwot)'
    """
    pair = ("logsynflow", "nwot")
    return [
        Hybrid(),
        *(aggregate(kind, pair) for kind in ("log-rank", "rank", "z-score", "maximum")),
        aggregate("log-rank", ("synflow:log", "jacov")),
        aggregate("log-rank", ("jacov", "logsynflow")),
        aggregate("log-rank", ("nwot", "flops")),
    ]


def sizes_of(mixes: Iterable[Aggregate]) -> dict[str, int]:
    """Give the number of proxies of each mix by its name.

    Example:
        >>> sizes_of([Hybrid()])
        {'hybrid(logsynflow, nwot)': 2}
    """
    return {mix.name: len(mix.proxies) for mix in mixes}


def worst_and_mean(table: pd.DataFrame) -> pd.DataFrame:
    """Add to a comparison over how many sources each mix was measured, its lowest and its mean value.

    Both are NaN where more than one source is missing, for a mean over other benchmarks cannot be compared.

    Example:
        >>> worst_and_mean(pd.DataFrame({"a": [0.2], "b": [0.4]})).round(2).iloc[0].to_dict()
        {'a': 0.2, 'b': 0.4, 'sources': 2.0, 'lowest': 0.2, 'mean': 0.3}
    """
    numbers = table.select_dtypes(include=[np.number])
    known = numbers.count(axis=1)
    enough = known >= len(numbers.columns) - 1
    return table.assign(
        sources=known, lowest=numbers.min(axis=1).where(enough), mean=numbers.mean(axis=1).where(enough)
    )
