"""The one ask / estimate / tell loop, which searches and replays share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from trainless.estimators.scores import RunningScore, SearchScore
from trainless.search_spaces.base import SearchSpace
from trainless.strategies import Proposal, Result, Strategy
from trainless.strategies.sampling import Random
from trainless.types import Architecture

__all__ = ["REFERENCE", "Loop"]

REFERENCE = 32
"""Architectures of the seeded reference sample with which a search by a relative score begins."""

_IDLE = 3000  # asks in a row without anything to evaluate: what is left breaks limits, or the strategy has stalled

Evaluate = Callable[[Sequence[Architecture], int], Sequence[Sequence[float]]]
Facts = Callable[[Architecture], Mapping[str, float]]
Check = Callable[[Architecture], str]


class Loop:
    """Asks a strategy, has its proposals scored, tells it their worth, and keeps the history.

    Results are told in the order in which they were asked for. Where a score is relative to others, all that was told
    before is told anew when it changes, so that no value depends on the order of arrival.

    Args:
        strategy: a fresh one.
        scores: what is maximised: one score for each rung of the strategy, the full one last.
        evaluate: gives the raw scores of architectures at a rung, one row each in the order of the score's columns.
        check: names the limit that an architecture breaks, empty where it breaks none.
        objectives: ``"score"``, which is maximised, and names of facts, which are minimised, in order.
        facts: gives the minimised objectives of an architecture by name; needed where there are such.
        batch: proposals asked for at a time; None is what suits the strategy. Decides the history, unlike the number of
            workers.
        seed: decides the reference sample.
        first: architectures that are scored before the strategy is asked, which is told of them.

    Example:
        >>> from trainless.search.scores import search_score
        >>> from trainless.search_spaces import search_space
        >>> from trainless.strategies import strategy
        >>> space = search_space("nasbench201")
        >>> loop = Loop(strategy("grid", space), [search_score("params")],
        ...             lambda architectures, rung: [[len(str(cell))] for cell in architectures])
        >>> while loop.step(room=3 - len(loop.order)):
        ...     pass
        >>> [space.index(architecture) for architecture in loop.order], loop.stopped
        ([0, 1, 2], '')
    """

    def __init__(
        self,
        strategy: Strategy,
        scores: Sequence[SearchScore],
        evaluate: Evaluate,
        *,
        check: Check | None = None,
        objectives: Sequence[str] = ("score",),
        facts: Facts | None = None,
        batch: int | None = None,
        seed: int = 0,
        first: Sequence[Architecture] = (),
    ) -> None:
        self.strategy, self.evaluate, self.check = strategy, evaluate, check
        self.objectives, self.facts = tuple(objectives), facts
        self.batch = batch or strategy.batch
        self.running = [RunningScore(score) for score in scores]
        self.history: list[list[Architecture]] = [[] for _ in scores]
        self.rejected: dict[str, int] = {}
        self.stopped = ""
        self.values = np.empty(0)
        self._told: list[np.ndarray] = [np.empty(0) for _ in scores]
        self._facts: dict[Architecture, Mapping[str, float]] = {}
        self._known: set[tuple[Architecture, int]] = set()
        self._refused: set[Architecture] = set()
        self._idle = 0
        self._first = list(first)
        self._sample = Random(strategy.space, seed) if scores[-1].is_relative else None

    @property
    def space(self) -> SearchSpace:
        """The search space of the strategy."""
        return self.strategy.space

    @property
    def order(self) -> list[Architecture]:
        """The architectures that have the full score, in the order in which they were asked for."""
        return self.history[-1]

    def step(self, room: int, is_over: Callable[[], bool] | None = None) -> int:
        """Ask once, score the proposals, and tell them; what there is no room for is dropped as if never made.

        Args:
            room: how many get the full score at most; cheaper ones are not counted, so that a search with a larger
                budget begins as one with a smaller one does.
            is_over: asked whenever all that was proposed broke a limit or was known, whether to leave it at that: to
                find out may take long where a limit has to be measured.

        Returns:
            How many were scored, at all rungs together; 0 where the room is used up, `is_over` said so, or the search
            has ended, of which `stopped` then tells the reason.
        """
        while room > 0 and not self.stopped:
            proposals = self._proposals()
            if not proposals:
                self.stopped = "the strategy has nothing more to propose"
                break
            done = self._told_step(proposals, room)
            if done:
                self._idle = 0
                return done
            self._idle += 1
            if self._idle > _IDLE:
                self.stopped = f"all that was proposed {_IDLE:,} times in a row broke a limit or was known already"
            if is_over and is_over():
                break
        return 0

    def _proposals(self) -> list[Proposal]:
        if self._first:
            first, self._first = self._first, []
            return [Proposal(architecture, len(self.running) - 1) for architecture in first]
        if self._sample is not None and len(self.order) < REFERENCE:
            full = len(self.running) - 1
            asked = self._sample.ask(min(REFERENCE - len(self.order), 8))
            if asked:
                return [Proposal(proposal.architecture, full) for proposal in asked]
        return self.strategy.ask(self.batch)

    def _told_step(self, proposals: Iterable[Proposal], room: int) -> int:
        fresh, rejected = self._sifted(proposals, room)
        if self._sample is not None and len(self.order) < REFERENCE:
            self._sample.tell([*rejected, *(Result(proposal.architecture, (0.0,)) for proposal in fresh)])
        if rejected:
            self.strategy.tell(rejected)
        for rung in sorted({proposal.rung for proposal in fresh}):
            self._score([proposal.architecture for proposal in fresh if proposal.rung == rung], rung)
        return len(fresh)

    def _sifted(self, proposals: Iterable[Proposal], room: int) -> tuple[list[Proposal], list[Result]]:
        """The proposals that are to be scored, and the results of those that break a limit."""
        fresh: dict[Proposal, None] = {}
        rejected: list[Result] = []
        full = len(self.running) - 1
        for proposal in proposals:
            if sum(chosen.rung == full for chosen in fresh) == room:
                break
            if proposal in self._known or proposal in fresh:
                continue
            if limit := self.check(proposal.architecture) if self.check else "":
                rejected.append(Result(proposal.architecture, (), proposal.rung))
                if proposal.architecture not in self._refused:
                    self._refused.add(proposal.architecture)
                    self.rejected[limit] = self.rejected.get(limit, 0) + 1
            else:
                fresh[proposal] = None
        return list(fresh), rejected

    def _score(self, architectures: Sequence[Architecture], rung: int) -> None:
        """Score architectures at a rung, and tell what is new or has changed there."""
        self.running[rung].add(self.evaluate(architectures, rung))
        history = self.history[rung]
        history += architectures
        self._known.update((architecture, rung) for architecture in architectures)
        values = self.running[rung].values()
        before = self._told[rung]
        (changed,) = (values[: len(before)] != before).nonzero()
        indices = [*changed.tolist(), *range(len(before), len(values))]
        numbers = values.tolist()
        self.strategy.tell([self._result(history[index], numbers[index], rung) for index in indices])
        self._told[rung] = values
        if rung == len(self.running) - 1:
            self.values = values

    def _result(self, architecture: Architecture, score: float, rung: int) -> Result:
        if score == -np.inf:
            return Result(architecture, (), rung)
        if self.objectives == ("score",):
            return Result(architecture, (score,), rung)
        values = [score if name == "score" else -self._cost(architecture, name) for name in self.objectives]
        return Result(architecture, tuple(values), rung)

    def _cost(self, architecture: Architecture, name: str) -> float:
        if architecture not in self._facts:
            assert self.facts is not None
            self._facts[architecture] = self.facts(architecture)
        return self._facts[architecture][name]

    # What came out of it.

    def best(self) -> int | None:
        """The index in `order` of the highest score, the first of several; None where none is finite."""
        if not len(self.values):
            return None
        index = int(self.values.argmax())
        return index if self.values[index] > -np.inf else None

    def front(self) -> list[int]:
        """Indices in `order` of what no other beats in all objectives, by score, the best first."""
        if self.objectives == ("score",):
            best = self.best()
            return [] if best is None else [best]
        pairs = zip(self.order, self.values.tolist(), strict=True)
        results = [self._result(architecture, value, 0) for architecture, value in pairs]
        points = np.array([result.values or (-np.inf,) * len(self.objectives) for result in results])
        kept = [index for index in range(len(points)) if results[index].values and not _is_beaten(points, index)]
        return sorted(kept, key=lambda index: -self.values[index])


def _is_beaten(points: np.ndarray, index: int) -> bool:
    as_good = (points >= points[index]).all(axis=1)
    better = (points > points[index]).any(axis=1)
    return bool((as_good & better).any())
