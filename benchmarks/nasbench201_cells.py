"""Hold aggregations against NAS-Bench-201's test accuracies, among distinct networks and among cells.

    python benchmarks/nasbench201_cells.py --store suite/scores.db --data DIR [--datasets cifar10,...] [--seeds 3]
        [--sample 1000] [--aggregations az_flow,robust,...]

The store is that of `trainless suite --spaces nasbench201` with these aggregations: nothing is scored here. The suite
draws cells and scores each distinct network once, so that those of many cells are drawn more often. A second population
is all cells that are one of the networks drawn, each with an accuracy of its own in the table, as most papers count; a
third is those of them from whose input a path leads to their output.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, print_table

from trainless.aggregation import named_aggregate
from trainless.metrics import kendall, spearman
from trainless.ranking import finite_last
from trainless.scoring import Scorer
from trainless.store import Store
from trainless.suite import Benchmark, find_benchmarks, suite_images

TOP = 10


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", required=True, help="as of the suite")
    parser.add_argument("--datasets", default="cifar10,cifar100,ImageNet16-120")
    parser.add_argument("--aggregations", default="az_flow,robust,az_nas,flops_nwot,freerea,hybrid")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print(machine(), "\n")
    (benchmark,) = find_benchmarks("nasbench201")
    rows = [row for dataset in arguments.datasets.split(",") for row in compared(benchmark, dataset, arguments)]
    print_table(
        ("data set", "aggregation", "population", "cells", "Kendall", "of the seeds", "Spearman", "first choice, %",
         f"best of the top {TOP}, %", "best, %"),
        rows,
    )  # fmt: skip


def compared(benchmark: Benchmark, dataset: str, arguments: argparse.Namespace) -> Iterator[tuple[object, ...]]:
    """Correlations in each population, the means over the seeds."""
    sample = benchmark.sample(arguments.sample)
    truth = benchmark.table.accuracies(dataset, benchmark.split(dataset))
    drawn = {str(benchmark.space.canonical(benchmark.space.parse(text))): text for text in sample}
    classes = {str(cell): str(benchmark.space.canonical(cell)) for cell in benchmark.space}  # type: ignore[attr-defined]
    cells = {cell: drawn[known] for cell, known in classes.items() if known in drawn}
    joins = {text: any(edge.live for edge in benchmark.space.graph(benchmark.space.parse(text))) for text in sample}
    connected = {cell: text for cell, text in cells.items() if joins[text]}
    images = suite_images(dataset, arguments.data)
    with Store(arguments.store, create=False) as store:
        runs = [Scorer(benchmark.space, "params", images, seed=seed).run for seed in range(arguments.seeds)]
        tables = [store.table(run).loc[sample] for run in runs]
    populations = {"distinct networks": dict(zip(sample, sample, strict=True)), "cells": cells, "connected": connected}
    for name in arguments.aggregations.split(","):
        for population, networks in populations.items():
            accuracies = truth[list(networks)].to_numpy(float)
            values = [joined(table.loc[list(networks.values())], name) for table in tables]
            taus = [kendall(own, accuracies) for own in values]
            tops = [accuracies[np.argsort(-own, kind="stable")[:TOP]] for own in values]
            yield (
                dataset, name, population, len(networks), float(np.mean(taus)),
                f"{min(taus):.3f} to {max(taus):.3f}", float(np.mean([spearman(own, accuracies) for own in values])),
                f"{np.mean([top[0] for top in tops]):.2f}", f"{np.mean([top.max() for top in tops]):.2f}",
                f"{accuracies.max():.2f}",
            )  # fmt: skip


def joined(scores: pd.DataFrame, name: str) -> np.ndarray:
    """The values of an aggregation among the networks of a population."""
    values: np.ndarray = named_aggregate(name).fit_score(scores.reset_index(drop=True)).to_numpy(float)
    return finite_last(values)


if __name__ == "__main__":
    main()
