"""Search strategies by name: each proposes architectures and learns from what they were worth."""

from __future__ import annotations

from typing import Any

from trainless.search_spaces.base import SearchSpace
from trainless.specs import look_up, options_of, parse_spec, refuse_options, write_spec
from trainless.strategies.base import CONTEXT, Proposal, Result, Strategy
from trainless.strategies.evolution import FreeREA, RegularizedEvolution, SinglePathOneShot
from trainless.strategies.gradients import GDAS, Darts, DrNAS, PCDarts, PDarts
from trainless.strategies.halving import Hyperband, SuccessiveHalving
from trainless.strategies.local import LocalSearch
from trainless.strategies.morph import Morph
from trainless.strategies.one_shot import ENAS
from trainless.strategies.optuna import GP, NSGA2, TPE, check_study, write_study
from trainless.strategies.pruning import TENAS, ZeroCostPT
from trainless.strategies.reinforce import Reinforce
from trainless.strategies.sampling import Grid, Random

__all__ = [
    "CONTEXT", "STRATEGIES", "Proposal", "Result", "Strategy", "SuccessiveHalving", "check_study", "strategy",
    "strategy_spec", "usual_score", "write_study",
]  # fmt: skip

STRATEGIES: dict[str, type[Strategy]] = {
    kind.name: kind
    for kind in (
        Random, Grid, LocalSearch, Morph, RegularizedEvolution, FreeREA,
        TPE, GP, NSGA2, Reinforce, SuccessiveHalving, Hyperband, Darts, PCDarts,
        PDarts, GDAS, DrNAS, ENAS, SinglePathOneShot, TENAS, ZeroCostPT,
    )
}  # fmt: skip


def strategy(
    name: str | Strategy, space: SearchSpace, seed: int = 0, *, objectives: int | None = None, **options: Any
) -> Strategy:  # fmt: skip
    """Look a strategy up by its name and build it; an object is given back as it is.

    Args:
        name: a name of `STRATEGIES`, with options in parentheses or without; or a `Strategy`.
        space: the search space.
        seed: decides all its random choices.
        objectives: number of values in each result; None is 1.
        options: the same options as values, such as ``population=10``.

    Raises:
        UnknownNameError: no strategy has that name.
        InputError: an option is wrong, or options are given with an object.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> str(strategy("evolution(population=10)", space, tournament=3))
        'evolution(population=10, tournament=3)'
    """
    if isinstance(name, Strategy):
        refuse_options("strategy", options if objectives is None else {"objectives": objectives, **options})
        return name
    made = look_up("strategy", name, STRATEGIES, options, CONTEXT)
    return made(space, seed) if objectives is None else made(space, seed, objectives=objectives)


def usual_score(name: str | Strategy) -> str | None:
    """Tell what a search by a strategy maximises unless told otherwise; None for most, which do not care.

    Raises:
        UnknownNameError: no strategy has that name.

    Example:
        >>> usual_score("spos(population=20)"), usual_score("evolution")
        ('one-shot', None)
    """
    if isinstance(name, Strategy):
        return name.usual_score
    return STRATEGIES[parse_spec(strategy_spec(name)).name].usual_score


def strategy_spec(text: str) -> str:
    """Write a strategy's name and options as `str` of the strategy does, without making it.

    Raises:
        UnknownNameError: no strategy has that name.
        InputError: there is no such option, or its value cannot be read.

    Example:
        >>> strategy_spec("evolution(32, tournament = 4)")
        'evolution(tournament=4)'
    """
    made = look_up("strategy", text, STRATEGIES, context=CONTEXT)
    usual = options_of(made.func, CONTEXT)
    chosen = {name: made.keywords.get(name, default) for name, default in usual.items()}
    return write_spec(parse_spec(text).name, {name: chosen[name] for name in usual if chosen[name] != usual[name]})
