"""Correlations of many columns as a static heat map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.report.common.colours import DIVERGING
from trainless.report.common.formats import number
from trainless.report.study.views import MOST_NUMBERED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["draw_correlation"]

_MOST_SLANTED = 20  # names that have room for one another at an angle


def draw_correlation(axes: Axes, table: pd.DataFrame, fontsize: float) -> AxesImage:
    """Draw a square table of correlations from -1 to 1 into axes as a heat map; NaN leaves a gap."""
    from matplotlib.colors import LinearSegmentedColormap

    names, values = [str(name) for name in table.columns], table.to_numpy(dtype=float)
    scale = LinearSegmentedColormap.from_list("correlation", DIVERGING)
    drawn = axes.imshow(values, cmap=scale, vmin=-1, vmax=1, aspect="auto")
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    turned = slanted if len(names) <= _MOST_SLANTED else {"rotation": 90}
    axes.set_xticks(range(len(names)), names, parse_math=False, **turned)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(names) <= MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            if math.isfinite(value):
                colour = "white" if abs(value) > 0.855 else "black"
                text = number(value, ".2f")
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=fontsize)
    return drawn
