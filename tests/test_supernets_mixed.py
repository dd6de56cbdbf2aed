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


def test_what_is_not_kept_has_no_share_and_no_operation() -> None:
    space = search_space("nasbench201(channels=4, cells=1)")
    whole, kept = MixedNetwork(space, TASK), [*range(0, 30, 5), *range(3, 30, 5)]  # none and the larger convolution
    part = MixedNetwork(space, TASK, kept=kept)
    assert [number for number, share in enumerate(part.shares()) if share] == sorted(kept)
    assert sum(weight.numel() for weight in part.parameters()) < sum(weight.numel() for weight in whole.parameters())
    cell = space.make(["nor_conv_3x3"] * 6)
    assert part.subnetwork(cell)(images()).shape == (2, 5)
    with pytest.raises(InputError, match="has options that are left out"):
        part.subnetwork(space.make(["skip_connect"] * 6))
    with pytest.raises(InputError, match=r"None of the options \[5, 6, 7, 8, 9\] of choice 1 is kept"):
        MixedNetwork(space, TASK, kept=[0, *range(10, 30)])


@pytest.mark.parametrize("spec", MIXABLE)
def test_partial_operations_hand_on_the_other_channels(spec: str) -> None:
    space = search_space(spec)
    mixed = MixedNetwork(space, TASK, partial=4, weighs_edges=True)
    assert mixed(images(4)).shape == (4, 5)
    whole = MixedNetwork(space, TASK)
    assert sum(weight.numel() for weight in mixed.weights) < sum(weight.numel() for weight in whole.weights)
    with pytest.raises(InputError, match="Operations on one of 4 parts"):
        mixed.subnetwork(space.sample(np.random.default_rng(0)))


def test_a_part_is_changed_and_all_is_shuffled() -> None:
    mixed = MixedNetwork(search_space("nasbench201(channels=4, cells=1)"), TASK, partial=4)
    skip = next(part for part in mixed.mixed if part.is_skip)
    zero = next(part for part in mixed.mixed if part.numbers == [0])
    x = torch.arange(4.0).reshape(1, 4, 1, 1).expand(1, 4, 8, 8)
    for part in (skip, zero):
        part.share = torch.tensor(1.0)
    torch.testing.assert_close(skip(x)[0, :, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(zero(x + 1)[0, :, 0, 0], torch.tensor([0.0, 2.0, 3.0, 4.0]))


def test_edges_into_one_value_are_weighed_against_each_other() -> None:
    mixed = MixedNetwork(search_space("nasbench201(channels=4, cells=1)"), TASK, weighs_edges=True)
    sums = [float(own.sum()) for own in mixed.by_choice(mixed.shares().detach())]
    assert sums == pytest.approx([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    with torch.no_grad():
        mixed.edges[2] = 50.0
    sums = [float(own.sum()) for own in mixed.by_choice(mixed.shares().detach())]
    assert sums == pytest.approx([1, 0, 1, 1 / 3, 1 / 3, 1 / 3], abs=1e-6)
    mixed.shares()[5].backward()
    assert mixed.edges.grad[1] > 0 > mixed.edges.grad[2]


@pytest.mark.parametrize(
    ("spec", "choices", "first"),
    [
        (MIXABLE[0], 6, ("input to 1", "none")), (MIXABLE[1], 28, ("cell 1: 0 to 2", "max pool")),
        (MIXABLE[2], 6, ("input to 1", "none")), (MIXABLE[3], 8, ("choice 1: stage 1: input to output", "0")),
    ],
)  # fmt: skip
def test_options_are_named_by_their_edges(spec: str, choices: int, first: tuple[str, str]) -> None:
    labels = MixedNetwork(search_space(spec), TASK).labels()
    assert labels[0] == first
    assert len(set(labels)) == len(labels)
    assert len({choice for choice, _ in labels}) == choices
