"""Hold networks that start from pretrained features against those that are fitted from scratch, on few images.

    python benchmarks/few_images.py [--minutes 2] [--seeds 3] [--sets cifar10-200 ...] [--out few_images] [--workers 2]

The sets are 200 and 1,000 images of CIFAR-10, and half of all that the file has of the 10 commonest classes of
CIFAR-100, drawn for each seed; a fifth of them validates. Of these classes it has 151, 14 to 17 each, so that 200
cannot be had: 76 are learned from. Both ways are `fit` with the same images, the same time on one thread, and at most a
million parameters, once in the space of pretrained features and once in that of networks from scratch. Tested is on
2,000 images of CIFAR-10, and on the other half. Printed are means over the seeds with 95 % intervals (Student's t), and
the difference of both ways seed by seed. What is finished is kept in the folder of --out, and the same command goes on
from there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from common import data_folder, interval, machine, print_table

from trainless.automl import Plan, fit
from trainless.data import ImageDataset, Splits, load_data, load_splits
from trainless.data.splitting import choose, part_of
from trainless.search import Limits
from trainless.seeding import derive_seed
from trainless.types import Task

LIMITS = {"params": 1_000_000}
SETS = {"cifar10-200": 200, "cifar10-1000": 1000, "cifar100": 0}  # images; 0 is half of those there are
WAYS = {"pretrained": "pretrained", "scratch": "convnet"}  # and their spaces
VALID = 0.2


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--out", type=Path, default=Path("few_images"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        f"{machine()}; {arguments.minutes:g} minutes on one thread a network, at most {LIMITS['params']:,} parameters\n"
    )
    units = [
        (str(file_of(arguments, name, way, seed)), name, way, seed, 60 * arguments.minutes)
        for seed, name, way in product(range(arguments.seeds), arguments.sets, WAYS)
    ]
    waiting = [unit for unit in units if not Path(unit[0]).exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for sentence in pool.map(fitted, waiting):
            print(sentence, flush=True)
    print_results(arguments)


def file_of(arguments: argparse.Namespace, name: str, way: str, seed: int) -> Path:
    """Where the result of one fit is kept."""
    folder: Path = arguments.out
    return folder / f"{name}-{way}-{arguments.minutes:g}-{seed}.json"


def fitted(unit: tuple[str, str, str, int, float]) -> str:
    """Fit one network, keep what it came to, and say it."""
    path, name, way, seed, seconds = unit
    plan = Plan(time=seconds, limits=Limits(LIMITS), space=WAYS[way], seed=seed, workers=1)
    found = fit(drawn(name, seed), plan)
    row = {
        "test": 100 * found.test.accuracy, "architecture": found.architecture, "seconds": sum(found.seconds.values()),
        "valid": found.training.valid_accuracy, "epochs": found.training.epochs,
    }  # fmt: skip
    Path(path).write_text(json.dumps(row), encoding="utf-8")
    return f"{name}, {way}, seed {seed}: {row['test']:.2f} % ({row['architecture']}, {row['seconds']:.0f} s)"


def drawn(name: str, seed: int) -> Splits:
    """The images of one set and seed."""
    count = SETS[name]
    if not count:
        few, test = parted(commonest(10), 0.5, seed, "drawn")
        return in_parts(few, test, seed)
    splits = load_splits(data_folder() / "cifar-10-batches-bin", image_size=32)
    few, _ = parted(splits.train, count / len(splits.train), seed, "drawn")
    return in_parts(few, splits.test, seed)


def in_parts(few: ImageDataset, test: ImageDataset, seed: int) -> Splits:
    """Give a fifth of few images to validation."""
    valid, train = parted(few, VALID, seed, "valid")
    return Splits(train, valid, test)


def parted(data: ImageDataset, share: float, seed: int, purpose: str) -> tuple[ImageDataset, ImageDataset]:
    """Draw a share of every class, and give it and the rest."""
    is_drawn = choose(data.labels, share, data.task.name, derive_seed(seed, purpose), purpose)
    return part_of(data, is_drawn), part_of(data, ~is_drawn)


def commonest(number: int) -> ImageDataset:
    """The images of the classes of CIFAR-100 that the file has most of."""
    (path,) = (data_folder() / "image-batches").glob("*cifar100*.npz")
    data = load_data(path)
    classes = np.sort(np.argsort(-np.bincount(data.labels), kind="stable")[:number])
    kept = np.isin(data.labels, classes)
    return replace(
        data, task=Task("cifar100", number), images=data.images[kept], class_names=tuple(map(str, classes)),
        labels=np.searchsorted(classes, data.labels[kept]).astype(np.int64),
    )  # fmt: skip


def print_results(arguments: argparse.Namespace) -> None:
    """Print means and differences."""
    rows = []
    for name in arguments.sets:
        values = {
            way: np.array([
                json.loads(file_of(arguments, name, way, seed).read_text(encoding="utf-8"))["test"]
                for seed in range(arguments.seeds)
            ])
            for way in WAYS
        }  # fmt: skip
        difference = values["pretrained"] - values["scratch"]
        rows.append((name, *(interval(values[way]) for way in WAYS), interval(difference)))
    print()
    print_table(("images", "pretrained, test %", "from scratch, test %", "difference"), rows)


if __name__ == "__main__":
    main()
