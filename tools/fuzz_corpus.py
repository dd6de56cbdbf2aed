"""The parsers that `tools/fuzz_parsers.py` runs, each with inputs to begin from and the exceptions that it promises."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import pickle
import shutil
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from fuzz_inputs import Trap, archive_that_declares, huge_picture, make_runs, make_stores, picture, write
from PIL import Image

Harness = Callable[[bytes], object]


@dataclass(frozen=True)
class Parser:
    """A parser.

    Args:
        make: gives what reads one input; the folder is for files.
        corpus: gives inputs to begin from.
        modules: of trainless that are run.
        more: exceptions that it promises beside `TrainlessError`, by module and name.
    """

    make: Callable[[Path], Harness]
    corpus: Callable[[], list[bytes]]
    modules: tuple[str, ...]
    more: tuple[tuple[str, str], ...] = ()

    def warm(self) -> None:
        """Import what it runs."""
        for module in self.modules:
            importlib.import_module(f"trainless.{module}")

    @property
    def promised(self) -> tuple[type[BaseException], ...]:
        """The exceptions that refuse an input."""
        known = (("trainless.errors", "TrainlessError"), *self.more)
        return tuple(getattr(importlib.import_module(module), name) for module, name in known)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


# Text.


def _architectures() -> list[bytes]:
    from trainless.search_spaces import SEARCH_SPACES

    rng, found = np.random.default_rng(0), list[bytes]()
    for number, kind in enumerate(SEARCH_SPACES.values()):
        space = kind()
        names = [str(space.sample(rng)) for _ in range(4)] + list(getattr(space, "named", {}))
        found += [bytes([number]) + name.encode() for name in names]
    return found


def _architecture(_: Path) -> Harness:
    from trainless.search_spaces import SEARCH_SPACES

    spaces = [kind() for kind in SEARCH_SPACES.values()]

    def read(content: bytes) -> None:
        space = spaces[content[0] % len(spaces)] if content else spaces[0]
        found = space.parse(_text(content[1:]))
        assert space.parse(str(found)) == found, "what is written is read as another"

    return read


def _spec(_: Path) -> Harness:
    from trainless.estimators import estimator
    from trainless.scoring import parts_of
    from trainless.search_spaces import search_space
    from trainless.strategies import strategy

    space = search_space("nasbench201(channels=2, cells=1)")
    readers: list[Callable[[str], object]] = [search_space, estimator, parts_of, lambda text: strategy(text, space, 0)]
    return lambda content: readers[content[0] % 4 if content else 0](_text(content[1:]))


def _quantity(_: Path) -> Harness:
    from trainless.costs import COSTS
    from trainless.estimators.fidelities import parse_fidelity
    from trainless.search import parse_budget, parse_limits
    from trainless.units import parse_time

    readers: list[Callable[[str], object]] = [
        parse_time, parse_budget, parse_fidelity, lambda text: parse_limits([text]),
        *(lambda text, cost=cost: cost.parse(text, "--max") for cost in COSTS.values()),  # type: ignore[misc]
    ]  # fmt: skip
    return lambda content: readers[content[0] % len(readers) if content else 0](_text(content[1:]))


# Files.


def _file(name: str, reader: Callable[[], Callable[[Path], object]]) -> Callable[[Path], Harness]:
    """A parser of files of one name."""

    def make(folder: Path) -> Harness:
        read, path = reader(), folder / name

        def run(content: bytes) -> None:
            path.write_bytes(content)
            read(path)

        return run

    return make


def _function(module: str, name: str) -> Callable[[], Callable[[Path], object]]:
    return lambda: getattr(importlib.import_module(f"trainless.{module}"), name)


def _pickles() -> list[bytes]:
    values = [
        {"data": np.zeros((2, 3), np.uint8), "labels": [1, 2]}, {b"a": np.float64(1.5), "b": (1, None, True)}, Trap(),
        [np.arange(3), {1, 2}, b"x" * 300, 2**70, "text"],
    ]  # fmt: skip
    return [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 4, 5)]


def _batches() -> list[bytes]:
    images = np.zeros((2, 3072), np.uint8)
    batches = [{b"data": images, b"labels": [1, 2]}, {"data": images, "labels": np.array([1, 2])}, {b"data": Trap()}]
    return [pickle.dumps(batch, protocol) for batch in batches for protocol in (2, 4)]


def _list_in(folder: Path) -> Harness:
    for name in ("1.png", "2.png", "3.png"):
        (folder / name).write_bytes(b"")
    return _file("list.csv", _function("data.csv_files", "list_csv"))(folder)


def _archives() -> list[bytes]:
    found = [archive_that_declares((10**6, 3, 1000, 1000)), archive_that_declares((2**40, 2**40, 2**40))]
    for arrays in (
        {"x": np.zeros((3, 4, 4), np.uint8), "y": [0, 1, 0]},
        {"images": np.zeros((2, 3, 2, 2)), "labels": [1]},
    ):
        for save in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            save(stream, **arrays)
            found.append(stream.getvalue())
    return found


def _pictures() -> list[bytes]:
    rng = np.random.default_rng(0)
    forms = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000")
    found = [picture(rng, 6, mode, form) for form in forms for mode in ("L", "RGB")]
    for mode, form in (("P", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("1", "TIFF"), ("I;16", "TIFF")):
        stream = io.BytesIO()
        Image.new(mode, (5, 4)).save(stream, form)
        found.append(stream.getvalue())
    return [*found, huge_picture()]


def _picture() -> Callable[[Path], object]:
    from trainless.data.image_files import largest_value, read_header, read_pixels
    from trainless.data.preprocessing import Preprocessing

    wanted = Preprocessing(3, 4, 4)

    def read(path: Path) -> None:
        if read_header(path).deep:
            largest_value(path)
        read_pixels(path, wanted)

    return read


def _table(ending: str) -> Callable[[Path], Harness]:
    return _file(f"table{ending}", _function("tables", "read_table"))


def _csv_tables() -> list[bytes]:
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    return [
        f'architecture,digits.valid,digits.test\n"{cell}",50.5,nan\na,,-inf\n'.encode(),
        b"index,architecture,a.b\n0,8:8:8:8:8,1\n",
        b"architecture,a.test,a.test\n1,2,3\n", b"architecture\n",
    ]  # fmt: skip


def _parquets() -> list[bytes]:
    import pandas as pd

    stream = io.BytesIO()
    pd.DataFrame({"architecture": ["a", "b"], "digits.test": [1.0, None]}).to_parquet(stream)
    return [stream.getvalue()]


def _mixes() -> list[bytes]:
    import pandas as pd

    from trainless.aggregation import AGGREGATES, aggregate

    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"logsynflow": rng.uniform(1, 9, 9), "nwot": rng.uniform(1, 9, 9)})
    with tempfile.TemporaryDirectory() as folder:
        path, found = Path(folder, "mix.json"), []
        for name in AGGREGATES:
            aggregate(name, ["logsynflow", "nwot"]).fit(scores).save(path)
            found.append(path.read_bytes())
    return found


def _mix() -> Callable[[Path], object]:
    import pandas as pd

    from trainless.aggregation import load_aggregate

    scores = pd.DataFrame({"logsynflow": [1.0, np.inf], "nwot": [np.nan, 2.0]})
    return lambda path: load_aggregate(path).score(scores)


def _stores() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "stores")
        make_stores(folder, ["a", "b"], np.random.default_rng(0))
        found = []
        for path in (folder / "good.db", folder / "old.db"):
            with closing(sqlite3.connect(path)) as opened:
                opened.execute("PRAGMA journal_mode = DELETE")
                opened.execute("PRAGMA page_size = 512")
                opened.execute("VACUUM")
            found.append(path.read_bytes())
    return found


def _store() -> Callable[[Path], object]:
    from trainless.errors import StoreError
    from trainless.store import Store

    def read(path: Path) -> None:
        with Store(path, create=False) as store:
            for run in store.runs():
                store.table(run)
            store.rows()
            store.notes("latency")
            for ask in (store.check, store.statistics, partial(Store("sqlite://").copy_from, store)):
                with suppress(StoreError):  # what one refuses, another may read
                    ask()

    return read


@cache
def _run_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for label in ("cat", "dog"):
            for number in range(12):
                write(folder / "pets" / label / f"{number}.png", picture(rng))
        make_runs(folder / "runs", folder / "pets")
        files = [path for path in (folder / "runs" / "finished").iterdir() if path.is_file()]
        return {path.name: path.read_bytes() for path in files}


_RUN = ("fit.json", "model.safetensors", "finished.pt", "preprocessing.json")


def _runs() -> list[bytes]:
    files = _run_files()
    return [bytes([number]) + files[name] for number, name in enumerate(_RUN)]


def _run(folder: Path) -> Harness:
    """One file of a run is another: what predict, export and a fit from it read before any of its code is run."""
    from trainless.automl.checkpoint import _read
    from trainless.automl.earlier import EarlierRun
    from trainless.automl.folders import RunFolder

    files = _run_files()
    for name, content in files.items():
        (folder / name).write_bytes(content)

    def read(content: bytes) -> None:
        name = _RUN[content[0] % len(_RUN)] if content else _RUN[0]
        (folder / name).write_bytes(content[1:])
        try:
            _ = RunFolder.read(folder).preprocessing
            _read(folder / "finished.pt")
            EarlierRun.read(folder, "from")
        finally:
            (folder / name).write_bytes(files[name])

    return read


def _searches() -> list[bytes]:
    header = '{"trainless": "replay", "format": 1}\n'
    row = json.dumps({"key": "a", "curve": [1.0, 2.5], "evaluations": 2, "run_off": 1.0, "took": 0.5})
    return [f"{header}{row}\n{row}\n".encode(), f"{header}{row[:20]}".encode(), header.encode()]


def _zips() -> list[bytes]:
    found = []
    for names in (["pets/cat/1.png", "pets/dog/1.png"], ["../1.png", "a.csv"], ["/etc/1.png"], ["a\\..\\..\\1.png"]):
        for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w", how) as opened:
                for name in names:
                    opened.writestr(name, bytes(2000))
            found.append(stream.getvalue())
    return found


def _zip(folder: Path) -> Harness:
    from trainless.ui.uploads import Allowance, unpack

    inner = folder / "inner" / "uploads"

    def read(content: bytes) -> None:
        try:
            unpack(io.BytesIO(content), "a.zip", inner, Allowance(2**20, 2**20, 100))
        finally:
            shutil.rmtree(inner, ignore_errors=True)
            assert not list(inner.parent.iterdir()), "something was written beside the folder"

    return read


def _weights() -> list[bytes]:
    import torch
    from safetensors.torch import save

    stream = io.BytesIO()
    torch.save({"conv_stem.weight": torch.zeros(2, 3, 3, 3)}, stream)
    return [
        stream.getvalue(),
        save({"conv_stem.weight": torch.zeros(2, 3, 3, 3)}),
        pickle.dumps(Trap()),
        struct.pack("<Q", 9),
    ]


PARSERS: dict[str, Parser] = {
    "architecture": Parser(_architecture, _architectures, ("search_spaces",)),
    "spec": Parser(
        _spec,
        _texts(
            "\0nasbench201(channels=8, cells=1)", "\0darts(4)", "\1full(epochs=8, mirror=yes)",
            "\1surrogate(base=full(epochs=2))", "\2nwot, log-rank(flops, nwot)", "\2params",
            "\3evolution(population=4)", '\1full("8")', "\3freerea",
        ),
        ("search_spaces", "estimators", "scoring", "strategies", "specs"),
    ),
    "quantity": Parser(
        _quantity,
        _texts("\0" + "90s", "\0" + "1h", "\1" + "45s,200", "\2c=0.5,r=0.25", "\3cifar10.edgegpu_latency=5", "\0041e6",
               "\0050.8M", "\0065ms", "\00720MiB"),
        ("units", "costs", "search", "estimators.fidelities"),
    ),
    "pickle": Parser(
        lambda _: importlib.import_module("trainless.safe_pickle").read_pickle, _pickles, ("safe_pickle",),
        (("pickle", "UnpicklingError"),),
    ),
    "cifar": Parser(_file("data_batch_1", _function("data.cifar", "read_cifar_file")), _batches, ("data",)),
    "npz": Parser(_file("a.npz", _function("data.arrays", "read_npz")), _archives, ("data",)),
    "csv": Parser(
        _list_in,
        _texts("path,label,split\n1.png,cat,train\n2.png,dog,train\n3.png,cat,test\n",
               "sep=;\nfile;class\n1.png;a\n2.png;b\n",
               '"path"\t"label"\n"1.png"\t"a,b"\n2\tc\n'),
        ("data",),
    ),
    "image": Parser(_file("image", _picture), _pictures, ("data",)),
    "text": Parser(
        _file("words.txt", _function("data.texts", "read_text")),
        _texts("the cat sat on the mat and the dog ran after the cat\n" * 100, "a b\n"), ("data",),
    ),
    "table": Parser(_table(".csv"), _csv_tables, ("tables",)),
    "gzip": Parser(_table(".csv.gz"), lambda: [gzip.compress(content) for content in _csv_tables()], ("tables",)),
    "parquet": Parser(_table(".parquet"), _parquets, ("tables",)),
    "mix": Parser(_file("mix.json", _mix), _mixes, ("aggregation",)),
    "replay": Parser(_file("replay.jsonl", _function("search.checkpoints", "Checkpoint")), _searches, ("search",)),
    "store": Parser(_file("scores.db", _store), _stores, ("store",)),
    "run": Parser(_run, _runs, ("automl", "export")),
    "weights": Parser(_file("weights.pt", _function("backbones.weights", "read_checkpoint")), _weights, ("backbones",)),
    "zip": Parser(_zip, _zips, ("ui.uploads",)),
}  # fmt: skip
