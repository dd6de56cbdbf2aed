"""The page of the quickstart: the ranking by the Hybrid proxy, its two scores, and what the proxies share and cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trainless.aggregation import ALPHA, BETA, HYBRID_PAIR
from trainless.ranking import NON_FINITE_POLICY
from trainless.report.common.colours import KIND_COLOURS, SCALE
from trainless.report.common.columns import Cell, Column, Table
from trainless.report.common.formats import compact, milliseconds, number
from trainless.report.common.interactive import LEGEND, ZOOM, Spec, axis, categories, label, rounded, spec
from trainless.report.common.pages import render
from trainless.report.study.plots import correlation_plot
from trainless.report.study.quickstart_views import (
    DDN,
    DIN,
    check_tables,
    pair_points,
    score_correlation,
    sorted_costs,
)

__all__ = ["quickstart_page"]

_MOST_ROWS = 500


def quickstart_page(
    ranking: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame, protocol: dict[str, str], title: str
) -> str:
    """Write the ranking by the Hybrid proxy, with three figures, as one HTML document that needs no network.

    Args:
        ranking: indexed by architecture, best first; columns ``rank``, ``hybrid``, ``logsynflow``, ``nwot``,
            ``parameters`` and ``flops`` (multiply-adds of one image).
        scores: one row an architecture and one column a proxy; may hold infinities and NaN.
        costs: indexed by proxy; columns ``seconds`` (mean for one network, each proxy alone) and ``kind``.
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
    check_tables(ranking, scores, costs)
    points = pair_points(ranking)
    return render(
        "study/quickstart.html.j2",
        title=title,
        protocol=protocol,
        pair=HYBRID_PAIR,
        weights=(ALPHA, BETA),
        best=str(ranking["rank"].astype(int).idxmin()),
        architectures=len(ranking),
        table=_ranking_table(ranking.head(_MOST_ROWS)),
        unranked=int((~np.isfinite(ranking["hybrid"].to_numpy(dtype=float))).sum()),
        policy=NON_FINITE_POLICY,
        scatter=_scatter_plot(points),
        not_drawn=len(ranking) - len(points),
        correlation=correlation_plot(score_correlation(scores)),
        costs=_cost_plot(sorted_costs(costs)),
    )


def _ranking_table(ranking: pd.DataFrame) -> Table:
    headings = ("rank", "architecture", "hybrid", *HYBRID_PAIR, "parameters", "FLOPs")
    columns = [Column(name, name, "" if name == "architecture" else "g", name != "rank") for name in headings]
    return Table(columns, [_ranking_row(str(name), row) for name, row in ranking.iterrows()])


def _ranking_row(architecture: str, row: pd.Series) -> list[Cell]:
    texts = {
        "rank": number(row["rank"], ".0f"),
        "hybrid": number(row["hybrid"], ".4f"),
        **{name: number(row[name]) for name in HYBRID_PAIR},
        "parameters": number(row["parameters"], ",.0f"),
        "flops": compact(row["flops"]),
    }
    rank, *others = [Cell(text, float(row[name]) if np.isfinite(row[name]) else None) for name, text in texts.items()]
    return [rank, Cell(architecture, None), *others]


def _scatter_plot(points: pd.DataFrame) -> Spec:
    """Draw the pair of scores that the Hybrid joins, coloured by it."""
    marker = {
        "color": points["hybrid"].tolist(),
        "colorscale": [[position / 2, colour] for position, colour in enumerate(SCALE)],
        "size": 10,
        "line": {"width": 1, "color": "rgba(128,128,128,.9)"},
        "colorbar": {"title": {"text": "hybrid", "side": "right"}, "thickness": 12},
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": points["din"].tolist(),
        "y": points["ddn"].tolist(),
        "marker": marker,
        "text": [_hover(str(name), row) for name, row in points.iterrows()],
        "hovertemplate": "%{text}<br>DIN %{x:.4f}, DDN %{y:.4f}<extra></extra>",
    }
    layout = {"height": 480, "hovermode": "closest", "xaxis": axis(label(DIN)), "yaxis": axis(label(DDN))}
    return spec([trace], layout, *ZOOM)


def _hover(architecture: str, row: pd.Series) -> str:
    # One line a node, since a phone is narrower than the whole string.
    lines = label(architecture).replace("|+|", "|+<br>|")
    return (
        f"<b>rank {int(row['rank'])}</b>, hybrid {number(row['hybrid'], '.4f')}<br>{lines}<br>"
        f"{number(row['parameters'], ',.0f')} parameters, {compact(row['flops'])} FLOPs"
    )


def _cost_plot(costs: pd.DataFrame) -> Spec:
    """Draw the milliseconds of each proxy as bars, the dearest on top."""
    traces = []
    for kind in sorted(set(costs["kind"].astype(str))):
        rows = costs[costs["kind"].astype(str) == kind]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": label(kind),
                "x": rounded(rows["milliseconds"]),
                "y": [label(str(name)) for name in rows.index],
                "marker": {"color": KIND_COLOURS.get(kind, KIND_COLOURS["unknown"])},
                "text": [milliseconds(value) for value in rows["milliseconds"]],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": "%{y}: %{x:.4g} ms<extra></extra>",
            }
        )
    names = [label(str(name)) for name in reversed(costs.index)]
    longest = float(costs["milliseconds"].max()) if len(costs) else 0.0
    layout = {
        "height": max(280, 140 + 28 * len(names)),
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": axis("milliseconds a network", range=[0, 1.18 * longest or 1], fixedrange=True),
        "yaxis": categories(names),
    }
    return spec(traces, layout)
