"""Tables of results as text: Markdown for documentation, LaTeX for papers.

Columns that `trainless.metrics` made get their names, digits and intervals; any other column is written as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainless.errors import UnknownNameError
from trainless.report.common.formats import number

__all__ = ["Cell", "Column", "cells_of", "columns_of", "latex_table", "markdown_table", "with_index"]

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
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#$~&])")
_LABEL_FORBIDDEN = re.compile(r"[^\w:.-]", re.ASCII)
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "τ": r"$\tau$", "ρ": r"$\rho$", "α": r"$\alpha$", "β": r"$\beta$",
    "−": r"$-$", "∞": r"$\infty$", "±": r"$\pm$", "×": r"$\times$", "–": "--", "µ": r"\textmu{}",
}  # fmt: skip


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
        >>> [(each.heading, each.has_interval) for each in columns_of(frame)]
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


def with_index(
    frame: pd.DataFrame, columns: Sequence[Column], index: str | None
) -> tuple[list[Column], list[list[Cell]]]:
    """Give the columns and the rows of a table as they are shown: the index first, unless it only numbers the rows.

    Args:
        frame: any table.
        columns: those of `columns_of`.
        index: heading of the index; None is its name.

    Example:
        >>> frame = pd.DataFrame({"kind": ["mix"]})
        >>> len(with_index(frame, columns_of(frame), None)[0]), len(with_index(frame, columns_of(frame), "row")[0])
        (1, 2)
    """
    rows = cells_of(frame, columns)
    if index is None and frame.index.name is None and isinstance(frame.index, pd.RangeIndex):
        return list(columns), rows
    first = Column("", str(frame.index.name or "") if index is None else index, "", None)
    return [first, *columns], [[Cell(str(name), None), *row] for name, row in zip(frame.index, rows, strict=True)]


def markdown_table(
    frame: pd.DataFrame,
    *,
    k: int = 10,
    columns: Sequence[str] | None = None,
    intervals: bool = True,
    bold_best: bool = True,
    index: str | None = None,
) -> str:
    """Write a table in Markdown.

    Args:
        frame: a leaderboard or any other table.
        k: stands in the headings of the metrics that look at the k best-scored.
        columns: only these, in this order; None takes all.
        intervals: write intervals behind the values, where the table has them.
        bold_best: write the best value of each metric in bold.
        index: heading of the index; None is its name. An index that only numbers the rows is left out.

    Returns:
        The table with a line feed at its end; all that Markdown or HTML would read as markup is escaped.

    Raises:
        UnknownNameError: a name in `columns` is no column.

    Example:
        >>> frame = pd.DataFrame({"kendall": [0.61, 0.5], "kind": ["mix", "data-dependent"]}, index=["hybrid", "a|b"])
        >>> print(markdown_table(frame, index="proxy"), end="")
        | proxy | Kendall's τ | kind |
        | :--- | ---: | :--- |
        | hybrid | **0.610** | mix |
        | a\\|b | 0.500 | data-dependent |
    """
    chosen = columns_of(frame, k, columns)
    shown, rows = with_index(frame, chosen, index)
    lines = [_markdown_row([_markdown(column.heading) for column in shown])]
    lines.append(_markdown_row(["---:" if column.form else ":---" for column in shown]))
    for cells in rows:
        texts = []
        for cell in cells:
            text = _markdown(cell.text)
            text = f"**{text}**" if bold_best and cell.is_best else text
            texts.append(f"{text} ({cell.interval})" if intervals and cell.interval else text)
        lines.append(_markdown_row(texts))
    return "\n".join(lines) + "\n"


def latex_table(
    frame: pd.DataFrame,
    caption: str,
    label: str,
    *,
    k: int = 10,
    columns: Sequence[str] | None = None,
    intervals: bool = True,
    bold_best: bool = True,
    index: str | None = None,
) -> str:
    r"""Write a table as a LaTeX float in the style of the package booktabs, which has to be loaded.

    Args:
        frame: as for `markdown_table`.
        caption: plain text; special characters are escaped.
        label: for ``\ref``: only letters, digits and ``:.-_`` stay.
        k: as for `markdown_table`.
        columns: as for `markdown_table`.
        intervals: as for `markdown_table`, in brackets and smaller.
        bold_best: as for `markdown_table`.
        index: as for `markdown_table`.

    Raises:
        UnknownNameError: a name in `columns` is no column.

    Example:
        >>> frame = pd.DataFrame({"kendall": [0.61, -0.5]}, index=["hybrid", "grad_norm"])
        >>> print(latex_table(frame, "Rank correlation", "tab:rank", index="proxy"), end="")
        \begin{table}
          \centering
          \caption{Rank correlation}
          \label{tab:rank}
          \begin{tabular}{lr}
            \toprule
            proxy & Kendall's $\tau$ \\
            \midrule
            hybrid & \textbf{0.610} \\
            grad\_norm & $-$0.500 \\
            \bottomrule
          \end{tabular}
        \end{table}
    """
    chosen = columns_of(frame, k, columns)
    shown, rows = with_index(frame, chosen, index)
    lines = []
    for cells in rows:
        texts = []
        for cell in cells:
            text = _latex(cell.text)
            text = rf"\textbf{{{text}}}" if bold_best and cell.is_best else text
            small = rf" {{\scriptsize [{_latex(cell.interval)}]}}" if intervals and cell.interval else ""
            texts.append(text + small)
        lines.append(_latex_row(texts))
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(caption)}}}",
            rf"  \label{{{_LABEL_FORBIDDEN.sub('', label)}}}",
            rf"  \begin{{tabular}}{{{''.join('r' if column.form else 'l' for column in shown)}}}",
            r"    \toprule",
            _latex_row([_latex(column.heading) for column in shown]),
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


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


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _latex_row(cells: list[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(each, each) for each in " ".join(text.split()))
