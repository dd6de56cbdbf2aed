"""Cells of NAS-Bench-101 as graphs, against the published hashes and counts, and against brute force."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from trainless.search_spaces.nasbench101_cells import (
    MOST_EDGES,
    OPERATIONS,
    Graph,
    canonical_graph,
    cell_classes,
    cell_hash,
    cell_numbers,
    edge_bit,
    edges_of,
    graph_of,
    pruned,
    read_text,
    text_of,
    vertex_channels,
)


def graph(edges: str, *operations: str) -> Graph:
    """A graph of edges written as "01 12" and names of operations."""
    bits = sum(1 << edge_bit(int(source), int(target)) for source, target in edges.split())
    return Graph(bits, tuple(OPERATIONS.index(name) for name in operations))


# Cells with their published hashes and parameters at 128 channels.
PUBLISHED = [
    (graph("01"), "043721b9c7fe8c5fad811d47d83132ec", 882_570),
    (graph("01 12", "conv3x3"), "b49ac8c578b4561d79ac7087988f1c61", 10_177_674),
    (graph("01 12 02", "conv3x3"), "d32d0b26d534203b48d866facd98cc3e", 11_051_402),
    (graph("01 12 23 03", "conv3x3", "conv3x3"), "b5fb4f6193360330b6ff6a52cbf0cad7", 20_346_506),
    (
        graph("01 02 03 05 16 26 34 46 56", "conv1x1", "conv3x3", "conv3x3", "conv3x3", "maxpool3x3"),
        "28cfc7874f6d200472e1a9dcd8650aa0",
        2_694_282,
    ),
    (
        graph("01 02 05 06 15 23 34 45 56", "conv1x1", "conv3x3", "maxpool3x3", "conv3x3", "conv3x3"),
        "02e5a0247bbdcf2860b7e96f74961594",
        32_426_634,
    ),
]


def random_graph(rng: np.random.Generator) -> Graph | None:
    """Seven vertices with edges and operations at random; None where input and output are not joined."""
    edges = sum(1 << bit for bit in range(21) if rng.random() < 0.4)
    return pruned(Graph(edges, tuple(rng.integers(3, size=5).tolist())))


def renumbered(cell: Graph, order: tuple[int, ...]) -> Graph | None:
    """The graph with its inner vertices in another order; None where an edge would go down."""
    number = (0, *order, cell.vertices - 1)
    pairs = [(number[source], number[target]) for source, target in edges_of(cell)]
    if any(source >= target for source, target in pairs):
        return None
    operations = dict(zip(order, cell.operations, strict=True))
    bits = sum(1 << edge_bit(source, target) for source, target in pairs)
    return Graph(bits, tuple(operations[vertex] for vertex in sorted(operations)))


@pytest.mark.parametrize(("cell", "published"), [(cell, name) for cell, name, _ in PUBLISHED])
def test_published_hashes(cell: Graph, published: str) -> None:
    assert cell_hash(cell) == published


def test_pruning_keeps_what_is_on_a_path() -> None:
    assert pruned(graph("01 03 12 15 35", "conv3x3", "conv1x1", "maxpool3x3", "conv3x3")) == graph(
        "01 02 13 23", "conv3x3", "maxpool3x3"
    )
    assert pruned(graph("01 12", "conv3x3", "conv1x1")) is None


def test_canonical_is_the_smallest_numbering() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        if (cell := random_graph(rng)) is None:
            continue
        every = [renumbered(cell, order) for order in permutations(range(1, cell.vertices - 1))]
        assert canonical_graph(cell) == min(other for other in every if other)
        assert {canonical_graph(other) for other in every if other} == {canonical_graph(cell)}


def test_arrays_give_what_single_cells_do() -> None:
    rng = np.random.default_rng(1)
    cells = [cell for _ in range(80) if (cell := random_graph(rng))]
    for cell in cells:
        code = int("".join(map(str, cell.operations)) or "0", 3)
        number = cell_numbers(cell.vertices, np.array([cell.edges]), np.array([code]))[0]
        assert graph_of(cell.vertices, int(number)) == canonical_graph(cell)


class TestClasses:
    def test_there_are_as_many_as_published(self) -> None:
        assert len(cell_classes()) == 423_624

    def test_each_is_canonical_whole_and_in_order(self) -> None:
        classes = cell_classes()
        cells = [classes[index] for index in range(0, len(classes), 4111)]
        for cell in cells:
            assert canonical_graph(cell) == pruned(cell) == cell
            assert len(edges_of(cell)) <= MOST_EDGES
        assert cells == sorted(cells, key=lambda cell: (cell.vertices, cell))

    def test_index_is_the_inverse(self) -> None:
        classes = cell_classes()
        chosen = [0, 1, 6, 7, 90, 91, 423_623, *np.random.default_rng(0).integers(len(classes), size=50).tolist()]
        assert [classes.index(classes[index]) for index in chosen] == chosen

    def test_what_is_none_of_them(self) -> None:
        with pytest.raises(ValueError, match="no canonical graph"):
            cell_classes().index(graph("01 02 13 23", "maxpool3x3", "conv3x3"))
        with pytest.raises(ValueError, match="8 vertices"):
            cell_classes().index(Graph(1, (0,) * 6))

    @pytest.mark.data
    def test_they_are_the_published_ones(self, real_data: Path) -> None:
        """The graphs of the public table are all the classes, each once."""
        table = np.load(real_data / "nasbench101" / "nb101_test_accuracy_params.npz")
        found = set()
        for vertices in range(2, 8):
            rows = table["vertices"] == vertices
            codes, turned = table["op_code"][rows].astype(int), 0
            for position in range(vertices - 2):
                turned = 3 * turned + codes // 3**position % 3
            numbers = cell_numbers(vertices, table["edge_bits"][rows], np.array(turned) + 0 * codes)
            found |= {(vertices, number) for number in numbers.tolist()}
        classes = cell_classes()
        assert len(found) == len(classes)
        assert all(classes.index(graph_of(*cell)) >= 0 for cell in list(found)[::97])


class TestChannels:
    def test_the_remainder_goes_to_the_first(self) -> None:
        cell = graph("01 02 03 14 24 34", "conv3x3", "conv1x1", "maxpool3x3")
        assert vertex_channels(cell, 16, 128) == [16, 43, 43, 42, 128]

    def test_others_are_as_wide_as_the_widest_they_lead_to(self) -> None:
        cell = graph("01 12 13 24 34", "conv3x3", "conv1x1", "maxpool3x3")
        assert vertex_channels(cell, 16, 15) == [16, 8, 8, 7, 15]

    def test_without_inner_vertices(self) -> None:
        assert vertex_channels(graph("01"), 3, 5) == [3, 5]


class TestText:
    def test_is_read_as_it_is_written(self) -> None:
        for cell, _, _ in PUBLISHED:
            assert read_text(text_of(cell)) == cell

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "its vertex 1 is '', expected one of output"),
            ("conv3x3(0)", "its vertex 1 is 'conv3x3(0)', expected one of output"),
            ("conv5x5(0)+output(1)", "its vertex 1 is 'conv5x5(0)'"),
            ("conv3x3(1)+output(1)", "expected numbers of earlier vertices"),
            ("conv3x3()+output(1)", "expected numbers of earlier vertices"),
            ("conv3x3(0+output(1)", "expected numbers of earlier vertices"),
            ("conv3x3(-1)+output(1)", "expected numbers of earlier vertices"),
            ("output(0)+output(1)", "its vertex 1 is 'output(0)'"),
        ],
    )
    def test_what_is_none(self, text: str, problem: str) -> None:
        with pytest.raises(ValueError, match=r".") as caught:
            read_text(text)
        assert problem in str(caught.value)


@pytest.mark.data
def test_hashes_of_the_public_table(real_data: Path) -> None:
    """Cells of the public table, by our numbering, have hashes of the published list with the published parameters."""
    published = json.loads((real_data / "nasbench101" / "data-20k.json").read_text())
    keys = set(published["key"])
    classes = cell_classes()
    found = sum(cell_hash(classes[index]) in keys for index in range(0, len(classes), 53))
    # 20,001 of 423,624 are listed.
    assert found == pytest.approx(len(classes) / 53 * len(keys) / len(classes), rel=0.25)
