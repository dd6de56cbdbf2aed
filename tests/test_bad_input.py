"""Wrong input of every kind ends in one clear sentence, before anything is spent, and leaves all files as they were."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from commands import Command
from PIL import Image

from trainless.automl import ImageClassifier, Plan, fit
from trainless.automl.folders import RunFolder
from trainless.data import audit, load_splits
from trainless.errors import InputError
from trainless.export import plain_code, write_plain
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.types import Task

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

    for place in ("sizes.seconds_an_image", "pipeline.Search.run", "pipeline.tune", "pipeline.train"):
        monkeypatch.setattr(f"trainless.automl.{place}", spend)


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


def empty_class(folder: Path) -> Path:
    (pets(folder) / "mouse").mkdir()
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


def folder_in_a_loop(folder: Path) -> Path:
    (pets(folder) / "all").symlink_to(folder / "pets", target_is_directory=True)
    return folder / "pets"


def same_class_twice(folder: Path) -> Path:
    (pets(folder) / "kitten").symlink_to(folder / "pets" / "cat", target_is_directory=True)
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
    (empty_folder, ("0 class folder(s) and 0 loose image(s)", "at least 2 classes")),
    (empty_class, ("mouse' holds no images", "add some or remove it")),
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
    (folder_in_a_loop, ("pets/all' is a link", "remove the link")),
    (same_class_twice, ("kitten", "cat", "remove the link")),
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
    (("--time", "nan"), ("The time is 'nan'", "20m")),
    (("--time", "inf"), ("The time is 'inf'", "20m")),
    (("--time", "20"), ("The time is '20'", "20m")),
    (("--time", "9" * 400 + "h"), ("The time is '999", "20m")),
    (("--max-params", "1"), ("params at most 1", "widen them")),
    (("--max-params", "0"), ("--max-params is '0'", "0.8M")),
    (("--max-params", "-5"), ("--max-params is '-5'", "0.8M")),
    (("--max-params", "nan"), ("--max-params is 'nan'", "0.8M")),
    (("--max-flops", "inf"), ("--max-flops is 'inf'", "0.8M")),
    (("--max-latency", "0ms"), ("--max-latency is '0ms'", "5ms")),
    (("--max-memory", "lots"), ("--max-memory is 'lots'", "20MiB")),
    (("--max-params", "1G", "--max-flops", "100"), ("flops at most 100", "widen them")),
    (("--space", "mobil"), ("no search space 'mobil'", "did you mean 'mobile'?")),
    (("--strategy", "evolve"), ("no strategy 'evolve'", "evolution")),
    (("--score", "nwott"), ("'nwott'", "did you mean 'nwot'?")),
    (("--score", "log-rank(flops"), ("log-rank(flops",)),
    (("--measure", "f1"), ("no measure 'f1'", "macro-f1")),
    (("--image-size", "0"), ("Image size 0", "at least 4")),
    (("--image-size", "-8"), ("Image size -8", "at least 4")),
    (("--image-size", "100000"), ("100000 x 100000", "memory", "smaller image size")),
    (("--workers", "-1"), ("number of workers is -1", "0 or more")),
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
