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

TASKS: Mapping[str, Mapping[str, Task]] = {
    "nasbench201": _NATS,
    "nats-sss": _NATS,
    "nasbench101": {"cifar10": _CIFAR10},
    "nasbench301": {"cifar10": _CIFAR10},
    "convnet": {"cifar10": _CIFAR10, "digits": Task("digits", 10, channels=1, height=8, width=8)},
}
"""By search space, the tasks of its benchmark by data set."""
