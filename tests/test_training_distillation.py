"""Distillation: its loss against Hinton's formula, and what a network learns from answers alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainless.data import load_splits
from trainless.search_spaces import search_space
from trainless.training import Recipe, train
from trainless.training.distillation import distilling
from trainless.training.measures import measure_named

SPACE = search_space("nats_size(unit=2)")
DIGITS = load_splits("digits", image_size=8)


def loss(logits: list[float], answers: list[float], *, temperature: float, weight: float) -> float:
    teacher = nn.Linear(1, 3, bias=False)
    teacher.weight.data = torch.tensor(answers).view(3, 1)
    network = nn.Linear(1, 3)
    loop = distilling(teacher, temperature=temperature, weight=weight)(
        network, [], [], epochs=1, seed=0, recipe=Recipe(), measure=measure_named("accuracy", 3), weights=None,
        deadline=None, epoch_seconds=None, patience=None, until=None, resume=None, on_epoch=None,
    )  # fmt: skip
    return float(loop._loss_of(torch.tensor([logits]), torch.ones(1, 1), torch.tensor([0]), None))


def shares(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.7), (2.0, 0.0)])
def test_the_loss_is_that_of_the_paper(temperature: float, weight: float) -> None:
    logits, answers = [1.0, -0.5, 0.25], [0.3, 2.0, -1.0]
    taught, own = shares(answers, temperature), shares(logits, temperature)
    divergence = sum(p * math.log(p / q) for p, q in zip(taught, own, strict=True))
    expected = (1 - weight) * -math.log(shares(logits, 1.0)[0]) + weight * temperature**2 * divergence
    assert loss(logits, answers, temperature=temperature, weight=weight) == pytest.approx(expected, rel=1e-5)


class Swapped(nn.Module):
    """A teacher that is right of every image, and says that each is of the next class."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        known = {image.tobytes(): int(label) for image, label in zip(SEEN, DIGITS.train.labels, strict=True)}
        labels = torch.tensor([known[image.contiguous().numpy().tobytes()] for image in images])
        return 9 * nn.functional.one_hot((labels + 1) % 10, 10).float()


SEEN = ((torch.tensor(DIGITS.train.images).float() / 255 - DIGITS.train.mean[0]) / DIGITS.train.std[0]).numpy()


@pytest.mark.slow
def test_of_answers_alone_a_network_learns_what_the_teacher_says() -> None:
    network = SPACE.build(SPACE.parse("32:32:32:32:32"), DIGITS.train.task)
    teacher, valid = Swapped(), replace(DIGITS.valid, labels=(DIGITS.valid.labels + 1) % 10)
    train(
        network, DIGITS.train, valid, epochs=4, recipe=Recipe(batch_size=16),
        loop=distilling(teacher, temperature=1.0, weight=1.0),
    )  # fmt: skip
    images = torch.tensor(SEEN[:300])
    with torch.no_grad():
        agreed = (network(images).argmax(1) == teacher(images).argmax(1)).float().mean()
    assert agreed > 0.6
