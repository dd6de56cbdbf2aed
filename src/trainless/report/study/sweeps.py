"""The study of the Hybrid's weights as a static figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainless.aggregation import ALPHA, BETA, Sweep
from trainless.report.common.static import LINES, draw_file, new_figure
from trainless.report.study.views import ratio_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_sweep", "sweep_figure"]


def sweep_figure(sweep: Sweep, path: str | Path) -> None:
    """Draw Kendall's tau of the Hybrid over the grid of its weights and by their ratio, and write the figure.

    Args:
        sweep: as `trainless.aggregation.sweep` gives it.
        path: file to write; its ending decides the format: ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from trainless.aggregation import sweep
        >>> study = sweep([1.0, 2.0, 3.0], [3.0, 5.0, 4.0], [1.0, 3.0, 2.0], alphas=[0, 1], betas=[0, 1, 2])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sweep_figure(study, Path(folder) / "weights.pdf")
        ...     (Path(folder) / "weights.pdf").read_bytes()[:4]
        b'%PDF'
    """
    draw_file(path, lambda: draw_sweep(sweep))


def draw_sweep(sweep: Sweep) -> Figure:
    """Draw Kendall's tau over the grid of weights, and below it by their ratio."""
    figure = new_figure(4.9)
    upper, lower = figure.subplots(2, 1, height_ratios=(1.35, 1))
    _draw_grid(upper, sweep)
    _draw_ratios(figure, lower, sweep)
    return figure


def _draw_grid(axes: Axes, sweep: Sweep) -> None:
    alpha, beta, _ = sweep.best()
    right, top = float(sweep.alphas.max()), float(sweep.betas.max())
    values = np.where((sweep.alphas[:, None] == 0) & (sweep.betas == 0), np.nan, sweep.kendall)
    drawn = axes.pcolormesh(sweep.alphas, sweep.betas, values.T, cmap="cividis", shading="nearest", rasterized=True)
    for first, second, label, dash in (
        (alpha, beta, f"best: β/α = {beta / alpha:.3g}" if alpha else "best: α = 0", "-"),
        (ALPHA, BETA, f"published: {ALPHA}/{BETA}", ":"),
    ):
        reach = min(right / first if first else math.inf, top / second if second else math.inf)
        reach = reach if math.isfinite(reach) else 0.0
        axes.plot([0, reach * first], [0, reach * second], color="#D55E00", linestyle=dash, linewidth=1.3, label=label)
    axes.plot([ALPHA], [BETA], marker="*", color="white", markeredgecolor="black", markersize=7, clip_on=False)
    axes.grid(visible=False)
    axes.set(xlabel=f"α, weight of {sweep.pair[0]}", ylabel=f"β, weight of {sweep.pair[1]}")
    axes.figure.colorbar(drawn, ax=axes, label="Kendall's τ", pad=0.02)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=1.8)


def _draw_ratios(figure: Figure, axes: Axes, sweep: Sweep) -> None:
    table, alone = ratio_curve(sweep)
    axes.plot(table["ratio"], table["kendall"], color=LINES[0], linewidth=1.3, label="Hybrid")
    for (name, value), colour, dash in zip(alone.items(), LINES[1:], ("--", "-."), strict=False):
        axes.axhline(value, color=colour, linestyle=dash, linewidth=1, label=f"{name} only")
    alpha, beta, best = sweep.best()
    if alpha and beta:
        axes.plot([beta / alpha], [best], "o", color=LINES[1], markersize=5, fillstyle="none", label="best ratio")
    if len(table):
        published = np.interp(math.log(BETA / ALPHA), np.log(table["ratio"]), table["kendall"])
        axes.plot([BETA / ALPHA], [published], "*", color="black", markersize=6, label=f"published {ALPHA}/{BETA}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set(xlabel="β/α", ylabel="Kendall's τ")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, handlelength=2.2, columnspacing=1.2)
