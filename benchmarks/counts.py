"""Parameters and multiply-adds of all 15,625 NAS-Bench-201 cells: the closed form against built networks.

python benchmarks/counts.py
"""

from __future__ import annotations

import time

import pandas as pd
import torch
from common import data_folder, machine, print_table
from torch.utils.flop_counter import FlopCounterMode

from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.types import Task


def main() -> None:
    """Measure and print."""
    space, task = NASBench201(), Task("cifar10", 10)
    start = time.perf_counter()
    table = Scorer(space, "params, flops", "digits", workers=0).score(space)
    through = time.perf_counter() - start
    start = time.perf_counter()
    closed = {
        architecture: (space.parameters(architecture, task), space.flops(architecture, task)) for architecture in space
    }
    direct = time.perf_counter() - start
    start = time.perf_counter()
    kinds = {tuple(sorted(architecture.genotype)): architecture for architecture in space}
    wrong = sum(closed[architecture] != _built(space, architecture, task) for architecture in kinds.values())
    built = time.perf_counter() - start
    published = pd.read_csv(data_folder() / "nats-tss-freerea" / "cifar10" / "params.csv")["params"]
    unequal = sum(round(p * 1e6) != closed[architecture][0] for p, architecture in zip(published, space, strict=True))
    print(machine())
    print_table(
        ["what", "seconds", "result"],
        [
            ["closed form, all cells", direct, f"{len(closed)} cells"],
            ["the same through Scorer, as a table", through, f"{len(table)} rows"],
            ["built on the meta device, one a multiset of operations", built, f"{len(kinds)} built, {wrong} differ"],
            ["parameters against the published ones", 0.0, f"{len(published)} compared, {unequal} differ"],
        ],
    )


def _built(space: NASBench201, architecture: object, task: Task) -> tuple[int, int]:
    with torch.device("meta"):
        network = space.build(architecture, task)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(2, *task.input_shape))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 4


if __name__ == "__main__":
    main()
