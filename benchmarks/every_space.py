"""Score sampled networks of every search space by every proxy, and print what could not be computed and why.

    python benchmarks/every_space.py [--sample 1000] [--spaces darts,chain] [--store every.db] [--workers 2]

Networks are the smallest of their space that the proxies have something to say of, images are 16 x 16, text where the
space is for text, and batches have 24: what is looked for is an exception, or a score that is not finite without a
reason. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import machine, print_table

from trainless.data import ImageDataset, load_data
from trainless.estimators.base import distinct_sample
from trainless.scoring import Scorer
from trainless.search_spaces import SEARCH_SPACES, SearchSpace, search_space
from trainless.store import Store

TEXT, SPEECH = ("nasbench_nlp",), ("nasbench_asr",)
LEFT_OUT = ("pretrained",)  # its networks are scored by their features
BATCH, PIXELS = 24, 16


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--spaces", default=",".join(name for name in SEARCH_SPACES if name not in LEFT_OUT))
    parser.add_argument("--store", type=Path, default=Path("every.db"))
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    print(f"{machine()}; batches of {BATCH}\n")
    rows, reasons = [], Counter[tuple[str, str, str]]()
    for name in arguments.spaces.split(","):
        space = small(search_space(name))
        architectures = distinct_sample(space, arguments.sample, 0, "every space")
        scorer = Scorer(space, "all", images(name), batch_size=BATCH, store=arguments.store, workers=arguments.workers)
        table = scorer.score(architectures)
        with Store(arguments.store, create=False) as store:
            kept = store.latest_rows(scorer.run)
        without = kept[~np.isfinite(kept["value"].astype(float))]
        reasons.update((name, *pair) for pair in zip(without["proxy"], without["reason"].fillna(""), strict=True))
        silent = int((without["reason"].fillna("") == "").sum())
        rows.append((space.spec, len(table), len(kept), len(without), silent))
        print(f"{name}: done", flush=True)
    print()
    print_table(("space", "networks", "scores", "not computed, with a reason", "not finite without one"), rows)
    print()
    header = ("space", "proxy", "reason", "networks")
    print_table(header, [(*key, count) for key, count in sorted(reasons.items())])


def small(space: SearchSpace) -> SearchSpace:
    """The last but one of a space's sizes: the very last has layers of one channel, of which some scores are flat."""
    return space.sizes[-2] if len(space.sizes) > 1 else space


def images(name: str) -> ImageDataset:
    """What the networks of a space are for."""
    if name in TEXT:
        return load_data("text")
    digits = load_data("digits", image_size=PIXELS)
    if name not in SPEECH:
        return digits
    # Rows of an image as features over time.
    task = replace(digits.task, channels=PIXELS, height=1, width=PIXELS)
    mean, std = (values * PIXELS for values in (digits.mean, digits.std))
    return ImageDataset(task, digits.images.transpose(0, 2, 1, 3).copy(), digits.labels, digits.class_names, mean, std)


if __name__ == "__main__":
    main()
