"""Fits that start from an earlier run: its weights on other images, a larger network, a smaller one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainless.automl import EarlierRun, Fitted, Plan, fit, inheriting
from trainless.automl.earlier import earlier_run
from trainless.automl.folders import write_run
from trainless.automl.forecasts import forecast
from trainless.automl.inference import compute_logits, logits_of
from trainless.automl.model_card import facts, model_card
from trainless.data import Splits, load_splits
from trainless.data.arrays import load_arrays
from trainless.data.splitting import part_of
from trainless.errors import InputError
from trainless.operations import Whitening
from trainless.report import fit_page
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.training import TrainingResult

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("inheriting")]

SPACE = search_space("nats_size(unit=1)")
MIDDLE = "32:32:32:32:32"


def first_of(splits: Splits, count: int) -> Splits:
    parts = {name: part_of(part, np.arange(len(part)) < count) for name, part in splits.parts.items()}
    return replace(splits, **parts)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_splits("digits", image_size=8)


@pytest.fixture(scope="module")
def run(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    """A run whose network is in the middle of its space."""
    folder = tmp_path_factory.mktemp("middle")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("trainless.automl.course.Course.starts", lambda *_: [SPACE.parse(MIDDLE)])
        fitted = fit(digits, Plan(epochs=5, space=SPACE, evaluations=1, workers=0), folder=folder)
    assert fitted.architecture == MIDDLE
    return write_run(fitted, folder, digits.test), folder


def plan(use: str, folder: Path, epochs: int = 2, **options: Any) -> Plan:
    return Plan(epochs=epochs, workers=0, start=EarlierRun.read(folder, use), **options)


def epochs_before(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights with which trainings begin, as they come."""
    begun: list[dict[str, torch.Tensor]] = []
    original = inheriting.train_network

    def train(course: Any, size: Any, network: torch.nn.Module, *given: Any, **options: Any) -> Any:
        begun.append({name: value.clone() for name, value in network.state_dict().items()})
        return original(course, size, network, *given, **options)

    monkeypatch.setattr(inheriting, "train_network", train)
    return begun


class TestFrom:
    def test_a_network_within_the_limits_is_taken_with_its_weights(
        self, run: tuple[Fitted, Path], digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, before = epochs_before(monkeypatch), EarlierRun.read(run[1], "from").network().state_dict()
        some = first_of(digits, 200)
        fitted = fit(some, plan("from", run[1]), folder=tmp_path)
        assert fitted.architecture == MIDDLE
        assert all(torch.equal(begun[0][name], value) for name, value in before.items())
        assert fitted.training.epochs == 2
        assert fitted.training.valid_accuracies[0] > 50  # after an epoch of 200 images
        document = facts(fitted)["start"]
        assert isinstance(document, dict)
        assert (document["use"], document["run"], document["taken_over"]) == ("from", str(run[1]), 1.0)
        assert document["classes"] == [str(label) for label in range(10)]
        for said in (model_card(fitted), fit_page(fitted), " ".join(fitted.notes)):
            assert "100.0% of the parameters were taken over from" in said
            assert str(run[1]) in said
            assert "10 classes 0, 1, 2" in said

    def test_what_does_not_fit_is_new_where_classes_are_others(
        self, run: tuple[Fitted, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, before = epochs_before(monkeypatch), EarlierRun.read(run[1], "from").network().state_dict()
        images = np.random.default_rng(0).integers(0, 255, (90, 8, 8), np.uint8)
        labels = np.arange(90) % 3
        images[np.arange(90), labels] = 255
        fitted = fit(load_arrays(images, labels), plan("from", run[1], epochs=4))
        head = [name for name, value in before.items() if value.ndim and len(value) == 10]
        assert len(head) == 2
        assert all(torch.equal(value, before[name]) for name, value in begun[0].items() if name not in head)
        assert 0.5 < fitted.start["taken_over"] < 1

    def test_its_cell_is_stacked_larger_where_another_size_is_asked_for(
        self, run: tuple[Fitted, Path], digits: Splits
    ) -> None:
        fitted = fit(digits, plan("from", run[1], space="nats_size(unit=2)", limits=Limits()))
        assert (fitted.architecture, fitted.space) == (MIDDLE, "nats_size, unit=2")
        assert 0 < fitted.start["taken_over"] < 1
        assert any("The architecture is that of the earlier run" in note for note in fitted.notes)

    def test_limits_that_it_breaks_have_another_network_searched(
        self, run: tuple[Fitted, Path], digits: Splits
    ) -> None:
        fitted = fit(digits, plan("from", run[1], limits=Limits(parameters=1500), evaluations=3))
        assert fitted.costs["params"] <= 1500
        assert len(fitted.search.evaluations) == 3
        assert 0 < fitted.start["taken_over"] < 1
        assert not any("whatever scores higher" in note for note in fitted.notes)

    def test_a_whitening_of_other_images_is_derived_from_these(self, digits: Splits) -> None:
        space = search_space("convnet(unit=1)")
        network, task = space.parse("resnet9"), digits.train.task
        colour = replace(task, channels=3)
        course: Any = type("Course", (), {"splits": digits})()
        before, same = (space.build(network, task) for _ in range(2))
        layers = [layer for module in (before, same) for layer in module.modules() if isinstance(layer, Whitening)]
        for layer in layers:
            layer.convolution.weight.data.mul_(2)
        inheriting._derive_new(course, same, before)
        assert torch.equal(layers[0].convolution.weight, layers[1].convolution.weight)
        inheriting._derive_new(course, same, space.build(network, colour))
        assert not torch.equal(layers[0].convolution.weight, layers[1].convolution.weight)

    def test_killed_it_goes_on_though_the_run_is_no_more(
        self, run: tuple[Fitted, Path], digits: Splits, tmp_path: Path
    ) -> None:
        earlier, folder = Path(shutil.copytree(run[1], tmp_path / "earlier")), tmp_path / "new"
        folder.mkdir()

        def stop(stage: str, *_: int) -> None:
            if stage == "training":
                raise SystemExit

        with pytest.raises(SystemExit):
            fit(digits, plan("from", earlier), folder=folder, progress=stop)
        shutil.rmtree(earlier)
        start = earlier_run(earlier, folder=folder)
        stages: list[str] = []
        fitted = fit(
            digits, Plan(epochs=2, workers=0, start=start), folder=folder,
            progress=lambda stage, *_: stages.append(stage),
        )  # fmt: skip
        assert "proposing" not in stages
        whole = fit(digits, plan("from", run[1]))
        assert torch.equal(
            compute_logits(fitted.network, digits.test.images), compute_logits(whole.network, digits.test.images)
        )
        more = fit(digits, Plan(epochs=1, workers=0, start=start), folder=folder, go_on=True)
        assert more.training.epochs == 3
        with pytest.raises(InputError, match="has other start"):
            fit(digits, Plan(epochs=1, workers=0, space=SPACE.sizes[0].spec), folder=folder, go_on=True)


class TestGrow:
    def test_it_starts_as_good_as_the_old_network_and_ends_no_worse(
        self, run: tuple[Fitted, Path], digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = epochs_before(monkeypatch)
        fitted = fit(None, plan("grow", run[1]), folder=tmp_path)
        before, after = run[0].costs["params"], fitted.costs["params"]
        assert max(after / before, fitted.costs["flops"] / run[0].costs["flops"]) >= 1.25
        network = SPACE.build(SPACE.parse(fitted.architecture), digits.train.task).eval()
        network.load_state_dict(begun[0])
        expected = logits_of(EarlierRun.read(run[1], "grow").network(), digits.valid)
        assert torch.allclose(logits_of(network, digits.valid), expected, atol=1e-3)
        assert fitted.training.valid_accuracy >= run[0].training.valid_accuracy
        said = (
            f"Before, in '{run[1]}', {before:,} parameters had {run[0].training.valid_accuracy / 100:.2%} of the "
            f"validation and {run[0].test.accuracy:.2%} of the test images right; now {after:,} parameters have "
            f"{fitted.training.valid_accuracy / 100:.2%} and {fitted.test.accuracy:.2%}."
        )
        assert said == fitted.notes[0]
        assert fitted.start["use"] == "grow"
        assert "computed the same before it was trained further" in model_card(fitted)
        assert not any("too few to learn from" in warning for warning in fitted.warnings)
        more = fit(None, plan("grow", run[1]), folder=tmp_path, go_on=True)
        assert (more.architecture, more.training.epochs) == (fitted.architecture, 4)

    def test_where_nothing_is_gained_the_old_network_stays(
        self, run: tuple[Fitted, Path], digits: Splits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def train(course: Any, size: Any, network: torch.nn.Module, recipe: Any, *_: Any, **__: Any) -> Any:
            for weight in network.parameters():
                weight.data.zero_()
            return TrainingResult(10.0, 1, 1, 1.0, (2.3,), (10.0,)), recipe

        monkeypatch.setattr(inheriting, "train_network", train)
        fitted = fit(digits, plan("grow", run[1]))
        assert (fitted.architecture, fitted.training.best_epoch) == (MIDDLE, 0)
        assert fitted.training.valid_accuracy == pytest.approx(run[0].training.valid_accuracy)
        assert fitted.test.accuracy == run[0].test.accuracy
        assert fitted.costs["params"] == run[0].costs["params"]
        assert "Nothing was gained by growing: after 1 epochs" in " ".join(fitted.notes)
        assert "chosen because" not in fitted.protocol

    def test_what_would_not_compute_the_same_is_refused(
        self, run: tuple[Fitted, Path], digits: Splits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def morph(network: torch.nn.Module, before: Any, after: Any, **_: int) -> torch.nn.Module:
            return after.build().eval()

        monkeypatch.setattr(inheriting, "morph", morph)
        with pytest.raises(InputError, match="would not compute the same after its growth"):
            fit(digits, plan("grow", run[1]))

    def test_a_run_that_is_not_what_is_told_of_it_is_refused(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        start = EarlierRun.read(run[1], "grow")
        told = replace(start, facts={**start.facts, "valid_accuracy": 0.1})
        with pytest.raises(InputError, match=r"its fit\.json tells of 10\.00%: they are of different fits"):
            fit(digits, Plan(epochs=1, workers=0, start=told))

    def test_limits_that_leave_nothing_larger(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        most = run[0].costs["params"]
        with pytest.raises(InputError, match=r"No larger network of nats_size, unit=1 that can be made of .* widen"):
            fit(digits, plan("grow", run[1], limits=Limits(parameters=most, flops=run[0].costs["flops"])))

    def test_other_images_are_refused(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        with pytest.raises(InputError, match="The images are not those of"):
            fit(first_of(digits, 200), plan("grow", run[1]))

    def test_the_plan_is_told_before(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        stages = {stage.stage: stage.what for stage in forecast(digits, plan("grow", run[1])).stages}
        assert list(stages)[:3] == ["data", "proposing", "sizing"]
        assert f"network(s) to make of '{run[1]}'" in stages["proposing"]
        assert stages["tuning"] == "none, where a network grows or shrinks"


class TestShrink:
    def test_it_keeps_the_tighter_limit_and_learns_from_the_old_network(
        self, run: tuple[Fitted, Path], digits: Splits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        teachers: list[torch.nn.Module] = []
        original = inheriting.train_network

        def train(*given: Any, **options: Any) -> Any:
            teachers.append(options["loop"].keywords["teacher"])
            return original(*given, **options)

        monkeypatch.setattr(inheriting, "train_network", train)
        most = 0.6 * run[0].costs["params"]
        fitted = fit(None, plan("shrink", run[1], epochs=4, limits=Limits(parameters=most)))
        assert fitted.costs["params"] <= most
        expected = logits_of(EarlierRun.read(run[1], "shrink").network(), digits.valid)
        assert torch.allclose(logits_of(teachers[0], digits.valid), expected, atol=1e-5)
        assert fitted.notes[0].startswith(f"Before, in '{run[1]}', {run[0].costs['params']:,} parameters had ")
        assert (
            "learnt from labels and the answers of the larger network (temperature 2, weight 0.5)"
            in (fitted.protocol["start"])
        )
        assert fitted.test.accuracy > 0.4

    def test_where_training_gains_nothing_the_weights_before_it_are_kept(
        self, run: tuple[Fitted, Path], digits: Splits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[torch.Tensor] = []

        def train(course: Any, size: Any, network: torch.nn.Module, recipe: Any, *_: Any, **__: Any) -> Any:
            begun.append(logits_of(network.eval(), digits.test))
            for weight in network.parameters():
                weight.data.zero_()
            return TrainingResult(0.0, 1, 1, 1.0, (2.3,), (0.0,)), recipe

        monkeypatch.setattr(inheriting, "train_network", train)
        fitted = fit(digits, plan("shrink", run[1], limits=Limits(parameters=1500)))
        assert fitted.training.best_epoch == 0
        assert torch.allclose(compute_logits(fitted.network, digits.test.images), begun[0], atol=1e-4)
        assert "Training gained nothing" in " ".join(fitted.notes)
