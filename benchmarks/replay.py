"""Search NAS-Bench-201 with FreeREA's published scores over many seeds, and print how accurate the choices are.

    python benchmarks/replay.py [--seeds 100] [--budget 250]

The search sees no accuracy. The run-off compares the ten best-scored by the split ``valid``, as if they were trained.
A target is the test accuracy that a good search reaches; the evaluations to it are the median over all seeds.
"""

from __future__ import annotations

import argparse

from common import data_folder, machine, print_table

from trainless.search import replay
from trainless.strategies import STRATEGIES
from trainless.tables import benchmark_table, published_scores

TARGETS = {"cifar10": 94.0, "cifar100": 73.0, "ImageNet16-120": 46.0}
# NATS-Bench (Dong et al., 2021): regularized evolution that trains what it evaluates, 12,000 seconds of training.
TRAINED = {"cifar10": 93.92, "cifar100": 71.84, "ImageNet16-120": 45.15}
# Published for FreeREA, mean of 30 runs.
FREEREA = {"cifar10": 94.36, "cifar100": 73.51, "ImageNet16-120": 46.34}


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--budget", default="250")
    parser.add_argument("--scores", nargs="+", default=["freerea", "hybrid"])
    arguments = parser.parse_args()
    folder = data_folder()
    found = replay(
        benchmark_table("nasbench201", folder),
        {dataset: published_scores(f"freerea.{dataset}", folder) for dataset in TARGETS},
        strategies=list(STRATEGIES), searched=arguments.scores, seeds=arguments.seeds, budget=arguments.budget,
        run_off=10, targets=TARGETS,
    )  # fmt: skip
    print(machine())
    print("; ".join(f"{name}: {value}" for name, value in found.protocol.items()), end="\n\n")
    header = ("data set", "strategy", "score", "test, %", "deviation", "after run-off, %", "deviation", "target, %",
              "reached by", "evaluations to it", "us an evaluation")  # fmt: skip
    rows = [
        (row["dataset"], row["strategy"], row["score"], f"{row['mean_test']:.2f}", f"{row['std_test']:.2f}",
         f"{row['mean_test_runoff']:.2f}", f"{row['std_test_runoff']:.2f}", row["target"], f"{row['reached']:.0%}",
         f"{row['evaluations_to_target']:g}", f"{row['microseconds']:.0f}")
        for row in found.rows
    ]  # fmt: skip
    for dataset in TARGETS:
        rows.append((dataset, "FreeREA as published", "freerea", f"{FREEREA[dataset]:.2f}", *[""] * 7))
        rows.append((dataset, "REA with training", "12,000 s", f"{TRAINED[dataset]:.2f}", *[""] * 7))
        rows.append((dataset, "optimum", "", f"{found.optima[dataset]:.2f}", *[""] * 7))
    order = list(TARGETS)
    print_table(header, sorted(rows, key=lambda row: order.index(str(row[0]))))


if __name__ == "__main__":
    main()
