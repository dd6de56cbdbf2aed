"""All that architectures of a space choose among, at once: what gradient-based searches mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

import numpy as np

from trainless.errors import InputError
from trainless.search_spaces.blueprint import Blueprint
from trainless.search_spaces.nodes import EARLIER, INPUT, Node
from trainless.seeding import derive_seed
from trainless.types import Architecture, Task

__all__ = ["Choosing", "Relaxation", "in_order", "relax"]

_CHECKED = 24  # architectures on which is checked that choices are independent


class Relaxation(NamedTuple):
    """A space whose choices are weights: what there is to choose from, and what networks have of each.

    Args:
        choices: what each choice is among; cells that are the same have their choices in common.
        nodes: all operations in the order in which they run, each with the numbers of the options with which networks
            have it, none where they always do. Options are numbered through all choices.
        decode: gives the architecture that weights of the options lead to, one sequence a choice.
        encode: gives the weights, 0 and 1, by which nothing is mixed but one architecture's network.
    """

    choices: tuple[tuple[str | int, ...], ...]
    nodes: tuple[tuple[Node, tuple[int, ...]], ...]
    decode: Callable[[Sequence[Sequence[float]]], Architecture]
    encode: Callable[[Architecture], list[list[float]]]

    @property
    def numbers(self) -> list[range]:
        """The numbers of the options of each choice."""
        ends = [0, *accumulate(map(len, self.choices))]
        return [range(*pair) for pair in pairwise(ends)]


class Choosing(Protocol):
    """What a space of independent choices says of itself, as `trainless.search_spaces.ProductSpace` does."""

    name: str

    @property
    def choices(self) -> tuple[tuple[str | int, ...], ...]:
        """What there is to choose from."""

    def make(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture of a genotype."""

    def codes(self, architecture: Architecture) -> tuple[int, ...]:
        """Tell which of its options each choice is."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture."""

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network."""


def relax(space: Choosing, task: Task) -> Relaxation:
    """Join the networks of a space of independent choices, each of which decides for itself which nodes there are.

    Raises:
        InputError: an option of one choice changes what another one adds, as sizes do.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201(channels=4, cells=1)")
        >>> found = relax(space, Task("toy", 10))
        >>> len(found.choices), len(found.choices[0]), str(found.decode([[0, 0, 1, 0, 0]] * 6))[:16]
        (6, 5, '|nor_conv_1x1~0|')
    """
    first = [options[0] for options in space.choices]
    starts = [0, *accumulate(map(len, space.choices))]
    networks: dict[int, tuple[Node, ...]] = {}  # by the number of the option that is another than the first
    for choice, options in enumerate(space.choices):
        for code, option in enumerate(options):
            genotype = [*first[:choice], option, *first[choice + 1 :]]
            networks[starts[choice] + code] = _unplaced(space.blueprint(space.make(genotype), task).nodes)
    holders: dict[Node, set[int]] = {}
    for number, nodes in networks.items():
        for node in nodes:
            holders.setdefault(node, set()).add(number)
    numbers = {node: _deciding(held, starts) for node, held in holders.items()}
    _check(space, task, numbers, starts)
    joined = numbers | _identities(numbers, networks, starts)
    ordered = in_order(joined, [[node.name for node in nodes] for nodes in networks.values()])
    return Relaxation(
        space.choices,
        tuple((node, joined[node]) for node in ordered),
        lambda weights: space.make(
            [options[int(np.argmax(own))] for options, own in zip(space.choices, weights, strict=True)]
        ),
        lambda architecture: [
            [float(number == code) for number in range(len(options))]
            for options, code in zip(space.choices, space.codes(architecture), strict=True)
        ],
    )


def _unplaced(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Nodes that run in the order in which they stand."""
    return tuple([replace(node, position=0) for node in nodes])


def _deciding(held: set[int], starts: Sequence[int]) -> tuple[int, ...]:
    """The options of the one choice that decides whether there is a node; none where nothing does."""
    for low, high in pairwise(starts):
        own = tuple(number for number in range(low, high) if number in held)
        if 0 < len(own) < high - low:
            return own
    return ()


def _check(
    space: Choosing, task: Task, numbers: Mapping[Node, tuple[int, ...]], starts: Sequence[int]
) -> None:  # fmt: skip
    """Refuse a space in which nodes are not where the choices say, one by one."""
    rng = np.random.default_rng(derive_seed(0, "relaxation"))
    for _ in range(_CHECKED):
        architecture = space.sample(rng)
        chosen = {start + code for start, code in zip(starts, space.codes(architecture), strict=False)}
        expected = {node for node, own in numbers.items() if not own or chosen.intersection(own)}
        if set(_unplaced(space.blueprint(architecture, task).nodes)) != expected:
            raise InputError(
                f"The choices of '{space.name}' depend on each other, as sizes do, and its operations cannot be mixed: "
                "choose another space, or a strategy that takes single paths."
            )


def _identities(
    numbers: Mapping[Node, tuple[int, ...]], networks: Mapping[int, Sequence[Node]], starts: Sequence[int]
) -> dict[Node, tuple[int, ...]]:  # fmt: skip
    """What modules that some networks lack do there: they hand on what they read."""
    found = {}
    for name in dict.fromkeys(node.name for node in numbers):
        own = {node: held for node, held in numbers.items() if node.name == name}
        present = {number for held in own.values() for number in held}
        low, high = next((ends for ends in pairwise(starts) if present.intersection(range(*ends))), (0, 0))
        lacking = tuple(number for number in range(low, high) if name not in {node.name for node in networks[number]})
        if lacking and all(own.values()):
            like = next(node for node in own if node.source == INPUT)
            identity = Node(
                name, "skip_connect", like.inputs, like.inputs, like.size, block=like.block, label="nothing"
            )
            found[identity] = lacking
    return found


def in_order(nodes: Iterable[Node], sequences: Iterable[Sequence[str]]) -> list[Node]:
    """Order nodes: modules as in sequences of their names, within them values before what reads them, skips last.

    Example:
        >>> late, early = (Node("cell", "conv", 2, 2, (4, 4), **{end: "1"}) for end in ("source", "target"))
        >>> skip = Node("cell", "skip_connect", 2, 2, (4, 4))
        >>> in_order([late, skip, early], [["cell"]]) == [early, late, skip]
        True
    """
    modules: TopologicalSorter[str] = TopologicalSorter()
    for names in sequences:
        distinct = list(dict.fromkeys(names))
        modules.add(distinct[0])
        for before, after in pairwise(distinct):
            modules.add(after, before)
    try:
        ranks = {name: rank for rank, name in enumerate(modules.static_order())}
    except CycleError as error:
        raise InputError("Modules follow one another in no common order.") from error
    listed = list(nodes)
    values: dict[str, TopologicalSorter[str]] = {}
    for node in listed:
        values.setdefault(node.name, TopologicalSorter()).add(node.target, node.source)
    order = {(name, value): rank for name, graph in values.items() for rank, value in enumerate(graph.static_order())}
    return sorted(
        listed,
        key=lambda node: (ranks[node.name], order[node.name, node.target], node.record.is_identity,
                          node.source not in (INPUT, EARLIER)),
    )  # fmt: skip
