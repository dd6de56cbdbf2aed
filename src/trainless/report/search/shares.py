"""What a mixture of operations came to, epoch by epoch: a panel for each choice, a line for each option."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trainless.report.common.colours import LINE_COLOURS
from trainless.report.common.interactive import LEGEND, Spec, axis, label, rounded, spec
from trainless.report.common.static import LINES, PAGE, draw_file, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["shares_figure", "shares_plot"]

_COLUMNS = 3  # of panels
_PIXELS, _INCHES = 190, 1.35  # height of a row of panels
_GAP = 0.06  # between panels, as a share of the width
_DASHES = ("solid", "dash", "dot")  # of a second and third round of the colours
_STYLES = ("-", "--", ":")


def shares_plot(shares: pd.DataFrame) -> Spec:
    """Draw the shares of options after each epoch.

    Args:
        shares: one row an epoch, indexed 1 to n; one column an option, named by its choice and itself.

    Example:
        >>> columns = pd.MultiIndex.from_tuples([("0 to 1", "conv"), ("0 to 1", "skip")])
        >>> plot = shares_plot(pd.DataFrame([[0.5, 0.5], [0.4, 0.6]], columns=columns, index=[1, 2]))
        >>> len(plot["data"]), plot["data"][1]["y"]
        (2, [0.5, 0.6])
    """
    names, panels = _options(shares), _panels(shares)
    rows = math.ceil(len(panels) / _COLUMNS)
    width, height = (1 - _GAP * (_COLUMNS - 1)) / _COLUMNS, 1 / (1.25 * rows)
    traces: list[Spec] = []
    layout: Spec = {
        "height": 120 + _PIXELS * rows, "showlegend": True, "hovermode": "x", "annotations": [],
        "legend": {**LEGEND, "y": 1 + 0.2 / rows},
    }  # fmt: skip
    for number, (choice, table) in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        left, top = column * (width + _GAP), 1 - row / rows
        suffix = str(number + 1) if number else ""
        is_last = number + _COLUMNS >= len(panels)
        layout[f"xaxis{suffix}"] = axis(
            "epoch" if is_last else "", domain=[left, left + width], anchor=f"y{suffix}", tickformat=",d"
        )
        layout[f"yaxis{suffix}"] = axis("", domain=[top - height, top], anchor=f"x{suffix}", range=[0, 1], dtick=0.5)
        layout["annotations"].append({
            "text": label(choice), "x": left, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left",
            "yanchor": "bottom", "showarrow": False,
        })  # fmt: skip
        for option in map(str, table):
            rank = names.index(option)
            colour, dash = LINE_COLOURS[rank % len(LINE_COLOURS)], _DASHES[rank // len(LINE_COLOURS) % len(_DASHES)]
            traces.append({
                "type": "scatter", "mode": "lines", "name": label(option), "legendgroup": option,
                "showlegend": number == 0, "x": table.index.tolist(), "y": rounded(table[option]),
                "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "line": {"color": colour, "width": 2, "dash": dash},
                "hovertemplate": "%{y:.2f}<extra>%{fullData.name}</extra>",
            })  # fmt: skip
    return spec(traces, layout)


def shares_figure(shares: pd.DataFrame, path: str | Path) -> None:
    """Draw the shares of options after each epoch, 7 inches wide.

    Args:
        shares: as for `shares_plot`.
        path: file to write; its ending decides the format: ``.png`` (300 dots an inch), ``.svg`` or ``.pdf``.

    Raises:
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> columns = pd.MultiIndex.from_tuples([("0 to 1", "conv"), ("0 to 1", "skip")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shares_figure(pd.DataFrame([[0.5, 0.5], [0.4, 0.6]], columns=columns), Path(folder) / "shares.pdf")
        ...     (Path(folder) / "shares.pdf").read_bytes()[:4]
        b'%PDF'
    """
    draw_file(path, lambda: _figure(shares))


def _figure(shares: pd.DataFrame) -> Figure:
    names, panels = _options(shares), _panels(shares)
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = new_figure(0.4 + _INCHES * rows, PAGE)
    for number, (choice, table) in enumerate(panels, 1):
        axes = figure.add_subplot(rows, _COLUMNS, number)
        for option in map(str, table):
            rank = names.index(option)
            style = _STYLES[rank // len(LINES) % len(_STYLES)]
            axes.plot(table.index, table[option], style, color=LINES[rank % len(LINES)], label=option, linewidth=1.2)
        axes.set(ylim=(0, 1), xlabel="epoch" if number + _COLUMNS > len(panels) else "")
        axes.locator_params(axis="x", integer=True)
        axes.set_title(choice, fontsize=7.5, loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _options(shares: pd.DataFrame) -> list[str]:
    """The names of options, each of which has a colour."""
    return list(dict.fromkeys(map(str, shares.columns.get_level_values(1))))


def _panels(shares: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The shares of each choice."""
    return [
        (str(choice), table.droplevel(0).T.rename(columns=str))
        for choice, table in shares.T.groupby(level=0, sort=False)
    ]
