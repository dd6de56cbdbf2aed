"""What the page and the picture of the quickstart both show, computed once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trainless.aggregation import HYBRID_PAIR, normalize
from trainless.errors import InputError

__all__ = ["DDN", "DIN", "check_tables", "pair_points", "score_correlation", "sorted_costs"]

DIN = f"DIN: {HYBRID_PAIR[0]} / its largest value"
DDN = f"DDN: {HYBRID_PAIR[1]} / its largest value"
_RANKING_COLUMNS = ("rank", "hybrid", *HYBRID_PAIR, "parameters", "flops")
_COST_COLUMNS = ("seconds", "kind")


def check_tables(ranking: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame) -> None:
    """Refuse tables that lack a column or have no rows.

    Raises:
        InputError: a table is empty or lacks a column.
    """
    needs = (("ranking", ranking, _RANKING_COLUMNS), ("scores", scores, ()), ("costs", costs, _COST_COLUMNS))
    for name, table, columns in needs:
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise InputError(f"The table '{name}' lacks {', '.join(missing)}, expected columns {', '.join(columns)}.")
        if table.empty:
            raise InputError(f"The table '{name}' is empty, expected at least one row and one column.")


def pair_points(ranking: pd.DataFrame) -> pd.DataFrame:
    """Add the normalized pair as ``din`` and ``ddn``, and leave out what is not finite and so has no place."""
    first, second = HYBRID_PAIR
    table = ranking.assign(din=normalize(ranking[first]), ddn=normalize(ranking[second]))
    finite = np.isfinite(table[["din", "ddn", "hybrid"]].to_numpy(dtype=float)).all(axis=1)
    points: pd.DataFrame = table[finite]
    return points


def score_correlation(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of each two proxies, over the architectures where both are finite."""
    finite = scores.astype(float).replace([np.inf, -np.inf], np.nan)
    correlation: pd.DataFrame = finite.corr(method="spearman", min_periods=3)
    return correlation


def sorted_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The cheapest first, in milliseconds, without proxies of unknown cost."""
    known: pd.DataFrame = costs[np.isfinite(costs["seconds"].to_numpy(dtype=float))]
    table = known.sort_values("seconds", kind="stable")
    return table.assign(milliseconds=table["seconds"] * 1000)
