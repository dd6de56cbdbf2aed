"""Forecast of a fit: what its stages will have time for, by a measurement of how fast networks learn here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainless.automl.pipeline import begin
from trainless.automl.stages import fit_size, scoring_seconds, trials_affordable
from trainless.data import Splits

if TYPE_CHECKING:
    from trainless.automl.plans import Plan
    from trainless.data.audits import Audit

__all__ = ["Stage", "forecast"]


@dataclass(frozen=True)
class Stage:
    """A stage of a fit to come.

    Args:
        stage: its name.
        seconds: that it will take, or took where it is done.
        what: what there is time for.
    """

    stage: str
    seconds: float
    what: str


def forecast(
    splits: Splits, plan: Plan, *, audited: Audit | None = None, begun: float | None = None
) -> list[Stage]:  # fmt: skip
    """Tell what each stage of a fit will have time for; nothing is searched, trained or written.

    Args:
        splits: the images.
        plan: settings of the fit.
        audited: what `trainless.data.audit` found in the images, where it was called already.
        begun: value of `time.monotonic` from which the time of the plan counts; None counts from this call.

    Raises:
        InputError: no network is within the limits.

    Example:
        >>> from trainless.automl import Plan
        >>> from trainless.data import load_splits
        >>> plan = Plan(epochs=3, space="nasbench201(channels=4, cells=1)", workers=0)
        >>> stages = forecast(load_splits("digits"), plan)
        >>> [stage.stage for stage in stages], stages[4].what
        (['data', 'sizing', 'search', 'tuning', 'training', 'test and report'], '3 epochs of a heavy network')
    """
    course = begin(splits, plan, audited=audited, begun=begun)
    budget = course.budget
    course.lap("data")
    size = fit_size(course, course.latency_model(), is_measured=True)
    course.lap("sizing")
    scoring = scoring_seconds(course, size)
    search = min(budget.search, plan.evaluations * scoring)
    begun = time.monotonic() + search
    trials = trials_affordable(course, size, begun)
    tuning = budget.tuning_end - begun if trials else 0.0
    epochs = course.planned_epochs(size, begun + tuning)
    is_timed = plan.time is not None
    training = budget.training_end - begun - tuning if is_timed else epochs * size.seconds * len(splits.train)
    speed = f"a heavy network learns from an image in {1000 * size.seconds:.3g} ms with {size.threads} thread(s)"
    parts = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    return [
        Stage("data", course.seconds["data"], parts),
        Stage("sizing", course.seconds["sizing"], f"{size.space.label}; {speed}"),
        Stage("search", search, f"about {int(search / scoring):,} of at most {plan.evaluations:,} architectures"),
        Stage("tuning", tuning, f"about {trials} recipes" if trials else "none, for want of images or time"),
        Stage("training", training, f"{epochs} epochs of a heavy network" + (", more of a lighter one" * is_timed)),
        Stage("test and report", budget.closing if is_timed else 0.0, "test, export, card and report"),
    ]
