"""The space of DARTS: both published forms, counts, parameters and multiply-adds, and the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.darts import DARTS, V1, V2
from trainless.tables import published_scores
from trainless.testing import ProductSpaceContract
from trainless.types import Task

SPACE, CIFAR10 = DARTS(), Task("cifar10", 10)
EVALUATED, SCORED = DARTS(channels=36, layers=20), DARTS(affine=0, pool_norm=1)
A = "[[(0,0),(1,5),(1,1),(0,1),(1,3),(0,3),(1,3),(3,2)],[(1,0),(0,2),(1,3),(0,3),(3,0),(0,1),(2,0),(3,6)]]"
B = "[[(0,5),(1,0),(2,1),(0,2),(3,2),(0,3),(1,0),(3,5)],[(1,1),(0,2),(0,5),(1,0),(0,6),(2,2),(4,6),(0,0)]]"
D = "[[(1,6),(0,3),(1,1),(0,2),(3,5),(1,5),(0,3),(2,1)],[(1,5),(0,6),(1,0),(0,2),(1,3),(0,5),(3,5),(0,1)]]"
PUBLISHED_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)


@pytest.mark.slow
class TestContract(ProductSpaceContract):
    space = DARTS(channels=2, layers=3)


@pytest.mark.slow
class TestContractWithoutRules(ProductSpaceContract):
    space = DARTS(channels=2, layers=3, affine=0, pool_norm=1, none=1)


def test_count() -> None:
    assert SPACE.size == (180 * 7**8) ** 2


@pytest.mark.parametrize(
    ("space", "text", "parameters", "flops"),
    [
        (EVALUATED, V1, 3_169_414, 500_987_520),
        (EVALUATED, V2, 3_349_342, 528_359_040),
        (SPACE, V2, 919_722, 159_765_504),
        (SCORED, V2, 909_866, 159_765_504),
        (SCORED, A, 856_298, 144_552_960),
        (SPACE, A, 864_874, 144_552_960),
        (SCORED, B, 673_834, 118_338_560),
        (SPACE, B, 678_954, 118_338_560),
        (SCORED, D, 885_674, 148_706_304),
        (SPACE, D, 894_634, 148_706_304),
    ],
)
def test_published_costs(space: DARTS, text: str, parameters: int, flops: int) -> None:
    architecture = space.parse(text)
    assert space.parameters(architecture, CIFAR10) == parameters
    assert space.flops(architecture, CIFAR10) == flops


@pytest.mark.data
def test_published_parameters_of_a_sample(real_data: Path) -> None:
    published = published_scores("suite-zero.nasbench301.cifar10", real_data).scores["params"]
    ours = {text: SCORED.parameters(SCORED.parse(text), CIFAR10) for text in published.index}
    assert len(ours) == 725
    assert all(count == round(published[text]) for text, count in ours.items())


def test_both_forms_are_one_genotype() -> None:
    assert SPACE.parse(PUBLISHED_V2) == SPACE.parse(V2) == SPACE.parse("DARTS_V2")
    assert str(SPACE.parse(V2)) == V2


def test_the_order_of_the_edges_of_a_node_makes_no_difference() -> None:
    assert SPACE.parse(A) == SPACE.parse(A.replace("(0,0),(1,5)", "(1,5),(0,0)"))


@pytest.mark.parametrize(
    "text",
    [
        "", "DARTS_V3", "[[(0, 3)], []]", V1.replace("(0, 3), (1, 3)", "(0, 3), (2, 3)", 1),
        V1.replace("(0, 3), (1, 3)", "(0, 3), (0, 3)", 1), V1.replace("(0, 3)", "(0, 7)", 1),
        PUBLISHED_V2.replace("sep_conv_3x3", "sep_conv_7x7"), PUBLISHED_V2.replace("[2, 3, 4, 5]", "[2, 3, 4]"),
    ],
)  # fmt: skip
def test_what_is_no_string(text: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of darts"):
        SPACE.parse(text)


def test_missing_edges_are_read_where_they_are_allowed() -> None:
    space = DARTS(channels=4, layers=3, none=1)
    architecture = space.parse(V1.replace("(0, 3), (1, 3)", "(1, 7), (1, 7)", 1))
    network = space.build(architecture, CIFAR10)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert str(space.canonical(architecture)).startswith("[[(0, 7), (0, 7), ")


def test_a_cell_reads_the_two_before_it() -> None:
    network = DARTS(channels=4, layers=3).build(SPACE.parse("DARTS_V2"), CIFAR10).eval()
    read: list[tuple[torch.Tensor, ...]] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: read.append((*inputs, output)))
    network(torch.randn(1, 3, 32, 32))
    (first, earlier, second), (x, before, third), (y, between, _) = read
    assert first is earlier
    assert x is second
    assert before is first
    assert y is third
    assert between is second


@pytest.mark.parametrize("size", [3, 7, 33])
def test_images_of_odd_sizes(size: int) -> None:
    space = DARTS(channels=2, layers=3)
    for seed in range(4):
        network = space.build(space.sample(np.random.default_rng(seed)), CIFAR10).eval()
        assert network(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The number of layers is 2, expected a whole number of at least 3"):
        DARTS(layers=2)
