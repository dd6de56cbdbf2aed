"""Whether limits can be kept at all, and if not the least cost that was found, told before time goes into a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from trainless.costs import cost_named
from trainless.errors import InputError
from trainless.search import Limits
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.types import Architecture

__all__ = ["check_reachable", "is_reachable", "least_found"]

_DRAWN = 24
_STEPS = 150  # mutations in a row, of which those stay that break the limits less

CostOf = Callable[[Architecture, str], float]


def check_reachable(space: SearchSpace, limits: Limits, cost: CostOf, *, seed: int = 0) -> None:
    """Refuse limits that no network keeps, as far as a descent by mutations finds none.

    Args:
        space: the search space in its smallest size.
        limits: what a network may cost.
        cost: what an architecture costs, by name.
        seed: decides where the descent begins and goes.

    Raises:
        InputError: nothing within the limits was found; it names the least that was.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space, task = search_space("nasbench201(channels=2, cells=1)"), Task("toy", 10)
        >>> check_reachable(space, Limits(params=10), lambda architecture, _: space.parameters(architecture, task))
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: None of the networks of nasbench201, large and small, is within the limits \
(params at most 10): widen them; the least that was found has 1,332 parameters.
    """
    if not is_reachable(space, limits, cost, seed=seed):
        least = {name: least_found(space, {name: most}, cost, seed=seed)[name] for name, most in limits.most.items()}
        told = " and ".join(_amount(name, value) for name, value in least.items())
        apart = ", each limit by itself" if len(least) > 1 else ""
        raise InputError(
            f"None of the networks of {space.name}, large and small, is within the limits ({limits}): widen them; the "
            f"least that was found has {told}{apart}."
        )


def is_reachable(space: SearchSpace, limits: Limits, cost: CostOf, *, seed: int = 0) -> bool:
    """Tell whether a descent by mutations finds a network within limits; arguments as for `check_reachable`."""
    found = least_found(space, limits.most, cost, seed=seed) if limits.most else {}
    return all(value <= limits.most[name] for name, value in found.items())


def _amount(name: str, value: float) -> str:
    cost = cost_named(name)
    amount = cost.amount(value)
    return amount if cost.unit and cost.title in amount else f"{amount} {cost.title}"


def least_found(
    space: SearchSpace, most: Mapping[str, float], cost: CostOf, *, seed: int = 0
) -> dict[str, float]:  # fmt: skip
    """Give the costs of the network that breaks limits the least, as far as a short descent finds it.

    It ends as soon as none is broken.

    Args:
        space: the search space.
        most: the limits by name.
        cost: what an architecture costs, by name.
        seed: decides where it begins and goes.
    """
    rng = np.random.default_rng(derive_seed(seed, "reach"))

    def costs_of(architecture: Architecture) -> dict[str, float]:
        return {name: cost(architecture, name) for name in most}

    def excess(costs: Mapping[str, float]) -> float:
        """The largest share of a limit; what is not known breaks it."""
        return max(float(np.nan_to_num(costs[name] / limit, nan=np.inf)) for name, limit in most.items())

    best = space.propose(rng)
    costs = costs_of(best)
    for number in range(_DRAWN + _STEPS):
        if excess(costs) <= 1:
            return costs
        candidate = space.propose(rng) if number < _DRAWN else space.mutate(best, rng)
        tried = costs_of(candidate)
        if excess(tried) <= excess(costs):
            best, costs = candidate, tried
    return costs
