"""The statements of a store, each on a connection within a transaction."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from trainless.errors import StoreError
from trainless.files import printable
from trainless.store.keys import Run, hash_of
from trainless.store.schema import META, NOTES, RUN_COLUMNS, RUNS, SCHEMA_VERSION, SCORE_COLUMNS, SCORES, Layout
from trainless.types import Score

__all__ = [
    "count", "finished", "insert_scores", "make_tables", "notes", "number_of_run", "remove_notes", "replace_notes",
    "rows_of", "runs", "scores",
]  # fmt: skip

_APPLICATION_ID = 0x7472_6C73  # "trls", in the header of an SQLite file
_UPSERTS: dict[str, Callable[[sql.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def make_tables(connection: sql.Connection) -> None:
    """Make all tables of a store, unless another process made them at the same moment."""
    if sql.inspect(connection).has_table(META.name):
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
    for table in (META, RUNS, SCORES, NOTES):
        connection.execute(CreateTable(table))
        for index in table.indexes:
            connection.execute(CreateIndex(index))
    connection.execute(META.insert().values(name="schema", value=str(SCHEMA_VERSION)))


# Writing.


def rows_of(run: Run, scores: Iterable[Score], versions: Mapping[str, int]) -> list[dict[str, Any]]:
    """Make the rows of scores, without the number of their run; of two with the same key the last that counts.

    Raises:
        StoreError: there is no version of a proxy.
    """
    run_hash, created = run.hash, datetime.now(UTC).isoformat(timespec="seconds")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for score in scores:
        if score.proxy not in versions:
            raise StoreError(
                f"There is no version of the proxy '{score.proxy}': give one for each proxy that is written."
            )
        key = (score.architecture, score.proxy)
        if key not in rows or rows[key]["status"] == "failed":
            rows[key] = _row(run_hash, score, versions[score.proxy], created)
    return list(rows.values())


def _row(run_hash: str, score: Score, version: int, created: str) -> dict[str, Any]:
    value = float(score.value)
    exact = math.isfinite(value) and not (value == 0 and math.copysign(1, value) < 0)
    return {
        "hash": hash_of(run_hash, score.architecture, score.proxy, version),
        "architecture": score.architecture,
        "proxy": score.proxy,
        "proxy_version": version,
        "value": value if exact else None,
        "value_text": None if exact else str(value),
        "status": score.status,
        # The message of an exception may hold bytes of a file name that are no text.
        "reason": printable(score.reason),
        "seconds": score.seconds,
        "spent": score.spent,
        "peak_memory": score.peak_memory,
        "created": created,
    }


def insert_scores(connection: sql.Connection, run: Run, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows of `rows_of` whose key is new or failed before."""
    number = number_of_run(connection, run)
    numbered = [{"run": number, **row} for row in rows]
    failed = SCORES.c.status == "failed"
    if upsert := _UPSERTS.get(connection.dialect.name):
        statement = upsert(SCORES)
        new = {column.name: statement.excluded[column.name] for column in SCORES.c if column.name != "id"}
        connection.execute(statement.on_conflict_do_update(index_elements=["hash"], set_=new, where=failed), numbered)
        return
    for row in numbered:
        same = SCORES.c.hash == row["hash"]
        if connection.scalar(sql.select(SCORES.c.id).where(same)) is None:
            connection.execute(SCORES.insert(), row)
        else:
            connection.execute(SCORES.update().where(same, failed), row)


def number_of_run(connection: sql.Connection, run: Run) -> int:
    """Look up the number of a run; one that is new is written."""
    query = sql.select(RUNS.c.id).where(RUNS.c.hash == run.hash)
    if connection.scalar(query) is None:
        row = {"hash": run.hash, "space": run.space, "task": run.task, "seed": run.seed, "protocol": run.protocol}
        connection.execute(RUNS.insert(), row)
    return int(connection.execute(query).scalar_one())


def replace_notes(connection: sql.Connection, topic: str, values: Mapping[str, Any]) -> None:
    """Write notes; those that are there get the new value and come last."""
    rows = [
        {
            "hash": hash_of(topic, name),
            "topic_hash": hash_of(topic),
            "topic": topic,
            "name": name,
            "value": json.dumps(value),
        }
        for name, value in values.items()
    ]
    connection.execute(NOTES.delete().where(NOTES.c.hash == sql.bindparam("old")), [{"old": r["hash"]} for r in rows])
    connection.execute(NOTES.insert(), rows)


def remove_notes(connection: sql.Connection, topic: str) -> None:
    """Remove all notes of a topic."""
    connection.execute(NOTES.delete().where(NOTES.c.topic_hash == hash_of(topic)))


# Reading.


def finished(connection: sql.Connection, layout: Layout, run: Run, versions: Mapping[str, int]) -> dict[str, set[str]]:
    """Find the proxies of each architecture of a run that have a score of the given version that did not fail."""
    columns = (layout.columns[name] for name in ("architecture", "proxy", "proxy_version"))
    query = sql.select(*columns).select_from(layout.scores)
    query = query.where(layout.of_run(run), layout.columns["status"] != "failed")
    found: dict[str, set[str]] = {}
    for architecture, proxy, version in connection.execute(query):
        if versions.get(proxy) == version:
            found.setdefault(architecture, set()).add(proxy)
    return found


def runs(connection: sql.Connection, layout: Layout) -> list[Run]:
    """List the runs in the order of their first score."""
    return [
        Run(space, task, seed, layout.fidelity(text)) for space, task, seed, text in connection.execute(layout.runs)
    ]


def count(connection: sql.Connection, layout: Layout) -> int:
    """Count the scores."""
    return connection.scalar(sql.select(sql.func.count(layout.order))) or 0


def is_empty(connection: sql.Connection, layout: Layout) -> bool:
    """Tell whether there is no score and no note."""
    tables = [layout.scores, *([layout.notes] if sql.inspect(connection).has_table(layout.notes.name) else [])]
    return not any(
        connection.scalar(sql.select(sql.exists(sql.select(sql.literal(1)).select_from(table)))) for table in tables
    )


def scores(connection: sql.Connection, layout: Layout, run: Run | None) -> Sequence[sql.Row[Any]]:
    """Select the scores of a run, or all, in the order of writing: `RUN_COLUMNS`, then `SCORE_COLUMNS`."""
    columns = (layout.columns[name] for name in (*RUN_COLUMNS, *SCORE_COLUMNS))
    query = sql.select(*columns).select_from(layout.scores).order_by(layout.order)
    return connection.execute(query if run is None else query.where(layout.of_run(run))).all()


def notes(connection: sql.Connection, layout: Layout, topic: str) -> dict[str, Any]:
    """Read the notes of a topic, in the order of writing."""
    table = layout.notes
    if not sql.inspect(connection).has_table(table.name):
        return {}
    query = sql.select(table.c.name, table.c.value).where(layout.of_topic(topic)).order_by(table.c.id)
    return {name: json.loads(value) for name, value in connection.execute(query)}
