"""NAS-Bench-201 (Dong & Yang, ICLR 2020): 15,625 cells of six edges with five operations each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.base import Edge, SearchSpace
from trainless.search_spaces.nasbench201_cells import (
    EDGES,
    NODES,
    OPERATIONS,
    Genotype,
    cell_text,
    live_edges,
    network_form,
    positions,
    public_order,
    representatives,
    unique_string,
)
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    import torch

__all__ = ["EDGES", "OPERATIONS", "NASBench201"]

_STAGES = 3
_LEAST_CHANNELS = 3  # down to which a network is made narrower
_OTHERS = {own: [operation for operation in OPERATIONS if operation != own] for own in OPERATIONS}
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@dataclass(frozen=True)
class NASBench201(SearchSpace):
    """NAS-Bench-201: 15,625 cells of six edges with five operations each.

    A network is a 3 x 3 convolution, three stages of cells with a residual reduction block between them, a last
    batch normalisation and ReLU, global average pooling and a linear layer.

    Spaces are equal, and hash alike, by their options.

    Args:
        channels: channels of the first stage; each later one has twice as many.
        cells: cells in each stage.

    Raises:
        InputError: an option is below 1.

    Example:
        >>> space = NASBench201()
        >>> print(space[0])
        |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|
    """

    name = "nasbench201"
    size = len(OPERATIONS) ** len(EDGES)

    channels: int = 16
    cells: int = 5

    def __post_init__(self) -> None:
        for option, value in (("channels", self.channels), ("cells", self.cells)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(
                    f"The number of {option} is {value!r}, expected a whole number of at least 1: "
                    "leave it out for the benchmark's own."
                )

    @property
    def options(self) -> Mapping[str, int | str]:
        """Channels of the first stage and cells in each stage."""
        return {"channels": self.channels, "cells": self.cells}

    # Architectures and moves between them.

    @property
    def choices(self) -> tuple[tuple[str | int, ...], ...]:
        """The five operations for each of the six edges.

        Example:
            >>> len(NASBench201().choices), NASBench201().choices[0][:2]
            (6, ('none', 'skip_connect'))
        """
        return (OPERATIONS,) * len(EDGES)

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the cell with these operations on its edges, in the order of `EDGES`.

        Raises:
            ArchitectureError: these are not six operations.

        Example:
            >>> print(NASBench201().make(["skip_connect"] * 6))
            |skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|
        """
        return _architecture(self._genotype(Architecture(self.name, tuple(map(str, genotype)), str(genotype))))

    def __getitem__(self, index: int) -> Architecture:
        if not 0 <= index < self.size:
            raise IndexError(f"NAS-Bench-201 has architectures 0 to {self.size - 1}, not {index}")
        return _architecture(public_order()[index])

    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number in the public NATS-Bench order; ArchitectureError if it is none of the space.

        Example:
            >>> space = NASBench201()
            >>> space.index(space[1234])
            1234
        """
        return positions()[self._genotype(architecture)]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Replace the operation of one edge by a different one, both drawn uniformly.

        Example:
            >>> space = NASBench201()
            >>> space.mutate(space[0], np.random.default_rng(0)) in space.neighbors(space[0])
            True
        """
        genotype = list(self._genotype(architecture))
        edge = int(rng.integers(len(EDGES)))
        others = _OTHERS[genotype[edge]]
        genotype[edge] = others[int(rng.integers(len(others)))]
        return _architecture(tuple(genotype))

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child that takes each edge from either parent with equal probability.

        Example:
            >>> space = NASBench201()
            >>> space.crossover(space[5], space[5], np.random.default_rng(0)) == space[5]
            True
        """
        triples = zip(self._genotype(a), self._genotype(b), rng.integers(2, size=len(EDGES)).tolist(), strict=True)
        return _architecture(tuple(second if drawn else first for first, second, drawn in triples))

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List the 24 architectures that differ in the operation of exactly one edge.

        Example:
            >>> space = NASBench201()
            >>> len(set(space.neighbors(space[0])))
            24
        """
        genotype = self._genotype(architecture)
        return [
            _architecture((*genotype[:edge], operation, *genotype[edge + 1 :]))
            for edge in range(len(EDGES))
            for operation in _OTHERS[genotype[edge]]
        ]

    def parse(self, text: str) -> Architecture:
        """Read a published string, such as ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|``.

        Raises:
            ArchitectureError: the string is no cell of the space; the message tells what is wrong.

        Example:
            >>> NASBench201().parse("|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'conv' is no operation of nasbench201 ... skip_connect, ...
        """
        nodes = text.strip().split("+")
        if len(nodes) != NODES - 1:
            raise _no_cell(text, f"it has {len(nodes)} nodes")
        genotype: dict[tuple[int, int], str] = {}
        for target, node in enumerate(nodes, 1):
            edges = node.strip()[1:-1].split("|")
            if len(edges) != target or not re.fullmatch(r"\|.*\|", node.strip()):
                raise _no_cell(text, f"node {target} is written '{node}' and needs {target} edges between bars")
            for source, edge in enumerate(edges):
                operation, _, written = edge.partition("~")
                if operation not in OPERATIONS:
                    raise ArchitectureError(
                        f"'{operation}' is no operation of nasbench201 (in '{text.strip()}'): "
                        f"expected one of {', '.join(OPERATIONS)}."
                    )
                if written != str(source):
                    raise _no_cell(text, f"edge '{edge}' of node {target} should come from node {source}")
                genotype[source, target] = operation
        return _architecture(tuple(genotype[edge] for edge in EDGES))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all cells that are the same network: dead edges of it are ``none``.

        Two cells are the same if, after pruning what does not reach the output or is not reached from the input,
        passing skips through and merging equal poolings of the same node, the same instances of operations are added
        up in the same way. There are 5,260 classes.

        Example:
            >>> space = NASBench201()
            >>> print(space.canonical(space.parse("|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|")))
            |none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|
        """
        return _architecture(representatives()[network_form(self._genotype(architecture))])

    def unique_string(self, architecture: Architecture, zeroize: bool = True) -> str:
        """Give the string by which the benchmark's authors tell networks apart; 12,751 differ, or 6,466 with zeroize.

        It says less than `canonical`: terms of dead nodes stay in its sums, so some equal networks differ, and one
        convolution used twice reads like two convolutions, so some different networks are equal.

        Args:
            architecture: a cell.
            zeroize: also simplify what follows from ``none``.

        Example:
            >>> space = NASBench201()
            >>> space.unique_string(space.parse("|skip_connect~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"))
            '#+#+0'
        """
        return unique_string(self._genotype(architecture), zeroize)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give one hot value of five for each edge: a float64 vector of 30.

        Example:
            >>> NASBench201().encode(NASBench201()[0]).sum()
            np.float64(6.0)
        """
        genotype = self._genotype(architecture)
        return np.array([float(op == own) for own in genotype for op in OPERATIONS])

    def _genotype(self, architecture: Architecture) -> Genotype:
        if architecture.space != self.name:
            raise ArchitectureError(
                f"'{architecture}' is an architecture of '{architecture.space}', expected one of '{self.name}'."
            )
        genotype = cast(Genotype, architecture.genotype)
        if len(genotype) != len(EDGES) or not _OTHERS.keys() >= set(genotype):
            raise ArchitectureError(
                f"The genotype {architecture.genotype} is no cell of '{self.name}': "
                f"expected {len(EDGES)} of the operations {', '.join(OPERATIONS)}."
            )
        return genotype

    # Networks.

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        """Build the network: its children are ``features`` (up to global pooling), ``pool``, ``flatten`` and ``head``.

        Args:
            architecture: a cell; dead edges are built and run too.
            task: the shape of an image and the number of classes; images need not be square.

        Returns:
            A module that maps ``(images, channels, height, width)`` to ``(images, classes)``.

        Example:
            >>> space, task = NASBench201(channels=4, cells=1), Task("toy", classes=3, height=8, width=8)
            >>> [name for name, _ in space.build(space[0], task).named_children()]
            ['features', 'pool', 'flatten', 'head']
        """
        from collections import OrderedDict

        from torch import nn

        from trainless.operations import ReductionBlock

        genotype, channels = self._genotype(architecture), self.channels
        layers: list[nn.Module] = [
            nn.Conv2d(task.channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        ]  # fmt: skip
        for stage in range(_STAGES):
            if stage:
                layers.append(ReductionBlock(channels, 2 * channels))
                channels *= 2
            layers += [_cell(genotype, channels) for _ in range(self.cells)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        parts = {
            "features": nn.Sequential(*layers),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(channels, task.classes),
        }
        return nn.Sequential(OrderedDict(parts))

    def resized(self, fraction: float) -> NASBench201:
        """Give the same cells with a fraction of the channels and of the cells in each stage, at least one of each.

        Raises:
            InputError: the fraction is not above 0 and at most 1.

        Example:
            >>> NASBench201().resized(0.5)
            NASBench201(channels=8, cells=2)
        """
        if not 0 < fraction <= 1:
            raise InputError(f"The fraction is {fraction}, expected one above 0 and at most 1.")
        return NASBench201(max(1, int(self.channels * fraction)), max(1, int(self.cells * fraction)))

    @property
    def sizes(self) -> tuple[NASBench201, ...]:
        """The same cells in ever smaller networks: first there are fewer of them, and only then they are narrower.

        Few wide layers learn from more images in the same time than many narrow ones of as many multiply-adds.

        Example:
            >>> [(space.channels, space.cells) for space in NASBench201().sizes]
            [(16, 5), (16, 3), (16, 2), (16, 1), (8, 1), (4, 1), (2, 1)]
        """
        spaces = [self]
        while (last := spaces[-1]).cells > 1 or last.channels > _LEAST_CHANNELS:
            if last.cells > 1:
                spaces.append(NASBench201(last.channels, (last.cells + 1) // 2))
            else:
                spaces.append(NASBench201(last.channels // 2, 1))
        return tuple(spaces)

    def thin(self) -> NASBench201:
        """Give the same cells with one channel and one cell a stage.

        Example:
            >>> NASBench201().thin()
            NASBench201(channels=1, cells=1)
        """
        return NASBench201(channels=1, cells=1)

    def parameters(self, architecture: Architecture, task: Task) -> int:
        """Count the trainable parameters, dead edges included, by a closed form.

        Example:
            >>> space = NASBench201()
            >>> text = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
            >>> space.parameters(space.parse(text), Task("cifar10", 10))
            615386
        """
        frame, edge = _parameter_costs(self.channels, self.cells, task)
        return frame + sum(edge[operation] for operation in self._genotype(architecture))

    def flops(self, architecture: Architecture, task: Task) -> int:
        """Count the multiply-adds of convolutions and linear layers for one image, dead edges included.

        Example:
            >>> space = NASBench201()
            >>> text = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
            >>> space.flops(space.parse(text), Task("cifar10", 10))
            86426240
        """
        frame, edge = _multiply_add_costs(self.channels, self.cells, task)
        return frame + sum(edge[operation] for operation in self._genotype(architecture))

    def skip_spans(self, architecture: Architecture) -> tuple[int, ...]:
        """Give target node minus source node of each skip edge.

        Example:
            >>> NASBench201().skip_spans(NASBench201()[0])
            (1, 2, 1)
        """
        pairs = zip(EDGES, self._genotype(architecture), strict=True)
        return tuple(target - source for (source, target), operation in pairs if operation == "skip_connect")

    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        """Give the cell's edges between ``"input"``, ``"1"``, ``"2"`` and ``"output"``, without those of ``none``.

        Example:
            >>> space = NASBench201()
            >>> text = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"
            >>> [tuple(edge) for edge in space.graph(space.parse(text))][1:]
            [('1', '2', 'nor_conv_1x1', False), ('input', 'output', 'skip_connect', True)]
        """
        genotype = self._genotype(architecture)
        live, names = live_edges(genotype), ("input", "1", "2", "output")
        return tuple(
            Edge(names[edge[0]], names[edge[1]], operation, edge in live)
            for edge, operation in zip(EDGES, genotype, strict=True)
            if operation != "none"
        )

    def draw(self, architecture: Architecture) -> str:
        """Draw the cell as text: for each node what is added up in it, with a mark on what is dead.

        Example:
            >>> space = NASBench201()
            >>> text = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
            >>> print(space.draw(space.parse(text)))
            node 0 = input
            node 1 = nor_conv_3x3(node 0)
            node 2 = nor_conv_1x1(node 1) [dead]
            output = skip_connect(node 0) + avg_pool_3x3(node 1)
        """
        genotype = self._genotype(architecture)
        live = live_edges(genotype)
        terms: dict[int, list[str]] = {target: [] for _, target in EDGES}
        for edge, operation in zip(EDGES, genotype, strict=True):
            if operation != "none":
                terms[edge[1]].append(f"{operation}(node {edge[0]})" + ("" if edge in live else " [dead]"))
        names = [*(f"node {target}" for target in range(1, NODES - 1)), "output"]
        lines = [f"{name} = {' + '.join(terms[target]) or '0'}" for target, name in enumerate(names, start=1)]
        return "\n".join(["node 0 = input", *lines])


@cache
def _architecture(genotype: Genotype) -> Architecture:
    return Architecture(NASBench201.name, genotype, cell_text(genotype))


def _no_cell(text: str, problem: str) -> ArchitectureError:
    return ArchitectureError(
        f"'{text.strip()}' is no architecture of nasbench201: {problem}, expected a form like '{_EXAMPLE}'."
    )


# Networks and what they cost.


def _cell(genotype: Genotype, channels: int) -> torch.nn.Module:
    from trainless.operations import Cell

    operations = dict(zip(EDGES, genotype, strict=True))
    return Cell(
        [
            [
                (_operation(operations[source, target], channels), source)
                for source in range(target)
                if operations[source, target] != "none"
            ]
            for target in range(1, NODES)
        ]
    )


def _operation(name: str, channels: int) -> torch.nn.Module:
    from torch import nn

    from trainless.operations import average_pooling, relu_conv_bn

    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return average_pooling()
    return relu_conv_bn(channels, channels, 3 if name == "nor_conv_3x3" else 1)


_Costs = tuple[int, dict[str, int]]


def _stages(channels: int) -> list[int]:
    return [channels * 2**stage for stage in range(_STAGES)]


def _pixels(task: Task) -> list[int]:
    """Pixels of the image in each stage; a reduction halves rows and columns and rounds up."""
    sizes = [(-(-task.height // 2**stage), -(-task.width // 2**stage)) for stage in range(_STAGES)]
    return [rows * columns for rows, columns in sizes]


@lru_cache(maxsize=64)
def _parameter_costs(channels: int, cells: int, task: Task) -> _Costs:
    """Parameters of all but the cells, and of one operation on the same edge of every cell."""
    stages = _stages(channels)
    normalisation = sum(2 * c for c in stages) * cells
    edge = dict.fromkeys(OPERATIONS, 0)
    for name, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 9)):
        edge[name] = sum(c * c * kernel for c in stages) * cells + normalisation
    stem = task.channels * channels * 9 + 2 * channels
    reductions = sum(_reduction_weights(i, o) + 4 * o for i, o in itertools.pairwise(stages))
    return stem + reductions + 2 * stages[-1] + (stages[-1] + 1) * task.classes, edge


@lru_cache(maxsize=64)
def _multiply_add_costs(channels: int, cells: int, task: Task) -> _Costs:
    """Multiply-adds of all but the cells, and of one operation on the same edge of every cell."""
    stages, pixels = _stages(channels), _pixels(task)
    edge = dict.fromkeys(OPERATIONS, 0)
    for name, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 9)):
        edge[name] = sum(c * c * kernel * p for c, p in zip(stages, pixels, strict=True)) * cells
    stem = task.channels * channels * 9 * pixels[0]
    pairs = zip(itertools.pairwise(stages), pixels[1:], strict=True)
    reductions = sum(_reduction_weights(i, o) * p for (i, o), p in pairs)
    return stem + reductions + stages[-1] * task.classes, edge


def _reduction_weights(inputs: int, outputs: int) -> int:
    return inputs * outputs * 9 + outputs * outputs * 9 + inputs * outputs
