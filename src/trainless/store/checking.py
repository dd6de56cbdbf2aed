"""Whether a store is sound: its file, its hashes, its references and its values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sql

from trainless.errors import StoreError
from trainless.store import queries
from trainless.store.copying import CHUNK, Reader
from trainless.store.keys import Run, format_protocol, hash_of
from trainless.store.schema import NOTES, RUNS, SCHEMA_VERSION, SCORES, Layout

__all__ = ["Checked", "check"]

_STATES = {"ok", "not finite", "failed"}
_NOT_PLAIN = {"inf", "-inf", "nan", "-0.0"}


@dataclass(frozen=True)
class Checked:
    """What was found in a store.

    Args:
        scores: rows of scores.
        notes: rows of notes.
        failed: scores that failed, which is no fault of the store.
        faults: what is wrong, one sentence each with the number of rows; empty where the store is sound.
        spaces: names of search spaces that trainless does not know, such as your own.
        proxies: names of proxies that trainless does not know, such as your own or those of aggregations.
    """

    scores: int
    notes: int
    failed: int
    faults: list[str]
    spaces: list[str]
    proxies: list[str]


def check(read: Reader, location: str, progress: Callable[[int, int], None] | None) -> Checked:
    """Check a store; `Store.check` says how.

    Raises:
        StoreError: the store has a schema without hashes.
    """
    from trainless.proxies import PROXIES
    from trainless.search_spaces import SEARCH_SPACES

    if read(lambda _, layout: layout.version) == 1:
        raise StoreError(
            f"'{location}' has schema 1, whose rows have no hashes to check: `trainless store copy` makes a copy of "
            f"schema {SCHEMA_VERSION}."
        )
    total = read(queries.count) + read(queries.count_notes)
    faults = Counter[str](read(_faults_of_file))
    runs = read(_runs)
    faults.update(
        fault for row in runs.values() if row["hash"] != _run(row).hash for fault in ["runs with a wrong hash"]
    )
    proxies, failed, done = set[str](), 0, {"scores": 0, "notes": 0}
    for table in (SCORES, NOTES):
        last = 0
        while rows := read(partial(_rows_after, table, last)):
            if table is SCORES and any(row["run"] not in runs for row in rows):  # others may be writing
                runs = read(_runs)
            for row in rows:
                if table is SCORES:
                    proxies.add(row["proxy"])
                    failed += row["status"] == "failed"
                    faults.update(_faults_of_score(row, runs))
                elif row["hash"] != hash_of(row["topic"], row["name"]) or row["topic_hash"] != hash_of(row["topic"]):
                    faults["notes with a wrong hash"] += 1
            last = rows[-1]["id"]
            done[table.name] += len(rows)
            if progress:
                progress(sum(done.values()), max(total, sum(done.values())))
    return Checked(
        **done, failed=failed, faults=[f"{count:,} {fault}" for fault, count in faults.items()],
        spaces=sorted({row["space"] for row in runs.values()} - SEARCH_SPACES.keys()),
        proxies=sorted(proxies - PROXIES.keys()),
    )  # fmt: skip


def _runs(connection: sql.Connection, _: Layout) -> dict[int, sql.RowMapping]:
    return {row["id"]: row for row in connection.execute(sql.select(RUNS)).mappings()}


def _rows_after(table: sql.Table, last: int, connection: sql.Connection, _: Layout) -> Any:
    return connection.execute(
        sql.select(table).where(table.c.id > last).order_by(table.c.id).limit(CHUNK)
    ).mappings().all()  # fmt: skip


def _faults_of_file(connection: sql.Connection, _: Layout) -> list[str]:
    """What SQLite finds in its own file; a server checks its pages as it reads them."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return [f"damage of the file: {message}" for message in found if message != "ok"]


def _run(row: sql.RowMapping) -> Run:
    return Run(row["space"], row["task"], row["seed"], format_protocol(row["protocol"]))


def _faults_of_score(row: sql.RowMapping, runs: Mapping[int, sql.RowMapping]) -> list[str]:
    found = []
    run = runs.get(row["run"])
    if run is None:
        found.append("scores of no run")
    elif row["hash"] != hash_of(run["hash"], row["architecture"], row["proxy"], row["proxy_version"]):
        found.append("scores with a wrong hash")
    value, text = row["value"], row["value_text"]
    is_number = value is None or (isinstance(value, int | float) and math.isfinite(value))
    if (value is None) == (text is None) or text not in {None, *_NOT_PLAIN} or not is_number:
        found.append("scores without a plain value, or with two")
    if row["status"] not in _STATES:
        found.append("scores of an unknown status")
    return found
