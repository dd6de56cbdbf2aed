"""Work for worker processes: importable by name in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
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


def fail(_: str, unit: int) -> int:
    raise ValueError(f"unit {unit} is odd")


def imported(name: str, unit: int) -> bool:
    """Whether a module was there before this function asked."""
    return name in sys.modules


def deaf(_: str, unit: int) -> bool:
    """Whether an interrupt is ignored."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN
