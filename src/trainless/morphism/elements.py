"""Networks as elements one after another, and which of those of a smaller one are which of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from torch import nn

from trainless.search_spaces.blueprint import Blueprint
from trainless.search_spaces.nodes import EARLIER, INPUT, OUTPUT, Node

__all__ = ["Built", "Element", "Item", "item_fits", "matched"]


class Item(NamedTuple):
    """A node, what was built for it, and the path of the module that it is a part of."""

    node: Node
    module: nn.Module
    path: str


class Element(tuple[Item, ...]):
    """One operation, or all of a module whose operations are no chain.

    Example:
        >>> nodes = [Node("body", "skip_connect", 2, 2, (4, 4)), Node("body", "conv", 2, 2, (4, 4), kernel=3)]
        >>> element = Element(Item(node, node.record.build(node), "body") for node in nodes)
        >>> element.is_shortcut, len(element.body)
        (True, 1)
    """

    @property
    def is_shortcut(self) -> bool:
        """Whether it is a chain of operations with a shortcut around all of them."""
        return len(self) > 1 and self[0].node.record.is_identity and self[0].node.target == OUTPUT and self.body != ()

    @property
    def reads(self) -> Node:
        """A node that reads what the element reads."""
        return next((item.node for item in self if item.node.source == INPUT), self[0].node)

    @property
    def gives(self) -> Node:
        """A node that gives what the element gives."""
        return next((item.node for item in self if item.node.target == OUTPUT), self[-1].node)

    @property
    def reads_earlier(self) -> bool:
        """Whether it reads what the element before it reads."""
        return any(item.node.source == EARLIER for item in self)

    @property
    def body(self) -> tuple[Element, ...]:
        """The operations but the first, one after another; none where they are no chain."""
        return _chain(self[1:])


class Built(NamedTuple):
    """A network and the modules of its nodes.

    Args:
        blueprint: what it is made of.
        network: itself.
        made: what was built for the nodes of each module, by its path.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space = search_space("mlp")
        >>> built = Built.of(space.blueprint(space.parse("16relu"), Task("toy", 2)))
        >>> [element.reads.operation for element in built.elements]
        ['flatten', 'linear_bn', 'relu', 'linear']
    """

    blueprint: Blueprint
    network: nn.Module
    made: dict[str, list[Item]]

    @classmethod
    def of(cls, blueprint: Blueprint) -> Built:
        """Build the network of a blueprint."""
        made: dict[str, list[Item]] = {}

        def make(node: Node, path: str) -> nn.Module:
            module = node.record.build(node)
            made.setdefault(path, []).append(Item(node, module, path))
            return module

        return cls(blueprint, blueprint.build(make), made)

    def within(self, network: nn.Module) -> Built:
        """Give the same of another network of the blueprint."""
        names = {module: name for name, module in self.network.named_modules()}
        made = {
            path: [item._replace(module=network.get_submodule(names[item.module])) for item in items]
            for path, items in self.made.items()
        }
        return Built(self.blueprint, network, made)

    @property
    def elements(self) -> list[Element]:
        """What the network does, one after the other; chains of operations are one element each operation."""
        found: list[Element] = []
        for path, nodes in self.blueprint.paths():
            made = list(self.made.get(path, ()))
            items = tuple(_taken(node, made) or Item(node, nn.Identity(), path) for node in nodes)
            found += _chain(items) or (Element(items),)
        return found


def _taken(node: Node, items: list[Item]) -> Item | None:
    """Take what was built for a node; nothing is for one that gives zeros beside others."""
    found = next((number for number, item in enumerate(items) if item.node is node), None)
    return None if found is None else items.pop(found)


def _chain(items: Sequence[Item]) -> tuple[Element, ...]:
    """Each item for itself where it reads what the one before gives, and nothing else does; none otherwise."""
    sources, targets = [item.node.source for item in items], [item.node.target for item in items]
    is_chain = sources[1:] == targets[:-1] and targets[-1:] == [OUTPUT] and len(set(targets)) == len(targets)
    return tuple(Element((item,)) for item in items) if is_chain and sources[:1] == [INPUT] else ()


def matched(
    small: Sequence[Element], large: Sequence[Element], *, exact: bool
) -> list[tuple[Element | None, Element]] | None:  # fmt: skip
    """Find for each element of a larger network that of a smaller one that it was, None where it is new.

    Elements keep their order; the first ones that fit are taken, so that what is new comes last among its like.

    Args:
        small: the elements of the smaller network, each of which is found again.
        large: those of the larger one.
        exact: whether what is new has to keep the size of its image and its channels.

    Returns:
        A pair for each element of the larger network, or None where there is no such order.
    """

    @cache
    def reaches(i: int, j: int) -> bool:
        if j == len(large):
            return i == len(small)
        return pairs(i, j) or (_may_be_new(large[j], exact) and reaches(i, j + 1))

    @cache
    def pairs(i: int, j: int) -> bool:
        return i < len(small) and _fits(small[i], large[j], exact) and reaches(i + 1, j + 1)

    # From behind, so that no call goes deep.
    for j in range(len(large), -1, -1):
        for i in range(len(small), -1, -1):
            reaches(i, j)
    if not reaches(0, 0):
        return None
    found: list[tuple[Element | None, Element]] = []
    i = 0
    for j, element in enumerate(large):
        is_old = pairs(i, j)
        found.append((small[i] if is_old else None, element))
        i += is_old
    return found


def _fits(small: Element, large: Element, exact: bool) -> bool:
    """Whether the larger element can be what the smaller one was."""
    if small.is_shortcut != large.is_shortcut or (len(small) == 1) != (len(large) == 1):
        return False
    if len(small) == 1:
        return item_fits(small[0], large[0], exact)
    return all(_is_larger(*nodes, exact) for nodes in ((small.reads, large.reads), (small.gives, large.gives)))


def item_fits(small: Item, large: Item, exact: bool) -> bool:
    """Whether the larger operation can be what the smaller one was: the same, or a skip that is computed now."""
    if small.node.operation == large.node.operation:
        # Of one channel, all together and each for itself is the same.
        is_grouped_so = (small.node.groups > 1) == (large.node.groups > 1) or small.node.inputs == 1
        same = is_grouped_so and small.node.kernel <= large.node.kernel
    else:
        same = small.node.record.is_identity and _may_be_new(Element((large,)), exact)
    return same and _is_larger(small.node, large.node, exact)


def _is_larger(small: Node, large: Node, exact: bool) -> bool:
    sizes = not exact or (small.size, small.output_size) == (large.size, large.output_size)
    return sizes and small.inputs <= large.inputs and small.channels <= large.channels and small.stride == large.stride


def _may_be_new(element: Element, exact: bool) -> bool:
    reads, gives = element.reads, element.gives
    return not exact or (reads.size == gives.output_size and reads.inputs <= gives.channels)
