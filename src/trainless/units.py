"""Quantities as people write them: a number and a unit, times among them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from trainless.errors import InputError

__all__ = ["LONG_TIMES", "SHORT_TIMES", "parse_quantity", "parse_time"]

LONG_TIMES: Mapping[str, float] = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
"""Seconds in each unit of a time that somebody waits for."""

SHORT_TIMES: Mapping[str, float] = {"us": 1e-3, "ms": 1.0, "s": 1e3}
"""Milliseconds in each unit of a time that a network takes."""


def parse_quantity(text: str, units: Mapping[str, float]) -> float | None:
    """Read a number and its unit, with or without a space between; None where the text is no such quantity.

    Args:
        text: the quantity.
        units: what each unit is worth; an empty one stands for a number alone.

    Example:
        >>> parse_quantity("1.5h", LONG_TIMES), parse_quantity(".5 ms", SHORT_TIMES), parse_quantity("5", LONG_TIMES)
        (5400.0, 0.5, None)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([^\W\d_]*)\s*", text)
    return float(found[1]) * units[found[2]] if found and found[2] in units else None


def parse_time(text: str) -> float:
    """Read a time in seconds: ``90s``, ``20m`` or ``1.5h``.

    Raises:
        InputError: the text is no time above 0.

    Example:
        >>> parse_time("1.5h")
        5400.0
    """
    seconds = parse_quantity(text, LONG_TIMES)
    if seconds is None or not 0 < seconds < math.inf:
        raise InputError(f"The time is '{text}', expected one above 0 such as 90s, 20m or 1h.")
    return seconds
