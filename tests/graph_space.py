"""A search space that is no product: graphs of which not every combination of edges and operations is one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.blueprint import Blueprint, Draft, live_edges
from trainless.search_spaces.finite import FiniteSpace
from trainless.types import Architecture, Task

VERTICES = 5  # 0 is the input, the last the output
MOST_EDGES = 6
PAIRS = tuple((source, target) for target in range(VERTICES) for source in range(target))
OPERATIONS = ("conv_1x1", "conv_3x3", "pool")
CHOICES: Choices = ((0, 1),) * len(PAIRS) + (OPERATIONS,) * (VERTICES - 2)

Genotype = tuple[str | int, ...]


@cache
def members() -> dict[Genotype, int]:
    """All members with their numbers: graphs of few edges in which everything is on a path to the output."""
    found = []
    for bits in itertools.product((0, 1), repeat=len(PAIRS)):
        edges = [pair for pair, bit in zip(PAIRS, bits, strict=True) if bit]
        ends = {vertex for edge in edges for vertex in edge}
        if len(edges) <= MOST_EDGES and len(ends) == VERTICES and live_edges(edges, 0, VERTICES - 1) == {*edges}:
            found += [(*bits, *labels) for labels in itertools.product(OPERATIONS, repeat=VERTICES - 2)]
    return {genotype: number for number, genotype in enumerate(found)}


@dataclass(frozen=True)
class GraphSpace(FiniteSpace):
    """Graphs of three operations between an input and an output, with at most six edges and nothing dead."""

    name = "graph"

    channels: int = 4

    @property
    def size(self) -> int:
        return len(members())

    @property
    def choices(self) -> Choices:
        return CHOICES

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make a member; ArchitectureError if the genotype is none."""
        if tuple(genotype) not in members():
            raise ArchitectureError(f"{tuple(genotype)} is no graph: it has dead parts, or too many edges.")
        bits, labels = genotype[: len(PAIRS)], genotype[len(PAIRS) :]
        return Architecture(self.name, tuple(genotype), "".join(map(str, bits)) + ":" + ",".join(map(str, labels)))

    def nearest(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the first of the members that differ from a genotype in the fewest choices."""
        if tuple(genotype) in members():
            return self.make(genotype)
        return self.make(min(members(), key=lambda member: changes(member, genotype)))

    def __getitem__(self, index: int) -> Architecture:
        return self.make(_listed()[self._checked(index)])

    def index(self, architecture: Architecture) -> int:
        return members()[self._genotype(architecture)]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        neighbors = self.neighbors(architecture)
        return neighbors[int(rng.integers(len(neighbors)))]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Take each choice from either parent, and of that the nearest member."""
        drawn = rng.integers(2, size=len(CHOICES)).tolist()
        pairs = zip(a.genotype, b.genotype, drawn, strict=True)
        return self.nearest([second if other else first for first, second, other in pairs])

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        own = self._genotype(architecture)
        changed = [
            (*own[:position], option, *own[position + 1 :])
            for position, options in enumerate(CHOICES)
            for option in options
            if option != own[position]
        ]
        return [self.make(genotype) for genotype in changed if genotype in members()]

    def parse(self, text: str) -> Architecture:
        bits, _, labels = text.strip().partition(":")
        try:
            return self.make([*map(int, bits), *labels.split(",")])
        except ValueError as error:
            raise ArchitectureError(f"'{text.strip()}' is no graph: expected one such as {self[0]}.") from error

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the first of the members that are the same graph with its operations in another order."""
        edges, labels = self.parts(architecture)
        same = []
        for order in itertools.permutations(range(1, VERTICES - 1)):
            new = {0: 0, VERTICES - 1: VERTICES - 1} | dict(enumerate(order, 1))
            moved = {(new[source], new[target]) for source, target in edges}
            renamed = {new[vertex]: label for vertex, label in labels.items()}
            bits = (int(pair in moved) for pair in PAIRS)
            if all(source < target for source, target in moved):
                same.append((*bits, *(renamed[vertex] for vertex in range(1, VERTICES - 1))))
        return self.make(min(same, key=members().__getitem__))

    def encode(self, architecture: Architecture) -> np.ndarray:
        pairs = zip(CHOICES, self._genotype(architecture), strict=True)
        return np.array([float(option == own) for options, own in pairs for option in options[1:]])

    def _genotype(self, architecture: Architecture) -> Genotype:
        return self.make(self._own(architecture).genotype).genotype

    def parts(self, architecture: Architecture) -> tuple[list[tuple[int, int]], dict[int, str]]:
        """The edges, and the operation of each vertex between the input and the output."""
        genotype = self._genotype(architecture)
        edges = [pair for pair, bit in zip(PAIRS, genotype, strict=False) if bit]
        return edges, {vertex: str(label) for vertex, label in enumerate(genotype[len(PAIRS) :], 1)}

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        edges, labels = self.parts(architecture)
        draft = Draft(task)
        draft.add("stem", "conv_bn_relu", self.channels, kernel=3, block="stem")
        names = {0: "input", VERTICES - 1: "output"}
        for vertex in range(1, VERTICES):
            sum_of = f"into {vertex}" if vertex in labels else "output"
            for source in (source for source, target in edges if target == vertex):
                draft.add("cell", "skip_connect", source=names[source], target=sum_of, block="cell")
            if vertex in labels:
                names[vertex] = str(vertex)
                kind, kernel = {"conv_1x1": ("relu_conv_bn", 1), "conv_3x3": ("relu_conv_bn", 3)}.get(
                    labels[vertex], ("avg_pool_3x3", 3)
                )
                draft.add("cell", kind, kernel=kernel, source=sum_of, target=names[vertex], block="cell")
        draft.classify(task.classes)
        return draft.blueprint(pictured="cell")


@cache
def _listed() -> list[Genotype]:
    return list(members())


def changes(a: Sequence[str | int], b: Sequence[str | int]) -> int:
    """In how many choices two genotypes differ."""
    return sum(first != second for first, second in zip(a, b, strict=True))
