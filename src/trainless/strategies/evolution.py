"""Evolution with ageing: the regularized one of Real et al., and FreeREA's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.types import Architecture

__all__ = ["FreeREA", "RegularizedEvolution", "SinglePathOneShot"]


class RegularizedEvolution(Strategy):
    """Regularized evolution: the best of a random tournament is mutated, and the oldest dies.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019. Here a child is
    always an architecture that is not known yet, and what has no value (it broke a limit) joins no population.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        population: members alive at a time; the first ones are random.
        tournament: members drawn, without replacement, of which the best is the parent.

    Raises:
        InputError: the tournament is larger than the population, or either below 1.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> search = RegularizedEvolution(space, population=1, tournament=1)
        >>> search.tell([Result(space[0], (1.0,))])
        >>> search.ask()[0].architecture in space.neighbors(space[0])
        True
    """

    name = "evolution"
    batch = 2

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, population: int = 32, tournament: int = 8
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        if not 1 <= tournament <= population:
            raise InputError(
                f"The population is {population} and the tournament {tournament}, expected a tournament of at least 1 "
                "and at most the population."
            )
        self.population, self.tournament = population, tournament
        self.alive: list[Architecture] = []  # the oldest first

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose random architectures until the population is full, and then children."""
        if len(self.alive) < self.population:
            n = min(n, self.population - len(self.alive))
            return [Proposal(architecture) for architecture in self._fresh(n, lambda: self.space.propose(self.rng))]
        return [Proposal(architecture) for architecture in self._children(n)]

    def _children(self, n: int) -> list[Architecture]:
        found: list[Architecture] = []
        while len(found) < n:
            (parent,) = self._best_of_tournament(1)
            child = self._fresh(1, self._mutation(parent), found, walk=True)
            if not child:
                break
            found += child
        return found

    def _mutation(self, parent: Architecture) -> Callable[[], Architecture]:
        return lambda: self.space.mutate(parent, self.rng)

    def _best_of_tournament(self, count: int) -> list[Architecture]:
        drawn = self.rng.permutation(len(self.alive))[: self.tournament].tolist()
        return sorted([self.alive[index] for index in drawn], key=self._value, reverse=True)[:count]

    def tell(self, results: Iterable[Result]) -> None:
        """Learn; new members join in the order told, and as many of the oldest die as are too many."""
        super().tell(results)
        self._select()

    def _learn(self, result: Result) -> None:
        if result.values:
            self.alive.append(result.architecture)

    def _select(self) -> None:
        del self.alive[: max(0, len(self.alive) - self.population)]


class FreeREA(RegularizedEvolution):
    """FreeREA: two parents of a tournament, each mutated, and their crossover; the oldest dies, the best stay.

    Each step draws a tournament of 25 from a population of 100 and proposes three children. Then one member, the
    oldest, dies and of the others the best 100 stay.

    Source: Cavagnero et al., FreeREA: Training-Free Evolution-Based Architecture Search, WACV 2023; its score is the
    sum of NWOT, LogSynflow and skipped layers, each divided by its largest value.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        population: members alive at a time; the first ones are random.
        tournament: members drawn, without replacement, of which the best two are the parents.

    Raises:
        InputError: the tournament is larger than the population, or either below 1.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(FreeREA(search_space("nasbench201")).ask(3))
        3
    """

    name = "freerea"
    batch = 3

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, population: int = 100, tournament: int = 25
    ) -> None:
        super().__init__(space, seed, objectives=objectives, population=population, tournament=tournament)

    def _children(self, n: int) -> list[Architecture]:
        found: list[Architecture] = []
        while len(found) < n:
            before = len(found)
            parents = self._best_of_tournament(2)
            ways = [self._mutation(parent) for parent in parents]
            if len(parents) == 2:
                ways.append(self._crossover(*parents))
            for way in ways[: n - len(found)]:
                found += self._fresh(1, way, found, walk=True)
            if len(found) == before:
                break
        return found

    def _crossover(self, a: Architecture, b: Architecture) -> Callable[[], Architecture]:
        return lambda: self.space.crossover(a, b, self.rng)

    def _select(self) -> None:
        if len(self.alive) <= self.population:
            return
        del self.alive[0]
        worth = [self._value(architecture) for architecture in self.alive]
        best = sorted(range(len(worth)), key=worth.__getitem__, reverse=True)[: self.population]
        self.alive = [self.alive[index] for index in sorted(best)]


class SinglePathOneShot(RegularizedEvolution):
    """Single path one-shot: evolution by the accuracy of paths of a supernet, in which each step taught one at random.

    Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020. It is
    `RegularizedEvolution` by the estimator ``one-shot``, unless another score is asked for.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        population: as for `RegularizedEvolution`.
        tournament: as for `RegularizedEvolution`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> search = SinglePathOneShot(search_space("nasbench201"), population=10, tournament=2)
        >>> str(search), search.usual_score
        ('spos(population=10, tournament=2)', 'one-shot')
    """

    name = "spos"
    usual_score = "one-shot"
