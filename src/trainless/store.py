"""Scores on disk: one SQL schema, an SQLite file by default, any database that SQLAlchemy knows.

A score is one row, written once, in a transaction with others. SQLite runs in write-ahead mode: a process killed at
any moment loses at most the transaction it was in, readers are not held up, and writers wait for each other.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.schema import CreateTable

from trainless.errors import StoreError
from trainless.types import Score

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SCHEMA_VERSION", "Run", "Store"]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x7472_6C73  # "trls", in the header of an SQLite file
_BUSY_SECONDS = 60
_RUN_COLUMNS = ("space", "task", "seed", "fidelity")
_KEY_COLUMNS = (*_RUN_COLUMNS, "architecture", "proxy", "proxy_version")

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
    # Databases disagree on infinity and NaN, so these are text, and `value` is null beside them.
    sql.Column("not_finite", sql.String(8)),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("peak_memory", sql.Double),
    sql.Column("created", sql.String(32), nullable=False),
    sql.UniqueConstraint(*_KEY_COLUMNS, name="one_score"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """The part of a score's key that all scores of one run share.

    Args:
        space: name of the search space.
        task: name of the data set and fingerprint of the batch.
        seed: seed of the weights and the noise.
        fidelity: the rest of the protocol: size of the network and the batch, initialisation, precision.
    """

    space: str
    task: str
    seed: int
    fidelity: str

    def __str__(self) -> str:
        return f"{self.space}, {self.task}, seed {self.seed}, {self.fidelity}"


class Store:
    """A file or database of scores; a context manager that closes it.

    Args:
        location: a path, or a database URL with ``://``.
        create: make the file where there is none. False opens an SQLite file for reading only.

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
        self.location = str(location)
        self._is_url = "://" in self.location
        self._engine = self._url_engine() if self._is_url else self._file_engine(Path(location), create)
        try:
            with self._explained():
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

    # Opening.

    def _url_engine(self) -> sql.Engine:
        try:
            engine = sql.create_engine(self.location)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            raise StoreError(
                f"The store '{self.location}' is no database URL that SQLAlchemy knows: "
                "give a path, or a URL such as postgresql+psycopg://user@host/name."
            ) from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"The store '{self.location}' needs the package '{error.name}': install it, or give a path."
            ) from error
        if engine.dialect.name == "sqlite":
            sql.event.listen(engine, "connect", _prepare)
        return engine

    def _file_engine(self, path: Path, create: bool) -> sql.Engine:
        if path.is_dir():
            raise StoreError(
                f"The store '{path}' is a folder, expected a file: give a file in it, as in {path}/scores.db."
            )
        if not create:
            if not path.is_file():
                raise StoreError(f"There is no store '{path}': check the path, or score something into it first.")
            return sql.create_engine("sqlite://", creator=lambda: _open_for_reading(path), poolclass=sql.NullPool)
        if not path.parent.is_dir():
            raise StoreError(f"The store '{path}' would lie in '{path.parent}', which is no folder: make it first.")
        engine = sql.create_engine("sqlite://", creator=lambda: sqlite3.connect(path, timeout=_BUSY_SECONDS),
                                   poolclass=sql.NullPool)  # fmt: skip
        sql.event.listen(engine, "connect", _prepare)
        return engine

    def _check_schema(self, create: bool) -> None:
        tables = set(sql.inspect(self._engine).get_table_names())
        if not tables and create:
            self._make_schema()
        elif _meta.name not in tables:
            what = "an empty database" if not tables else f"a database with other tables ({', '.join(sorted(tables))})"
            raise StoreError(f"'{self.location}' is {what} and no store of trainless: give another file.")
        with self._engine.connect() as connection:
            found = connection.scalar(sql.select(_meta.c.value).where(_meta.c.name == "schema"))
        if found is None or not found.isdecimal():
            raise StoreError(f"'{self.location}' does not tell the version of its schema: it is damaged, give another.")
        if int(found) > SCHEMA_VERSION:
            raise StoreError(
                f"'{self.location}' was written by a newer trainless (schema {found}, this one knows "
                f"{SCHEMA_VERSION}): install the newer version, or give another file."
            )

    def _make_schema(self) -> None:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
        try:
            with self._engine.begin() as connection:
                connection.execute(_meta.insert().values(name="schema", value=str(SCHEMA_VERSION)))
        except IntegrityError:
            pass  # another process made the same store at the same moment

    # Writing.

    def write(self, run: Run, scores: Iterable[Score], versions: Mapping[str, int]) -> None:
        """Write scores in one transaction: all of them or none.

        A score that is there already stays as it is, unless it had failed: then the new one takes its place.

        Args:
            run: what the scores share.
            scores: any number; of two with the same key the first counts.
            versions: the version of each proxy.

        Raises:
            StoreError: nothing was written; the message tells why.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        rows = {
            (each.architecture, each.proxy): _row(run, each, versions[each.proxy], created)
            for each in reversed(list(scores))
        }
        if not rows:
            return
        with self._explained(), self._engine.begin() as connection:
            self._insert(connection, list(rows.values())[::-1])

    def _insert(self, connection: sql.Connection, rows: list[dict[str, Any]]) -> None:
        dialect = connection.dialect.name
        if dialect in ("sqlite", "postgresql"):
            statement: Any = sqlite.insert(_scores) if dialect == "sqlite" else postgresql.insert(_scores)
            new = {column.name: statement.excluded[column.name] for column in _scores.c if column.name != "id"}
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=_KEY_COLUMNS, set_=new, where=_scores.c.status == "failed"
                ),
                rows,
            )
            return
        for row in rows:
            same = sql.and_(*(_scores.c[name] == row[name] for name in _KEY_COLUMNS))
            connection.execute(_scores.delete().where(same, _scores.c.status == "failed"))
            if not connection.scalar(sql.select(sql.func.count()).select_from(_scores).where(same)):
                connection.execute(_scores.insert(), row)

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
        with self._explained(), self._engine.connect() as connection:
            for architecture, proxy, version in connection.execute(query):
                if versions.get(proxy) == version:
                    found.setdefault(architecture, set()).add(proxy)
        return found

    def runs(self) -> list[Run]:
        """List the runs that scores belong to, in the order of their first score."""
        columns = [_scores.c[name] for name in _RUN_COLUMNS]
        query = sql.select(*columns).group_by(*columns).order_by(sql.func.min(_scores.c.id))
        with self._explained(), self._engine.connect() as connection:
            return [Run(*row) for row in connection.execute(query)]

    def count(self) -> int:
        """Count the scores, failed ones included."""
        with self._explained(), self._engine.connect() as connection:
            return int(connection.scalar(sql.select(sql.func.count()).select_from(_scores)) or 0)

    def rows(self, run: Run | None = None) -> pd.DataFrame:
        """Give one row a score with all that is known of it, in the order of writing.

        Args:
            run: only scores of this run; None for all.
        """
        query = sql.select(_scores).order_by(_scores.c.id)
        if run is not None:
            query = query.where(_of(run))
        with self._explained(), self._engine.connect() as connection:
            records = connection.execute(query).mappings().all()
        names = [column.name for column in _scores.c]
        frame = pd.DataFrame([dict(record) for record in records], columns=names)
        special = frame["not_finite"].map(float, na_action="ignore").astype(float)
        frame["value"] = frame["value"].astype(float).where(frame["not_finite"].isna(), special)
        return frame.drop(columns=["id", "not_finite"])

    def table(self, run: Run | None = None) -> pd.DataFrame:
        """Give one row an architecture and one column a proxy, of its latest version; NaN for what failed.

        Args:
            run: the run to show; None where the store holds only one.

        Raises:
            StoreError: the store is empty, or holds several runs and none is chosen.
        """
        run = run or self._only_run()
        frame = self.rows(run).sort_values("proxy_version", kind="stable")
        frame = frame.drop_duplicates(["architecture", "proxy"], keep="last").sort_index()
        values = frame.pivot(index="architecture", columns="proxy", values="value")
        order = frame["architecture"].unique()
        table: pd.DataFrame = values.reindex(index=order, columns=frame["proxy"].unique())
        return table.rename_axis(index="architecture", columns=None)

    def _only_run(self) -> Run:
        runs = self.runs()
        if not runs:
            raise StoreError(f"The store '{self.location}' holds no scores: score something into it first.")
        if len(runs) > 1:
            listed = "; ".join(f"{number}: {run}" for number, run in enumerate(runs, 1))
            raise StoreError(f"The store '{self.location}' holds {len(runs)} runs, choose one by number ({listed}).")
        return runs[0]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a database says into one sentence."""
        try:
            yield
        except DBAPIError as error:
            raise StoreError(_explanation(self.location, str(error.orig))) from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"The store '{self.location}' needs the package '{error.name}': install it, or give a path."
            ) from error


def _prepare(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    # In write-ahead mode NORMAL is as safe against a killed process as FULL; a power cut may cost the last second.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a file that must not change; where even the index of its log cannot be made, as one that nobody writes."""
    base = f"file:{quote(str(path.absolute()))}?mode=ro"
    for address in (base, f"{base}&immutable=1"):
        connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if address != base:
                raise
        except sqlite3.DatabaseError:
            connection.close()
            raise
        else:
            break
    return connection


def _of(run: Run) -> sql.ColumnElement[bool]:
    return sql.and_(*(_scores.c[name] == value for name, value in asdict(run).items()))


def _row(run: Run, score: Score, version: int, created: str) -> dict[str, Any]:
    finite = math.isfinite(score.value)
    return {
        **asdict(run),
        "architecture": score.architecture,
        "proxy": score.proxy,
        "proxy_version": version,
        "value": float(score.value) if finite else None,
        "not_finite": None if finite else str(float(score.value)),
        "status": score.status,
        "reason": score.reason,
        "seconds": score.seconds,
        "peak_memory": score.peak_memory,
        "created": created,
    }


_EXPLANATIONS = {
    "file is not a database": "is no SQLite database and so no store: give another file",
    "malformed": "is a damaged SQLite database: restore it from a copy, or give another file",
    "readonly": "cannot be written, it or its folder is read-only: change the rights, or give another place",
    "disk is full": "cannot be written, the disk is full: make room and run the same again, nothing finished is lost",
    "locked": f"was in use by another process for {_BUSY_SECONDS} seconds: wait for it to end, then run the same again",
    "unable to open": "cannot be opened or made: check that its folder is there and may be written to",
    "disk i/o error": "cannot be read or written, the disk reports an error: check the disk, or give another place",
}


def _explanation(location: str, message: str) -> str:
    for part, explanation in _EXPLANATIONS.items():
        if part in message.lower():
            return f"The store '{location}' {explanation}."
    first = (message.strip().splitlines() or ["no message"])[0]
    return f"The store '{location}' cannot be used: the database says \"{first}\"."
