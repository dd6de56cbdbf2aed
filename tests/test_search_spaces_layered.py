"""Spaces of layers that may be absent: chains, perceptrons, transformers; and hierarchies of motifs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainless.errors import ArchitectureError
from trainless.passes import Signal, plan_passes, run_passes
from trainless.proxies import proxy
from trainless.search_spaces import search_space
from trainless.search_spaces.autoformer import AutoFormer
from trainless.search_spaces.chain import Chain
from trainless.search_spaces.hierarchical import Hierarchical
from trainless.search_spaces.mlp import MLP
from trainless.testing import ProductSpaceContract
from trainless.types import Task

CIFAR10 = Task("cifar10", 10)


@pytest.mark.slow
class TestChain(ProductSpaceContract):
    space = Chain(unit=2)


@pytest.mark.slow
class TestMLP(ProductSpaceContract):
    space = MLP(unit=2)


@pytest.mark.slow
class TestAutoFormer(ProductSpaceContract):
    space = AutoFormer(unit=2)


@pytest.mark.slow
class TestHierarchical(ProductSpaceContract):
    space = Hierarchical(channels=4)


@pytest.mark.parametrize(
    ("space", "text", "told"),
    [
        (Chain(), "", "expected 1 to 8 layers"),
        (Chain(), "k0w8", "expected 1 to 8 layers"),
        (Chain(), "k3w30", "widths of 8, 16, 24"),
        (Chain(), "k7w32", "kernels of 1, 3, 5"),
        (Chain(), "-".join(["k3w8"] * 9), "expected 1 to 8 layers"),
        (MLP(), "64gelu", "a form like '256relu'"),
        (MLP(), "0relu", "expected 1 to 6 layers"),
        (AutoFormer(), "h1e1", "a form like 'w64-h4e2-h2e4'"),
        (AutoFormer(), "w50-h1e1", "widths of 32, 48"),
        (AutoFormer(), "w32", "expected 1 to 12 layers"),
        (AutoFormer(), "w32-h5e1", "heads of 1, 2, 3"),
        (Hierarchical(), "0000000000", "expected a form like"),
        (Hierarchical(), "7000000000" + 6 * "-000000", "expected a form like"),
    ],
)
def test_what_is_no_string(space: Chain, text: str, told: str) -> None:
    with pytest.raises(ArchitectureError, match=f"is no architecture of {space.name}: .*{told}"):
        space.parse(text)


@pytest.mark.parametrize("space", [Chain(), MLP(), AutoFormer()])
def test_named_architectures_are_networks(space: Chain) -> None:
    for name in space.named:
        network = space.build(space.parse(name), CIFAR10).eval()
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_a_perceptron_reads_vectors() -> None:
    task = Task("vectors", classes=3, channels=1, height=1, width=7)
    network = MLP().build(MLP().parse("16relu-8tanh"), task).eval()
    assert network(torch.randn(5, 1, 1, 7)).shape == (5, 3)


def test_attention_is_that_of_pytorch() -> None:
    network = AutoFormer(unit=2).build(AutoFormer(unit=2).parse("w64-h4e2"), CIFAR10).eval()
    attention = network.features[1].attention[1]
    tokens = torch.randn(2, 16, 8, 8)
    reference = torch.nn.MultiheadAttention(64, 4, batch_first=True)
    flat = tokens.flatten(2).transpose(1, 2)
    query, key, value = attention.project_in(flat).chunk(3, 2)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.eye(64).repeat(3, 1))
        reference.in_proj_bias.zero_()
        reference.out_proj.weight.copy_(torch.eye(64))
        reference.out_proj.bias.zero_()
    attended, _ = reference(query, key, value)
    expected = attention.project_out(attended).transpose(1, 2).unflatten(2, (8, 8))
    torch.testing.assert_close(attention(tokens), expected)


def test_patches_are_about_eight_by_eight() -> None:
    for size, rows in ((8, 8), (16, 8), (33, 8), (64, 8), (5, 5)):
        network = AutoFormer(unit=2).build(AutoFormer(unit=2).parse("tiny"), Task("any", 3, height=size, width=size))
        assert network.features[0].positions.shape[2:] == (rows, rows)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1111111111" + 6 * "-000000", "0000000000" + 6 * "-000000"),
        ("0000002000-111111-000100" + 4 * "-000000", "0000001000-000100" + 5 * "-000000"),
        ("0000003100-100000-222222-000400-111111-111111-111111", "0000001000-000400" + 5 * "-000000"),
    ],
)
def test_dead_edges_and_unused_motifs_make_no_difference(text: str, canonical: str) -> None:
    space = Hierarchical(channels=4)
    assert str(space.canonical(space.parse(text))) == canonical


@pytest.mark.parametrize("space", [Hierarchical(channels=4), Chain(unit=2)])
def test_the_canonical_network_computes_the_same(space: Hierarchical) -> None:
    for seed in range(6):
        architecture = space.sample(np.random.default_rng(seed))
        one, other = (space.build(made, CIFAR10) for made in (architecture, space.canonical(architecture)))
        for network in (one, other):
            for parameter in network.parameters():
                torch.nn.init.constant_(parameter, 0.1)
        images = torch.randn(4, 3, 16, 16)
        torch.testing.assert_close(one(images), other(images))


@pytest.mark.parametrize("name", ["chain", "mlp", "autoformer", "hierarchical", "darts"])
def test_scores_of_drawn_networks(name: str) -> None:
    """No proxy fails on a network of these spaces: what is not finite has a reason."""
    from trainless.scoring import Scorer

    space = search_space(name).sizes[-1]
    scorer = Scorer(space, "all", "digits", workers=0, batch_size=16)
    scorer.score([space.sample(np.random.default_rng(seed)) for seed in range(3)])
    assert [failure for failure in scorer.failures if "no global average pooling" not in failure.reason] == []


def test_patterns_of_attention_have_no_units_but_its_perceptrons() -> None:
    space = AutoFormer(unit=2)
    network = space.build(space.parse("w32-h2e2"), Task("digits", 10, 1, 8, 8))
    record = proxy("nwot")
    result = run_passes(network, torch.randn(4, 1, 8, 8), None, plan_passes([record]))[record.pass_spec]
    assert result.signals.relu_kernel.diagonal().tolist() == [2 * 8 * 64] * 4
    assert Signal.RELU_KERNEL in record.signals
