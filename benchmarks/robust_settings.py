"""Show how an aggregation changes with batch, resolution, initialisation and seed, and what it costs.

    python benchmarks/robust_settings.py [--aggregation robust] [--sample 150] [--seeds 3] [--timed 8]
                                         [--store robust_settings.db] [--workers 2] [--tables nasbench201 ...]

The networks are distinct ones of benchmarks in the folder that TRAINLESS_DATA names, the images CIFAR-10's there,
resized where the resolution is another. Beside the correlation with the test accuracies stand how far two seeds agree,
and the seconds of one network on one thread, for the aggregation and for single scores; what else the machine does
makes these longer. Scores are kept in the store, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

import numpy as np
import torch
from common import data_folder, machine, print_table

from trainless.aggregation import named_aggregate
from trainless.data import ImageDataset, load_data
from trainless.metrics import kendall, spearman
from trainless.ranking import finite_last
from trainless.scoring import Scorer
from trainless.suite import Benchmark, find_benchmarks

SETTINGS: tuple[dict[str, object], ...] = (
    {}, {"batch_size": 16}, {"batch_size": 32}, {"batch_size": 128}, {"resolution": 16}, {"resolution": 24},
    {"resolution": 48}, {"initialization": "pytorch"},
)  # fmt: skip
SINGLE = ("nwot", "nwot, jacov", "snip", "zico")
RESOLUTION = 32


def main() -> None:
    """Score and print."""
    arguments = parsed()
    torch.set_num_threads(1)
    print(machine(), "\n")
    for name in arguments.tables:
        (benchmark,) = find_benchmarks(name)
        sample = benchmark.sample(arguments.sample)
        print(f"{name}, {len(sample)} networks, cifar10 test, {arguments.aggregation}, {arguments.seeds} seeds\n")
        rows = [row_of(benchmark, sample, dict(changed), arguments) for changed in SETTINGS]
        print_table(("setting", "Spearman", "of the seeds", "Kendall", "seed to seed", "seconds a network"), rows)
        alone = [(single, f"{seconds_of(benchmark, sample, single, {}, arguments.timed):.3f}") for single in SINGLE]
        print()
        print_table(("score", "seconds a network"), alone)
        print()


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aggregation", default="robust")
    parser.add_argument("--sample", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--timed", type=int, default=8, help="networks whose seconds are measured")
    parser.add_argument("--store", type=Path, default=Path("robust_settings.db"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--tables", nargs="+", default=["nasbench201"])
    return parser.parse_args()


def images(resolution: int) -> ImageDataset:
    """CIFAR-10's images at a resolution."""
    return load_data(data_folder() / "cifar-10-batches-bin", image_size=resolution)


def row_of(
    benchmark: Benchmark, sample: list[str], changed: dict[str, object], arguments: argparse.Namespace
) -> tuple[object, ...]:
    """What one setting comes to."""
    said = ", ".join(f"{name} {value}" for name, value in changed.items()) or "batch 64, 32 x 32, by fan out"
    seconds = seconds_of(benchmark, sample, arguments.aggregation, changed, arguments.timed)
    data = images(int(str(changed.pop("resolution", RESOLUTION))))
    truth = benchmark.table.accuracies("cifar10", benchmark.split("cifar10")).reindex(sample).to_numpy(float)
    aggregate, columns = named_aggregate(arguments.aggregation), list[np.ndarray]()
    for seed in range(arguments.seeds):
        scorer = Scorer(
            benchmark.space, aggregate.proxies, data, seed=seed, workers=arguments.workers, store=arguments.store,
            **changed,
        )  # fmt: skip
        columns.append(finite_last(aggregate.fit_score(scorer.score(sample).reset_index(drop=True)).to_numpy(float)))
    found = [spearman(column, truth) for column in columns]
    agreement = [spearman(*pair) for pair in itertools.combinations(columns, 2)]
    return (
        said, f"{np.mean(found):.3f}", ", ".join(f"{value:.3f}" for value in found),
        f"{np.mean([kendall(column, truth) for column in columns]):.3f}",
        f"{np.mean(agreement):.3f}" if agreement else "", f"{seconds:.3f}",
    )  # fmt: skip


def seconds_of(
    benchmark: Benchmark, sample: list[str], proxies: str, changed: dict[str, object], timed: int
) -> float:  # fmt: skip
    """Seconds of one network, in this process, after one that is not counted."""
    others = {name: value for name, value in changed.items() if name != "resolution"}
    data = images(int(str(changed.get("resolution", RESOLUTION))))
    scorer = Scorer(benchmark.space, proxies, data, workers=0, **others)
    scorer.score(sample[:1])
    begin = time.perf_counter()
    scorer.score(sample[1 : 1 + timed])
    return (time.perf_counter() - begin) / timed


if __name__ == "__main__":
    main()
