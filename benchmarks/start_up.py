"""Seconds until the first scores are there: what starting costs beside the passes themselves.

    python benchmarks/start_up.py [--cells 6] [--rounds 5] [--before OTHER_CHECKOUT]

Scores a handful of seeded NAS-Bench-201 cells on the embedded digits images, by the command line in fresh processes and
from one program that asks several times, without workers and with two. The least of several rounds counts; seconds of
processors are those of all processes together. With ``--before`` another checkout of the project is measured too, in
turn with this one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, print_table

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "import sys; from trainless.cli import main; sys.argv[0] = 'trainless'; main()"
PROGRAM = """
import sys, time
import numpy as np
from trainless.scoring import Scorer
from trainless.search_spaces import search_space
cells, workers = int(sys.argv[1]), int(sys.argv[2])
space = search_space("nasbench201")
drawn = [space[int(index)] for index in np.random.default_rng(0).choice(space.size, 3 * cells, replace=False)]
for part in range(3):
    start = time.perf_counter()
    Scorer(space, "all", workers=workers).score(drawn[part * cells:(part + 1) * cells])
    print(time.perf_counter() - start)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="PATH", help="another checkout to compare with")
    arguments = parser.parse_args()
    checkouts = {"now": ROOT} | ({"before": arguments.before.resolve()} if arguments.before else {})
    score = ["score", "--data", "digits", "--sample", str(arguments.cells), "--store"]
    commands = {
        "trainless --help": ["--help"],
        "score, no workers": [*score, "0.db", "--workers", "0"],
        "score, 2 workers": [*score, "2.db", "--workers", "2"],
        "score, as many workers as are taken unasked": [*score, "unasked.db"],
    }
    print(f"{machine()}; {arguments.cells} cells, all proxies, the least of {arguments.rounds} rounds\n")
    least: dict[tuple[str, str], tuple[float, float]] = {}
    for _ in range(arguments.rounds):
        for checkout, root in checkouts.items():
            measured = {label: command_seconds(root, command) for label, command in commands.items()}
            for workers in (0, 2):
                for part, seconds in enumerate(program_seconds(root, arguments.cells, workers), 1):
                    measured[f"one program, {workers} workers, call {part}"] = (seconds, float("nan"))
            for label, seconds in measured.items():
                least[label, checkout] = min(seconds, least.get((label, checkout), seconds))
    labels = dict.fromkeys(label for label, _ in least)
    print_table(
        ("what", *(f"{what}, {checkout}" for checkout in checkouts for what in ("s", "s of processors"))),
        [(label, *(f"{part:.2f}" for checkout in checkouts for part in least[label, checkout])) for label in labels],
    )


def environment(root: Path) -> dict[str, str]:
    """The variables of a process that imports one checkout's code."""
    return {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}


def command_seconds(root: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds of a command, and of all processors for it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments], env=environment(root), cwd=folder, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def program_seconds(root: Path, cells: int, workers: int) -> list[float]:
    """Seconds of each of three calls of one program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(PROGRAM, encoding="utf-8")
        printed = subprocess.run(
            [sys.executable, str(path), str(cells), str(workers)], env=environment(root), check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip
    return [float(line) for line in printed.split()]


if __name__ == "__main__":
    main()
