"""Seconds a network: shared passes in two processes against each proxy by itself in the plain way.

    python benchmarks/speed.py [--cells 20] [--batch-size 64] [--precision float32] [--device cpu] [--workers N]
    python benchmarks/speed.py --before OTHER_CHECKOUT [--cells 20] [--rounds 3] [--precision float32]

Both score the same seeded NAS-Bench-201 cells on CIFAR-10 images (from TRAINLESS_DATA) in one run. The plain way
(`plain.py`) has all threads; ours has one process of one thread a core, warmed up by a light cell each. With
``--device cuda`` both compute there: the plain way by PyTorch's defaults, which round convolutions, ours in one process
or as many as ``--workers`` says.

With ``--before`` ours is measured against another checkout of the project: both score each cell in turn, in processes
of their own that have one thread, and what counts is the ratio of their processor times, whatever else runs. Two
processes of one checkout differ by up to a tenth for as long as they live: hence several rounds, of which the least
counts. The precision is that of ours, of this checkout; the plain way and the other one are in float32.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from common import data_folder, machine, matrix_product_peak, print_table
from plain import PLAIN
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainless.evaluation import EquivalenceClass, build_network, score_class
from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.types import Architecture

THESIS = list(PLAIN)
SETS = {"all": THESIS, "all_but_grasp": [name for name in THESIS if name != "grasp"]}
SPACE = NASBench201()
# Light, and none of the sample: what they take is left out of the time.
WARM_UP = ["|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
           "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|"]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or auto")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, help="one a core on the cpu, 1 on a GPU unless given")
    parser.add_argument("--before", type=Path, metavar="PATH", help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="of fresh processes, with --before")
    arguments = parser.parse_args()
    if arguments.cells < 2:
        parser.error(f"--cells is {arguments.cells}, expected at least 2")
    if arguments.before:
        compare(arguments.before, arguments.cells, arguments.batch_size, arguments.rounds, arguments.precision)
    else:
        cores = os.cpu_count() or 1
        workers = arguments.workers or (cores if arguments.device == "cpu" else 1)
        against_plain(arguments.cells, arguments.batch_size, arguments.precision, arguments.device, workers)


def against_plain(cells: int, batch_size: int, precision: str, device: str, workers: int) -> None:
    """Measure against the plain way and print."""
    cores = os.cpu_count() or 1
    data = data_folder() / "cifar-10-batches-bin"
    chosen = sample(cells)
    options: dict[str, Any] = {
        "batch_size": batch_size, "precision": precision, "workers": workers, "device": device,
    }  # fmt: skip
    scorers = {label: Scorer(SPACE, names, data, store=Store("sqlite://"), **options) for label, names in SETS.items()}
    taken = ", ".join(f"{scorer.protocol.precision} ({label})" for label, scorer in scorers.items())
    where = "" if device == "cpu" else f", {torch.cuda.get_device_name(device)}"
    print(f"{machine()}{where}; batch {batch_size} of CIFAR-10, {len(chosen)} NAS-Bench-201 cells")
    print(f"plain: 1 process, {cores} threads, float32; ours: {workers} processes of 1 thread, {taken}\n")

    ours = {label: _seconds(scorer, chosen) for label, scorer in scorers.items()}
    plain, difference = _plain(scorers["all"], chosen)
    print_table(["proxy, plain way", "seconds a network"], [[name, value] for name, value in plain.items()])
    print(f"\nlargest relative difference between the two ways, grasp left out: {difference:.1e}\n")

    peaks = _peaks(cores, device)
    rows = []
    for label, scorer in scorers.items():
        baseline = sum(plain[name] for name in SETS[label])
        flop = _flop(scorer, chosen)
        share = flop / (ours[label] * peaks[scorer.protocol.precision.partition("-")[0]])
        rows.append([label, baseline, ours[label], f"{baseline / ours[label]:.1f}x", flop / 1e9, f"{share:.0%}"])
    print_table(["proxies", "plain, s", "ours, s", "faster", "GFLOP a network", "share of peak"], rows)
    assert scorers["all"].store is not None
    memory = scorers["all"].store.rows()["peak_memory"].max()
    print(f"\nhighest peak memory of a worker: {memory:.0f} MiB")
    _tell_peaks(peaks, device, cores)


def _peaks(threads: int, device: str = "cpu") -> dict[str, float]:
    """FLOP a second of products of matrices, by the precision of scores that they limit."""
    return {
        name: matrix_product_peak(threads, device, dtype)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }


def _tell_peaks(peaks: Mapping[str, float], device: str, threads: int) -> None:
    told = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {name}" for name, peak in peaks.items())
    print(f"matrix-product peak on {device} with {threads} thread(s): {told}; shares are of that of the scores")


def compare(before: Path, cells: int, batch_size: int, rounds: int, precision: str) -> None:
    """Score each cell with both checkouts in turn, and print the ratio of their times."""
    checkouts = {"before": before.resolve(), "now": Path(__file__).resolve().parents[1]}
    print(f"{machine()}; batch {batch_size} of CIFAR-10, {cells} NAS-Bench-201 cells, 1 process of 1 thread;")
    print(f"before in float32, now in {precision};")
    print(f"the least of {rounds} rounds, each in processes of its own\n")
    chosen = list(map(str, sample(cells)))
    least: dict[tuple[str, str, str], float] = {}
    for number in range(rounds):
        processes = {
            label: _process(checkout, batch_size, precision if label == "now" else "float32")
            for label, checkout in checkouts.items()
        }
        for proxies, names in SETS.items():
            for position, cell in enumerate([WARM_UP[0], *chosen]):
                # Neither always comes first.
                for label in checkouts if (number + position) % 2 else reversed(checkouts):
                    seconds = _ask(processes[label], names, cell)
                    key = label, proxies, cell
                    least[key] = min(seconds, least.get(key, seconds))
        for process in processes.values():
            process.communicate()
    peaks, rows = _peaks(1), []
    for proxies, names in SETS.items():
        scorer = Scorer(
            SPACE, names, data_folder() / "cifar-10-batches-bin", batch_size=batch_size, precision=precision, workers=0
        )
        limits = (peaks["float32"], peaks[scorer.protocol.precision.partition("-")[0]])
        flop = _flop(scorer, sample(cells))
        earlier, now = ([least[label, proxies, cell] for cell in chosen] for label in checkouts)
        ratios = [new / old for old, new in zip(earlier, now, strict=True)]
        shares = [f"{flop / (mean(own) * peak):.0%}" for own, peak in zip((earlier, now), limits, strict=True)]
        rows.append(
            [proxies, mean(earlier), mean(now), f"{sum(now) / sum(earlier):.3f}", f"{median(ratios):.3f}", *shares],
        )
    print_table(["proxies", "before, s", "now, s", "ratio", "median ratio", "share before", "share now"], rows)
    print("\nshares count the operations that the passes do now")
    _tell_peaks(peaks, "cpu", 1)


def _process(checkout: Path, batch_size: int, precision: str) -> subprocess.Popen[str]:
    """A process that scores the cells that it is told with one checkout's code."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    environment["TRAINLESS_DATA"] = str(data_folder())
    script = Path(__file__).with_name("cell_seconds.py")
    command = [sys.executable, str(script), "--batch-size", str(batch_size), "--precision", precision]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(process: subprocess.Popen[str], names: Sequence[str], cell: str) -> float:
    """Processor seconds that a process takes for a cell."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{','.join(names)} {cell}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def sample(count: int) -> list[Architecture]:
    import numpy as np

    rng = np.random.default_rng(0)
    return [SPACE[int(i)] for i in rng.choice(SPACE.size, count, replace=False)]


def _seconds(scorer: Scorer, chosen: Sequence[Architecture]) -> float:
    """Wall-clock seconds a network, from the moment that all workers are warm."""
    moments: list[float] = []
    scorer.score([*WARM_UP[: len(chosen)], *map(str, chosen)], lambda done, _: moments.append(time.perf_counter()))
    return (moments[-1] - moments[len(WARM_UP)]) / len(chosen)


def _plain(scorer: Scorer, chosen: Sequence[Architecture]) -> tuple[dict[str, float], float]:
    """Seconds a network of each proxy by itself, and how far its values are from ours at most."""
    device = scorer.protocol.device
    batch = scorer.batch.images.to(device), scorer.batch.labels.to(device)
    ours = scorer.score(chosen[:3])
    torch.set_num_threads(os.cpu_count() or 1)
    times = dict.fromkeys(PLAIN, 0.0)
    difference = 0.0
    PLAIN["snip"](build_network(scorer.protocol, chosen[0], 0).to(device), batch)
    for number, architecture in enumerate(chosen):
        network = build_network(scorer.protocol, SPACE.canonical(architecture), 0).to(device)
        for name, formula in PLAIN.items():
            start = time.perf_counter()
            value = formula(network, batch)
            times[name] += (time.perf_counter() - start) / len(chosen)
            if number < len(ours) and name in ("snip", "grad_norm", "fisher", "synflow", "logsynflow", "nwot", "jacov"):
                expected = ours[name].iloc[number]
                difference = max(difference, abs(value - expected) / max(abs(expected), 1e-12))
    return times, difference


class _Count(TorchDispatchMode):
    """Adds up the floating-point operations of convolutions and matrix products.

    PyTorch's FlopCounterMode also follows modules, and so cannot be used around `torch.autograd.grad`.
    """

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _flop(scorer: Scorer, chosen: Sequence[Architecture]) -> float:
    """Floating-point operations a network of convolutions and matrix products, as our passes do them."""
    names = frozenset(each.name for each in scorer.proxies)
    with _Count() as counter:
        for architecture in chosen:
            unit = EquivalenceClass(SPACE.canonical(architecture), ((architecture, names),))
            failed = [each.reason for each in score_class(scorer.protocol, unit) if each.status == "failed"]
            assert not failed, failed
    return counter.total / len(chosen)


if __name__ == "__main__":
    main()
