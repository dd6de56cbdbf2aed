"""A whole search space of 30 tiny networks, for tests that go through all of a space."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

WIDTHS = (2, 4)
BODIES = ("skip_connect", "conv_1x1", "conv_3x3")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "silu")
CHOICES: tuple[tuple[str | int, ...], ...] = (WIDTHS, BODIES, ACTIVATIONS)
GENOTYPES: tuple[tuple[str | int, ...], ...] = tuple(itertools.product(*CHOICES))


@dataclass(frozen=True)
class ToySpace(ProductSpace):
    """A 1 x 1 convolution of 2 or 4 channels, one of 3 bodies, one of 5 activations, pooling and a linear layer."""

    name = "toy"
    noun = "toy"
    choices = CHOICES

    depth: int = 1  # how often the body is repeated

    def text(self, genotype: tuple[str | int, ...]) -> str:
        return "-".join(map(str, genotype))

    def parse(self, text: str) -> Architecture:
        for architecture in self:
            if str(architecture) == text.strip():
                return architecture
        raise ArchitectureError(f"'{text}' is no toy: expected one such as {self[0]}.")

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        width, body, activation = self.genotype(architecture)
        draft = Draft(task)
        draft.add("0", "conv", int(width), has_bias=True)
        for number in range(self.depth):
            if body == "skip_connect":
                draft.add(f"{number + 1}", "skip_connect")
            else:
                draft.add(
                    f"{number + 1}", "conv", kernel=3 if body == "conv_3x3" else 1, has_bias=True, label=str(body)
                )
        draft.add(f"{self.depth + 1}", str(activation))
        draft.classify(task.classes)
        return draft.blueprint()

    @property
    def sizes(self) -> tuple[ToySpace, ...]:
        return tuple(ToySpace(depth) for depth in range(self.depth, 0, -1))

    def encode(self, architecture: Architecture) -> np.ndarray:
        pairs = zip(CHOICES, self.genotype(architecture), strict=True)
        return np.array([float(option == own) for options, own in pairs for option in options])
