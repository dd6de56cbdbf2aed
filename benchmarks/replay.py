"""Search NAS-Bench-201 with FreeREA's published scores over many seeds, and print how accurate the choices are.

    python benchmarks/replay.py [--seeds 100] [--slow-seeds 3] [--budget 250]

The search sees no accuracy. The run-off compares the ten best-scored by the split ``valid``, as if they were trained.
A target is the test accuracy that a good search reaches; the evaluations to it are the median over all seeds.
Gaussian processes take more than a minute a search, and so get few seeds and the first score alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from common import data_folder, machine, print_table

from trainless.search import replay
from trainless.strategies import STRATEGIES
from trainless.tables import BenchmarkTable, benchmark_table, published_scores

SLOW = ("gp",)
RUN_OFF = 10
TARGETS = {"cifar10": 94.0, "cifar100": 73.0, "ImageNet16-120": 46.0}
# NATS-Bench (Dong et al., 2021): regularized evolution that trains what it evaluates, 12,000 seconds of training.
TRAINED = {"cifar10": 93.92, "cifar100": 71.84, "ImageNet16-120": 45.15}
# Published for FreeREA, mean of 30 runs.
FREEREA = {"cifar10": 94.36, "cifar100": 73.51, "ImageNet16-120": 46.34}


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--slow-seeds", type=int, default=3, help="seeds of gp; 0 leaves it out")
    parser.add_argument("--budget", default="250")
    parser.add_argument("--workers", type=int, default=0, help="processes, which share caches and so slow each other")
    parser.add_argument("--checkpoint", help="file that keeps finished searches")
    parser.add_argument("--scores", nargs="+", default=["freerea", "hybrid"])
    arguments = parser.parse_args()
    folder = data_folder()
    table = benchmark_table("nasbench201", folder)
    search = partial(
        replay, table, {dataset: published_scores(f"freerea.{dataset}", folder) for dataset in TARGETS},
        budget=arguments.budget, run_off=RUN_OFF, targets=TARGETS, workers=arguments.workers,
        checkpoint=arguments.checkpoint,
    )  # fmt: skip
    fast = [name for name in STRATEGIES if name not in SLOW]
    found = search(strategies=fast, searched=arguments.scores, seeds=arguments.seeds)
    rows = list(found.rows)
    if arguments.slow_seeds:
        rows += search(strategies=SLOW, searched=arguments.scores[:1], seeds=arguments.slow_seeds).rows
    print(machine())
    print("; ".join(f"{name}: {value}" for name, value in found.protocol.items()), end="\n\n")
    print_searches(rows, found.optima)
    print("\nWhat the split valid can tell: cells by their accuracy in it, looked up in test.\n")
    print_valid(table)


def print_searches(rows: Sequence[dict[str, Any]], optima: Mapping[str, float]) -> None:
    """Print a row for each strategy, score and data set, and under those of a data set what they are held against."""
    header = ("data set", "strategy", "score", "test, %", "deviation", "after run-off, %", "deviation", "target, %",
              "reached by", "evaluations to it", "seeds", "us an evaluation", "s a seed")  # fmt: skip
    shown = [
        (row["dataset"], row["strategy"], row["score"], f"{row['mean_test']:.2f}", f"{row['std_test']:.2f}",
         f"{row['mean_test_runoff']:.2f}", f"{row['std_test_runoff']:.2f}", row["target"], f"{row['reached']:.0%}",
         f"{row['evaluations_to_target']:g}", row["seeds"], f"{row['microseconds']:.0f}",
         f"{row['microseconds'] * row['mean_evaluations'] / 1e6:.3f}")
        for row in rows
    ]  # fmt: skip
    for dataset in TARGETS:
        shown.append((dataset, "FreeREA as published", "freerea", f"{FREEREA[dataset]:.2f}", *[""] * 9))
        shown.append((dataset, "REA with training", "12,000 s", f"{TRAINED[dataset]:.2f}", *[""] * 9))
        shown.append((dataset, "optimum", "", f"{optima[dataset]:.2f}", *[""] * 9))
    order = list(TARGETS)
    print_table(header, sorted(shown, key=lambda row: order.index(str(row[0]))))


def print_valid(table: BenchmarkTable) -> None:
    """Print what the best cells by ``valid`` have in ``test``: a run-off that finds more than the best was lucky."""
    rows = []
    for dataset in TARGETS:
        valid, test = (table.accuracies(dataset, split) for split in ("valid", "test"))
        chosen = test.loc[valid.sort_values(ascending=False, kind="stable").index[:RUN_OFF]]
        better = int((test > chosen.iloc[0]).sum())
        rows.append((dataset, f"{chosen.iloc[0]:.2f}", better, f"{chosen.mean():.2f}", f"{test.max():.2f}"))
    print_table(("data set", "test of the best by valid, %", "cells with more", f"mean test of its best {RUN_OFF}, %",
                 "optimum, %"), rows)  # fmt: skip
    lucky = ", ".join(f"{dataset} above {best}" for dataset, best, better, *_ in rows if better)
    print(f"\nMore than the best by valid is luck in a run-off: {lucky or 'no data set'}.")


if __name__ == "__main__":
    main()
