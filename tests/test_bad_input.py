"""Wrong input of every kind ends in one clear sentence, before anything is spent, and leaves all files as they were."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import typer.main
from commands import Command
from PIL import Image
from sklearn.exceptions import NotFittedError

from trainless.automl import ImageClassifier, Plan, fit
from trainless.automl.folders import RunFolder
from trainless.cli import app
from trainless.data import audit, load_splits
from trainless.errors import InputError
from trainless.export import plain_code, write_plain
from trainless.search_spaces import search_space
from trainless.types import Task

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
SMALL = search_space("nasbench201", channels=4, cells=1)
TASK = Task("pets", 2, channels=1, height=8, width=8)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _nothing_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes long in a fit is an error here."""

    def spend(*_: object, **__: object) -> NoReturn:
        pytest.fail("time was spent before the input was refused")

    monkeypatch.setattr("trainless.estimators.speeds.step_seconds", spend)
    for place in ("Search.run", "tune", "train"):
        monkeypatch.setattr(f"trainless.automl.stages.{place}", spend)


def photo(side: int = 8, mode: str = "L", height: int | None = None) -> Image.Image:
    pixels = RNG.integers(0, 256, (height or side, side), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pets(folder: Path, each: int = 6, names: Sequence[str] = ("cat", "dog")) -> Path:
    """Class folders with some images in each."""
    for name in names:
        for number in range(each):
            write(folder / "pets" / name / f"{number}.png", encoded(photo()))
    return folder / "pets"


def snapshot(folder: Path) -> dict[str, bytes | str | None]:
    """All that is in a folder."""

    def content(path: Path) -> bytes | str | None:
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else None

    return {str(path): content(path) for path in sorted(folder.rglob("*"))}


# Data that cannot be used, each made in a folder; what is told of it.


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def empty_folder(folder: Path) -> Path:
    (folder / "pets").mkdir()
    return folder / "pets"


def one_image(folder: Path) -> Path:
    return pets(folder, 1, ["cat"])


def one_class(folder: Path) -> Path:
    return pets(folder, 6, ["cat"])


def loose_images(folder: Path) -> Path:
    for number in range(3):
        write(folder / "pets" / f"{number}.png", encoded(photo()))
    return folder / "pets"


def fewer_images_than_parts(folder: Path) -> Path:
    return pets(folder, 2)


def all_copies(folder: Path) -> Path:
    same = encoded(photo())
    for name in ("cat", "dog"):
        for number in range(6):
            write(folder / "pets" / name / f"{number}.png", same)
    return folder / "pets"


def text_as_png(folder: Path) -> Path:
    write(pets(folder) / "cat" / "notes.png", "these are notes")
    return folder / "pets"


def truncated(suffix: str, form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        whole = encoded(photo(64), form)
        write(pets(folder) / "cat" / f"half{suffix}", whole[: len(whole) // 2])
        return folder / "pets"

    return make


def only_broken(folder: Path) -> Path:
    for path in (pets(folder, 8) / "cat").iterdir():
        path.write_bytes(b"")
    return folder / "pets"


def single_pixels(folder: Path) -> Path:
    for path in pets(folder).rglob("*.png"):
        photo(1).save(path)
    return folder / "pets"


def many_classes(folder: Path) -> Path:
    images = RNG.integers(0, 256, (10_000, 8, 8), np.uint8)
    np.savez(folder / "many.npz", x=images, y=np.arange(10_000))
    return folder / "many.npz"


def many_class_folders(folder: Path) -> Path:
    return table(folder, [(f"{number}.png", f"class {number}") for number in range(2000)])


def class_that_is_no_text(folder: Path) -> Path:
    write(Path(os.fsdecode(os.fsencode(pets(folder)) + b"/m\xe4use"), "1.png"), encoded(photo()))
    return folder / "pets"


def two_validations(folder: Path) -> Path:
    for part in ("train", "val", "valid"):
        pets(folder / part)
        (folder / part / "pets").rename(folder / "x")
        (folder / part).rmdir()
        (folder / "pets").mkdir(exist_ok=True)
        (folder / "x").rename(folder / "pets" / part)
    return folder / "pets"


def class_of_test_alone(folder: Path) -> Path:
    for part, names in (("train", ["cat", "dog"]), ("test", ["cat", "dgo"])):
        pets(folder / part, 6, names)
        (folder / "all").mkdir(exist_ok=True)
        (folder / part / "pets").rename(folder / "all" / part)
        (folder / part).rmdir()
    return folder / "all"


def table(folder: Path, rows: Sequence[Sequence[str]], header: str = "path,label", only: int | None = None) -> Path:
    """A CSV file and the images that it names; only the first few of them where a number is given."""
    same = encoded(photo())
    for path, *_ in rows[:only]:
        write(folder / path, same)
    return write(folder / "pets.csv", "\n".join([header, *map(",".join, rows)]) + "\n")


ROWS = [(f"{name}{number}.png", name) for name in ("cat", "dog") for number in range(12)]


def table_of(*args: object, **options: object) -> Callable[[Path], Path]:
    return lambda folder: table(folder, *args, **options)  # type: ignore[arg-type]


def no_table(folder: Path) -> Path:
    return write(folder / "pets.csv", encoded(photo(64)))


def unknown_form(folder: Path) -> Path:
    return write(folder / "pets.xlsx", b"PK\x03\x04")


def archive(**arrays: np.ndarray) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.savez(folder / "pets.npz", **arrays)  # type: ignore[arg-type]
        return folder / "pets.npz"

    return make


IMAGES = RNG.integers(0, 256, (24, 8, 8), np.uint8)
LABELS = np.arange(24) % 2


class Trap:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("unpickled",)


def cut_archive(folder: Path) -> Path:
    path = archive(x=IMAGES, y=LABELS)(folder)
    path.write_bytes(path.read_bytes()[:300])
    return path


def cifar(**files: int) -> Callable[[Path], Path]:
    """A folder of binary CIFAR-10 batches, each with so many bytes."""

    def make(folder: Path) -> Path:
        for name, size in files.items():
            write(folder / "cifar" / f"{name}.bin", bytes(size))
        return folder / "cifar"

    return make


def image_with_rows(folder: Path) -> Path:
    """A header that asks for more pixels than any picture has."""
    bomb = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bomb += (2**16).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    write(pets(folder) / "cat" / "bomb.bmp", bomb)
    return folder / "pets"


DATA: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (missing, ("nowhere", "There is no data set or path")),
    (lambda folder: Path("x" * 300), ("File name too long", "check the path")),
    (empty_folder, ("0 class folder(s) and 0 loose image(s)", "at least 2 classes")),
    (one_image, ("1 class folder(s)", "at least 2 classes")),
    (one_class, ("1 class folder(s)", "at least 2 classes")),
    (loose_images, ("3 loose image(s)", "pets/cat/1.png")),
    (fewer_images_than_parts, ("2 classes but 4 images", "at least 3 for each class", "add images")),
    (all_copies, ("fewer than 2 classes with 3 different images", "add images")),
    (text_as_png, ("notes.png", "not that of an image", "replace or remove")),
    (truncated(".png", "PNG"), ("half.png", "replace or remove")),
    (truncated(".jpg", "JPEG"), ("half.jpg", "replace or remove")),
    (only_broken, ("8 of the 16 files", "replace or remove")),
    (image_with_rows, ("bomb.bmp", "replace or remove")),
    (single_pixels, ("1 pixel(s)", "needs 4", "larger images")),
    (many_classes, ("10000 classes but 10000 images", "add images", "names of images")),
    (many_class_folders, ("2000 classes but 2000 images", "add images", "names of images")),
    (class_that_is_no_text, ("pets", "UTF-8", "rename it")),
    (two_validations, ("both val and valid", "remove one")),
    (class_of_test_alone, ("class 'dgo' in test but not in train", "did you mean 'dog'?")),
    (table_of([*ROWS, ("x.png", "doog")]), ("'doog' has a single image, on line 26", "did you mean 'dog'")),
    (
        table_of([(*row, "train") for row in ROWS] + [("x.png", "ccat", "test")], "path,label,split"),
        ("class 'ccat' in test but not in train", "did you mean 'cat'?"),
    ),
    (table_of([(*ROWS[0], "tset")], "path,label,split"), ("Line 2", "'tset'", "did you mean 'test'?")),
    (table_of(ROWS[1:], "cat0.png,cat"), ("'cat0.png', 'cat'", "name them so in the first line")),
    (table_of(ROWS, "path,lable"), ("is 'lable' the label?",)),
    (table_of([*ROWS, ("x.png", "")]), ("Line 26", "no label", "fill it in or remove the line")),
    (table_of([]), ("lists no images", "add rows")),
    (table_of(ROWS, only=20), ("dog8.png", "line 22", "4 of 24")),
    (table_of([*ROWS, ROWS[0]]), ("Lines 2 and 26", "cat0.png", "keep one")),
    (table_of([*ROWS, ("../outside/x.png", "cat")], only=24), ("outside/x.png", "line 26", "is no file")),
    (no_table, ("pets.csv", "cannot be read as a CSV file")),
    (unknown_form, ("pets.xlsx", "no known form", "CSV")),
    (archive(x=IMAGES), ("none of the arrays y, labels",)),
    (archive(x=IMAGES.astype(float), y=LABELS), ("float64", "uint8", "save them so")),
    (archive(x=IMAGES, y=LABELS[:-1]), ("one integer for each of the 24 images",)),
    (archive(x=IMAGES, y=np.array([Trap()] * 24, object)), ("cannot be read as a NumPy archive", "Python objects")),
    (cut_archive, ("pets.npz", "cannot be read as a NumPy archive")),
    (cifar(test_batch=3073), ("test batches but no training batches", "add them")),
    (cifar(data_batch_1=3073 * 12 - 5, test_batch=3073), ("data_batch_1.bin", "no multiple of the 3073 bytes")),
]


def _names(cases: Sequence[tuple[Callable[[Path], object], tuple[str, ...]]]) -> list[str]:
    return [f"{number} {make.__name__.strip('<>')}: {told[0]}" for number, (make, told) in enumerate(cases)]


@pytest.mark.parametrize(("make", "told"), DATA, ids=_names(DATA))
def test_data(command: Command, tmp_path: Path, make: Callable[[Path], Path], told: tuple[str, ...]) -> None:
    data = make(tmp_path)
    before = snapshot(tmp_path)
    sentence = command.refusal("fit", data, "--out", tmp_path / "run", "--time", "30s")
    for words in told:
        assert words in sentence
    with pytest.raises(InputError) as caught:
        fit(data, Plan(time=30))
    assert str(caught.value) == sentence
    assert snapshot(tmp_path) == before


# Options.

OPTIONS: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
    (("--time", "0s"), ("The time is '0s'", "20m")),
    (("--time", "-5m"), ("The time is '-5m'", "20m")),
    (("--time", "9s"), ("The time is 9 s", "20m")),
    (("--time", "nan"), ("The time is 'nan'", "20m")),
    (("--time", "inf"), ("The time is 'inf'", "20m")),
    (("--time", "20"), ("The time is '20'", "20m")),
    (("--time", "9" * 400 + "h"), ("The time is '999", "20m")),
    (("--max-params", "1"), ("params at most 1", "widen them")),
    (("--max-params", "0"), ("--max-params is '0'", "0.8M")),
    (("--max-params", "-5"), ("--max-params is '-5'", "0.8M")),
    (("--max-params", "nan"), ("--max-params is 'nan'", "0.8M")),
    (("--max-flops", "inf"), ("--max-flops is 'inf'", "100M")),
    (("--max-latency", "0ms"), ("--max-latency is '0ms'", "5ms")),
    (("--max-memory", "lots"), ("--max-memory is 'lots'", "20MiB")),
    (("--max-params", "1G", "--max-flops", "100"), ("flops at most 100", "widen them")),
    (("--space", "mobil"), ("no search space 'mobil'", "did you mean 'mobile'?")),
    (("--strategy", "evolve"), ("no strategy 'evolve'", "evolution")),
    (("--score", "nwott"), ("'nwott'", "did you mean 'nwot'?")),
    (("--score", "log-rank(flops"), ("log-rank(flops",)),
    (("--accelerator", "quantum"), ("quantum", "cpu")),
    (("--devices", "0"), ("0",)),
    (("--precision", "8"), ("8", "32-true")),
    (("--measure", "f1"), ("no measure 'f1'", "macro-f1")),
    (("--image-size", "0"), ("Image size 0", "at least 4")),
    (("--image-size", "-8"), ("Image size -8", "at least 4")),
    (("--image-size", "100000"), ("100000 x 100000", "memory", "smaller image size")),
    (("--workers", "-1"), ("number of workers is -1", "0 or more")),
    (("--backend", "slurm"), ("no backend 'slurm'", "local, ray")),
    (("--address", "10.0.0.5:6379"), ("--address is 10.0.0.5:6379", "add --backend ray")),
    (("--backend", "ray", "--address", "10.0.0.5"), ("address of the cluster is '10.0.0.5'", "HOST:PORT")),
    (("--backend", "ray", "--address", "127.0.0.2:9"), ("127.0.0.2:9", "refused", "`ray start --head` printed")),
    (("--backend", "ray", "--workers", "0"), ("number of workers is 0", "1 or more on a cluster")),
    (("--seed", "-3"), ("The seed is -3", "give another")),
    (("--out", __file__), ("test_bad_input.py", "give another")),
    (("--out", Path(__file__) / "run"), ("run", "give another")),
    (("--out", "x" * 300), ("File name too long", "give another")),
]


@pytest.mark.parametrize(("options", "told"), OPTIONS, ids=[" ".join(map(str, each))[:60] for each, _ in OPTIONS])
def test_options(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...],
    told: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    sentence = command.refusal("fit", "digits", "--json", "--time", "30s", *options)
    for words in told:
        assert words in sentence
    assert snapshot(tmp_path) == {}


# Command lines.


def all_commands() -> dict[str, Any]:
    """Each command by the words that call it."""
    root: Any = typer.main.get_command(app)
    groups = {"": root, **{name: group for name, group in root.commands.items() if hasattr(group, "commands")}}
    return {
        f"{name} {word}".strip(): found
        for name, group in groups.items()
        for word, found in group.commands.items()
        if not hasattr(found, "commands")
    }


@pytest.mark.slow
def test_what_no_command_knows(command: Command) -> None:
    found = all_commands()
    assert {"score", "fit", "ui", "tables get", "hybrid fit"} <= set(found)
    for words in found:
        sentence = command.refusal(*words.split(), "--zzz")
        assert sentence == f"No such option: --zzz: see `trainless {words} --help`."
    assert (
        command.refusal("scor")
        == "No such command 'scor' (did you mean 'score', 'scores', 'store'?): see `trainless --help`."
    )
    assert command.refusal("describe") == "Missing argument 'architecture': see `trainless describe --help`."


def test_numbers_that_are_none(command: Command) -> None:
    numbers = [
        (words, option.opts[0])
        for words, found in all_commands().items()
        for option in found.params
        if option.opts[0].startswith("--") and option.type_descriptor.annotation in (int, float)
    ]
    assert ("score", "--seed") in numbers
    for words, name in numbers:
        assert command.refusal(*words.split(), name, "few").startswith(f"{name} is 'few', expected a valid ")


# Folders of a fit.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder like that of a fit, with a network as it is at first."""
    folder = tmp_path / "run"
    folder.mkdir()
    network = SMALL.build(SMALL[100], TASK).eval()
    write_plain(plain_code(network, TASK.input_shape, ("cat", "dog"), (0.5,), (0.5,)), folder)
    write(folder / "fit.json", json.dumps({"classes": ["cat", "dog"], "input_shape": TASK.input_shape}))
    write(tmp_path / "photos" / "1.png", encoded(photo()))
    return folder


def facts(**values: object) -> Callable[[Path], object]:
    document = {"classes": ["cat", "dog"], "input_shape": [1, 8, 8]} | values
    return lambda run: write(run / "fit.json", json.dumps(document))


def cut_facts(run: Path) -> None:
    write(run / "fit.json", '{"classes": ["cat"')


def without(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).unlink()


def other_weights(run: Path) -> None:
    other = plain_code(SMALL.build(SMALL[101], TASK), TASK.input_shape, ("cat", "dog"), (0.5,), (0.5,))
    code = (run / "network.py").read_text()
    write_plain(other, run)
    write(run / "network.py", code)


def cut_weights(run: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def edited(old: str, new: str) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        code = (run / "network.py").read_text()
        assert old in code
        write(run / "network.py", code.replace(old, new))

    return edit


RUNS: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (without("fit.json"), ("no folder that `trainless fit` wrote", "give the folder of its --out")),
    (cut_facts, ("no folder that `trainless fit` wrote", "give the folder of its --out")),
    (facts(classes=7), ("no folder that `trainless fit` wrote", "classes or input_shape")),
    (facts(input_shape=["a", 8, 8]), ("no folder that `trainless fit` wrote",)),
    (facts(input_shape=[3, 8, 8]), ("of shape (3, 8, 8) an error", "expected (1, 2)", "fit it again")),
    (facts(classes=["cat", "dog", "mouse"]), ("(1, 2), expected (1, 3)", "fit it again")),
    (without("model.safetensors"), ("no model.safetensors in",)),
    (without("network.py"), ("no network.py in",)),
    (other_weights, ("cannot be loaded", "fit it again")),
    (cut_weights, ("cannot be read", "fit it again")),
    (edited("import torch\n", "import torchvisionary\n"), ("cannot be loaded (No module", "fit it again")),
    (edited("class Network", "class Net work"), ("cannot be loaded", "fit it again")),
    (edited("return network.eval()", "return None"), ("its load() gives a NoneType", "fit it again")),
    (edited("/ self.std", "/ self.deviation"), ("an error", "deviation", "fit it again")),
]


@pytest.mark.parametrize(("damage", "told"), RUNS, ids=_names(RUNS))
@pytest.mark.parametrize(
    "arguments", [("predict", "photos"), ("export", "--format", "torchscript")], ids=lambda a: a[0]
)
def test_runs(
    command: Command, tmp_path: Path, run: Path, damage: Callable[[Path], object], told: tuple[str, ...],
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    damage(run)
    before = snapshot(tmp_path)
    name, *rest = arguments
    sentence = command.refusal(name, "run", *rest)
    for words in told:
        assert words in sentence
    assert snapshot(tmp_path) == before


def nothing(folder: Path) -> Path:
    (folder / "new").mkdir()
    return folder / "new"


def broken(folder: Path) -> Path:
    return write(folder / "new" / "1.png", "no image")


def telephone(folder: Path) -> Path:
    return write(folder / "new" / "1.cr2", "raw").parent


PHOTOS: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (missing, ("There is no", "nowhere", "give a folder of images")),
    (nothing, ("no images in", "check the path")),
    (telephone, ("no images in", "left out: 1 .cr2 image(s), which are not read", "1.cr2")),
    (broken, ("None of the 1 images", "1.png", "not that of an image")),
]


@pytest.mark.parametrize(("make", "told"), PHOTOS, ids=_names(PHOTOS))
def test_photos(
    command: Command, tmp_path: Path, run: Path, make: Callable[[Path], Path], told: tuple[str, ...]
) -> None:  # fmt: skip
    photos = make(tmp_path)
    sentence = command.refusal("predict", run, photos, "--csv", tmp_path / "rows.csv")
    for words in told:
        assert words in sentence
    assert not (tmp_path / "rows.csv").exists()


def test_an_earlier_run_keeps_the_order_of_its_classes(command: Command, run: Path, tmp_path: Path) -> None:
    facts(classes=["10", "9"])(run)  # as text was sorted; now 9 would come first
    shares = RunFolder.read(run).class_probabilities(np.asarray(Image.open(tmp_path / "photos" / "1.png"))[None, None])
    (row,) = command.document("predict", run, tmp_path / "photos")
    assert list(row["probabilities"].values()) == pytest.approx(shares[0].tolist())
    assert list(row["probabilities"]) == ["10", "9"]
    assert row["class"] == ("10", "9")[shares[0].argmax()]


def test_what_is_not_read_is_told(command: Command, run: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos" / "@eaDir" / "1.png", encoded(photo()))
    code, out, err = command("predict", run, tmp_path / "photos", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "trainless: left out: 1 system folder(s): @eaDir" in err


def test_a_table_of_predictions_that_cannot_be_written(command: Command, run: Path, tmp_path: Path) -> None:
    assert "cannot be written" in command.refusal("predict", run, tmp_path / "photos", "--csv", run)
    assert "no format 'onix': did you mean 'onnx'" in command.refusal("export", run, "--format", "onix")
    assert "no format ''" in command.refusal("export", run, "--format", ",")


# The same from Python.

COLOUR = RNG.integers(0, 256, (24, 8, 8, 3), np.uint8)

ARGUMENTS: list[tuple[dict[str, object], object, object, str]] = [
    ({"time": 0}, IMAGES, LABELS, "The time is 0 s, expected at least 10 s"),
    ({"time": -1.5}, IMAGES, LABELS, "The time is -1.5 s"),
    ({"time": float("nan")}, IMAGES, LABELS, "The time is nan s"),
    ({"time": float("inf")}, IMAGES, LABELS, "The time is infinite"),
    ({"time": "20m"}, IMAGES, LABELS, "time is '20m', expected a number"),
    ({"max_params": -1}, IMAGES, LABELS, "The limit on params is -1, expected a number above 0"),
    ({"max_flops": float("inf")}, IMAGES, LABELS, "The limit on flops is inf"),
    ({"max_latency": float("nan")}, IMAGES, LABELS, "The limit on latency is nan"),
    ({"max_params": 1}, IMAGES, LABELS, r"is within the limits \(params at most 1\): widen them"),
    ({"epochs": 0}, IMAGES, LABELS, "epochs is 0, expected a finite number above 0"),
    ({"evaluations": 0}, IMAGES, LABELS, "The budget is 0, expected more than 0"),
    ({"workers": -2}, IMAGES, LABELS, "The number of workers is -2, expected 0 or more"),
    ({"random_state": -1}, IMAGES, LABELS, "The seed is -1, expected a whole number from 0"),
    ({"space": "mobil"}, IMAGES, LABELS, "There is no search space 'mobil': did you mean 'mobile'"),
    ({"search_score": "nwott"}, IMAGES, LABELS, "'nwott': did you mean 'nwot'"),
    ({"measure": "f1"}, IMAGES, LABELS, "There is no measure 'f1'"),
    ({"image_size": 2}, IMAGES, LABELS, "Image size 2 is too small"),
    ({"image_size": 10**6}, IMAGES, LABELS, "need .* GiB of memory"),
    ({"image_shape": (3, 8)}, IMAGES, LABELS, r"image_shape is \(3, 8\), expected channels, height and width"),
    ({"image_shape": (3, 8, 8)}, IMAGES, LABELS, r"The images have the shape \(24, 1, 8, 8\)"),
    ({}, IMAGES, LABELS * 0, "fewer than 2 classes|has 1 class|1 class"),
    ({}, IMAGES, np.arange(24) % 12, "12 classes but 24 images"),
    ({}, IMAGES[:3], [0, 1, 0], "2 classes but 3 images"),
    ({}, IMAGES[:, :2, :2], LABELS, "at most 2 pixel"),
    ({}, IMAGES[..., None].repeat(4, 3), LABELS, r"The images have the shape \(24, 8, 8, 4\)"),
    ({}, np.where(IMAGES > 9, IMAGES, np.nan), LABELS, "NaN"),
    ({}, IMAGES, np.linspace(0, 1, 24), "continuous"),
    ({}, COLOUR.astype(object), LABELS + 0.5, "continuous|Unknown label type"),
]


@pytest.mark.parametrize(
    ("options", "images", "labels", "told"), ARGUMENTS, ids=[f"{n} {each[3][:40]}" for n, each in enumerate(ARGUMENTS)]
)
def test_classifier(options: dict[str, object], images: object, labels: object, told: str) -> None:
    classifier = ImageClassifier(**({"time": 30} | options))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=told) as caught:
        classifier.fit(images, labels)
    assert "\n" not in str(caught.value) or not isinstance(caught.value, InputError)  # scikit-learn has longer ones
    assert not hasattr(classifier, "network_")


def test_a_classifier_that_refused_is_not_fitted() -> None:
    classifier = ImageClassifier(max_params=1)
    classifier.network_ = "that of an earlier call, with other classes"
    with pytest.raises(InputError, match="widen them"):
        classifier.fit(IMAGES, LABELS)
    with pytest.raises(NotFittedError):
        classifier.predict(IMAGES)


def test_an_empty_path_is_not_the_current_folder(command: Command, tmp_path: Path) -> None:
    assert "path of the data is empty" in command.refusal("fit", "", "--out", tmp_path / "run")


# What looks odd and is right all the same.


def test_odd_images_are_read(tmp_path: Path) -> None:
    folder = pets(tmp_path, 6)
    grown = [photo(12) for _ in range(3)]
    grown[0].save(folder / "cat" / "animated.gif", save_all=True, append_images=grown[1:])
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    damaged = exif.tobytes()[:-7]
    photo(10, "L", height=10).save(folder / "dog" / "exif.jpg", exif=damaged)
    photo(9, "CMYK").save(folder / "cat" / "printed.jpg")
    Image.fromarray(RNG.integers(0, 2**16, (8, 8), np.uint16)).save(folder / "cat" / "deep.png")
    photo(10, "RGBA").save(folder / "dog" / "transparent.png")
    photo(8, "P").save(folder / "dog" / "palette.png")
    photo(400, "RGB", height=5).save(folder / "dog" / "ribbon.png")
    (folder / "cat" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    splits = load_splits(folder)
    assert splits.train.task.input_shape == (3, 16, 16)
    report = audit(splits)
    assert (report.total, report.broken, len(report.sizes)) == (19, (), 5)
    small = load_splits(folder, image_size=7)
    for space in (SMALL, search_space("mobile", width=4, depth=1)):
        network = space.build(space[100], small.train.task).eval()
        assert network(small.train.batch(4).images).shape == (4, 2)


def test_paths_of_a_table_may_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    path = table(tmp_path, ROWS).rename(tmp_path / "tables" / "pets.csv")
    path.write_text(path.read_text().replace("\ncat", "\n../cat").replace("\ndog", f"\n{tmp_path}/dog"))
    for number, image in enumerate(sorted(tmp_path.glob("*.png"))):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(image)
    assert audit(path).total == 24


def test_what_is_in_two_given_parts_is_told(tmp_path: Path) -> None:
    rows = [(*row, "train" if number % 2 else "test") for number, row in enumerate(ROWS)]
    path = table(tmp_path, rows, "path,label,split")
    for number, (name, *_) in enumerate(rows):
        Image.fromarray(IMAGES[number // 2]).save(tmp_path / name)
    (advice, *_) = audit(path).advice()
    assert advice.startswith("12 image(s) are in two parts, 12 of them in test")


def test_names_that_are_no_text_are_shown(tmp_path: Path) -> None:
    folder = pets(tmp_path, 20)
    write(Path(os.fsdecode(os.fsencode(folder) + b"/cat/m\xe4h.png")), "no image")
    assert "m\\udce4h.png" in str(audit(folder)).encode().decode()
