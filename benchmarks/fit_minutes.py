"""Fit CIFAR-10 by the command that users run, for some minutes, and print what comes out on the test images.

    python benchmarks/fit_minutes.py [--minutes 5 15] [--seeds 0 1 2] [--max-params 0.3M] [--out fit-minutes]
                                     [more options of `trainless fit`]

The images are those in TRAINLESS_DATA: 9,000 to train on, 1,000 to validate, 2,000 to test. Networks are from scratch
where no --space is given. Give it a machine that does
nothing else. A fit that is finished is kept in the folder of --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean

from common import data_folder, machine, print_table

USUAL = ("--valid-share", "0.08", "--test-share", "0.2", "--space", "convnet")


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", nargs="+", type=float, default=[5.0, 15.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--max-params", default="0.3M")
    parser.add_argument("--out", type=Path, default=Path("fit-minutes"))
    arguments, others = parser.parse_known_args()
    print(f"{machine()}; at most {arguments.max_params} parameters {' '.join(others)}\n")
    rows = []
    for minutes in arguments.minutes:
        found = [fitted(arguments, minutes, seed, others) for seed in arguments.seeds]
        rows += [
            (f"{minutes:g}", seed, f"{100 * facts['test_accuracy']:.2f}",
             f"{100 * facts['test_accuracy_low']:.2f} to {100 * facts['test_accuracy_high']:.2f}", facts["epochs"],
             f"{facts['parameters']:,}", f"{facts['wall']:.0f}", facts["architecture"])
            for seed, facts in zip(arguments.seeds, found, strict=True)
        ]  # fmt: skip
        if len(found) > 1:
            rows.append((f"{minutes:g}", "mean", f"{100 * mean(facts['test_accuracy'] for facts in found):.2f}"))
    print_table(
        ("minutes", "seed", "test, %", "95 % interval", "epochs", "parameters", "seconds", "network"),
        [(*row, *[""] * (8 - len(row))) for row in rows],
    )


def fitted(arguments: argparse.Namespace, minutes: float, seed: int, others: list[str]) -> dict[str, float | str]:
    """Facts of a fit, and the seconds that the command took."""
    folder = arguments.out / f"{minutes:g} minutes, seed {seed}"
    path, wall = folder / "fit.json", folder / "wall.json"
    if not wall.exists():
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "trainless.cli", "fit", str(data_folder() / "cifar-10-batches-bin"), *USUAL,
             "--max-params", arguments.max_params, "--time", f"{60 * minutes:g}s", "--seed", str(seed),
             "--out", str(folder), "--overwrite", *others],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        wall.write_text(json.dumps(time.perf_counter() - start), encoding="utf-8")
    facts: dict[str, float | str] = json.loads(path.read_text(encoding="utf-8"))
    return facts | {"wall": json.loads(wall.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    main()
