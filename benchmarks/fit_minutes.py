"""Fit CIFAR-10 by the command that users run, for some minutes, and print what comes out on the test images.

    python benchmarks/fit_minutes.py [--minutes 5 15] [--seeds 0 1 2] [--max-params 0.3M] [--out fit-minutes]
                                     [more options of `trainless fit`]

The images are those in TRAINLESS_DATA: 9,000 to train on, 1,000 to validate, 2,000 to test. Networks are from scratch
where no --space is given. The last column is what the same networks come to with mirror averaging, as
`fit --mirror-average` exports them. Give it a machine that does nothing else. A fit that is finished is kept in the
folder of --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from common import data_folder, machine, print_table

from trainless.automl.folders import RunFolder
from trainless.automl.inference import compute_logits
from trainless.data import load_splits
from trainless.operations import MirrorAveraged

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
             f"{facts['parameters']:,}", f"{facts['wall']:.0f}", facts["architecture"], f"{facts['mirrored']:.2f}")
            for seed, facts in zip(arguments.seeds, found, strict=True)
        ]  # fmt: skip
        if len(found) > 1:
            tests, mirrored = ([facts[name] for facts in found] for name in ("test_accuracy", "mirrored"))
            rows.append((f"{minutes:g}", "mean", f"{100 * mean(tests):.2f}", *[""] * 5, f"{mean(mirrored):.2f}"))
    print_table(
        ("minutes", "seed", "test, %", "95 % interval", "epochs", "parameters", "seconds", "network", "mirrored, %"),
        rows,
    )


def fitted(arguments: argparse.Namespace, minutes: float, seed: int, others: list[str]) -> dict[str, Any]:
    """Facts of a fit, the seconds that the command took, and the accuracy with mirror averaging."""
    folder = arguments.out / f"{minutes:g} minutes, seed {seed}"
    wall = folder / "wall.json"
    if not wall.exists():
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "trainless.cli", "fit", str(data_folder() / "cifar-10-batches-bin"), *USUAL,
             "--max-params", arguments.max_params, "--time", f"{60 * minutes:g}s", "--seed", str(seed),
             "--out", str(folder), "--overwrite", *others],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        wall.write_text(json.dumps(time.perf_counter() - start), encoding="utf-8")
    run = RunFolder.read(folder)
    test = load_splits(data_folder() / "cifar-10-batches-bin").test
    logits = compute_logits(MirrorAveraged(run.network()).eval(), test.images)
    mirrored = 100 * float((logits.argmax(1).numpy() == test.labels).mean())
    return {**run.facts, "wall": json.loads(wall.read_text(encoding="utf-8")), "mirrored": mirrored}


if __name__ == "__main__":
    main()
