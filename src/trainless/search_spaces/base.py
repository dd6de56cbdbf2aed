"""The contract of a search space: which architectures there are, which are the same, how one becomes a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainless.specs import write_spec
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    import torch

__all__ = ["Edge", "SearchSpace"]


class Edge(NamedTuple):
    """One edge of an architecture's graph.

    Args:
        source: name of the node that it leaves; the architecture's input is ``"input"``.
        target: name of the node that it enters; the architecture's output is ``"output"``.
        operation: what is done on it, as the benchmark calls it; empty where nothing is.
        live: whether it is on a path from the input to the output.

    Example:
        >>> Edge("input", "output", "skip_connect").live
        True
    """

    source: str
    target: str
    operation: str
    live: bool = True


class SearchSpace(ABC):
    """A finite set of architectures with its moves, its equalities and its networks.

    Attributes:
        name: what it is asked for by; part of every `Architecture`.
        size: number of architectures as written.
    """

    name: str
    size: int

    @property
    @abstractmethod
    def options(self) -> Mapping[str, int | str]:
        """What its networks depend on besides the architecture and the task; part of a stored score's key."""

    @property
    def label(self) -> str:
        """Its name with its options, which tells it from the same space in another size."""
        return ", ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def spec(self) -> str:
        """Its name with its options, as `trainless.search_spaces.search_space` reads it."""
        return write_spec(self.name, self.options)

    @property
    @abstractmethod
    def choices(self) -> tuple[tuple[str | int, ...], ...]:
        """What there is to choose from at each place of a genotype."""

    @abstractmethod
    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture of a genotype; ArchitectureError where it is none of the space."""

    @abstractmethod
    def resized(self, fraction: float) -> SearchSpace:
        """Give the same architectures as networks of about this fraction of the width and depth, at most 1."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[SearchSpace, ...]:
        """The same architectures as networks of ever less time and fewer parameters, as they are first."""

    @abstractmethod
    def __getitem__(self, index: int) -> Architecture:
        """Give an architecture by its number in the benchmark's public order; IndexError outside."""

    @abstractmethod
    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number in the benchmark's public order."""

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Architecture]:
        return (self[index] for index in range(self.size))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture, each with the same probability."""
        return self[int(rng.integers(self.size))]

    @abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the `neighbors`."""

    @abstractmethod
    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child that takes each choice from either parent."""

    @abstractmethod
    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List all architectures that differ in exactly one choice."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read a published string; ArchitectureError tells what is wrong with it."""

    @abstractmethod
    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all architectures that are the same network."""

    @abstractmethod
    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give features for a surrogate model, a float64 vector of the same length for every architecture."""

    @abstractmethod
    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        """Build the network as it is written, dead branches and all: plain PyTorch, PyTorch's initialisation."""

    @abstractmethod
    def thin(self) -> SearchSpace:
        """Give the same architectures with as few channels and repeated cells as there can be."""

    @abstractmethod
    def parameters(self, architecture: Architecture, task: Task) -> int:
        """Count the trainable parameters of the network as it is written."""

    @abstractmethod
    def flops(self, architecture: Architecture, task: Task) -> int:
        """Count the multiply-adds of convolutions and linear layers for one image, as it is written."""

    @abstractmethod
    def skip_spans(self, architecture: Architecture) -> tuple[int, ...]:
        """Give target node minus source node of each skip edge, as it is written."""

    @abstractmethod
    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        """Give the architecture, or the cell that it repeats, as the edges of an acyclic graph, dead ones marked."""

    @abstractmethod
    def draw(self, architecture: Architecture) -> str:
        """Draw the architecture as text."""
