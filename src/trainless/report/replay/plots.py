"""The interactive figures of a replay, as plain data for plotly.js."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from trainless.report.common.colours import LINE_COLOURS
from trainless.report.common.interactive import ZOOM, Spec, axis, band, label, rounded, spec
from trainless.report.replay.views import Panel, marks, regret, series

if TYPE_CHECKING:
    from trainless.search.results import ReplayResult

__all__ = ["Line", "line_styles", "regret_plot"]

_DASHES = ("solid", "dash", "dot")


class Line(NamedTuple):
    """How the lines of one name look, in all figures of a page.

    Args:
        number: what the page's script knows them by.
        name: plain text.
        colour: as CSS writes it.
        dash: as plotly.js names it.
    """

    number: int
    name: str
    colour: str
    dash: str


def line_styles(result: ReplayResult) -> dict[str, Line]:
    """Give each name a colour and a dash of its own."""
    return {
        name: Line(
            number,
            name,
            LINE_COLOURS[number % len(LINE_COLOURS)],
            _DASHES[number // len(LINE_COLOURS) % len(_DASHES)],
        )
        for number, name in enumerate(series(result))
    }


def regret_plot(
    result: ReplayResult, dataset: str, panel: Panel, styles: dict[str, Line], ends: tuple[float, float]
) -> Spec:
    """Draw the mean regret by evaluations, with a band of one standard error.

    Args:
        result: what the replay gave.
        dataset: of which.
        panel: the lines of this figure.
        styles: as `line_styles` gives them.
        ends: of the axis of regrets.
    """
    bands, lines = [], []
    for name, key in panel.lines.items():
        curve = regret(result.curves[key], result.optima[dataset])
        style = styles[name]
        bands.append({**band(curve.evaluations, curve.low, curve.high, style.colour), "meta": str(style.number)})
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(name),
                "meta": str(style.number),
                "x": curve.evaluations.tolist(),
                "y": rounded(curve.mean, 4),
                "line": {"color": style.colour, "width": 2, "dash": style.dash},
                "hovertemplate": "%{fullData.name}<br>after %{x}: regret %{y:.3g}<extra></extra>",
            }
        )
    ticks = marks(*ends)
    layout = {
        "height": 400,
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 10, "r": 40, "t": 10, "b": 10},
        "xaxis": axis("architectures evaluated", rangemode="tozero", tickformat=",d"),
        "yaxis": axis(
            "regret, points",
            type="log",
            range=[math.log10(end) for end in ends],
            tickvals=list(ticks),
            ticktext=list(ticks.values()),
        ),
    }
    return spec([*bands, *lines], layout, *ZOOM)
