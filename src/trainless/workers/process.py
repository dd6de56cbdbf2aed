"""What holds in every worker process: how it starts, how it keeps memory, how it answers for a unit of work."""

from __future__ import annotations

import atexit
import ctypes
import math
import mmap
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.context import BaseContext
from typing import Any

from trainless.errors import InputError

__all__ = [
    "LARGE_PAGES", "LEAST_MEMORY", "answer", "check_timeout", "keep_memory", "limit_memory", "memory_kept",
    "prepare_processes", "process_context", "process_start",
]  # fmt: skip

LEAST_MEMORY = 500 << 20
"""Bytes without which no worker can begin: PyTorch alone takes 320 MB of them."""

LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""GLIBC_TUNABLES of a process with large memory pages, where the system has them: a twentieth faster."""

_KEPT_BYTES = 700 << 20  # a worker hands free memory back from here on
# What scores a network, and what PyTorch imports with the first gradient of a chosen output: half a second.
_ENGINE = ["trainless.evaluation", "torch.fx.experimental.symbolic_shapes"]


@cache
def process_context() -> BaseContext:
    """Give the way that worker processes start.

    On Linux they are forked off a server that has imported the engine, and nothing else has happened in it: no thread
    is lost, and a worker is there at once. Elsewhere forking is not safe or unknown, and each imports for itself.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_ENGINE)
    atexit.register(_end_server)
    return context


def _end_server() -> None:
    """End the server with the program: where that is refused at once, it would go on importing for a second."""
    number = getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None)
    if number is not None:
        with suppress(OSError):
            os.kill(number, signal.SIGTERM)


def prepare_processes() -> None:
    """Begin to import what workers need, beside whatever comes before them; where they are forked off a server.

    Example:
        >>> prepare_processes()
    """
    if process_context().get_start_method() == "forkserver":
        with process_start(None):
            multiprocessing.forkserver.ensure_running()


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
    os.environ[name] = LARGE_PAGES
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


def answer(function: Callable[[Any, Any], Any], shared: Any, unit: Any) -> tuple[str, Any]:
    """Compute one unit: gives ``"result"`` and the result, or ``"error"`` and the text of what the function raised.

    Example:
        >>> import operator
        >>> answer(operator.add, 1, 2)
        ('result', 3)
    """
    try:
        return "result", function(shared, unit)
    except Exception:
        return "error", traceback.format_exc(limit=-3)


def check_timeout(seconds: float | None) -> None:
    """Refuse a limit on time that nothing can keep.

    Raises:
        InputError: it is no number above 0.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"The limit on time is {seconds} seconds, expected a number above 0.")


def limit_memory(most: int) -> None:
    """Have the system refuse this process more memory than so many bytes, on Linux.

    What counts is memory that was asked for, not only what is in use: asking for more raises an exception, which is the
    end of one network, where using more would be the end of the process.
    """
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def keep_memory() -> Callable[[], object]:
    """Have glibc keep what is freed; give a function that hands it back once there is too much of it.

    A network's activations come and go by the hundred, and fetching each anew from the system costs a tenth of the
    time of scoring, and half of that of a network on large images. Kept for ever they would fall to pieces, and the
    process would grow from network to network.
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


@contextmanager
def memory_kept() -> Iterator[None]:
    """Have glibc keep what is freed for a while, and hand it back in the end, whatever happens; also a decorator."""
    give_back = keep_memory()
    try:
        yield
    finally:
        give_back()


def _resident_bytes() -> int:
    """Memory of this process that is in use now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
