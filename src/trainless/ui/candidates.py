"""What a search has scored so far, read from the store that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainless.costs import Candidate, counted_costs
from trainless.estimators import AccuracyInTime
from trainless.scoring import space_of
from trainless.search.scores import EstimatorScore, RunningScore, search_score
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
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
    if not path.is_file():
        return []
    with Store(path, create=False) as store:
        searches = list(store.notes("searches").values())
        if not searches:
            return []
        settings = searches[-1]["settings"]
        scored = _estimated(store, settings["score"]) or _scored(store, settings["score"])
    rows = [
        {"order": number, "architecture": text, "score": float(value) if np.isfinite(value) else None}
        | _costs(Candidate(space, space.parse(text), task, mirror_average="costs" in settings))
        for number, (text, value, space) in enumerate(scored, 1)
    ]
    return sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["order"]))


def _estimated(store: Store, name: str) -> list[tuple[str, float, SearchSpace]]:
    """Architecture, score and space of all that a formula has told."""
    score = search_score(name)
    if not (isinstance(score, EstimatorScore) and isinstance(score.estimator, AccuracyInTime)):
        return []
    told = store.notes(score.estimator.topic)
    spaces = {spec: search_space(spec) for _, spec in told.values()}
    return [(text, value, spaces[spec]) for text, (value, spec) in told.items()]


def _scored(store: Store, name: str) -> list[tuple[str, float, SearchSpace]]:
    """The same of all that proxies have scored, their score among all that there are."""
    runs, score = store.runs(), search_score(name)
    table = store.table(runs[-1]) if runs else pd.DataFrame()
    names = [proxy.name for proxy in score.proxies]
    if table.empty or not set(names) <= set(table.columns):
        return []
    running, space = RunningScore(score), space_of(runs[-1])
    running.add(table[names].to_numpy().tolist())
    return [(str(text), float(value), space) for text, value in zip(table.index, running.values(), strict=True)]


def _costs(candidate: Candidate) -> dict[str, float]:
    return {cost.column: cost.find(candidate) for cost in counted_costs()}
