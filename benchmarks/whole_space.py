"""Hours to score all of NAS-Bench-201 by the proxies of the thesis, from a seeded sample with its interval.

    python benchmarks/whole_space.py [--share 0.05] [--precisions float32,bfloat16] [--workers 2] [--whole]

The 15,625 cells are 5,260 distinct networks, and each is scored once, on 64 CIFAR-10 images (from TRAINLESS_DATA). The
wall-clock time of the sampled networks, scored by as many processes as there are cores, is what the whole takes times
the share; the interval is Student's of the mean seconds a network. With ``--whole`` nothing is sampled. Beside it stand
what the thesis says of its own run (28 hours) and what NASLib's seconds an architecture come to (9.3 s on two threads,
for 15,625 architectures).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

import numpy as np
from common import data_folder, machine, print_table
from plain import PLAIN
from scipy import stats

from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.types import Architecture

NASLIB_SECONDS = 9.3  # an architecture, on two threads
THESIS_HOURS = 28
SPACE = NASBench201()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05, help="of the distinct networks")
    parser.add_argument("--whole", action="store_true", help="all of them")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    distinct = list(dict.fromkeys(SPACE.canonical(cell) for cell in SPACE))
    chosen = distinct if arguments.whole else sampled(distinct, arguments.share)
    print(f"{machine()}; batch 64 of CIFAR-10, {arguments.workers} processes of one thread; {len(chosen):,} of "
          f"{len(distinct):,} distinct networks, {len(PLAIN)} proxies: {', '.join(PLAIN)}\n")  # fmt: skip
    rows = []
    for precision in arguments.precisions.split(","):
        wall, spent = measured(chosen, precision, arguments.workers)
        # What the network itself decides: the spread of the processes' seconds, at the pace of the wall clock.
        seconds = spent * wall / spent.sum()
        half = 0.0 if arguments.whole else stats.t.ppf(0.975, len(seconds) - 1) * stats.sem(seconds)
        hours = [len(distinct) * (seconds.mean() + sign * half) / 3600 for sign in (0, -1, 1)]
        rows.append((f"trainless, {precision}", f"{seconds.mean():.3f}", f"{hours[0]:.2f}",
                     f"{hours[1]:.2f} to {hours[2]:.2f}"))  # fmt: skip
    rows.append(("NASLib, by its seconds", f"{NASLIB_SECONDS:.3f}", f"{SPACE.size * NASLIB_SECONDS / 3600:.1f}", ""))
    rows.append(("the thesis's own run", "", f"{THESIS_HOURS}", ""))
    print_table(("who", "s a network", "hours", "95 % interval"), rows)


def sampled(distinct: Sequence[Architecture], share: float) -> list[Architecture]:
    """A seeded sample of networks."""
    count = max(2, round(share * len(distinct)))
    return [distinct[int(index)] for index in np.random.default_rng(0).choice(len(distinct), count, replace=False)]


def measured(chosen: Sequence[Architecture], precision: str, workers: int) -> tuple[float, np.ndarray]:
    """Wall-clock seconds of scoring these networks, from the start of the processes on, and each one's own."""
    data = data_folder() / "cifar-10-batches-bin"
    with Store("sqlite://") as store:
        scorer = Scorer(SPACE, list(PLAIN), data, precision=precision, workers=workers, store=store)
        start = time.perf_counter()
        scorer.score(chosen)
        wall = time.perf_counter() - start
        spent = store.rows().groupby("architecture")["spent"].sum()
    return wall, spent.to_numpy(float)


if __name__ == "__main__":
    main()
