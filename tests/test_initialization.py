"""Initialisation: the distributions of the papers, from one stream, in a fixed order."""

from __future__ import annotations

import math

import networks
import numpy as np
import pytest
import torch
from torch import nn

from trainless.data import ImageDataset, load_data
from trainless.errors import UnknownNameError
from trainless.initialization import INITIALIZATIONS, derive_from_data, initialize
from trainless.operations import Whitening
from trainless.types import Task


def drawn(scheme: str, seed: int = 0) -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Linear(256, 128), nn.LayerNorm(128))
    initialize(network, scheme, torch.Generator().manual_seed(seed))
    return network


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [
        ("kaiming_normal_fan_out", math.sqrt(2 / (64 * 9))),
        ("kaiming_normal_fan_in", math.sqrt(2 / (32 * 9))),
        ("pytorch", math.sqrt(1 / (3 * 32 * 9))),  # uniform on ±1/√fan_in
        ("normal", 1.0),
    ],
)
def test_deviation_of_convolutions(scheme: str, deviation: float) -> None:
    weight = drawn(scheme)[0].weight.detach()
    assert float(weight.std()) == pytest.approx(deviation, rel=0.03)
    assert float(weight.mean()) == pytest.approx(0, abs=0.03 * deviation)


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_linear_layers_and_biases(scheme: str) -> None:
    network = drawn(scheme)
    expected = 1.0 if scheme == "normal" else math.sqrt(1 / (3 * 256))
    assert float(network[2].weight.detach().std()) == pytest.approx(expected, rel=0.03)
    if scheme == "pytorch":
        assert float(network[0].bias.detach().abs().max()) <= 1 / math.sqrt(32 * 9)
        assert float(network[0].bias.detach().std()) > 0
    else:
        assert float(network[0].bias.detach().abs().max()) == 0


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_the_generator_alone_decides(scheme: str) -> None:
    state = torch.get_rng_state()
    first, same, other = drawn(scheme), drawn(scheme), drawn(scheme, seed=1)
    assert torch.equal(first[0].weight, same[0].weight)
    assert torch.equal(first[2].weight, same[2].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    # Building draws from the global stream, initialising does not.
    torch.set_rng_state(state)
    nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Linear(256, 128), nn.LayerNorm(128))
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    drawn(scheme)
    assert torch.equal(torch.get_rng_state(), after)


def test_normalisations_become_one_and_zero() -> None:
    network = networks.build("mobile")
    norm = network.norms[0]
    with torch.no_grad():
        norm.weight.fill_(3)
        norm.running_var.fill_(7)
    initialize(network)
    assert norm.weight.unique().tolist() == [1]
    assert norm.running_var.unique().tolist() == [1]


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="There is no initialization 'kaiming'"):
        initialize(nn.Linear(1, 1), "kaiming")


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_frozen_layers_stay_and_leave_the_stream_alone(scheme: str) -> None:
    whitening, after, alone = Whitening(3), nn.Conv2d(27, 4, 1), nn.Conv2d(27, 4, 1)
    initialize(nn.Sequential(whitening, after), scheme, torch.Generator().manual_seed(0))
    initialize(alone, scheme, torch.Generator().manual_seed(0))
    assert torch.equal(whitening.convolution.weight, Whitening(3).convolution.weight)
    assert torch.equal(after.weight, alone.weight)


class TestDerivedFromData:
    def test_whitening_is_that_of_the_normalised_images(self) -> None:
        digits, layer, expected = load_data("digits"), Whitening(1), Whitening(1)
        derive_from_data(nn.Sequential(layer, nn.ReLU()), digits)
        expected.derive((torch.tensor(digits.images) / 255 - digits.mean[0]) / digits.std[0])
        assert torch.equal(layer.convolution.weight, expected.convolution.weight)

    def test_of_many_images_every_second_is_taken_whatever_its_label(self) -> None:
        count = 2**22 // 64**2  # twice as many patches as are needed
        images = np.random.default_rng(0).integers(0, 256, (count, 1, 64, 64), dtype=np.uint8)
        layers = []
        for step, labels in ((1, np.arange(count) % 2), (2, np.arange(count) * 2 // count)):
            layers.append(Whitening(1))
            task = Task("many", 2, 1, 64, 64)
            dataset = ImageDataset(task, images[::step], labels[::step], ("a", "b"), mean=(0.5,), std=(0.25,))
            derive_from_data(layers[-1], dataset)
        assert torch.equal(layers[0].convolution.weight, layers[1].convolution.weight)

    def test_other_networks_stay_as_they_are(self) -> None:
        network = networks.build("plain")
        before = {name: value.clone() for name, value in network.state_dict().items()}
        derive_from_data(network, load_data("digits"))
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
