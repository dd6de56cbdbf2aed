"""Limits on what a network may cost, checked before anything is scored."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trainless.costs import COSTS, cost_named
from trainless.errors import InputError

__all__ = ["Limits", "parse_limit", "parse_limits"]


def parse_limit(text: str) -> tuple[str, float]:
    """Read a limit on a column of a table, ``NAME=VALUE`` or ``NAME<=VALUE``.

    Raises:
        InputError: the text is none.

    Example:
        >>> parse_limit("cifar10.edgegpu_latency=5")
        ('cifar10.edgegpu_latency', 5.0)
    """
    found = re.fullmatch(r"\s*([^=<\s]+\.[^=<\s]+)\s*<?=\s*(\d+(?:\.\d+)?|\.\d+)\s*", text)
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


@dataclass(frozen=True, init=False)
class Limits:
    """The most that a network may cost.

    Args:
        most: the most of each cost by its name, one of `trainless.costs.COSTS` or a column of a table such as
            ``"cifar10.edgegpu_latency"``; None is no limit.
        more: the same as keywords; a cost may also be named as its column in a result, as in ``parameters=5e5``.

    Attributes:
        most: the limits that there are by the name of the cost, what takes the least time to check first.

    Raises:
        UnknownNameError: there is no such cost.
        InputError: a limit is not above 0, or a cost is limited twice.

    Example:
        >>> Limits(parameters=100_000).broken({"params": 73_018.0}.__getitem__)
        ''
        >>> str(Limits({"cifar10.edgegpu_energy": 20}, latency=5))
        'cifar10.edgegpu_energy at most 20, latency at most 5 ms'
    """

    most: Mapping[str, float]

    def __init__(
        self, most: Mapping[str, float | None] = MappingProxyType({}), /, **more: float | None
    ) -> None:  # fmt: skip
        names = {cost.column: name for name, cost in COSTS.items()}
        found: dict[str, float] = {}
        for given, value in (*most.items(), *more.items()):
            name = cost_named(names.get(given, given)).name
            if value is None:
                continue
            if not 0 < value < math.inf:
                raise InputError(f"The limit on {name} is {value:g}, expected a number above 0.")
            if name in found:
                raise InputError(f"The cost {name} is limited to {found[name]:g} and to {value:g}: keep one of both.")
            found[name] = value
        order = [*COSTS, *found]
        ranked = sorted(found, key=lambda name: (cost_named(name).effort, order.index(name)))
        object.__setattr__(self, "most", {name: found[name] for name in ranked})

    def broken(self, cost: Callable[[str], float]) -> str:
        """Name the first limit that an architecture breaks, empty where it breaks none.

        Args:
            cost: what the architecture costs by name; what is not known (NaN) breaks a limit.
        """
        return next((name for name, most in self.most.items() if not cost(name) <= most), "")

    def __str__(self) -> str:
        parts = [f"{name} at most {most:,.10g} {cost_named(name).unit}".rstrip() for name, most in self.most.items()]
        return ", ".join(parts) or "none"
