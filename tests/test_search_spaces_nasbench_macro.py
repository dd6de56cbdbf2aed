"""The space of NAS-Bench-Macro: published strings, counts, parameters and multiply-adds, and the contract."""

from __future__ import annotations

import pytest

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.nasbench_macro import NASBenchMacro
from trainless.testing import ProductSpaceContract
from trainless.types import Task

SPACE, CIFAR10 = NASBenchMacro(), Task("cifar10", 10)


@pytest.mark.slow
class TestContract(ProductSpaceContract):
    space = NASBenchMacro(width=4)


def test_there_are_as_many_networks_as_were_trained() -> None:
    assert len({str(SPACE.canonical(architecture)) for architecture in SPACE}) == 3969


@pytest.mark.parametrize(
    ("text", "parameters", "flops"),
    [
        ("00000000", 387_882, 7_713_280),
        ("11111111", 1_588_874, 53_246_464),
        ("22222222", 2_932_586, 105_660_928),
        ("02012100", 890_666, 47_327_744),
        ("22212220", 1_985_514, 85_164_544),
    ],
)
def test_published_costs(text: str, parameters: int, flops: int) -> None:
    architecture = SPACE.parse(text)
    assert SPACE.parameters(architecture, CIFAR10) == parameters
    assert SPACE.flops(architecture, CIFAR10) == flops


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("02012100", "02012100"), ("22102012", "22120012"), ("00001002", "00010020"), ("10111111", "10111111")],
)
def test_identities_end_a_stage_but_for_its_first_layer(text: str, canonical: str) -> None:
    assert str(SPACE.canonical(SPACE.parse(text))) == canonical


@pytest.mark.parametrize("text", ["", "0000000", "000000000", "00000003", "0000 000"])
def test_what_is_no_string(text: str) -> None:
    with pytest.raises(
        ArchitectureError, match="is no architecture of nasbench_macro: expected 8 of the digits 0, 1, 2"
    ):
        SPACE.parse(text)


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The width is 0, expected a whole number of at least 1"):
        NASBenchMacro(0)
