"""The contract of a table of true accuracies: explicit splits that never stand in for one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainless.errors import TableError
from trainless.tables.tasks import TASKS
from trainless.types import Task

__all__ = ["BenchmarkTable"]

_SPLITS = ("valid", "test")


@dataclass(frozen=True, eq=False)
class BenchmarkTable:
    """True accuracies, and costs where they are known, of the architectures of one search space.

    A column is named ``<data set>.<column>``. It is a split when the column's name begins with ``valid`` or ``test``
    and a cost otherwise.

    Args:
        name: what the table is called.
        space: name of the search space.
        frame: one row an architecture, indexed by its string under the name ``architecture``; accuracies are in
            percent (a task that is not classification keeps its own measure, of which higher is better), costs in the
            unit that the table's source states; NaN where a value is missing.
        origin: where the values come from.
        licence: the licence of the values.

    Raises:
        TableError: the index or the columns are not as stated, or an architecture or a column is there twice.

    Example:
        >>> rows = {"cifar10.valid": [90.5, 91.5], "cifar10.test": [91.0, 93.0], "cifar10.parameters": [1000, 2000]}
        >>> table = BenchmarkTable("toy", "nasbench201", pd.DataFrame(rows, index=["a", "b"]))
        >>> table.datasets, table.splits("cifar10"), table.costs("cifar10")
        (('cifar10',), ('valid', 'test'), ('parameters',))
        >>> table.query("a", "cifar10", "valid"), table.optimum("cifar10", "test")
        (90.5, ('b', 93.0))
        >>> table.query("a", "cifar10", "test_seed888")
        Traceback (most recent call last):
        ...
        trainless.errors.TableError: Table 'toy' has no split 'test_seed888' of cifar10: choose one of valid, test.
    """

    name: str
    space: str
    frame: pd.DataFrame
    origin: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        columns = [str(column) for column in self.frame.columns]
        if nameless := [column for column in columns if not all(column.partition("."))]:
            raise TableError(
                f"Table '{self.name}' has the column '{nameless[0]}', expected names of the form <data set>.<column> "
                "such as 'cifar10.test': rename it."
            )
        if self.frame.columns.has_duplicates:
            twice = self.frame.columns[self.frame.columns.duplicated()][0]
            raise TableError(f"Table '{self.name}' has the column '{twice}' more than once: keep one of them.")
        if not columns or not len(self.frame):
            raise TableError(
                f"Table '{self.name}' has {len(self.frame)} rows and {len(columns)} columns of values, expected at "
                "least one of each."
            )
        if self.frame.index.has_duplicates:
            twice = self.frame.index[self.frame.index.duplicated()][0]
            raise TableError(f"Table '{self.name}' has the architecture '{twice}' more than once: keep one row of it.")
        textual = [column for column in columns if not pd.api.types.is_numeric_dtype(self.frame[column])]
        if textual:
            raise TableError(
                f"Column '{textual[0]}' of table '{self.name}' holds text, expected numbers: mend or remove it."
            )
        object.__setattr__(self, "frame", self.frame.rename_axis(index="architecture"))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets, in the order of the columns."""
        return tuple(dict.fromkeys(str(column).partition(".")[0] for column in self.frame.columns))

    def task(self, dataset: str) -> Task:
        """Tell what the networks were built for: the images and classes of a data set.

        Raises:
            TableError: the benchmark of this search space has no such data set.

        Example:
            >>> frame = pd.DataFrame({"ImageNet16-120.test": [40.0]}, index=["a"])
            >>> BenchmarkTable("toy", "nasbench201", frame).task("ImageNet16-120").input_shape
            (3, 16, 16)
        """
        known = TASKS.get(self.space, {})
        if dataset not in known:
            raise TableError(
                f"Table '{self.name}' does not tell the images and classes of {dataset}, expected one of the data sets "
                f"of {self.space or 'its space'}: {', '.join(known) or 'none is known'}."
            )
        return known[dataset]

    def splits(self, dataset: str) -> tuple[str, ...]:
        """List the splits of a data set.

        Raises:
            TableError: the table lacks the data set.
        """
        return tuple(name for name in self._columns(dataset) if name.startswith(_SPLITS))

    def costs(self, dataset: str) -> tuple[str, ...]:
        """List the costs of a data set: latency, energy, parameters, seconds.

        Raises:
            TableError: the table lacks the data set.
        """
        return tuple(name for name in self._columns(dataset) if not name.startswith(_SPLITS))

    def accuracies(self, dataset: str, split: str) -> pd.Series:
        """Give the accuracies of all architectures that have one on this data set and split.

        Returns:
            Accuracies in percent by architecture, all finite, in the order of the table.

        Raises:
            TableError: the table lacks the data set or the split; the message lists what it has.
        """
        if split not in self.splits(dataset):
            raise TableError(
                f"Table '{self.name}' has no split '{split}' of {dataset}: {_choose(self.splits(dataset))}"
            )
        return self._values(dataset, split)

    def cost(self, dataset: str, name: str) -> pd.Series:
        """Give a cost of all architectures for which it is known.

        Raises:
            TableError: the table lacks the data set or the cost; the message lists what it has.
        """
        if name not in self.costs(dataset):
            raise TableError(f"Table '{self.name}' has no cost '{name}' of {dataset}: {_choose(self.costs(dataset))}")
        return self._values(dataset, name)

    def query(self, architecture: str, dataset: str, split: str) -> float:
        """Look up the accuracy of one architecture, in percent.

        Raises:
            TableError: the table lacks the data set, the split, the architecture, or its value.
        """
        values = self.accuracies(dataset, split)
        if architecture not in values.index:
            raise TableError(
                f"Table '{self.name}' has no {split} accuracy on {dataset} of the architecture '{architecture}': give "
                f"one of its {len(values):,}, such as '{values.index[0] if len(values) else 'none'}'."
            )
        return float(values[architecture])

    def optimum(self, dataset: str, split: str) -> tuple[str, float]:
        """Find the most accurate architecture: its string and its accuracy; the first of several.

        Raises:
            TableError: the table lacks the data set or the split, or has no value of it.
        """
        values = self.accuracies(dataset, split)
        if not len(values):
            raise TableError(f"Table '{self.name}' has no {split} accuracy on {dataset}: choose another split.")
        best = int(np.argmax(values.to_numpy()))
        return str(values.index[best]), float(values.iloc[best])

    def _columns(self, dataset: str) -> list[str]:
        if dataset not in self.datasets:
            raise TableError(f"Table '{self.name}' has no data set '{dataset}': {_choose(self.datasets)}")
        return [str(name).partition(".")[2] for name in self.frame.columns if str(name).startswith(f"{dataset}.")]

    def _values(self, dataset: str, column: str) -> pd.Series:
        values: pd.Series = self.frame[f"{dataset}.{column}"]
        known: pd.Series = values[np.isfinite(values.to_numpy(float))]
        return known


def _choose(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"choose one of {listed}." if listed else "it has none."
