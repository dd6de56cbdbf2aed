"""Rank agreement of scores in bfloat16 with those in float32, beside that of two seeds, and the seconds of both.

    python benchmarks/precision.py [--cells 300] [--store precision.db] [--workers 1]

Every proxy that can be is measured with convolutions and linear maps in bfloat16, also those that opted out, on seeded
NAS-Bench-201 cells that are different networks, by CIFAR-10 images (from TRAINLESS_DATA), batch 64. Those whose
agreement is below .995 are to stay in float32 (`Proxy.bfloat16`). Scores are stored: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from common import data_folder, machine, print_table

from trainless.estimators import distinct_sample
from trainless.metrics import kendall, spearman
from trainless.proxies import PROXIES, Proxy
from trainless.ranking import average_ranks, finite_last
from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201

# Of 32 draws what zen is of one; what is drawn otherwise; what takes seconds a cell and next to none in convolutions;
# and what is meant for pretrained features.
LEFT_OUT = {"zen:repeated", "ntk_condition:published", "logme", "ridge_loo", "lda_loo", "transrate"}
LEAST = 0.995


def main() -> None:
    """Score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--proxies", help="names with commas; all that can be in bfloat16 if left out")
    parser.add_argument("--store", type=Path, default=Path("precision.db"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    space, data = NASBench201(), data_folder() / "cifar-10-batches-bin"
    chosen = distinct_sample(space, arguments.cells, 0, "precision")
    names = arguments.proxies.split(",") if arguments.proxies else list(PROXIES)
    measured = [replace(PROXIES[name], bfloat16=True) for name in names if can_be(PROXIES[name])]
    tables, seconds = [], []
    for precision, seed in (("float32", 0), ("bfloat16", 0), ("float32", 1)):
        scorer = Scorer(
            space, measured, data, seed=seed, precision=precision, store=arguments.store, workers=arguments.workers
        )
        label = f"{precision}, seed {seed}"
        tables.append(
            scorer.score(chosen, lambda done, of, label=label: print(f"\r{label}: {done}/{of} ", end="", flush=True))
        )
        seconds.append(scorer.costs)
        print()
    print(f"{machine()}; {len(chosen)} networks of NAS-Bench-201, CIFAR-10, batch 64\n")
    rows = []
    for proxy in measured:
        single, half, other = (average_ranks(finite_last(table[proxy.name].to_numpy(float))) for table in tables)
        agreement = spearman(single, half)
        rows.append(
            [proxy.name, f"{agreement:.4f}", f"{kendall(single, half):.4f}", f"{spearman(single, other):.4f}",
             seconds[0][proxy.name], seconds[1][proxy.name], "yes" if agreement >= LEAST else "no"],
        )  # fmt: skip
    print_table(
        ["proxy", "Spearman to float32", "Kendall to float32", "float32, seed 0 to 1", "float32, s", "bfloat16, s",
         f"at least {LEAST}"], rows,
    )  # fmt: skip
    differ = [row[0] for row in rows if (row[-1] == "yes") != PROXIES[str(row[0])].bfloat16]
    print(f"\ndeclared otherwise than measured here: {', '.join(map(str, differ)) or 'none'}")


def can_be(proxy: Proxy) -> bool:
    """Whether a proxy runs a network in the precision that is asked for."""
    runs = proxy.pass_spec.input not in ("architecture", "none") and not proxy.pass_spec.float64
    return runs and proxy.name not in LEFT_OUT


if __name__ == "__main__":
    main()
