"""The costs of architectures, each found once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from trainless.costs import COSTS, Candidate, Cost, column_cost, cost_named
from trainless.errors import InputError
from trainless.hardware import Latency, measure_latency
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.tables import BenchmarkTable
from trainless.types import Architecture, Task

__all__ = ["Costs"]

OnMeasured = Callable[[str, float], None]


class Costs:
    """Looks up what architectures cost as they are written, each cost once.

    Args:
        space: the search space.
        task: the shape of the images and the number of classes.
        table: where costs named ``<data set>.<column>`` are read.
        device: where costs are measured, as PyTorch names it.
        predicted: by name, what tells a cost of an architecture in place of a measurement.
        mirror_average: whether costs are those of networks that average over each image and its mirror image.

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
        predicted: Mapping[str, Callable[[Architecture], float]] = MappingProxyType({}),
        mirror_average: bool = False,
    ) -> None:
        self.space, self.task, self.table, self.device, self.predicted = space, task, table, device, predicted
        self.mirror_average = mirror_average
        self._known: dict[Architecture, dict[str, float]] = {}
        self._measured: dict[str, dict[str, float]] = {}
        self._on_measured: dict[str, OnMeasured] = {}
        self._columns: dict[str, Cost] = {}

    def check(self, names: Iterable[str]) -> None:
        """Refuse names of costs that there are not.

        Raises:
            UnknownNameError: it is neither one of `trainless.costs.COSTS` nor named as a column of a table.
            InputError: there is no table to read it from, or one of another search space.
            TableError: the table lacks it.
        """
        for name in names:
            self._cost(name)

    def remember(self, name: str, measured: Mapping[str, float], on_measured: OnMeasured) -> None:
        """Take values of a cost that were measured before, and hand on those that are measured from now on.

        Args:
            name: the measured cost.
            measured: its values by the architecture's string.
            on_measured: called with string and value after each measurement.
        """
        self._measured[name] = dict(measured)
        self._on_measured[name] = on_measured

    def __call__(self, architecture: Architecture, name: str) -> float:
        """Give a cost of an architecture; NaN where a table does not know it."""
        known = self._known.setdefault(architecture, {})
        if name not in known:
            known[name] = self._found(architecture, self._cost(name))
        return known[name]

    def measure(self, architecture: Architecture, **options: Any) -> Latency:
        """Measure the latency of an architecture; options as for `trainless.hardware.measure_latency`."""
        network = self._candidate(architecture).build()
        return measure_latency(network, self.task.input_shape, device=self.device, **options)

    def _candidate(self, architecture: Architecture) -> Candidate:
        return Candidate(self.space, architecture, self.task, self.device, self.mirror_average)

    def _found(self, architecture: Architecture, cost: Cost) -> float:
        if cost.name in self.predicted:
            return self.predicted[cost.name](architecture)
        text, measured = str(architecture), self._measured.get(cost.name, {})
        if text in measured:
            return measured[text]
        value = cost.find(self._candidate(architecture))
        if cost.is_measured and cost.name in self._on_measured:
            self._on_measured[cost.name](text, value)
        return value

    def _cost(self, name: str) -> Cost:
        if name in COSTS or "." not in name:
            return cost_named(name)
        if name not in self._columns:
            self._columns[name] = column_cost(name, self._column(name))
        return self._columns[name]

    def _column(self, name: str) -> dict[str, float]:
        if self.table is None:
            raise InputError(f"'{name}' is a column of a table and no table was given: give one, or name another.")
        self._check_table(self.table, name)
        dataset, _, column = name.partition(".")
        values = self.table.cost(dataset, column)
        return dict(zip(map(str, values.index), values.astype(float), strict=True))

    def _check_table(self, table: BenchmarkTable, name: str) -> None:
        if table.space != self.space.name:
            raise InputError(
                f"The table '{table.name}' is of {table.space} and cannot tell '{name}' of {self.space.name}: give a "
                "table of that space."
            )
        if self.mirror_average:
            raise InputError(
                f"The table '{table.name}' knows '{name}' of networks that see an image once, not of those that "
                "average over its mirror image: leave mirror_average out, or limit the measured latency instead."
            )
        published = search_space(table.space).options
        if self.space.options != published:
            raise InputError(
                f"The table '{table.name}' knows '{name}' of networks with {_listed(published)}, not with "
                f"{_listed(self.space.options)}: search among those, or limit the measured latency instead."
            )


def _listed(options: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
