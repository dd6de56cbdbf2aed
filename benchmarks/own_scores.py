"""Score NAS-Bench-201 on the images of all three data sets, and write the scores that the package carries.

    python benchmarks/own_scores.py --store own.db [--workers N]     # hours; interrupted, it goes on where it stopped
    python benchmarks/own_scores.py --store own.db --export          # what is finished, as the package's table

Cheap proxies are computed for all 15,625 cells, the others for a seeded sample of distinct networks, grasp for the
beginning of that sample. Batch 64, seed 0. ImageNet16-120 is the first 120 classes of ImageNet16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from common import data_folder, machine

from trainless.data import ImageDataset, load_data
from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.types import Task

CHEAP = "params, flops, skipped_layers, l2_norm, synflow:log, logsynflow, nwot"
DEAR = "zen:running, grad_norm, plain, snip, fisher, jacov, epe_nas"
SAMPLE, GRASP_SAMPLE = 1500, 500
EXPORT = Path(__file__).resolve().parents[1] / "src" / "trainless" / "reproduction" / "own_scores.csv.gz"


def main() -> None:
    """Score or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("own.db"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--export", action="store_true")
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.store)
    else:
        score(arguments.store, arguments.workers)


def score(store: Path, workers: int | None) -> None:
    """Score the three stages on each data set, the cheapest stage first."""
    print(machine())
    space, data = NASBench201(), datasets()
    cells = [str(cell) for cell in space]
    distinct = list(dict.fromkeys(str(space.canonical(cell)) for cell in space))
    order = np.random.default_rng(0).permutation(len(distinct))
    sample = [distinct[place] for place in order[:SAMPLE]]
    stages = ((CHEAP, cells), (DEAR, sample), ("grasp", sample[:GRASP_SAMPLE]))
    for proxies, chosen in stages:
        for dataset in data:
            scorer = Scorer(space, proxies, dataset, seed=0, workers=workers, store=store)
            scorer.score(chosen, lambda done, total, name=dataset.task.name: print(
                f"\r{name}: {done}/{total}   ", end="", flush=True))  # fmt: skip
            print(f"\n{proxies}: {len(scorer.failures)} failed")


def datasets() -> list[ImageDataset]:
    """CIFAR-10, CIFAR-100 and ImageNet16-120, the smallest images first."""
    folder = data_folder()
    imagenet = load_data(folder / "image-batches" / "imagenet16_960.npz")
    # The file's labels begin with 1, and the reader has numbered those that occur.
    original = np.array([int(name) for name in imagenet.class_names])[imagenet.labels]
    first = original <= 120
    names = tuple(str(label) for label in range(1, 121))
    task = Task("ImageNet16-120", 120, *imagenet.images.shape[1:])
    imagenet120 = ImageDataset(task, imagenet.images[first], original[first] - 1, names, imagenet.mean, imagenet.std)
    cifar100 = load_data(folder / "image-batches" / "cifar100_960.npz", name="cifar100")
    return [imagenet120, load_data(folder / "cifar-10-batches-bin", name="cifar10"), cifar100]


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
