"""The time budget of a fit: the deadline of each stage, with the time used before an interruption."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from trainless.errors import InputError

__all__ = ["TimeBudget"]

_LEAST_SECONDS = 10.0  # reading, measuring, test and export take about as long where there is next to no training
_SIZING = 0.1  # share of the time in which the size of the networks is chosen
_SEARCH = 0.1  # share of the search
_LEAST_SEARCH = 1.0  # seconds that it has anyway
_TUNING = 0.4  # share after which the tuning has to end
_CLOSING = 0.15  # share kept for test, export and report, at most _CLOSING_SECONDS
_CLOSING_SECONDS = 30.0
_LEAST_CLOSING = 12.0  # seconds that these take where little is to be tested, but no more than the next share
_MOST_CLOSING = 0.4
_OVERRUN = 1.1  # times its time, from which on it is said that a fit took longer


@dataclass
class TimeBudget:
    """The time budget of a fit over all its runs: one that was interrupted and resumed has several.

    Args:
        seconds: all that there is; may be infinite.
        used: seconds that earlier runs of it used.
        aside: seconds of it that go into something else than sizing, search, tuning and training, which have their
            shares of the rest.
        testing: seconds that the test takes beside what is kept for it always.

    Example:
        >>> time_budget = TimeBudget(100.0, used=30.0)
        >>> 69 < time_budget.left <= 70, time_budget.search, time_budget.closing
        (True, 10.0, 15.0)
    """

    seconds: float
    used: float = 0.0
    aside: float = 0.0
    testing: float = 0.0
    start: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.seconds >= _LEAST_SECONDS:
            raise InputError(
                f"The time is {self.seconds:g} s, expected at least {_LEAST_SECONDS:g} s, which a fit takes beside its "
                "training: give a time such as 20m."
            )
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
        usual = max(_LEAST_CLOSING, min(_CLOSING * self.seconds, _CLOSING_SECONDS))
        return min(_MOST_CLOSING * self.seconds, usual)

    @property
    def sizing(self) -> float:
        """Seconds in which the size of the networks has to be chosen."""
        return _SIZING * (self.seconds - self.aside)

    @property
    def sizing_start(self) -> float:
        """Value of `time.monotonic` at which the sizing can begin, now or later."""
        return max(time.monotonic(), self.start + self.aside)

    @property
    def search(self) -> float:
        """Seconds of the search."""
        return max(_LEAST_SEARCH, _SEARCH * (self.seconds - self.aside))

    @property
    def tuning_end(self) -> float:
        """Value of `time.monotonic` at which the tuning has to end."""
        return self.start + self.aside + _TUNING * (self.seconds - self.aside)

    @property
    def training_end(self) -> float:
        """Value of `time.monotonic` at which the training has to end."""
        return self.start + self.seconds - self.closing - self.testing

    def overrun(self) -> list[str]:
        """Say that it took longer than there was time, if it did by more than a tenth.

        Example:
            >>> TimeBudget(30.0, used=59.0).overrun()
            ['It took 59 s, and its time was 30 s: what a fit cannot leave out takes longer than that here.']
        """
        elapsed = self.elapsed
        if elapsed <= _OVERRUN * self.seconds:
            return []
        return [
            f"It took {elapsed:.0f} s, and its time was {self.seconds:g} s: what a fit cannot leave out takes longer "
            "than that here."
        ]
