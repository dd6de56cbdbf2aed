"""The search for the best architecture, and its replay against tables of true accuracies."""

from trainless.search.budgets import Budget, parse_budget
from trainless.search.limits import Limits, parse_number
from trainless.search.live import OBJECTIVES, Search
from trainless.search.loop import REFERENCE, Loop
from trainless.search.replays import replay
from trainless.search.results import ReplayResult, SearchResult
from trainless.search.scores import NAMED_SCORES, RunningScore, SearchScore, search_score, split_names

__all__ = [
    "NAMED_SCORES",
    "OBJECTIVES",
    "REFERENCE",
    "Budget",
    "Limits",
    "Loop",
    "ReplayResult",
    "RunningScore",
    "Search",
    "SearchResult",
    "SearchScore",
    "parse_budget",
    "parse_number",
    "replay",
    "search_score",
    "split_names",
]
