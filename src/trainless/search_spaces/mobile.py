"""Networks of inverted residual blocks for small images: five stages, each with kernel, widths and depth of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.base import Edge, SearchSpace
from trainless.search_spaces.mobile_stages import (
    DEPTHS,
    EXPANSIONS,
    GATES,
    KERNELS,
    PERCENTS,
    STAGES,
    Stage,
    blocks_of,
    channels_of,
    count_multiply_adds,
    count_parameters,
    head_channels,
    strides,
)
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    import torch

__all__ = ["Mobile"]

_FEW_BLOCKS, _NARROW = 2, 8  # not fewer blocks than these before the network is as narrow as this
_LEAST_WIDTH = 3  # down to which a network is made narrower
_GENES: tuple[tuple[str | int, ...], ...] = (KERNELS, EXPANSIONS, DEPTHS, PERCENTS, GATES)
_CHOICES = _GENES * STAGES
_STAGE = re.compile(
    "".join(f"{letter}({'|'.join(map(str, each))})" for letter, each in zip("kedw", _GENES[:4], strict=True)) + "(se)?"
)
_EXAMPLE = "k3e4d2w100-k5e3d1w75se-k3e6d4w50-k7e2d3w150-k5e6d2w100se"

Genotype = tuple[str | int, ...]
_Genes = tuple[int, int, int, int, str]


@dataclass(frozen=True)
class Mobile(SearchSpace):
    """Inverted residual blocks in five stages that differ in kernel, expansion, depth, width and squeeze-excite.

    A network is a 3 x 3 convolution, five stages of inverted residual blocks, a 1 x 1 convolution to four times the
    channels, global average pooling and a linear layer. All blocks of a stage are alike but for the first, which may
    change the channels and halve the image, and has no shortcut. So no choice is ever without effect.

    Images are halved as long as at least 4 pixels of their shorter side remain, at most five times: in stage 3, then
    also in stage 4, stage 2, the stem and stage 5. So 8 x 8 pixels become 4 x 4, and so do 128 x 128.

    The activation is ReLU throughout. What is smooth has no codes for NWOT, and ReLU6 is flat at the large activations
    of SynFlow, which then has no gradient.

    Source: blocks of Sandler et al., MobileNetV2, CVPR 2018, with Hu et al., Squeeze-and-Excitation Networks, CVPR
    2018; one setting a stage as in Tan et al., MnasNet, CVPR 2019.

    Spaces are equal, and hash alike, by their options.

    Args:
        width: channels of the stem, and of the first stage at 100 %; the later ones have 1.5, 2.5, 4 and 5 times as
            many. Channels are rounded to multiples of a quarter of it.
        depth: blocks of a stage of depth 4; one of depth 1 to 3 has its share of them, rounded up.

    Raises:
        InputError: an option is below 1.

    Example:
        >>> space = Mobile()
        >>> len(space), str(space[0])
        (8349416423424, 'k3e2d1w50-k3e2d1w50-k3e2d1w50-k3e2d1w50-k3e2d1w50')
    """

    name = "mobile"
    size = math.prod(map(len, _CHOICES))

    width: int = 16
    depth: int = 4

    def __post_init__(self) -> None:
        for option, value in (("width", self.width), ("depth", self.depth)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(
                    f"The {option} is {value!r}, expected a whole number of at least 1: leave it out for the usual one."
                )

    @property
    def options(self) -> Mapping[str, int | str]:
        """Channels of the stem, and blocks of the deepest stages."""
        return {"width": self.width, "depth": self.depth}

    # Architectures and moves between them.

    @property
    def choices(self) -> tuple[tuple[str | int, ...], ...]:
        """For each stage its kernel, expansion, depth, width in per cent, and whether it has squeeze-excite.

        Example:
            >>> len(Mobile().choices), Mobile().choices[:5]
            (25, ((3, 5, 7), (2, 3, 4, 6), (1, 2, 3, 4), (50, 75, 100, 150), ('none', 'se')))
        """
        return _CHOICES

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture with these choices, five for each stage.

        Raises:
            ArchitectureError: these are not 25 choices of the space.

        Example:
            >>> print(Mobile().make([5, 4, 2, 100, "se"] * 5))
            k5e4d2w100se-k5e4d2w100se-k5e4d2w100se-k5e4d2w100se-k5e4d2w100se
        """
        return _architecture(_codes(genotype))

    def __getitem__(self, index: int) -> Architecture:
        if not 0 <= index < self.size:
            raise IndexError(f"mobile has architectures 0 to {self.size - 1}, not {index}")
        codes = []
        for options in reversed(_CHOICES):
            index, code = divmod(index, len(options))
            codes.append(code)
        return _architecture(codes[::-1])

    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number, of which its choices are the digits; ArchitectureError if it is none.

        Example:
            >>> space = Mobile()
            >>> space.index(space[10**12]), space.index(space[1]), str(space[1])[-11:]
            (1000000000000, 1, 'k3e2d1w50se')
        """
        number = 0
        for options, code in zip(_CHOICES, self._codes(architecture), strict=True):
            number = number * len(options) + code
        return number

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Replace one choice by a different one, both drawn uniformly.

        Example:
            >>> space = Mobile()
            >>> space.mutate(space[0], np.random.default_rng(0)) in space.neighbors(space[0])
            True
        """
        codes = self._codes(architecture)
        place = int(rng.integers(len(codes)))
        drawn = int(rng.integers(len(_CHOICES[place]) - 1))
        codes[place] = drawn if drawn < codes[place] else drawn + 1
        return _architecture(codes)

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child that takes each choice from either parent with equal probability.

        Example:
            >>> space = Mobile()
            >>> space.crossover(space[5], space[5], np.random.default_rng(0)) == space[5]
            True
        """
        triples = zip(self._codes(a), self._codes(b), rng.integers(2, size=len(_CHOICES)).tolist(), strict=True)
        return _architecture([second if drawn else first for first, second, drawn in triples])

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List the 60 architectures that differ in exactly one choice.

        Example:
            >>> len(set(Mobile().neighbors(Mobile()[0])))
            60
        """
        codes = self._codes(architecture)
        return [
            _architecture([*codes[:place], code, *codes[place + 1 :]])
            for place, options in enumerate(_CHOICES)
            for code in range(len(options))
            if code != codes[place]
        ]

    def parse(self, text: str) -> Architecture:
        """Read an architecture's string: kernel, expansion, depth, width in per cent and perhaps ``se`` of each stage.

        Raises:
            ArchitectureError: the string is no architecture of the space; the message tells what is wrong.

        Example:
            >>> Mobile().parse("k3e2d1w50-k3e2d1w50")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'k3e2d1w50-k3e2d1w50' is no architecture of mobile: it has 2 stages...
        """
        parts = text.strip().split("-")
        if len(parts) != STAGES:
            raise _not_one(text, f"it has {len(parts)} stages instead of {STAGES}")
        genotype: list[str | int] = []
        for number, part in enumerate(parts, 1):
            read = _STAGE.fullmatch(part)
            if read is None:
                raise _not_one(text, f"its stage {number} is written '{part}'")
            genotype += [*map(int, read.groups()[:4]), read[5] or "none"]
        return self.make(genotype)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all architectures that are the same network.

        At the usual size no two are. In smaller ones two depths of a stage may be as many blocks, or two of its widths
        as many channels; the representative has the least of them.

        Example:
            >>> print(Mobile(depth=1).canonical(Mobile().make([3, 2, 4, 100, "se"] * 5)))
            k3e2d1w100se-k3e2d1w100se-k3e2d1w100se-k3e2d1w100se-k3e2d1w100se
        """
        genotype: list[str | int] = []
        for number, stage in enumerate(self.stages(architecture)):
            depth = next(each for each in DEPTHS if blocks_of(each, self.depth) == stage.blocks)
            percent = next(each for each in PERCENTS if channels_of(number, each, self.width) == stage.channels)
            genotype += [stage.kernel, stage.expansion, depth, percent, GATES[stage.has_gate]]
        return self.make(genotype)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give each choice as a number from 0 to 1, by its place among the options: a float64 vector of 25.

        The options of every choice are ordered, which a model would have to find out from one hot value for each.

        Example:
            >>> Mobile().encode(Mobile().make([5, 6, 2, 50, "se"] * 5))[:5].round(2).tolist()
            [0.5, 1.0, 0.33, 0.0, 1.0]
        """
        pairs = zip(_CHOICES, self._codes(architecture), strict=True)
        return np.array([code / (len(options) - 1) for options, code in pairs])

    def _codes(self, architecture: Architecture) -> list[int]:
        if architecture.space != self.name:
            raise ArchitectureError(
                f"'{architecture}' is an architecture of '{architecture.space}', expected one of '{self.name}'."
            )
        return _codes(architecture.genotype)

    # Networks.

    def stages(self, architecture: Architecture) -> list[Stage]:
        """Tell what the five stages are made of, at this width and depth.

        Example:
            >>> Mobile().stages(Mobile()[0])[4]
            Stage(blocks=1, kernel=3, expansion=2, channels=40, has_gate=False)
        """
        self._codes(architecture)  # refuses what is none of the space
        stages = []
        for number, (kernel, expansion, depth, percent, gate) in enumerate(_by_stage(architecture.genotype)):
            blocks, channels = blocks_of(depth, self.depth), channels_of(number, percent, self.width)
            stages.append(Stage(blocks, kernel, expansion, channels, gate == "se"))
        return stages

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        """Build the network: its children are ``features`` (up to global pooling), ``pool``, ``flatten`` and ``head``.

        Args:
            architecture: one of the space.
            task: the shape of an image and the number of classes; images need not be square.

        Returns:
            A module that maps ``(images, channels, height, width)`` to ``(images, classes)``.

        Example:
            >>> space, task = Mobile(width=4, depth=1), Task("toy", classes=3, height=8, width=8)
            >>> [name for name, _ in space.build(space[0], task).named_children()]
            ['features', 'pool', 'flatten', 'head']
        """
        from collections import OrderedDict

        from torch import nn

        from trainless.operations import conv_bn_relu

        stages, (first, *later) = self.stages(architecture), strides(task)
        layers: list[nn.Module] = [conv_bn_relu(task.channels, self.width, 3, first)]
        channels = self.width
        for stage, stride in zip(stages, later, strict=True):
            layers += _blocks(channels, stage, stride)
            channels = stage.channels
        head = head_channels(stages)
        parts = {
            "features": nn.Sequential(*layers, conv_bn_relu(channels, head, 1)),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(head, task.classes),
        }
        return nn.Sequential(OrderedDict(parts))

    def resized(self, fraction: float) -> Mobile:
        """Give the same architectures with a fraction of the width and of the depth, at least one of each.

        Raises:
            InputError: the fraction is not above 0 and at most 1.

        Example:
            >>> Mobile().resized(0.5)
            Mobile(width=8, depth=2)
        """
        if not 0 < fraction <= 1:
            raise InputError(f"The fraction is {fraction}, expected one above 0 and at most 1.")
        return Mobile(max(1, int(self.width * fraction)), max(1, int(self.depth * fraction)))

    @property
    def sizes(self) -> tuple[Mobile, ...]:
        """The same architectures in ever smaller networks: first with fewer blocks in a stage, then narrower ones.

        Example:
            >>> [(space.width, space.depth) for space in Mobile().sizes]
            [(16, 4), (16, 2), (8, 2), (8, 1), (4, 1), (2, 1)]
        """
        spaces = [self]
        while (last := spaces[-1]).depth > 1 or last.width > _LEAST_WIDTH:
            if last.depth > _FEW_BLOCKS or (last.depth > 1 and last.width <= _NARROW):
                spaces.append(Mobile(last.width, (last.depth + 1) // 2))
            else:
                spaces.append(Mobile(last.width // 2, last.depth))
        return tuple(spaces)

    def thin(self) -> Mobile:
        """Give the same architectures with a stem of one channel and one block a stage.

        Example:
            >>> Mobile().thin()
            Mobile(width=1, depth=1)
        """
        return Mobile(width=1, depth=1)

    def parameters(self, architecture: Architecture, task: Task) -> int:
        """Count the trainable parameters by a closed form.

        Example:
            >>> Mobile().parameters(Mobile()[0], Task("cifar10", 10))
            19850
        """
        return count_parameters(self.width, self.stages(architecture), task)

    def flops(self, architecture: Architecture, task: Task) -> int:
        """Count the multiply-adds of convolutions and linear layers for one image by a closed form.

        Example:
            >>> Mobile().flops(Mobile()[0], Task("cifar10", 10))
            2123456
        """
        return count_multiply_adds(self.width, self.stages(architecture), task)

    def skip_spans(self, architecture: Architecture) -> tuple[int, ...]:
        """Give a span of 1 for each shortcut: there is one around every block but the first of a stage.

        Example:
            >>> Mobile().skip_spans(Mobile().make([3, 2, 2, 50, "none"] * 5))
            (1, 1, 1, 1, 1)
        """
        return (1,) * sum(stage.blocks - 1 for stage in self.stages(architecture))

    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        """Give a chain from ``"input"`` over the stem and the stages to ``"output"``.

        Example:
            >>> tuple(Mobile().graph(Mobile()[0])[1])
            ('stem', '1', '1 block, 8 channels, 3×3, expand 2', True)
        """
        stages = self.stages(architecture)
        texts = [
            f"{self.width} channels, 3×3 conv",
            *map(_description, stages),
            f"{head_channels(stages)} channels, 1×1 conv, pool, linear",
        ]
        names = ["input", "stem", *map(str, range(1, STAGES + 1)), "output"]
        return tuple(Edge(*each) for each in zip(names[:-1], names[1:], texts, strict=True))

    def draw(self, architecture: Architecture) -> str:
        """Draw the network as text, a line for each stage.

        Example:
            >>> print(Mobile().draw(Mobile().make([3, 2, 2, 50, "se"] * 5)))
            stem    16 channels, 3×3 conv
            stage 1 2 blocks, 8 channels, 3×3, expand 2, SE
            stage 2 2 blocks, 12 channels, 3×3, expand 2, SE
            stage 3 2 blocks, 20 channels, 3×3, expand 2, SE
            stage 4 2 blocks, 32 channels, 3×3, expand 2, SE
            stage 5 2 blocks, 40 channels, 3×3, expand 2, SE
            head    160 channels, 1×1 conv, pool, linear
        """
        names = ["stem", *(f"stage {number}" for number in range(1, STAGES + 1)), "head"]
        return "\n".join(
            f"{name:8}{edge.operation}" for name, edge in zip(names, self.graph(architecture), strict=True)
        )


def _codes(genotype: Sequence[str | int]) -> list[int]:
    """Which of its options each choice is."""
    try:
        return [options.index(choice) for options, choice in zip(_CHOICES, genotype, strict=True)]
    except ValueError:
        raise ArchitectureError(
            f"The genotype {tuple(genotype)} is no architecture of 'mobile': expected {STAGES} times a kernel, an "
            f"expansion, a depth, a width and a gate, each one of {', '.join(map(str, _GENES))}."
        ) from None


def _architecture(codes: Sequence[int]) -> Architecture:
    genotype = tuple(options[code] for options, code in zip(_CHOICES, codes, strict=True))
    return Architecture(Mobile.name, genotype, "-".join(map(_text, _by_stage(genotype))))


def _by_stage(genotype: Genotype) -> list[_Genes]:
    length = len(_GENES)
    return [cast(_Genes, genotype[place : place + length]) for place in range(0, len(genotype), length)]


def _text(genes: _Genes) -> str:
    kernel, expansion, depth, percent, gate = genes
    return f"k{kernel}e{expansion}d{depth}w{percent}" + ("se" if gate == "se" else "")


def _not_one(text: str, problem: str) -> ArchitectureError:
    return ArchitectureError(
        f"'{text.strip()}' is no architecture of mobile: {problem}, expected a form like '{_EXAMPLE}'."
    )


def _description(stage: Stage) -> str:
    blocks = f"{stage.blocks} block{'s' if stage.blocks > 1 else ''}"
    gate = ", SE" if stage.has_gate else ""
    return f"{blocks}, {stage.channels} channels, {stage.kernel}×{stage.kernel}, expand {stage.expansion}{gate}"


def _blocks(inputs: int, stage: Stage, stride: int) -> list[torch.nn.Module]:
    from trainless.operations import Residual, inverted_residual

    outputs, shape = stage.channels, (stage.kernel, stage.expansion)
    first = inverted_residual(inputs, outputs, *shape, stride, stage.squeezed(inputs))
    others = [inverted_residual(outputs, outputs, *shape, 1, stage.squeezed(outputs)) for _ in range(stage.blocks - 1)]
    return [first, *map(Residual, others)]
