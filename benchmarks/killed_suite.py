"""Kill the suite again and again, run it once more, and compare its table with that of one left alone.

    python benchmarks/killed_suite.py [--kills 10] [--sample 6] [--spaces all] [--data DIR]

Each process is sent SIGKILL at a random moment after it has stored something new; the last one is left alone.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import data_folder, killed, report_kills, stored

PROXIES = "flops, nwot, logsynflow, snip, hybrid, flops_nwot"
MEASURED = ["seconds"]  # what no two runs have in common


def main() -> None:
    """Kill, run once more, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--sample", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--spaces", default="all")
    parser.add_argument("--data", help="images as the suite takes them; those of the public tables by default")
    parser.add_argument("--moments", type=int, default=0, help="Decides the moments.")
    arguments = parser.parse_args()
    moments = random.Random(arguments.moments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = arguments.data or str(data_folder())
        command = [
            sys.executable, "-m", "trainless.cli", "suite", "--data", data, "--spaces", arguments.spaces, "--proxies",
            PROXIES, "--sample", str(arguments.sample), "--seeds", str(arguments.seeds), "--out",
        ]  # fmt: skip
        start = time.perf_counter()
        alone = finished(command, folder / "alone")
        print(f"left alone: {len(alone)} rows, {stored(folder / 'alone' / 'scores.db')} scores in "
              f"{time.perf_counter() - start:.1f} s")  # fmt: skip
        store = folder / "killed" / "scores.db"
        counts = [killed([*command, str(folder / "killed")], store, moments) for _ in range(arguments.kills)]
        resumed = finished(command, folder / "killed")
        same = resumed.drop(columns=MEASURED).equals(alone.drop(columns=MEASURED))
        report_kills(counts, store, folder / "alone" / "scores.db", "table", same=same)
        sys.exit(not same)


def finished(command: list[str], out: Path) -> pd.DataFrame:
    """Run the suite to its end and give its table."""
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    return pd.read_csv(out / "results.csv")


if __name__ == "__main__":
    main()
