"""Networks from pretrained features in a fit: chosen without training, fitted in closed form, then trained further."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from trainless.automl.course import Course
from trainless.automl.latencies import MARGIN, measured_latency
from trainless.automl.results import Trained
from trainless.automl.sizes import Size
from trainless.automl.stages import train_network
from trainless.costs import COSTS
from trainless.data.audits import Audit
from trainless.estimators.speeds import fastest_threads
from trainless.search import Costs, SearchResult
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import Recipe, TrainingResult, TrainingState
from trainless.training.measures import BALANCED
from trainless.transfer import Start, fine_tuning_recipe, most_epochs, normalised, start_pretrained
from trainless.transfer.fitting import NO_TIME
from trainless.transfer.judging import LEAST_EPOCH
from trainless.types import Architecture

__all__ = ["FITTING_SECONDS", "JUDGING_SECONDS", "begin_pretrained", "fine_tuned", "in_closed_form", "judged_search"]

JUDGING_SECONDS, FITTING_SECONDS = 45.0, 60.0
"""Most seconds of the judging, and of the features for the head: so that there soon is a network, of any long time."""

_TESTED = 0.1  # share of the time for all that runs a network without training it, that is not too slow
_UNTRAINED = "those before any training"
_EXPORTED = 1000  # images that are computed for the export
_SPEED_SECONDS = 0.3  # of each measurement of how fast the network learns


def begin_pretrained(
    course: Course, space: Pretrained, *, judging: float, fitting: float, aside: float = 0.0
) -> Start:  # fmt: skip
    """Choose a network from pretrained features by a head in closed form; or take the one of an interrupted fit.

    Args:
        course: the fit.
        space: what is chosen from.
        judging: share of the time in which candidates are judged.
        fitting: share of the time for the features that the head of the chosen one is fitted to.
        aside: share of the time that goes into something else.

    Raises:
        InputError: nothing is within the limits, or the weights are not installed.
    """
    plan, budget, task = course.plan, course.budget, course.splits.train.task
    splits, kept = normalised(course.splits, space.backbones[0]), course.checkpoint.values
    if "start" in kept:
        start = Start.read(space, task, kept["start"])
    else:
        course.tell("judging", 0, 0)
        seconds = plan.time or math.inf
        fitting_seconds = min(fitting * seconds, FITTING_SECONDS) if plan.time else math.inf
        # Features mostly take half of the time that they may.
        training = (1 - judging - aside) * seconds - fitting_seconds / 2 - budget.closing
        start = start_pretrained(
            space, splits, plan.limits, judging_end=time.monotonic() + min(judging * seconds, JUDGING_SECONDS)
            if plan.time else math.inf, fitting_seconds=fitting_seconds, measure=course.measure, seed=plan.seed,
            threads=_threads(course), progress=course.tell, image_seconds=_most_image_seconds(course),
            costs=_costs(course, space), training_seconds=max(0.0, training) if plan.time else 0.0,
        )  # fmt: skip
        course.checkpoint.keep(start=start.document(), elapsed=budget.elapsed)
    course.notes += start.notes
    course.lap("judging")
    return start


def _threads(course: Course) -> int:
    """One where the same seed is to give the same network."""
    return course.threads if course.plan.time else 1


def _most_image_seconds(course: Course) -> float:
    """How long the features of an image may take, so that validation, test and export are done in time."""
    if not course.plan.time:
        return math.inf
    valid, test = len(course.splits.valid), len(course.splits.test)
    return _TESTED * course.plan.time / (2 * valid + test + _EXPORTED)


def _costs(course: Course, space: Pretrained) -> Costs:
    """What networks cost, the latency with its spread and a margin, so that it is held against a limit as it is."""
    model, most = course.latency_model(), course.plan.limits.most.get("latency", math.inf)

    def latency(architecture: Architecture) -> float:
        # The sum of the operations is the least that the whole takes: what is above the limit need not be measured.
        predicted = model.predict(space, architecture)
        if predicted > most:
            return predicted
        return measured_latency(course.candidate(space, architecture)).high * (1 + MARGIN)

    return Costs(
        space, course.splits.train.task, predicted={"latency": latency}, mirror_average=course.plan.mirror_average
    )  # fmt: skip


def fine_tuned(
    course: Course, start: Start, on_epoch: Callable[[TrainingState], None] | None, *, is_over: bool = False
) -> Trained:
    """Train all weights of a network in the time that is left; what comes out is no worse on the validation images.

    Args:
        course: the fit.
        start: the network with its head in closed form.
        on_epoch: called with where the training stands after each epoch.
        is_over: leave the training out.
    """
    tuning = replace(
        course, splits=normalised(course.splits, start.backbone), most_epochs=most_epochs(len(course.splits.train))
    )  # fmt: skip
    measure, recipe = course.measure, _recipe(course)
    settled, weights = start.result(measure), _UNTRAINED
    size = Size(start.space, 0, math.nan, 1) if is_over else _speed(course, start, recipe.batch_size)
    is_begun = "training" in course.checkpoint.values
    passes = course.candidate(start.space, start.architecture).passes
    images = len(course.splits.valid) + len(course.splits.test) + _EXPORTED
    course.budget.testing = start.chosen.image_seconds * passes * images
    is_late = course.plan.time is not None and not is_begun and not _has_time(course, size)
    if not is_over and not is_late:
        try:
            result, recipe = train_network(tuning, size, start.network, recipe, on_epoch, keep_weights=True)
            settled, weights, note = start.settle(result, measure, tuning.splits.valid, _threads(course))
            course.notes += [note] if note else []
        except KeyboardInterrupt:
            start.restore()
            is_over = True
    if is_over:
        course.notes.append("It was interrupted before an epoch of further training: the network is in closed form.")
    elif is_late:
        course.notes.append(NO_TIME)
    return _found(course, start, settled, recipe, weights)


def in_closed_form(course: Course, start: Start) -> Trained:
    """Give the network with its head in closed form as what a fit comes to."""
    return _found(course, start, start.result(course.measure), _recipe(course), _UNTRAINED)


def _recipe(course: Course) -> Recipe:
    images = course.splits.train
    return fine_tuning_recipe(
        len(images), photographs=course.plan.may_mirror(images.task), balanced=course.measure in BALANCED
    )


def _found(course: Course, start: Start, settled: TrainingResult, recipe: Recipe, weights: str) -> Trained:
    search = judged_search(start, course.report)
    scored = f"{len(search.evaluations)} candidates in {start.seconds['judging']:.1f} s: {search.stopped}"
    return Trained(
        start.space, start.architecture, start.network.eval(), normalised(course.splits, start.backbone), settled,
        recipe, search, weights=start.facts(),
        protocol={
            "search": "by what training further may leave of the log-loss of a head in closed form, on up to 1,000 "
            "images that it was fitted without",
            "scored": scored,
            "closed form": f"{start.accuracy:.2f} % of the validation images, before any training",
            "weights": weights,
        },
    )  # fmt: skip


def _speed(course: Course, start: Start, batch: int) -> Size:
    """How fast the network learns, on one thread or on all where that is faster."""
    if course.plan.epochs:
        return Size(start.space, 0, math.nan, 1)
    seconds, threads = fastest_threads(
        start.space, start.architecture, course.splits.train.task, {1, course.threads}, batch=batch,
        precision=course.precision, seconds=_SPEED_SECONDS,
    )  # fmt: skip
    return Size(start.space, 0, seconds, threads)


def _has_time(course: Course, size: Size) -> bool:
    left = course.budget.training_end - time.monotonic()
    return left > LEAST_EPOCH * size.seconds * len(course.splits.train)


def judged_search(start: Start, report: Audit) -> SearchResult:
    """Give the candidates as a search has them, in the order in which they were judged.

    The score is what may be left of the log-loss of the head in closed form, its sign turned.
    """
    judged = sorted(start.candidates, key=lambda candidate: candidate.seconds)
    table = pd.DataFrame({
        "architecture": [str(candidate.architecture) for candidate in judged],
        "score": [-candidate.expected for candidate in judged],
        COSTS["params"].column: [candidate.parameters for candidate in judged],
        COSTS["flops"].column: [candidate.flops for candidate in judged],
        "seconds": [candidate.seconds for candidate in judged],
        "status": "ok",
        "reason": "",
        "left-out log-loss": [candidate.loss for candidate in judged],
        "left-out accuracy": [candidate.accuracy for candidate in judged],
        "logme": [candidate.logme for candidate in judged],
        "transrate": [candidate.transrate for candidate in judged],
    }, index=range(1, len(judged) + 1))  # fmt: skip
    best = str(start.architecture)
    stopped = "there was no time for more" if start.notes else "all candidates within the limits were judged"
    title = f"heads in closed form of {start.space.label} on {report.name}"
    return SearchResult(title, start.space.name, best, ("score",), table, (best,), {}, stopped)
