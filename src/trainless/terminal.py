"""Terminal output of the command line: tables, JSON documents, progress bars."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainless.files import write_file, write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Update", "print_json", "print_rows", "progress", "records", "tell", "visible", "write_file", "write_text"]

# What a terminal takes for a command, or what turns the order of letters around.
_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def visible(text: str, keep: str = "") -> str:
    r"""Write out what a terminal would obey rather than show: names of files and classes may hold anything.

    Args:
        text: any.
        keep: characters that are left as they are, such as the ends of lines.

    Example:
        >>> visible("\x1b[31mcat\n"), visible("two\nlines", keep="\n")
        ('\\x1b[31mcat\\n', 'two\nlines')
    """
    return _COMMANDS.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def tell(text: object = "", *, err: bool = False) -> None:
    """Print a text of one or several lines, on standard output or standard error, as `visible` has it."""
    print(visible(str(text), keep="\n\t"), file=sys.stderr if err else sys.stdout)


class Update:
    """What moves a progress bar: call it with the steps done and the number of all.

    Args:
        bar: Rich's progress display.
        name: what is being done.
    """

    def __init__(self, bar: Any, name: str) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, rate="", name=name)
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = self._first or (now, done)
        elapsed = now - self._first[0]
        rate = f"{(done - self._first[1]) / elapsed:.2f}/s" if elapsed > 0 and done > self._first[1] else ""
        self._bar.update(self._task, completed=done, total=total, rate=rate)

    def stage(self, name: str) -> Update:
        """Begin a stage of the work: the bar takes its name and starts anew."""
        self._bar.reset(self._task, total=None, name=name, rate="")
        self._first = None
        return self


@contextmanager
def progress(name: str, *, begun: float | None = None, deadline: float | None = None) -> Iterator[Update]:
    """Show a progress bar with rate, elapsed and left time on standard error, where that is a terminal.

    Steps are counted as soon as it is known how many there are.

    Args:
        name: what is being done.
        begun: value of `time.monotonic` from which time is counted over all stages; None counts in each anew.
        deadline: value of `time.monotonic` at which all stages end, where that is known beforehand.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        def render(self, task: Any) -> Text:
            now = time.monotonic()
            elapsed = task.elapsed if begun is None else now - begun
            left = task.time_remaining if deadline is None else max(0.0, deadline - now)
            return Text(f"elapsed {_clock(elapsed)}, left {_clock(left)}")

    class Steps(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text("" if task.total is None else f"{int(task.completed)}/{int(task.total)}")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[name]}"), BarColumn(), Steps(), TextColumn("{task.fields[rate]}"), Times()
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield Update(bar, name)


def _clock(seconds: float | None) -> str:
    return "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into one dictionary a row, the index first."""
    rows = table.reset_index().to_dict(orient="records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def print_json(document: Any) -> None:
    """Print one JSON document; what is not finite becomes text, since JSON has neither infinity nor NaN."""
    text = json.dumps(_plain(document), ensure_ascii=False, indent=1)
    # JSON itself escapes less than a terminal obeys.
    print(_COMMANDS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


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
    """Print rows as a table as wide as the terminal, or as it needs where the output is no terminal.

    Names and numbers are never cut: where they do not fit, columns at the right are left out and named below.
    """
    if as_json:
        print_json(rows)
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, markup=False, width=10_000)
    rows = [{visible(name): value for name, value in row.items()} for row in rows]
    cells = {name: [_cell(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    whole = {name for name in cells if name in _NAMES or all(_is_number(row[name]) for row in rows)}
    shown = _fitting(cells, whole, console.width)
    table = Table(box=SIMPLE, pad_edge=False)
    for name in shown:
        is_number = name in whole and name not in _NAMES
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name in whole, overflow="fold")
    for values in zip(*(cells[name] for name in shown), strict=True):
        table.add_row(*values)
    console.print(table)
    if left := [name for name in cells if name not in shown]:
        console.print(f"Too narrow for {', '.join(left)}: widen the terminal, or take --json.")


_NAMES = ("architecture", "proxy", "table", "scores", "weights", "mix")
_LEAST = 12  # letters a column of text can be wrapped to


def _fitting(cells: dict[str, list[str]], whole: set[str], width: int) -> list[str]:
    """The first columns that a width has room for."""
    shown: list[str] = []
    used = 0
    for name, texts in cells.items():
        longest = max(map(len, (name, *texts)))
        used += (longest if name in whole else min(longest, _LEAST)) + 3  # with its padding
        if shown and used > width:
            break
        shown.append(name)
    return shown


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else visible(str(value))
