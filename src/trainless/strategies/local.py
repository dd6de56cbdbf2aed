"""Local search: from one architecture to a better neighbor, until there is none."""

from __future__ import annotations

from collections.abc import Iterable

from trainless.search_spaces.base import SearchSpace
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.types import Architecture

__all__ = ["LocalSearch"]


class LocalSearch(Strategy):
    """Hill climbing that moves to a better neighbor as soon as one is told, and begins anew where none is better.

    It starts from the best architecture that it was told of, otherwise from a random one, and again from a random one
    once all neighbors of the present one are known and none is better.

    Source: White, Nolen & Savani, Exploring the Loss Landscape in Neural Architecture Search, UAI 2021.

    Args:
        space: the search space.
        seed: decides the starts and the order of the neighbors.
        objectives: one.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> climber = LocalSearch(space)
        >>> climber.tell([Result(space[0], (1.0,))])
        >>> climber.ask()[0].architecture in space.neighbors(space[0])
        True
    """

    name = "local"
    batch = 2

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1) -> None:
        super().__init__(space, seed, objectives=objectives)
        self._here: Architecture | None = None
        self._neighbors: list[Architecture] = []

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose unknown neighbors of the present architecture in a random order, or random starts."""
        unknown = [architecture for architecture in self._neighbors if architecture not in self.seen]
        chosen = [unknown[index] for index in self.rng.permutation(len(unknown))[:n].tolist()]
        if not chosen:
            chosen = self._fresh(n, lambda: self.space.propose(self.rng))
        return [Proposal(architecture) for architecture in chosen]

    def tell(self, results: Iterable[Result]) -> None:
        """Learn, and move to the best architecture told now if it is better than the present one."""
        told = list(results)
        super().tell(told)
        worth = [result.architecture for result in told if result.values]
        if worth:
            best = max(worth, key=self._value)
            if self._here is None or self._value(best) > self._value(self._here):
                self._move(best)
        # Where the way up ends, the best of what is told next, whatever it is worth, is a new start.
        if self._here is not None and self.seen.issuperset(self._neighbors):
            self._here, self._neighbors = None, []

    def _move(self, there: Architecture) -> None:
        if there != self._here:
            self._here, self._neighbors = there, self.space.neighbors(there)
