"""Limits on what a network may cost, checked before anything is scored."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from trainless.errors import InputError

__all__ = ["Limits", "parse_limit", "parse_limits", "parse_memory", "parse_milliseconds", "parse_number"]

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_MEMORIES = {"kb": 1e3 / 2**20, "mb": 1e6 / 2**20, "gb": 1e9 / 2**20, "kib": 2**-10, "mib": 1.0, "gib": 2.0**10}


def parse_number(text: str, what: str) -> float:
    """Read a number with a unit: ``0.8M`` is 800,000; K, M and G are powers of a thousand, B as G.

    Args:
        text: the number.
        what: what it is, for the message.

    Raises:
        InputError: the text is no number above 0.

    Example:
        >>> parse_number("0.8M", "--max-params"), parse_number("500k", "--max-flops")
        (800000.0, 500000.0)
    """
    return _parsed(text, what, _COUNTS, "800000, 500k or 0.8M")


def parse_milliseconds(text: str, what: str) -> float:
    """Read a time in milliseconds: ``5ms``, ``800us`` or ``0.1s``.

    Args:
        text: the time.
        what: what it is, for the message.

    Raises:
        InputError: the text is no time above 0.

    Example:
        >>> parse_milliseconds("0.5s", "--max-latency")
        500.0
    """
    return _parsed(text, what, _TIMES, "5ms, 800us or 0.1s")


def parse_memory(text: str, what: str) -> float:
    """Read a size of memory in MiB: ``20MiB``, ``512KiB``, or ``20MB`` of a million bytes each.

    Args:
        text: the size.
        what: what it is, for the message.

    Raises:
        InputError: the text is no size above 0.

    Example:
        >>> parse_memory("512KiB", "--max-memory")
        0.5
    """
    return _parsed(text, what, _MEMORIES, "20MiB, 512KiB or 20MB")


def parse_limit(text: str) -> tuple[str, float]:
    """Read a limit on a column of a table, ``NAME=VALUE`` or ``NAME<=VALUE``.

    Raises:
        InputError: the text is none.

    Example:
        >>> parse_limit("cifar10.edgegpu_latency=5")
        ('cifar10.edgegpu_latency', 5.0)
    """
    found = re.fullmatch(rf"\s*([^=<\s]+\.[^=<\s]+)\s*<?=\s*{_NUMBER}\s*", text)
    if not found:
        raise InputError(
            f"The limit is '{text}', expected a column of a table and a number, such as cifar10.edgegpu_latency=5."
        )
    return found[1], float(found[2])


def parse_limits(texts: Iterable[str]) -> dict[str, float]:
    """Read limits on different columns, each as `parse_limit` does.

    Raises:
        InputError: a text is none, or a column is limited twice.

    Example:
        >>> parse_limits(["cifar10.edgegpu_latency=5", "cifar10.edgegpu_energy<=20"])
        {'cifar10.edgegpu_latency': 5.0, 'cifar10.edgegpu_energy': 20.0}
    """
    found: dict[str, float] = {}
    for name, most in map(parse_limit, texts):
        if name in found:
            raise InputError(f"'{name}' is limited to {found[name]:g} and to {most:g}, expected one limit: keep one.")
        found[name] = most
    return found


def _parsed(text: str, what: str, units: Mapping[str, float], examples: str) -> float:
    found = re.fullmatch(rf"\s*{_NUMBER}\s*([a-z]*)\s*", text.lower())
    value = float(found[1]) * units.get(found[2], 0.0) if found else 0.0
    if not 0 < value < math.inf:
        raise InputError(f"{what} is '{text}', expected one above 0 such as {examples}.")
    return value


@dataclass(frozen=True)
class Limits:
    """The most that a network may have; None is no limit.

    Args:
        parameters: trainable parameters, as the architecture is written.
        flops: multiply-adds of convolutions and linear layers for one image, as the architecture is written.
        latency: milliseconds of the inference of one image, measured on this machine.
        memory: MiB that the inference of one image needs, as `trainless.hardware.peak_memory` computes it.
        columns: by name the most of costs that a table holds, such as ``"cifar10.edgegpu_latency"``.

    Raises:
        InputError: a limit is not above 0.

    Example:
        >>> Limits(parameters=100_000).broken({"params": 73_018.0}.__getitem__)
        ''
        >>> str(Limits(latency=5, columns={"cifar10.edgegpu_energy": 20}))
        'cifar10.edgegpu_energy at most 20, latency at most 5 ms'
    """

    parameters: float | None = None
    flops: float | None = None
    latency: float | None = None
    memory: float | None = None
    columns: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, most in self.named().items():
            if not 0 < most < math.inf:
                raise InputError(f"The limit on {name} is {most:g}, expected a number above 0.")

    def named(self) -> dict[str, float]:
        """Give the limits by name of the cost, those that take the least time to check first."""
        limits = {"params": self.parameters, "flops": self.flops, **self.columns, "memory": self.memory,
                  "latency": self.latency}  # fmt: skip
        return {name: most for name, most in limits.items() if most is not None}

    def broken(self, cost: Callable[[str], float]) -> str:
        """Name the first limit that an architecture breaks, empty where it breaks none.

        Args:
            cost: what the architecture costs by name; what is not known (NaN) breaks a limit.
        """
        return next((name for name, most in self.named().items() if not cost(name) <= most), "")

    def __str__(self) -> str:
        units = {"latency": " ms", "memory": " MiB"}
        parts = [f"{name} at most {most:,.10g}{units.get(name, '')}" for name, most in self.named().items()]
        return ", ".join(parts) or "none"
