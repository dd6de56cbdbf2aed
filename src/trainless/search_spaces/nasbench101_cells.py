"""Cells of NAS-Bench-101 as graphs: which are the same network, how they are numbered, written and hashed.

A cell is a pair of its edges and its operations. Edges are the bits of a whole number in the order (0, 1), (0, 2),
(1, 2), (0, 3), ..., the first the least; vertex 0 is the input, the last one the output, and each vertex between them
has an operation, a number of `OPERATIONS`.

The one cell that stands for all isomorphic ones is the first that the benchmark's authors generated: the one whose
edges are the smallest number, and of these the one whose operations come first (Ying et al., NAS-Bench-101, ICML
2019). Its parameters are the published ones; another numbering of the same graph may share the channels out in another
way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainless.search_spaces.blueprint import live_edges

__all__ = [
    "MOST_EDGES",
    "MOST_VERTICES",
    "OPERATIONS",
    "CellClasses",
    "Graph",
    "canonical_graph",
    "cell_classes",
    "cell_hash",
    "cell_numbers",
    "edge_bit",
    "edges_of",
    "graph_of",
    "pruned",
    "read_text",
    "text_of",
    "vertex_channels",
]

OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")

MOST_VERTICES = 7
"""The vertices of the largest cells, input and output counted."""

MOST_EDGES = 9
"""The edges of the fullest cells."""

_LABEL_BITS = 8  # 3 ** 5 combinations of operations


class Graph(NamedTuple):
    """A labelled directed graph whose edges all go from a lower vertex to a higher one.

    Args:
        edges: bit `edge_bit(i, j)` is the edge from vertex i to vertex j.
        operations: a number of `OPERATIONS` for each vertex between input and output.

    Example:
        >>> Graph(0b111, (0,)).vertices
        3
    """

    edges: int
    operations: tuple[int, ...]

    @property
    def vertices(self) -> int:
        """Number of vertices, input and output counted."""
        return len(self.operations) + 2


def edge_bit(source: int, target: int) -> int:
    """Give the position of an edge among the bits: by target, then by source.

    Example:
        >>> edge_bit(0, 1), edge_bit(0, 2), edge_bit(1, 2), edge_bit(0, 3)
        (0, 1, 2, 3)
    """
    return target * (target - 1) // 2 + source


@cache
def _pairs(vertices: int) -> tuple[tuple[int, int], ...]:
    """All edges that there can be, in the order of their bits."""
    return tuple((source, target) for target in range(1, vertices) for source in range(target))


def edges_of(graph: Graph) -> list[tuple[int, int]]:
    """List the edges of a graph as pairs of source and target, in the order of their bits.

    Example:
        >>> edges_of(Graph(0b101, (0,)))
        [(0, 1), (1, 2)]
    """
    return [pair for bit, pair in enumerate(_pairs(graph.vertices)) if graph.edges >> bit & 1]


def pruned(graph: Graph) -> Graph | None:
    """Leave out the vertices on no path from input to output; None where there is no such path.

    Example:
        >>> pruned(Graph(0b111, (2,))), pruned(Graph(0b011, (2,))), pruned(Graph(0b001, (2,)))
        (Graph(edges=7, operations=(2,)), Graph(edges=1, operations=()), None)
    """
    live = live_edges(edges_of(graph), 0, graph.vertices - 1)
    if not live:
        return None
    number = {vertex: position for position, vertex in enumerate(sorted({vertex for edge in live for vertex in edge}))}
    bits = sum(1 << edge_bit(number[source], number[target]) for source, target in live)
    return Graph(bits, tuple(graph.operations[vertex - 1] for vertex in list(number)[1:-1]))


@lru_cache(maxsize=1 << 16)
def canonical_graph(graph: Graph) -> Graph:
    """Give the one graph that stands for all that are isomorphic to this one.

    Example:
        >>> canonical_graph(Graph(0b110011, (2, 0)))  # two operations side by side, between input and output
        Graph(edges=51, operations=(0, 2))
    """
    edges, last = edges_of(graph), graph.vertices - 1
    best: Graph | None = None
    for order in permutations(range(1, last)):
        number = (0, *order, last)
        bits = 0
        for source, target in edges:
            if number[source] >= number[target]:
                break
            bits |= 1 << edge_bit(number[source], number[target])
        else:
            if best is None or bits <= best.edges:
                labels = [0] * len(order)
                for vertex, moved in enumerate(order):
                    labels[moved - 1] = graph.operations[vertex]
                moved_graph = Graph(bits, tuple(labels))
                best = moved_graph if best is None else min(best, moved_graph)
    assert best is not None  # the graph's own numbering is one of them
    return best


def vertex_channels(graph: Graph, inputs: int, outputs: int) -> list[int]:
    """Share the channels of a cell out among its vertices.

    The vertices that the output takes its channels from have equal parts, the first ones in their order one more where
    there is a remainder; every other one has as many as the widest that it leads to.

    Args:
        graph: a pruned graph.
        inputs: channels that enter the cell.
        outputs: channels that leave it.

    Example:
        >>> vertex_channels(Graph(0b110011, (0, 2)), 8, 15)
        [8, 8, 7, 15]
    """
    last = graph.vertices - 1
    targets: list[list[int]] = [[] for _ in range(graph.vertices)]
    for source, target in edges_of(graph):
        targets[source].append(target)
    channels = [inputs, *[0] * (last - 1), outputs]
    direct = [vertex for vertex in range(1, last) if last in targets[vertex]]
    for position, vertex in enumerate(direct):
        channels[vertex] = outputs // len(direct) + (position < outputs % len(direct))
    for vertex in reversed(range(1, last)):
        if vertex not in direct:
            channels[vertex] = max(channels[target] for target in targets[vertex])
    return channels


# Cells as text.


def text_of(graph: Graph) -> str:
    """Write a graph: each vertex after the input with the vertices that it takes its input from.

    Example:
        >>> text_of(Graph(0b110011, (0, 2)))
        'conv3x3(0)+maxpool3x3(0)+output(1,2)'
    """
    sources: list[list[str]] = [[] for _ in range(graph.vertices)]
    for source, target in edges_of(graph):
        sources[target].append(str(source))
    names = [*(OPERATIONS[operation] for operation in graph.operations), "output"]
    return "+".join(f"{name}({','.join(taken)})" for name, taken in zip(names, sources[1:], strict=True))


def read_text(text: str) -> Graph:
    """Read what `text_of` writes, as it is written.

    Raises:
        ValueError: it is something else; the message tells what is wrong, as the end of a sentence.

    Example:
        >>> read_text("conv3x3(0)+output(1)+conv1x1(0)")
        Traceback (most recent call last):
        ...
        ValueError: its vertex 2 is 'output(1)', expected one of conv3x3, conv1x1, maxpool3x3
    """
    parts = text.strip().split("+")
    operations, edges = [], 0
    for vertex, part in enumerate(parts, 1):
        name, bracket, rest = part.strip().partition("(")
        known = ("output",) if vertex == len(parts) else OPERATIONS
        if name not in known:
            raise ValueError(f"its vertex {vertex} is '{part.strip()}', expected one of {', '.join(known)}")
        sources = rest[:-1].split(",") if bracket and rest.endswith(")") else [""]
        if not all(source.strip().isdecimal() and int(source) < vertex for source in sources):
            raise ValueError(f"its vertex {vertex} is '{part.strip()}', expected numbers of earlier vertices, as (0,1)")
        edges |= sum(1 << edge_bit(source, vertex) for source in {int(source) for source in sources})
        operations += [OPERATIONS.index(name)] if name in OPERATIONS else []
    return Graph(edges, tuple(operations))


def cell_hash(graph: Graph) -> str:
    """Compute the published hash of a pruned cell, the name that the benchmark's own files give it.

    It refines the degrees and operations of the vertices by those of their neighbours, as many times as there are
    vertices, each time by the MD5 of their sorted hashes (Ying, "Enumerating unique computational graphs via an
    iterative graph invariant", 2019).

    Example:
        >>> cell_hash(Graph(0b1, ()))
        '043721b9c7fe8c5fad811d47d83132ec'
    """
    before: list[list[int]] = [[] for _ in range(graph.vertices)]
    after: list[list[int]] = [[] for _ in range(graph.vertices)]
    for source, target in edges_of(graph):
        before[target].append(source)
        after[source].append(target)
    labels = [-1, *graph.operations, -2]
    hashes = [
        _md5(f"({len(out)}, {len(into)}, {label})") for into, out, label in zip(before, after, labels, strict=True)
    ]
    for _ in range(graph.vertices):
        hashes = [
            _md5(f"{_joined(hashes, into)}|{_joined(hashes, out)}|{own}")
            for into, out, own in zip(before, after, hashes, strict=True)
        ]
    return _md5(str(sorted(hashes)))


def _joined(hashes: Sequence[str], chosen: Iterable[int]) -> str:
    return "".join(sorted(hashes[vertex] for vertex in chosen))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# All cells at once, as arrays: the edges of a cell above `_LABEL_BITS` bits of its operations are one number.


def cell_numbers(
    vertices: int, edges: NDArray[np.integer[Any]], operations: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Give the edges and operations of the `canonical_graph` of many pruned graphs of the same number of vertices.

    Args:
        vertices: number of vertices, input and output counted.
        edges: bits of the edges of each graph, shape ``(graphs,)``.
        operations: of each graph the operations in base 3, that of vertex 1 the first digit, shape ``(graphs,)``.

    Returns:
        ``edges * 256 + operations`` of the canonical graph, shape ``(graphs,)``.

    Example:
        >>> number = cell_numbers(4, np.array([0b110011]), np.array([2 * 3 + 0]))[0]
        >>> divmod(int(number), 256) == (0b110011, 0 * 3 + 2)
        True
    """
    smallest = np.full(len(edges), np.iinfo(np.int64).max)
    for order in permutations(range(1, vertices - 1)):
        bits = _renumbered_edges(vertices, order, edges.astype(np.int64))
        numbers = bits << _LABEL_BITS | _renumbered_operations(vertices, order)[operations]
        np.minimum(smallest, np.where(bits < 0, smallest, numbers), out=smallest)
    return smallest


def graph_of(vertices: int, number: int) -> Graph:
    """Give the graph that a number of `cell_numbers` stands for.

    Example:
        >>> graph_of(4, 0b110011 << 8 | 2)
        Graph(edges=51, operations=(0, 2))
    """
    edges, code = divmod(number, 1 << _LABEL_BITS)
    return Graph(edges, tuple(code // 3 ** (vertices - 3 - position) % 3 for position in range(vertices - 2)))


def _renumbered_edges(vertices: int, order: Sequence[int], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The edges with inner vertices numbered anew; negative where one would go from a higher to a lower vertex."""
    number = (0, *order, vertices - 1)
    moves = [
        edge_bit(number[source], number[target]) if number[source] < number[target] else -1
        for source, target in _pairs(vertices)
    ]
    # Tables of half the bits each make it two look-ups.
    half = len(moves) // 2 + 1
    low, high = edges & ((1 << half) - 1), edges >> half
    moved: NDArray[np.int64] = _moved_bits(moves[:half])[low] | _moved_bits(moves[half:])[high]
    return moved


def _moved_bits(moves: Sequence[int]) -> NDArray[np.int64]:
    """Where each pattern of bits goes; negative where a bit has no place (-1)."""
    table = np.zeros(1, np.int64)
    for move in moves:
        table = np.concatenate([table, table | (np.int64(-(2**62)) if move < 0 else np.int64(1 << move))])
    return table


def _renumbered_operations(vertices: int, order: Sequence[int]) -> NDArray[np.int64]:
    """For each combination of operations the one that it is with inner vertices numbered anew."""
    combinations = np.arange(3 ** (vertices - 2))
    moved = np.zeros_like(combinations)
    for vertex in range(1, vertices - 1):
        moved += combinations // 3 ** (vertices - 2 - vertex) % 3 * 3 ** (vertices - 2 - order[vertex - 1])
    return moved


class CellClasses:
    """All 423,624 cells that are different networks, in the order in which the benchmark generates them.

    The order is by the number of vertices, then by the edges, then by the operations.

    Example:
        >>> classes = cell_classes()
        >>> len(classes), classes[1], classes.index(classes[423_623])
        (423624, Graph(edges=5, operations=(0,)), 423623)
    """

    def __init__(self) -> None:
        self._numbers = [_all_numbers(vertices) for vertices in range(2, MOST_VERTICES + 1)]
        self._starts = np.cumsum([0, *map(len, self._numbers)]).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Graph:
        vertices = 2 + next(size for size, start in enumerate(self._starts[1:]) if index < start)
        return graph_of(vertices, int(self._numbers[vertices - 2][index - self._starts[vertices - 2]]))

    def index(self, graph: Graph) -> int:
        """Tell the position of a canonical graph; ValueError where it is none of them."""
        if not 2 <= graph.vertices <= MOST_VERTICES:
            raise ValueError(f"it has {graph.vertices} vertices")
        code = 0
        for operation in graph.operations:
            code = 3 * code + operation
        numbers, wanted = self._numbers[graph.vertices - 2], graph.edges << _LABEL_BITS | code
        position = int(np.searchsorted(numbers, wanted))
        if position == len(numbers) or numbers[position] != wanted:
            raise ValueError("it is no canonical graph")
        return int(self._starts[graph.vertices - 2]) + position


@cache
def cell_classes() -> CellClasses:
    """Enumerate the cells, once: half a second.

    Example:
        >>> text_of(cell_classes()[0])
        'output(0)'
    """
    return CellClasses()


def _all_numbers(vertices: int) -> NDArray[np.int64]:
    """The numbers of all canonical graphs of so many vertices, in ascending order."""
    edges = _connected(vertices)
    combinations = np.arange(3 ** (vertices - 2))
    smallest = edges.copy()
    keeping: dict[int, list[NDArray[np.int64]]] = {}
    for order in permutations(range(1, vertices - 1)):
        moved = _renumbered_edges(vertices, order, edges)
        np.minimum(smallest, np.where(moved < 0, smallest, moved), out=smallest)
        for kept in edges[moved == edges].tolist():
            keeping.setdefault(kept, []).append(_renumbered_operations(vertices, order))
    # Of the smallest numbering of the edges, those operations that no symmetry of it makes come earlier.
    parts = [
        (kept << _LABEL_BITS) + combinations[np.all([combinations <= moved for moved in keeping[kept]], axis=0)]
        for kept in np.unique(smallest).tolist()
    ]
    return np.concatenate(parts)


def _connected(vertices: int) -> NDArray[np.int64]:
    """All sets of at most nine edges with which every vertex is on a path from input to output."""
    patterns = np.arange(1 << vertices * (vertices - 1) // 2, dtype=np.int64)
    patterns = patterns[np.bitwise_count(patterns) <= MOST_EDGES]
    is_reached, left = np.ones(len(patterns), bool), np.zeros_like(patterns)
    for target in range(1, vertices):
        sources = patterns >> edge_bit(0, target) & ((1 << target) - 1)
        is_reached &= sources > 0
        left |= sources
    connected: NDArray[np.int64] = patterns[is_reached & (left == (1 << (vertices - 1)) - 1)]
    return connected
