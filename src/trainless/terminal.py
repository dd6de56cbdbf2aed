"""What the command line prints and writes: tables, JSON documents, progress bars, whole files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainless.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_json", "print_rows", "progress", "records", "write_file"]


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with rate and time left on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, rate="")
        first: list[tuple[float, int]] = []

        def update(done: int, total: int) -> None:
            now = time.monotonic()
            first[:] = first or [(now, done)]
            elapsed = now - first[0][0]
            rate = f"{(done - first[0][1]) / elapsed:.2f}/s" if elapsed > 0 and done > first[0][1] else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield update


def write_file(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file so that there is either all of it or none."""
    partial = path.with_name(f".{path.name}.partial")
    # The ending decides the format for some writers.
    partial = partial.with_suffix(f".partial{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into one dictionary a row, the index first."""
    rows = table.reset_index().to_dict(orient="records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def print_json(document: Any) -> None:
    """Print one JSON document; what is not finite becomes text, since JSON has neither infinity nor NaN."""
    print(json.dumps(_plain(document), ensure_ascii=False, indent=1))


def _plain(value: Any) -> Any:
    """Make a value fit for JSON; ``float()`` reads the text of what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_rows(rows: list[dict[str, Any]], as_json: bool = False) -> None:
    """Print rows as a table as wide as the terminal, or as it needs where the output is no terminal."""
    if as_json:
        print_json(rows)
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for name in rows[0] if rows else ():
        number = all(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if number else "left", no_wrap=name in ("architecture", "proxy"))
    for row in rows:
        table.add_row(*[_cell(value) for value in row.values()])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=10_000)
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
