"""The picture of a search: its curve, its front and the architecture found, for papers and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainless.costs import Cost
from trainless.report.common.cells import draw_cell
from trainless.report.common.static import LINES, PAGE, draw_file, new_figure
from trainless.report.search.views import Range, best_so_far, check, front, known_costs, seed_curves, shown
from trainless.search_spaces.base import Edge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trainless.search.results import SearchResult

__all__ = ["draw_front", "search_figure"]


def search_figure(
    result: SearchResult, graph: Sequence[Edge], path: str | Path, *, others: Sequence[SearchResult] = ()
) -> None:
    """Draw the best score so far, the front of score and cost, and the architecture found, 7 inches wide.

    Args:
        result: as for `trainless.report.search_page`.
        graph: as for `trainless.report.search_page`.
        path: file to write; its ending decides the format: ``.png`` (300 dots an inch), ``.svg`` or ``.pdf``.
        others: as for `trainless.report.search_page`.

    Raises:
        InputError: a search evaluated nothing.
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from trainless.search.results import SearchResult
        >>> rows = pd.DataFrame({"architecture": ["a", "b"], "score": [1.0, 2.0], "parameters": [9, 8]}, index=[1, 2])
        >>> result = SearchResult("toy", "toy", "b", ("score",), rows, ("b",), {}, "the budget is spent")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     search_figure(result, [Edge("input", "output", "skip_connect")], Path(folder) / "search.pdf")
        ...     (Path(folder) / "search.pdf").read_bytes()[:4]
        b'%PDF'
    """
    for search in (result, *others):
        check(search)
    draw_file(path, lambda: _figure(result, graph, others))


def _figure(result: SearchResult, graph: Sequence[Edge], others: Sequence[SearchResult]) -> Figure:
    costs = known_costs(result)
    figure = new_figure(4.6, PAGE)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))
    _draw_curve(figure.add_subplot(grid[0, 0] if costs else grid[0, :]), result, others)
    if costs:
        draw_front(figure.add_subplot(grid[0, 1]), result, costs[0])
    cell = figure.add_subplot(grid[1, :])
    draw_cell(cell, graph)
    cell.set_title(result.best, fontsize=6.5)
    return figure


def _draw_curve(axes: Axes, result: SearchResult, others: Sequence[SearchResult]) -> None:
    scores = result.evaluations["score"].to_numpy(dtype=float)
    bounds = shown(result)
    steps = np.arange(1, len(scores) + 1)
    _draw_points(axes, steps, scores)
    if others:
        curves = seed_curves([result, *others])
        usable = np.isfinite(curves).all(axis=0)
        places, rest = np.arange(1, curves.shape[1] + 1)[usable], curves[:, usable]
        axes.fill_between(places, rest.min(axis=0), rest.max(axis=0), step="post", color=LINES[1], alpha=0.2, lw=0)
        label = f"mean and range of {len(curves)} searches"
        axes.step(places, rest.mean(axis=0), where="post", color=LINES[1], linewidth=1.3, label=label)
    label = "this search" if others else "best so far"
    axes.step(steps, best_so_far(scores), where="post", color=LINES[0], linewidth=1.3, label=label)
    axes.set(xlabel="architectures evaluated", ylabel="score")
    axes.set_xlim(left=0)
    _finish(axes, bounds)


def draw_front(axes: Axes, result: SearchResult, cost: Cost) -> None:
    """Draw the scores of a search against a cost into axes, with their front and what was found."""
    from matplotlib.ticker import EngFormatter

    table = front(result, cost.name)
    edge, rest = table[table["on_front"]], table[~table["on_front"]]
    _draw_points(axes, rest["cost"].to_numpy(), rest["score"].to_numpy(dtype=float))
    axes.step(
        edge["cost"],
        edge["score"],
        where="post",
        color=LINES[0],
        linewidth=1.3,
        marker="o",
        markersize=3,
        label="front",
    )
    found = table[table["architecture"] == result.best]
    axes.scatter(found["cost"], found["score"], s=45, marker="*", color=LINES[1], zorder=3, label="found")
    axes.set(xlabel=cost.heading, ylabel="score")
    if cost.is_whole:
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(EngFormatter())
    _finish(axes, shown(result))


def _draw_points(axes: Axes, xs: np.ndarray, scores: np.ndarray) -> None:
    finite = np.isfinite(scores)
    axes.scatter(xs[finite], scores[finite], s=4, color="0.6", alpha=0.6, linewidths=0, label="evaluated")


def _finish(axes: Axes, bounds: Range) -> None:
    if bounds.is_logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(bounds.low, bounds.high)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0.2, handlelength=1.6,
                columnspacing=1.0)  # fmt: skip
