"""The macro space of TransNAS-Bench-101: published strings, counts and parameters, and the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.transnas_macro import TransNASMacro
from trainless.tables import benchmark_table
from trainless.testing import FiniteSpaceContract
from trainless.types import Task

SPACE = TransNASMacro()
SCENE = Task("class_scene", 63, height=256, width=256)


@pytest.mark.slow
class TestContract(FiniteSpaceContract):
    space = TransNASMacro(channels=4)


# The encoder alone is published for the third.
@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("64-1242-basic", 11_218_783),
        ("64-2124-basic", 11_661_663),
        ("64-123414-basic", 14_187_615),
    ],
)
def test_published_parameters(text: str, parameters: int) -> None:
    assert SPACE.parameters(SPACE.parse(text), SCENE) == parameters


@pytest.mark.data
def test_strings_are_those_of_the_benchmark(real_data: Path) -> None:
    table = benchmark_table("transnas-macro", real_data)
    assert table.space == SPACE.name
    missing = {str(architecture) for architecture in SPACE} - set(table.frame.index)
    assert missing == {"64-113444-basic"}  # the public list lacks it
    assert len(table.frame) == len(SPACE) - 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("64-124-basic", "it has 3 layers, expected 4 to 6"),
        ("64-1111112-basic", "it has 7 layers, expected 4 to 6"),
        ("64-2221-basic", "0 of its layers halve the image, expected 1 to 4"),
        ("64-3331-basic", "0 of its layers double the channels, expected 1 to 3"),
        ("64-2244-basic", "4 of its layers double the channels, expected 1 to 3"),
        ("64-1250-basic", "it is not written like '64-1242-basic'"),
        ("32-1242-basic", "it is not written like '64-1242-basic'"),
        ("", "it is not written like '64-1242-basic'"),
    ],
)
def test_what_is_no_string(text: str, problem: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of transnas_macro") as caught:
        SPACE.parse(text)
    assert problem in str(caught.value)


def test_the_nearest_has_the_fewest_other_digits() -> None:
    assert str(SPACE.nearest(list("124200"))) == "64-1242-basic"
    assert str(SPACE.nearest(list("111100"))) == "64-1114-basic"
    with pytest.raises(ArchitectureError, match="expected 6 digits, each one of 1, 2, 3, 4, the last 2 also 0"):
        SPACE.nearest(list("0242"))


def test_neighbors_have_one_layer_changed_more_or_less() -> None:
    found = {str(neighbor) for neighbor in SPACE.neighbors(SPACE.parse("64-1242-basic"))}
    assert {"64-1241-basic", "64-11242-basic", "64-12412-basic"} <= found
    assert "64-1142-basic" in found
    assert "64-124-basic" not in found


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The number of channels is 1, expected a whole number of at least 2"):
        TransNASMacro(1)
