"""What every search strategy has to hold to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.finite import FiniteSpace
from trainless.specs import look_up
from trainless.strategies.base import CONTEXT, Proposal, Result, Strategy
from trainless.types import Architecture

__all__ = ["StrategyContract"]


class StrategyContract:
    """What every search strategy has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        make: makes a strategy of a space and a seed; a static method of the subclass.
        space: the space that is searched. One of at most `small` architectures is searched to its end.
        objectives: number of values that the strategy is told.
        has_chance: whether the seed decides anything.
        evaluations: results that each test tells; more than the strategy draws at random before it learns.
        batch: proposals asked for at a time.
        small: architectures up to which a space is searched to its end.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.strategies import strategy
        >>> class TestMine(StrategyContract):
        ...     make = staticmethod(lambda space, seed: strategy("local", space, seed))
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_the_seed_decides_all()
    """

    make: Callable[[SearchSpace, int], Strategy]
    space: SearchSpace
    objectives: int = 1
    has_chance: bool = True
    evaluations: int = 40
    batch: int = 3
    small: int = 100

    def worth(self, architecture: Architecture, rung: int = 0) -> tuple[float, ...]:
        """Sum up a worth of each feature, on another scale for each rung."""
        features = self.space.encode(architecture)
        weights = np.random.default_rng(0).normal(size=(len(features), self.objectives))
        return tuple(((features @ weights) * (rung + 1)).tolist())

    def results(self, proposals: Iterable[Proposal]) -> list[Result]:
        """Evaluate proposals."""
        return [Result(architecture, self.worth(architecture, rung), rung) for architecture, rung in proposals]

    def searched(self, strategy: Strategy, evaluations: int | None = None) -> list[Proposal]:
        """Ask and tell until that many are told or nothing more is proposed; gives all proposals in order."""
        told: list[Proposal] = []
        while len(told) < (evaluations or self.evaluations) and (asked := strategy.ask(self.batch)):
            strategy.tell(self.results(asked))
            told += asked
        return told

    def test_proposals_are_new_members(self) -> None:
        """What is proposed at a time is distinct, of the space, and was never told at that rung or a higher one."""
        strategy, highest = self.make(self.space, 0), dict[Architecture, int]()
        while len(highest) < self.evaluations and (asked := strategy.ask(self.batch)):
            assert len(asked) <= self.batch, f"{len(asked)} proposals for {self.batch}"
            assert len({architecture for architecture, _ in asked}) == len(asked), f"one is proposed twice: {asked}"
            for architecture, rung in asked:
                assert architecture in self.space, f"{architecture} is no member"
                known = highest.get(architecture, -1)
                assert known < rung < strategy.rungs, f"{architecture} is proposed at rung {rung} again"
                highest[architecture] = rung
            strategy.tell(self.results(asked))
        assert highest, "nothing was proposed"

    def test_the_seed_decides_all(self) -> None:
        """The same seed searches in the same way, and another seed in another."""
        first, again = (self.searched(self.make(self.space, 1)) for _ in range(2))
        assert first == again, "the same seed made other proposals"
        if self.has_chance:
            assert first != self.searched(self.make(self.space, 2)), "another seed made the same proposals"

    def test_its_text_makes_it_again(self) -> None:
        """What `str` writes, its name and its options, makes a strategy that proposes the same."""
        made, fixed = self.make(self.space, 9), {"objectives": self.objectives} if self.objectives > 1 else {}
        again = look_up("strategy", str(made), {made.name: type(made)}, context=CONTEXT)(self.space, 9, **fixed)
        assert str(again) == str(made), f"'{made}' makes '{again}'"
        assert again.ask(self.batch) == made.ask(self.batch), f"'{made}' makes one that proposes others"

    def test_asking_changes_the_generator_alone(self) -> None:
        """With the generator put back, an ask is repeated, and asks that nobody answered leave no trace."""
        plain, nosy = self.make(self.space, 3), self.make(self.space, 3)
        for _ in range(self.evaluations // self.batch):
            state = nosy.rng.bit_generator.state
            asked = nosy.ask(self.batch)
            nosy.ask(self.batch + 2)
            nosy.rng.bit_generator.state = state
            assert nosy.ask(self.batch) == asked, "asked again with the generator put back, it proposed others"
            assert plain.ask(self.batch) == asked, "asks that nobody answered changed what is proposed"
            for strategy in (plain, nosy):
                strategy.tell(self.results(asked))

    def test_results_come_in_any_order(self) -> None:
        """Results may come late, one by one, and the last first."""
        strategy = self.make(self.space, 4)
        told = 0
        while told < self.evaluations and (asked := strategy.ask(self.batch)):
            for result in reversed(self.results(asked)):
                strategy.tell([result])
            told += len(asked)
        full = strategy.rungs - 1
        assert strategy.values, "after all these results it knows no value"
        for architecture, values in strategy.values.items():
            worth = self.worth(architecture, full)
            assert values == worth, f"{architecture} was worth {worth}, not {values}"

    def test_learns_what_it_did_not_propose(self) -> None:
        """Results of others, without values and with changed ones are taken in, and not proposed."""
        strategy = self.make(self.space, 5)
        full, (a, b, c) = strategy.rungs - 1, self._some(3)
        low, high = (0.5,) * self.objectives, (2.0,) * self.objectives
        strategy.tell([Result(a, low, full), Result(b, (), full), Result(c, low, full)])
        asked = self.searched(strategy)
        strategy.tell([Result(a, high, full), Result(c, (), full), Result(b, (), full)])
        asked += strategy.ask(self.batch)
        assert strategy.values[a] == high, f"{a} was told to be worth {high}"
        assert b not in strategy.values, f"{b} has no value"
        assert c not in strategy.values, f"{c} has no value any more"
        assert {a, b, c}.isdisjoint(architecture for architecture, _ in asked), "what was told is proposed"

    def test_survives_that_all_is_refused(self) -> None:
        """Where nothing gets a value it still proposes, each architecture once."""
        strategy, refused = self.make(self.space, 6), set[Architecture]()
        while len(refused) < self.evaluations and (asked := strategy.ask(self.batch)):
            assert refused.isdisjoint(architecture for architecture, _ in asked), (
                f"what was refused is proposed: {asked}"
            )
            refused.update(architecture for architecture, _ in asked)
            strategy.tell([Result(architecture, (), rung) for architecture, rung in asked])
        wanted = min(self.evaluations, self.space.size) if isinstance(self.space, FiniteSpace) else self.evaluations
        assert len(refused) >= wanted, f"it ended after {len(refused)}"
        assert strategy.values == {}, "what was refused has values"

    def test_ends_with_the_space(self) -> None:
        """Every architecture is proposed once (by the cheapest evaluation), every third refused, and then no more."""
        space = self._small()
        strategy, proposed = self.make(space, 7), list[Architecture]()
        while asked := strategy.ask(self.batch):
            assert len(proposed) <= space.size, "it does not end"
            proposed += [architecture for architecture, _ in asked if architecture not in proposed]
            strategy.tell([
                Result(architecture, self.worth(architecture, rung) if space.index(architecture) % 3 else (), rung)
                for architecture, rung in asked
            ])  # fmt: skip
        assert set(proposed) == set(space), f"{len(proposed)} of {space.size} were proposed"
        assert strategy.seen == set(space), "not all was told"
        assert all(space.index(architecture) % 3 for architecture in strategy.values), "what was refused has a value"
        assert strategy.ask(1) == [], "after the end it proposes more"

    def test_finds_the_best_of_a_small_space(self) -> None:
        """Searched to its end, the best is among what is known."""
        space = self._small()
        strategy = self.make(space, 8)
        self.searched(strategy, evaluations=space.size * strategy.rungs + 1)
        best = max(space, key=self.worth)
        assert best in strategy.values, f"{best} is the best and has no value"

    def _some(self, count: int) -> list[Architecture]:
        """The first architectures of a space that has any, or else distinct ones at random."""
        if isinstance(self.space, FiniteSpace):
            return [self.space[number] for number in range(count)]
        rng, found = np.random.default_rng(9), dict[Architecture, None]()
        while len(found) < count:
            found[self.space.sample(rng)] = None
        return list(found)

    def _small(self) -> FiniteSpace:
        if not isinstance(self.space, FiniteSpace) or self.space.size > self.small:
            import pytest

            pytest.skip(f"the space has more than {self.small} architectures: its end is not searched for")
        return self.space
