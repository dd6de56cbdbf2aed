"""The macro search space of TransNAS-Bench-101 (Duan et al., CVPR 2021): 3,256 networks of four to six layers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.finite import FiniteSpace
from trainless.search_spaces.transnas_heads import HEADS, STEM_HALVINGS, add_head, add_tiles
from trainless.types import Architecture, Task

__all__ = ["TransNASMacro"]

_LAYERS = range(4, 7)  # how many there may be
_DIGITS = "1234"
_WIDER, _SMALLER = "24", "34"  # layers that double the channels, and that halve the image
_DOUBLINGS, _HALVINGS = range(1, 4), range(1, 5)
_MISSING = "0"  # in a genotype, after the last layer
_BLOCKS = 2  # of a layer
_CAPTIONS = {"1": "", "2": ", wider", "3": ", halved", "4": ", wider, halved"}
_EXAMPLE = "64-1242-basic"


@dataclass(frozen=True)
class TransNASMacro(FiniteSpace):
    """TransNAS-Bench-101's macro space: four to six layers of two residual blocks each, and where they change size.

    A network is two strided 3 x 3 convolutions, the layers and a head, by default global average pooling and a linear
    layer. A layer is written ``1`` where it changes nothing, ``2`` where its first
    block doubles the channels, ``3`` where that halves the image, and ``4`` where it does both. One to three layers
    double the channels, and one to four halve the image. Architectures are numbered by their length and then their
    digits. A genotype has six digits, of which ``0`` stands for what is not there.

    Args:
        channels: of the first layer; the published networks have 64.
        head: ``classification``; ``jigsaw``, which reads nine tiles of an image; ``segmentation``, which gives a map
            for each class; or ``generation``, which gives maps for as many channels as images have.

    Raises:
        InputError: there are fewer than 2 channels, or there is no such head.

    Example:
        >>> space = TransNASMacro()
        >>> len(space), str(space[0]), str(space[3255])
        (3256, '64-1114-basic', '64-444311-basic')
        >>> space.parameters(space.parse("64-1242-basic"), Task("class_scene", 63, height=256, width=256))
        11218783
        >>> space = TransNASMacro(head="segmentation")
        >>> space.parameters(space.parse("64-1242-basic"), Task("segmentsemantic", 17, height=256, width=256))
        22210641
    """

    name = "transnas_macro"
    halves = ("channels", 4)
    least: ClassVar[Mapping[str, int]] = MappingProxyType({"channels": 2})
    words: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({"head": HEADS})

    channels: int = 64
    head: str = HEADS[0]

    @property
    def size(self) -> int:
        """Number of architectures."""
        return len(_members())

    def __getitem__(self, index: int) -> Architecture:
        return _architecture(_members()[self._checked(index)])

    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number."""
        return _numbers()[self._digits(architecture)]

    def parse(self, text: str) -> Architecture:
        """Read a published string, ``64-``, the digits of the layers, and ``-basic``.

        Raises:
            ArchitectureError: the string is none of the space; the message tells what is wrong.

        Example:
            >>> TransNASMacro().parse("64-1111-basic")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '64-1111-basic' is no architecture of transnas_macro: 0 of its layers...
        """
        read = re.fullmatch(rf"64-([{_DIGITS}]+)-basic", text.strip())
        problem = "" if read else f"it is not written like '{_EXAMPLE}', with the digits {', '.join(_DIGITS)}"
        problem = problem or next(_problems(read[1]), "")  # type: ignore[index]
        if problem:
            raise ArchitectureError(f"'{text.strip()}' is no architecture of transnas_macro: {problem}.")
        return _architecture(read[1])  # type: ignore[index]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the architecture itself: no two are the same network."""
        return _architecture(self._digits(architecture))

    # Moves.

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List the architectures with a layer of another kind, one more or one less, in the order of their numbers."""
        digits = self._digits(architecture)
        changed = {
            *(
                digits[:position] + digit + digits[position + 1 :]
                for position in range(len(digits))
                for digit in _DIGITS
            ),
            *(
                digits[:position] + digit + digits[position:]
                for position in range(len(digits) + 1)
                for digit in _DIGITS
            ),
            *(digits[:position] + digits[position + 1 :] for position in range(len(digits))),
        } - {digits}
        numbers = _numbers()
        return [_architecture(found) for found in sorted(changed & numbers.keys(), key=numbers.__getitem__)]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the `neighbors`, each with the same probability."""
        neighbors = self.neighbors(architecture)
        return neighbors[int(rng.integers(len(neighbors)))]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw each digit of a genotype from either parent with equal probability, and give what is `nearest`."""
        drawn = rng.integers(2, size=_LAYERS[-1]).tolist()
        genotypes = (_genotype(self._digits(parent)) for parent in (a, b))
        return self.nearest([pair[other] for *pair, other in zip(*genotypes, drawn, strict=True)])

    @property
    def choices(self) -> Choices:
        """Six digits, of which the last two may be missing."""
        optional = (_MISSING, *_DIGITS)
        return (tuple(_DIGITS),) * _LAYERS[0] + (optional,) * (len(_LAYERS) - 1)

    def nearest(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture that differs from a genotype in the fewest digits, of several the first."""
        options = self.choices
        if len(genotype) != len(options) or any(
            gene not in known for gene, known in zip(genotype, options, strict=True)
        ):
            raise ArchitectureError(
                f"The genotype {tuple(genotype)} is no architecture of '{self.name}': expected {len(options)} digits, "
                f"each one of {', '.join(_DIGITS)}, the last {len(_LAYERS) - 1} also {_MISSING}."
            )

        def distance(digits: str) -> int:
            return sum(gene != other for gene, other in zip(genotype, _genotype(digits), strict=True))

        return _architecture(min(_members(), key=distance))

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give for each of six layers which of the five it is: 30 numbers, 0 or 1."""
        genotype = _genotype(self._digits(architecture))
        return np.array([float(gene == digit) for gene in genotype for digit in (_MISSING, *_DIGITS)])

    # Networks.

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is a chain of the stem, the layers and the head.

        Example:
            >>> print(TransNASMacro().draw(TransNASMacro().parse("64-1242-basic")))
            stem    64 channels, two 3×3 convs, quartered
            stage 1 64 channels
            stage 2 128 channels, wider
            stage 3 256 channels, wider, halved
            stage 4 512 channels, wider
            head    pool, linear
        """
        draft, channels = Draft(task), self.channels
        digits = self._digits(architecture)
        add_tiles(draft, self.head)
        captions = {"stem": f"{channels} channels, two 3×3 convs, quartered"}
        draft.add("features.0", "conv_bn", channels // 2, kernel=3, stride=2, block="stem")
        draft.add("features.1", "relu_conv_bn", channels, kernel=3, stride=2, block="stem")
        for number, digit in enumerate(digits, 1):
            channels *= 2 if digit in _WIDER else 1
            block = f"stage {number}"  # so called as everywhere
            captions[block] = f"{channels} channels{_CAPTIONS[digit]}"
            for position in range(_BLOCKS):
                stride = 2 if digit in _SMALLER and not position else 1
                _add_block(draft, f"features.{_BLOCKS * number + position}", channels, stride, block)
        if self.head == HEADS[0]:
            captions["head"] = "pool, linear"
        add_head(draft, self.head, task, self.channels, STEM_HALVINGS + sum(digit in _SMALLER for digit in digits))
        return draft.blueprint(captions=captions)

    def _digits(self, architecture: Architecture) -> str:
        genotype = self._own(architecture).genotype
        digits = "".join(map(str, genotype)).rstrip(_MISSING)
        if digits not in _numbers() or _genotype(digits) != genotype:
            raise ArchitectureError(
                f"'{architecture}' with the genotype {genotype} is none of transnas_macro: make architectures by "
                "`parse` or `nearest`."
            )
        return digits


def _problems(digits: str) -> Iterator[str]:
    """What is wrong with the digits of the layers."""
    if len(digits) not in _LAYERS:
        yield f"it has {len(digits)} layers, expected {_LAYERS[0]} to {_LAYERS[-1]}"
    for kinds, numbers, said in ((_SMALLER, _HALVINGS, "halve the image"), (_WIDER, _DOUBLINGS, "double the channels")):
        found = sum(digit in kinds for digit in digits)
        if found not in numbers:
            yield f"{found} of its layers {said}, expected {numbers[0]} to {numbers[-1]}"


@cache
def _members() -> list[str]:
    """The digits of all architectures, by their length and then themselves."""
    written = (digits for length in _LAYERS for digits in itertools.product(_DIGITS, repeat=length))
    return [digits for digits in map("".join, written) if not any(_problems(digits))]


@cache
def _numbers() -> dict[str, int]:
    return {digits: number for number, digits in enumerate(_members())}


def _genotype(digits: str) -> tuple[str, ...]:
    return tuple(digits.ljust(_LAYERS[-1], _MISSING))


def _architecture(digits: str) -> Architecture:
    return Architecture(TransNASMacro.name, _genotype(digits), f"64-{digits}-basic")


def _add_block(draft: Draft, name: str, channels: int, stride: int, block: str) -> None:
    """Add a residual block, whose shortcut is a 1 x 1 convolution where the shape changes."""
    changes = stride > 1 or channels != draft.channels
    shortcut = draft.node(name, "conv_bn" if changes else "skip_connect", channels, stride=stride, block=block)
    first = draft.node(name, "relu_conv_bn", channels, kernel=3, stride=stride, target="1", block=block)
    draft.extend([], channels, first.output_size)
    second = draft.node(name, "relu_conv_bn", kernel=3, source="1", block=block)
    draft.extend([first, shortcut, second], channels, draft.size)
