"""The interactive figures of a study's page, as plain data for plotly.js.

Text that comes from data is escaped, since plotly.js reads tags in names and labels. The colours of text and grids are
the page's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.report.common.colours import DIVERGING, GREY, KIND_COLOURS, LINE_COLOURS
from trainless.report.common.formats import seconds
from trainless.report.common.interactive import LEGEND, ZOOM, Spec, axis, categories, label, rounded, spec
from trainless.report.study.views import MOST_NUMBERED, Views, cost_ticks, random_curve

__all__ = [
    "agreement_plot",
    "correlation_plot",
    "front_plot",
    "ranking_plot",
    "top_plot",
]

_FAINT = "rgba(138,147,155,.45)"


def ranking_plot(views: Views) -> Spec:
    """Draw Kendall's tau of each proxy with its interval, the best on top."""
    traces = []
    table = views.leaderboard
    for kind, names in _by_kind(views).items():
        rows = table.loc[names]
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": label(kind),
            "x": rounded(rows["kendall"]),
            "y": [label(name) for name in names],
            "marker": {"color": KIND_COLOURS[kind], "size": 9},
            "hovertemplate": "%{y}: τ = %{x:.3f}<extra></extra>",
        }
        if "kendall_low" in table:
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": rounded(rows["kendall_high"] - rows["kendall"]),
                "arrayminus": rounded(rows["kendall"] - rows["kendall_low"]),
                "thickness": 1.5,
                "width": 4,
            }
        traces.append(trace)
    names = [label(name) for name in views.names]
    layout = {
        "height": max(280, 130 + 24 * len(names)),
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": axis("Kendall's τ", rangemode="tozero", fixedrange=True),
        "yaxis": categories(names),
    }
    return spec(traces, layout)


def agreement_plot(views: Views) -> Spec:
    """Draw Spearman's rho of every two proxies, the best proxy first."""
    return correlation_plot(views.agreement)


def correlation_plot(table: pd.DataFrame) -> Spec:
    """Draw a square table of correlations from -1 to 1 as a heat map; NaN leaves a gap."""
    names = [label(str(name)) for name in table.columns]
    trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [rounded(row) for row in table.to_numpy()],
        "zmin": -1,
        "zmax": 1,
        "colorscale": DIVERGING,
        "texttemplate": "%{z:.2f}" if len(names) <= MOST_NUMBERED else "",
        "textfont": {"size": 11},
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "%{y} and %{x}: %{z:.3f}<extra></extra>",
        "colorbar": {"title": {"text": "Spearman's ρ", "side": "right"}, "thickness": 12},
    }
    layout = {
        "height": max(340, 190 + 30 * len(names)),
        "xaxis": categories(names, tickangle=-45, autorange=True),
        "yaxis": categories(names),
    }
    return spec([trace], layout)


def top_plot(views: Views) -> Spec:
    """Draw the best accuracy among the k best-scored architectures, with what a random choice gives."""
    ks = [int(k) for k in views.curves.index]
    bold = views.highlighted()
    traces = [
        _curve(ks, views.curves[name], name, {"color": _FAINT, "width": 1.2}, legend=False)
        for name in views.names
        if name not in bold
    ]
    chance = random_curve(views.study.accuracies.to_numpy(), ks)
    traces.append(_curve(ks, chance, "chosen at random", {"color": GREY, "width": 2, "dash": "dot"}))
    for name, colour in zip(bold, LINE_COLOURS, strict=False):
        traces.append(_curve(ks, views.curves[name], name, {"color": colour, "width": 2.5}))
    low, high = curve_bounds(views, chance)
    layout = {
        "height": 500,
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": axis("k (number trained)", type="log", dtick=1, tickformat=",d"),
        "yaxis": axis("best accuracy among them, %", range=[low, high]),
        "shapes": [_line(0, 1, views.optimum, views.optimum, "dash", xref="paper")],
    }
    return spec(traces, layout, *ZOOM)


def front_plot(views: Views) -> Spec:
    """Draw Kendall's tau against the seconds that a proxy takes, and the front of those worth them."""
    table, floor = views.known_costs()
    names = [str(name) for name in table.index]
    edge = table[table["on_front"]].sort_values("place")
    traces: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": edge["place"].tolist(),
            "y": edge["quality"].tolist(),
            "line": {"color": GREY, "width": 1.5, "shape": "hv"},
            "hoverinfo": "skip",
        }
    ]
    for kind, members in _by_kind(views).items():
        rows = table.loc[[name for name in members if name in names]]
        if rows.empty:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": label(kind),
                "x": rows["place"].tolist(),
                "y": rounded(rows["quality"]),
                "text": [label(str(name)) if front else "" for name, front in rows["on_front"].items()],
                "hovertext": [_cost_hover(views, str(name)) for name in rows.index],
                "textposition": "top left",
                "textfont": {"size": 12},
                "marker": {
                    "color": KIND_COLOURS[kind],
                    "size": [11 if front else 8 for front in rows["on_front"]],
                    "opacity": [1 if front else 0.65 for front in rows["on_front"]],
                },
                "hovertemplate": "%{hovertext}<extra></extra>",
                "cliponaxis": False,
            }
        )
    ticks = cost_ticks(table, floor)
    layout = {
        "height": 460,
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": axis(
            "time for one architecture",
            type="log",
            range=_roomy(np.log10(table["place"].to_numpy(dtype=float))),
            tickvals=list(ticks),
            ticktext=list(ticks.values()),
        ),
        "yaxis": axis("Kendall's τ"),
    }
    return spec(traces, layout, *ZOOM)


def curve_bounds(views: Views, chance: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Choose the accuracies that the top-k figure shows: from the lowest of its bold curves to the optimum."""
    starts = [*views.curves[views.highlighted()].to_numpy().min(axis=0), chance.min()]
    low = min(starts)
    room = 0.04 * (views.optimum - low) or 1.0
    return float(low - room), float(views.optimum + room)


# Parts of figures.


def _line(x0: float, x1: float, y0: float, y1: float, dash: str, **options: Any) -> Spec:
    line = {"color": GREY, "width": 1.5, "dash": dash}
    return {"type": "line", "x0": x0, "x1": x1, "y0": y0, "y1": y1, "line": line, **options}


def _curve(ks: list[int], values: npt.ArrayLike, name: str, line: Spec, legend: bool = True) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(name),
        "x": ks,
        "y": rounded(values),
        "line": line,
        "showlegend": legend,
        "hovertemplate": "%{fullData.name}<br>best of %{x}: %{y:.2f} %<extra></extra>",
    }


def _roomy(places: npt.NDArray[np.float64]) -> list[float]:
    """The ends of an axis that leaves room for names at the points."""
    if not len(places):
        return [-3.0, 0.0]
    span = float(np.ptp(places)) or 1.0
    return [float(places.min()) - 0.15 * span, float(places.max()) + 0.08 * span]


def _by_kind(views: Views) -> dict[str, list[str]]:
    """The proxies of each kind that there is, in the leaderboard's order."""
    kinds = {kind: [name for name in views.names if views.kind(name) == kind] for kind in KIND_COLOURS}
    return {kind: names for kind, names in kinds.items() if names}


def _cost_hover(views: Views, name: str) -> str:
    row: Any = views.front.loc[name]
    rival = str(row["dominated_by"] or "")
    text = f"<b>{label(name)}</b><br>τ = {row['quality']:.3f}, {seconds(float(row['seconds']))}"
    return text + (f"<br>{label(rival)} is as good and as quick" if rival else "<br>on the front")
