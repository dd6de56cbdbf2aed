"""Parameters and multiply-adds of all 15,625 NAS-Bench-201 cells: the closed form against built networks.

With --before, the closed form of an older checkout is timed too, in turns with this one's.

python benchmarks/counts.py [--before path/of/the/older/checkout]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from common import data_folder, machine, print_table
from torch.utils.flop_counter import FlopCounterMode

from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.types import Task

ROOT = Path(__file__).resolve().parent.parent
TURNS = 5
# Run by either checkout: seconds of processor time, of which other processes take none.
TIMED = """
import time
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.types import Task
space, task = NASBench201(), Task("cifar10", 10)
cells = list(space)
times = []
for _ in range(5):
    start = time.process_time()
    for cell in cells:
        space.parameters(cell, task), space.flops(cell, task)
    times.append(time.process_time() - start)
print(min(times))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="an older checkout")
    before = parser.parse_args().before
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
    if before:
        turns = [(_timed(before), _timed(ROOT)) for _ in range(TURNS)]
        old, new = (min(times) for times in zip(*turns, strict=True))
        print(f"\nclosed form, processor time: {old:.4f} s before, {new:.4f} s now, ratio {new / old:.2f}")


def _timed(checkout: Path) -> float:
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
    done = subprocess.run([sys.executable, "-c", TIMED], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _built(space: NASBench201, architecture: object, task: Task) -> tuple[int, int]:
    with torch.device("meta"):
        network = space.build(architecture, task)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(2, *task.input_shape))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 4


if __name__ == "__main__":
    main()
