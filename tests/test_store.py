"""Scores come back exactly as they were written, once each, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sql
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainless.errors import StoreError
from trainless.store import SCHEMA_VERSION, Run, Store, addresses, queries
from trainless.types import Score

RUN = Run("toy", "digits:1f3a", 0, "channels=16,cells=5,batch=64")
OTHER = Run("toy", "digits:1f3a", 1, "channels=16,cells=5,batch=64")
VERSIONS = {"nwot": 1, "snip": 1, "zen": 2}
SPECIAL = [math.nan, math.inf, -math.inf, 1e308, -1.7976931348623157e308, 5e-324, -2.5e-310, 0.0, -0.0, 0.1, 2.0**53]


def status_of(value: float) -> str:
    return "ok" if math.isfinite(value) else "not finite"


def score(architecture: str, proxy: str, value: float, status: str = "") -> Score:
    return Score(architecture, proxy, value, status or status_of(value))


def same(left: float, right: float) -> bool:
    """Equal to the last bit but for the many kinds of NaN."""
    return (math.isnan(left) and math.isnan(right)) or (
        left == right and math.copysign(1, left) == math.copysign(1, right)
    )


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


@pytest.fixture
def filled(path: Path) -> Path:
    with Store(path) as opened:
        opened.write(RUN, [score("a", "nwot", 1.5), score("b", "nwot", -math.inf)], VERSIONS)
    return path


class TestWriting:
    @pytest.mark.parametrize("value", SPECIAL, ids=str)
    def test_every_double_comes_back(self, store: Store, value: float) -> None:
        store.write(RUN, [score("a", "nwot", value)], VERSIONS)
        assert same(store.rows().loc[0, "value"], value)
        assert same(store.table().loc["a", "nwot"], value)

    def test_everything_else_comes_back(self, path: Path) -> None:
        with Store(path) as store:
            store.write(
                RUN,
                [
                    Score("|a~0|+é", "zen", np.float64(2.5), "ok", "", 0.25, 1024.5, 0.125),
                    Score("b", "nwot", math.nan, "failed", "out of memory: \udcff", 1.0, None),
                ],
                VERSIONS,
            )
        with Store(path, create=False) as store:
            rows = store.rows(RUN)
        created = pd.to_datetime(rows.pop("created"), format="ISO8601")
        assert (abs((pd.Timestamp.now("UTC") - created).dt.total_seconds()) < 60).all()
        assert rows.iloc[0].to_dict() == {
            "space": "toy", "task": "digits:1f3a", "seed": 0, "fidelity": "channels=16,cells=5,batch=64",
            "architecture": "|a~0|+é", "proxy": "zen", "proxy_version": 2, "value": 2.5, "status": "ok", "reason": "",
            "seconds": 0.25, "peak_memory": 1024.5, "spent": 0.125,
        }  # fmt: skip
        assert rows.loc[1, ["status", "reason"]].tolist() == ["failed", "out of memory: \\udcff"]
        assert rows.loc[1, ["peak_memory", "spent"]].isna().all()

    @pytest.mark.parametrize("status", ["ok", "not finite"])
    def test_what_is_there_stays(self, store: Store, status: str) -> None:
        store.write(RUN, [score("a", "nwot", 1, status)], VERSIONS)
        store.write(RUN, [score("a", "nwot", 2), score("a", "snip", 3)], VERSIONS)
        assert store.table().loc["a"].to_dict() == {"nwot": 1, "snip": 3}
        assert store.count() == 2

    def test_what_failed_is_replaced(self, store: Store) -> None:
        store.write(RUN, [score("a", "nwot", math.nan, "failed"), score("b", "nwot", 5)], VERSIONS)
        store.write(RUN, [Score("a", "nwot", math.nan, "failed", "again")], VERSIONS)
        assert store.rows()["reason"].tolist() == ["again", ""]
        store.write(RUN, [score("a", "nwot", 2)], VERSIONS)
        assert store.rows()[["architecture", "value", "status"]].values.tolist() == [["a", 2, "ok"], ["b", 5, "ok"]]

    @pytest.mark.parametrize(
        "other",
        [
            Run("other", RUN.task, RUN.seed, RUN.fidelity),
            Run(RUN.space, "other", RUN.seed, RUN.fidelity),
            Run(RUN.space, RUN.task, 2**63 - 1, RUN.fidelity),
            Run(RUN.space, RUN.task, -(2**63), RUN.fidelity),
            Run(RUN.space, RUN.task, RUN.seed, "other"),
        ],
        ids=["space", "task", "high seed", "low seed", "fidelity"],
    )
    def test_each_part_of_the_run_is_part_of_the_key(self, store: Store, other: Run) -> None:
        store.write(RUN, [score("a", "nwot", 1)], VERSIONS)
        store.write(other, [score("a", "nwot", 2)], VERSIONS)
        assert (store.table(RUN).loc["a", "nwot"], store.table(other).loc["a", "nwot"]) == (1, 2)
        assert store.runs() == [RUN, other]

    def test_no_scores_are_no_rows(self, store: Store) -> None:
        store.write(RUN, [], VERSIONS)
        assert store.count() == 0

    def test_all_or_nothing(self, store: Store) -> None:
        bad = Score("b", "nwot", 1.0, seconds=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="cannot be used, the database says"):
            store.write(RUN, [score("a", "nwot", 1), bad], VERSIONS)
        assert store.count() == 0

    def test_a_proxy_without_version(self, store: Store) -> None:
        with pytest.raises(StoreError, match="no version of the proxy 'new'"):
            store.write(RUN, [score("a", "nwot", 1), score("a", "new", 1)], VERSIONS)
        assert store.count() == 0

    def test_a_conflict_with_another_writer_is_tried_again(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        messages = iter(["deadlock detected", "UNIQUE constraint failed: scores.space"])
        insert = queries.insert_scores

        def disturbed(connection: sql.Connection, run: Run, rows: list[dict[str, object]]) -> None:
            insert(connection, run, rows)
            for message in messages:
                raise sql.exc.OperationalError("INSERT", {}, Exception(message))

        monkeypatch.setattr(queries, "insert_scores", disturbed)
        store.write(RUN, [score("a", "nwot", 1)], VERSIONS)
        assert store.table().loc["a", "nwot"] == 1


VALUES = st.sampled_from(SPECIAL) | st.floats(allow_subnormal=True)
ENTRIES = st.tuples(st.sampled_from("abc"), st.sampled_from(["nwot", "zen"]), VALUES, st.booleans(), st.integers(1, 2))
BATCHES = st.lists(st.tuples(st.sampled_from([RUN, OTHER]), st.lists(ENTRIES, max_size=6)), max_size=5)


@pytest.mark.slow
@pytest.mark.parametrize("upserts", [True, False], ids=["upsert", "any database"])
@given(batches=BATCHES)
@settings(max_examples=40)
@example(batches=[(RUN, [("a", "nwot", -0.0, False, 1), ("a", "nwot", 0.0, False, 1)])])
@example(batches=[(RUN, [("a", "nwot", 1.0, True, 1), ("a", "nwot", 2.0, False, 1), ("a", "nwot", 3.0, True, 1)])])
def test_any_writes_give_what_a_dict_gives(upserts: bool, batches: list[tuple[Run, list[tuple]]]) -> None:
    model: dict[tuple[Run, str, str, int], tuple[float, str]] = {}
    with pytest.MonkeyPatch.context() as patch, Store("sqlite://") as store:
        if not upserts:
            patch.setattr(queries, "_UPSERTS", {})
        for run, entries in batches:
            for version in (1, 2):
                chosen = [entry for entry in entries if entry[4] == version]
                scores = [score(a, p, value, "failed" if failed else "") for a, p, value, failed, _ in chosen]
                store.write(run, scores, {"nwot": version, "zen": version})
                for each in scores:
                    key = (run, each.architecture, each.proxy, version)
                    if key not in model or model[key][1] == "failed":
                        model[key] = (each.value, each.status)
        rows = store.rows()
        assert store.count() == len(rows) == len(model)
        assert store.runs() == list(dict.fromkeys(key[0] for key in model))
        for row in rows.to_dict("records"):
            run = Run(*(row[name] for name in ("space", "task", "seed", "fidelity")))
            value, status = model[run, row["architecture"], row["proxy"], row["proxy_version"]]
            assert same(row["value"], value)
            assert row["status"] == status
        for run in store.runs():
            check_table(store.table(run), {key[1:]: value for key, value in model.items() if key[0] == run})
            assert store.finished(run, {"nwot": 1, "zen": 2}) == {
                a: names
                for a in "abc"
                if (names := {p for p, v in (("nwot", 1), ("zen", 2))
                              if model.get((run, a, p, v), (0, "failed"))[1] != "failed"})
            }  # fmt: skip


def check_table(table: pd.DataFrame, model: dict[tuple[str, str, int], tuple[float, str]]) -> None:
    assert table.index.tolist() == list(dict.fromkeys(key[0] for key in model))
    assert table.columns.tolist() == list(dict.fromkeys(key[1] for key in model))
    for proxy in table.columns:
        latest = max(version for _, name, version in model if name == proxy)
        for architecture in table.index:
            value, status = model.get((architecture, proxy, latest), (math.nan, "failed"))
            assert same(table.loc[architecture, proxy], math.nan if status == "failed" else value)


class TestReading:
    def test_table_is_in_the_order_of_the_first_scores(self, store: Store) -> None:
        store.write(RUN, [score(a, p, 1) for a in ("z", "a", "m") for p in ("snip", "nwot")], VERSIONS)
        store.write(RUN, [score("m", "nwot", 7)], {"nwot": 2})
        table = store.table()
        assert table.index.tolist() == ["z", "a", "m"]
        assert (table.index.name, table.index.dtype) == ("architecture", "str")
        assert table.columns.tolist() == ["snip", "nwot"]

    def test_table_never_mixes_versions_of_a_proxy(self, store: Store) -> None:
        store.write(RUN, [score("a", "nwot", 1), score("b", "nwot", 2), score("b", "snip", 3)], VERSIONS)
        store.write(RUN, [score("b", "nwot", 20)], {"nwot": 2})
        expected = pd.DataFrame(
            {"nwot": [math.nan, 20], "snip": [math.nan, 3]}, pd.Index(["a", "b"], name="architecture")
        )
        pd.testing.assert_frame_equal(store.table(), expected)

    def test_table_of_one_run_needs_no_choice(self, filled: Path) -> None:
        with Store(filled) as store:
            assert store.table()["nwot"].to_dict() == {"a": 1.5, "b": -math.inf}
            assert store.table(OTHER).empty

    def test_table_of_several_runs_needs_one(self, filled: Path) -> None:
        with Store(filled) as store:
            store.write(OTHER, [score("a", "nwot", 1)], VERSIONS)
            with pytest.raises(StoreError, match=r"holds 2 runs, choose one .*1: toy.*seed 0.*2: toy.*seed 1"):
                store.table()
            assert store.table(OTHER)["nwot"].to_dict() == {"a": 1}

    def test_table_of_nothing(self, store: Store) -> None:
        with pytest.raises(StoreError, match="holds no scores"):
            store.table()
        assert store.rows().empty

    def test_finished_leaves_out_failed_and_other_versions(self, store: Store) -> None:
        store.write(
            RUN, [score("a", "nwot", 1), score("a", "snip", math.nan), score("b", "nwot", 1, "failed")], VERSIONS
        )
        store.write(RUN, [score("a", "zen", 1)], {"zen": 1})
        store.write(OTHER, [score("c", "nwot", 1)], VERSIONS)
        assert store.finished(RUN, VERSIONS) == {"a": {"nwot", "snip"}}
        assert store.finished(RUN, {"zen": 1}) == {"a": {"zen"}}
        assert store.finished(RUN, {}) == {}

    def test_finished_asks_once_for_a_whole_benchmark(self, store: Store, path: Path) -> None:
        cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
        store.write(RUN, [score("first", "proxy0", 1)], {"proxy0": 1})
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                """INSERT INTO scores (hash, run, architecture, proxy, proxy_version, value, status, reason, seconds,
                                       created)
                   WITH RECURSIVE a(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM a WHERE i < 15624),
                                  p(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM p WHERE j < 19)
                   SELECT i || ' ' || j, 1, ? || i, 'proxy' || j, 1, i + 0.5, 'ok', '', 0.1, '' FROM a, p""",
                (cell,),
            )
            connection.execute("DELETE FROM scores WHERE architecture = 'first'")
        names = {f"proxy{number}": 1 for number in range(20)}
        statements: list[str] = []
        sql.event.listen(store._database._engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
        found = store.finished(RUN, names)
        assert len([each for each in statements if "FROM scores" in each]) == 1
        assert len(found) == 15625
        assert all(proxies == names.keys() for proxies in found.values())


class TestOpening:
    def test_header_tells_what_it_is(self, filled: Path) -> None:
        with closing(sqlite3.connect(filled)) as connection:
            assert connection.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"trls", "big"),)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            version = connection.execute("SELECT value FROM trainless_meta WHERE name = 'schema'").fetchone()
        assert version == (str(SCHEMA_VERSION),)

    def test_a_store_half_made_is_made_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Killed:
            def __str__(self) -> str:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(queries, "SCHEMA_VERSION", Killed())  # written when all tables are made
            with pytest.raises(KeyboardInterrupt):
                Store(path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
        with Store(path) as store:
            assert store.count() == 0

    def test_several_may_make_the_same_store_at_once(self, tmp_path: Path) -> None:
        barrier = threading.Barrier(4, timeout=10)

        def make(_: int) -> list[int]:
            counts = []
            for number in range(40):
                barrier.wait()
                with Store(tmp_path / f"{number}.db") as store:
                    counts.append(store.count())
            return counts

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(make, range(4))) == [[0] * 40] * 4

    def test_an_empty_file_becomes_a_store(self, path: Path) -> None:
        path.touch()
        with Store(path) as store:
            assert store.count() == 0

    def test_a_url_of_a_file_is_that_file(self, filled: Path, tmp_path: Path) -> None:
        with Store(f"sqlite:///{filled}", create=False) as store:
            assert store.count() == 2
        with pytest.raises(StoreError, match="There is no store"):
            Store(f"sqlite:///{tmp_path / 'missing.db'}", create=False)

    def test_odd_file_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in (":memory:", "50% é?#.db"):
            with Store(name) as store:
                store.write(RUN, [score("a", "nwot", 1)], VERSIONS)
            assert (tmp_path / name).is_file()
            with Store(Path(name), create=False) as store:
                assert store.count() == 1

    def test_seed_beyond_64_bits(self) -> None:
        with pytest.raises(StoreError, match="seed is 9223372036854775808"):
            Run("toy", "digits", 2**63, "")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")


def empty_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")


def changed_schema(statement: str, *arguments: str) -> object:
    def make(path: Path) -> None:
        Store(path).close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement, arguments)

    return make


NEWER = changed_schema("UPDATE trainless_meta SET value = ?", str(SCHEMA_VERSION + 1))
NONE = changed_schema("DELETE FROM trainless_meta")


def text_file(path: Path) -> None:
    path.write_text("architecture,nwot\n" * 100)


def truncated(path: Path) -> None:
    with Store(path) as store:
        store.write(RUN, [score(str(number), "nwot", number) for number in range(500)], VERSIONS)
    path.write_bytes(path.read_bytes()[:5000])


def cut_within_the_last_page(path: Path) -> None:
    with Store(path) as store:
        store.write(RUN, [score(str(number), "nwot", number) for number in range(500)], VERSIONS)
    path.write_bytes(path.read_bytes()[:-2000])


def name_of_a_table_damaged(path: Path) -> None:
    Store(path).close()
    path.write_bytes(path.read_bytes().replace(b"trainless_meta", b"trainless_\xff\xffta"))


class TestWhatIsNoStore:
    @pytest.mark.parametrize("create", [True, False], ids=["writing", "reading"])
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (text_file, "is no SQLite database and so no store: give another file"),
            (foreign, r"is a database with other tables \(people\) and no store"),
            (NEWER, rf"written by a newer trainless \(schema {SCHEMA_VERSION + 1}, .*upgrade"),
            (NONE, "does not tell the version of its schema"),
            (truncated, "is a damaged SQLite database"),
            (cut_within_the_last_page, "is a damaged SQLite database"),
            (name_of_a_table_damaged, "is a damaged SQLite database"),
            (Path.mkdir, "is a folder, expected a file"),
        ],
    )
    def test_is_told_and_left_as_it_is(self, path: Path, make, message: str, create: bool) -> None:  # type: ignore[no-untyped-def]
        make(path)
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(StoreError, match=message) as caught:
            Store(path, create=create)
        assert "\n" not in str(caught.value)
        assert "sqlalche.me" not in str(caught.value)
        assert (path.read_bytes() if path.is_file() else None) == before

    def test_an_empty_database_is_not_read(self, path: Path) -> None:
        empty_database(path)
        with pytest.raises(StoreError, match="is an empty database and no store"):
            Store(path, create=False)

    def test_a_missing_file_is_not_made_for_reading(self, path: Path) -> None:
        with pytest.raises(StoreError, match=r"There is no store '.*scores\.db'"):
            Store(path, create=False)
        assert not path.exists()

    def test_missing_folder(self, path: Path) -> None:
        with pytest.raises(StoreError, match="which is no folder: make it first"):
            Store(path / "below" / "scores.db")

    def test_folder_that_is_a_file(self, filled: Path) -> None:
        with pytest.raises(StoreError, match="which is no folder"):
            Store(filled / "scores.db")

    @pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
    def test_impossible_names(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(StoreError, match="cannot be looked up"):
            Store(tmp_path / name)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("://", "is no database URL"),
            ("postgresql://me:secret@host:port/name", "is no database URL"),
            ("postgresql://me:a@secret@host/name", "has an @ within its user or password: write it as %40"),
            ("nosuch://me:secret@host/name", r"of a kind that SQLAlchemy does not know \('nosuch'\)"),
            ("postgresql://me:secret@host/name", r"needs the package 'psycopg': pip install 'trainless\[postgres\]'"),
        ],
    )
    def test_urls(self, url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(StoreError, match=message) as caught:
            Store(url)
        assert "secret" not in str(caught.value)


def on_connect(store: Store, pragma: str) -> None:
    """Make each connection that the store opens from now on run a pragma."""
    sql.event.listen(store._database._engine, "connect", lambda connection, _: connection.execute(pragma))


class TestWhatGoesWrong:
    def test_full_disk_costs_only_the_write(self, filled: Path) -> None:
        many = [score(f"{number}" * 50, "nwot", number) for number in range(2000)]
        with Store(filled) as store:
            on_connect(store, "PRAGMA max_page_count = 20")
            with pytest.raises(StoreError, match="disk is full: make room and run the same again"):
                store.write(RUN, many, VERSIONS)
        with Store(filled) as store:
            assert store.count() == 2
            store.write(RUN, many, VERSIONS)
            assert store.count() == 2002

    def test_long_lock(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(addresses, "BUSY_SECONDS", 0.05)
        with closing(sqlite3.connect(filled)) as other, Store(filled) as store:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="in use by another process for too long"):
                store.write(RUN, [score("c", "nwot", 1)], VERSIONS)
            assert store.count() == 2  # a writer does not hold up readers

    def test_read_only_database(self, filled: Path) -> None:
        with Store(filled) as store:
            on_connect(store, "PRAGMA query_only = 1")
            with pytest.raises(StoreError, match="it or its folder is read-only"):
                store.write(RUN, [score("c", "nwot", 1)], VERSIONS)

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where nobody can make files")
    def test_folder_where_nothing_can_be_made(self) -> None:
        with pytest.raises(StoreError, match="cannot be opened or made"):
            Store("/proc/scores.db")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_read_only_folder(self, filled: Path) -> None:
        filled.chmod(0o444)
        filled.parent.chmod(0o555)
        try:
            with Store(filled, create=False) as store:
                assert store.count() == 2
            with pytest.raises(StoreError, match=r"read-only|cannot be opened or made"), Store(filled) as store:
                store.write(RUN, [score("c", "nwot", 1)], VERSIONS)
            with pytest.raises(StoreError, match="cannot be opened or made"):
                Store(filled.parent / "new.db")
        finally:
            filled.parent.chmod(0o755)


class TestReadingOnly:
    def test_changes_nothing(self, filled: Path) -> None:
        before = contents(filled.parent)
        with Store(filled, create=False) as store:
            assert store.table()["nwot"].to_dict() == {"a": 1.5, "b": -math.inf}
            assert (store.count(), len(store.rows()), store.runs()) == (2, 2, [RUN])
            assert contents(filled.parent) == before
        assert contents(filled.parent) == before

    def test_cannot_write(self, filled: Path) -> None:
        with Store(filled, create=False) as store, pytest.raises(StoreError, match="read-only"):
            store.write(RUN, [score("c", "nwot", 1)], VERSIONS)
        with Store(filled, create=False) as store:
            assert store.count() == 2

    def test_sees_what_is_only_in_the_log(self, filled: Path, tmp_path: Path) -> None:
        """The log of a process that was killed, or of one that is writing."""
        killed = tmp_path / "killed"
        killed.mkdir()
        with Store(filled) as store, closing(sqlite3.connect(filled)) as other:
            other.execute("SELECT count(*) FROM scores").fetchone()  # keeps the log
            store.write(RUN, [score("c", "nwot", 1)], VERSIONS)
            with Store(filled, create=False) as reader:
                assert reader.count() == 3
            for file in tmp_path.glob("scores.db*"):
                shutil.copy(file, killed)
        (killed / "scores.db-shm").unlink()
        assert (killed / "scores.db-wal").stat().st_size > 0
        before = (killed / "scores.db").read_bytes()
        with Store(killed / "scores.db", create=False) as reader:
            assert reader.count() == 3
        assert (killed / "scores.db").read_bytes() == before

    def test_reads_again_what_a_writer_changed_meanwhile(self, filled: Path) -> None:
        seen = []

        def ask(connection: sql.Connection) -> int:
            found = connection.exec_driver_sql("SELECT count(*) FROM scores").scalar_one()
            seen.append(found)
            if len(seen) == 1:
                with Store(filled) as writer:
                    writer.write(RUN, [score("c", "nwot", 1)], VERSIONS)
            return found

        with Store(filled, create=False) as reader:
            assert reader._database.read(ask) == 3
        assert seen == [2, 3]


PROXIES = [f"proxy{number}" for number in range(20)]
BATCH = 10 * len(PROXIES)
# Writes batches with numbers from a start by a step, and prints the number of each when it is written.
WRITER = f"""
import sys
from trainless.store import Run, Store
from trainless.types import Score
path, start, stop, step = sys.argv[1], *map(int, sys.argv[2:])
proxies = {PROXIES}
print("ready", flush=True)
sys.stdin.readline()
with Store(path) as store:
    for batch in range(start, stop, step):
        scores = [Score(f"{{batch}}-{{row}}", proxy, float(start)) for row in range(10) for proxy in proxies]
        store.write(Run("toy", "digits", 0, ""), scores, dict.fromkeys(proxies, 1))
        print(batch, flush=True)
"""


def start_writer(path: Path, start: int, stop: int, step: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path), str(start), str(stop), str(step)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def batches(path: Path) -> dict[int, int]:
    """How many rows each batch has; the file is sound and no key is there twice."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Store(path, create=False) as store:
        rows = store.rows()
    assert not rows.duplicated(["architecture", "proxy"]).any()
    return rows["architecture"].str.partition("-")[0].astype(int).value_counts().to_dict()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_writer_loses_at_most_the_batch_in_flight(path: Path) -> None:
    moments = random.Random(0)
    number, killed = 0, 0
    for _ in range(5):
        process = start_writer(path, number, number + 100_000)
        go(process)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        out, errors = process.communicate(timeout=60)
        assert errors == ""
        killed += process.returncode == -signal.SIGKILL
        told = [int(line) for line in out.splitlines()]
        if not path.exists():  # killed before it made the store
            continue
        with Store(path) as store:
            stored = store.count()
        written = batches(path)
        assert stored == sum(written.values())
        assert all(count == BATCH for count in written.values()), "half a batch"
        assert set(told) <= written.keys(), "a batch was lost after it was written"
        assert len(written) <= number + len(told) + 1
        number = max(written, default=-1) + 1
        assert sorted(written) == list(range(number))
    assert killed == 5
    assert number > 5


@pytest.mark.slow
def test_two_writers_of_the_same_keys_and_a_reader(path: Path) -> None:
    forward, backward = start_writer(path, 0, 40), start_writer(path, 39, -1, -1)
    go(forward)
    go(backward)
    counts, refusals = [0], []
    while forward.poll() is None or backward.poll() is None:
        try:
            with Store(path, create=False) as reader:
                counts.append(reader.count())
        except StoreError as error:
            refusals.append((counts[-1], str(error)))
        time.sleep(0.005)
    for process in (forward, backward):
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert len(out.splitlines()) == 40
    assert batches(path) == dict.fromkeys(range(40), BATCH)
    # A reader is sent away only until the file is there and has its tables.
    assert all(count == 0 and re.search("There is no store|is an empty database", text) for count, text in refusals)
    assert counts == sorted(counts)
    assert all(count % BATCH == 0 for count in counts), "a reader saw half a batch"
    with Store(path, create=False) as store:
        by_batch = store.rows().groupby(lambda row: row // BATCH)["value"].nunique()
    assert (by_batch == 1).all(), "a batch of two writers"
