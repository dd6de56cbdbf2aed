"""Costs and limits: counted, measured once, read from a table, and refused where they cannot be known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from torch import nn

from trainless.costs import COSTS
from trainless.errors import InputError, TableError, UnknownNameError
from trainless.search import Costs, Limits, parse_limit, parse_limits
from trainless.search_spaces import search_space
from trainless.tables import BenchmarkTable, benchmark_table
from trainless.types import Task

SPACE = search_space("nasbench201")
SMALL = search_space("nasbench201", channels=4, cells=1)
TASK = Task("toy", 10, height=8, width=8)
ONE = SPACE.make(["nor_conv_3x3"] * 6)


def table(**columns: float) -> BenchmarkTable:
    frame = pd.DataFrame({f"toy.{name}": [value] for name, value in columns.items()}, index=[str(ONE)])
    return BenchmarkTable("toys", "nasbench201", frame)


class TestCosts:
    def test_counts_are_those_of_the_network(self) -> None:
        network = SMALL.build(ONE, TASK)
        assert Costs(SMALL, TASK)(ONE, "params") == sum(each.numel() for each in network.parameters())

    def test_memory_is_at_least_the_weights_and_an_image(self) -> None:
        network = SMALL.build(ONE, TASK)
        weights = sum(each.numel() * each.element_size() for each in (*network.parameters(), *network.buffers()))
        memory = Costs(SMALL, TASK)(ONE, "memory") * 2**20
        assert weights + 3 * 8 * 8 * 4 < memory < 3 * weights

    def test_latency_is_measured_once_and_handed_on(self) -> None:
        costs, measured = Costs(SMALL, TASK), dict[str, float]()
        costs.remember("latency", {str(SMALL[5]): 123.0}, measured.__setitem__)
        assert costs(SMALL[5], "latency") == 123
        first = costs(ONE, "latency")
        assert measured == {str(ONE): first}
        assert costs(ONE, "latency") == first > 0

    def test_more_work_takes_longer(self) -> None:
        light, heavy = (SPACE.make([name] * 6) for name in ("none", "nor_conv_3x3"))
        costs = Costs(SPACE, Task("toy", 10))
        assert costs(heavy, "latency") > costs(light, "latency")
        assert isinstance(SPACE.build(light, TASK), nn.Module)

    def test_a_table_tells_its_columns(self) -> None:
        costs = Costs(SPACE, TASK, table=table(energy=7.5, test=90.0))
        costs.check(["toy.energy", "params"])
        assert costs(ONE, "toy.energy") == 7.5
        assert costs(SPACE[0], "toy.energy") != costs(SPACE[0], "toy.energy")  # not known: NaN

    def test_refusals(self) -> None:
        with pytest.raises(UnknownNameError, match="no cost 'latncy': did you mean 'latency'"):
            Costs(SPACE, TASK).check(["latncy"])
        with pytest.raises(InputError, match="no table was given"):
            Costs(SPACE, TASK).check(["toy.energy"])
        with pytest.raises(TableError, match="no cost 'test' of toy"):
            Costs(SPACE, TASK, table=table(energy=7.5, test=90.0)).check(["toy.test"])
        with pytest.raises(InputError, match=r"networks with channels=16, cells=5, not with channels=4, cells=1"):
            Costs(SMALL, TASK, table=table(energy=7.5)).check(["toy.energy"])
        with pytest.raises(InputError, match="not of those that average over its mirror image"):
            Costs(SPACE, TASK, table=table(energy=7.5), mirror_average=True).check(["toy.energy"])

    @pytest.mark.data
    def test_hw_nas_bench(self, real_data: Path) -> None:
        costs = Costs(SPACE, Task("cifar10", 10), table=benchmark_table("hw-nas-bench", real_data))
        one = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|")
        assert costs(one, "cifar10.edgegpu_latency") == pytest.approx(6.37392, rel=1e-5)
        assert costs(one, "ImageNet16-120.fpga_energy") == pytest.approx(13.1488, rel=1e-5)


class TestLimits:
    def test_the_first_broken_one_is_named_and_the_cheapest_is_checked_first(self) -> None:
        limits = Limits({"toy.energy": 5}, latency=1, parameters=10, flops=20)
        costs = {"params": 10.0, "flops": 20.0, "toy.energy": 5.0, "latency": 1.0}
        assert limits.broken(costs.__getitem__) == ""
        assert limits.broken({**costs, "toy.energy": float("nan")}.__getitem__) == "toy.energy"
        # The latency would take a measurement: it is not looked up where another limit is broken.
        assert limits.broken({"params": 10.0, "flops": 21.0}.__getitem__) == "flops"
        assert str(limits) == "params at most 10, flops at most 20, toy.energy at most 5, latency at most 1 ms"

    @pytest.mark.parametrize("most", [0, -1, float("inf")])
    def test_no_limit_at_all(self, most: float) -> None:
        with pytest.raises(InputError, match="limit on memory"):
            Limits(memory=most)

    def test_units(self) -> None:
        parameters, latency, memory = (COSTS[name] for name in ("params", "latency", "memory"))
        assert [parameters.parse(text, "") for text in ("7", "1.5k", "0.8M", "2 g", "3B")] == [7, 1500, 8e5, 2e9, 3e9]
        assert [latency.parse(text, "") for text in ("5ms", "0.25 s", "800us")] == [5, 250, 0.8]
        assert memory.parse("2GiB", "") == 2048
        assert memory.parse("1MB", "") == 1e6 / 2**20

    @pytest.mark.parametrize(("name", "text"), [
        ("latency", "5"), ("latency", "0ms"), ("memory", "20"), ("memory", "-1MB"),
        ("params", "1ms"), ("params", "nan"), ("params", ""),
    ])  # fmt: skip
    def test_what_is_none(self, name: str, text: str) -> None:
        with pytest.raises(InputError, match="--most is"):
            COSTS[name].parse(text, "--most")

    def test_names_and_columns(self) -> None:
        assert Limits(parameters=5, latency=None) == Limits({"params": 5})
        with pytest.raises(UnknownNameError, match="no cost 'parms': did you mean 'params'"):
            Limits(parms=5)
        with pytest.raises(InputError, match="params is limited to 5 and to 6"):
            Limits(params=5, parameters=6)

    def test_a_column_that_is_limited_twice(self) -> None:
        assert parse_limits(["a.b=5", "a.c<=6.5"]) == {"a.b": 5, "a.c": 6.5}
        with pytest.raises(InputError, match=r"'a.b' is limited to 5 and to 6"):
            parse_limits(["a.b=5", "a.b=6"])

    @pytest.mark.parametrize("text", ["energy=5", "toy.energy", "toy.energy=x", "toy.energy=-5", ""])
    def test_a_column_that_is_none(self, text: str) -> None:
        with pytest.raises(InputError, match="expected a column of a table and a number"):
            parse_limit(text)
