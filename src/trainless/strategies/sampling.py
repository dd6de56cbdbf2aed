"""Strategies that do not learn: at random, and all in order."""

from __future__ import annotations

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.finite import FiniteSpace
from trainless.strategies.base import Proposal, Result, Strategy

__all__ = ["Grid", "Random"]


class Random(Strategy):
    """Random search without replacement: every architecture that is left has the same chance.

    Source: Li & Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019.

    Args:
        space: the search space.
        seed: decides the order.
        objectives: any number.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(Random(search_space("nasbench201"), seed=0).ask(3))
        3
    """

    name = "random"
    batch = 8
    several_objectives = True

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose architectures drawn from all that were not told."""
        return [Proposal(architecture) for architecture in self._fresh(n, lambda: self.space.sample(self.rng))]


class Grid(Strategy):
    """Exhaustive search in the order of the space; the seed decides nothing.

    Args:
        space: the search space.
        seed: as for every strategy.
        objectives: any number.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> Grid(space).ask(2) == [Proposal(space[0]), Proposal(space[1])]
        True
    """

    name = "grid"
    batch = 8
    several_objectives = True

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1) -> None:
        if not isinstance(space, FiniteSpace):
            raise InputError(f"{space.name} has no first architecture and no last: choose another strategy than grid.")
        super().__init__(space, seed, objectives=objectives)
        self._all = space
        self._next = 0  # all before it were told

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose the first architectures of the space that were not told."""
        found: list[Proposal] = []
        for number in range(self._next, self._all.size):
            if len(found) == n:
                break
            if (architecture := self._all[number]) not in self.seen:
                found.append(Proposal(architecture))
        return found

    def _learn(self, result: Result) -> None:
        while self._next < self._all.size and self._all[self._next] in self.seen:
            self._next += 1
