"""The stages of a fit: size, search, tuning and training, each within its share of the time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.finalists import Finalist, finalists
from trainless.automl.latencies import WHOLE, LatencyModel, first_within
from trainless.automl.plans import EVALUATIONS, Plan
from trainless.automl.sizes import EPOCHS, CostOf, Size, choose_size, timed_size
from trainless.automl.time_budget import TimeBudget
from trainless.automl.tuning import is_out_of_memory, tune
from trainless.costs import Candidate
from trainless.data import Splits
from trainless.data.audits import Audit
from trainless.errors import InputError
from trainless.estimators import AccuracyInTime, Setting, estimator
from trainless.estimators.speeds import seconds_an_image
from trainless.search import Budget, Costs, Search, SearchResult
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.training import Recipe, TrainingResult, TrainingState, fit_recipe, train
from trainless.training.measures import BALANCED
from trainless.training.recipes import batch_size_for
from trainless.training.train import finished
from trainless.types import Architecture

__all__ = [
    "FORWARD",
    "MOST_EPOCHS",
    "Course",
    "Progress",
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

MOST_EPOCHS = 200
"""Most epochs of a training that only the time ends."""

FORWARD = 1 / 3
"""Share of the time of a training step that only a forward pass takes."""

_STEPS = 2000  # that a heavy network shall get at least in the time of its training, of few images by more epochs
_TRIAL_EPOCHS = 9
_LEAST_TRIALS = 5  # fewer than these say little: the time is better spent on the training
_TELLING = 400  # validation images from which on recipes can be told apart, at a standard error of a percent or two
_SCORED = 64  # images that architectures are scored on, or all where there are fewer
_LEAST_SCORED = 16  # of them, where the time would not suffice for as many architectures otherwise
_WANTED = 40  # architectures that the time of the search shall suffice for
_OVERHEAD = 0.05  # seconds that scoring an architecture takes whatever it is
_WORKER_SECONDS = 15.0  # a search of fewer is done before other processes have begun
_SPEED_KEPT = 0.85  # share of the time that is planned for: the rest is for what is slower than measured
_ENDLESS = 1e12  # seconds: time for whatever size
_CALIBRATED = 3  # networks that are measured whole, so that sums of operations can follow them
_FIRST_SECONDS = 60.0  # of a fit, in which an interrupt leaves no network before there is an epoch
_SHORT_SECONDS = 20.0  # of the training after a later interrupt
_FORMULA_SECONDS = 0.005  # for an architecture, with all that the search does about it
# The formula is off by 4 to 5 points, and knows nothing of parameters, which its table of 1,500 images does not show to
# matter: of 9,000, a network with 275,000 that trained as long was 5 points better than one with 120,000.
_ALIKE = 1.0  # points of accuracy in time below the best, from which the network with the most parameters is taken
_USUAL_SCORE = "log-rank(flops, nwot)"  # the most robust that is known for networks that are trained to the end
_FINALISTS = 10  # that are measured at most, before the fastest is taken

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, what is done of it and all of it, 0 where that is not known."""


@dataclass
class Course:
    """What the stages of a fit share.

    Args:
        plan: settings of the fit.
        splits: the images.
        report: what the audit found in them.
        budget: the time there is.
        checkpoint: what is kept for an interrupted fit to go on.
        folder: where the search keeps its scores; None keeps them nowhere.
        progress: called with the name of a stage, what is done of it and all of it; None tells nobody.
        notes: what one should know, as sentences.
        seconds: by stage, the time it took.
        rivals: by name, what simple classifiers say of the test images.
        is_interrupted: whether the training shall end where it stands, or be short where there is no epoch yet.
        finalists: the best few networks of the search, where a limit on the latency had them measured.
    """

    plan: Plan
    splits: Splits
    report: Audit
    budget: TimeBudget
    checkpoint: FitCheckpoint
    folder: Path | None
    progress: Progress | None
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, torch.Tensor] = field(default_factory=dict)
    is_interrupted: bool = False
    finalists: list[Finalist] = field(default_factory=list)

    def tell(self, stage: str, done: int, total: int) -> None:
        """Say what is being done, and how far it is."""
        if self.progress:
            self.progress(stage, done, total)

    def lap(self, stage: str) -> None:
        """Note that a stage ends here, or a part of it."""
        before = self.seconds.get(stage, 0.0)
        self.seconds[stage] = before + self.budget.elapsed - sum(self.seconds.values())

    def interrupt(self) -> bool:
        """Tell whether an interrupt before the first epoch ends the fit with a short training, and note that it does.

        Not in its first minute, and not where a network from pretrained features is there already.
        """
        self.is_interrupted = self.budget.elapsed >= _FIRST_SECONDS and "start" not in self.checkpoint.values
        return self.is_interrupted

    @property
    def measure(self) -> str:
        """What the network shall be good at."""
        return self.plan.measure or "accuracy"

    @property
    def batch(self) -> int:
        """Images in a step of the training, as long as nothing is tuned."""
        return batch_size_for(len(self.splits.train))

    @property
    def epochs(self) -> int:
        """Epochs that a heavy network shall get."""
        return max(EPOCHS, math.ceil(_STEPS * self.batch / len(self.splits.train)))

    @property
    def threads(self) -> int:
        """Most threads of a process."""
        return max(1, (os.cpu_count() or 1) if self.plan.workers is None else self.plan.workers)

    @property
    def precision(self) -> str:
        """In which precision a training step is timed."""
        return self.plan.devices.resolved().precision

    def judges_time(self, space: SearchSpace) -> bool:
        """Whether the search itself judges how much a network can learn in the time."""
        return self.plan.score is None and AccuracyInTime.knows(space)

    def evaluations(self, space: SearchSpace) -> int:
        """How many architectures are scored at most."""
        usual = len(space.starts()) if self.judges_time(space) else EVALUATIONS
        return self.plan.evaluations or usual

    def score(self, size: Size) -> Any:
        """What the search maximises."""
        if not self.judges_time(size.space):
            return self.plan.score or _USUAL_SCORE
        if self.plan.epochs:
            return AccuracyInTime(epochs=self.plan.epochs)
        left = self.budget.training_end - time.monotonic() - self.budget.search
        return AccuracyInTime(_SPEED_KEPT * max(left, 1.0), 0.0, *size.times)

    @property
    def has_tuning(self) -> bool:
        """Whether recipes can be told apart."""
        return len(self.splits.valid) >= _TELLING

    def latency_model(self) -> LatencyModel:
        """Give what predicts latencies, with what an interrupted fit had measured."""
        known = self.checkpoint.values.get("latencies", {})
        return LatencyModel(self.splits.train.task, known, mirror_average=self.plan.mirror_average)

    def candidate(self, space: SearchSpace, architecture: Architecture) -> Candidate:
        """Give an architecture as the network that is handed over, whose costs count."""
        return Candidate(space, architecture, self.splits.train.task, mirror_average=self.plan.mirror_average)

    def scored(self, size: Size) -> int:
        """How many images architectures are scored on, fewer where there is little time for each."""
        if math.isnan(size.seconds) or not self.plan.time:
            return _SCORED
        affordable = self.budget.search / (_WANTED * FORWARD * size.seconds)
        return round(min(_SCORED, max(_LEAST_SCORED, affordable)))

    def planned_epochs(self, size: Size, begun: float | None = None) -> int:
        """How many epochs there may be time for from some value of `time.monotonic` on; 0 where nothing tells."""
        if self.plan.epochs:
            return self.plan.epochs
        epoch_seconds = size.seconds * len(self.splits.train)
        left = self.budget.training_end - (time.monotonic() if begun is None else begun)
        return 0 if math.isnan(epoch_seconds) else max(1, min(MOST_EPOCHS, int(_SPEED_KEPT * left / epoch_seconds)))


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
    if course.judges_time(space):
        size = timed_size(space, task, limits, **options)
    else:
        available = _ENDLESS if is_measured else math.inf
        if plan.time:
            begun = budget.tuning_end if course.has_tuning else budget.sizing_start + budget.sizing + budget.search
            available = _SPEED_KEPT * (budget.training_end - begun)
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
    seconds = kept.get("search_seconds", max(1.0, course.budget.search))
    scored = kept.get("scored", min(course.scored(size), len(train_set)))
    is_timed = "latency" in plan.limits.most
    if is_timed and WHOLE not in latencies.measured:
        rng = np.random.default_rng(derive_seed(plan.seed, "latencies"))
        latencies.calibrate(size.space, [size.space.propose(rng) for _ in range(_CALIBRATED)])
    score = course.score(size)
    if isinstance(score, AccuracyInTime):  # by the times of the first run: a second measurement could say another
        score = kept.get("score", str(score))
        course.checkpoint.keep(score=score)
    course.checkpoint.keep(search_seconds=seconds, scored=scored, latencies=latencies.measured)
    made = Search(
        size.space, plan.strategy, score, train_set, limits=plan.limits, seed=plan.seed,
        budget=Budget(course.evaluations(size.space), seconds if math.isfinite(seconds) else None),
        workers=0 if seconds < _WORKER_SECONDS else plan.workers, batch_size=scored,
        store=None if course.folder is None else course.folder / "search.db",
        predicted={"latency": partial(latencies.predict, size.space)} if is_timed else {},
        mirror_average=plan.mirror_average,
        first=size.space.starts() if course.judges_time(size.space) else (),
    )  # fmt: skip
    is_begun = course.folder is not None and made.is_begun()
    found = made.run(partial(course.tell, "searching"), resume=is_begun, on_interrupt=course.interrupt)
    if course.is_interrupted:  # a fit that goes on with its network is not to search on
        course.checkpoint.keep(search_seconds=float(found.evaluations["seconds"].max()))
    return found


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
    rows = [asdict(finalist) for finalist in course.finalists]
    course.checkpoint.keep(architecture=str(best), finalists=rows, elapsed=course.budget.elapsed)
    return best


def _best_first(evaluations: pd.DataFrame, alike: float) -> pd.DataFrame:
    """The evaluations with a score by that score; those that are as good as the best first, by their parameters."""
    ranked = evaluations[np.isfinite(evaluations["score"])].sort_values("score", ascending=False, kind="stable")
    is_alike = ranked["score"] >= ranked["score"].max() - alike if alike else ranked["score"] > np.inf
    largest_first = ranked[is_alike].sort_values("parameters", ascending=False, kind="stable")
    ordered: pd.DataFrame = pd.concat([largest_first, ranked[~is_alike]])
    return ordered


def chosen_because(course: Course, size: Size, architecture: Architecture) -> dict[str, str]:
    """Say what decided for a network, for the protocol; nothing where a score of proxies did."""
    if not course.judges_time(size.space):
        return {}
    score = estimator(course.checkpoint.values["score"])
    assert isinstance(score, AccuracyInTime)
    said = score.explain(architecture, Setting(size.space, course.splits.train))
    return {"chosen because": f"of those within {_ALIKE:g} point of the best it has the most parameters; {said}"}


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
    course: Course, size: Size, build: Callable[[], torch.nn.Module]
) -> tuple[Recipe, list[dict[str, Any]]]:  # fmt: skip
    """Choose the recipe of the training, by short trainings where there is time and they can be told apart."""
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

    if not plan.epochs and not course.is_interrupted and _is_worth_tuning(course, size):
        course.tell("tuning", 0, 0)
        attempt = partial(
            tune, build, splits.train, splits.valid, epochs=_TRIAL_EPOCHS, deadline=course.budget.tuning_end,
            measure=course.measure, seed=plan.seed, threads=size.threads, devices=replace(plan.devices, devices=1),
            log_folder=course.checkpoint.logs("trials"), kept=course.checkpoint.journal(),
            progress=partial(course.tell, "tuning"), on_epoch=keep_best,
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
    affordable = int((course.budget.tuning_end - begun) / trial_seconds)
    return affordable if affordable >= _LEAST_TRIALS else 0


def _is_worth_tuning(course: Course, size: Size) -> bool:
    if not course.has_tuning:
        course.notes.append(
            f"{len(course.splits.valid)} validation images cannot tell recipes of training apart, {_TELLING} might: "
            "the time went into the training, by the recipe that is tried first otherwise."
        )
        return False
    if not trials_affordable(course, size, time.monotonic()):
        course.notes.append("There was no time to tune the training: it has the recipe that is tried first otherwise.")
        return False
    return True


def train_network(
    course: Course, size: Size, network: torch.nn.Module, recipe: Recipe,
    on_epoch: Callable[[TrainingState], None] | None, *, keep_weights: bool = False,
) -> tuple[TrainingResult, Recipe]:  # fmt: skip
    """Train with the epochs asked for, or those there is time for; Ctrl-C ends it with the best so far.

    Args:
        course: the fit.
        size: how fast the network learns, with how many threads.
        network: what is trained.
        recipe: how.
        on_epoch: called with where the training stands after each epoch.
        keep_weights: start from the weights that the network has, as for `trainless.training.train`.

    Raises:
        KeyboardInterrupt: it was interrupted before an epoch was done.
    """
    plan, splits, budget, kept = course.plan, course.splits, course.budget, course.checkpoint
    before, used = kept.values.get("training"), recipe
    last = TrainingState(**before) if before else None
    done = 0
    if last and kept.goes_on:
        done = last.epochs
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
            network, splits.train, splits.valid, epochs=done + (plan.epochs or MOST_EPOCHS), seed=plan.seed,
            recipe=chosen, measure=course.measure, deadline=deadline,
            epoch_seconds=None if math.isnan(size.seconds) else size.seconds * len(splits.train),
            threads=size.threads, resume=last, on_epoch=report, devices=plan.devices, prefer_last=True,
            log_folder=kept.logs("training"), keep_weights=keep_weights,
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
    return course.plan.epochs or max(1, min(MOST_EPOCHS, int(left / (state.seconds / state.epochs))))


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
