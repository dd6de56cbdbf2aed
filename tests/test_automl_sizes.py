"""The measurements by which a fit finds the size of its networks, on machines of any speed."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainless.automl.sizes import choose_size, timed_size
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.types import Task

TASK = Task("toy", 10, height=16, width=16)


class Busy:
    """A machine on which a step takes so many seconds for each million multiply-adds, by a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float, waiting: float = 1.0) -> None:
        self.now, self.steps = 1000.0, list[tuple[int, float]]()
        self.seconds, self.waiting, self.products = seconds, waiting, {1: 1.0, 2: 1.0}
        for name in ("automl.sizes", "estimators.speeds", "training.precision"):
            monkeypatch.setattr(
                f"trainless.{name}.time", SimpleNamespace(monotonic=self.clock, perf_counter=self.clock)
            )
        monkeypatch.setattr("trainless.estimators.speeds._product_seconds", lambda threads: self.products[threads])
        monkeypatch.setattr("trainless.training.precision._Trial.step", lambda trial, *batch: self.step(trial, *batch))

    def clock(self) -> float:
        return self.now

    def step(self, trial: Any, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Take the time of a step, longer by a factor where several threads wait for each other."""
        weights = sum(weight.numel() for weight in trial.network.parameters())
        threads = torch.get_num_threads()
        taken = self.seconds * weights / 1e4 * len(images) / 64 * (1.0 if threads == 1 else self.waiting)
        self.steps.append((threads, taken))
        self.now += taken


class TestShare:
    """What is measured to find a size takes no more than its share, however slow the machine is."""

    @pytest.mark.parametrize("precision", ["32-true", "auto"])
    @pytest.mark.parametrize("seconds", [0.01, 0.1, 0.5])
    @pytest.mark.parametrize("waiting", [0.6, 20.0])
    def test_times_are_measured_within_it(
        self, precision: str, seconds: float, waiting: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine = Busy(monkeypatch, seconds, waiting)
        space = search_space("convnet")
        size = timed_size(
            space, TASK, Limits(params=80_000), most_threads=2, precision=precision, share=6.0, batch=64
        )  # fmt: skip
        assert machine.now - 1000 <= 6
        assert size.threads == (2 if waiting < 1 and seconds < 0.5 else 1)  # there was no time to try both
        assert math.isfinite(size.seconds)
        assert all(math.isfinite(value) for value in size.times)

    @pytest.mark.parametrize("seconds", [0.01, 0.1, 1.0])
    def test_a_size_is_chosen_within_it(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Busy(monkeypatch, seconds, waiting=20.0)
        size = choose_size(
            search_space("nasbench201"), TASK, Limits(), 1000, 60.0, most_threads=2, share=6.0, epochs=10
        )  # fmt: skip
        assert machine.now - 1000 <= 6
        assert size.threads == 1
        assert math.isfinite(size.seconds)

    def test_threads_that_wait_for_each_other_are_not_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Busy(monkeypatch, 0.01, waiting=1e6)
        machine.products[2] = 1.1
        assert timed_size(search_space("convnet"), TASK, Limits(), most_threads=2, share=6.0).threads == 1
        assert {threads for threads, _ in machine.steps} == {1}

    def test_the_first_measurement_alone_may_take_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Busy(monkeypatch, 100.0)
        size = choose_size(search_space("nasbench201"), TASK, Limits(), 1000, 60.0, most_threads=2, share=6.0)
        assert math.isfinite(size.seconds)
        assert [threads for threads, _ in machine.steps] == [1, 1]  # of few images, and of a batch


@pytest.mark.parametrize(("most", "unit"), [(60_000, 8), (20_000, 4), (5_000, 2)])
def test_limits_that_are_too_tight_for_known_networks_take_them_with_fewer_channels(
    most: int, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Busy(monkeypatch, 0.01)
    space = timed_size(search_space("convnet"), TASK, Limits(params=most), share=6.0).space
    assert space == search_space("convnet", unit=unit)
    assert any(space.parameters(network, TASK) <= most for network in space.starts())
