"""What an architecture costs beside its score: counted, computed, measured on this machine, or read from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trainless.errors import InputError, UnknownNameError
from trainless.hardware import Latency, measure_latency, peak_memory
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import preserve_rng_state
from trainless.tables import BenchmarkTable
from trainless.types import Architecture, Task

__all__ = ["COSTS", "Costs"]

COSTS = {"params": "parameters", "flops": "flops", "latency": "latency_ms", "memory": "memory_mib"}
"""Costs of every architecture by the name of a limit or objective, and the column in which a result has them.

Costs of a table are named ``<data set>.<column>`` in both.
"""


class Costs:
    """Looks up what architectures cost, each cost once.

    ``params`` and ``flops`` are counted; ``memory`` is the MiB and ``latency`` the milliseconds that the inference of
    one image takes, the latter measured on this machine on one thread; all for the architecture as it is written.

    Args:
        space: the search space.
        task: the shape of the images and the number of classes.
        table: where costs named ``<data set>.<column>`` are read.
        device: where latency is measured, as PyTorch names it.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> costs = Costs(space, Task("toy", 10))
        >>> costs(space.make(["skip_connect"] * 6), "params")
        73306.0
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        *,
        table: BenchmarkTable | None = None,
        device: str = "cpu",
    ) -> None:
        self.space, self.task, self.table, self.device = space, task, table, device
        self._known: dict[Architecture, dict[str, float]] = {}
        self._measured: dict[str, float] = {}
        self._on_measured: Callable[[str, float], None] | None = None
        self._columns: dict[str, Mapping[str, float]] = {}

    def check(self, names: Iterable[str]) -> None:
        """Refuse names of costs that there are not.

        Raises:
            UnknownNameError: it is neither one of `COSTS` nor named as a column of a table.
            InputError: there is no table to read it from, or one of another search space.
            TableError: the table lacks it.
        """
        for name in names:
            if name in COSTS:
                continue
            if "." not in name:
                raise UnknownNameError("cost", name, [*COSTS, "<data set>.<column> of a table"])
            self._column(name)

    def remember(self, measured: Mapping[str, float], on_measured: Callable[[str, float], None]) -> None:
        """Take latencies that were measured before, and hand on those that are measured from now on.

        Args:
            measured: milliseconds by the architecture's string.
            on_measured: called with string and milliseconds after each measurement.
        """
        self._measured |= measured
        self._on_measured = on_measured

    def __call__(self, one: Architecture, name: str) -> float:
        """Give a cost of an architecture; NaN where a table does not know it."""
        known = self._known.setdefault(one, {})
        if name not in known:
            known[name] = self._found(one, name)
        return known[name]

    def measure(self, one: Architecture, **options: Any) -> Latency:
        """Measure the latency of an architecture; options as for `trainless.hardware.measure_latency`."""
        return measure_latency(self._network(one), self.task.input_shape, device=self.device, **options)

    def _found(self, one: Architecture, name: str) -> float:
        if name == "params":
            return float(self.space.parameters(one, self.task))
        if name == "flops":
            return float(self.space.flops(one, self.task))
        if name == "memory":
            return peak_memory(self._network(one), self.task.input_shape) / 2**20
        if name == "latency":
            return self._latency(one)
        return float(self._column(name).get(str(one), float("nan")))

    def _latency(self, one: Architecture) -> float:
        text = str(one)
        if text not in self._measured:
            self._measured[text] = self.measure(one).milliseconds
            if self._on_measured:
                self._on_measured(text, self._measured[text])
        return self._measured[text]

    def _network(self, one: Architecture) -> Any:
        with preserve_rng_state():
            return self.space.build(one, self.task)

    def _column(self, name: str) -> Mapping[str, float]:
        if name not in self._columns:
            if self.table is None:
                raise InputError(f"'{name}' is a column of a table and no table was given: give one, or name another.")
            self._check_table(self.table, name)
            dataset, _, column = name.partition(".")
            values = self.table.cost(dataset, column)
            self._columns[name] = dict(zip(map(str, values.index), values.astype(float), strict=True))
        return self._columns[name]

    def _check_table(self, table: BenchmarkTable, name: str) -> None:
        if table.space != self.space.name:
            raise InputError(
                f"The table '{table.name}' is of {table.space} and cannot tell '{name}' of {self.space.name}: give a "
                "table of that space."
            )
        published = search_space(table.space).options
        if self.space.options != published:
            raise InputError(
                f"The table '{table.name}' knows '{name}' of networks with {_listed(published)}, not with "
                f"{_listed(self.space.options)}: search among those, or limit the measured latency instead."
            )


def _listed(options: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
