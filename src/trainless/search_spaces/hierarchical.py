"""Motifs of motifs: hierarchical representations (Liu et al., ICLR 2018)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft, live_edges
from trainless.search_spaces.nodes import INPUT, OUTPUT, Node
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["Hierarchical"]

_NONE = "0"
_PRIMITIVES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "1": {"operation": "skip_connect", "label": "identity"},
        "2": {"operation": "max_pool", "kernel": 3, "label": "max pool"},
        "3": {"operation": "avg_pool_3x3", "label": "average pool"},
        "4": {"operation": "conv_bn_relu", "label": "conv 1×1"},
        "5": {"operation": "conv_bn_relu", "kernel": 3, "is_depthwise": True, "label": "depthwise 3×3"},
        "6": {"operation": "dil_conv", "kernel": 3, "label": "separable 3×3"},
    }
)
_MOTIFS = 6
_MOTIF_NODES, _CELL_NODES = 4, 5
_STAGES = 3
_EXAMPLE = "1203000045-143000-200050-600006-000000-000000-000000"


def _pairs(nodes: int) -> tuple[tuple[int, int], ...]:
    """The edges of a graph, by the node that they enter."""
    return tuple((source, target) for target in range(1, nodes) for source in range(target))


_MOTIF_EDGES, _CELL_EDGES = _pairs(_MOTIF_NODES), _pairs(_CELL_NODES)
_FORM = re.compile(rf"([0-{_MOTIFS}]{{{len(_CELL_EDGES)}}})" + rf"-([0-6]{{{len(_MOTIF_EDGES)}}})" * _MOTIFS)


@dataclass(frozen=True)
class Hierarchical(ProductSpace):
    """A cell whose edges are motifs, whose edges are operations: six motifs of four nodes, a cell of five.

    A node is the sum of what the edges into it give. An edge of a motif is one of six operations, identity, max and
    average pooling, 1 x 1, depthwise and separable convolution, or none; an edge of the cell is one of the six motifs,
    with weights of its own, or none. A network is a 3 x 3 convolution, three stages of one cell, between which a
    separable convolution halves the image and doubles the channels, global average pooling and a linear layer. It is
    written as the motifs on the ten edges of the cell, and then the operations on the six edges of each motif, 0 being
    none, edges in the order of the nodes that they enter.

    The levels and their numbers are those of the paper. How motifs are merged is not: there it is by concatenation and
    a 1 x 1 convolution, of which no public numbers tell how they are made.

    Source: Liu et al., Hierarchical Representations for Efficient Architecture Search, ICLR 2018.

    Args:
        channels: of the first stage.

    Raises:
        InputError: there are fewer than 1 channels.

    Example:
        >>> space = Hierarchical()
        >>> space.size == 7**46, str(space[0])
        (True, '0000000000-000000-000000-000000-000000-000000-000000')
    """

    name = "hierarchical"
    noun = "hierarchy of motifs"
    halves = ("channels", 4)
    choices = (
        (tuple(map(str, range(_MOTIFS + 1))),) * len(_CELL_EDGES)
        + ((_NONE, *_PRIMITIVES),) * (_MOTIFS * len(_MOTIF_EDGES))
    )  # fmt: skip
    expected = f"{len(_CELL_EDGES)} motifs and {_MOTIFS} times {len(_MOTIF_EDGES)} operations, digits from 0 to 6"

    channels: int = 16

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write the edges of the cell and of each motif as digits, joined by hyphens."""
        cell, motifs = _levels(genotype)
        return "-".join(["".join(cell), *("".join(motif) for motif in motifs)])

    def parse(self, text: str) -> Architecture:
        """Read a hierarchy's string.

        Raises:
            ArchitectureError: the string is none of the space.

        Example:
            >>> Hierarchical().parse("123")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '123' is no architecture of hierarchical: expected a form like...
        """
        read = _FORM.fullmatch(text.strip())
        if read is None:
            raise ArchitectureError(
                f"'{text.strip()}' is no architecture of hierarchical: expected a form like '{_EXAMPLE}'."
            )
        return self.make(list("".join(read.groups())))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give one representative of architectures that are the same network: dead edges are none.

        Motifs are numbered in the order in which the cell uses them, equal ones are one, and those that it does not use
        have no edges. Nodes in another order are another architecture.

        Example:
            >>> space = Hierarchical()
            >>> print(space.canonical(space.parse("0000003011-000100-555555-000100-000000-000000-000000")))
            0000001000-000100-000000-000000-000000-000000-000000
        """
        cell, motifs = _levels(self.genotype(architecture))
        pruned = [_pruned(motif, _MOTIF_EDGES) for motif in motifs]
        empty = (_NONE,) * len(_MOTIF_EDGES)
        used = [_NONE if digit == _NONE or pruned[int(digit) - 1] == empty else digit for digit in cell]
        alive = _pruned(used, _CELL_EDGES)
        numbered: dict[tuple[str, ...], str] = {}
        for digit in alive:
            if digit != _NONE:
                numbered.setdefault(pruned[int(digit) - 1], str(len(numbered) + 1))
        renamed = [digit if digit == _NONE else numbered[pruned[int(digit) - 1]] for digit in alive]
        kept = [*numbered, *[empty] * (_MOTIFS - len(numbered))]
        return self.make([*renamed, *itertools.chain.from_iterable(kept)])

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its first cell stands for it, motifs written out.

        Example:
            >>> space = Hierarchical()
            >>> print(space.draw(space.parse("0000001000-110001-000000-000000-000000-000000-000000")))
            node 0 = input
            node 1 = 0
            node 2 = 0
            node 3 = 0
            node 4 = identity(node 0) [dead]
            node 5 = identity(node 0)
            output = identity(node 5)
        """
        cell, motifs = _levels(self.genotype(architecture))
        draft, channels = Draft(task), self.channels
        draft.add("features.0", "conv_bn_relu", channels, kernel=3, block="stem")
        number = 1
        for stage in range(1, _STAGES + 1):
            if stage > 1:
                channels *= 2
                draft.add(
                    f"features.{number}", "dil_conv", channels, kernel=3, stride=2, block=f"reduction {stage - 1}"
                )
                number += 1
            _add_cell(draft, f"features.{number}", cell, motifs, f"stage {stage}")
            number += 1
        draft.classify(task.classes)
        return draft.blueprint(pictured="features.1")


def _levels(genotype: Sequence[str | int]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The edges of the cell, and of each motif."""
    digits, edges = tuple(map(str, genotype)), len(_MOTIF_EDGES)
    starts = range(len(_CELL_EDGES), len(digits), edges)
    return digits[: len(_CELL_EDGES)], [digits[start : start + edges] for start in starts]


def _pruned(digits: Sequence[str], edges: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """A graph's edges without those on no path from its first node to its last."""
    there = [edge for edge, digit in zip(edges, digits, strict=True) if digit != _NONE]
    live = live_edges(there, 0, edges[-1][1])
    return tuple(digit if edge in live else _NONE for edge, digit in zip(edges, digits, strict=True))


def _add_cell(
    draft: Draft, name: str, cell: Sequence[str], motifs: Sequence[Sequence[str]], block: str
) -> None:  # fmt: skip
    """Add the cell with its motifs written out: their inner nodes become nodes of the cell."""
    names = (INPUT, *map(str, range(1, _CELL_NODES - 1)), OUTPUT)
    nodes: list[Node] = []
    for target in range(1, _CELL_NODES):
        entering: list[Node] = []  # what gives the target stands together, behind the inner nodes of its motifs
        for source in range(target):
            digit = cell[_CELL_EDGES.index((source, target))]
            inner = (
                names[source],
                *(f"{source}>{target}.{node}" for node in range(1, _MOTIF_NODES - 1)),
                names[target],
            )
            motif = motifs[int(digit) - 1] if digit != _NONE else (_NONE,) * len(_MOTIF_EDGES)
            for (start, end), primitive in zip(_MOTIF_EDGES, motif, strict=True):
                if primitive == _NONE and inner[end] != names[target]:
                    continue
                made = _primitive(draft, name, primitive, inner[start], inner[end], block)
                (entering if inner[end] == names[target] else nodes).append(made)
        nodes += entering
    # What no edge gives is zero, and so is what is made of it alone.
    count = 0
    while count != len(nodes):
        count, given = len(nodes), {INPUT, *(node.target for node in nodes)}
        nodes = [node for node in nodes if node.source in given]
    draft.extend(nodes, draft.channels, draft.size)


def _primitive(draft: Draft, name: str, primitive: str, source: str, target: str, block: str) -> Node:
    settings = dict(_PRIMITIVES.get(primitive, {"operation": "none", "label": "none"}))
    groups = draft.channels if settings.pop("is_depthwise", False) else 1
    return draft.node(
        name, settings.pop("operation"), source=source, target=target, block=block, groups=groups, **settings
    )
