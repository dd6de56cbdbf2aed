"""A search as a study of Optuna."""

from __future__ import annotations

import numpy as np

from trainless.costs import cost_named
from trainless.search.results import SearchResult
from trainless.search_spaces.base import SearchSpace
from trainless.strategies import Result, write_study

__all__ = ["save_study"]


def save_study(found: SearchResult, space: SearchSpace, storage: str, study_name: str) -> None:
    """Write the evaluations of a search as an Optuna study, which optuna-dashboard opens.

    Args:
        found: what the search gave.
        space: its search space.
        storage: a URL such as ``sqlite:///study.db``.
        study_name: the study's name in the storage; one of that name that was written here before is replaced.

    Raises:
        InputError: the storage cannot be opened or written, or has such a study of another origin.
    """
    columns = [cost_named(name).column for name in found.objectives[1:]]
    values = np.column_stack([found.evaluations["score"], *(-found.evaluations[name] for name in columns)])
    results = [
        Result(space.parse(text), tuple(row.tolist()) if np.isfinite(row).all() else ())
        for text, row in zip(found.evaluations["architecture"], values, strict=True)
    ]
    write_study(space, results, storage, study_name, objectives=len(found.objectives))
