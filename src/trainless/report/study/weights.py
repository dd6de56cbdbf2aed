"""The interactive figures of the Hybrid's weights."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainless.aggregation import ALPHA, BETA, Sweep
from trainless.report.common.colours import LINE_COLOURS, SCALE
from trainless.report.common.interactive import LEGEND, ZOOM, Spec, axis, label, rounded, spec
from trainless.report.study.views import ratio_curve

__all__ = ["ratio_plot", "weights_plot"]


def weights_plot(sweep: Sweep) -> Spec:
    """Draw Kendall's tau of the Hybrid over the grid of its two weights."""
    alpha, beta, _ = sweep.best()
    right, top = float(sweep.alphas.max()), float(sweep.betas.max())
    # With both weights 0 all is one tie, and its value would stretch the scale of colours.
    values = np.where((sweep.alphas[:, None] == 0) & (sweep.betas == 0), np.nan, sweep.kendall)
    heat = {
        "type": "heatmap",
        "x": sweep.alphas.tolist(),
        "y": sweep.betas.tolist(),
        "z": [rounded(row) for row in values.T],
        "colorscale": [[position / 2, colour] for position, colour in enumerate(SCALE)],
        "hoverongaps": False,
        "hovertemplate": "α %{x}, β %{y}: τ = %{z:.4f}<extra></extra>",
        "colorbar": {"title": {"text": "Kendall's τ", "side": "right"}, "thickness": 12},
        "showlegend": False,
    }
    traces = [
        heat,
        _ray(alpha, beta, right, top, f"best: β/α = {_ratio_text(alpha, beta)}", "solid"),
        _ray(ALPHA, BETA, right, top, f"published: {ALPHA}/{BETA}", "dot"),
        {
            "type": "scatter",
            "mode": "markers",
            "x": [ALPHA],
            "y": [BETA],
            "showlegend": False,
            "marker": {"symbol": "star", "size": 13, "color": "#ffffff", "line": {"color": "#1d2328", "width": 1.2}},
            "hovertemplate": f"published weights: α {ALPHA}, β {BETA}<extra></extra>",
        },
    ]
    layout = {
        "height": 480,
        "legend": LEGEND,
        "xaxis": axis(f"α, weight of {label(sweep.pair[0])}", range=_ends(sweep.alphas), fixedrange=True),
        "yaxis": axis(f"β, weight of {label(sweep.pair[1])}", range=_ends(sweep.betas), fixedrange=True),
    }
    return spec(traces, layout)


def ratio_plot(sweep: Sweep) -> Spec:
    """Draw Kendall's tau of the Hybrid by the ratio of its weights, with each of its two proxies alone."""
    table, alone = ratio_curve(sweep)
    alpha, beta, best = sweep.best()
    traces: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Hybrid",
            "x": rounded(table["ratio"]),
            "y": rounded(table["kendall"]),
            "line": {"color": LINE_COLOURS[0], "width": 2.5},
            "hovertemplate": "β/α = %{x:.3g}: τ = %{y:.4f}<extra></extra>",
        }
    ]
    ends = [float(table["ratio"].min()), float(table["ratio"].max())] if len(table) else [0.1, 10.0]
    for (name, value), colour, dash in zip(alone.items(), LINE_COLOURS[1:], ("dash", "dashdot"), strict=False):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{label(name)} only",
                "x": ends,
                "y": [value, value],
                "line": {"color": colour, "width": 1.8, "dash": dash},
                "hovertemplate": "%{fullData.name}: τ = %{y:.4f}<extra></extra>",
            }
        )
    published = np.interp(math.log(BETA / ALPHA), np.log(table["ratio"]), table["kendall"]) if len(table) else math.nan
    for title, x, y, symbol in (
        ("best ratio", beta / alpha if alpha else math.inf, best, "circle-open"),
        (f"published {ALPHA}/{BETA}", BETA / ALPHA, float(published), "star"),
    ):
        if 0 < x < math.inf and math.isfinite(y):
            marker = {"symbol": symbol, "size": 12, "color": LINE_COLOURS[5], "line": {"width": 2}}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": title,
                    "x": [x],
                    "y": [y],
                    "marker": marker,
                    "hovertemplate": f"{title}: β/α = %{{x:.3g}}, τ = %{{y:.4f}}<extra></extra>",
                }
            )
    layout = {
        "height": 480,
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": axis("β/α", type="log", dtick=1),
        "yaxis": axis("Kendall's τ"),
    }
    return spec(traces, layout, *ZOOM)


def _ray(alpha: float, beta: float, right: float, top: float, name: str, dash: str) -> Spec:
    """A line of one ratio, from the origin to the edge of the grid."""
    reach = min(right / alpha if alpha else math.inf, top / beta if beta else math.inf)
    reach = reach if math.isfinite(reach) else 0.0
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [0, reach * alpha],
        "y": [0, reach * beta],
        "line": {"color": "#d1495b", "width": 2.5, "dash": dash},
        "hoverinfo": "skip",
    }


def _ratio_text(alpha: float, beta: float) -> str:
    return f"{beta / alpha:.3g}" if alpha else "∞"


def _ends(weights: npt.NDArray[np.float64]) -> list[float]:
    half = float(np.diff(weights).max()) / 2 if len(weights) > 1 else 0.5
    return [float(weights.min()) - half, float(weights.max()) + half]
