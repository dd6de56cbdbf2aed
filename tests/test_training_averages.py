"""Averages of weights: by hand."""

from __future__ import annotations

import math

import pytest
from torch import nn

from trainless.training.averages import AveragedNetwork


def filled(value: float) -> nn.Module:
    network = nn.BatchNorm1d(1)
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


class TestAveragedNetwork:
    def test_weighs_by_how_long_ago_in_the_training(self) -> None:
        averaged = AveragedNetwork(filled(0.0), 0.05)
        values = [float(step) for step in range(1, 21)]
        for value in values:
            averaged.update(filled(value), 0.01, 0.6 + 0.01 * value)
        decay = math.exp(-0.01 / 0.05)
        expected = sum((1 - decay) * decay ** (20 - value) * value for value in values)
        state = averaged.network.state_dict()
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert float(state[name]) == pytest.approx(expected, rel=1e-5)
        assert int(state["num_batches_tracked"]) == 20

    def test_early_on_a_tenth_of_what_is_done_counts(self) -> None:
        averaged = AveragedNetwork(filled(0.0), 0.05)
        averaged.update(filled(1.0), 0.001, 0.001)
        assert float(averaged.network.weight) == pytest.approx(1 - math.exp(-10), rel=1e-6)
        averaged.update(filled(3.0), 0.001, 0.002)
        assert float(averaged.network.weight) == pytest.approx(1 + 2 * (1 - math.exp(-5)), rel=1e-3)

    def test_is_a_copy_that_does_not_learn(self) -> None:
        network = filled(1.0)
        averaged = AveragedNetwork(network, 0.05)
        network.weight.data.fill_(2.0)
        assert float(averaged.network.weight) == 1.0
        assert not any(weight.requires_grad for weight in averaged.parameters())
