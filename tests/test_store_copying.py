"""Copies are equal to the last digit whichever way they go, and go on after a kill; damage to a store is found."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import sqlalchemy as sql
import store_version_1 as work

from trainless.errors import StoreError
from trainless.store import Run, Store, checking, copying
from trainless.store.copying import Copied
from trainless.store.schema import Layout
from trainless.types import Score

if TYPE_CHECKING:
    from postgresql_server import Server

RUNS = [Run("toy", "digits:00", seed, "channels=16,batch=64") for seed in range(3)]
SPECIAL = [math.inf, -math.inf, math.nan, -0.0, 0.0, 5e-324, -1.7976931348623157e308, 0.1, 2.0**53, 1 / 3]


def fill(store: Store) -> None:
    """Scores of several runs that follow each other, of all kinds, and notes."""
    for start in range(0, len(SPECIAL), 2):
        for run in RUNS:
            scores = [
                Score(
                    f"é {start} {number}", "nwot", value, "ok" if math.isfinite(value) else "not finite", "", 0.1, 2.5
                )
                for number, value in enumerate(SPECIAL[start : start + 2])
            ]
            store.write(run, scores, {"nwot": 1 + start % 4})
    store.write(RUNS[1], [Score("x", "own proxy", math.nan, "failed", "no memory: 'é'")], {"own proxy": 7})
    store.note("history", {f"{number:03}": [number, 1 / 3, math.inf] for number in range(40)})
    store.note("others", {"é" * 300: {"a": None}})


def contents(store: Store) -> tuple[pd.DataFrame, list[Run], list[dict[str, object]]]:
    return store.rows(), store.runs(), [store.notes(topic) for topic in ("history", "others")]


def assert_equal(first: Store, second: Store) -> None:
    """The same rows in the same order, every number to the last bit, times of writing included."""
    (rows, *others), (copies, *copied) = contents(first), contents(second)
    pd.testing.assert_frame_equal(rows, copies, check_exact=True)
    assert rows["value"].map(lambda value: value.hex()).tolist() == copies["value"].map(lambda v: v.hex()).tolist()
    assert repr(others) == repr(copied)


@pytest.mark.parametrize("chunk", [7, 50_000])
def test_there_and_back(tmp_path: Path, postgresql: Server, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK", chunk)
    seen: list[tuple[int, int]] = []
    with Store(tmp_path / "a.db") as first, Store(postgresql.new_database()) as second:
        fill(first)
        with Store(tmp_path / "b.db") as third:
            assert second.copy_from(first, lambda *step: seen.append(step)) == Copied(31, 0, 41, 0)
            assert third.copy_from(second) == Copied(31, 0, 41, 0)
            assert_equal(first, second)
            assert_equal(first, third)
            for target, source in ((second, first), (first, third)):
                assert target.copy_from(source) == Copied(0, 31, 0, 41)
            assert_equal(first, second)
            assert [store.check().faults for store in (first, second, third)] == [[]] * 3
    assert (seen[0], seen[-1]) == ((0, 72), (72, 72))
    assert seen == sorted(seen)


@pytest.mark.parametrize("upserts", [True, False], ids=["upsert", "any database"])
def test_what_is_there_stays_but_for_what_failed(
    tmp_path: Path, upserts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not upserts:
        monkeypatch.setattr("trainless.store.queries._UPSERTS", {})
    failed, good = [Score("a", "nwot", math.nan, "failed", reason) for reason in "xy"], Score("a", "nwot", 1.0)
    with Store(tmp_path / "a.db") as first, Store(tmp_path / "b.db") as second:
        first.write(RUNS[0], [failed[0]], {"nwot": 1})
        second.write(RUNS[0], [failed[1], Score("b", "nwot", 2.0)], {"nwot": 1})
        second.note("t", {"n": 1})
        first.note("t", {"n": 2, "m": 3})
        assert second.copy_from(first) == Copied(0, 1, 1, 1)
        assert second.rows(RUNS[0])["reason"].tolist() == ["y", ""]
        assert second.notes("t") == {"n": 1, "m": 3}
        first.write(RUNS[0], [good], {"nwot": 1})
        assert second.copy_from(first) == Copied(1, 0, 0, 2)
        assert second.table()["nwot"].to_dict() == {"a": 1.0, "b": 2.0}


def test_a_store_of_an_earlier_schema_is_copied_as_it_is(tmp_path: Path, postgresql: Server) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(Path(__file__).with_name("store_version_1.sql").read_text(encoding="utf-8"))
    before = work.dump(old)
    with Store(old, create=False) as source, Store(postgresql.new_database()) as target:
        copied = target.copy_from(source)
        assert (copied.scores, copied.scores_there) == (source.count(), 0)
        pd.testing.assert_frame_equal(target.rows(), source.rows(), check_exact=True)
        assert target.runs() == source.runs()
        assert target.check().faults == []
        with pytest.raises(StoreError, match="has schema 1, whose rows have no hashes to check"):
            source.check()
        assert source.statistics().proxies == target.statistics().proxies
    assert work.dump(old) == before


# Copies in chunks of 50 rows, and prints how far it came.
COPY = """
import sys
from trainless.store import Store, copying
copying.CHUNK = 50
with Store(sys.argv[1], create=False) as source, Store(sys.argv[2]) as target:
    target.copy_from(source, lambda done, total: print(done, total, flush=True))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("to_server", [True, False], ids=["to PostgreSQL", "to SQLite"])
def test_killed_it_goes_on(tmp_path: Path, postgresql: Server, to_server: bool) -> None:
    url, path = postgresql.new_database(), tmp_path / "scores.db"
    source, target = (str(path), url) if to_server else (url, str(path))
    count = 3000
    with Store(source) as store:
        scores = [Score(f"{number}", "nwot", number / 7) for number in range(count)]
        store.write(RUNS[0], scores, {"nwot": 1})
        store.note("t", {f"{number}": number for number in range(100)})
    killed = []
    for stop in (100, 1500):
        command = [sys.executable, "-W", "error", "-c", COPY, source, target]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line.split()[0]) >= stop:
                process.kill()
                break
        assert process.communicate(timeout=60)[1] == ""
        with Store(target, create=False) as store:
            killed.append(store.count())
            assert store.rows()["value"].tolist() == [number / 7 for number in range(killed[-1])]
    assert 0 < killed[0] < killed[-1] < count
    with Store(source, create=False) as read, Store(target) as written:
        copied = written.copy_from(read)
        assert (copied.scores, copied.scores_there) == (count - killed[-1], killed[-1])
        assert_equal(read, written)
        assert written.notes("t") == read.notes("t")


class TestCheck:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        with Store(tmp_path / "scores.db") as store:
            fill(store)
        return tmp_path / "scores.db"

    def test_a_sound_store(self, path: Path) -> None:
        with Store(path, create=False) as store:
            checked = store.check()
        assert (checked.scores, checked.notes, checked.failed, checked.faults) == (31, 41, 1, [])
        assert (checked.spaces, checked.proxies) == (["toy"], ["own proxy"])

    @pytest.mark.parametrize(
        ("statement", "faults"),
        [
            ("UPDATE scores SET architecture = 'other' WHERE id IN (2, 3)", ["2 scores with a wrong hash"]),
            ("UPDATE scores SET proxy_version = 9 WHERE id = 2", ["1 scores with a wrong hash"]),
            ("UPDATE runs SET seed = 9 WHERE id = 3", ["1 runs with a wrong hash"]),
            ("UPDATE runs SET protocol = '{\"batch\": 65}' WHERE id = 3", ["1 runs with a wrong hash"]),
            ("DELETE FROM runs WHERE id = 3", ["10 scores of no run"]),
            ("UPDATE notes SET name = 'other' WHERE id = 1", ["1 notes with a wrong hash"]),
            ("UPDATE notes SET topic_hash = 'other' WHERE id = 1", ["1 notes with a wrong hash"]),
            ("UPDATE scores SET value_text = '1' WHERE id = 2", ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET value = NULL, value_text = NULL WHERE id = 5",
             ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET value = 'text' WHERE id = 5", ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET value = 'text' WHERE id = 2", ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET value = x'ff' WHERE id = 2", ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET value = 9e999, value_text = NULL WHERE id = 2",
             ["1 scores without a plain value, or with two"]),
            ("UPDATE scores SET status = 'fine' WHERE id = 2", ["1 scores of an unknown status"]),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_counted(self, path: Path, statement: str, faults: list[str]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        with Store(path, create=False) as store:
            assert store.check().faults == faults

    @pytest.mark.parametrize(
        "statement",
        ["UPDATE runs SET seed = x'ff'", "UPDATE runs SET protocol = 7", "UPDATE scores SET architecture = x'ff'",
         "UPDATE notes SET topic = x'ff'"],
    )  # fmt: skip
    def test_what_is_never_written_is_one_sentence(self, path: Path, statement: str, tmp_path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        with Store(path, create=False) as store, Store(tmp_path / "copy.db") as copy:
            for ask in (store.check, partial(copy.copy_from, store)):
                with suppress(StoreError):  # or it is a fault that is counted, or copied as it is
                    ask()

    def test_runs_that_others_begin_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = checking._runs

        def first_without(connection: sql.Connection, layout: Layout) -> dict[int, sql.RowMapping]:
            monkeypatch.setattr(checking, "_runs", found)
            runs = found(connection, layout)
            return {number: run for number, run in runs.items() if number < max(runs)}

        monkeypatch.setattr(checking, "_runs", first_without)
        with Store(path, create=False) as store:
            assert store.check().faults == []

    def test_a_damaged_index(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA writable_schema = 1")
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, '\"value\"', 'seconds') "
                               "WHERE name = 'ix_scores_best'")  # fmt: skip
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'value)', 'seconds)') "
                               "WHERE name = 'ix_scores_best'")  # fmt: skip
        with Store(path, create=False) as store:
            faults = store.check().faults
        assert faults
        assert all("damage of the file: " in fault for fault in faults)


def test_statistics(tmp_path: Path, postgresql: Server) -> None:
    for location in (tmp_path / "scores.db", postgresql.new_database()):
        with Store(location) as store:
            empty = store.statistics()
            assert (empty.scores, empty.failed, empty.first, empty.last, empty.proxies) == (0, 0, None, None, [])
            fill(store)
            found, rows = store.statistics(), store.rows()
        assert (found.schema, found.scores, found.failed, found.runs, found.notes) == (3, 31, 1, 3, 41)
        assert found.architectures == {"toy": 11}
        assert found.size >= 20_000
        assert (found.first, found.last) == (rows["created"].min(), rows["created"].max())
        assert found.proxies == [
            {"space": "toy", "proxy": "nwot", "version": 1, "scores": 18, "failed": 0},
            {"space": "toy", "proxy": "nwot", "version": 3, "scores": 12, "failed": 0},
            {"space": "toy", "proxy": "own proxy", "version": 7, "scores": 1, "failed": 1},
        ]


@pytest.mark.parametrize("column", ["value", "seconds", "peak_memory"])
def test_a_store_with_values_of_another_kind_is_told_as_damaged(tmp_path: Path, column: str) -> None:
    """SQLite takes any value in any column; the copy meets it when it writes."""
    with Store(tmp_path / "odd.db") as odd:
        odd.write(Run("toy", "digits:00", 0, "batch=64"), [Score("a", "nwot", 1.5)], {"nwot": 1})
    with closing(sqlite3.connect(tmp_path / "odd.db")) as connection, connection:
        connection.execute(f"UPDATE scores SET {column} = 'a'")
    with Store(tmp_path / "odd.db", create=False) as odd, Store(tmp_path / "copy.db") as other:
        with pytest.raises(StoreError, match=r"odd\.db' holds what trainless never writes"):
            other.copy_from(odd)
        assert other.count() == 0
