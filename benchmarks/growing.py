"""Hold networks that were grown to twice the parameters against trainings of the same larger networks from scratch.

    python benchmarks/growing.py [--data digits cifar10] [--epochs 24] [--seeds 3] [--out growing] [--workers 2]

For each data set and seed a small network of the space `convnet` is trained; by `trainless.automl.descendants` the
network of nearest to twice its parameters is found that it can grow to. That one is trained from drawn weights for the
same epochs and for half of them, and grown from the small one and trained on for half of them, all by the recipe of a
fit, tested on images that no choice is made by. An epoch of the larger network takes as long whatever its weights were,
so that half the epochs are half the time, whatever else the machine does; the seconds of the small network are given
beside it. Training is on one thread. Printed are means over the seeds with 95 % intervals (Student's t), and the
differences to the whole training from scratch, seed by seed. What is finished is a line of growing.csv in the folder of
--out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import replace
from functools import partial
from itertools import product
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import append_row, data_folder, interval, machine, print_table, read_rows
from torch import nn

from trainless.automl.descendants import larger_networks
from trainless.automl.inference import logits_of
from trainless.data import Splits, load_splits
from trainless.data.splitting import part_of
from trainless.morphism import morph
from trainless.search_spaces import search_space
from trainless.training import fit_recipe, train

SPACE = search_space("convnet")
SMALL = {
    "digits": "strided8-k3w16d1.pool-k3w24d1.pool-k3w32d3.res-max8",
    "cifar10": "strided24-k3w32d1.pool-k3w48d1.pool-k3w64d3.res-max8",
}
WAYS = ("small", "larger from scratch", "larger from scratch, half", "grown, half")
GROWN = 2.0  # times the parameters


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(SMALL), choices=list(SMALL))
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=9000, help="most to train on")
    parser.add_argument("--out", type=Path, default=Path("growing"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "growing.csv"
    print(f"{machine()}; one thread a training, {arguments.epochs} epochs, at most {arguments.images:,} images\n")
    units = list(product(range(arguments.seeds), arguments.data))
    done = {unit_of(row) for row in asked(path, arguments)}
    waiting = [unit for unit in units if unit not in done]
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for rows in pool.imap_unordered(partial(trained, epochs=arguments.epochs, most=arguments.images), waiting):
            for row in rows:
                append_row(path, row)
            print(f"{rows[0]['data']}, seed {rows[0]['seed']} done", flush=True)
    print_results(asked(path, arguments))


def asked(path: Path, arguments: argparse.Namespace) -> list[dict[str, str]]:
    """The rows of a file that are of these epochs and images, those of units that are whole."""
    rows = [
        row for row in read_rows(path)
        if (int(row["epochs_asked"]), int(row["images"])) == (arguments.epochs, arguments.images)
        and row["data"] in arguments.data and int(row["seed"]) < arguments.seeds
    ]  # fmt: skip
    whole = {unit_of(row) for row in rows if row["way"] == WAYS[-1]}
    return [row for row in rows if unit_of(row) in whole]


def unit_of(row: dict[str, str]) -> tuple[int, str]:
    """Seed and data set of a row."""
    return int(row["seed"]), row["data"]


def images_of(data: str, seed: int, most: int) -> Splits:
    """The images in parts, no more of them to train on than asked for."""
    splits = load_splits(
        data if data == "digits" else data_folder() / "cifar-10-batches-bin", fractions=(0.5, 0.1, 0.4), seed=seed
    )
    return replace(splits, train=part_of(splits.train, np.arange(len(splits.train)) < most))


def trained(unit: tuple[int, str], *, epochs: int, most: int) -> list[dict[str, Any]]:
    """Train the small network, the larger one in both ways, and test them."""
    seed, data = unit
    splits = images_of(data, seed, most)
    task, small = splits.train.task, SPACE.parse(SMALL[data])
    before = SPACE.blueprint(SPACE.canonical(small), task)
    candidates = larger_networks(SPACE, small, before, task, lambda _: True)
    larger = min(candidates, key=lambda network: abs(log(SPACE.parameters(network, task) / before.parameters / GROWN)))
    after = SPACE.blueprint(larger, task)

    def row(way: str, network: nn.Module, epochs_run: int, *, is_kept: bool = False) -> dict[str, Any]:
        recipe = fit_recipe(len(splits.train), task.channels == 3, epochs=epochs_run)
        result = train(
            network, splits.train, splits.valid, epochs=epochs_run, seed=seed, recipe=recipe, prefer_last=True,
            keep_weights=is_kept, adapt_statistics=True,
        )  # fmt: skip
        right = (logits_of(network, splits.test).argmax(1).numpy() == splits.test.labels).mean()
        return {
            "data": data, "seed": seed, "epochs_asked": epochs, "images": most, "way": way, "epochs": epochs_run,
            "parameters": sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
            "test": 100 * float(right), "seconds": result.seconds,
        }  # fmt: skip

    half, first = max(1, epochs // 2), before.build()
    rows = [row(WAYS[0], first, epochs)]
    grown = morph(first, before, after, seed=seed)
    rows.append(row(WAYS[1], after.build(), epochs))
    rows.append(row(WAYS[2], after.build(), half))
    return [*rows, row(WAYS[3], grown, half, is_kept=True)]


def print_results(rows: list[dict[str, str]]) -> None:
    """Print means and differences."""
    table = []
    for data in dict.fromkeys(row["data"] for row in rows):
        found = {way: {unit_of(row): row for row in rows if (row["data"], row["way"]) == (data, way)} for way in WAYS}
        for way, by_unit in found.items():
            tests = {unit: float(row["test"]) for unit, row in by_unit.items()}
            whole = {unit: float(row["test"]) for unit, row in found[WAYS[1]].items()}
            parameters = sorted({int(row["parameters"]) for row in by_unit.values()})
            seconds = sum(float(row["seconds"]) for row in by_unit.values()) / len(by_unit)
            gains = [] if way == WAYS[1] else [tests[unit] - whole[unit] for unit in tests]
            table.append((
                data, way, " to ".join(f"{number:,}" for number in dict.fromkeys((parameters[0], parameters[-1]))),
                next(iter(by_unit.values()))["epochs"], f"{seconds:.0f}", interval(list(tests.values())),
                interval(gains) if gains else "",
            ))  # fmt: skip
    print()
    print_table(
        ("images", "network", "parameters", "epochs", "seconds", "test %", "difference to the larger from scratch"),
        table,
    )


if __name__ == "__main__":
    main()
