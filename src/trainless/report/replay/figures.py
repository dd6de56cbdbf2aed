"""The picture of a replay: regret by evaluations, a row of small figures for each data set."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from trainless.report.common.static import LINES, PAGE, draw_file, new_figure
from trainless.report.replay.views import Panel, check, datasets, marks, panels, regret, regret_range, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trainless.search.results import ReplayResult

__all__ = ["replay_figure"]

_MOST_COLUMNS = 4
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


def replay_figure(result: ReplayResult, path: str | Path) -> None:
    """Draw the mean regret by evaluations with one standard error, 7 inches wide.

    Args:
        result: as for `trainless.report.replay_page`.
        path: file to write; its ending decides the format: ``.png`` (300 dots an inch), ``.svg`` or ``.pdf``.

    Raises:
        InputError: as for `trainless.report.replay_page`.
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from trainless.search.results import ReplayResult
        >>> row = {"strategy": "random", "score": "nwot", "dataset": "toy", "mean_test": 94.0}
        >>> curves = {("random", "nwot", "toy"): np.array([[90.0, 94.0], [92.0, 94.0]])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replay_figure(ReplayResult([row], curves, {"toy": 94.5}), Path(folder) / "replay.png")
        ...     (Path(folder) / "replay.png").read_bytes()[1:4]
        b'PNG'
    """
    check(result)
    draw_file(path, lambda: _figure(result))


def _figure(result: ReplayResult) -> Figure:
    parts = {dataset: panels(result, dataset) for dataset in datasets(result)}
    columns = min(_MOST_COLUMNS, max(map(len, parts.values())))
    rows = {dataset: math.ceil(len(members) / columns) for dataset, members in parts.items()}
    labels = series(result)
    figure = new_figure(0.5 + 1.75 * sum(rows.values()) + 0.14 * math.ceil(len(labels) / 5), PAGE)
    grid = figure.subplots(sum(rows.values()), columns, squeeze=False)
    first = 0
    for dataset, members in parts.items():
        _draw_dataset(result, dataset, members, list(chain(*grid[first : first + rows[dataset]])))
        first += rows[dataset]
    handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend([handles[name] for name in labels], labels, loc="outside upper center", ncols=5, handlelength=2.4)
    return figure


def _draw_dataset(result: ReplayResult, dataset: str, parts: list[Panel], places: list[Axes]) -> None:
    keys = [key for part in parts for key in part.lines.values()]
    ends = regret_range([regret(result.curves[key], result.optima[dataset]) for key in keys])
    for axes, part in zip(places, parts, strict=False):
        _draw_panel(axes, result, dataset, part)
        axes.set_title(f"{dataset}, {part.title}", fontsize=7)
        axes.set_yscale("log")
        axes.set_ylim(*ends)
        ticks = marks(*ends)
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
        axes.set_xlim(left=0)
        axes.set_xlabel("architectures evaluated")
    places[0].set_ylabel("regret, points")
    for axes in places[len(parts) :]:
        axes.set_visible(False)


def _draw_panel(axes: Axes, result: ReplayResult, dataset: str, part: Panel) -> None:
    order = series(result)
    for name, key in part.lines.items():
        curve = regret(result.curves[key], result.optima[dataset])
        index = order.index(name)
        colour, dash = LINES[index % len(LINES)], _DASHES[index // len(LINES) % len(_DASHES)]
        axes.fill_between(curve.evaluations, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.evaluations, curve.mean, color=colour, linestyle=dash, linewidth=1, label=name)
