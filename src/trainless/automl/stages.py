"""The stages of a fit: size, search, tuning and training, each within its share of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import torch

from trainless.automl.course import FORWARD, SPEED_KEPT, TELLING, Course
from trainless.automl.finalists import Finalist, finalists
from trainless.automl.latencies import WHOLE, LatencyModel, first_within
from trainless.automl.sizes import CostOf, Size, choose_size, time_networks, timed_size
from trainless.automl.tuning import tune
from trainless.costs import COSTS
from trainless.data import Splits
from trainless.errors import InputError
from trainless.estimators import AccuracyInTime, Setting, estimator
from trainless.estimators.speeds import seconds_an_image
from trainless.hardware import is_out_of_memory
from trainless.search import Budget, Costs, Search, SearchResult
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.training import Recipe, TrainingResult, TrainingState, fit_recipe, train
from trainless.training.measures import BALANCED
from trainless.training.train import finished
from trainless.types import Architecture

__all__ = [
    "calibrate",
    "choose_network",
    "chosen_because",
    "fit_size",
    "known_seconds",
    "network_of",
    "scoring_seconds",
    "search",
    "train_network",
    "trials_affordable",
    "tune_recipe",
    "with_memory",
]

_TRIAL_EPOCHS = 9
_LEAST_TRIALS = 5  # fewer than these say little: the time is better spent on the training
_OVERHEAD = 0.05  # seconds that scoring an architecture takes whatever it is
_WORKER_SECONDS = 15.0  # a search of fewer is done before other processes have begun
_LEAST_SECONDS = 1.0  # of a search, beside what learns before it
_ENDLESS = 1e12  # seconds: time for whatever size
_TIMED = 4  # of given candidates, from the lightest to the heaviest
_CALIBRATED = 3  # networks that are measured whole, so that sums of operations can follow them
_SHORT_SECONDS = 20.0  # of the training after a later interrupt
_FORMULA_SECONDS = 0.005  # for an architecture, with all that the search does about it
# The formula is off by 4 to 5 points, and its table ends at 121 epochs of 1,500 images, of heavy networks at 10: it
# cannot tell what a network gains that can learn more when there are more. On 9,000 images of CIFAR-10, 84 epochs of a
# quick network of 275,738 parameters came to no more than 26 of the same.
_ALIKE = 2.0  # points of accuracy in time below the best, from which the network with the most multiply-adds is taken
_FINALISTS = 10  # that are measured at most, before the fastest is taken
_TABLED_SECONDS, _TABLED = 60.0, 0.02  # a fit of this time tells of the latency of the best few anyway, in this share


def fit_size(course: Course, latencies: LatencyModel, *, is_measured: bool = False) -> Size:
    """Choose the size of the space for the time; measured once, for a second measurement could say another.

    Args:
        course: the fit.
        latencies: predicts latencies.
        is_measured: measure how fast networks learn even where time decides nothing.

    Raises:
        InputError: no network is within the limits.
    """
    plan, budget, kept = course.plan, course.budget, course.checkpoint.values
    space = plan.scratch_space
    if "size" in kept:
        index, seconds, threads, *times = kept["size"]
        return Size(space.sizes[index], index, seconds, threads, tuple(times))
    course.tell("sizing", 0, 0)
    options: dict[str, Any] = {
        "seed": plan.seed, "batch": course.batch, "share": budget.sizing, "cost": _costs_of(course, latencies),
        "most_threads": course.threads, "precision": course.precision,
    }  # fmt: skip
    task, limits = course.splits.train.task, plan.limits
    if course.candidates:
        size = _size_of(course, space, is_measured=is_measured)
    elif course.judges_time(space):
        size = timed_size(space, task, limits, progress=partial(course.tell, "sizing"), **options)
    else:
        available = _ENDLESS if is_measured else math.inf
        if plan.time:
            begun = budget.tuning_end if course.has_tuning else budget.sizing_start + budget.sizing + budget.search
            available = SPEED_KEPT * (budget.training_end - begun)
        size = choose_size(
            space, task, limits, len(course.splits.train), available, epochs=course.epochs, **options
        )  # fmt: skip
    course.checkpoint.keep(
        size=[size.index, size.seconds, size.threads, *size.times], latencies=latencies.measured,
        elapsed=budget.elapsed,
    )  # fmt: skip
    if size.index:
        broken = ["break the limits too often"] if plan.limits.most else []
        is_slow = plan.time and not course.judges_time(space)
        slow = [f"are too slow to be trained for {course.epochs} epochs in time"] if is_slow else []
        course.notes.append(f"The networks are those of {size.space.label}: larger ones {' or '.join(broken + slow)}.")
    return size


def _size_of(course: Course, space: SearchSpace, *, is_measured: bool) -> Size:
    """The size of the candidates, which is that of their space, by the time that some of them take."""
    if not (course.plan.time or is_measured):
        return Size(space, 0, math.nan, 1)
    task = course.splits.train.task
    ordered = sorted(course.candidates, key=lambda candidate: space.flops(candidate, task))
    some = [ordered[number * (len(ordered) - 1) // (_TIMED - 1)] for number in range(_TIMED)]
    return time_networks(
        space, list(dict.fromkeys(some)), task, batch=course.batch, share=course.budget.sizing,
        most_threads=course.threads, precision=course.precision,
    )  # fmt: skip


def _costs_of(course: Course, latencies: LatencyModel) -> CostOf:
    """What networks of any size cost, with the latency predicted."""
    known, task, mirror_average = dict[SearchSpace, Costs](), course.splits.train.task, course.plan.mirror_average

    def cost(space: SearchSpace, architecture: Architecture, name: str) -> float:
        if space not in known:
            predicted = {"latency": partial(latencies.predict, space)}
            known[space] = Costs(space, task, predicted=predicted, mirror_average=mirror_average)
        return known[space](architecture, name)

    return cost


def search(course: Course, size: Size, latencies: LatencyModel) -> SearchResult:
    """Search the architecture with the highest score, for a tenth of the time."""
    plan, kept, train_set = course.plan, course.checkpoint.values, course.splits.train
    seconds = kept.get("search_seconds", course.budget.search)
    scored = kept.get("scored", min(course.scored(size), len(train_set)))
    calibrate(course, size.space, latencies)
    is_timed = "latency" in plan.limits.most
    score = course.score(size)
    if isinstance(score, AccuracyInTime):  # by the times of the first run: a second measurement could say another
        score = kept.get("score", str(score))
        course.checkpoint.keep(score=score)
    course.checkpoint.keep(search_seconds=seconds, scored=scored, latencies=latencies.measured)
    most = kept.get("evaluations") or course.evaluations(size.space, latencies)
    course.checkpoint.keep(evaluations=most)
    # Workers that somebody chose, for a cluster or for limits, are taken however short it is.
    is_short = seconds < _WORKER_SECONDS and isinstance(plan.workers, SupportsIndex | None)
    made = Search(
        size.space, plan.strategy, score, train_set, limits=plan.limits, seed=plan.seed,
        budget=Budget(most, max(_LEAST_SECONDS, seconds - plan.taught_seconds) if math.isfinite(seconds) else None),
        workers=0 if is_short else plan.workers, batch_size=scored,
        store=None if course.folder is None else course.folder / "search.db",
        predicted={"latency": partial(latencies.predict, size.space)} if is_timed else {},
        mirror_average=plan.mirror_average,
        first=course.starts(size.space, latencies),
    )  # fmt: skip
    is_begun = course.folder is not None and made.is_begun()
    found = made.run(partial(course.tell, "searching"), resume=is_begun, on_interrupt=course.interrupt)
    if course.is_interrupted:  # a fit that goes on with its network is not to search on
        course.checkpoint.keep(search_seconds=float(found.evaluations["seconds"].max()))
    return found


def calibrate(course: Course, space: SearchSpace, latencies: LatencyModel) -> None:
    """Let predicted latencies follow those of some whole networks, where they are limited, once for a fit."""
    if "latency" in course.plan.limits.most and WHOLE not in latencies.measured:
        rng = np.random.default_rng(derive_seed(course.plan.seed, "latencies"))
        latencies.calibrate(space, [space.propose(rng) for _ in range(_CALIBRATED)])


def choose_network(course: Course, size: Size, found: SearchResult) -> Architecture:
    """Give the best-scored architecture that keeps the limit on the latency when it is measured.

    Raises:
        InputError: none of those that were measured does.
    """
    space, most = size.space, course.plan.limits.most.get("latency")
    if "architecture" in course.checkpoint.values:
        course.finalists = [Finalist(**row) for row in course.checkpoint.values.get("finalists", [])]
        return space.parse(course.checkpoint.values["architecture"])
    ranked = _best_first(found.evaluations, alike=_ALIKE if course.judges_time(space) else 0.0)
    best = space.parse(ranked["architecture"].iloc[0])
    if most is not None:
        fastest = ranked.sort_values("latency_ms")["architecture"].head(1)
        names = [*ranked["architecture"].head(_FINALISTS), *fastest]
        architectures = dict.fromkeys([best, *(space.parse(name) for name in names)])
        candidates = [course.candidate(space, architecture) for architecture in architectures]
        chosen, measured = first_within(candidates, most)
        if chosen is None:
            least = min(latency.high for _, latency in measured)
            raise InputError(
                f"None of {len(measured)} networks of {space.label} keeps latency at most {most:g} ms when it is "
                f"measured, with a margin: widen the limit; the fastest has {least:.3g} ms."
            )
        best = chosen.architecture
        if len(measured) > 1:
            course.notes.append(
                f"{len(measured) - 1} network(s) with a higher score were left out: measured, with spread and a "
                f"margin, they are above the limit of {most:g} ms."
            )
        course.finalists = finalists(found.evaluations, candidates, dict(measured), chosen)
    elif course.plan.time and course.plan.time >= _TABLED_SECONDS and not course.is_interrupted:
        candidates = [course.candidate(space, space.parse(name)) for name in ranked["architecture"].head(_FINALISTS)]
        until = time.monotonic() + _TABLED * course.plan.time
        course.finalists = finalists(found.evaluations, candidates, {}, candidates[0], deadline=until)
    rows = [asdict(finalist) for finalist in course.finalists]
    course.checkpoint.keep(architecture=str(best), finalists=rows, elapsed=course.budget.elapsed)
    return best


def _best_first(evaluations: pd.DataFrame, alike: float) -> pd.DataFrame:
    """The evaluations with a score by that score; those that are as good as the best first, by their multiply-adds."""
    ranked = evaluations[np.isfinite(evaluations["score"])].sort_values("score", ascending=False, kind="stable")
    is_alike = ranked["score"] >= ranked["score"].max() - alike if alike else ranked["score"] > np.inf
    largest_first = ranked[is_alike].sort_values(COSTS["flops"].column, ascending=False, kind="stable")
    ordered: pd.DataFrame = pd.concat([largest_first, ranked[~is_alike]])
    return ordered


def chosen_because(course: Course, size: Size, architecture: Architecture) -> dict[str, str]:
    """Say what decided for a network, for the protocol; nothing where a score of proxies did."""
    if not course.judges_time(size.space):
        return {}
    score = estimator(course.checkpoint.values["score"])
    assert isinstance(score, AccuracyInTime)
    said = score.explain(architecture, Setting(size.space, course.splits.train))
    return {"chosen because": f"of those within {_ALIKE:g} points of the best it has the most multiply-adds; {said}"}


def known_seconds(course: Course, size: Size, architecture: Architecture) -> Size:
    """Measure how long the network that was chosen learns, where the size was chosen before it was known."""
    if not size.times:
        return size
    seconds = course.checkpoint.values.get("image_seconds") or seconds_an_image(
        size.space, architecture, course.splits.train.task, batch=course.batch, threads=size.threads,
        precision=course.precision,
    )  # fmt: skip
    course.checkpoint.keep(image_seconds=seconds)
    return replace(size, seconds=seconds)


def network_of(space: SearchSpace, architecture: Architecture, splits: Splits) -> torch.nn.Module:
    """Build the network without what leads nowhere."""
    return space.build(space.canonical(architecture), splits.train.task)


def tune_recipe(
    course: Course, size: Size, build: Callable[[], torch.nn.Module], **options: Any
) -> tuple[Recipe, list[dict[str, Any]]]:  # fmt: skip
    """Choose the recipe of the training, by short trainings where there is time and they can be told apart.

    Args:
        course: the fit.
        size: how fast the network learns, with how many threads.
        build: makes the network.
        options: what else `trainless.training.train` is to be told.
    """
    plan, splits, kept = course.plan, course.splits, course.checkpoint.values
    if "recipe" in kept:
        return Recipe(**kept["recipe"]), kept["trials"]
    epochs = course.planned_epochs(size) or course.epochs
    first = fit_recipe(
        len(splits.train), plan.may_mirror(splits.train.task), epochs=epochs, balanced=course.measure in BALANCED
    )
    recipe, trials, best = first, list[dict[str, Any]](), list[tuple[Recipe, TrainingState]]()

    def keep_best(chosen: Recipe, state: TrainingState) -> None:
        if not best or state.valid_measures[-1] > best[-1][1].valid_measures[-1]:
            best.append((chosen, state))

    is_tried = not (plan.epochs or plan.is_resizing or course.is_interrupted)
    if is_tried and _is_worth_tuning(course, size):
        course.tell("tuning", 0, 0)
        attempt = partial(
            tune, build, splits.train, splits.valid, epochs=_TRIAL_EPOCHS, deadline=_end_of_tuning(course, size),
            measure=course.measure, seed=plan.seed, threads=size.threads, devices=replace(plan.devices, devices=1),
            log_folder=course.checkpoint.logs("trials"), kept=course.checkpoint.journal(),
            progress=partial(course.tell, "tuning"), on_epoch=keep_best, **options,
        )  # fmt: skip
        try:
            recipe, trials = with_memory(first, lambda chosen: attempt(first=chosen), course.notes)
        except KeyboardInterrupt:
            if best:
                recipe, state = best[-1]
                course.checkpoint.keep(training=vars(state))
                course.is_interrupted = True
            elif not course.interrupt():
                raise
    course.checkpoint.keep(elapsed=course.budget.elapsed, recipe=asdict(recipe), trials=trials)
    return recipe, trials


def scoring_seconds(course: Course, size: Size) -> float:
    """Estimate how long an architecture is scored, from how fast a heavy network learns."""
    if course.judges_time(size.space):
        return _FORMULA_SECONDS
    return _OVERHEAD + course.scored(size) * size.seconds * FORWARD


def trials_affordable(course: Course, size: Size, begun: float) -> int:
    """How many recipes can be tried from some value of `time.monotonic` on; 0 where it is not worth it."""
    if course.plan.epochs or not course.has_tuning:
        return 0
    trial_seconds = _TRIAL_EPOCHS * size.seconds * len(course.splits.train)
    affordable = int((_end_of_tuning(course, size) - begun) / trial_seconds)
    return affordable if affordable >= _LEAST_TRIALS else 0


def _end_of_tuning(course: Course, size: Size) -> float:
    """Value of `time.monotonic` at which the tuning has to end: it has the time that the training can do without."""
    training = course.most_epochs * size.seconds * len(course.splits.train) / SPEED_KEPT
    return min(course.budget.tuning_end, course.budget.training_end - training)


def _is_worth_tuning(course: Course, size: Size) -> bool:
    if not course.has_tuning:
        course.notes.append(
            f"{len(course.splits.valid)} validation images cannot tell recipes of training apart, {TELLING} might: "
            "the time went into the training, by the recipe that is tried first otherwise."
        )
        return False
    if not trials_affordable(course, size, time.monotonic()):
        course.notes.append("There was no time to tune the training: it has the recipe that is tried first otherwise.")
        return False
    return True


def train_network(
    course: Course, size: Size, network: torch.nn.Module, recipe: Recipe,
    on_epoch: Callable[[TrainingState], None] | None, *, begun: TrainingState | None = None, **options: Any,
) -> tuple[TrainingResult, Recipe]:  # fmt: skip
    """Train with the epochs asked for, or those there is time for; Ctrl-C ends it with the best so far.

    Args:
        course: the fit.
        size: how fast the network learns, with how many threads.
        network: what is trained.
        recipe: how.
        on_epoch: called with where the training stands after each epoch.
        begun: a short training of the same network to go on from, its schedule laid anew.
        options: what else `trainless.training.train` is to be told.

    Raises:
        KeyboardInterrupt: it was interrupted before an epoch was done.
    """
    plan, splits, budget, kept = course.plan, course.splits, course.budget, course.checkpoint
    before, used = kept.values.get("training"), recipe
    last = TrainingState(**before) if before else begun
    done = 0
    if last and (kept.goes_on or last is begun):
        done = last.epochs
        if last is not begun:
            course.notes.append(f"The training went on from {done} epochs of an earlier run, its schedule laid anew.")
        last = replace(last, progress=min(last.progress, done / (done + _more_epochs(course, last))))
    course.tell("training", last.epochs if last else 0, done + course.planned_epochs(size))

    def report(state: TrainingState) -> None:
        nonlocal last
        last = state
        kept.keep(soon=False, elapsed=budget.elapsed, training=vars(state))
        course.tell("training", state.epochs, round(state.epochs / state.progress))
        if on_epoch:
            on_epoch(state)

    def attempt(chosen: Recipe) -> TrainingResult:
        nonlocal used
        used = chosen
        deadline = None if plan.epochs else budget.training_end
        if course.is_interrupted:
            deadline = min(budget.training_end, time.monotonic() + _SHORT_SECONDS)
        return train(
            network, splits.train, splits.valid, epochs=done + (plan.epochs or course.most_epochs), seed=plan.seed,
            recipe=chosen, measure=course.measure, deadline=deadline,
            epoch_seconds=None if math.isnan(size.seconds) else size.seconds * len(splits.train),
            threads=size.threads, resume=last, on_epoch=report, devices=plan.devices, prefer_last=True,
            log_folder=kept.logs("training"), **options,
        )  # fmt: skip

    result = None
    while result is None and not (course.is_interrupted and last):
        try:
            result = with_memory(recipe, attempt, course.notes)
        except KeyboardInterrupt:
            if last is None and (course.is_interrupted or not course.interrupt()):
                raise
            course.is_interrupted = True
    if result is None:
        assert last is not None
        result = finished(network, last, course.measure)
    elif course.is_interrupted:
        course.notes.append(
            f"It was interrupted before its first epoch, so the network was trained for {result.seconds:.0f} s only: "
            "--continue (go_on in Python) gives it more time."
        )
    if last is not None and last.progress < 0.99:
        course.notes.append(
            f"The training ended after {result.epochs} epochs, at {last.progress:.0%} of its schedule, by an interrupt "
            "or for want of time."
        )
    return result, used


def _more_epochs(course: Course, state: TrainingState) -> int:
    """How many more epochs there will be after those of a state."""
    left = course.budget.training_end - time.monotonic()
    return course.plan.epochs or max(1, min(course.most_epochs, int(left / (state.seconds / state.epochs))))


def with_memory(recipe: Recipe, attempt: Callable[[Recipe], Any], notes: list[str]) -> Any:
    """Try, and again with half the batch where memory does not suffice, which is noted."""
    while True:
        try:
            return attempt(recipe)
        except (RuntimeError, MemoryError) as error:
            if recipe.batch_size < 4 or not is_out_of_memory(error):
                raise
        recipe = replace(recipe, batch_size=recipe.batch_size // 2)
        notes.append(f"Memory did not suffice: the batch was halved to {recipe.batch_size} images.")
