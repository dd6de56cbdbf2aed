"""Muon: what a step does to a matrix, against the singular value decomposition and PyTorch's own optimizers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from trainless.training import Recipe
from trainless.training.muon import Muon, orthogonalized


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_gradients(network: nn.Module, seed: int) -> nn.Module:
    for number, weight in enumerate(network.parameters()):
        weight.grad = drawn(*weight.shape, seed=100 * seed + number)
    return network


def mixed_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


class TestOrthogonalized:
    @pytest.mark.parametrize("shape", [(8, 40), (40, 8), (12, 12), (3, 5, 20)])
    def test_keeps_the_singular_vectors_and_brings_the_values_near_one(self, shape: tuple[int, ...]) -> None:
        matrices = drawn(*shape)
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        found = left.mT @ orthogonalized(matrices) @ right.mT
        diagonal = found.diagonal(dim1=-2, dim2=-1)
        assert torch.allclose(found, torch.diag_embed(diagonal), atol=1e-5)
        shares = values / values.norm(dim=-1, keepdim=True)
        assert (diagonal[shares > 0.02] > 0.68).all()
        assert (diagonal < 1.21).all()

    def test_applies_the_polynomial_to_the_singular_values(self) -> None:
        values = torch.tensor([4.0, 2.0, 1.0, 0.01])
        expected = values / values.norm()
        for _ in range(2):
            expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
        assert torch.allclose(orthogonalized(torch.diag(values), 2).diagonal(), expected, atol=1e-6)

    def test_of_zeros_are_zeros(self) -> None:
        assert orthogonalized(torch.zeros(2, 3, 4)).abs().sum() == 0


class TestMuon:
    def test_a_step_is_that_of_pytorch(self) -> None:
        # PyTorch's takes matrices alone, computes in bfloat16, and leaves the norm of weights.
        network = nn.Conv2d(3, 32, 3, bias=False).to(memory_format=torch.channels_last)
        matrix = nn.Parameter((network.weight.detach() / network.weight.detach().norm() * 32**0.5).flatten(1))
        theirs = torch.optim.Muon([matrix], 0.1, weight_decay=0.0, momentum=0.9, ns_steps=3)
        ours = Muon(network, 0.1)
        for seed in (1, 2):
            with_gradients(network, seed)
            matrix.grad = network.weight.grad.flatten(1)
            before = matrix.detach().clone()
            ours.step()
            theirs.step()
            steps = network.weight.detach().flatten(1) - before, matrix.detach() - before
            assert torch.allclose(*steps, atol=0.02 * float(steps[1].abs().max()))
            with torch.no_grad():
                matrix.mul_(32**0.5 / matrix.norm())
                network.weight.copy_(matrix.view_as(network.weight))

    def test_the_norm_is_held_where_normalisation_follows(self) -> None:
        network = mixed_network()
        Muon(with_gradients(network, 1), 1e-9).step()
        assert float(network[0].weight.detach().norm()) == pytest.approx(8**0.5, rel=1e-6)
        assert float(network[3].weight.detach().norm()) != pytest.approx(2.0, rel=1e-2)

    def test_no_norm_is_held_where_statistics_are_kept(self) -> None:
        network = mixed_network()
        network[1].eval()
        before = float(network[0].weight.detach().norm())
        Muon(with_gradients(network, 1), 1e-9).step()
        assert float(network[0].weight.detach().norm()) == pytest.approx(before, rel=1e-6)
        assert before != pytest.approx(8**0.5, rel=1e-2)

    def test_all_other_weights_are_stepped_as_by_adamw(self) -> None:
        network = mixed_network()
        plain = copy.deepcopy(network)
        others = [plain[1].weight, plain[1].bias, plain[2].weight, plain[3].bias, plain[5].weight, plain[5].bias]
        ours, theirs = Muon(network, 0.08, 0.1), torch.optim.AdamW(others, 0.02, weight_decay=0.1)
        for seed in (1, 2, 3):
            for optimizer, trained in ((ours, network), (theirs, plain)):
                with_gradients(trained, seed)
                optimizer.step()
        for name in ("1.weight", "1.bias", "2.weight", "3.bias", "5.weight", "5.bias"):
            assert torch.allclose(network.get_parameter(name), plain.get_parameter(name), atol=1e-6), name

    def test_decays_a_convolution_with_a_bias(self) -> None:
        first, second = (nn.Conv2d(2, 2, 1) for _ in range(2))
        second.load_state_dict(first.state_dict())
        before = first.weight.detach().clone()
        for layer, decay in ((first, 0.0), (second, 0.5)):
            Muon(with_gradients(layer, 1), 0.1, decay).step()
        assert torch.allclose(first.weight - second.weight, 0.05 * before, atol=1e-6)

    def test_weights_without_gradient_and_frozen_ones_stay(self) -> None:
        network = mixed_network()
        network[0].weight.requires_grad_(False)
        before = copy.deepcopy(network.state_dict())
        with_gradients(network, 1)
        network[3].weight.grad = network[5].weight.grad = None
        Muon(network, 0.1, 0.1).step()
        for name in ("0.weight", "3.weight", "5.weight"):
            assert torch.equal(network.state_dict()[name], before[name])
        assert not torch.equal(network[5].bias, before["5.bias"])

    def test_goes_on_from_its_state_bit_for_bit(self) -> None:
        whole = mixed_network()
        first = Muon(whole, 0.02, 0.1)
        with_gradients(whole, 1)
        first.step()
        resumed = copy.deepcopy(whole)
        second = Muon(resumed, 0.02, 0.1)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for optimizer, network in ((first, whole), (second, resumed)):
            with_gradients(network, 2)
            optimizer.step()
        assert all(torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True))

    def test_of_a_network_without_convolutions_all_is_adamw(self) -> None:
        network = nn.Linear(2, 2)
        optimizer = Recipe(optimizer="muon").make_optimizer(network)
        assert [group["kind"] for group in optimizer.param_groups] == ["other"]
