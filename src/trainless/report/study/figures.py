"""The figures of a study for papers: static, one column wide, text that stays text in SVG and PDF.

They show what the page shows. Names are drawn as they are: a dollar sign begins no formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.report.common.formats import power_of_ten
from trainless.report.common.scales import needs_logarithm
from trainless.report.common.static import COLUMN, LINES, PAGE, STYLE, check_format, new_figure, save_figure
from trainless.report.study.correlations import draw_correlation
from trainless.report.study.labels import label_points
from trainless.report.study.plots import curve_bounds
from trainless.report.study.sweeps import draw_sweep
from trainless.report.study.views import Views, cost_ticks, make_views, random_curve, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trainless.study import Study

__all__ = ["study_figures"]

# The palette of Okabe and Ito, told apart with any kind of colour vision.
_KINDS = {"data-independent": "#0072B2", "data-dependent": "#D55E00", "mix": "#009E73", "unknown": "#777777"}
_MARKERS = {"data-independent": "o", "data-dependent": "s", "mix": "D", "unknown": "^"}
_DASHES = ("-", (0, (5, 1.5)), "-.", (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))


def study_figures(
    study: Study,
    folder: str | Path,
    formats: Sequence[str] = ("png", "svg"),
    *,
    leaderboard: pd.DataFrame | None = None,
    resamples: int = 200,
    k: int = 10,
) -> list[Path]:
    """Draw the figures of a study and write each in every format.

    Args:
        study: scores beside accuracies.
        folder: made where it is missing; files of the same names are replaced.
        formats: some of ``"png"`` (300 dots an inch), ``"svg"`` and ``"pdf"``.
        leaderboard: as ``study.leaderboard()`` gives it; None computes it.
        resamples: bootstrap samples behind each interval, for that.
        k: how many of the best-scored count as found.

    Returns:
        The files: ``ranking``, ``scatter``, ``top``, ``front`` (where a cost is known), ``agreement`` and ``weights``
        (where the study has a sweep), each 3.4 inches wide but the agreement of many proxies, which takes 7. The
        scatter has four proxies and leaves out the least accurate tenth, which would flatten the rest.

    Raises:
        UnknownNameError: a format is none of these.
        InputError: as for ``study.leaderboard()``.
        OSError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> from trainless.study import make_study
        >>> scores = pd.DataFrame({"nwot": [1.0, 3.0, 2.0]}, index=["a", "b", "c"])
        >>> study = make_study(scores, pd.Series({"a": 60.0, "b": 70.0, "c": 65.0}), title="toy")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in study_figures(study, folder, ("svg",), resamples=0, k=1)]
        ['ranking.svg', 'scatter.svg', 'top.svg', 'agreement.svg']
    """
    from matplotlib import rc_context

    for name in formats:
        check_format(name)
    views = make_views(study, leaderboard, resamples, k)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(STYLE):
        for name, draw in _drawings(views).items():
            figure = draw(views)
            written += [save_figure(figure, target / f"{name}.{form}", form) for form in formats]
    return written


def _drawings(views: Views) -> dict[str, Callable[[Views], Figure]]:
    drawings: dict[str, Callable[[Views], Figure]] = {"ranking": _ranking, "scatter": _scatter, "top": _top}
    if len(views.known_costs()[0]):
        drawings["front"] = _front
    drawings["agreement"] = _agreement
    if views.study.sweep is not None:
        drawings["weights"] = _weights
    return drawings


def _ranking(views: Views) -> Figure:
    table = views.leaderboard
    figure = new_figure(0.7 + 0.155 * len(table))
    axes = figure.add_subplot()
    places = np.arange(len(table))
    for kind in _KINDS:
        chosen = np.array([views.kind(name) == kind for name in views.names])
        if not chosen.any():
            continue
        rows = table[chosen]
        spread = None
        if "kendall_low" in table:
            ends = [rows["kendall"] - rows["kendall_low"], rows["kendall_high"] - rows["kendall"]]
            spread = np.maximum(np.nan_to_num(np.array(ends, dtype=float)), 0)
        style: dict[str, Any] = {
            "color": _KINDS[kind],
            "fmt": _MARKERS[kind],
            "markersize": 3.2,
            "elinewidth": 0.9,
            "capsize": 1.8,
        }
        axes.errorbar(rows["kendall"], places[chosen], xerr=spread, label=kind, **style)
    axes.set_yticks(places, views.names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(left=min(0.0, float(np.nanmin([0.0, *table["kendall"]])) * 1.1))
    axes.set_xlabel("Kendall's τ")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    _legend_above(figure, axes, 2)
    return figure


def _scatter(views: Views) -> Figure:
    names = views.highlighted(4)
    rows = math.ceil(len(names) / 2)
    figure = new_figure(0.2 + 1.6 * rows)
    grid = figure.subplots(rows, min(2, len(names)), squeeze=False, sharey=True)
    places = thinned(views)
    truth = views.study.accuracies.to_numpy(dtype=float)
    low = float(np.quantile(truth, 0.1))
    for axes, name in zip(grid.flat, names, strict=False):
        raw = views.study.scores[name].to_numpy(dtype=float)
        shown = places[np.isfinite(raw[places]) & (truth[places] >= low)]
        if needs_logarithm(raw):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(_power)
            shown = shown[raw[shown] > 0]
        else:
            axes.locator_params(axis="x", nbins=4)
            axes.xaxis.set_major_formatter(_compact)
        # Thousands of points would make a vector file that no viewer likes.
        axes.scatter(
            raw[shown], truth[shown], s=2.5, color=_KINDS[views.kind(name)], alpha=0.35, linewidths=0, rasterized=True
        )
        axes.set_xlabel(name)
        if name in views.study.lower_is_better:
            axes.invert_xaxis()
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    figure.supylabel("accuracy, %", fontsize=7.5)
    return figure


def _top(views: Views) -> Figure:
    figure = new_figure(2.7)
    axes = figure.add_subplot()
    bold = views.highlighted()
    ks = views.curves.index.to_numpy()
    for name in views.names:
        if name not in bold:
            axes.plot(ks, views.curves[name], color="0.8", linewidth=0.6)
    chance = random_curve(views.study.accuracies.to_numpy(), ks)
    axes.plot(ks, chance, color="0.45", linewidth=1, linestyle=":", label="chosen at random")
    axes.axhline(views.optimum, color="0.45", linewidth=0.7, linestyle="--")
    for name, colour, dash in zip(bold, LINES, _DASHES, strict=False):
        axes.plot(ks, views.curves[name], color=colour, linestyle=dash, linewidth=1.3, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(xlabel="k (number trained)", ylabel="best accuracy, %")
    axes.set_xlim(1, ks[-1] if ks[-1] > 1 else 2)
    axes.set_ylim(*curve_bounds(views, chance))
    _legend_above(figure, axes, 2)
    return figure


def _front(views: Views) -> Figure:
    figure = new_figure(2.9)
    axes = figure.add_subplot()
    table, floor = views.known_costs()
    edge = table[table["on_front"]].sort_values("place")
    axes.plot(edge["place"], edge["quality"], color="0.5", linewidth=0.8, drawstyle="steps-post", zorder=1)
    for kind, colour in _KINDS.items():
        rows = table[[views.kind(str(name)) == kind for name in table.index]]
        if len(rows):
            axes.scatter(
                rows["place"], rows["quality"], s=14, color=colour, marker=_MARKERS[kind], label=kind, zorder=2
            )
    axes.set_xscale("log")
    low, high = math.log10(table["place"].min()), math.log10(table["place"].max())
    span = high - low or 1.0
    axes.set_xlim(10 ** (low - 0.12 * span), 10 ** (high + 0.25 * span))
    axes.margins(y=0.1)
    ticks = cost_ticks(table, floor)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.set(xlabel="time for one architecture", ylabel="Kendall's τ")
    _legend_above(figure, axes, 2)
    label_points(figure, axes, table)
    return figure


def _agreement(views: Views) -> Figure:
    size = len(views.names)
    many = size > 9
    figure = new_figure(1.3 + 0.21 * size if many else 0.9 + 0.24 * size, PAGE if many else COLUMN)
    axes = figure.add_subplot()
    drawn = draw_correlation(axes, views.agreement, 5.5)
    figure.colorbar(drawn, ax=axes, label="Spearman's ρ", fraction=0.04, pad=0.02)
    return figure


def _weights(views: Views) -> Figure:
    assert views.study.sweep is not None
    return draw_sweep(views.study.sweep)


# Parts.


def _legend_above(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.2)


def _power(value: float, _: int) -> str:
    return power_of_ten(round(math.log10(value))) if value > 0 else ""


def _compact(value: float, _: int) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:g}".replace("-", "−")
    power = math.floor(math.log10(abs(value)))
    return f"{value / 10**power:g}·{power_of_ten(power)}".replace("-", "−")
