"""The interactive figures of a search, as plain data for plotly.js."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.costs import Cost
from trainless.report.common.colours import LINE_COLOURS
from trainless.report.common.formats import costs_text, number
from trainless.report.common.interactive import LEGEND, ZOOM, Spec, axis, band, label, rounded, spec
from trainless.report.search.views import Range, front, known_costs, seed_curves, shown

if TYPE_CHECKING:
    from trainless.search.results import SearchResult

__all__ = ["curve_plot", "front_plot"]

_POINT = "rgba(138,147,155,.5)"
_HEIGHT = 440


def curve_plot(result: SearchResult, others: Sequence[SearchResult]) -> Spec:
    """Draw the best score so far, with each evaluation as a point; of several searches their mean and range."""
    scores = result.evaluations["score"]
    traces = [_points(result.evaluations, np.arange(1, len(scores) + 1), known_costs(result))]
    curves = seed_curves([result, *others])
    steps = np.arange(1, curves.shape[1] + 1)
    own = _line(steps[: len(scores)], curves[0, : len(scores)], "best so far", LINE_COLOURS[0], 2.5)
    if others:
        usable = np.isfinite(curves).all(axis=0)  # from where all have found something
        places, rest = steps[usable], curves[:, usable]
        low, high = (np.repeat(ends, 2)[:-1] for ends in (rest.min(axis=0), rest.max(axis=0)))  # level, then up
        traces.append(band(np.repeat(places, 2)[1:], low, high, LINE_COLOURS[1], "lowest to highest"))
        mean = _line(places, rest.mean(axis=0), f"mean of {len(curves)} searches", LINE_COLOURS[1], 2.5)
        traces.append(mean)
        own = {**own, "name": "this search", "line": {**own["line"], "width": 1.8}}
    traces.append(own)
    layout = {
        "height": _HEIGHT,
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": axis("architectures evaluated", range=[0, curves.shape[1] * 1.02 + 0.5], tickformat=",d"),
        "yaxis": _score_axis(shown(result)),
    }
    return spec(traces, layout, *ZOOM)


def front_plot(result: SearchResult, cost: Cost) -> Spec:
    """Draw the scores of all evaluations against a cost, and the front of those that no other beats in both."""
    table, costs = front(result, cost.name), known_costs(result)
    edge, rest = table[table["on_front"]], table[~table["on_front"]]
    traces = [
        _points(rest, rest["cost"], costs),
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "front",
            "x": edge["cost"].tolist(),
            "y": rounded(edge["score"]),
            "line": {"color": LINE_COLOURS[0], "width": 2, "shape": "hv"},
            "marker": {"color": LINE_COLOURS[0], "size": 9},
            "text": hovers(edge, costs),
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
    members = table[table["architecture"].isin(result.front)]
    if len(result.front) > 1:
        traces.append(_rings(members, "front of the search", LINE_COLOURS[3], "circle-open", 15, costs))
    winner = table[table["architecture"] == result.best]
    traces.append(_rings(winner, "found", LINE_COLOURS[1], "star", 16, costs))
    layout = {
        "height": _HEIGHT,
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": axis(label(cost.heading), tickformat="~s" if cost.is_whole else ""),
        "yaxis": _score_axis(shown(result)),
    }
    return spec(traces, layout, *ZOOM)


def hovers(table: pd.DataFrame, costs: Sequence[Cost]) -> list[str]:
    """Write what is read at the point of each evaluation; a node a line, since a phone is narrow."""
    return [
        f"<b>score {number(float(row['score']))}</b>, evaluation {evaluation}<br>"
        f"{label(str(row['architecture'])).replace('|+|', '|+<br>|')}<br>{label(costs_text(row, costs))}"
        for evaluation, row in table.iterrows()
    ]


def _line(xs: Any, ys: Any, name: str, colour: str, width: float) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": np.asarray(xs).tolist(),
        "y": rounded(ys),
        "line": {"color": colour, "width": width, "shape": "hv"},
        "hovertemplate": "%{fullData.name}<br>after %{x}: %{y:.5~g}<extra></extra>",
    }


def _points(table: pd.DataFrame, xs: Any, costs: Sequence[Cost]) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "evaluated",
        "x": np.asarray(xs).tolist(),
        "y": rounded(table["score"]),
        "marker": {"color": _POINT, "size": 5},
        "text": hovers(table, costs),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _rings(table: pd.DataFrame, name: str, colour: str, symbol: str, size: int, costs: Sequence[Cost]) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": table["cost"].tolist(),
        "y": rounded(table["score"]),
        "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}},
        "text": hovers(table, costs),
        "hovertemplate": f"{name}<br>%{{text}}<extra></extra>",
    }


def _score_axis(bounds: Range) -> Spec:
    if bounds.is_logarithmic:
        ends = [math.log10(bounds.low), math.log10(bounds.high)]
        return axis("score", type="log", range=ends, exponentformat="power")
    return axis("score", range=[bounds.low, bounds.high])
