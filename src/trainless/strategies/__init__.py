"""Search strategies by name: each proposes architectures and learns from what they were worth."""

from __future__ import annotations

from typing import Any

from trainless.registry import refuse_options, registered
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.strategies.evolution import FreeREA, RegularizedEvolution
from trainless.strategies.halving import Hyperband, SuccessiveHalving
from trainless.strategies.local import LocalSearch
from trainless.strategies.optuna import GP, NSGA2, TPE, check_study, write_study
from trainless.strategies.reinforce import Reinforce
from trainless.strategies.sampling import Grid, Random

__all__ = [
    "STRATEGIES", "Proposal", "Result", "Strategy", "SuccessiveHalving", "check_study", "strategy", "write_study",
]  # fmt: skip

STRATEGIES: dict[str, type[Strategy]] = {
    each.name: each
    for each in (
        Random, Grid, LocalSearch, RegularizedEvolution, FreeREA,
        TPE, GP, NSGA2, Reinforce, SuccessiveHalving, Hyperband,
    )
}  # fmt: skip


def strategy(name: str | Strategy, space: SearchSpace, seed: int = 0, **options: Any) -> Strategy:
    """Look a strategy up by its name and build it; an object is given back as it is.

    Args:
        name: a name of `STRATEGIES`, or a `Strategy`.
        space: the search space.
        seed: decides all its random choices.
        options: further arguments of the strategy, such as ``population``; ``objectives`` for all.

    Raises:
        UnknownNameError: no strategy has that name.
        InputError: an option is wrong, or options are given with an object.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> strategy("evolution", search_space("nasbench201"), population=10, tournament=3).name
        'evolution'
    """
    if isinstance(name, Strategy):
        refuse_options("strategy", options)
        return name
    return registered("strategy", name, STRATEGIES, options, own=("space", "seed"))(space, seed, **options)
