"""Supernets: paths equal the networks that are taken out of them, and weights are shared as is said."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.search_spaces.mobile import Mobile
from trainless.search_spaces.nats_size import NATSSize
from trainless.supernets import Supernet, recalibrate
from trainless.types import Task

SPACES = [
    "nasbench201(channels=4, cells=2)", "darts(channels=4, layers=3)", "nats_size(unit=2)", "mobile(width=4, depth=3)",
    "convnet(unit=2)", "nasbench_macro(width=4)", "transnas_micro(channels=4)", "transnas_macro(channels=4)",
    "nasbench101(channels=5, cells=1)", "chain(unit=2)", "mlp(unit=2)", "autoformer(unit=2)",
    "hierarchical(channels=4)", "nasbench_asr(width=4)",
]  # fmt: skip
TASK, SPOKEN = Task("toy", 5, height=16, width=16), Task("spoken", 5, channels=8, height=1, width=24)
PATHS, PATHS_ROUNDED = 50, 10
NB201 = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPACES)
def test_paths_are_the_networks_taken_out(spec: str) -> None:
    space, task = search_space(spec), SPOKEN if spec.startswith("nasbench_asr") else TASK
    supernet, rng = Supernet(space, task).eval(), np.random.default_rng(0)
    # Statistics of batch normalisations that tell: those of the beginning hardly change anything.
    with torch.no_grad():
        for buffer in supernet.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    images = torch.randn(2, *task.input_shape, generator=torch.Generator().manual_seed(0))
    for _ in range(PATHS_ROUNDED):  # sums of convolutions on slices run in another order
        architecture = space.sample(rng)
        with torch.no_grad():
            expected = supernet.subnetwork(architecture)(images)
            scale = float(expected.abs().max())
            torch.testing.assert_close(supernet(images, architecture), expected, rtol=0, atol=1e-5 * scale)
    supernet.double()
    images = images.double()
    for _ in range(PATHS):
        architecture = space.sample(rng)
        network = supernet.subnetwork(architecture).double()
        assert sum(weight.numel() for weight in network.parameters()) == space.parameters(architecture, task)
        with torch.no_grad():
            torch.testing.assert_close(network(images), supernet(images, architecture), rtol=0, atol=1e-6)
        assert not {name for name, _ in network.named_parameters()} & {name for name, _ in supernet.named_parameters()}


def test_a_network_taken_out_is_plain_and_its_own() -> None:
    space = search_space(SPACES[0])
    supernet = Supernet(space, TASK)
    network = supernet.subnetwork(space.parse(NB201))
    assert type(network) is nn.Sequential
    before = [weight.detach().clone() for weight in supernet.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
    assert all(map(torch.equal, before, supernet.parameters()))


def test_operations_have_weights_of_their_own_and_cells_that_repeat_too() -> None:
    space = search_space(SPACES[0])
    supernet = Supernet(space, TASK)
    convolutions = [key for key in supernet.layers if "input to 1, relu_conv_bn" in key]
    assert len(convolutions) == 2 * 3 * 2  # kernels, stages, cells
    other = space.parse(NB201.replace("|nor_conv_3x3~0|+", "|nor_conv_1x1~0|+"))
    shared = {tensor.data_ptr() for tensor in supernet.tensors(space.parse(NB201)).values()}
    assert {name for name, tensor in supernet.tensors(other).items() if tensor.data_ptr() not in shared} == {
        f"features.{cell}.operations.0.{name}"
        for cell in (2, 3, 5, 6, 8, 9)
        for name in ("1.weight", "2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked")
    }


def test_gradients_reach_the_slices_of_a_path_alone() -> None:
    space = NATSSize(unit=2)
    supernet = Supernet(space, TASK)
    supernet(torch.randn(4, *TASK.input_shape), space.parse("8:16:24:32:40")).square().sum().backward()
    stem = supernet.layers["stem 0, input to output, conv 3x3"].weight
    assert stem.shape[0] == 16
    assert (stem.grad.flatten(1).abs().sum(1) > 0).tolist() == [True] * 2 + [False] * 14


def test_the_middle_of_a_kernel_and_the_first_blocks_are_shared() -> None:
    space = Mobile(width=4, depth=4)
    supernet = Supernet(space, TASK)
    small = supernet.tensors(space.make([3, 2, 1, 50, "none"] * 5))
    large = supernet.tensors(space.make([7, 6, 4, 150, "none"] * 5))
    depthwise = "features.1.1.0.weight"
    channels = small[depthwise].shape[0]
    assert large[depthwise].shape[2:] == (7, 7)
    assert torch.equal(small[depthwise], large[depthwise][:channels, :, 2:5, 2:5])
    # The second stage begins with the second block of the small network and with the fifth of the large one.
    assert small["features.2.0.0.weight"].data_ptr() == large["features.5.0.0.weight"].data_ptr()


def test_weights_depend_on_the_seed_and_their_place_alone() -> None:
    space = search_space(SPACES[0])
    first, again, other = (Supernet(space, TASK, seed=seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    smaller = Supernet(search_space("nasbench201(channels=4, cells=1)"), TASK)
    key = "stage 1 0, input to 1, relu_conv_bn 3x3"
    assert torch.equal(first.layers[key][1].weight, smaller.layers[key][1].weight)
    assert not torch.equal(first.layers[key][1].weight, other.layers[key][1].weight)


def test_a_trained_network_can_be_put_back() -> None:
    space, images = NATSSize(unit=2), torch.randn(2, *TASK.input_shape)
    supernet, architecture = Supernet(space, TASK).eval(), space.parse("8:16:24:32:40")
    network = space.build(architecture, TASK).eval()
    supernet.inherit(architecture, network)
    torch.testing.assert_close(supernet(images, architecture), network(images))


def test_a_copy_is_a_supernet_too() -> None:
    space = search_space(SPACES[0])
    supernet = Supernet(space, TASK).eval()
    images, architecture = torch.randn(2, *TASK.input_shape), space.parse(NB201)
    before, copied = supernet(images, architecture), copy.deepcopy(supernet)
    with torch.no_grad():
        for weight in supernet.parameters():
            weight.zero_()
    assert torch.equal(copied(images, architecture), before)


def test_statistics_are_those_of_the_batches() -> None:
    space = search_space(SPACES[0])
    network = Supernet(space, TASK).subnetwork(space.parse(NB201))
    batches = [torch.randn(8, *TASK.input_shape) for _ in range(3)]
    recalibrate(network, batches)
    assert all(module.training for module in network.modules())
    norm = network.features[1]
    given = torch.stack([network.features[0](images).mean((0, 2, 3)) for images in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, given.detach(), rtol=1e-4, atol=1e-6)
    assert norm.momentum == 0.1


@pytest.mark.parametrize(
    ("spec", "problem"), [("nasbench_nlp", "it has no choices"), ("pretrained", "start from weights of their own")]
)
def test_spaces_that_share_nothing(spec: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"cannot share weights: .*{problem}"):
        Supernet(search_space(spec), TASK)


def test_an_architecture_of_another_size_is_refused() -> None:
    supernet = Supernet(NATSSize(unit=2), TASK)
    supernet.space = NATSSize(unit=4)
    with pytest.raises(InputError, match=r"The supernet has weights of shape .*, smaller than"):
        supernet.tensors(supernet.space.parse("64:64:64:64:64"))
