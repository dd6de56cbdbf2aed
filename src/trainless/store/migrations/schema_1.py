"""Schema 1: scores with their whole run in each row, keys of limited length."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sql

from trainless.store.schema import RUN_COLUMNS, SCORE_COLUMNS, Layout

__all__ = ["LAYOUT", "NOTES", "SCORES", "runs_of"]

_metadata = sql.MetaData()
SCORES = sql.Table(
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
NOTES = sql.Table(
    "notes",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("topic", sql.String(255)),
    sql.Column("name", sql.String(255)),
    sql.Column("value", sql.Text),
)


def runs_of(scores: sql.Table) -> sql.Select[Any]:
    """Select what scores name as their runs, in the order of their first score."""
    columns = [scores.c[name] for name in RUN_COLUMNS]
    return sql.select(*columns).group_by(*columns).order_by(sql.func.min(scores.c.id))


LAYOUT = Layout(
    version=1,
    runs=runs_of(SCORES),
    scores=SCORES,
    columns={name: SCORES.c.get(name, sql.null().label(name)) for name in (*RUN_COLUMNS, *SCORE_COLUMNS)},
    order=SCORES.c.id,
    of_run=lambda run: sql.and_(*(SCORES.c[name] == getattr(run, name) for name in RUN_COLUMNS)),
    fidelity=str,
    notes=NOTES,
    of_topic=lambda topic: NOTES.c.topic == topic,
)
