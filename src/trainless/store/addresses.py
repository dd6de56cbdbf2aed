"""Where a store is: paths and database URLs, checked, and engines for them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from trainless.errors import StoreError
from trainless.store.faults import explanation

__all__ = [
    "BUSY_SECONDS",
    "check_path",
    "file_engine",
    "parse_url",
    "shown",
    "sqlite_path",
    "url_engine",
    "without_secrets",
]

BUSY_SECONDS = 60.0
"""How long a writer of an SQLite file waits for another."""

_SECRET = ("password", "secret", "scram_")  # in names of what libpq takes
# A server whose cable was pulled answers nothing: without these, a writer would wait for hours.
_POSTGRESQL = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def parse_url(text: str) -> sql.URL:
    """Read a database URL; ``postgresql://`` and ``postgres://`` mean the driver psycopg.

    Raises:
        StoreError: it is none; the message shows no password.

    Example:
        >>> parse_url("postgres://me@host/scores").render_as_string()
        'postgresql+psycopg://me@host/scores'
    """
    try:
        url = sql.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            f"The store '{without_secrets(text)}' is no database URL: give a path, or a URL such as postgresql://user@host/name."
        ) from error
    if "@" in (url.host or ""):
        raise StoreError(
            f"The store '{without_secrets(text)}' has an @ within its user or password: write it as %40, a : as %3A."
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def without_secrets(text: str) -> str:
    """Blot out what may be a password in a text with a URL, however it is written.

    Example:
        >>> without_secrets("postgresql://me:se@cret@host/scores?password=secret")
        'postgresql://me:***@host/scores?password=***'
    """
    text = re.sub(r"(://[^:/]*):.*@", r"\1:***@", text)
    return re.sub(rf"(\w*(?:{'|'.join(_SECRET)})\w*=)[^&\s]*", r"\1***", text)


def shown(url: sql.URL) -> str:
    """Write a URL for messages: without its passwords, wherever they stand.

    Example:
        >>> shown(parse_url("postgresql://me:secret@host/scores?sslpassword=secret"))
        'postgresql+psycopg://me:***@host/scores?sslpassword=***'
    """
    hidden = {name: "***" for name in url.query if any(word in name for word in _SECRET)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A", "*")


def sqlite_path(url: sql.URL) -> Path | None:
    """Give the file of a plain SQLite URL, which then is as safe as one given as a path.

    Example:
        >>> sqlite_path(parse_url("sqlite:///scores.db")).name
        'scores.db'
    """
    plain = url.drivername in ("sqlite", "sqlite+pysqlite") and not url.query
    return Path(url.database) if plain and url.database and url.database != ":memory:" else None


def url_engine(url: sql.URL) -> sql.Engine:
    """Make the engine of a URL; nothing is connected yet.

    Args:
        url: what `parse_url` gave.

    Raises:
        StoreError: SQLAlchemy does not know the kind of database, or its driver is not installed.

    Example:
        >>> url_engine(parse_url("sqlite://")).dialect.name
        'sqlite'
    """
    psycopg = url.drivername == "postgresql+psycopg"
    defaults = {name: value for name, value in _POSTGRESQL.items() if name not in url.query} if psycopg else {}
    try:
        return sql.create_engine(url, connect_args=defaults)
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(
            f"The store '{shown(url)}' is of a kind that SQLAlchemy does not know ('{url.drivername}'): give a path, "
            "or a URL such as postgresql://user@host/name."
        ) from error
    except ImportError as error:  # psycopg is there but its library is not: no ModuleNotFoundError
        advice = "pip install 'trainless[postgres]'" if psycopg else "install it"
        raise StoreError(
            f"The store '{shown(url)}' needs the package '{error.name or 'psycopg'}': {advice}, or give a path."
        ) from error


def check_path(path: Path, create: bool) -> None:
    """Refuse a path where no store can be.

    Raises:
        StoreError: it is a folder, cannot be a name, lies in no folder, or is not there and is not to be made.
    """
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
        raise StoreError(explanation(str(path), "malformed"))


def _is_cut(path: Path) -> bool:
    """Tell whether a file ends within a page: SQLite would read on as if there were zeros, and miss scores."""
    try:
        with path.open("rb") as file:
            header = file.read(18)
        page = int.from_bytes(header[16:], "big")
        return header.startswith(b"SQLite format 3\0") and page > 1 and path.stat().st_size % page > 0
    except OSError:  # which SQLite tells better
        return False


def file_engine(path: Path, options: str) -> sql.Engine:
    """Make an engine that opens a file anew for each transaction, so that workers never inherit a connection.

    Args:
        path: of the SQLite file.
        options: of SQLite's URI, such as ``"mode=ro"``.
    """
    address = f"{path.absolute().as_uri()}?{options}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)
        # In write-ahead mode as safe against a killed process as FULL; a power cut may cost the last transaction.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    return sql.create_engine("sqlite://", creator=connect, poolclass=sql.NullPool)
