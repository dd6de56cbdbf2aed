"""The quickstart's result as one self-contained HTML page and as one picture.

Both show the same three views: the two scores of the Hybrid proxy against each other, the rank correlation of all
proxies, and what each proxy costs. The page, whose frame it shares with the other pages, loads nothing.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.aggregation import ALPHA, BETA, HYBRID_PAIR, normalize
from trainless.errors import InputError
from trainless.ranking import NON_FINITE_POLICY
from trainless.report.common.formats import count, milliseconds, number
from trainless.report.common.interactive import LAYOUT, plotly_config
from trainless.report.common.pages import document, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["quickstart_figure", "quickstart_page"]

_RANKING_COLUMNS = ("rank", "hybrid", *HYBRID_PAIR, "parameters", "flops")
_COST_COLUMNS = ("seconds", "kind")
_MAXIMUM_ROWS = 500
# Legible on white and on near-black alike.
_PALETTE = ("#3f87d0", "#dd7a2b", "#4da167", "#a66bbe")
_SCALE = ("#6a5acd", "#2a9d8f", "#e9b020")
_DIN = f"DIN: {HYBRID_PAIR[0]} / its largest value"
_DDN = f"DDN: {HYBRID_PAIR[1]} / its largest value"


def quickstart_page(
    ranking: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame, protocol: dict[str, str], title: str
) -> str:
    """Write the ranking by the Hybrid proxy, with three figures, as one HTML document that needs no network.

    Args:
        ranking: indexed by architecture, best first; columns ``rank``, ``hybrid``, ``logsynflow``, ``nwot``,
            ``parameters`` and ``flops`` (multiply-adds of one image).
        scores: one row an architecture and one column a proxy; may hold infinities and NaN.
        costs: indexed by proxy; columns ``seconds`` (mean for one network) and ``kind``.
        protocol: how the scores came about, as name and value; shown in a box.
        title: headline of the page.

    Returns:
        The document, about 5 MB, nearly all of it plotly.js; write it as UTF-8.

    Raises:
        InputError: a table is empty or lacks a column, or `normalize` refuses a column of the pair.

    Example:
        >>> ranking = pd.DataFrame({"rank": [1], "hybrid": [2.0], "logsynflow": [9.0], "nwot": [70.0],
        ...                         "parameters": [1000], "flops": [5000]}, index=["|skip_connect~0|"])
        >>> costs = pd.DataFrame({"seconds": [0.1], "kind": ["data-dependent"]}, index=["nwot"])
        >>> page = quickstart_page(ranking, ranking[["logsynflow", "nwot"]], costs, {"seed": "0"}, "One cell")
        >>> page.startswith("<!DOCTYPE html>"), "<h1>One cell</h1>" in page
        (True, True)
    """
    _check(ranking, scores, costs)
    entries = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in protocol.items())
    body = Template(read("quickstart.html")).substitute(
        title=escape(title),
        introduction=_introduction(ranking),
        protocol=entries,
        ranking=_ranking_table(ranking),
        rows_note=escape(_rows_note(ranking)),
        scatter=_to_html(_scatter(ranking), "scatter", "zoomIn2d", "zoomOut2d", "resetScale2d"),
        scatter_note=escape(_scatter_note(ranking)),
        correlation=_to_html(_heat_map(scores), "correlation"),
        costs=_to_html(_cost_bars(costs), "costs"),
    )
    return document(title, body)


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

    _check(ranking, scores, costs)
    figure = Figure(figsize=(15.5, 9.5), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.45), height_ratios=(1.1, 1))
    _draw_scatter(figure.add_subplot(grid[0, 0]), ranking)
    _draw_costs(figure.add_subplot(grid[1, 0]), costs)
    _draw_heat_map(figure.add_subplot(grid[:, 1]), scores)
    figure.suptitle(f"{len(ranking):,} architectures, scored without training", fontsize=16)
    figure.savefig(path, format="png", dpi=150)


# What both show.


def _check(ranking: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame) -> None:
    needs = (("ranking", ranking, _RANKING_COLUMNS), ("scores", scores, ()), ("costs", costs, _COST_COLUMNS))
    for name, table, columns in needs:
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise InputError(f"The table '{name}' lacks {', '.join(missing)}, expected columns {', '.join(columns)}.")
        if table.empty:
            raise InputError(f"The table '{name}' is empty, expected at least one row and one column.")


def _points(ranking: pd.DataFrame) -> pd.DataFrame:
    """Add the normalized pair as ``din`` and ``ddn``, and leave out what is not finite and so has no place."""
    first, second = HYBRID_PAIR
    table = ranking.assign(din=normalize(ranking[first]), ddn=normalize(ranking[second]))
    finite = np.isfinite(table[["din", "ddn", "hybrid"]].to_numpy(dtype=float)).all(axis=1)
    points: pd.DataFrame = table[finite]
    return points


def _correlation(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of each two proxies, over the architectures where both are finite."""
    finite = scores.astype(float).replace([np.inf, -np.inf], np.nan)
    correlation: pd.DataFrame = finite.corr(method="spearman", min_periods=3)
    return correlation


def _sorted_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The cheapest first, in milliseconds, without proxies of unknown cost."""
    known: pd.DataFrame = costs[np.isfinite(costs["seconds"].to_numpy(dtype=float))]
    table = known.sort_values("seconds", kind="stable")
    return table.assign(milliseconds=table["seconds"] * 1000)


def _kinds(costs: pd.DataFrame) -> list[tuple[str, str]]:
    """Each kind of proxy with its colour, in alphabetical order."""
    kinds = sorted(set(costs["kind"].astype(str)))
    return [(kind, _PALETTE[place % len(_PALETTE)]) for place, kind in enumerate(kinds)]


def _rows_note(ranking: pd.DataFrame) -> str:
    note = "FLOPs are multiply-adds of one image."
    if len(ranking) > _MAXIMUM_ROWS:
        note += f" The best {_MAXIMUM_ROWS} of {len(ranking):,} are shown; the score store holds all."
    unranked = int((~np.isfinite(ranking["hybrid"].to_numpy(dtype=float))).sum())
    return note + (f" {unranked} with a score that is not finite are {NON_FINITE_POLICY}." if unranked else "")


def _scatter_note(ranking: pd.DataFrame) -> str:
    missing = len(ranking) - len(_points(ranking))
    return f" {missing} with a score that is not finite have no place here." if missing else ""


# The page.


def _introduction(ranking: pd.DataFrame) -> str:
    best = escape(str(ranking["rank"].astype(int).idxmin()))
    return (
        f"{len(ranking):,} architectures were built, given random weights and scored without any training. "
        f"The Hybrid proxy joins two scores, each divided by its largest value: {HYBRID_PAIR[0]}, which needs no data "
        f"(DIN), and {HYBRID_PAIR[1]}, which reads one batch of images (DDN). It is {ALPHA} DIN + {BETA} DDN, or DIN "
        "alone where DIN is above DDN. A higher value promises a more accurate network once it is trained; it is a "
        f"prediction and no measured accuracy. Ranked first: <code>{best}</code>"
    )


def _ranking_table(ranking: pd.DataFrame) -> str:
    heads = ("rank", "architecture", "hybrid", *HYBRID_PAIR, "parameters", "FLOPs")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = [_ranking_row(str(name), row) for name, row in ranking.head(_MAXIMUM_ROWS).iterrows()]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _ranking_row(architecture: str, row: pd.Series) -> str:
    cells = [
        f"<td>{int(row['rank'])}</td>",
        f'<th scope="row"><code>{escape(architecture)}</code></th>',
        f"<td>{number(row['hybrid'], '.4f')}</td>",
        *(f"<td>{number(row[name])}</td>" for name in HYBRID_PAIR),
        f"<td>{int(row['parameters']):,}</td>",
        f"<td>{count(row['flops'])}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _to_html(figure: Figure, name: str, *buttons: str) -> str:
    figure.update_layout(template="none", **LAYOUT)
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(automargin=True, title_standoff=12)
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_height=f"{figure.layout.height}px",
        config=plotly_config(*buttons),
    )
    return html


def _scatter(ranking: pd.DataFrame) -> Figure:
    import plotly.graph_objects as go

    points = _points(ranking)
    marker = {
        "color": points["hybrid"].to_list(),
        "colorscale": _SCALE,
        "size": 10,
        "line": {"width": 1, "color": "rgba(128,128,128,.9)"},
        "colorbar": {"title": {"text": "hybrid", "side": "right"}, "thickness": 12},
    }
    figure = go.Figure(
        go.Scatter(
            x=points["din"].to_list(),
            y=points["ddn"].to_list(),
            mode="markers",
            marker=marker,
            text=[_hover(str(name), row) for name, row in points.iterrows()],
            hovertemplate="%{text}<br>DIN %{x:.4f}, DDN %{y:.4f}<extra></extra>",
        )
    )
    figure.update_layout(height=480, hovermode="closest")
    return figure.update_xaxes(title_text=_DIN).update_yaxes(title_text=_DDN)


def _hover(architecture: str, row: pd.Series) -> str:
    # One line a node, since a phone is narrower than the whole string.
    lines = escape(architecture).replace("|+|", "|+<br>|")
    return (
        f"<b>rank {int(row['rank'])}</b>, hybrid {number(row['hybrid'], '.4f')}<br>{lines}<br>"
        f"{int(row['parameters']):,} parameters, {count(row['flops'])} FLOPs"
    )


def _heat_map(scores: pd.DataFrame) -> Figure:
    import plotly.graph_objects as go

    table = _correlation(scores)
    names = [escape(str(name)) for name in table.columns]
    values = [[None if math.isnan(value) else value for value in row] for row in table.to_numpy().tolist()]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=values,
            zmin=-1,
            zmax=1,
            colorscale="RdBu_r",
            texttemplate="%{z:.2f}",
            textfont={"size": 11},
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
            colorbar={"title": {"text": "Spearman's ρ", "side": "right"}, "thickness": 12},
        )
    )
    figure.update_layout(height=max(320, 150 + 34 * len(names)))
    figure.update_xaxes(type="category", tickangle=-45, showgrid=False, fixedrange=True)
    return figure.update_yaxes(type="category", autorange="reversed", showgrid=False, fixedrange=True)


def _cost_bars(costs: pd.DataFrame) -> Figure:
    import plotly.graph_objects as go

    table = _sorted_costs(costs)
    names = [escape(str(name)) for name in table.index]
    figure = go.Figure()
    for kind, colour in _kinds(table):
        rows = table[table["kind"].astype(str) == kind]
        figure.add_bar(
            x=rows["milliseconds"].to_list(),
            y=[escape(str(name)) for name in rows.index],
            name=escape(kind),
            orientation="h",
            marker_color=colour,
            text=[milliseconds(value) for value in rows["milliseconds"]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4g} ms<extra></extra>",
        )
    figure.update_layout(
        height=max(280, 140 + 28 * len(names)),
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    longest = float(table["milliseconds"].max()) if len(table) else 0.0
    figure.update_xaxes(title_text="milliseconds a network", range=[0, 1.18 * longest or 1], fixedrange=True)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names, ticklabelstandoff=6)
    return figure.update_yaxes(showgrid=False, fixedrange=True)


# The picture. Names are drawn as they are: a dollar sign would else begin a formula.


def _draw_scatter(axes: Axes, ranking: pd.DataFrame) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    points, scale = _points(ranking), LinearSegmentedColormap.from_list("hybrid", _SCALE)
    drawn = axes.scatter(
        points["din"], points["ddn"], c=points["hybrid"], cmap=scale, s=45, edgecolors="0.35", linewidths=0.6
    )
    axes.set(title="The two scores of the Hybrid proxy", xlabel=_DIN, ylabel=_DDN)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.figure.colorbar(drawn, ax=axes, label="hybrid")
    note = _scatter_note(ranking).strip()
    if note:
        axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", fontsize=9, color="0.35")


def _draw_heat_map(axes: Axes, scores: pd.DataFrame) -> None:
    table = _correlation(scores)
    values, names = table.to_numpy(), [str(name) for name in table.columns]
    drawn = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Rank correlation of the proxies")
    _label_cells(axes, values)
    axes.figure.colorbar(drawn, ax=axes, label="Spearman's ρ", shrink=0.8, pad=0.02)


def _label_cells(axes: Axes, values: Any) -> None:
    if len(values) > 25:
        return  # the numbers would run into each other
    for (row, column), value in np.ndenumerate(values):
        if not math.isnan(value):
            colour = "white" if abs(value) > 0.65 else "black"
            text = f"{value:.2f}".replace("-", "−")
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)


def _draw_costs(axes: Axes, costs: pd.DataFrame) -> None:
    table = _sorted_costs(costs)
    places = np.arange(len(table))
    for kind, colour in _kinds(table):
        chosen = (table["kind"].astype(str) == kind).to_numpy()
        bars = axes.barh(places[chosen], table["milliseconds"].to_numpy()[chosen], color=colour, label=kind)
        axes.bar_label(bars, [milliseconds(value) for value in table["milliseconds"][chosen]], padding=3, fontsize=9)
    axes.set_yticks(places, [str(name) for name in table.index], parse_math=False)
    axes.set(title="Cost of each proxy", xlabel="milliseconds a network; a shared pass is divided among its proxies")
    axes.margins(x=0.14)
    axes.spines[["top", "right"]].set_visible(False)
    if len(table):
        axes.legend(loc="lower right")
