"""Hold the network that a search finds against hand-made ones and a random one, at equal size and equal training time.

    python benchmarks/baselines.py [--minutes 15] [--seeds 3] [--spaces nasbench201] [--out baselines] [--workers 2]

The images are CIFAR-10's in TRAINLESS_DATA: 10,000 to train on, of which a tenth validates, and 2,000 to test on. All
networks have at most 0.3 million parameters: ResNet-20 and MobileNetV2 with the greatest widths that fit, the one that
the search of `trainless fit` finds for each seed, and one drawn at random from the same space, in the same size and
within the same limit. All are trained by the same recipe, that of `trainless fit` before any tuning, and keep the epoch
that validates best.

A time of training is turned into epochs, so that what else the machine does meanwhile decides nothing: the shortest
step of each network is measured, on one thread and on all cores, the faster counts, and the network gets as many epochs
as fit into the time. Then each training runs on one thread, several at a time. What is finished is kept in the folder
of --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import data_folder, machine, print_table
from scipy import stats
from torch import nn

from trainless.automl import Plan
from trainless.automl.sizes import choose_size
from trainless.data import Splits, load_splits
from trainless.hardware import limited_threads
from trainless.operations import conv_bn_relu
from trainless.search import Budget, Limits, Search
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.training import Recipe, train
from trainless.training.batches import Batches
from trainless.types import Task

MOST_PARAMETERS = 300_000
RECIPE = Recipe(mirror=True, shift=1 / 8)
MOST_EPOCHS = 200
SEARCH_SHARE = 0.1
SHARES = (0.72, 0.08, 0.2)  # of which test is given, so a tenth of the others validates
MEASURED_STEPS, MEASURED_SECONDS = 40, 8.0


def main() -> None:
    """Search, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--spaces", nargs="+", default=["nasbench201"])
    parser.add_argument("--only", nargs="*", help="train only these networks")
    parser.add_argument("--out", type=Path, default=Path("baselines"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    splits = load_splits(data_folder() / "cifar-10-batches-bin", fractions=SHARES)
    shares = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    print(f"{machine()}; CIFAR-10 images: {shares}; at most {MOST_PARAMETERS:,} parameters; {arguments.minutes:g} "
          f"minutes of training on {os.cpu_count()} cores, batches of {RECIPE.batch_size}\n")  # fmt: skip

    seconds = 60 * arguments.minutes
    networks: dict[str, list[dict[str, Any]]] = {
        "ResNet-20": [kept(folder / "resnet.json", lambda: hand_made("resnet", splits, seconds))] * arguments.seeds,
        "MobileNetV2": [kept(folder / "mobilenet.json", lambda: hand_made("mobilenet", splits, seconds))]
        * arguments.seeds,
    }
    for name in arguments.spaces:
        size = kept(folder / f"{name}-size.json", lambda name=name: sized(name, splits, seconds))
        for kind, of in (("found", found), ("random", drawn)):
            networks[f"{kind} in {name}"] = [
                kept(folder / f"{name}-{kind}-{seed}.json",
                     lambda of=of, size=size, seed=seed: of(size, splits, seconds, seed))
                for seed in range(arguments.seeds)
            ]  # fmt: skip
    units = [
        (str(trained_file(folder, label, seed)), seed, rows[seed])
        for seed in range(arguments.seeds) for label, rows in networks.items()
        if not arguments.only or label in arguments.only
    ]  # fmt: skip
    waiting = [unit for unit in units if not Path(unit[0]).exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for sentence in pool.map(trained, repeat(splits), waiting):
            print(sentence, flush=True)
    print_results(networks, folder)


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in a file, or what is made and then in it."""
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


# Networks made by hand.


class Sum(nn.Module):
    """The sum of what two branches make, and then what comes after it."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.after = branch, shortcut, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add."""
        return self.after(self.branch(x) + self.shortcut(x))


def linear(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution with normalisation and no activation."""
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out))


def resnet(width: float, classes: int) -> nn.Module:
    """ResNet-20 for images of 32 x 32 (He et al. 2016), with 1 x 1 convolutions where the shape changes."""
    # Multiples of 8, as is usual: others compute at half the speed here.
    channels = [max(8, round(width * each / 8) * 8) for each in (16, 32, 64)]
    layers: list[nn.Module] = [conv_bn_relu(3, channels[0], 3)]
    before = channels[0]
    for stage, out in enumerate(channels):
        for block in range(3):
            stride = 2 if stage and not block else 1
            shortcut = nn.Identity() if before == out else linear(before, out, 1, stride)
            branch = nn.Sequential(conv_bn_relu(before, out, 3, stride), linear(out, out, 3))
            layers.append(Sum(branch, shortcut, nn.ReLU()))
            before = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def mobilenet(width: float, classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018) with the strides that are usual for images of 32 x 32."""

    def scaled(channels: int) -> int:
        return max(4, round(width * channels / 4) * 4)

    before = scaled(32)
    layers: list[nn.Module] = [conv_bn_relu(3, before, 3)]
    settings = (
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip
    for expansion, channels, blocks, first in settings:
        out = scaled(channels)
        for block in range(blocks):
            stride, hidden = (first if block == 0 else 1), expansion * before
            depthwise = nn.Sequential(
                nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
            )
            wide = [conv_bn_relu(before, hidden, 1)] if expansion > 1 else []
            branch = nn.Sequential(*wide, depthwise, linear(hidden, out, 1))
            is_same = stride == 1 and before == out
            layers.append(Sum(branch, nn.Identity(), nn.Identity()) if is_same else branch)
            before = out
    head = scaled(1280)
    layers.append(conv_bn_relu(before, head, 1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(head, classes))


HAND_MADE = {"resnet": resnet, "mobilenet": mobilenet}


def hand_made(kind: str, splits: Splits, seconds: float) -> dict[str, Any]:
    """The widest one within the limit."""
    classes = splits.train.task.classes
    widths = (width / 100 for width in range(200, 0, -1))
    with torch.device("meta"):
        width = next(width for width in widths if parameters(HAND_MADE[kind](width, classes)) <= MOST_PARAMETERS)
    return described({"kind": kind, "width": width, "label": f"{kind} x {width:g}"}, splits, seconds)


# Networks of a space.


def sized(name: str, splits: Splits, seconds: float) -> dict[str, Any]:
    """The size of a space at which a heavy network gets its epochs in the time."""
    size = choose_size(
        search_space(name), splits.train.task, Limits(parameters=MOST_PARAMETERS), len(splits.train), 0.85 * seconds,
        most_threads=os.cpu_count() or 1,
    )  # fmt: skip
    return {"kind": name, "options": dict(size.space.options)}


def of_size(size: dict[str, Any]) -> SearchSpace:
    """A space in a size."""
    return search_space(size["kind"], **size["options"])


def found(size: dict[str, Any], splits: Splits, seconds: float, seed: int) -> dict[str, Any]:
    """What the search of `trainless fit` finds."""
    space, plan = of_size(size), Plan(time=seconds)
    start = time.perf_counter()
    result = Search(
        space, plan.strategy, plan.score, splits.train, budget=Budget(plan.evaluations, SEARCH_SHARE * seconds),
        limits=Limits(parameters=MOST_PARAMETERS), seed=seed,
    ).run()  # fmt: skip
    search_seconds = time.perf_counter() - start
    row = {**size, "architecture": result.best, "search_seconds": search_seconds, "label": result.best}
    return described({**row, "evaluations": len(result.evaluations)}, splits, seconds)


def drawn(size: dict[str, Any], splits: Splits, seconds: float, seed: int) -> dict[str, Any]:
    """A network drawn at random within the limit."""
    space, task = of_size(size), splits.train.task
    rng = np.random.default_rng(derive_seed(seed, "baseline"))
    while True:
        one = space.canonical(space.sample(rng))
        if space.flops(one, task) > 0 and space.parameters(one, task) <= MOST_PARAMETERS:
            return described({**size, "architecture": str(one), "label": str(one)}, splits, seconds)


def build(row: dict[str, Any], task: Task) -> nn.Module:
    """Make a network from its row."""
    if row["kind"] in HAND_MADE:
        return HAND_MADE[row["kind"]](row["width"], task.classes)
    space = of_size(row)
    return space.build(space.canonical(space.parse(row["architecture"])), task)


# Times and trainings.


def described(row: dict[str, Any], splits: Splits, seconds: float) -> dict[str, Any]:
    """A row with parameters, and the epochs that there is time for."""
    network = build(row, splits.train.task)
    times = {threads: epoch_seconds(network, splits, threads) for threads in {1, os.cpu_count() or 1}}
    threads = min(times, key=times.__getitem__)
    epochs = min(MOST_EPOCHS, max(1, int(seconds / times[threads])))
    return {**row, "parameters": parameters(network), "epoch_seconds": times[threads], "threads": threads,
            "epochs": epochs}  # fmt: skip


def parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(each.numel() for each in network.parameters())


def epoch_seconds(network: nn.Module, splits: Splits, threads: int) -> float:
    """Time of an epoch and its validation, from the shortest step and the shortest inference."""
    task, batch = splits.train.task, RECIPE.batch_size
    network = network.to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, *task.input_shape).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % task.classes
    optimizer = RECIPE.make_optimizer(network)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    def inference() -> None:
        with torch.inference_mode():
            network(images)

    shortest = {}
    with limited_threads(threads):
        for function in (step, inference):
            times, end = list[float](), time.perf_counter() + MEASURED_SECONDS
            while len(times) < MEASURED_STEPS and (len(times) < 3 or time.perf_counter() < end):
                start = time.perf_counter()
                function()
                times.append(time.perf_counter() - start)
            shortest[function] = min(times)
    return (len(splits.train) * shortest[step] + len(splits.valid) * shortest[inference]) / batch


def trained(splits: Splits, unit: tuple[str, int, dict[str, Any]]) -> str:
    """Train a network, write what came out to its file, and say it."""
    path, seed, row = unit
    network = build(row, splits.train.task)
    result = train(network, splits.train, splits.valid, epochs=row["epochs"], seed=seed, recipe=RECIPE)
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(splits.test, 256))
    document = {"valid": result.valid_accuracy, "test": 100 * right / len(splits.test), "epochs": result.epochs,
                "best_epoch": result.best_epoch, "seconds": result.seconds}  # fmt: skip
    Path(path).write_text(json.dumps(document), encoding="utf-8")
    return (f"{row['label']}, seed {seed}: validation {document['valid']:.2f} %, test {document['test']:.2f} % after "
            f"{result.epochs} epochs")  # fmt: skip


def print_results(networks: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Print what each came to, and by how much the found ones are better."""
    results = {
        label: {seed: json.loads(path.read_text(encoding="utf-8")) for seed in range(len(rows))
                if (path := trained_file(folder, label, seed)).exists()}
        for label, rows in networks.items()
    }  # fmt: skip
    table = []
    for label, rows in networks.items():
        done = results[label]
        if done:
            tests, valids = ([each[part] for each in done.values()] for part in ("test", "valid"))
            table.append((
                label, " ".join(sorted({f"{row['parameters']:,}" for row in rows})),
                " ".join(sorted({str(row["epochs"]) for row in rows})), len(done), f"{np.mean(valids):.2f}",
                f"{np.mean(tests):.2f}", interval(tests), " ".join(f"{each:.2f}" for each in tests),
            ))  # fmt: skip
    print()
    print_table(("network", "parameters", "epochs", "seeds", "validation %", "test %", "95 % interval", "each"), table)
    for label in networks:
        if not label.startswith("found") or not results[label]:
            continue
        print(f"\n{label}: the search took {max(row['search_seconds'] for row in networks[label]):.0f} s at most for "
              f"{min(row['evaluations'] for row in networks[label])} architectures or more")  # fmt: skip
        for other, theirs in results.items():
            both = [seed for seed in theirs if seed in results[label] and other != label]
            if both:
                more = [results[label][seed]["test"] - theirs[seed]["test"] for seed in both]
                print(
                    f"  {np.mean(more):+.2f} points over {other} in {len(both)} seeds, 95 % interval {interval(more)}"
                )


def trained_file(folder: Path, label: str, seed: int) -> Path:
    """Where the result of a training is kept."""
    return folder / f"{label.replace(' ', '-')}-{seed}-trained.json"


def interval(values: list[float]) -> str:
    """Student's 95 % interval of a mean."""
    if len(values) < 2:
        return "one seed"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{np.mean(values) - half:.2f} to {np.mean(values) + half:.2f}"


if __name__ == "__main__":
    main()
