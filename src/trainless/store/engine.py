"""Connections to a store: opening, transactions, patience with a server, reading what nobody writes."""

from __future__ import annotations

import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError

from trainless.errors import StoreError
from trainless.store.addresses import BUSY_SECONDS, check_path, file_engine, parse_url, shown, sqlite_path, url_engine
from trainless.store.faults import explanation, is_conflict, is_lost

__all__ = ["Database"]

_ATTEMPTS = 5
_PATIENCE_SECONDS = 300.0  # with a server that was there before, and may recover from a crash
_LONGEST_PAUSE = 5.0

_T = TypeVar("_T")


class Database:
    """A file or database that can be read and written; every fault of it is a `StoreError` of one sentence.

    Args:
        location: a path, or a database URL with ``://``.
        create: make the file where there is none. False opens an SQLite file for reading only: neither it nor its
            folder is changed, so both may be read-only.

    Attributes:
        location: as messages name it, without a password.

    Raises:
        StoreError: it cannot be opened.

    Example:
        >>> database = Database("sqlite://")
        >>> _ = database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE a (b INTEGER)"))
        >>> database.read(lambda connection: sql.inspect(connection).get_table_names())
        ['a']
    """

    def __init__(self, location: str | Path, create: bool = True) -> None:
        url = parse_url(str(location)) if "://" in str(location) else None
        path = Path(location) if url is None else sqlite_path(url)
        if path is None and url is not None:
            self.location = shown(url)
            self._engine = self._still = url_engine(url)
            # Not every store is closed, such as one that a scorer opened; psycopg complains of connections left open.
            weakref.finalize(self, self._engine.dispose)
        else:
            path = Path(path or location)
            self.location = str(path)
            check_path(path, create)
            self._engine = file_engine(path, "" if create else "mode=ro")
            self._still = file_engine(path, "mode=ro&immutable=1")
        self._path = path
        self._reads_only = path is not None and not create
        self._was_reached = False

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._still.dispose()

    def prepare(self) -> None:
        """Set what an SQLite file keeps for good: write-ahead mode."""
        if self._path is not None:
            with self._explained():
                _set_write_ahead(self._path)

    def write(self, change: Callable[[sql.Connection], _T]) -> _T:
        """Change the database in one transaction, and again where another writer came between or a server was away.

        Raises:
            StoreError: nothing was changed.
        """

        def attempt() -> _T:
            with self._transaction() as connection:
                return change(connection)

        with self._explained():
            return self._repeated(attempt)

    def _repeated(self, attempt: Callable[[], _T]) -> _T:
        """Do something once, and again where that helps: what is written is the same however often it is written.

        A server that was never reached is not waited for: most likely its address is wrong.
        """
        conflicts, pause, deadline = 0, 0.1, None
        while True:
            try:
                result = attempt()
            except DBAPIError as error:
                if is_conflict(error) and conflicts < _ATTEMPTS - 1:
                    conflicts += 1
                    continue
                deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
                if not (self._was_reached and is_lost(error)) or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._was_reached = True
                return result

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        """Begin a transaction that writes; it is undone where an exception leaves it."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Python's own begins too late: only before an INSERT, so that tables would be made one by one.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def read(self, ask: Callable[[sql.Connection], _T]) -> _T:
        """Ask a connection, and again where a file that was still did not stay so or a server was away.

        Raises:
            StoreError: it cannot be read.
        """
        while True:
            stamp = self._stillness()
            engine = self._engine if stamp is None else self._still
            try:
                with self._explained():
                    found = self._repeated(partial(_asked, engine, ask))
            except StoreError:
                if stamp is None or self._stillness() == stamp:
                    raise
            else:
                if stamp is None or self._stillness() == stamp:
                    return found

    def _stillness(self) -> tuple[int, int] | None:
        """Tell the time and size of a file that is only read and that nobody writes, otherwise None.

        Write-ahead mode makes two files beside the store even for a reader, and fails where the folder is read-only.
        Without them the store can be read as one that does not change, without locks; a writer that comes meanwhile
        shows by its log or in the time. Where there is a log, of a writer or a killed one, it has to be read too.
        """
        if not self._reads_only or self._path is None:
            return None
        if any(self._path.with_name(self._path.name + end).exists() for end in ("-wal", "-journal")):
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a database says into one sentence."""
        try:
            yield
        except UnicodeDecodeError as error:  # in a message of SQLite that quotes the file
            raise StoreError(explanation(self.location, "malformed")) from error
        except (DBAPIError, sqlite3.Error) as error:
            message = str(error.orig if isinstance(error, DBAPIError) else error)
            raise StoreError(explanation(self.location, message)) from error


def _asked(engine: sql.Engine, ask: Callable[[sql.Connection], _T]) -> _T:
    with engine.connect() as connection:
        return ask(connection)


def _set_write_ahead(path: Path) -> None:
    """Set what the file keeps for good; SQLite does not wait by itself for another process that does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with closing(sqlite3.connect(path.absolute(), timeout=BUSY_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
