"""Train networks from pretrained features further, for the same time, and print what it adds to a head in closed form.

    python benchmarks/further_training.py [--set cifar10-1000] [--seconds 60] [--rates 0.001] [--seeds 0] [--threads 2]
                                          [--epochs 6 20 60] [--architectures lite0-b12-r32-linear ...]

The images are those of `benchmarks/few_images.py`, of which a fifth validates. Printed is also the share of what was
wrong on the test images that is left by weights that are drawn back to those before it, and the mean of each setting.
With --epochs each training has so many, whatever the time; without, give it a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product

import pandas as pd
import torch
from common import machine, print_table
from few_images import SETS, drawn, tested
from torch import nn

from trainless.data import ImageDataset, Splits
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import train
from trainless.training.batches import Batches
from trainless.transfer import draw_back, fine_tuning_recipe, in_closed_form, normalised
from trainless.workers.process import keep_memory

BACKWARD = 3.0  # times the seconds of features, a guess for the first epoch
ARCHITECTURES = [f"lite0-b12-r{pixels}-linear" for pixels in (32, 48, 64, 96, 128)]


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="cifar10-1000", choices=list(SETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", nargs="+", type=int, default=[0], help="of each training; 0 is by the time")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()  # as a fit does
    time_said = "" if any(arguments.epochs) else f", {arguments.seconds:g} s"
    print(f"{machine()}; {arguments.set}{time_said}, {arguments.threads} threads\n")
    rows = []
    for seed in arguments.seeds:
        splits = drawn(arguments.set, seed)
        for name, rate, epochs in product(arguments.architectures, arguments.rates, arguments.epochs):
            row = trained(name, rate, epochs, seed, splits, arguments)
            rows.append((name, rate, epochs or "", seed, *row))
    columns = ["network", "rate", "of", "seed", "in closed form %", "trained further %", "drawn back %", "left wrong",
               "epochs"]  # fmt: skip
    print_table(
        columns, [tuple(f"{value:.4g}" if isinstance(value, float) else value for value in row) for row in rows]
    )
    means = pd.DataFrame(rows, columns=columns).groupby(["network", "rate", "of"], sort=False)["drawn back %"]
    print()
    print_table(
        ("network", "rate", "of", "drawn back %, mean"), [(*key, f"{mean:.2f}") for key, mean in means.mean().items()]
    )


def trained(
    name: str, rate: float, most: int, seed: int, splits: Splits, arguments: argparse.Namespace
) -> tuple[float, ...]:  # fmt: skip
    """Train one, and give the rest of its row."""
    space = Pretrained()
    architecture = space.parse(name)
    parts = normalised(splits, space.cut(architecture).backbone)
    start = time.monotonic()
    network = in_closed_form(space, architecture, parts.train, seed=seed, threads=arguments.threads)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    epoch_seconds, before = BACKWARD * (time.monotonic() - start), accuracy(network, parts.test)
    recipe = replace(fine_tuning_recipe(len(parts.train), photographs=True), learning_rate=rate)
    result = train(
        network, parts.train, parts.valid, epochs=most or 50, seed=seed, recipe=recipe, threads=arguments.threads,
        deadline=None if most else time.monotonic() + arguments.seconds, epoch_seconds=epoch_seconds, prefer_last=True,
        keep_weights=True,
    )  # fmt: skip
    after, epochs = accuracy(network, parts.test), result.epochs - 1 + result.part
    draw_back(network, weights)
    drawn_back = accuracy(network, parts.test)
    left = (100 - drawn_back) / (100 - before)
    return before, after, drawn_back, left, epochs


def accuracy(network: nn.Module, data: ImageDataset) -> float:
    """Accuracy in percent."""
    with torch.inference_mode():
        return tested(torch.cat([network(images) for images, _ in Batches(data, 256)]), data)


if __name__ == "__main__":
    main()
