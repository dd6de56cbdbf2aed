"""What the stages of a fit decide by: predicted times and latencies, reachable limits, measured finalists."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
import torch
from commands import interrupt
from torch.utils.flop_counter import FlopCounterMode

from trainless.automl import Plan, latencies
from trainless.automl.course import Course
from trainless.automl.forecasts import forecast
from trainless.automl.latencies import WHOLE, LatencyModel, first_within, is_within
from trainless.automl.pipeline import begin
from trainless.automl.reach import check_reachable, least_found
from trainless.automl.sizes import Size, choose_size, timed_size
from trainless.automl.stages import (
    _best_first,
    choose_network,
    chosen_because,
    fit_size,
    search,
    train_network,
    tune_recipe,
)
from trainless.automl.time_budget import TimeBudget
from trainless.costs import Candidate
from trainless.data import load_splits
from trainless.errors import InputError
from trainless.estimators.speeds import SpeedModel, Work, work_of
from trainless.hardware import Latency
from trainless.operations import MirrorAveraged
from trainless.search import Costs, Limits, Search, SearchResult
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Part
from trainless.search_spaces.nodes import Node
from trainless.training import Recipe, TrainingResult, TrainingState, fit_recipe, train
from trainless.training.muon import orthogonalized
from trainless.types import Architecture, Task

pytestmark = pytest.mark.slow

TASK = Task("toy", 10, height=16, width=16)
SPACE = search_space("nasbench201(channels=4, cells=1)")
FULL = SPACE.make(["nor_conv_3x3"] * 6)
EMPTY = SPACE.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")

PLAN = Plan(time=1200.0, space=SPACE, workers=0)


class TestSpeeds:
    def test_times_that_are_sums_are_found_again(self) -> None:
        rng, times = np.random.default_rng(0), np.array([0.05, 30.0, 500_000.0])
        works = [Work(*row) for row in rng.uniform((1e5, 1e3, 0.1), (1e8, 1e6, 1.0), size=(60, 3))]
        model, known = SpeedModel(), SpeedModel(times)
        for work in works[:40]:
            model.add(work, 1e-9 * float(np.array(work) @ times))
        for work in works[40:]:
            assert known.predict(work) == pytest.approx(1e-9 * float(np.array(work) @ times))
            assert model.predict(work) == pytest.approx(known.predict(work), rel=0.05)

    def test_of_one_network_the_usual_ratios_tell_the_others(self) -> None:
        model, usual = SpeedModel(), SpeedModel((0.0915, 7.88, 856_000.0))
        model.add(Work(1e6, 1e4, 0.5), 3 * usual.predict(Work(1e6, 1e4, 0.5)))
        assert model.predict(Work(0, 1e5, 0)) == pytest.approx(3 * usual.predict(Work(0, 1e5, 0)))
        assert np.isnan(SpeedModel().predict(Work(1, 1, 1)))

    def test_no_time_is_negative(self) -> None:
        model = SpeedModel()
        model.add(Work(1_000, 100), 1e-3)
        model.add(Work(2_000, 100), 1e-3)  # more multiply-adds, no more time
        assert model.predict(Work(10**6, 0)) >= 0

    def test_work_is_that_of_the_blueprint(self) -> None:
        found = work_of(SPACE.blueprint(FULL, TASK), batch=10**12)  # of so many that the optimizer is nothing
        assert found.multiply_adds == pytest.approx(SPACE.flops(FULL, TASK))
        assert found.values > work_of(SPACE.blueprint(EMPTY, TASK)).values > TASK.channels * 16 * 16

    @pytest.mark.parametrize("shape", [(16, 144), (144, 16)])
    def test_work_of_the_optimizer_is_what_it_multiplies(self, shape: tuple[int, int]) -> None:
        rows, columns = shape
        node = Node("body", "conv", columns, rows, (4, 4))
        with FlopCounterMode(display=False) as counter:
            orthogonalized(torch.ones(shape))
        found = work_of(Blueprint((Part([node]),)), batch=8)
        assert 3 * 8 * (found.multiply_adds - node.multiply_adds) == pytest.approx(counter.get_total_flops() / 2)
        assert found.values == rows * columns / 8

    def test_networks_that_are_measured_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.automl.sizes.fastest_threads", lambda *_, **__: (1e-6, 1))
        told: list[tuple[int, int]] = []
        timed_size(search_space("convnet"), TASK, Limits(params=80_000), progress=lambda *steps: told.append(steps))
        assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
        assert told

    def test_few_sizes_are_measured_and_not_for_longer_than_their_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        measured: list[SearchSpace] = []

        def seconds(space: SearchSpace, architecture: Architecture, *_: object, **__: object) -> float:
            measured.append(space)
            time.sleep(0.05)
            return SpeedModel((0.05, 4.3, 468_000.0)).predict(work_of(space.blueprint(architecture, TASK)))

        monkeypatch.setattr("trainless.estimators.speeds.seconds_an_image", seconds)
        space = search_space("nasbench201")
        found = choose_size(space, TASK, Limits(), 1000, 60.0, epochs=10)
        assert len(space.sizes) == 7
        assert measured[0] == space.sizes[-1]
        assert len(measured) <= 3
        assert found.space == measured[-1]
        measured.clear()
        assert choose_size(space, TASK, Limits(), 1000, 60.0, epochs=10, share=0.01).space == found.space
        assert len(measured) == 1


class TestReach:
    def test_the_least_that_is_found_is_the_least_there_is(self) -> None:
        space, task = search_space("nasbench201(channels=2, cells=1)"), Task("toy", 10)
        least = min(space.parameters(architecture, task) for architecture in space)
        cost = Costs(space, task)
        assert least_found(space, {"params": 1.0}, cost)["params"] == least
        check_reachable(space, Limits(params=least), cost)
        with pytest.raises(InputError, match=f"the least that was found has {least:,} parameters"):
            check_reachable(space, Limits(params=least - 1), cost)

    def test_each_limit_has_its_own_least(self) -> None:
        with pytest.raises(InputError, match=r"parameters and [\d,]+ multiply-adds, each limit by itself"):
            check_reachable(SPACE, Limits(params=10, flops=10), Costs(SPACE, TASK))

    def test_what_is_not_known_breaks_a_limit(self) -> None:
        with pytest.raises(InputError, match="widen them"):
            check_reachable(SPACE, Limits(latency=5), lambda *_: float("nan"))


class TestLatencies:
    def test_a_sum_of_operations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kinds: list[str] = []

        def milliseconds(node: object) -> float:
            kinds.append(str(node))
            return 0.5

        monkeypatch.setattr(latencies, "_milliseconds", milliseconds)
        model = LatencyModel(TASK)
        nodes = [
            node for node in SPACE.blueprint(SPACE.canonical(FULL), TASK).nodes
            if node.operation not in ("none", "skip_connect")
        ]  # fmt: skip
        assert model.predict(SPACE, FULL) == pytest.approx(0.5 * sum(node.repeat for node in nodes))
        assert len(kinds) == len(set(kinds)) < len(nodes)  # each kind once
        again = LatencyModel(TASK, {**model.measured, WHOLE: 2.0})
        before = len(kinds)
        assert again.predict(SPACE, FULL) == 2 * model.predict(SPACE, FULL)
        mirrored = LatencyModel(TASK, model.measured, mirror_average=True)
        assert mirrored.predict(SPACE, FULL) == 2 * model.predict(SPACE, FULL)
        assert len(kinds) == before

    def test_predictions_follow_networks_as_they_are_handed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(latencies, "_milliseconds", lambda node: 0.5)
        whole: list[torch.nn.Module] = []

        def calmest(network: torch.nn.Module, task: Task, *, tries: int) -> Latency:
            whole.append(network)
            return Latency(30.0, 30.0, 30.0, 20, 1, 1, "cpu")

        monkeypatch.setattr(latencies, "calmest_latency", calmest)
        model = LatencyModel(TASK, mirror_average=True)
        model.calibrate(SPACE, [FULL])
        assert [type(network) for network in whole] == [MirrorAveraged]
        assert model.predict(SPACE, FULL) == pytest.approx(30.0)

    @pytest.mark.parametrize("name", ["nasbench201", "mobile", "convnet"])
    def test_all_operations_of_a_space_can_be_measured(self, name: str) -> None:
        space, rng = search_space(name), np.random.default_rng(0)
        task, state = Task("toy", 10, height=32, width=32), torch.get_rng_state()
        model = LatencyModel(task)
        for _ in range(2):
            assert 0 < model.predict(space, space.sample(rng)) < 1e4
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_next_candidate_where_the_best_is_too_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        full, empty = Candidate(SPACE, FULL, TASK), Candidate(SPACE, EMPTY, TASK)
        known = {full: Latency(4.0, 3.9, 4.9, 20, 1, 1, "cpu"), empty: Latency(4.5, 4.4, 4.7, 20, 1, 1, "cpu")}
        monkeypatch.setattr(latencies, "measured_latency", known.__getitem__)
        # The upper quartile counts, with a margin.
        chosen, measured = first_within([full, empty], 5.0)
        assert chosen == empty
        assert [candidate for candidate, _ in measured] == [full, empty]
        assert first_within([full, empty], 4.0)[0] is None
        assert is_within(known[full], 4.9 * 1.05)

    def test_a_search_by_predictions_measures_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> Latency:
            raise AssertionError("measured")

        monkeypatch.setattr("trainless.hardware.measure_latency", refuse)
        search = Search(
            SPACE, "random", "params", budget=5, limits=Limits(latency=3), workers=0,
            predicted={"latency": lambda architecture: 2.0 if "nor_conv_3x3" in str(architecture) else 4.0},
        )  # fmt: skip
        found = search.run()
        assert set(found.evaluations["latency_ms"]) == {2.0}
        assert found.evaluations["architecture"].str.contains("nor_conv_3x3").all()
        assert found.protocol["latency"] == "predicted for each architecture, not measured"


class TestFinalists:
    def test_the_best_few_and_all_that_were_measured(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        times: dict[Candidate, int] = {}

        def measured(candidate: Candidate, **_: object) -> Latency:
            times[candidate] = times.get(candidate, 0) + 1
            milliseconds = 9.0 if len(times) <= 6 else 2.0  # the first six are too slow
            return Latency(milliseconds, milliseconds, milliseconds + 0.5, 20, 1, 1, "cpu")

        for module in ("latencies", "finalists"):
            monkeypatch.setattr(f"trainless.automl.{module}.measured_latency", measured)
        splits = load_splits("digits")
        plan = Plan(time=3600.0, space=SPACE, limits=Limits(latency=5), workers=0, score="params")
        course = begin(splits, plan, folder=tmp_path)
        made = Search(
            SPACE, "random", "params", splits.train, budget=30, limits=plan.limits, workers=0,
            predicted={"latency": lambda architecture: 4.0},
        )  # fmt: skip
        found, size = made.run(), Size(SPACE, 0, 1e-9, 1)
        chosen = choose_network(course, size, found)
        rows = found.evaluations.sort_values("score", ascending=False, kind="stable").iloc[:7]
        assert [finalist.architecture for finalist in course.finalists] == list(rows["architecture"])
        assert [finalist.is_chosen for finalist in course.finalists] == [False] * 6 + [True]
        assert str(chosen) == course.finalists[-1].architecture
        assert set(times.values()) == {1}  # none twice
        for finalist, (_, row) in zip(course.finalists, rows.iterrows(), strict=True):
            assert (finalist.score, finalist.parameters) == (row["score"], row["parameters"])
            assert (finalist.flops, finalist.predicted_latency_ms) == (row["flops"], 4.0)
        assert [finalist.latency_high_ms for finalist in course.finalists] == [9.5] * 6 + [2.5]
        # Resumed it has them from before.
        again = begin(splits, plan, folder=tmp_path)
        assert choose_network(again, size, found) == chosen
        assert again.finalists == course.finalists

        # Where the best keeps the limit, the next four are measured beside it.
        times.clear()
        wide = begin(splits, replace(plan, limits=Limits(latency=50)))
        assert str(choose_network(wide, size, found)) == rows["architecture"].iloc[0]
        assert [finalist.is_chosen for finalist in wide.finalists] == [True, *[False] * 4]
        assert len(times) == 5

    @pytest.mark.parametrize(("seconds", "number"), [(3600.0, 5), (30.0, 0)])
    def test_a_fit_of_a_minute_tells_of_the_best_few_anyway(self, seconds: float, number: int) -> None:
        splits = load_splits("digits")
        course = begin(splits, Plan(time=seconds, space=SPACE, workers=0, score="params"))
        found = Search(SPACE, "random", "params", splits.train, budget=12, workers=0).run()
        chosen = choose_network(course, Size(SPACE, 0, 1e-9, 1), found)
        rows = found.evaluations.sort_values("score", ascending=False, kind="stable").iloc[:number]
        assert [finalist.architecture for finalist in course.finalists] == list(rows["architecture"])
        assert [str(chosen)] * bool(number) == [one.architecture for one in course.finalists if one.is_chosen]
        assert all(finalist.predicted_latency_ms is None for finalist in course.finalists)
        assert all(0 < finalist.latency_ms <= finalist.latency_high_ms for finalist in course.finalists)


class TestChoice:
    def test_of_those_that_are_alike_the_one_with_the_most_multiply_adds(self) -> None:
        table = pd.DataFrame({
            "architecture": ["a", "b", "c", "d", "e"], "score": [57.9, 58.6, np.nan, 57.0, 58.0],
            "flops": [275, 130, 900, 999, 67],
        })  # fmt: skip
        assert list(_best_first(table, alike=1.0)["architecture"]) == ["a", "b", "e", "d"]
        assert list(_best_first(table, alike=0.0)["architecture"]) == ["b", "e", "a", "d"]

    def test_the_search_by_time_begins_with_networks_made_by_hand(self, tmp_path: Path) -> None:
        plan = Plan(time=40, limits=Limits(params=80_000), space="convnet", workers=0)
        course = begin(load_splits("digits"), plan, folder=tmp_path)
        size = fit_size(course, course.latency_model())
        assert len(size.times) == 3
        assert size.space == search_space("convnet")
        found = search(course, size, course.latency_model())
        within = [known for known in size.space.starts() if size.space.parameters(known, TASK) <= 80_000]
        assert len(set(map(str, within)) & set(found.evaluations["architecture"])) > 0
        assert found.evaluations["parameters"].max() <= 80_000
        chosen = choose_network(course, size, found)
        said = chosen_because(course, size, chosen)["chosen because"]
        assert "epochs in the time" in said
        again = begin(load_splits("digits"), plan, folder=tmp_path)  # the times are those that were measured first
        assert fit_size(again, again.latency_model()) == size


class TestTuning:
    def test_an_interrupt_leaves_the_best_network_of_the_trials(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        splits = load_splits("digits", fractions=(0.2, 0.4, 0.4))
        states: list[TrainingState] = []
        train(
            SPACE.build(FULL, splits.train.task), splits.train, splits.valid, epochs=4, until=2, on_epoch=states.append
        )
        better = max(states, key=lambda state: state.valid_measures[-1])

        def interrupted(*_: object, on_epoch: Callable[[Recipe, TrainingState], None], **__: object) -> NoReturn:
            for number, state in enumerate(states):
                on_epoch(Recipe(learning_rate=0.01 + number), state)
            raise KeyboardInterrupt

        monkeypatch.setattr("trainless.automl.stages.tune", interrupted)
        course = begin(splits, Plan(time=3600.0, space=SPACE, workers=0), folder=tmp_path)
        size, network = Size(SPACE, 0, 1e-9, 1), SPACE.build(FULL, splits.train.task)
        recipe, trials = tune_recipe(course, size, lambda: network)
        assert (recipe.learning_rate, trials) == (0.01 + states.index(better), [])
        result, _ = train_network(course, size, network, recipe, None)
        assert result.valid_accuracies == tuple(better.valid_accuracies)
        for name, weight in network.state_dict().items():
            assert torch.equal(weight, better.best_weights[name])
        assert "by an interrupt or for want of time" in course.notes[-1]


class TestInterrupts:
    """Before any epoch, an interrupt leaves nothing in the first minute, and a network that trained shortly later."""

    @staticmethod
    def course(tmp_path: Path, elapsed: float) -> Course:
        tmp_path.mkdir(exist_ok=True)
        course = begin(load_splits("digits", fractions=(0.2, 0.4, 0.4)), PLAN, folder=tmp_path)
        course.budget = TimeBudget(1200.0, used=elapsed)
        return course

    @pytest.mark.parametrize("scored", [0, 3])
    def test_a_search_ends_with_what_was_found(self, scored: int) -> None:
        calls: list[object] = []

        def parameters(architecture: Architecture) -> float:
            calls.append(architecture)
            if len(calls) > scored:
                raise KeyboardInterrupt
            return 1.0

        search = Search(
            SPACE, "random", "params", budget=9, batch=1, limits=Limits(latency=2), workers=0,
            predicted={"latency": parameters},
        )  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            search.run()
        calls.clear()
        search.plan.costs._known.clear()
        with pytest.raises(KeyboardInterrupt):
            search.run(on_interrupt=lambda: False)
        calls.clear()
        search.plan.costs._known.clear()
        if not scored:
            with pytest.raises(KeyboardInterrupt):  # there is nothing to end with
                search.run(on_interrupt=lambda: True)
            return
        found = search.run(on_interrupt=lambda: True)
        assert (found.stopped, len(found.evaluations)) == ("it was interrupted", scored)
        assert found.best in set(found.evaluations["architecture"])

    def test_a_search_hands_its_best_over_to_a_short_training(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def run(self: Search, *_: object, on_interrupt: Callable[[], bool], **__: object) -> SearchResult:
            if not on_interrupt():
                raise KeyboardInterrupt
            return found

        found = Search(SPACE, "random", "params", budget=3, workers=0).run()
        monkeypatch.setattr(Search, "run", run)
        monkeypatch.setattr("trainless.automl.stages._SHORT_SECONDS", 0.5)
        monkeypatch.setattr("trainless.automl.stages.tune", lambda *_, **__: pytest.fail("tuned"))
        size = Size(SPACE, 0, 1e-4, 1)
        early = self.course(tmp_path, 50.0)
        with pytest.raises(KeyboardInterrupt):
            search(early, size, early.latency_model())
        course = self.course(tmp_path, 70.0)
        architecture = choose_network(course, size, search(course, size, course.latency_model()))
        assert str(architecture) == found.best
        assert course.checkpoint.values["search_seconds"] == found.evaluations["seconds"].max()
        network = SPACE.build(architecture, course.splits.train.task)
        recipe, trials = tune_recipe(course, size, lambda: network)
        result, _ = train_network(course, size, network, recipe, None)
        assert trials == []
        assert result.epochs >= 1
        assert any(note.startswith("It was interrupted before its first epoch") for note in course.notes)

    def test_in_the_first_epoch(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        calls, size = list[float](), Size(SPACE, 0, 1e-4, 1)

        def interrupted(*arguments: Any, deadline: float, **options: Any) -> TrainingResult:
            calls.append(deadline)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return train(*arguments, deadline=time.monotonic() + 0.3, **options)

        monkeypatch.setattr("trainless.automl.stages.train", interrupted)
        course = self.course(tmp_path, 70.0)
        network = SPACE.build(FULL, course.splits.train.task)
        result, _ = train_network(course, size, network, Recipe(), None)
        assert calls[0] == course.budget.training_end
        assert calls[1] <= time.monotonic() + 20  # of 18 minutes
        assert result.epochs >= 1
        # A second one, one in the first minute, and one where a network from pretrained features is there: at once.
        monkeypatch.setattr("trainless.automl.stages.train", interrupt)
        for number, elapsed in enumerate((70.0, 50.0, 70.0)):
            course = self.course(tmp_path / str(number), elapsed)
            course.checkpoint.values |= {"start": 1} if number == 2 else {}
            with pytest.raises(KeyboardInterrupt):
                train_network(course, size, network, Recipe(), None)

    def test_in_the_first_epoch_of_the_tuning(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("trainless.automl.stages.tune", interrupt)
        size = Size(SPACE, 0, 1e-9, 1)
        course = self.course(tmp_path, 70.0)
        recipe, trials = tune_recipe(course, size, lambda: SPACE.build(FULL, course.splits.train.task))
        assert (course.is_interrupted, trials) == (True, [])
        assert recipe.optimizer == fit_recipe(359, False).optimizer
        early = self.course(tmp_path / "early", 50.0)
        with pytest.raises(KeyboardInterrupt):
            tune_recipe(early, size, lambda: SPACE.build(FULL, early.splits.train.task))


class TestForecast:
    def test_what_there_will_be_time_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.estimators.speeds.seconds_an_image", lambda *_, **__: 1e-3)
        splits = load_splits("digits")
        stages = {stage.stage: stage for stage in forecast(splits, Plan(time=600.0, space=SPACE, workers=0)).stages}
        # 0.05 s and a third of 64 ms for each of 200.
        assert stages["search"].seconds == pytest.approx(min(60, 200 * (0.05 + 0.064 / 3)))
        assert stages["search"].what == "about 200 of at most 200 architectures"
        assert stages["tuning"].what == "none, for want of images or time"  # 360 images to validate with
        assert stages["training"].what.startswith("200 epochs")
        assert sum(stage.seconds for stage in stages.values()) == pytest.approx(600, abs=1)
        by_epochs = forecast(splits, Plan(epochs=7, space=SPACE, workers=0)).stages
        assert by_epochs[4].seconds == pytest.approx(7 * 1.078, rel=1e-3)
        assert by_epochs[4].what == "7 epochs of a heavy network"

    def test_too_little_time_is_said_with_what_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.estimators.speeds.seconds_an_image", lambda *_, **__: 0.05)
        splits = load_splits("digits")  # 54 s an epoch
        plan = Plan(time=30.0, space=SPACE, workers=0)
        short = forecast(splits, plan, begun=time.monotonic() - 25)
        assert all(stage.seconds >= 0 for stage in short.stages)
        assert short.stages[4].what == "less than an epoch of a heavy network, more of a lighter one"
        said = re.fullmatch(
            r"The time of 30 s is too little for an epoch .*: about (\d+) s are needed here\.", short.warning
        )
        assert said
        enough = forecast(splits, replace(plan, time=float(said[1])), begun=time.monotonic() - 25)
        assert enough.warning == ""
        assert enough.stages[4].what.startswith("1 epochs")
        assert forecast(splits, Plan(epochs=1, space=SPACE, workers=0)).warning == ""

    def test_time_for_a_light_network_is_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        size = Size(
            search_space("convnet"), 0, 1.0, 1, (0.05, 4.3, 468_000.0)
        )  # and a heavy one takes a second an image
        monkeypatch.setattr("trainless.automl.forecasts.fit_size", lambda *_, **__: size)
        splits, plan = load_splits("digits"), Plan(time=120.0, space="convnet", workers=0)
        found = forecast(splits, plan)
        assert found.stages[4].what.startswith("less than an epoch of a heavy network, more of a lighter one")
        assert found.warning == ""
        assert forecast(splits, plan, begun=time.monotonic() - 120).warning
