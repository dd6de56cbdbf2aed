"""The time budget of a fit: the deadline of each stage, with the time used before an interruption."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from trainless.errors import InputError
from trainless.search import Budget, parse_budget

__all__ = ["TimeBudget", "parse_time"]

_SEARCH = 0.1  # share of the time after which the search has to end
_TUNING = 0.4  # share after which the tuning has to end
_CLOSING = 0.15  # share kept for test, export and report, at most _CLOSING_SECONDS
_CLOSING_SECONDS = 30.0


def parse_time(text: str) -> float:
    """Read a time in seconds: ``90s``, ``20m`` or ``1.5h``.

    Raises:
        InputError: the text is no time above 0.

    Example:
        >>> parse_time("1.5h")
        5400.0
    """
    try:
        budget = parse_budget(text)
    except InputError:
        budget = Budget(1)
    if budget.seconds is None or budget.evaluations is not None:
        raise InputError(f"The time is '{text}', expected one above 0 such as 90s, 20m or 1h.")
    return budget.seconds


@dataclass
class TimeBudget:
    """The time budget of a fit over all its runs: one that was interrupted and resumed has several.

    Args:
        seconds: all that there is; may be infinite.
        used: seconds that earlier runs of it used.

    Example:
        >>> time_budget = TimeBudget(100.0, used=30.0)
        >>> 69 < time_budget.left <= 70, round(time_budget.search_end - time_budget.start), time_budget.closing
        (True, 10, 15.0)
    """

    seconds: float
    used: float = 0.0
    start: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise InputError(f"The time is {self.seconds:g} s, expected more than 0: give a time such as 20m.")
        self.start = time.monotonic() - self.used

    @property
    def elapsed(self) -> float:
        """Seconds used so far."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def closing(self) -> float:
        """Seconds kept for test, export and report."""
        return min(_CLOSING * self.seconds, _CLOSING_SECONDS)

    @property
    def search_end(self) -> float:
        """Value of `time.monotonic` at which the search has to end."""
        return self.start + _SEARCH * self.seconds

    @property
    def tuning_end(self) -> float:
        """Value of `time.monotonic` at which the tuning has to end."""
        return self.start + _TUNING * self.seconds

    @property
    def training_end(self) -> float:
        """Value of `time.monotonic` at which the training has to end."""
        return self.start + self.seconds - self.closing
