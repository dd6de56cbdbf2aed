"""Worker processes of this machine: one that dies is replaced, and its unit of work retried.

What ends a worker from outside, such as a limit on the time of a unit, belongs in `_Pool`, which replaces one that was
ended as one that died; what a process sets for itself, such as a limit on its memory, belongs in `_serve`.
"""

from __future__ import annotations

import multiprocessing.connection
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from trainless.errors import InputError, ScoringError
from trainless.workers.base import Compute, Result, Shared, Unit
from trainless.workers.process import answer, keep_memory, process_context, process_start

__all__ = ["LocalWorkers"]

_TRIES = 2
_STARTS = 3  # workers in a row that may die before their first answer


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine, of one thread each.

    A function has to be importable by name. What the user's script itself defines may be a part of what is shared: the
    script is then run again in each process.

    Args:
        count: number of processes; 0 computes in this one.

    Raises:
        InputError: the number is negative.

    Example:
        >>> import operator
        >>> with LocalWorkers(0).pool(operator.add, 1, lost=lambda unit, reason: 0) as compute:
        ...     list(compute([1])), list(compute([2, 3]))
        ([(1, 2)], [(2, 3), (3, 4)])
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError(f"The number of workers is {self.count}, expected 0 or more.")

    @contextmanager
    def pool(
        self, function: Callable[[Shared, Unit], Result], shared: Shared, lost: Callable[[Unit, str], Result]
    ) -> Iterator[Compute[Unit, Result]]:
        """Keep processes, which start with the first units: see `trainless.workers.Workers.pool`."""
        pool = _Pool(function, shared, self.count)

        def compute(units: Sequence[Unit]) -> Iterator[tuple[Unit, Result]]:
            if self.count == 0:
                yield from ((unit, function(shared, unit)) for unit in units)
            else:
                yield from pool.run(units, lost)

        try:
            yield compute
        finally:
            pool.stop()


@dataclass
class _Worker:
    process: Any
    connection: Any
    unit: int | None = None


class _Pool:
    def __init__(self, function: Callable[..., Any], shared: Any, workers: int) -> None:
        self.context: Any = process_context()
        self.function, self.shared = function, shared
        self.count, self.failed_starts = workers, 0
        self.workers: list[_Worker] = []

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        arguments = (theirs, self.function, self.shared)
        process = self.context.Process(target=_serve, args=arguments, daemon=True, name="trainless-worker")
        with process_start(self.shared):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(self, units: Sequence[Any], lost: Callable[[Any, str], Any]) -> Iterator[tuple[Any, Any]]:
        waiting = deque(range(len(units)))
        tries = [0] * len(units)
        open_units = len(units)
        while len(self.workers) < min(self.count, len(units)):
            self.workers.append(self._start())
        while open_units:
            for worker in self.workers:
                if worker.unit is None and waiting:
                    worker.unit = waiting.popleft()
                    tries[worker.unit] += 1
                    with suppress(OSError):  # a dead worker is noticed below
                        worker.connection.send(units[worker.unit])
            for worker in self._ready():
                index = worker.unit
                result = self._receive(worker)
                if result is not None and index is not None:
                    open_units -= 1
                    yield units[index], result[0]
                elif index is not None and tries[index] < _TRIES:
                    waiting.appendleft(index)
                elif index is not None:
                    open_units -= 1
                    yield units[index], lost(units[index], f"the worker process died {_TRIES} times")

    def _ready(self) -> list[_Worker]:
        by_handle = {worker.connection: worker for worker in self.workers if worker.unit is not None}
        return [by_handle[handle] for handle in multiprocessing.connection.wait(list(by_handle))]

    def _receive(self, worker: _Worker) -> tuple[Any] | None:
        """Take a worker's answer; where it died, put a new one in its place and give None."""
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return None
        if kind == "error":
            raise ScoringError(f"A worker failed: {value}")
        self.failed_starts = 0
        worker.unit = None
        return (value,)

    def _replace(self, worker: _Worker) -> None:
        self.failed_starts += 1
        worker.connection.close()
        worker.process.join(1)
        if self.failed_starts > _STARTS * len(self.workers):
            raise ScoringError(
                f"Worker processes die before they answer (exit code {worker.process.exitcode}): "
                "use fewer workers or a smaller batch, or 0 workers to see the cause."
            )
        self.workers[self.workers.index(worker)] = self._start()

    def stop(self) -> None:
        """End all workers at once; what they were at is given up."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()


def _serve(connection: Any, function: Callable[..., Any], shared: Any) -> None:
    """The life of a worker: take a unit, answer, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what it was forked off may not
    give_back = keep_memory()
    while True:
        try:
            unit = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(answer(function, shared, unit))
        except OSError:
            return
        give_back()
