"""Stores of every earlier schema come to the present one on SQLite and on PostgreSQL, whole or not at all."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from trainless.errors import StoreError
from trainless.store import SCHEMA_VERSION, Run, Store
from trainless.store.addresses import parse_url
from trainless.store.migrations import schema_1, schema_2
from trainless.store.schema import META, SCORES
from trainless.types import Score

if TYPE_CHECKING:
    from postgresql_server import Server

EARLIER = {1: schema_1.SCORES.metadata, 2: schema_2._metadata}
Make = Callable[[int], str]


def written_by(version: int, path: Path) -> str:
    """The file that the version of trainless with a schema wrote; its URL."""
    dump = Path(__file__).with_name(f"store_version_{version}.sql")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a store of an earlier schema; on PostgreSQL from its tables, with the rows of the file."""

    def made(version: int) -> str:
        file = written_by(version, tmp_path / "scores.db")
        if request.param == "sqlite":
            return file
        url: str = request.getfixturevalue("postgresql").new_database()
        tables = EARLIER[version].sorted_tables
        with engine(file).connect() as old, engine(url).begin() as new:
            META.create(new)
            EARLIER[version].create_all(new)
            for table in (META, *tables):
                new.execute(table.insert(), [dict(row) for row in old.execute(sql.select(table)).mappings()])
            for table in tables:  # numbers that were given do not move the sequences
                new.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
                )
        return url

    return made


def engine(url: str) -> sql.Engine:
    return sql.create_engine(parse_url(url), poolclass=sql.NullPool)


def contents(store: Store) -> tuple[pd.DataFrame, Any]:
    topics = ("loose", "searches", "latencies of 91377fa62e0b1050", "history of c95245c2a12646ca")
    return store.rows(), (store.runs(), repr([list(store.notes(topic).items()) for topic in topics]))


def differences(url: str) -> list[str]:
    """What Alembic would change of the tables for them to be those that `schema` describes."""
    with engine(url).connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), SCORES.metadata)
    return [change[0] if isinstance(change, tuple) else change[0][0] for change in found]


def numbers_of_64_bits(url: str) -> set[tuple[Any, ...]]:
    with engine(url).connect() as connection:
        query = (
            "SELECT c.relname, s.seqtypid::regtype::text FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid "
        )
        query += "JOIN pg_class c ON c.oid = d.refobjid WHERE d.deptype = 'a'"
        return {tuple(row) for row in connection.exec_driver_sql(query)}


def test_a_new_store_has_the_tables_of_the_schema(tmp_path: Path, postgresql: Server) -> None:
    for url in (f"sqlite:///{tmp_path / 'new.db'}", postgresql.new_database()):
        Store(url).close()
        assert differences(url) == []
    assert numbers_of_64_bits(url) == {("scores", "bigint"), ("notes", "bigint"), ("runs", "integer")}


@pytest.mark.parametrize("version", EARLIER)
def test_every_earlier_schema(version: int, make: Make) -> None:
    url = make(version)
    with Store(url, create=False) as store:
        before, others = contents(store)
        assert store.statistics().schema == version
        assert len(before) > 100
    assert differences(url) != []
    with Store(url) as store:
        after, same = contents(store)
        pd.testing.assert_frame_equal(after, before, check_exact=True)
        assert same == others
        assert store.check().faults == []
        assert store.statistics().schema == SCHEMA_VERSION
        run = store.runs()[0]
        table = store.table(run)
        best = store.best(run, "params", 2)
        assert best["params"].tolist() == sorted(table["params"], reverse=True)[:2]
        store.write(run, [Score("new", "params", 1.0)], {"params": 1})
        store.note("loose", {"new": 1})
        assert store.rows()["architecture"].iloc[-1] == "new"
    assert differences(url) == []
    if url.startswith("postgresql"):
        assert numbers_of_64_bits(url) == {("scores", "bigint"), ("notes", "bigint"), ("runs", "integer")}


@pytest.mark.parametrize("version", EARLIER)
def test_several_may_open_it_at_once(version: int, make: Make) -> None:
    url = make(version)

    def opened(number: int) -> int:
        with Store(url) as store:
            store.write(Run("toy", "t", number, ""), [Score("a", "nwot", 1.0)], {"nwot": 1})
            return store.statistics().schema

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(opened, range(3))) == [SCHEMA_VERSION] * 3
    with Store(url, create=False) as store:
        assert store.check().faults == []
        assert len([run for run in store.runs() if run.space == "toy"]) == 3


# Opens a store, and waits at the end of its migration.
KILLED = """
import sys, time
from trainless.store import Store
from trainless.store.migrations import schema_3
def wait(operations, upgrade=schema_3.upgrade):
    upgrade(operations)
    print("in the middle", flush=True)
    time.sleep(60)
schema_3.upgrade = wait
Store(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("version", EARLIER)
def test_killed_it_has_the_earlier_schema(version: int, make: Make) -> None:
    url = make(version)
    before = differences(url)
    with subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    deadline = time.monotonic() + 30
    while True:  # a server takes a moment to notice
        with Store(url, create=False) as store:
            rows, _ = contents(store)
            assert store.statistics().schema == version
        if differences(url) == before or time.monotonic() > deadline:
            break
    assert differences(url) == before
    with Store(url) as store:
        pd.testing.assert_frame_equal(store.rows(), rows, check_exact=True)


def test_an_earlier_schema_on_a_server_is_only_read(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.new_database()
    with Store(url) as store:
        store.write(Run("toy", "t", 0, ""), [Score("a", "nwot", 1.0)], {"nwot": 1})
    postgresql.run("UPDATE trainless_meta SET value = '2' WHERE name = 'schema'", url)
    with Store(url, create=False) as store, pytest.raises(StoreError, match="has schema 2 and was opened to be read"):
        store.note("loose", {"a": 1})
