"""How well scores find good architectures: correlations, measures of the top, intervals, comparisons of proxies.

Nothing here looks at a network: columns of scores and of accuracies come in, both higher is better, and numbers go out.
"""

from trainless.metrics.base import Metric
from trainless.metrics.comparison import agreement, cost_quality_front, costs_of, redundancy, seed_agreement
from trainless.metrics.correlations import kendall, normal_scores, spearman, top_kendall, weighted_kendall
from trainless.metrics.intervals import METRICS, difference_interval, evaluate
from trainless.metrics.proportions import wilson_interval
from trainless.metrics.top import argmax_accuracy, best_of_top, ndcg_at, precision_at, regret

__all__ = [
    "METRICS",
    "Metric",
    "agreement",
    "argmax_accuracy",
    "best_of_top",
    "cost_quality_front",
    "costs_of",
    "difference_interval",
    "evaluate",
    "kendall",
    "ndcg_at",
    "normal_scores",
    "precision_at",
    "redundancy",
    "regret",
    "seed_agreement",
    "spearman",
    "top_kendall",
    "weighted_kendall",
    "wilson_interval",
]
