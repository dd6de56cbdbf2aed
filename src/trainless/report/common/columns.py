"""The columns and cells of tables of results, as pages and text tables show them.

Columns that `trainless.metrics` made get their names, digits and intervals; any other column is written as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from trainless.errors import UnknownNameError
from trainless.report.common.formats import number

__all__ = ["Cell", "Column", "Table", "cells_of", "columns_of", "table_of"]

# Heading, format and which end is better, by the name of the column.
_KNOWN: dict[str, tuple[str, str, bool | None]] = {
    "kind": ("kind", "", None),
    "kendall": ("Kendall's τ", ".3f", True),
    "spearman": ("Spearman's ρ", ".3f", True),
    "weighted_kendall": ("weighted τ", ".3f", True),
    "top_kendall": ("τ of top tenth", ".3f", True),
    "precision_at": ("precision@{k}", ".2f", True),
    "best_of_top": ("best of {k}, %", ".2f", True),
    "argmax_accuracy": ("first choice, %", ".2f", True),
    "regret": ("regret, points", ".2f", False),
    "ndcg_at": ("nDCG@{k}", ".3f", True),
    "seconds": ("seconds", "#.3g", False),
    "memory": ("memory, MiB", ",.0f", False),
    "noise": ("seeds agree", ".3f", True),
    "networks": ("architectures", ",.0f", None),
    "not_finite": ("not finite", ",.0f", False),
    "nearest": ("nearest proxy", "", None),
    "redundancy": ("R² by the others", ".2f", None),
    "thesis_kendall": ("thesis's τ", ".2f", None),
    "thesis_spearman": ("thesis's ρ", ".2f", None),
    "top_accuracy": ("first choice, %", ".2f", None),
    "thesis_top_accuracy": ("thesis's first choice, %", ".2f", None),
    "suite_zero_spearman": ("Suite-Zero's ρ", ".2f", None),
}


@dataclass(frozen=True)
class Column:
    """How one column of a table is shown.

    Args:
        name: its name in the table.
        heading: what stands above it.
        form: format of its numbers; empty for text.
        higher_is_better: which end is better; None where neither is.
        has_interval: whether the table has its two ends, ``_low`` and ``_high``.
    """

    name: str
    heading: str
    form: str
    higher_is_better: bool | None
    has_interval: bool = False


@dataclass(frozen=True)
class Cell:
    """One value of a table as it is shown: its text, the number behind it, and the interval, empty where none is."""

    text: str
    value: float | None
    interval: str = ""
    is_best: bool = False


class Table(NamedTuple):
    """A table as it is shown: its columns, and its cells row by row; the first column names the rows."""

    columns: list[Column]
    rows: list[list[Cell]]


def columns_of(frame: pd.DataFrame, k: int = 10, names: Sequence[str] | None = None) -> list[Column]:
    """Tell how the columns of a table are shown, the ends of intervals with what they belong to.

    Args:
        frame: any table.
        k: stands in the headings of the metrics that look at the k best-scored.
        names: only these columns, in this order; None takes all.

    Raises:
        UnknownNameError: a name is no column.

    Example:
        >>> frame = pd.DataFrame({"kendall": [0.5], "kendall_low": [0.4], "kendall_high": [0.6]})
        >>> [(column.heading, column.has_interval) for column in columns_of(frame)]
        [("Kendall's τ", True)]
    """
    present = [str(name) for name in frame.columns]
    unknown = [name for name in names or () if name not in present]
    if unknown:
        raise UnknownNameError("column", unknown[0], present)
    ends = {f"{name}{end}" for name in present if _has_interval(name, present) for end in ("_low", "_high")}
    return [_column(frame, name, k, present) for name in names or present if name not in ends]


def cells_of(frame: pd.DataFrame, columns: Sequence[Column]) -> list[list[Cell]]:
    """Write the values of a table, row by row.

    Example:
        >>> frame = pd.DataFrame({"kendall": [0.5, float("nan")]})
        >>> [row[0].text for row in cells_of(frame, columns_of(frame))]
        ['0.500', '–']
    """
    shown = [_cells(frame, column) for column in columns]
    return [list(row) for row in zip(*shown, strict=True)] if shown else [[] for _ in range(len(frame))]


def table_of(frame: pd.DataFrame, columns: Sequence[Column] | None = None, index: str | None = None) -> Table:
    """Write a table, the index as its first column unless it only numbers the rows.

    Args:
        frame: any table.
        columns: those of `columns_of`; None takes all.
        index: heading of the index; None is its name.

    Example:
        >>> frame = pd.DataFrame({"kind": ["mix"]})
        >>> len(table_of(frame).columns), len(table_of(frame, index="row").columns)
        (1, 2)
    """
    chosen = columns_of(frame) if columns is None else list(columns)
    rows = cells_of(frame, chosen)
    if index is None and frame.index.name is None and isinstance(frame.index, pd.RangeIndex):
        return Table(chosen, rows)
    first = Column("", str(frame.index.name or "") if index is None else index, "", None)
    names = [Cell(str(name), None) for name in frame.index]
    return Table([first, *chosen], [[name, *row] for name, row in zip(names, rows, strict=True)])


def _column(frame: pd.DataFrame, name: str, k: int, present: list[str]) -> Column:
    numeric = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
    if name in _KNOWN:
        heading, form, better = _KNOWN[name]
        return Column(name, heading.format(k=k), form if numeric else "", better, _has_interval(name, present))
    form = ",d" if pd.api.types.is_integer_dtype(frame[name]) else ",.4g"
    return Column(name, name, form if numeric else "", None, _has_interval(name, present))


def _has_interval(name: str, present: list[str]) -> bool:
    return f"{name}_low" in present and f"{name}_high" in present


def _cells(frame: pd.DataFrame, column: Column) -> list[Cell]:
    if not column.form:
        return [
            Cell("–" if pd.isna(value) or value == "" else str(value), None) for value in frame[column.name].tolist()
        ]
    values = frame[column.name].to_numpy()
    numbers = values.astype(float)
    texts = [_text(value, column.form) for value in values.tolist()]
    best = _best(texts, numbers, column.higher_is_better)
    intervals = [""] * len(values)
    if column.has_interval:
        lows, highs = frame[f"{column.name}_low"], frame[f"{column.name}_high"]
        intervals = [_interval(low, high, column.form) for low, high in zip(lows, highs, strict=True)]
    return [
        Cell(text, value if math.isfinite(value) else None, interval, text == best)
        for text, value, interval in zip(texts, numbers.tolist(), intervals, strict=True)
    ]


def _best(texts: list[str], numbers: np.ndarray, higher_is_better: bool | None) -> str | None:
    """Text of the best value: what reads the same is equally good. None where there is nothing to compare."""
    finite = np.isfinite(numbers)
    if higher_is_better is None or finite.sum() < 2:
        return None
    signed = np.where(finite, numbers if higher_is_better else -numbers, -np.inf)
    return texts[int(signed.argmax())]


def _text(value: float, form: str) -> str:
    if math.isnan(value):
        return "–"
    if form == "#.3g":
        if value == 0:
            return "0"
        # Costs span many orders of magnitude, but a table has no room for exponents.
        return number(value, ".4f" if abs(value) < 0.1 else ".2f" if abs(value) < 10 else ",.0f")
    return number(value, form)


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{_text(low, form)} to {_text(high, form)}"
