"""Larger and smaller networks of the family of a network: what it can grow to, and what it can be shrunk to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache

import numpy as np

from trainless.morphism import can_morph
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint
from trainless.seeding import derive_seed
from trainless.types import Architecture, Task

__all__ = ["larger_networks", "smaller_networks"]

_PROPOSED = 800  # mutations, of which some are steps of a walk
_MISSES = 40  # in a row that are none, after which a walk begins anew
_ENOUGH = 100  # networks to choose from
_MOST_GROWN = 4.0  # times the parameters or multiply-adds of the network
_CLEARLY = 1.25  # times the same, below which a larger network is hardly worth a training

IsWithin = Callable[[Architecture], bool]


def larger_networks(
    space: SearchSpace, architecture: Architecture, before: Blueprint, task: Task, is_within: IsWithin, *,
    seed: int = 0, end: float = math.inf,
) -> list[Architecture]:  # fmt: skip
    """List different networks that another one can grow to without changing what it computes, within limits.

    Some are those with names, others are found by walks of mutations that make it larger, to at most four times its
    parameters and multiply-adds; in a larger size of the space the same architecture is one, however large. Where there
    are any of at least a quarter more of either, these only.

    Args:
        space: the search space, maybe in a larger size than that of the network.
        architecture: the network, as one of that space.
        before: the network.
        task: shape of the images and number of classes.
        is_within: whether an architecture is within the limits.
        seed: decides where walks go.
        end: value of `time.monotonic` after which none goes on.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space, task = search_space("nats_size"), Task("toy", 10, height=8, width=8)
        >>> small = space.parse("16:16:16:16:16")
        >>> found = larger_networks(space, small, space.blueprint(small, task), task, lambda _: True)
        >>> min(space.parameters(network, task) for network in found) > space.parameters(small, task)
        True
        >>> stacked = search_space("nats_size", unit=24)
        >>> small in larger_networks(stacked, small, space.blueprint(small, task), task, lambda _: True)
        True
    """
    family, own = _Family(space, task, before), space.canonical(architecture)

    @cache
    def is_member(network: Architecture) -> bool:
        return (
            1 < max(family.ratios(network)) <= (math.inf if network == own else _MOST_GROWN)
            and is_within(network)
            and can_morph(before, family.blueprint(network))
        )

    firsts = [*_stepped(space, architecture, 1), *space.starts()]

    def is_step(current: Architecture, child: Architecture) -> bool:
        return family.grows(current, child) and is_member(child)

    walked = family.walked(architecture, is_step, is_member, seed, end)
    found = list(filter(is_member, dict.fromkeys(map(space.canonical, [*firsts, *walked]))))
    return [network for network in found if max(family.ratios(network)) >= _CLEARLY] or found


def smaller_networks(
    space: SearchSpace, architecture: Architecture, before: Blueprint, task: Task, is_within: IsWithin, *,
    seed: int = 0, end: float = math.inf,
) -> list[Architecture]:  # fmt: skip
    """List different networks within limits that could grow to another one, so that what they have is a part of it.

    They are found by walks of mutations that make it smaller. The arguments are those of `larger_networks`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space, task = search_space("nats_size"), Task("toy", 10, height=8, width=8)
        >>> large = space.parse("32:32:32:32:32")
        >>> found = smaller_networks(space, large, space.blueprint(large, task), task, lambda _: True)
        >>> max(space.parameters(network, task) for network in found) < space.parameters(large, task)
        True
    """
    family = _Family(space, task, before)

    @cache
    def is_member(network: Architecture) -> bool:
        least, most = sorted(family.ratios(network))
        return least < 1 >= most and can_morph(family.blueprint(network), before)

    def is_step(current: Architecture, child: Architecture) -> bool:
        return family.grows(child, current) and is_member(child)

    firsts = filter(is_member, _stepped(space, architecture, -1))
    walked = family.walked(architecture, is_step, is_within, seed, end)
    return list(filter(is_within, dict.fromkeys(map(space.canonical, [*firsts, *walked]))))


def _stepped(space: SearchSpace, architecture: Architecture, direction: int) -> list[Architecture]:
    """The architecture, and those of which each number is so many options larger or smaller, as far as there are."""
    if len(space.choices) != len(architecture.genotype):
        return [architecture]  # genotypes are no choices

    def stepped(value: str | int, options: tuple[str | int, ...], steps: int) -> str | int:
        if isinstance(value, str):
            return value
        return options[min(max(options.index(value) + direction * steps, 0), len(options) - 1)]

    return [
        space.nearest([
            stepped(value, options, steps)
            for value, options in zip(architecture.genotype, space.choices, strict=True)
        ])
        for steps in range(max(map(len, space.choices), default=1))
    ]  # fmt: skip


class _Family:
    """The networks of a space beside one of them."""

    def __init__(self, space: SearchSpace, task: Task, before: Blueprint) -> None:
        self.space, self.task, self.before = space, task, before
        self.known = dict[Architecture, Blueprint]()

    def blueprint(self, architecture: Architecture) -> Blueprint:
        """The network without what leads nowhere."""
        if architecture not in self.known:
            self.known[architecture] = self.space.blueprint(self.space.canonical(architecture), self.task)
        return self.known[architecture]

    def grows(self, small: Architecture, large: Architecture) -> bool:
        """Whether a network has more of parameters or multiply-adds than another, and less of neither."""
        first, second = map(self.blueprint, (small, large))
        costs = [(first.parameters, second.parameters), (first.multiply_adds, second.multiply_adds)]
        return all(a <= b for a, b in costs) and any(a < b for a, b in costs)

    def ratios(self, architecture: Architecture) -> tuple[float, float]:
        """Parameters and multiply-adds, by those of the network beside which they are."""
        found = self.blueprint(architecture)
        return found.parameters / self.before.parameters, found.multiply_adds / self.before.multiply_adds

    def walked(
        self, origin: Architecture, is_step: Callable[[Architecture, Architecture], bool], is_wanted: IsWithin,
        seed: int, end: float,
    ) -> list[Architecture]:  # fmt: skip
        """The networks that are wanted, of those to which steps lead from one of the space."""
        rng, found = np.random.default_rng(derive_seed(seed, "descendants")), dict[Architecture, None]()
        current, misses = origin, 0
        for _ in range(_PROPOSED):
            if len(found) == _ENOUGH or time.monotonic() > end:
                break
            child, misses = self.space.mutate(current, rng), misses + 1
            if is_step(current, child):
                current, misses = child, 0
                found |= {child: None} if is_wanted(child) else {}
            elif misses == _MISSES:
                current, misses = origin, 0
        return list(found)
