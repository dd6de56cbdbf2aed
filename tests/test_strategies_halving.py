"""Successive halving and Hyperband: who is promoted when, by numbers written out and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from toy_space import ToySpace

from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.strategies import Proposal, Result, Strategy
from trainless.strategies.halving import Hyperband, SuccessiveHalving
from trainless.strategies.sampling import Random
from trainless.types import Architecture

CELLS = search_space("nasbench201", channels=4, cells=1)
TOYS = ToySpace()


def tell(strategy: Strategy, some: list[Architecture], values: list[float | None], rung: int) -> None:
    pairs = zip(some, values, strict=True)
    strategy.tell([Result(one, () if value is None else (value,), rung) for one, value in pairs])


class TestPromotion:
    def test_by_numbers_written_out(self) -> None:
        strategy = SuccessiveHalving(CELLS, rungs=3, eta=2, first=4)
        asked = strategy.ask(10)
        assert [rung for _, rung in asked] == [0, 0, 0, 0]
        a, b, c, d = (one for one, _ in asked)
        tell(strategy, [b, a, c], [4.0, 3.0, 1.0], 0)
        assert [rung for _, rung in strategy.ask(10)] == [0]  # one is missing
        tell(strategy, [d], [2.0], 0)
        assert strategy.ask(10) == [Proposal(b, 1), Proposal(a, 1)]
        assert strategy.ask(1) == [Proposal(b, 1)]
        tell(strategy, [b], [10.0], 1)
        assert strategy.ask(10) == [Proposal(a, 1)]
        tell(strategy, [a], [11.0], 1)
        assert strategy.ask(10) == [Proposal(a, 2)]
        assert strategy.values == {}
        tell(strategy, [a], [100.0], 2)
        assert strategy.values == {a: (100.0,)}
        again = strategy.ask(10)
        assert [rung for _, rung in again] == [0, 0, 0, 0]
        assert {a, b, c, d}.isdisjoint(one for one, _ in again)

    def test_counts_what_has_a_value(self) -> None:
        strategy = SuccessiveHalving(CELLS, eta=3, first=3)
        a, b, c = (one for one, _ in strategy.ask(3))
        tell(strategy, [a, b, c], [1.0, None, 2.0], 0)
        ((d, rung),) = strategy.ask(3)
        assert rung == 0
        tell(strategy, [d], [0.0], 0)
        assert strategy.ask(3) == [Proposal(c, 1)]

    def test_goes_on_where_a_promoted_one_fails(self) -> None:
        strategy = SuccessiveHalving(CELLS, rungs=3, eta=2, first=4)
        a, b, c, d = (one for one, _ in strategy.ask(4))
        tell(strategy, [a, b, c, d], [4.0, 3.0, 2.0, 1.0], 0)
        tell(strategy, [a, b], [None, 0.5], 1)
        assert strategy.ask(4) == [Proposal(b, 2)]
        tell(strategy, [b], [None], 2)
        assert [rung for _, rung in strategy.ask(9)] == [0, 0, 0, 0]
        assert strategy.values == {}

    def test_by_the_values_at_the_time(self) -> None:
        strategy = SuccessiveHalving(CELLS, eta=2, first=2)
        a, b = (one for one, _ in strategy.ask(2))
        tell(strategy, [a], [9.0], 0)
        # Scores relative to others change as these become more, also within one telling.
        tell(strategy, [b, a], [5.0, 1.0], 0)
        assert strategy.ask(2) == [Proposal(b, 1)]
        tell(strategy, [a], [10.0], 0)
        assert strategy.ask(2) == [Proposal(b, 1)]

    def test_without_halving(self) -> None:
        strategy = SuccessiveHalving(CELLS, rungs=1, first=4)
        for bracket in range(1, 4):
            asked = strategy.ask(10)
            assert [rung for _, rung in asked] == [0, 0, 0, 0]
            tell(strategy, [one for one, _ in asked], [1.0, 2.0, 3.0, 4.0], 0)
            assert len(strategy.values) == 4 * bracket

    def test_a_last_bracket_that_is_not_full(self) -> None:
        strategy = SuccessiveHalving(TOYS, eta=3, first=16)
        tell(strategy, list(TOYS)[:16], [float(place) for place in range(16)], 0)
        tell(strategy, [TOYS[place] for place in (15, 14, 13, 12, 11)], [0.0] * 5, 1)
        rest = [one for one, _ in strategy.ask(30)]
        assert sorted(map(TOYS.index, rest)) == list(range(16, 30))
        tell(strategy, rest, [float(TOYS.index(one)) for one in rest], 0)
        last = [(TOYS.index(one), rung) for one, rung in strategy.ask(30)]
        assert last == [(29, 1), (28, 1), (27, 1), (26, 1)]  # the best third of 14


class TestBrackets:
    def test_sizes_of_hyperband(self) -> None:
        # R = 81 and eta = 3 in Li et al.: n = ceil(5 / (s + 1) * 3^s) for s = 4, 3, 2, 1, 0.
        strategy = Hyperband(CELLS, rungs=5, eta=3, first=81)
        sizes = [(0, 81), (1, 34), (2, 15), (3, 8), (4, 5)]
        assert [strategy.bracket_start(number) for number in range(6)] == [*sizes, (0, 81)]

    @pytest.mark.parametrize(("rungs", "eta", "first"), [(3, 2, 8), (3, 3, 10), (2, 4, 5), (4, 2, 9), (1, 2, 3)])
    def test_by_brute_force(self, rungs: int, eta: int, first: int) -> None:
        strategy = Hyperband(CELLS, seed=1, rungs=rungs, eta=eta, first=first, guided=0.0)
        rng = np.random.default_rng(0)
        full: dict[Architecture, tuple[float, ...]] = {}
        for bracket in range(2 * rungs):
            start = bracket % rungs
            size = math.ceil(first * rungs / (rungs - start) / eta**start)
            members: list[Architecture] = []
            for rung in range(start, rungs):
                expected = size if rung == start else max(1, len(members) // eta)
                asked = strategy.ask(expected + 5)
                assert [each.rung for each in asked] == [rung] * expected
                if rung > start:
                    assert [each.architecture for each in asked] == members[:expected]
                values = rng.permutation(expected).astype(float)
                new = [Result(each.architecture, (value,), rung) for each, value in zip(asked, values, strict=True)]
                strategy.tell([new[place] for place in rng.permutation(expected)])
                members = [one.architecture for one in sorted(new, key=lambda one: one.values, reverse=True)]
                if rung == rungs - 1:
                    full |= {one.architecture: one.values for one in new}
        assert strategy.values == full


class TestModel:
    def test_shares_are_smoothed(self) -> None:
        strategy = SuccessiveHalving(TOYS)
        codes = np.array([[0, 2, 4], [0, 2, 0], [1, 2, 4]])
        found = strategy._density(codes)
        assert found[0, :2] == pytest.approx([3 / 5, 2 / 5])
        assert found[1, :3] == pytest.approx([1 / 6, 1 / 6, 4 / 6])
        assert found[2] == pytest.approx([2 / 8, 1 / 8, 1 / 8, 1 / 8, 3 / 8])

    def test_reads_the_highest_rung_with_enough(self) -> None:
        strategy = SuccessiveHalving(TOYS, rungs=2)
        assert strategy._good_and_others() is None
        # Three places need four good ones and four others.
        tell(strategy, list(TOYS)[:20], [float(place) for place in range(20)], 0)
        good, others = strategy._good_and_others() or (None, None)
        assert good is not None and others is not None  # noqa: PT018
        assert good.tolist() == strategy._codes.codes([TOYS[place] for place in (19, 18, 17, 16)]).tolist()
        assert len(others) == 16
        tell(strategy, list(TOYS)[:8], [-float(place) for place in range(8)], 1)
        good, others = strategy._good_and_others() or (None, None)
        assert good is not None and others is not None  # noqa: PT018
        assert good.tolist() == strategy._codes.codes([TOYS[place] for place in (0, 1, 2, 3)]).tolist()

    def test_proposes_what_the_good_ones_share(self) -> None:
        strategy = SuccessiveHalving(CELLS, rungs=1, first=40, guided=1.0)
        shared = ("nor_conv_3x3", "skip_connect")
        drawn = [one for one, _ in Random(CELLS).ask(1000)]
        good = [one for one in drawn if one.genotype[:2] == shared][:7]
        bad = [one for one in drawn if one.genotype[0] != shared[0] and one.genotype[1] != shared[1]][:33]
        tell(strategy, [*good, *bad], [1.0] * 7 + [0.0] * 33, 0)
        # At random it would be one in 25.
        assert sum(one.genotype[:2] == shared for one, _ in strategy.ask(10)) >= 8

    def test_begins_with_the_second_bracket(self) -> None:
        guided, plain = (SuccessiveHalving(CELLS, rungs=1, first=20, guided=share) for share in (1.0, 0.0))
        for count in (16, 4):  # 16 would do for the model
            asked = guided.ask(count)
            assert plain.ask(count) == asked
            for strategy in (guided, plain):
                tell(strategy, [one for one, _ in asked], [float(number) for number in range(count)], 0)
        assert set(guided.ask(16)).isdisjoint(plain.ask(16))

    @pytest.mark.parametrize("kind", [SuccessiveHalving, Hyperband])
    def test_beats_random_search(self, kind: type[SuccessiveHalving]) -> None:
        means = []
        for make in (lambda seed: kind(CELLS, seed), lambda seed: Random(CELLS, seed)):
            best = []
            for seed in range(6):
                strategy: Strategy = make(seed)
                while len(strategy.values) < 60:
                    strategy.tell([
                        Result(one, (float(one.genotype.count("nor_conv_3x3")),), rung)
                        for one, rung in strategy.ask(4)
                    ])  # fmt: skip
                best.append(max(strategy.values.values())[0])
            means.append(np.mean(best))
        assert means[0] >= means[1] + 0.5


@pytest.mark.parametrize("options", [{"rungs": 0}, {"first": 0}, {"eta": 1}, {"guided": 1.5}])
def test_wrong_options(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected at least 1 rung and architecture, eta of at least 2 and a share"):
        SuccessiveHalving(TOYS, **options)  # type: ignore[arg-type]


def test_results_of_no_rung() -> None:
    with pytest.raises(InputError, match="A result of rung 2 was told to 'hyperband', expected one of rung 0 to 1"):
        Hyperband(TOYS).tell([Result(TOYS[0], (1.0,), 2)])
