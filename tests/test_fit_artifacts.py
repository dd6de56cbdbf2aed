"""What a fit writes is there whole or not at all, and a fit whose files could not be written is not lost."""

from __future__ import annotations

import errno
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from trainless.automl import Fitted, Plan, fit, folders
from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.folders import RunFolder, write_run
from trainless.data import Splits, load_splits
from trainless.errors import InputError, TrainlessError
from trainless.fit_artifacts import fit_to_folder
from trainless.search_spaces import search_space

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fit_artifacts")]

SMALL = search_space("nasbench201", channels=4, cells=1)
PLAN = Plan(epochs=2, space=SMALL, evaluations=3, workers=0)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_splits("digits")


@pytest.fixture(scope="module")
def fitted(digits: Splits) -> Fitted:
    return fit(digits, PLAN)


@pytest.fixture(autouse=True)
def _no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its export takes seconds and is tested elsewhere."""

    def refuse(*_: object) -> NoReturn:
        raise TrainlessError("ONNX would give other numbers.")

    monkeypatch.setattr(folders, "write_formats", refuse)


def fill_disk(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Let there be no room for files with an ending, as a full disk has none."""
    for name in ("write_bytes", "write_text"):
        original = getattr(Path, name)

        def write(path: Path, *args: Any, original: Any = original, **options: Any) -> int:
            if path.name.endswith(ending):
                original(path, args[0][:10], **options)
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(original(path, *args, **options))

        monkeypatch.setattr(Path, name, write)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_fit_whose_files_found_no_room_goes_on_with_writing_them(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fill_disk(patched, "safetensors")
        with pytest.raises(InputError, match=r"model\.safetensors cannot be written: No space left on device"):
            fit_to_folder(digits, PLAN, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"tensorboard"} == {"search.db", "unfinished.pt"}
    with pytest.raises(InputError, match="is no folder that"):
        RunFolder.read(tmp_path)
    told: list[str] = []
    again = fit_to_folder(digits, PLAN, tmp_path, progress=lambda stage, *_: told.append(stage))
    assert told.count("training") == 1  # where it stands, and no epoch
    assert again.training.epochs == 2
    assert {path.name for path in tmp_path.iterdir()} - {"tensorboard"} == {
        "search.db", "network.py", "model.safetensors", "fit.json", "model_card.md", "report.html", "report.png",
        "finished.pt", "preprocessing.json",
    }  # fmt: skip
    probabilities = RunFolder.read(tmp_path).class_probabilities(digits.test.images[:9])
    with torch.no_grad():
        logits = again.network(torch.tensor(digits.test.images[:9]).float() / 255)
    assert np.allclose(probabilities, logits.softmax(1), atol=1e-6)


def test_a_search_whose_state_found_no_room_ends_in_a_sentence(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FitCheckpoint(tmp_path, "a").keep(elapsed=1.0)
    before = contents(tmp_path)
    fill_disk(monkeypatch, "pt")
    with pytest.raises(InputError, match=r"unfinished\.pt cannot be written: No space left on device"):
        FitCheckpoint(tmp_path, "a").keep(elapsed=2.0)
    assert contents(tmp_path) == before
    assert FitCheckpoint(tmp_path, "a").values == {"elapsed": 1.0}


def test_a_fit_that_took_too_long_says_so(digits: Splits, tmp_path: Path) -> None:
    plan = replace(PLAN, epochs=None, time=10.0)
    late = fit_to_folder(digits, plan, tmp_path, begun=time.monotonic() - 60)
    said = next(note for note in late.notes if "its time was 10 s" in note)
    assert int(said.split()[2]) >= 60
    for name in ("model_card.md", "fit.json", "report.html"):
        assert said in (tmp_path / name).read_text()
    alone = fit(digits, plan, begun=time.monotonic() - 60)
    assert any("its time was 10 s" in note for note in alone.notes)


@pytest.mark.parametrize("ending", ["py", "safetensors", "md", "json"])
def test_an_earlier_run_stays_until_all_is_written(
    fitted: Fitted, digits: Splits, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fit.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("weights")
    before = contents(tmp_path)
    fill_disk(monkeypatch, ending)
    with pytest.raises(InputError, match="No space left on device"):
        write_run(fitted, tmp_path, digits.test)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_run_leaves_nothing_of_an_earlier_network(fitted: Fitted, digits: Splits, tmp_path: Path) -> None:
    for name in ("model.pt", "model.onnx", "fit.json"):
        (tmp_path / name).write_text("of another network")
    (tmp_path / ".partial").mkdir()  # of a call that was killed
    (tmp_path / ".partial" / "model.pt").write_text("half a network")
    written = write_run(fitted, tmp_path, digits.test)
    assert {path.name for path in tmp_path.iterdir()} == {
        "network.py", "model.safetensors", "fit.json", "model_card.md", "preprocessing.json"
    }  # fmt: skip
    assert "onnx" not in written.files
    assert written.notes[-1] == "ONNX would give other numbers."
    assert json.loads((tmp_path / "fit.json").read_text())["notes"] == list(written.notes)


def test_a_card_shows_names_as_they_are(fitted: Fitted, digits: Splits, tmp_path: Path) -> None:
    named = replace(fitted, test=replace(fitted.test, class_names=("<img src=x>", "a|b", *"cdefghij")))
    card = write_run(named, tmp_path, digits.test).files["card"].read_text()
    assert "| &lt;img src=x> | a\\|b | c |" in card
    assert "<img" not in card


def test_a_place_that_is_no_folder(fitted: Fitted, digits: Splits, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    for place in (tmp_path / "run", tmp_path / "run" / "inside"):
        with pytest.raises(InputError, match=r"run.* cannot be written .*: give another"):
            write_run(fitted, place, digits.test)
    assert contents(tmp_path) == {str(tmp_path / "run"): b"a file"}


def test_images_that_networks_are_compared_on_are_of_all_classes(digits: Splits) -> None:
    found = folders.real_images(digits.test, 10)
    places = [int(np.flatnonzero((digits.test.images == each).all((1, 2, 3)))[0])
              for each in (255 * found.numpy()).round().astype(np.uint8)]  # fmt: skip
    assert sorted(digits.test.labels[places]) == list(range(10))
