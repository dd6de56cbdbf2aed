"""Tables hold to the contract: toys, and all whose public files are here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainless.errors import ArchitectureError
from trainless.search_spaces import search_space
from trainless.tables import TABLES, BenchmarkTable, benchmark_table
from trainless.testing import TableContract

pytestmark = pytest.mark.xdist_group("tables_contract")  # what all its tests share is made once

CELLS = [str(search_space("nasbench201")[number]) for number in (0, 7, 8000)]
TOY = BenchmarkTable(
    "toy", "nasbench201",
    pd.DataFrame({"digits.valid": [90.0, np.nan, 95.5], "digits.test": [91.0, 92.0, 95.0],
                  "digits.latency": [1.0, 2.0, np.nan], "other.test": [10.0, 10.0, 10.0]}, index=CELLS),
    "made for this test", "none",
)  # fmt: skip


class TestToy(TableContract):
    table = TOY


@pytest.mark.data
@pytest.mark.slow
class TestPublicTables(TableContract):
    draws = 5

    @pytest.fixture(autouse=True, params=sorted(TABLES))
    def _table(self, request: pytest.FixtureRequest, real_data: Path) -> None:
        if TABLES[request.param].missing(real_data):
            pytest.skip(f"the public files of {request.param} are not here")
        self.table = kept(request.param, real_data)
        self.percent = TABLES[request.param].space != "transnas_macro"  # tasks that are no classification among them


READ: dict[str, BenchmarkTable] = {}


def kept(name: str, folder: Path) -> BenchmarkTable:
    """A table, read once for all tests."""
    if name not in READ:
        READ[name] = benchmark_table(name, folder)
    return READ[name]


class Averaging(BenchmarkTable):
    """Answers for a missing split with another one."""

    def query(self, architecture: str, dataset: str, split: str) -> float:
        split = split if split in self.splits(dataset) else self.splits(dataset)[0]
        return super().query(architecture, dataset, split)


@pytest.mark.parametrize(
    ("table", "test"),
    [
        (replace(TOY, licence=" "), TableContract.test_the_source_is_stated),
        (replace(TOY, frame=TOY.frame.rename(index={CELLS[0]: "cell 0"})),
         TableContract.test_architectures_are_members_of_the_space),
        (replace(TOY, frame=TOY.frame * 2), TableContract.test_accuracies_are_known_and_in_range),
        (replace(TOY, frame=TOY.frame.assign(**{"digits.latency": [-1.0, 1.0, 2.0]})),
         TableContract.test_costs_are_above_zero),
        (Averaging("toy", "nasbench201", TOY.frame), TableContract.test_nothing_stands_in_for_another),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_found(table: BenchmarkTable, test: Callable[[TableContract], None]) -> None:
    contract = TableContract()
    contract.table = table
    with pytest.raises((AssertionError, pytest.fail.Exception, ArchitectureError)):
        test(contract)
