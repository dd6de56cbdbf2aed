"""Copies of stores: all scores and notes of one in another, whatever databases the two are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sql

from trainless.store import queries
from trainless.store.keys import Run
from trainless.store.schema import RUN_COLUMNS, SCORE_COLUMNS, Layout

__all__ = ["CHUNK", "Copied", "Reader", "copy"]

CHUNK = 50_000
"""Rows in memory, and in a transaction, at a time: fewer would write the pages of the index of hashes more often."""

_T = TypeVar("_T")


class Reader(Protocol):
    """Asks a store something, on a connection and by the layout of its schema."""

    def __call__(self, ask: Callable[[sql.Connection, Layout], _T]) -> _T:
        """Give what the question gives."""
        ...


class Writer(Protocol):
    """Changes a store in one transaction."""

    def __call__(self, change: Callable[[sql.Connection], _T]) -> _T:
        """Give what the change gives."""
        ...


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Args:
        scores: copied.
        scores_there: left alone, since the target had them.
        notes: copied.
        notes_there: left alone, since the target had some of the same topic and name.
    """

    scores: int
    scores_there: int
    notes: int
    notes_there: int


def copy(read: Reader, write: Writer, progress: Callable[[int, int], None] | None) -> Copied:
    """Copy what one store holds to another; `Store.copy_from` says how."""
    total = read(queries.count) + read(queries.count_notes)
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, max(done, total))

    told(0)
    fidelity = cache(read(lambda _, layout: layout.fidelity))
    scores = _copied(read, write, queries.scores_after, partial(_copy_scores, fidelity), told)
    notes = _copied(read, write, queries.notes_after, queries.copy_notes, told)
    return Copied(*scores, *notes)


def _copied(
    read: Reader, write: Writer, after: Callable[..., Any], insert: Callable[..., int], told: Callable[[int], None]
) -> tuple[int, int]:
    """Copy rows chunk by chunk; give how many were written and how many were there."""
    seen, written, last = 0, 0, 0
    while rows := read(partial(after, last=last, size=CHUNK)):
        written += write(partial(insert, rows=rows))
        seen, last = seen + len(rows), rows[-1]["id"]
        told(len(rows))
    return written, seen - written


def _copy_scores(fidelity: Callable[[str], str], connection: sql.Connection, rows: Any) -> int:
    runs = cache(lambda space, task, seed, text: Run(space, task, seed, fidelity(text)))
    return queries.copy_scores(
        connection,
        [(runs(*(row[name] for name in RUN_COLUMNS)), {name: row[name] for name in SCORE_COLUMNS}) for row in rows],
    )
