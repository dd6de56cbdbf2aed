"""Search spaces of independent choices: architectures, their numbers and all moves, once for all of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.finite import FiniteSpace
from trainless.search_spaces.relaxation import Relaxation, relax
from trainless.types import Architecture, Task

__all__ = ["ProductSpace"]

_DRAWN = 2**63  # NumPy draws whole numbers below this


class ProductSpace(FiniteSpace):
    """All combinations of independent choices.

    A space has to say what there is to choose from, how a genotype is written and read, and its blueprint. The choices
    are the digits of an architecture's number, the first the most significant; a benchmark with another public order
    overrides `FiniteSpace.index` and ``[i]``.

    Attributes:
        noun: what one architecture is called in messages.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("mobile")
        >>> isinstance(space, ProductSpace), len(space.choices), space.choices[:2]
        (True, 25, ((3, 5, 7), (2, 3, 4, 6)))
    """

    noun = "architecture"

    @property
    @abstractmethod
    def choices(self) -> Choices:
        """What there is to choose from at each position of a genotype."""

    @abstractmethod
    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write a genotype, which has one option of each choice, as the published string."""

    @property
    def expected(self) -> str:
        """What a genotype has to be, for messages."""
        options = "; ".join(", ".join(map(str, options)) for options in dict.fromkeys(self.choices))
        return f"{len(self.choices)} choices from {options}"

    @cached_property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(map(len, self.choices))

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture of a genotype.

        Raises:
            ArchitectureError: it has not one option of each choice.

        Example:
            >>> from trainless.search_spaces import search_space
            >>> print(search_space("nasbench201").make(["none"] * 6))
            |none~0|+|none~0|none~1|+|none~0|none~1|none~2|
        """
        return self._made(self._codes(genotype))

    def nearest(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture of a genotype: every combination of choices is a member."""
        return self.make(genotype)

    def codes(self, architecture: Architecture) -> tuple[int, ...]:
        """Tell which of its options each choice is; ArchitectureError if the architecture is none of the space.

        Example:
            >>> from trainless.search_spaces import search_space
            >>> space = search_space("nasbench201")
            >>> space.codes(space.make(["none"] * 5 + ["skip_connect"]))
            (0, 0, 0, 0, 0, 1)
        """
        return self._codes(self._own(architecture).genotype)

    def genotype(self, architecture: Architecture) -> tuple[str | int, ...]:
        """Give the choices of an architecture; ArchitectureError if it is none of the space."""
        self.codes(architecture)
        return architecture.genotype

    def __getitem__(self, index: int) -> Architecture:
        index, codes = self._checked(index), []
        for options in reversed(self.choices):
            index, code = divmod(index, len(options))
            codes.append(int(code))
        return self._made(codes[::-1])

    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number, of which its choices are the digits."""
        number = 0
        for options, code in zip(self.choices, self.codes(architecture), strict=True):
            number = number * len(options) + code
        return number

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture, each with the same probability."""
        if self.size < _DRAWN:
            return super().sample(rng)
        return self._made([int(rng.integers(len(options))) for options in self.choices])

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Replace one choice by a different one, both drawn uniformly; a choice of one option is never drawn."""
        codes = list(self.codes(architecture))
        varied = self._varied()
        position = varied[int(rng.integers(len(varied)))]
        drawn = int(rng.integers(len(self.choices[position]) - 1))
        codes[position] = drawn if drawn < codes[position] else drawn + 1
        return self._made(codes)

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child that takes each choice from either parent with equal probability."""
        drawn = rng.integers(2, size=len(self.choices)).tolist()
        triples = zip(self.codes(a), self.codes(b), drawn, strict=True)
        return self._made([second if other else first for first, second, other in triples])

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List all architectures that differ in exactly one choice."""
        codes = self.codes(architecture)
        return [
            self._made((*codes[:position], code, *codes[position + 1 :]))
            for position, options in enumerate(self.choices)
            for code in range(len(options))
            if code != codes[position]
        ]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the architecture itself: a space in which several are one network overrides this."""
        return self._made(self.codes(architecture))

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give numbers, and choices of two, as one value from 0 to 1 by their rank; others as one hot values.

        A model would have to find out the order of numbers from one hot values.
        """
        values: list[float] = []
        for options, code in zip(self.choices, self.codes(architecture), strict=True):
            if len(options) <= 2 or all(isinstance(option, int) for option in options):
                values.append(code / max(1, len(options) - 1))
            else:
                values += [float(other == code) for other in range(len(options))]
        return np.array(values)

    def relaxation(self, task: Task) -> Relaxation:
        """Join all operations that networks choose among; InputError where choices depend on each other."""
        return relax(self, task)

    def _made(self, codes: Sequence[int]) -> Architecture:
        genotype = tuple([options[code] for options, code in zip(self.choices, codes, strict=True)])
        return Architecture(self.name, genotype, self.text(genotype))

    def _codes(self, genotype: Sequence[str | int]) -> tuple[int, ...]:
        try:
            return tuple([numbers[gene] for numbers, gene in zip(self._numbers, genotype, strict=True)])
        except (KeyError, ValueError, TypeError):
            raise ArchitectureError(
                f"The genotype {tuple(genotype)} is no {self.noun} of '{self.name}': expected {self.expected}."
            ) from None

    def _varied(self) -> list[int]:
        return [position for position, options in enumerate(self.choices) if len(options) > 1]

    @cached_property
    def _numbers(self) -> list[dict[str | int, int]]:
        """For each choice which option has which number."""
        return [{option: number for number, option in enumerate(options)} for options in self.choices]
