"""What every estimator has to hold to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trainless.data import load_data, split
from trainless.estimators import Estimator, Setting, distinct_sample
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.types import Architecture

__all__ = ["EstimatorContract"]


class EstimatorContract:
    """What every estimator has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        make: makes the estimator; a static method of the subclass.
        space: whose architectures are estimated; small networks keep it quick.
        images: of the digits that are trained and validated on.
        count: architectures that each test estimates.
        processes: workers of the test that compares them with none; 0 leaves that test out.

    Example:
        >>> from trainless.estimators import estimator
        >>> from trainless.search_spaces import search_space
        >>> class TestMine(EstimatorContract):
        ...     make = staticmethod(lambda: estimator("zero-cost(params)"))
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_neither_order_nor_company_change_it()
    """

    make: Callable[[], Estimator]
    space: SearchSpace
    images: int = 120
    count: int = 3
    processes: int = 0

    def setting(self, seed: int = 0, workers: int = 0, store: Store | None = None) -> Setting:
        """Make a setting with some of the digits."""
        digits = load_data("digits")
        return Setting(self.space, split(digits, self.images / len(digits))[1], seed, workers, store)

    def sample(self) -> list[Architecture]:
        """Draw what is estimated."""
        return distinct_sample(self.space, self.count, 0, "contract")

    def values(self, setting: Setting, some: Sequence[Architecture]) -> list[tuple[str, float]]:
        """Estimate architectures at one go."""
        return [(estimate.architecture, estimate.value) for estimate in self.make().estimate(some, setting)]

    def test_each_architecture_gets_an_estimate(self) -> None:
        """There is one for each, in order, with a value that is finite or a reason, and times that are not negative."""
        some, told = self.sample(), self.make().estimate(self.sample(), self.setting())
        assert [estimate.architecture for estimate in told] == list(map(str, some)), "not one for each, in order"
        for estimate in told:
            assert np.isfinite(estimate.value) != bool(estimate.reason), f"a value or a reason was expected: {estimate}"
            assert min(estimate.seconds, estimate.shared_seconds, estimate.epochs) >= 0, (
                f"a cost is negative: {estimate}"
            )

    def test_neither_order_nor_company_change_it(self) -> None:
        """One by one, the last first, in one session or in several, the values are those of all at one go."""
        some, setting = self.sample(), self.setting()
        whole = self.values(setting, some)
        with self.make().session(setting) as ask:
            told = [ask([architecture])[0] for architecture in reversed(some)]
        backwards = [(estimate.architecture, estimate.value) for estimate in told]
        assert backwards[::-1] == whole, "one by one, the last first, there are other values"
        assert self.values(setting, some[1:2]) == whole[1:2], "alone it has another value"
        assert self.values(setting, [some[0], some[0]]) == [whole[0]] * 2, "named twice it has another value"

    def test_goes_on_with_what_is_stored(self, tmp_path: Path) -> None:
        """With a store, and a part of the work done before, the values are the same."""
        some = self.sample()
        with Store(tmp_path / "store.db") as store:
            self.values(self.setting(store=store), some[:1])
            first = self.values(self.setting(store=store), some)
            again = self.values(self.setting(store=store), some)
        assert first == again == self.values(self.setting(), some), "a store changes the values"

    def test_workers_change_nothing(self) -> None:
        """With worker processes the values are those without."""
        if not self.processes:
            import pytest

            pytest.skip("no number of processes is set")
        some = self.sample()
        with_workers = self.values(self.setting(workers=self.processes), some)
        assert with_workers == self.values(self.setting(), some), "workers change the values"

    def test_random_state_is_left_alone(self) -> None:
        """Neither is the global random state read, nor is it changed."""
        first = self.values(self.setting(), self.sample()[:1])
        state = np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert self.values(self.setting(), self.sample()[:1]) == first, "the second time there is another value"
        after = np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert after == state, "the global random state was changed"
