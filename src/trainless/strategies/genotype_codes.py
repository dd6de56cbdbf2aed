"""Architectures as whole numbers: at each place of the genotype, which of its choices was taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture

__all__ = ["GenotypeCodes"]


class GenotypeCodes:
    """Translates between the architectures of a space and the numbers of their choices.

    Args:
        space: the search space.

    Attributes:
        sizes: number of choices at each place, shape ``(places,)``.
        mask: which numbers are choices, shape ``(places, most choices)``: places may differ in how many they have.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> places = GenotypeCodes(space)
        >>> places.codes([space.make(["none"] * 5 + ["skip_connect"])]).tolist()
        [[0, 0, 0, 0, 0, 1]]
    """

    def __init__(self, space: SearchSpace) -> None:
        if not space.choices:
            raise InputError(
                f"{space.name} has no choices that could be counted: choose a strategy such as evolution or random."
            )
        self.space = space
        self.sizes = np.array([len(options) for options in space.choices])
        self.mask = np.arange(self.sizes.max()) < self.sizes[:, None]
        self._numbers = [{option: number for number, option in enumerate(options)} for options in space.choices]

    def codes(self, architectures: Iterable[Architecture]) -> npt.NDArray[np.int64]:
        """Give the numbers of their choices, shape ``(architectures, places)``."""
        rows = [
            [numbers[option] for numbers, option in zip(self._numbers, one.genotype, strict=True)]
            for one in architectures
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, len(self.sizes))

    def architecture(self, code: Sequence[int], rng: np.random.Generator) -> Architecture:
        """Make the architecture with these choices; the nearest where the space has none with them."""
        return self.made([options[number] for options, number in zip(self.space.choices, code, strict=True)], rng)

    def made(self, genotype: Sequence[str | int], rng: np.random.Generator) -> Architecture:
        """Make the architecture of a genotype; the nearest one where the space has none."""
        return self.space.nearest(genotype)
