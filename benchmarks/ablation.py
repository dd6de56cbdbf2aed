"""Hold the recipe of `trainless fit` against itself with each of its parts changed, on four data sets.

    python benchmarks/ablation.py [--seconds 120 | --epochs 16] [--seeds 3] [--out ablation] [--workers 2]
                                  [--data cifar10 cifar100 digits photographs] [--networks strided-resnet resnet9 cell]
                                  [--only recipe "without average" ...] [--images 9000] [--bfloat16]
                                  [--precision bf16-mixed]

Three networks may be trained, none of them searched for: the members `strided-resnet` and `resnet9` of the space
`convnet`, and a cell of NAS-Bench-201 with 16 channels. The images are CIFAR-10's in TRAINLESS_DATA (9,000 to train
on), those of the 20 commonest classes of the CIFAR-100 images there (half of them), the embedded digits, and 400
pictures of eight kinds that this script draws: shapes and textures in any colour, place and light. But for the test
images of CIFAR-10, the seed decides which images are trained on, validated and tested, and all else of a training.

A time becomes epochs by the shortest step of the network with the recipe, so that what else the machine does decides
nothing; a training is of one thread. What is finished is a line of trainings.csv in the folder of --out, and the same
command goes on from there, also after Ctrl-C. The table has the mean test accuracy over the seeds with its standard
error, the difference to the recipe with that of the paired differences, and what the mean of an image and its mirror
image brings.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import append_row, data_folder, machine, print_table, read_rows
from PIL import Image
from torch import nn

from trainless.data import ImageDataset, Splits, load_data, load_splits
from trainless.operations import MirrorAveraged
from trainless.search_spaces import search_space
from trainless.training import Devices, Recipe, train
from trainless.training.batches import Batches, batch_count
from trainless.training.precision import step_seconds
from trainless.training.recipes import fit_recipe
from trainless.types import Task
from trainless.workers.process import keep_memory

MOST_EPOCHS = 200
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
CLASSES = 20  # of CIFAR-100
KINDS, PICTURES, PIXELS = 8, 50, 48
FIELDS = (
    "data", "network", "variant", "seed", "budget", "images", "epochs", "precision", "valid", "test", "mirrored",
    "seconds",
)  # fmt: skip

Change = Callable[[Recipe], Recipe]


def changed(**values: Any) -> Change:
    """A recipe with some values changed."""
    return lambda recipe: replace(recipe, **values)


VARIANTS: dict[str, Change] = {
    "recipe": changed(),
    "AdamW for Muon": changed(optimizer="adamw", learning_rate=0.003, weight_decay=0.05),
    "SGD for Muon": changed(optimizer="sgd", learning_rate=0.1, weight_decay=5e-4),
    "half the learning rate": lambda recipe: replace(recipe, learning_rate=recipe.learning_rate / 2),
    "twice the learning rate": lambda recipe: replace(recipe, learning_rate=recipe.learning_rate * 2),
    "with weight decay": changed(weight_decay=0.05),
    "half the batch": lambda recipe: replace(recipe, batch_size=recipe.batch_size // 2),
    "twice the batch": lambda recipe: replace(recipe, batch_size=recipe.batch_size * 2),
    "without smoothing": changed(label_smoothing=0.0),
    "without average": changed(average=0.0),
    "a longer average": changed(average=0.15),
    "mirrored by chance": changed(mirror=True, alternating=False),
    "not mirrored": changed(mirror=False, alternating=False),
    "mirrored, alternating": changed(mirror=True, alternating=True),
    "not shifted": changed(shift=0.0),
    "shifted, zeros": changed(shift=1 / 8, reflected=False),
    "shifted, reflected": changed(shift=1 / 8, reflected=True),
    "neither erased nor mixed": changed(cutout=0.0, cutmix=0.0, mixup=0.0),
    "a rate that falls to 0": changed(final_rate=0.0, average=0.05),
    "a rate that falls to a fifth": changed(final_rate=0.2, average=0.1),
    "turned and sheared": changed(affine=0.15),
    "colour jitter": changed(colour_jitter=0.4),
    "turned, sheared, colour jitter": changed(affine=0.15, colour_jitter=0.4),
    "cutout": changed(cutout=0.25, cutmix=0.0, mixup=0.0),
    "CutMix": changed(cutout=0.0, cutmix=1.0, mixup=0.0),
    "mixup": changed(cutout=0.0, cutmix=0.0, mixup=0.2),
    "before": lambda recipe: Recipe(
        mirror=recipe.mirror, shift=recipe.shift and 1 / 8, batch_size=recipe.batch_size, balanced=recipe.balanced
    ),
}


def main() -> None:
    """Train and print."""
    arguments = parsed()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(f"{machine()}; one thread a training, {budget_of(arguments)}\n", flush=True)
    path = folder / "trainings.csv"
    done = {key_of(row): row for row in read_rows(path)}
    units = [unit for unit in planned(arguments) if key_of(unit) not in done]
    try:
        with multiprocessing.get_context("spawn").Pool(arguments.workers, initializer=prepare) as pool:
            rows = pool.imap_unordered(partial(trained, arguments=arguments), units)
            for number, row in enumerate(rows, 1):
                append_row(path, {name: row[name] for name in FIELDS})
                done[key_of(row)] = {name: str(row[name]) for name in FIELDS}
                print(f"{number} of {len(units)}: {row['data']}, {row['network']}, {row['variant']}, seed "
                      f"{row['seed']}: test {row['test']:.2f} % after {row['epochs']} epochs", flush=True)  # fmt: skip
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from here.")
    print_results([done[key_of(unit)] for unit in planned(arguments) if key_of(unit) in done])


def prepare() -> None:
    """Compute with one thread and memory as in a fit, and leave an interrupt to the process that all are of."""
    torch.set_num_threads(1)
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, help="of one thread, for each training")
    budget.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=[*VARIANTS, "bfloat16"])
    parser.add_argument("--images", type=int, default=9000, help="most to train on, with a part to validate")
    parser.add_argument("--bfloat16", action="store_true", help="also the recipe in bfloat16, slow where emulated")
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"), help="of all variants")
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    return parser.parse_args()


def budget_of(arguments: argparse.Namespace) -> str:
    """The length of a training in words."""
    return f"{arguments.seconds:g} s" if arguments.seconds else f"{arguments.epochs} epochs"


def planned(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All trainings, those of a seed together, and of variants only those that change the recipe there."""
    names = [*arguments.only, *(["bfloat16"] if arguments.bfloat16 and "bfloat16" not in arguments.only else [])]
    for seed in range(arguments.seeds):
        for data in arguments.data:
            recipe = recipe_for(data, arguments)
            recipes = {name: variant(name, recipe) for name in names}
            kept = [name for name in names if name in ("recipe", "bfloat16") or recipes[name] != recipe]
            for network in arguments.networks:
                for name in kept:
                    yield {"data": data, "network": network, "variant": name, "seed": seed,
                           "budget": budget_of(arguments), "images": arguments.images}  # fmt: skip


def variant(name: str, recipe: Recipe) -> Recipe:
    """The recipe of a variant."""
    return VARIANTS["recipe" if name == "bfloat16" else name](recipe)


def recipe_for(data: str, arguments: argparse.Namespace) -> Recipe:
    """The recipe of `trainless fit` for a data set, of as many epochs as a short or a long training has."""
    images = min(arguments.images, {"cifar10": 9000, "cifar100": 140, "digits": 1078, "photographs": 200}[data])
    epochs = 16 if arguments.seconds else arguments.epochs
    return fit_recipe(images, photographs=data != "digits", epochs=epochs)


def trained(unit: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a network and test it."""
    splits = images_of(unit["data"], unit["seed"], arguments.images, arguments.out)
    usual, task = recipe_for(unit["data"], arguments), splits.train.task
    recipe, network = variant(unit["variant"], usual), NETWORKS[unit["network"]](task)
    precision = "bf16-mixed" if unit["variant"] == "bfloat16" else arguments.precision
    epochs = arguments.epochs
    if arguments.seconds:
        epochs = epochs_within(arguments.seconds, network, splits.train, recipe, precision)
    result = train(
        network, splits.train, splits.valid, epochs=epochs, seed=unit["seed"], recipe=recipe, prefer_last=True,
        devices=Devices(precision=precision),
    )  # fmt: skip
    is_mirrored = usual.mirror
    return {
        **unit, "epochs": result.epochs, "precision": precision, "valid": result.valid_accuracy,
        "test": accuracy(network, splits.test), "seconds": result.seconds,
        "mirrored": accuracy(MirrorAveraged(network), splits.test) if is_mirrored else float("nan"),
    }  # fmt: skip


def epochs_within(
    seconds: float, network: nn.Module, train_set: ImageDataset, recipe: Recipe, precision: str
) -> int:  # fmt: skip
    """Epochs that a time has room for."""
    images, labels = next(iter(Batches(train_set, recipe.batch_size)))
    step = step_seconds(network.to(memory_format=torch.channels_last), images, labels, recipe, precision, most=2.0)  # type: ignore[call-overload]
    return min(MOST_EPOCHS, max(1, int(seconds / (step * batch_count(len(train_set), recipe.batch_size)))))


def accuracy(network: nn.Module, data: ImageDataset) -> float:
    """Accuracy in percent."""
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(data, 256))
    return 100 * right / len(data)


# The networks.


def member(name: str, task: Task) -> nn.Module:
    """Build a named network of the space `convnet`."""
    space = search_space("convnet")
    return space.build(space.parse(name), task)


def cell(task: Task) -> nn.Module:
    """Build the network of a cell of NAS-Bench-201."""
    space = search_space("nasbench201", channels=16, cells=2)
    return space.build(space.parse(CELL), task)


NETWORKS: dict[str, Callable[[Task], nn.Module]] = {
    **{name: partial(member, name) for name in ("strided-resnet", "resnet9")}, "cell": cell,
}  # fmt: skip


# The images.


def cifar10(seed: int, most: int, _: Path) -> Splits:
    """CIFAR-10's images, of which those to test on are given."""
    splits = load_splits(data_folder() / "cifar-10-batches-bin", fractions=(0.72, 0.08, 0.2), seed=seed)
    if most >= len(splits.train):
        return splits
    chosen = np.random.default_rng(seed).permutation(len(splits.train))[:most]
    few = replace(splits.train, images=splits.train.images[chosen], labels=splits.train.labels[chosen])
    return replace(splits, train=few)


def cifar100(seed: int, _: int, __: Path) -> Splits:
    """The commonest classes of the CIFAR-100 images, half of them to train on."""
    data = load_data(data_folder() / "image-batches" / "cifar100_960.npz")
    counts = np.bincount(data.labels, minlength=data.task.classes)
    kept = np.sort(np.argsort(-counts, kind="stable")[:CLASSES])
    chosen = np.isin(data.labels, kept)
    some = replace(
        data, task=replace(data.task, classes=CLASSES), images=data.images[chosen],
        labels=np.searchsorted(kept, data.labels[chosen]),
        class_names=tuple(data.class_names[number] for number in kept),
    )  # fmt: skip
    return load_splits(some, fractions=(0.5, 0.1, 0.4), seed=seed)


def digits(seed: int, _: int, __: Path) -> Splits:
    """The embedded digits."""
    return load_splits("digits", fractions=(0.6, 0.1, 0.3), seed=seed)


def photographs(seed: int, _: int, out: Path) -> Splits:
    """A folder of pictures."""
    folder = out / "photographs"
    draw_pictures(folder)
    return load_splits(folder, fractions=(0.5, 0.1, 0.4), seed=seed)


DATA: dict[str, Callable[[int, int, Path], Splits]] = {
    "cifar10": cifar10, "cifar100": cifar100, "digits": digits, "photographs": photographs,
}  # fmt: skip


@cache
def images_of(data: str, seed: int, most: int, out: Path) -> Splits:
    """Images in parts, read once by a process."""
    return DATA[data](seed, most, out)


def draw_pictures(folder: Path) -> None:
    """Draw a folder of pictures for each kind, where they are missing."""
    rng = np.random.default_rng(0)
    for kind in range(KINDS):
        for number in range(PICTURES):
            picture, path = drawn(kind, rng), folder / f"kind{kind}" / f"{number:03}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                # Several processes may draw: whole files alone have their name.
                partial = path.with_name(f".{path.stem}-{os.getpid()}.part")
                Image.fromarray(picture).save(partial, "png")
                partial.replace(path)


def drawn(kind: int, rng: np.random.Generator) -> np.ndarray:
    """One picture: a lit background, a shape or texture of a kind with any colour, place, size and angle, and noise."""
    y, x = np.mgrid[0:PIXELS, 0:PIXELS] / PIXELS - 0.5
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.18, 0.3)
    left, down = rng.uniform(-0.2, 0.2, 2)
    u = ((x - left) * np.cos(angle) + (y - down) * np.sin(angle)) / scale
    v = ((y - down) * np.cos(angle) - (x - left) * np.sin(angle)) / scale
    near, radius = np.maximum(abs(u), abs(v)) < 1, np.hypot(u, v)
    mask = [
        radius < 1,
        near,
        (v < 0.8) & (v > 2 * abs(u) - 1),
        (radius < 1) & (radius > 0.6),
        near & (np.minimum(abs(u), abs(v)) < 0.3),
        near & (np.sin(9 * u) > 0),
        near & (np.sin(7 * u) * np.sin(7 * v) > 0),
        (radius < 1) & (np.sin(9 * radius) > 0),
    ][kind]
    tilt = rng.normal(0, 0.5, 2)
    light = 1 + tilt[0] * x + tilt[1] * y
    back, front = rng.uniform(0.1, 0.9, 3), rng.uniform(0.1, 0.9, 3)
    waves = 0.1 * np.sin(rng.uniform(3, 25) * x + rng.uniform(3, 25) * y + rng.uniform(0, 6))
    colours = np.where(mask[..., None], front, back + waves[..., None]) * light[..., None]
    noisy = colours + rng.normal(0, rng.uniform(0.02, 0.12), colours.shape)
    return (255 * noisy.clip(0, 1)).astype(np.uint8)


# What is kept and printed.


def key_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells trainings apart."""
    return tuple(str(row[name]) for name in ("data", "network", "variant", "seed", "budget", "images"))


def print_results(rows: list[dict[str, str]]) -> None:
    """Print a table for each data set and network, and one over all."""
    groups: dict[tuple[str, str], dict[str, dict[int, dict[str, str]]]] = {}
    for row in rows:
        variants = groups.setdefault((row["data"], row["network"]), {})
        variants.setdefault(row["variant"], {})[int(row["seed"])] = row
    differences: dict[str, list[float]] = {}
    for (data, network), variants in groups.items():
        print(f"\n{data}, {network}\n")
        usual, table = tests_of(variants.get("recipe", {})), []
        for name, by_seed in variants.items():
            tests = tests_of(by_seed)
            paired = [tests[seed] - usual[seed] for seed in tests if seed in usual and name != "recipe"]
            gains = [float(row["mirrored"]) - float(row["test"]) for row in by_seed.values()]
            epochs = sorted({int(row["epochs"]) for row in by_seed.values()})
            valid = np.mean([float(row["valid"]) for row in by_seed.values()])
            table.append((
                name, len(tests), f"{epochs[0]}" + (f" to {epochs[-1]}" if len(epochs) > 1 else ""), f"{valid:.2f}",
                with_error(list(tests.values())), with_error(paired), with_error(gains),
            ))  # fmt: skip
            if paired:
                differences.setdefault(name, []).append(float(np.mean(paired)))
        print_table(("variant", "seeds", "epochs", "validation %", "test %", "difference", "by mirroring"), table)
    if not differences:
        return
    print("\nall: mean of the differences over data sets and networks, and their standard error\n")
    print_table(
        ("variant", "data sets and networks", "difference", "lowest", "highest"),
        [(name, len(values), with_error(values), f"{min(values):.2f}", f"{max(values):.2f}")
         for name, values in differences.items()],
    )  # fmt: skip


def tests_of(by_seed: Mapping[int, Mapping[str, str]]) -> dict[int, float]:
    """Test accuracies by seed."""
    return {seed: float(row["test"]) for seed, row in by_seed.items()}


def with_error(values: list[float]) -> str:
    """A mean and its standard error."""
    if not values or np.isnan(values).all():
        return ""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{error}"


if __name__ == "__main__":
    main()
