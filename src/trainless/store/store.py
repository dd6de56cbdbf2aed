"""The store as callers hold it: scores, runs and notes of one file or database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import sqlalchemy as sql

from trainless.errors import StoreError
from trainless.ranking import ranking
from trainless.store import queries
from trainless.store.checking import Checked, check
from trainless.store.copying import Copied, copy
from trainless.store.engine import Database
from trainless.store.keys import Run
from trainless.store.migrations import layout_of, migrate
from trainless.store.schema import CURRENT, META, RUN_COLUMNS, SCHEMA_VERSION, SCORE_COLUMNS, Layout
from trainless.store.statistics import Statistics, statistics
from trainless.types import Score

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Store"]

_T = TypeVar("_T")

_TEXT = ("space", "task", "architecture", "proxy", "status", "reason", "created")


class Store:
    """A file or database of scores; a context manager that closes it.

    What it promises: a score is written whole and once, and comes back to the last bit; two that write at once wait
    for each other; a process killed at any moment leaves what was written before. A store of an earlier schema is
    brought to the present one in one transaction when it is opened, and read as it is with ``create=False``.

    Args:
        location: a path, or a database URL with ``://``.
        create: make the store where there is none. False opens an SQLite file for reading only: neither it nor
            its folder is changed, so both may be read-only.

    Raises:
        StoreError: it cannot be opened; the message tells why and what to do.

    Example:
        >>> import math, tempfile
        >>> run = Run("toy", "digits:00", 0, "batch=64")
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "scores.db") as store:
        ...     store.write(run, [Score("a", "nwot", 1.5), Score("b", "nwot", -math.inf, "not finite", "singular")],
        ...                 {"nwot": 1})
        ...     store.table()["nwot"].to_dict()
        {'a': 1.5, 'b': -inf}
    """

    def __init__(self, location: str | Path, *, create: bool = True) -> None:
        self._database = Database(location, create)
        self.location = self._database.location
        try:
            self._open(create)
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
        self._database.close()

    def _open(self, create: bool) -> None:
        tables = set(self._database.read(lambda connection: sql.inspect(connection).get_table_names()))
        if not tables and create:
            self._database.prepare()
            self._database.write(queries.make_tables)
        elif META.name not in tables:
            what = "an empty database" if not tables else f"a database with other tables ({', '.join(sorted(tables))})"
            raise StoreError(f"'{self.location}' is {what} and no store of trainless: give another one.")
        if self._read(lambda _, layout: layout.version) < SCHEMA_VERSION and create:
            self._database.write(lambda connection: migrate(connection, self.location))

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
        rows = queries.rows_of(run, scores, versions)
        if rows:
            self._write(lambda connection: queries.insert_scores(connection, run, rows))

    def note(self, topic: str, notes: Mapping[str, Any]) -> None:
        """Write other things that must not be lost, all of them or none; a name that is there gets the new value.

        Args:
            topic: what the notes are about.
            notes: by name, values of which JSON can be made.

        Raises:
            StoreError: nothing was written; the message tells why.
        """
        if notes:
            self._write(lambda connection: queries.replace_notes(connection, topic, notes))

    def forget(self, topic: str) -> None:
        """Remove all notes of a topic."""
        self._write(lambda connection: queries.remove_notes(connection, topic))

    def copy_from(self, source: Store, progress: Callable[[int, int], None] | None = None) -> Copied:
        """Copy all scores and notes of another store, 50,000 in a transaction, in the order of writing.

        What is here stays, but for scores that failed here and not there: so a copy that was interrupted goes on when
        it is made again, and nothing comes twice. What is written to the other store meanwhile may be left out.

        Args:
            source: of the present or an earlier schema.
            progress: called with the number of scores and notes looked at, and that of all.

        Raises:
            StoreError: one of the two cannot be read or written; what was copied stays.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "a.db") as first:
            ...     first.write(Run("toy", "digits:00", 0, "batch=64"), [Score("a", "nwot", 1.5)], {"nwot": 1})
            ...     with Store(Path(folder) / "b.db") as second:
            ...         second.copy_from(first), second.copy_from(first).scores
            (Copied(scores=1, scores_there=0, notes=0, notes_there=0), 0)
        """
        with source._decoded():
            return copy(source._read, self._write, progress)

    def _write(self, change: Callable[[sql.Connection], _T]) -> _T:
        def checked(connection: sql.Connection) -> _T:
            version = layout_of(connection, self.location).version
            if version < SCHEMA_VERSION:
                raise StoreError(
                    f"'{self.location}' has schema {version} and was opened to be read: open it for writing, which "
                    f"brings it to schema {SCHEMA_VERSION}."
                )
            return change(connection)

        return self._database.write(checked)

    # Reading.

    def finished(self, run: Run, versions: Mapping[str, int]) -> dict[str, set[str]]:
        """Tell for each architecture of a run the proxies that need not be computed again.

        Args:
            run: what the scores share.
            versions: the version of each proxy of interest; scores of another version do not count.
        """
        return self._read(lambda connection, layout: queries.finished(connection, layout, run, versions))

    def runs(self) -> list[Run]:
        """List the runs that scores belong to, in the order of their first score."""
        return self._read(queries.runs)

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
        return self._read(lambda connection, layout: queries.notes(connection, layout, topic))

    def count(self) -> int:
        """Count the scores, failed ones included."""
        return self._read(queries.count)

    def is_empty(self) -> bool:
        """Tell whether nothing was written to it: no score and no note."""
        return self._read(queries.is_empty)

    def rows(self, run: Run | None = None) -> pd.DataFrame:
        """Give one row a score with all that is known of it, in the order of writing.

        Args:
            run: only scores of this run; None for all.
        """
        found, fidelity = self._read(
            lambda connection, layout: (queries.scores(connection, layout, run), layout.fidelity)
        )  # fmt: skip
        frame = pd.DataFrame(found, columns=[*RUN_COLUMNS, *SCORE_COLUMNS])
        with self._decoded():
            frame["fidelity"] = frame["fidelity"].map({text: fidelity(text) for text in frame["fidelity"].unique()})
            frame = _exact(frame)
            whole, real = ("seed", "proxy_version"), ("seconds", "spent", "peak_memory")
            frame = frame.astype(dict.fromkeys(whole, "int64") | dict.fromkeys(real, float))
            if other := [name for name in _TEXT if len(frame) and frame[name].dtype == object]:
                raise ValueError(f"{other[0]} is no text in some rows")
        return frame

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
        return _table(_latest(frame), frame)

    def best(self, run: Run | None, proxy: str, count: int | None, *, highest: bool = True) -> pd.DataFrame:
        """Give the rows of `table` of the best architectures by a proxy, best first; what is not finite comes last.

        Equal scores keep the order in which they were written. Only as much is read as is shown, from an index.

        Args:
            run: the run to show; None where the store holds only one.
            proxy: orders the architectures, by its latest version.
            count: how many; None for all.
            highest: whether the highest score is the best.

        Raises:
            StoreError: the run has no score of the proxy, or there is no run or no choice of one, as in `table`.

        Example:
            >>> with Store("sqlite://") as store:
            ...     run = Run("toy", "digits:00", 0, "batch=64")
            ...     store.write(run, [Score("a", "nwot", 1.5), Score("b", "nwot", 2)], {"nwot": 1})
            ...     store.best(run, "nwot", 1)["nwot"].to_dict()
            {'b': 2.0}
        """
        run = run or self._only_run()
        if count is not None:
            found = self._read(
                lambda connection, layout:
                    queries.best(connection, run, proxy, count, highest) if layout is CURRENT else None
            )  # fmt: skip
            if found is not None:
                rows, proxies = found
                frame = _exact(pd.DataFrame(rows, columns=["architecture", "proxy", "value", "value_text", "status"]))
                return _table(frame, frame).reindex(columns=proxies)
        table = self.table(run)
        if proxy not in table.columns:
            listed = ", ".join(map(str, table.columns))
            raise StoreError(f"There is no score of '{proxy}', expected one of the stored proxies: {listed}.")
        return table.loc[ranking(table[proxy], highest).sort_values(kind="stable").index].head(count or len(table))

    def check(self, progress: Callable[[int, int], None] | None = None) -> Checked:
        """Check that the file is sound and that each row is what it was when it was written.

        Args:
            progress: called with the number of rows looked at, and that of all.

        Raises:
            StoreError: it cannot be read, or has a schema without hashes.

        Example:
            >>> with Store("sqlite://") as store:
            ...     store.check()
            Checked(scores=0, notes=0, failed=0, faults=[], spaces=[], proxies=[])
        """
        with self._decoded():
            return check(self._read, self.location, progress)

    def statistics(self) -> Statistics:
        """Count what there is, and tell its size and time.

        Example:
            >>> with Store("sqlite://") as store:
            ...     store.statistics().scores
            0
        """
        return self._read(statistics)

    def _only_run(self) -> Run:
        runs = self.runs()
        if not runs:
            raise StoreError(f"The store '{self.location}' holds no scores: score something into it first.")
        if len(runs) > 1:
            listed = "; ".join(f"{number}: {run}" for number, run in enumerate(runs, 1))
            raise StoreError(f"The store '{self.location}' holds {len(runs)} runs, choose one by number ({listed}).")
        return runs[0]

    def _read(self, ask: Callable[[sql.Connection, Layout], _T]) -> _T:
        with self._decoded():
            return self._database.read(lambda connection: ask(connection, layout_of(connection, self.location)))

    @contextmanager
    def _decoded(self) -> Iterator[None]:
        """Say in one sentence that rows hold what is never written to them: SQLite takes any value in any column."""
        try:
            yield
        except StoreError:
            raise
        # A copy meets such values when it writes them, which SQLAlchemy wraps.
        except (ValueError, TypeError, AttributeError, RecursionError, sql.exc.StatementError) as error:
            said = error.orig if isinstance(error, sql.exc.StatementError) else error
            raise StoreError(
                f"The store '{self.location}' holds what trainless never writes ({' '.join(str(said).split())}): it "
                "is damaged, restore it from a copy, or give another."
            ) from error


def _exact(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the value of the column or, where that is empty, of its text."""
    exact = rows.pop("value_text").map(float, na_action="ignore").astype(float)
    # The text "nan" is NaN in `value` too, so filling the gaps from the text is exact.
    rows["value"] = rows["value"].astype(float).fillna(exact)
    return rows


def _table(rows: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """A row an architecture and a column a proxy, as they come in `order`; NaN for what failed or is not there."""
    values = rows[rows["status"] != "failed"].pivot(index="architecture", columns="proxy", values="value")
    table: pd.DataFrame = values.reindex(index=order["architecture"].unique(), columns=order["proxy"].unique())
    return table.astype(float).rename_axis(index="architecture", columns=None)


def _latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the latest version of each proxy, for scores of different versions cannot be compared."""
    newest = rows.groupby("proxy")["proxy_version"].transform("max")
    return rows[rows["proxy_version"] == newest]
