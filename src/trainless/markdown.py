"""Tables in Markdown, for documentation, model cards and logs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

__all__ = ["escape", "table", "table_of_texts"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]|#$~&])")


def escape(text: str) -> str:
    """Write text so that it is shown as it is, on one line and within a column of a table.

    Example:
        >>> print(escape("|skip_connect~0|\\n<b>"))
        \\|skip\\_connect\\~0\\| &lt;b>
    """
    # HTML passes through Markdown, and not every renderer takes a backslash before it.
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """Write a table whose cells are Markdown already.

    Args:
        header: a cell for each column.
        rows: as many cells each.
        numbers: the columns, by position, that are aligned to the right.

    Example:
        >>> print(table(["proxy", "τ"], [["**nwot**", "0.58"]], numbers=[1]))
        | proxy | τ |
        | :--- | ---: |
        | **nwot** | 0.58 |
    """
    rule = ["---:" if position in numbers else ":---" for position in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def table_of_texts(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table of values, each shown as its text.

    Example:
        >>> print(table_of_texts(["what", "value"], [("batch_size", 64)]))
        | what | value |
        | :--- | :--- |
        | batch\\_size | 64 |
    """
    return table([escape(text) for text in header], ([escape(str(value)) for value in row] for row in rows))
