"""Every strategy holds to the contract on every space, and the toy space holds to its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from toy_space import ToySpace

from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.strategies import STRATEGIES, Proposal, Result, Strategy
from trainless.testing import ProductSpaceContract, StrategyContract

pytestmark = pytest.mark.slow

SPACES = {
    "Toy": ToySpace(),
    "NASBench201": search_space("nasbench201", channels=4, cells=1),
    "Mobile": search_space("mobile", width=4, depth=1),
}
# So few that it learns within the test.
OPTIONS: dict[str, dict[str, Any]] = {
    "evolution": {"population": 8, "tournament": 3},
    "freerea": {"population": 8, "tournament": 4},
    "gp": {"startup": 6},
    "nsga2": {"population": 6},
    "successive-halving": {"first": 9},
    "hyperband": {"first": 9, "rungs": 3},
}
# A Gaussian process takes long to fit, two of them very long.
LIMITS: dict[str, dict[str, Any]] = {"gp": {"evaluations": 12, "batch": 2}, "grid": {"has_chance": False}}
LIMITS_ON_MOBILE: dict[str, dict[str, Any]] = {"gp": {"evaluations": 8}}
OPTIONS_FOR_2: dict[str, dict[str, Any]] = {"gp": {"startup": 24}}
LIMITS_FOR_2: dict[str, dict[str, Any]] = {"gp": {"evaluations": 26, "batch": 2}}


def made(name: str, options: dict[str, Any], space: SearchSpace, seed: int) -> Strategy:
    return STRATEGIES[name](space, seed, **options)


def contract(name: str, space: str, objectives: int = 1) -> tuple[str, type]:
    title, options, limits = (
        f"Test{name.title().replace('-', '')}On{space}",
        OPTIONS.get(name, {}),
        LIMITS.get(name, {}),
    )
    if objectives > 1:
        title += f"For{objectives}"
        options = options | OPTIONS_FOR_2.get(name, {}) | {"objectives": objectives}
        limits = limits | LIMITS_FOR_2.get(name, {})
    if space == "Mobile":
        limits = limits | LIMITS_ON_MOBILE.get(name, {})
    body = {"make": staticmethod(partial(made, name, options)), "space": SPACES[space], "objectives": objectives}
    return title, type(title, (StrategyContract,), body | limits)


# Operations can be mixed where networks are told apart by them: not by sizes, nor in a space made for tests.
MIXED = [name for name in STRATEGIES if STRATEGIES[name].needs_images]
globals().update(
    contract(name, space) for name in STRATEGIES for space in SPACES if name not in MIXED or space == "NASBench201"
)
globals().update(contract(name, "Toy", 2) for name in STRATEGIES if STRATEGIES[name].several_objectives)  # type: ignore[attr-defined]


class TestToySpace(ProductSpaceContract):
    space = ToySpace(depth=2)


def test_the_toy_space_has_30_architectures() -> None:
    assert len(set(ToySpace())) == len(ToySpace()) == 2 * 3 * 5


class Repeating(Strategy):
    """Proposes the first architecture again and again."""

    name = "repeating"

    def ask(self, n: int = 1) -> list[Proposal]:
        return [Proposal(self.space[0])]


class Remembering(Strategy):
    """Keeps what it asked for, so that an ask is not repeated."""

    name = "remembering"

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__(space, seed)
        self.asked: list[Result] = []

    def ask(self, n: int = 1) -> list[Proposal]:
        new = [one for one in self.space if one not in self.seen and one not in self.asked][:n]
        self.asked += new  # type: ignore[arg-type]
        return [Proposal(one) for one in new]


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Repeating, "test_proposals_are_new_members"),
        (Repeating, "test_the_seed_decides_all"),
        (Repeating, "test_survives_that_all_is_refused"),
        (Repeating, "test_learns_what_it_did_not_propose"),
        (Repeating, "test_finds_the_best_of_a_small_space"),
        (Remembering, "test_asking_changes_the_generator_alone"),
    ],
)
def test_the_contract_finds_what_breaks_it(broken: type[Strategy], test: str) -> None:
    suite = type("Broken", (StrategyContract,), {"make": broken, "space": ToySpace()})()
    with pytest.raises(AssertionError):
        getattr(suite, test)()
