"""Tables of results as text: Markdown for documentation, LaTeX for papers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from trainless import markdown
from trainless.report.common.columns import columns_of, table_of

__all__ = ["latex_table", "markdown_table"]

_LABEL_FORBIDDEN = re.compile(r"[^\w:.-]", re.ASCII)
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "τ": r"$\tau$", "ρ": r"$\rho$", "α": r"$\alpha$", "β": r"$\beta$",
    "−": r"$-$", "∞": r"$\infty$", "±": r"$\pm$", "×": r"$\times$", "–": "--", "µ": r"\textmu{}",
}  # fmt: skip


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
    table = table_of(frame, chosen, index)
    rows = []
    for cells in table.rows:
        texts = []
        for cell in cells:
            text = markdown.escape(cell.text)
            text = f"**{text}**" if bold_best and cell.is_best else text
            texts.append(f"{text} ({cell.interval})" if intervals and cell.interval else text)
        rows.append(texts)
    numbers = [position for position, column in enumerate(table.columns) if column.form]
    return markdown.table([markdown.escape(column.heading) for column in table.columns], rows, numbers) + "\n"


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
    table = table_of(frame, chosen, index)
    lines = []
    for cells in table.rows:
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
            rf"  \begin{{tabular}}{{{''.join('r' if column.form else 'l' for column in table.columns)}}}",
            r"    \toprule",
            _latex_row([_latex(column.heading) for column in table.columns]),
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_row(cells: list[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
