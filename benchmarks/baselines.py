"""Hold the network that `trainless fit` finds against others, at equal size and equal training time.

    python benchmarks/baselines.py [--minutes 5] [--seeds 3] [--only LABEL ...] [--out baselines] [--workers 2]

The images are CIFAR-10's in TRAINLESS_DATA: 10,000 to train on, of which a tenth validates, and 2,000 to test on. All
networks have at most 0.3 million parameters: the one that `trainless fit` finds from scratch in the space convnet for
each seed, and the one that it finds where it searches on beyond the named networks; one drawn at random there, and one
from NAS-Bench-201 with 16 channels and 2 cells a stage, of at least half as many parameters as allowed; the hand-made
networks of convnet like ResNet-9 and with a strided stem; ResNet-20 and MobileNetV2 with the greatest widths that fit.
All are trained by the recipe of `trainless fit` before any tuning, and ResNet-20 also by the one that it had before,
AdamW with shifted and mirrored images. The weights after the last epoch count, as in a fit.

A time of training is turned into epochs, so that what else the machine does meanwhile decides nothing: the shortest
step of each network is measured, on one thread and on all cores, in float32 and with products in bfloat16, the fastest
counts, and the network gets as many epochs as fit into the time, in that precision. Then each training runs on one
thread, several at a time; rows that came to the same network share it. What is finished is kept in the folder of --out,
and the same command goes on from there. At the end stands what the recipe, the space and the search add, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import data_folder, interval, machine, print_table
from torch import nn

from trainless.automl import Plan
from trainless.automl.pipeline import begin
from trainless.automl.plans import SCRATCH_SPACE
from trainless.automl.routes import choose_from_scratch
from trainless.data import ImageDataset, Splits, load_splits
from trainless.hardware import limited_threads
from trainless.operations import MirrorAveraged, conv_bn_relu
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.seeding import derive_seed
from trainless.training import Devices, Recipe, fit_recipe, train
from trainless.training.batches import Batches
from trainless.training.precision import step_seconds
from trainless.types import Task
from trainless.workers.process import keep_memory

MOST_PARAMETERS = 300_000
FORMER = "ResNet-20, former recipe"
MOST_EPOCHS = 200
SHARES = (0.72, 0.08, 0.2)  # of which test is given, so a tenth of the others validates
MEASURED_SECONDS = 2.0  # of each precision and number of threads
PRECISIONS = ("32-true", "bf16-mixed")
EVALUATIONS = 500  # of the search in all of the space
TRIES = 2000  # networks that are drawn until one is of the size
ADDED = (
    ("the recipe", "ResNet-20", FORMER),
    ("the space", "random of convnet", "random of nasbench201"),
    ("the search", "found by fit", "random of convnet"),
    ("the search, beside made by hand", "found by fit", "resnet9"),
    ("the same, the better of them", "found by fit", "strided-resnet"),
    ("the search beyond named networks", "found in all of convnet", "found by fit"),
)

Row = dict[str, Any]


def main() -> None:
    """Search, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="only these networks")
    parser.add_argument("--out", type=Path, default=Path("baselines"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    folder: Path = arguments.out / f"{arguments.minutes:g} minutes"
    folder.mkdir(parents=True, exist_ok=True)
    keep_memory()  # as a fit does: what is measured here is how fast it would be
    splits = load_splits(data_folder() / "cifar-10-batches-bin", fractions=SHARES)
    shares = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    print(f"{machine()}; CIFAR-10 images: {shares}; at most {MOST_PARAMETERS:,} parameters; {arguments.minutes:g} "
          f"minutes of training on {os.cpu_count()} cores\n")  # fmt: skip
    rows = {
        (label, seed): kept(
            folder / f"{label}-{seed}.json",
            lambda label=label, seed=seed: described(label, seed, splits, 60 * arguments.minutes, folder),
        )
        for seed in range(arguments.seeds)
        for label in arguments.only
    }
    units = {trained_file(folder, *key, row): (*key, row) for key, row in rows.items()}
    waiting = [(str(path), *unit) for path, unit in units.items() if not path.exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, initializer=prepare) as pool:
        for sentence in pool.map(trained, repeat(splits), waiting):
            print(sentence, flush=True)
    print_results(rows, folder)


def prepare() -> None:
    """Train on one thread, with memory as in a fit."""
    torch.set_num_threads(1)
    keep_memory()


def kept(path: Path, make: Callable[[], Row]) -> Row:
    """What is in a file, or what is made and then in it."""
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
    document: Row = json.loads(path.read_text(encoding="utf-8"))
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
    channels = [max(8, round(width * usual / 8) * 8) for usual in (16, 32, 64)]
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


def widest(make: Callable[[float, int], nn.Module], classes: int) -> float:
    """The greatest width within the limit."""
    widths = (width / 100 for width in range(200, 0, -1))
    with torch.device("meta"):
        return next(width for width in widths if parameters(make(width, classes)) <= MOST_PARAMETERS)


# What a row is made of, for each label.


def by_hand(kind: str) -> Callable[[Splits, float, int], Row]:
    """A network of this file."""
    return lambda splits, seconds, seed: {"kind": kind, "width": widest(HAND_MADE[kind], splits.train.task.classes)}


def named(name: str) -> Callable[[Splits, float, int], Row]:
    """A member of convnet."""

    def give(splits: Splits, seconds: float, seed: int) -> Row:
        space = search_space("convnet")
        return {"kind": space.spec, "architecture": str(space.canonical(space.parse(name)))}

    return give


def found(evaluations: int | None = None) -> Callable[[Splits, float, int], Row]:
    """What `trainless fit` finds from scratch in the time, by so many evaluations where they are given."""

    def find(splits: Splits, seconds: float, seed: int) -> Row:
        limits = Limits(params=MOST_PARAMETERS)
        plan = Plan(time=seconds, limits=limits, space=SCRATCH_SPACE, seed=seed, evaluations=evaluations)
        choice = choose_from_scratch(begin(splits, plan))
        return {"kind": str(choice.size.space.spec), "architecture": str(choice.architecture),
                "search_seconds": float(choice.search.evaluations["seconds"].max())}  # fmt: skip

    return find


def drawn(spec: str) -> Callable[[Splits, float, int], Row]:
    """A network drawn at random from a space within the limit, not of the small ones."""

    def draw(splits: Splits, seconds: float, seed: int) -> Row:
        space, task = search_space(spec), splits.train.task
        drawn = space.sample_within(
            np.random.default_rng(derive_seed(seed, "baseline")),
            lambda made: MOST_PARAMETERS / 2 <= space.parameters(made, task) <= MOST_PARAMETERS, TRIES,
        )  # fmt: skip
        if drawn is None:
            raise SystemExit(f"No network of {space.label} has {MOST_PARAMETERS // 2:,} parameters or more.")
        return {"kind": space.spec, "architecture": str(drawn)}

    return draw


HAND_MADE = {"resnet": resnet, "mobilenet": mobilenet}
NETWORKS: dict[str, Callable[[Splits, float, int], Row]] = {
    "found by fit": found(),
    "found in all of convnet": found(EVALUATIONS),
    "random of convnet": drawn("convnet"),
    "resnet9": named("resnet9"),
    "strided-resnet": named("strided-resnet"),
    "ResNet-20": by_hand("resnet"),
    "MobileNetV2": by_hand("mobilenet"),
    "random of nasbench201": drawn("nasbench201(channels=16, cells=2)"),
    FORMER: by_hand("resnet"),
}


def build(row: Row, task: Task) -> nn.Module:
    """Make a network from its row."""
    if row["kind"] in HAND_MADE:
        return HAND_MADE[row["kind"]](row["width"], task.classes)
    space = search_space(row["kind"])
    return space.build(space.canonical(space.parse(row["architecture"])), task)


def recipe_of(label: str, images: int, epochs: float) -> Recipe:
    """The recipe of a training."""
    return Recipe(mirror=True, shift=1 / 8) if label == FORMER else fit_recipe(images, photographs=True, epochs=epochs)


# Times and trainings.


def described(label: str, seed: int, splits: Splits, seconds: float, folder: Path) -> Row:
    """A row with parameters, and the epochs that there is time for."""
    row = NETWORKS[label](splits, seconds, seed)
    speed = kept(folder / f"{name_of(label, row)}-speed.json", lambda: fastest(label, row, splits))
    epochs = min(MOST_EPOCHS, max(1, int(seconds / speed["epoch_seconds"])))
    return {**row, **speed, "parameters": parameters(build(row, splits.train.task)), "epochs": epochs}


def name_of(label: str, row: Row) -> str:
    """One name for what is the same network and recipe."""
    network = row.get("architecture") or f"{row['kind']}{row['width']}"
    return f"{row['kind']} {network}".replace("|", "!") + (" former" if label == FORMER else "")


def parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(weight.numel() for weight in network.parameters())


def fastest(label: str, row: Row, splits: Splits) -> Row:
    """Threads and precision in which an epoch takes the shortest time, and that time."""
    network = build(row, splits.train.task).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    recipe = recipe_of(label, len(splits.train), MOST_EPOCHS)
    batch = next(iter(Batches(splits.train, recipe.batch_size)))
    times = {}
    for threads, precision in product({1, os.cpu_count() or 1}, PRECISIONS):
        with limited_threads(threads):
            step = step_seconds(network, *batch, recipe, precision, most=MEASURED_SECONDS)
        times[threads, precision] = step * len(splits.train) / recipe.batch_size
    threads, precision = min(times, key=times.__getitem__)
    return {"threads": threads, "precision": precision, "epoch_seconds": times[threads, precision]}


def trained(splits: Splits, unit: tuple[str, str, int, Row]) -> str:
    """Train a network, write what came out to its file, and say it."""
    path, label, seed, row = unit
    network = build(row, splits.train.task)
    recipe = recipe_of(label, len(splits.train), row["epochs"])
    result = train(
        network, splits.train, splits.valid, epochs=row["epochs"], seed=seed, recipe=recipe, prefer_last=True,
        devices=Devices(precision=row["precision"]),
    )  # fmt: skip
    document = {"valid": result.valid_accuracy, "test": tested(network, splits.test),
                "mirrored": tested(MirrorAveraged(network), splits.test), "seconds": result.seconds}  # fmt: skip
    Path(path).write_text(json.dumps(document), encoding="utf-8")
    return f"{label}, seed {seed}: test {document['test']:.2f} % after {result.epochs} epochs"


def tested(network: nn.Module, data: ImageDataset) -> float:
    """Accuracy in percent."""
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(data, 256))
    return 100 * right / len(data)


def print_results(rows: dict[tuple[str, int], Row], folder: Path) -> None:
    """Print what each came to, and what the parts of a fit add."""
    results: dict[str, dict[int, Row]] = {}
    for label, seed in rows:
        path = trained_file(folder, label, seed, rows[label, seed])
        if path.exists():
            results.setdefault(label, {})[seed] = {
                **rows[label, seed], **json.loads(path.read_text(encoding="utf-8"))
            }  # fmt: skip
    table = []
    for label, by_seed in results.items():
        valid, test, mirrored = ([row[part] for row in by_seed.values()] for part in ("valid", "test", "mirrored"))
        table.append((
            label, spread([row["parameters"] for row in by_seed.values()]),
            spread([row["epochs"] for row in by_seed.values()]), len(by_seed), f"{np.mean(valid):.2f}",
            interval(test), f"{np.mean(mirrored):.2f}",
        ))  # fmt: skip
    print()
    print_table(
        ("network", "parameters", "epochs", "seeds", "validation %", "test % (95 % interval)", "mirror-averaged %"),
        table,
    )
    added = []
    for what, label, other in ADDED:
        both = sorted(results.get(label, {}).keys() & results.get(other, {}).keys())
        if both:
            more = [results[label][seed]["test"] - results[other][seed]["test"] for seed in both]
            added.append((what, f"{label} - {other}", interval(more)))
    print()
    print_table(("what adds", "difference", "points (95 % interval)"), added)


def spread(numbers: list[int]) -> str:
    """One number, or the least and the most."""
    return f"{min(numbers):,}" + (f" to {max(numbers):,}" if max(numbers) > min(numbers) else "")


def trained_file(folder: Path, label: str, seed: int, row: Row) -> Path:
    """Where the result of a training is kept."""
    return folder / f"{name_of(label, row)}-{seed}-trained.json"


if __name__ == "__main__":
    main()
