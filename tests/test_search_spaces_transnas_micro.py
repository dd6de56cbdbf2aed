"""The micro space of TransNAS-Bench-101: published strings and parameters, canonical cells, and the contract."""

from __future__ import annotations

import pytest
import torch

from trainless.errors import ArchitectureError
from trainless.operations import FactorizedReduction
from trainless.search_spaces.transnas_micro import TransNASMicro
from trainless.testing import ProductSpaceContract
from trainless.types import Task

SPACE = TransNASMicro()
SCENE = Task("class_scene", 63, height=256, width=256)


@pytest.mark.slow
class TestContract(ProductSpaceContract):
    space = TransNASMicro(channels=4)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("64-41414-1_00_210", 910_687),
        ("64-41414-1_00_223", 9_440_607),
        ("64-41414-3_33_333", 41_443_935),
        ("64-41414-0_00_000", 51_807),
    ],
)
def test_published_parameters(text: str, parameters: int) -> None:
    assert SPACE.parameters(SPACE.parse(text), SCENE) == parameters


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("64-41414-3_00_000", "64-41414-0_00_000"),
        ("64-41414-3_02_100", "64-41414-0_00_100"),
        ("64-41414-0_30_001", "64-41414-0_00_300"),
        ("64-41414-1_01_111", "64-41414-1_01_111"),
    ],
)
def test_canonical_cells(text: str, canonical: str) -> None:
    assert str(SPACE.canonical(SPACE.parse(text))) == canonical


def test_cells_of_one_class_have_the_costs_of_their_live_edges() -> None:
    # An independent look: what is left of a class has no more parameters than any cell of it.
    space, task = TransNASMicro(channels=4), Task("toy", 2, height=16, width=16)
    for cell in space:
        chosen = space.canonical(cell)
        assert space.parameters(chosen, task) <= space.parameters(cell, task)


def test_the_second_half_of_a_factorized_reduction_reads_the_other_pixels() -> None:
    layer = FactorizedReduction(1, 2).eval()
    with torch.no_grad():
        layer.first.weight.fill_(1.0)
        layer.second.weight.fill_(1.0)
    images = torch.arange(25.0).view(1, 1, 5, 5)
    first, second = (layer(images)[0] * (1 + layer.normalisation.eps) ** 0.5).round()
    assert first.tolist() == [[0, 2, 4], [10, 12, 14], [20, 22, 24]]
    assert second.tolist() == [[6, 8, 0], [16, 18, 0], [0, 0, 0]]


@pytest.mark.parametrize("text", ["", "64-41414-1_02", "64-41414-4_00_000", "64-4141-1_02_333", "1_02_333"])
def test_what_is_no_string(text: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of transnas_micro: expected a form like"):
        SPACE.parse(text)
