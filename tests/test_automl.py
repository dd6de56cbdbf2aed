"""A fit end to end, on little: what it gives is true of the network that it gives."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.stats import binomtest

from trainless.automl import Fitted, Plan, TestResult, TimeBudget, fit
from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.folders import RunFolder, write_run
from trainless.automl.pipeline import _test_result, _with_measure
from trainless.automl.sizes import choose_size
from trainless.automl.stages import with_memory
from trainless.automl.tuning import tune
from trainless.data import Splits, audit, load_splits, split
from trainless.data.arrays import load_arrays
from trainless.errors import InputError
from trainless.hardware import peak_memory
from trainless.operations import MirrorAveraged
from trainless.search import Limits
from trainless.search_spaces import NASBench201, search_space
from trainless.training import Devices, Recipe, TrainingResult
from trainless.training.train import nearly_as_good
from trainless.types import Task
from trainless.ui.candidates import candidates
from trainless.workers import LocalWorkers

SMALL = search_space("nasbench201", channels=4, cells=1)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_splits("digits", fractions=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def run(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    folder = tmp_path_factory.mktemp("run")
    stages: list[str] = []
    plan = Plan(time=25, limits=Limits(parameters=6000), space=SMALL, workers=0, seed=1)
    fitted = fit(digits, plan, folder=folder, progress=lambda stage, *_: stages.append(stage))
    told = list(dict.fromkeys(stages))
    assert [stage for stage in told if stage != "tuning"] == ["sizing", "baselines", "searching", "training", "testing"]
    assert told.index("tuning") == 3 if "tuning" in told else True  # a slow machine has no time for it
    return write_run(fitted, folder, digits.test, command="trainless fit digits"), folder


@pytest.mark.slow
class TestFit:
    def test_what_is_said_is_true_of_the_network(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        fitted, _ = run
        with torch.no_grad():
            guesses = fitted.network(torch.tensor(digits.test.images).float() / 255).argmax(1).numpy()
        right = int((guesses == digits.test.labels).sum())
        assert fitted.test.accuracy == right / len(digits.test)
        interval = binomtest(right, len(digits.test)).proportion_ci(0.95, "wilson")
        assert (fitted.test.low, fitted.test.high) == pytest.approx((interval.low, interval.high))
        assert fitted.test.confusion[3, 5] == ((digits.test.labels == 3) & (guesses == 5)).sum()
        trained = [each for each in fitted.network.parameters() if each.requires_grad]
        assert fitted.costs["params"] == sum(each.numel() for each in trained) <= 6000
        assert fitted.search.best == fitted.architecture
        epochs = max(16, math.ceil(2000 * 16 / len(digits.train)))
        assert (
            "The networks are those of nasbench201, channels=2, cells=1: larger ones break the limits too often or are "
            f"too slow to be trained for {epochs} epochs in time."
        ) in fitted.notes
        assert set(fitted.seconds) == {"data", "sizing", "baselines", "search", "tuning", "training", "test"}

    def test_the_folder_holds_what_is_needed(self, run: tuple[Fitted, Path], digits: Splits) -> None:
        fitted, folder = run
        names = {path.name for path in folder.iterdir()}
        assert {"network.py", "model.safetensors", "model.onnx", "model_card.md", "fit.json", "search.db"} <= names
        assert {"preprocessing.json", "predict.py"} <= names
        assert RunFolder.read(folder).preprocessing == fitted.audit.preprocessing
        assert "EXIF orientation" in (folder / "model_card.md").read_text()
        assert "import trainless" not in (folder / "network.py").read_text()
        assert list((folder / "tensorboard" / "training").glob("events.out.tfevents.*"))
        assert fitted.files["tensorboard"] == folder / "tensorboard"
        facts = json.loads((folder / "fit.json").read_text())
        assert facts["test_accuracy"] == fitted.test.accuracy
        assert facts["measures"]["log-loss"] > 0
        assert facts["measure_value"] == pytest.approx(100 * fitted.test.accuracy)
        assert [rival["name"] for rival in facts["baselines"]] == [rival.name for rival in fitted.comparison.rivals]
        assert facts["warnings"] == fitted.warnings
        card = (folder / "model_card.md").read_text()
        for text in (
            f"{100 * fitted.test.accuracy:.2f} %",
            f"{fitted.costs['params']:,}",
            "Confusion",
            "seed",
            "trainless fit digits",
        ):
            assert text in card
        opened = RunFolder.read(folder)
        probabilities = opened.class_probabilities(digits.test.images[:40])
        assert np.allclose(probabilities.sum(1), 1)
        with torch.no_grad():
            expected = fitted.network(torch.tensor(digits.test.images[:40]).float() / 255).softmax(1)
        assert np.allclose(probabilities, expected, atol=1e-5)
        assert opened.export(["torchscript", "safetensors"])["torchscript"].stat().st_size > 1000

    @pytest.mark.parametrize(
        ("devices", "message"), [(Devices(nodes=2), "number of nodes is 2"), (Devices("gpu", 99), "expected 99")]
    )
    def test_devices_that_a_fit_cannot_have(self, devices: Devices, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Plan(time=60, devices=devices)

    def test_nothing_within_the_limits(self, digits: Splits) -> None:
        with pytest.raises(InputError, match=r"large and small, is within the limits \(params at most 10\)"):
            fit(digits, Plan(time=60, limits=Limits(parameters=10)))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path, Splits]:
    """A fit of colour images whose left and right differ, with the folder of it."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (120, 8, 8, 3), np.uint8), np.arange(120) % 3
    for number, label in enumerate(labels):
        images[number, 2 * label : 2 * label + 2, :4] = 255
    splits, folder = load_splits(load_arrays(images, labels)), tmp_path_factory.mktemp("mirrored")
    plan = Plan(epochs=2, limits=Limits(flops=500_000), space=SMALL, evaluations=6, workers=0, mirror_average=True)
    return write_run(fit(splits, plan, folder=folder), folder, splits.test), folder, splits


@pytest.mark.slow
class TestMirrorAverage:
    @staticmethod
    def bare(fitted: Fitted, splits: Splits) -> torch.nn.Module:
        """The network that was trained, from the weights that were handed over."""
        space = next(size for size in SMALL.sizes if size.label == fitted.space)
        network = space.build(space.canonical(space.parse(fitted.architecture)), splits.train.task).eval()
        names = {name: f"network_{name.rpartition('.')[0].replace('.', '_')}.{name.rpartition('.')[2]}"
                 for name in network.state_dict()}  # fmt: skip
        network.load_state_dict({name: fitted.code.weights[there] for name, there in names.items()})
        return network

    def test_what_is_exported_is_the_mean_of_both_logits(self, mirrored: tuple[Fitted, Path, Splits]) -> None:
        fitted, folder, splits = mirrored
        network, test = self.bare(fitted, splits), splits.test
        images = torch.tensor(test.images).float() / 255
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (test.mean, test.std))
        with torch.no_grad():
            straight, turned = (network((seen - mean) / std) for seen in (images, torch.flip(images, dims=[3])))
            expected = (straight + turned) / 2
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": images.numpy()})
        assert np.allclose(found, expected, atol=1e-4)
        assert not np.allclose(found, straight, atol=1e-3)
        with torch.no_grad():
            assert torch.allclose(fitted.network(images), expected, atol=1e-4)
        assert np.allclose(RunFolder.read(folder).class_probabilities(test.images), expected.softmax(1), atol=1e-4)
        right = float((expected.argmax(1) == torch.tensor(test.labels)).float().mean())
        assert fitted.test.accuracy == pytest.approx(right)
        # So is what is told of the validation images.
        images = torch.tensor(splits.valid.images).float() / 255
        with torch.no_grad():
            expected = sum(network((seen - mean) / std) for seen in (images, torch.flip(images, dims=[3])))
        right = float((expected.argmax(1) == torch.tensor(splits.valid.labels)).float().mean())
        assert fitted.training.valid_accuracy == pytest.approx(100 * right)

    def test_costs_and_limits_are_those_of_what_is_handed_over(self, mirrored: tuple[Fitted, Path, Splits]) -> None:
        fitted, folder, splits = mirrored
        space = next(size for size in SMALL.sizes if size.label == fitted.space)
        task = splits.train.task
        architecture = space.canonical(space.parse(fitted.architecture))
        assert fitted.costs["flops"] == 2 * space.flops(architecture, task) <= 500_000
        assert fitted.costs["params"] == sum(weight.numel() for weight in fitted.network.parameters())
        assert fitted.costs["memory"] * 2**20 == peak_memory(
            MirrorAveraged(space.build(architecture, task)), task.input_shape
        )
        rows = fitted.search.evaluations
        assert rows["flops"].max() <= 500_000 < 2 * SMALL.flops(SMALL.make(["nor_conv_3x3"] * 6), task)
        for text, flops in zip(rows["architecture"], rows["flops"], strict=True):
            assert flops == 2 * space.flops(space.parse(text), task)
        assert fitted.search.protocol["costs"] == "of the mean for an image and its mirror image"
        assert "mirror image" in (folder / "model_card.md").read_text()
        assert {row["flops"] for row in candidates(folder / "search.db", task)} == set(rows["flops"])


class TestParts:
    def test_a_size_for_the_time(self) -> None:
        task = Task("toy", 10, height=16, width=16)
        space = search_space("nasbench201", channels=8, cells=2)
        assert choose_size(space, task, Limits(), 100, 1e6, epochs=1).space is space
        light = choose_size(space, task, Limits(parameters=3000), 100, 1e6, epochs=1)
        assert light.space in space.sizes[1:]  # no network of the full size has so few
        assert any(light.space.parameters(light.space[number], task) <= 3000 for number in range(0, 15_000, 100))

    @pytest.mark.parametrize(
        ("times", "available", "expected"),
        [
            ((8, 5, 3, 1), 100, (16, 3)),  # there are 20 epochs
            ((8, 5, 3, 1), 61, (16, 2)),
            ((8, 5, 3, 1), 1, (16, 1)),  # the smallest
            ((8, 5, 4.8, 1), 90, (16, 3)),  # the next would take nearly as long
        ],
    )
    def test_a_size_by_measured_times(
        self, monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...], available: float, expected: tuple[int, int]
    ) -> None:
        spaces = search_space("nasbench201").sizes[:4]
        known = dict(zip(spaces, times, strict=True))
        monkeypatch.setattr("trainless.estimators.speeds.seconds_an_image", lambda space, *_, **__: known[space] / 1000)
        monkeypatch.setattr(NASBench201, "sizes", property(lambda _: spaces))
        found = choose_size(spaces[0], Task("toy", 10), Limits(), 1000, available, epochs=20)
        assert (found.space.options["channels"], found.space.options["cells"]) == expected
        assert found.seconds == known[found.space] / 1000

    def test_a_size_that_a_limit_leaves_whole(self) -> None:
        space, task = search_space("nasbench201"), Task("toy", 10)
        for most, expected in ((2e6, (16, 5)), (0.3e6, (16, 1)), (0.1e6, (8, 1)), (2e3, (2, 1))):
            found = choose_size(space, task, Limits(parameters=most), 1000, math.inf, epochs=1).space
            assert tuple(found.options.values()) == expected, most

    def test_half_the_batch_where_memory_does_not_suffice(self) -> None:
        tried: list[int] = []

        def attempt(recipe: Recipe) -> int:
            tried.append(recipe.batch_size)
            if recipe.batch_size > 20:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return recipe.batch_size

        notes: list[str] = []
        assert with_memory(Recipe(batch_size=64), attempt, notes) == 16
        assert tried == [64, 32, 16]
        assert notes[-1] == "Memory did not suffice: the batch was halved to 16 images."
        with pytest.raises(RuntimeError, match="something else"):
            with_memory(Recipe(), lambda _: (_ for _ in ()).throw(RuntimeError("something else")), [])

    @pytest.mark.slow
    def test_tuning_tries_the_first_recipe_first_and_takes_the_best(self, digits: Splits) -> None:
        small = replace(digits.train, images=digits.train.images[:200], labels=digits.train.labels[:200])
        bad, network = Recipe(learning_rate=1e-9), SMALL.build(SMALL[15_000], digits.train.task)
        recipe, rows = tune(
            lambda: network, small, digits.valid, first=bad, epochs=2,
            deadline=time.monotonic() + 12,
        )  # fmt: skip
        assert rows[0]["recipe"] == asdict(bad)
        complete = [row for row in rows if row["state"] == "complete"]
        assert len(complete) > 1
        assert asdict(recipe) == max(complete, key=lambda row: row["measure"])["recipe"]
        # Without time nothing is tried.
        assert tune(lambda: network, small, digits.valid, first=bad, epochs=2, deadline=0) == (bad, [])

    def test_tuning_that_was_interrupted_goes_on(self, digits: Splits, tmp_path: Path) -> None:
        small = replace(digits.train, images=digits.train.images[:100], labels=digits.train.labels[:100])
        network, journal, seen = SMALL.build(SMALL[15_000], digits.train.task), tmp_path / "journal", list[int]()

        def tuned(deadline: float, progress: Any = None) -> tuple[Recipe, list[dict[str, Any]]]:
            return tune(
                lambda: network, small, digits.valid, first=Recipe(), epochs=1, deadline=deadline, kept=journal,
                progress=progress,
            )  # fmt: skip

        def interrupt(*_: int) -> None:
            seen.append(len(seen))
            if len(seen) in (3, 5):
                raise KeyboardInterrupt

        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                tuned(time.monotonic() + 3600, interrupt)
        recipe, rows = tuned(0)
        assert [row["trial"] for row in rows] == [0, 1, 2]
        assert rows[0]["recipe"] == asdict(Recipe())
        assert len({str(row["recipe"]) for row in rows}) == 3  # the first is not tried again, no other drawn twice
        best = max(rows, key=lambda row: row["measure"])
        is_better = nearly_as_good(best["measure"], "accuracy", len(digits.valid)) > rows[0]["measure"]
        assert asdict(recipe) == (best if is_better else rows[0])["recipe"]

    def test_too_many_processes_for_a_batch_are_refused_before_anything_is_written(
        self, digits: Splits, tmp_path: Path
    ) -> None:
        few = replace(digits, train=split(digits.train, 0.03)[1])
        plan = Plan(epochs=1, space=SMALL, workers=0, devices=Devices("cpu", 8))
        with pytest.raises(InputError, match="give 8 processes less than 2 each"):
            fit(few, plan, folder=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_workers_that_somebody_chose_are_taken_for_a_short_search_too(
        self, digits: Splits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Asked(Exception):  # noqa: N818  no error
            pass

        def ask(*_: Any, workers: Any, **__: Any) -> None:
            raise Asked(workers)

        monkeypatch.setattr("trainless.automl.stages.Search", ask)
        limited = LocalWorkers(1, timeout=60.0)
        for workers, expected in ((2, 0), (None, 0), (limited, limited)):
            with pytest.raises(Asked) as found:
                fit(digits, Plan(time=12, limits=Limits(parameters=6000), space=SMALL, workers=workers))
            assert found.value.args == (expected,)

    @pytest.mark.parametrize(("best", "is_taken"), [(49.0, False), (51.0, False), (80.0, True)])
    def test_another_recipe_is_taken_where_it_is_better_by_more_than_luck(
        self, digits: Splits, monkeypatch: pytest.MonkeyPatch, best: float, is_taken: bool
    ) -> None:
        worths, deadline = iter([50.0, best]), time.monotonic() + 0.3

        def trained(*_: Any, **__: Any) -> TrainingResult:
            worth = next(worths)
            if worth == best:
                time.sleep(0.4)  # and no other is begun
            return TrainingResult(worth, 1, 1, 0.0)

        monkeypatch.setattr("trainless.automl.tuning.train", trained)
        network = SMALL.build(SMALL[15_000], digits.train.task)
        first = Recipe(final_rate=0.2)
        recipe, rows = tune(lambda: network, digits.train, digits.valid, first=first, epochs=1, deadline=deadline)
        assert [row["measure"] for row in rows] == [50.0, best]
        assert (recipe != first) == is_taken
        # Short trainings end at no rate, whatever the long one does.
        assert (recipe.final_rate, {row["recipe"]["final_rate"] for row in rows}) == (0.2, {0.0})
        # What hides and mixes images is not for short trainings to decide.
        kept = ("shift", "cutout", "mixup", "cutmix", "label_smoothing", "mirror")
        assert all(row["recipe"][name] == getattr(Recipe(), name) for row in rows for name in kept)

    def test_measures_of_a_network_that_always_guesses_the_same(self, digits: Splits) -> None:
        logits = torch.eye(10)[3].expand(len(digits.test), -1)
        found = _test_result(logits, torch.tensor(digits.test.labels), digits.test.class_names)
        assert found.accuracy == (digits.test.labels == 3).mean()
        assert found.measures["balanced-accuracy"] == pytest.approx(10)
        assert found.confusion[:, 3].sum() == found.images == len(digits.test)
        assert found.recall.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        empty = TestResult(1.0, 0.5, 1.0, {}, np.array([[2, 0], [0, 0]]), ("a", "b"))
        assert np.isnan(empty.recall[1])

    def test_unequal_classes_decide_what_is_measured(self, digits: Splits) -> None:
        plan, notes = Plan(time=60), list[str]()
        equal = audit(digits)
        assert _with_measure(plan, equal, notes).measure == "accuracy"
        assert notes == []
        unequal = replace(equal, counts={**equal.counts, "train": (9, *(90,) * 9)})
        assert _with_measure(plan, unequal, notes).measure == "balanced-accuracy"
        assert "As classes are so unequal and no measure was asked for, balanced accuracy decides" in notes[0]

    def test_times(self) -> None:
        clock = TimeBudget(1000, used=400)
        assert 599 < clock.left <= 600
        assert clock.closing == 30
        assert (clock.sizing, clock.search) == (100, 100)
        assert clock.tuning_end - clock.start == pytest.approx(400)
        # Test and export take their seconds where there is little time, but not most of it.
        assert (TimeBudget(60).closing, TimeBudget(20).closing) == (12, 8)


@pytest.mark.slow
class TestInterrupted:
    PLAN = Plan(time=40, limits=Limits(parameters=6000), space=SMALL, workers=0, seed=2)

    def test_killed_in_the_training_it_goes_on_there(self, digits: Splits, tmp_path: Path) -> None:
        def kill(stage: str, done: int, total: int) -> None:
            if stage == "training" and done == 2:
                raise SystemExit  # what a signal amounts to

        with pytest.raises(SystemExit):
            fit(digits, self.PLAN, folder=tmp_path, progress=kill)
        assert (tmp_path / "unfinished.pt").exists()
        told: list[tuple[str, int]] = []
        fitted = fit(digits, self.PLAN, folder=tmp_path, progress=lambda stage, done, _: told.append((stage, done)))
        assert "tuning" not in {stage for stage, _ in told}
        # The state is written every few seconds, so an epoch or two may be done again.
        assert next(done for stage, done in told if stage == "training") in (0, 1, 2)
        assert fitted.training.epochs >= 2
        assert not (tmp_path / "unfinished.pt").exists()

    def test_an_interrupt_in_the_training_ends_it_with_the_best_so_far(self, digits: Splits) -> None:
        def interrupt(stage: str, done: int, total: int) -> None:
            if stage == "training" and done == 3:
                raise KeyboardInterrupt

        fitted = fit(digits, self.PLAN, progress=interrupt)
        assert fitted.training.epochs == 3
        assert any("ended after 3 epochs" in note for note in fitted.notes)
        assert fitted.test.images == len(digits.test)

    def test_what_another_fit_left_is_not_taken(self, tmp_path: Path) -> None:
        FitCheckpoint(tmp_path, "a").keep(elapsed=5.0)
        assert FitCheckpoint(tmp_path, "b").values == {}
        FitCheckpoint(None, "a").keep(elapsed=1.0)

    def test_a_damaged_state_is_refused_and_stays_as_it_is(self, tmp_path: Path) -> None:
        FitCheckpoint(tmp_path, "a").keep(weights=torch.arange(1000.0))
        path = tmp_path / "unfinished.pt"
        whole = path.read_bytes()
        flipped = whole.find(torch.arange(1000.0).numpy().tobytes()) + 400
        for damaged in (whole[:-9], b"half a fi", whole[:flipped] + b"\xff" + whole[flipped + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=r"unfinished.pt' cannot be read \(.+\): restore it from a copy"):
                FitCheckpoint(tmp_path, "a")
            assert path.read_bytes() == damaged

    def test_what_another_version_left_is_not_taken(
        self, digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def kill(stage: str, done: int, total: int) -> None:
            if stage == "searching":
                raise SystemExit

        def killed() -> object:
            with pytest.raises(SystemExit):
                fit(digits, self.PLAN, folder=tmp_path, progress=kill)
            return torch.load(tmp_path / "unfinished.pt", weights_only=True)["key"]

        own = killed()
        assert killed() == own
        monkeypatch.setattr("trainless.automl.pipeline.version", lambda name: "0")
        assert killed() != own


@pytest.mark.slow
class TestGoingOn:
    PLAN = Plan(epochs=3, space=SMALL, evaluations=3, workers=0)

    def test_a_finished_fit_goes_on_with_its_network(self, digits: Splits, tmp_path: Path) -> None:
        first = fit(digits, self.PLAN, folder=tmp_path)
        told: list[tuple[str, int, int]] = []
        more = replace(self.PLAN, epochs=2)
        fitted = fit(digits, more, folder=tmp_path, go_on=True, progress=lambda *stage: told.append(stage))
        assert fitted.architecture == first.architecture
        assert fitted.training.epochs == 5
        assert fitted.training.valid_accuracies[:3] == first.training.valid_accuracies
        assert ("training", 3, 5) in told
        assert "The training went on from 3 epochs of an earlier run, its schedule laid anew." in fitted.notes
        # Once more, by time: searched and tuned is no more.
        timed = replace(self.PLAN, epochs=None, time=12.0)
        again = fit(digits, timed, folder=tmp_path, go_on=True)
        assert again.training.epochs > 5
        assert again.trials == []
        assert len(again.search.evaluations) == 3

    def test_what_was_interrupted_goes_on_with_another_time(self, digits: Splits, tmp_path: Path) -> None:
        def kill(stage: str, done: int, total: int) -> None:
            if stage == "training" and done == 2:
                raise SystemExit

        with pytest.raises(SystemExit):
            fit(digits, self.PLAN, folder=tmp_path, progress=kill)
        # The state is written every few seconds: of quick epochs there may be none.
        values = torch.load(tmp_path / "unfinished.pt", weights_only=True)["values"]
        kept = len(values["training"]["valid_accuracies"]) if "training" in values else 0
        fitted = fit(digits, replace(self.PLAN, epochs=1), folder=tmp_path, go_on=True)
        assert fitted.training.epochs == kept + 1

    def test_another_fit_is_refused(self, digits: Splits, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=f"There is no fit in {tmp_path} to go on with: leave out --continue"):
            fit(digits, self.PLAN, folder=tmp_path, go_on=True)
        with pytest.raises(InputError, match="There is no fit to go on with"):
            fit(digits, self.PLAN, go_on=True)
        FitCheckpoint(tmp_path, "key", {"seed": "0", "measure": "accuracy"}).keep(elapsed=3.0, recipe={})
        with pytest.raises(InputError, match="has other seed, measure: give the same images and options as before"):
            FitCheckpoint(tmp_path, "other", {"seed": "1", "measure": "macro-f1"}, go_on=True)
        again = FitCheckpoint(tmp_path, "other", {"seed": "0", "measure": "accuracy"}, go_on=True)
        assert again.values == {"recipe": {}}  # its time is anew
        again.keep()
        again.finish()
        assert FitCheckpoint(tmp_path, "other", {"seed": "0"}).values == {}
        assert FitCheckpoint(tmp_path, "third", {"seed": "0"}, go_on=True).values == {"recipe": {}}


class TestFolders:
    def test_what_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is no folder that `trainless fit` wrote"):
            RunFolder.read(tmp_path)
        for text in ("{", "[]", "{}", '{"classes": 3, "input_shape": [1, 2, 3]}'):
            (tmp_path / "fit.json").write_text(text)
            with pytest.raises(InputError, match="is no folder that"):
                RunFolder.read(tmp_path)
