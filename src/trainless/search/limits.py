"""Limits on what a network may cost, checked before anything is scored."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture, Task

__all__ = ["Limits", "parse_number"]

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def parse_number(text: str, what: str) -> float:
    """Read a number with a unit: ``0.8M`` is 800,000; K, M and G are powers of a thousand, B as G.

    Args:
        text: the number.
        what: what it is, for the message.

    Raises:
        InputError: the text is no number above 0.

    Example:
        >>> parse_number("0.8M", "--max-params"), parse_number("500k", "--max-flops")
        (800000.0, 500000.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([KMGB]?)\s*", text, re.IGNORECASE)
    value = float(found[1]) * _UNITS[found[2].upper()] if found else 0.0
    if not 0 < value < math.inf:
        raise InputError(f"{what} is '{text}', expected a number above 0 such as 800000, 500k or 0.8M.")
    return value


@dataclass(frozen=True)
class Limits:
    """The most that a network may have; None is no limit.

    Args:
        parameters: trainable parameters, as the architecture is written.
        flops: multiply-adds of convolutions and linear layers for one image, as the architecture is written.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> Limits(parameters=100_000).broken(space, space[0], Task("toy", 10))
        'params'
    """

    parameters: float | None = None
    flops: float | None = None

    def broken(self, space: SearchSpace, architecture: Architecture, task: Task) -> str:
        """Name the first limit that an architecture breaks, empty where it breaks none."""
        if self.parameters is not None and space.parameters(architecture, task) > self.parameters:
            return "params"
        if self.flops is not None and space.flops(architecture, task) > self.flops:
            return "flops"
        return ""

    def __str__(self) -> str:
        parts = [("params", self.parameters), ("flops", self.flops)]
        return ", ".join(f"{name} at most {value:,.0f}" for name, value in parts if value is not None) or "none"
