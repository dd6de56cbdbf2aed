"""A live search: deterministic, resumable, within limits."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sql
from commands import Command

from trainless import PassSpec, Proxy, Signal
from trainless.aggregation import ROBUST, aggregate
from trainless.costs import COSTS
from trainless.data import load_data, split
from trainless.errors import InputError, StoreError, UnknownNameError
from trainless.estimators import Setting, estimator
from trainless.search import Fidelity, Limits, RunOff, Search, save_study
from trainless.search_spaces import search_space
from trainless.store import Store
from trainless.strategies import strategy

pytestmark = pytest.mark.slow

SMALL = search_space("nasbench201", channels=4, cells=1)
OPTIONS = {"data": "digits", "workers": 0, "batch_size": 16}


def found(**options: object) -> pd.DataFrame:
    return Search(SMALL, **{**OPTIONS, **options}).run().evaluations.drop(columns="seconds")  # type: ignore[arg-type]


class TestSearch:
    @pytest.mark.slow
    def test_neither_workers_nor_a_store_change_it(self, tmp_path: Path) -> None:
        first = found(budget=60, score="freerea", strategy="evolution")
        assert len(first) == 60
        assert first["architecture"].is_unique
        pd.testing.assert_frame_equal(found(budget=60, score="freerea", strategy="evolution", workers=2), first)
        store = tmp_path / "search.db"
        found(budget=37, score="freerea", strategy="evolution", store=store)
        resumed = found(budget=60, score="freerea", strategy="evolution", store=store)
        pd.testing.assert_frame_equal(resumed, first)
        with Store(store, create=False) as opened:
            assert opened.count() == 60 * 3  # nothing twice

    def test_scores_are_those_of_the_scorer(self) -> None:
        from trainless.scoring import Scorer

        search = Search(SMALL, "random", "nwot", budget=12, **OPTIONS)  # type: ignore[arg-type]
        evaluations = search.run().evaluations
        scorer = Scorer(SMALL, "nwot", "digits", workers=0, batch_size=16)
        table = scorer.score(evaluations["architecture"])
        np.testing.assert_array_equal(evaluations["nwot"], table["nwot"])

    def test_limits_hold_and_what_they_reject_is_counted(self) -> None:
        result = Search(
            SMALL, "random", "params", budget=40, limits=Limits(params=9000, flops=250_000), **OPTIONS
        ).run()  # type: ignore[arg-type]
        assert result.evaluations["parameters"].max() <= 9000
        assert result.evaluations["flops"].max() <= 250_000
        assert sum(result.rejected.values()) > 0
        assert result.best == result.evaluations.loc[result.evaluations["score"].idxmax(), "architecture"]

    def test_a_front_of_score_and_parameters(self) -> None:
        result = Search(SMALL, "random", "nwot", budget=30, objectives=("score", "params"), **OPTIONS).run()  # type: ignore[arg-type]
        rows = result.evaluations.set_index("architecture").loc[list(result.front)]
        assert rows["score"].is_monotonic_decreasing
        assert rows["parameters"].is_monotonic_decreasing
        assert len(rows) > 1

    def test_options_of_a_strategy_are_part_of_a_search(self, tmp_path: Path) -> None:
        few, options = "evolution(5, tournament=2)", {**OPTIONS, "store": tmp_path / "search.db", "budget": 12}
        result = Search(SMALL, few, "params", **options).run()  # type: ignore[arg-type]
        assert result.protocol["strategy"] == "evolution(population=5, tournament=2), 2 proposals at a time"
        made = [strategy("evolution", SMALL, population=5, tournament=2) for _ in range(2)]
        same = found(strategy=made[0], score="params", budget=12)["architecture"].tolist()
        assert result.evaluations["architecture"].tolist() == same
        assert Search(SMALL, made[1], "params", **options).is_begun()  # type: ignore[arg-type]
        assert not Search(SMALL, "evolution", "params", **options).is_begun()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="'objectives', expected one of population, tournament, as in evolution"):
            Search(SMALL, "evolution(objectives=2)", "params", **options)  # type: ignore[arg-type]

    def test_time_ends_it(self) -> None:
        result = Search(SMALL, "random", "params", budget="1s", **OPTIONS).run()  # type: ignore[arg-type]
        assert "1 s is spent" in result.stopped
        assert len(result.evaluations) > 0

    def test_refusals(self) -> None:
        with pytest.raises(InputError, match=r"within the limits \(params at most 10\) got a score"):
            Search(SMALL, "random", "params", budget=5, limits=Limits(params=10), **OPTIONS).run()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="objectives are params, expected score first"):
            Search(SMALL, objectives=("params",))
        with pytest.raises(InputError, match="maximises one objective and was given 2"):
            Search(SMALL, "freerea", objectives=("score", "params"), **OPTIONS).run()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="--max-params is 'many'"):
            COSTS["params"].parse("many", "--max-params")

    def test_cheaper_scores_come_first(self, tmp_path: Path) -> None:
        halving = strategy("successive-halving", SMALL, 0, first=9, guided=0.0)
        result = Search(SMALL, halving, "nwot", budget=6, store=tmp_path / "search.db", **OPTIONS).run()  # type: ignore[arg-type]
        assert len(result.evaluations) == 6
        assert "with 0.5 of width and depth, 0.5 of the batch" in result.protocol["cheaper scores"]
        with Store(tmp_path / "search.db", create=False) as store:
            cheap, full = sorted(store.runs(), key=lambda run: "channels=4" in run.fidelity)
            assert "channels=2,cells=1" in cheap.fidelity
            assert "batch=8" in cheap.fidelity
            table = store.table(cheap)["nwot"]
            table = table[np.isfinite(table)]  # the others fill no place
            assert len(table) == 18
            # Of each nine the best three by the cheap score got the full one.
            best = [name for first in (0, 9) for name in table.iloc[first : first + 9].nlargest(3).index]
            assert set(store.table(full).index) == set(best) == set(result.evaluations["architecture"])
        with pytest.raises(InputError, match="'random' was given 1 reduced evaluations, expected 0"):
            Search(SMALL, "random", fidelities=[Fidelity(batch=0.5)], **OPTIONS)  # type: ignore[arg-type]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["successive-halving", "hyperband"])
    def test_a_larger_budget_begins_as_a_smaller_one(self, name: str) -> None:
        histories = [
            found(budget=budget, score="nwot", strategy=name)["architecture"].tolist() for budget in (3, 7, 12)
        ]
        assert histories[0] == histories[2][:3]
        assert histories[1] == histories[2][:7]

    def test_a_run_off_by_an_estimator_takes_what_it_values_most(self, tmp_path: Path) -> None:
        options = {**OPTIONS, "data": split(load_data("digits"), 0.1)[1], "store": tmp_path / "search.db"}
        final = RunOff(3, by="inherited(epochs=1, shared=2)")
        result = Search(SMALL, "random", "params", budget=5, run_off=final, **options).run()  # type: ignore[arg-type]
        assert result.run_off is not None
        names = result.run_off["architecture"].tolist()
        measured = estimator("inherited(epochs=1, shared=2)").estimate(
            [SMALL.parse(name) for name in names], Setting(SMALL, options["data"], 0, 0)
        )
        assert result.run_off["valid_accuracy"].tolist() == [estimate.value for estimate in measured]
        assert result.run_off["valid_accuracy"].is_monotonic_decreasing
        assert (result.best, result.run_off["epochs"].tolist()) == (names[0], [1, 1, 1])
        said = "3 candidates, at most 2,500 images, by a training of 1 epoch from the weights of"
        assert said in result.protocol["run-off"]

    def test_run_offs_by_what_measures_no_accuracy_are_refused(self) -> None:
        with pytest.raises(InputError, match="by 'zero-cost', which measures no accuracy"):
            RunOff(by="zero-cost")
        with pytest.raises(InputError, match="by 'full', which has a recipe of its own"):
            RunOff(by="full", augment=True)
        with pytest.raises(InputError, match="by 'learning-curve', which measures no accuracy"):
            RunOff(by="learning-curve")
        with pytest.raises(UnknownNameError):
            RunOff(by="no_such")
        with pytest.raises(InputError, match="The networks of 'nasbench_nlp' cannot share weights"):
            Search("nasbench_nlp", run_off=RunOff(by="one-shot"))

    @pytest.mark.slow
    def test_memory_and_latency_are_columns_and_limits(self) -> None:
        limits = Limits(memory=0.2, latency=1000)
        objectives = ("score", "memory")
        result = Search(SMALL, "nsga2", "nwot", budget=20, limits=limits, objectives=objectives, **OPTIONS).run()  # type: ignore[arg-type]
        rows = result.evaluations
        assert rows["memory_mib"].max() <= 0.2
        assert rows["latency_ms"].between(0, 1000).all()
        front = rows.set_index("architecture").loc[list(result.front)]
        assert front["memory_mib"].is_monotonic_decreasing
        assert result.protocol["repeatable"].startswith("with this store only")

    def test_latencies_are_measured_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        options = {**OPTIONS, "limits": Limits(latency=1000), "store": tmp_path / "search.db"}
        first = Search(SMALL, "local", "nwot", budget=15, **options).run()  # type: ignore[arg-type]
        monkeypatch.setattr("trainless.hardware.measure_latency", None)
        again = Search(SMALL, "local", "nwot", budget=15, **options).run(resume=True)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(again.evaluations, first.evaluations)

    def test_the_run_off_chooses_and_is_not_repeated(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        options = {**OPTIONS, "run_off": RunOff(3, epochs=1, images=200), "store": tmp_path / "search.db"}
        result = Search(SMALL, "random", "nwot", budget=9, **options).run()  # type: ignore[arg-type]
        assert result.run_off is not None
        by_score = result.evaluations.nlargest(3, "score")["architecture"]
        assert set(result.run_off["architecture"]) == set(by_score)
        assert result.run_off["valid_accuracy"].is_monotonic_decreasing
        assert result.best == result.run_off["architecture"].iloc[0]
        monkeypatch.setattr("trainless.estimators.trainings.train", None)
        again = Search(SMALL, "random", "nwot", budget=9, **options).run()  # type: ignore[arg-type]
        assert again.run_off is not None
        pd.testing.assert_frame_equal(again.run_off, result.run_off)

    def test_time_counts_on_where_it_is_resumed(self, tmp_path: Path) -> None:
        options = {**OPTIONS, "budget": "2s", "store": tmp_path / "search.db"}
        first = Search(SMALL, "random", "nwot", **options).run().evaluations  # type: ignore[arg-type]
        resumed = Search(SMALL, "random", "nwot", **options).run(resume=True).evaluations  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(resumed, first)  # all its time is used
        with pytest.raises(InputError, match=r"the nearest differs \(strategy is 'grid, 8"):
            Search(SMALL, "grid", "nwot", **options).run(resume=True)  # type: ignore[arg-type]

    def test_one_other_label_is_another_training(self, tmp_path: Path) -> None:
        digits = load_data("digits")
        labels = digits.labels.copy()
        labels[-1] = 1 - min(1, labels[-1])
        with Store(tmp_path / "search.db") as store:
            for data in (digits, digits, replace(digits, labels=labels)):
                RunOff(1, epochs=1).hold([SMALL[0]], SMALL, data, workers=0, store=store)
            query = sql.text("select count(distinct topic), count(*) from notes")
            with sql.create_engine(f"sqlite:///{tmp_path / 'search.db'}").connect() as connection:
                assert connection.execute(query).one() == (2, 2)

    def test_strategies_that_somebody_made(self) -> None:
        objectives = ("score", "params")
        options = {**OPTIONS, "score": "nwot", "budget": 8, "objectives": objectives}
        given = strategy("nsga2", SMALL, 0, objectives=2)
        found = Search(SMALL, given, **options).run().evaluations  # type: ignore[arg-type]
        named = Search(SMALL, "nsga2", **options).run().evaluations  # type: ignore[arg-type]
        assert list(found["architecture"]) == list(named["architecture"])
        with pytest.raises(InputError, match="'nsga2' was told results before"):
            Search(SMALL, given, **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"'random' is made for 1 objective\(s\) and there are 2"):
            Search(SMALL, strategy("random", SMALL), **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="'random' is for nasbench201, channels=16, cells=5, expected one for nas"):
            Search(SMALL, strategy("random", search_space("nasbench201")), **OPTIONS)  # type: ignore[arg-type]

    def test_the_budget_of_time_holds_where_latencies_are_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []

        def slow(self: object, one: object, name: str) -> float:
            asked.append(one)
            time.sleep(0.01)
            return 1.0

        monkeypatch.setattr("trainless.search.costs.Costs.__call__", slow)
        with pytest.raises(InputError, match=r"within the limits \(latency at most 0.5 ms\)"):
            Search(SMALL, "random", "params", budget="1s", limits=Limits(latency=0.5), **OPTIONS).run()  # type: ignore[arg-type]
        assert len(asked) < 300

    def test_a_budget_of_time_gives_the_beginning_of_the_same_history(self, tmp_path: Path) -> None:
        # The score is relative, so the search begins with a reference, of which 8 are proposed at a time.
        options = {**OPTIONS, "store": tmp_path / "search.db"}
        timed = Search(SMALL, "local", "rank(params, flops)", budget="0.5s", **options).run().evaluations  # type: ignore[arg-type]
        counted = Search(SMALL, "local", "rank(params, flops)", budget=40, **options).run(resume=True).evaluations  # type: ignore[arg-type]
        shared = min(len(timed), len(counted))
        assert shared >= 8
        assert list(timed["architecture"][:shared]) == list(counted["architecture"][:shared])

    def test_another_reference_is_another_search(self, tmp_path: Path) -> None:
        options = {**OPTIONS, "budget": 5, "store": tmp_path / "search.db"}
        some = pd.DataFrame({"params": [1e3, 1e4], "flops": [1e5, 1e6]})
        for factor in (1, 2):
            mix = aggregate("maximum", ["params", "flops"]).fit(some * factor)
            search = Search(SMALL, "random", mix, **options)  # type: ignore[arg-type]
            assert not search.is_begun()
            search.run()
            assert search.is_begun()

    def test_tells_why_nothing_has_a_score(self) -> None:
        proxy = Proxy("none", lambda signals: math.nan, PassSpec(input="architecture"), frozenset({Signal.PARAMETERS}),
                      data_independent=True, paper="none", summary="never a number")  # fmt: skip
        with pytest.raises(InputError, match=r"None of the 3 architectures that were evaluated got a finite score"):
            Search(SMALL, "random", proxy, budget=3, **OPTIONS).run()  # type: ignore[arg-type]

    def test_as_many_rungs_as_evaluations_are_named(self) -> None:
        fidelities = [Fidelity(batch=0.25), Fidelity(batch=0.5)]
        result = Search(SMALL, "hyperband", "nwot", budget=4, fidelities=fidelities, **OPTIONS).run()  # type: ignore[arg-type]
        cheaper = result.protocol["cheaper scores"].split("; ")
        assert [text.partition(" with ")[2] for text in cheaper] == ["0.25 of the batch", "0.5 of the batch"]
        counts = [int(text.split()[0]) for text in cheaper]
        assert counts[0] >= 27 > counts[1] >= 9  # those without a value fill no place

    def test_written_for_the_dashboard(self, tmp_path: Path) -> None:
        import optuna

        storage = f"sqlite:///{tmp_path / 'study.db'}"
        result = Search(SMALL, "random", "nwot", budget=9, objectives=("score", "params"), **OPTIONS).run()  # type: ignore[arg-type]
        save_study(result, SMALL, storage, "found")
        study = optuna.load_study(study_name="found", storage=storage)
        rows = result.evaluations
        kept = rows[np.isfinite(rows["score"])]
        values = [trial.values for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
        assert values == [
            [score, -parameters] for score, parameters in zip(kept["score"], kept["parameters"], strict=True)
        ]
        assert {trial.user_attrs["architecture"] for trial in study.best_trials} == set(result.front)


COMMAND = ["search", "--data", "digits", "--space", "nasbench201(channels=4, cells=1)", "--batch-size",
           "16", "--budget", "60", "--strategy", "local", "--workers", "0"]  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_history(tmp_path: Path) -> None:
    moments, counts = random.Random(0), []
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "trainless.cli", *COMMAND, "--store", str(tmp_path / "search.db"), "--resume"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        begun, deadline = stored(tmp_path / "search.db"), time.monotonic() + 60
        # Until it has got further, and then for a moment.
        while stored(tmp_path / "search.db") <= begun and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.random() / 4)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        counts.append(stored(tmp_path / "search.db"))
    assert 0 < counts[0] < 60 * len(ROBUST)  # it was cut short
    assert counts == sorted(counts)
    resumed = found(budget=60, strategy="local", store=tmp_path / "search.db")
    pd.testing.assert_frame_equal(resumed, found(budget=60, strategy="local"))
    assert stored(tmp_path / "search.db") == 60 * len(ROBUST)


def stored(path: Path) -> int:
    """How many scores a store holds, 0 where there is none yet."""
    try:
        with Store(path, create=False) as store:
            return store.count()
    except StoreError:
        return 0


class TestCommand:
    @pytest.fixture
    def command(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
        return Command(monkeypatch, capsys)

    @pytest.mark.slow
    def test_document_and_files(self, command: Command, tmp_path: Path) -> None:
        files = [tmp_path / name for name in ("search.db", "page.html", "picture.png", "rows.csv")]
        document = command.document(*COMMAND, "--store", files[0], "--out", files[1], "--figure", files[2], "--csv",
                                    files[3], "--max-params", "9k")  # fmt: skip
        assert document["evaluations"] == 60
        assert document["best"]["parameters"] <= 9000
        assert {"architecture", "score", "flops", "nwot"} <= set(document["best"])
        assert all(file.stat().st_size > 1000 for file in files)

    @pytest.mark.slow
    def test_front_run_off_and_other_seeds(self, command: Command, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        document = command.document(
            *COMMAND, "--store", tmp_path / "search.db", "--strategy", "random", "--budget", 12, "--objective",
            "score,params,latency", "--seeds", 2, "--run-off", 2, "--run-off-epochs", 1, "--run-off-images", 100,
            "--out", page,
        )  # fmt: skip
        assert document["best"]["architecture"] == document["run_off"][0]["architecture"]
        assert document["run_off"][0]["valid_accuracy"] >= document["run_off"][1]["valid_accuracy"]
        assert document["best"]["latency_ms"] > 0
        assert [each["seed"] for each in document["others"]] == [1]
        assert "2 searches with different seeds" in page.read_text()

    @pytest.mark.slow
    def test_other_seeds_are_resumed_or_begun(self, command: Command, tmp_path: Path) -> None:
        asked = (*COMMAND, "--store", tmp_path / "search.db", "--budget", 6, "--resume")
        command.document(*asked)
        first = command.document(*asked, "--seeds", 2)
        again = command.document(*asked, "--seeds", 3)
        assert again["best"] == first["best"]
        assert again["others"][0] == first["others"][0]
        assert [each["seed"] for each in again["others"]] == [1, 2]
        assert "no such search to resume" in command.refusal(*asked, "--seed", 9, "--seeds", 2)

    @pytest.mark.parametrize(
        ("option", "place"), [("--study", "sqlite:////no/such/folder/a.db"), ("--figure", "search.bmp")]
    )
    def test_places_are_refused_before_anything_is_scored(
        self, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, place: str
    ) -> None:  # fmt: skip
        monkeypatch.setattr("trainless.search.Search.run", None)
        command.refusal(*COMMAND, "--store", tmp_path / "search.db", option, place)

    @pytest.mark.slow
    def test_a_study_for_each_seed(self, command: Command, tmp_path: Path) -> None:
        import optuna

        storage = f"sqlite:///{tmp_path / 'study.db'}"
        command.document(*COMMAND, "--store", tmp_path / "search.db", "--budget", 4, "--seeds", 2, "--study", storage)
        names = optuna.get_all_study_names(storage)
        assert [name.rpartition(", ")[2] for name in sorted(names)] == ["seed 0", "seed 1"]

    def test_strategies_are_listed(self, command: Command) -> None:
        listed = command.document("strategies")
        assert {"freerea", "tpe", "hyperband"} <= {each["strategy"] for each in listed}

    @pytest.mark.slow
    def test_printed(self, command: Command, tmp_path: Path) -> None:
        code, out, err = command(*COMMAND, "--store", tmp_path / "search.db")
        assert (code, err) == (0, "")
        assert "60 evaluations; rejected: none; the budget of 60 evaluations is spent." in out
        assert "node 0 = input" in out

    @pytest.mark.parametrize(
        ("extra", "told"),
        [
            (("--max-params", "0"), "--max-params is '0'"),
            (("--max-flops", "-1M"), "--max-flops is '-1M'"),
            (("--strategy", "evolutoin"), "did you mean 'evolution'"),
            (("--score", "nwott"), "did you mean 'nwot'"),
            (("--budget", "x"), "The budget is 'x'"),
            (("--batch", 0), "batch of proposals is 0"),
            (("--objective", "speed"), "objectives are speed"),
            (("--space", "nasbench"), "no search space 'nasbench'"),
            (("--data", "nowhere"), "'nowhere'"),
            (("--max-params", "10"), "widen the limits"),
            (("--max-latency", "5"), "--max-latency is '5', expected one above 0 such as 5ms"),
            (("--max-memory", "lots"), "--max-memory is 'lots'"),
            (("--limit", "energy"), "The limit is 'energy'"),
            (("--limit", "cifar10.edgegpu_latency=5", "--table", "hw-nas-bnch"), "hw-nas-bnch"),
            (("--strategy", "random", "--objective", "score,latncy"), "did you mean 'latency'"),
            (("--reduced", "c=0.5"), "expected 0"),
            (("--run-off", -1), "candidates of the run-off are -1"),
            (("--run-off", 2, "--run-off-epochs", 0), "epochs of the run-off are 0"),
            (("--run-off", 2, "--run-off-images", 5), "images of the run-off are 5, expected at least 2 of each"),
            (("--reduced", "c=0.5", "--strategy", "random"), "expected 0"),
            (("--budget", "20,30"), "budget is '20,30'"),
            (("--device", "meta"), "device 'meta' cannot be used"),
            (("--seeds", 0), "--seeds is 0"),
            (("--device", "abacus"), "'abacus'"),
            (("--study", "nowhere"), "'nowhere'"),
        ],
    )
    def test_refusals(self, command: Command, tmp_path: Path, extra: tuple[object, ...], told: str) -> None:
        assert told in command.refusal(*COMMAND, "--store", tmp_path / "search.db", *extra)
