"""What the networks of a public benchmark were built for: the images and classes of its data sets."""

from __future__ import annotations

from collections.abc import Mapping

from trainless.types import Task

__all__ = ["TASKS"]

_CIFAR10 = Task("cifar10", 10)
_NATS = {
    "cifar10": _CIFAR10,
    "cifar100": Task("cifar100", 100),
    "ImageNet16-120": Task("ImageNet16-120", 120, height=16, width=16),
}
# Those of TransNAS-Bench-101 that are classification.
_SCENES = {
    name: Task(name, classes, height=256, width=256)
    for name, classes in {"class_object": 100, "class_scene": 63, "room_layout": 9}.items()
}

_TEXTS = {
    name: Task(name, tokens, channels=tokens, height=1, width=35)
    for name, tokens in {"ptb": 10_000, "wikitext-2": 33_278}.items()
}

TASKS: Mapping[str, Mapping[str, Task]] = {
    "nasbench201": _NATS,
    "nats_size": _NATS,
    "nasbench101": {"cifar10": _CIFAR10},
    "darts": {"cifar10": _CIFAR10},
    "nasbench_macro": {"cifar10": _CIFAR10},
    "nasbench_nlp": _TEXTS,
    "transnas_macro": _SCENES,
    "transnas_micro": _SCENES,
    "convnet": {"cifar10": _CIFAR10, "digits": Task("digits", 10, channels=1, height=8, width=8)},
}
"""By search space, the tasks of its benchmark by data set."""
