"""Worker processes: one that is killed is replaced, its work tried once more, and the rest goes on."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import worker_functions

from trainless.errors import InputError, ScoringError
from trainless.workers import LocalWorkers, limited_workers, run_in_workers


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
    reason = "the worker process died 2 times, killed from outside, as where memory runs out"
    assert results == {1: 1, 2: f"2: {reason}", 3: 3, 4: 4}


def test_worker_is_started_again_where_what_starts_it_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    start, failures = BaseProcess.start, iter([True, False, True, False])

    def interrupted(process: BaseProcess) -> None:
        if next(failures, False):
            raise EOFError("unexpected EOF")
        start(process)

    monkeypatch.setattr(BaseProcess, "start", interrupted)
    assert dict(run_in_workers(worker_functions.add, 10, [1, 2], 2, lost)) == {1: 11, 2: 12}
    monkeypatch.setattr(BaseProcess, "start", lambda process: (_ for _ in ()).throw(EOFError))
    with pytest.raises(ScoringError, match="cannot be started: use fewer workers"):
        list(run_in_workers(worker_functions.add, 10, [1, 2], 2, lost))


def test_units_that_all_kill_their_workers_are_all_given_up() -> None:
    results = dict(run_in_workers(worker_functions.die_always, "", [2] * 4, 1, lost))
    assert list(results) == [2]
    assert "died 2 times" in results[2]


def test_workers_that_never_begin_end_the_run() -> None:
    with pytest.raises(ScoringError, match=r"die before they begin \(exit code 3\)"):
        list(run_in_workers(worker_functions.add, worker_functions.Deadly(), list(range(9)), 1, lost))


def test_unit_that_takes_too_long_is_ended_and_the_rest_goes_on() -> None:
    begun = time.monotonic()
    results = dict(run_in_workers(worker_functions.hang, "", [1, 2, 3, 4], LocalWorkers(1, timeout=3.0), lost))
    assert results == {1: 1, 2: "2: it took longer than the limit of 3 s", 3: 3, 4: 4}
    assert time.monotonic() - begun >= 3


def test_time_counts_from_when_a_worker_is_ready() -> None:
    slow = worker_functions.Slow()
    results = dict(run_in_workers(worker_functions.add, slow, [1, 2], LocalWorkers(2, timeout=3.0), lost))
    assert results == {1: 11, 2: 12}


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process can only be limited on Linux")
def test_memory_beyond_the_limit_is_refused_to_a_worker() -> None:
    sizes = [1 << 20, 3 << 30, 2 << 20]
    results = dict(run_in_workers(worker_functions.take_memory, "", sizes, LocalWorkers(1, memory_limit=1 << 30), lost))
    assert results == {1 << 20: 1 << 20, 3 << 30: -1, 2 << 20: 2 << 20}


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"timeout": 0.0}, r"limit on time is 0.0 seconds, expected a number above 0"),
        ({"timeout": math.nan}, r"limit on time is nan seconds"),
        ({"memory_limit": 1 << 20}, r"limit on memory is 1,048,576 bytes, expected at least 524,288,000"),
    ],
)
def test_limits_that_nothing_keeps_are_refused(limits: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        limited_workers(1, **limits)


def test_limits_need_a_process_that_can_be_ended() -> None:
    assert limited_workers(0, timeout=1.0) == LocalWorkers(1, timeout=1.0)
    with pytest.raises(InputError, match="limits on workers and 0 workers"):
        LocalWorkers(0, timeout=1.0)


def test_worker_that_hangs_ends_with_its_parent() -> None:
    script = (
        "import worker_functions\nfrom trainless.workers import run_in_workers\n"
        "list(run_in_workers(worker_functions.hang, '', [2], 1, lambda unit, reason: reason))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
    if not Path(f"/proc/{parent.pid}/task/{parent.pid}/children").exists():
        parent.kill()
        parent.wait()
        pytest.skip("this system does not list a process's children")

    def children(pid: object) -> list[str]:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def workers() -> list[Path]:
        return [Path(f"/proc/{pid}/cmdline") for server in children(parent.pid) for pid in children(server)]

    deadline = time.monotonic() + 60
    while not workers():
        assert time.monotonic() < deadline, "no worker starts"
        time.sleep(0.1)
    (worker,) = workers()
    time.sleep(1.0)  # so that it is at its unit
    parent.kill()
    parent.wait()
    while worker.exists() and worker.read_bytes():
        assert time.monotonic() < deadline, "a worker outlives its run"
        time.sleep(0.1)


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
