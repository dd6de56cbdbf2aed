"""Tables of results as HTML: sorted by a click on a heading, and scrolled sideways where there is no room."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import pandas as pd

from trainless.report.common.text_tables import Cell, Column, with_index

__all__ = ["breakable", "html_table", "scrolled"]


def breakable(text: str) -> str:
    """Escape text that may be an architecture's string, which a line may break between two nodes.

    Example:
        >>> breakable("|none~0|+|none~0|<none>~1|")
        '|none~0|+<wbr class="node">|none~0|&lt;none&gt;~1|'
    """
    return escape(text).replace("|+|", '|+<wbr class="node">|')


def scrolled(table: str, name: str, size: str = "") -> str:
    """Put a table into a box that scrolls; `name` is that of its section, ``name-head`` its heading."""
    return f'<div class="scroll {size}" role="region" tabindex="0" aria-labelledby="{name}-head">{table}</div>'


def html_table(frame: pd.DataFrame, columns: Sequence[Column], index: str | None = None) -> str:
    """Write a table as HTML, everything escaped; the first column names the rows.

    Args:
        frame: any table.
        columns: as `trainless.report.text.columns_of` gives them.
        index: heading of the index; None is its name, or leaves out one that only numbers the rows.

    Example:
        >>> from trainless.report.common.text_tables import columns_of
        >>> frame = pd.DataFrame({"regret": [0.5]}, index=["<b>"])
        >>> "&lt;b&gt;" in html_table(frame, columns_of(frame), "proxy")
        True
    """
    shown, rows = with_index(frame, columns, index)
    head = "".join(map(_head, shown))
    body = "".join(f"<tr>{_row(shown, cells)}</tr>" for cells in rows)
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _head(column: Column) -> str:
    # What a first click puts on top: the best, or the beginning of the alphabet.
    down = column.form and column.higher_is_better is not False
    order = "descending" if down else "ascending"
    kind = ' class="text"' if not column.form else ""
    heading = escape(re.sub(" (?=[τρ])", "\N{NO-BREAK SPACE}", column.heading))
    return f'<th scope="col"{kind} data-first="{order}"><button type="button">{heading}</button></th>'


def _row(columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    first, *others = [_cell(column, cell) for column, cell in zip(columns, cells, strict=True)]
    return "".join([f'<th scope="row"{first}</th>', *(f"<td{other}</td>" for other in others)])


def _cell(column: Column, cell: Cell) -> str:
    """Attributes and content of a cell."""
    classes = [name for name, holds in (("text", not column.form), ("best", cell.is_best)) if holds]
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    small = f"<small>{escape(cell.interval)}</small>" if cell.interval else ""
    # A narrow column may break a name behind its bracket.
    return f"{attributes}{value}>{breakable(cell.text).replace('(', '(<wbr>')}{small}"
