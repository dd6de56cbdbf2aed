"""Worker processes: one that is killed is replaced, its work tried once more, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import worker_functions

from trainless.errors import ScoringError
from trainless.workers import run_in_workers


def lost(unit: int, reason: str) -> str:
    return f"{unit}: {reason}"


def test_results_come_from_processes_or_from_here_alike() -> None:
    for workers in (0, 2):
        results = dict(run_in_workers(worker_functions.add, 10, [1, 2, 3], workers, lost))
        assert results == {1: 11, 2: 12, 3: 13}


def test_killed_worker_is_replaced_and_its_unit_retried(tmp_path: Path) -> None:
    results = dict(run_in_workers(worker_functions.die_once, str(tmp_path), [1, 2, 3, 4], 2, lost))
    assert results == {1: 1, 2: 2, 3: 3, 4: 4}
    assert (tmp_path / "died").exists()


def test_unit_that_kills_its_worker_twice_is_given_up() -> None:
    results = dict(run_in_workers(worker_functions.die_always, "", [1, 2, 3, 4], 1, lost))
    assert results == {1: 1, 2: "2: the worker process died 2 times", 3: 3, 4: 4}


def test_workers_that_never_answer_end_the_run() -> None:
    with pytest.raises(ScoringError, match=r"die before they answer \(exit code 3\)"):
        list(run_in_workers(worker_functions.die_at_once, "", list(range(9)), 1, lost))


def test_error_in_the_function_is_told() -> None:
    with pytest.raises(ScoringError, match="unit 1 is odd"):
        list(run_in_workers(worker_functions.fail, "", [1], 1, lost))


@pytest.mark.skipif(sys.platform != "linux", reason="only there processes are forked off a server")
def test_processes_have_the_engine_from_the_start_and_leave_interrupts_to_the_parent() -> None:
    assert dict(run_in_workers(worker_functions.imported, "trainless.evaluation", [1, 2], 2, lost)) == {
        1: True,
        2: True,
    }
    assert dict(run_in_workers(worker_functions.deaf, "", [1, 2], 2, lost)) == {1: True, 2: True}


def test_what_scores_networks_imports_no_tables_and_no_optimizers() -> None:
    unwanted = {"pandas", "scipy.optimize", "sqlalchemy"}
    code = f"import sys, trainless.evaluation; sys.exit(not {unwanted}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
