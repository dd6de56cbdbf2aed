"""Searches that take options from a mixture: what is missed stays, by the rules of the papers."""

from __future__ import annotations

import pytest

from trainless.data import load_data
from trainless.errors import UnknownNameError
from trainless.search_spaces import search_space
from trainless.supernets import MixtureScores, perturb_by_scores, prune_by_trainability
from trainless.types import Architecture

SPACE = search_space("nasbench201(channels=2, cells=1)")
DIGITS = load_data("digits")


def made_up(worth: dict[int, float]) -> MixtureScores:
    """Scores that are sums of what options are worth."""

    class MadeUp(MixtureScores):
        def _scored(self, kept: tuple[int, ...], draw: int) -> list[float]:
            return [sum(worth.get(number, 0.0) for number in kept)] * len(self.names)

    return MadeUp(SPACE, DIGITS, ("nwot", "synflow"))


def test_the_options_stay_that_are_missed_most() -> None:
    worth = {choice * 5 + option: option * (choice + 1.0) for choice in range(6) for option in range(4)}
    told: list[tuple[int, int]] = []
    found = prune_by_trainability(made_up(worth), lambda done, total: told.append((done, total)))
    assert found == SPACE.make([SPACE.choices[0][3]] * 6)
    assert told == [(done, 84) for done in range(1, 85)]  # 30, 24, 18 and 12 mixtures


def test_the_option_without_which_the_score_is_lowest_is_taken_in_each_order() -> None:
    worth = {choice * 5 + choice % 5: 1.0 + choice for choice in range(6)}
    scores = made_up(worth)
    scores.names = ("nwot",)
    told: list[tuple[int, int]] = []
    (found,) = perturb_by_scores(scores, 3, lambda done, total: told.append((done, total)))
    assert found == SPACE.make([SPACE.choices[0][choice % 5] for choice in range(6)])
    assert told[-1] == (90, 90)


def test_edges_of_most_worth_are_taken_where_a_space_takes_some() -> None:
    space = search_space("darts(channels=4, layers=3)")
    scores = MixtureScores(space, DIGITS, ("nwot",))
    options = scores.relaxation.numbers
    assert len(options) == 28  # two cells of 14 edges
    worth = {own[0]: 0.5 for own in options}
    for choice in (3, 4):  # the second and third edge into the second node
        worth[options[choice][0]] = 1.0
    genotype = str(scores.decoded(worth))
    assert "(1, 0), (2, 0)" in genotype[: len(genotype) // 2]


def test_real_scores_are_of_what_is_kept_and_known_afterwards() -> None:
    kept: list[int] = []
    scores = MixtureScores(
        SPACE, DIGITS, ("nwot", "ntk_condition"), batch_size=8, repeats=2,
        on_score=lambda known: kept.append(len(known)),
    )  # fmt: skip
    whole, again, few = scores(range(30)), scores(range(30)), scores(range(3, 30, 5))
    assert whole == again != few
    assert kept == [1, 2]
    nwot, condition = few
    assert nwot > 0 > condition  # of a condition less is better
    other = MixtureScores(SPACE, DIGITS, ("nwot", "ntk_condition"), batch_size=8, repeats=2)
    assert other(range(3, 30, 5)) == few


def test_a_network_of_one_path_scores_as_itself() -> None:
    scores = MixtureScores(SPACE, DIGITS, ("nwot",), batch_size=8)
    cell: Architecture = SPACE.make(["nor_conv_3x3"] * 6)
    (many,), (one,) = scores(range(30)), scores(range(3, 30, 5))
    assert many > one > 0
    assert scores.decoded(dict.fromkeys(range(3, 30, 5), 1.0)) == cell


def test_unknown_proxies() -> None:
    with pytest.raises(UnknownNameError, match="no_such"):
        MixtureScores(SPACE, DIGITS, ("no_such",))
