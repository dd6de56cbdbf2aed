"""What interactive figures have in common, as plain data for plotly.js; the page gives text and grids their colours."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "LAYOUT",
    "LEGEND",
    "ZOOM",
    "Spec",
    "axis",
    "band",
    "categories",
    "label",
    "plotly_config",
    "rounded",
    "spec",
]

Spec = dict[str, Any]

_BAND = 0.2  # opacity of a band

LAYOUT: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "dragmode": False,  # without dragging and scroll zoom a finger on a figure still scrolls the page
    "hoverlabel": {"bgcolor": "#1d2328", "bordercolor": "#a3adb5", "font": {"color": "#ffffff"}},
    "modebar": {"bgcolor": "rgba(0,0,0,0)"},
    "margin": {"l": 10, "r": 10, "t": 40, "b": 10},
}
"""What the layouts of all interactive figures share; the rest of their colours comes from the page."""

ZOOM = ("zoomIn2d", "zoomOut2d", "resetScale2d")
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "itemsizing": "constant"}


def label(text: str) -> str:
    """Write plain text as a name or label that plotly.js shows as it is.

    It reads ``<`` and ``&`` as HTML does, but knows no entity for quotes.

    Example:
        >>> label('deer,"big" <b> &amp;')
        'deer,"big" &lt;b&gt; &amp;amp;'
    """
    return escape(text, quote=False)


def plotly_config(*buttons: str) -> dict[str, Any]:
    """Make the configuration of an interactive figure with these buttons, and one that saves it as a picture.

    Example:
        >>> plotly_config("zoomIn2d")["modeBarButtons"]
        [['zoomIn2d', 'toImage']]
    """
    return {"responsive": True, "displaylogo": False, "scrollZoom": False, "modeBarButtons": [[*buttons, "toImage"]]}


def spec(traces: list[Spec], layout: Spec, *buttons: str) -> Spec:
    """Join traces with the layout that all figures share; the buttons are those that the tool bar keeps."""
    if not any("colorbar" in {**trace, **trace.get("marker", {})} for trace in traces):
        # Beside the figure, since the legend stands above it, unless a scale of colours is there.
        layout = {
            "margin": {**LAYOUT["margin"], "r": 40},
            "modebar": {**LAYOUT["modebar"], "orientation": "v"},
            **layout,
        }
    return {"data": traces, "layout": {**LAYOUT, **layout}, "config": plotly_config(*buttons)}


def axis(title: str, **options: Any) -> Spec:
    """Describe an axis with a title and room for its labels."""
    return {"title": {"text": title, "standoff": 12}, "automargin": True, "zeroline": False, **options}


def categories(names: list[str], **options: Any) -> Spec:
    """Describe an axis of names, the first on top or on the left."""
    order = {"type": "category", "categoryorder": "array", "categoryarray": names, "range": [len(names) - 0.5, -0.5]}
    if options.get("autorange"):
        order.pop("range")
    return {**order, "automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True,
            "ticks": "", "ticklabelstandoff": 6, **options}  # fmt: skip


def band(xs: Any, lows: Any, highs: Any, colour: str, name: str = "") -> Spec:
    """Draw a band between two lines; the legend has it where it has a name."""
    places = np.asarray(xs).tolist()
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": places + places[::-1],
        "y": rounded(highs) + rounded(lows)[::-1],
        "line": {"width": 0, "color": colour},
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},{_BAND})",
        "hoverinfo": "skip",
        "showlegend": bool(name),
    }


def rounded(values: npt.ArrayLike, digits: int = 6) -> list[float | None]:
    """Round numbers for JSON, with None for what is not finite."""
    numbers = np.asarray(values, dtype=float)
    return [round(float(value), digits) if math.isfinite(value) else None for value in numbers]
