"""Kill a search again and again, resume it, and compare its history with that of one left alone.

    python benchmarks/killed_search.py [--kills 20] [--budget 250]

Each process is sent SIGKILL at a random moment after it has stored something new; the last one is left alone.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import killed, report_kills

SEARCH = (sys.executable, "-m", "trainless.cli", "search", "--data", "digits", "--space",
          "nasbench201(channels=4, cells=1)", "--workers", "0", "--resume", "--json")  # fmt: skip


def main() -> None:
    """Kill, resume, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--budget", type=int, default=250)
    parser.add_argument("--strategy", default="freerea")
    parser.add_argument("--seed", type=int, default=0, help="Decides the moments.")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = [*SEARCH, "--strategy", arguments.strategy, "--budget", str(arguments.budget)]
        start = time.perf_counter()
        alone = finished(command, folder, "alone")
        print(f"left alone: {arguments.budget} evaluations in {time.perf_counter() - start:.1f} s")
        counts = [killed([*command, "--store", str(folder / "killed.db")], folder / "killed.db", moments)
                  for _ in range(arguments.kills)]  # fmt: skip
        resumed = finished(command, folder, "killed")
        same = resumed.drop(columns="seconds").equals(alone.drop(columns="seconds"))
        report_kills(counts, folder / "killed.db", folder / "alone.db", "history", same=same)
        sys.exit(not same)


def finished(command: list[str], folder: Path, name: str) -> pd.DataFrame:
    """Run a search to its end and give its history."""
    rows = folder / f"{name}.csv"
    done = subprocess.run([*command, "--store", str(folder / f"{name}.db"), "--csv", str(rows)], check=True,
                          capture_output=True)  # fmt: skip
    json.loads(done.stdout)
    return pd.read_csv(rows)


if __name__ == "__main__":
    main()
