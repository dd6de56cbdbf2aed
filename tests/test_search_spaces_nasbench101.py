"""NAS-Bench-101: published parameters, an independent network in plain PyTorch, repairs, moves, and the contract."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.nasbench101 import NASBench101
from trainless.search_spaces.nasbench101_cells import OPERATIONS, Graph, cell_classes, cell_hash, edges_of
from trainless.testing import FiniteSpaceContract
from trainless.types import Task

pytestmark = pytest.mark.slow

SPACE, SMALL, CIFAR10 = NASBench101(), NASBench101(8, 2), Task("cifar10", 10)
INCEPTION = "conv1x1(0)+conv3x3(0)+conv3x3(0)+conv3x3(3)+maxpool3x3(0)+output(1,2,4,5)"


class TestContract(FiniteSpaceContract):
    space = NASBench101(6, 1)
    draws = 10


@pytest.mark.parametrize(
    ("text", "published", "parameters"),
    [
        ("output(0)", "043721b9c7fe8c5fad811d47d83132ec", 882_570),
        ("conv3x3(0)+output(1)", "b49ac8c578b4561d79ac7087988f1c61", 10_177_674),
        ("conv3x3(0)+output(0,1)", "d32d0b26d534203b48d866facd98cc3e", 11_051_402),
        ("conv3x3(0)+conv3x3(1)+output(0,2)", "b5fb4f6193360330b6ff6a52cbf0cad7", 20_346_506),
        (INCEPTION, "28cfc7874f6d200472e1a9dcd8650aa0", 2_694_282),
        (
            "conv1x1(0)+conv3x3(0)+maxpool3x3(2)+conv3x3(3)+conv3x3(0,1,4)+output(0,5)",
            "02e5a0247bbdcf2860b7e96f74961594",
            32_426_634,
        ),
    ],
)
def test_published_cells(text: str, published: str, parameters: int) -> None:
    cell = SPACE.parse(text)
    assert SPACE.hash(cell) == published
    assert SPACE.parameters(cell, CIFAR10) == parameters


@pytest.mark.slow
@pytest.mark.data
def test_published_parameters(real_data: Path) -> None:
    """Exact counts of the published list, for every fiftieth class."""
    listed = json.loads((real_data / "nasbench101" / "data-20k.json").read_text())
    published = dict(zip(listed["key"], listed["trainable_parameters"], strict=True))
    compared = 0
    for index in range(0, SPACE.size, 50):
        if (name := cell_hash(cell_classes()[index])) in published:
            assert SPACE.parameters(SPACE[index], CIFAR10) == published[name]
            compared += 1
    assert compared > 350


def test_the_representative_rule() -> None:
    """A class of which another numbering of the vertices has 2,893,010 parameters; the published count is 2,903,234."""
    cell = SPACE.parse("maxpool3x3(0)+conv1x1(0)+conv3x3(1,2)+conv1x1(3)+conv3x3(3)+output(3,4,5)")
    assert SPACE.hash(cell) == "001ebeb5abb7dc3d1b2b93e1b2752efe"
    assert SPACE.parameters(cell, CIFAR10) == 2_903_234


class Reference(nn.Module):
    """The published network, written from its definition: projections, truncated sums, concatenation."""

    def __init__(self, graph: Graph, task: Task, channels: int, cells: int) -> None:
        super().__init__()
        self.edges, self.last, self.operations = edges_of(graph), graph.vertices - 1, graph.operations
        self.task, self.stem, self.widths = task, self._conv(task.channels, channels, 3), []
        self.cells = nn.ModuleList()
        width = channels
        for stack in range(3):
            for _ in range(cells):
                outputs = channels * 2**stack
                self.cells.append(self._cell(width, outputs))
                width = outputs
        self.head, self.per_stack = nn.Linear(width, task.classes), cells

    @staticmethod
    def _conv(inputs: int, outputs: int, kernel: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, padding="same", bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def _cell(self, inputs: int, outputs: int) -> nn.Module:
        leading = [vertex for vertex in range(1, self.last) if (vertex, self.last) in self.edges]
        share, rest = divmod(outputs, len(leading) or 1)
        width = {self.last: outputs}
        for vertex in reversed(range(1, self.last)):
            if vertex in leading:
                width[vertex] = share + (leading.index(vertex) < rest)
            else:
                width[vertex] = max(width[target] for source, target in self.edges if source == vertex)
        self.widths.append(width)
        parts = {f"{target}": self._conv(inputs, width[target], 1) for source, target in self.edges if source == 0}
        for vertex, operation in enumerate(self.operations, 1):
            if OPERATIONS[operation] != "maxpool3x3":
                parts[f"at {vertex}"] = self._conv(width[vertex], width[vertex], int(OPERATIONS[operation][-1]))
        return nn.ModuleDict(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for number, (cell, width) in enumerate(zip(self.cells, self.widths, strict=True)):
            if number and number % self.per_stack == 0:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = self._through(cell, width, x)
        return self.head(x.mean((2, 3)))

    def _through(self, cell: nn.ModuleDict, width: dict[int, int], x: torch.Tensor) -> torch.Tensor:
        values: dict[int, torch.Tensor] = {}
        for vertex in range(1, self.last):
            total = 0
            for source, target in self.edges:
                if target == vertex:
                    total = total + (cell[f"{vertex}"](x) if source == 0 else values[source][:, : width[vertex]])
            name = f"at {vertex}"
            values[vertex] = cell[name](total) if name in cell else F.max_pool2d(total, 3, 1, 1)
        joined = [values[source] for source, target in self.edges if target == self.last and source]
        output = torch.cat(joined, 1) if joined else 0
        return output + cell[f"{self.last}"](x) if (0, self.last) in self.edges else output


def test_networks_are_those_of_an_independent_builder() -> None:
    """With the same weights in the order of their shapes and use, both give the same logits."""
    task = Task("odd", 3, height=13, width=9)
    rng = np.random.default_rng(0)
    for cell in [SMALL.parse(INCEPTION), *(SMALL.sample(rng) for _ in range(12))]:
        torch.manual_seed(0)
        reference = Reference(cell_classes()[SMALL.index(cell)], task, SMALL.channels, SMALL.cells)
        network = SMALL.build(cell, task)
        assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in reference.parameters())
        _copy_by_use(reference, network, torch.zeros(2, *task.input_shape))
        images = torch.randn(4, *task.input_shape)
        torch.testing.assert_close(network(images), reference(images), rtol=1e-4, atol=1e-5)


def _copy_by_use(source: nn.Module, target: nn.Module, images: torch.Tensor) -> None:
    """Copy the weights of convolutions, normalisations and the linear layer.

    Layers of one input and output shape are matched in the order in which they run: projections of a cell go to
    vertices in ascending order in both.
    """
    for theirs, mine in zip(_by_use(source, images), _by_use(target, images), strict=True):
        mine.load_state_dict(theirs.state_dict())


def _by_use(network: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    ran: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    hooks = [
        m.register_forward_hook(lambda module, *_: ran.append(module))
        for m in network.modules()
        if isinstance(m, kinds)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return ran


class TestNearest:
    def test_members_are_their_own(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(20):
            cell = SPACE.sample(rng)
            assert SPACE.nearest(cell.genotype) == cell

    def test_all_edges_lose_the_last_ones(self) -> None:
        cell = SPACE.nearest([1] * 21 + ["conv3x3"] * 5)
        assert cell in SPACE
        assert sum(cell.genotype[:21]) == 9

    def test_one_with_the_wrong_form(self) -> None:
        with pytest.raises(ArchitectureError, match="expected 21 bits of edges and 5 of the operations"):
            SPACE.nearest([1] * 21 + ["conv5x5"] * 5)

    def test_every_genotype_becomes_a_member(self) -> None:
        rng = np.random.default_rng(2)
        for _ in range(100):
            genotype = [int(bit) for bit in rng.integers(2, size=21)]
            assert SPACE.nearest([*genotype, *(OPERATIONS[code] for code in rng.integers(3, size=5))]) in SPACE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("conv3x3(0)+output(2)", "vertex 2"),
        ("conv3x3(0)+output()", "vertex 2"),
        ("+".join(["conv3x3(0)"] * 6 + ["output(1,2,3,4,5,6)"]), "8 vertices and 12 edges"),
        ("conv3x3(0)+conv3x3(0,1)+conv3x3(0,1,2)+conv3x3(0,1,2,3)+output(0,1,2,3,4)", "6 vertices and 15 edges"),
    ],
)
def test_what_is_no_string(text: str, problem: str) -> None:
    with pytest.raises(ArchitectureError, match="is no architecture of nasbench101") as caught:
        SPACE.parse(text)
    assert problem in str(caught.value)


def test_any_numbering_is_read_as_its_class() -> None:
    assert SPACE.parse("maxpool3x3(0)+conv3x3(0)+output(1,2)") == SPACE.parse("conv3x3(0)+maxpool3x3(0)+output(1,2)")
    assert SPACE.parse("conv3x3(0)+conv1x1(0)+output(1)") == SPACE.parse("conv3x3(0)+output(1)")


def test_neighbors_of_the_smallest() -> None:
    """From one edge: only a vertex between the two, with the edge kept."""
    texts = [str(cell) for cell in SPACE.neighbors(SPACE.parse("output(0)"))]
    assert texts == ["conv3x3(0)+output(0,1)", "conv1x1(0)+output(0,1)", "maxpool3x3(0)+output(0,1)"]


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The number of channels is 4, expected a whole number of at least 5"):
        NASBench101(4)
