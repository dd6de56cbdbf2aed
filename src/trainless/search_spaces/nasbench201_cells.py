"""The cells of NAS-Bench-201 as such: their order, their strings, and which of them are the same network."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from functools import cache

from trainless.search_spaces.blueprint import live_edges

__all__ = [
    "EDGES",
    "NODES",
    "OPERATIONS",
    "Genotype",
    "cell_text",
    "network_form",
    "positions",
    "public_order",
    "representatives",
    "unique_string",
]

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NODES = 4

Genotype = tuple[str, ...]


@cache
def cell_text(genotype: Genotype) -> str:
    """Write a cell as its published string.

    Example:
        >>> cell_text(("none",) * 6)
        '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'
    """
    operation = dict(zip(EDGES, genotype, strict=True))
    nodes = (
        "|" + "|".join(f"{operation[source, target]}~{source}" for source in range(target)) + "|"
        for target in range(1, NODES)
    )
    return "+".join(nodes)


@cache
def public_order() -> list[Genotype]:
    """All genotypes in the order in which NATS-Bench numbers them: its authors' shuffle with seed 88."""
    order = list(itertools.product(OPERATIONS, repeat=len(EDGES)))
    random.Random(88).shuffle(order)
    return order


@cache
def positions() -> dict[Genotype, int]:
    """Number of each genotype in the public order."""
    return {genotype: index for index, genotype in enumerate(public_order())}


# Which networks are the same.


@cache
def network_form(genotype: Genotype) -> str:
    """Describe the network a cell amounts to, so that equal networks have equal descriptions.

    A node is a multiset of terms: the input, poolings and instances of convolutions. Skips pass terms through, and
    equal poolings are one term. Convolutions have weights of their own, so an instance is named by a number; of all
    ways to number them the least description is taken, which makes it the same for isomorphic cells.

    Example:
        >>> skip, conv, none = "skip_connect", "nor_conv_3x3", "none"
        >>> network_form((conv, none, skip, none, none, skip))
        'nor_conv_3x3.0(input)'
        >>> network_form((skip, none, none, none, conv, none))
        'nor_conv_3x3.0(input)'
    """
    present = {edge: operation for edge, operation in zip(EDGES, genotype, strict=True) if operation != "none"}
    live = live_edges(list(present), 0, NODES - 1)
    pruned = {edge: operation for edge, operation in present.items() if edge in live}
    return min(_output_form(pruned, numbers) for numbers in _numberings(pruned))


_Numbers = Mapping[tuple[int, int], int]


def _numberings(pruned: Mapping[tuple[int, int], str]) -> Iterator[_Numbers]:
    """Ways to number the convolutions of which one has the least description.

    An isomorphism keeps what a convolution reads when numbers are left out. So convolutions are put in the order of
    that, and only those in a tie are permuted.
    """
    instances = [edge for edge in pruned if pruned[edge].startswith("nor_conv")]
    nodes = _node_forms(pruned, dict.fromkeys(instances, 0))
    reading = {edge: f"{pruned[edge]}({nodes[edge[0]]})" for edge in instances}
    ties = itertools.groupby(sorted(instances, key=reading.__getitem__), key=reading.__getitem__)
    for orders in itertools.product(*(itertools.permutations(tie) for _, tie in ties)):
        yield {edge: number for number, edge in enumerate(itertools.chain.from_iterable(orders))}


def _output_form(pruned: Mapping[tuple[int, int], str], numbers: _Numbers) -> str:
    return _node_forms(pruned, numbers)[NODES - 1]


def _node_forms(pruned: Mapping[tuple[int, int], str], numbers: _Numbers) -> list[str]:
    """The description of each node, with every convolution instance named by its number."""
    terms: list[list[str]] = [["input"]]
    forms = ["input"]
    for target in range(1, NODES):
        added: list[str] = []
        for source in range(target):
            operation, edge = pruned.get((source, target)), (source, target)
            if operation == "skip_connect":
                added += terms[source]
            elif operation is not None:
                instance = f".{numbers[edge]}" if edge in numbers else ""
                added.append(f"{operation}{instance}({forms[source]})")
        terms.append(sorted(added))
        forms.append("+".join(terms[target]))
    return forms


@cache
def representatives() -> dict[str, Genotype]:
    """For each network the cell that is written with the fewest operations, the first of the public order."""
    cheapest = sorted(public_order(), key=lambda genotype: len(EDGES) - genotype.count("none"))
    forms: dict[str, Genotype] = {}
    for genotype in cheapest:
        forms.setdefault(network_form(genotype), genotype)
    return forms


def unique_string(genotype: Genotype, zeroize: bool) -> str:
    """Give the string by which the benchmark's authors tell networks apart.

    Example:
        >>> unique_string(("skip_connect", "none", "none", "skip_connect", "none", "none"), zeroize=True)
        '#+#+0'
    """
    operations = dict(zip(EDGES, genotype, strict=True))
    nodes = ["0"]
    for target in range(1, NODES):
        terms = []
        for source in range(target):
            operation, string = operations[source, target], nodes[source]
            if operation == "skip_connect":
                terms.append(string)
            elif zeroize and (operation == "none" or string == "#"):
                terms.append("#")
            else:
                terms.append(f"({string})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]
