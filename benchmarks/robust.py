"""Choose the aggregation that holds on all benchmarks, leaving out one benchmark at a time.

    python benchmarks/robust.py --store suite/scores.db --data DIR [--most 5] [--seeds 3] [--sample 1000]
        [--table TABLE@SPACE ...] [--initialization pytorch] [--candidates flops,jacov,...]

The store is that of `trainless suite --proxies all`, or one that `Scorer` filled with the same batches: its scores are
joined here, and nothing is scored. `--table` names benchmarks whose networks were scored in another size than theirs,
which is cheaper.

For every set of up to so many of the candidates, the sum of the logarithms of their ranks is held against the
accuracies of every benchmark. The choice is the set of the highest mean Spearman's correlation over the benchmarks,
each counting once however many data sets it has; what a set comes to is told by leaving each benchmark out in turn,
choosing on the others, and measuring on the one left out. So nothing is fitted to the accuracies of what it is reported
on.

Last it prints what all candidates come to where one of them counts less than the others.

For reference, a random forest on what the networks are made of, counts of operations, lengths of paths, widths, is
fitted to the accuracies of all benchmarks but one, and measured on that: the way of GRAF (Kadlecova et al., 2024),
across spaces.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import machine, print_table
from sklearn.ensemble import RandomForestRegressor

from trainless.data import ImageDataset
from trainless.metrics import spearman
from trainless.proxies import PROXIES
from trainless.ranking import average_ranks, finite_last
from trainless.scoring import Scorer
from trainless.search_spaces.blueprint import Blueprint, live_edges
from trainless.search_spaces.nodes import EARLIER, INPUT, OUTPUT, Node
from trainless.store import Store
from trainless.suite import Benchmark, find_benchmarks, suite_images

CANDIDATES = (
    "flops", "params", "trainable_layers", "synflow:log", "logsynflow", "zen", "nwot", "jacov", "swap", "near", "meco",
    "intrain", "ncd", "az_expressivity", "az_progressivity", "az_trainability", "snip", "grad_norm", "zico",
)  # fmt: skip

KERNELS, RESAMPLES = (1, 3, 5, 7), 500
WEIGHTS = (0.25, 0.5, 0.75)
FEWEST = 30  # networks of a benchmark, below which it says too little

Columns = dict[str, np.ndarray]


class Case(NamedTuple):
    """The networks of a benchmark on a data set: log-ranks of a seed a row by proxy, accuracies, features."""

    benchmark: str
    dataset: str
    columns: Columns
    truth: np.ndarray
    features: np.ndarray


def main() -> None:
    """Join, choose and print."""
    parser = store_parser(__doc__)
    parser.add_argument("--most", type=int, default=5)
    parser.add_argument("--candidates", default=", ".join(CANDIDATES))
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.candidates.split(",")]
    cases = [
        case for benchmark in find_benchmarks(tables=arguments.table) for case in read(benchmark, arguments, names)
    ]
    print(f"{machine()}; {', '.join(f'{case.benchmark} {case.dataset} ({len(case.truth):,})' for case in cases)}\n")
    sets = [chosen for size in range(1, arguments.most + 1) for chosen in itertools.combinations(names, size)]
    table = pd.DataFrame(
        {f"{case.benchmark} {case.dataset}": [joined(case.columns, chosen, case.truth) for chosen in sets]
         for case in cases},
        index=[", ".join(chosen) for chosen in sets],
    )  # fmt: skip
    by_benchmark = table.T.groupby([case.benchmark for case in cases], sort=False).mean().T
    asked = [", ".join(names), *(", ".join(name for name in names if name != part) for part in names)]
    asked = [name for name in asked if name in table.index]
    best = by_benchmark.mean(axis=1).sort_values(ascending=False)
    print("The best on all benchmarks:\n")
    print_table(
        ("proxies", "mean", "95 % interval", "mean of data sets", "least above flops", *by_benchmark.columns),
        [
            (
                name,
                best[name],
                interval(cases, name),
                table.loc[name].mean(),
                above(table, name),
                *by_benchmark.loc[name],
            )
            for name in dict.fromkeys([*best.index[:15], *asked])
        ],
    )
    print("\nChosen without a benchmark, and measured on it:\n")
    rows = []
    for left_out in by_benchmark.columns:
        chosen = by_benchmark.drop(columns=left_out).mean(axis=1).idxmax()
        own = by_benchmark[left_out].max()
        flops = by_benchmark.loc["flops", left_out] if "flops" in by_benchmark.index else np.nan
        rows.append((left_out, chosen, by_benchmark.loc[chosen, left_out], flops, own, forest(cases, left_out)))
    header = ("left out", "chosen on the others", "Spearman there", "flops", "best possible there", "structural forest")
    print_table(header, rows)
    print("\nSingle proxies and what each adds to the chosen one:\n")
    choice = best.index[0].split(", ")
    without = [(name, ", ".join(part for part in choice if part != name)) for name in choice]
    print_table(
        ("part", "alone", "without it", "with it"),
        [(name, best[name], best.get(rest, np.nan), best.iloc[0]) for name, rest in without],
    )
    print("\nAll candidates, of which one counts less:\n")
    weights = [row for name in names for row in weighed(cases, names, name)]
    print_table(("part", "counts", "mean", "mean of data sets", "least above flops", *by_benchmark.columns), weights)
    print("\nWhich part counts less, chosen without a benchmark, and measured on it:\n")
    frame = pd.DataFrame([row[5:] for row in weights], [row[:2] for row in weights], by_benchmark.columns, dtype=float)
    rows = []
    for left_out in frame.columns if len(frame) else ():
        part, weight = frame.drop(columns=left_out).mean(axis=1).idxmax()
        rows.append((left_out, part, weight, frame.loc[[(part, weight)], left_out].iloc[0]))
    print_table(("left out", "part", "counts", "Spearman there"), rows)


def store_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that say which scores are read."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", required=True, help="as of the suite")
    parser.add_argument("--table", nargs="*", default=[], help="as of the suite")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--initialization", default="kaiming_normal_fan_out")
    return parser


def weighed(cases: list[Case], names: list[str], part: str) -> Iterator[tuple[object, ...]]:
    """What the sum of all candidates comes to where one of them has a weight below 1."""
    if not all(name in case.columns for case in cases for name in (*names, "flops")):
        return
    for weight in WEIGHTS:
        found = list[float]()
        for case in cases:
            totals = sum((weight if name == part else 1) * case.columns[name] for name in names)
            found.append(float(np.mean([spearman(total, case.truth) for total in totals])))
        plain = [joined(case.columns, ("flops",), case.truth) for case in cases]
        means = pd.Series(found).groupby([case.benchmark for case in cases], sort=False).mean()
        least = min(own - other for own, other in zip(found, plain, strict=True))
        yield part, f"{weight:g}", float(means.mean()), float(np.mean(found)), least, *means


def read(benchmark: Benchmark, arguments: argparse.Namespace, names: list[str]) -> list[Case]:
    """The logarithms of the ranks of each proxy, a row a seed, beside the accuracies of each data set."""
    sample, cases = benchmark.sample(arguments.sample), list[Case]()
    for dataset in benchmark.datasets:
        tables = stored(benchmark, suite_images(dataset, arguments.data), arguments)
        scored = [text for text in sample if all(text in table.index for table in tables)] if tables else []
        if len(scored) < FEWEST:
            continue
        truth = benchmark.table.accuracies(dataset, benchmark.split(dataset)).reindex(scored).to_numpy(float)
        columns = {
            name: np.array([log_ranks(oriented(table, name, scored)) for table in tables])
            for name in names
            if all(name in table and table.loc[scored, name].notna().any() for table in tables)
        }
        task = suite_images(dataset, arguments.data).task
        features = pd.DataFrame(
            [structure(benchmark.space.blueprint(benchmark.space.parse(text), task)) for text in scored]
        )
        ranks = features.rank(pct=True).to_numpy(float)
        cases.append(Case(benchmark.table.name, dataset, columns, truth, ranks))
    return cases


def stored(benchmark: Benchmark, images: ImageDataset, arguments: argparse.Namespace) -> list[pd.DataFrame]:
    """What the store holds of a benchmark, a table a seed."""
    tables = []
    with Store(arguments.store, create=False) as store:
        for seed in range(arguments.seeds):
            run = Scorer(benchmark.space, "params", images, seed=seed, initialization=arguments.initialization).run
            if run in store.runs():
                tables.append(store.table(run))
    return tables


def oriented(table: pd.DataFrame, name: str, scored: list[str]) -> np.ndarray:
    """Scores of which higher is better."""
    sign = 1 if PROXIES[name].higher_is_better else -1
    values: np.ndarray = sign * table.loc[scored, name].to_numpy(float)
    return values


def log_ranks(scores: np.ndarray) -> np.ndarray:
    """Logarithms of relative ranks, what is not finite in one tie below all else."""
    values = finite_last(scores)
    ranks: np.ndarray = np.log(average_ranks(values, np.sort(values)) / len(values))
    return ranks


def joined(columns: Columns, chosen: tuple[str, ...], truth: np.ndarray) -> float:
    """Mean over the seeds of Spearman's correlation of the sum with the accuracies."""
    if any(name not in columns for name in chosen):
        return float("nan")
    return float(np.mean([spearman(total, truth) for total in sum(columns[name] for name in chosen)]))


def above(table: pd.DataFrame, name: str) -> float:
    """By how much a set is better than multiply-adds alone where it is so by the least."""
    return float((table.loc[name] - table.loc["flops"]).min()) if "flops" in table.index else float("nan")


def interval(cases: list[Case], name: str) -> str:
    """The mean over benchmarks with networks drawn anew, from the 2.5th to the 97.5th percentile."""
    rng, chosen = np.random.default_rng(0), tuple(name.split(", "))
    drawn: dict[str, list[np.ndarray]] = {}
    for case in cases:
        if all(part in case.columns for part in chosen):
            total = sum(case.columns[part] for part in chosen).mean(0)
            numbers = rng.integers(len(total), size=(RESAMPLES, len(total)))
            values = np.array([spearman(total[own], case.truth[own]) for own in numbers])
            drawn.setdefault(case.benchmark, []).append(values)
    means = np.mean([np.mean(values, axis=0) for values in drawn.values()], axis=0)
    return f"{np.percentile(means, 2.5):.3f} to {np.percentile(means, 97.5):.3f}"


# What networks are made of.


def forest(cases: list[Case], left_out: str) -> float:
    """Mean correlation on a benchmark of a forest that was fitted to ranks in all others."""
    others = [case for case in cases if case.benchmark != left_out]
    if not others:
        return float("nan")
    known = np.concatenate([case.features for case in others])
    ranks = np.concatenate([pd.Series(case.truth).rank(pct=True) for case in others])
    weights = np.concatenate([np.full(len(case.truth), 1 / len(case.truth)) for case in others])
    fitted = RandomForestRegressor(300, min_samples_leaf=3, random_state=0).fit(known, ranks, weights)
    own = [case for case in cases if case.benchmark == left_out]
    return float(np.mean([spearman(fitted.predict(case.features), case.truth) for case in own]))


def structure(blueprint: Blueprint) -> dict[str, float]:
    """Counts of operations, lengths of paths, widths and costs of a network."""
    modules = blueprint.modules.values()
    nodes = [node for module in modules for node in module if (node.source, node.target) in live(module)]
    weighted = [node for node in nodes if has_weights(node)]
    longest, shortest, ways = (sum(module[0].repeat * paths(module)[kind] for module in modules) for kind in range(3))
    return {
        "parameters": np.log(blueprint.parameters),
        "multiply-adds": np.log(blueprint.multiply_adds),
        **{f"kernel {kernel}": sum(node.repeat for node in weighted if node.kernel == kernel) for kernel in KERNELS},
        "weighted": sum(node.repeat for node in weighted),
        "pooling": sum(node.repeat for node in nodes if "pool" in node.operation),
        "identities": sum(node.repeat for node in nodes if node.record.is_identity),
        "longest path": longest,
        "shortest path": shortest,
        "ways": ways,
        "widest": max(node.channels for node in weighted),
        "mean width": float(np.mean([node.channels for node in weighted])),
        "pixels at the middle": nodes[len(nodes) // 2].size[0],
    }


def has_weights(node: Node) -> bool:
    """Whether there is something in a node to be learnt."""
    return any(layer.multiply_adds for layer in node.record.layers(node))


def live(module: tuple[Node, ...]) -> set[tuple[str, str]]:
    """The edges of a module on paths from what it reads to what it gives."""
    edges = [(INPUT, EARLIER), *((node.source, node.target) for node in module if node.operation != "none")]
    return live_edges(edges, INPUT, OUTPUT)


def paths(module: tuple[Node, ...]) -> tuple[float, float, float]:
    """Weights on the longest and on the shortest path through a module, and the logarithm of the number of paths."""
    found = {INPUT: (0.0, 0.0, 1.0), EARLIER: (0.0, 0.0, 1.0)}
    alive = live(module)
    for node in module:
        if (node.source, node.target) in alive and node.operation != "none" and node.source in found:
            longest, shortest, ways = found[node.source]
            own = float(has_weights(node))
            known = found.get(node.target, (-np.inf, np.inf, 0.0))
            found[node.target] = (max(known[0], longest + own), min(known[1], shortest + own), known[2] + ways)
    longest, shortest, ways = found.get(OUTPUT, (0.0, 0.0, 1.0))
    return longest, shortest, float(np.log(ways))


if __name__ == "__main__":
    main()
