"""Weights of the Hybrid that are fitted on some architectures and measured on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.aggregation.aggregates import Hybrid
from trainless.aggregation.sweep import sweep
from trainless.aggregation.weighted import HYBRID_PAIR
from trainless.errors import InputError
from trainless.ranking import check_same_index, finite_last

__all__ = ["CrossValidation", "cross_validate"]


@dataclass(frozen=True)
class CrossValidation:
    """Weights fitted on some architectures and measured on others.

    Args:
        folds: one row a fold: ``alpha``, ``beta``, ``kendall_in_sample``, ``kendall``, ``spearman`` and the number of
            ``networks`` held out; the last two correlations are of the held-out architectures.
        kendall: mean of the held-out tau-b over all folds; NaN where one fold has none, since all its values or all its
            accuracies are equal: a mean over the others would be of other architectures.
        spearman: mean of the held-out rho, likewise.
    """

    folds: pd.DataFrame
    kendall: float
    spearman: float


def cross_validate(
    scores: pd.DataFrame,
    accuracies: pd.Series,
    *,
    pair: tuple[str, str] = HYBRID_PAIR,
    folds: int = 5,
    seed: int = 0,
    alphas: npt.ArrayLike | None = None,
    betas: npt.ArrayLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Fit the Hybrid's weights on all folds but one, and measure them on the one left out.

    The held-out architectures have no part in the weights, nor in the largest scores that normalise. The means are over
    all folds, and NaN where a fold has no correlation.

    Args:
        scores: one row an architecture, with the columns of `pair`.
        accuracies: with the same index.
        pair: the data-independent and the data-dependent proxy.
        folds: number of parts, at least 2.
        seed: decides the parts.
        alphas: as for `sweep`.
        betas: as for `sweep`.
        progress: called with the number of folds done and of all.

    Raises:
        InputError: too few architectures for so many folds, or as for `sweep`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = pd.Series(rng.uniform(size=60))
        >>> scores = pd.DataFrame({"logsynflow": truth + rng.uniform(size=60), "nwot": truth + rng.uniform(size=60)})
        >>> len(cross_validate(scores, truth, folds=3, alphas=[1.0], betas=[0.5, 1.0]).folds)
        3
    """
    from scipy.stats import kendalltau, spearmanr

    check_same_index(scores[pair[0]], accuracies, "The scores and the accuracies")
    if not 2 <= folds <= len(scores) // 2:
        raise InputError(f"There are {folds} folds for {len(scores)} architectures, expected 2 to half as many.")
    part = np.random.default_rng(seed).permutation(len(scores)) % folds
    rows = []
    for fold in range(folds):
        train, held = scores[part != fold], scores[part == fold]
        study = sweep(train[pair[0]], train[pair[1]], accuracies[part != fold], alphas=alphas, betas=betas, pair=pair)
        alpha, beta, inside = study.best()
        values = finite_last(Hybrid(pair, alpha=alpha, beta=beta).fit(train).score(held).to_numpy())
        truth = accuracies[part == fold]
        tau = float(kendalltau(values, truth).statistic)
        rows.append(
            {
                "alpha": alpha,
                "beta": beta,
                "kendall_in_sample": inside,
                "kendall": tau,
                # Where all values are tied neither is known, of which one warns.
                "spearman": tau if np.isnan(tau) else float(spearmanr(values, truth).statistic),
                "networks": len(held),
            }
        )
        if progress:
            progress(fold + 1, folds)
    frame = pd.DataFrame(rows)
    means = frame[["kendall", "spearman"]].mean(skipna=False)
    return CrossValidation(frame, float(means["kendall"]), float(means["spearman"]))
