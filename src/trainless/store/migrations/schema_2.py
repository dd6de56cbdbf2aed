"""Schema 2: runs in a table of their own, keys of any length found by hashes; and the step to it from schema 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql
from sqlalchemy.schema import DropTable

from trainless.store.keys import Run, hash_of
from trainless.store.migrations import schema_1
from trainless.store.queries import number_of_run
from trainless.store.schema import RUN_COLUMNS, SCORE_COLUMNS

if TYPE_CHECKING:
    from alembic.operations import Operations

__all__ = ["revision", "upgrade"]

revision = 2
_CHUNK = 10_000  # rows in memory at a time

_metadata = sql.MetaData()
_RUNS = sql.Table(
    "runs",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),
    sql.Column("space", sql.Text, nullable=False),
    sql.Column("task", sql.Text, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("protocol", sql.JSON, nullable=False),
)
_SCORES = sql.Table(
    "scores",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),
    sql.Column("run", sql.ForeignKey(_RUNS.c.id), nullable=False, index=True),
    sql.Column("architecture", sql.Text, nullable=False),
    sql.Column("proxy", sql.Text, nullable=False),
    sql.Column("proxy_version", sql.Integer, nullable=False),
    sql.Column("value", sql.Double),
    sql.Column("value_text", sql.String(8)),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("spent", sql.Double),
    sql.Column("peak_memory", sql.Double),
    sql.Column("created", sql.String(32), nullable=False),
)
_NOTES = sql.Table(
    "notes",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),
    sql.Column("topic_hash", sql.String(32), nullable=False, index=True),
    sql.Column("topic", sql.Text, nullable=False),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("value", sql.Text, nullable=False),
)


def upgrade(operations: Operations) -> None:
    """Move everything into tables of their own, in the same order, within one transaction."""
    connection = operations.get_bind()
    scores, notes = (_set_aside(operations, table) for table in (schema_1.SCORES, schema_1.NOTES))
    _metadata.create_all(connection, checkfirst=False)
    if scores is not None:
        _move_scores(connection, scores)
    if notes is not None:
        _move_notes(connection, notes)


def _set_aside(operations: Operations, table: sql.Table) -> sql.Table | None:
    """Rename a table to make room for its successor; None where a store has none, as before its first note."""
    if not sql.inspect(operations.get_bind()).has_table(table.name):
        return None
    aside = table.to_metadata(sql.MetaData(), name=f"{table.name}_1")
    operations.rename_table(table.name, aside.name)
    return aside


def _move_scores(connection: sql.Connection, scores: sql.Table) -> None:
    runs = [Run(*row) for row in connection.execute(schema_1.runs_of(scores)).all()]
    known = {run: (number_of_run(connection, run), run.hash) for run in runs}
    for chunk in _chunks(connection, scores):
        rows = []
        for row in chunk:
            number, run_hash = known[Run(*(row[name] for name in RUN_COLUMNS))]
            key = hash_of(run_hash, row["architecture"], row["proxy"], row["proxy_version"])
            kept = {name: row.get(name) for name in SCORE_COLUMNS}
            rows.append({"hash": key, "run": number, **kept})
        connection.execute(_SCORES.insert(), rows)
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
        connection.execute(_NOTES.insert(), rows)
    connection.execute(DropTable(notes))


def _chunks(connection: sql.Connection, table: sql.Table) -> Iterator[list[dict[str, Any]]]:
    """Read a table in the order of writing."""
    query, last = sql.select(table).order_by(table.c.id).limit(_CHUNK), None
    while rows := connection.execute(query if last is None else query.where(table.c.id > last)).mappings().all():
        yield [dict(row) for row in rows]
        last = rows[-1]["id"]
