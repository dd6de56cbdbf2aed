"""The blocks that networks are built from, against their formulas written out."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.export import plain_code
from trainless.export.formats import module_of
from trainless.operations import (
    Cell,
    Divide,
    GlobalMaxPool,
    MirrorAveraged,
    ReductionBlock,
    Residual,
    SqueezeExcite,
    Whitening,
    Zero,
    average_pooling,
    conv_bn_relu,
    inverted_residual,
    relu_conv_bn,
)


def images(channels: int = 3, height: int = 6, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, dtype=torch.float64, generator=generator)


class Times(nn.Module):
    """Multiplies by a number and counts how often it is asked to."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.calls = factor, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.factor


class TestReluConvBn:
    @pytest.mark.parametrize("kernel_size", [1, 3])
    def test_it_is_its_formula(self, kernel_size: int) -> None:
        block, x = relu_conv_bn(3, 4, kernel_size).double(), images()
        (weight,) = (each for name, each in block.named_parameters() if each.dim() == 4)
        y = F.conv2d(x.clamp(min=0), weight, padding=(kernel_size - 1) // 2)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        torch.testing.assert_close(block(x), (y - mean) / (variance + 1e-5).sqrt())

    @pytest.mark.parametrize(("kernel_size", "parameters"), [(1, 3 * 4 + 8), (3, 3 * 4 * 9 + 8)])
    def test_the_convolution_has_no_bias(self, kernel_size: int, parameters: int) -> None:
        assert sum(each.numel() for each in relu_conv_bn(3, 4, kernel_size).parameters()) == parameters

    def test_the_input_is_not_changed(self) -> None:
        x = images()
        before = x.clone()
        relu_conv_bn(3, 4, 3).double()(x)
        assert torch.equal(x, before)


class TestConvBnRelu:
    @pytest.mark.parametrize("groups", [1, 3])
    def test_it_is_its_formula(self, groups: int) -> None:
        block, x = conv_bn_relu(3, 6, 5, stride=2, groups=groups).double(), images()
        (weight,) = (each for name, each in block.named_parameters() if each.dim() == 4)
        y = F.conv2d(x, weight, stride=2, padding=2, groups=groups)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        torch.testing.assert_close(block(x), ((y - mean) / (variance + 1e-5).sqrt()).clamp(min=0))


class TestInvertedResidual:
    @pytest.mark.parametrize("squeeze", [0, 2])
    def test_it_is_wide_inside_and_linear_at_its_end(self, squeeze: int) -> None:
        block = inverted_residual(3, 5, 7, expansion=4, stride=2, squeeze=squeeze).double()
        convolutions = [each for each in block.modules() if isinstance(each, nn.Conv2d)]
        shapes = [tuple(each.weight.shape) for each in convolutions]
        gate = [(2, 12, 1, 1), (12, 2, 1, 1)] if squeeze else []
        assert shapes == [(12, 3, 1, 1), (12, 1, 7, 7), *gate, (5, 12, 1, 1)]
        assert [each.bias is None for each in convolutions] == [True, True, *[False] * len(gate), True]
        y = block(images())
        assert y.shape == (2, 5, 3, 3)
        assert bool((y < 0).any())


class TestSqueezeExcite:
    def test_it_is_its_formula(self) -> None:
        block, x = SqueezeExcite(3, 2).double(), images()
        first, second = (each for each in block.modules() if isinstance(each, nn.Conv2d))
        hidden = (x.mean((2, 3)) @ first.weight.flatten(1).t() + first.bias).clamp(min=0)
        gate = 1 / (1 + torch.exp(-(hidden @ second.weight.flatten(1).t() + second.bias)))
        torch.testing.assert_close(block(x), x * gate[:, :, None, None])


class TestResidual:
    def test_it_adds_and_leaves_its_input(self) -> None:
        x = images()
        before = x.clone()
        torch.testing.assert_close(Residual(Times(3.0))(x), 4 * x)
        assert torch.equal(x, before)


class TestAveragePooling:
    def test_it_is_the_mean_of_the_neighbors_there_are(self) -> None:
        x = images()
        expected = torch.empty_like(x)
        for row, column in itertools.product(range(6), range(5)):
            window = x[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            expected[:, :, row, column] = window.mean((2, 3))
        torch.testing.assert_close(average_pooling()(x), expected)


def correlated(count: int = 20) -> torch.Tensor:
    """Images whose neighbouring pixels and channels are alike."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 3, 9, 8, generator=generator)
    return F.avg_pool2d(noise, 3, 1)[:, [0, 0, 1]] + 0.3 * noise[:, :, 1:-1, 1:-1]


class TestWhitening:
    def test_before_it_has_seen_images_its_filters_are_orthonormal_and_the_first_constant(self) -> None:
        layer = Whitening(3)
        filters = layer.convolution.weight.flatten(1)
        torch.testing.assert_close(filters @ filters.t(), torch.eye(27))
        torch.testing.assert_close(filters[0], torch.full((27,), 27**-0.5))
        assert torch.equal(layer.convolution.weight, Whitening(3).convolution.weight)
        assert not any(weight.requires_grad for weight in layer.parameters())

    def test_the_values_of_a_patch_become_uncorrelated_with_variance_1(self) -> None:
        layer, x = Whitening(3), correlated()
        layer.derive(x, epsilon=1e-9)
        values = layer(x).transpose(0, 1).flatten(1)
        torch.testing.assert_close(values @ values.t() / values.shape[1], torch.eye(27), atol=1e-4, rtol=0)

    def test_its_filters_are_eigenvectors_by_falling_eigenvalues(self) -> None:
        # Moments by loops over pixels and NumPy, in place of unfolded images.
        layer, x = Whitening(2), correlated()[:, :2]
        layer.derive(x)
        padded = F.pad(x, (1, 1, 1, 1)).double().numpy()
        patches = np.array([
            padded[:, :, row : row + 3, column : column + 3].reshape(len(x), -1)
            for row, column in itertools.product(range(7), range(6))
        ]).reshape(-1, 18)  # fmt: skip
        moments = patches.T @ patches / len(patches)
        filters = layer.convolution.weight.detach().flatten(1).double().numpy()
        variances = np.sort(np.linalg.eigvalsh(moments))[::-1]
        # A filter is an eigenvector v / sqrt(λ + ε), so that its moment is λ / (λ + ε).
        np.testing.assert_allclose(filters @ moments @ filters.T, np.diag(variances / (variances + 1e-2)), atol=1e-4)
        np.testing.assert_allclose((filters**2).sum(1), 1 / (variances + 1e-2), rtol=1e-4)
        assert (filters[range(18), np.abs(filters).argmax(1)] > 0).all()

    def test_channels_without_any_variance_stay_finite(self) -> None:
        layer = Whitening(1)
        layer.derive(torch.zeros(3, 1, 4, 4))
        assert layer.convolution.weight.isfinite().all()


class TestHeads:
    def test_the_largest_value_of_a_channel_is_kept(self) -> None:
        x = images()
        assert torch.equal(GlobalMaxPool()(x), F.adaptive_max_pool2d(x, 1))

    def test_a_divisor_divides(self) -> None:
        assert torch.equal(Divide(4)(images()), images() * 0.25)


class TestZero:
    def test_the_gradient_is_zero_and_not_missing(self) -> None:
        x = images().requires_grad_()
        y = Zero()(x)
        assert torch.equal(y, torch.zeros_like(x))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, torch.zeros_like(x))


class TestReductionBlock:
    @pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 7), (1, 3)])
    def test_it_halves_the_image_and_rounds_up(self, height: int, width: int) -> None:
        block = ReductionBlock(3, 8).double()
        assert block(images(3, height, width)).shape == (2, 8, (height + 1) // 2, (width + 1) // 2)

    def test_the_shortcut_is_the_mean_of_two_by_two_pixels_and_a_linear_map(self) -> None:
        block, x = ReductionBlock(3, 4).double(), images(3, 5, 6)
        with torch.no_grad():
            for each in block.main.parameters():
                each.zero_()
        (weight,) = block.shortcut.parameters()
        means = torch.stack(
            [
                torch.stack([x[:, :, row : row + 2, column : column + 2].mean((2, 3)) for column in (0, 2, 4)], dim=2)
                for row in (0, 2, 4)
            ],
            dim=2,
        )
        torch.testing.assert_close(block(x), torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], means))

    def test_it_has_the_parameters_of_three_convolutions_and_two_normalisations(self) -> None:
        parameters = sum(each.numel() for each in ReductionBlock(3, 4).parameters())
        assert parameters == (3 * 4 * 9 + 8) + (4 * 4 * 9 + 8) + 3 * 4


class TestCell:
    def test_the_output_is_the_sum_over_paths(self) -> None:
        factors = dict(zip([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)], [2, 3, 5, 7, 11, 13], strict=True))
        cell = Cell([[(Times(factors[i, j]), i) for i in range(j)] for j in (1, 2, 3)])
        paths = 7 + 2 * 11 + 3 * 13 + 2 * 5 * 13
        torch.testing.assert_close(cell(images()), paths * images())

    def test_every_edge_runs_once_dead_ones_too(self) -> None:
        dead, live = Times(2.0), Times(3.0)
        cell = Cell([[(dead, 0)], [(live, 0)]])
        torch.testing.assert_close(cell(images()), 3.0 * images())
        assert (dead.calls, live.calls) == (1, 1)

    def test_a_node_without_edges_is_zero(self) -> None:
        cell = Cell([[], [(nn.Identity(), 0), (Times(5.0), 1)]])
        assert torch.equal(cell(images()), images())

    def test_a_cell_without_edges_is_zero_and_has_a_gradient(self) -> None:
        x = images().requires_grad_()
        y = Cell([[], [], []])(x)
        assert torch.equal(y, torch.zeros_like(x))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, torch.zeros_like(x))

    @pytest.mark.parametrize(
        ("nodes", "zeros"),
        [([[], [(nn.Identity(), 0)]], 0), ([[], [(nn.Identity(), 1)]], 1), ([[], []], 1), ([[(nn.Identity(), 0)]], 0)],
    )
    def test_zeros_are_computed_only_where_they_are_read(
        self, nodes: list[list[tuple[nn.Module, int]]], zeros: int
    ) -> None:
        assert sum(isinstance(each, Zero) for each in Cell(nodes).modules()) == zeros

    def test_it_can_be_scripted(self) -> None:
        cell, x = (
            Cell([[(relu_conv_bn(3, 3, 3), 0)], [], [(average_pooling(), 1), (nn.Identity(), 2)]]).double(),
            images(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            scripted = torch.jit.script(cell)
            torch.testing.assert_close(scripted(x), cell(x))

    def test_addition_leaves_the_terms_as_they_are(self) -> None:
        x = images()
        before = x.clone()
        y = Cell([[(nn.Identity(), 0)], [(nn.Identity(), 0), (nn.Identity(), 1)]])(x)
        np.testing.assert_array_equal(x, before)
        torch.testing.assert_close(y, 2 * before)


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
