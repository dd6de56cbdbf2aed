"""Search spaces whose architectures are numbered: what can be asked of these and of no others."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture

__all__ = ["FiniteSpace"]


class FiniteSpace(SearchSpace):
    """A search space with a number for each architecture.

    Whoever needs the number of architectures, or all of them, asks ``isinstance(space, FiniteSpace)`` first, and does
    without where it is not so. ``size`` is exact however large the space; ``len()`` has an upper limit in Python.

    Attributes:
        size: number of architectures as written.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> isinstance(space, FiniteSpace), space.size, space.index(space[1234])
        (True, 15625, 1234)
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of architectures as written."""

    @abstractmethod
    def __getitem__(self, index: int) -> Architecture:
        """Give an architecture by its number in the benchmark's public order; IndexError outside."""

    @abstractmethod
    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number in the public order; ArchitectureError if it is none of the space."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture, each with the same probability."""
        return self[int(rng.integers(self.size))]

    def __iter__(self) -> Iterator[Architecture]:
        return (self[index] for index in range(self.size))

    def __len__(self) -> int:
        if self.size > sys.maxsize:
            raise OverflowError(f"{self.name} has {self.size:,} architectures, more than len() can tell: ask its size.")
        return self.size

    def __bool__(self) -> bool:  # not by its length, which large spaces do not have
        return True

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has architectures 0 to {self.size - 1}, not {index}")
        return index
