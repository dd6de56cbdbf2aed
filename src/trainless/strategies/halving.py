"""Successive halving and Hyperband over cheaper evaluations, with a model of what is good (BOHB)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.finite import FiniteSpace
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.strategies.genotype_codes import GenotypeCodes
from trainless.types import Architecture

__all__ = ["Hyperband", "SuccessiveHalving"]

_CANDIDATES = 64  # drawn from the model at a time
_GOOD = 0.15  # share of the results that count as good


class SuccessiveHalving(Strategy):
    """Successive halving: many architectures are evaluated cheaply, and only the best of them better.

    A bracket begins with `first` new architectures at rung 0. Once all are told, the best ``1 / eta`` of them (at least
    one) are asked for at rung 1, and so on up to the full evaluation; then a new bracket begins. What has no value
    counts for no bracket and is not promoted. From the second bracket on, a share of the new architectures comes
    from a model: the density ratio of good results over the others, independent for each choice, at the highest rung
    with enough of them.

    `values` holds results of the full evaluation alone: those of cheaper ones stand on another scale.

    Source: Jamieson & Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016;
    the model follows Falkner, Klein & Hutter, BOHB, ICML 2018.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        rungs: kinds of evaluation; with 1 there is no halving.
        eta: one in how many is promoted.
        first: architectures in the first rung of a bracket.
        guided: share of the new architectures that comes from the model; with 0 all are drawn at random.

    Raises:
        InputError: rungs or first below 1, eta below 2, guided not from 0 to 1, or above 0 in a space without choices.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> search = SuccessiveHalving(search_space("nasbench201"), eta=2, first=2)
        >>> a, b = (proposal.architecture for proposal in search.ask(9))
        >>> search.tell([Result(a, (1.0,)), Result(b, (2.0,))])
        >>> search.ask(9) == [Proposal(b, rung=1)], search.values
        (True, {})
    """

    name = "successive-halving"
    batch = 4

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        objectives: int = 1,
        rungs: int = 2,
        eta: int = 3,
        first: int = 27,
        guided: float = 2 / 3,
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        if rungs < 1 or first < 1 or eta < 2 or not 0 <= guided <= 1:
            raise InputError(
                f"There are {rungs} rungs with {first} architectures in the first, eta is {eta} and the guided share "
                f"{guided}, expected at least 1 rung and architecture, eta of at least 2 and a share from 0 to 1."
            )
        self.eta, self.first, self.guided = eta, first, guided
        self._rungs = rungs
        if guided:
            GenotypeCodes(space)  # refuses a space that the model cannot be of
        # What was told at each rung, without a value -inf.
        self._told: list[dict[Architecture, float]] = [{} for _ in range(rungs)]
        self._begin(0)

    @cached_property
    def _codes(self) -> GenotypeCodes:
        return GenotypeCodes(self.space)

    @property
    def rungs(self) -> int:
        """How many kinds of evaluation it asks for, from the cheapest to the full one."""
        return self._rungs

    def bracket_start(self, bracket: int) -> tuple[int, int]:
        """The rung at which a bracket begins, and with how many architectures."""
        return 0, self.first

    def _begin(self, bracket: int) -> None:
        self._bracket = bracket
        self._base, self._size = self.bracket_start(bracket)
        self._rung = self._base
        self._members: list[Architecture] = []

    # What is asked for.

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose the promoted architectures of the bracket that are not told yet, or new ones until it is full."""
        if self._rung > self._base:
            waiting = [architecture for architecture in self._members if architecture not in self._told[self._rung]]
            return [Proposal(architecture, self._rung) for architecture in waiting[:n]]
        missing = self._size - len(self._valued())
        model = self._model() if self._bracket and self.space.choices else None
        drawn = self._fresh(min(n, missing), lambda: self._draw(model))
        return [Proposal(architecture, self._rung) for architecture in drawn]

    def _draw(self, model: Iterator[Architecture] | None) -> Architecture:
        if model is None or self.rng.random() >= self.guided:
            return self.space.sample(self.rng)
        return next(model)

    def _model(self) -> Iterator[Architecture] | None:
        """Architectures drawn as good ones are, those first that are the least like the others; None without data."""
        found = self._good_and_others()
        if found is None:
            return None
        good, others = (self._density(codes) for codes in found)
        return self._candidates(good, np.log(good / others))

    def _good_and_others(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """The codes of results at the highest rung that has enough of them for both densities."""
        fewest = len(self._codes.sizes) + 1
        for told in reversed(self._told):
            finite = (architecture for architecture, value in told.items() if value > -np.inf)
            valued = sorted(finite, key=told.__getitem__, reverse=True)
            if len(valued) >= 2 * fewest:
                codes, count = self._codes.codes(valued), max(fewest, int(_GOOD * len(valued)))
                return codes[:count], codes[count:]
        return None

    def _density(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Share of each option of each choice, one added to every count; numbers that are no option get a 1."""
        counts = (codes[:, :, None] == np.arange(self._codes.mask.shape[1])).sum(0) + 1
        return np.where(self._codes.mask, counts / (len(codes) + self._codes.sizes[:, None]), 1.0)

    def _candidates(
        self, good: npt.NDArray[np.float64], log_ratio: npt.NDArray[np.float64]
    ) -> Iterator[Architecture]:  # fmt: skip
        positions = np.arange(len(good))
        limits = np.cumsum(good, axis=1)
        while True:
            drawn = self.rng.random((_CANDIDATES, len(good), 1))
            # A sum of shares may fall short of 1 in its last digit.
            codes = np.minimum((drawn >= limits).sum(2), self._codes.sizes - 1)
            order = np.argsort(-log_ratio[positions, codes].sum(1), kind="stable")
            yield from map(self._codes.architecture, codes[order].tolist())

    # What is learned.

    def tell(self, results: Iterable[Result]) -> None:
        """Learn; a bracket goes on as soon as all of its present rung are told.

        Results of a cheaper rung than the full one are kept for the bracket and the model, not in `values`.

        Raises:
            InputError: a result is of a rung that there is not.
        """
        for result in results:
            if not 0 <= result.rung < self.rungs:
                raise InputError(
                    f"A result of rung {result.rung} was told to '{self.name}', expected one of rung 0 to "
                    f"{self.rungs - 1}."
                )
            is_new = result.architecture not in self.seen
            self._told[result.rung][result.architecture] = result.values[0] if result.values else -np.inf
            if result.rung == self.rungs - 1:
                super().tell([result])
            self.seen.add(result.architecture)
            if is_new and result.rung == self._base == self._rung and len(self._valued()) < self._size:
                self._members.append(result.architecture)
        self._advance()

    def _valued(self) -> list[Architecture]:
        told = self._told[self._rung]
        return [architecture for architecture in self._members if told[architecture] > -np.inf]

    def _advance(self) -> None:
        while self._is_complete():
            promoted = self._promoted()
            if promoted:
                self._rung += 1
                self._members = promoted
            else:
                self._begin(self._bracket + 1)

    def _is_complete(self) -> bool:
        if self._rung > self._base:
            return all(architecture in self._told[self._rung] for architecture in self._members)
        if isinstance(self.space, FiniteSpace) and len(self.seen) >= self.space.size:
            return bool(self._members)  # nothing more can join
        return len(self._valued()) >= self._size

    def _promoted(self) -> list[Architecture]:
        """The best of the present rung, the first told of equals; none from the full one."""
        valued = self._valued()
        if self._rung == self.rungs - 1 or not valued:
            return []
        best = sorted(valued, key=self._told[self._rung].__getitem__, reverse=True)
        return best[: max(1, len(valued) // self.eta)]


class Hyperband(SuccessiveHalving):
    """Hyperband: brackets of successive halving that begin at higher and higher rungs with fewer architectures.

    So it does not rely on the cheapest evaluation alone. With `R` rungs, the bracket that begins at rung `r` has
    ``ceil(first * R / (R - r) / eta ** r)`` architectures; after the one that begins at the full evaluation, the
    brackets begin anew. The model is that of `SuccessiveHalving`: with it, this is BOHB.

    Source: Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 2018, algorithm 1;
    Falkner, Klein & Hutter, BOHB, ICML 2018.

    Args:
        space: the search space.
        seed: decides all random choices.
        objectives: one.
        rungs: kinds of evaluation, and brackets until they begin anew.
        eta: one in how many is promoted.
        first: architectures in the bracket that begins at rung 0.
        guided: share of the new architectures that comes from the model.

    Raises:
        InputError: as for `SuccessiveHalving`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> search = Hyperband(search_space("nasbench201"), rungs=3, eta=3, first=9)
        >>> [search.bracket_start(bracket) for bracket in range(4)]
        [(0, 9), (1, 5), (2, 3), (0, 9)]
    """

    name = "hyperband"

    def bracket_start(self, bracket: int) -> tuple[int, int]:
        rung = bracket % self.rungs
        return rung, -(-self.first * self.rungs // ((self.rungs - rung) * self.eta**rung))
