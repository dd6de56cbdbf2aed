"""What a search and a replay give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.costs import cost_named, counted_costs
from trainless.estimators import Estimate
from trainless.search.loop import Loop
from trainless.search.plan import SearchPlan

__all__ = ["ReplayResult", "SearchResult", "evaluation_table"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The history of one search and what came out of it.

    Args:
        title: strategy, score, space and data in a few words.
        space: name of the search space.
        best: the architecture found: the winner of the run-off where there was one, otherwise the first of the front.
        objectives: ``"score"``, which was maximised, and names of costs that were minimised.
        evaluations: one row an architecture that was evaluated, in the order in which they were asked for, indexed 1 to
            n: ``architecture``, ``score`` (the final one, NaN or -inf where it is ranked last), by their columns the
            costs that are counted, limited or minimised, ``seconds`` from the start of the search until it was told,
            ``status`` and ``reason`` as in a store, and one column a proxy.
        front: architectures that no other beats in all objectives, the best first; of one objective only the best.
        rejected: by limit, how many architectures it kept from being evaluated.
        stopped: why the search ended, in words.
        run_off: None, or one row a trained candidate, the winner first: ``architecture``, ``score_rank``, ``epochs``,
            ``valid_accuracy`` in percent, NaN where the training failed for ``reason``, ``seconds``.
        protocol: how all this came about, as name and value.
        shares: None, or of a strategy that mixes operations the share of each option after each epoch: one row an
            epoch, one column an option, named by its choice and itself.
        by_epoch: None, or of the same what the mixture led to after each epoch: ``skips``, ``eigenvalue`` where it was
            asked for, ``architecture``.
    """

    title: str
    space: str
    best: str
    objectives: tuple[str, ...]
    evaluations: pd.DataFrame
    front: tuple[str, ...]
    rejected: Mapping[str, int]
    stopped: str
    run_off: pd.DataFrame | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)
    shares: pd.DataFrame | None = None
    by_epoch: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """Searches repeated over many seeds against a table of true accuracies.

    Args:
        rows: one row for each strategy, score and data set: ``strategy``, ``score``, ``dataset``, ``seeds``,
            ``budget``, ``mean_test``, ``std_test``, ``mean_evaluations``, ``microseconds`` an evaluation, where a
            run-off was asked ``mean_test_runoff`` and ``std_test_runoff``, and where a target was given ``target``,
            ``reached`` (share of seeds) and ``evaluations_to_target`` (median over all seeds, infinite where fewer
            than half reach it).
        curves: by (strategy, score, dataset) the test accuracy in percent of the choice after 1, 2, ... evaluations,
            shape ``(seeds, evaluations)``; a search that ended early keeps its last choice.
        optima: by data set the best test accuracy of the table, in percent.
        protocol: how all this came about, as name and value.
    """

    rows: list[dict[str, Any]]
    curves: Mapping[tuple[str, str, str], npt.NDArray[np.float64]]
    optima: Mapping[str, float]
    protocol: Mapping[str, str] = field(default_factory=dict)


def evaluation_table(
    loop: Loop, plan: SearchPlan, told: Sequence[float], estimates: Sequence[Estimate]
) -> pd.DataFrame:  # fmt: skip
    """Join what a search knows of each architecture that got the full score.

    Args:
        loop: the search.
        plan: what it was to do.
        told: seconds from its start until each was told.
        estimates: of each, in the order of the loop.

    Returns:
        The evaluations as `SearchResult` has them.
    """
    costs = [cost_named(name) for name in plan.named_costs]
    rows: dict[str, Any] = {"architecture": [str(architecture) for architecture in loop.order], "score": loop.values}
    rows |= {cost.column: [plan.costs(architecture, cost.name) for architecture in loop.order] for cost in costs}
    rows |= {
        "seconds": list(told),
        "status": [estimate.status for estimate in estimates],
        "reason": [estimate.reason for estimate in estimates],
    }
    values = np.array([estimate.row for estimate in estimates], dtype=float).reshape(len(estimates), -1)
    # Parameters and multiply-adds may be scores too, of the network that is scored; limits hold for the costs.
    rows |= {name: column for name, column in zip(plan.score.columns, values.T, strict=True) if name not in rows}
    whole = {cost.column: int for cost in counted_costs() if cost.is_whole}
    return pd.DataFrame(rows, index=range(1, len(loop.order) + 1)).astype(whole)
