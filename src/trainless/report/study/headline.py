"""The answer of a study in a few sentences."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import pandas as pd

from trainless.report.common.formats import number
from trainless.report.study.views import Views

__all__ = ["headline"]


def headline(views: Views) -> str:
    """Write which proxy orders the architectures best, what it chooses, and which one chooses better, as HTML."""
    table, study = views.leaderboard, views.study
    known = table[np.isfinite(table["kendall"])]
    size = f"{len(study.accuracies):,} architectures"
    if known.empty:
        return f'<p class="lead">No proxy gives the {size} an order.</p>'
    name, row = str(known.index[0]), known.iloc[0]
    within = _within(known, row)
    sentences = [
        f"<strong>{escape(name)}</strong> orders the {size} best: Kendall's τ is "
        f"<strong>{number(row['kendall'], '.3f')}</strong>{_interval(row, 'kendall')}{within}.",
        f"The architecture that it puts first reaches <strong>{row['argmax_accuracy']:.2f} %</strong>, "
        f"{_points(row['regret'])} the best of all ({views.optimum:.2f} %).",
    ]
    better = table[table["regret"] < row["regret"]]
    if len(better):
        other = str(better["regret"].idxmin())
        reached = better.loc[other]
        sentences.append(
            f"The best first choice is that of <strong>{escape(other)}</strong>: "
            f"{reached['argmax_accuracy']:.2f} %, {_points(reached['regret'])} the best of all, at a τ of "
            f"{number(reached['kendall'], '.3f')}."
        )
    elif len(table) > 1:
        sentences.append("No other proxy or mix makes a better first choice.")
    return f'<p class="lead">{" ".join(sentences)}</p>'


def _interval(row: pd.Series, metric: str) -> str:
    low, high = row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan)
    if math.isnan(low) or math.isnan(high):
        return ""
    return f" (95 % interval {number(low, '.3f')} to {number(high, '.3f')})"


def _within(known: pd.DataFrame, row: pd.Series) -> str:
    low = row.get("kendall_low", math.nan)
    near = [escape(str(name)) for name, value in known["kendall"].iloc[1:].items() if value >= low]
    if not near:
        return ""
    verb = "lies" if len(near) == 1 else "lie"
    listed = " and ".join(filter(None, [", ".join(near[:-1]), near[-1]])) if len(near) < 4 else f"{len(near)} others"
    return f"; {listed} {verb} within that interval"


def _points(regret: float) -> str:
    return "equal to" if regret < 0.005 else f"{regret:.2f} points below"
