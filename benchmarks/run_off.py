"""Train random cells in a run-off, and print its wall-clock by workers and how well it ranks them.

    python benchmarks/run_off.py [--candidates 10] [--epochs 8] [--eta 3] [--channels 8] [--cells 2] [--workers 2]

The images are 2,500 of CIFAR-10's training images (from TRAINLESS_DATA), a fifth of which validates; networks are
smaller than the benchmark's. What the cells are worth is in the table of NAS-Bench-201, where they were trained on
25,000 images ("valid") or 50,000 ("test") for 200 epochs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from common import data_folder, machine, print_table

from trainless.data import ImageDataset, load_data, split
from trainless.metrics import kendall
from trainless.search.halving import RunOffRow, run_off
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.tables import benchmark_table
from trainless.training import TrainingResult, train
from trainless.types import Architecture

IMAGES = 2500


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"candidates": 10, "epochs": 8, "eta": 3, "channels": 8, "cells": 2, "workers": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0, help="decides which cells, which images, and all training")
    arguments = parser.parse_args()
    data = load_data(data_folder() / "cifar-10-batches-bin")
    _, images = split(data, IMAGES / len(data), arguments.seed)
    space = NASBench201(arguments.channels, arguments.cells)
    numbers = np.random.default_rng(arguments.seed).choice(space.size, arguments.candidates, replace=False)
    candidates = [space[int(number)] for number in numbers]
    print(f"{machine()}; {len(images)} images of CIFAR-10, one thread a process\n")
    _print_epochs([NASBench201(), space], candidates, images)

    rows, known = {}, dict[tuple[str, int], TrainingResult]()
    options = {"epochs": arguments.epochs, "seed": arguments.seed}
    times = {}
    for workers in (0, arguments.workers):
        start = time.perf_counter()
        rows[workers] = run_off(
            candidates, space, images, eta=arguments.eta, workers=workers, **options,
            on_result=lambda text, epochs, result: known.update({(text, epochs): result}),
        )  # fmt: skip
        times[workers] = time.perf_counter() - start
    _print_times(times, rows)
    # With so large a divisor there is one rung alone, so that all have the epochs of the last.
    whole = run_off(
        candidates, space, images, eta=len(candidates) + 1, workers=arguments.workers, done=known, **options
    )
    _print_ranking(space, candidates, images, rows[0], whole)


def _print_epochs(spaces: Sequence[NASBench201], candidates: Sequence[Architecture], images: ImageDataset) -> None:
    """Seconds of one epoch for the candidate of median cost."""
    parts = split(images, 0.2)
    _, few = split(images, 0.02)
    cell = sorted(candidates, key=lambda each: NASBench201().flops(each, images.task))[len(candidates) // 2]
    lines = []
    for space in spaces:
        train(space.build(cell, images.task), few, few, epochs=1)  # warms up
        seconds = train(space.build(cell, images.task), *parts, epochs=1).seconds
        megaflops = space.flops(cell, images.task) / 1e6
        lines.append((f"{space.channels} channels, {space.cells} cells", f"{megaflops:.1f}", f"{seconds:.2f}"))
    print(f"the cell of median cost, {cell}\n")
    print_table(["network", "million multiply-adds an image", "seconds an epoch"], lines)


def _print_times(times: dict[int, float], rows: dict[int, list[RunOffRow]]) -> None:
    """Wall-clock by workers, and whether the result is the same."""
    print()
    print_table(
        ["workers", "wall-clock of the run-off, s", "sum over its trainings, s"],
        [(n, f"{took:.1f}", f"{sum(row.seconds for row in rows[n]):.1f}") for n, took in times.items()],
    )
    places = [[(row.architecture, row.epochs, row.valid_accuracy) for row in each] for each in rows.values()]
    several = max(times)
    print(f"\n{several} workers take {times[several] / times[0]:.2f} of the time of none; "
          f"the result is {'the same' if places[0] == places[-1] else 'ANOTHER'}\n")  # fmt: skip


def _print_ranking(
    space: NASBench201, candidates: Sequence[Architecture], images: ImageDataset, rows: list[RunOffRow],
    whole: list[RunOffRow],
) -> None:  # fmt: skip
    """The run-off's order, all accuracies, and Kendall's tau of several orders to the table's."""
    table = benchmark_table("nasbench201", data_folder())
    truth = pd.DataFrame({each: table.accuracies("cifar10", each) for each in ("valid", "test")})
    names = [row.architecture for row in rows]
    truth = truth.loc[names]
    by_name = {row.architecture: row.valid_accuracy for row in whole}
    accuracies = [by_name[name] for name in names]
    flops = {str(each): space.flops(each, images.task) for each in candidates}
    most = max(row.epochs for row in rows)
    print_table(
        ["place", "epochs", "accuracy, %", f"after {most} epochs, %", "table valid, %", "table test, %", "cell"],
        [
            (place, row.epochs, f"{row.valid_accuracy:.1f}", f"{accuracy:.1f}", f"{true.valid:.2f}",
             f"{true.test:.2f}", row.architecture)
            for place, (row, accuracy, true) in enumerate(zip(rows, accuracies, truth.itertuples(), strict=True), 1)
        ],
    )  # fmt: skip
    orders = {
        "the run-off's order": [-place for place in range(len(rows))],
        f"accuracy of all after {most} epochs": accuracies,
        "multiply-adds, without training": [flops[name] for name in names],
    }
    print()
    print_table(
        ["ranked by", "tau to valid", "tau to test", "test of its first, %"],
        [
            (label, kendall(order, truth["valid"]), kendall(order, truth["test"]),
             f"{truth['test'].iloc[int(np.argmax(order))]:.2f}")
            for label, order in orders.items()
        ],
    )  # fmt: skip
    print(f"\nthe best of these cells has test {truth['test'].max():.2f}")


if __name__ == "__main__":
    main()
