"""Which scales the axes of figures have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["needs_logarithm"]


def needs_logarithm(values: npt.NDArray[np.float64]) -> bool:
    """Tell whether scores span so many orders of magnitude that an even axis would show one heap.

    Example:
        >>> needs_logarithm(np.array([1.0, 1e6, 1e12])), needs_logarithm(np.array([-1.0, 0.0, 1e12]))
        (True, False)
    """
    finite = values[np.isfinite(values)]
    above = finite[finite > 0]
    if not len(above) or len(above) < 0.9 * len(finite):
        return False
    low, high = np.quantile(above, [0.05, 0.95])
    return bool(high > 1000 * low)
