"""Averages of weights and of logits: by hand, within a training, and exported."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trainless.export import plain_code
from trainless.export.formats import module_of
from trainless.training.averages import AveragedNetwork, MirrorAveraged


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


class TestMirrorAveraged:
    @staticmethod
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()

    def test_is_the_mean_of_two_passes_and_alike_for_both(self) -> None:
        network, images = self.network(), torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        averaged = MirrorAveraged(network)
        with torch.no_grad():
            expected = (network(images) + network(torch.flip(images, dims=[-1]))) / 2
            assert torch.allclose(averaged(images), expected, atol=1e-6)
            assert torch.allclose(averaged(images.flip(3)), averaged(images), atol=1e-6)
            assert not torch.allclose(network(images.flip(3)), network(images), atol=1e-2)

    def test_goes_into_plain_code(self) -> None:
        averaged, images = MirrorAveraged(self.network()), torch.rand(3, 3, 8, 8)
        code = plain_code(averaged, (3, 8, 8), tuple("abcde"), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)))
        with torch.no_grad():
            assert torch.allclose(module_of(code)(images), averaged((images - mean) / std), atol=1e-5)
