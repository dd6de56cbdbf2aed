"""Running the suite: score, hold against the accuracies, and say in one table what came out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainless.aggregation import NAMED_AGGREGATES
from trainless.data import ImageDataset
from trainless.errors import InputError, UnknownNameError
from trainless.initialization import INITIALIZATIONS
from trainless.metrics import seed_agreement, spearman
from trainless.precision import AUTO, check_precision
from trainless.proxies import Proxy, by_image
from trainless.scoring import Scorer, parts_of
from trainless.study import make_study
from trainless.suite.benchmarks import Benchmark
from trainless.suite.images import suite_images
from trainless.workers import WorkersChoice

__all__ = ["COLUMNS", "Suite", "SuiteResult", "run_suite"]

COLUMNS = (
    "benchmark", "dataset", "proxy", "spearman", "kendall", "low", "high", "best_of_top10", "regret", "seconds",
    "networks", "seeds", "noise", "not_finite", "split", "images", "kind", "ceiling",
)  # fmt: skip
"""The columns of `SuiteResult.rows`."""

_TOP = 10
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Suite:
    """The protocol of a suite.

    Args:
        proxies: names of proxies and aggregations or `Proxy` objects, a list or text with commas; ``"all"`` stands for
            all of both that are meant for untrained networks, without variants.
        data: as for `trainless.suite.suite_images`.
        sample: distinct networks of each benchmark; None takes every architecture of a table.
        seeds: how many times everything is scored: by the seeds 0, 1, ...
        batch_size: images that networks see.
        initialization: how weights are drawn.
        resamples: bootstrap samples behind each interval.
        workers: processes; None is one a core; or `trainless.workers.Workers`.
        datasets: names of data sets of the benchmarks; None takes all.
        precision: as for `trainless.Scorer`; ``"auto"`` measures for each benchmark and its images.

    Raises:
        InputError: a number is out of range, or a name is unknown.

    Example:
        >>> Suite(proxies="params, robust").columns
        ['params', 'robust']
    """

    proxies: str | Sequence[str | Proxy] = "all"
    data: str = "digits"
    sample: int | None = 1000
    seeds: int = 3
    batch_size: int = 64
    initialization: str = "kaiming_normal_fan_out"
    resamples: int = 200
    workers: WorkersChoice = None
    datasets: Sequence[str] | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, least in (("sample", 2), ("seeds", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"The {name.replace('_', ' ')} is {value}, expected at least {least}.")
        if operator.index(self.resamples) < 0:
            raise InputError(f"resamples is {self.resamples}, expected a whole number of 0 or more, such as 200.")
        if self.initialization not in INITIALIZATIONS:
            raise UnknownNameError("initialization", self.initialization, INITIALIZATIONS)
        parts_of(self.names)
        check_precision(self.precision, others=(AUTO,))

    @property
    def names(self) -> list[str | Proxy]:
        """What is asked for, with all aggregations where it is all."""
        given = self.proxies
        listed = [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else list(given)
        everything = ("all", *(record.name for record in by_image()), *NAMED_AGGREGATES)
        return [name for part in listed for name in (everything if part == "all" else (part,))]

    @property
    def columns(self) -> list[str]:
        """The names of what is asked for."""
        return parts_of(self.names)[0]


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """What a suite came to.

    Args:
        rows: one row a benchmark, data set and proxy, with the columns `COLUMNS`: rank correlations with the
            accuracies, ``low`` and ``high`` the bounds of the 95 % interval of ``spearman``; the best accuracy among
            the ten best-scored and the regret of the first choice, in percentage points; mean seconds a network;
            networks; seeds; ``noise``, the mean rank correlation of the scores of two seeds; the number of scores that
            are not finite, the mean over seeds; which split and images; and ``ceiling``, the rank correlation of the
            accuracies with those of one training, where these are known. All are means over the seeds, as are the
            bounds, which are those of one scoring.
        protocol: how all came about.
    """

    rows: pd.DataFrame
    protocol: dict[str, str]

    @property
    def heat(self) -> pd.DataFrame:
        """Spearman's rank correlation: proxies in rows, the best mean rank first, and benchmarks in columns."""
        table = self.rows.assign(column=self.rows["benchmark"] + ", " + self.rows["dataset"]).pivot(
            index="proxy", columns="column", values="spearman"
        )
        order = table.rank(ascending=False).mean(axis=1).sort_values(kind="stable").index
        columns = dict.fromkeys(self.rows["benchmark"] + ", " + self.rows["dataset"])
        return table.loc[order, list(columns)].rename_axis(columns=None)

    @property
    def summary(self) -> pd.DataFrame:
        """One row a proxy, the best mean rank first: mean and least correlation, mean rank, seconds, noise."""
        heat = self.heat
        groups = self.rows.groupby("proxy")
        columns = {
            "mean_spearman": heat.mean(axis=1),
            "least_spearman": heat.min(axis=1),
            "mean_rank": heat.rank(ascending=False).mean(axis=1),
            "seconds": groups["seconds"].mean(),
            "noise": groups["noise"].mean(),
            "benchmarks": heat.notna().sum(axis=1),
        }
        return pd.DataFrame(columns).loc[heat.index]


def run_suite(
    suite: Suite, benchmarks: Sequence[Benchmark], store: Path, progress: Progress | None = None
) -> SuiteResult:
    """Score a sample of each benchmark and hold the scores against its accuracies.

    Every finished score is in the store, so that the same call goes on where an earlier one stopped, and comes to the
    same table.

    Args:
        suite: the protocol.
        benchmarks: as `trainless.suite.find_benchmarks` gives them.
        store: file of the scores.
        progress: called with what is being scored, the networks done, and all of these.

    Raises:
        InputError: images or names cannot be used, or no benchmark has a data set that is named.
    """
    known = list(dict.fromkeys(dataset for benchmark in benchmarks for dataset in benchmark.datasets))
    if unknown := [name for name in suite.datasets or () if name not in known]:
        raise InputError(f"No benchmark here has the data set '{unknown[0]}', expected {', '.join(known)}.")
    rows: list[dict[str, object]] = []
    precisions: dict[str, None] = {}
    asked = [
        (benchmark, [name for name in benchmark.datasets if suite.datasets is None or name in suite.datasets])
        for benchmark in benchmarks
    ]
    samples = [(benchmark, named, benchmark.sample(suite.sample, named)) for benchmark, named in asked if named]
    for benchmark, named, sample in samples:
        # Data sets that are scored on the same images have the same scores.
        images: dict[str, tuple[ImageDataset, list[str]]] = {}
        for dataset in named:
            loaded = suite_images(dataset, suite.data)
            images.setdefault(loaded.task.name, (loaded, []))[1].append(dataset)
        for name, (loaded, datasets) in images.items():
            scores, costs, precision = _scored(suite, benchmark, loaded, sample, store, progress)
            precisions[precision if suite.precision != AUTO else f"{benchmark.name}, {name}: {precision}"] = None
            for dataset in datasets:
                rows += _rows(suite, benchmark, dataset, _described(loaded), scores, costs)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return SuiteResult(table, _protocol(suite, table, [benchmark for benchmark, *_ in samples], precisions))


def _scored(
    suite: Suite, benchmark: Benchmark, images: ImageDataset, sample: Sequence[str], store: Path,
    progress: Progress | None,
) -> tuple[list[pd.DataFrame], pd.Series, str]:  # fmt: skip
    """The scores of all proxies, a table a seed, the mean seconds of each, and the precision."""
    _, proxies, _ = parts_of(suite.names)
    tables, costs, precision = [], [], suite.precision
    for seed in range(suite.seeds):
        scorer = Scorer(
            benchmark.space, proxies, images, seed=seed, batch_size=suite.batch_size,
            initialization=suite.initialization, precision=precision, workers=suite.workers, store=store,
        )  # fmt: skip
        precision = scorer.protocol.precision  # measured once, for all seeds
        what = f"{benchmark.name}, seed {seed}"
        tables.append(scorer.score(sample, _named(progress, what)))
        costs.append(scorer.costs)
    return tables, pd.concat(costs, axis=1).mean(axis=1), precision


def _described(images: ImageDataset) -> str:
    """Which images they are, and of what size."""
    return f"{images.task.name} {' x '.join(map(str, images.task.input_shape))}"


def _named(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _rows(
    suite: Suite, benchmark: Benchmark, dataset: str, images: str, scores: Sequence[pd.DataFrame], costs: pd.Series
) -> list[dict[str, object]]:
    split = benchmark.split(dataset)
    accuracies = benchmark.table.accuracies(dataset, split)
    columns, proxies, mixes = parts_of(suite.names)
    title = f"{benchmark.name}, {dataset}"
    studies = [make_study(table, accuracies, title=title, seconds=costs, mixes=mixes, own=proxies) for table in scores]
    boards = [study.leaderboard(suite.resamples, min(_TOP, len(study.accuracies))) for study in studies]
    ceiling = _ceiling(benchmark, dataset, list(studies[0].scores.index))
    rows = []
    for name in columns:
        if all(name not in board.index for board in boards):
            continue  # it has no score of any network here
        found = pd.DataFrame([board.loc[name] for board in boards if name in board.index])
        means = found.drop(columns=["kind", "nearest"]).astype(float).mean()
        rows.append({
            "benchmark": benchmark.name, "dataset": dataset, "proxy": name,
            "spearman": means["spearman"], "kendall": means["kendall"],
            "low": means.get("spearman_low", np.nan), "high": means.get("spearman_high", np.nan),
            "best_of_top10": means["best_of_top"], "regret": means["regret"], "seconds": means["seconds"],
            "networks": int(means["networks"]), "seeds": len(found),
            "noise": seed_agreement([study.oriented[name] for study in studies if name in study.scores]),
            "not_finite": means["not_finite"], "split": split, "images": images, "kind": found["kind"].iloc[0],
            "ceiling": ceiling,
        })  # fmt: skip
    return rows


def _ceiling(benchmark: Benchmark, dataset: str, sample: Iterable[str]) -> float:
    """How well one training orders the networks, held against the mean of several."""
    single = benchmark.repeated(dataset)
    if single is None:
        return np.nan
    once, several = (benchmark.table.accuracies(dataset, split) for split in (single, benchmark.split(dataset)))
    both = [text for text in sample if text in once.index and text in several.index]
    return spearman(once[both].to_numpy(), several[both].to_numpy()) if len(both) > 1 else np.nan


def _protocol(
    suite: Suite, rows: pd.DataFrame, benchmarks: Sequence[Benchmark], precisions: Iterable[str]
) -> dict[str, str]:  # fmt: skip
    from trainless.ranking import NON_FINITE_POLICY

    population = "every architecture of a table" if suite.sample is None else f"{suite.sample:,} distinct networks"
    held = rows.drop_duplicates(["benchmark", "dataset"])
    return {
        "benchmarks": ", ".join(f"{benchmark.name} ({benchmark.space.spec})" for benchmark in benchmarks),
        "population": population,
        "accuracies": "; ".join(
            f"{row.benchmark}, {row.dataset}: {row.split} of {row.networks:,} networks, scored on {row.images}"
            for row in held.itertuples()
        ),
        "seeds": ", ".join(map(str, range(suite.seeds))),
        "batch": f"{suite.batch_size} images, as many of each class",
        "initialization": suite.initialization,
        "precision": "; ".join(precisions),
        "intervals": f"95 % of {suite.resamples} bootstrap samples of the networks",
        "aggregations": "among the networks of one benchmark and seed",
        "not finite": NON_FINITE_POLICY,
    }
