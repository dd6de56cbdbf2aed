"""The picture of the quickstart: the views of its page side by side. Names are drawn as they are, never as formulas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trainless.report.common.colours import KIND_COLOURS, SCALE
from trainless.report.common.formats import milliseconds
from trainless.report.study.correlations import draw_correlation
from trainless.report.study.quickstart_views import (
    DDN,
    DIN,
    check_tables,
    pair_points,
    score_correlation,
    sorted_costs,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["quickstart_figure"]


def quickstart_figure(ranking: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame, path: str | Path) -> None:
    """Draw the three views of the page side by side and write them as a PNG of 150 dots an inch.

    Args:
        ranking: as for `quickstart_page`.
        scores: as for `quickstart_page`.
        costs: as for `quickstart_page`.
        path: file to write, whatever its ending.

    Raises:
        InputError: as for `quickstart_page`.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> ranking = pd.DataFrame({"rank": [1], "hybrid": [2.0], "logsynflow": [9.0], "nwot": [70.0],
        ...                         "parameters": [1000], "flops": [5000]}, index=["|skip_connect~0|"])
        >>> costs = pd.DataFrame({"seconds": [0.1], "kind": ["data-dependent"]}, index=["nwot"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     quickstart_figure(ranking, ranking[["logsynflow", "nwot"]], costs, Path(folder) / "one.png")
        ...     (Path(folder) / "one.png").read_bytes()[1:4]
        b'PNG'
    """
    from matplotlib.figure import Figure  # without pyplot, which would choose a backend for the whole process
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    check_tables(ranking, scores, costs)
    figure = Figure(figsize=(15.5, 9.5), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    grid = figure.add_gridspec(
        2, 2, width_ratios=(1, 1.45), height_ratios=(1.1, max(1, len(costs) / 16))
    )  # a row a proxy
    _draw_scatter(figure.add_subplot(grid[0, 0]), ranking)
    _draw_costs(figure.add_subplot(grid[1, 0]), costs)
    correlation = figure.add_subplot(grid[:, 1])
    drawn = draw_correlation(correlation, score_correlation(scores), 9)
    correlation.set(title="Rank correlation of the proxies", aspect="equal")
    figure.colorbar(drawn, ax=correlation, label="Spearman's ρ", shrink=0.8, pad=0.02)
    figure.suptitle(f"{len(ranking):,} architectures, scored without training", fontsize=16)
    figure.savefig(path, format="png", dpi=150)


def _draw_scatter(axes: Axes, ranking: pd.DataFrame) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    points, scale = pair_points(ranking), LinearSegmentedColormap.from_list("hybrid", SCALE)
    drawn = axes.scatter(
        points["din"], points["ddn"], c=points["hybrid"], cmap=scale, s=45, edgecolors="0.35", linewidths=0.6
    )
    axes.set(title="The two scores of the Hybrid proxy", xlabel=DIN, ylabel=DDN)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.figure.colorbar(drawn, ax=axes, label="hybrid")
    if missing := len(ranking) - len(points):
        note = f"{missing} with a score that is not finite have no place here."
        axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", fontsize=9, color="0.35")


def _draw_costs(axes: Axes, costs: pd.DataFrame) -> None:
    table = sorted_costs(costs)
    places = np.arange(len(table))
    for kind in sorted(set(table["kind"].astype(str))):
        colour = KIND_COLOURS.get(kind, KIND_COLOURS["unknown"])
        chosen = (table["kind"].astype(str) == kind).to_numpy()
        bars = axes.barh(places[chosen], table["milliseconds"].to_numpy()[chosen], color=colour, label=kind)
        axes.bar_label(bars, [milliseconds(value) for value in table["milliseconds"][chosen]], padding=3, fontsize=8)
    axes.set_yticks(places, [str(name) for name in table.index], parse_math=False, fontsize=9)
    axes.set(title="Cost of each proxy", xlabel="milliseconds a network that each would take alone")
    axes.margins(x=0.14, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    if len(table):
        axes.legend(loc="lower right")
