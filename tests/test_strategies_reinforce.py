"""REINFORCE: rewards, steps and draws against what NumPy computes by the formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toy_space import CHOICES, ToySpace

from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.strategies import Result
from trainless.strategies.reinforce import Reinforce
from trainless.strategies.sampling import Random
from trainless.types import Architecture

TOYS = ToySpace()
SIZES = [len(options) for options in CHOICES]


class NumPyPolicy:
    """Gradient ascent by Adam (Kingma & Ba, 2015) on the mean advantage times log-probability, plus entropy."""

    def __init__(self, learning_rate: float, entropy: float, momentum: float) -> None:
        self.learning_rate, self.entropy, self.momentum = learning_rate, entropy, momentum
        self.logits = [np.zeros(size) for size in SIZES]
        self.first, self.second = ([np.zeros(size) for size in SIZES] for _ in range(2))
        self.baseline, self.steps = 0.5, 0

    def step(self, new: list[Architecture], rewards: list[float]) -> None:
        self.steps += 1
        for place, options in enumerate(CHOICES):
            policy = np.exp(self.logits[place]) / np.exp(self.logits[place]).sum()
            ascent = np.zeros(len(options))
            for one, reward in zip(new, rewards, strict=True):
                taken = np.array([option == one.genotype[place] for option in options], dtype=float)
                ascent += (reward - self.baseline) * (taken - policy) / len(new)
            mean_log = (policy * np.log(policy)).sum()
            ascent += self.entropy * -policy * (np.log(policy) - mean_log)
            self._adam(place, -ascent)
        self.baseline = self.momentum * self.baseline + (1 - self.momentum) * float(np.mean(rewards))

    def _adam(self, place: int, gradient: np.ndarray) -> None:
        self.first[place] = 0.9 * self.first[place] + 0.1 * gradient
        self.second[place] = 0.999 * self.second[place] + 0.001 * gradient**2
        mean, square = self.first[place] / (1 - 0.9**self.steps), self.second[place] / (1 - 0.999**self.steps)
        self.logits[place] -= self.learning_rate * mean / (np.sqrt(square) + 1e-8)


def test_steps_are_those_of_the_formulas() -> None:
    strategy = Reinforce(TOYS, learning_rate=0.2, entropy=0.05, momentum=0.8)
    reference = NumPyPolicy(0.2, 0.05, 0.8)
    # Told at a time, with the relative ranks among all told until then, refused ones last.
    rounds: list[tuple[list[tuple[int, float | None]], list[float]]] = [
        ([(0, 5.0), (29, 9.0)], [0.0, 1.0]),
        ([(14, 7.0)], [0.5]),
        ([(3, None)], [0.0]),
        ([(8, 9.0), (21, None)], [4.5 / 5, 0.5 / 5]),  # a tie for the first place, and one for the last
        ([(27, 100.0)], [1.0]),
    ]
    for told, rewards in rounds:
        strategy.tell([Result(TOYS[place], () if value is None else (value,)) for place, value in told])
        reference.step([TOYS[place] for place, _ in told], rewards)
        for place, size in enumerate(SIZES):
            np.testing.assert_allclose(strategy.logits[place, :size].detach(), reference.logits[place], atol=1e-6)
        assert strategy.baseline == pytest.approx(reference.baseline)


def test_rewards_do_not_depend_on_the_scale() -> None:
    plain, scaled = Reinforce(TOYS), Reinforce(TOYS)
    for place in range(0, 30, 3):
        value = float(place % 7)
        plain.tell([Result(TOYS[place], (value,))])
        scaled.tell([Result(TOYS[place], (np.exp(3 * value) - 1e6,))])
    assert torch.equal(plain.logits, scaled.logits)


def test_draws_follow_the_policy() -> None:
    strategy = Reinforce(TOYS, seed=0)
    shares = [np.array([0.7, 0.3]), np.array([0.1, 0.3, 0.6]), np.array([0.05, 0.1, 0.15, 0.2, 0.5])]
    with torch.no_grad():
        for place, each in enumerate(shares):
            strategy.logits[place, : len(each)] = torch.from_numpy(np.log(each)) + 3
    count = 8000
    drawn = list(itertools.islice(strategy._draws(), count))
    for place, options in enumerate(CHOICES):
        found = np.array([sum(one.genotype[place] == option for one in drawn) for option in options]) / count
        # Within four and a half standard errors.
        assert (abs(found - shares[place]) < 4.5 * np.sqrt(shares[place] * (1 - shares[place]) / count)).all()


def test_what_is_known_already_is_no_step() -> None:
    strategy = Reinforce(TOYS)
    strategy.tell([Result(TOYS[0], (1.0,)), Result(TOYS[1], (2.0,))])
    logits = strategy.logits.detach().clone()
    strategy.tell([Result(TOYS[0], (3.0,))])
    assert torch.equal(strategy.logits, logits)
    assert strategy.values[TOYS[0]] == (3.0,)


def test_beats_random_search() -> None:
    space, means = search_space("nasbench201", channels=4, cells=1), []
    for kind in (Reinforce, Random):
        best = []
        for seed in range(8):
            strategy = kind(space, seed)
            for _ in range(80):
                asked = [one for one, _ in strategy.ask(2)]
                strategy.tell([Result(one, (float(one.genotype.count("nor_conv_3x3")),)) for one in asked])
            best.append(max(strategy.values.values())[0])
        means.append(np.mean(best))
    assert means[0] >= means[1] + 0.5


@pytest.mark.parametrize("options", [{"learning_rate": 0.0}, {"entropy": -1.0}, {"momentum": 1.0}])
def test_wrong_options(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected a rate above 0, an entropy of at least 0 and a momentum"):
        Reinforce(TOYS, **options)  # type: ignore[arg-type]
