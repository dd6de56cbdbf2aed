"""A run killed at any moment goes on where it stopped, to the same table as one left alone."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from trainless.store import Store

pytestmark = pytest.mark.slow

COMMAND = [
    sys.executable, "-m", "trainless.cli", "score", "--data", "digits",
    "--space", "nasbench201(channels=4, cells=1)", "--workers", "2", "--batch-size", "32",
    "--proxies", "params,snip,nwot,zen,synflow:log",
]  # fmt: skip
SAMPLE = 120
ROWS = SAMPLE * 5
LONG = 2000  # so many that no machine is done before the test has interrupted it


def hear_interrupts() -> None:
    """Undo what a shell does to commands in the background, which is to have them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(store: Path, sample: int = SAMPLE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--sample", str(sample), "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )


def stored(path: Path) -> int:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as connection:
            return int(connection.execute("SELECT count(*) FROM scores").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


def wait_until(process: subprocess.Popen[bytes], store: Path, rows: int) -> bool:
    """Wait for so many rows; False where the process ended before."""
    deadline = time.monotonic() + 120
    while stored(store) < rows and process.poll() is None:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)
    return process.poll() is None


def table(path: Path) -> pd.DataFrame:
    with Store(path, create=False) as store:
        return store.table()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("undisturbed") / "scores.db"
    process = start(path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return table(path)


def test_killed_run_resumes_to_the_same_table(undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    moments = random.Random(0)
    kills, last = 0, 0
    for _ in range(3):
        process = start(path)
        # A random number of rows later, and then at a random moment of a batch.
        if wait_until(process, path, last + moments.randrange(1, 60)):
            time.sleep(moments.random())
            process.kill()
            kills += 1
        process.communicate()
        now = stored(path)
        assert now >= last, "a finished score was lost"
        last = now
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert kills >= 1
    final = start(path)
    _, errors = final.communicate(timeout=300)
    assert final.returncode == 0, errors.decode()
    assert stored(path) == ROWS  # nothing twice
    pd.testing.assert_frame_equal(
        table(path).loc[undisturbed.index, undisturbed.columns], undisturbed, check_exact=True
    )  # fmt: skip


def test_interrupt_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    process = start(path, LONG)
    assert wait_until(process, path, 5)
    os.kill(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in errors
    assert b"run the same command again to go on" in errors
    assert 5 <= stored(path) < LONG * 5


def test_workers_end_with_the_run_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path / "scores.db", LONG)
    assert wait_until(process, tmp_path / "scores.db", 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        process.communicate()
        pytest.skip("this system does not list a process's children")
    pids = [int(pid) for pid in children.read_text().split()]
    assert len(pids) >= 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its run"
        time.sleep(0.1)
