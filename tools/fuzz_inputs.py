"""Files and folders, good and bad, for `tools/fuzz_commands.py`: data, stores, tables, runs, lists, archives.

Everything is small and made by a seed; the stores and runs come from real work of the commands themselves.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import shutil
import sqlite3
import struct
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

SPACE = "nasbench201(channels=2, cells=1)"
HOSTILE_NAMES = ("<script>alert(1)<", "'; DROP TABLE score;--", "\x1b[31mred\x1b[0m", "two\nlines", "=1+1", "猫", "a,b")
TRACE = "unpickled"  # what a hostile pickle would make where it is run


class Trap:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Ask for a folder to be made."""
        return os.mkdir, (TRACE,)


def write(path: Path, content: bytes | str) -> None:
    """Write a file with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(rng: np.random.Generator, side: int = 8, mode: str = "L", form: str = "PNG", height: int = 0) -> bytes:
    """Encode an image of noise."""
    stream = io.BytesIO()
    pixels = rng.integers(0, 256, (height or side, side), np.uint8)
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


def huge_picture(rows: int = 2**16) -> bytes:
    """A file of a few bytes whose header tells of more pixels than any memory has room for."""
    header = struct.pack("<IIiHH", 40, rows, rows, 1, 24) + bytes(24)
    return b"BM" + struct.pack("<III", 54 + len(header), 0, 54) + header


def archive_that_declares(shape: tuple[int, ...]) -> bytes:
    """A NumPy archive of a few bytes whose array is said to be of any shape."""
    stream, header = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(stream, "w") as opened:
        opened.writestr("x.npy", header.getvalue() + bytes(64))
        labels = io.BytesIO()
        np.save(labels, np.zeros(shape[0] if shape[0] < 100 else 100, np.int64))
        opened.writestr("y.npy", labels.getvalue())
    return stream.getvalue()


def _images(folder: Path, rng: np.random.Generator) -> None:
    for name, count, mode, form in (("pets", 12, "L", "png"), ("colours", 9, "RGB", "jpeg"), ("few", 2, "L", "png")):
        for label in ("cat", "dog"):
            for number in range(count):
                content = picture(rng, 8 if mode == "L" else 12, mode, form.upper())
                write(folder / name / label / f"{number}.{form}", content)
    for part, count in (("train", 8), ("valid", 4), ("test", 4)):
        for label in ("ant", "bee", "fly"):
            for number in range(count):
                write(folder / "parts" / part / label / f"{number}.png", picture(rng, 8))
    for number in range(6):
        write(folder / "one-class" / "cat" / f"{number}.png", picture(rng))
        write(folder / "notes" / "cat" / f"{number}.txt", "a note")
        for label in HOSTILE_NAMES:
            write(folder / "names" / label / f"{number}.png", picture(rng))
    for label in ("cat", "dog"):
        for number in range(8):
            write(folder / "broken" / label / f"{number}.png", picture(rng)[: 40 + 5 * number])
            write(folder / "damaged" / label / f"{number}.png", picture(rng) if number else b"no image")
            write(folder / "wide" / label / f"{number}.png", picture(rng, 60, height=2))
            write(folder / "copies" / label / f"{number}.png", picture(np.random.default_rng(1)))
    shutil.copytree(folder / "pets", folder / "bomb")
    write(folder / "bomb" / "cat" / "bomb.bmp", huge_picture())
    shutil.copytree(folder / "pets", folder / "loop")
    os.symlink("..", folder / "loop" / "cat" / "again")
    os.symlink("nowhere.png", folder / "loop" / "dog" / "gone.png")
    write(Path(os.fsdecode(os.fsencode(folder) + b"/bytes/m\xe4use/1.png")), picture(rng))
    (folder / "empty").mkdir()
    write(folder / "one.png", picture(rng))
    write(folder / "bomb.png", huge_picture())


def _arrays(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    images, labels = rng.integers(0, 256, (24, 8, 8), np.uint8), np.arange(24) % 2
    np.savez(folder / "good.npz", x=images, y=labels)
    np.savez_compressed(folder / "colours.npz", images=rng.integers(0, 256, (24, 8, 8, 3), np.uint8), labels=labels)
    np.savez(folder / "floats.npz", x=images / 255, y=labels)
    np.savez(folder / "short.npz", x=images, y=labels[:5])
    np.savez(folder / "none.npz", x=images[:0], y=labels[:0])
    np.savez(folder / "objects.npz", x=np.array([Trap()] * 4, object), y=labels[:4])
    np.savez(folder / "many.npz", x=images, y=np.arange(24) * 10**17)
    write(folder / "cut.npz", (folder / "good.npz").read_bytes()[:300])
    write(folder / "empty.npz", b"")
    write(folder / "bomb.npz", archive_that_declares((10**6, 3, 1000, 1000)))
    write(folder / "overflow.npz", archive_that_declares((2**40, 2**40, 2**40)))


def _batches(folder: Path, rng: np.random.Generator) -> None:
    records = [bytes([number % 10]) + rng.bytes(3072) for number in range(30)]
    write(folder / "binary" / "data_batch_1.bin", b"".join(records))
    write(folder / "binary" / "test_batch.bin", b"".join(records[:12]))
    write(folder / "cut" / "data_batch_1.bin", b"".join(records)[:5000])
    write(folder / "tests" / "test_batch.bin", b"".join(records))
    batch = {b"data": rng.integers(0, 256, (30, 3072), np.uint8), b"labels": [number % 10 for number in range(30)]}
    write(folder / "pickled" / "data_batch_1", pickle.dumps(batch, 2))
    write(folder / "trap" / "data_batch_1", pickle.dumps({b"data": Trap(), b"labels": []}))
    write(folder / "labels" / "data_batch_1", pickle.dumps({**batch, b"labels": ["a"] * 30}, 2))


def _lists(folder: Path, images: Path) -> None:
    rows = [f"../images/{path.relative_to(images)},{path.parent.name}" for path in sorted(images.glob("pets/*/*"))]
    write(folder / "pets.csv", "\n".join(["path,label", *rows]))
    write(folder / "odd.csv", "\n".join(["\ufeffsep=;", "File Name;class", *(row.replace(",", ";") for row in rows)]))
    write(folder / "numbers.csv", "\n".join(["path,label", *(row + f".{n}5" for n, row in enumerate(rows))]))
    write(folder / "unclosed.csv", 'path,label\n"../images/pets/cat/0.png,cat\n')
    write(folder / "gone.csv", "path,label\nnowhere.png,cat\nneither.png,dog\n/etc/hostname,dog\n")
    write(folder / "binary.csv", bytes(range(256)))
    write(folder / "empty.csv", "")
    write(folder / "long.csv", "path,label\n" + "x" * 200_000 + ",cat\n")
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "after", "cats", "that", "sat", "there"]
    write(folder / "words.txt", "\n".join(" ".join(words[n:] + words[:n]) for n in range(len(words))))
    write(folder / "none.txt", "")


def _tables(folder: Path, cells: list[str], rng: np.random.Generator) -> None:
    rows = [f'"{cell}",{valid:.2f},{valid + 1:.2f}' for cell, valid in zip(cells, rng.uniform(50, 90, 24), strict=True)]
    text = "\n".join(["architecture,cifar10.valid,cifar10.test", *rows])
    write(folder / "toy.csv", text)
    write(folder / "toy.csv.gz", gzip.compress(text.encode()))
    write(folder / "two.csv", text.replace("cifar10.test", "digits.test"))
    write(folder / "words.csv", text.replace(".5", " five"))
    write(folder / "twice.csv", text.replace("cifar10.test", "cifar10.valid"))
    write(folder / "other.csv", "architecture,cifar10.test\n8:8:8:8:8,50\n8:8:8:8:16,60\n")
    write(folder / "named.csv", text.replace("cifar10.", "<b>'\x1b[1m."))
    write(folder / "cut.csv.gz", gzip.compress(text.encode())[:-30])
    write(folder / "bomb.csv.gz", gzip.compress(b"architecture,a.test\n" + b"0," * 2**24))
    write(folder / "cut.parquet", b"PAR1" + rng.bytes(300) + b"PAR1")
    write(folder / "architectures.txt", "\n".join(["# two", *cells[:2]]))
    write(folder / "wrong.txt", f"{cells[0]}\nno cell\n")
    write(folder / "latin.txt", b"\xe4\xff")


def make_stores(folder: Path, cells: list[str], rng: np.random.Generator) -> None:
    """Make stores, good and bad, in a new folder."""
    from trainless.store import Run, Store
    from trainless.types import Score

    folder.mkdir()
    run = Run("nasbench201", "cifar10:00", 3, "batch=64,dtype=float32")
    for name, proxies in (("good", ("logsynflow", "nwot", "params")), ("names", ("<b>", "\x1b[1mnwot", "a\nb"))):
        rows = [
            Score(cell, proxy, float(value), seconds=0.25)
            for proxy in proxies
            for cell, value in zip(cells, rng.uniform(1, 9, len(cells)), strict=True)
        ]
        rows[0] = Score(cells[0], proxies[0], -np.inf, "not finite", seconds=0.25)
        with Store(folder / f"{name}.db") as store:
            store.write(run, rows, dict.fromkeys(proxies, 1))
    with Store(folder / "none.db"):
        pass
    content = (folder / "good.db").read_bytes()
    write(folder / "empty.db", b"")
    write(folder / "text.db", "no database")
    write(folder / "cut.db", content[: len(content) // 2])
    write(folder / "noise.db", content[:4096] + rng.bytes(len(content) - 4096))
    for name, change in {
        "other": "DROP TABLE trainless_meta", "later": "UPDATE trainless_meta SET value = '99'",
        "words": "UPDATE trainless_meta SET value = 'x'", "odd": "UPDATE runs SET protocol = '{', seed = 'x'",
        "types": "UPDATE scores SET value = 'a', created = 1", "lone": "DELETE FROM runs",
    }.items():  # fmt: skip
        shutil.copy(folder / "good.db", folder / f"{name}.db")
        with contextlib.closing(sqlite3.connect(folder / f"{name}.db")) as opened:
            opened.execute(change)
            opened.commit()
    old = (Path(__file__).parent.parent / "tests" / "store_version_1.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(folder / "old.db")) as opened:
        opened.executescript(old)


def make_runs(folder: Path, data: str | Path) -> None:
    """Fit a small network in a few seconds, and make folders in which one of its files is another."""
    from trainless.automl import Plan
    from trainless.data import load_splits
    from trainless.fit_artifacts import fit_to_folder

    finished = folder / "finished"
    finished.mkdir(parents=True)
    plan = Plan(None, space=SPACE, strategy="random", epochs=1, evaluations=2, workers=0)
    fit_to_folder(load_splits(data), plan, finished, command="trainless fit")
    for path in finished.glob("report.*"):
        path.unlink()
    shutil.rmtree(finished / "tensorboard", ignore_errors=True)
    facts = json.loads((finished / "fit.json").read_text(encoding="utf-8"))
    changes = {
        "shape": {"input_shape": [1, 9, 9]}, "words": {"input_shape": ["a", "b", "c"], "classes": "cat"},
        "huge": {"input_shape": [1, 10**6, 10**6]}, "bare": {"setting": None, "preprocessing": 7},
        "classes": {"classes": ["<b>cat", "\x1b[31mdog"]},
        "deep": {"setting": {"seed": "x", "images": [], "limits": 3}},
    }  # fmt: skip
    for name, change in changes.items():
        shutil.copytree(finished, folder / name)
        write(folder / name / "fit.json", json.dumps({**facts, **change}))
    for name, file, content in (
        ("cut", "fit.json", b'{"classes": ['), ("code", "network.py", b"raise SystemExit(0)\n"),
        ("syntax", "network.py", b"def ("), ("weights", "model.safetensors", b"\xff" * 100),
        ("trap", "finished.pt", pickle.dumps(Trap())), ("array", "fit.json", b"[1, 2]"),
        ("nested", "fit.json", b"[" * 100_000), ("begun", "fit.json", None),
    ):  # fmt: skip
        shutil.copytree(finished, folder / name)
        if content is None:
            (folder / name / file).unlink()
        else:
            write(folder / name / file, content)


def make_inputs(folder: Path, seed: int = 0) -> None:
    """Make all inputs in a new folder.

    Args:
        folder: where to; it is made.
        seed: decides the noise in them.
    """
    from trainless.aggregation import Hybrid
    from trainless.search_spaces import search_space

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    cells = list(map(str, islice(search_space("nasbench201"), 24)))
    _images(folder / "images", rng)
    _arrays(folder / "arrays", rng)
    _batches(folder / "batches", rng)
    _lists(folder / "lists", folder / "images")
    _tables(folder / "tables", cells, rng)
    make_stores(folder / "stores", cells, rng)
    make_runs(folder / "runs", folder / "images" / "pets")
    files = folder / "files"
    import pandas as pd

    scores = pd.DataFrame({"logsynflow": rng.uniform(1, 9, 24), "nwot": rng.uniform(1, 9, 24)}, index=cells)
    files.mkdir()
    Hybrid(alpha=1.0, beta=2.0).fit(scores).save(files / "hybrid.json")
    write(files / "words.json", '{"kind": "hybrid", "alpha": "x"}')
    write(files / "cut.json", (files / "hybrid.json").read_bytes()[:50])
    write(files / "trap.pt", pickle.dumps(Trap()))
    write(files / "proxy.py", "from trainless.proxies import PROXIES\nMINE = PROXIES['params']\nNONE = 3\n")
    write(files / "syntax.py", "def (")
    write(files / "raises.py", "raise RuntimeError('two\\nlines')")
    for name in ("out", "public", "cache"):
        (folder / name).mkdir()
