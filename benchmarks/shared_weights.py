"""Hold searches by gradients, shared weights and scored mixtures against the table of NAS-Bench-201 and other searches.

    python benchmarks/shared_weights.py [--seeds 3] [--minutes 30] [--epochs 1000] [--images 9000] [--rate 0.01]
                                        [--out shared_weights] [--only darts gdas ...] [--rank] [--cells 200]
                                        [--workers 2] [--picture supernets.png]

The supernets have 8 channels and 2 cells a stage, and learn from CIFAR-10 images in TRAINLESS_DATA, for so many minutes
of one thread or, if that is sooner, epochs. `te-nas` and `zero-cost-pt`, which learn nothing, take as long as they
take. `spos` searches by evolution, for 250 evaluations that come on top, on the shared weights of `one-shot`; `enas`
measures twenty paths in the end. What a search finds is looked up: the mean test accuracy of its cell on CIFAR-10 after
200 epochs, which no search has seen. Beside them stand one cell at random, the best of 250 by the score `robust`, and
FreeREA's search of 250 by its own score. A rate of 0.01 lets preferences go in some hundred steps as far as they go in
the papers' some ten thousand. Seconds are of one thread.

With --rank the supernet of `one-shot` is trained once uniformly and once guided by a zero-cost score in the first half
of the same time, which the seconds of that score are a part of, and the accuracies of its paths are correlated with the
table over cells that are different networks, beside zero-cost scores of the networks in their own size. Intervals are
of 1,000 bootstrap samples of cells; that of what the guide adds is of the seeds, each of whose two supernets are held
against one another.

With --picture the shares of options in DARTS's search of the first seed are drawn, and nothing else is done. A search
that fails, for the time is over before it learnt anything, is said and left out.

What is finished is a line of a file in the folder of --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import append_row, data_folder, interval, machine, print_table, read_rows
from scipy.stats import bootstrap, spearmanr

from trainless import Search
from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.estimators import Setting, distinct_sample, estimator
from trainless.report import shares_figure
from trainless.search_spaces import search_space
from trainless.strategies import Strategy, strategy
from trainless.tables import BenchmarkTable, benchmark_table

SPACE, WHOLE = search_space("nasbench201(channels=8, cells=2)"), search_space("nasbench201")
BY_GRADIENTS = ("darts", "pc-darts", "p-darts", "gdas", "drnas")
LEARNING = {
    **{name: f"{name}(epochs={{epochs}}, minutes={{minutes}}, rate={{rate}})" for name in BY_GRADIENTS},
    "darts-2": "darts(epochs={epochs}, minutes={minutes}, rate={rate}, order=2)",
    "enas": "enas(epochs={epochs}, minutes={minutes})", "te-nas": "te-nas", "zero-cost-pt": "zero-cost-pt",
}  # fmt: skip
OTHERS = {"random": "", "robust": "random", "freerea": "freerea"}
SHARED = "spos"
BUDGET = 250  # evaluations of the other searches
ONE_SHOT = {"one-shot": "none", "one-shot, guided": "flops_nwot"}
ZERO_COST = ("robust", "freerea", "nwot", "logsynflow", "flops")
SAMPLES = 1000  # of a bootstrap


def main() -> None:
    """Search, rank and print."""
    arguments = parsed()
    if arguments.picture:
        prepare()
        made = learning("darts", 0, arguments)
        made.prepare(images(arguments.images, 0))
        assert made.shares is not None
        shares_figure(made.shares, arguments.picture)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / ("ranks.csv" if arguments.rank else "searches.csv")
    setting = (
        f"{arguments.minutes:g} minutes, {arguments.epochs} epochs, {arguments.images} images, rate {arguments.rate}"
    )
    print(f"{machine()}; one thread each; {SPACE.spec}, {setting}\n", flush=True)
    done = {(row["what"], row["seed"]): row for row in read_rows(path) if row["setting"] == setting}
    units = [
        (what, seed)
        for seed in range(arguments.seeds)
        for what in arguments.only or ((*ONE_SHOT, *ZERO_COST) if arguments.rank else (*OTHERS, SHARED, *LEARNING))
    ]
    try:
        with multiprocessing.get_context("spawn").Pool(arguments.workers, initializer=prepare) as pool:
            left = [unit for unit in units if (unit[0], str(unit[1])) not in done]
            work: Callable[[tuple[str, int]], dict[str, Any]] = partial(
                ranked if arguments.rank else searched, arguments=arguments
            )
            for row in pool.imap_unordered(work, left):
                if "failed" in row:
                    print(f"{row['what']}, seed {row['seed']}: {row['failed']}", flush=True)
                    continue
                append_row(path, {"setting": setting, **row})
                done[row["what"], str(row["seed"])] = {name: str(value) for name, value in row.items()}
                print(f"{row['what']}, seed {row['seed']}: {row['value']:.3f}, {row['seconds']:.0f} s, "
                      f"{row.get('cell', '')}", flush=True)  # fmt: skip
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from here.")
    (print_ranks if arguments.rank else print_searches)(list(done.values()))


def prepare() -> None:
    """Compute with one thread, and leave an interrupt to the process that all are of."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--rank", action="store_true")
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("shared_weights"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


@cache
def table() -> BenchmarkTable:
    """What the cells came to."""
    return benchmark_table("nasbench201", data_folder())


@cache
def images(count: int, seed: int) -> ImageDataset:
    """Some CIFAR-10 images, drawn by the seed."""
    data = load_data(data_folder() / "cifar-10-batches-bin")
    return split(data, count / len(data), seed)[1]


def learning(what: str, seed: int, arguments: argparse.Namespace) -> Strategy:
    """A strategy that learns from images."""
    return strategy(LEARNING[what].format(**vars(arguments)), SPACE, seed)


def one_shot(arguments: argparse.Namespace, guide: str = "none") -> str:
    """The estimator by shared weights."""
    return f"one-shot(epochs={arguments.epochs}, minutes={arguments.minutes}, guide={guide})"


def searched(unit: tuple[str, int], arguments: argparse.Namespace) -> dict[str, Any]:
    """What a search finds."""
    (what, seed), begin = unit, time.perf_counter()
    data = images(arguments.images, seed)
    if what == "random":
        cell = WHOLE.sample(np.random.default_rng(seed))
    elif what in OTHERS:
        found = Search(WHOLE, OTHERS[what], what, data, budget=BUDGET, seed=seed, workers=0).run()
        cell = WHOLE.parse(found.best)
    elif what == SHARED:
        found = Search(SPACE, SHARED, one_shot(arguments), data, budget=BUDGET, seed=seed, workers=0).run()
        cell = WHOLE.parse(found.best)
    else:
        made = learning(what, seed, arguments)
        try:
            made.prepare(data)
        except InputError as error:
            return {"what": what, "seed": seed, "failed": str(error)}
        cell = made.learnt[0]
    return {
        "what": what, "seed": seed, "value": table().query(str(cell), "cifar10", "test"),
        "seconds": time.perf_counter() - begin, "cell": str(cell), "skips": len(WHOLE.skip_spans(cell)),
    }  # fmt: skip


def ranked(unit: tuple[str, int], arguments: argparse.Namespace) -> dict[str, Any]:
    """How far an order of cells is that of the table."""
    what, seed = unit
    cells = distinct_sample(WHOLE, arguments.cells, seed, "ranked")
    shares = what in ONE_SHOT
    spec = one_shot(arguments, ONE_SHOT[what]) if shares else f"zero-cost({what})"
    made, data = estimator(spec), images(arguments.images, seed)
    setting = Setting(SPACE if shares else WHOLE, data, seed, workers=0)
    begin = time.perf_counter()
    # The same cells are architectures of the space of smaller networks.
    estimates = made.estimate([setting.space.parse(str(cell)) for cell in cells], setting)
    seconds = time.perf_counter() - begin
    values = np.array([estimate.value for estimate in estimates])
    values[~np.isfinite(values)] = -1e300
    true = np.array([table().query(str(cell), "cifar10", "test") for cell in cells])
    interval = bootstrap(
        (values, true), lambda first, second: spearmanr(first, second).statistic, paired=True, vectorized=False,
        n_resamples=SAMPLES, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return {
        "what": what, "seed": seed, "value": float(spearmanr(values, true).statistic),
        "seconds": seconds, "low": interval.low, "high": interval.high,
    }  # fmt: skip


def grouped(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Rows of each thing."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found.setdefault(row["what"], []).append(row)
    return found


def print_searches(rows: list[dict[str, str]]) -> None:
    """Print what searches found."""
    print_table(
        ("search", "seeds", "test %, mean (95 % interval)", "of each seed", "skips of six edges", "seconds"),
        [(what, len(own), interval([float(row["value"]) for row in own]),
          ", ".join(f"{float(row['value']):.2f}" for row in own), ", ".join(row["skips"] for row in own),
          f"{np.mean([float(row['seconds']) for row in own]):.0f}")
         for what, own in grouped(rows).items()],
    )  # fmt: skip
    best = table().optimum("cifar10", "test")[1]
    print(f"\nThe best cell of the table has {best:.2f} %.")


def print_ranks(rows: list[dict[str, str]]) -> None:
    """Print how far orders agree with the table."""
    print_table(
        ("order by", "seeds", "Spearman, mean (95 % interval)", "95 % interval of each seed", "seconds"),
        [(what, len(own), interval([float(row["value"]) for row in own]),
          "; ".join(f"{float(row['low']):.2f} to {float(row['high']):.2f}" for row in own),
          f"{np.mean([float(row['seconds']) for row in own]):.0f}")
         for what, own in grouped(rows).items()],
    )  # fmt: skip
    plain, guided = ({row["seed"]: float(row["value"]) for row in rows if row["what"] == what} for what in ONE_SHOT)
    both = sorted(plain.keys() & guided.keys())
    if len(both) > 1:
        print(f"\nThe guide adds {interval([guided[seed] - plain[seed] for seed in both])} to Spearman's correlation.")


if __name__ == "__main__":
    main()
