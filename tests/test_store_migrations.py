"""A store that the version with schema 1 wrote is read and brought to the present schema without losing a bit."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import store_version_1 as work
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from trainless.errors import StoreError
from trainless.search.journal import Journal
from trainless.store import SCHEMA_VERSION, Run, Store
from trainless.store.migrations import migrate, schema_1, schema_2
from trainless.store.schema import NOTES, RUNS, SCORES
from trainless.study import import_scores
from trainless.types import Score

DUMP = Path(__file__).with_name("store_version_1.sql")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The store as that version left it."""
    path = tmp_path / "scores.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
    return path


def old_rows(path: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table of schema 1, read without trainless."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")]


def bits(value: float | None, text: str | None = None) -> bytes:
    """The bits of a double; all kinds of NaN are one."""
    number = float(text) if text is not None else math.nan if value is None else value
    return struct.pack("<d", math.nan if math.isnan(number) else number)


def keys_and_bits(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """All that a row of schema 1 holds, the numbers as bits."""
    texts = (
        "space",
        "task",
        "seed",
        "fidelity",
        "architecture",
        "proxy",
        "proxy_version",
        "status",
        "reason",
        "created",
    )
    numbers = ("seconds", "peak_memory")
    return [
        (*(row[name] for name in texts), bits(row["value"], row.get("value_text")), *(bits(row[n]) for n in numbers))
        for row in rows
    ]


def forbidden(formula: work.Formula) -> work.Formula:
    def compute(*signals: object) -> float:
        raise AssertionError("what is stored was computed again")

    return compute


def schema_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT value FROM trainless_meta WHERE name = 'schema'").fetchone()[0])


def test_the_old_store_is_what_that_version_wrote(old: Path) -> None:
    """It has the kinds of scores and notes that the tests below are about."""
    scores, notes = old_rows(old, "scores"), old_rows(old, "notes")
    assert schema_of(old) == "1"
    assert {row["status"] for row in scores} == {"ok", "not finite", "failed"}
    assert {row["value_text"] for row in scores} == {None, "inf", "-inf", "nan", "-0.0"}
    assert {row["space"] for row in scores} == {"nasbench201", "mobile"}
    assert {row["proxy_version"] for row in scores} == {1, 2}
    topics = {row["topic"].rpartition(" ")[0] for row in notes}
    assert topics == {"history of", "latencies of", "trainings of", ""}


@pytest.mark.parametrize("chunk", [10_000, 7])
def test_nothing_is_lost_and_every_bit_kept(old: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_2, "_CHUNK", chunk)
    before, notes = old_rows(old, "scores"), old_rows(old, "notes")
    with Store(old) as store:
        rows = store.rows()
        assert keys_and_bits(rows.to_dict("records")) == keys_and_bits(before)
        assert rows["spent"].isna().all()
        assert store.runs() == list(dict.fromkeys(Run(*(row[n] for n in schema_1.RUN_COLUMNS)) for row in before))
        for topic in {row["topic"] for row in notes}:
            found = store.notes(topic)
            expected = [(row["name"], row["value"]) for row in notes if row["topic"] == topic]
            assert [(name, json.dumps(value)) for name, value in found.items()] == expected
    assert schema_of(old) == str(SCHEMA_VERSION)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"trainless_meta", "runs", "scores", "notes"}


@pytest.mark.parametrize("create", [True, False], ids=["migrated", "read as it is"])
def test_scorers_find_all_they_scored_and_compute_nothing(old: Path, create: bool) -> None:
    before = {tuple(row[n] for n in ("seed", "fidelity", "architecture", "proxy", "proxy_version")): row
              for row in old_rows(old, "scores")}  # fmt: skip
    with Store(old, create=create) as store:
        for scorer in work.scorers(store, forbidden):
            architectures = work.architectures(scorer)
            names = {proxy.name for proxy in scorer.proxies}
            versions = {proxy.name: proxy.version for proxy in scorer.proxies}
            finished = store.finished(scorer.run, versions)  # of the search too, which belongs to one of these runs
            assert {str(each): finished[str(each)] for each in architectures} == {
                str(each): names for each in architectures
            }
            count, table = store.count(), scorer.score(architectures)
            assert scorer.failures == []
            assert store.count() == count
            for architecture in table.index:
                for proxy in names:
                    row = before[scorer.run.seed, scorer.run.fidelity, architecture, proxy, versions[proxy]]
                    assert bits(table.loc[architecture, proxy]) == bits(row["value"], row["value_text"])
            with scorer.session() as score:
                members = [scorer.space.parse(text) for text in table.index]
                assert [set(found) for found in score(members)] == [names] * len(members)


def test_only_what_failed_is_tried_again(old: Path) -> None:
    with Store(old) as store:
        before = store.rows()
        scorer = work.failing(store, forbidden, version=2)
        table = scorer.score(work.CELLS[:2])
        assert table["odd_version"].tolist() == [2, 2]
        assert [(each.architecture, each.proxy) for each in scorer.failures] == [(work.DEAD, "snip")]
        about = ["created", "peak_memory", "spent"]
        pd.testing.assert_frame_equal(store.rows().drop(columns=about), before.drop(columns=about))
        shown = store.table(scorer.run)
        assert shown["odd_version"].tolist() == [2, 2], "of two versions the later one is shown"
        store.write(scorer.run, [Score(work.DEAD, "snip", 7.0)], {"snip": 1})
        assert store.table(scorer.run).loc[work.DEAD, "snip"] == 7
        assert store.count() == len(before)


def test_a_search_goes_on_without_computing_anything(old: Path) -> None:
    notes_before = old_rows(old, "notes")
    with Store(old) as store:
        scores = store.rows()
        topics = {row["topic"] for row in notes_before} - {"searches"}
        notes = {topic: store.notes(topic) for topic in topics}
        (settings,) = [entry["settings"] for entry in store.notes("searches").values()]
        told = len(Journal(store, settings, resume=True)._before)
        found = work.search(store, forbidden).run(resume=True)
        assert len(found.evaluations) == 4
        assert told > 4
        pd.testing.assert_frame_equal(store.rows(), scores)
        assert {topic: list(store.notes(topic).items()) for topic in topics} == {
            topic: list(values.items()) for topic, values in notes.items()
        }


def test_published_scores_are_imported_once(old: Path) -> None:
    with Store(old) as store:
        count = store.count()
        run = import_scores(work.published(), store)
        assert store.count() == count
        assert run.fidelity == "origin=a paper, table=2, commit 00"
        assert run in store.runs()


def test_reading_leaves_the_file_as_it_is(old: Path) -> None:
    topics = {row["topic"] for row in old_rows(old, "notes")}
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in old.parent.iterdir()}
    with Store(old, create=False) as reader:
        rows, runs, count = reader.rows(), reader.runs(), reader.count()
        tables = {run: (reader.table(run), reader.rows(run)) for run in runs}
        notes = {topic: reader.notes(topic) for topic in topics}
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in old.parent.iterdir()} == before
    with Store(old) as store:
        pd.testing.assert_frame_equal(store.rows(), rows)
        assert (store.runs(), store.count()) == (runs, count)
        for run, (table, own) in tables.items():
            pd.testing.assert_frame_equal(store.table(run), table)
            pd.testing.assert_frame_equal(store.rows(run), own)
        assert {topic: store.notes(topic) for topic in notes} == notes


def test_nothing_is_written_to_what_was_opened_to_be_read(old: Path) -> None:
    before = old.read_bytes()
    with Store(old, create=False) as store, pytest.raises(StoreError, match="has schema 1 and was opened to be read"):
        store.note("loose", {"a": 1})
    assert old.read_bytes() == before


def test_a_reader_goes_on_while_another_migrates(old: Path) -> None:
    with Store(old, create=False) as reader:
        before = reader.rows()
        Store(old).close()
        pd.testing.assert_frame_equal(reader.rows(), before)


def test_a_url_opened_to_be_read_is_not_migrated(old: Path) -> None:
    with Store(f"sqlite:///{old}?timeout=5", create=False) as store:
        assert store.count() == len(old_rows(old, "scores"))
        with pytest.raises(StoreError, match=r"has schema 1 and was opened to be read: open it for writing"):
            store.note("loose", {"a": 1})
    assert schema_of(old) == "1"


def test_a_store_without_notes(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("DROP TABLE notes")
    with Store(old, create=False) as reader:
        assert reader.notes("loose") == {}
    with Store(old) as store:
        assert store.notes("loose") == {}
        store.note("loose", {"a": 1})
        assert store.notes("loose") == {"a": 1}


# Opens a store, and waits in the middle of its migration.
KILLED = """
import sys, time
from trainless.store import Store
from trainless.store.migrations import schema_2
def wait(*arguments):
    print("in the middle", flush=True)
    time.sleep(60)
schema_2.{function} = wait
Store(sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("function", ["_move_scores", "_move_notes"])
def test_killed_in_between_it_has_the_earlier_schema(old: Path, function: str) -> None:
    before = work.dump(old)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(function=function), str(old)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert work.dump(old) == before
    with Store(old) as store:
        assert keys_and_bits(store.rows().to_dict("records"))
    assert schema_of(old) == str(SCHEMA_VERSION)


def test_a_fault_in_between_leaves_the_earlier_schema(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = work.dump(old)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(schema_2, "_move_notes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(old)
    assert work.dump(old) == before


def test_several_may_open_it_at_once(old: Path) -> None:
    before, barrier = keys_and_bits(old_rows(old, "scores")), threading.Barrier(4, timeout=30)

    def opened(number: int) -> list[tuple[Any, ...]]:
        barrier.wait()
        with Store(old) as store:
            store.note(f"topic {number}", {"a": number})
            return keys_and_bits(store.rows().to_dict("records"))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(opened, range(4))) == [before] * 4
    with Store(old) as store:
        assert [store.notes(f"topic {number}") for number in range(4)] == [{"a": number} for number in range(4)]


def test_a_process_of_the_earlier_version_cannot_write_any_more(old: Path) -> None:
    (row,) = [row for row in old_rows(old, "scores") if row["id"] == 1]
    Store(old).close()
    insert = f"INSERT INTO scores ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    with closing(sqlite3.connect(old)) as connection, pytest.raises(sqlite3.OperationalError, match="no column named"):
        connection.execute(insert, tuple(row.values()))


def test_other_databases_are_not_migrated_half() -> None:
    connection: Any = SimpleNamespace(dialect=SimpleNamespace(name="mysql"))
    with pytest.raises(StoreError, match="'scores' has an earlier schema, and a database of the kind 'mysql' cannot"):
        migrate(connection, "scores")


class TestKeys:
    @pytest.mark.parametrize(
        ("change", "length"),
        [(lambda text: Run(text, "t", 0, "f"), 70), (lambda text: Run("s", text, 0, "f"), 300),
         (lambda text: Run("s", "t", 0, f"a={text},b=1"), 5000)],
    )  # fmt: skip
    def test_runs_of_any_length(self, tmp_path: Path, change: Callable[[str], Run], length: int) -> None:
        runs = [change("x" * length + end) for end in "ab"]
        with Store(tmp_path / "scores.db") as store:
            for number, run in enumerate(runs):
                store.write(run, [Score("a" * 3000, "p" * 100, number)], {"p" * 100: 1})
            assert store.runs() == runs
            assert [store.table(run).iloc[0, 0] for run in runs] == [0, 1]
            store.note("t" * 5000, {"n" * 5000: 1})
            assert store.notes("t" * 5000) == {"n" * 5000: 1}

    def test_columns_have_no_limit_where_keys_stand(self) -> None:
        for table, names in (
            (RUNS, ("space", "task")),
            (SCORES, ("architecture", "proxy")),
            (NOTES, ("topic", "name")),
        ):
            text = str(CreateTable(table).compile(dialect=postgresql.dialect()))
            assert all(f"{name} TEXT NOT NULL" in text for name in names)
            assert "UNIQUE (hash)" in text

    def test_the_protocol_can_be_asked_for_by_name(self, old: Path) -> None:
        Store(old).close()
        query = "SELECT DISTINCT json_extract(protocol, '$.channels'), typeof(protocol) FROM runs WHERE space = ?"
        with closing(sqlite3.connect(old)) as connection:
            found = set(connection.execute(query, ("nasbench201",)))
        assert found == {(1, "text"), (2, "text"), (4, "text"), (None, "text")}

    @pytest.mark.parametrize(
        "text",
        ["", "a", "a=1", "a=1,b=x", "a=01", "a=-0", "a=1e3", "a=1.50", "a=0.1", "a=True", "a=1,a=2", "a=1,", ",", "=",
         "a=b=c", "a= 1", "a=9" + "9" * 30, "é=ü", 'a="x"', "a=nan", "a=inf", "origin=paper 1, 2 @ 00"],
    )  # fmt: skip
    def test_any_fidelity_comes_back(self, text: str) -> None:
        run = Run("s", "t", 0, text)
        with Store("sqlite://") as store:
            store.write(run, [Score("a", "nwot", 1.0)], {"nwot": 1})
            assert store.runs() == [run]
            assert store.rows(run)["fidelity"].tolist() == [text]
            assert np.isclose(store.table(run).iloc[0, 0], 1)
