"""The record of a cost: one more in the dictionary is a limit, an objective, a column, an option and a field."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from torch import nn

from trainless.costs import COSTS, Candidate, Cost, Effort, column_cost, cost_named, counted_costs
from trainless.errors import UnknownNameError
from trainless.report import search_page
from trainless.search import Limits, Search
from trainless.search_spaces import search_space
from trainless.types import Task

SMALL = search_space("nasbench201", channels=4, cells=1)
TASK = Task("toy", 10, height=8, width=8)
ONE = SMALL.make(["nor_conv_3x3"] * 6)


def kibibytes(candidate: Candidate) -> float:
    return 4 * candidate.space.parameters(candidate.architecture, candidate.task) / 1024


DISK = Cost(
    "disk", "size on disk", "size of the weights on disk", kibibytes, Effort.COUNTED, "disk_kib", "KiB",
    {"kib": 1.0, "mib": 1024.0}, ("30KiB", "1MiB"), ",.1f",
)  # fmt: skip


class TestCost:
    def test_what_is_found_is_that_of_the_network(self) -> None:
        candidate = Candidate(SMALL, ONE, TASK)
        network = candidate.build()
        found = {name: cost.find(candidate) for name, cost in COSTS.items()}
        assert found["params"] == sum(parameter.numel() for parameter in network.parameters())
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        assert found["flops"] >= sum(module.weight.numel() for module in convolutions)
        assert found["memory"] * 2**20 > 4 * found["params"]
        assert found["latency"] > 0

    def test_of_a_network_that_averages_over_mirror_images(self) -> None:
        plain, mirrored = Candidate(SMALL, ONE, TASK), Candidate(SMALL, ONE, TASK, mirror_average=True)
        found, doubled = ({name: cost.find(what) for name, cost in COSTS.items()} for what in (plain, mirrored))
        assert doubled["params"] == found["params"] == sum(weight.numel() for weight in mirrored.build().parameters())
        assert doubled["flops"] == 2 * found["flops"]
        # Weights are there once, activations for both images; the given image stays beside them.
        state = sum(tensor.nbytes for tensor in plain.build().state_dict().values()) / 2**20
        image = 4 * 3 * 8 * 8 / 2**20
        assert doubled["memory"] - state == pytest.approx(2 * (found["memory"] - state) + image, rel=0.02)

    def test_measured_ones_say_so(self) -> None:
        assert [name for name, cost in COSTS.items() if cost.is_measured] == ["latency"]
        assert [cost.name for cost in counted_costs()] == ["params", "flops"]
        assert [name for name, cost in COSTS.items() if cost.is_whole] == ["params", "flops"]

    def test_names_and_columns_are_different(self) -> None:
        assert len({cost.column for cost in COSTS.values()}) == len(COSTS)
        assert all(name == cost.name and "." not in name for name, cost in COSTS.items())
        assert all(cost.parse(example, "it") > 0 for cost in COSTS.values() for example in cost.examples)

    def test_written(self) -> None:
        assert COSTS["memory"].amount(1234.567) == "1,234.57 MiB"
        assert DISK.heading == "size on disk, KiB"
        with pytest.raises(FrozenInstanceError):
            DISK.unit = "MB"  # type: ignore[misc]

    def test_columns_of_tables(self) -> None:
        cost = column_cost("toy.energy", {str(ONE): 7.5})
        assert cost.find(Candidate(SMALL, ONE, TASK)) == 7.5
        assert cost.find(Candidate(SMALL, SMALL[0], TASK)) != 7.5
        assert (cost.effort, cost.column) == (Effort.READ, "toy.energy")
        with pytest.raises(UnknownNameError, match="no cost 'enrgy'"):
            cost_named("enrgy")


def test_one_record_is_a_limit_an_objective_and_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COSTS, "disk", DISK)
    result = Search(
        SMALL, "random", "nwot", "digits", budget=12, limits=Limits(disk=30), objectives=("score", "disk"), workers=0,
        batch_size=16,
    ).run()  # fmt: skip
    rows = result.evaluations
    assert rows["disk_kib"].to_list() == (rows["parameters"] / 256).to_list()
    assert rows["disk_kib"].max() <= 30
    assert result.rejected["disk"] > 0
    assert rows.set_index("architecture").loc[list(result.front), "disk_kib"].is_monotonic_decreasing
    assert result.protocol["limits"] == "disk at most 30 KiB"
    page = search_page(result, SMALL.graph(SMALL.parse(result.best)))
    assert "Score by size on disk, KiB" in page


@pytest.mark.slow
def test_one_record_is_an_option_and_a_field(tmp_path: Path) -> None:
    program = """
import sys
from test_costs import COSTS, DISK
COSTS["disk"] = DISK
from trainless.ui.form import FitForm
form = FitForm.read({"max_disk": "30KiB"})
print(form.limits(), form.command("pets", "run"))
from trainless.cli import main
sys.argv = ["trainless", "search", "--data", "digits", "--batch-size", "16", "--strategy", "random", "--budget", "5",
            "--score", "params", "--objective", "score,disk", "--max-disk", "2MiB", "--workers", "0", "--store",
            sys.argv[1]]
main()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "search.db")]
    wide = {**os.environ, "COLUMNS": "400"}
    done = subprocess.run(command, cwd=Path(__file__).parent, env=wide, capture_output=True, text=True, check=True)
    assert "disk at most 30 KiB trainless fit pets --out run --max-disk 30KiB" in done.stdout
    table = [line.split() for line in done.stdout.splitlines() if "disk_kib" in line or "|+|" in line]
    assert "disk_kib" in table[0]
    assert len(table) > 1
