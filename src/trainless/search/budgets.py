"""How long a search may take: a number of evaluations, a time, or whichever is used up first."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from trainless.errors import InputError

__all__ = ["Budget", "parse_budget"]

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """What a search may spend; it ends with whichever is used up first.

    Args:
        evaluations: architectures with the full score; None is no limit.
        seconds: time spent; None is no limit.

    Raises:
        InputError: neither is given, or one is not above 0.

    Example:
        >>> str(Budget(200, 45.0))
        '200 evaluations or 45 s'
    """

    evaluations: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.evaluations is None and self.seconds is None:
            raise InputError("The budget is empty, expected evaluations such as 200, or a time such as 45s.")
        for value in (self.evaluations, self.seconds):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"The budget is {value:g}, expected more than 0 evaluations or seconds.")

    def __str__(self) -> str:
        parts = [] if self.evaluations is None else [f"{self.evaluations} evaluations"]
        return " or ".join(parts if self.seconds is None else [*parts, f"{self.seconds:g} s"])


def parse_budget(text: str) -> Budget:
    """Read a budget: ``200`` evaluations, a time such as ``45s``, ``20m`` or ``1h``, or both with a comma between.

    Raises:
        InputError: the text is no budget.

    Example:
        >>> parse_budget("45s,200")
        Budget(evaluations=200, seconds=45.0)
    """
    evaluations: int | None = None
    seconds: float | None = None
    for part in re.split(r"[,|]", text):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", part)
        is_second = found and (evaluations if found[2] is None else seconds) is not None
        if not found or is_second or (found[2] is None and "." in found[1]):
            raise InputError(
                f"The budget is '{text}', expected a number of evaluations such as 200, a time such as 45s, 20m or 1h, "
                "or both with a comma between."
            )
        if found[2] is None:
            evaluations = int(found[1])
        else:
            seconds = float(found[1]) * _UNITS[found[2]]
    return Budget(evaluations, seconds)
