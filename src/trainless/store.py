"""Scores on disk: one SQL schema, an SQLite file by default, any database that SQLAlchemy knows.

A score is one row, written once, in a transaction with others. SQLite runs in write-ahead mode: a process killed at
any moment loses at most the transaction it was in, readers are not held up, and writers wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.schema import CreateTable

from trainless.errors import StoreError
from trainless.files import printable
from trainless.types import Score

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SCHEMA_VERSION", "Run", "Store", "key_of"]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x7472_6C73  # "trls", in the header of an SQLite file
_BUSY_SECONDS = 60.0
_ATTEMPTS = 5
_RUN_COLUMNS = ("space", "task", "seed", "fidelity")
_KEY_COLUMNS = (*_RUN_COLUMNS, "architecture", "proxy", "proxy_version")
_UPSERTS: dict[str, Callable[[sql.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_T = TypeVar("_T")

_metadata = sql.MetaData()
_meta = sql.Table(
    "trainless_meta",
    _metadata,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("value", sql.String(255), nullable=False),
)
_scores = sql.Table(
    "scores",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("space", sql.String(64), nullable=False),
    sql.Column("task", sql.String(128), nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("fidelity", sql.String(255), nullable=False),
    sql.Column("architecture", sql.String(255), nullable=False),
    sql.Column("proxy", sql.String(64), nullable=False),
    sql.Column("proxy_version", sql.Integer, nullable=False),
    sql.Column("value", sql.Double),
    # Databases disagree on infinity and NaN, and SQLite drops the sign of zero: these are text, and `value` is null.
    sql.Column("value_text", sql.String(8)),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("peak_memory", sql.Double),
    sql.Column("created", sql.String(32), nullable=False),
    sql.UniqueConstraint(*_KEY_COLUMNS, name="one_score"),
)
# Made with the first note: a store without any stays one that earlier versions know.
_notes = sql.Table(
    "notes",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("topic", sql.String(255), nullable=False),
    sql.Column("name", sql.String(255), nullable=False),
    sql.Column("value", sql.Text, nullable=False),
    sql.UniqueConstraint("topic", "name", name="one_note"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """The part of a score's key that all scores of one run share.

    Args:
        space: name of the search space.
        task: name of the data set and fingerprint of the batch.
        seed: seed of the weights and the noise.
        fidelity: the rest of the protocol: size of the network and the batch, initialisation, precision.

    Raises:
        StoreError: the seed does not fit 64 bits.

    Example:
        >>> str(Run("toy", "digits:00", 0, "batch=64"))
        'toy, digits:00, seed 0, batch=64'
    """

    space: str
    task: str
    seed: int
    fidelity: str

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise StoreError(f"The seed is {self.seed}, which no database can hold: give one below 2**63.")

    def __str__(self) -> str:
        return f"{self.space}, {self.task}, seed {self.seed}, {self.fidelity}"


class Store:
    """A file or database of scores; a context manager that closes it.

    Args:
        location: a path, or a database URL with ``://``.
        create: make the store where there is none. False opens an SQLite file for reading only: neither it nor
            its folder is changed, so both may be read-only.

    Raises:
        StoreError: it cannot be opened; the message tells why and what to do.

    Example:
        >>> import tempfile
        >>> run = Run("toy", "digits:00", 0, "batch=64")
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "scores.db") as store:
        ...     store.write(run, [Score("a", "nwot", 1.5), Score("b", "nwot", -math.inf, "not finite", "singular")],
        ...                 {"nwot": 1})
        ...     store.table()["nwot"].to_dict()
        {'a': 1.5, 'b': -inf}
    """

    def __init__(self, location: str | Path, *, create: bool = True) -> None:
        url = _parse_url(str(location)) if "://" in str(location) else None
        self._path = Path(location) if url is None else _sqlite_path(url)
        if self._path is None and url is not None:
            self.location = url.render_as_string(hide_password=True)
            self._engine = self._still = _url_engine(url, self.location)
        else:
            self._path = Path(self._path or location)
            self.location = str(self._path)
            _check_path(self._path, create)
            self._engine = _file_engine(self._path, "" if create else "mode=ro")
            self._still = _file_engine(self._path, "mode=ro&immutable=1")
        self._reads_only = self._path is not None and not create
        try:
            self._check_schema(create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        self._still.dispose()

    # Opening.

    def _check_schema(self, create: bool) -> None:
        tables = set(self._read(lambda connection: sql.inspect(connection).get_table_names()))
        if not tables and create:
            with self._explained():
                self._make_schema()
        elif _meta.name not in tables:
            what = "an empty database" if not tables else f"a database with other tables ({', '.join(sorted(tables))})"
            raise StoreError(f"'{self.location}' is {what} and no store of trainless: give another one.")
        found = self._read(lambda connection: connection.scalar(_schema_query()))
        if found is None or not found.isdecimal():
            raise StoreError(
                f"'{self.location}' does not tell the version of its schema, it is damaged: give another store."
            )
        if int(found) > SCHEMA_VERSION:
            raise StoreError(
                f"'{self.location}' was written by a newer trainless (schema {found}, this one knows "
                f"{SCHEMA_VERSION}): upgrade trainless, or give another store."
            )
        # A version below SCHEMA_VERSION is to be migrated here; there is none before the first.

    def _make_schema(self) -> None:
        if self._path is not None:
            _set_write_ahead(self._path)
        try:
            with self._transaction() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
                for table in (_meta, _scores):
                    connection.execute(CreateTable(table, if_not_exists=True))
                if connection.scalar(_schema_query()) is None:
                    connection.execute(_meta.insert().values(name="schema", value=str(SCHEMA_VERSION)))
        except IntegrityError:
            pass  # another process made the same store at the same moment

    # Writing.

    def write(self, run: Run, scores: Iterable[Score], versions: Mapping[str, int]) -> None:
        """Write scores in one transaction: all of them or none.

        A score that is there already stays as it is, unless it had failed: then the new one takes its place.

        Args:
            run: what the scores share.
            scores: any number; two with the same key count as if written one after the other.
            versions: the version of each proxy.

        Raises:
            StoreError: nothing was written; the message tells why.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for score in scores:
            key = (score.architecture, score.proxy)
            if key not in rows or rows[key]["status"] == "failed":
                rows[key] = _row(run, score, versions, created)
        if rows:
            with self._explained():
                self._write(lambda connection: _insert(connection, list(rows.values())))

    def note(self, topic: str, notes: Mapping[str, Any]) -> None:
        """Write other things that must not be lost, all of them or none; a name that is there gets the new value.

        Args:
            topic: what the notes are about.
            notes: by name, values of which JSON can be made.

        Raises:
            StoreError: nothing was written; the message tells why.
        """
        rows = [{"topic": topic, "name": name, "value": json.dumps(value)} for name, value in notes.items()]
        if not rows:
            return

        def replace(connection: sql.Connection) -> None:
            connection.execute(CreateTable(_notes, if_not_exists=True))
            connection.execute(_notes.delete().where(_notes.c.topic == topic, _notes.c.name.in_(list(notes))))
            connection.execute(_notes.insert(), rows)

        with self._explained():
            self._write(replace)

    def forget(self, topic: str) -> None:
        """Remove all notes of a topic."""
        with self._explained():
            self._write(lambda connection: _has_notes(connection) and connection.execute(
                _notes.delete().where(_notes.c.topic == topic)))  # fmt: skip

    def _write(self, change: Callable[[sql.Connection], Any]) -> None:
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

    # Reading.

    def finished(self, run: Run, versions: Mapping[str, int]) -> dict[str, set[str]]:
        """Tell for each architecture of a run the proxies that need not be computed again.

        Args:
            run: what the scores share.
            versions: the version of each proxy of interest; scores of another version do not count.
        """
        query = sql.select(_scores.c.architecture, _scores.c.proxy, _scores.c.proxy_version).where(
            _of(run), _scores.c.status != "failed"
        )
        found: dict[str, set[str]] = {}
        for architecture, proxy, version in self._fetch(query):
            if versions.get(proxy) == version:
                found.setdefault(architecture, set()).add(proxy)
        return found

    def runs(self) -> list[Run]:
        """List the runs that scores belong to, in the order of their first score."""
        columns = [_scores.c[name] for name in _RUN_COLUMNS]
        query = sql.select(*columns).group_by(*columns).order_by(sql.func.min(_scores.c.id))
        return [Run(*row) for row in self._fetch(query)]

    def notes(self, topic: str) -> dict[str, Any]:
        """Read the notes of a topic, in the order of writing.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "scores.db") as store:
            ...     store.note("latency", {"a": 1.5, "b": [1, 2]})
            ...     store.note("latency", {"a": 2.5})
            ...     store.notes("latency"), store.notes("nothing")
            ({'b': [1, 2], 'a': 2.5}, {})
        """
        query = sql.select(_notes.c.name, _notes.c.value).where(_notes.c.topic == topic).order_by(_notes.c.id)
        rows = self._read(lambda connection: connection.execute(query).all() if _has_notes(connection) else [])
        return {name: json.loads(value) for name, value in rows}

    def count(self) -> int:
        """Count the scores, failed ones included."""
        return int(self._fetch(sql.select(sql.func.count()).select_from(_scores))[0][0])

    def rows(self, run: Run | None = None) -> pd.DataFrame:
        """Give one row a score with all that is known of it, in the order of writing.

        Args:
            run: only scores of this run; None for all.
        """
        columns = [column for column in _scores.c if column.name != "id"]
        query = sql.select(*columns).order_by(_scores.c.id)
        rows = self._fetch(query if run is None else query.where(_of(run)))
        frame = pd.DataFrame(rows, columns=[column.name for column in columns])
        exact = frame.pop("value_text").map(float, na_action="ignore").astype(float)
        # The text "nan" is NaN in `value` too, so filling the gaps from the text is exact.
        frame["value"] = frame["value"].astype(float).fillna(exact)
        return frame.astype({"seed": "int64", "proxy_version": "int64", "seconds": float, "peak_memory": float})

    def latest_rows(self, run: Run) -> pd.DataFrame:
        """Give the rows of a run without those of earlier versions of a proxy, as `table` shows them.

        Args:
            run: the run.
        """
        return _latest(self.rows(run))

    def table(self, run: Run | None = None) -> pd.DataFrame:
        """Give one row an architecture and one column a proxy; NaN for what failed or is not there.

        Of a proxy with scores of several versions only the latest version is shown, for versions cannot be compared.
        Rows and columns are in the order of their first score.

        Args:
            run: the run to show; None where the store holds only one.

        Raises:
            StoreError: the store is empty, or holds several runs and none is chosen.
        """
        frame = self.rows(run or self._only_run())
        latest = _latest(frame)
        shown = latest[latest["status"] != "failed"]
        values = shown.pivot(index="architecture", columns="proxy", values="value")
        table: pd.DataFrame = values.reindex(index=frame["architecture"].unique(), columns=frame["proxy"].unique())
        return table.astype(float).rename_axis(index="architecture", columns=None)

    def _only_run(self) -> Run:
        runs = self.runs()
        if not runs:
            raise StoreError(f"The store '{self.location}' holds no scores: score something into it first.")
        if len(runs) > 1:
            listed = "; ".join(f"{number}: {run}" for number, run in enumerate(runs, 1))
            raise StoreError(f"The store '{self.location}' holds {len(runs)} runs, choose one by number ({listed}).")
        return runs[0]

    def _fetch(self, query: sql.Select[*tuple[Any, ...]]) -> Sequence[sql.Row[*tuple[Any, ...]]]:
        return self._read(lambda connection: connection.execute(query).all())

    def _read(self, ask: Callable[[sql.Connection], _T]) -> _T:
        """Ask a connection, and again where a file that was still did not stay so."""
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
        except (DBAPIError, sqlite3.Error) as error:
            message = str(error.orig if isinstance(error, DBAPIError) else error)
            raise StoreError(_explanation(self.location, message)) from error


def key_of(settings: Mapping[str, str]) -> str:
    """Make a short name of settings, the same wherever and whenever it is made."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the latest version of each proxy, for scores of different versions cannot be compared."""
    newest = rows.groupby("proxy")["proxy_version"].transform("max")
    return rows[rows["proxy_version"] == newest]


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


def _schema_query() -> sql.Select[str]:
    return sql.select(_meta.c.value).where(_meta.c.name == "schema")


def _insert(connection: sql.Connection, rows: list[dict[str, Any]]) -> None:
    """Insert rows whose key is new or failed before."""
    upsert = _UPSERTS.get(connection.dialect.name)
    if upsert:
        statement = upsert(_scores)
        new = {column.name: statement.excluded[column.name] for column in _scores.c if column.name != "id"}
        failed = _scores.c.status == "failed"
        connection.execute(statement.on_conflict_do_update(index_elements=_KEY_COLUMNS, set_=new, where=failed), rows)
        return
    for row in rows:
        same = sql.and_(*(_scores.c[name] == row[name] for name in _KEY_COLUMNS))
        status = connection.scalar(sql.select(_scores.c.status).where(same))
        if status is None:
            connection.execute(_scores.insert(), row)
        elif status == "failed":
            connection.execute(_scores.update().where(same, _scores.c.status == "failed"), row)


def _has_notes(connection: sql.Connection) -> bool:
    return bool(sql.inspect(connection).has_table(_notes.name))


def _is_conflict(error: DBAPIError) -> bool:
    """Tell whether another writer came between, so that the same transaction may well succeed now."""
    return any(word in str(error.orig).lower() for word in ("deadlock", "duplicate", "unique", "could not serialize"))


def _of(run: Run) -> sql.ColumnElement[bool]:
    return sql.and_(*(_scores.c[name] == value for name, value in asdict(run).items()))


def _row(run: Run, score: Score, versions: Mapping[str, int], created: str) -> dict[str, Any]:
    if score.proxy not in versions:
        raise StoreError(f"There is no version of the proxy '{score.proxy}': give one for each proxy that is written.")
    value = float(score.value)
    exact = math.isfinite(value) and not (value == 0 and math.copysign(1, value) < 0)
    return {
        **asdict(run),
        "architecture": score.architecture,
        "proxy": score.proxy,
        "proxy_version": versions[score.proxy],
        "value": value if exact else None,
        "value_text": None if exact else str(value),
        "status": score.status,
        # The message of an exception may hold bytes of a file name that are no text.
        "reason": printable(score.reason),
        "seconds": score.seconds,
        "peak_memory": score.peak_memory,
        "created": created,
    }


_EXPLANATIONS = {
    "file is not a database": "is no SQLite database and so no store: give another file",
    "malformed": "is a damaged SQLite database: restore it from a copy, or give another file",
    "readonly": "cannot be written, it or its folder is read-only: change the rights, or give another place",
    "disk is full": "cannot be written, the disk is full: make room and run the same again, nothing finished is lost",
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
