"""A pool of worker processes that survives their death: a lost worker is replaced and its unit of work retried."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from trainless.errors import ScoringError

__all__ = ["process_start", "run_in_workers", "worker_pool"]

Shared = TypeVar("Shared")
Unit = TypeVar("Unit")
Result = TypeVar("Result")

_TRIES = 2
_KEPT_BYTES = 700 << 20  # a worker hands free memory back from here on
_STARTS = 3  # workers in a row that may die before their first answer


@dataclass
class _Worker:
    process: Any
    connection: Any
    unit: int | None = None


def run_in_workers(
    function: Callable[[Shared, Unit], Result],
    shared: Shared,
    units: Sequence[Unit],
    workers: int,
    lost: Callable[[Unit, str], Result],
) -> Iterator[tuple[Unit, Result]]:
    """Compute ``function(shared, unit)`` for each unit in worker processes, and yield results as they come.

    Args:
        function: importable by name; what it raises ends the run.
        shared: sent to each worker once.
        units: the work, sent one by one.
        workers: number of processes; 0 computes in this one.
        lost: makes the result of a unit whose worker died twice, from the unit and the reason.

    Raises:
        ScoringError: workers die before they answer at all, or `function` raised.

    Example:
        >>> import operator
        >>> list(run_in_workers(operator.add, 1, [1, 2], workers=0, lost=lambda unit, reason: 0))
        [(1, 2), (2, 3)]
    """
    with worker_pool(function, shared, workers, lost) as run:
        yield from run(units)


@contextmanager
def worker_pool(
    function: Callable[[Shared, Unit], Result], shared: Shared, workers: int, lost: Callable[[Unit, str], Result]
) -> Iterator[Callable[[Sequence[Unit]], Iterator[tuple[Unit, Result]]]]:
    """Keep worker processes for work that comes in parts: give a function that computes the units of one part.

    The processes start with the first part. One part has to be finished before the next begins.

    Args:
        function: as for `run_in_workers`.
        shared: as for `run_in_workers`.
        workers: as for `run_in_workers`.
        lost: as for `run_in_workers`.

    Example:
        >>> import operator
        >>> with worker_pool(operator.add, 1, 0, lost=lambda unit, reason: 0) as run:
        ...     list(run([1])), list(run([2, 3]))
        ([(1, 2)], [(2, 3), (3, 4)])
    """
    pool: _Pool | None = None

    def run(units: Sequence[Unit]) -> Iterator[tuple[Unit, Result]]:
        nonlocal pool
        if workers == 0:
            yield from ((unit, function(shared, unit)) for unit in units)
        elif units:
            pool = pool or _Pool(function, shared, workers)
            yield from pool.run(units, lost)

    try:
        yield run
    finally:
        if pool is not None:
            pool.stop()


class _Pool:
    def __init__(self, function: Callable[..., Any], shared: Any, workers: int) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.function, self.shared = function, shared
        self.failed_starts = 0
        self.workers = [self._start() for _ in range(workers)]

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


@contextmanager
def process_start(shared: Any) -> Iterator[None]:
    """Let processes start that answer to no interrupt, have large memory pages, and do not run the user's script again.

    Args:
        shared: what they are sent: where the script itself defines a part of it, it has to be run again.

    Example:
        >>> with process_start(None):
        ...     print(sys.modules["__main__"].__dict__.get("__file__"))
        None
    """
    with _deaf_to_interrupts(), _without_main_module(shared), _large_pages():
        yield


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let a process start with Ctrl-C ignored: the parent alone answers to it and ends its workers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _large_pages() -> Iterator[None]:
    """Let a process start with large memory pages, where the system has them: a twentieth faster."""
    name = "GLIBC_TUNABLES"
    if name in os.environ:  # the user's own choice
        yield
        return
    os.environ[name] = "glibc.malloc.hugetlb=1"
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def _without_main_module(shared: Any) -> Iterator[None]:
    """Keep a starting worker from running the user's script again, guarded by ``if __name__`` or not.

    Objects that the script itself defines can then not be sent; where there are any, it is run after all.
    """
    main = sys.modules["__main__"]
    if _defined_in_main(shared):
        yield
        return
    sys.modules["__main__"] = type(sys)("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _defined_in_main(shared: Any) -> bool:
    parts = list(getattr(shared, "__dict__", {}).values())
    parts += [item for part in parts if isinstance(part, tuple) for item in part]
    parts += [getattr(part, "formula", None) for part in parts]
    return any("__main__" in (getattr(part, "__module__", ""), type(part).__module__) for part in parts)


def _serve(connection: Any, function: Callable[..., Any], shared: Any) -> None:
    """The life of a worker: take a unit, answer, until the parent is gone."""
    give_back = _keep_memory()
    while True:
        try:
            unit = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = "result", function(shared, unit)
        except Exception:
            answer = "error", traceback.format_exc(limit=-3)
        try:
            connection.send(answer)
        except OSError:
            return
        give_back()


def _keep_memory() -> Callable[[], object]:
    """Have glibc keep what is freed; give a function that hands it back once there is too much of it.

    A network's activations come and go by the hundred, and fetching each anew from the system costs a tenth of the
    time. Kept for ever they would fall to pieces, and the process would grow from network to network.
    """
    try:
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
        trim = libc.malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or Windows
        return lambda: None
    return lambda: trim(0) if _resident_bytes() > _KEPT_BYTES else None


def _resident_bytes() -> int:
    """Memory of this process that is in use now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
