"""The search for the best architecture, and its replay against tables of true accuracies."""

from trainless.costs import COSTS
from trainless.estimators.fidelities import Fidelity, default_fidelities, parse_fidelity
from trainless.search.budgets import Budget, parse_budget
from trainless.search.costs import Costs
from trainless.search.limits import Limits, parse_limit, parse_limits
from trainless.search.loop import REFERENCE, Loop
from trainless.search.replays import replay
from trainless.search.results import ReplayResult, SearchResult
from trainless.search.run_off import RunOff
from trainless.search.scores import (
    NAMED_SCORES,
    USUAL_SCORE,
    EstimatorScore,
    RunningScore,
    SearchScore,
    search_score,
)
from trainless.search.search import Search
from trainless.search.studies import save_study
from trainless.specs import split_names

__all__ = [
    "COSTS",
    "NAMED_SCORES",
    "REFERENCE",
    "USUAL_SCORE",
    "Budget",
    "Costs",
    "EstimatorScore",
    "Fidelity",
    "Limits",
    "Loop",
    "ReplayResult",
    "RunOff",
    "RunningScore",
    "Search",
    "SearchResult",
    "SearchScore",
    "default_fidelities",
    "parse_budget",
    "parse_fidelity",
    "parse_limit",
    "parse_limits",
    "replay",
    "save_study",
    "search_score",
    "split_names",
]
