"""Workers on a cluster of Ray: units travel in chunks to any CPU of it, and results come back as they are there."""

from __future__ import annotations

import copy
import faulthandler
import math
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

from trainless.errors import InputError, ScoringError
from trainless.workers.base import Compute, Result, Shared, Unit
from trainless.workers.clusters import check_address, connect
from trainless.workers.process import LARGE_PAGES, answer, check_timeout, keep_memory

__all__ = ["RayWorkers"]

_TRIES = 2
_STARTS = 3  # workers in a row, for each that may compute at once, that may die before an answer
_CHUNK_SECONDS = 2.0  # of work in a chunk: a thousand times what sending it takes, and little to lose with a node
_LOOK_SECONDS = 1.0  # between two looks at how many CPUs the cluster has


@dataclass(frozen=True)
class RayWorkers:
    """The CPUs of a Ray cluster: a chunk of units on each, in processes of one thread.

    What is shared is sent once, through Ray's object store, and each process keeps it. Objects travel as Ray sends
    them: what the user's script itself defines travels as code, and everything else has to be importable there. How
    many units a chunk has follows from the seconds that they took so far, so that it takes about two. Nodes that join
    are used, and those that are lost cost what was being computed there: these units are computed elsewhere, alone.

    Numbers are those of local workers, to the last digit where the nodes have CPUs of the same kind; a node with
    another version of trainless or PyTorch is refused.

    Args:
        address: ``HOST:PORT`` of the cluster's head, ``"auto"`` for the cluster that this machine is a node of; None is
            what the environment's RAY_ADDRESS names, and else begins Ray on this machine alone. A connection that this
            process has already is used as it is.
        most: how many chunks at once at most; None uses all CPUs.
        patience: seconds to wait for a node while the cluster has no CPU.
        timeout: most seconds of a unit: a process that takes more ends itself, and the unit is tried once more. None
            for no limit.

    Raises:
        InputError: the address has another form, or a number is out of range.

    Example:
        >>> RayWorkers("auto", most=64)
        RayWorkers(address='auto', most=64, patience=900.0, timeout=None)
    """

    address: str | None = None
    most: int | None = None
    patience: float = 900.0
    timeout: float | None = None

    def __post_init__(self) -> None:
        check_address(self.address)
        if self.most is not None and self.most < 1:
            raise InputError(f"The number of workers is {self.most}, expected 1 or more on a cluster.")
        if not self.patience > 0:
            raise InputError(f"The patience is {self.patience} s, expected more than 0.")
        check_timeout(self.timeout)

    def limited(self, timeout: float | None, memory_limit: int | None) -> RayWorkers:
        """Give the same with a limit on time: see `trainless.workers.Workers.limited`."""
        if memory_limit is not None:
            raise InputError("Memory is limited for workers of this machine alone: leave the limit out on a cluster.")
        return replace(self, timeout=timeout)

    @property
    def count(self) -> int:
        """How many chunks are computed at once, by the CPUs that the cluster has now."""
        return min(max(1, _cpus(self.connect())), self.most or sys.maxsize)

    def connect(self) -> ModuleType:
        """Connect to the cluster, as far as this has not been done, and give the module `ray`.

        Raises:
            InputError: Ray is not installed, or no cluster answers at the address.
        """
        return connect(self.address, self.most)

    @contextmanager
    def pool(
        self, function: Callable[[Shared, Unit], Result], shared: Shared, lost: Callable[[Unit, str], Result]
    ) -> Iterator[Compute[Unit, Result]]:
        """Send what is shared to the cluster, and keep it there: see `trainless.workers.Workers.pool`."""
        pool = _Pool(self, function, shared)
        yield lambda units: pool.run(units, lost)


class _Pool:
    def __init__(self, workers: RayWorkers, function: Callable[..., Any], shared: Any) -> None:
        self.workers, self.ray = workers, workers.connect()
        try:
            self.work = self.ray.put((function, shared))
        except self.ray.exceptions.RayError as error:
            raise ScoringError(
                f"What workers share cannot be handed to the cluster ({_first_line(error)}): give its nodes more "
                "memory for objects, or take a smaller batch."
            ) from error
        # Modules of one's own are found where their folders are there too, as on a file system that all nodes share.
        folders = os.pathsep.join(["${PYTHONPATH}", *filter(None, sys.path)])
        environment = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": LARGE_PAGES, "PYTHONPATH": folders}
        self.task = self.ray.remote(_compute).options(
            num_cpus=1, max_retries=0, runtime_env={"env_vars": environment}, name="trainless"
        )
        errors = self.ray.exceptions
        self.fatal: tuple[type[Exception], ...] = (
            errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError,
            errors.RuntimeEnvSetupError,
        )  # fmt: skip
        self.unit_seconds = 0.0
        self.deaths, self.most = 0, 0  # in a row, and the most chunks that were on their way at once
        self.cpus, self.looked, self.seen = 0, -math.inf, 0.0

    def run(self, units: Sequence[Any], lost: Callable[[Any, str], Any]) -> Iterator[tuple[Any, Any]]:
        waiting, again = deque(range(len(units))), deque[int]()
        died = [0] * len(units)
        flying: dict[Any, list[int]] = {}
        self.seen = time.monotonic()
        try:
            while waiting or again or flying:
                limit = self._limit()
                self.most = max(self.most, limit)
                while (waiting or again) and len(flying) < limit:
                    # Alone, so that a unit that kills its worker takes no other along.
                    chunk = [again.popleft()] if again else self._chunk(waiting, limit)
                    chosen, limit_seconds = [units[index] for index in chunk], self.workers.timeout
                    sent = self.task.remote([self.work], chosen, _versions(), limit_seconds)
                    flying[sent] = chunk
                for reference in self._ready(list(flying)):
                    chunk = flying.pop(reference)
                    results = self._results(reference)
                    if not isinstance(results, Exception):
                        yield from zip((units[index] for index in chunk), results, strict=True)
                        continue
                    for index in chunk:
                        died[index] += 1
                        if died[index] < _TRIES:
                            again.append(index)
                        else:
                            yield units[index], lost(units[index], self._reason(results))
        finally:
            with suppress(self.ray.exceptions.RayError):  # the cluster may be gone
                for reference in flying:
                    self.ray.cancel(reference, force=True)

    def _reason(self, error: Exception) -> str:
        """Why a unit was given up."""
        late = "" if self.workers.timeout is None else f", or took longer than the limit of {self.workers.timeout:g} s"
        return f"its worker or node died {_TRIES} times{late}: {_first_line(error)}"

    def _limit(self) -> int:
        """How many chunks to have on the way: one computing and one waiting for every CPU, so that none is idle."""
        now = time.monotonic()
        if now - self.looked > _LOOK_SECONDS:
            self.cpus, self.looked = _cpus(self.ray), now
        if self.cpus:
            self.seen = now
        elif now - self.seen > self.workers.patience:
            raise ScoringError(
                f"The cluster has had no node with a CPU for {self.workers.patience:g} s: start nodes, and run the "
                "same again to go on from what is stored."
            )
        return min(max(2 * self.cpus, 1), self.workers.most or sys.maxsize)

    def _chunk(self, waiting: deque[int], limit: int) -> list[int]:
        """Take units for a chunk: by the seconds of one, and fewer at the end, where all have to be busy."""
        timed = _CHUNK_SECONDS / self.unit_seconds if self.unit_seconds else 1
        size = max(1, int(min(timed, len(waiting) / limit)))
        return [waiting.popleft() for _ in range(size)]

    def _ready(self, references: list[Any]) -> list[Any]:
        """What has ended, the first of it waited for."""
        ready, _ = self.ray.wait(references, num_returns=1, timeout=_LOOK_SECONDS)
        if ready:
            ready, _ = self.ray.wait(references, num_returns=len(references), timeout=0)
        return list(ready)

    def _results(self, reference: Any) -> list[Any] | Exception:
        """The results of a chunk, or what Ray says of the death of its worker or node.

        Raises:
            ScoringError: the function raised, a worker cannot do the work at all, or workers die before any answers.
        """
        try:
            kind, found, seconds = self.ray.get(reference)
        except self.fatal as error:
            self.deaths += 1
            if self.deaths > _STARTS * self.most and self.workers.timeout is None:
                raise ScoringError(f"Workers of the cluster die before they answer ({_first_line(error)}).") from error
            return error
        except self.ray.exceptions.RayError as error:
            raise ScoringError(
                f"A worker of the cluster cannot do the work ({_last_line(error)}): install what is installed here."
            ) from error
        if kind == "error":
            raise ScoringError(f"A worker failed: {found}")
        if kind == "refused":
            raise ScoringError(found)
        mean = seconds / len(found)
        self.unit_seconds = (self.unit_seconds + mean) / 2 if self.unit_seconds else mean
        self.deaths = 0
        return list(found)


def _cpus(ray: ModuleType) -> int:
    try:
        return int(ray.cluster_resources().get("CPU", 0))
    except ray.exceptions.RayError as error:
        raise ScoringError(
            f"The head of the cluster does not answer ({_first_line(error)}): start it again, and run the same to go "
            "on from what is stored."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]


@cache
def _versions() -> dict[str, str]:
    """Of all that decides numbers."""
    return {name: version(name) for name in ("trainless", "torch", "numpy")}


# What runs on the nodes.


def _compute(
    work: list[Any], units: Sequence[Any], versions: dict[str, str], timeout: float | None
) -> tuple[str, Any, float]:  # fmt: skip
    """Compute a chunk: gives ``"result"``, the results and their seconds, or ``"error"`` or ``"refused"`` and why."""
    for name, own in _versions().items():
        if own != versions[name]:
            return "refused", _other_version(name, own, versions[name]), 0.0
    function, shared = _fetched(work[0])
    give_back = _give_back()
    start = time.monotonic()
    results = []
    for unit in units:
        with _ended_after(timeout):
            kind, found = answer(function, shared, unit)
        if kind == "error":
            return kind, found, 0.0
        results.append(found)
        give_back()
    return "result", results, time.monotonic() - start


@contextmanager
def _ended_after(seconds: float | None) -> Iterator[None]:
    """End this process, whatever it hangs in, where this takes longer."""
    if seconds is None:
        yield
        return
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        # By a thread that needs no lock of Python's, which what hangs may hold.
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _other_version(name: str, own: str, expected: str) -> str:
    return (
        f"The node {platform.node()} has {name} {own}, expected {expected} as here, for numbers could differ: install "
        "the same there."
    )


@lru_cache(maxsize=2)  # a search may score and train by turns
def _fetched(work: Any) -> Any:
    """The function and what is shared, fetched once; a copy, since arrays in the object store cannot be written to."""
    import ray

    return copy.deepcopy(ray.get(work))


@cache
def _give_back() -> Callable[[], object]:
    return keep_memory()
