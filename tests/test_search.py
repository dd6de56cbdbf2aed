"""The loop of the search, its scores and budgets, and the replay against tables."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainless.aggregation import LogRankSum, MaximumSum, RankSum
from trainless.errors import InputError, TableError, UnknownNameError
from trainless.search import (
    REFERENCE,
    Budget,
    Loop,
    ReplayResult,
    RunningScore,
    parse_budget,
    replay,
    search_score,
    split_names,
)
from trainless.search.replays import stored_scores
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.store import Run, Store
from trainless.strategies import Strategy, strategy
from trainless.tables import BenchmarkTable, PublishedScores, benchmark_table, published_scores
from trainless.types import Architecture, Score, Task

SPACE = search_space("nasbench201")
TASK = Task("toy", 10)


def convolutions(some: Sequence[Architecture], rung: int) -> list[list[float]]:
    return [[float(one.genotype.count("nor_conv_3x3"))] for one in some]


class TestArchitecture:
    def test_equal_by_space_and_genotype(self) -> None:
        one, same = Architecture("toy", ("a", 1), "a-1"), Architecture("toy", ("a", 1), "another text")
        assert one == same
        assert hash(one) == hash(same)
        assert len({one, same, Architecture("toy", ("a", 2), "a-1"), Architecture("other", ("a", 1), "a-1")}) == 3
        with pytest.raises(FrozenInstanceError):
            one.text = "b"  # type: ignore[misc]
        assert repr(one) == "Architecture(space='toy', genotype=('a', 1), text='a-1')"

    def test_is_found_again_after_a_way_through_another_process(self) -> None:
        # Strings hash differently there.
        program = """
import pickle, sys
from trainless.types import Architecture
sys.stdout.buffer.write(pickle.dumps(Architecture("toy", ("a", 1), "a-1")))
"""
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
        assert pickle.loads(done.stdout) in {Architecture("toy", ("a", 1), "a-1")}


class TestScores:
    @pytest.mark.parametrize("text", ["hybrid", "freerea", "rank(flops, nwot)", "log-rank(flops,jacov)"])
    def test_running_equals_the_whole(self, text: str) -> None:
        score = search_score(text)
        rng = np.random.default_rng(0)
        rows = rng.uniform(1, 9, (200, len(score.proxies)))
        rows[3, 0], rows[5, 1], rows[7, 1] = -np.inf, np.nan, np.inf
        running = RunningScore(score)
        for start in range(0, 200, 7):
            running.add(rows[start : start + 7].tolist())
        assert score.aggregate is not None
        whole = score.aggregate.fit_score(pd.DataFrame(rows, columns=[each.name for each in score.proxies]))
        expected = np.where(np.isfinite(whole), whole, -np.inf)
        np.testing.assert_allclose(running.values(), expected, rtol=1e-12)
        np.testing.assert_array_equal(running.raw, rows)

    def test_a_proxy_of_which_lower_is_better_is_turned(self) -> None:
        score = search_score(LogRankSum(["params", "nwot"], lower_is_better=["params"]))
        running = RunningScore(score)
        running.add([(1.0, 2.0), (2.0, 1.0)])
        np.testing.assert_allclose(running.values(), [0.0, 2 * np.log(0.5)])

    def test_too_few_to_tell_is_no_error(self) -> None:
        for mix in (MaximumSum(["nwot", "skipped_layers"]), search_score("z-score(nwot, flops)").aggregate):
            running = RunningScore(search_score(mix))  # type: ignore[arg-type]
            running.add([(5.0, 0.0)])
            assert np.isfinite(running.values()).all()

    def test_a_fitted_aggregate_keeps_its_reference(self) -> None:
        mix = RankSum(["nwot"]).fit(pd.DataFrame({"nwot": [1.0, 2.0, 3.0, 4.0]}))
        score = search_score(mix)
        assert not score.is_relative
        running = RunningScore(score)
        running.add([(4.0,), (9.0,)])
        np.testing.assert_allclose(running.values(), [1.0, 4.5 / 4])

    def test_names(self) -> None:
        assert split_names("nwot, rank(a, b) ,hybrid,") == ["nwot", "rank(a, b)", "hybrid"]
        with pytest.raises(UnknownNameError, match="no score 'nwott'"):
            search_score("nwott")
        with pytest.raises(UnknownNameError, match="no proxy 'a'"):
            search_score("z-score(a)")


class TestBudget:
    def test_forms(self) -> None:
        assert parse_budget("200") == Budget(200)
        assert parse_budget("45s|200") == parse_budget("200, 45 s") == Budget(200, 45.0)
        assert parse_budget("1.5m") == Budget(None, 90.0)

    @pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "45x", "0", "0s"])
    def test_refusals(self, text: str) -> None:
        with pytest.raises(InputError, match="The budget is"):
            parse_budget(text)


class TestLoop:
    @pytest.mark.parametrize("name", ["random", "local", "evolution", "freerea"])
    def test_a_larger_budget_goes_on_from_a_smaller_one(self, name: str) -> None:
        def search(*budgets: int) -> list[Architecture]:
            loop = Loop(strategy(name, SPACE, 0), [search_score("params")], convolutions)
            for budget in budgets:
                while loop.step(budget - len(loop.order)):
                    pass
                assert len(loop.order) == budget
            return loop.order

        assert search(50) == search(120)[:50]
        assert len(set(search(120))) == 120

    def test_limits_are_checked_before_scoring(self) -> None:
        def check(one: Architecture) -> str:
            return "params" if SPACE.parameters(one, TASK) > 400_000 else ""

        scored: list[Architecture] = []

        def evaluate(some: Sequence[Architecture], rung: int) -> list[list[float]]:
            scored.extend(some)
            return convolutions(some, rung)

        loop = Loop(strategy("evolution", SPACE), [search_score("params")], evaluate, check=check)
        while loop.step(100 - len(loop.order)):
            pass
        assert scored == loop.order
        assert max(SPACE.parameters(one, TASK) for one in scored) <= 400_000
        assert loop.rejected["params"] > 10

    def test_nothing_within_the_limits_ends(self) -> None:
        loop = Loop(strategy("random", SPACE), [search_score("params")], convolutions, check=lambda one: "params")
        assert loop.step(10) == 0
        assert "broke a limit" in loop.stopped or "nothing more" in loop.stopped
        assert loop.best() is None

    def test_a_limit_that_takes_long_to_check_ends_in_time(self) -> None:
        asked: list[Architecture] = []

        def check(one: Architecture) -> str:
            asked.append(one)
            return "latency"

        loop = Loop(strategy("random", SPACE), [search_score("params")], convolutions, check=check, batch=2)
        assert loop.step(10, is_over=lambda: len(asked) >= 6) == 0
        assert (len(asked), loop.stopped) == (6, "")

    def test_a_relative_score_begins_with_a_reference_that_the_strategy_learns(self) -> None:
        loop = Loop(strategy("local", SPACE), [search_score("rank(params, flops)")],
                    lambda some, rung: [[SPACE.parameters(o, TASK), SPACE.flops(o, TASK)] for o in some])  # fmt: skip
        while len(loop.order) < REFERENCE:
            assert loop.step(REFERENCE - len(loop.order))
        first = loop.order[loop.best() or 0]
        loop.step(2)
        assert set(loop.order[REFERENCE:]) <= set(SPACE.neighbors(first))

    def test_scores_do_not_depend_on_the_order_of_arrival(self) -> None:
        loop = Loop(strategy("random", SPACE), [search_score("rank(params, flops)")],
                    lambda some, rung: [[SPACE.parameters(o, TASK), SPACE.flops(o, TASK)] for o in some])  # fmt: skip
        while loop.step(60 - len(loop.order)):
            pass
        frame = pd.DataFrame({"params": [SPACE.parameters(one, TASK) for one in loop.order],
                              "flops": [SPACE.flops(one, TASK) for one in loop.order]})  # fmt: skip
        np.testing.assert_allclose(loop.values, RankSum(["params", "flops"]).fit_score(frame))
        told = [loop.strategy.values[one][0] for one in loop.order]
        np.testing.assert_array_equal(told, loop.values)

    def test_the_front_is_what_no_other_beats(self) -> None:
        loop = Loop(strategy("random", SPACE, objectives=2), [search_score("params")], convolutions,
                    objectives=("score", "params"), facts=lambda o: {"params": SPACE.parameters(o, TASK)})  # fmt: skip
        while loop.step(80 - len(loop.order)):
            pass
        points = [(float(v), -SPACE.parameters(o, TASK)) for o, v in zip(loop.order, loop.values, strict=True)]
        expected = {
            place for place, (a, b) in enumerate(points)
            if not any(x >= a and y >= b and (x, y) != (a, b) for x, y in points)
        }  # fmt: skip
        assert set(loop.front()) == expected


# Replay.

SOME = [SPACE[number] for number in range(0, 15_625, 25)]
TEXTS = list(map(str, SOME))
COUNTS = [one[0] for one in convolutions(SOME, 0)]
TRUTH = np.array(COUNTS) * 10 + np.arange(len(SOME)) / 1000
TABLE = BenchmarkTable(
    "toy", "nasbench201", pd.DataFrame({"cifar10.valid": TRUTH - 1, "cifar10.test": TRUTH}, index=TEXTS)
)
PUBLISHED = PublishedScores(
    "toy.cifar10", "nasbench201", "cifar10", "by hand", "none", pd.DataFrame({"nwot": COUNTS}, index=TEXTS),
    pd.DataFrame({"nwot": 0.5}, index=TEXTS),
)  # fmt: skip


def without_time(found: ReplayResult) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "microseconds"} for row in found.rows]


class TestReplay:
    def test_looks_up_what_was_chosen(self) -> None:
        found = replay(TABLE, {"cifar10": PUBLISHED}, strategies=["random"], searched=["nwot"], seeds=3, budget=40)
        (row,) = found.rows
        curve = found.curves["random", "nwot", "cifar10"]
        assert curve.shape == (3, 40)
        assert row["mean_test"] == pytest.approx(curve[:, -1].mean())
        assert row["std_test"] == pytest.approx(curve[:, -1].std(ddof=1))
        assert row["mean_evaluations"] == 40
        assert np.isin(curve, TRUTH).all()
        # The score is the accuracy's tens: the choice never gets worse by more than the rest.
        assert (np.diff(curve // 10, axis=1) >= 0).all()
        assert found.optima == {"cifar10": TRUTH.max()}

    def test_all_of_the_scores_give_the_best(self) -> None:
        found = replay(TABLE, {"cifar10": PUBLISHED}, strategies=["grid"], searched=["nwot"], seeds=1, budget=9999,
                       run_off=len(SOME), targets={"cifar10": 10.0})  # fmt: skip
        (row,) = found.rows
        assert row["mean_evaluations"] == len(SOME)
        assert row["mean_test"] == TRUTH[int(np.argmax(COUNTS))]
        assert row["mean_test_runoff"] == TRUTH.max()
        assert row["evaluations_to_target"] == 1 + next(place for place, count in enumerate(COUNTS) if count >= 1)

    def test_seconds_are_those_of_the_scores(self) -> None:
        found = replay(TABLE, {"cifar10": PUBLISHED}, strategies=["evolution"], searched=["nwot"], seeds=2, budget="5s")
        assert found.rows[0]["mean_evaluations"] == 10

    def test_scores_without_seconds_never_use_up_a_time(self) -> None:
        for searched in ("params", "rank(params, flops)"):
            with pytest.raises(InputError, match=r"cifar10 do not tell how long .*params.* took"):
                replay(TABLE, {"cifar10": PUBLISHED}, searched=[searched], seeds=1, budget="5s")
        found = replay(TABLE, {"cifar10": PUBLISHED}, strategies=["grid"], searched=["params"], seeds=1, budget="5s,7")
        assert found.rows[0]["mean_evaluations"] == 7

    def test_the_run_off_passes_over_what_has_no_valid_accuracy(self) -> None:
        frame = TABLE.frame.copy()
        frame.loc[TEXTS[int(np.argmax(COUNTS))], "cifar10.valid"] = np.nan  # the best-scored
        table = BenchmarkTable("toy", "nasbench201", frame)
        found = replay(table, {"cifar10": PUBLISHED}, strategies=["grid"], searched=["nwot"], seeds=1, budget=9999,
                       run_off=len(SOME))  # fmt: skip
        assert found.rows[0]["mean_test_runoff"] == frame["cifar10.test"][frame["cifar10.valid"].idxmax()]

    def test_counts_what_the_space_tells(self) -> None:
        found = replay(TABLE, {"cifar10": PUBLISHED}, strategies=["local"], searched=["rank(nwot, flops)"], seeds=1,
                       budget=50)  # fmt: skip
        assert found.rows[0]["score"] == "rank(nwot, flops)"
        assert found.rows[0]["mean_test"] > TRUTH.mean()

    @pytest.mark.slow
    def test_workers_change_nothing(self) -> None:
        def run(workers: int) -> ReplayResult:
            return replay(TABLE, {"cifar10": PUBLISHED}, strategies=["evolution", "local"], seeds=2, budget=50,
                          searched=["rank(nwot, flops)", "params"], run_off=3, workers=workers)  # fmt: skip

        alone, shared = run(0), run(2)
        assert without_time(alone) == without_time(shared)
        for key, curve in alone.curves.items():
            np.testing.assert_array_equal(curve, shared.curves[key])

    def test_a_checkpoint_keeps_what_is_finished(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "replay.jsonl"

        def run(seeds: int = 4, budget: int = 30, checkpoint: Path | None = file) -> ReplayResult:
            return replay(TABLE, {"cifar10": PUBLISHED}, strategies=["random", "local"], searched=["nwot"], seeds=seeds,
                          budget=budget, run_off=2, checkpoint=checkpoint)  # fmt: skip

        searched: list[tuple[str, int]] = []
        stops = [3, 5]  # finished searches when it is cut short

        def counted(name: str, space: SearchSpace, seed: int) -> Strategy:
            if stops and len(searched) == stops[0]:
                raise KeyboardInterrupt
            searched.append((name, seed))
            return strategy(name, space, seed)

        expected = without_time(run(checkpoint=None))
        monkeypatch.setattr("trainless.search.replays.strategy", counted)
        while stops:
            with pytest.raises(KeyboardInterrupt):
                run()
            stops.pop(0)
            with file.open("ab") as torn:
                torn.write(b'{"key": "half a li')
        assert without_time(run()) == expected
        assert searched == [(name, seed) for name in ("random", "local") for seed in range(4)]
        run(seeds=3)
        assert len(searched) == 8
        run(seeds=1, budget=31)  # another budget is another search
        assert len(searched) == 10
        other = BenchmarkTable("toy", "nasbench201", TABLE.frame + 0.5)
        replay(other, {"cifar10": PUBLISHED}, strategies=["random"], searched=["nwot"], seeds=1, budget=30, run_off=2,
               checkpoint=file)  # fmt: skip
        assert len(searched) == 11

    def test_a_file_of_something_else_is_no_checkpoint(self, tmp_path: Path) -> None:
        file = tmp_path / "rows.csv"
        file.write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match="holds no searches of a replay"):
            replay(TABLE, {"cifar10": PUBLISHED}, searched=["nwot"], seeds=1, checkpoint=file)
        assert file.read_text() == "a,b\n1,2\n"

    def test_scores_of_a_store(self, tmp_path: Path) -> None:
        with Store(tmp_path / "scores.db") as store:
            rows = [Score(text, "nwot", count, seconds=0.5) for text, count in zip(TEXTS, COUNTS, strict=True)]
            rows[1] = Score(TEXTS[1], "nwot", float("nan"), "failed", "out of memory", 0.5)
            store.write(Run("nasbench201", "toy:00", 0, ""), [*rows, Score(str(SPACE[1]), "plain", 1.0)],
                        {"nwot": 1, "plain": 1})  # fmt: skip
            scores = stored_scores(store, ["nwot"])
            assert list(scores.scores.index) == TEXTS  # what nwot has not tried is left out
            with pytest.raises(InputError, match="was scored by all of nwot, plain"):
                stored_scores(store, ["rank(nwot, plain)"])
        assert np.isnan(scores.scores.loc[TEXTS[1], "nwot"])
        read = without_time(replay(TABLE, {"cifar10": scores}, searched=["nwot"], seeds=2, budget="20s"))
        frame = PUBLISHED.scores.copy()
        frame.loc[TEXTS[1], "nwot"] = -np.inf
        published = replace(PUBLISHED, scores=frame)
        assert read == without_time(replay(TABLE, {"cifar10": published}, searched=["nwot"], seeds=2, budget="20s"))
        with pytest.raises(InputError, match=r"scores\.db' lack jacov, expected some of nwot"):
            replay(TABLE, {"cifar10": scores}, searched=["jacov"], seeds=1)

    def test_refusals(self) -> None:
        with pytest.raises(InputError, match="lack jacov, expected some of nwot"):
            replay(TABLE, {"cifar10": PUBLISHED}, searched=["jacov"], seeds=1)
        with pytest.raises(TableError, match="no data set 'cifar11'"):
            replay(TABLE, {"cifar11": PUBLISHED}, searched=["nwot"], seeds=1)
        with pytest.raises(InputError, match="workers is -1"):
            replay(TABLE, {"cifar10": PUBLISHED}, searched=["nwot"], seeds=1, workers=-1)
        with pytest.raises(InputError, match="0 seeds"):
            replay(TABLE, {"cifar10": PUBLISHED}, searched=["nwot"], seeds=0)
        with pytest.raises(UnknownNameError, match="no strategy 'rendom'"):
            replay(TABLE, {"cifar10": PUBLISHED}, strategies=["rendom"], searched=["nwot"], seeds=1)


@pytest.mark.data
def test_freerea_reaches_its_published_accuracy(real_data: Path) -> None:
    found = replay(
        benchmark_table("nasbench201", real_data), {"cifar100": published_scores("freerea.cifar100", real_data)},
        strategies=["freerea", "random"], searched=["freerea"], seeds=10, budget=250,
    )  # fmt: skip
    by_name = {row["strategy"]: row["mean_test"] for row in found.rows}
    assert by_name["freerea"] >= 73.4
    assert by_name["random"] < by_name["freerea"]
