"""Rank agreement of our scores with the published ones, and of our own between two seeds.

    python benchmarks/agreement.py [--sample 300] [--store agreement.db]

Published: NASLib's scores of 9,445 NAS-Bench-201 cells on CIFAR-10 and FreeREA's of all, from TRAINLESS_DATA. Ours:
a seeded sample of the former, CIFAR-10 images, batch 64. Scores are stored, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from common import data_folder, machine, print_table

from trainless.scoring import Scorer
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store

PROXIES = "all, synflow:log, zen:running, nwot:all, nwot:output"
# Ours: theirs.
NASLIB = {name: name for name in ("params", "flops", "l2_norm", "synflow", "nwot", "snip", "grad_norm", "fisher",
                                  "jacov", "grasp", "zen", "plain", "epe_nas")}  # fmt: skip
NASLIB |= {"nwot:all": "nwot", "zen:running": "zen"}
FREEREA = {"synflow": "synflow", "logsynflow": "logsynflow", "nwot:output": "naswot", "linear_regions": "nregions"}


def main() -> None:
    """Score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--store", type=Path, default=Path("agreement.db"))
    arguments = parser.parse_args()
    data, space = data_folder(), NASBench201()
    naslib = pd.read_csv(data / "nb201-published-proxies" / "cifar10.csv").set_index("net_str")
    chosen = list(np.random.default_rng(0).choice(naslib.index.to_numpy(), arguments.sample, replace=False))
    ours = [
        Scorer(space, PROXIES, data / "cifar-10-batches-bin", seed=seed, store=arguments.store).score(
            chosen, lambda done, total, seed=seed: print(f"\rseed {seed}: {done}/{total}", end="", flush=True)
        )
        for seed in (0, 1)
    ]
    print(f"\n{machine()}; {len(chosen)} cells, CIFAR-10, batch 64, float32, seeds 0 and 1")
    indices = [space.index(space.parse(text)) for text in chosen]
    freerea = {
        name: pd.read_csv(data / "nats-tss-freerea" / "cifar10" / f"{name}.csv").set_index("index")[name].loc[indices]
        for name in FREEREA.values()
    }
    rows = [_row(name, "NASLib", naslib.loc[chosen, theirs], ours) for name, theirs in NASLIB.items()]
    levels = [table.assign(l2_norm=_levels(table["l2_norm"])) for table in ours]
    rows.append(_row("l2_norm", "NASLib, by level", _levels(naslib.loc[chosen, "l2_norm"]), levels))
    rows += [_row(name, "FreeREA", freerea[theirs], ours) for name, theirs in FREEREA.items()]
    print_table(["proxy", "published by", "Spearman to published", "seed 0 to seed 1", "not finite"], rows)
    with Store(arguments.store, create=False) as store:
        print(f"highest peak memory of a worker: {store.rows()['peak_memory'].max():.0f} MiB")
    print("Initialisation: ours and FreeREA's Kaiming normal fan_out, NASLib's PyTorch's own (Kaiming uniform fan_in).")


def _row(name: str, source: str, published: pd.Series, ours: list[pd.DataFrame]) -> list[object]:
    first, second = (table[name].to_numpy() for table in ours)
    lost = int((~np.isfinite(first)).sum())
    return [name, source, _spearman(published.to_numpy(), first), _spearman(first, second), lost]


def _levels(values: pd.Series) -> pd.Series:
    """Number the values by level: a new one begins where the next larger value is more than 2 % larger.

    The norm of a layer hardly depends on the draw, so l2_norm says how many convolutions a cell has, and within one
    such level no more than which of two draws was the larger.
    """
    ordered = values.sort_values()
    return (ordered.diff() > 0.02 * ordered).cumsum().reindex(values.index)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho with what is not finite ranked last, all alike."""
    ranks = [pd.Series(np.where(np.isfinite(each), each, -np.inf)).rank() for each in (a, b)]
    return float(ranks[0].corr(ranks[1]))


if __name__ == "__main__":
    main()
