"""What every table of true accuracies has to hold to."""

from __future__ import annotations

import numpy as np

from trainless.errors import TableError
from trainless.search_spaces import SEARCH_SPACES, search_space
from trainless.tables import BenchmarkTable

__all__ = ["TableContract"]


class TableContract:
    """What every table has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        table: the table under test.
        percent: whether its accuracies are percentages; False for tasks that keep their own measure.
        draws: architectures that are looked up one by one.

    Example:
        >>> import pandas as pd
        >>> rows = {"cifar10.valid": [90.5, 91.5], "cifar10.test": [91.0, 93.0]}
        >>> class TestMine(TableContract):
        ...     table = BenchmarkTable("toy", "mine", pd.DataFrame(rows, index=["a", "b"]), "a paper", "MIT")
        >>> TestMine().test_the_optimum_is_the_highest()
    """

    table: BenchmarkTable
    percent: bool = True
    draws: int = 20

    def splits(self) -> list[tuple[str, str]]:
        """List all pairs of a data set and a split."""
        return [(dataset, split) for dataset in self.table.datasets for split in self.table.splits(dataset)]

    def drawn(self) -> list[str]:
        """Draw architectures of the table."""
        rows = np.random.default_rng(0).permutation(len(self.table.frame))[: self.draws]
        return [str(self.table.frame.index[row]) for row in rows]

    def test_the_source_is_stated(self) -> None:
        """Name, space, origin and licence are there."""
        for field in ("name", "space", "origin", "licence"):
            assert str(getattr(self.table, field)).strip(), f"{field} is empty"

    def test_every_column_is_a_split_or_a_cost(self) -> None:
        """Splits and costs of a data set are apart, and together they are its columns."""
        named = []
        for dataset in self.table.datasets:
            splits, costs = self.table.splits(dataset), self.table.costs(dataset)
            assert set(splits).isdisjoint(costs)
            named += [f"{dataset}.{name}" for name in (*splits, *costs)]
        assert sorted(named) == sorted(map(str, self.table.frame.columns))

    def test_architectures_are_members_of_the_space(self) -> None:
        """Each string is the one that its search space prints, where trainless has that space."""
        if self.table.space not in SEARCH_SPACES:
            import pytest

            pytest.skip(f"trainless has no search space '{self.table.space}'")
        space = search_space(self.table.space)
        for text in self.drawn():
            assert str(space.parse(text)) == text, f"'{text}' is printed as '{space.parse(text)}'"

    def test_accuracies_are_known_and_in_range(self) -> None:
        """Accuracies are finite and named by their architectures, and percentages are between 0 and 100."""
        for dataset, split in self.splits():
            values = self.table.accuracies(dataset, split)
            assert len(values), f"{dataset}.{split} has no value"
            assert np.isfinite(values.to_numpy(float)).all(), f"{dataset}.{split} has a value that is not finite"
            assert values.index.is_unique, f"{dataset}.{split} has an architecture twice"
            assert not self.percent or values.between(0, 100).all(), f"{dataset}.{split} has values that are no percent"

    def test_costs_are_above_zero(self) -> None:
        """Costs that are known are finite and not negative, and not all nothing."""
        for dataset in self.table.datasets:
            for name in self.table.costs(dataset):
                values = self.table.cost(dataset, name)
                assert (values >= 0).all(), f"{dataset}.{name} has a cost below 0"
                assert (values > 0).any(), f"{dataset}.{name} has no cost above 0"

    def test_a_query_is_one_value_of_the_column(self) -> None:
        """An architecture that has a value on a split is given that one; one that has none is refused."""
        import pytest

        for dataset, split in self.splits():
            values = self.table.accuracies(dataset, split)
            for text in self.drawn():
                if text in values.index:
                    assert self.table.query(text, dataset, split) == values[text]
                else:
                    with pytest.raises(TableError, match="has no"):
                        self.table.query(text, dataset, split)

    def test_the_optimum_is_the_highest(self) -> None:
        """Nothing is above the optimum, and it is that of the architecture that is named."""
        for dataset, split in self.splits():
            text, value = self.table.optimum(dataset, split)
            values = self.table.accuracies(dataset, split)
            assert value == values.max() == values[text], f"{dataset}.{split} has {values.max()} above {value}"

    def test_nothing_stands_in_for_another(self) -> None:
        """What the table lacks is refused in one sentence that lists what it has."""
        import pytest

        dataset, split = self._first()
        for wrong, listed in (
            ((self.drawn()[0], "no data set", split), dataset),
            ((self.drawn()[0], dataset, f"{split}_of_others"), split),
            (("no architecture", dataset, split), "no architecture"),
        ):
            with pytest.raises(TableError) as caught:
                self.table.query(*wrong)
            message = str(caught.value)
            assert listed in message, f"'{listed}' is not in the message: {message}"
            assert "\n" not in message, "the message is more than a sentence"

    def test_what_is_given_is_a_copy(self) -> None:
        """A caller that changes a column does not change the table."""
        dataset, split = self._first()
        values = self.table.accuracies(dataset, split)
        first = str(values.index[0])
        before = self.table.query(first, dataset, split)
        values.iloc[0] = -1.0
        assert self.table.query(first, dataset, split) == before, "the table was changed through a column"

    def _first(self) -> tuple[str, str]:
        if not self.splits():
            import pytest

            pytest.skip("the table has costs alone")
        return self.splits()[0]
