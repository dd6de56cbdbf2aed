"""Workers: where many units of work are computed at once, and what survives the death of a process or a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import SupportsIndex

from trainless.workers.base import Compute, Result, Shared, Unit, Workers
from trainless.workers.local import LocalWorkers
from trainless.workers.process import prepare_processes, process_start

__all__ = [
    "LocalWorkers",
    "Workers",
    "WorkersChoice",
    "chosen_workers",
    "prepare_processes",
    "process_start",
    "run_in_workers",
    "threads_here",
    "worker_pool",
]

WorkersChoice = int | Workers | None
"""Workers as they are asked for: a number of processes of this machine, None for one a core, or an object."""


def chosen_workers(workers: WorkersChoice) -> Workers:
    """Give the workers that are asked for.

    Args:
        workers: number of processes of this machine; 0 computes in this one, None is one a core; or `Workers`.

    Raises:
        InputError: the number is negative.

    Example:
        >>> chosen_workers(2)
        LocalWorkers(count=2)
    """
    if workers is None:
        return LocalWorkers(_cores())
    return LocalWorkers(int(workers)) if isinstance(workers, SupportsIndex) else workers


def threads_here(workers: WorkersChoice) -> int:
    """Give the most threads that this process itself may compute with: all cores, where workers are elsewhere.

    Example:
        >>> threads_here(0), threads_here(3)
        (1, 3)
    """
    chosen = chosen_workers(workers)
    return max(1, chosen.count if isinstance(chosen, LocalWorkers) else _cores())


def _cores() -> int:
    return os.cpu_count() or 1


def run_in_workers(
    function: Callable[[Shared, Unit], Result],
    shared: Shared,
    units: Sequence[Unit],
    workers: WorkersChoice,
    lost: Callable[[Unit, str], Result],
) -> Iterator[tuple[Unit, Result]]:
    """Compute ``function(shared, unit)`` for each unit in workers, and yield results as they come.

    Args:
        function: as for `Workers.pool`.
        shared: as for `Workers.pool`.
        units: the work.
        workers: as for `chosen_workers`.
        lost: as for `Workers.pool`.

    Raises:
        ScoringError: workers die before they answer at all, or `function` raised.

    Example:
        >>> import operator
        >>> list(run_in_workers(operator.add, 1, [1, 2], workers=0, lost=lambda unit, reason: 0))
        [(1, 2), (2, 3)]
    """
    with worker_pool(function, shared, workers, lost) as compute:
        yield from compute(units)


def worker_pool(
    function: Callable[[Shared, Unit], Result],
    shared: Shared,
    workers: WorkersChoice,
    lost: Callable[[Unit, str], Result],
) -> AbstractContextManager[Compute[Unit, Result]]:
    """Keep the workers that are asked for, as `Workers.pool` does.

    Example:
        >>> import operator
        >>> with worker_pool(operator.add, 1, 0, lost=lambda unit, reason: 0) as compute:
        ...     list(compute([1])), list(compute([2, 3]))
        ([(1, 2)], [(2, 3), (3, 4)])
    """
    return chosen_workers(workers).pool(function, shared, lost)
