"""Hyper-parameters of a training: optimizer, learning-rate schedule, augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainless.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = [
    "OPTIMIZERS", "SAMPLINGS", "SCHEDULES", "SHARED_RECIPE", "Recipe", "batch_size_for", "fit_recipe",
    "learning_rate_at",
]  # fmt: skip

OPTIMIZERS = ("adamw", "muon", "sgd")
SCHEDULES = ("one-cycle", "cosine")

_WARM_UP = 0.2  # share of all steps in which the learning rate of one cycle rises
_BATCHES = ((5000, 64), (2000, 32), (0, 16))  # from how many training images on a batch has how many of them
# On 9,000 images of CIFAR-10 the accuracy of 145 epochs was highest after 100, at a third of the highest rate: 83.5 %
# of the test images, and 82.6 at the end.
# Of few images that is not so: of 140 of CIFAR-100, 200 epochs came to 29.2 % with that final rate and to 39.8 without.
_LONG_EPOCHS, _LONG_IMAGES, _FINAL_RATE, _LONG_AVERAGE = 80, 5000, 0.2, 0.1
_MANY_EPOCHS, _MIXUP = 30, 0.2  # from then on images are mixed: with fewer, what hides or mixes them costs accuracy


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training.

    Args:
        optimizer: ``"adamw"`` (Loshchilov and Hutter 2019), ``"sgd"`` with Nesterov momentum of 0.9, or ``"muon"``
            (Jordan 2024) for convolutions with AdamW at a quarter of the learning rate for the rest.
        learning_rate: the highest one. With AdamW 0.003 was better than 0.01 on 2,000 images of CIFAR-10 after 2 and 8
            epochs, and than SGD at 0.03, 0.1 and 0.3.
        weight_decay: of all weights; Muon holds the norm of convolutions that normalisation follows.
        schedule: ``"one-cycle"`` rises for a fifth of all steps and falls along a cosine, so that a training of
            few epochs is a whole one (Smith and Topin 2019, "Super-convergence"); ``"cosine"`` only falls.
        final_rate: share of the highest learning rate that the schedule falls to. In long trainings the lowest rates
            learn the images by heart.
        batch_size: most images in a step, at least 2; the batches of an epoch differ by at most one image. Of a few
            hundred images 16 learn faster.
        mirror: mirror each training image left to right with probability 1/2. For photographs: a mirrored 2 is no 2.
        alternating: where images are mirrored, mirror each in every second epoch, in which is drawn once, so that two
            epochs show both (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU").
        shift: shift each training image by up to this share of its height and width.
        reflected: fill what is shifted in by reflection at the border, in place of the mean colour.
        affine: turn each training image by up to this share of a right angle either way, and scale and shear it by as
            much.
        colour_jitter: change brightness, contrast and saturation of each training image by up to this share.
        cutout: side of a square at a random place that is erased, as a share of the image's (DeVries and Taylor 2017).
        mixup: parameter of the Beta distribution from which the share of two mixed images is drawn (Zhang et al. 2018,
            "mixup"); 0 mixes none.
        cutmix: parameter of the Beta distribution from which the area is drawn that each image keeps where a rectangle
            of another is put in (Yun et al. 2019, "CutMix"); 0 puts none in. With mixup a coin decides for each batch.
        label_smoothing: share of the target that is spread over all classes.
        average: validate, and keep, an exponential moving average of the weights, over about this share of the whole
            training, or a tenth of what is done where that is less (Polyak and Juditsky 1992); 0 averages none.
        balanced: weigh each class by the inverse of its number of images.

    Raises:
        InputError: a value cannot be used.

    Example:
        >>> Recipe(optimizer="adam")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The optimizer of the training is 'adam', expected one of adamw, muon, sgd.
    """

    optimizer: str = "adamw"
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    schedule: str = "one-cycle"
    batch_size: int = 64
    mirror: bool = False
    alternating: bool = False
    shift: float = 0.0
    reflected: bool = False
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    average: float = 0.0
    balanced: bool = False
    final_rate: float = 0.0
    affine: float = 0.0
    colour_jitter: float = 0.0

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
        for name, most in {"weight_decay": math.inf, "mixup": math.inf, "cutmix": math.inf, "shift": 0.5,
                           "affine": 0.5, "colour_jitter": 1.0, "cutout": 1.0, "label_smoothing": 1.0,
                           "average": 1.0, "final_rate": 1.0}.items():  # fmt: skip
            if not (0 <= getattr(self, name) <= most and getattr(self, name) < math.inf):
                raise InputError(
                    f"The {name} of the training is {getattr(self, name)}, expected a number from 0"
                    + ("." if most == math.inf else f" to {most:g}.")
                )

    def make_optimizer(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer of a network's weights."""
        import torch

        from trainless.training.muon import Muon

        if self.optimizer == "muon":
            return Muon(network, self.learning_rate, self.weight_decay)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            network.parameters(), self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
        )

    def rate_at(self, step: float, steps: float) -> float:
        """Compute the learning rate of a step, counted from 0; both may be parts of a step."""
        warm_up = _WARM_UP if self.schedule == "one-cycle" else 0.0
        return learning_rate_at(step, steps, self.learning_rate, warm_up, self.final_rate)


SHARED_RECIPE = Recipe(learning_rate=0.01)
"""The recipe of weights that many networks share. On digits 0.003 learnt half as much in the same epochs."""

SAMPLINGS = ("uniform", "sandwich")
"""Which of the networks that share weights learn in a step: one that is drawn; or the largest, which the smallest and
two that are drawn imitate."""


def fit_recipe(images: int, photographs: bool, *, epochs: float = 16.0, balanced: bool = False) -> Recipe:
    """Choose the recipe for a network that is trained to be used, where nothing is tuned.

    Its parts are those with which small networks learn fast from CIFAR-10 (Jordan 2024); `benchmarks/ablation.py`
    holds each of them against the recipe without it, on four data sets.

    Args:
        images: number of images to learn from: of few, a step takes few, and the rate falls to 0 however long.
        photographs: whether a mirrored image is as good as the image, and a part of it shows enough.
        epochs: about how many there will be: from many on, images are mixed, and in the end the rate stays above 0.
        balanced: as in `Recipe`.

    Example:
        >>> recipe = fit_recipe(9000, photographs=True)
        >>> recipe.optimizer, recipe.batch_size, recipe.mixup, fit_recipe(9000, photographs=True, epochs=40).mixup
        ('muon', 64, 0.0, 0.2)
    """
    plain = Recipe(
        optimizer="muon", learning_rate=0.02, weight_decay=0.0, label_smoothing=0.1, average=0.05, balanced=balanced,
        batch_size=batch_size_for(images),
    )  # fmt: skip
    if not photographs:
        return plain
    mixup = _MIXUP if epochs >= _MANY_EPOCHS else 0.0
    recipe = replace(plain, mirror=True, alternating=True, shift=1 / 8, reflected=True, mixup=mixup)
    if epochs < _LONG_EPOCHS or images < _LONG_IMAGES:
        return recipe
    return replace(recipe, final_rate=_FINAL_RATE, average=_LONG_AVERAGE)


def batch_size_for(images: int) -> int:
    """Choose the images of a step by how many there are to learn from.

    Example:
        >>> batch_size_for(500), batch_size_for(9000)
        (16, 64)
    """
    return next(batch for least, batch in _BATCHES if images >= least)


def learning_rate_at(
    step: float, steps: float, highest: float, warm_up: float = _WARM_UP, final: float = 0.0
) -> float:  # fmt: skip
    """Compute the learning rate of a step: a straight rise, then a cosine down.

    Args:
        step: counted from 0.
        steps: number of all steps.
        highest: the learning rate at the end of the rise.
        warm_up: share of all steps in which it rises.
        final: share of the highest that it falls to.

    Example:
        >>> [round(learning_rate_at(step, 10, 1.0), 3) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
        >>> round(learning_rate_at(6, 10, 1.0, final=0.2), 3)
        0.6
    """
    rise = warm_up * steps
    if step + 1 <= rise:
        return highest * (step + 1) / rise
    left = (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
    return highest * (final + (1 - final) * left)
