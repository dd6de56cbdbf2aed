"""Every figure that docs/theory.md quotes, from published scores and accuracies.

    python benchmarks/theory.py [--figure docs/theory.png]

FreeREA's scores of all 15,625 NAS-Bench-201 cells, NASLib's of 9,445, and the accuracies, from TRAINLESS_DATA. It takes
two or three minutes and prints the sections of the text one after the other.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from math import gcd
from pathlib import Path

import numpy as np
import pandas as pd
from common import data_folder, print_table
from scipy.special import ndtr, ndtri

from trainless import metrics
from trainless.aggregation import Hybrid, LogRankSum, MaximumSum, RankSum, ZScoreSum, hybrid, sweep
from trainless.metrics import normal_scores
from trainless.passes import Signals
from trainless.proxies import PROXIES
from trainless.proxies.counts import skipped_layers
from trainless.ranking import average_ranks
from trainless.reproduction.thesis import THESIS
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.tables import benchmark_table, published_scores

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
SPLITS = tuple((name, "test") for name in DATASETS) + tuple((name, "test_seed888") for name in DATASETS[::2])
PAIR = ["logsynflow", "nwot"]
# A proxy, the better of two partners by rho, and the one that adds more.
_EXAMPLES = (("jacov", "nwot", "flops"), ("nwot", "jacov", "flops"), ("params", "nwot", "epe_nas"))


# Formulas of the text.


def best_linear(r1: float, r2: float, r12: float) -> float:
    """Multiple correlation R of the best linear mix of two scores (proposition 3.1)."""
    return float(np.sqrt((r1**2 + r2**2 - 2 * r1 * r2 * r12) / (1 - r12**2)))


def spearman_of(r: float) -> float:
    """Spearman's rho of two jointly normal columns of correlation r (proposition 3.2)."""
    return float(6 / np.pi * np.arcsin(min(r, 1.0) / 2))


def correlation_of(rho: float) -> float:
    """The inverse of `spearman_of`."""
    return float(2 * np.sin(np.pi * rho / 6))


def thresholds(r1: float, r2: float, reach: float) -> tuple[float, float]:
    """A partner of correlation r2 reaches R = reach where r12 is not between these two (proposition 4.2)."""
    root = np.sqrt((reach**2 - r1**2) * (reach**2 - r2**2))
    return (r1 * r2 - root) / reach**2, (r1 * r2 + root) / reach**2


def chosen_accuracies(accuracies: np.ndarray, rho: float, n: int, steps: int = 400) -> np.ndarray:
    """Equally likely accuracies of the best-scored of n architectures under a normal copula (proposition 7.2)."""
    r, middles = correlation_of(rho), (np.arange(steps) + 0.5) / steps
    best = -ndtri(-np.expm1(np.log(middles) / n))  # quantiles of the largest of n normal scores
    places = ndtr(r * best[:, None] + np.sqrt(1 - r**2) * ndtri(middles))
    return np.sort(accuracies)[np.minimum((places * len(accuracies)).astype(int), len(accuracies) - 1)].ravel()


def best_mix(first: np.ndarray, second: np.ndarray, truth: np.ndarray, step: float = 2.0) -> tuple[float, float]:
    """Largest |rho| of cos(angle) · first + sin(angle) · second, and the angle in degrees, 0 to 180."""
    found = max((abs(_mixed(first, second, truth, angle)), angle) for angle in np.arange(0, 180, step))
    near = found[1] + np.arange(-step, step, step / 8)
    return max((abs(_mixed(first, second, truth, angle)), angle % 180) for angle in near)


def _mixed(first: np.ndarray, second: np.ndarray, truth: np.ndarray, degrees: float) -> float:
    return metrics.spearman(np.cos(np.radians(degrees)) * first + np.sin(np.radians(degrees)) * second, truth)


def all_pairs(scores: pd.DataFrame, accuracies: pd.Series, step: float = 2.0) -> pd.DataFrame:
    """Predicted and measured rho of the best mix of every two proxies.

    `predicted` starts from Spearman's rho of each two columns, `by_scores` from the correlations of normal scores.
    """
    normal = {name: normal_scores(scores[name]) for name in scores}
    truth = accuracies.to_numpy()
    frame = pd.DataFrame({**normal, "accuracy": normal_scores(truth)})
    linear, rank = frame.corr(), np.vectorize(correlation_of)(frame.rank().corr())
    rank = pd.DataFrame(rank, index=linear.index, columns=linear.columns)
    rows = []
    for one, two in itertools.combinations(scores, 2):
        reached = [
            best_linear(table.loc[one, "accuracy"], table.loc[two, "accuracy"], table.loc[one, two])
            for table in (rank, linear)
        ]
        measured, angle = best_mix(normal[one], normal[two], truth, step)
        better = max(abs(metrics.spearman(scores[name], accuracies)) for name in (one, two))
        row = {"first": one, "second": two, "predicted": spearman_of(reached[0]), "by_scores": spearman_of(reached[1])}
        r = {"r1": rank.loc[one, "accuracy"], "r2": rank.loc[two, "accuracy"], "r12": rank.loc[one, two]}
        rows.append({**row, "measured": measured, "angle": angle, "better": better, "reach": reached[0], **r})
    return pd.DataFrame(rows)


def curvature(score: np.ndarray, truth: np.ndarray, bins: int = 20) -> float:
    """Variance of the truth's normal score that its mean in each twentieth of the score explains, less r²."""
    z, t = normal_scores(score), normal_scores(truth)
    part = np.minimum(((average_ranks(score, np.sort(score)) - 0.5) / len(score) * bins).astype(int), bins - 1)
    means = pd.Series(t).groupby(part).transform("mean").to_numpy()
    return float(means.var() / t.var() - np.corrcoef(z, t)[0, 1] ** 2)


# Data.


def freerea(dataset: str, split: str = "test") -> tuple[pd.DataFrame, pd.Series]:
    """FreeREA's scores and accuracies of the cells that have one in this split."""
    accuracies = benchmark_table("nasbench201", data_folder()).accuracies(dataset, split)
    return published_scores(f"freerea.{dataset}", data_folder()).scores.loc[accuracies.index], accuracies


def naslib() -> tuple[pd.DataFrame, pd.Series]:
    """NASLib's scores, turned so that higher is better, and test accuracies on CIFAR-10."""
    scores = published_scores("naslib.cifar10", data_folder()).scores
    turned = scores * [1 if PROXIES[name].higher_is_better else -1 for name in scores]
    return turned, benchmark_table("nasbench201", data_folder()).accuracies("cifar10", "test").loc[scores.index]


def skip_spans(architectures: Iterable[str]) -> list[float]:
    """The score `skipped_layers` of NAS-Bench-201 cells."""
    space = NASBench201()
    return [skipped_layers(Signals(skip_spans=space.skip_spans(space.parse(text)))) for text in architectures]


# Sections of the text.


def weights() -> None:
    """Section 1: how many orders the grid of weights holds."""
    print("\n## 1. Only the ratio counts\n")
    coprime = sum(gcd(a, b) == 1 for a in range(1, 201) for b in range(1, 201))
    print(f"distinct ratios of 0 to 100 in steps of 0.5: {coprime:,} + 2 = {coprime + 2:,} of {201**2:,} pairs")
    print(f"pairs of ratio 3: {sum(3 * k <= 200 for k in range(1, 201))}")
    rows = []
    for dataset, split in SPLITS:
        scores, accuracies = freerea(dataset, split)
        study = sweep(scores["logsynflow"], scores["nwot"], accuracies)
        free = sweep(scores["logsynflow"], scores["nwot"], accuracies, condition=False)
        alpha, beta, best = study.best()
        moved = np.abs(study.kendall - free.kendall).ravel()[1:].max()  # the first pair is 0, 0
        close = np.mean(study.kendall >= best - 0.005)
        rows.append([f"{dataset}, {split}", f"{len(scores):,}", study.flipped, f"{study.at(0.5, 1.5):.4f}",
                     f"{best:.4f} at {alpha:g}, {beta:g}", f"{close:.0%}", f"{free.by_ratio()['kendall'].nunique():,}",
                     f"{1e4 * moved:.2f}", f"{4e4 / len(scores):.2f}"])  # fmt: skip
        if (dataset, split) == SPLITS[3]:
            rounded = (study.kendall.round(2) == 0.62) & (study.spearman.round(2) == 0.81)
            one, two = np.argwhere(rounded)[0]
            ratios = (study.betas[None, :] / np.where(study.alphas > 0, study.alphas, np.nan)[:, None])[rounded]
            print(f"{dataset}, {split}: {rounded.mean():.0%} of all pairs round to tau 0.62 and rho 0.81, the thesis's "
                  f"figures, with ratios from {ratios.min():.2f} to {ratios.max():.2f}; the first is "
                  f"{study.alphas[one]}, {study.betas[two]}")  # fmt: skip
    print_table(["data set, split", "cells", "break the condition", "tau at 0.5, 1.5", "best tau at alpha, beta",
                 "pairs within 0.005 of it", "values of tau, no condition", "condition moves tau by at most, 1e-4",
                 "4/n, 1e-4"], rows)  # fmt: skip


def condition() -> None:
    """Section 2: the cell that breaks the condition."""
    print("\n## 2. What the condition does\n")
    rows, limits = [], []
    for dataset, split in SPLITS:
        scores, accuracies = freerea(dataset, split)
        x, y = scores["logsynflow"], scores["nwot"]
        mixes = [hybrid(x, y, alpha=0.5 * scale, beta=1.5 * scale) for scale in (1.0, 2.0, 0.4)]
        mixes.append(hybrid(x, y, condition=False))
        top = int(x.to_numpy().argmax())
        place = [int((values > values[top]).sum()) + 1 for values in mixes]
        best = [f"{metrics.argmax_accuracy(values, accuracies):.2f}" for values in mixes]
        rank = int((accuracies > accuracies.iloc[top]).sum()) + 1
        rows.append([f"{dataset}, {split}", f"{accuracies.iloc[top]:.2f} ({rank:,} of {len(x):,})",
                     *(f"{a} ({p:,})" for a, p in zip(best, place, strict=True))])  # fmt: skip
        finite = np.isfinite(y)
        din, ddn = x[finite] / x.max(), y[finite] / y[finite].max()
        others = (din + 3 * ddn)[din <= ddn]
        limits.append([f"{dataset}, {split}", f"{ddn.iloc[int(din.argmax())]:.4f}", f"{ddn.min():.3f}",
                       f"{1 / ddn.min():.3f}", f"{din.median():.2f}", f"{ddn.median():.2f}",
                       f"{1 / others.max():.4f}", f"{1 / others.min():.3f}"])  # fmt: skip
    print(f"the cell: {x.index[top]}")
    print_table(["data set, split", "accuracy of LogSynFlow's first", "0.5, 1.5", "1, 3", "0.2, 0.6", "no condition"],
                rows)  # fmt: skip
    print()
    print_table(["data set, split", "its DDN", "least DDN", "beta above which it is last", "median DIN", "median DDN",
                 "at ratio 3 first below alpha", "last above alpha"], limits)  # fmt: skip
    told = {
        (f.dataset, f.proxy): f.top_accuracy for f in THESIS if f.top_accuracy and f.proxy in ("hybrid", "logsynflow")
    }
    print("\nThe thesis's top accuracies, tables 6.5 to 6.7:", ", ".join(f"{k[0]} {k[1]} {v}" for k, v in told.items()))


def pairs_of_all() -> dict[str, pd.DataFrame]:
    """Best mixes of all pairs, by who published the scores."""
    studies = {f"FreeREA, {name}": all_pairs(*freerea(name)) for name in DATASETS}
    return {**studies, "NASLib, cifar10": all_pairs(*naslib())}


def mixes(studies: dict[str, pd.DataFrame]) -> None:
    """Section 3: predicted and measured best mixes."""
    print("\n## 3. The best linear mix\n")
    rows = []
    for name, study in studies.items():
        rows.append([name, len(study), *_errors(study["predicted"] - study["measured"]),
                     *_errors(study["by_scores"] - study["measured"])])  # fmt: skip
    print_table(["published by", "pairs", "mean error", "mean absolute", "largest", "from normal scores: mean error",
                 "mean absolute", "largest"], rows)  # fmt: skip
    print()
    rows = []
    for dataset in DATASETS:
        scores, accuracies = freerea(dataset)
        row = _pair(studies[f"FreeREA, {dataset}"], *PAIR)
        found = [metrics.spearman(hybrid(*scores[PAIR].to_numpy().T, condition=False), accuracies)]
        rows.append([dataset, row["r1"], row["r2"], row["r12"], row["reach"], row["predicted"], row["measured"],
                     *found, sweep(scores["logsynflow"], scores["nwot"], accuracies).best("spearman")[2]])  # fmt: skip
    print_table(["LogSynFlow and NWOT", "r1", "r2", "r12", "R", "predicted rho", "measured best mix",
                 "Hybrid 0.5, 1.5", "Hybrid, best of the grid"], rows)  # fmt: skip
    print("\nthe largest errors:")
    worst = pd.concat([study.assign(by=name) for name, study in studies.items()])
    worst = worst.assign(error=worst["predicted"] - worst["measured"]).sort_values("error", key=abs, ascending=False)
    print_table(["published by", "pair", "predicted", "measured", "error"],
                [[r.by, f"{r.first}, {r.second}", r.predicted, r.measured, f"{r.error:+.3f}"]
                 for r in worst.head(6).itertuples()])  # fmt: skip
    scores, accuracies = naslib()
    bent = {name: curvature(scores[name].to_numpy(), accuracies.to_numpy()) for name in scores}
    print("\ncurvature, NASLib:", ", ".join(f"{name} {value:.3f}" for name, value in bent.items()))
    lower = accuracies < accuracies.median()
    halves = {
        name: [metrics.spearman(scores[name][half], accuracies[half]) for half in (lower, ~lower)] for name in scores
    }
    print("rho in the less and in the more accurate half:",
          ", ".join(f"{name} {one:.2f} {two:.2f}" for name, (one, two) in halves.items()))  # fmt: skip
    study = studies["NASLib, cifar10"]
    size = (study["predicted"] - study["measured"]).abs()
    expected, found = study["predicted"] - study["better"], study["measured"] - study["better"]
    larger = np.maximum(study["first"].map(bent), study["second"].map(bent))
    print(f"size of the error: rho {metrics.spearman(expected, size):.2f} with the predicted gain, "
          f"{metrics.spearman(larger, size):.2f} with the larger curvature of the two")  # fmt: skip
    print(f"measured gain over predicted gain, least squares: {expected @ found / (expected @ expected):.2f}")


def _errors(error: pd.Series) -> list[str]:
    return [f"{error.mean():+.4f}", f"{error.abs().mean():.4f}", f"{error.abs().max():.4f}"]


def _pair(study: pd.DataFrame, one: str, two: str) -> pd.Series:
    """The row of a pair, as if the first were `one`."""
    row = study[study[["first", "second"]].isin([one, two]).all(axis=1)].iloc[0]
    return row if row["first"] == one else row.rename({"r1": "r2", "r2": "r1", "first": "second", "second": "first"})


def partners(study: pd.DataFrame) -> None:
    """Section 4: which two proxies to mix."""
    print("\n## 4. Two good scores of low correlation\n")
    scores, accuracies = naslib()
    rho = {name: metrics.spearman(scores[name], accuracies) for name in scores}
    print("rho:", ", ".join(f"{name} {value:.3f}" for name, value in sorted(rho.items(), key=lambda kv: -kv[1])))
    rows = []
    for first, strong, weak in _EXAMPLES:
        one, other = _pair(study, first, strong), _pair(study, first, weak)
        low, high = thresholds(one["r1"], other["r2"], one["reach"])
        rows.append([first, f"{strong} ({rho[strong]:.3f})", one["r12"], one["measured"], f"{weak} ({rho[weak]:.3f})",
                     other["r12"], other["measured"], f"below {low:.3f} or above {high:.3f}"])  # fmt: skip
    print_table(["with", "partner (rho)", "r12", "rho of the mix", "other partner (rho)", "r12", "rho of the mix",
                 "gains more where its r12 is"], rows)  # fmt: skip
    print()
    best = study.sort_values("measured", ascending=False)
    print("best pairs:", ", ".join(f"{r.first} and {r.second} {r.measured:.3f}" for r in best.head(4).itertuples()))
    mixed = {frozenset((r.first, r.second)): r.measured for r in study.itertuples()}
    kinds = [[name for name in scores if PROXIES[name].data_independent is free] for free in (True, False)]
    chosen = frozenset(max(kind, key=rho.get) for kind in kinds)
    free = {pair: value for pair, value in mixed.items() if all(len(pair & set(kind)) == 1 for kind in kinds)}
    top = max(free, key=free.get)
    print(
        f"best of each kind: {_names(chosen)} {mixed[chosen]:.3f}; best pair of one each: {_names(top)} {free[top]:.3f}"
    )
    for name, sizes in (("3", (3,)), ("3 to 13", range(3, 14))):
        missed, total = _missed(mixed, rho, list(scores), sizes)
        print(f"sets of {name} proxies: the two best are not the best pair in {missed:,} of "
              f"{total:,}, {missed / total:.0%}")  # fmt: skip
    negative = study[(study["r2"] < study["r1"] * study["r12"]) | (study["r1"] < study["r2"] * study["r12"])]
    print(f"pairs whose best mix has a negative weight: {len(negative)} of {len(study)}, such as "
          + "; ".join(f"{r.first} and {r.second}" for r in negative.head(4).itertuples()))  # fmt: skip
    silent = _pair(study, "fisher", "zen:running")
    print(f"zen:running has rho {rho['zen:running']:.3f} alone; with fisher, r12 {silent['r12']:.3f}, it lifts "
          f"{rho['fisher']:.3f} to {silent['measured']:.3f}")  # fmt: skip


def _names(pair: frozenset[str]) -> str:
    return " and ".join(sorted(pair))


def _missed(
    mixed: dict[frozenset[str], float], rho: dict[str, float], names: Sequence[str], sizes: Sequence[int]
) -> tuple[int, int]:
    """In how many sets of proxies the best pair is another than the two best, and the number of sets."""
    missed = total = 0
    for chosen in itertools.chain.from_iterable(itertools.combinations(names, size) for size in sizes):
        best = max(map(frozenset, itertools.combinations(chosen, 2)), key=mixed.get)
        missed += best != frozenset(sorted(chosen, key=rho.get)[-2:])
        total += 1
    return missed, total


def not_finite() -> None:
    """Section 5: what becomes of scores that are not finite."""
    print("\n## 5. Scores that are not finite\n")
    rows = []
    for dataset in DATASETS:
        scores, accuracies = freerea(dataset)
        bad = ~np.isfinite(scores["nwot"])
        print(f"{dataset}: {bad.sum()} cells, accuracy {accuracies[bad].min():.2f} to {accuracies[bad].max():.2f}")
        for policy, nwot, mix in _policies(scores, bad):
            truth = accuracies[nwot.index]
            taus = [f"{metrics.kendall(each, truth):.4f}" for each in (nwot, mix)]
            rhos = [f"{metrics.spearman(each, truth):.4f}" for each in (nwot, mix)]
            rows.append([dataset, policy, taus[0], rhos[0], taus[1], rhos[1], metrics.argmax_accuracy(mix, truth)])
    n, m = len(scores), int(bad.sum())
    pairs = n * (n - 1) / 2
    print(f"bounds: last to first {4 * m * (n - m) / (n * (n - 1)):.4f}, "
          f"last to dropped {(2 * m * (n - m) + m * (m - 1) / 2) / pairs:.4f}")  # fmt: skip
    print_table(["data set", "policy", "NWOT tau", "rho", "Hybrid tau", "rho", "Hybrid's first"], rows)


def _policies(scores: pd.DataFrame, bad: pd.Series) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """Each policy with NWOT and the Hybrid under it."""
    x, y = scores["logsynflow"], scores["nwot"]

    def mix(values: pd.Series) -> pd.Series:
        return pd.Series(hybrid(x[values.index], values), index=values.index)

    yield "ranked last", y, mix(y)
    yield "dropped", y[~bad], mix(y[~bad])
    low = y.where(~bad, y[~bad].min())
    yield "lowest finite score", low, mix(low)
    top = y.where(~bad, 2 * y[~bad].max())
    yield "ranked first", top, mix(y).where(~bad, 10.0)


def sums() -> None:
    """Section 6: weighted sums and log-rank sums."""
    print("\n## 6. From weighted sums to log-rank sums\n")
    kinds = [("Hybrid", Hybrid()), ("Hybrid, no condition", Hybrid(condition=False)), ("z-scores", ZScoreSum(PAIR)),
             ("maxima", MaximumSum(PAIR)), ("ranks", RankSum(PAIR)), ("log-ranks", LogRankSum(PAIR))]  # fmt: skip
    rows = []
    for dataset in DATASETS:
        scores, accuracies = freerea(dataset)
        for name, kind in kinds:
            values = kind.fit_score(scores)
            rows.append([dataset, name, f"{metrics.kendall(values, accuracies):.4f}",
                         f"{metrics.spearman(values, accuracies):.4f}", metrics.top_kendall(values, accuracies),
                         f"{metrics.argmax_accuracy(values, accuracies):.2f}",
                         f"{metrics.best_of_top(values, accuracies):.2f}"])  # fmt: skip
    print_table(["data set", "sum", "tau", "rho", "tau in the top tenth", "first", "best of 10"], rows)
    print()
    rows = []
    scores, accuracies = freerea("cifar10")
    for name, changed in _changes(scores):
        values = [kind.fit_score(changed) for kind in (Hybrid(), LogRankSum(PAIR))]
        x, y = (changed[column] / changed[column].max() for column in PAIR)
        broken = int(((x > y) & np.isfinite(y)).sum())
        rows.append([name, f"{broken:,}", *(f"{metrics.kendall(each, accuracies):.4f}" for each in values)])
    print_table(["cifar10: what is changed", "break the condition", "tau of the Hybrid", "tau of the log-rank sum"],
                rows)  # fmt: skip


def _changes(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    x, y = scores["logsynflow"], scores["nwot"]
    pair = scores[PAIR]
    yield "nothing", pair
    yield "the largest LogSynFlow ten times as large", pair.assign(logsynflow=x.where(x < x.max(), 10 * x.max()))
    yield "NWOT + 10,000", pair.assign(nwot=y + 10_000)
    yield "cube of LogSynFlow", pair.assign(logsynflow=x**3)
    yield "SynFlow in place of LogSynFlow", pair.assign(logsynflow=scores["synflow"])
    yield "logarithm of SynFlow + 1 in its place", pair.assign(logsynflow=np.log1p(scores["synflow"]))


def searches() -> None:
    """Section 7: what a correlation says of the best-scored architecture."""
    print("\n## 7. A correlation bounds a search only weakly\n")
    rows, samples = [], []
    for dataset in DATASETS:
        scores, accuracies = freerea(dataset)
        truth = accuracies.to_numpy()
        scores["skipped_layers"] = skip_spans(scores.index)
        kinds = {"FreeREA's sum": MaximumSum(), "Hybrid": Hybrid(), "log-ranks": LogRankSum(PAIR)}
        values = {name: kind.fit_score(scores) for name, kind in kinds.items()}
        for name, column in {**values, "LogSynFlow": scores["logsynflow"], "NWOT": scores["nwot"]}.items():
            rho = metrics.spearman(column, truth)
            expected = chosen_accuracies(truth, rho, len(truth))
            found = metrics.argmax_accuracy(column, truth)
            low, high = np.quantile(expected, [0.05, 0.95])
            rows.append([dataset, name, f"{metrics.kendall(column, truth):.2f}", f"{rho:.2f}",
                         f"{metrics.top_kendall(column, truth):.2f}", f"{expected.mean():.2f}",
                         f"{low:.2f} to {high:.2f}", f"{found:.2f}", f"{(truth > found).sum() + 1:,}"])  # fmt: skip
        for name in ("FreeREA's sum", "Hybrid"):
            samples.append([dataset, name, *_samples(values[name].to_numpy(), truth)])
        print(f"{dataset}: the most accurate has {truth.max():.2f}")
    print_table(["data set", "score", "tau", "rho", "tau in the top tenth", "first: expected", "nine of ten times",
                 "found", "its place"], rows)  # fmt: skip
    print()
    print_table(["data set", "score", *(f"n = {n:,}: expected, mean of 2,000" for n in (10, 100, 1000))], samples)


def _samples(values: np.ndarray, truth: np.ndarray) -> list[str]:
    """Expected and mean accuracies of the best-scored of n drawn without replacement."""
    rng = np.random.default_rng(0)
    values, cells = np.where(np.isfinite(values), values, -np.inf), []
    for n in (10, 100, 1000):
        draws = [rng.choice(len(truth), n, replace=False) for _ in range(2000)]
        mean = np.mean([truth[draw[values[draw].argmax()]] for draw in draws])
        cells.append(f"{chosen_accuracies(truth, metrics.spearman(values, truth), n).mean():.2f}, {mean:.2f}")
    return cells


def draw(studies: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw predicted against measured best mixes, and the gains over the better of the two scores."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = ("#0072B2", "#D55E00", "#009E73", "#555555")
    with plt.rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(9, 4.7), layout="constrained")
        for (name, study), colour, marker in zip(studies.items(), colours, "os^D", strict=True):
            style = {"s": 22, "color": colour, "marker": marker, "alpha": 0.75, "linewidths": 0}
            axes[0].scatter(study["predicted"], study["measured"], label=f"{name} ({len(study)} pairs)", **style)
            axes[1].scatter(study["predicted"] - study["better"], study["measured"] - study["better"], **style)
        for axis, (low, high) in zip(axes, ((0.35, 0.95), (-0.01, 0.14)), strict=True):
            axis.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=1)
            axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
            axis.grid(color="0.92", linewidth=0.6)
            axis.set_axisbelow(True)
        axes[0].set(xlabel="predicted Spearman's ρ of the best mix", ylabel="measured")
        axes[0].set_title("The best linear mix of two proxies", fontsize=9.5)
        axes[0].legend(loc="upper left", frameon=False)
        axes[1].set(xlabel="predicted gain in ρ over the better of the two", ylabel="measured")
        axes[1].set_title("What the second proxy adds", fontsize=9.5)
        figure.savefig(path, dpi=150, facecolor="white")


def main() -> None:
    """Print every section and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path)
    figure = parser.parse_args().figure
    weights()
    condition()
    studies = pairs_of_all()
    mixes(studies)
    partners(studies["NASLib, cifar10"])
    not_finite()
    sums()
    searches()
    if figure is not None:
        draw(studies, figure)


if __name__ == "__main__":
    main()
