"""How long a search may take: a number of evaluations, a time, or whichever is used up first."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from trainless.errors import InputError
from trainless.units import LONG_TIMES, parse_quantity

__all__ = ["Budget", "parse_budget"]


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


_DIGITS = 20  # of a number of evaluations; Python itself reads no more than some thousands


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
        if part.strip().isdecimal() and len(part) < _DIGITS and evaluations is None:
            evaluations = int(part.strip())  # which strips more than `int` does
        elif (found := parse_quantity(part, LONG_TIMES)) is not None and seconds is None:
            seconds = found
        else:
            raise InputError(
                f"The budget is '{text}', expected a number of evaluations such as 200, a time such as 45s, 20m or 1h, "
                "or both with a comma between."
            )
    return Budget(evaluations, seconds)
