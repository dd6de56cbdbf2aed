"""What a network costs beside its score: one record for each cost, which limits, results, options and pages read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from trainless.errors import InputError, UnknownNameError
from trainless.units import SHORT_TIMES, parse_quantity

if TYPE_CHECKING:
    import torch

    from trainless.search_spaces.base import SearchSpace
    from trainless.types import Architecture, Task

__all__ = ["COSTS", "Candidate", "Cost", "Effort", "column_cost", "cost_named", "counted_costs"]

_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_MEMORIES = {"kb": 1e3 / 2**20, "mb": 1e6 / 2**20, "gb": 1e9 / 2**20, "kib": 2**-10, "mib": 1.0, "gib": 2.0**10}


class Effort(IntEnum):
    """How a cost is found, the quickest first: in this order limits are checked.

    Attributes:
        COUNTED: in closed form, from the architecture; so quick that every result has it.
        READ: in a table of a benchmark.
        COMPUTED: from the network that is built, without running it.
        MEASURED: by running the network on this machine, so that no two measurements agree; kept once it is known.
    """

    COUNTED = 0
    READ = 1
    COMPUTED = 2
    MEASURED = 3


@dataclass(frozen=True)
class Candidate:
    """A network whose costs are asked for.

    Args:
        space: its search space.
        architecture: a member of the space, whose costs are those of the network as it is written.
        task: the shape of the images and the number of classes.
        device: where it runs, as PyTorch names it.
        mirror_average: whether its logits are averaged over each image and its mirror image, for twice the work.
    """

    space: SearchSpace
    architecture: Architecture
    task: Task
    device: str = "cpu"
    mirror_average: bool = False

    @property
    def passes(self) -> int:
        """How many images the network sees for one."""
        return 2 if self.mirror_average else 1

    def build(self) -> torch.nn.Module:
        """Build the network, with PyTorch's random state left as it was."""
        from trainless.operations import MirrorAveraged
        from trainless.seeding import preserve_rng_state

        with preserve_rng_state():
            network = self.space.build(self.architecture, self.task)
        return MirrorAveraged(network) if self.mirror_average else network


@dataclass(frozen=True, eq=False)
class Cost:
    """One cost of a network, of which less is better: how it is found, limited and shown.

    What is in `COSTS` can be limited and minimised in a search, is an option ``--max-NAME`` of the commands and a field
    of the page, and stands in results, pages and model cards.

    Args:
        name: of a limit or an objective; of letters, digits and underscores.
        title: what it is, in a word or two.
        summary: the same in full: of what, and under which conditions.
        find: gives it for a candidate, in `unit`; NaN where it is not known.
        effort: how it is found.
        column: its name among the columns of a result.
        unit: of its values; empty for a number of things.
        units: the units that a limit may be written in, in lower case, and what each is in `unit`.
        examples: limits as they may be written, the most usual first.
        number_format: of its values, as `format` takes it.

    Example:
        >>> COSTS["latency"].heading, COSTS["latency"].amount(4.25), COSTS["params"].amount(802426.0)
        ('latency, ms', '4.25 ms', '802,426')
    """

    name: str
    title: str
    summary: str
    find: Callable[[Candidate], float]
    effort: Effort
    column: str
    unit: str = ""
    units: Mapping[str, float] = field(default_factory=lambda: _COUNTS)
    examples: tuple[str, ...] = ("0.8M", "500k", "800000")
    number_format: str = ",.0f"

    @property
    def is_measured(self) -> bool:
        """Whether two measurements differ, so that what depends on it cannot be repeated elsewhere."""
        return self.effort == Effort.MEASURED

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.number_format.endswith(".0f")

    @property
    def heading(self) -> str:
        """The title with the unit, for a column or an axis."""
        return ", ".join(filter(None, [self.title, self.unit]))

    def amount(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{value:{self.number_format}} {self.unit}".rstrip()

    def parse(self, text: str, what: str) -> float:
        """Read a value that is written with a unit, as ``0.8M``, ``5ms`` or ``20MiB``.

        Args:
            text: the value.
            what: what it is, for the message.

        Raises:
            InputError: the text is no value above 0, or lacks a unit that it needs.

        Example:
            >>> COSTS["params"].parse("0.8M", "--max-params"), COSTS["latency"].parse("0.5s", "--max-latency")
            (800000.0, 500.0)
            >>> COSTS["memory"].parse("512KiB", "--max-memory")
            0.5
        """
        value = parse_quantity(text.lower(), self.units)
        if value is None or not 0 < value < math.inf:
            *others, last = self.examples
            listed = " or ".join(filter(None, [", ".join(others), last]))
            raise InputError(f"{what} is '{text}', expected one above 0 such as {listed}.")
        return value


def _count_parameters(candidate: Candidate) -> float:
    return float(candidate.space.parameters(candidate.architecture, candidate.task))


def _count_multiply_adds(candidate: Candidate) -> float:
    return float(candidate.passes * candidate.space.flops(candidate.architecture, candidate.task))


def _compute_memory(candidate: Candidate) -> float:
    from trainless.hardware import peak_memory

    return peak_memory(candidate.build(), candidate.task.input_shape) / 2**20


def _measure_latency(candidate: Candidate) -> float:
    from trainless.hardware import measure_latency

    return measure_latency(candidate.build(), candidate.task.input_shape, device=candidate.device).milliseconds


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("params", "parameters", "number of parameters", _count_parameters, Effort.COUNTED, "parameters"),
        Cost(
            "flops", "multiply-adds", "multiply-adds for one image", _count_multiply_adds, Effort.COUNTED, "flops",
            examples=("100M", "2G", "800000"),
        ),
        Cost(
            "latency", "latency", "latency of one image on this machine, one thread", _measure_latency,
            Effort.MEASURED, "latency_ms", "ms", SHORT_TIMES, ("5ms", "800us", "0.1s"), ",.2f",
        ),
        Cost(
            "memory", "memory", "memory of the inference of one image", _compute_memory,
            Effort.COMPUTED, "memory_mib", "MiB", _MEMORIES, ("20MiB", "512KiB", "20MB"), ",.2f",
        ),
    )
}  # fmt: skip
"""The costs of every architecture by name; a table adds its columns as ``<data set>.<column>``."""


def counted_costs() -> list[Cost]:
    """List the costs that are counted, which every result has.

    Example:
        >>> [cost.column for cost in counted_costs()]
        ['parameters', 'flops']
    """
    return [cost for cost in COSTS.values() if cost.effort == Effort.COUNTED]


def column_cost(name: str, values: Mapping[str, float] = MappingProxyType({})) -> Cost:
    """Describe a column of a table as a cost.

    Args:
        name: ``<data set>.<column>``, which is its name, its title and its column.
        values: the column, by the architecture's string.

    Example:
        >>> column_cost("cifar10.edgegpu_energy").amount(7.5)
        '7.5'
    """
    return Cost(
        name, name, f"{name} as a table has it",
        lambda candidate: float(values.get(str(candidate.architecture), math.nan)), Effort.READ, name,
        units={"": 1.0}, examples=("5", "0.5"), number_format=",.4g",
    )  # fmt: skip


def cost_named(name: str) -> Cost:
    """Look a cost up by its name.

    Raises:
        UnknownNameError: it is neither one of `COSTS` nor named as a column of a table.

    Example:
        >>> cost_named("flops").title, cost_named("cifar10.edgegpu_energy").title
        ('multiply-adds', 'cifar10.edgegpu_energy')
    """
    if name not in COSTS and "." not in name:
        raise UnknownNameError("cost", name, [*COSTS, "<data set>.<column> of a table"])
    return COSTS.get(name) or column_cost(name)
