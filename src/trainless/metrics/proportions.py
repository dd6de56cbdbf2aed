"""Intervals of proportions, such as the accuracy on a number of test images."""

from __future__ import annotations

import math

__all__ = ["wilson_interval"]


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a proportion.

    Args:
        successes: how many of the trials succeeded.
        trials: their number; without any, both ends are NaN.
        level: the confidence.

    Returns:
        The lower and the upper end, from 0 to 1.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Example:
        >>> [round(end, 3) for end in wilson_interval(18, 23)]
        [0.581, 0.903]
    """
    from scipy.stats import binomtest

    if not trials:
        return math.nan, math.nan
    interval = binomtest(int(successes), int(trials)).proportion_ci(level, "wilson")
    return float(interval.low), float(interval.high)
