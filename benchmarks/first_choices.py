"""Tell how good the networks are that a score likes best, benchmark by benchmark: what a search goes by.

    python benchmarks/first_choices.py --store suite/scores.db --data DIR [--table TABLE@SPACE ...] [--seeds 3]
        [--sample 1000] [--scores robust,flops_nwot,...]

The store is that of `benchmarks/robust.py`: nothing is scored here. For each score it prints which share of the sampled
networks is better than its first choice, than the mean of its first ten, and than the best of these, the mean over the
seeds, the data sets of a benchmark and then the benchmarks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from common import machine, print_table
from robust import FEWEST, oriented, store_parser, stored

from trainless.aggregation import NAMED_AGGREGATES, named_aggregate
from trainless.ranking import finite_last
from trainless.suite import Benchmark, find_benchmarks, suite_images

SCORES = "robust,flops_nwot,freerea,nwot,az_expressivity,logsynflow,flops"
FIRST = 10


def main() -> None:
    """Read and print."""
    parser = store_parser(__doc__)
    parser.add_argument("--scores", default=SCORES)
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.scores.split(",")]
    rows = [row for benchmark in find_benchmarks(tables=arguments.table) for row in better(benchmark, arguments, names)]
    found = pd.DataFrame(rows, columns=["score", "benchmark", "dataset", "first", "ten", "best"])
    measures = ["first", "ten", "best"]
    means = found.groupby(["score", "benchmark"], sort=False)[measures].mean()
    print(f"{machine()}; share of the networks that are better, in percent\n")
    print_table(
        ("score", "than the first choice", f"than the mean of {FIRST}", f"than the best of {FIRST}",
         *(f"{benchmark}: than the first" for benchmark in found["benchmark"].unique())),
        [
            (name, *(f"{100 * value:.1f}" for value in means.loc[name].mean()),
             *(f"{100 * value:.1f}" for value in means.loc[name, "first"]))
            for name in names
        ],
    )  # fmt: skip


def better(benchmark: Benchmark, arguments: argparse.Namespace, names: list[str]) -> Iterator[tuple[object, ...]]:
    """Shares of better networks by score, data set and seed."""
    sample = benchmark.sample(arguments.sample)
    for dataset in benchmark.datasets:
        truth = benchmark.table.accuracies(dataset, benchmark.split(dataset))
        for table in stored(benchmark, suite_images(dataset, arguments.data), arguments):
            scored = [text for text in sample if text in table.index]
            if len(scored) < FEWEST:
                continue
            accuracies = truth.reindex(scored).to_numpy(float)
            for name in names:
                parts = named_aggregate(name).proxies if name in NAMED_AGGREGATES else (name,)
                columns = [oriented(table, part, scored) for part in parts]
                values = named_aggregate(name).among(columns) if name in NAMED_AGGREGATES else columns[0]
                first = accuracies[np.argsort(-finite_last(values), kind="stable")[:FIRST]]
                shares = [float((accuracies > known).mean()) for known in (first[0], first.mean(), first.max())]
                yield name, benchmark.table.name, dataset, *shares


if __name__ == "__main__":
    main()
