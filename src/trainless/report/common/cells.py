"""An architecture's graph as a picture: nodes from left to right, edges named by what is done on them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainless.report.common.colours import GREY, LINE_COLOURS
from trainless.report.common.graphs import Cell, Curve, lay_out
from trainless.report.common.interactive import Spec, label, spec
from trainless.report.common.static import LINES, PAGE, draw_file, new_figure
from trainless.search_spaces.base import Edge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cell_figure", "cell_plot", "draw_cell", "operation_label"]

_LABELS = {
    "nor_conv_3x3": "3×3 conv",
    "nor_conv_1x1": "1×1 conv",
    "skip_connect": "skip",
    "avg_pool_3x3": "3×3 avg pool",
}


def operation_label(name: str) -> str:
    """Write an operation's name for people; what follows a comma stands on a line of its own.

    Example:
        >>> operation_label("nor_conv_3x3"), operation_label("max_pool"), operation_label("2 blocks, 3x3")
        ('3×3 conv', 'max pool', '2 blocks\\n3x3')
    """
    return _LABELS.get(name, name.replace("_", " ").replace(", ", "\n"))


def _colours(graph: Sequence[Edge], palette: Sequence[str]) -> dict[str, str]:
    """A colour for each operation: the same in all pictures for the known ones."""
    names = dict.fromkeys([*_LABELS, *(edge.operation for edge in graph)])
    return dict(zip(names, itertools.cycle(palette), strict=False))


def cell_plot(graph: Sequence[Edge]) -> Spec:
    """Draw a graph for a page.

    Args:
        graph: as `trainless.search_spaces.base.SearchSpace.graph` gives it.

    Example:
        >>> [trace["mode"] for trace in cell_plot([Edge("input", "output", "skip_connect")])["data"]]
        ['lines+markers', 'text', 'markers+text']
    """
    cell, colours = lay_out(graph), _colours(graph, LINE_COLOURS)
    low, high = cell.bounds
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "height": round(110 + 95 * (high - low)),
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 10, "r": 40, "t": 10, "b": 10},
        "xaxis": {**hidden, "range": [-0.3, cell.nodes["output"][0] + 0.3]},
        "yaxis": {**hidden, "range": [low, high]},
    }
    traces = [_edge_trace(curve, colours[curve.edge.operation]) for curve in cell.curves]
    return spec([*traces, *(_name_trace(curve) for curve in cell.curves), _node_trace(cell)], layout)


def _edge_trace(curve: Curve, colour: str) -> Spec:
    live = curve.edge.live
    rest = [0] * (len(curve.points) - 1)  # only the last point has an arrow, at the rim of the node
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": np.round(curve.points[:, 0], 4).tolist(),
        "y": np.round(curve.points[:, 1], 4).tolist(),
        "line": {"color": colour if live else GREY, "width": 3 if live else 1.6, "dash": "solid" if live else "dash"},
        "marker": {"symbol": "arrow", "angleref": "previous", "size": [*rest, 13], "standoff": [*rest, 23],
                   "opacity": 1, "line": {"width": 0}, "color": colour if live else GREY},
        "hoverinfo": "skip",
    }  # fmt: skip


def _name_trace(curve: Curve) -> Spec:
    x, y = curve.middle
    edge = curve.edge
    (x0, y0), (x1, y1) = curve.points[0], curve.points[-1]
    away = 0.06 + 0.25 * abs(y1 - y0) / (x1 - x0)  # a slope would run into the ends of the name
    return {
        "type": "scatter",
        "mode": "text",
        "x": [x],
        "y": [y + away if curve.bow >= 0 else y - away],
        "text": [label(operation_label(edge.operation)).replace("\n", "<br>")],
        "textposition": "top center" if curve.bow >= 0 else "bottom center",
        "textfont": {"size": 12} if edge.live else {"size": 12, "color": GREY},
        "hovertext": [f"{label(edge.source)} to {label(edge.target)}: {label(edge.operation)}"],
        "hovertemplate": "%{hovertext}" + ("" if edge.live else ", without effect") + "<extra></extra>",
    }


def _node_trace(cell: Cell) -> Spec:
    live = [node in cell.live for node in cell.nodes]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [x for x, _ in cell.nodes.values()],
        "y": [y for _, y in cell.nodes.values()],
        "text": [label(node) for node in cell.nodes],
        "textfont": {"size": 11, "color": "#ffffff"},
        "marker": {
            "size": 44,
            "line": {"width": 0},
            "opacity": 1,
            "color": ["#4a5560" if is_live else GREY for is_live in live],
        },
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def cell_figure(graph: Sequence[Edge], path: str | Path) -> None:
    """Draw a graph and write the picture, 7 inches wide.

    Args:
        graph: as `trainless.search_spaces.base.SearchSpace.graph` gives it.
        path: file to write; its ending decides the format: ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cell_figure([Edge("input", "output", "skip_connect")], Path(folder) / "cell.png")
        ...     (Path(folder) / "cell.png").read_bytes()[1:4]
        b'PNG'
    """
    draw_file(path, lambda: _figure(graph))


def _figure(graph: Sequence[Edge]) -> Figure:
    low, high = lay_out(graph).bounds
    figure = new_figure(0.3 + 0.7 * (high - low), PAGE)
    draw_cell(figure.add_subplot(), graph)
    return figure


def draw_cell(axes: Axes, graph: Sequence[Edge]) -> None:
    """Draw a graph into axes of a static figure."""
    cell, colours = lay_out(graph), _colours(graph, LINES)
    for curve in cell.curves:
        _draw_edge(axes, curve, colours[curve.edge.operation])
    for node, (x, y) in cell.nodes.items():
        live = node in cell.live
        axes.scatter([x], [y], s=620, color="0.3" if live else "0.62", linewidths=0, zorder=3)
        axes.text(x, y, node, color="white", ha="center", va="center", zorder=4, fontsize=7)
    axes.set_xlim(-0.2, cell.nodes["output"][0] + 0.2)
    axes.set_ylim(*cell.bounds)
    axes.set_axis_off()


def _draw_edge(axes: Axes, curve: Curve, colour: str) -> None:
    live = curve.edge.live
    shown, width, dash = (colour, 1.6, "-") if live else ("0.62", 0.9, (0, (4, 2)))
    axes.plot(*curve.points.T, color=shown, linewidth=width, linestyle=dash, zorder=1)
    # Only the head of the arrow is seen: its shaft, being straight, would leave the curve.
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 12.5, "mutation_scale": 11, "color": shown, "linewidth": 0}
    start = curve.points[-5 if curve.bow else 0]  # near, to point as a curve ends; far, lest it be within the node
    axes.annotate("", tuple(curve.points[-1]), tuple(start), arrowprops=arrow, zorder=2)
    above = curve.bow >= 0
    axes.annotate(
        operation_label(curve.edge.operation),
        curve.middle,
        (0, 4 if above else -4),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        color="0.1" if live else "0.45",
        zorder=4,
    )
