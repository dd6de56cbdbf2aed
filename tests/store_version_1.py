"""Small real work whose store was written by the version of trainless with schema 1, to test the migration with.

`store_version_1.sql` is what this script made under that version:

    PYTHONPATH=<checkout of that version>/src python tests/store_version_1.py > tests/store_version_1.sql

The tests run the same work again on the migrated store, where nothing may be computed.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from trainless.proxies import Proxy, proxy
from trainless.scoring import Scorer
from trainless.search import Limits, RunOff, Search
from trainless.search_spaces import search_space
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.study import import_scores
from trainless.tables import PublishedScores
from trainless.types import Architecture, Task

FULL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
# The same network written twice: what feeds nothing plays no part.
TWINS = (
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|none~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|none~1|none~2|",
)
CELLS = (FULL, DEAD, *TWINS)
ODD_VALUES = {
    "odd_infinity": math.inf, "odd_nan": math.nan, "odd_zero": -0.0, "odd_small": 5e-324,
    "odd_large": -1.7976931348623157e308, "odd_tenth": 0.1,
}  # fmt: skip
Formula = Callable[..., float]


def odd(name: str, formula: Formula, version: int = 1) -> Proxy:
    """A proxy that takes next to no time and reads nothing of the network."""
    return replace(
        proxy("skipped_layers"), name=name, formula=formula, version=version, when_not_finite=f"{name} is so: é, 'q'"
    )


class Unbuildable(NASBench201):
    """A space of which one cell cannot be built."""

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        if str(architecture) == DEAD:
            raise ValueError("no network: é, 'q'\nsecond line")
        return super().build(architecture, task)


def watched(names: str, watch: Callable[[Formula], Formula]) -> list[Proxy]:
    """Built-in proxies whose formulas a test watches."""
    return [replace(proxy(name), formula=watch(proxy(name).formula)) for name in names.split()]


def scorers(store: Store, watch: Callable[[Formula], Formula] = lambda formula: formula) -> list[Scorer]:
    """Scorers of whole runs; each scores `architectures`."""
    cells = search_space("nasbench201", channels=2, cells=1)
    mobile = search_space("mobile", width=2, depth=1)
    several = watched("params flops skipped_layers snip grad_norm nwot jacov synflow:log logsynflow zen zen:running",
                      watch)  # fmt: skip
    constants = [odd(name, watch(lambda _, value=value: value)) for name, value in ODD_VALUES.items()]
    common: dict[str, Any] = {"data": "digits", "batch_size": 4, "workers": 0, "store": store}
    return [
        Scorer(cells, several, **common),
        Scorer(cells, [*watched("nwot snip", watch), *constants], seed=2**62 + 1, **common),
        Scorer(mobile, several, dtype="float64", repeats=2, **common),
    ]


def architectures(scorer: Scorer) -> list[Any]:
    """What a scorer of `scorers` scores."""
    if scorer.space.name == "nasbench201":
        return list(CELLS)
    rng = np.random.default_rng(0)
    return [scorer.space.sample(rng) for _ in range(3)]


def failing(store: Store, watch: Callable[[Formula], Formula] = lambda formula: formula, version: int = 1) -> Scorer:
    """A scorer of which one proxy fails on one cell, and another has had two versions."""
    chosen = [*watched("snip", watch), odd("odd_version", watch(lambda _: float(version)), version)]
    return Scorer(Unbuildable(channels=4, cells=1), chosen, batch_size=4, workers=0, store=store)


def search(store: Store, watch: Callable[[Formula], Formula] = lambda formula: formula) -> Search:
    """A search with several rungs, a measured limit and a run-off."""
    (score,) = watched("nwot", watch)
    return Search(
        search_space("nasbench201", channels=2, cells=1), "successive-halving", score, budget=4, workers=0,
        store=store, batch_size=4, limits=Limits(latency=1e6), run_off=RunOff(2, epochs=1, images=40),
    )  # fmt: skip


def published() -> PublishedScores:
    """Scores of others, whose origin has a comma and an equals sign in it."""
    scores = pd.DataFrame({"nwot": [1.5, -math.inf], "own": [math.nan, -0.0]}, index=[FULL, DEAD])
    return PublishedScores(
        "toy", "nasbench201", "cifar10", "a paper, table=2, commit 00", "none", scores,
        pd.DataFrame(index=scores.index), None, "",
    )  # fmt: skip


def write(path: Path) -> None:
    """Do all of it."""
    with Store(path) as store:
        for scorer in scorers(store):
            scorer.score(architectures(scorer))
        for version in (1, 2):
            failing(store, version=version).score(CELLS[:2])
        search(store).run()
        import_scores(published(), store)
        store.note("loose", {"é": [1, None, {"a": math.inf}], "": "text"})


def dump(path: Path) -> str:
    """SQL that makes the same file, header and journal mode included."""
    with closing(sqlite3.connect(path)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        lines = [f"PRAGMA journal_mode = {mode};", f"PRAGMA application_id = {application};", *connection.iterdump()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "scores.db")
        print(dump(Path(folder) / "scores.db"), end="")
