"""Hill climbing by network morphisms: from small networks to larger ones that begin with the same function."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.base import Proposal, Strategy
from trainless.types import ANY_TASK, Architecture

__all__ = ["Morph"]

_DRAWS = 8  # for each start, the smallest of which it is


class Morph(Strategy):
    """Hill climbing by steps that make a network larger and can keep its function, from the best there are so far.

    It begins with small networks. Then it proposes architectures with one other choice to which networks of a parent
    can be morphed. Parents are the best architecture, or with several objectives the Pareto front, each of which is as
    likely. Where no such step is left, all other neighbors of the parents are proposed, and then random architectures.
    With the estimator ``morphed`` networks are trained from the weights of smaller ones.

    Source: Elsken et al., Simple and Efficient Architecture Search for Convolutional Neural Networks, 2017 (NASH);
    Elsken et al., Efficient Multi-objective Neural Architecture Search via Lamarckian Evolution, ICLR 2019 (LEMONADE).

    Args:
        space: the search space.
        seed: decides the starts, the parents and the order of the steps.
        objectives: any number.
        starts: architectures that it begins with, each the smallest of a few that are drawn.

    Raises:
        InputError: there is no start.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.strategies.base import Result
        >>> space = search_space("mobile")
        >>> climber = Morph(space, starts=1)
        >>> climber.tell([Result(space[0], (1.0,))])
        >>> child, = climber.ask()
        >>> sum(ours != theirs for ours, theirs in zip(child.architecture.genotype, space[0].genotype))
        1
    """

    name = "morph"
    batch = 2
    several_objectives = True

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, starts: int = 4) -> None:
        if starts < 1:
            raise InputError(f"The number of starts is {starts}, expected at least 1.")
        super().__init__(space, seed, objectives=objectives)
        self.starts = starts
        self._known: dict[tuple[Architecture, Architecture], bool] = {}

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose steps from the parents, or starts."""
        if not self.values or len(self.seen) < self.starts:
            return [Proposal(architecture) for architecture in self._fresh(n, self._small)]
        parents, chosen = self._front(), dict[Architecture, None]()
        for only_morphs in (True, False):
            steps = [self._steps(parent, chosen, only_morphs=only_morphs) for parent in parents]
            while steps and len(chosen) < n:
                drawn = int(self.rng.integers(len(steps)))
                child = next(steps[drawn], None)
                if child is None:
                    del steps[drawn]
                else:
                    chosen[child] = None
        rest = self._fresh(n - len(chosen), lambda: self.space.propose(self.rng), chosen)
        return [Proposal(architecture) for architecture in (*chosen, *rest)]

    def _small(self) -> Architecture:
        drawn = [self.space.propose(self.rng) for _ in range(_DRAWS)]
        return min(drawn, key=lambda architecture: self.space.parameters(architecture, ANY_TASK))

    def _front(self) -> list[Architecture]:
        """The architectures that no other beats in all objectives."""
        points = np.array(list(self.values.values()))
        return [
            architecture
            for architecture, point in zip(self.values, points, strict=True)
            if not ((points >= point).all(axis=1) & (points > point).any(axis=1)).any()
        ]

    def _steps(
        self, parent: Architecture, chosen: dict[Architecture, None], *, only_morphs: bool
    ) -> Iterator[Architecture]:  # fmt: skip
        """Unknown neighbors of a parent in a random order."""
        neighbors = self.space.neighbors(parent)
        for index in self.rng.permutation(len(neighbors)).tolist():
            child = neighbors[index]
            if child not in self.seen and child not in chosen and (not only_morphs or self._grows(parent, child)):
                yield child

    def _grows(self, parent: Architecture, child: Architecture) -> bool:
        from trainless.morphism import can_morph

        if (parent, child) not in self._known:
            sizes = [self.space.parameters(architecture, ANY_TASK) for architecture in (parent, child)]
            blueprints = (self.space.blueprint(architecture, ANY_TASK) for architecture in (parent, child))
            self._known[parent, child] = sizes[0] < sizes[1] and can_morph(*blueprints)
        return self._known[parent, child]
