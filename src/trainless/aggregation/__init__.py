"""Scores made of scores: the Hybrid proxy, log-rank and other sums, the study of their weights.

Nothing here looks at a network: columns of scores come in, a column goes out, in the same order.
"""

from trainless.aggregation.aggregates import (
    AGGREGATES,
    Aggregate,
    Hybrid,
    LogRankSum,
    MaximumSum,
    Product,
    RankSum,
    ZScoreSum,
    aggregate,
    load_aggregate,
)
from trainless.aggregation.named import NAMED_AGGREGATES, ROBUST, named_aggregate
from trainless.aggregation.sweep import Sweep, sweep
from trainless.aggregation.validation import CrossValidation, cross_validate
from trainless.aggregation.weighted import ALPHA, BETA, HYBRID_PAIR, hybrid, normalize

__all__ = [
    "AGGREGATES",
    "ALPHA",
    "BETA",
    "HYBRID_PAIR",
    "NAMED_AGGREGATES",
    "ROBUST",
    "Aggregate",
    "CrossValidation",
    "Hybrid",
    "LogRankSum",
    "MaximumSum",
    "Product",
    "RankSum",
    "Sweep",
    "ZScoreSum",
    "aggregate",
    "cross_validate",
    "hybrid",
    "load_aggregate",
    "named_aggregate",
    "normalize",
    "sweep",
]
