"""What databases report: whether to try again, and one sentence about it."""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = ["explanation", "is_conflict", "is_lost"]

# SQLSTATE, which does not depend on the language of the server: serialisation failure, deadlock, and two that make the
# same tables at once (unique violation, duplicate table).
_CONFLICTS = {"40001", "40P01", "23505", "42P07"}
_CONFLICT_WORDS = ("deadlock", "duplicate", "unique", "already exists", "could not serialize")
# Class 08 is a connection exception; 57P01 to 57P03 a server that stops, crashes or starts; 53300 one that is full.
_LOST = ("08", "57P0", "53300")


def is_conflict(error: DBAPIError) -> bool:
    """Tell whether another writer came between, so that the same transaction may well succeed now.

    Example:
        >>> is_conflict(DBAPIError("INSERT", {}, Exception("deadlock detected")))
        True
    """
    state = getattr(error.orig, "sqlstate", None)
    return state in _CONFLICTS if state else any(word in str(error.orig).lower() for word in _CONFLICT_WORDS)


def is_lost(error: DBAPIError) -> bool:
    """Tell whether the connection to a server broke or could not be made, so that it may be there again later.

    Example:
        >>> class Refused(Exception):
        ...     sqlstate = "57P03"
        >>> is_lost(DBAPIError("SELECT", {}, Refused("the database system is starting up")))
        True
    """
    state = getattr(error.orig, "sqlstate", "")  # other drivers than psycopg have none
    # A connection that cannot be made has the state None; all that a server says about a statement has one.
    never_made = state is None and isinstance(error, OperationalError)
    return error.connection_invalidated or never_made or (state or "").startswith(_LOST)


_EXPLANATIONS = {
    "file is not a database": "is no SQLite database and so no store: give another file",
    "malformed|could not decode": "is a damaged SQLite database: restore it from a copy, or give another file",
    "readonly": "cannot be written, it or its folder is read-only: change the rights, or give another place",
    "disk is full": "cannot be written, the disk is full: make room and run the same again, nothing finished is lost",
    "no space left": "cannot be written, the server's disk is full: make room and run the same again",
    "locked": "was in use by another process for too long: wait for it to end, then run the same again",
    "unable to open": "cannot be opened or made: check that its folder is there and may be written to",
    "disk i/o error": "cannot be read or written, the disk reports an error: check the disk, or give another place",
    "password": "refuses the user or the password: correct them in the URL, or in the environment variable PGPASSWORD",
    "permission denied": "does not let this user do so: grant it the right to make and write tables, or name another",
    r"database .* does not exist": "is not there: make the database with `createdb NAME`, or name another",
    r"role .* does not exist": "refuses the user, whom the server does not know: name another in the URL",
    r"connection (refused|reset|timeout|timed out|is (lost|closed))|failed to resolve|closed the connection|"
    r"shutting down|starting up|administrator command": (
        "cannot be reached: check that the server runs, its host and its port, then run the same again"
    ),
}


def explanation(location: str, message: str) -> str:
    """Say in one sentence what a database reports.

    Example:
        >>> explanation("scores.db", "database disk image is malformed")
        "The store 'scores.db' is a damaged SQLite database: restore it from a copy, or give another file."
    """
    for pattern, sentence in _EXPLANATIONS.items():
        if re.search(pattern, message, re.IGNORECASE):
            return f"The store '{location}' {sentence}."
    first = (message.strip().splitlines() or ["no message"])[0]
    return f"The store '{location}' cannot be used, the database says \"{first}\": check the location and its rights."
