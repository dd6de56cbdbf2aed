"""Rows written to a store and its leaderboard read: seconds, on SQLite and on PostgreSQL.

    python benchmarks/store_rows.py [--rows 10000000] [--batch 50000] [--url postgresql://...] [--only sqlite]

Simulated scores of 32 proxies go through `Store.write` in batches; then the best 10 of a proxy are asked for, and what
`trainless store stats` prints. Without --url the server of the tests is started, with the settings of a new one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from common import machine, print_table

from trainless.store import Run, Statistics, Store
from trainless.types import Score

PROXIES = [f"proxy_{number:02}" for number in range(32)]
RUN = Run("nasbench201", "cifar10:00", 0, "channels=16,cells=5,classes=10,batch=64,dtype=float32,repeats=1")
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def batches(rows: int, size: int) -> Iterator[list[Score]]:
    """Scores of all proxies, architecture by architecture, each architecture with a string of its own."""
    rng = np.random.default_rng(0)
    batch: list[Score] = []
    for number in range(-(-rows // len(PROXIES))):
        names = [OPERATIONS[number // 5**edge % 5] for edge in range(6)]
        text = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*names) + f" {number}"
        values = rng.normal(size=len(PROXIES)).tolist()
        batch += [Score(text, *pair, "ok", "", 0.25, 512.0, 0.1) for pair in zip(PROXIES, values, strict=True)]
        if len(batch) >= size:
            yield batch
            batch = []
    yield batch


def timed(action: Callable[[], object]) -> np.ndarray:
    """Seconds by the clock, and of the processor in this process: they are far apart on a machine that others use."""
    begun = np.array([time.perf_counter(), time.process_time()])
    action()
    return np.array([time.perf_counter(), time.process_time()]) - begun


def measured(location: str | Path, rows: int, size: int) -> tuple[object, ...]:
    """Write, read and count in a new store; one line of the table."""
    versions = dict.fromkeys(PROXIES, 1)
    with Store(location) as store:
        writing = sum(timed(partial(store.write, RUN, batch, versions)) for batch in batches(rows, size))
    with Store(location, create=False) as store:
        counted: list[Statistics] = []
        reading = [
            timed(lambda: store.best(RUN, PROXIES[7], 10)),
            timed(store.count),
            timed(lambda: counted.append(store.statistics())),
        ]
    found = counted[0]
    assert found.scores >= rows
    shown = (f"{clock:.2f} ({processor:.2f})" for clock, processor in (writing, *reading))
    return f"{found.scores:,}", *shown, f"{found.scores / writing[0]:,.0f}", f"{found.size / found.scores:.0f}"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=50_000)
    parser.add_argument("--url", help="an empty database of a server")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    lines = []
    if arguments.only != "postgresql":
        with tempfile.TemporaryDirectory() as folder:
            lines.append(("SQLite", *measured(Path(folder) / "scores.db", arguments.rows, arguments.batch)))
    if arguments.only != "sqlite":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
        from postgresql_server import Server

        server = None if arguments.url else Server(settings="")
        url = arguments.url or server.new_database()
        try:
            lines.append(("PostgreSQL", *measured(url, arguments.rows, arguments.batch)))
        finally:
            if server:
                server.close()
    header = ["store", "rows", "writing", "best 10", "count", "statistics", "rows written a second", "bytes a row"]
    print_table(header, lines)
    print(f"Seconds by the clock (and of this process's processor); {machine()}")


if __name__ == "__main__":
    main()
