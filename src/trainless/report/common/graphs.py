"""Where the nodes and edges of an architecture's graph are drawn: from left to right, no edge upon another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np
import numpy.typing as npt

from trainless.search_spaces.base import Edge

__all__ = ["Cell", "Curve", "lay_out"]

# How far an edge may bow, in the distance of two neighbouring rows of nodes, and what it has to keep from another.
_BOWS = (0.0, *itertools.chain.from_iterable((0.6 * step, -0.6 * step) for step in range(1, 7)))
_CLEARANCE = 0.25
_LINE = 0.17  # height of a further line of a name
_STEPS = np.linspace(0, 1, 41)


@dataclass(frozen=True, eq=False)
class Curve:
    """One edge as it is drawn.

    Args:
        edge: what it stands for.
        bow: how far its middle is above the straight line.
        points: shape ``(41, 2)``, from its source to its target, x rising.
    """

    edge: Edge
    bow: float
    points: npt.NDArray[np.float64]

    @property
    def middle(self) -> tuple[float, float]:
        """Where its name stands."""
        x, y = self.points[len(self.points) // 2]
        return float(x), float(y)


@dataclass(frozen=True, eq=False)
class Cell:
    """A graph laid out.

    Args:
        nodes: by name its place, x being the layer.
        curves: the edges, in the order given.
    """

    nodes: dict[str, tuple[float, float]]
    curves: tuple[Curve, ...]

    @property
    def live(self) -> set[str]:
        """The input, the output and all nodes on a path between them."""
        return {"input", "output"}.union(
            *({curve.edge.source, curve.edge.target} for curve in self.curves if curve.edge.live)
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest y of all, with room for names."""
        ys = [y for _, y in self.nodes.values()]
        for curve in self.curves:
            name = _LINE * curve.edge.operation.count(", ") * (1 if curve.bow >= 0 else -1)
            ys += [float(y) + shift for y in curve.points[:, 1] for shift in (0, name)]
        return min(ys) - 0.4, max(ys) + 0.4

    @property
    def layers(self) -> int:
        """Number of columns of nodes."""
        return 1 + round(self.nodes["output"][0])


def lay_out(graph: Sequence[Edge]) -> Cell:
    """Place the nodes of an acyclic graph by their longest path from the left, and lead its edges past each other.

    The input is first and the output last by itself. Edges are led one by one, the shortest first: each takes the
    smallest bow that keeps clear of other nodes and of the edges before it, or where none does, the clearest.

    Raises:
        graphlib.CycleError: the graph has a cycle.

    Example:
        >>> cell = lay_out([Edge("input", "1", "a"), Edge("1", "output", "b"), Edge("input", "output", "c")])
        >>> cell.nodes
        {'input': (0.0, 0.0), '1': (1.0, 0.0), 'output': (2.0, 0.0)}
        >>> [curve.bow for curve in cell.curves]
        [0.0, 0.0, 0.6]
    """
    nodes = _places(graph)
    order = sorted(range(len(graph)), key=lambda index: _span(graph[index], nodes))
    curves: dict[int, Curve] = {}
    for index in order:
        curves[index] = _lead(graph[index], nodes, list(curves.values()))
    return Cell(nodes, tuple(curves[index] for index in range(len(graph))))


def _places(graph: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    sources: dict[str, list[str]] = {"input": []}
    for edge in graph:
        sources.setdefault(edge.source, [])
        sources.setdefault(edge.target, []).append(edge.source)
    layer = {"input": 0}
    for node in TopologicalSorter(sources).static_order():
        if node != "input":  # which alone is in the first layer, even where nothing leads to another node
            layer[node] = 1 + max((layer[source] for source in sources.get(node, ())), default=0)
    layer["output"] = 1 + max(depth for node, depth in layer.items() if node != "output")
    nodes = {}
    for number in sorted(set(layer.values())):
        members = [node for node in [*sources, "output"] if layer[node] == number]
        for row, node in enumerate(dict.fromkeys(members)):
            nodes[node] = (float(number), (len(set(members)) - 1) / 2 - row)
    return nodes


def _span(edge: Edge, nodes: dict[str, tuple[float, float]]) -> float:
    return nodes[edge.target][0] - nodes[edge.source][0]


def _lead(edge: Edge, nodes: dict[str, tuple[float, float]], others: list[Curve]) -> Curve:
    start, end = np.array(nodes[edge.source]), np.array(nodes[edge.target])
    inner = [point for name, point in nodes.items() if name not in (edge.source, edge.target)]
    best, most = None, -1.0
    for bow in _BOWS:
        points = start + _STEPS[:, None] * (end - start)
        points[:, 1] += 4 * bow * _STEPS * (1 - _STEPS)
        room = _room(points, inner, others)
        if room > most:
            best, most = Curve(edge, bow, points), room
        if room >= _CLEARANCE:
            break
    assert best is not None
    return best


def _room(points: npt.NDArray[np.float64], nodes: list[tuple[float, float]], others: list[Curve]) -> float:
    """The least vertical distance of an edge from nodes on its way and, away from its ends, from other edges."""
    xs, ys = points.T
    distances = [abs(float(np.interp(x, xs, ys)) - y) for x, y in nodes if xs[0] < x < xs[-1]]
    for other in others:
        low, high = max(xs[0], other.points[0, 0]), min(xs[-1], other.points[-1, 0])
        if low < high:
            shared = low + (high - low) * np.linspace(0.3, 0.7, 9)
            distances.append(float(np.abs(np.interp(shared, xs, ys) - np.interp(shared, *other.points.T)).min()))
    return min(distances, default=_CLEARANCE)
