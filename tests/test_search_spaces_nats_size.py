"""The size space of NATS-Bench: published strings, numbers, parameters and multiply-adds, and the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.nats_size import NATSSize
from trainless.tables import benchmark_table
from trainless.testing import ProductSpaceContract
from trainless.types import Task

pytestmark = pytest.mark.slow

SPACE = NATSSize()
TASKS = {
    "cifar10": Task("cifar10", 10),
    "cifar100": Task("cifar100", 100),
    "ImageNet16-120": Task("ImageNet16-120", 120, height=16, width=16),
}


class TestContract(ProductSpaceContract):
    space = NATSSize(unit=2)


@pytest.mark.parametrize(
    ("index", "text"),
    [(0, "8:8:8:8:8"), (11, "8:8:8:16:32"), (284, "8:8:40:32:40"), (32_767, "64:64:64:64:64")],
)
def test_published_numbers(index: int, text: str) -> None:
    assert str(SPACE[index]) == text
    assert SPACE.index(SPACE.parse(text)) == index


# The published count adds the biases of the linear layer to the multiply-adds, one for each class.
@pytest.mark.parametrize(
    ("text", "dataset", "parameters", "published"),
    [
        ("8:8:8:8:8", "cifar10", 11_714, 4_481_114),
        ("8:8:8:8:8", "cifar100", 12_524, 4_481_924),
        ("8:8:8:8:8", "ImageNet16-120", 12_704, 1_121_336),
        ("8:8:8:16:32", "cifar10", 49_202, 6_840_650),
        ("8:8:8:16:32", "cifar100", 52_172, 6_843_620),
        ("8:8:40:32:40", "cifar10", 144_834, 21_827_994),
        ("8:8:40:32:40", "ImageNet16-120", 149_344, 5_461_816),
        ("64:64:64:64:64", "cifar10", 713_674, 274_399_882),
    ],
)
def test_published_costs(text: str, dataset: str, parameters: int, published: int) -> None:
    architecture, task = SPACE.parse(text), TASKS[dataset]
    assert SPACE.parameters(architecture, task) == parameters
    assert SPACE.flops(architecture, task) + task.classes == published


@pytest.mark.data
def test_costs_of_the_official_files(real_data: Path) -> None:
    table = benchmark_table("nats-sss", real_data)
    assert table.space == SPACE.name
    for dataset, task in TASKS.items():
        for text, parameters in table.cost(dataset, "parameters").items():
            architecture = SPACE.parse(str(text))
            assert SPACE.parameters(architecture, task) == parameters
            flops = table.cost(dataset, "flops")[text]
            assert SPACE.flops(architecture, task) + task.classes == pytest.approx(flops, rel=1e-9)


def test_structure() -> None:
    """Two ways through a cell: a skip, as 1 x 1 convolution where the channels change, and 3 x 3 convolutions."""
    network = SPACE.build(SPACE.parse("8:8:16:16:16"), TASKS["cifar10"])
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters() if p.dim() == 4}
    kernels = [shape for name, shape in shapes.items() if name.startswith("features.4.")]
    assert sorted(kernels) == sorted(
        [(16, 8, 3, 3), (16, 8, 3, 3), (16, 16, 3, 3), (16, 8, 1, 1)] + [(16, 16, 3, 3)] * 2
    )
    assert not any(name.endswith("3.weight") and len(shape) < 4 for name, shape in shapes.items())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("8:8:8:8", "4 numbers instead of 5"),
        ("8:8:8:8:9", "'9' is none of 8, 16"),
        ("8:8:8:8:", "'' is none of"),
        ("8:8:8:8:08", "'08' is none of"),
        ("", "1 numbers instead of 5"),
    ],
)
def test_what_is_no_string(text: str, problem: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of nats_size") as caught:
        SPACE.parse(text)
    assert problem in str(caught.value)


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The unit is 0, expected a whole number of at least 1"):
        NATSSize(0)


def test_units_scale_all_channels() -> None:
    half = NATSSize(unit=4).build(SPACE.parse("8:16:24:32:64"), TASKS["cifar10"])
    assert [half.get_parameter(name).shape[0] for name in ("features.0.weight", "head.weight")] == [4, 10]
    assert half.get_parameter("head.weight").shape[1] == 32
