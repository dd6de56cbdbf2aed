"""The thesis's tables once more, from published scores and from our own: one row a figure, with what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainless.aggregation import HYBRID_PAIR, Hybrid
from trainless.errors import InputError
from trainless.metrics import evaluate, kendall
from trainless.ranking import NON_FINITE_POLICY, finite_last
from trainless.reproduction.thesis import DATASETS, THESIS, Figure
from trainless.store import Run, Store
from trainless.tables import BenchmarkTable, benchmark_table, published_scores

__all__ = [
    "OwnScores",
    "ScoreSet",
    "own_scores",
    "own_scores_from_store",
    "own_seconds",
    "published_sets",
    "reproduce_rows",
]

_OWN_FILE = "own_scores.csv.gz"
_CELLS = 15_625
_ENOUGH = 100  # architectures in common, for a comparison that means something
_TOLERANCE = 0.005  # half a unit of the last decimal that the thesis prints
# The thesis's names for proxies of which trainless has variants: its synflow ranks as the logarithm does, and its zen
# is NASLib's, from running variances.
COLUMNS = {"synflow": ("synflow:log", "synflow"), "zen": ("zen:running", "zen")}

# What is known of single proxies beside what holds for a whole set.
_CAUSES = {
    "zen": "the thesis's zen is that of NAS-Bench-Suite-Zero, which no public scores that name cells repeat",
    "epe_nas": "epe_nas depends on how many images of each class the batch holds, which nobody states",
}


@dataclass(frozen=True, eq=False)
class ScoreSet:
    """Scores with the accuracies that they are held against.

    Args:
        scores: one row an architecture, one column a proxy, raw.
        accuracies: in percent, for the architectures that have one.
        split: the split of the accuracies.
        origin: whose scores they are.
        source: ``"published"`` or ``"own"``.
        remarks: what sets them apart from the thesis's, one sentence each without a full stop.
        reference: scores of the same proxies by others, to be compared with on the same architectures.
        sample: what the architectures of a proxy are that was not scored for all.
        seconds: mean seconds a network, by column, where known.
    """

    scores: pd.DataFrame
    accuracies: pd.Series
    split: str
    origin: str
    source: str
    remarks: tuple[str, ...] = ()
    reference: pd.DataFrame | None = None
    sample: str = ""
    seconds: pd.Series | None = None

    def column(self, proxy: str) -> str | None:
        """Find the column that holds a proxy of the thesis, if there is one."""
        names = COLUMNS.get(proxy, (proxy,))
        return next((name for name in names if name in self.scores.columns), None)


OwnScores = dict[str, pd.DataFrame]
"""By data set, one row an architecture and one column a proxy."""


def own_scores() -> OwnScores:
    """Read our own scores of NAS-Bench-201, which come with the package.

    `benchmarks/own_scores.py` made them: batch 64, seed 0, Kaiming normal by fan out, float32. A proxy that was scored
    for a sample of 1,500 distinct networks (grasp: 500) has a score at one cell of each, and is NaN elsewhere. There is
    no epe_nas of the two data sets with over 64 classes: it correlates images of one class, and their batch of 64 holds
    at most one of each.

    Example:
        >>> list(own_scores())
        ['cifar10', 'cifar100', 'ImageNet16-120']
    """
    from importlib import resources

    with resources.as_file(resources.files("trainless.reproduction") / _OWN_FILE) as path:
        table = pd.read_csv(path, index_col="architecture")
    scored = {str(name).rsplit(".", 1)[0] for name in table.columns}
    return {
        name: table.filter(regex=f"^{name}\\.")
        .rename(columns=lambda column: column.rsplit(".", 1)[1])
        .dropna(axis="columns", how="all")
        for name in DATASETS
        if name in scored
    }


def own_seconds() -> pd.DataFrame:
    """Read the mean seconds of a network in each proxy of our own.

    They are of 30 distinct networks, batch 64, two processes of one thread each on two cores, measured by
    `benchmarks/own_scores.py`: what each proxy would take alone, though they were asked for together.

    Returns:
        One row a proxy and one column a data set.

    Example:
        >>> list(own_seconds().columns)
        ['ImageNet16-120', 'cifar10', 'cifar100']
    """
    from importlib import resources

    with resources.as_file(resources.files("trainless.reproduction") / "own_seconds.csv") as path:
        return pd.read_csv(path, index_col="proxy")


def own_scores_from_store(path: str | Path) -> OwnScores:
    """Read the scores of a store, run by run; the name of a run's images tells the data set.

    Args:
        path: the store; where several runs are of one data set the one with the most architectures counts.

    Raises:
        StoreError: there is no store.
        InputError: no run is named after a data set of the thesis.
    """
    found: OwnScores = {}
    with Store(path, create=False) as store:
        runs = store.runs()
        for run in runs:
            name = _dataset_of(run.task)
            if name and run.space == "nasbench201" and not run.fidelity.startswith("origin="):
                table = _with_failures(store, run)
                if name not in found or len(table) > len(found[name]):
                    found[name] = table
    if not found:
        raise InputError(
            f"The store '{path}' holds {len(runs)} runs, but none of NAS-Bench-201 on images named "
            f"{', '.join(DATASETS)}: score with such a data set, or leave --scores out."
        )
    return {name: found[name] for name in DATASETS if name in found}


def _with_failures(store: Store, run: Run) -> pd.DataFrame:
    """The run's table, with -inf for what was tried and gave nothing finite, and NaN for what was not tried."""
    rows = store.latest_rows(run)
    tried = rows.assign(tried=True).pivot(index="architecture", columns="proxy", values="tried").fillna(False)
    table = store.table(run)
    failed = tried.reindex(index=table.index, columns=table.columns, fill_value=False).astype(bool) & table.isna()
    return table.mask(failed, -np.inf).dropna(axis="columns", how="all")


def _dataset_of(task: str) -> str | None:
    name = task.partition(":")[0].lower()
    # The longest, since cifar100 begins with cifar10.
    return max((dataset for dataset in DATASETS if name.startswith(dataset.lower())), key=len, default=None)


def published_sets(folder: str | Path | None = None) -> dict[str, list[ScoreSet]]:
    """Read the published scores of each data set, the preferred ones first.

    Args:
        folder: where the public files are; None is the cache or TRAINLESS_DATA.

    Raises:
        TableError: a file is missing or damaged.
    """
    table = benchmark_table("nasbench201", folder)
    sets: dict[str, list[ScoreSet]] = {}
    for dataset in DATASETS:
        freerea = published_scores(f"freerea.{dataset}", folder)
        cached = _with_accuracies(table, dataset, freerea.scores, freerea.origin, "published", (
            "FreeREA's own code with Kaiming normal weights gave the scores (nwot as the mean of three draws), the "
            "thesis ran NASLib's with PyTorch's own",
        ))  # fmt: skip
        chosen = [replace(cached, seconds=freerea.seconds.mean())]
        if dataset == "cifar10":
            naslib = published_scores("naslib.cifar10", folder)
            chosen.append(_with_accuracies(table, dataset, naslib.scores, naslib.origin, "published", (
                f"NASLib's scores are of {len(naslib.scores):,} cells, the thesis's of all",
            )))  # fmt: skip
        suite = published_scores(f"suite-zero.nasbench201.{dataset}", folder)
        assert suite.accuracies is not None
        chosen.append(
            ScoreSet(suite.scores, suite.accuracies, suite.split, suite.origin, "published", (
                f"NAS-Bench-Suite-Zero's scores are of a sample of {len(suite.scores):,} cells, the thesis's of all",
            ))
        )  # fmt: skip
        sets[dataset] = chosen
    return sets


def own_sets(
    scores: OwnScores, folder: str | Path | None = None, *, packaged: bool = True
) -> dict[str, list[ScoreSet]]:
    """Hold our own scores against the accuracies of NAS-Bench-201, with published ones for reference.

    Args:
        scores: by data set.
        folder: as for `published_sets`.
        packaged: whether they are those of `own_scores`, of which is known how the sample was drawn.
    """
    table = benchmark_table("nasbench201", folder)
    names = {dataset: f"suite-zero.nasbench201.{dataset}" for dataset in scores} | {"cifar10": "naslib.cifar10"}
    remark = "our own initialisation is Kaiming normal by fan out, the thesis's PyTorch's own, and the batch is another"
    sample = "distinct networks, one cell each, drawn with a seed, are another population than all cells"
    sample = sample if packaged else ""
    sets = {
        dataset: _with_accuracies(table, dataset, own, "trainless", "own", (remark,)) for dataset, own in scores.items()
    }
    return {
        dataset: [replace(own, reference=published_scores(names[dataset], folder).scores, sample=sample)]
        for dataset, own in sets.items()
    }


def _with_accuracies(
    table: BenchmarkTable, dataset: str, scores: pd.DataFrame, origin: str, source: str, remarks: tuple[str, ...]
) -> ScoreSet:
    """Take the thesis's accuracies, single-seed test, or where they are not public the mean over seeds."""
    if "test_seed888" in table.splits(dataset):
        return ScoreSet(scores, table.accuracies(dataset, "test_seed888"), "test_seed888", origin, source, remarks)
    remark = f"the single-seed test accuracies of {dataset} are not public as a table, so the mean over seeds is used"
    return ScoreSet(scores, table.accuracies(dataset, "test"), "test", origin, source, (*remarks, remark))


def reproduce_rows(
    sets: dict[str, list[ScoreSet]],
    table: BenchmarkTable,
    *,
    resamples: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Compute the figures of tables 6.1 to 6.7, each beside the thesis's.

    Args:
        sets: by data set, the score sets from which a proxy is taken: the first that has it.
        table: NAS-Bench-201, for table 6.1, which is about the mean over seeds.
        resamples: bootstrap samples behind each interval; 0 for none.
        progress: called with the figures done and the number of all.

    Returns:
        One dictionary a figure: ``table``, ``dataset``, ``proxy``, ``kendall``, ``kendall_low``, ``kendall_high``,
        ``spearman``, ``spearman_low``, ``spearman_high``, ``top_accuracy`` (percent), the three with ``thesis_`` before
        them, ``source``, ``origin``, ``split``, ``networks``, ``not_finite``, ``top_architecture``, ``difference``,
        which is empty where ours is the thesis's to its digits, and ``reasons``, what of the making is not the same.
    """
    figures = [figure for figure in THESIS if _find(sets.get(figure.dataset, []), figure) is not None]
    rows = []
    for done, figure in enumerate(figures):
        if progress:
            progress(done, len(figures))
        found = _find(sets[figure.dataset], figure)
        assert found is not None
        if figure.table == "6.1":
            found = replace(found, accuracies=table.accuracies(figure.dataset, "test"), split="test")
        rows.append(_row(figure, found, resamples))
    if progress:
        progress(len(figures), len(figures))
    return rows


def _find(sets: Iterable[ScoreSet], figure: Figure) -> ScoreSet | None:
    needs = HYBRID_PAIR if figure.proxy == "hybrid" else (figure.proxy,)
    return next((scores for scores in sets if all(scores.column(name) for name in needs)), None)


def _row(figure: Figure, found: ScoreSet, resamples: int) -> dict[str, Any]:
    values = _values(figure.proxy, found)
    truth = found.accuracies.loc[found.accuracies.index.intersection(values.index)]
    board = evaluate(values.loc[truth.index].to_frame("it"), truth, k=1, resamples=resamples)
    measured: dict[str, Any] = {str(name): value for name, value in board.loc["it"].items()}
    finite = values.loc[truth.index][np.isfinite(values.loc[truth.index])]
    row: dict[str, Any] = {
        "table": figure.table,
        "dataset": figure.dataset,
        "proxy": figure.proxy,
        **{name: _rounded(measured.get(name)) for name in (
            "kendall", "kendall_low", "kendall_high", "spearman", "spearman_low", "spearman_high")},
        "top_accuracy": round(float(measured["argmax_accuracy"]), 2),
        "thesis_kendall": figure.kendall,
        "thesis_spearman": figure.spearman,
        "thesis_top_accuracy": figure.top_accuracy,
        "source": found.source,
        "origin": found.origin,
        "split": found.split,
        "networks": int(measured["networks"]),
        "not_finite": int(measured["not_finite"]),
        "top_architecture": str(finite.idxmax()) if len(finite) else "",
    }  # fmt: skip
    row["difference"] = _difference(row)
    return {**row, "reasons": _reasons(row, values, found) if row["difference"] else []}


def _values(proxy: str, found: ScoreSet) -> pd.Series:
    """A proxy's scores where it was scored, higher being better, or the Hybrid's."""
    if proxy == "hybrid":
        return Hybrid().fit_score(found.scores[list(HYBRID_PAIR)].dropna())
    # The thesis correlates plain as it is, and so reports a negative figure: no sign is turned.
    return found.scores[found.column(proxy)].dropna()


def _rounded(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _compared(proxy: str, values: pd.Series, found: ScoreSet) -> str:
    """Tell what published scores of the same proxy reach on the same architectures, where there are enough."""
    names = [name for name in COLUMNS.get(proxy, (proxy,)) if found.reference is not None and name in found.reference]
    if found.reference is None or not names:
        return ""
    theirs = found.reference[names[0]]
    common = values.index.intersection(theirs.index).intersection(found.accuracies.index)
    if len(common) < _ENOUGH:
        return ""
    truth = found.accuracies[common].to_numpy()
    taus = [kendall(finite_last(scores[common].to_numpy()), truth) for scores in (theirs, values)]
    return f"{proxy} as published has kendall {taus[0]:.3f} on {len(common):,} of the same cells, ours {taus[1]:.3f}"


def _difference(row: dict[str, Any]) -> str:
    """Say how far a figure is from the thesis's; empty where it is the same to the digits that the thesis prints."""
    parts = []
    for name in ("kendall", "spearman"):
        if row[name] is None:
            parts.append(f"{name} is not defined, since all scores are equal")
        elif abs(row[name] - row[f"thesis_{name}"]) > _TOLERANCE:
            parts.append(f"{name} {row[name] - row[f'thesis_{name}']:+.3f}")
    thesis_top = row["thesis_top_accuracy"]
    if thesis_top is not None and abs(row["top_accuracy"] - thesis_top) > 0.01:
        parts.append(f"first choice {row['top_accuracy'] - thesis_top:+.2f} points")
    return ", ".join(parts)


def _reasons(row: dict[str, Any], values: pd.Series, found: ScoreSet) -> list[str]:
    """Say what of the making is not the thesis's."""
    reasons = list(found.remarks)
    if row["table"] == "6.1" and row["source"] == "published":
        reasons = ["the thesis quotes FreeREA's paper here; these are that paper's cached scores"]
    if found.sample and len(values) < len(found.scores):
        reasons.append(f"{len(values):,} {found.sample}")
    elif row["networks"] < (_CELLS if found.source == "own" else len(values)):  # others' remarks tell their sample
        reasons.append(f"{row['networks']:,} of the {_CELLS:,} cells have both a score and an accuracy")
    reasons += [_compared(row["proxy"], values, found), _CAUSES.get(row["proxy"], "")]
    if row["not_finite"]:
        some = "1 score that is not finite is" if row["not_finite"] == 1 else \
            f"{row['not_finite']} scores that are not finite are"  # fmt: skip
        reasons.append(f"{some} {NON_FINITE_POLICY}")
    if "first choice" in row["difference"]:
        reasons.append("a first choice hangs on the scores of single cells")
    return [reason for reason in reasons if reason]
