"""Strategies propose what is new, learn from what they are told, and end with the space."""

from __future__ import annotations

import numpy as np
import pytest

from trainless.automl import Plan
from trainless.errors import InputError, UnknownNameError
from trainless.morphism import can_morph
from trainless.search import Search
from trainless.search_spaces import search_space
from trainless.strategies import STRATEGIES, Proposal, Result, Strategy, strategy
from trainless.types import Architecture, Task

SPACE = search_space("nasbench201", channels=4, cells=1)


def worth(one: Architecture) -> float:
    """How many edges hold a 3 x 3 convolution: one best cell, and a way up to it from everywhere."""
    return float(one.genotype.count("nor_conv_3x3"))


def run(chosen: Strategy, evaluations: int, batch: int = 3) -> list[Architecture]:
    order: list[Architecture] = []
    while len(order) < evaluations and (asked := chosen.ask(batch)):
        chosen.tell([Result(each.architecture, (worth(each.architecture),), each.rung) for each in asked])
        order += [each.architecture for each in asked]
    return order


# The contract of every strategy is tested in test_strategies_contract.py; here, the end of a space of 15,625.
@pytest.mark.parametrize("name", ["random", "grid", "local", "evolution", "freerea", "reinforce"])
def test_ends_with_a_large_space(name: str) -> None:
    chosen = strategy(name, SPACE, seed=0)
    last = set(map(SPACE.__getitem__, range(10, 15_600, 2_000)))
    chosen.tell([Result(one, (worth(one),)) for one in SPACE if one not in last])
    found = run(chosen, 100)
    assert len(found) == len(set(found))
    assert set(found) == last


@pytest.mark.parametrize("name", STRATEGIES)
def test_refuses_several_objectives_or_takes_them(name: str) -> None:
    if STRATEGIES[name].several_objectives:  # type: ignore[attr-defined]
        assert strategy(name, SPACE, objectives=2).ask()
    else:
        with pytest.raises(InputError, match="maximises one objective and was given 2"):
            strategy(name, SPACE, objectives=2)


def test_single_path_one_shot_goes_by_shared_weights_unless_told_otherwise() -> None:
    spos = "spos(population=4, tournament=2)"
    assert Search(SPACE, spos, workers=0).plan.score.name.startswith("one-shot(")
    assert Search(SPACE, spos, "params", workers=0).plan.score.name == "params"
    assert Search(SPACE, "evolution", workers=0).plan.score.name == "robust"
    with pytest.raises(InputError, match=r"The score 'one-shot\(.*\)' trains before the first estimate"):
        Plan(time=60, strategy="spos", space=SPACE)


@pytest.mark.parametrize("name", ["local", "evolution", "freerea"])
def test_finds_the_best_where_there_is_a_way_up(name: str) -> None:
    order = run(strategy(name, SPACE, seed=0), 600)
    assert max(map(worth, order)) == 6


def test_grid_goes_by_number() -> None:
    assert [SPACE.index(one) for one in run(strategy("grid", SPACE), 9)] == list(range(9))


def test_random_draws_all_alike() -> None:
    drawn = [SPACE.index(strategy("random", SPACE, seed=seed).ask()[0].architecture) for seed in range(400)]
    # The mean of 400 draws from 0 to 15,624 lies within four standard errors of the middle.
    assert abs(np.mean(drawn) - 7812) < 4 * 15_625 / np.sqrt(12 * 400)


def test_local_search_moves_to_the_better_neighbor() -> None:
    climber = strategy("local", SPACE)
    here, there = SPACE[0], SPACE.neighbors(SPACE[0])[5]
    climber.tell([Result(here, (1.0,))])
    climber.tell([Result(there, (2.0,))])
    assert climber.ask()[0].architecture in SPACE.neighbors(there)


def test_evolution_lets_the_oldest_die() -> None:
    search = strategy("evolution", SPACE, population=2, tournament=2)
    some = [SPACE[number] for number in range(3)]
    search.tell([Result(one, (value,)) for one, value in zip(some, (9.0, 1.0, 2.0), strict=True)])
    # The best was the oldest: of the two others the better one is the parent.
    assert search.ask()[0].architecture in SPACE.neighbors(some[2])


def test_freerea_keeps_the_best_of_all_but_the_oldest() -> None:
    search = strategy("freerea", SPACE, population=2, tournament=2)
    some = [SPACE[number] for number in range(4)]
    search.tell([Result(some[0], (9.0,)), Result(some[1], (1.0,))])
    search.tell([Result(some[2], (3.0,)), Result(some[3], (2.0,))])
    assert search.alive == [some[2], some[3]]  # type: ignore[attr-defined]


def test_freerea_mutates_two_parents_and_crosses_them() -> None:
    search = strategy("freerea", SPACE, population=2, tournament=2)
    a, b = SPACE.make(["none"] * 6), SPACE.make(["skip_connect"] * 6)
    search.tell([Result(a, (2.0,)), Result(b, (1.0,))])
    first, second, child = (each.architecture for each in search.ask(3))
    assert first in SPACE.neighbors(a)
    assert second in SPACE.neighbors(b)
    assert set(child.genotype) == {"none", "skip_connect"}


def test_morph_climbs_by_steps_that_keep_the_function() -> None:
    mobile, task = search_space("mobile(width=4, depth=2)"), Task("any", 2)
    climber = strategy("morph(starts=1)", mobile)
    small, better, other = mobile[0], mobile.parse(f"k5{str(mobile[0])[2:]}"), mobile[mobile.size - 1]
    climber.tell([Result(small, (1.0,)), Result(better, (2.0,)), Result(other, (0.0,))])
    children = [proposal.architecture for proposal in climber.ask(20)]
    assert len(set(children)) == 20
    for child in children:
        assert child in mobile.neighbors(better)
        assert can_morph(*(mobile.blueprint(member, task) for member in (better, child)))
    # The largest has no larger child, so its neighbors are proposed.
    climber.tell([Result(other, (3.0,))])
    assert {proposal.architecture for proposal in climber.ask(5)} <= set(mobile.neighbors(other))
    with pytest.raises(InputError, match="number of starts is 0"):
        strategy("morph(starts=0)", mobile)


def test_morph_climbs_from_all_of_a_front() -> None:
    mobile = search_space("mobile(width=4, depth=2)")
    climber = strategy("morph(starts=1)", mobile, objectives=2)
    cheap, good, beaten = mobile[0], mobile[25_000], mobile[5_000]
    climber.tell([Result(cheap, (1.0, 9.0)), Result(good, (5.0, 2.0)), Result(beaten, (0.5, 3.0))])
    children = {proposal.architecture for proposal in climber.ask(30)}
    assert children & set(mobile.neighbors(cheap))
    assert children & set(mobile.neighbors(good))
    assert children <= {*mobile.neighbors(cheap), *mobile.neighbors(good)}


@pytest.mark.parametrize(("population", "tournament"), [(3, 4), (3, 0), (0, 0)])
def test_sizes_that_cannot_be(population: int, tournament: int) -> None:
    with pytest.raises(InputError, match=f"population is {population} and the tournament {tournament}"):
        strategy("evolution", SPACE, population=population, tournament=tournament)


def test_names_and_objects() -> None:
    made = strategy("random", SPACE)
    assert strategy(made, SPACE) is made
    with pytest.raises(UnknownNameError, match="no strategy 'freera': did you mean 'freerea'"):
        strategy("freera", SPACE)
    with pytest.raises(InputError, match="has no option 'populatoin'"):
        strategy("evolution", SPACE, populatoin=3)
    with pytest.raises(InputError, match="is an object, so population cannot be set"):
        strategy(made, SPACE, population=3)
    assert Proposal(SPACE[0]) == Proposal(SPACE[0], 0)
