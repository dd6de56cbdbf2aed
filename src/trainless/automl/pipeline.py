"""The pipeline of a fit: search, tuning, training and test of a network within a time budget."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from trainless.automl.baselines import baseline_logits
from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.comparison import compare
from trainless.automl.inference import compute_logits
from trainless.automl.plans import Plan
from trainless.automl.results import Fitted, TestResult
from trainless.automl.sizes import EPOCHS, Size, choose_size
from trainless.automl.time_budget import TimeBudget
from trainless.automl.tuning import is_out_of_memory, tune
from trainless.costs import COSTS, Candidate, cost_named
from trainless.data import ImageDataset, Splits, audit
from trainless.data.audits import Audit
from trainless.errors import InputError
from trainless.estimators.training_cache import fingerprint
from trainless.export import plain_code
from trainless.export.formats import module_of
from trainless.metrics import wilson_interval
from trainless.search import Budget, Search, SearchResult
from trainless.search.journal import key_of
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.training import MEASURES, Devices, Recipe, TrainingResult, TrainingState, train
from trainless.training.measures import measure_named
from trainless.training.scales import SCALES
from trainless.training.train import finished
from trainless.types import Architecture, Task

__all__ = ["fit"]

_STEPS = 2000  # that a heavy network shall get at least in the time of its training, of few images by more epochs
_MOST_EPOCHS = 200
_TRIAL_EPOCHS = 9
_LEAST_TRIALS = 5  # fewer than these say little: the time is better spent on the training
_BATCHES = ((5000, 64), (2000, 32), (0, 16))  # from how many training images on a batch has how many of them
_TELLING = 400  # validation images from which on recipes can be told apart, at a standard error of a percent or two
_BALANCED = ("balanced-accuracy", "macro-f1")  # measures for which rare classes count as much as others
_RIVAL_SHARE, _RIVAL_SECONDS = 0.02, 3.0  # of the time, for simple classifiers to compare with
_SCORED = 64  # images that architectures are scored on, or all where there are fewer
_SPEED_KEPT = 0.85  # share of the time that is planned for: the rest is for what is slower than measured

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, what is done of it and all of it."""


def fit(
    source: str | os.PathLike[str] | ImageDataset | Splits, plan: Plan, *, audited: Audit | None = None,
    folder: Path | None = None, begun: float | None = None, progress: Progress | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None, write: Callable[[Fitted], Fitted] | None = None,
) -> Fitted:  # fmt: skip
    """Search, tune, train and test a network for labelled images.

    Args:
        source: what `trainless.data.load_splits` takes, or its result.
        plan: settings of the fit.
        audited: what `trainless.data.audit` found in the images, where it was called already.
        folder: where the search keeps its scores, as ``search.db``, the trainings their logs, in ``tensorboard``, and
            the fit what it goes on with after an interrupt; None keeps them nowhere.
        begun: value of `time.monotonic` from which the time of the plan counts; None counts from this call.
        progress: called with stage, what is done and all of it.
        on_epoch: called with where the training stands after each of its epochs.
        write: called with what came out, before the fit forgets how it came to it; gives what is returned.

    Raises:
        DataError: the images cannot be used.
        InputError: nothing within the limits was found, or something of the plan cannot be used.
    """
    begun = time.monotonic() if begun is None else begun
    _check_alone(plan)
    splits = source if isinstance(source, Splits) else plan.load(source)
    checkpoint = FitCheckpoint(folder, _key(plan, splits))
    before = checkpoint.values.get("elapsed", 0.0)
    budget = TimeBudget(plan.time or math.inf, used=before + time.monotonic() - begun)
    seconds, notes = dict[str, float](), list[str]()
    report = audited or audit(splits)
    notes += report.advice()
    if plan.measure is None:
        plan = _with_measure(plan, report, notes)
    task = splits.train.task
    told = progress or _quiet
    told("baselines", 0, 0)
    rivals = _rivals(plan, splits)
    seconds["data"] = budget.elapsed

    told("sizing", 0, 0)
    size = _size(plan, splits, budget, checkpoint)
    if size.index:
        broken = ["break the limits too often"] if plan.limits.most else []
        slow = [f"are too slow to be trained for {_epochs(splits)} epochs in time"] if plan.time else []
        notes.append(f"The networks are those of {size.space.label}: larger ones {' or '.join(broken + slow)}.")
    found = _search(plan, size.space, splits, budget, folder, checkpoint, progress)
    architecture = size.space.parse(found.best)
    checkpoint.keep(elapsed=budget.elapsed)
    seconds["search"] = budget.elapsed - sum(seconds.values())

    network_of = partial(_build, size.space, architecture, splits)
    recipe, trials = _tuned(plan, network_of, splits, budget, size, checkpoint, notes, progress)
    seconds["tuning"] = budget.elapsed - sum(seconds.values())

    network, result, recipe = _train(
        plan, network_of, splits, recipe, budget, size, checkpoint, notes, progress, on_epoch
    )  # fmt: skip
    seconds["training"] = budget.elapsed - sum(seconds.values())
    checkpoint.keep(elapsed=budget.elapsed)

    told("testing", 0, 0)
    mean, std = splits.train.mean, splits.train.std
    title = f"{splits.train.task.name}: {architecture} of {size.space.name}"
    code = plain_code(network, task.input_shape, splits.train.class_names, mean, std, title)
    plain = module_of(code)
    logits, labels = compute_logits(plain, splits.test.images), torch.tensor(splits.test.labels)
    costs = _costs(size.space, architecture, task)
    seconds["test"] = budget.elapsed - sum(seconds.values())
    fitted = Fitted(
        title=title, space=size.space.label, architecture=found.best, graph=size.space.graph(architecture),
        network=plain, code=code, test=_test_result(logits, labels, splits.test.class_names),
        comparison=compare(_measure(plan), logits, rivals, labels, seed=plan.seed), training=result, recipe=recipe,
        trials=trials, search=found, audit=report, costs=costs, limits=plan.limits, seconds=seconds,
        notes=tuple(notes), protocol=_protocol(plan, splits, size.space, recipe, result),
    )  # fmt: skip
    written = write(fitted) if write else fitted
    checkpoint.finish()
    return written


def _quiet(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def _costs(space: SearchSpace, architecture: Architecture, task: Task) -> dict[str, float]:
    """All costs of the network that an architecture amounts to."""
    candidate = Candidate(space, space.canonical(architecture), task)
    values = {name: cost.find(candidate) for name, cost in COSTS.items()}
    return {name: int(value) if COSTS[name].is_whole else value for name, value in values.items()}


def _check_alone(plan: Plan) -> None:
    from trainless.training.distributed import is_launched

    if plan.devices.processes > 1 and is_launched():
        raise InputError(
            f"This process is one of several that train together, but a fit starts its {plan.devices.processes} "
            "processes itself: run it as one, without torchrun."
        )


def _with_measure(plan: Plan, report: Audit, notes: list[str]) -> Plan:
    """The plan with the measure that suits the data, where none was asked for."""
    if not report.is_unequal:
        return replace(plan, measure="accuracy")
    notes.append(
        "As classes are so unequal and no measure was asked for, balanced accuracy decides and the training weighs "
        "classes by the inverse of their images: --measure accuracy (measure in Python) leaves it at accuracy."
    )
    return replace(plan, measure="balanced-accuracy")


def _measure(plan: Plan) -> str:
    return plan.measure or "accuracy"


def _rivals(plan: Plan, splits: Splits) -> dict[str, torch.Tensor]:
    """What simple classifiers say of the test images."""
    seconds = math.inf if plan.time is None else min(_RIVAL_SECONDS, _RIVAL_SHARE * plan.time)
    return baseline_logits(splits, _measure(plan), balanced=plan.measure in _BALANCED, seconds=seconds)


def _key(plan: Plan, splits: Splits) -> str:
    """Tells one fit from another: its settings, images and version, as each keeps other values."""
    space = search_space(plan.space)
    wanted = {
        "plan": str({**vars(plan), "space": space.label, "workers": None, "devices": None}),
        "version": version("trainless"),
        "images": " ".join(fingerprint(part) for part in splits.parts.values()),
    }
    return key_of(wanted)


def _size(plan: Plan, splits: Splits, budget: TimeBudget, checkpoint: FitCheckpoint) -> Size:
    """The size of the space for the time; measured once, for a second measurement could say another."""
    space = search_space(plan.space)
    if "size" in checkpoint.values:
        index, seconds, threads = checkpoint.values["size"]
        return Size(space.sizes[index], index, seconds, threads)
    available = (
        math.inf
        if plan.epochs
        else _SPEED_KEPT * (budget.training_end - (budget.tuning_end if _has_tuning(splits) else budget.search_end))
    )
    threads = max(1, (os.cpu_count() or 1) if plan.workers is None else plan.workers)
    size = choose_size(
        space, splits.train.task, plan.limits, len(splits.train), available, epochs=_epochs(splits), seed=plan.seed,
        most_threads=threads, batch=_batch(splits),
    )  # fmt: skip
    checkpoint.keep(size=[size.index, size.seconds, size.threads])
    return size


def _epochs(splits: Splits) -> int:
    return max(EPOCHS, math.ceil(_STEPS * _batch(splits) / len(splits.train)))


def _batch(splits: Splits) -> int:
    return next(batch for least, batch in _BATCHES if len(splits.train) >= least)


def _has_tuning(splits: Splits) -> bool:
    return len(splits.valid) >= _TELLING


def _search(
    plan: Plan, space: SearchSpace, splits: Splits, budget: TimeBudget, folder: Path | None, checkpoint: FitCheckpoint,
    progress: Progress | None,
) -> SearchResult:  # fmt: skip
    seconds = checkpoint.values.get("search_seconds", max(1.0, budget.search_end - time.monotonic()))
    checkpoint.keep(search_seconds=seconds)
    allowed = Budget(plan.evaluations, None if plan.epochs else seconds)
    search = Search(
        space, plan.strategy, plan.score, splits.train, budget=allowed, limits=plan.limits, seed=plan.seed,
        workers=plan.workers, batch_size=min(_SCORED, len(splits.train)),
        store=None if folder is None else folder / "search.db",
    )  # fmt: skip
    resume = folder is not None and search.is_begun()
    return search.run(partial(progress, "searching") if progress else None, resume=resume)


def _build(space: SearchSpace, architecture: Architecture, splits: Splits) -> torch.nn.Module:
    """The network without what leads nowhere."""
    return space.build(space.canonical(architecture), splits.train.task)


def _tuned(
    plan: Plan, network_of: Callable[[], torch.nn.Module], splits: Splits, budget: TimeBudget, size: Size,
    checkpoint: FitCheckpoint, notes: list[str], progress: Progress | None,
) -> tuple[Recipe, list[dict[str, Any]]]:  # fmt: skip
    if "recipe" in checkpoint.values:
        return Recipe(**checkpoint.values["recipe"]), checkpoint.values["trials"]
    photographs = splits.train.task.channels == 3 if plan.photographs is None else plan.photographs
    first = Recipe(
        mirror=photographs,
        shift=1 / 8 if photographs else 0.0,
        batch_size=_batch(splits),
        balanced=plan.measure in _BALANCED,
    )
    if plan.epochs:
        return first, []
    if not _has_tuning(splits):
        notes.append(
            f"{len(splits.valid)} validation images cannot tell recipes of training apart, {_TELLING} might: the "
            "time went into the training, by the recipe that is tried first otherwise."
        )
        return first, []
    trial_seconds = _TRIAL_EPOCHS * size.seconds * len(splits.train)
    if budget.tuning_end - time.monotonic() < _LEAST_TRIALS * trial_seconds:
        notes.append("There was no time to tune the training: it has the recipe that is tried first otherwise.")
        return first, []
    recipe, trials = _with_memory(first, lambda chosen: tune(
        network_of, splits.train, splits.valid, first=chosen, epochs=_TRIAL_EPOCHS, deadline=budget.tuning_end,
        measure=_measure(plan), seed=plan.seed, threads=size.threads,
        devices=replace(plan.devices, devices=1), log_folder=checkpoint.logs("trials"),
        kept=checkpoint.journal(),
        progress=partial(progress, "tuning") if progress else None,
    ), notes)  # fmt: skip
    checkpoint.keep(elapsed=budget.elapsed, recipe=asdict(recipe), trials=trials)
    return recipe, trials


def _train(
    plan: Plan, network_of: Callable[[], torch.nn.Module], splits: Splits, recipe: Recipe, budget: TimeBudget,
    size: Size, checkpoint: FitCheckpoint, notes: list[str], progress: Progress | None,
    on_epoch: Callable[[TrainingState], None] | None,
) -> tuple[torch.nn.Module, TrainingResult, Recipe]:  # fmt: skip
    """Train with the epochs asked for, or those there is time for; Ctrl-C ends it with the best so far."""
    epochs, network, used = plan.epochs or _MOST_EPOCHS, network_of(), recipe
    before = checkpoint.values.get("training")
    last = TrainingState(**before) if before else None

    def report(state: TrainingState) -> None:
        nonlocal last
        last = state
        checkpoint.keep(soon=False, elapsed=budget.elapsed, training=vars(state))
        if progress:
            progress("training", state.epochs, round(state.epochs / state.progress))
        if on_epoch:
            on_epoch(state)

    if progress:
        progress("training", last.epochs if last else 0, _planned(plan, splits, budget, size, last))

    def attempt(chosen: Recipe) -> TrainingResult:
        nonlocal used
        used = chosen
        return train(
            network, splits.train, splits.valid, epochs=epochs, seed=plan.seed, recipe=chosen, measure=_measure(plan),
            deadline=None if plan.epochs else budget.training_end, epoch_seconds=size.seconds * len(splits.train),
            threads=size.threads, resume=last, on_epoch=report, devices=plan.devices,
            prefer_last=True,
            log_folder=checkpoint.logs("training"),
        )  # fmt: skip

    try:
        result = _with_memory(recipe, attempt, notes)
    except KeyboardInterrupt:
        if last is None:
            raise
        result = finished(network, last, _measure(plan))
    if last is not None and last.progress < 0.99:
        notes.append(
            f"The training ended after {result.epochs} epochs, at {last.progress:.0%} of its schedule, by an interrupt "
            "or for want of time."
        )
    return network, result, used


def _planned(plan: Plan, splits: Splits, budget: TimeBudget, size: Size, last: TrainingState | None) -> int:
    """How many epochs the training may come to; 0 where nothing tells."""
    if last is not None:
        return round(last.epochs / last.progress)
    if plan.epochs:
        return plan.epochs
    epoch_seconds = size.seconds * len(splits.train)
    left = budget.training_end - time.monotonic()
    return 0 if math.isnan(epoch_seconds) else max(1, min(_MOST_EPOCHS, int(_SPEED_KEPT * left / epoch_seconds)))


def _with_memory(recipe: Recipe, attempt: Callable[[Recipe], Any], notes: list[str]) -> Any:
    """Try, and again with half the batch where memory does not suffice, which is noted."""
    while True:
        try:
            return attempt(recipe)
        except (RuntimeError, MemoryError) as error:
            if recipe.batch_size < 4 or not is_out_of_memory(error):
                raise
        recipe = replace(recipe, batch_size=recipe.batch_size // 2)
        notes.append(f"Memory did not suffice: the batch was halved to {recipe.batch_size} images.")


def _test_result(logits: torch.Tensor, labels: torch.Tensor, class_names: tuple[str, ...]) -> TestResult:
    classes = len(class_names)
    confusion = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(classes, classes).numpy()
    right = int(confusion.trace())
    low, high = wilson_interval(right, len(labels))
    measures = {name: SCALES[name].turned(measure_named(name, classes)(logits, labels)) for name in MEASURES}
    return TestResult(right / len(labels), low, high, measures, confusion, class_names)


def _protocol(
    plan: Plan, splits: Splits, space: SearchSpace, recipe: Recipe, result: TrainingResult
) -> Mapping[str, str]:
    shares = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    return {
        "data": f"{splits.train.task.name}: {shares}; given: {', '.join(splits.given) or 'none'}",
        "space": space.label,
        "search": f"{plan.strategy} by {plan.score}, at most {plan.evaluations} architectures"
        + (" or a tenth of the time" if plan.time else ""),
        "limits": str(plan.limits),
        "training": "; ".join(f"{name} {value}" for name, value in asdict(recipe).items()),
        "trained on": _place(replace(plan.devices.resolved(), precision=result.precision)),
        "epochs": f"{result.epochs}; the weights of epoch {result.best_epoch} were kept: the last, unless the best by "
        f"{plan.measure} on validation images is better by more than one standard error",
        "time": f"{plan.time:g} s" if plan.time else "not limited",
        "seed": str(plan.seed),
        "repeatable": _repeatable(plan),
    }


def _place(devices: Devices) -> str:
    return f"{devices.accelerator}, {devices.processes} process(es), {devices.precision}"


def _repeatable(plan: Plan) -> str:
    if plan.devices.resolved().accelerator == "gpu":
        return "no: a GPU adds up in any order"
    if plan.time:
        return "no: how far the time reaches, and with it the schedule of the training, depends on the machine"
    if measured := [name for name in plan.limits.most if cost_named(name).is_measured]:
        return f"no: {' and '.join(measured)} is measured, and decides which networks are within the limits"
    return "yes, on the same machine, with as many threads and the same versions"
