"""Distillation: a network learns from the answers of another one beside the labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import kl_div

from trainless.training.loop import Loop

__all__ = ["TEMPERATURE", "WEIGHT", "DistillationLoop", "distilling"]

TEMPERATURE = 2.0
"""By which logits are divided before they become the class probabilities that are learnt from."""

WEIGHT = 0.5
"""Share of the loss that the answers of the other network have, beside that of the labels."""


class DistillationLoop(Loop):
    """Learns from labels and from the softened class probabilities of a teacher for the same augmented images.

    The loss is (1 - w) times that of the labels plus w T² times the Kullback-Leibler divergence of the class
    probabilities from the teacher's, both of logits divided by the temperature T: T² keeps the size of the gradients.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.

    Args:
        given: as for `Loop`.
        teacher: maps images as the network does, in eval mode.
        temperature: T, above 0.
        weight: w, from 0 to 1.
        options: as for `Loop`.
    """

    def __init__(
        self, *given: Any, teacher: torch.nn.Module, temperature: float, weight: float, **options: Any
    ) -> None:  # fmt: skip
        super().__init__(*given, **options)
        self.teacher, self.temperature, self.weight = teacher, temperature, weight

    def _loss_of(
        self, logits: torch.Tensor, images: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        own = super()._loss_of(logits, images, targets, weights)
        with torch.no_grad():
            answers = self.teacher.to(images.device)(images).float() / self.temperature
        softened = (logits.float() / self.temperature).log_softmax(1)
        soft = self.temperature**2 * kl_div(softened, answers.softmax(1), reduction="batchmean")
        return (1 - self.weight) * own + self.weight * soft


def distilling(
    teacher: torch.nn.Module, *, temperature: float = TEMPERATURE, weight: float = WEIGHT
) -> Callable[..., Loop]:  # fmt: skip
    """Give the loop with which `trainless.training.train` distils from a network.

    Args:
        teacher: as for `DistillationLoop`; it is put in eval mode.
        temperature: as for `DistillationLoop`.
        weight: as for `DistillationLoop`.

    Example:
        >>> from trainless.data import load_data, split
        >>> from trainless.search_spaces import search_space
        >>> from trainless.training import train
        >>> space = search_space("nasbench201", channels=4, cells=1)
        >>> train_set, valid_set = split(load_data("digits"), 0.2)
        >>> teacher, student = (space.build(space[number], train_set.task) for number in (100, 200))
        >>> _ = train(teacher, train_set, valid_set, epochs=2)
        >>> train(student, train_set, valid_set, epochs=2, loop=distilling(teacher)).epochs
        2
    """
    return partial(DistillationLoop, teacher=teacher.eval(), temperature=temperature, weight=weight)
