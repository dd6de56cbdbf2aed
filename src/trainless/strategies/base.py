"""The contract of a search strategy: it proposes architectures and is told what they were worth.

A strategy knows a search space and a seed, and nothing of proxies, tables, limits or budgets: it sees numbers of which
higher is better. `Strategy.ask` changes nothing but the random generator, so that proposals that nobody evaluates leave
no trace; `Strategy.tell` alone learns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.finite import FiniteSpace
from trainless.seeding import derive_seed
from trainless.specs import spec_of
from trainless.store import Store
from trainless.types import Architecture

__all__ = ["CONTEXT", "Proposal", "Result", "Strategy"]

CONTEXT = ("space", "seed", "objectives")
"""Parameters of every strategy that are none of its options."""

_WORST = (float("-inf"),)
_TRIES = 100  # draws of something new before the rest of the space is listed
_DRAWS = 4  # of them before a known one is mutated on
_LISTED = 1_000_000  # architectures; in a larger space draws do not run out


class Proposal(NamedTuple):
    """An architecture that a strategy wants evaluated.

    Args:
        architecture: a member of the space.
        rung: how well: 0 is the cheapest evaluation that the strategy knows, its ``rungs - 1`` the full one.

    Example:
        >>> Proposal(Architecture("toy", ("a",), "a")).rung
        0
    """

    architecture: Architecture
    rung: int = 0


class Result(NamedTuple):
    """What an evaluation gave.

    Args:
        architecture: a member of the space, proposed by the strategy or not.
        values: one number an objective, all finite, higher is better; empty where the architecture broke a limit,
            could not be evaluated or got no finite value.
        rung: the rung of the proposal.

    Example:
        >>> Result(Architecture("toy", ("a",), "a"), (0.5,)).values
        (0.5,)
    """

    architecture: Architecture
    values: tuple[float, ...]
    rung: int = 0


class Strategy(ABC):
    """Proposes architectures of a search space, by what it was told of others.

    Options are further parameters of its own, each with a default and kept as the attribute of that name, so that text
    such as ``evolution(population=10)`` makes it and it can be written as such.

    Attributes:
        name: what it is asked for by.
        batch: how many proposals it is best asked for at a time.
        several_objectives: whether it can maximise several objectives at once, towards their Pareto front.
        needs_images: whether it learns from images before it proposes, by `prepare`.
        minutes: how long that may take; infinite for as long as it takes.
        usual_score: what a search by it maximises unless told otherwise; None leaves that to the search.
        learnt: what `prepare` came to, which a search evaluates before all else.
        note: what is to be known of that; empty for nothing.
        shares: of a strategy that mixes operations the share of each option after each epoch.
        by_epoch: of the same what the mixture led to after each epoch, and how many skip connections that has.
        space: the search space.
        objectives: number of values in each result.

    Args:
        space: the search space.
        seed: decides all its random choices.
        objectives: number of values in each result.

    Raises:
        InputError: several objectives for a strategy that maximises one.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.strategies import strategy
        >>> chosen = strategy("random", search_space("nasbench201"), seed=0)
        >>> proposal, = chosen.ask()
        >>> chosen.tell([Result(proposal.architecture, (0.5,))])
        >>> chosen.values[proposal.architecture]
        (0.5,)
    """

    name: ClassVar[str]
    batch: ClassVar[int] = 1
    several_objectives: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False
    minutes: float = math.inf
    usual_score: ClassVar[str | None] = None
    learnt: tuple[Architecture, ...] = ()
    note: str = ""
    shares: pd.DataFrame | None = None
    by_epoch: pd.DataFrame | None = None

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1) -> None:
        if objectives > 1 and not self.several_objectives:
            raise InputError(
                f"The strategy '{self.name}' maximises one objective and was given {objectives}: leave the others out, "
                "or choose a strategy for several, such as nsga2."
            )
        self.space, self.objectives = space, objectives
        self.rng = np.random.default_rng(derive_seed(seed, "strategy", self.name))
        self.seen: set[Architecture] = set()
        self.values: dict[Architecture, tuple[float, ...]] = {}

    def __str__(self) -> str:
        """Its name with the options that are not as usual, as `trainless.strategies.strategy` reads it."""
        return spec_of(self, CONTEXT, usual=False)

    def prepare(  # noqa: B027  what needs no images does nothing with them
        self, images: ImageDataset, store: Store | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Learn from images, before the first proposal.

        Args:
            images: those that networks are trained with.
            store: beside which is kept what is learnt, so that it goes on after an interruption.
            progress: called with what is done and all of it.
        """

    @property
    def rungs(self) -> int:
        """How many kinds of evaluation it asks for, from the cheapest to the full one."""
        return 1

    @abstractmethod
    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose up to `n` different architectures that were not told yet; fewer or none where there are no more.

        Nothing changes but the random generator: asked again without being told, it may propose the same.
        """

    def tell(self, results: Iterable[Result]) -> None:
        """Learn what architectures were worth, in any order, whether they were proposed or not.

        A result of an architecture that was told before takes the place of its earlier values: scores relative to
        others change as these become more.
        """
        for result in results:
            is_new = result.architecture not in self.seen
            if is_new:
                self.seen.add(result.architecture)
            if result.values:
                self.values[result.architecture] = result.values
            else:
                self.values.pop(result.architecture, None)
            if is_new:
                self._learn(result)

    def _learn(self, result: Result) -> None:  # noqa: B027  what keeps no state of its own needs none
        """Take in the result of an architecture that was never told before; `values` has it already."""

    def _value(self, architecture: Architecture) -> float:
        """The first value of an architecture; −∞ where it has none, or has lost it since, as relative scores may."""
        return self.values.get(architecture, _WORST)[0]

    def _fresh(
        self, n: int, draw: Callable[[], Architecture], taken: Iterable[Architecture] = (), *, walk: bool = False
    ) -> list[Architecture]:
        """Draw up to `n` different architectures that were never told.

        After many draws of known ones it takes any others, at random, and fewer than `n` only where no more are left.

        Args:
            n: how many.
            draw: gives an architecture, known or not.
            taken: others that are not to be drawn.
            walk: mutate a known one on and on until it is unknown, which stays near to what was drawn.
        """
        found = dict.fromkeys(taken)
        given = len(found)
        rest: Iterator[Architecture] | None = None
        while len(found) - given < n:
            architecture = None if rest else self._unknown(draw, found, walk)
            if architecture is None:
                rest = rest or self._rest(found)
                architecture = next(rest, None)
                if architecture is None:
                    break
            found[architecture] = None
        return list(found)[given:]

    def _unknown(
        self, draw: Callable[[], Architecture], taken: Collection[Architecture], walk: bool
    ) -> Architecture | None:
        """Draw until an architecture is unknown, or give None after many tries."""
        architecture = draw()
        for tries in range(_TRIES):
            if architecture not in self.seen and architecture not in taken:
                return architecture
            architecture = self.space.mutate(architecture, self.rng) if walk and tries >= _DRAWS else draw()
        return None

    def _rest(self, taken: Collection[Architecture]) -> Iterator[Architecture]:
        """Give all that is neither told nor taken, in a random order."""
        if not isinstance(self.space, FiniteSpace) or self.space.size > _LISTED:
            return iter(())
        rest = [member for member in self.space if member not in self.seen and member not in taken]
        return iter([rest[index] for index in self.rng.permutation(len(rest))])
