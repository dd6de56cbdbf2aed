"""Score the cells that are read from standard input, and write the processor seconds that each took.

    python benchmarks/cell_seconds.py [--batch-size 64] [--precision float32]

A line has the names of the proxies, a space and a NAS-Bench-201 cell. `speed.py --before` runs this in two checkouts at
once, so it needs nothing that an older one would not have.
"""

from __future__ import annotations

import argparse
import sys
import time

from common import data_folder

from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201


def main() -> None:
    """Read, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    # Older checkouts have no other precision, nor an argument for it.
    options = {} if arguments.precision == "float32" else {"precision": arguments.precision}
    data, scorers = data_folder() / "cifar-10-batches-bin", {}
    for line in sys.stdin:
        names, _, cell = line.strip().partition(" ")
        if names not in scorers:
            scorers[names] = Scorer(NASBench201(), names, data, batch_size=arguments.batch_size, workers=0, **options)
        start = time.process_time()
        scorers[names].score([cell])
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
