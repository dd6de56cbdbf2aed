"""Worker processes of this machine: one that dies or takes too long is replaced, and its unit of work told of."""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from trainless.errors import InputError, ScoringError
from trainless.workers.base import Compute, Result, Shared, Unit
from trainless.workers.process import (
    LEAST_MEMORY,
    answer,
    check_timeout,
    keep_memory,
    limit_memory,
    process_context,
    process_start,
)

__all__ = ["LocalWorkers"]

_TRIES = 2
_STARTS = 3  # workers in a row that may die before they are ready
_LAUNCHES = 5  # tries to start one, of which each may be ended with the server that it is forked off


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine, of one thread each.

    A function has to be importable by name. What the user's script itself defines may be a part of what is shared: the
    script is then run again in each process.

    Args:
        count: number of processes; 0 computes in this one, where nothing is limited.
        timeout: most seconds that a unit may take; a process that takes more is ended, and its unit given up.
        memory_limit: most bytes that a process may take; it is refused more, as where there is no more. On Linux.

    Raises:
        InputError: a number is out of range, or something is limited in this process, or memory where there is no such
            limit.

    Example:
        >>> import operator
        >>> with LocalWorkers(0).pool(operator.add, 1, lost=lambda unit, reason: 0) as compute:
        ...     list(compute([1])), list(compute([2, 3]))
        ([(1, 2)], [(2, 3), (3, 4)])
    """

    count: int
    timeout: float | None = None
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError(f"The number of workers is {self.count}, expected 0 or more.")
        check_timeout(self.timeout)
        if self.memory_limit is not None:
            if sys.platform != "linux":
                raise InputError("The memory of a process can only be limited on Linux: leave the limit out.")
            if self.memory_limit < LEAST_MEMORY:
                raise InputError(
                    f"The limit on memory is {self.memory_limit:,} bytes, expected at least {LEAST_MEMORY:,}: a worker "
                    "needs as much before it begins."
                )
        if self.count == 0 and (self.timeout or self.memory_limit):
            raise InputError("There are limits on workers and 0 workers, expected at least 1: one that can be ended.")

    def limited(self, timeout: float | None, memory_limit: int | None) -> LocalWorkers:
        """Give the same with limits, and at least one process: see `trainless.workers.Workers.limited`."""
        return LocalWorkers(max(1, self.count), timeout, memory_limit)

    @contextmanager
    def pool(
        self, function: Callable[[Shared, Unit], Result], shared: Shared, lost: Callable[[Unit, str], Result]
    ) -> Iterator[Compute[Unit, Result]]:
        """Keep processes, which start with the first units: see `trainless.workers.Workers.pool`."""
        pool = _Pool(function, shared, self)

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
    is_ready: bool = False
    begun: float = math.inf  # of the present unit, as `time.monotonic` tells


class _Pool:
    def __init__(self, function: Callable[..., Any], shared: Any, setting: LocalWorkers) -> None:
        self.context: Any = process_context()
        self.function, self.shared, self.setting = function, shared, setting
        self.failed_starts = 0
        self.workers: list[_Worker] = []

    def _start(self) -> _Worker:
        for _ in range(_LAUNCHES):
            ours, theirs = self.context.Pipe()
            arguments = (theirs, _Bytes((self.function, self.shared)), self.setting.memory_limit)
            process = self.context.Process(target=_serve, args=arguments, daemon=True, name="trainless-worker")
            # The server that it is forked off may have been killed: the next time there is a new one.
            with process_start(self.shared), suppress(EOFError, OSError):
                process.start()
            theirs.close()
            if process.pid is not None:
                return _Worker(process, ours)
            ours.close()
        raise ScoringError("Worker processes cannot be started: use fewer workers, or 0 workers to see the cause.")

    def run(self, units: Sequence[Any], lost: Callable[[Any, str], Any]) -> Iterator[tuple[Any, Any]]:
        waiting = deque(range(len(units)))
        tries = [0] * len(units)
        open_units = len(units)
        while len(self.workers) < min(self.setting.count, len(units)):
            self.workers.append(self._start())
        while open_units:
            for worker in self.workers:
                if worker.unit is None and waiting:
                    worker.unit = waiting.popleft()
                    tries[worker.unit] += 1
                    if worker.is_ready:
                        worker.begun = time.monotonic()
                    with suppress(OSError):  # a dead worker is noticed below
                        worker.connection.send(units[worker.unit])
            for worker in self._answering():
                index = worker.unit
                assert index is not None
                kind, value = self._receive(worker)
                if kind == "died" and tries[index] < _TRIES:
                    waiting.appendleft(index)
                elif kind != "ready":
                    open_units -= 1
                    unit = units[index]
                    yield unit, lost(unit, value) if kind in ("died", "late") else value

    def _answering(self) -> list[_Worker]:
        """Wait for workers that have something to say, or have taken too long."""
        busy = {worker.connection: worker for worker in self.workers if worker.unit is not None}
        limit = self.setting.timeout
        left = None
        if limit is not None:
            left = max(0.0, min(worker.begun for worker in busy.values()) + limit - time.monotonic())
        heard = multiprocessing.connection.wait(list(busy), None if left == math.inf else left)
        return [busy[handle] for handle in heard] or [worker for worker in busy.values() if self._is_late(worker)]

    def _is_late(self, worker: _Worker) -> bool:
        return self.setting.timeout is not None and time.monotonic() - worker.begun >= self.setting.timeout

    def _receive(self, worker: _Worker) -> tuple[str, Any]:
        """Take what a worker has to say; where it died or has taken too long, put a new one in its place."""
        if not worker.connection.poll() and self._is_late(worker):
            worker.process.kill()
            self._replace(worker)
            return "late", f"it took longer than the limit of {self.setting.timeout:g} s"
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return "died", f"the worker process died {_TRIES} times{_cause(worker.process.exitcode)}"
        if kind == "error":
            raise ScoringError(f"A worker failed: {value}")
        if kind == "ready":
            self.failed_starts, worker.is_ready, worker.begun = 0, True, time.monotonic()
        else:
            worker.unit, worker.begun = None, math.inf
        return kind, value

    def _replace(self, worker: _Worker) -> None:
        worker.connection.close()
        worker.process.join(1)
        self.failed_starts += not worker.is_ready
        if self.failed_starts > _STARTS * len(self.workers):
            raise ScoringError(
                f"Worker processes die before they begin (exit code {worker.process.exitcode}): "
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


def _cause(exit_code: int | None) -> str:
    """What an exit code tells of a death."""
    if exit_code == -signal.SIGKILL:
        return ", killed from outside, as where memory runs out"
    return "" if exit_code is None else f", with exit code {exit_code}"


class _Bytes:
    """Something that is sent as bytes: PyTorch would keep a file open for each tensor that it sends."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (pickle.dumps(self.value),)


def _serve(connection: Any, work: tuple[Callable[..., Any], Any], memory_limit: int | None) -> None:
    """The life of a worker: take a unit, answer, until the parent is gone."""
    function, shared = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what it was forked off may not
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if memory_limit is not None:
        limit_memory(memory_limit)
    give_back = keep_memory()
    try:
        connection.send(("ready", None))
        while True:
            connection.send(answer(function, shared, connection.recv()))
            give_back()
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """End a worker whose parent was killed, even one that hangs in a unit."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
