"""What goes out answers as the program does and says how it is used: facts, preprocessing.json, predict.py, bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from commands import Command
from packaging.requirements import Requirement
from PIL import Image, features
from scipy.stats import binomtest
from torch import nn

from trainless.automl.folders import RunFolder
from trainless.data.image_formats import _HEIF, has_heif, image_suffixes
from trainless.data.pixels import prepare
from trainless.data.preprocessing import Preprocessing
from trainless.data.walks import _SYSTEM, FolderWalk
from trainless.errors import InputError, TrainlessError
from trainless.export import plain_code, usage, write_onnx_bytes, write_plain
from trainless.export.byte_input import preparation
from trainless.export.formats import _written
from trainless.export.standalone import HEIF, SUFFIXES, SYSTEM, image_files, remedy

CLASSES = ("cat", "dog", 'a "mouse"')
WANTED = Preprocessing(3, 24, 32, "pad", 4095)
RNG = np.random.default_rng(0)


class Probing(nn.Module):
    """Looks at every pixel, so that a few that differ are seen."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(int(np.prod(shape)), len(CLASSES))
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(self.linear.weight.shape, generator=torch.Generator().manual_seed(0)))
            self.linear.weight /= 10

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.flatten(images))


def write_fit(folder: Path, wanted: Preprocessing = WANTED, **facts: Any) -> Path:
    """A folder as a fit leaves it."""
    folder.mkdir(parents=True)
    mean, std = (0.5,) * wanted.channels, (0.25,) * wanted.channels
    write_plain(plain_code(Probing(wanted.input_shape), wanted.input_shape, CLASSES, mean, std), folder)
    document = {"classes": CLASSES, "input_shape": wanted.input_shape, "preprocessing": wanted.document(CLASSES)}
    (folder / "fit.json").write_text(json.dumps({**document, **facts}))
    return folder


def photographs(folder: Path) -> Iterator[Path]:
    """Fifty images: grey, CMYK, turned by EXIF, wide, transparent, of 16 bits, of a palette, of one bit, and plain."""
    folder.mkdir()
    for number in range(50):
        height, width = int(RNG.integers(10, 90)), int(RNG.integers(10, 90))
        soft = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
        path = folder / f"{number:02}.png"
        match number % 10:
            case 0:
                soft.convert("L").save(path)
            case 1:
                soft.convert("CMYK").save(path.with_suffix(".jpg"))
            case 2:
                turned = Image.Exif()
                turned[0x0112] = number // 10 + 4  # of the eight, 4 to 8
                soft.save(path.with_suffix(".jpg"), exif=turned)
            case 3:
                soft.resize((200, 20)).save(path)
            case 4:
                alpha = Image.fromarray(RNG.integers(0, 256, (height, width), np.uint8))
                soft.putalpha(alpha)
                soft.save(path)
            case 5:
                Image.fromarray(RNG.integers(0, 4096, (height, width), np.uint16)).save(path)
            case 6:
                soft.quantize(16).save(path.with_suffix(".gif"))
            case 7:
                soft.convert("1").save(path.with_suffix(".tif"))
            case 8:
                soft.resize((20, 200)).save(path.with_suffix(".webp"), lossless=True)
            case _:
                soft.save(path.with_suffix(".bmp"))
    yield from sorted(folder.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit, exported in all formats."""
    folder = write_fit(tmp_path_factory.mktemp("fit") / "run")
    RunFolder.read(folder).export(["onnx", "onnx-uint8", "torchscript", "safetensors"])
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


# Only what onnxruntime, Pillow and NumPy install, and the standard library, can be imported.
ALONE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, *_):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in ALLOWED:
            raise ImportError(f"{name} is not to be had here")

ALLOWED = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def allowed() -> str:
    needed = {Requirement(text).name for text in requires("onnxruntime") or []} - {"sympy"}
    return ",".join({"onnxruntime", "PIL", "numpy", "google", *needed})


def alone(program: Path, *arguments: object, more: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", ALONE, f"{allowed()},{more}", program, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


class TestProgram:
    @pytest.mark.slow
    def test_equals_predict_on_fifty_mixed_images(self, run: Path, tmp_path: Path, command: Command) -> None:
        paths = list(photographs(tmp_path / "photos"))
        expected = command.document("predict", run, tmp_path / "photos")
        done = alone(run / "predict.py", tmp_path / "photos", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        assert [row["path"] for row in found] == [row["path"] for row in expected] == [str(path) for path in paths]
        shares = [[list(row["probabilities"].values()) for row in rows] for rows in (found, expected)]
        assert np.abs(np.subtract(*shares)).max() < 1e-4
        assert len(shares[0]) == 50
        assert np.std(shares[0], axis=0).min() > 0.1  # they differ from image to image
        assert all(row["class"] == max(row["probabilities"], key=row["probabilities"].get) for row in expected)
        assert [row["class"] for row in found] == [row["class"] for row in expected]

    def test_what_cannot_be_read_is_named(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("no image")
        Image.new("L", (9, 9)).save(tmp_path / "black.png")
        done = alone(run / "predict.py", tmp_path)
        assert done.returncode == 1
        assert "left out" in done.stderr
        assert "text.png" in done.stderr
        assert re.fullmatch(rf"{re.escape(str(tmp_path / 'black.png'))}\t[^\t]+\t[01]\.\d{{4}}\n", done.stdout)

    def test_says_what_to_install_for_photographs_of_telephones(self, run: Path, tmp_path: Path) -> None:
        for name in ("1.heic", "2.HEIF"):
            (tmp_path / name).touch()
        Image.new("L", (9, 9)).save(tmp_path / "3.png")
        done = alone(run / "predict.py", tmp_path)  # where pillow-heif cannot be imported
        names = f"{tmp_path / '1.heic'}, {tmp_path / '2.HEIF'}"
        told = f"left out: 2 HEIF image(s), which are read after pip install pillow-heif: {names}\n"
        assert (done.returncode, done.stderr) == (1, told)
        assert done.stdout.startswith(str(tmp_path / "3.png"))

    def test_says_what_to_do_where_pillow_lacks_a_decoder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert remedy(Path("1.png")) == ""
        monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
        assert remedy(Path("1.AVIF")) == "AVIF image(s), which are read after pip install --upgrade pillow"

    @pytest.mark.skipif(not has_heif(), reason="the package pillow-heif is not installed")
    def test_photographs_of_telephones(self, run: Path, tmp_path: Path, command: Command) -> None:
        register_heif = pytest.importorskip("pillow_heif").register_heif_opener
        register_heif()
        for number in range(3):
            Image.fromarray(RNG.integers(0, 256, (40, 30, 3), np.uint8)).save(tmp_path / f"{number}.heic")
        expected = command.document("predict", run, tmp_path)
        done = alone(run / "predict.py", tmp_path, "--json", more="pillow_heif,_pillow_heif")
        assert (done.returncode, done.stderr) == (0, "")
        for row, wanted in zip(json.loads(done.stdout), expected, strict=True):
            assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-4)

    @pytest.mark.slow
    def test_says_what_is_missing(self, run: Path, tmp_path: Path) -> None:
        import onnx

        program = tmp_path / "predict.py"
        program.write_text((run / "predict.py").read_text())
        Image.new("L", (9, 9)).save(tmp_path / "black.png")
        assert self.refusal(program, tmp_path).startswith(f"There is no {tmp_path / 'model.onnx'}: write it by")
        (tmp_path / "model.onnx").write_text("no model")
        assert self.refusal(program, tmp_path).startswith(f"{tmp_path / 'model.onnx'} is damaged: write it by")
        model = onnx.load(run / "model.onnx")
        del model.metadata_props[:]  # as files of earlier versions have none
        onnx.save(model, tmp_path / "model.onnx")
        assert "does not say how images are prepared" in self.refusal(program, tmp_path)
        onnx.save(onnx.load(run / "model.onnx"), tmp_path / "model.onnx")
        (tmp_path / "empty").mkdir()
        assert self.refusal(program, tmp_path / "empty").startswith(f"There are no images in {tmp_path / 'empty'}: ")
        nowhere = self.refusal(program, tmp_path / "black.png", tmp_path / "nowhere")
        assert nowhere.startswith(f"There is no {tmp_path / 'nowhere'}: give an image")

    def refusal(self, program: Path, *images: Path) -> str:
        """The one sentence with which the program refuses wrong input."""
        done = alone(program, *images)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(".\n")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def test_finds_the_files_that_predict_finds(self, tmp_path: Path) -> None:
        for name in ("b/1.png", "a-b/2.JPG", "a/3.tif", "a/.hidden.png", ".git/4.png", "__MACOSX/5.png", "a/6.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("")
        assert image_files(tmp_path) == list(FolderWalk(tmp_path).below(tmp_path).images)
        assert len(image_files(tmp_path)) == 3
        assert set(SYSTEM) == _SYSTEM
        assert set(SUFFIXES) == image_suffixes() - set(HEIF)  # of an extra
        assert set(HEIF) == _HEIF

    def test_nothing_else_can_be_imported_there(self, tmp_path: Path) -> None:
        for name in ("torch", "trainless", "pandas"):
            (tmp_path / "program.py").write_text(f"import {name}")
            assert f"{name} is not to be had here" in alone(tmp_path / "program.py").stderr


class TestFacts:
    def test_stand_in_the_onnx_files(self, run: Path) -> None:
        document = json.loads((run / "preprocessing.json").read_text())
        assert Preprocessing.of(document) == WANTED
        for name, given in (("model.onnx", "images, float32"), ("model-uint8.onnx", "bytes, uint8")):
            session = onnxruntime.InferenceSession(run / name)
            facts = session.get_modelmeta().custom_metadata_map
            assert json.loads(facts["classes"]) == list(CLASSES)
            assert (facts["resize"], json.loads(facts["height"]), facts["alpha"]) == ("pad", 24, document["alpha"])
            assert facts["input"].startswith(given)
            assert [output.name for output in session.get_outputs()] == ["logits"]

    def test_no_path_of_this_machine_goes_out(self, run: Path) -> None:
        for path in run.iterdir():
            for words in (b'File "', b"site-packages", str(Path(torch.__file__).parent).encode()):
                assert words not in path.read_bytes(), path.name

    @pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
    def test_stand_in_torchscript(self, run: Path) -> None:
        noted = {"preprocessing.json": ""}
        torch.jit.load(run / "model.pt", _extra_files=noted)
        assert json.loads(noted["preprocessing.json"])["classes"] == list(CLASSES)

    def test_a_file_without_its_facts_is_refused(self, run: Path, tmp_path: Path) -> None:
        import onnx

        model = onnx.load(run / "model.onnx")
        with pytest.raises(TrainlessError, match="would have the outputs logits"):
            _written(model, tmp_path / "partial.onnx", {}, "probabilities", tmp_path / "model.onnx")


class TestBytes:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
    def test_are_prepared_to_the_bit(self, how: str, channels: int) -> None:
        wanted = Preprocessing(channels, 16, 20, how)
        session = onnxruntime.InferenceSession(preparation(wanted).SerializeToString())
        for size in [(16, 20), (300, 20), (20, 300), (1, 50), (50, 1), (17, 19), (7, 5), (100, 33), (240, 320)]:
            pixels = RNG.integers(0, 256, (2, *size, 3), np.uint8)
            (found,) = session.run(None, {"bytes": pixels})
            expected = [prepare(Image.fromarray(image), channels, 16, 20, how) for image in pixels]
            assert np.array_equal(found, np.stack(expected).astype(np.float32) / np.float32(255)), size

    def test_answer_as_predict_does(self, run: Path, tmp_path: Path) -> None:
        session, folder = onnxruntime.InferenceSession(run / "model-uint8.onnx"), RunFolder.read(run)
        for size in [(480, 640), (24, 32), (9, 90)]:
            image = Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8))
            (logits,) = session.run(["logits"], {"bytes": np.asarray(image)[None]})
            expected = folder.class_probabilities(prepare(image, *WANTED.input_shape, WANTED.resize)[None])
            assert np.allclose(torch.tensor(logits).softmax(1), expected, atol=1e-5)

    def test_what_answers_otherwise_is_not_written(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import onnx

        monkeypatch.setattr("trainless.export.formats.prepare", lambda *_: np.zeros((3, 24, 32), np.uint8))
        model, network = onnx.load(run / "model.onnx"), RunFolder.read(run).network()
        with pytest.raises(TrainlessError, match="so it is not written"):
            write_onnx_bytes(network, WANTED, tmp_path / "model.onnx", model=model)
        assert list(tmp_path.iterdir()) == []


class TestExport:
    @pytest.mark.slow
    def test_all_to_another_folder_with_softmax(self, run: Path, tmp_path: Path, command: Command) -> None:
        out = tmp_path / "new" / "folder"
        code, told, _ = command("export", run, "--format", "all", "--out", out, "--softmax")
        assert code == 0
        names = {"model.onnx", "model-uint8.onnx", "model.pt", "model.safetensors", "network.py", "preprocessing.json",
                 "predict.py"}  # fmt: skip
        assert {path.name for path in out.iterdir()} == names
        assert all(name in told for name in names)
        session = onnxruntime.InferenceSession(out / "model.onnx")
        assert [output.name for output in session.get_outputs()] == ["probabilities"]
        (shares,) = session.run(None, {"images": np.zeros((2, 3, 24, 32), np.float32)})
        assert np.allclose(shares.sum(1), 1)
        Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
        (here,), (there,) = (
            json.loads(alone(folder / "predict.py", tmp_path / "red.png", "--json").stdout) for folder in (run, out)
        )
        assert here["probabilities"] == pytest.approx(there["probabilities"], abs=1e-5)

    def test_refuses(self, run: Path, tmp_path: Path, command: Command) -> None:
        (tmp_path / "file").write_text("")
        told = command.refusal("export", run, "--format", "safetensors", "--out", tmp_path / "file")
        assert "cannot be made" in told
        assert "leave --softmax out" in command.refusal("export", run, "--format", "safetensors", "--softmax")
        assert "no format 'onnx-int8': did you mean 'onnx-uint8'" in command.refusal(
            "export", run, "--format", "onnx-int8"
        )
        missing = tmp_path / "none"
        assert "no folder that" in command.refusal("export", missing, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_facts_of_two_fits_are_refused(self, tmp_path: Path, command: Command) -> None:
        (tmp_path / "photos").mkdir()
        Image.new("L", (9, 9)).save(tmp_path / "photos" / "1.png")
        other = write_fit(tmp_path / "other", preprocessing=Preprocessing(3, 8, 8).document(CLASSES))
        assert "of shape (3, 8, 8) and (3, 24, 32)" in command.refusal("predict", other, tmp_path / "photos")
        without = write_fit(tmp_path / "without", preprocessing={"height": 24})
        assert "expected whole numbers" in command.refusal("predict", without, tmp_path / "photos")

    def test_runs_of_earlier_versions_stretch(self, tmp_path: Path) -> None:
        folder = write_fit(tmp_path / "old", Preprocessing(3, 24, 32))
        document = json.loads((folder / "fit.json").read_text())
        del document["preprocessing"]
        (folder / "fit.json").write_text(json.dumps(document))
        assert RunFolder.read(folder).preprocessing == Preprocessing(3, 24, 32, "stretch", 65535)
        written = RunFolder.read(folder).export(["safetensors"], folder=tmp_path / "out")
        assert json.loads(written["preprocessing"].read_text())["resize"] == "stretch"
        assert written["code"].read_text() == (folder / "network.py").read_text()


class TestLabelledFolder:
    def test_tells_the_accuracy_with_its_interval(self, run: Path, tmp_path: Path, command: Command) -> None:
        photos = tmp_path / "cat"  # the name of the folder that is given tells nothing
        for number in range(12):
            path = photos / "test" / ("cat", "dog")[number % 2] / "more" / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, (30, 30, 3), np.uint8)).save(path)
        Image.new("RGB", (30, 30)).save(photos / "unknown.png")
        (photos / "test" / "cat" / "broken.png").write_text("no image")
        (photos / "test" / "cat" / "drawing.psd").write_text("of another program")
        code, out, err = command("predict", run, photos, "--csv", tmp_path / "rows.csv")
        assert code == 0
        assert "broken.png" in err
        assert "left out: 1 .psd image(s), which are not read" in err
        code, text, _ = command("predict", run, photos, "--json")
        rows = json.loads(text)
        labels = [row["label"] for row in rows]
        assert labels == ["cat"] * 6 + ["dog"] * 6 + [None]
        right = sum(row["class"] == row["label"] for row in rows[:12])
        low, high = binomtest(right, 12).proportion_ci(0.95, "wilson")
        said = f"Accuracy {right / 12:.2%} on the 12 of 13 images in folders named after a class (95 % interval "
        assert said + f"{low:.2%} to {high:.2%})." in out
        assert (tmp_path / "rows.csv").read_text().startswith("path,label,class,share,share of cat,")

    def test_tells_none_where_no_folder_is_a_class(self, run: Path, tmp_path: Path, command: Command) -> None:
        Image.new("RGB", (30, 30)).save(tmp_path / "1.png")
        for given in (tmp_path, tmp_path / "1.png"):
            code, out, _ = command("predict", run, given)
            assert code == 0
            assert "Accuracy" not in out
            (row,) = command.document("predict", run, given)
            assert set(row) == {"path", "class", "share", "probabilities"}
            assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_usage_tells_what_comes_out() -> None:
    assert (
        usage(WANTED, CLASSES, softmax=True)["output"]
        == "probabilities, float32, (images, 3): the highest is the guess"
    )
    with pytest.raises(InputError, match="no resize"):
        Preprocessing(3, 8, 8, "zoom")
