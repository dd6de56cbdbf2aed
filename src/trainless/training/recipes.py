"""Hyper-parameters of a training: optimizer, learning-rate schedule, augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainless.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["OPTIMIZERS", "SCHEDULES", "Recipe", "learning_rate_at"]

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("one-cycle", "cosine")

_WARM_UP = 0.2  # share of all steps in which the learning rate of one cycle rises


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training.

    Args:
        optimizer: ``"adamw"`` (Loshchilov and Hutter 2019), or ``"sgd"`` with Nesterov momentum of 0.9.
        learning_rate: the highest one. With AdamW 0.003 was better than 0.01 on 2,000 images of CIFAR-10 after 2 and 8
            epochs, and than SGD at 0.03, 0.1 and 0.3.
        weight_decay: of all weights.
        schedule: ``"one-cycle"`` rises for a fifth of all steps and falls to 0 along a cosine, so that a training of
            few epochs is a whole one (Smith and Topin 2019, "Super-convergence"); ``"cosine"`` only falls.
        batch_size: most images in a step, at least 2; the batches of an epoch differ by at most one image. Of a few
            hundred images 16 learn faster.
        mirror: mirror each training image left to right with probability 1/2. For photographs: a mirrored 2 is no 2.
        shift: shift each training image by up to this share of its height and width.
        cutout: side of a square at a random place that is erased, as a share of the image's (DeVries and Taylor 2017).
        mixup: parameter of the Beta distribution from which the share of two mixed images is drawn (Zhang et al. 2018,
            "mixup"); 0 mixes none.
        label_smoothing: share of the target that is spread over all classes.
        balanced: weigh each class by the inverse of its number of images.

    Raises:
        InputError: a value cannot be used.

    Example:
        >>> Recipe(optimizer="adam")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The optimizer of the training is 'adam', expected one of adamw, sgd.
    """

    optimizer: str = "adamw"
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    schedule: str = "one-cycle"
    batch_size: int = 64
    mirror: bool = False
    shift: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    balanced: bool = False

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"The {name} of the training is '{getattr(self, name)}', expected one of {', '.join(known)}."
                )
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"The learning rate is {self.learning_rate}, expected a finite number above 0.")
        if not 2 <= self.batch_size < math.inf:
            raise InputError(
                f"The batch size is {self.batch_size}, expected at least 2: batch normalisation compares images."
            )
        for name, most in {"weight_decay": math.inf, "mixup": math.inf, "shift": 0.5, "cutout": 1.0,
                           "label_smoothing": 1.0}.items():  # fmt: skip
            if not (0 <= getattr(self, name) <= most and getattr(self, name) < math.inf):
                raise InputError(
                    f"The {name} of the training is {getattr(self, name)}, expected a number from 0"
                    + ("." if most == math.inf else f" to {most:g}.")
                )

    def make_optimizer(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer of a network's weights."""
        import torch

        if self.optimizer == "adamw":
            return torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            network.parameters(), self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
        )

    def rate_at(self, step: float, steps: float) -> float:
        """Compute the learning rate of a step, counted from 0; both may be parts of a step."""
        return learning_rate_at(step, steps, self.learning_rate, _WARM_UP if self.schedule == "one-cycle" else 0.0)


def learning_rate_at(step: float, steps: float, highest: float, warm_up: float = _WARM_UP) -> float:
    """Compute the learning rate of a step: a straight rise, then a cosine to 0.

    Args:
        step: counted from 0.
        steps: number of all steps.
        highest: the learning rate at the end of the rise.
        warm_up: share of all steps in which it rises.

    Example:
        >>> [round(learning_rate_at(step, 10, 1.0), 3) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rise = warm_up * steps
    if step + 1 <= rise:
        return highest * (step + 1) / rise
    return highest * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
