"""All metrics of many proxies in one table, with bootstrap intervals, and the difference between two proxies.

The bootstrap draws architectures with replacement, as many as there are, and measures every proxy on the same samples.
An interval holds the middle share of the values; a sample in which a metric is NaN is left out.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError, UnknownNameError
from trainless.metrics.base import Array, Metric, check_k, paired
from trainless.metrics.correlations import kendall, spearman, top_kendall, weighted_kendall
from trainless.metrics.resampling import Samples, draw
from trainless.metrics.top import argmax_accuracy, best_of_top, ndcg_at, precision_at, regret
from trainless.ranking import column

__all__ = ["METRICS", "difference_interval", "evaluate"]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("kendall", kendall, "1", True, "tau-b: agreement of the order of all pairs"),
        Metric("spearman", spearman, "1", True, "correlation of the ranks"),
        Metric("weighted_kendall", weighted_kendall, "1", True, "tau-b in which the most accurate weigh most"),
        Metric("top_kendall", top_kendall, "1", True, "tau-b within the most accurate tenth"),
        Metric("precision_at", precision_at, "1", True, "share of the k best-scored among the k most accurate", True),
        Metric("best_of_top", best_of_top, "%", True, "highest accuracy among the k best-scored", True),
        Metric("argmax_accuracy", argmax_accuracy, "%", True, "accuracy of the best-scored"),
        Metric("regret", regret, "percentage points", False, "highest accuracy less that of the best-scored"),
        Metric("ndcg_at", ndcg_at, "1", True, "discounted rank by accuracy of the k best-scored", True),
    )
}
"""The metrics by name; ``function`` is the plain function, and calling one passes k on where it takes a k."""

# Numbers in one array of the bootstrap: more samples at once gain no speed, but need more memory.
_NUMBERS_AT_ONCE = 2**20
_SAMPLES_AT_LEAST = 16


def evaluate(
    scores: pd.DataFrame,
    accuracies: pd.Series,
    *,
    k: int = 10,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Compute every metric of every proxy, with percentile intervals by bootstrap over architectures.

    Args:
        scores: one row an architecture, one column a proxy, higher is better; what is not finite is ranked last.
        accuracies: percent, by architecture, finite. Only architectures in both tables are used, in the order of
            `scores`.
        k: of the metrics that look at the k best-scored.
        resamples: number of bootstrap samples; 0 for no intervals.
        seed: of the bootstrap. A proxy gets the same interval whatever others are in the table.
        confidence: share of the bootstrap values that an interval holds.
        progress: called with the steps done and the steps in all.

    Returns:
        One row a proxy, in the order of the columns. For each of `METRICS` a column of its name and, with
        intervals, two that end in ``_low`` and ``_high``; then ``networks``, the number of architectures used, and
        ``not_finite``, how many of them have a score that is not finite.

    Raises:
        InputError: no architecture is in both tables, labels are repeated, an accuracy is not finite, or k,
            `resamples` or `confidence` is out of range.

    Source:
        Efron, Better Bootstrap Confidence Intervals, JASA 1987, for the percentile interval and its limits.

    Example:
        >>> names = ["a", "b", "c", "d"]
        >>> scores = pd.DataFrame({"snip": [1.0, 3.0, 2.0, float("nan")]}, index=names)
        >>> table = evaluate(scores, pd.Series([80.0, 92.0, 95.0, 70.0], index=names), k=2, resamples=50)
        >>> table.loc["snip", ["kendall", "regret", "networks", "not_finite"]].round(3).tolist()
        [0.667, 3.0, 4.0, 1.0]
        >>> bool(table.loc["snip", "regret_low"] <= table.loc["snip", "regret_high"])
        True
    """
    columns, truth = joined(scores, accuracies)
    k, resamples = check_k(k, len(truth)), _check_resamples(resamples, 0)
    levels, sizes = _levels(confidence), _batches(len(truth), resamples)
    steps, total = itertools.count(1), len(columns) * (len(sizes) + 1)

    def tick() -> None:
        if progress is not None:
            progress(next(steps), total)

    points = _points(columns, truth, k, tick)
    drawn = _resampled(columns, truth, k, sizes, seed, tick)
    table = pd.DataFrame(index=pd.Index(list(columns), name="proxy"))
    for metric in METRICS:
        table[metric] = [points[name][metric] for name in columns]
        if resamples:
            ends = [_quantiles(drawn[name][metric], levels) for name in columns]
            table[f"{metric}_low"], table[f"{metric}_high"] = zip(*ends, strict=True)
    table["networks"] = len(truth)
    table["not_finite"] = [int((~np.isfinite(values)).sum()) for values in columns.values()]
    return table


def difference_interval(
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    accuracies: npt.ArrayLike,
    metric: str | Metric = "kendall",
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
    *,
    k: int = 10,
) -> tuple[float, float, float]:
    """Compute the metric of proxy A less that of proxy B, with the percentile interval of a paired bootstrap.

    Both are measured on the same samples of architectures, so that what helps or harms both takes no part. Where the
    interval leaves out 0, the difference is more than the choice of architectures explains.

    Args:
        scores_a: shape ``(n,)``, higher is better; what is not finite is one tie below all others.
        scores_b: the same for the other proxy.
        accuracies: shape ``(n,)``, finite.
        metric: a name in `METRICS`, or a `Metric` of your own.
        resamples: number of bootstrap samples, 1 or more.
        seed: of the bootstrap.
        confidence: share of the bootstrap values that the interval holds.
        k: of the metrics that look at the k best-scored.

    Returns:
        The difference, and the low and the high end of its interval. Note that for the regret a negative difference
        speaks for A.

    Raises:
        UnknownNameError: there is no such metric.
        InputError: the columns do not fit together, or an option is out of range.

    Example:
        >>> accuracies = np.arange(50.0)
        >>> difference_interval(accuracies, -accuracies, accuracies)
        (2.0, 2.0, 2.0)
    """
    chosen = _metric(metric)
    (first, truth), (second, _) = paired(scores_a, accuracies), paired(scores_b, accuracies)
    k = check_k(k, len(truth)) if chosen.takes_k else 1
    resamples, levels = _check_resamples(resamples, 1), _levels(confidence)
    columns = {"a": first, "b": second}
    if METRICS.get(chosen.name) is chosen:
        drawn = _resampled(columns, truth, k, _batches(len(truth), resamples), seed)
        values = {name: found[chosen.name] for name, found in drawn.items()}
    else:
        values = _resampled_one_by_one(chosen, columns, truth, k, resamples, seed)
    difference = chosen(first, truth, k) - chosen(second, truth, k)
    return difference, *_quantiles(values["a"] - values["b"], levels)


def joined(scores: pd.DataFrame, accuracies: pd.Series) -> tuple[dict[str, Array], Array]:
    """Give the columns of scores and the accuracies of the architectures that are in both.

    Raises:
        InputError: a label is there twice, no architecture is in both, or a value is no number, or no finite accuracy.

    Example:
        >>> scores = pd.DataFrame({"nwot": [5.0, 6.0]}, index=["a", "b"])
        >>> joined(scores, pd.Series({"b": 91.0}))
        ({'nwot': array([6.])}, array([91.]))
    """
    if not isinstance(scores, pd.DataFrame) or not isinstance(accuracies, pd.Series):
        raise InputError(
            f"The scores are of type {type(scores).__name__} and the accuracies of type {type(accuracies).__name__}, "
            "expected a pandas DataFrame and a pandas Series, both indexed by architecture: make them so."
        )
    for labels, what in ((scores.index, "scores"), (accuracies.index, "accuracies"), (scores.columns, "proxies")):
        if not labels.is_unique:
            first = labels[labels.duplicated()][0]
            raise InputError(f"'{first}' is in the {what} more than once, expected once: drop or rename the others.")
    if not len(scores.columns):
        raise InputError("The table of scores has no columns, expected one a proxy.")
    both = scores.index[scores.index.isin(accuracies.index)]
    if both.empty:
        raise InputError(
            f"None of the {len(scores):,} architectures with scores ({_example(scores.index)}) is among the "
            f"{len(accuracies):,} with accuracies ({_example(accuracies.index)}): check that both are of the same "
            "search space and labelled by the same strings."
        )
    truth = column(accuracies.loc[both], "accuracies")
    unknown = np.flatnonzero(~np.isfinite(truth))
    if len(unknown):
        raise InputError(
            f"The accuracy of '{both[unknown[0]]}' is {truth[unknown[0]]}, expected a finite number ({len(unknown)} of "
            f"{len(truth)} are none): leave these architectures out, with accuracies.dropna() where they are NaN."
        )
    return {name: column(scores.loc[both, name], f"The column '{name}'") for name in scores.columns}, truth


def _example(labels: pd.Index) -> str:
    return f"such as '{labels[0]}'" if len(labels) else "no one"


def _metric(metric: str | Metric) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    return METRICS[metric]


def _check_resamples(resamples: int, least: int) -> int:
    try:
        number = operator.index(resamples)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(f"resamples is {resamples}, expected a whole number of {least} or more, such as 200.")
    return number


def _levels(confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}, expected a number between 0 and 1, such as 0.95.")
    return (1 - confidence) / 2, (1 + confidence) / 2


def _batches(architectures: int, resamples: int) -> list[int]:
    """Cut the number of samples into batches that fit in memory."""
    size = max(_SAMPLES_AT_LEAST, _NUMBERS_AT_ONCE // architectures)
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def _points(columns: dict[str, Array], truth: Array, k: int, tick: Callable[[], None]) -> dict[str, dict[str, float]]:
    """By proxy and metric the value on all architectures."""
    points = {}
    for name, values in columns.items():
        points[name] = {metric.name: metric(values, truth, k) for metric in METRICS.values()}
        tick()
    return points


def _resampled(
    columns: dict[str, Array],
    truth: Array,
    k: int,
    sizes: list[int],
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Array]]:
    """By proxy and metric the values on all samples; the proxies share the samples."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    generator = np.random.default_rng(seed)
    found: dict[str, list[dict[str, Array]]] = {name: [] for name in columns}
    # Products as small as these gain little by threads, and lose a factor of ten where other work keeps the cores busy.
    with threadpool_limits(1, user_api="blas"):
        for size in sizes:
            samples = Samples(truth, draw(len(truth), size, generator), k)
            for name, values in columns.items():
                found[name].append(samples.metrics(values))
                tick()
    return {
        name: {metric: np.concatenate([batch[metric] for batch in batches]) for metric in METRICS}
        for name, batches in found.items()
        if batches
    }


def _resampled_one_by_one(
    metric: Metric, columns: dict[str, Array], truth: Array, k: int, resamples: int, seed: int
) -> dict[str, Array]:
    drawn = draw(len(truth), resamples, np.random.default_rng(seed)).astype(np.intp)
    values: dict[str, list[float]] = {name: [] for name in columns}
    for counts in drawn.T:
        places = np.repeat(np.arange(len(truth)), counts)
        for name, scores in columns.items():
            values[name].append(metric(scores[places], truth[places], k))
    return {name: np.array(found) for name, found in values.items()}


def _quantiles(values: Array, levels: tuple[float, float]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, levels) if len(known) else (np.nan, np.nan)
    return float(low), float(high)
