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
    "best", "copy_notes", "copy_scores", "count", "count_notes", "finished", "insert_scores", "make_tables", "notes",
    "notes_after", "number_of_run", "remove_notes", "replace_notes", "rows_of", "runs", "scores", "scores_after",
]  # fmt: skip

_KEY = ("architecture", "proxy", "proxy_version")  # with the run
_APPLICATION_ID = 0x7472_6C73  # "trls", in the header of an SQLite file
_MOST_KEYS = 10_000  # SQLite takes 32,766 parameters
_COUNTED = {"preserve_rowcount": True}  # SQLAlchemy leaves the count of an INSERT out otherwise
# Whether the row that is there gives way, by the status of the new one.
_Condition = Callable[[sql.ColumnElement[str]], sql.ColumnElement[bool]]
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
    _wait_for_others(connection, run.hash)
    number = number_of_run(connection, run)
    _insert(connection, SCORES, [{"run": number, **row} for row in rows], lambda _: SCORES.c.status == "failed")


def copy_scores(connection: sql.Connection, rows: Sequence[tuple[Run, dict[str, Any]]]) -> int:
    """Insert rows of another store with their run; give how many were new, or failed here and not there."""
    hashes = {run: run.hash for run in dict.fromkeys(run for run, _ in rows)}
    for key in sorted(hashes.values()):
        _wait_for_others(connection, key)
    numbers = {run: number_of_run(connection, run) for run in hashes}
    numbered = [
        {"hash": hash_of(hashes[run], *(row[name] for name in _KEY)), "run": numbers[run], **row} for run, row in rows
    ]
    return _insert(
        connection, SCORES, numbered, lambda status: sql.and_(SCORES.c.status == "failed", status != "failed")
    )


def _wait_for_others(connection: sql.Connection, key: str) -> None:
    """Hold up all that write the same run or topic until the transaction ends, so that no two wait for each other.

    Rows are locked in the order of writing, which two writers need not share. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(int(key[:15], 16))))


def _insert(
    connection: sql.Connection, table: sql.Table, rows: Sequence[dict[str, Any]], replaces: _Condition | None = None
) -> int:
    """Insert rows whose hash is new, and over those that they replace; give how many were written."""
    if not rows:
        return 0
    upsert = _UPSERTS.get(connection.dialect.name)
    if upsert is None:
        return sum(_insert_row(connection, table, row, replaces) for row in rows)
    statement = upsert(table)
    values: Sequence[dict[str, Any]] | None = rows
    if connection.dialect.name == "postgresql":
        statement, values = statement.from_select(list(rows[0]), _unnested(table, rows)), None
    if replaces is None:
        statement = statement.on_conflict_do_nothing(index_elements=["hash"])
    else:
        new = {name: statement.excluded[name] for name in rows[0]}
        statement = statement.on_conflict_do_update(index_elements=["hash"], set_=new, where=replaces(new["status"]))
    return connection.execute(statement, values, execution_options=_COUNTED).rowcount


def _unnested(table: sql.Table, rows: Sequence[dict[str, Any]]) -> sql.Select[Any]:
    """Rows as one array a column: one statement, which costs a fifth less than one a row."""
    arrays = [
        sql.bindparam(None, [row[name] for row in rows], postgresql.ARRAY(table.c[name].type)) for name in rows[0]
    ]
    source = sql.func.unnest(*arrays).table_valued(*rows[0], with_ordinality="position").render_derived(name="new")
    return sql.select(*(source.c[name] for name in rows[0])).order_by(source.c.position)


def _insert_row(connection: sql.Connection, table: sql.Table, row: dict[str, Any], replaces: _Condition | None) -> int:
    same = table.c.hash == row["hash"]
    if connection.scalar(sql.select(table.c.id).where(same)) is None:
        return connection.execute(table.insert(), row, execution_options=_COUNTED).rowcount
    if replaces is None:
        return 0
    return connection.execute(table.update().where(same, replaces(sql.literal(row["status"]))), row).rowcount


def number_of_run(connection: sql.Connection, run: Run) -> int:
    """Look up the number of a run; one that is new is written."""
    query = sql.select(RUNS.c.id).where(RUNS.c.hash == run.hash)
    if connection.scalar(query) is None:
        row = {"hash": run.hash, "space": run.space, "task": run.task, "seed": run.seed, "protocol": run.protocol}
        connection.execute(RUNS.insert(), row)
    return int(connection.execute(query).scalar_one())


def replace_notes(connection: sql.Connection, topic: str, values: Mapping[str, Any]) -> None:
    """Write notes; those that are there get the new value and come last."""
    _wait_for_others(connection, hash_of(topic))
    rows = [_note_row(topic, name, json.dumps(value)) for name, value in values.items()]
    connection.execute(NOTES.delete().where(NOTES.c.hash == sql.bindparam("old")), [{"old": r["hash"]} for r in rows])
    connection.execute(NOTES.insert(), rows)


def _note_row(topic: str, name: str, value: str) -> dict[str, str]:
    key = {"hash": hash_of(topic, name), "topic_hash": hash_of(topic)}
    return {**key, "topic": topic, "name": name, "value": value}


def copy_notes(connection: sql.Connection, rows: Sequence[Mapping[str, str]]) -> int:
    """Insert notes of another store as they are; a note that is here stays. Give how many were written."""
    for topic in sorted({hash_of(row["topic"]) for row in rows}):
        _wait_for_others(connection, topic)
    return _insert(connection, NOTES, [_note_row(row["topic"], row["name"], row["value"]) for row in rows])


def remove_notes(connection: sql.Connection, topic: str) -> None:
    """Remove all notes of a topic."""
    _wait_for_others(connection, hash_of(topic))
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


def count_notes(connection: sql.Connection, layout: Layout) -> int:
    """Count the notes."""
    if not sql.inspect(connection).has_table(layout.notes.name):
        return 0
    return connection.scalar(sql.select(sql.func.count(layout.notes.c.id))) or 0


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


def scores_after(connection: sql.Connection, layout: Layout, last: int, size: int) -> Sequence[sql.RowMapping]:
    """Select scores as they are stored, in the order of writing, from behind the one with a number."""
    columns = [layout.columns[name].label(name) for name in (*RUN_COLUMNS, *SCORE_COLUMNS)]
    query = sql.select(layout.order.label("id"), *columns).select_from(layout.scores)
    return connection.execute(query.where(layout.order > last).order_by(layout.order).limit(size)).mappings().all()


def notes_after(connection: sql.Connection, layout: Layout, last: int, size: int) -> Sequence[sql.RowMapping]:
    """Select notes as they are stored, in the order of writing, from behind the one with a number."""
    table = layout.notes
    if not sql.inspect(connection).has_table(table.name):
        return []
    query = sql.select(*(table.c[name] for name in ("id", "topic", "name", "value")))
    return connection.execute(query.where(table.c.id > last).order_by(table.c.id).limit(size)).mappings().all()


def best(
    connection: sql.Connection, run: Run, proxy: str, count: int, highest: bool
) -> tuple[list[tuple[Any, ...]], list[str]] | None:
    """Select all scores of the best architectures by a proxy, best first; None where fewer have a finite score.

    Found by indexes: what is read grows with the count and with the scores that are not finite, not with all there are.

    Returns:
        Architecture, proxy, value, its text and status of each score, of the latest version of each proxy; and the
        names of all proxies of the run.
    """
    number = connection.scalar(sql.select(RUNS.c.id).where(RUNS.c.hash == run.hash))
    versions = _latest_versions(connection, number)
    if proxy not in versions:
        return None
    columns = SCORES.c
    mine = sql.select(columns.architecture, columns.value, columns.id).where(
        columns.run == number, columns.proxy == proxy, columns.proxy_version == versions[proxy],
        columns.status != "failed",
    )  # fmt: skip
    order = columns.value.desc() if highest else columns.value
    found = connection.execute(mine.where(columns.value.is_not(None)).order_by(order, columns.id).limit(count)).all()
    # The sign of zero is kept as text.
    zeros = connection.execute(
        mine.where(columns.value.is_(None), columns.value_text == "-0.0").order_by(columns.id).limit(count)
    ).all()
    sign = -1 if highest else 1
    ordered = sorted([*found, *zeros], key=lambda row: (sign * (row.value or 0.0), row.id))[:count]
    if len(ordered) < count:
        return None
    keys = [hash_of(run.hash, row.architecture, *version) for row in ordered for version in versions.items()]
    shown = sql.select(columns.architecture, columns.proxy, columns.value, columns.value_text, columns.status)
    rows = {
        (row.architecture, row.proxy): tuple(row)
        for start in range(0, len(keys), _MOST_KEYS)
        for row in connection.execute(shown.where(columns.hash.in_(keys[start : start + _MOST_KEYS])))
    }
    texts = [row.architecture for row in ordered]
    return [rows[text, name] for text in texts for name in versions if (text, name) in rows], list(versions)


def _latest_versions(connection: sql.Connection, run: int | None) -> dict[str, int]:
    """Find the latest version of each proxy of a run by one step in the index a proxy."""
    columns = SCORES.c
    found: dict[str, int] = {}
    query = sql.select(columns.proxy, columns.proxy_version).where(columns.run == run)
    query = query.order_by(columns.proxy.desc(), columns.proxy_version.desc()).limit(1)
    row = connection.execute(query).first()
    while row is not None:
        found[row.proxy] = row.proxy_version
        row = connection.execute(query.where(columns.proxy < row.proxy)).first()
    return found
