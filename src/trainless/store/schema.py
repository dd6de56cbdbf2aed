"""The tables of a store, and where each schema has the columns that readers ask for.

Keys are text of any length and JSON, which databases do not index or not in full: what is looked up or unique is a
hash of the key beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from trainless.store.keys import Run, format_protocol, hash_of

__all__ = ["CURRENT", "META", "NOTES", "RUNS", "RUN_COLUMNS", "SCHEMA_VERSION", "SCORES", "SCORE_COLUMNS", "Layout"]

SCHEMA_VERSION = 3
RUN_COLUMNS = ("space", "task", "seed", "fidelity")
SCORE_COLUMNS = (
    "architecture", "proxy", "proxy_version", "value", "value_text", "status", "reason", "seconds", "spent",
    "peak_memory", "created",
)  # fmt: skip

# Rows that are there already use numbers up, and a team's store has no end. In SQLite all integers have 64 bits.
_Number = sql.BigInteger().with_variant(sql.Integer(), "sqlite")

_metadata = sql.MetaData()
META = sql.Table(
    "trainless_meta",
    _metadata,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("value", sql.String(255), nullable=False),
)
RUNS = sql.Table(
    "runs",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),  # `Run.hash`
    sql.Column("space", sql.Text, nullable=False),
    sql.Column("task", sql.Text, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("protocol", sql.JSON, nullable=False),  # `Run.protocol`
)
SCORES = sql.Table(
    "scores",
    _metadata,
    sql.Column("id", _Number, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),  # of the run, architecture, proxy and version
    sql.Column("run", sql.ForeignKey(RUNS.c.id), nullable=False),
    sql.Column("architecture", sql.Text, nullable=False),
    sql.Column("proxy", sql.Text, nullable=False),
    sql.Column("proxy_version", sql.Integer, nullable=False),
    sql.Column("value", sql.Double),
    # Databases disagree on infinity and NaN, and SQLite drops the sign of zero: these are text, and `value` is null.
    sql.Column("value_text", sql.String(8)),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("spent", sql.Double),
    sql.Column("peak_memory", sql.Double),
    sql.Column("created", sql.String(32), nullable=False),
    # The best of a proxy are read from it in order, and the scores of a run found by its beginning.
    sql.Index("ix_scores_best", "run", "proxy", "proxy_version", "value"),
)
NOTES = sql.Table(
    "notes",
    _metadata,
    sql.Column("id", _Number, primary_key=True),
    sql.Column("hash", sql.String(32), nullable=False, unique=True),  # of topic and name
    sql.Column("topic_hash", sql.String(32), nullable=False, index=True),
    sql.Column("topic", sql.Text, nullable=False),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("value", sql.Text, nullable=False),
)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a schema has what is read of a store, so that one of an earlier schema is read as it is.

    Args:
        version: of the schema.
        runs: gives the columns of `RUN_COLUMNS`, a row a run, in the order of their first score.
        scores: what scores are selected from.
        columns: by the names of `RUN_COLUMNS` and `SCORE_COLUMNS`.
        order: the column that orders scores as they were written.
        of_run: the condition that a score belongs to a run.
        fidelity: turns the column of that name into the text of `Run.fidelity`.
        notes: the table with ``id``, ``name`` and ``value``, which may be missing.
        of_topic: the condition that a note is of a topic.
    """

    version: int
    runs: sql.Select[Any]
    scores: sql.FromClause
    columns: dict[str, sql.ColumnElement[Any]]
    order: sql.ColumnElement[int]
    of_run: Callable[[Run], sql.ColumnElement[bool]]
    fidelity: Callable[[str], str]
    notes: sql.Table
    of_topic: Callable[[str], sql.ColumnElement[bool]]


# As text: drivers disagree on who decodes JSON, and it is decoded once a run and not once a score.
_RUN = {name: RUNS.c[name] for name in ("space", "task", "seed")} | {"fidelity": sql.cast(RUNS.c.protocol, sql.Text)}
CURRENT = Layout(
    version=SCHEMA_VERSION,
    runs=sql.select(*_RUN.values()).order_by(RUNS.c.id),
    scores=SCORES.join(RUNS),
    columns=_RUN | {name: SCORES.c[name] for name in SCORE_COLUMNS},
    order=SCORES.c.id,
    of_run=lambda run: RUNS.c.hash == run.hash,
    fidelity=lambda text: format_protocol(json.loads(text)),
    notes=NOTES,
    of_topic=lambda topic: NOTES.c.topic_hash == hash_of(topic),
)
