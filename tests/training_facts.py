"""What some short trainings come to, each of which uses other parts of the loop.

    python tests/training_facts.py > tests/trainings_before.json

The file was written when Lightning's Trainer ran the loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trainless.data import ImageDataset, load_data, split
from trainless.search_spaces import search_space
from trainless.training import Devices, Recipe, TrainingState, train
from trainless.training.recipes import fit_recipe

__all__ = ["TRAININGS", "facts"]

CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
MIXED = Recipe(
    optimizer="sgd", learning_rate=0.05, weight_decay=5e-4, schedule="cosine", batch_size=48, shift=0.1, cutout=0.2,
    mixup=0.2, cutmix=1.0, label_smoothing=0.1, average=0.1,
)  # fmt: skip


def sets() -> tuple[ImageDataset, ImageDataset]:
    """Some hundred digits to learn from, and to validate with."""
    few, _ = split(load_data("digits"), 0.7, seed=0)
    train_set, valid_set = split(few, 0.3, seed=0)
    return train_set, valid_set


def cell() -> nn.Module:
    """A small network of NAS-Bench-201."""
    space = search_space("nasbench201", channels=4, cells=1)
    return space.build(space.parse(CELL), sets()[0].task)


def with_dropout() -> nn.Module:
    """A network that draws while it learns."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))


def told(network: nn.Module, **options: Any) -> dict[str, Any]:
    """What a training comes to."""
    result = train(network, *sets(), threads=1, **options)
    return {
        "losses": result.train_losses,
        "accuracies": result.valid_accuracies,
        "best": result.best_epoch,
        "measure": result.worth,
        "part": result.part,
        "weights": sum(float(weight.detach().double().abs().sum()) for weight in network.parameters()),
        "buffers": sum(float(buffer.double().abs().sum()) for buffer in network.buffers()),
        "modes": sorted({module.training for module in network.modules()}),
    }


def resumed() -> dict[str, Any]:
    """Two epochs of four, and the others in a second call."""
    states: list[TrainingState] = []
    train(cell(), *sets(), threads=1, epochs=4, until=2, recipe=MIXED, on_epoch=states.append)
    return told(cell(), epochs=4, recipe=MIXED, resume=states[-1])


def statistics_kept() -> dict[str, Any]:
    """A training from the weights that there are."""
    network = cell()
    train(network, *sets(), threads=1, epochs=1)
    return told(network, epochs=2, keep_weights=True)


TRAININGS: dict[str, Callable[[], dict[str, Any]]] = {
    "usual": lambda: told(cell(), epochs=3),
    "mixed images, sgd": lambda: told(cell(), epochs=4, recipe=MIXED),
    "recipe of a fit": lambda: told(
        cell(), epochs=3, recipe=replace(fit_recipe(400, photographs=True, epochs=3), cutout=0.25)
    ),
    "dropout": lambda: told(with_dropout(), epochs=3, seed=1),
    "patience": lambda: told(cell(), epochs=8, patience=1, recipe=Recipe(optimizer="sgd", learning_rate=1.0)),
    "resumed": resumed,
    "balanced": lambda: told(cell(), epochs=2, recipe=Recipe(balanced=True), measure="balanced-accuracy"),
    "statistics kept": statistics_kept,
    "last preferred": lambda: told(cell(), epochs=3, prefer_last=True),
    "bfloat16": lambda: told(cell(), epochs=2, devices=Devices(precision="bf16-mixed")),
    "no time but for one epoch": lambda: told(cell(), epochs=30, deadline=0.0),
}


def facts(key: str) -> dict[str, Any]:
    """What one of the trainings comes to."""
    torch.manual_seed(0)
    return TRAININGS[key]()


if __name__ == "__main__":
    print(json.dumps({key: facts(key) for key in TRAININGS}, indent=1))
