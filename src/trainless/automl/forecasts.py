"""Forecast of a fit: what its stages will have time for, by a measurement of how fast networks learn here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from trainless.automl.course import FORWARD, Course
from trainless.automl.inheriting import propose_candidates
from trainless.automl.pipeline import begin
from trainless.automl.pretrained import FITTING_SECONDS, JUDGING_SECONDS
from trainless.automl.routes import FITTING, FITTING_BESIDE, JUDGING, JUDGING_BESIDE, PROBE, pretrained_beside
from trainless.automl.stages import fit_size, scoring_seconds, trials_affordable
from trainless.automl.time_budget import TimeBudget
from trainless.data import Splits
from trainless.errors import InputError
from trainless.estimators.speeds import SpeedModel, seconds_an_image, work_of
from trainless.search import Costs
from trainless.search_spaces.pretrained import Pretrained
from trainless.transfer import most_epochs
from trainless.transfer.judging import JUDGED, counted_within
from trainless.workers.process import memory_kept

if TYPE_CHECKING:
    from trainless.automl.plans import Plan
    from trainless.data.audits import Audit

__all__ = ["Forecast", "Stage", "forecast"]


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


@dataclass(frozen=True)
class Forecast:
    """What a fit will have time for.

    Args:
        stages: in their order.
        warning: a sentence where the time is too little to train; empty where it is not.
    """

    stages: tuple[Stage, ...]
    warning: str


@dataclass(frozen=True)
class _Training:
    """Seconds left for the training, negative where what comes before takes longer; a quick epoch; in words."""

    seconds: float
    epoch_seconds: float
    what: str


@memory_kept()  # as a fit does: what is measured here is how fast it will be
def forecast(
    splits: Splits, plan: Plan, *, audited: Audit | None = None, begun: float | None = None
) -> Forecast:  # fmt: skip
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
        >>> stages = forecast(load_splits("digits"), plan).stages
        >>> [stage.stage for stage in stages], stages[4].what
        (['data', 'sizing', 'search', 'tuning', 'training', 'test and report'], '3 epochs of a heavy network')
    """
    course = begin(splits, plan, audited=audited, begun=begun)
    course.lap("data")
    parts = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    stages = [Stage("data", course.seconds["data"], parts)]
    if plan.start:
        propose_candidates(course)
        proposed = (
            f"{len(course.candidates)} network(s)" if course.candidates else "none: a search finds another network"
        )
        stages.append(Stage("proposing", course.seconds["proposing"], f"{proposed} to make of '{plan.start.path}'"))
    space = pretrained_beside(course)[0] if plan.is_auto else plan.pretrained_space
    before = 0.0
    if space is not None:
        shares = (JUDGING_BESIDE, FITTING_BESIDE) if plan.is_auto else (JUDGING, FITTING)
        before = sum(shares)
        judging, training = _judging(course, space, *shares)
        stages.append(judging)
    if plan.is_auto or space is None:
        before += PROBE if space is not None else 0.0
        found, scratch = _from_scratch(course, before)
        stages += found
        training = scratch if space is None else _either(scratch, training)
    closing = course.budget.closing if plan.time else 0.0
    stages += [
        Stage("training", training.seconds, training.what),
        Stage("test and report", closing, "test, export, card and report"),
    ]
    return Forecast(
        tuple(replace(stage, seconds=max(0.0, stage.seconds)) for stage in stages), _warning(course, training, before)
    )


def _either(scratch: _Training, further: _Training) -> _Training:
    """A network from scratch, or else the training further of a pretrained one, by whichever has the quicker epoch."""
    epoch_seconds = min(scratch.epoch_seconds, further.epoch_seconds)
    return _Training(scratch.seconds, epoch_seconds, f"{scratch.what}; or {further.what}")


def _warning(course: Course, training: _Training, before: float) -> str:
    """Say that there is no time for an epoch, and what may be enough, of which a share goes into what comes before."""
    if course.plan.time is None or training.seconds >= training.epoch_seconds:
        return ""
    fixed = course.budget.elapsed + training.epoch_seconds

    def suffices(seconds: float) -> bool:
        budget = TimeBudget(seconds)
        return (1 - before) * seconds - budget.search - budget.closing >= fixed

    needed = next(filter(suffices, count(10 * math.floor(course.plan.time / 10 + 1), 10)))
    return (
        f"The time of {course.plan.time:g} s is too little for an epoch of training after all that comes before: about "
        f"{needed:,} s are needed here."
    )


def _judging(course: Course, space: Pretrained, judging: float, fitting: float) -> tuple[Stage, _Training]:
    """The stage in which pretrained candidates are judged, and the training further."""
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
    seconds += min(fitting * budget.seconds, FITTING_SECONDS, FORWARD * epoch_seconds)
    left = plan.epochs * epoch_seconds if plan.epochs else budget.training_end - time.monotonic() - seconds
    epochs = plan.epochs or min(most_epochs(len(train_set)), max(0, int(left / epoch_seconds)))
    what = f"{epochs} epochs of {middle}, of as many multiply-adds as half of the candidates"
    return (
        Stage("judging", seconds, f"{len(within):,} pretrained candidates within the limits, the quickest first"),
        _Training(min(left, max(1, epochs) * epoch_seconds), epoch_seconds, what),
    )


def _from_scratch(course: Course, before: float) -> tuple[list[Stage], _Training]:
    """The stages of a network from scratch up to its training, with a share of the time for what comes before."""
    plan, budget, splits = course.plan, course.budget, course.splits
    if before:
        budget.aside = min(budget.elapsed + before * budget.seconds, budget.seconds)
    aside = budget.sizing_start - time.monotonic()
    size = fit_size(course, course.latency_model(), is_measured=True)
    course.lap("sizing")
    scoring = scoring_seconds(course, size)
    evaluations = course.evaluations(size.space)
    taught = plan.taught_seconds if plan.time else 0.0
    search = taught + min(max(0.0, budget.search - taught), evaluations * scoring)
    begun = time.monotonic() + aside + search
    trials = trials_affordable(course, size, begun)
    tuning = budget.tuning_end - begun if trials else 0.0
    epochs = course.planned_epochs(size, begun + tuning)
    epoch_seconds = size.seconds * len(splits.train)
    training = budget.training_end - begun - tuning if plan.time else epochs * epoch_seconds
    speed = f"a heavy network learns from an image in {1000 * size.seconds:.3g} ms with {size.threads} thread(s)"
    untuned = "none, where a network grows or shrinks" if plan.is_resizing else "none, for want of images or time"
    counted = "less than an epoch" if training < epoch_seconds else f"{epochs} epochs"
    what = f"{counted} of a heavy network" + (", more of a lighter one" if plan.time else "")
    stages = [
        Stage("sizing", course.seconds["sizing"], f"{size.space.label}; {speed}"),
        Stage("search", search, f"about {int((search - taught) / scoring):,} of at most {evaluations:,} architectures"),
        Stage("tuning", tuning, f"about {trials} recipes" if trials else untuned),
    ]
    if before:
        probe = Stage(
            "probe", PROBE * budget.seconds, "a short training from scratch, held against pretrained features"
        )
        stages.insert(2, probe)
    # Where the search judges the time, it takes a lighter network rather than too few epochs.
    model, task = SpeedModel(size.times), splits.train.task
    starts = map(size.space.canonical, course.starts(size.space))
    works = [work_of(size.space.blueprint(start, task), course.batch) for start in starts]
    quick = min((model.predict(work) * len(splits.train) for work in works), default=epoch_seconds)
    return stages, _Training(training, quick, what)
