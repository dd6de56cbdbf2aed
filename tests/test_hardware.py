"""Hardware: peak memory by hand-computed chains, latency by a clock that the test turns, nothing left changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from trainless import hardware
from trainless.errors import InputError
from trainless.hardware import Latency, limited_threads, measure_latency, peak_memory
from trainless.search_spaces import search_space
from trainless.types import Task

IMAGE = 4 * 3 * 8 * 8  # bytes of one float32 image of shape (3, 8, 8)
MAP = 4 * 5 * 8 * 8  # of five such maps
CONVOLUTION = 4 * (5 * 3 * 9 + 5)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(5, 5, 1, bias=False), nn.Conv2d(5, 5, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.first(x))


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 5, 3, padding=1)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


class TestPeakMemory:
    @pytest.mark.parametrize(
        ("network", "shape", "expected"),
        [
            # Image and map, then image and both sides of the ReLU: an input is held by whoever called.
            (nn.Sequential(conv()), (3, 8, 8), CONVOLUTION + IMAGE + MAP),
            (nn.Sequential(conv(), nn.ReLU()), (3, 8, 8), CONVOLUTION + IMAGE + 2 * MAP),
            (nn.Sequential(conv(), nn.ReLU(inplace=True)), (3, 8, 8), CONVOLUTION + IMAGE + MAP),
            # Flattening is a view; the linear layer's 7 outputs are less than the ReLU's second map.
            (
                nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(320, 7)),
                (3, 8, 8),
                CONVOLUTION + 4 * 7 * 321 + IMAGE + 2 * MAP,
            ),
            (
                nn.Sequential(conv(), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(320, 7)),
                (3, 8, 8),
                CONVOLUTION + 4 * 7 * 321 + IMAGE + MAP + 4 * 7,
            ),
            # In a chain the map before last is gone: three ReLUs need no more than two maps.
            (nn.Sequential(conv(), nn.ReLU(), nn.ReLU(), nn.ReLU()), (3, 8, 8), CONVOLUTION + IMAGE + 2 * MAP),
            # The image, and the last two of first, second and sum: the first map is gone before the sum is made.
            (Residual(), (5, 8, 8), 2 * 4 * 25 + 3 * MAP),
            # Inside another module the residual's input is a map that must wait for the sum.
            (nn.Sequential(conv(), Residual()), (3, 8, 8), CONVOLUTION + 2 * 4 * 25 + IMAGE + 3 * MAP),
            # Running mean and variance are buffers of 5 numbers, beside a counter of 8 bytes.
            (nn.Sequential(conv(), nn.BatchNorm2d(5)), (3, 8, 8), CONVOLUTION + 4 * 20 + 8 + IMAGE + 2 * MAP),
            (Tied(), (6,), 4 * 36 + 3 * 4 * 6),
            (nn.Linear(6, 2, bias=False).double(), (6,), 8 * (12 + 6 + 2)),
            (nn.Dropout(), (6,), 4 * 6),  # in eval mode it gives its input
        ],
    )
    def test_is_what_hand_computation_gives(self, network: nn.Module, shape: tuple[int, ...], expected: int) -> None:
        assert peak_memory(network, shape) == expected

    def test_leaves_the_network_alone(self) -> None:
        network = nn.Sequential(conv(), nn.BatchNorm2d(5))
        before = copy.deepcopy(network.state_dict())
        peak_memory(network, (3, 8, 8))
        assert network.training
        assert network[1].training
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert all(each.device.type == "cpu" for each in (*network.parameters(), *network.buffers()))

    @pytest.mark.parametrize("index", [0, 100, 5000, 15624])
    def test_equals_what_a_run_with_arithmetic_holds(self, index: int) -> None:
        space = search_space("nasbench201", channels=4, cells=1)
        network, image = space.build(space[index], Task("toy", 10)).eval(), torch.zeros(1, 3, 32, 32)
        with torch.no_grad():
            held = hardware._peak(lambda: network(image), [*network.parameters(), *network.buffers(), image])
        assert peak_memory(network, (3, 32, 32)) == held

    @pytest.mark.parametrize(
        ("network", "shape", "message"),
        [
            (conv(), (4, 8, 8), r"Conv2d does not take images of shape \(1, 4, 8, 8\)"),
            (conv(), (3, 0, 8), r"shape of an image is \(3, 0, 8\), expected numbers of at least 1"),
            (conv(), (), r"shape of an image is \(\)"),
        ],
    )
    def test_refuses(self, network: nn.Module, shape: tuple[int, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            peak_memory(network, shape)


class TimeBudget:
    """A clock that stands still except while a network runs."""

    def __init__(self, costs: Iterator[float]) -> None:
        self.now, self.costs = 0.0, costs

    def perf_counter(self) -> float:
        return self.now

    def run(self, *_: object) -> None:
        self.now += next(self.costs)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Latency]:
    def measure(costs: Iterator[float], **options: int) -> Latency:
        clock, network = TimeBudget(costs), nn.Identity()
        monkeypatch.setattr(hardware, "time", clock)
        monkeypatch.setattr(nn.Identity, "forward", clock.run)
        return measure_latency(network, (1, 2, 2), **options)

    return measure


def warm(first: float, then: Callable[[int], float]) -> Iterator[float]:
    yield from [first] * 3
    number = 0
    while True:
        yield then(number)
        number += 1


class TestLatency:
    def test_is_the_median_of_what_follows_the_warm_up(self, timed: Callable[..., Latency]) -> None:
        # 0.01, 0.02 ... 0.21 s would take 2.3 s: 14 runs begin within the first second.
        latency = timed(warm(100.0, lambda number: 0.01 * (number + 1)))
        assert latency.repeats == 14
        assert latency.milliseconds == pytest.approx(75)  # between the 7th and the 8th
        assert (latency.low, latency.high) == (pytest.approx(42.5), pytest.approx(107.5))

    def test_short_runs_are_repeated_for_a_tenth_of_a_second(self, timed: Callable[..., Latency]) -> None:
        latency = timed(warm(0.0, lambda _: 2**-10))
        assert latency.repeats == 103  # of 1 / 1024 s
        assert latency.milliseconds == pytest.approx(1000 / 1024)

    def test_runs_longer_than_that_are_repeated_as_often_as_asked(self, timed: Callable[..., Latency]) -> None:
        assert timed(warm(0.0, lambda _: 2**-5)).repeats == 20
        assert timed(warm(0.0, lambda _: 2**-5), repeats=5).repeats == 5
        assert timed(warm(0.0, lambda _: 30.0)).repeats == 1

    def test_one_slow_run_changes_nothing(self, timed: Callable[..., Latency]) -> None:
        latency = timed(warm(0.0, lambda number: 0.5 if number == 3 else 0.01))
        assert (latency.low, latency.milliseconds, latency.high) == pytest.approx((10, 10, 10))

    def test_restores_everything(self) -> None:
        network = nn.Sequential(conv(), nn.BatchNorm2d(5), nn.Dropout())
        before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
        torch.set_num_threads(2)
        try:
            latency = measure_latency(network, (3, 8, 8), batch=4, threads=1, repeats=2)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(1)
        assert (latency.batch, latency.threads, latency.device) == (4, 1, "cpu")
        assert all(module.training for module in network.modules())
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_the_network_sees_the_batch_and_the_threads_asked_for(self) -> None:
        seen = []

        class Spy(nn.Module):
            def forward(self, x: torch.Tensor) -> None:
                seen.append((tuple(x.shape), torch.get_num_threads(), torch.is_inference_mode_enabled(), self.training))

        measure_latency(Spy(), (1, 4, 4), batch=7, threads=2, repeats=1)
        assert set(seen) == {((7, 1, 4, 4), 2, True, False)}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch": 0}, "batch is 0, expected at least 1"),
            ({"warm_up": 0}, "warm_up is 0"),
            ({"repeats": -1}, "repeats is -1"),
            ({"threads": 0}, "threads is 0"),
            ({"device": "abacus"}, "device 'abacus' cannot be used here"),
            ({"device": "meta"}, "device 'meta' cannot be used here"),
            ({"threads": 100_000}, "number of threads is 100000, expected 1 to 1024"),
            ({"batch": 10**9}, "does not take images of shape"),
            ({"input_shape": (4, 8, 8)}, r"does not take images of shape \(1, 4, 8, 8\)"),
        ],
    )
    def test_refuses(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(InputError, match=message):
            measure_latency(conv(), **{"input_shape": (3, 8, 8), **options})  # type: ignore[arg-type]

    def test_a_failure_restores_the_threads(self) -> None:
        before = torch.get_num_threads()
        with pytest.raises(InputError):
            measure_latency(conv(), (4, 8, 8), threads=2)
        assert torch.get_num_threads() == before
        with pytest.raises(RuntimeError, match="inside"), limited_threads(2):
            raise RuntimeError("inside")
        assert torch.get_num_threads() == before
