"""The pipeline of a fit: search, tuning, training and test of a network within a time budget."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.comparison import compare
from trainless.automl.course import Course, Progress
from trainless.automl.earlier import EarlierRun, images_key
from trainless.automl.finalists import Finalist
from trainless.automl.inference import compute_logits
from trainless.automl.inheriting import from_earlier
from trainless.automl.latencies import calmest_latency
from trainless.automl.plans import Plan
from trainless.automl.results import Fitted, TestResult, Trained
from trainless.automl.routes import take_route
from trainless.automl.time_budget import TimeBudget
from trainless.costs import COSTS, Candidate, cost_named
from trainless.data import ImageDataset, Splits, audit
from trainless.data.audits import Audit
from trainless.errors import InputError
from trainless.export import plain_code
from trainless.export.formats import module_of
from trainless.metrics import wilson_interval
from trainless.operations import MirrorAveraged
from trainless.search.journal import key_of
from trainless.training import MEASURES, Devices, TrainingResult, TrainingState
from trainless.training.measures import measure_named
from trainless.training.recipes import batch_size_for
from trainless.training.scales import SCALES
from trainless.training.train import check_shares
from trainless.workers.process import memory_kept

__all__ = ["fit"]

_MIRRORED = "the mean of the logits for the image and its mirror image, in all figures but the curves of the training"


@memory_kept()
def fit(
    source: str | os.PathLike[str] | ImageDataset | Splits | None, plan: Plan, *, audited: Audit | None = None,
    folder: Path | None = None, go_on: bool = False, begun: float | None = None, progress: Progress | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
    write: Callable[[Fitted, Callable[[], list[str]]], Fitted] | None = None,
) -> Fitted:  # fmt: skip
    """Search, tune, train and test a network for labelled images.

    Args:
        source: what `trainless.data.load_splits` takes, or its result; None takes the images of the run that is to grow
            or shrink.
        plan: settings of the fit.
        audited: what `trainless.data.audit` found in the images, where it was called already.
        folder: where the search keeps its scores, as ``search.db``, the trainings their logs, in ``tensorboard``, and
            the fit what it goes on with after an interrupt; None keeps them nowhere.
        go_on: go on with the fit in the folder, finished or not, for the time or the epochs of this plan: its search
            and tuning count, and the schedule of the training is laid anew over the epochs done and those to come.
        begun: value of `time.monotonic` from which the time of the plan counts; None counts from this call.
        progress: called with stage, what is done and all of it.
        on_epoch: called with where the training stands after each of its epochs.
        write: called with what came out, before the fit forgets how it came to it, and with what says whether it took
            too long; gives what is returned.

    Raises:
        DataError: the images cannot be used.
        InputError: nothing within the limits was found, or something of the plan cannot be used.
    """
    begun = time.monotonic() if begun is None else begun
    _check_alone(plan)
    splits = source if isinstance(source, Splits) else plan.load(source)
    # What the training would refuse, before anything is written.
    check_shares(plan.devices.resolved(), len(splits.train), batch_size_for(len(splits.train)))
    course = begin(
        splits, plan, audited=audited, begun=begun, folder=folder, progress=progress, go_on=go_on
    )  # fmt: skip
    course.lap("data")
    trained = (from_earlier if plan.start else take_route)(course, on_epoch)
    course.checkpoint.keep(elapsed=course.budget.elapsed)

    course.tell("testing", 0, 0)
    space, architecture, train_set = trained.space, trained.architecture, trained.splits.train
    task, names = train_set.task, train_set.class_names
    title = f"{task.name}: {architecture} of {space.name}"
    network = MirrorAveraged(trained.network) if plan.mirror_average else trained.network
    code = plain_code(network, task.input_shape, names, train_set.mean, train_set.std, title)
    plain = module_of(code)
    logits, labels = compute_logits(plain, splits.test.images), torch.tensor(splits.test.labels)
    if plan.mirror_average:
        trained = replace(trained, training=_with_mirror_images(course, plain, trained.training))
    costs, test = _costs(course.candidate(space, architecture), plain), _test_result(logits, labels, names)
    notes = plan.start.beside(trained.training, test, costs["params"]) if plan.start else []
    course.lap("test")
    fitted = Fitted(
        title=title, space=space.label, architecture=str(architecture), graph=space.graph(architecture), network=plain,
        code=code, test=test,
        comparison=compare(course.measure, logits, course.rivals, labels, seed=plan.seed), training=trained.training,
        recipe=trained.recipe, trials=trained.trials, search=trained.search,
        finalists=[_validated(finalist, trained.training) for finalist in course.finalists], audit=course.report,
        costs=costs, limits=plan.limits, seconds=course.seconds, weights=trained.weights, notes=(*notes, *course.notes),
        protocol=_protocol(course, trained), start=trained.start, setting=_setting(course),
    )  # fmt: skip
    overrun = course.budget.overrun
    written = write(fitted, overrun) if write else replace(fitted, notes=(*fitted.notes, *overrun()))
    if folder is not None and plan.start is None:
        EarlierRun.forget(folder)
    course.checkpoint.finish()
    return written


def begin(
    splits: Splits, plan: Plan, *, audited: Audit | None = None, begun: float | None = None,
    folder: Path | None = None, progress: Progress | None = None, go_on: bool = False,
) -> Course:  # fmt: skip
    """Begin a fit, or go on with one: its measure, its time, and what was kept of it; the arguments are those of `fit`.

    Raises:
        InputError: there is nothing to go on with.
    """
    begun = time.monotonic() if begun is None else begun
    if plan.start:
        plan.start.check(splits)
    report = audited or audit(splits)
    settings = _settings(plan, splits)
    times = {name: str(getattr(plan, name)) for name in ("time", "epochs", "evaluations")}
    checkpoint = FitCheckpoint(folder, key_of({**settings, **times}), settings, go_on=go_on)
    used = checkpoint.values.get("elapsed", 0.0) + time.monotonic() - begun
    notes = report.advice()
    plan.may_mirror(splits.train.task)  # refuses before time goes into it
    if plan.measure is None:
        plan = _with_measure(plan, report, notes)
    if plan.start and folder is not None:
        plan.start.keep(folder)
    return Course(plan, splits, report, TimeBudget(plan.time or math.inf, used), checkpoint, folder, progress, notes)


def _costs(handed_over: Candidate, network: torch.nn.Module) -> dict[str, float]:
    """All costs of the network that an architecture amounts to, the latency of the network as it is handed over."""
    task = handed_over.task
    candidate = replace(handed_over, architecture=handed_over.space.canonical(handed_over.architecture))
    values = {name: cost.find(candidate) for name, cost in COSTS.items() if name != "latency"}
    values["latency"] = calmest_latency(network, task).milliseconds
    values = {name: values[name] for name in COSTS}
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


def _settings(plan: Plan, splits: Splits) -> dict[str, str]:
    """All that decides a fit besides its time, by name: its options, images and version."""
    free = ("time", "epochs", "evaluations", "workers", "devices")
    options = {name: str(value) for name, value in vars(plan).items() if name not in free}
    options |= {"space": plan.space_label, "start": str(plan.start or "")}
    return {**options, "version": version("trainless"), "images": images_key(splits)}


def _setting(course: Course) -> dict[str, Any]:
    """What a fit that starts from this one takes from it."""
    plan, splits = course.plan, course.splits
    options = {name: getattr(plan, name) for name in ("seed", "measure", "photographs", "mirror_average")}
    return {**options, "images": images_key(splits), "origin": dict(splits.origin)}


def _test_result(logits: torch.Tensor, labels: torch.Tensor, class_names: tuple[str, ...]) -> TestResult:
    classes = len(class_names)
    confusion = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(classes, classes).numpy()
    right = int(confusion.trace())
    low, high = wilson_interval(right, len(labels))
    measures = {name: SCALES[name].turned(measure_named(name, classes)(logits, labels)) for name in MEASURES}
    return TestResult(right / len(labels), low, high, measures, confusion, class_names)


def _with_mirror_images(course: Course, network: torch.nn.Module, result: TrainingResult) -> TrainingResult:
    """The result of a training with the validation of the network that averages over mirror images."""
    valid, measure = course.splits.valid, course.measure
    logits, labels = compute_logits(network, valid.images), torch.tensor(valid.labels)
    accuracy, value = (
        measure_named(name, valid.task.classes)(logits, labels) for name in ("accuracy", measure)
    )  # fmt: skip
    return replace(result, valid_accuracy=accuracy, valid_measure=None if measure == "accuracy" else value)


def _validated(finalist: Finalist, result: TrainingResult) -> Finalist:
    return replace(finalist, valid_accuracy=result.valid_accuracy / 100) if finalist.is_chosen else finalist


def _protocol(course: Course, trained: Trained) -> Mapping[str, str]:
    plan, splits, result = course.plan, course.splits, trained.training
    shares = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    return {
        "data": f"{splits.train.task.name}: {shares}; given: {', '.join(splits.given) or 'none'}",
        "space": trained.space.label,
        **trained.weights,
        **trained.protocol,
        "limits": str(plan.limits),
        "training": "; ".join(f"{name} {value}" for name, value in asdict(trained.recipe).items()),
        "trained on": _place(replace(plan.devices.resolved(), precision=result.precision)),
        "epochs": _epochs(result, course.measure),
        "inference": _MIRRORED if plan.mirror_average else "one pass over the image",
        "time": f"{plan.time:g} s" if plan.time else "not limited",
        "seed": str(plan.seed),
        "repeatable": _repeatable(plan),
    }


def _epochs(result: TrainingResult, measure: str) -> str:
    if not result.best_epoch:
        return f"{result.epochs}; the weights before any were kept: none was better by {measure} on validation images"
    cut = f", of the last {result.part:.0%} of the images" if result.part < 1 else ""
    return (
        f"{result.epochs}{cut}; the weights of epoch {result.best_epoch} were kept: the last, unless the best by "
        f"{measure} on validation images is better by more than one standard error"
    )


def _place(devices: Devices) -> str:
    return f"{devices.accelerator}, {devices.processes} process(es), {devices.precision}"


def _repeatable(plan: Plan) -> str:
    if plan.devices.resolved().accelerator == "gpu":
        return "no: a GPU adds up in any order"
    if plan.time:
        return "no: how far the time reaches, and with it the schedule of the training, depends on the machine"
    if measured := [name for name in plan.limits.most if cost_named(name).is_measured]:
        return f"no: {' and '.join(measured)} is measured, and decides which networks are within the limits"
    if plan.learns_for_minutes:
        return "no: how much is learnt in the minutes before the search depends on the machine"
    return "yes, on the same machine, with as many threads and the same versions"
