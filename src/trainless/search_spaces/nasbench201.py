"""NAS-Bench-201 (Dong & Yang, ICLR 2020): 15,625 cells of six edges with five operations each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import getitem
from typing import cast

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft, Part
from trainless.search_spaces.nasbench201_cells import (
    EDGES,
    NODES,
    OPERATIONS,
    Genotype,
    cell_text,
    network_form,
    positions,
    public_order,
    representatives,
    unique_string,
)
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["EDGES", "OPERATIONS", "NASBench201"]

_STAGES = 3
_LEAST_CHANNELS = 3  # down to which a network is made narrower
_VALUES = ("input", "1", "2", "output")
_ON_AN_EDGE = {
    "none": ("none", 1),
    "skip_connect": ("skip_connect", 1),
    "nor_conv_1x1": ("relu_conv_bn", 1),
    "nor_conv_3x3": ("relu_conv_bn", 3),
    "avg_pool_3x3": ("avg_pool_3x3", 3),
}
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@dataclass(frozen=True)
class NASBench201(ProductSpace):
    """NAS-Bench-201: 15,625 cells of six edges with five operations each.

    A network is a 3 x 3 convolution, three stages of cells with a residual reduction block between them, a last
    batch normalisation and ReLU, global average pooling and a linear layer. Its modules are ``features`` (up to global
    pooling), ``pool``, ``flatten`` and ``head``. A genotype lists operations in the order of `EDGES`.

    Spaces are equal, and hash alike, by their options.

    Args:
        channels: channels of the first stage; each later one has twice as many.
        cells: cells in each stage.

    Raises:
        InputError: an option is below 1.

    Example:
        >>> space = NASBench201()
        >>> print(space[0])
        |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|
        >>> text = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
        >>> cell, task = space.parse(text), Task("cifar10", 10)
        >>> space.parameters(cell, task), space.flops(cell, task)
        (615386, 86426240)
    """

    name = "nasbench201"
    noun = "cell"
    choices = (OPERATIONS,) * len(EDGES)
    expected = f"{len(EDGES)} of the operations {', '.join(OPERATIONS)}"

    channels: int = 16
    cells: int = 5

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write a cell as its published string."""
        return cell_text(cast(Genotype, genotype))

    def parse(self, text: str) -> Architecture:
        """Read a published string, such as ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|``.

        Raises:
            ArchitectureError: the string is no cell of the space; the message tells what is wrong.

        Example:
            >>> NASBench201().parse("|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'conv' is no operation of nasbench201 ... skip_connect, ...
        """
        nodes = text.strip().split("+")
        if len(nodes) != NODES - 1:
            raise _no_cell(text, f"it has {len(nodes)} nodes")
        genotype: dict[tuple[int, int], str] = {}
        for target, node in enumerate(nodes, 1):
            edges = node.strip()[1:-1].split("|")
            if len(edges) != target or not re.fullmatch(r"\|.*\|", node.strip()):
                raise _no_cell(text, f"node {target} is written '{node}' and needs {target} edges between bars")
            for source, edge in enumerate(edges):
                operation, _, written = edge.partition("~")
                if operation not in OPERATIONS:
                    raise ArchitectureError(
                        f"'{operation}' is no operation of nasbench201 (in '{text.strip()}'): "
                        f"expected one of {', '.join(OPERATIONS)}."
                    )
                if written != str(source):
                    raise _no_cell(text, f"edge '{edge}' of node {target} should come from node {source}")
                genotype[source, target] = operation
        return self.make([genotype[edge] for edge in EDGES])

    def genotype(self, architecture: Architecture) -> tuple[str | int, ...]:
        """Give the operations of a cell in the order of `EDGES`; ArchitectureError if it is none of the space."""
        if architecture.genotype not in positions() or architecture.space != self.name:
            self.codes(architecture)  # says what is wrong
        return architecture.genotype

    # The public order of the benchmark stands in place of the numbers of a product.

    def __getitem__(self, index: int) -> Architecture:
        return _cells()[self._checked(index)]

    def index(self, architecture: Architecture) -> int:
        """Tell an architecture's number in the public NATS-Bench order; ArchitectureError if it is none of the space.

        Example:
            >>> space = NASBench201()
            >>> space.index(space[1234])
            1234
        """
        return positions()[cast(Genotype, self.genotype(architecture))]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all cells that are the same network: dead edges of it are ``none``.

        Two cells are the same if, after pruning what does not reach the output or is not reached from the input,
        passing skips through and merging equal poolings of the same node, the same instances of operations are added
        up in the same way. There are 5,260 classes.

        Example:
            >>> space = NASBench201()
            >>> print(space.canonical(space.parse("|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|")))
            |none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|
        """
        return self.make(representatives()[network_form(cast(Genotype, self.genotype(architecture)))])

    def unique_string(self, architecture: Architecture, zeroize: bool = True) -> str:
        """Give the string by which the benchmark's authors tell networks apart; 12,751 differ, or 6,466 with zeroize.

        It says less than `canonical`: terms of dead nodes stay in its sums, so some equal networks differ, and one
        convolution used twice reads like two convolutions, so some different networks are equal.

        Args:
            architecture: a cell.
            zeroize: also simplify what follows from ``none``.

        Example:
            >>> space = NASBench201()
            >>> space.unique_string(space.parse("|skip_connect~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"))
            '#+#+0'
        """
        return unique_string(cast(Genotype, self.genotype(architecture)), zeroize)

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its cell stands for it.

        Example:
            >>> space = NASBench201()
            >>> text = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
            >>> print(space.draw(space.parse(text)))
            node 0 = input
            node 1 = nor_conv_3x3(node 0)
            node 2 = nor_conv_1x1(node 1) [dead]
            output = skip_connect(node 0) + avg_pool_3x3(node 1)
        """
        frame, edges = _parts(self.channels, self.cells, task)
        return Blueprint((frame, *map(getitem, edges, self.genotype(architecture))), "features.2")

    @property
    def sizes(self) -> tuple[NASBench201, ...]:
        """The same cells in ever smaller networks: first there are fewer of them, and only then they are narrower.

        Few wide layers learn from more images in the same time than many narrow ones of as many multiply-adds.

        Example:
            >>> [(space.channels, space.cells) for space in NASBench201().sizes]
            [(16, 5), (16, 3), (16, 2), (16, 1), (8, 1), (4, 1), (2, 1)]
        """
        spaces = [self]
        while (last := spaces[-1]).cells > 1 or last.channels > _LEAST_CHANNELS:
            if last.cells > 1:
                spaces.append(NASBench201(last.channels, (last.cells + 1) // 2))
            else:
                spaces.append(NASBench201(last.channels // 2, 1))
        return tuple(spaces)


@cache
def _cells() -> list[Architecture]:
    space = NASBench201()
    return [space.make(genotype) for genotype in public_order()]


def _no_cell(text: str, problem: str) -> ArchitectureError:
    return ArchitectureError(
        f"'{text.strip()}' is no architecture of nasbench201: {problem}, expected a form like '{_EXAMPLE}'."
    )


@lru_cache(maxsize=64)
def _parts(channels: int, cells: int, task: Task) -> tuple[Part, list[dict[str | int, Part]]]:
    """All but the cells; and for each edge and operation what it is in the cells of all stages."""
    draft, cell_nodes, number = Draft(task), [], 2
    draft.add("features.0", "conv", channels, kernel=3)
    draft.add("features.1", "batch_norm", block="stem")
    for stage in range(1, _STAGES + 1):
        if stage > 1:
            draft.add(f"features.{number}", "reduction", 2 * draft.channels, stride=2, block=f"reduction {stage - 1}")
            number += 1
        draft.position += 1
        cell_nodes.append(
            {
                (ends, name): draft.node(
                    f"features.{number}", operation, kernel=kernel, source=_VALUES[ends[0]], target=_VALUES[ends[1]],
                    repeat=cells, block=f"stage {stage}", label=name,
                )
                for ends in EDGES
                for name, (operation, kernel) in _ON_AN_EDGE.items()
            }
        )  # fmt: skip
        draft.position += 1
        number += cells
    draft.add(f"features.{number}", "batch_norm")
    draft.add(f"features.{number + 1}", "relu")
    draft.classify(task.classes)
    edges: list[dict[str | int, Part]] = [
        {name: Part([nodes[ends, name] for nodes in cell_nodes]) for name in OPERATIONS} for ends in EDGES
    ]
    return Part(draft.nodes), edges
