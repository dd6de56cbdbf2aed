"""The search space of DARTS (Liu et al., ICLR 2019), which NAS-Bench-301 (Zela et al., ICLR 2022) takes over."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.nodes import EARLIER, INPUT, OUTPUT, Node, Size
from trainless.search_spaces.product import ProductSpace
from trainless.search_spaces.relaxation import Relaxation, in_order
from trainless.types import Architecture, Task

__all__ = ["DARTS", "V1", "V2"]

_NONE = "none"
_OPERATIONS = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
_CODES = {name: str(code) for code, name in enumerate((*_OPERATIONS, _NONE))}
_NAMES = {code: name for name, code in _CODES.items()}
_NODES = 4  # of a cell
_GENES = 3  # of a node: its two sources, and the operation on the edge from each
_CELLS = ("normal", "reduce")
_LEAST_CHANNELS = 8  # down to which a network is made narrower
_PAIR = re.compile(r"\(\s*([0-9])\s*,\s*([0-7])\s*\)")
_NAMED_PAIR = re.compile(r"""\(\s*['"]([a-z0-9_]+)['"]\s*,\s*([0-9])\s*\)""")
_COMPACT = re.compile(r"\[\s*\[([^\[\]]*)\]\s*,\s*\[([^\[\]]*)\]\s*\]")
_CONCATENATED = re.compile(
    r"(?:normal|reduce)_concat\s*=\s*(range\(\s*2\s*,\s*6\s*\)|\[\s*2\s*,\s*3\s*,\s*4\s*,\s*5\s*\])"
)
V1 = (
    "[[(0, 3), (1, 3), (0, 2), (1, 3), (0, 2), (1, 3), (0, 3), (2, 2)], "
    "[(0, 0), (1, 0), (0, 0), (2, 2), (0, 0), (2, 2), (1, 1), (2, 2)]]"
)
V2 = (
    "[[(0, 3), (1, 3), (0, 3), (1, 3), (0, 2), (1, 3), (0, 2), (2, 5)], "
    "[(0, 0), (1, 0), (1, 0), (2, 2), (0, 0), (2, 2), (1, 0), (2, 2)]]"
)
_EXAMPLE = "[[(0, 3), (1, 3), ...], [(0, 0), (1, 0), ...]]"

Edges = tuple[tuple[int, str], ...]  # source and operation of each edge, two a node


class _Edge(NamedTuple):
    """An operation of a cell: for which of its nodes, on which value, and what it is."""

    node: int
    source: int
    operation: str


_Cell = tuple[_Edge, ...]


class _Value(NamedTuple):
    """What a cell reads: its channels, and rows and columns."""

    channels: int
    size: Size


@dataclass(frozen=True)
class DARTS(ProductSpace):
    """DARTS: a normal and a reduction cell of four nodes, each the sum of operations on two earlier values.

    A network is a 3 x 3 convolution to three times the channels, cells one after another, global average pooling and a
    linear layer. A cell reads what the two cells before it give and concatenates its four nodes. The cells after a
    third and two thirds are reduction cells, which double the channels and halve the image. A genotype is written as
    NAS-Bench-301 does it: for the normal and the reduction cell eight pairs of a source and an operation, two for each
    node; 0 is a max and 1 an average pooling, 2 a skip, 3 and 4 separable and 5 and 6 dilated convolutions of 3 x 3 and
    5 x 5 pixels. ``parse`` also reads the ``Genotype(normal=[('sep_conv_3x3', 1), ...], ...)`` of DARTS. The order of
    the two edges of a node makes no difference, so that there is one string of each genotype.

    The options are by default those that NAS-Bench-301 trained with. ``darts(channels=36, layers=20)`` is the network
    in which DARTS is evaluated on CIFAR-10, and ``darts(affine=0, pool_norm=1)`` that of the scores of
    NAS-Bench-Suite-Zero.

    Args:
        channels: of the first cells.
        layers: number of cells.
        affine: 1 where the normalisations of the operations have gains and offsets, else 0.
        pool_norm: 1 where a normalisation follows each pooling, else 0.
        none: 1 where an edge may be missing, and both edges of a node may have one source, as in genotypes that were
            drawn for DARTS without NAS-Bench-301's rules; else 0.

    Raises:
        InputError: there are fewer than 2 channels or 3 layers.

    Example:
        >>> space = DARTS()
        >>> f"{space.size:.4g}", space.parameters(space.parse("DARTS_V2"), Task("cifar10", 10))
        ('1.077e+18', 919722)
    """

    name = "darts"
    noun = "genotype"
    least: ClassVar[Mapping[str, int]] = MappingProxyType(
        {"channels": 2, "layers": 3, "affine": 0, "pool_norm": 0, "none": 0}
    )
    named = MappingProxyType({"DARTS_V1": V1, "DARTS_V2": V2})
    expected = "for each of 4 nodes of 2 cells two sources and the operation on the edge from each"

    channels: int = 32
    layers: int = 8
    affine: int = 1
    pool_norm: int = 0
    none: int = 0

    @cached_property
    def choices(self) -> Choices:
        """For each node the pair of its sources, and the operation on the edge from either."""
        operations = (*_OPERATIONS, _NONE) if self.none else _OPERATIONS
        pairs = itertools.combinations_with_replacement if self.none else itertools.combinations
        sources = [tuple(f"{a} {b}" for a, b in pairs(range(node + 2), 2)) for node in range(_NODES)]
        return tuple(choice for options in sources for choice in (options, operations, operations)) * len(_CELLS)

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write a genotype as NAS-Bench-301 does."""
        cells = (", ".join(f"({source}, {_CODES[name]})" for source, name in edges) for edges in _edges(genotype))
        return "[" + ", ".join(f"[{cell}]" for cell in cells) + "]"

    def parse(self, text: str) -> Architecture:
        """Read a genotype in NAS-Bench-301's form or in that of DARTS, or one of the names ``DARTS_V1`` and ``_V2``.

        Raises:
            ArchitectureError: the string is none of the space.

        Example:
            >>> DARTS().parse("[[(0, 3)], []]")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '[[(0, 3)], []]' is no architecture of darts: expected a form like...
        """
        stripped = self.named.get(text.strip(), text.strip())
        cells = _read(stripped)
        if cells is None or any(len(edges) != 2 * _NODES for edges in cells):
            raise ArchitectureError(
                f"'{stripped}' is no architecture of darts: expected a form like '{_EXAMPLE}', or DARTS's Genotype, "
                "with eight pairs for each cell."
            )
        genotype: list[str | int] = []
        for edges in cells:
            for first, second in zip(edges[::2], edges[1::2], strict=True):
                genotype += _genes(first, second)
        try:
            return self.make(genotype)
        except ArchitectureError as error:
            rule = "" if self.none else " and, unless it is darts(none=1), two different ones, with an operation each"
            raise ArchitectureError(
                f"'{stripped}' is no architecture of darts: the sources of node n are 0 to n - 1{rule}."
            ) from error

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all that are the same network.

        Genotypes differ in it where an edge is missing, for it makes no difference which, and where both edges of a
        node have one source. Nodes in another order, whose channels are then concatenated in another order, are other
        networks.

        Example:
            >>> space = DARTS(none=1)
            >>> text = DARTS().text(DARTS().parse("DARTS_V1").genotype).replace("(1, 3)", "(1, 7)", 1)
            >>> print(space.canonical(space.parse(text)))
            [[(0, 3), (0, 7), (0, 2), ...
        """
        genotype: list[str | int] = []
        for edges in _edges(self.genotype(architecture)):
            ordered = [(0, name) if name == _NONE else (source, name) for source, name in edges]
            for pair in zip(ordered[::2], ordered[1::2], strict=True):
                genotype += _genes(*sorted(pair, key=lambda edge: _CODES[edge[1]]))
        return self.make(genotype)

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its normal cell stands for it.

        Example:
            >>> print(DARTS().draw(DARTS().parse("DARTS_V2")))
            node 0 = input
            node 1 = what the cell before read
            node 2 = preprocess(node 1)
            node 3 = preprocess(node 0)
            node 4 = sep 3×3(node 2) + sep 3×3(node 3)
            node 5 = sep 3×3(node 2) + sep 3×3(node 3)
            node 6 = skip(node 2) + sep 3×3(node 3)
            node 7 = skip(node 2) + dil 3×3(node 4)
            output = join(node 4) + join(node 5) + join(node 6) + join(node 7)
        """
        normal, reduction = (
            tuple(_Edge(number // 2, source, name) for number, (source, name) in enumerate(edges))
            for edges in _edges(self.genotype(architecture))
        )
        return self._draft(normal, reduction, task).blueprint(pictured="cells.0")

    def _draft(self, normal: _Cell, reduction: _Cell, task: Task) -> Draft:
        draft, channels = Draft(task), self.channels
        draft.add("stem.0", "conv", 3 * channels, kernel=3, block="stem")
        draft.add("stem.1", "batch_norm", block="stem")
        earlier = current = _Value(draft.channels, draft.size)
        for layer in range(self.layers):
            reduces = self._reduces(layer)
            channels *= 2 if reduces else 1
            nodes = self._cell(layer, reduction if reduces else normal, channels, reduces, earlier, current)
            size = nodes[-1].size
            draft.extend(nodes, _NODES * channels, size)
            earlier, current = current, _Value(_NODES * channels, size)
        draft.classify(task.classes)
        return draft

    def relaxation(self, task: Task) -> Relaxation:
        """Join all operations on all edges of both cells; of a node those two edges are taken that weigh most.

        What an edge weighs is the largest weight of its operations but ``none``, which is among them though networks
        need not have it: it takes weight from all others.

        Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019.
        """
        options = (*_OPERATIONS, _NONE)
        every = tuple(
            _Edge(node, source, operation)
            for node in range(_NODES)
            for source in range(node + 2)
            for operation in options
        )
        numbers = {edge: number for number, edge in enumerate(every)}
        named = {self._settings(name, False)["label"]: name for name in options}
        found: dict[Node, tuple[int, ...]] = {}
        nodes = self._draft(every, every, task).nodes
        for node in nodes:
            if node.source.isdigit() and node.target != OUTPUT:
                edge = _Edge(int(node.target) - 2, int(node.source), named[node.label])
                start = len(every) if self._reduces(int(node.name.rpartition(".")[2])) else 0
                found[node] = (start + numbers[edge],)
            else:
                found[node] = ()
        ordered = in_order(nodes, [[node.name for node in nodes]])
        choices = (options,) * (len(_CELLS) * len(every) // len(options))
        ordered_nodes = tuple((node, found[node]) for node in ordered)
        return Relaxation(choices, ordered_nodes, self._decoded, self._encoded)

    def _reduces(self, layer: int) -> bool:
        """Whether a cell is a reduction cell."""
        return layer in (self.layers // 3, 2 * self.layers // 3)

    def _encoded(self, architecture: Architecture) -> list[list[float]]:
        """1 for each operation on an edge that the genotype has, 0 for all others."""
        return [
            [float((source, name) in edges[2 * node : 2 * node + 2]) for name in (*_OPERATIONS, _NONE)]
            for edges in _edges(self.genotype(architecture))
            for node in range(_NODES)
            for source in range(node + 2)
        ]

    def _decoded(self, weights: Sequence[Sequence[float]]) -> Architecture:
        """The genotype of the two heaviest edges of each node, each with its heaviest operation."""
        genotype, edges = list[str](), iter(weights)
        for _ in _CELLS:
            for node in range(_NODES):
                best = [
                    (max(zip(own, _OPERATIONS, strict=False)), source)
                    for source, own in zip(range(node + 2), edges, strict=False)
                ]
                first, second = sorted(best, reverse=True)[:2]
                genotype += _genes(*((source, operation) for (_, operation), source in (first, second)))
        return self.make(genotype)

    @property
    def sizes(self) -> tuple[DARTS, ...]:
        """The same genotypes in ever smaller networks: first with fewer cells, then narrower ones by halves.

        Example:
            >>> [(space.layers, space.channels) for space in DARTS().sizes]
            [(8, 32), (5, 32), (3, 32), (3, 16), (3, 8), (3, 4)]
        """
        options = dict(self.options)
        spaces = [self]
        for layers in (5, 3):
            if layers < spaces[-1].layers:
                spaces.append(DARTS(**{**options, "layers": layers}))
        while spaces[-1].channels >= _LEAST_CHANNELS:
            last = spaces[-1]
            spaces.append(DARTS(**{**options, "layers": last.layers, "channels": last.channels // 2}))
        return tuple(spaces)

    def _cell(
        self, layer: int, edges: _Cell, channels: int, reduces: bool, earlier: _Value, current: _Value
    ) -> list[Node]:
        name, block = f"cells.{layer}", f"cell {layer + 1}"
        shared: dict[str, Any] = {"name": name, "block": block}
        shrinks = earlier.size != current.size
        nodes = [
            Node(operation="factorized_reduction" if shrinks else "relu_conv_bn", inputs=earlier.channels,
                 channels=channels, size=earlier.size, stride=2 if shrinks else 1, source=EARLIER, target="0",
                 label="preprocess", **shared),
            Node(operation="relu_conv_bn", inputs=current.channels, channels=channels, size=current.size, source=INPUT,
                 target="1", label="preprocess", **shared),
        ]  # fmt: skip
        before, after = current.size, current.size
        for target, source, operation in edges:
            strides = reduces and source < 2
            node = Node(
                inputs=channels, channels=channels, size=before if source < 2 else after, stride=2 if strides else 1,
                source=str(source), target=str(2 + target), **self._settings(operation, strides), **shared,
            )  # fmt: skip
            after = node.output_size if source < 2 else after
            nodes.append(node)
        # The last node of all gives the size of the cell.
        joined = [
            Node(operation="join", inputs=channels, channels=_NODES * channels, size=after, source=str(2 + number),
                 target=OUTPUT, is_joined=True, **shared)
            for number in range(_NODES)
        ]  # fmt: skip
        return [*nodes, *joined]

    def _settings(self, operation: str, strides: bool) -> dict[str, Any]:
        """What the node of an operation is, beside its place."""
        normalised = "_bn" if self.pool_norm else ""
        affine = {"is_affine": bool(self.affine)}
        if operation == _NONE:
            return {"operation": "none", "label": "none"}
        if operation == "skip_connect":
            return {"operation": "factorized_reduction" if strides else "skip_connect", "label": "skip", **affine}
        if operation == "max_pool_3x3":
            return {"operation": f"max_pool{normalised}", "kernel": 3, "label": "max pool"}
        if operation == "avg_pool_3x3":
            return {"operation": f"avg_pool_3x3{normalised}", "kernel": 3, "label": "average pool"}
        kind, size = operation.split("_conv_")
        kernel, label = int(size[0]), f"{kind} {size[0]}×{size[0]}"
        if kind == "sep":
            return {"operation": "sep_conv", "kernel": kernel, "label": label, **affine}
        return {"operation": "dil_conv", "kernel": kernel, "dilation": 2, "label": label, **affine}


def _edges(genotype: Sequence[str | int]) -> tuple[Edges, Edges]:
    """The edges of both cells."""
    edges: list[tuple[int, str]] = []
    for start in range(0, len(genotype), _GENES):
        sources, *operations = map(str, genotype[start : start + _GENES])
        edges += [(int(source), name) for source, name in zip(sources.split(), operations, strict=True)]
    half = 2 * _NODES
    return tuple(edges[:half]), tuple(edges[half:])


def _genes(first: tuple[int, str], second: tuple[int, str]) -> tuple[str, str, str]:
    """The genes of a node: its edges by their sources."""
    (a, before), (b, after) = sorted([first, second], key=lambda edge: edge[0])
    return f"{a} {b}", before, after


def _read(text: str) -> list[list[tuple[int, str]]] | None:
    """The edges of both cells in either form, or None where it is neither."""
    if compact := _COMPACT.fullmatch(text):
        return [[(int(source), _NAMES[code]) for source, code in _PAIR.findall(cell)] for cell in compact.groups()]
    if not text.startswith("Genotype(") or len(_CONCATENATED.findall(text)) != len(_CELLS):
        return None
    cells = []
    for name in _CELLS:
        listed = re.search(rf"\b{name}\s*=\s*\[([^\[\]]*)\]", text)
        pairs = _NAMED_PAIR.findall(listed.group(1)) if listed else []
        if any(operation not in _CODES for operation, _ in pairs):
            return None
        cells.append([(int(source), operation) for operation, source in pairs])
    return cells
