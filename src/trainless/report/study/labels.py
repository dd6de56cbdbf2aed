"""Names beside the points of a static figure, where they cover nothing."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["free_box", "label_points"]


def label_points(figure: Figure, axes: Axes, table: pd.DataFrame) -> None:
    """Write each name beside its point, the nearest place where it covers nothing; far ones get a thin line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # the layout decides where the points are
    points = axes.transData.transform(table[["place", "quality"]].to_numpy(dtype=float))
    taken = [np.array([x - 4, y - 4, x + 4, y + 4]) for x, y in points]
    corners = points[table["on_front"].to_numpy(dtype=bool)]
    taken += _steps(corners[np.argsort(corners[:, 0], kind="stable")])
    frame = np.array(axes.get_window_extent(renderer).extents)
    order = np.argsort(-table["on_front"].to_numpy(dtype=float), kind="stable")
    for index in order:
        label = axes.annotate(
            str(table.index[index]),
            table[["place", "quality"]].iloc[index],
            (0, 0),
            textcoords="offset points",
            fontsize=5.8,
            color="0.2",
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0},
            zorder=1.5,  # the line to a point ends below it
        )
        label.set_in_layout(False)
        size = np.array(Text.get_window_extent(label, renderer).size)
        box = free_box(points[index], size, taken, frame)
        taken.append(box)
        label.set_position((box[:2] - points[index]) * 72 / figure.dpi)


def free_box(
    point: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    taken: list[npt.NDArray[Any]],
    frame: npt.NDArray[Any],
) -> npt.NDArray[np.float64]:
    """Find the nearest place beside a point for a box of some size (width, height) where it covers the least."""
    best, least = None, math.inf
    for distance in (6, 10, 16, 24, 34, 46):
        for turn in np.arange(8) * math.pi / 4:
            towards = np.array([math.cos(turn), math.sin(turn)])
            corner = point + distance * towards - size * (1 - towards) / 2
            box = np.concatenate([corner, corner + size])
            cost = sum(_overlap(box, other) for other in taken) + 10 * _outside(box, frame) + 0.3 * distance
            if cost < least:
                best, least = box, cost
    assert best is not None
    return best


def _steps(corners: npt.NDArray[np.float64]) -> list[npt.NDArray[Any]]:
    """The line of the front as thin boxes: level to the next point, then up."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        boxes += [np.array([x0, y0 - 2, x1, y0 + 2]), np.array([x1 - 2, y0, x1 + 2, y1])]
    return boxes


def _overlap(box: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(np.maximum(sides, 0)))


def _outside(box: npt.NDArray[Any], frame: npt.NDArray[Any]) -> float:
    """How far a box stands out of a frame, in pixels."""
    return float(np.maximum(frame[:2] - box[:2], 0).sum() + np.maximum(box[2:] - frame[2:], 0).sum())
