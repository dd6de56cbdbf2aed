"""Tests of convolutions whose weights are learnt another way."""

from __future__ import annotations

import copy

import pytest
import torch

from trainless.training.convolutions import _Convolution, mended_convolutions

LAYERS = {
    "5 x 5 on 4 x 4": ({"kernel_size": 5, "padding": 2}, (4, 4)),
    "with bias": ({"kernel_size": 3, "padding": 1, "bias": True}, (2, 2)),
    "strided": ({"kernel_size": 5, "padding": 2, "stride": 2}, (7, 7)),
    "strided, padded outside": ({"kernel_size": 5, "stride": 2}, (7, 7)),
    "one pixel": ({"kernel_size": 7, "padding": 3}, (1, 1)),
    "kernel and map not square": ({"kernel_size": (3, 5), "padding": (0, 2), "stride": (1, 2)}, (5, 4)),
    "more padding than the kernel reaches": ({"kernel_size": 3, "padding": 2}, (1, 2)),
}


@pytest.mark.parametrize(("options", "size"), LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_the_convolution(options, size):
    layer = torch.nn.Conv2d(6, 6, groups=6, **{"bias": False, **options}).to(torch.float32)
    images = torch.randn(3, 6, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    expected_output = layer(images)
    direction = torch.randn_like(expected_output)
    inputs = (images, *layer.parameters())
    expected = torch.autograd.grad(expected_output, inputs, direction)
    with mended_convolutions(layer):
        output = layer(images)
        found = torch.autograd.grad(output, inputs, direction)
    assert torch.equal(output, expected_output)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_only_small_maps_of_depthwise_convolutions_go_another_way():
    layers = torch.nn.ModuleDict({
        "small": torch.nn.Conv2d(4, 4, 5, padding=2, groups=4),
        "grouped": torch.nn.Conv2d(4, 4, 5, padding=2, groups=2),
        "dilated": torch.nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        "circular": torch.nn.Conv2d(4, 4, 5, padding=2, groups=4, padding_mode="circular"),
    })  # fmt: skip
    with mended_convolutions(layers):
        taken = {name for name, layer in layers.items() if goes_another_way(layer(torch.ones(1, 4, 4, 4)))}
        assert taken == {"small"}
        assert not goes_another_way(layers["small"](torch.ones(1, 4, 8, 8)))
        assert not goes_another_way(layers["small"].double()(torch.ones(1, 4, 4, 4, dtype=torch.float64)))


def goes_another_way(output):
    nodes = [output.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            if type(node).__name__ == f"{_Convolution.__name__}Backward":
                return True
            nodes += [other for other, _ in node.next_functions]
    return False


def test_copies_compute_with_their_own_weights_and_all_is_as_it_was_afterwards():
    layer = torch.nn.Conv2d(2, 2, 3, padding=1, groups=2, bias=False)
    with mended_convolutions(layer):
        other = copy.deepcopy(layer)
    torch.nn.init.zeros_(other.weight)
    assert not other(torch.ones(1, 2, 2, 2)).any()
    assert type(layer) is torch.nn.Conv2d


@pytest.mark.parametrize(("stride", "size"), [(2, (5, 4)), (3, (7, 7)), ((2, 1), (4, 4))])
def test_strided_pointwise_convolutions_leave_out_what_they_skip(stride, size):
    # In a way that is not shown here: before, the weights' gradient wrote beyond its memory.
    layer = torch.nn.Conv2d(4, 8, 1, stride).to(memory_format=torch.channels_last)
    images = torch.randn(3, 4, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    with mended_convolutions(layer):
        output = layer(images)
        found = torch.autograd.grad(output.square().sum(), (images, *layer.parameters()))
    layer, doubles = layer.double(), images.detach().double().requires_grad_()
    expected = layer(doubles)
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(expected.square().sum(), (doubles, *layer.parameters()))
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
