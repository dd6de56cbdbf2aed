"""Choose the aggregation that holds on all benchmarks, leaving out one benchmark at a time.

    python benchmarks/robust.py --store suite/scores.db --data DIR [--most 5] [--seeds 3] [--sample 1000]

The store is that of `trainless suite --proxies all`: its scores are joined here, and nothing is scored. For every set
of up to so many of the candidates, the sum of the logarithms of their ranks is held against the accuracies of every
benchmark. The choice is the set of the highest mean Spearman's correlation over the benchmarks, each counting once
however many data sets it has; what a set comes to is told by leaving each
benchmark out in turn, choosing on the others, and measuring on the one left out. So nothing is fitted to the accuracies
of what it is reported on.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, print_table

from trainless.data import ImageDataset
from trainless.metrics import spearman
from trainless.proxies import PROXIES
from trainless.ranking import average_ranks, finite_last
from trainless.scoring import Scorer
from trainless.store import Store
from trainless.suite import Benchmark, find_benchmarks, suite_images

CANDIDATES = (
    "flops", "params", "trainable_layers", "synflow:log", "logsynflow", "zen", "nwot", "jacov", "swap", "near", "meco",
    "intrain", "ncd", "az_expressivity", "az_progressivity", "az_trainability", "snip", "grad_norm", "zico",
)  # fmt: skip

FEWEST = 30  # networks of a benchmark, below which it says too little

Columns = dict[str, np.ndarray]
Case = tuple[str, str, Columns, np.ndarray]  # benchmark, data set, log-ranks by proxy, accuracies


def main() -> None:
    """Join, choose and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", required=True, help="as of the suite")
    parser.add_argument("--table", nargs="*", default=[], help="as of the suite")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=5)
    parser.add_argument("--candidates", default=", ".join(CANDIDATES))
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.candidates.split(",")]
    cases = [
        case for benchmark in find_benchmarks(tables=arguments.table) for case in read(benchmark, arguments, names)
    ]
    print(f"{machine()}; {', '.join(f'{name} {dataset} ({len(truth):,})' for name, dataset, _, truth in cases)}\n")
    sets = [chosen for size in range(1, arguments.most + 1) for chosen in itertools.combinations(names, size)]
    table = pd.DataFrame(
        {f"{benchmark} {dataset}": [joined(columns, chosen, truth) for chosen in sets]
         for benchmark, dataset, columns, truth in cases},
        index=[", ".join(chosen) for chosen in sets],
    )  # fmt: skip
    by_benchmark = table.T.groupby([benchmark for benchmark, *_ in cases], sort=False).mean().T
    best = by_benchmark.mean(axis=1).sort_values(ascending=False)
    print("The best on all benchmarks:\n")
    print_table(
        ("proxies", "mean", "least", *by_benchmark.columns),
        [(name, best[name], table.loc[name].min(), *by_benchmark.loc[name]) for name in best.index[:15]],
    )
    print("\nChosen without a benchmark, and measured on it:\n")
    rows = []
    for left_out in by_benchmark.columns:
        chosen = by_benchmark.drop(columns=left_out).mean(axis=1).idxmax()
        own = by_benchmark[left_out].max()
        rows.append((left_out, chosen, by_benchmark.loc[chosen, left_out], own))
    print_table(("left out", "chosen on the others", "Spearman there", "best possible there"), rows)
    print("\nSingle proxies and what each adds to the chosen one:\n")
    choice = best.index[0].split(", ")
    without = [(name, ", ".join(part for part in choice if part != name)) for name in choice]
    print_table(
        ("part", "alone", "without it", "with it"),
        [(name, best[name], best.get(rest, np.nan), best.iloc[0]) for name, rest in without],
    )


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
        cases.append((benchmark.table.name, dataset, columns, truth))
    return cases


def stored(benchmark: Benchmark, images: ImageDataset, arguments: argparse.Namespace) -> list[pd.DataFrame]:
    """What the store holds of a benchmark, a table a seed."""
    tables = []
    with Store(arguments.store, create=False) as store:
        for seed in range(arguments.seeds):
            run = Scorer(benchmark.space, "params", images, seed=seed).run
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


if __name__ == "__main__":
    main()
