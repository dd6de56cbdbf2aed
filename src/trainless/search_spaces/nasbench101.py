"""NAS-Bench-101 (Ying et al., ICML 2019): 423,624 cells that are graphs of up to seven vertices and nine edges."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from typing import Any, ClassVar

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.finite import FiniteSpace
from trainless.search_spaces.nasbench101_cells import (
    MOST_EDGES,
    MOST_VERTICES,
    OPERATIONS,
    Graph,
    canonical_graph,
    cell_classes,
    cell_hash,
    edge_bit,
    edges_of,
    pruned,
    read_text,
    text_of,
    vertex_channels,
)
from trainless.search_spaces.nodes import Node
from trainless.types import Architecture, Task

__all__ = ["NASBench101"]

_STACKS = 3
_BITS = MOST_VERTICES * (MOST_VERTICES - 1) // 2
_COMPLETE = Graph((1 << _BITS) - 1, (0,) * (MOST_VERTICES - 2))
_CHOICES: Choices = ((0, 1),) * _BITS + (OPERATIONS,) * (MOST_VERTICES - 2)
_NARROW = 16  # down to which a network is made narrower
_CROSSINGS = 50
_ON_A_VERTEX = {"conv3x3": ("conv_bn_relu", 3), "conv1x1": ("conv_bn_relu", 1), "maxpool3x3": ("max_pool", 3)}
_EXAMPLE = "conv3x3(0)+maxpool3x3(0,1)+output(1,2)"


@dataclass(frozen=True)
class NASBench101(FiniteSpace):
    """NAS-Bench-101: 423,624 cells, graphs of at most seven vertices and nine edges with three operations.

    A network is a 3 x 3 convolution with batch normalisation and ReLU, three stacks of cells, each but the first behind
    a max pooling that halves the image and with twice as many channels, global average pooling and a linear layer.

    An edge from the input of a cell is a 1 x 1 convolution. A vertex adds up what comes in, each cut to the channels
    that the vertex has. The output concatenates the vertices that lead to it, and adds the edge from the input.

    How channels are shared out depends on the order of the vertices, so that isomorphic graphs can differ. Every
    architecture is therefore the first of its class that the benchmark's authors generated, whose parameters are the
    published ones, and nothing is on no path from input to output. There is no published string: ours names each vertex
    with those that it takes its input from. A genotype has the bits of the 21 edges that seven vertices can have, in
    the order (0, 1), (0, 2), (1, 2), ..., and the operations of five; where there are fewer, the output is still the
    last one, and the vertices before it are convolutions without edges.

    Args:
        channels: channels of the first stack, at least 5.
        cells: cells in each stack.

    Raises:
        InputError: there are fewer than 5 channels, or no cell.

    Example:
        >>> space = NASBench101()
        >>> len(space), str(space[1])
        (423624, 'conv3x3(0)+output(1)')
        >>> space.parameters(space[1], Task("cifar10", 10))
        10177674
    """

    name = "nasbench101"
    size = 423_624
    choices = _CHOICES
    least: ClassVar[Mapping[str, int]] = {"channels": MOST_VERTICES - 2}  # one for each vertex that the output may join

    channels: int = 128
    cells: int = 3

    # Architectures.

    def nearest(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the cell of a genotype; where it is none, the one that changes of its edges lead to.

        If input and output are not joined, they get an edge. If more than nine edges are on paths between them, the
        one that takes the fewest others with it is taken away, the last of these, until nine are left.

        Raises:
            ArchitectureError: it has not one option of each choice.

        Example:
            >>> print(NASBench101().nearest([0] * 21 + ["conv3x3"] * 5))
            output(0)
        """
        joined = _graph_of(tuple(genotype)) or Graph(1, ())
        while len(edges := edges_of(joined)) > MOST_EDGES:
            without = (pruned(Graph(joined.edges ^ 1 << edge_bit(*edge), joined.operations)) for edge in edges[::-1])
            joined = max((graph for graph in without if graph), key=lambda graph: graph.edges.bit_count())
        return _architecture(joined)

    def parse(self, text: str) -> Architecture:
        """Read a string of any graph of a class, such as ``conv3x3(0)+maxpool3x3(0,1)+output(1,2)``.

        Raises:
            ArchitectureError: the string is no cell of the space; the message tells what is wrong.

        Example:
            >>> print(NASBench101().parse("maxpool3x3(0)+conv3x3(0)+output(1,2)"))
            conv3x3(0)+maxpool3x3(0)+output(1,2)
        """
        try:
            graph = pruned(read_text(text))
            if graph is None:
                raise ValueError("no path leads from its input to its output")
            if not _is_small(graph):
                raise ValueError(
                    f"it has {graph.vertices} vertices and {len(edges_of(graph))} edges on paths to the output, where "
                    f"{MOST_VERTICES} and {MOST_EDGES} are the most"
                )
        except ValueError as error:
            raise ArchitectureError(
                f"'{text.strip()}' is no architecture of nasbench101: {error}; a cell is written like '{_EXAMPLE}'."
            ) from None
        return _architecture(graph)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the architecture itself: isomorphic cells are one architecture."""
        return _architecture(self._graph(architecture))

    def __getitem__(self, index: int) -> Architecture:
        return _architecture(cell_classes()[self._checked(index)])

    def index(self, architecture: Architecture) -> int:
        """Tell the number of a cell: cells are in the order of their vertices, then edges, then operations.

        Example:
            >>> space = NASBench101()
            >>> space.index(space[123_456])
            123456
        """
        return cell_classes().index(self._graph(architecture))

    def hash(self, architecture: Architecture) -> str:
        """Give the published hash of a cell, by which the benchmark's own files name it.

        Example:
            >>> NASBench101().hash(NASBench101().parse("conv3x3(0)+output(1)"))
            'b49ac8c578b4561d79ac7087988f1c61'
        """
        return cell_hash(self._graph(architecture))

    # Moves.

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List the cells that are one change away.

        A change is another operation of a vertex, an edge more or less, or a vertex more or less that has one edge in
        and one out; nothing else may come to lie on no path from input to output.
        """
        own = self._graph(architecture)
        found = {canonical_graph(graph) for graph in _changed(own) if pruned(graph) == graph and _is_small(graph)}
        return [_architecture(graph) for graph in sorted(found - {own}, key=lambda graph: (graph.vertices, graph))]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the `neighbors`, each with the same probability."""
        neighbors = self.neighbors(architecture)
        return neighbors[int(rng.integers(len(neighbors)))]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child that takes each edge and operation from either genotype; what is no cell is drawn again.

        After 50 draws the last one is made the `nearest` cell.
        """
        self._graph(a), self._graph(b)
        for _ in range(_CROSSINGS):
            drawn = rng.integers(2, size=len(_CHOICES)).tolist()
            genotype = tuple(pair[other] for *pair, other in zip(a.genotype, b.genotype, drawn, strict=True))
            graph = _graph_of(genotype)
            if graph and _is_small(graph):
                break
        return self.nearest(genotype)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give the bits of the genotype's edges, and which operation each vertex has, none if there is no such vertex.

        Returns:
            36 numbers, 0 or 1.
        """
        present = len(self._graph(architecture).operations)
        labels = [*architecture.genotype[_BITS:][:present], *[""] * (MOST_VERTICES - 2 - present)]
        one_hot = [float(label == operation) for label in labels for operation in OPERATIONS]
        return np.array([*map(float, architecture.genotype[:_BITS]), *one_hot])

    # Networks.

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its first cell stands for it.

        Example:
            >>> space = NASBench101()
            >>> print(space.draw(space.parse("conv3x3(0)+output(0,1)")))
            node 0 = input
            node 1 = project(node 0)
            node 2 = conv3x3(node 1)
            node 3 = concatenate(node 2)
            output = pass on(node 3) + project(node 0)
        """
        graph = self._graph(architecture)
        draft, number = Draft(task), 1
        draft.add("features.0", "conv_bn_relu", self.channels, kernel=3, block="stem")
        for stack in range(_STACKS):
            if stack:
                draft.add(f"features.{number}", "max_pool", kernel=2, stride=2)
                number += 1
            # The first cell of a stack changes the number of channels, and so differs from those after it.
            for repeat in (1, self.cells - 1):
                if repeat:
                    _add_cell(draft, f"features.{number}", graph, self.channels << stack, repeat, f"stack {stack + 1}")
                    number += repeat
        draft.classify(task.classes)
        return draft.blueprint(pictured="features.1")

    @property
    def sizes(self) -> tuple[NASBench101, ...]:
        """The same cells in ever smaller networks: first there are fewer of them, and only then they are narrower.

        Example:
            >>> [(space.channels, space.cells) for space in NASBench101().sizes]
            [(128, 3), (128, 2), (128, 1), (64, 1), (32, 1), (16, 1)]
        """
        spaces = [self]
        while (last := spaces[-1]).cells > 1 or last.channels // 2 >= _NARROW:
            is_deep = last.cells > 1
            spaces.append(NASBench101(last.channels // (1 if is_deep else 2), max(1, last.cells - 1)))
        return tuple(spaces)

    def _graph(self, architecture: Architecture) -> Graph:
        genotype = self._own(architecture).genotype
        graph = _graph_of(genotype)
        if graph is None or not _is_small(graph) or _genotype_of(canonical_graph(graph)) != genotype:
            raise ArchitectureError(
                f"'{architecture}' with the genotype {genotype} is no cell of nasbench101: make cells by `parse` or "
                "`nearest`."
            )
        return graph


def _is_small(graph: Graph) -> bool:
    return graph.vertices <= MOST_VERTICES and len(edges_of(graph)) <= MOST_EDGES


def _architecture(graph: Graph) -> Architecture:
    """The architecture that stands for a pruned graph and all that are isomorphic to it."""
    graph = canonical_graph(graph)
    return Architecture(NASBench101.name, _genotype_of(graph), text_of(graph))


@lru_cache(maxsize=1 << 16)
def _genotype_of(graph: Graph) -> tuple[str | int, ...]:
    """The bits of all edges that there can be, with the output as the last vertex, and the operations."""
    last = graph.vertices - 1
    present = {(source, target if target < last else MOST_VERTICES - 1) for source, target in edges_of(graph)}
    bits = [int(edge in present) for edge in edges_of(_COMPLETE)]
    operations = [OPERATIONS[operation] for operation in graph.operations]
    return (*bits, *operations, *[OPERATIONS[0]] * (len(_COMPLETE.operations) - len(operations)))


@lru_cache(maxsize=1 << 16)
def _graph_of(genotype: tuple[str | int, ...]) -> Graph | None:
    """The graph of a genotype without what is on no path; None where input and output are not joined."""
    if len(genotype) != len(_CHOICES) or any(
        gene not in options for gene, options in zip(genotype, _CHOICES, strict=True)
    ):
        raise ArchitectureError(
            f"The genotype {genotype} is no cell of 'nasbench101': expected {_BITS} bits of edges and "
            f"{len(_CHOICES) - _BITS} of the operations {', '.join(OPERATIONS)}."
        )
    bits = sum(1 << position for position, bit in enumerate(genotype[:_BITS]) if bit)
    return pruned(Graph(bits, tuple(OPERATIONS.index(str(operation)) for operation in genotype[_BITS:])))


def _changed(graph: Graph) -> Iterator[Graph]:
    """Graphs with one operation, edge, or vertex of one edge in and one out changed; some may be no cells."""
    last, new = graph.vertices - 1, graph.vertices
    edges, labels = set(edges_of(graph)), dict(enumerate(graph.operations, 1))
    for vertex, own in labels.items():
        yield from (
            _numbered(edges, labels | {vertex: other}, last) for other in range(len(OPERATIONS)) if other != own
        )
        touching = {edge for edge in edges if vertex in edge}
        if len(touching) == 2:
            kept = {other: label for other, label in labels.items() if other != vertex}
            yield _numbered(edges - touching, kept, last)
    for edge in edges:
        yield _numbered(edges - {edge}, labels, last)
    for source, target in itertools.product(range(last), range(1, new)):
        if source == target or _leads(edges, target, source):
            continue
        if (source, target) not in edges:
            yield _numbered(edges | {(source, target)}, labels, last)
        if new < MOST_VERTICES:
            around = edges | {(source, new), (new, target)}
            yield from (_numbered(around, labels | {new: label}, last) for label in range(len(OPERATIONS)))


def _leads(edges: Collection[tuple[int, int]], start: int, end: int) -> bool:
    """Whether there is a path from one vertex to another."""
    return any(source == start and (target == end or _leads(edges, target, end)) for source, target in edges)


def _numbered(edges: Collection[tuple[int, int]], labels: Mapping[int, int], last: int) -> Graph:
    """The graph with its vertices numbered so that all edges go up."""
    sources: dict[int, list[int]] = {vertex: [0] for vertex in labels} | {last: [0, *labels]}
    for source, target in edges:
        sources[target].append(source)
    order = list(TopologicalSorter(sources).static_order())
    number = {vertex: position for position, vertex in enumerate(order)}
    bits = sum(1 << edge_bit(number[source], number[target]) for source, target in edges)
    return Graph(bits, tuple(labels[vertex] for vertex in order[1:-1]))


def _add_cell(draft: Draft, name: str, graph: Graph, outputs: int, repeat: int, block: str) -> None:
    """Add a cell: for each vertex the sum of what comes in, and its operation; then what the output makes of them."""
    inputs, last = draft.channels, graph.vertices - 1
    channels = vertex_channels(graph, inputs, outputs)
    values = ["input", *map(str, range(1, last)), "output"]
    entering = [[source for source, target in edges_of(graph) if target == vertex] for vertex in range(last + 1)]
    nodes: list[Node] = []

    def add(operation: str, reads: int, gives: int, source: str, target: str, label: str, **settings: Any) -> None:
        draft.channels = reads
        shared: dict[str, Any] = {
            "source": source, "target": target, "label": label, "repeat": repeat, "block": block
        }  # fmt: skip
        nodes.append(draft.node(name, operation, gives, **shared, **settings))

    for vertex, operation in enumerate(graph.operations, 1):
        into, width = f"into {vertex}", channels[vertex]
        for source in entering[vertex]:
            if source:
                add("cut", channels[source], width, values[source], into, "pass on")
            else:
                add("conv_bn_relu", inputs, width, "input", into, "project")
        kind, kernel = _ON_A_VERTEX[OPERATIONS[operation]]
        add(kind, width, width, into, values[vertex], OPERATIONS[operation], kernel=kernel)
    joined = [source for source in entering[last] if source]
    total = "output" if joined == entering[last] else "joined"
    for source in joined:
        width = channels[source]
        add("cut", width, width, values[source], total, "concatenate", is_joined=True)
    if joined and total == "joined":
        add("cut", outputs, outputs, "joined", "output", "pass on")
    if 0 in entering[last]:
        add("conv_bn_relu", inputs, outputs, "input", "output", "project")
    draft.extend(nodes, outputs, draft.size)
