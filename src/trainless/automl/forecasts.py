"""Forecast of a fit: what its stages will have time for, by a measurement of how fast networks learn here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainless.automl.course import FORWARD, Course
from trainless.automl.inheriting import propose_candidates
from trainless.automl.pipeline import begin
from trainless.automl.pretrained import JUDGING_SECONDS
from trainless.automl.routes import FITTING, FITTING_BESIDE, JUDGING, JUDGING_BESIDE, PROBE, pretrained_beside
from trainless.automl.stages import fit_size, scoring_seconds, trials_affordable
from trainless.data import Splits
from trainless.errors import InputError
from trainless.estimators.speeds import seconds_an_image
from trainless.search import Costs
from trainless.search_spaces.pretrained import Pretrained
from trainless.transfer.judging import JUDGED, counted_within

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
    course.lap("data")
    parts = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    stages = [Stage("data", course.seconds["data"], parts)]
    if plan.start:
        propose_candidates(course)
        found = f"{len(course.candidates)} network(s)" if course.candidates else "none: a search finds another network"
        stages.append(Stage("proposing", course.seconds["proposing"], f"{found} to make of '{plan.start.path}'"))
    space = pretrained_beside(course)[0] if plan.is_auto else plan.pretrained_space
    further = ""
    if space is not None:
        shares = (JUDGING_BESIDE, FITTING_BESIDE) if plan.is_auto else (JUDGING, FITTING)
        judging, further, training = _judging(course, space, *shares)
        stages.append(judging)
    if plan.is_auto or space is None:
        stages += _from_scratch(course, space is not None, further)
    else:
        left = course.budget.training_end - time.monotonic() - judging.seconds
        stages.append(Stage("training", left if plan.time else training, further))
    closing = course.budget.closing if plan.time else 0.0
    return [*stages, Stage("test and report", closing, "test, export, card and report")]


def _judging(course: Course, space: Pretrained, judging: float, fitting: float) -> tuple[Stage, str, float]:
    """The stage in which pretrained candidates are judged, the training further in words, and its seconds."""
    plan, train_set = course.plan, course.splits.train
    costs = Costs(space, train_set.task)
    within = sorted(counted_within(space, plan.limits, costs), key=lambda architecture: costs(architecture, "flops"))
    if not within:
        raise InputError(f"No network of pretrained is within the limits ({plan.limits}): allow more.")
    middle = within[len(within) // 2]
    image_seconds = seconds_an_image(space, middle, train_set.task, batch=16, threads=course.threads)
    deepest = {(cut.backbone, cut.pixels): costs(found, "flops") for found in within if (cut := space.cut(found))}
    whole = min(JUDGED, len(train_set)) * FORWARD * image_seconds * sum(deepest.values()) / costs(middle, "flops")
    budget, epoch_seconds = course.budget, image_seconds * len(train_set)
    seconds = min(judging * budget.seconds, JUDGING_SECONDS, whole)
    seconds += min(fitting * budget.seconds, FORWARD * epoch_seconds)
    epochs = plan.epochs or max(0, int((budget.training_end - time.monotonic() - seconds) / epoch_seconds))
    return (
        Stage("judging", seconds, f"{len(within):,} pretrained candidates within the limits, the quickest first"),
        f"{epochs} epochs of {middle}, of as many multiply-adds as half of the candidates",
        epochs * epoch_seconds,
    )


def _from_scratch(course: Course, is_beside: bool, further: str) -> list[Stage]:
    """The stages of a network from scratch, maybe beside one from pretrained features."""
    plan, budget, splits = course.plan, course.budget, course.splits
    if is_beside:
        shares = JUDGING_BESIDE + FITTING_BESIDE + PROBE
        budget.aside = min(budget.elapsed + shares * budget.seconds, budget.seconds)
    before = budget.sizing_start - time.monotonic()
    size = fit_size(course, course.latency_model(), is_measured=True)
    course.lap("sizing")
    scoring = scoring_seconds(course, size)
    evaluations = course.evaluations(size.space)
    search = min(budget.search, evaluations * scoring)
    begun = time.monotonic() + before + search
    trials = trials_affordable(course, size, begun)
    tuning = budget.tuning_end - begun if trials else 0.0
    epochs = course.planned_epochs(size, begun + tuning)
    is_timed = plan.time is not None
    training = budget.training_end - begun - tuning if is_timed else epochs * size.seconds * len(splits.train)
    speed = f"a heavy network learns from an image in {1000 * size.seconds:.3g} ms with {size.threads} thread(s)"
    untuned = "none, where a network grows or shrinks" if plan.is_resizing else "none, for want of images or time"
    what = f"{epochs} epochs of a heavy network" + (", more of a lighter one" * is_timed)
    stages = [
        Stage("sizing", course.seconds["sizing"], f"{size.space.label}; {speed}"),
        Stage("search", search, f"about {int(search / scoring):,} of at most {evaluations:,} architectures"),
        Stage("tuning", tuning, f"about {trials} recipes" if trials else untuned),
        Stage("training", training, what + (f"; or {further}" if further else "")),
    ]
    if is_beside:
        probe = Stage(
            "probe", PROBE * budget.seconds, "a short training from scratch, held against pretrained features"
        )
        stages.insert(2, probe)
    return stages
