"""Fit networks to the embedded digits from the command line, and print how good they are and how long it took.

    python benchmarks/digits.py [--time 2m] [--seeds 3] [--test-share 0.3333] [--valid-share 0.1]
                                [more options of `trainless fit`]

The seed decides which third of the images is held out to be tested on, and all else. Give it a machine that does
nothing else: what a fit comes to in two minutes depends on how fast it is. Beside it is what a support vector
machine comes to that learns from the same images, those to validate with left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import machine, print_table
from scipy.stats import t
from sklearn.svm import SVC

from trainless.data import load_splits


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", default="2m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-share", default="0.3333")
    parser.add_argument("--valid-share", default="0.1")
    arguments, others = parser.parse_known_args()
    print(f"{machine()}; digits, {arguments.time} a fit {' '.join(others)}\n")
    rows = [fitted(arguments, seed, others) for seed in range(arguments.seeds)]
    print_table(
        (
            "seed",
            "test %",
            "SVM's test %",
            "test images",
            "parameters",
            "scored",
            "epochs",
            "seconds within",
            "seconds in all",
        ),
        rows,
    )
    accuracies = [float(row[1]) for row in rows]
    mean = sum(accuracies) / len(rows)
    print(f"\nMean {mean:.2f} %", end="")
    if len(rows) > 1:
        deviation = (sum((accuracy - mean) ** 2 for accuracy in accuracies) / (len(rows) - 1)) ** 0.5
        half = float(t.ppf(0.975, len(rows) - 1)) * deviation / len(rows) ** 0.5
        print(f", 95 % interval {mean - half:.2f} to {min(100.0, mean + half):.2f} (Student, over seeds)", end="")
    print()


def fitted(arguments: argparse.Namespace, seed: int, others: list[str]) -> list[Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        shares = ["--test-share", arguments.test_share, "--valid-share", arguments.valid_share]
        done = subprocess.run(
            [sys.executable, "-m", "trainless.cli", "fit", "digits", "--time", arguments.time, "--seed", str(seed),
             *shares, *others, "--out", str(Path(folder) / "run"), "--json"],
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    facts = json.loads(done.stdout)
    return [
        seed, f"{100 * facts['test_accuracy']:.2f}", f"{machine_of(arguments, seed):.2f}", facts["test_images"],
        f"{facts['parameters']:,}",
        facts["evaluations"], facts["epochs"], f"{facts['seconds']:.0f}", f"{seconds:.0f}",
    ]  # fmt: skip


def machine_of(arguments: argparse.Namespace, seed: int) -> float:
    """Test accuracy, in percent, of a support vector machine."""
    valid, test = float(arguments.valid_share), float(arguments.test_share)
    splits = load_splits("digits", fractions=(1 - valid - test, valid, test), seed=seed, image_size=8)
    images = {name: part.images.reshape(len(part), -1) / 255 for name, part in splits.parts.items()}
    fitted = SVC(C=10, gamma=0.1).fit(images["train"], splits.train.labels)
    return 100 * float(fitted.score(images["test"], splits.test.labels))


if __name__ == "__main__":
    main()
