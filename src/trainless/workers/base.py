"""The contract of workers: units of work go in, one result of each comes out, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

__all__ = ["Compute", "Result", "Shared", "Unit", "Workers"]

Shared = TypeVar("Shared")
Unit = TypeVar("Unit")
Result = TypeVar("Result")

Compute = Callable[[Sequence[Unit]], Iterator[tuple[Unit, Result]]]
"""Computes units, and gives each with its result as soon as it is there, in no order that is known before."""


class Workers(Protocol):
    """Where units of work are computed: in processes of this machine, or in those of a cluster.

    An object of this kind stands wherever a number of workers can. It says itself how functions, what they share and
    units travel to where they are computed. A unit gets one result, never two; where its worker dies it is tried once
    more by another, and none of this changes a result.
    """

    @property
    def count(self) -> int:
        """How many units are computed at once; 0 where this process computes them itself."""

    def pool(
        self, function: Callable[[Shared, Unit], Result], shared: Shared, lost: Callable[[Unit, str], Result]
    ) -> AbstractContextManager[Compute[Unit, Result]]:
        """Keep workers for work that comes in parts: gives a function that computes the units of one part.

        One part has to be finished before the next begins.

        Args:
            function: computes ``function(shared, unit)``; importable by name; what it raises ends the run.
            shared: sent to each worker once.
            lost: makes the result of a unit whose worker died twice, from the unit and the reason.

        Raises:
            ScoringError: workers die before they answer at all, or `function` raised.
        """
