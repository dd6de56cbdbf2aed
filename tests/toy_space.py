"""A whole search space of 30 tiny networks, for tests that go through all of a space."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Edge, SearchSpace
from trainless.types import Architecture, Task

WIDTHS = (2, 4)
BODIES = ("skip_connect", "conv_1x1", "conv_3x3")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "silu")
CHOICES: tuple[tuple[str | int, ...], ...] = (WIDTHS, BODIES, ACTIVATIONS)
GENOTYPES: tuple[tuple[str | int, ...], ...] = tuple(itertools.product(*CHOICES))

_LAYERS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


@dataclass(frozen=True)
class ToySpace(SearchSpace):
    """A 1 x 1 convolution of 2 or 4 channels, one of 3 bodies, one of 5 activations, pooling and a linear layer."""

    name = "toy"
    size = len(GENOTYPES)

    depth: int = 1  # how often the body is repeated

    @property
    def options(self) -> Mapping[str, int | str]:
        return {"depth": self.depth}

    @property
    def choices(self) -> tuple[tuple[str | int, ...], ...]:
        return CHOICES

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        if tuple(genotype) not in GENOTYPES:
            raise ArchitectureError(f"{tuple(genotype)} is no toy: expected one of each of {CHOICES}.")
        return Architecture(self.name, tuple(genotype), "-".join(map(str, genotype)))

    def __getitem__(self, index: int) -> Architecture:
        if not 0 <= index < self.size:
            raise IndexError(f"there are toys 0 to {self.size - 1}, not {index}")
        return self.make(GENOTYPES[index])

    def index(self, architecture: Architecture) -> int:
        return GENOTYPES.index(architecture.genotype)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        place = int(rng.integers(len(CHOICES)))
        others = [option for option in CHOICES[place] if option != architecture.genotype[place]]
        return self._with(architecture, place, others[int(rng.integers(len(others)))])

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        pairs = zip(a.genotype, b.genotype, strict=True)
        return self.make([pair[int(rng.integers(2))] for pair in pairs])

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        return [
            self._with(architecture, place, option)
            for place, options in enumerate(CHOICES)
            for option in options
            if option != architecture.genotype[place]
        ]

    def _with(self, architecture: Architecture, place: int, option: str | int) -> Architecture:
        genotype = list(architecture.genotype)
        genotype[place] = option
        return self.make(genotype)

    def parse(self, text: str) -> Architecture:
        for architecture in self:
            if str(architecture) == text.strip():
                return architecture
        raise ArchitectureError(f"'{text}' is no toy: expected one such as {self[0]}.")

    def canonical(self, architecture: Architecture) -> Architecture:
        return architecture

    def encode(self, architecture: Architecture) -> np.ndarray:
        pairs = zip(CHOICES, architecture.genotype, strict=True)
        return np.array([float(option == own) for options, own in pairs for option in options])

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        width, body, activation = architecture.genotype
        assert isinstance(width, int)
        layers: list[nn.Module] = [nn.Conv2d(task.channels, width, 1)]
        for _ in range(self.depth):
            if body != "skip_connect":
                kernel = 3 if body == "conv_3x3" else 1
                layers.append(nn.Conv2d(width, width, kernel, padding=kernel // 2))
        layers += [_LAYERS[str(activation)](), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.classes)]
        return nn.Sequential(*layers)

    def resized(self, fraction: float) -> ToySpace:
        return ToySpace(max(1, int(self.depth * fraction)))

    @property
    def sizes(self) -> tuple[ToySpace, ...]:
        return tuple(ToySpace(depth) for depth in range(self.depth, 0, -1))

    def thin(self) -> ToySpace:
        return ToySpace(1)

    def parameters(self, architecture: Architecture, task: Task) -> int:
        width, biases = self._width(architecture), self._body(architecture) and 1
        body = self.depth * (self._body(architecture) + biases * self._width(architecture))
        return (task.channels + 1) * width + body + (width + 1) * task.classes

    def flops(self, architecture: Architecture, task: Task) -> int:
        pixels, width = task.height * task.width, self._width(architecture)
        return pixels * (task.channels * width + self.depth * self._body(architecture)) + width * task.classes

    def _width(self, architecture: Architecture) -> int:
        width = architecture.genotype[0]
        assert isinstance(width, int)
        return width

    def _body(self, architecture: Architecture) -> int:
        """The weights of one body, without its biases."""
        kernel = {"skip_connect": 0, "conv_1x1": 1, "conv_3x3": 9}[str(architecture.genotype[1])]
        return kernel * self._width(architecture) ** 2

    def skip_spans(self, architecture: Architecture) -> tuple[int, ...]:
        return (1,) if architecture.genotype[1] == "skip_connect" else ()

    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        width, body, activation = map(str, architecture.genotype)
        return Edge("input", "0", f"conv_1x1 to {width}"), Edge("0", "1", body), Edge("1", "output", activation)

    def draw(self, architecture: Architecture) -> str:
        return " -> ".join(edge.operation for edge in self.graph(architecture))
