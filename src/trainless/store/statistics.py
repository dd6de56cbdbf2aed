"""What a store holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from trainless.store import queries
from trainless.store.schema import META, NOTES, RUNS, SCORES, Layout

__all__ = ["Statistics", "statistics"]


@dataclass(frozen=True)
class Statistics:
    """What a store holds, in numbers.

    Args:
        schema: version of the tables.
        scores: rows of scores, failed ones included.
        failed: of them.
        runs: that scores belong to.
        architectures: that differ, by search space.
        notes: rows of notes.
        size: bytes on disk, indexes included.
        first: when the first score was written, in ISO 8601; None where there is none.
        last: when the last one was.
        proxies: a dictionary a space, proxy and version, with the number of scores and of failed ones.
    """

    schema: int
    scores: int
    failed: int
    runs: int
    architectures: dict[str, int]
    notes: int
    size: int
    first: str | None
    last: str | None
    proxies: list[dict[str, Any]]


def statistics(connection: sql.Connection, layout: Layout) -> Statistics:
    """Count what a store holds; `Store.statistics` gives it."""
    column = layout.columns
    key = [column[name].label(name) for name in ("space", "proxy", "proxy_version")]
    failed = sql.func.sum(sql.case((column["status"] == "failed", 1), else_=0))
    times = sql.func.min(column["created"]), sql.func.max(column["created"])
    groups = connection.execute(
        sql.select(*key, sql.func.count(), failed, *times).select_from(layout.scores).group_by(*key).order_by(*key)
    ).all()
    distinct = sql.select(key[0], column["architecture"]).select_from(layout.scores).distinct().subquery()
    counted = sql.select(distinct.c.space, sql.func.count()).group_by(distinct.c.space).order_by(distinct.c.space)
    return Statistics(
        schema=layout.version,
        scores=sum(row[3] for row in groups),
        failed=sum(row[4] for row in groups),
        runs=len(queries.runs(connection, layout)),
        architectures={space: int(count) for space, count in connection.execute(counted)},
        notes=queries.count_notes(connection, layout),
        size=_size(connection),
        first=min((row[5] for row in groups), default=None),
        last=max((row[6] for row in groups), default=None),
        proxies=[
            {"space": space, "proxy": proxy, "version": version, "scores": count, "failed": failures}
            for space, proxy, version, count, failures, *_ in groups
        ],
    )


def _size(connection: sql.Connection) -> int:
    if connection.dialect.name == "postgresql":
        # An earlier schema lacks some of the tables.
        names = {table.name for table in (META, RUNS, SCORES, NOTES)} & set(sql.inspect(connection).get_table_names())
        sizes = (sql.func.pg_total_relation_size(name) for name in names)
        return sum(connection.execute(sql.select(size)).scalar_one() for size in sizes)
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
