"""Search NAS-Bench-201 with scores computed on CIFAR-10 images, and look up how accurate the networks found are.

    python benchmarks/live_search.py [--seeds 5] [--budget 250] [--strategies freerea local random] [--run-off 0]

No network is trained but in the run-off, and no accuracy is read until a search has ended. What the table knows of the
cell that was found is its mean test accuracy after 200 epochs. Scores go to a file that is removed, so that each seed
computes its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from common import data_folder, machine, print_table

from trainless import Search
from trainless.data import load_data
from trainless.search import RunOff
from trainless.tables import benchmark_table


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", default="250")
    parser.add_argument("--strategies", nargs="+", default=["freerea", "local", "random"])
    parser.add_argument("--score", default="freerea")
    parser.add_argument("--run-off", type=int, default=0)
    arguments = parser.parse_args()
    folder = data_folder()
    table = benchmark_table("nasbench201", folder)
    images = load_data(folder / "cifar-10-batches-bin")
    final = RunOff(arguments.run_off) if arguments.run_off else None
    rows = []
    for name in arguments.strategies:
        accuracies, by_score, minutes, counts = [], [], [], []
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as place:
                start = time.perf_counter()
                search = Search(strategy=name, score=arguments.score, data=images, budget=arguments.budget, seed=seed,
                                store=Path(place) / "search.db", run_off=final)  # fmt: skip
                found = search.run()
                minutes.append((time.perf_counter() - start) / 60)
            first = found.evaluations.loc[found.evaluations["score"].idxmax(), "architecture"]
            accuracies.append(table.query(found.best, "cifar10", "test"))
            by_score.append(table.query(str(first), "cifar10", "test"))
            counts.append(len(found.evaluations))
            print(f"{name}, seed {seed}: {accuracies[-1]:.2f} %, {minutes[-1]:.2f} min, {found.best}", flush=True)
        rows.append((
            name, f"{np.mean(minutes):.2f}", f"{np.mean(counts):.0f}", f"{np.mean(by_score):.2f}",
            f"{np.mean(accuracies):.2f}", f"{np.std(accuracies, ddof=1):.2f}", f"{min(accuracies):.2f}",
            f"{max(accuracies):.2f}",
        ))  # fmt: skip
    print("\n" + machine())
    print(f"{len(images):,} images, batch of 64, score {arguments.score}, run-off: {final or 'none'}; "
          f"{arguments.seeds} seeds; the best cell has {table.optimum('cifar10', 'test')[1]:.2f} %")  # fmt: skip
    header = ("strategy", "minutes", "evaluations", "test by score, %", "test of the choice, %", "deviation", "lowest",
              "highest")  # fmt: skip
    print_table(header, rows)


if __name__ == "__main__":
    main()
