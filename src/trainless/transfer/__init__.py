"""Networks from pretrained features: judged without training, fitted in closed form, then trained further."""

from __future__ import annotations

from trainless.transfer.features import FeatureCache, compute_features
from trainless.transfer.fitting import (
    PretrainedFit,
    Start,
    draw_back,
    fine_tuning_recipe,
    fit_pretrained,
    in_closed_form,
    most_epochs,
    normalised,
    start_pretrained,
)
from trainless.transfer.heads import ClosedForm, closed_form
from trainless.transfer.judging import Judged, judge

__all__ = [
    "ClosedForm",
    "FeatureCache",
    "Judged",
    "PretrainedFit",
    "Start",
    "closed_form",
    "compute_features",
    "draw_back",
    "fine_tuning_recipe",
    "fit_pretrained",
    "in_closed_form",
    "judge",
    "most_epochs",
    "normalised",
    "start_pretrained",
]
