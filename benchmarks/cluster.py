"""How well a Ray cluster works beside local processes, how fast its driver is, and what large runs will take.

    python benchmarks/cluster.py [--cells 40] [--workers 2] [--rounds 2] [--networks 2] [--results 20000]

Local processes and as many CPUs of a Ray cluster on this machine score the same NAS-Bench-201 cells by turns. What
counts is the share of the wall-clock time that the workers compute, from the moment that all are warm, and the
processor time that they take for it: both are hardly touched by what else runs. Then Ray returns scores that take no
time to compute, which is the most that a driver takes in; and some networks of two large runs are scored by all
proxies, for the processor time of the whole ones.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from common import data_folder, machine, print_table, score_timed

from trainless.evaluation import EquivalenceClass, score_class
from trainless.proxies import PROXIES
from trainless.scoring import Scorer, parts_of
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.types import Score
from trainless.workers import LocalWorkers, RayWorkers, Workers, run_in_workers, worker_pool

PROXIES_TIMED = "snip, grad_norm, synflow, nwot, zen"
DISTINCT = 5260  # networks among the 15,625 cells of NAS-Bench-201
WORKERS = (1, 64, 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"cells": 40, "workers": 2, "rounds": 2, "networks": 2, "results": 20000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    os.environ.update(RAY_memory_monitor_refresh_ms="0")  # what else runs here may need the memory
    RayWorkers(most=arguments.workers).connect()  # begins a cluster of so many CPUs
    print(f"{machine()}; batch 64 of CIFAR-10, {arguments.cells} NAS-Bench-201 cells, proxies {PROXIES_TIMED}\n")
    share = efficiency(arguments.cells, arguments.workers, arguments.rounds)
    driver(arguments.results)
    cost(arguments.networks, share)


def efficiency(cells: int, workers: int, rounds: int) -> float:
    """Print the share of their time that workers compute, and give that of Ray."""
    scorer = Scorer(NASBench201(), PROXIES_TIMED, data_folder() / "cifar-10-batches-bin")
    units = units_of(scorer, cells)
    pools: dict[str, Workers] = {"local processes": LocalWorkers(workers), "Ray": RayWorkers()}
    rows, found = [], {name: list[tuple[float, float, float]]() for name in pools}
    for number in range(rounds):
        for name in pools if number % 2 else reversed(pools):  # neither always comes first
            with worker_pool(score_timed, scorer.protocol, pools[name], no_loss) as compute:
                list(compute(units[: 2 * workers]))  # every worker starts, and imports what it needs
                start = time.perf_counter()
                seconds = np.array([pair for _, pair in compute(units)])
                wall = time.perf_counter() - start
            computed, processor = seconds.sum(axis=0)
            found[name].append((wall, computed / (workers * wall), processor))
            rows.append([name, number + 1, wall, computed, processor, f"{computed / (workers * wall):.1%}"])
    header = ["workers", "round", "wall-clock, s", "computed, s", "of the processor, s", "share of the time"]
    print_table(header, rows)
    (wall, share, processor), (ray_wall, ray_share, ray_processor) = (np.mean(found[name], axis=0) for name in pools)
    by_shares = ray_share / share * processor / ray_processor
    print(f"\nthe efficiency of Ray by that of {workers} local processes: by wall-clocks, on an idle machine, ", end="")
    print(f"{wall / ray_wall:.1%}; by shares and processor seconds, whatever else runs, {by_shares:.1%}\n")
    return float(ray_share)


def driver(units: int) -> None:
    """Print how many scores that cost nothing come back in a second."""
    cell = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    scores = [Score(cell, name, 1.5, seconds=0.1) for name in PROXIES]
    start = time.perf_counter()
    found = sum(len(result) for _, result in run_in_workers(constant, scores, range(units), RayWorkers(), no_loss))
    rate = found / (time.perf_counter() - start)
    print(f"the driver takes in {rate:,.0f} scores/s that take no time to compute ({found:,} scores)\n")


def cost(networks: int, share: float) -> None:
    """Print the time of whole runs by the seconds of a few networks, at a share of the time that workers compute."""
    folder = data_folder()
    images_of = {
        "cifar10": folder / "cifar-10-batches-bin",
        "cifar100": folder / "image-batches/cifar100_960.npz",
        "ImageNet16": folder / "image-batches/imagenet16_960.npz",
    }
    cells = [seconds_of("nasbench201", "all", images, networks) for images in images_of.values()]
    darts = seconds_of("darts", "robust", images_of["cifar10"], networks)
    rows = []
    for what, computed, stored, seconds, proxies in (
        ("NAS-Bench-201, 3 data sets", 3 * DISTINCT, 3 * NASBench201().size, float(np.mean(cells)), "all"),
        ("DARTS", 1_000_000, 1_000_000, darts, "robust"),
    ):
        hours = [seconds * computed / share / number / 3600 for number in WORKERS]
        scores = stored * len(parts_of(proxies)[1])
        rate = f"{scores / hours[-1] / 3600:,.0f}"
        row = [what, proxies, f"{computed:,}", f"{scores:,}", seconds, *(f"{value:,.1f}" for value in hours), rate]
        rows.append(row)
    header = ["run", "proxies", "networks", "scores", "s a network", *(f"h, {number:,} workers" for number in WORKERS)]
    print_table([*header, f"scores/s of {WORKERS[-1]:,}"], rows)


def seconds_of(space: str, proxies: str, images: Any, networks: int) -> float:
    """Mean processor seconds that a network takes, after one that warms up."""
    scorer = Scorer(space, proxies, images)
    first, *units = units_of(scorer, networks + 1)
    score_class(scorer.protocol, first)
    start = time.process_time()
    for unit in units:
        score_class(scorer.protocol, unit)
    return (time.process_time() - start) / networks


def units_of(scorer: Scorer, count: int) -> list[EquivalenceClass]:
    """Networks of a scorer's space as units of work, the same on every run."""
    rng, names = np.random.default_rng(0), frozenset(proxy.name for proxy in scorer.proxies)
    drawn = [scorer.space.sample(rng) for _ in range(count)]
    return [EquivalenceClass(architecture, ((architecture, names),)) for architecture in drawn]


def constant(scores: Sequence[Score], _: int) -> list[Score]:
    """Scores that take no time."""
    return list(scores)


def no_loss(_: object, reason: str) -> Any:
    """End the measurement: nothing may die in it."""
    raise SystemExit(f"A unit was lost: {reason}")


if __name__ == "__main__":
    main()
