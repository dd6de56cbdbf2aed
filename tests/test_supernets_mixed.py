"""Mixed networks: with one option of each choice they are the networks of the space."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.supernets import MixedNetwork
from trainless.types import Task

MIXABLE = [
    "nasbench201(channels=4, cells=2)", "darts(channels=4, layers=3)", "transnas_micro(channels=4)",
    "nasbench_macro(width=4)",
]  # fmt: skip
TASK = Task("toy", 5, height=16, width=16)
PATHS = 50


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, *TASK.input_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize("spec", MIXABLE)
def test_one_architecture_alone_is_its_network(spec: str) -> None:
    space = search_space(spec)
    mixed, rng = MixedNetwork(space, TASK).eval().double(), np.random.default_rng(0)  # sums are in another order
    with torch.no_grad():
        for buffer in mixed.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
        for _ in range(PATHS):
            architecture = space.sample(rng)
            network = mixed.subnetwork(architecture)
            assert sum(weight.numel() for weight in network.parameters()) == space.parameters(architecture, TASK)
            found, expected = mixed(images().double(), mixed.only(architecture).double()), network(images().double())
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", MIXABLE)
def test_weights_of_one_architecture_lead_to_it(spec: str) -> None:
    space, rng = search_space(spec), np.random.default_rng(1)
    relaxation = space.relaxation(TASK)
    for _ in range(20):
        architecture = space.sample(rng)
        found = relaxation.decode(relaxation.encode(architecture))
        assert space.canonical(found) == space.canonical(architecture)


def test_shares_are_a_softmax_for_each_choice() -> None:
    network = MixedNetwork(search_space(MIXABLE[0]), TASK)
    by_choice = network.by_choice(network.shares())
    assert [len(own) for own in by_choice] == [5] * 6
    torch.testing.assert_close(torch.stack([own.sum() for own in by_choice]), torch.ones(6))
    with torch.no_grad():
        network.preferences.zero_()
        for own, number in zip(network.by_choice(network.preferences), (3, 0, 1, 4, 2, 3), strict=True):
            own[number] = 1.0
    genotype = ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    assert network.architecture().genotype == genotype


def test_a_mixture_is_the_sum_of_its_operations() -> None:
    """A cell whose first edge alone has two operations gives the mean of what it gives with each of them."""
    space = search_space("nasbench201(channels=4, cells=1)")
    mixed = MixedNetwork(space, TASK).eval()
    cell, values = mixed.network.features[2], []
    base = space.parse("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    other = space.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    x = torch.randn(2, 4, 8, 8)
    for shares in (mixed.only(base), mixed.only(other), (mixed.only(base) + mixed.only(other)) / 2):
        with torch.no_grad():
            mixed(images(), shares)  # sets the shares
            values.append(cell(x))
    torch.testing.assert_close((values[0] + values[1]) / 2, values[2])


def test_what_has_no_share_is_not_computed_and_has_a_gradient() -> None:
    mixed = MixedNetwork(search_space(MIXABLE[0]), TASK)
    cell = mixed.space.parse("|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|")
    shares = mixed.only(cell).requires_grad_()
    called = []
    for weighted in mixed.mixed:
        weighted.operation.register_forward_hook(lambda *_: called.append(1))
    mixed(images(4), shares).square().sum().backward()
    assert len(called) == 6 * 6  # one for each edge of six cells
    assert shares.grad.shape == (30,)
    assert (shares.grad != 0).sum() > 6


def test_normalisations_of_what_is_mixed_have_no_gains() -> None:
    plain, affine = (MixedNetwork(search_space(MIXABLE[0]), TASK, affine=affine) for affine in (False, True))
    assert len(plain.weights) < len(affine.weights)
    network = plain.subnetwork(plain.architecture())
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("spec", ["nats_size", "mobile", "convnet", "nasbench101", "mlp", "nasbench_nlp"])
def test_spaces_that_cannot_be_mixed(spec: str) -> None:
    with pytest.raises(InputError, match="cannot be mixed"):
        MixedNetwork(search_space(spec), TASK)
