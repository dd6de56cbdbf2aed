"""Schema 1: scores with their whole run in each row, keys of limited length; and the step to schema 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sql
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from trainless.store.keys import Run, hash_of
from trainless.store.queries import number_of_run
from trainless.store.schema import NOTES, RUN_COLUMNS, RUNS, SCORE_COLUMNS, SCORES, Layout

__all__ = ["LAYOUT", "migrate"]

_CHUNK = 10_000  # rows in memory at a time

_metadata = sql.MetaData()
_scores = sql.Table(
    "scores",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("space", sql.String(64)),
    sql.Column("task", sql.String(128)),
    sql.Column("seed", sql.BigInteger),
    sql.Column("fidelity", sql.String(255)),
    sql.Column("architecture", sql.String(255)),
    sql.Column("proxy", sql.String(64)),
    sql.Column("proxy_version", sql.Integer),
    sql.Column("value", sql.Double),
    sql.Column("value_text", sql.String(8)),
    sql.Column("status", sql.String(16)),
    sql.Column("reason", sql.Text),
    sql.Column("seconds", sql.Double),
    sql.Column("peak_memory", sql.Double),
    sql.Column("created", sql.String(32)),
)
_notes = sql.Table(
    "notes",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("topic", sql.String(255)),
    sql.Column("name", sql.String(255)),
    sql.Column("value", sql.Text),
)


def _runs(scores: sql.Table) -> sql.Select[Any]:
    columns = [scores.c[name] for name in RUN_COLUMNS]
    return sql.select(*columns).group_by(*columns).order_by(sql.func.min(scores.c.id))


LAYOUT = Layout(
    version=1,
    runs=_runs(_scores),
    scores=_scores,
    columns={name: _scores.c.get(name, sql.null().label(name)) for name in (*RUN_COLUMNS, *SCORE_COLUMNS)},
    order=_scores.c.id,
    of_run=lambda run: sql.and_(*(_scores.c[name] == getattr(run, name) for name in RUN_COLUMNS)),
    fidelity=str,
    notes=_notes,
    of_topic=lambda topic: _notes.c.topic == topic,
)


def migrate(connection: sql.Connection) -> None:
    """Move everything into the tables of schema 2, in the same order, within one transaction."""
    scores, notes = (_set_aside(connection, table) for table in (_scores, _notes))
    for table in (RUNS, SCORES, NOTES):
        connection.execute(CreateTable(table))
        for index in table.indexes:
            connection.execute(CreateIndex(index))
    if scores is not None:
        _move_scores(connection, scores)
    if notes is not None:
        _move_notes(connection, notes)


def _set_aside(connection: sql.Connection, table: sql.Table) -> sql.Table | None:
    """Rename a table to make room for its successor; None where a store has none, as before its first note."""
    if not sql.inspect(connection).has_table(table.name):
        return None
    aside = table.to_metadata(sql.MetaData(), name=f"{table.name}_1")
    connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {aside.name}")
    return aside


def _move_scores(connection: sql.Connection, scores: sql.Table) -> None:
    runs = [Run(*row) for row in connection.execute(_runs(scores)).all()]
    known = {run: (number_of_run(connection, run), run.hash) for run in runs}
    for chunk in _chunks(connection, scores):
        rows = []
        for row in chunk:
            number, run_hash = known[Run(*(row[name] for name in RUN_COLUMNS))]
            key = hash_of(run_hash, row["architecture"], row["proxy"], row["proxy_version"])
            kept = {name: row.get(name) for name in SCORE_COLUMNS}
            rows.append({"hash": key, "run": number, **kept})
        connection.execute(SCORES.insert(), rows)
    connection.execute(DropTable(scores))


def _move_notes(connection: sql.Connection, notes: sql.Table) -> None:
    for chunk in _chunks(connection, notes):
        rows = [
            {
                "hash": hash_of(row["topic"], row["name"]),
                "topic_hash": hash_of(row["topic"]),
                **{name: row[name] for name in ("topic", "name", "value")},
            }
            for row in chunk
        ]
        connection.execute(NOTES.insert(), rows)
    connection.execute(DropTable(notes))


def _chunks(connection: sql.Connection, table: sql.Table) -> Iterator[list[dict[str, Any]]]:
    """Read a table in the order of writing."""
    query, last = sql.select(table).order_by(table.c.id).limit(_CHUNK), None
    while rows := connection.execute(query if last is None else query.where(table.c.id > last)).mappings().all():
        yield [dict(row) for row in rows]
        last = rows[-1]["id"]
