"""Seconds for the study of the Hybrid's weights: all 40,401 pairs, against computing each pair by itself.

    python benchmarks/sweep.py [--pairs 60]

FreeREA's LogSynflow and NWOT of all 15,625 NAS-Bench-201 cells from TRAINLESS_DATA. Brute force is timed on a seeded
sample of pairs, which also have to agree, and its time for all pairs is computed from it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from common import data_folder, machine, print_table
from scipy.stats import kendalltau, spearmanr

from trainless.aggregation import hybrid, sweep
from trainless.ranking import finite_last


def main() -> None:
    """Time and compare on each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60)
    pairs = parser.parse_args().pairs
    table = pd.read_csv(data_folder() / "tables" / "nasbench201.csv.gz")
    rows = [study(name, table[f"{name}.test"], pairs) for name in ("cifar10", "cifar100", "ImageNet16-120")]
    print(f"{machine()}; 15,625 cells, 201 x 201 weights, Kendall and Spearman each, one process")
    print_table(
        [
            "data set",
            "all pairs, s",
            "brute force, s (from the sample)",
            "faster",
            "largest difference",
            "best weights",
        ],
        rows,
    )


def study(name: str, accuracies: pd.Series, pairs: int) -> list[object]:
    """One row of the table."""
    folder = data_folder() / "nats-tss-freerea" / name
    first, second = (pd.read_csv(folder / f"{file}.csv")[file] for file in ("logsynflow", "naswot"))
    start = time.perf_counter()
    found = sweep(first, second, accuracies)
    seconds = time.perf_counter() - start
    places = np.random.default_rng(0).integers(1, 201, (pairs, 2))
    start, differences = time.perf_counter(), []
    for row, column in places:
        values = finite_last(hybrid(first, second, alpha=found.alphas[row], beta=found.betas[column]))
        differences.append(abs(kendalltau(values, accuracies).statistic - found.kendall[row, column]))
        differences.append(abs(spearmanr(values, accuracies).statistic - found.spearman[row, column]))
    brute = (time.perf_counter() - start) / pairs * found.kendall.size
    alpha, beta, value = found.best()
    best = f"{alpha:g}, {beta:g}: {value:.4f}"
    return [name, f"{seconds:.1f}", f"{brute:.0f}", f"{brute / seconds:.0f}x", f"{max(differences):.0e}", best]


if __name__ == "__main__":
    main()
