"""The space of NAS-Bench-ASR: published lists, counts, parameters, and the contract."""

from __future__ import annotations

import pytest
import torch

from trainless.audio import time_padding
from trainless.errors import ArchitectureError
from trainless.search_spaces.nasbench_asr import NASBenchASR
from trainless.testing import ProductSpaceContract
from trainless.types import Task

SPACE, TIMIT = NASBenchASR(), Task("timit", classes=48, channels=80, height=1, width=32)
BIASES, OUTPUTS = 2_000, 501  # of the second bias of PyTorch's LSTM, and of the 49th output of its port


@pytest.mark.slow
class TestContract(ProductSpaceContract):
    space = NASBenchASR(width=1)


def test_counts() -> None:
    assert len(SPACE) == 13_824
    assert len({str(SPACE.canonical(cell)) for cell in SPACE}) == 9_155


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("[[1, 0], [1, 0, 0], [1, 0, 0, 0]]", 26_338_848 + BIASES),
        ("[[0, 0], [0, 0, 0], [0, 0, 0, 0]]", 75_589_349 - OUTPUTS),
        ("[[5, 0], [5, 0, 0], [5, 0, 0, 0]]", 23_697_749 - OUTPUTS),
    ],
)
def test_published_parameters(text: str, parameters: int) -> None:
    assert SPACE.parameters(SPACE.parse(text), TIMIT) == parameters


@pytest.mark.parametrize(
    ("settings", "padding"),
    [((8, 1, 1), (3, 4)), ((8, 2, 1), (5, 2)), ((5, 1, 1), (0, 4)), ((5, 1, 2), (4, 4)), ((7, 1, 2), (8, 4))],
)
def test_padding_looks_ahead_by_four_steps(settings: tuple[int, int, int], padding: tuple[int, int]) -> None:
    assert time_padding(*settings) == padding


def test_time_is_halved_twice() -> None:
    network = NASBenchASR(width=1).build(SPACE.parse("[[1, 0], [3, 0, 1], [0, 1, 0, 0]]"), TIMIT).eval()
    lengths: list[int] = []
    for module in network.features:
        module.register_forward_hook(lambda module, inputs, output: lengths.append(output.shape[3]))
    assert network(torch.randn(2, 80, 1, 33)).shape == (2, 48)
    assert sorted(set(lengths), reverse=True) == [33, 17, 9]


@pytest.mark.parametrize(
    "text", ["", "[[1, 0]]", "[[6, 0], [1, 0, 0], [1, 0, 0, 0]]", "[[1, 2], [1, 0, 0], [1, 0, 0, 0]]"]
)
def test_what_is_no_string(text: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of nasbench_asr: expected a form like"):
        SPACE.parse(text)
