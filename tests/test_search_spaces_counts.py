"""How many networks spaces have, and the costs that benchmarks publish by the counter of theirs, tensorwatch.

That counts more than multiply-adds of convolutions: each value that a normalisation reads, twice where it has gains,
and each that an activation reads, the window of each value that a pooling gives; of a transposed convolution nothing,
and of the pooling of whole maps, for a reason of its own, a row and a column too many.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from test_search_spaces_darts import A, B, D
from torch import nn

from trainless.search_spaces import SearchSpace, search_space
from trainless.tables import published_scores
from trainless.types import Architecture, Task

CIFAR10, SCENE = Task("cifar10", 10), Task("class_scene", 63, height=256, width=256)
SUITE_ZERO = "darts(affine=0, pool_norm=1)"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("nasbench201", 15_625),
        ("nats_size", 32_768),
        ("nasbench_macro", 6_561),
        ("transnas_macro", 3_256),
        ("transnas_micro", 4_096),
    ],
)
def test_sizes(name: str, size: int) -> None:
    space = search_space(name)
    assert space.size == size
    assert len({str(architecture) for architecture in space}) == size


def test_networks_of_nasbench_macro() -> None:
    space = search_space("nasbench_macro")
    assert len({space.canonical(architecture) for architecture in space}) == 3_969


@pytest.mark.parametrize(
    ("spec", "task", "text", "published"),
    [
        (SUITE_ZERO, CIFAR10, A, 153_499_136),
        (SUITE_ZERO, CIFAR10, B, 126_252_544),
        (SUITE_ZERO, CIFAR10, D, 156_210_688),
        ("transnas_micro", SCENE, "64-41414-1_00_210", 263_299_072),
        ("transnas_micro", SCENE, "64-41414-1_00_223", 1_946_132_480),
        ("transnas_macro", SCENE, "64-1242-basic", 13_602_455_552),
        ("transnas_macro", SCENE, "64-2124-basic", 21_871_001_600),
    ],
)
def test_published_operations(spec: str, task: Task, text: str, published: int) -> None:
    space = search_space(spec)
    assert operations(space, space.parse(text), task) == published


# Input and classes of the seven tasks, and the head that they have.
TRANSNAS = {
    "class_scene": ("classification", 63, 256),
    "class_object": ("classification", 100, 256),
    "room_layout": ("classification", 9, 256),
    "jigsaw": ("jigsaw", 1000, 192),
    "segmentsemantic": ("segmentation", 17, 256),
    "autoencoder": ("generation", 3, 256),
    "normal": ("generation", 3, 256),
}


@pytest.mark.data
@pytest.mark.parametrize("name", TRANSNAS)
def test_all_published_costs_of_transnas_macro(real_data: Path, name: str) -> None:
    head, classes, pixels = TRANSNAS[name]
    published = published_scores(f"suite-zero.transnas-macro.{name}", real_data).scores
    space, task = search_space("transnas_macro", head=head), Task(name, classes, height=pixels, width=pixels)
    assert len(published) in (662, 725)
    for text, parameters in published["params"].items():
        assert space.parameters(space.parse(str(text)), task) == round(parameters), text
    if head != "jigsaw":  # whose tiles the counter takes for one
        for text, count in published["flops"].iloc[:8].items():
            assert operations(space, space.parse(str(text)), task) == round(count), text


@pytest.mark.data
def test_published_operations_of_nasbench301(real_data: Path) -> None:
    published = published_scores("suite-zero.nasbench301.cifar10", real_data).scores["flops"].iloc[:8]
    space = search_space(SUITE_ZERO)
    for text, count in published.items():
        assert operations(space, space.parse(str(text)), CIFAR10) == round(count), text


@pytest.mark.data
def test_published_costs_of_nasbench101(real_data: Path) -> None:
    """Where channels cannot be shared out evenly the order of the nodes counts, and some were published in another."""
    published = published_scores("suite-zero.nasbench101.cifar10", real_data).scores
    space = search_space("nasbench101")
    parameters = {text: space.parameters(space.parse(str(text)), CIFAR10) for text in published.index}
    alike = [text for text, count in published["params"].items() if parameters[text] == round(count)]
    assert len(alike) == 267
    assert max(abs(parameters[text] / count - 1) for text, count in published["params"].items()) < 0.01
    for text in alike[:8]:
        counted = operations(space, space.parse(str(text)), CIFAR10, counts_whole_maps=False)
        assert counted == round(published["flops"][text]), text


def operations(
    space: SearchSpace, architecture: Architecture, task: Task, *, counts_whole_maps: bool = True
) -> int:  # fmt: skip
    """Count what tensorwatch counts of a network; the mean over whole maps counts where it is a module there."""
    with torch.device("meta"):
        network = space.build(architecture, task).eval()
        counts: dict[nn.Module, int] = {}

        def count(module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            if counts_whole_maps or not isinstance(module, nn.AdaptiveAvgPool2d):
                counts[module] = _counted(module, inputs[0], output)

        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.zeros(1, *task.input_shape))
    return sum(counts.values())


def _counted(module: nn.Module, x: torch.Tensor, output: torch.Tensor) -> int:
    match module:
        case nn.Conv2d():
            window = math.prod(module.kernel_size) * module.in_channels // module.groups
            return output.numel() * (window + (module.bias is not None))
        case nn.Linear():
            return module.in_features * module.out_features
        case nn.BatchNorm2d():
            return x.numel() * (1 + module.affine)
        case nn.ReLU() | nn.LeakyReLU():
            return x.numel()
        case nn.MaxPool2d() | nn.AvgPool2d():
            side = module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
            return output.numel() * side**2
        case nn.AdaptiveAvgPool2d():
            return x.shape[1] * (x.shape[2] + 1) * (x.shape[3] + 1)
    return 0
