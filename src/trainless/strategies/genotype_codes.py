"""Architectures as whole numbers: of each choice of the genotype, the number of the option that was taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture

__all__ = ["GenotypeCodes"]


class GenotypeCodes:
    """Translates between the architectures of a space and the numbers of their options.

    Numbers that were put together freely may be those of no member. The space then gives the member that is
    `SearchSpace.nearest`, by a rule of its own.

    Args:
        space: a search space with `SearchSpace.choices`.

    Attributes:
        sizes: number of options of each choice, shape ``(choices,)``.
        mask: which numbers are options, shape ``(choices, most options)``: choices may differ in how many they have.

    Raises:
        InputError: the genotypes of the space are not put together of choices, or nothing says which member is nearest.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> codes = GenotypeCodes(space)
        >>> codes.codes([space.make(["none"] * 5 + ["skip_connect"])]).tolist()
        [[0, 0, 0, 0, 0, 1]]
        >>> str(codes.architecture([0, 0, 0, 0, 0, 1]))
        '|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|'
    """

    def __init__(self, space: SearchSpace) -> None:
        if not space.choices or type(space).nearest is SearchSpace.nearest:
            raise InputError(
                f"The search space '{space.name}' has no choices from which a strategy could put architectures "
                "together: choose one that mutates whole ones, such as evolution, local or random."
            )
        self.space = space
        self.sizes = np.array([len(options) for options in space.choices])
        self.mask = np.arange(self.sizes.max()) < self.sizes[:, None]
        self._numbers = [{option: number for number, option in enumerate(options)} for options in space.choices]

    def codes(self, architectures: Iterable[Architecture]) -> npt.NDArray[np.int64]:
        """Give the numbers of their options, shape ``(architectures, choices)``."""
        rows = [
            [numbers[option] for numbers, option in zip(self._numbers, architecture.genotype, strict=True)]
            for architecture in architectures
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, len(self.sizes))

    def architecture(self, code: Sequence[int]) -> Architecture:
        """Make the architecture with these options; the nearest where the space has none with them."""
        return self.space.nearest([options[number] for options, number in zip(self.space.choices, code, strict=True)])
