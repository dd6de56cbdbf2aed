"""The micro search space of TransNAS-Bench-101 (Duan et al., CVPR 2021): 4,096 cells of six edges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar, cast

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.nasbench201_cells import network_form
from trainless.search_spaces.product import ProductSpace
from trainless.search_spaces.transnas_heads import HEADS, STEM_HALVINGS, add_head, add_tiles
from trainless.types import Architecture, Task

__all__ = ["TransNASMicro"]

_NONE, _SKIP = "0", "1"
_ON_AN_EDGE = {"2": ("relu_conv_bn", 1, "conv1x1"), "3": ("relu_conv_bn", 3, "conv3x3")}
_OPTIONS = (_NONE, _SKIP, *_ON_AN_EDGE)
_VALUES = ("input", "1", "2", "output")
_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_CHANGING = (True, False, True, False, True)  # layers whose first cell doubles the channels and halves the image
_CELLS = 2  # of a layer
_TEXT = re.compile(r"64-41414-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")
_EXAMPLE = "64-41414-1_02_333"


@dataclass(frozen=True)
class TransNASMicro(ProductSpace):
    """TransNAS-Bench-101's micro space: 4,096 cells of six edges with four operations each.

    A network is two strided 3 x 3 convolutions, five layers of two cells and a head, by default global average pooling
    and a linear layer. The first cell of the first, third and fifth layer doubles the
    channels and halves the image: all edges that leave its input do, a skip as a `FactorizedReduction`. A cell is
    written ``a_bc_def``, the operations on the edges to each of its three nodes: ``0`` none, ``1`` skip, ``2`` a 1 x 1
    and ``3`` a 3 x 3 convolution. An architecture's number is the one whose digits to base 4 these are.

    Args:
        channels: that the first layer reads; the published networks have 64.
        head: ``classification``; ``jigsaw``, which reads nine tiles of an image; ``segmentation``, which gives a map
            for each class; or ``generation``, which gives maps for as many channels as images have.

    Raises:
        InputError: there are fewer than 2 channels, or there is no such head.

    Example:
        >>> space = TransNASMicro()
        >>> len(space), str(space[4095])
        (4096, '64-41414-3_33_333')
        >>> space.parameters(space.parse("64-41414-1_00_210"), Task("class_scene", 63, height=256, width=256))
        910687
    """

    name = "transnas_micro"
    noun = "cell"
    halves = ("channels", 4)
    choices = (_OPTIONS,) * len(_EDGES)
    expected = f"{len(_EDGES)} of the digits {', '.join(_OPTIONS)}"
    least: ClassVar[Mapping[str, int]] = MappingProxyType({"channels": 2})
    words: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({"head": HEADS})

    channels: int = 64
    head: str = HEADS[0]

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write a cell as the published string of its network."""
        first, second, third = genotype[:1], genotype[1:3], genotype[3:]
        return "64-41414-" + "_".join("".join(map(str, digits)) for digits in (first, second, third))

    def parse(self, text: str) -> Architecture:
        """Read a published string.

        Raises:
            ArchitectureError: the string is none of the space.

        Example:
            >>> TransNASMicro().parse("64-41414-1_02")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '64-41414-1_02' is no architecture of transnas_micro: expected a form...
        """
        read = _TEXT.fullmatch(text.strip())
        if read is None:
            raise ArchitectureError(
                f"'{text.strip()}' is no architecture of transnas_micro: expected a form like '{_EXAMPLE}'."
            )
        return self.make(read.groups())

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all cells that are the same network: dead edges of it are ``none``.

        It is as in NAS-Bench-201, but that a skip which leaves the cell's input has weights where the shape changes,
        and so is an instance like a convolution. The representative has the fewest operations, and of such the least
        number.

        Example:
            >>> print(TransNASMicro().canonical(TransNASMicro().parse("64-41414-0_30_001")))
            64-41414-0_00_300
        """
        return self.make(_representatives()[_form(cast(tuple[str, ...], self.genotype(architecture)))])

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its first cell stands for it.

        Example:
            >>> print(TransNASMicro().draw(TransNASMicro().parse("64-41414-3_02_100")))
            node 0 = input
            node 1 = conv3x3(node 0) [dead]
            node 2 = conv1x1(node 1) [dead]
            output = skip(node 0)
        """
        genotype, draft, channels = self.genotype(architecture), Draft(task), self.channels
        add_tiles(draft, self.head)
        draft.add("features.0", "conv_bn", channels // 2, kernel=3, stride=2, block="stem")
        draft.add("features.1", "relu_conv_bn", channels, kernel=3, stride=2, block="stem")
        for layer, changes in enumerate(_CHANGING):
            channels *= 2 if changes else 1
            for cell in range(_CELLS):
                name, block = f"features.{2 + _CELLS * layer + cell}", f"layer {layer + 1}"
                _add_cell(draft, name, genotype, channels, 2 if changes and not cell else 1, block)
        add_head(draft, self.head, task, self.channels, STEM_HALVINGS + sum(_CHANGING))
        return draft.blueprint(pictured="features.2")


def _add_cell(
    draft: Draft, name: str, genotype: tuple[str | int, ...], channels: int, stride: int, block: str
) -> None:  # fmt: skip
    """Add a cell, all of whose edges from its input bring it to a shape."""
    inputs, size = draft.channels, draft.size
    inner = draft.node(name, "none", channels, stride=stride).output_size
    nodes = []
    for (source, target), digit in zip(_EDGES, genotype, strict=True):
        draft.extend([], inputs if source == 0 else channels, size if source == 0 else inner)
        step = stride if source == 0 else 1
        operation, kernel, label = _ON_AN_EDGE.get(str(digit), ("none", 1, "none"))
        if digit == _SKIP:
            operation, label = "factorized_reduction" if step > 1 else "skip_connect", "skip"
        nodes.append(
            draft.node(
                name, operation, channels, kernel=kernel, stride=step, source=_VALUES[source], target=_VALUES[target],
                block=block, label=label,
            )
        )  # fmt: skip
    draft.extend(nodes, channels, inner)


@cache
def _form(genotype: tuple[str, ...]) -> str:
    """What network a cell amounts to."""
    operations = {_NONE: "none", _SKIP: "skip_connect", "2": "nor_conv_1x1", "3": "nor_conv_3x3"}
    return network_form(
        tuple([
            "nor_conv_skip" if digit == _SKIP and source == 0 else operations[digit]
            for (source, _), digit in zip(_EDGES, genotype, strict=True)
        ])
    )  # fmt: skip


@cache
def _representatives() -> dict[str, tuple[str, ...]]:
    cells = sorted(TransNASMicro(), key=lambda cell: len(_EDGES) - cell.genotype.count(_NONE))
    found: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        genotype = cast(tuple[str, ...], cell.genotype)
        found.setdefault(_form(genotype), genotype)
    return found
