"""Work for worker processes: importable by name in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def add(shared: int, unit: int) -> int:
    return shared + unit


def die_once(folder: str, unit: int) -> int:
    """Unit 2 has its process killed from outside the first time."""
    marker = Path(folder) / "died"
    if unit == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return unit


def die_always(_: str, unit: int) -> int:
    if unit == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit


def die_at_once(_: str, unit: int) -> int:
    os._exit(3)


class Deadly:
    """Cannot even be received by a worker."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


class Slow:
    """Is received as 10, after longer than some limits."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _slowly, ()


def _slowly() -> int:
    time.sleep(4)
    return 10


def hang(_: str, unit: int) -> int:
    """Unit 2 never ends."""
    if unit == 2:
        time.sleep(1e6)
    return unit


def take_memory(_: str, unit: int) -> int:
    """Take so many bytes; what was taken is told, or that it was refused."""
    try:
        return len(bytearray(unit))
    except MemoryError:
        return -1


def fail(_: str, unit: int) -> int:
    raise ValueError(f"unit {unit} is odd")


def slowly(folder: str, unit: int) -> int:
    """Note the node, which a process that outlives it for a moment still tells, and take a while."""
    import ray

    with (Path(folder) / f"{unit}").open("a", encoding="ascii") as file:
        file.write(f"{ray.get_runtime_context().get_node_id()}\n")
    time.sleep(0.1)
    return unit


def imported(name: str, unit: int) -> bool:
    """Whether a module was there before this function asked."""
    return name in sys.modules


def deaf(_: str, unit: int) -> bool:
    """Whether an interrupt is ignored."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def task(_: str, unit: int) -> str:
    """The task of Ray that a unit is computed by."""
    import ray

    return str(ray.get_runtime_context().get_task_id())
