"""fit, predict and export from the command line, with right input and wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import Command, interrupt
from PIL import Image

from trainless.automl import Plan
from trainless.automl.folders import RunFolder
from trainless.cli.fitting import fit_shown
from trainless.data import load_data, load_splits
from trainless.data.image_files import read_pixels
from trainless.errors import InputError
from trainless.files import printable
from trainless.terminal import progress


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of class folders: some of the digits, as files."""
    digits = load_data("digits")
    for number, (image, label) in enumerate(zip(digits.images[:300], digits.labels[:300], strict=True)):
        if label < 3:
            place = tmp_path / "photos" / f"digit {label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(place / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.slow
def test_from_a_folder_to_predictions_and_exports(
    command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    document = command.document("fit", photos, "--time", "20s", "--out", run, "--max-params", "0.1M", "--workers", 0)
    assert 0 <= document["test_accuracy_low"] <= document["test_accuracy"] <= document["test_accuracy_high"] <= 1
    assert document["parameters"] <= 100_000
    assert document["latency_ms"] > 0
    assert document["classes"] == ["digit 0", "digit 1", "digit 2"]
    assert all(Path(path).exists() for path in document["files"].values())
    assert {"onnx", "weights", "code", "card", "facts", "scores"} <= set(document["files"])

    again = command.refusal("fit", photos, "--time", "20s", "--out", run)
    assert again.startswith(f"The folder {run} holds the network of an earlier fit")

    rows = tmp_path / "predictions.csv"
    monkeypatch.setattr("trainless.cli.fitting._AT_ONCE", 40)
    if sys.platform == "linux":  # others have no names that are no text
        shutil.copy(next(photos.rglob("*.png")), os.fsencode(photos) + b"/caf\xe9.png")
    (photos / "digit 0" / "no picture.png").write_text("text")
    code, out, err = command("predict", run, photos, "--csv", rows)
    assert code == 0
    assert "no picture.png" in err
    with rows.open() as file:
        found = list(csv.DictReader(file))
    images = [path for path in photos.rglob("*.png") if path.name != "no picture.png"]
    assert {row["path"] for row in found} == {printable(str(path)) for path in images}
    folder, last = RunFolder.read(run), max(images)
    probabilities = folder.class_probabilities(read_pixels(last, folder.preprocessing)[None])[0]
    assert [float(found[-1][f"share of {name}"]) for name in folder.classes] == pytest.approx(
        list(probabilities), abs=1e-6
    )
    for row in found:
        shares = {name: float(row[f"share of {name}"]) for name in document["classes"]}
        assert row["class"] == max(shares, key=shares.__getitem__)
        assert sum(shares.values()) == pytest.approx(1)
    assert "more: take --csv" in out

    code, out, _ = command("export", run, "--format", "torchscript,safetensors")
    assert code == 0
    assert (run / "model.pt").exists()
    assert "there is no format 'onx'" in command.refusal("export", run, "--format", "onx").lower()
    (tmp_path / "none").mkdir()
    assert "no images" in command.refusal("predict", run, tmp_path / "none").lower()
    assert "There is no" in command.refusal("predict", run, tmp_path / "nowhere")


@pytest.mark.slow
def test_by_epochs_with_shares_and_without_leaks(command: Command, photos: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    for kind in photos.iterdir():
        files = sorted(kind.iterdir())
        for part, some in (("train", files[:20]), ("test", files[20:26])):
            (given / part / kind.name).mkdir(parents=True)
            for file in some:
                (given / part / kind.name / file.name).write_bytes(file.read_bytes())
    learnt = given / "train" / "digit 0"
    (given / "test" / "digit 0" / "copy.png").write_bytes(min(learnt.iterdir()).read_bytes())
    arguments = (
        "fit",
        given,
        "--epochs",
        1,
        "--evaluations",
        2,
        "--valid-share",
        0.25,
        "--test-share",
        0.25,
        "--seed",
        3,
    )

    def parts(*more: object) -> str:
        options = ("--drop-leaks", "--overwrite", "--workers", 0, "--out", tmp_path / "run")
        return command.document(*arguments, *options, *more)["protocol"]["data"]

    # A copy stays in train and leaves test; a third of what is not given validates, as the shares say.
    assert parts() == "given: train 40, valid 20, test 18; given: test"


@pytest.mark.slow
def test_a_useless_network_is_no_success(command: Command, photos: Path, tmp_path: Path) -> None:
    arguments = (
        "fit",
        photos,
        "--epochs",
        1,
        "--evaluations",
        2,
        "--workers",
        0,
        "--overwrite",
        "--out",
        tmp_path / "run",
    )
    code, out, _ = command(*arguments, "--space", "nasbench201(channels=4, cells=1)", "--strict")
    assert code == 1
    warnings = [line for line in out.splitlines() if line.startswith("Warning: ")]
    assert "The network was trained for 1 epoch(s), too few to learn from" in warnings[-1]
    assert out.index(warnings[-1]) < out.index("Test accuracy ")
    facts = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert [f"Warning: {sentence}" for sentence in facts["warnings"]] == warnings
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert card.index("**Warning: ") < card.index("**Accuracy on ")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (("--time", "0s"), "The time is '0s'"),
        (("--time", "9s"), "The time is 9 s, expected at least 10 s"),
        (("--time", "soon"), "The time is 'soon'"),
        (("--max-params", "few"), "--max-params is 'few'"),
        (("--max-latency", "5"), "--max-latency is '5'"),
        (("--accelerator", "gpus"), "There is no accelerator 'gpus'"),
        (("--devices", "0"), "The number of devices is 0"),
        (("--precision", "8"), "There is no precision '8'"),
        (("--max-params", "3"), "widen them"),
        (("--score", "nwott"), "did you mean 'nwot'"),
        (("--measure", "acc"), "no measure 'acc'"),
        (("--space", "nasbench"), "no search space 'nasbench'"),
        (("--strategy", "evolutoin"), "did you mean 'evolution'"),
        (("--image-size", "1"), "1"),
        (("--workers", "-1"), "-1"),
        (
            ("--valid-share", "0.9"),
            "--valid-share is 0.9 and --test-share 0.2, expected two above 0 whose sum is below 1",
        ),
        (("--test-share", "0"), "--valid-share is 0.2 and --test-share 0, expected"),
        (("--plan", "--continue"), "leave one out"),
        (("--continue",), "no fit in"),
        (("--mirror-average",), "grey images are not mirrored unasked: leave out --mirror-average"),
        (("--mirror-average", "--no-mirror"), "images may not be mirrored here: leave out --mirror-average"),
    ],
)
def test_fit_refuses(command: Command, tmp_path: Path, extra: tuple[str, ...], told: str) -> None:
    assert told in command.refusal("fit", "digits", "--json", "--out", tmp_path / "run", "--time", "30s", *extra)


@pytest.mark.slow
def test_a_run_grows_shrinks_and_starts_another(command: Command, photos: Path, tmp_path: Path) -> None:
    first, larger, smaller, other = (tmp_path / name for name in ("first", "larger", "smaller", "other"))
    usual = ("--epochs", 2, "--evaluations", 2, "--workers", 0)
    run = command.document(
        "fit", photos, "--epochs", 1, *usual[2:], "--space", "nats_size(unit=1)", "--out", first, "--max-params", 2500,
        "--seed", 5,
    )  # fmt: skip
    grown = command.document("fit", "--epochs", 6, *usual[2:], "--grow", first, "--out", larger, "--max-params", 9000)
    assert run["parameters"] <= 2500
    assert run["parameters"] < grown["parameters"] <= 9000
    assert grown["valid_accuracy"] >= run["valid_accuracy"]
    assert (grown["setting"]["seed"], grown["setting"]["images"]) == (5, run["setting"]["images"])
    assert (grown["start"]["use"], grown["start"]["run"]) == ("grow", str(first))

    told = command("fit", *usual, "--shrink", larger, "--out", smaller, "--max-params", grown["parameters"] // 2)[1]
    assert f"Note: Before, in '{larger}', {grown['parameters']:,} parameters had " in told
    shutil.rmtree(larger)  # the copy counts
    arguments = ("fit", *usual, "--shrink", larger, "--max-params", grown["parameters"] // 2, "--out")
    more = command.document(*arguments, smaller, "--continue")
    assert (more["epochs"], more["start"]["parameters"]) == (4, grown["parameters"])
    assert "is no folder that" in command.refusal(*arguments, tmp_path / "anew")

    found = command.document("fit", "digits", *usual, "--from", smaller, "--out", other)
    assert len(found["classes"]) == 10
    assert found["start"]["classes"] == ["digit 0", "digit 1", "digit 2"]
    assert 0 < found["start"]["taken_over"] < 1
    plan = command.document("fit", "digits", *usual, "--from", smaller, "--out", tmp_path / "none", "--plan")
    assert "proposing" in [stage["stage"] for stage in plan]
    assert not (tmp_path / "none").exists()

    for refused, words in {
        "expected one of both: leave one out": ("--grow", first, "--from", first),
        "--test-share is given, but --grow reads images as the run did": ("--grow", first, "--test-share", 0.3),
        "--drop-leaks is given, but --grow": ("--grow", first, "--drop-leaks"),
        "image_size is given, but --shrink": ("--shrink", first, "--max-params", 900, "--image-size", 8),
        "--grow needs wider ones": ("--grow", first, "--max-params", 2000),
        "keeps the limits already": ("--shrink", first),
        "The backbone is 'lite0'": ("--grow", first, "--backbone", "lite0"),
        "The images are not those of": ("digits", "--grow", first),
        "There are no images to learn from": ("--from", first),
    }.items():
        assert refused in command.refusal("fit", *words, *usual, "--json", "--out", tmp_path / "none")


def test_what_is_done_is_named_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []

    class Bar:
        stage = staticmethod(shown.append)

        def __call__(self, *steps: int) -> None:
            shown.append(steps)

    @contextmanager
    def bar(name: str, **_: object) -> Iterator[Bar]:
        shown.append(name)
        yield Bar()

    def begin(*_: object, progress: Callable[[str, int, int], None], **__: object) -> None:
        for step in (("sizing", 0, 0), ("sizing", 1, 3), ("baselines", 0, 0)):
            progress(*step)
        raise InputError("enough")

    monkeypatch.setattr("trainless.cli.fitting.progress", bar)
    monkeypatch.setattr("trainless.fit_artifacts.fit_to_folder", begin)
    with pytest.raises(InputError, match="enough"):
        fit_shown(load_splits("digits"), Plan(epochs=1), tmp_path / "run", quiet=True)
    assert shown == ["preparing", "sizing", (1, 3), "baselines"]


def test_steps_are_counted_where_their_number_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    monkeypatch.setenv("COLUMNS", "200")
    with progress("reading"):
        pass
    unknown = capsys.readouterr().err
    with progress("sizing") as update:
        update(1, 3)
    assert "reading" in unknown
    assert "/?" not in unknown
    assert "1/3" in capsys.readouterr().err


def test_an_interrupt_before_anything_was_begun_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainless.search.Limits", interrupt)
    code, _, err = command("fit", "digits")
    assert (code, err) == (130, "trainless: interrupted. Run the same command again.\n")


def test_fit_refuses_what_is_no_data(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in command.refusal("fit", tmp_path / "empty", "--out", tmp_path / "run")
    assert "nowhere" in command.refusal("fit", tmp_path / "nowhere", "--out", tmp_path / "run")
    one = tmp_path / "one" / "cat"
    one.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(one / "1.png")
    assert "one" in command.refusal("fit", tmp_path / "one", "--out", tmp_path / "run")
    assert "predict" not in command.refusal("predict", tmp_path, tmp_path)
