"""What a search has scored so far, read from the store that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainless.costs import Candidate, counted_costs
from trainless.scoring import space_of
from trainless.store import Store
from trainless.types import Task

__all__ = ["candidates"]


def candidates(path: Path, task: Task) -> list[dict[str, Any]]:
    """Give one row a candidate: ``order``, ``architecture``, ``score`` and the counted costs, the best first.

    The score is computed anew among all that there are, as the search does; None where it is not finite.

    Args:
        path: a store with one search.
        task: what the networks are for.

    Raises:
        StoreError: the store cannot be read.
    """
    from trainless.search.scores import RunningScore, search_score

    if not path.is_file():
        return []
    with Store(path, create=False) as store:
        runs, searches = store.runs(), list(store.notes("searches").values())
        if not runs or not searches:
            return []
        table = store.table(runs[-1])
    settings = searches[-1]["settings"]
    score = search_score(settings["score"])
    names = [proxy.name for proxy in score.proxies]
    if not set(names) <= set(table.columns):
        return []
    running = RunningScore(score)
    running.add(table[names].to_numpy().tolist())
    space = space_of(runs[-1])
    rows = [
        {"order": number, "architecture": text, "score": float(value) if np.isfinite(value) else None}
        | _costs(Candidate(space, space.parse(text), task, mirror_average="costs" in settings))
        for number, (text, value) in enumerate(zip(table.index, running.values(), strict=True), 1)
    ]
    return sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["order"]))


def _costs(candidate: Candidate) -> dict[str, float]:
    return {cost.column: cost.find(candidate) for cost in counted_costs()}
