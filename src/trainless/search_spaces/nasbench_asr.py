"""The search space of NAS-Bench-ASR (Mehrotra et al., ICLR 2021): cells of convolutions over time for speech."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations
from types import MappingProxyType
from typing import Any, ClassVar

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.nodes import INPUT, OUTPUT
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["NASBenchASR"]

_ZERO = 5
_OPERATIONS: tuple[Mapping[str, Any], ...] = (
    {"operation": "time_linear", "label": "linear"},
    {"operation": "time_conv", "kernel": 5, "label": "conv 5"},
    {"operation": "time_conv", "kernel": 5, "dilation": 2, "label": "conv 5, dilated"},
    {"operation": "time_conv", "kernel": 7, "label": "conv 7"},
    {"operation": "time_conv", "kernel": 7, "dilation": 2, "label": "conv 7, dilated"},
)
_CODES = tuple(range(len(_OPERATIONS) + 1))
_NODES = 3
_VALUES = (INPUT, "1", "2", OUTPUT)
_BLOCKS = ((6, 1, 3), (8, 1, 4), (10, 2, 5), (12, 2, 6))  # channels in widths, stride and cells of each
_RECURRENT = 5  # widths of the recurrent layer
_KERNEL = 8  # of the convolution at the beginning of a block
_FORM = re.compile(
    r"\[\s*\[(\d),\s*([01])\],\s*\[(\d),\s*([01]),\s*([01])\],\s*\[(\d),\s*([01]),\s*([01]),\s*([01])\]\s*\]"
)
_EXAMPLE = "[[1, 0], [1, 0, 1], [0, 1, 0, 0]]"


@dataclass(frozen=True)
class NASBenchASR(ProductSpace):
    """NAS-Bench-ASR: cells of three nodes over time, each an operation and perhaps skips from all nodes before it.

    What comes in are features over time: channels, one row, and as many columns as steps of time; of images each row is
    a time of its own. A network has four blocks, each a convolution over time, ReLU and layer normalisation, and then
    3, 4, 5 and 6 cells; two of the convolutions halve the time. A recurrent layer and a linear map give class scores at
    each step, of which the mean over time is what a proxy reads. A cell is written ``[[op, s], [op, s, s], [op, s, s,
    s]]``: node k is its operation on the node before plus those earlier nodes whose s is 1; 0 is a linear map, 1 to 4
    convolutions of 5 and 7 steps, without and with a dilation of 2, in groups, and 5 zero. Layer normalisation follows
    the last node.

    Args:
        width: the hundredth part of what the published networks have in channels is one of it: they have 100.

    Raises:
        InputError: the width is below 1.

    Example:
        >>> space, task = NASBenchASR(), Task("timit", classes=48, channels=80, height=1, width=300)
        >>> len(space), space.parameters(space.parse("[[1, 0], [1, 0, 0], [1, 0, 0, 0]]"), task)
        (13824, 26340848)
    """

    name = "nasbench_asr"
    noun = "cell"
    halves = ("width", 1)
    choices = tuple(
        choice for node in range(1, _NODES + 1) for choice in (_CODES, *((0, 1),) * node)
    )  # fmt: skip
    expected = "for each of 3 nodes an operation from 0 to 5 and a 0 or 1 for each node before it"
    least: ClassVar[Mapping[str, int]] = MappingProxyType({"width": 1})

    width: int = 100

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write a cell as the published lists."""
        return str([list(node) for node in _nodes(genotype)])

    def parse(self, text: str) -> Architecture:
        """Read published lists.

        Raises:
            ArchitectureError: the string is none of the space.

        Example:
            >>> NASBenchASR().parse("[[1, 0]]")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '[[1, 0]]' is no architecture of nasbench_asr: expected a form like...
        """
        read = _FORM.fullmatch(text.strip())
        if read is None or any(int(digit) > _ZERO for digit in read.groups()):
            raise ArchitectureError(
                f"'{text}' is no architecture of nasbench_asr: expected a form like '{_EXAMPLE}', with "
                "operations from 0 to 5."
            )
        return self.make(list(map(int, read.groups())))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all cells that are the same network, the one of the least number.

        A node that is zero and one skip is the node that the skip is from; what does not reach the last node is dead.

        Example:
            >>> print(NASBenchASR().canonical(NASBenchASR().parse("[[5, 1], [5, 0, 1], [2, 0, 0, 0]]")))
            [[0, 0], [5, 1, 0], [2, 0, 0, 0]]
        """
        return self.make(_representatives()[_form(_nodes(self.genotype(architecture)))])

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its first cell stands for it.

        Example:
            >>> print(NASBenchASR().draw(NASBenchASR().parse("[[1, 0], [0, 1, 0], [5, 0, 0, 1]]")))
            node 0 = input
            node 1 = conv 5(node 0)
            node 2 = linear(node 1) + skip(node 0)
            output = skip(node 2)
        """
        nodes, draft, number = _nodes(self.genotype(architecture)), Draft(task), 0
        for block, (widths, stride, cells) in enumerate(_BLOCKS, 1):
            channels = widths * self.width
            draft.add(f"features.{number}", "time_conv", channels, kernel=_KERNEL, stride=stride)
            draft.add(f"features.{number + 1}", "channel_norm", block=f"block {block}")
            for cell in range(cells):
                self._add_cell(draft, f"features.{number + 2 + 2 * cell}", nodes, f"block {block}, cell {cell + 1}")
                draft.add(f"features.{number + 3 + 2 * cell}", "channel_norm", block=f"block {block}, cell {cell + 1}")
            number += 2 + 2 * cells
        draft.add("head", "recurrent", task.classes, hidden=_RECURRENT * self.width, block="head")
        return draft.blueprint(pictured="features.2")

    def _add_cell(self, draft: Draft, name: str, nodes: Sequence[tuple[int, ...]], block: str) -> None:
        made = []
        for number, (code, *skips) in enumerate(nodes):
            source, target = _VALUES[number], _VALUES[number + 1]
            settings = dict(_OPERATIONS[code]) if code != _ZERO else {"operation": "none", "label": "zero"}
            groups = self.width if settings["operation"] == "time_conv" else 1
            made.append(
                draft.node(name, settings.pop("operation"), source=source, target=target, groups=groups, **settings)
            )
            made += [
                draft.node(name, "skip_connect", source=_VALUES[earlier], target=target, label="skip")
                for earlier, there in enumerate(skips)
                if there
            ]
        draft.extend(made, draft.channels, draft.size)


def _nodes(genotype: Sequence[str | int]) -> tuple[tuple[int, ...], ...]:
    """Operation and skips of each node."""
    numbers, starts = list(map(int, genotype)), (0, 2, 5, 9)
    return tuple(tuple(numbers[start:end]) for start, end in pairwise(starts))


@cache
def _form(nodes: tuple[tuple[int, ...], ...]) -> str:
    """What a cell computes: its last node as a sum of terms, the operations by numbers, for each has its weights."""
    values: list[tuple[Any, ...]] = [("x",)]
    for number, (code, *skips) in enumerate(nodes):
        own = () if code == _ZERO else ((number, code, values[number]),)
        values.append((*own, *(term for earlier, there in enumerate(skips) if there for term in values[earlier])))
    # Which operation has which number makes no difference.
    return min(_written(values[-1], numbers) for numbers in permutations(range(_NODES)))


def _written(value: tuple[Any, ...], numbers: Sequence[int]) -> str:
    terms = (term if term == "x" else f"{numbers[term[0]]}:{term[1]}({_written(term[2], numbers)})" for term in value)
    return "+".join(sorted(terms)) or "0"


@cache
def _representatives() -> dict[str, tuple[str | int, ...]]:
    found: dict[str, tuple[str | int, ...]] = {}
    for cell in NASBenchASR():
        found.setdefault(_form(_nodes(cell.genotype)), cell.genotype)
    return found
