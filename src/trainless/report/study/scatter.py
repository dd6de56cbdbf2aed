"""The points of a page's scatter of scores and accuracies, for its script to draw for the proxy that is chosen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainless.ranking import average_ranks, finite_last
from trainless.report.common.colours import SCALE
from trainless.report.common.interactive import LAYOUT, LEGEND, ZOOM, Spec, label, plotly_config
from trainless.report.common.scales import needs_logarithm
from trainless.report.study.views import Views, first_choice, thinned

__all__ = ["scatter_data"]


def scatter_data(views: Views) -> Spec:
    """Give the scatter's points, architectures once, for the page's script to draw for the proxy that is chosen.

    Returns:
        ``names`` (escaped), ``accuracies``, ``parameters`` or None, ``optimum`` (place of the most accurate),
        ``bounds`` (lowest accuracy, median, highest) and ``columns``: for each proxy, in the leaderboard's order, its
        ``label``, its ``values`` and ``ranks`` (percent of all architectures that are scored lower, with half of the
        equal ones), whether its axis is ``logarithmic`` and ``reversed``, the place of its ``first`` choice, and what
        ``note`` has to be said.
    """
    places = thinned(views)
    study = views.study
    truth = study.accuracies.to_numpy(dtype=float)
    parameters = None
    if study.parameters is not None:
        parameters = study.parameters.reindex(study.accuracies.index).to_numpy(dtype=float)[places]
        parameters = parameters if np.isfinite(parameters).any() else None
    return {
        "names": [label(str(name)).replace("|+|", "|+<br>|") for name in study.accuracies.index[places]],
        "accuracies": np.round(truth[places], 6),
        "parameters": parameters,
        "optimum": int(truth[places].argmax()),
        "bounds": [float(truth.min()), float(np.median(truth)), float(truth.max())],
        "scale": SCALE,
        "layout": {**LAYOUT, "height": 520, "legend": LEGEND},
        "config": plotly_config(*ZOOM),
        "columns": [_scatter_column(views, name, places) for name in views.names],
    }


def _scatter_column(views: Views, name: str, places: npt.NDArray[np.intp]) -> Spec:
    raw = views.study.scores[name].to_numpy(dtype=float)
    oriented = views.study.oriented[name]
    values = finite_last(oriented.to_numpy(dtype=float))
    ranks = 100 * (average_ranks(values[places], np.sort(values)) - 0.5) / len(values)
    logarithmic = needs_logarithm(raw)
    shown = raw[places]
    missing = ~np.isfinite(raw) | (logarithmic & (raw <= 0))
    return {
        "label": label(name),
        "values": [float(f"{value:.5g}") if math.isfinite(value) else None for value in shown],
        "ranks": np.round(ranks, 2),
        "logarithmic": logarithmic,
        "reversed": name in views.study.lower_is_better,
        "first": int(np.searchsorted(places, first_choice(oriented))),
        "note": _missing_note(int(missing.sum()), logarithmic),
    }


def _missing_note(missing: int, logarithmic: bool) -> str:
    if not missing:
        return ""
    why = "not finite or, on this logarithmic axis, not above zero" if logarithmic else "not finite"
    what = "architecture with a score that is" if missing == 1 else "architectures with a score that is"
    return f"{missing:,} {what} {why} can be seen by rank only."
