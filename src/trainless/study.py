"""A study: scores of architectures beside their true accuracies, and all that is asked of the two.

Everything that evaluates, whether the command line, the report or the reproduction of published tables, makes a
`Study` first: which architectures count, which mixes are added, what a lower-is-better proxy turns into, and how the
scores came about is decided here, once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from trainless.aggregation import (
    HYBRID_PAIR,
    NAMED_AGGREGATES,
    Aggregate,
    LogRankSum,
    RankSum,
    Sweep,
    ZScoreSum,
    named_aggregate,
)
from trainless.aggregation import sweep as sweep_weights
from trainless.errors import InputError, UnknownNameError
from trainless.metrics import (
    METRICS,
    agreement,
    best_of_top,
    cost_quality_front,
    costs_of,
    evaluate,
    redundancy,
    seed_agreement,
)
from trainless.metrics.intervals import joined
from trainless.proxies import PROXIES, Proxy
from trainless.ranking import NON_FINITE_POLICY
from trainless.store import Run, Store
from trainless.tables import BenchmarkTable, PublishedScores
from trainless.types import Score

__all__ = ["MIXES", "Study", "import_scores", "make_study", "parts_asked", "study_from_store", "tried_by"]

MIXES: dict[str, Aggregate] = {
    **{name: make() for name, make in NAMED_AGGREGATES.items()},
    "log-rank(logsynflow, nwot)": LogRankSum(HYBRID_PAIR),
    "rank(logsynflow, nwot)": RankSum(HYBRID_PAIR),
    "z-score(logsynflow, nwot)": ZScoreSum(HYBRID_PAIR),
    "log-rank(flops, nwot)": LogRankSum(("flops", "nwot")),
    "log-rank(jacov, logsynflow)": LogRankSum(("jacov", "logsynflow")),
}
"""The mixes that are added to every study whose scores allow it; `docs/reproduction.md` compares many more."""


_SHARED = 0.5  # of the architectures of a run, those of the same by another seed that tell how far seeds agree


@dataclass(frozen=True, eq=False)
class Study:
    """Scores of architectures beside their true accuracies on one data set and split; see `make_study`.

    Args:
        title: table, data set and split.
        scores: raw scores, one row an architecture and one column a proxy or mix; may hold infinities and NaN.
        accuracies: true accuracies in percent, with the same index.
        kinds: by column ``"data-independent"``, ``"data-dependent"`` or ``"mix"``.
        lower_is_better: columns whose sign has to be turned.
        parameters: number of parameters, by architecture, where known.
        seconds: mean seconds an architecture, by column; NaN where unknown.
        memory: highest memory in MiB, by column; NaN where unknown.
        protocol: how all this came about, as name and value.
        sweep: the study of the Hybrid's weights, where asked for.
        noise: how far the scores of several seeds agree, by column, where these are known: see
            `trainless.metrics.seed_agreement`.
    """

    title: str
    scores: pd.DataFrame
    accuracies: pd.Series
    kinds: Mapping[str, str]
    lower_is_better: frozenset[str]
    parameters: pd.Series | None
    seconds: pd.Series
    memory: pd.Series
    protocol: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None
    noise: pd.Series | None = None

    @property
    def oriented(self) -> pd.DataFrame:
        """The scores with the sign of each lower-is-better proxy turned, so that higher is better."""
        return _oriented(self.scores, self.lower_is_better)

    def leaderboard(
        self,
        resamples: int = 200,
        k: int = 10,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """Compute all metrics of all proxies and mixes, the best Kendall's tau first.

        Args:
            resamples: bootstrap samples behind each interval; 0 leaves the intervals out.
            k: how many of the best-scored count as found.
            seed: decides the bootstrap samples.
            progress: as for `trainless.metrics.evaluate`.

        Returns:
            What `trainless.metrics.evaluate` gives, with ``kind``, ``seconds``, ``memory``, ``noise`` where several
            seeds are known, and of each proxy what the others hold of it: ``nearest``, the one that it is most
            correlated with, and ``redundancy``, the R² by all others (`trainless.metrics.redundancy`); mixes are made
            of the others and have neither.
        """
        found = min(k, len(self.accuracies))
        metrics = evaluate(self.oriented, self.accuracies, k=found, resamples=resamples, seed=seed, progress=progress)
        kinds = pd.Series(dict(self.kinds), dtype="str").reindex(metrics.index)
        table = metrics.assign(
            kind=kinds, seconds=self.seconds.reindex(metrics.index), memory=self.memory.reindex(metrics.index)
        )
        if self.noise is not None:
            table = table.assign(noise=self.noise.reindex(metrics.index))
        proxies = [name for name in self.scores.columns if self.kinds.get(str(name)) != "mix"]
        shared = redundancy(self.oriented[proxies]).reindex(table.index)
        table = table.assign(nearest=shared["nearest"].fillna(""), redundancy=shared["r_squared"])
        return table.sort_values("kendall", ascending=False, kind="stable")

    def top_curves(self, ks: Iterable[int] | None = None) -> pd.DataFrame:
        """Give the best accuracy among the k best-scored architectures, for growing k.

        Args:
            ks: values of k; None takes about 40 from 1 to all, evenly spread in the logarithm.
        """
        size = len(self.accuracies)
        chosen = sorted(set(np.geomspace(1, size, 40).round().astype(int).tolist() if ks is None else ks))
        columns = {
            name: [best_of_top(values.to_numpy(), self.accuracies.to_numpy(), k) for k in chosen]
            for name, values in self.oriented.items()
        }
        return pd.DataFrame(columns, index=pd.Index(chosen, name="k"))

    def agreement(self) -> pd.DataFrame:
        """Spearman's rank correlation of each two columns."""
        return agreement(self.oriented)

    def front(self, leaderboard: pd.DataFrame | None = None, metric: str = "kendall") -> pd.DataFrame:
        """Tell which proxies are worth their seconds; see `trainless.metrics.cost_quality_front`.

        Args:
            leaderboard: what `leaderboard` gave; None computes it without intervals.
            metric: a name of `trainless.metrics.METRICS`; where lower is better, as of regret, the quality has its
                sign turned.

        Raises:
            UnknownNameError: there is no such metric.
        """
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
        table = self.leaderboard(resamples=0) if leaderboard is None else leaderboard
        quality = table[metric] if METRICS[metric].higher_is_better else -table[metric]
        return cost_quality_front(quality, table["seconds"])


def make_study(
    scores: pd.DataFrame,
    accuracies: pd.Series,
    *,
    title: str,
    parameters: pd.Series | None = None,
    seconds: pd.Series | None = None,
    memory: pd.Series | None = None,
    protocol: Mapping[str, str] | None = None,
    mixes: Mapping[str, Aggregate] | None = None,
    own: Iterable[Proxy] = (),
    repeats: Sequence[pd.DataFrame] = (),
    with_sweep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Join scores with accuracies, add the mixes, and keep what is known of both.

    Args:
        scores: one row an architecture and one column a proxy, raw.
        accuracies: in percent, indexed by architecture, finite.
        title: headline.
        parameters: by architecture.
        seconds: mean seconds an architecture, by proxy.
        memory: highest memory in MiB, by proxy.
        protocol: how the scores came about.
        mixes: added where the scores allow it; None is `MIXES`.
        own: proxies of one's own among the columns, which tell kind and direction.
        repeats: scores by other seeds, with the same columns, of at least some of the architectures.
        with_sweep: study the Hybrid's weights, where its two proxies are there.
        progress: called with steps done and all of that study.

    Raises:
        InputError: fewer than two architectures are in both, one is there twice, or an accuracy is not finite.

    Example:
        >>> scores = pd.DataFrame({"logsynflow": [1.0, 2.0, 3.0], "nwot": [5.0, 6.0, 9.0]}, index=["a", "b", "c"])
        >>> study = make_study(scores, pd.Series({"a": 60.0, "c": 70.0, "b": 65.0}), title="toy")
        >>> study.leaderboard(resamples=0, k=1)["kendall"].to_dict()["hybrid"]
        1.0
    """
    joined(scores, accuracies)  # refuses what is there twice or no number
    common = scores.index.intersection(accuracies.index)
    if len(common) < 2:
        raise InputError(
            f"Of the {len(scores):,} scored architectures only '{common[0]}' has an accuracy, expected at least 2: "
            "score more of those in the table."
        )
    table = scores.loc[common].dropna(axis=1, how="all")
    empty = [str(name) for name in scores.columns if name not in table.columns]
    if not len(table.columns):
        raise InputError(
            f"None of {', '.join(empty)} has a score of any of the {len(common):,} architectures: score them."
        )
    added = _fitted(MIXES if mixes is None else mixes, table)
    mixed = table.assign(**{name: mix.score(table) for name, mix in added.items()})
    truth = accuracies.loc[common]
    weights = None
    if with_sweep and set(HYBRID_PAIR) <= set(table):
        weights = sweep_weights(table[HYBRID_PAIR[0]], table[HYBRID_PAIR[1]], truth, progress=progress)
    known = {**PROXIES, **{proxy.name: proxy for proxy in own}}
    lower = frozenset(
        str(name) for name in table.columns if name in known and not known[str(name)].higher_is_better
    )  # fmt: skip
    return Study(
        title=title,
        scores=mixed,
        accuracies=truth,
        kinds={
            str(name): "mix" if name in added else known[str(name)].kind if name in known else "unknown"
            for name in mixed.columns
        },
        lower_is_better=lower,
        parameters=None if parameters is None else parameters.reindex(common),
        seconds=_of_mixes(seconds, mixed.columns, added, sum),
        memory=_of_mixes(memory, mixed.columns, added, max),
        protocol={
            **(protocol or {}),
            **({"without any score": ", ".join(empty)} if empty else {}),
            "architectures": f"{len(common):,} of the {len(scores):,} scored have an accuracy",
            "not finite": NON_FINITE_POLICY,
            "equal scores": "keep the order of the scores where one has to be chosen",
        },
        sweep=weights,
        noise=_noise(table, added, repeats, lower),
    )


def study_from_store(
    store: Store,
    table: BenchmarkTable,
    dataset: str,
    split: str,
    *,
    run: Run | None = None,
    proxies: Sequence[str] | None = None,
    with_sweep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Join the scores of a store with the accuracies of a benchmark table.

    An architecture counts when all the proxies have tried it. A score that failed or is not finite is ranked last; one
    that was never asked for would be too, and is not: it keeps its architecture out of the study.

    Args:
        store: holds the scores.
        table: holds the accuracies.
        dataset: a data set of the table.
        split: one of its splits.
        run: the run of the store; None where it holds only one.
        proxies: only these columns, and the parts of aggregations that are among them; None takes all there are.
        with_sweep: as for `make_study`.
        progress: as for `make_study`.

    Raises:
        StoreError: the store holds several runs and none is chosen, or none at all.
        TableError: the table lacks the data set or the split.
        InputError: a proxy was never scored, or as for `make_study`.
    """
    accuracies = table.accuracies(dataset, split)
    scores = store.table(run)
    chosen = run or store.runs()[0]
    asked = None if proxies is None else parts_asked(proxies)
    missing = [name for name in asked or () if name not in scores.columns]
    if missing:
        raise InputError(
            f"The store holds no scores of {', '.join(missing)}, expected some of "
            f"{', '.join(map(str, scores.columns))}: score them first, or leave them out."
        )
    rows = store.latest_rows(chosen)
    costs = costs_of(rows)
    wanted = list(scores.columns) if asked is None else asked
    complete = _tried_by_all(rows, wanted)
    repeats = _by_other_seeds(store, chosen, wanted, complete)
    return make_study(
        scores.loc[complete, wanted],
        accuracies,
        title=f"{table.name}, {dataset}, {split}",
        parameters=_parameters(table, dataset, scores),
        # Published scores without seconds are stored with 0.
        seconds=costs["mean_seconds"].where(costs["mean_seconds"] > 0),
        memory=costs["peak_memory"],
        protocol={
            "table": f"{table.name} ({table.origin})" if table.origin else table.name,
            "data set": dataset,
            "split": split,
            "scores": f"{chosen.space}, batch of {chosen.task}",
            "seed": str(chosen.seed),
            **({"noise": f"by {len(repeats) + 1} seeds"} if repeats else {}),
            "fidelity": chosen.fidelity.replace(",", ", "),
            "left out": f"{len(scores) - len(complete):,} that not all proxies have tried",
            "versions": _versions(),
        },
        repeats=repeats,
        with_sweep=with_sweep,
        progress=progress,
    )


def _by_other_seeds(store: Store, run: Run, proxies: Sequence[str], scored: Sequence[str]) -> list[pd.DataFrame]:
    """What a store holds of a run by other seeds, where that is most of the same architectures."""

    def alike(other: Run) -> tuple[str, str, str]:
        return other.space, other.task.partition(":")[0], other.fidelity

    tables = []
    for other in store.runs():
        if other.seed != run.seed and alike(other) == alike(run):
            scores = store.table(other)
            tried = tried_by(store.latest_rows(other), proxies) if set(proxies) <= set(scores.columns) else []
            if len(set(tried) & set(scored)) >= _SHARED * len(scored):  # other seeds draw other samples
                tables.append(scores.loc[tried, list(proxies)])
    return tables


def parts_asked(names: Iterable[str]) -> list[str]:
    """The proxies that are named, and those that named aggregations are made of.

    Example:
        >>> parts_asked(["hybrid", "flops"])
        ['logsynflow', 'nwot', 'flops']
    """
    parts = (named_aggregate(name).proxies if name in NAMED_AGGREGATES else (name,) for name in names)
    return list(dict.fromkeys(itertools.chain.from_iterable(parts)))


def _tried_by_all(rows: pd.DataFrame, proxies: Sequence[str]) -> list[str]:
    """Architectures for which there is a score of every proxy, also one that failed; in the order of the rows.

    Raises:
        InputError: there are none.
    """
    complete = tried_by(rows, proxies)
    if not complete:
        counts = rows.groupby("proxy")["architecture"].nunique().reindex(list(proxies))
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"No architecture was scored by all of the proxies ({listed}): choose proxies that were scored for the "
            "same architectures."
        )
    return complete


def tried_by(rows: pd.DataFrame, proxies: Sequence[str]) -> list[str]:
    """List the architectures of stored rows that all of some proxies have tried, in the order of the rows."""
    tried = rows[rows["proxy"].isin(proxies)].groupby("architecture", sort=False)["proxy"].nunique()
    return [str(architecture) for architecture in tried.index[tried == len(proxies)]]


def import_scores(published: PublishedScores, store: Store) -> Run:
    """Write published scores into a store as a run of their own, whose key holds their origin.

    Args:
        published: what `trainless.tables.published_scores` gives; a score that is not finite keeps its value and gets
            the status of such scores.
        store: where to write; a second import of the same changes nothing.

    Returns:
        The run.

    Raises:
        StoreError: nothing was written.
    """
    run = Run(published.space, f"{published.dataset}:published", 0, f"origin={published.origin}")
    seconds = published.seconds.reindex(index=published.scores.index, columns=published.scores.columns)
    scores = [
        Score(
            str(architecture),
            str(proxy),
            float(value),
            "ok" if np.isfinite(value) else "not finite",
            "" if np.isfinite(value) else "published so",
            0.0 if np.isnan(cost) else float(cost),
        )
        for proxy, values in published.scores.items()
        for architecture, value, cost in zip(values.index, values.to_numpy(), seconds[proxy].to_numpy(), strict=True)
    ]
    versions = {str(name): PROXIES[name].version if name in PROXIES else 1 for name in published.scores.columns}
    store.write(run, scores, versions)
    return run


def _parameters(table: BenchmarkTable, dataset: str, scores: pd.DataFrame) -> pd.Series | None:
    if "parameters" in table.costs(dataset):
        return table.cost(dataset, "parameters")
    return scores.get("params")


def _fitted(mixes: Mapping[str, Aggregate], table: pd.DataFrame) -> dict[str, Aggregate]:
    """The mixes that the scores allow: a proxy may be missing, or be all equal, or hold nothing above 0."""
    fitted = {}
    for name, mix in mixes.items():
        if set(mix.proxies) <= set(table):
            with suppress(InputError):
                fitted[name] = copy(mix).fit(table)
    return fitted


def _oriented(scores: pd.DataFrame, turned: Collection[str]) -> pd.DataFrame:
    return scores * [-1.0 if name in turned else 1.0 for name in scores.columns]


def _noise(
    table: pd.DataFrame, mixes: Mapping[str, Aggregate], repeats: Sequence[pd.DataFrame], turned: Collection[str]
) -> pd.Series | None:
    """How far the seeds agree, by column, on the architectures that all of them have scored; None for too few."""
    shared = table.index
    for other in repeats:
        shared = shared.intersection(other.index)
    if not repeats or len(shared) < 2:
        return None
    by_seed = []
    for scores in (table, *repeats):
        known = scores.loc[shared, list(table.columns)]
        added = {name: mix.score(known) for name, mix in _fitted(mixes, known).items()}
        by_seed.append(_oriented(known, turned).assign(**added))
    columns = [name for name in by_seed[0] if all(name in scores for scores in by_seed)]
    return pd.Series({name: seed_agreement([scores[name] for scores in by_seed]) for name in columns}, dtype=float)


def _of_mixes(
    costs: pd.Series | None, columns: pd.Index, mixes: Mapping[str, Aggregate], join: Callable[[Any], float]
) -> pd.Series:
    """Costs by column; a mix costs what its proxies cost together, and is NaN where that of one is unknown."""
    known = (pd.Series(dtype=float) if costs is None else costs).reindex(columns).astype(float)
    for name, mix in mixes.items():
        parts = [float(known[proxy]) for proxy in mix.proxies]
        known[name] = join(parts) if np.isfinite(parts).all() else np.nan
    return known


def _versions() -> str:
    from importlib.metadata import version

    return f"trainless {version('trainless')}"
