"""The page of one study: one self-contained HTML document with tables and interactive figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.aggregation import ALPHA, BETA, Sweep
from trainless.errors import InputError, UnknownNameError
from trainless.report.common.columns import Table, columns_of, table_of
from trainless.report.common.pages import render
from trainless.report.study.plots import agreement_plot, front_plot, ranking_plot, top_plot
from trainless.report.study.scatter import scatter_data
from trainless.report.study.views import Views, make_views
from trainless.report.study.weights import ratio_plot, weights_plot

if TYPE_CHECKING:
    from trainless.study import Study

__all__ = ["CAPTIONS", "complete_captions", "study_context", "study_page"]

CAPTIONS = {
    "leaderboard": "Every column can be sorted: choose its name. A correlation tells how well a proxy orders all "
    "architectures; first choice, best of {k} and regret tell what a search that trusts it gets, and the two need not "
    "agree.",
    "ranking": "Kendall's τ is 1 where a proxy orders all architectures as their accuracies do, and 0 where it knows "
    "nothing of them. Bars that overlap widely are no difference to build upon.",
    "scatter": "One point an architecture; touch or point at it to read its string, accuracy and parameters. A good "
    "proxy has a narrow cloud that rises to the right; what counts for a search is the upper right corner.",
    "agreement": "Two proxies near 1 say the same. What joins well is two good ones with a low correlation. The "
    "leaderboard's last columns name the proxy that is nearest to each, and the share of its order that all others "
    "together hold already.",
    "top": "How accurate the best network is if the k best-scored are trained. The dashed line is the most accurate of "
    "all, the dotted one what k architectures drawn at random give on average. Thin grey lines are the other proxies; "
    "those that begin lower come in from below.",
    "front": "A proxy on the front is worth its time: none is both as good and as quick. A mix counts as its "
    "parts together. Touch or point at the others to read their names.",
    "weights": "First every pair of weights of the grid, then the same by the ratio β/α, which alone decides the order "
    "of nearly all architectures. The straight lines are the two proxies, each with the other's weight 0. The best "
    "ratio was chosen on the very architectures it is measured on, and so promises a little too much.",
}
"""How to read each figure; ``{k}`` stands for the number of best-scored architectures."""

_LEADERBOARD = (
    "kendall", "spearman", "argmax_accuracy", "regret", "best_of_top", "kind", "seconds", "precision_at", "ndcg_at",
    "weighted_kendall", "top_kendall", "memory", "noise", "not_finite", "nearest", "redundancy",
)  # fmt: skip


def study_page(
    study: Study,
    *,
    leaderboard: pd.DataFrame | None = None,
    resamples: int = 200,
    k: int = 10,
    captions: Mapping[str, str] | None = None,
) -> str:
    """Write the page of one study: the answer in a sentence, the protocol, the leaderboard and six figures.

    Args:
        study: scores beside accuracies.
        leaderboard: as ``study.leaderboard()`` gives it, with the same `k`; None computes it.
        resamples: bootstrap samples behind each interval, for that.
        k: how many of the best-scored count as found.
        captions: other words than `CAPTIONS` for how to read a figure, by its name there; plain text.

    Returns:
        The document, 5 to 12 MB, most of it plotly.js; write it as UTF-8. Of more than 3,100 architectures the scatter
        shows 3,000 at random, the 100 most accurate, and the first choice of each proxy.

    Raises:
        UnknownNameError: a caption is for no figure.
        InputError: as for ``study.leaderboard()``, or the leaderboard is that of another study.

    Example:
        >>> from trainless.study import make_study
        >>> scores = pd.DataFrame({"nwot": [1.0, 3.0, 2.0]}, index=["a", "b", "c"])
        >>> study = make_study(scores, pd.Series({"a": 60.0, "b": 70.0, "c": 65.0}), title="toy")
        >>> "<strong>nwot</strong> orders the 3 architectures best" in study_page(study, resamples=0, k=1)
        True
    """
    texts = complete_captions(captions)
    views = make_views(study, leaderboard, resamples, k)
    return render("study/page.html.j2", title=study.title, study=study_context(views, texts))


def complete_captions(captions: Mapping[str, str] | None) -> dict[str, str]:
    """Put captions of the caller's in the place of those of `CAPTIONS`.

    Raises:
        UnknownNameError: a caption is for no figure.
    """
    for name in captions or {}:
        if name not in CAPTIONS:
            raise UnknownNameError("figure", name, CAPTIONS)
    return {**CAPTIONS, **(captions or {})}


def study_context(views: Views, captions: Mapping[str, str]) -> dict[str, Any]:
    """Give what the sections of a study show.

    Args:
        views: of the study.
        captions: how to read each figure, by its name in `CAPTIONS`; plain text.
    """
    study, priced = views.study, views.known_costs()[0].index
    return {
        "title": study.title,
        "protocol": study.protocol,
        "captions": {name: text.replace("{k}", str(views.k)) for name, text in captions.items()},
        "architectures": len(study.accuracies),
        "names": views.names,
        "optimum": views.optimum,
        "best": _best(views),
        "better": _better_choice(views),
        "leaderboard": _leaderboard(views),
        "has_intervals": "kendall_low" in views.leaderboard,
        "ranking": ranking_plot(views),
        "scatter": scatter_data(views),
        "top": top_plot(views),
        "front": front_plot(views) if len(priced) else None,
        "unknown_costs": [name for name in views.names if name not in priced],
        "agreement": agreement_plot(views),
        "weights": None if study.sweep is None else _weights(study.sweep),
    }


# The answer.


def _best(views: Views) -> dict[str, Any] | None:
    """The proxy of the highest Kendall's tau, and which others lie within its interval; None where none has one."""
    known = views.leaderboard[np.isfinite(views.leaderboard["kendall"])]
    if known.empty:
        return None
    row = known.iloc[0]
    low, high = (float(row.get(f"kendall_{end}", math.nan)) for end in ("low", "high"))
    return {
        **_choice(views, str(known.index[0])),
        "interval": None if math.isnan(low) or math.isnan(high) else (low, high),
        "near": [str(name) for name, kendall in known["kendall"].iloc[1:].items() if kendall >= low],
    }


def _better_choice(views: Views) -> dict[str, Any] | None:
    """The proxy whose first choice is more accurate than that of the best by Kendall's tau; None where none is."""
    table = views.leaderboard
    known = table[np.isfinite(table["kendall"])]
    if known.empty:
        return None
    better = table[table["regret"] < known.iloc[0]["regret"]]
    return _choice(views, str(better["regret"].idxmin())) if len(better) else None


def _choice(views: Views, name: str) -> dict[str, Any]:
    row = views.leaderboard.loc[[name]].iloc[0]
    kendall, accuracy, regret = (float(row[column]) for column in ("kendall", "argmax_accuracy", "regret"))
    return {"name": name, "kendall": kendall, "accuracy": accuracy, "regret": regret}


# Sections.


def _leaderboard(views: Views) -> Table:
    board = views.leaderboard
    columns = [name for name in _LEADERBOARD if name in board]
    columns = [name for name in columns if name != "memory" or board["memory"].notna().any()]
    return table_of(board, columns_of(board, views.k, columns), "proxy")


def _weights(sweep: Sweep) -> dict[str, Any]:
    alpha, beta, kendall = sweep.best()
    try:
        published = {"alpha": ALPHA, "beta": BETA, "kendall": sweep.at(ALPHA, BETA)}
    except InputError:
        published = None  # the grid does not hold them
    return {
        "pair": sweep.pair,
        "alpha": alpha,
        "beta": beta,
        "kendall": kendall,
        "published": published,
        "grid": weights_plot(sweep),
        "ratio": ratio_plot(sweep),
    }
