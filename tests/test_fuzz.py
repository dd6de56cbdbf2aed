"""Random command lines and inputs, and hostile ones of every kind that is known: read or refused, and never obeyed."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import pickle
import random
import re
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import fuzz_commands
import licenses
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sql
import torch
from commands import Command, write_store
from fuzz_corpus import PARSERS
from fuzz_inputs import HOSTILE_NAMES, TRACE, Trap, archive_that_declares, huge_picture
from fuzz_lines import Line, commands
from fuzz_parsers import mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from trainless.automl.folders import RunFolder
from trainless.backbones import weights
from trainless.cli.shared import new_store
from trainless.data import load_data, sizes
from trainless.data.preprocessing import Preprocessing
from trainless.errors import DataError, InputError, StoreError, TableError, TrainlessError
from trainless.export import plain_code, write_formats
from trainless.files import write_text
from trainless.markdown import escape
from trainless.search import parse_budget
from trainless.store import Store
from trainless.suite import proxy_from_file
from trainless.tables import plain, read_table
from trainless.terminal import print_json, print_rows, tell, visible
from trainless.ui.uploads import unpack

ROOT = Path(__file__).resolve().parent.parent
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the inputs of the command lines, which are made once."""
    return tmp_path_factory.mktemp("lines")


@pytest.mark.slow
@pytest.mark.xdist_group("command lines")
class TestCommandLines:
    """Whole command lines, in processes of their own."""

    def run(self, folder: Path, *options: str) -> None:
        command = [sys.executable, ROOT / "tools" / "fuzz_commands.py", "--workers", "1", "--out", folder, *options]
        # Of this NiceGUI believes that it is to test its pages.
        known = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        environment = {**known, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        print(done.stdout)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    def test_of_a_fixed_seed_keep_every_promise(self, folder: Path) -> None:
        self.run(folder, "--lines", "200", "--seed", "1")

    def test_of_a_fresh_seed_keep_every_promise(self, folder: Path) -> None:
        self.run(folder, "--lines", "50", "--seed", str(random.SystemRandom().randrange(10**6)))


class TestPromises:
    """What `tools/fuzz_commands.py` finds fault with."""

    @staticmethod
    def outcome(
        code: int = 0, out: str = "", err: str = "", changed: list[str] | None = None, json: bool = False
    ) -> fuzz_commands.Outcome:
        line = Line([], "show", ["out"], json)
        return fuzz_commands.Outcome(0, line, code, out, err, 0.1, False, changed or [])

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            ({"code": 3}, "exit code 3"),
            ({"code": 1, "err": "Traceback (most recent call last):\nValueError: x"}, "traceback"),
            ({"code": 1, "err": "trainless: This is a fault of trainless and none of the input (x)"}, "fault"),
            ({"code": 1}, "without a word"),
            ({"code": 2, "err": "trainless: a\nb.\n"}, "not one sentence"),
            ({"code": 2, "err": "trainless: a\n"}, "without its end"),
            ({"code": 2, "err": "trainless: a.\n", "changed": ["out"]}, "written though refused"),
            ({"changed": ["other"]}, "written unasked"),
            ({"out": "\x1b[1m"}, "control character"),
            ({"out": "{", "json": True}, "no JSON"),
            ({"out": "NaN", "json": True}, "no JSON"),
        ],
    )
    def test_each_is_held(self, given: dict[str, Any], kind: str) -> None:
        (found,) = fuzz_commands.faults(self.outcome(**given))
        assert kind in found

    def test_what_keeps_them_is_passed(self) -> None:
        assert not fuzz_commands.faults(self.outcome(out="[1]", changed=["out/a"], json=True))
        assert not fuzz_commands.faults(self.outcome(2, err="Note: a\ntrainless: b.\n"))

    def test_every_command_is_met(self) -> None:
        assert {"fit", "tables", "tables get", "hybrid fit", "ui"} <= set(commands())
        assert all(parameters for parameters in commands().values())


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
class TestParsers:
    """Each parser of `tools/fuzz_parsers.py`, with few inputs."""

    def test_reads_or_refuses(self, name: str, tmp_path: Path) -> None:
        parser = PARSERS[name]
        corpus, read = parser.corpus(), parser.make(tmp_path)
        promised, answers = parser.promised, set[bool]()

        def run(content: bytes) -> None:
            try:
                read(content)
                answers.add(True)
            except promised:
                answers.add(False)

        for content in corpus:
            run(content)
        assert True in answers, "nothing of the corpus is read"

        @settings(max_examples=40)
        @given(content=st.sampled_from(corpus), seed=st.integers(0, 2**32))
        def varied(content: bytes, seed: int) -> None:
            run(mutated(content, corpus, random.Random(seed)))

        @settings(max_examples=10)
        @given(content=st.binary(max_size=200))
        def arbitrary(content: bytes) -> None:
            run(content)

        varied()
        arbitrary()
        assert False in answers, "nothing is refused"


class TestHostilePickles:
    """A pickle that would run something leaves no trace, wherever one is read."""

    @pytest.fixture(autouse=True)
    def _leaves_no_trace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / TRACE).exists()

    def test_the_trap_would_leave_one(self, tmp_path: Path) -> None:
        pickle.loads(pickle.dumps(Trap()))
        (tmp_path / TRACE).rmdir()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_cifar_batches(self, protocol: int, tmp_path: Path) -> None:
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Trap()}, protocol))
        with pytest.raises(DataError, match="asks for"):
            load_data(tmp_path / "data_batch_1")

    def test_archives(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.array([Trap()], object), y=np.array([1]))
        with pytest.raises(DataError, match="without Python objects"):
            load_data(tmp_path / "a.npz")

    def test_checkpoints(self, tmp_path: Path) -> None:
        torch.save({"a": Trap()}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=r"a\.pt"):
            weights.read_checkpoint(tmp_path / "a.pt")


class TestBombs:
    """What is small as a file and large in memory is refused before it is unpacked."""

    def test_archives_that_declare_too_much(self, tmp_path: Path) -> None:
        for number, shape in enumerate([(10**6, 3, 1000, 1000), (2**40, 2**40, 2**40)]):
            path = tmp_path / f"{number}.npz"
            path.write_bytes(archive_that_declares(shape))
            with pytest.raises(DataError, match="cannot be read as a NumPy archive"):
                load_data(path)

    def test_archives_that_hold_too_much(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.npz"
        np.savez_compressed(path, x=np.zeros((4000, 1, 50, 50), np.uint8), y=np.arange(4000) % 2)
        assert path.stat().st_size < 30_000
        monkeypatch.setattr(sizes, "_memory", lambda: 10e6)
        monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("it was unpacked"))
        with pytest.raises(DataError, match=r"The arrays of .* need 0 GiB of memory"):
            load_data(path)

    def test_tables(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.csv.gz"
        path.write_bytes(gzip.compress(b"architecture,a.test\n" + b"".join(b"%d,1\n" % row for row in range(100_000))))
        assert len(read_table(path).frame) == 100_000
        monkeypatch.setattr(plain, "_MOST_BYTES", 1 << 18)
        with pytest.raises(TableError, match="unpacks to more"):
            read_table(path)
        path.write_bytes(gzip.compress(b"architecture" + b",a" * 20_000))
        with pytest.raises(TableError, match="20,001 columns"):
            read_table(path)

    def test_parquet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.parquet"
        pd.DataFrame({"architecture": ["a"] * 50_000, "a.test": 1.0}).to_parquet(path)
        monkeypatch.setattr(plain, "_MOST_CELLS", 50_000)
        with pytest.raises(TableError, match=r"50,000 rows of 2, more than"):
            read_table(path)

    def test_pictures(self, tmp_path: Path) -> None:
        for label in ("cat", "dog"):
            (tmp_path / "pets" / label).mkdir(parents=True)
        Image.new("1", (20_000, 20_000)).save(tmp_path / "pets" / "cat" / "a.png")
        (tmp_path / "pets" / "dog" / "a.bmp").write_bytes(huge_picture())
        assert (tmp_path / "pets" / "cat" / "a.png").stat().st_size < 100_000
        with pytest.raises(DataError):
            load_data(tmp_path / "pets")


class TestNames:
    """Names of classes, files and proxies are shown, and never obeyed."""

    def test_terminals_see_no_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        hostile = [*HOSTILE_NAMES, "\x9b31m", "\u202egnp.exe", "bell\a"]
        print_rows([{"name": name, "number": 1} for name in hostile])
        print_rows([dict.fromkeys(hostile, name) for name in hostile])
        print_json({name: [name] for name in hostile})
        tell("\n".join(hostile))
        out = capsys.readouterr().out
        assert not CONTROL.search(out)
        assert "猫" in out
        assert visible("two\nlines") == r"two\nlines"

    def test_json_gives_them_back(self, capsys: pytest.CaptureFixture[str]) -> None:
        names = [*HOSTILE_NAMES, "\x9b31m", "\u2028"]
        print_json(names)
        assert json.loads(capsys.readouterr().out) == names

    def test_errors_are_one_line(self, command: Command, tmp_path: Path) -> None:
        for name in HOSTILE_NAMES:
            said = command.refusal("show", tmp_path / f"{name}.db")
            assert not CONTROL.search(said)

    def test_stores_with_such_names(self, command: Command, tmp_path: Path) -> None:
        scores = pd.DataFrame({name: [1.0, 2.0] for name in HOSTILE_NAMES}, ["\x1b[1ma", "'; DROP TABLE scores;--"])
        write_store(tmp_path / "a.db", scores)
        code, out, _ = command("show", tmp_path / "a.db")
        assert code == 0
        assert not CONTROL.search(out)
        assert set(command.document("show", tmp_path / "a.db")[0]) == {"architecture", *HOSTILE_NAMES}

    def test_code_and_onnx_and_program(self, tmp_path: Path) -> None:
        classes = (*HOSTILE_NAMES, '"""', "\\", "'''\nimport os")
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, len(classes))).eval()
        title = '"""\nraise SystemExit(3)\n"""'
        made = plain_code(network, (1, 4, 4), classes, (0.5,), (0.5,), title)
        source = tmp_path / "network.py"
        source.write_text(made.source, encoding="utf-8")
        save_file(dict(made.weights), tmp_path / "model.safetensors")
        spec = importlib.util.spec_from_file_location("hostile", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert classes == module.CLASSES
        write_formats(network, Preprocessing(1, 4, 4), classes, ["onnx"], tmp_path, torch.rand(3, 1, 4, 4))
        (tmp_path / "images").mkdir()
        Image.new("L", (4, 4)).save(tmp_path / "images" / "\x1b[31m.png")
        done = subprocess.run(
            [sys.executable, tmp_path / "predict.py", tmp_path / "images"], capture_output=True, check=True
        )
        assert b"\x1b" not in done.stdout
        assert len(done.stdout.splitlines()) == 1

    def test_markdown(self) -> None:
        for name in HOSTILE_NAMES:
            assert "\n" not in escape(name)
            assert "<" not in escape(name)


class TestFaults:
    """A fault of trainless is told as one, in one sentence; the input is not blamed for it."""

    def test_is_one_sentence(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.search_spaces.SEARCH_SPACES", {"a": lambda: 1 / 0})
        code, out, err = command("spaces")
        assert (code, out) == (1, "")
        assert re.fullmatch(r"trainless: This is a fault .*\(ZeroDivisionError: .* in \w+\.py, line \d+\).*\n", err)
        monkeypatch.setenv("TRAINLESS_TRACEBACK", "1")
        with pytest.raises(ZeroDivisionError):
            command("spaces")

    def test_memory_is_none(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        def allocate() -> object:
            return np.ones(2**50)

        monkeypatch.setattr("trainless.search_spaces.SEARCH_SPACES", {"a": allocate})
        code, _, err = command("spaces")
        assert (code, err[:40]) == (1, "trainless: This needs more memory than t")

    def test_interrupted_before_a_command_begins(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("trainless.cli.app", interrupt)
        assert command("spaces") == (130, "", "trainless: interrupted. Run the same command again.\n")


class TestRefusals:
    """Of each kind of fault that the command lines have found, one."""

    def test_a_number_of_thousands_of_digits(self) -> None:
        with pytest.raises(InputError, match="The budget is"):
            parse_budget("9" * 5000)

    def test_odd_blanks_around_a_number(self) -> None:
        assert parse_budget("\x1f 5\x1c").evaluations == 5

    def test_facts_nested_too_deep(self, tmp_path: Path) -> None:
        (tmp_path / "fit.json").write_text("[" * 100_000)
        with pytest.raises(InputError, match="is no folder that"):
            RunFolder.read(tmp_path)

    @pytest.mark.parametrize("change", ["value = 'a'", "architecture = x'00ff'", "value_text = 'b', value = NULL"])
    def test_stores_with_other_values(self, change: str, tmp_path: Path) -> None:
        write_store(tmp_path / "a.db")
        with sql.create_engine(f"sqlite:///{tmp_path / 'a.db'}").begin() as connection:
            connection.exec_driver_sql(f"UPDATE scores SET {change}")
        with Store(tmp_path / "a.db", create=False) as store, pytest.raises(StoreError, match="damaged"):
            store.table()

    def test_code_that_ends_the_program(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "quits.py").write_text("raise SystemExit(0)")
        with pytest.raises(InputError, match="cannot be imported"):
            proxy_from_file(f"{tmp_path}/quits.py:MINE")

    def test_no_store_is_left_of_what_is_refused(self, command: Command, tmp_path: Path) -> None:
        store = tmp_path / "a.db"
        small = ["--data", "digits", "--space", "nasbench201(channels=2, cells=1)", "--store", store, "--workers", "0"]
        command.refusal("score", *small, "--sample", 1, "--dtype", "wrong")
        command.refusal("search", *small, "--strategy", "wrong")
        command.refusal("search", *small, "--score", "accuracy-in-time")
        assert list(tmp_path.iterdir()) == []

    def test_a_store_of_an_earlier_search_is_as_it_was(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "same").mkdir()
        for label in ("cat", "dog"):
            for number in range(4):
                path = tmp_path / "same" / label / f"{number}.png"
                path.parent.mkdir(exist_ok=True)
                Image.new("L", (8, 8), 7).save(path)
        write_store(tmp_path / "a.db")
        before = (tmp_path / "a.db").read_bytes()
        said = command.refusal("search", "--data", tmp_path / "same", "--store", tmp_path / "a.db", "--batch-size", 4)
        assert "Fewer than 2 remain" in said
        assert (tmp_path / "a.db").read_bytes() == before

    def test_no_name_of_a_file(self, command: Command, tmp_path: Path) -> None:
        write_store(tmp_path / "a.db")
        assert "it is a folder" in command.refusal("show", tmp_path / "a.db", "--csv", "/")

    def test_archives_with_an_empty_name(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
            opened.writestr("pets/cat/1.png", b"")
            opened.writestr("name.png", b"")
        content = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(content.replace(b"name.png", b"\0ame.png"))  # what follows a NUL is cut off
        assert unpack(tmp_path / "a.zip", "a.zip", tmp_path / "uploads").name == "pets"

    @pytest.mark.parametrize("is_new", [True, False])
    def test_a_store_that_holds_something_stays(self, is_new: bool, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        if not is_new:
            with Store(path) as store:
                assert store.is_empty()

        def fail() -> None:
            with new_store(str(path)):
                if is_new:
                    write_store(path)
                raise TrainlessError("later")

        with pytest.raises(TrainlessError, match="later"):
            fail()
        assert path.exists()

    @pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
    @pytest.mark.parametrize("comes_to_tables", [True, False])
    def test_a_store_that_holds_nothing_goes(self, form: str, comes_to_tables: bool, tmp_path: Path) -> None:
        path = tmp_path / "a.db"

        def fail() -> None:
            with new_store(form.format(path)):
                if comes_to_tables:
                    Store(path).close()
                else:
                    path.touch()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_a_device_is_written_to_and_not_replaced(self, tmp_path: Path) -> None:
        place = tmp_path / "a.csv"
        place.symlink_to("/dev/full")
        with pytest.raises(InputError, match="No space left on device"):
            write_text(place, "x")
        assert place.is_symlink()
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]

    def test_a_long_name_is_no_fault(self, command: Command, tmp_path: Path) -> None:
        long = "a" * 5000
        for arguments in (("predict", long, "b"), ("predict", tmp_path, long), ("tables", "--data", long)):
            assert command.refusal(*arguments)


class TestLicences:
    """The list of licences of `tools/licenses.py`."""

    def test_all_of_the_lock_file_are_accepted(self) -> None:
        rows = list(licenses.listed(licenses.LOCK))
        assert len(rows) > 100
        assert [row for row in rows if not licenses.is_accepted(row[2])] == []

    @pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "UNKNOWN", "", "Proprietary"])
    def test_others_are_not(self, licence: str) -> None:
        assert not licenses.is_accepted(licence)

    def test_where_it_stands(self) -> None:
        metadata = Message()
        assert licenses.licence_of(metadata) == "UNKNOWN"
        metadata["Classifier"] = "License :: OSI Approved :: MIT License"
        metadata["License"] = "Permission is hereby granted, free of charge, to any person obtaining a copy of this"
        assert licenses.licence_of(metadata) == "MIT"
        metadata["License-Expression"] = "MIT AND (Apache-2.0 OR GPL-3.0-only)"
        assert licenses.licence_of(metadata) == "MIT AND (Apache-2.0 OR GPL-3.0-only)"
        assert not licenses.is_accepted(licenses.licence_of(metadata))
