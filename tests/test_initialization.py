"""Initialisation: the distributions of the papers, from one stream, in a fixed order."""

from __future__ import annotations

import math

import networks
import pytest
import torch
from torch import nn

from trainless.errors import UnknownNameError
from trainless.initialization import INITIALIZATIONS, initialize


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
