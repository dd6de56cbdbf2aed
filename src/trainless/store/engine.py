"""Connections to a store: opening, transactions, reading what nobody writes, and what databases say in one sentence."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from trainless.errors import StoreError

__all__ = ["Database"]

_BUSY_SECONDS = 60.0
_ATTEMPTS = 5

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
        >>> database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE a (b INTEGER)"))
        >>> database.read(lambda connection: sql.inspect(connection).get_table_names())
        ['a']
    """

    def __init__(self, location: str | Path, create: bool = True) -> None:
        url = _parse_url(str(location)) if "://" in str(location) else None
        path = Path(location) if url is None else _sqlite_path(url)
        if path is None and url is not None:
            self.location = url.render_as_string(hide_password=True)
            self._engine = self._still = _url_engine(url, self.location)
        else:
            path = Path(path or location)
            self.location = str(path)
            _check_path(path, create)
            self._engine = _file_engine(path, "" if create else "mode=ro")
            self._still = _file_engine(path, "mode=ro&immutable=1")
        self._path = path
        self._reads_only = path is not None and not create

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._still.dispose()

    def prepare(self) -> None:
        """Set what an SQLite file keeps for good: write-ahead mode."""
        if self._path is not None:
            with self._explained():
                _set_write_ahead(self._path)

    def write(self, change: Callable[[sql.Connection], Any]) -> None:
        """Change the database in one transaction, and again where another writer came between.

        Raises:
            StoreError: nothing was changed.
        """
        with self._explained():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    with self._transaction() as connection:
                        change(connection)
                except DBAPIError as error:
                    if attempt == _ATTEMPTS or not _is_conflict(error):
                        raise
                else:
                    return

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        """Begin a transaction that writes; it is undone where an exception leaves it."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Python's own begins too late: only before an INSERT, so that tables would be made one by one.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def read(self, ask: Callable[[sql.Connection], _T]) -> _T:
        """Ask a connection, and again where a file that was still did not stay so.

        Raises:
            StoreError: it cannot be read.
        """
        while True:
            stamp = self._stillness()
            engine = self._engine if stamp is None else self._still
            try:
                with self._explained(), engine.connect() as connection:
                    found = ask(connection)
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
        except UnicodeDecodeError as error:  # the names of tables, where they are damaged
            raise StoreError(_explanation(self.location, "malformed")) from error
        except (DBAPIError, sqlite3.Error) as error:
            message = str(error.orig if isinstance(error, DBAPIError) else error)
            raise StoreError(_explanation(self.location, message)) from error


def _parse_url(text: str) -> sql.URL:
    try:
        return sql.make_url(text)
    except (ArgumentError, ValueError) as error:
        shown = re.sub(r"(://[^:/]*):.*@", r"\1:***@", text)
        raise StoreError(
            f"The store '{shown}' is no database URL: give a path, or a URL such as "
            "postgresql+psycopg://user@host/name."
        ) from error


def _sqlite_path(url: sql.URL) -> Path | None:
    """The file of a plain SQLite URL, which then is as safe as one given as a path."""
    plain = url.drivername in ("sqlite", "sqlite+pysqlite") and not url.query
    return Path(url.database) if plain and url.database and url.database != ":memory:" else None


def _url_engine(url: sql.URL, shown: str) -> sql.Engine:
    try:
        return sql.create_engine(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(
            f"The store '{shown}' is of a kind that SQLAlchemy does not know ('{url.drivername}'): give a path, "
            "or a URL such as postgresql+psycopg://user@host/name."
        ) from error
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The store '{shown}' needs the package '{error.name}': install it, or give a path."
        ) from error


def _check_path(path: Path, create: bool) -> None:
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise StoreError(f"The store {str(path)!r} cannot be looked up ({cause}): give another path.") from error
    if path.is_dir():
        raise StoreError(f"The store '{path}' is a folder, expected a file: give a file in it, as in {path}/scores.db.")
    if not path.is_file() and not create:
        raise StoreError(f"There is no store '{path}': check the path, or score something into it first.")
    if not path.parent.is_dir():
        raise StoreError(f"The store '{path}' would lie in '{path.parent}', which is no folder: make it first.")
    if _is_cut(path):
        raise StoreError(_explanation(str(path), "malformed"))


def _is_cut(path: Path) -> bool:
    """Tell whether a file ends within a page: SQLite would read on as if there were zeros, and miss scores."""
    try:
        with path.open("rb") as file:
            header = file.read(18)
        page = int.from_bytes(header[16:], "big")
        return header.startswith(b"SQLite format 3\0") and page > 1 and path.stat().st_size % page > 0
    except OSError:  # which SQLite tells better
        return False


def _file_engine(path: Path, options: str) -> sql.Engine:
    """An engine that opens the file anew for each transaction, so that workers never inherit a connection."""
    address = f"{path.absolute().as_uri()}?{options}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
        # In write-ahead mode as safe against a killed process as FULL; a power cut may cost the last transaction.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    return sql.create_engine("sqlite://", creator=connect, poolclass=sql.NullPool)


def _set_write_ahead(path: Path) -> None:
    """Set what the file keeps for good; SQLite does not wait by itself for another process that does the same."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with closing(sqlite3.connect(path.absolute(), timeout=_BUSY_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _is_conflict(error: DBAPIError) -> bool:
    """Tell whether another writer came between, so that the same transaction may well succeed now."""
    words = ("deadlock", "duplicate", "unique", "already exists", "could not serialize")
    return any(word in str(error.orig).lower() for word in words)


_EXPLANATIONS = {
    "file is not a database": "is no SQLite database and so no store: give another file",
    "malformed": "is a damaged SQLite database: restore it from a copy, or give another file",
    "readonly": "cannot be written, it or its folder is read-only: change the rights, or give another place",
    "disk is full": "cannot be written, the disk is full: make room and run the same again, nothing finished is lost",
    "could not decode": "is a damaged SQLite database: restore it from a copy, or give another file",
    "locked": "was in use by another process for too long: wait for it to end, then run the same again",
    "unable to open": "cannot be opened or made: check that its folder is there and may be written to",
    "disk i/o error": "cannot be read or written, the disk reports an error: check the disk, or give another place",
}


def _explanation(location: str, message: str) -> str:
    for part, explanation in _EXPLANATIONS.items():
        if part in message.lower():
            return f"The store '{location}' {explanation}."
    first = (message.strip().splitlines() or ["no message"])[0]
    return f"The store '{location}' cannot be used, the database says \"{first}\": check the location and its rights."
