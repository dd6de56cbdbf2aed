"""Score NAS-Bench-201 on the images of all three data sets, and write the scores that the package carries.

    python benchmarks/own_scores.py --store own.db [--workers N]     # hours; interrupted, it goes on where it stopped
    python benchmarks/own_scores.py --store own.db --export          # what is finished, as the package's table
    python benchmarks/own_scores.py --seconds                        # what they cost: minutes, on an idle machine

Cheap proxies are computed for all 15,625 cells, the others for a seeded sample of distinct networks, grasp for the
beginning of that sample. Batch 64, seed 0. ImageNet16-120 is the first 120 classes of ImageNet16.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import data_folder, machine

from trainless.data import ImageDataset
from trainless.metrics import costs_of
from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.suite import suite_images

CHEAP = "params, flops, skipped_layers, l2_norm, synflow:log, logsynflow, nwot"
DEAR = "zen:running, grad_norm, plain, snip, fisher, jacov, epe_nas"
SAMPLE, GRASP_SAMPLE, TIMED = 1500, 500, 30
EXPORT = Path(__file__).resolve().parents[1] / "src" / "trainless" / "reproduction" / "own_scores.csv.gz"


def main() -> None:
    """Score or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("own.db"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--seconds", action="store_true")
    arguments = parser.parse_args()
    if arguments.seconds:
        measure()
    elif arguments.export:
        export(arguments.store)
    else:
        score(arguments.store, arguments.workers)


def score(store: Path, workers: int | None) -> None:
    """Score the three stages on each data set, the cheapest stage first."""
    print(machine())
    space, data = NASBench201(), datasets()
    cells = [str(cell) for cell in space]
    sample = sampled(space)[:SAMPLE]
    stages = ((CHEAP, cells), (DEAR, sample), ("grasp", sample[:GRASP_SAMPLE]))
    for proxies, chosen in stages:
        for dataset in data:
            scorer = Scorer(space, proxies, dataset, seed=0, workers=workers, store=store)
            scorer.score(chosen, lambda done, total, name=dataset.task.name: print(
                f"\r{name}: {done}/{total}   ", end="", flush=True))  # fmt: skip
            print(f"\n{proxies}: {len(scorer.failures)} failed")


def measure() -> None:
    """Write the mean seconds of a network in each proxy over a part of the sample, as if each were computed alone."""
    print(machine())
    space = NASBench201()
    sample = sampled(space)[:TIMED]
    costs = {}
    for dataset in datasets():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "timed.db")
            Scorer(space, f"{CHEAP}, {DEAR}, grasp", dataset, seed=0, store=path).score(sample)
            with Store(path) as store:
                costs[dataset.task.name] = costs_of(store.rows())["mean_seconds"]
    table = pd.DataFrame(costs).rename_axis("proxy")
    table.to_csv(EXPORT.with_name("own_seconds.csv"), float_format="%.3g")
    print(table.to_string(float_format="%.3g"))


def sampled(space: NASBench201) -> list[str]:
    """The distinct networks of the space in the order in which they are drawn."""
    distinct = list(dict.fromkeys(str(space.canonical(cell)) for cell in space))
    order = np.random.default_rng(0).permutation(len(distinct))
    return [distinct[place] for place in order]


def datasets() -> list[ImageDataset]:
    """CIFAR-10, CIFAR-100 and ImageNet16-120, the smallest images first."""
    return [suite_images(name, data_folder()) for name in ("ImageNet16-120", "cifar10", "cifar100")]


def export(path: Path) -> None:
    """Write one row a cell and one column a data set and proxy, seven significant digits.

    A sampled proxy stands at one cell of each network in the sample: classes of equal networks have from one cell to
    hundreds, so a sample of all their cells would be a few networks many times over.
    """
    space = NASBench201()
    columns = {}
    with Store(path, create=False) as store:
        for run in store.runs():
            table = store.table(run)
            for proxy in table.columns:
                columns[f"{run.task.partition(':')[0]}.{proxy}"] = table[proxy]
    frame = pd.DataFrame(columns).dropna(axis="columns", how="all")
    frame = frame.reindex([str(cell) for cell in space]).rename_axis("architecture")
    # A fixed time stamp inside the archive: the same scores give the same bytes.
    frame.to_csv(EXPORT, float_format="%.7g", compression={"method": "gzip", "mtime": 0})
    print(f"{len(frame)} cells, {len(frame.columns)} columns: {EXPORT}")


if __name__ == "__main__":
    main()
