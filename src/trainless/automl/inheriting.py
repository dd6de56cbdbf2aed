"""The route of a fit that starts from an earlier run: inherits its weights, grows its network, or shrinks it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from trainless.automl.course import Course
from trainless.automl.descendants import larger_networks, smaller_networks
from trainless.automl.earlier import EarlierRun
from trainless.automl.inference import logits_of
from trainless.automl.latencies import LatencyModel, first_within
from trainless.automl.results import Trained
from trainless.automl.routes import Choice, choose_from_scratch, found_by
from trainless.automl.stages import calibrate, train_network, tune_recipe
from trainless.errors import ArchitectureError, InputError
from trainless.initialization import derive_from_data
from trainless.morphism import inherit, morph, shrink
from trainless.operations import MirrorAveraged, Whitening
from trainless.search_spaces.blueprint import Blueprint
from trainless.training import TrainingResult, TrainingState
from trainless.training.measures import measure_named
from trainless.types import Architecture

__all__ = ["from_earlier", "propose_candidates"]

_SAME = 1e-3  # of the largest logit, by which logits after a growth may differ from those before
_IMAGES_OFF = 1.5  # validation images by which a network may be off what is told of it, for rounding
_PROPOSING = 0.3  # share of the time of the search in which candidates are looked for
# What is new has no statistics to keep.
_ALL_LEARN: Mapping[str, Any] = {"keep_weights": True, "adapt_statistics": True}

OnEpoch = Callable[[TrainingState], None] | None


def from_earlier(course: Course, on_epoch: OnEpoch) -> Trained:
    """Find a network that can start from the run of the plan, and train it on from there.

    Raises:
        InputError: no network within the limits can be made of the run, or it would not compute what it did.
    """
    start = _start(course)
    propose_candidates(course)
    choice = choose_from_scratch(course)
    if start.use == "from":
        return _inherited(course, start, choice, on_epoch)
    return _resized(course, start, choice, on_epoch)


def propose_candidates(course: Course) -> None:
    """Set the candidates of a fit that starts from a run.

    For other images that is its own network where it is within the limits, and none where a search is to find another;
    for the same ones what it can grow or shrink to.

    Raises:
        InputError: there is nothing that it can grow or shrink to.
    """
    plan, start, kept = course.plan, _start(course), course.checkpoint
    space = plan.scratch_space
    if "candidates" in kept.values:
        course.candidates = [space.parse(text) for text in kept.values["candidates"]]
        return
    course.tell("proposing", 0, 0)
    latencies = course.latency_model()
    calibrate(course, space, latencies)
    propose = _own if start.use == "from" else _others
    course.candidates = propose(course, start, latencies)
    kept.keep(candidates=list(map(str, course.candidates)), latencies=latencies.measured)
    course.lap("proposing")


def _start(course: Course) -> EarlierRun:
    assert course.plan.start is not None
    return course.plan.start


def _own(course: Course, start: EarlierRun, latencies: LatencyModel) -> Sequence[Architecture]:
    """The architecture of the run, if it is one of the space, maybe in another size, and within the limits."""
    space, most = course.plan.scratch_space, course.plan.limits.most.get("latency")
    try:
        own = space.parse(str(start.architecture))
    except ArchitectureError:  # a width that the other size has not
        return ()
    if not course.is_within(space, latencies)(own):
        return ()
    if most is not None and first_within([course.candidate(space, own)], most)[0] is None:
        return ()
    return (own,)


def _others(course: Course, start: EarlierRun, latencies: LatencyModel) -> Sequence[Architecture]:
    """What the network can grow or shrink to."""
    plan, space = course.plan, course.plan.scratch_space
    propose, how = (larger_networks, "larger") if start.use == "grow" else (smaller_networks, "smaller")
    share = _PROPOSING * course.budget.search if plan.time else math.inf
    found = propose(
        space, start.architecture, start.blueprint, course.splits.train.task, course.is_within(space, latencies),
        seed=plan.seed, end=time.monotonic() + share,
    )  # fmt: skip
    if not found:
        raise InputError(
            f"No {how} network of {space.label} that can be made of '{start.path}' is within the limits "
            f"({plan.limits}): widen them, or give a --space of the same name in another size."
        )
    return found


def _after(course: Course, choice: Choice) -> Blueprint:
    """The network that was chosen."""
    space = choice.size.space
    return space.blueprint(space.canonical(choice.architecture), course.splits.train.task)


# On other images.


def _inherited(course: Course, start: EarlierRun, choice: Choice, on_epoch: OnEpoch) -> Trained:
    after = _after(course, choice)

    def build() -> tuple[torch.nn.Module, float]:
        before = start.network()
        network, share = inherit(before, start.blueprint, after, seed=course.plan.seed)
        _derive_new(course, network, before)
        return network, share

    recipe, trials = tune_recipe(course, choice.size, lambda: build()[0], **_ALL_LEARN)
    course.lap("tuning")
    network, share = build()
    said = (
        f"{share:.1%} of the parameters were taken over from '{start.path}' ({start.architecture} of "
        f"{start.space.label}, which had learnt {_classes(start)}), the rest are new"
    )
    course.notes.append(f"The training started from an earlier run: {said}.")
    if course.candidates:
        course.notes.append(
            "The architecture is that of the earlier run, whatever scores higher: it is within the limits, and no "
            "other could take over as much of what was learnt."
        )
    result, recipe = train_network(course, choice.size, network, recipe, on_epoch, **_ALL_LEARN)
    course.lap("training")
    found = found_by(course, choice, network, result, recipe, trials)
    return replace(found, protocol={**found.protocol, "start": said}, start=start.document(share))


def _classes(start: EarlierRun) -> str:
    names, most = start.facts["classes"], 10
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"the {len(names)} classes {', '.join(names[:most])}{more}"


def _derive_new(course: Course, network: torch.nn.Module, before: torch.nn.Module) -> None:
    """Take from the images the whitening of a network that has not inherited one as it was."""
    inherited = [layer.convolution.weight for layer in before.modules() if isinstance(layer, Whitening)]
    for layer in network.modules():
        if isinstance(layer, Whitening) and not any(torch.equal(layer.convolution.weight, old) for old in inherited):
            derive_from_data(layer, course.splits.train)


# On the same images.


def _resized(course: Course, start: EarlierRun, choice: Choice, on_epoch: OnEpoch) -> Trained:
    """Grow or shrink the network, train it, and keep what validates best."""
    from trainless.training.distillation import TEMPERATURE, WEIGHT, distilling  # Lightning takes seconds to import

    plan, valid, after, old = course.plan, course.splits.valid, _after(course, choice), start.network()
    _check_as_told(course, start, old)
    change = morph if start.use == "grow" else shrink
    network = change(old, start.blueprint, after, seed=plan.seed)
    before, first = logits_of(old, valid), logits_of(network, valid)
    said = f"{start.architecture} of '{start.path}' was made {choice.architecture}"
    options = dict(_ALL_LEARN)
    if start.use == "grow":
        _check_same(start, before, first)
        said += ", which computed the same before it was trained further"
    else:
        options["loop"] = distilling(old)
        said += (
            f" of what matters most, which had {_result(course, first).valid_accuracy:.2f} % of the validation images "
            f"right, and learnt from labels and the answers of the larger network (temperature {TEMPERATURE:g}, weight "
            f"{WEIGHT:g})"
        )
    untrained, weights = _result(course, first), copy.deepcopy(network.state_dict())
    recipe, _ = tune_recipe(course, choice.size, lambda: network)
    result, recipe = train_network(course, choice.size, network, recipe, on_epoch, **options)
    course.lap("training")
    found = found_by(course, choice, network, result, recipe)
    found = replace(found, protocol={**found.protocol, "start": said}, start=start.document())
    if result.worth > untrained.worth:
        return found
    network.load_state_dict(weights)
    return _as_before(course, start, found, untrained)


def _as_before(course: Course, start: EarlierRun, found: Trained, untrained: TrainingResult) -> Trained:
    """What is kept where training has gained nothing: the old network, or what of it was made smaller."""
    result = found.training
    came_to = f"after {result.epochs} epochs {found.architecture} had {result.valid_accuracy:.2f} %"
    kept = replace(
        found, training=replace(
            result, valid_accuracy=untrained.valid_accuracy, valid_measure=untrained.valid_measure, best_epoch=0
        ),
    )  # fmt: skip
    if start.use == "shrink":
        course.notes.append(
            f"Training gained nothing: {came_to} of the validation images right, so the weights before it were kept."
        )
        return kept
    course.notes.append(
        f"Nothing was gained by growing: {came_to} of the validation images right, no more than before, so the network "
        "of the earlier run stays the result."
    )
    course.finalists = []  # of the larger network
    protocol = {name: text for name, text in found.protocol.items() if name != "chosen because"}
    return replace(
        kept, space=start.space, architecture=start.architecture, network=start.network(), protocol=protocol
    )  # fmt: skip


def _result(course: Course, logits: torch.Tensor) -> TrainingResult:
    """What a network is worth by its logits for the validation images, as a training without any epoch."""
    valid, measure = course.splits.valid, course.measure
    accuracy, worth = (
        measure_named(name, valid.task.classes)(logits, torch.tensor(valid.labels)) for name in ("accuracy", measure)
    )  # fmt: skip
    return TrainingResult(accuracy, 0, 0, 0.0, valid_measure=None if measure == "accuracy" else worth)


def _check_as_told(course: Course, start: EarlierRun, network: torch.nn.Module) -> None:
    """Refuse a run whose network is not what is told of it."""
    valid, told = course.splits.valid, start.facts["valid_accuracy"]
    whole = MirrorAveraged(network) if start.facts["setting"]["mirror_average"] else network
    found = _result(course, logits_of(whole, valid)).valid_accuracy / 100
    if abs(found - told) > _IMAGES_OFF / len(valid):
        raise InputError(
            f"The network of '{start.path}' has {found:.2%} of its validation images right, and its fit.json tells of "
            f"{told:.2%}: they are of different fits, so fit it again."
        )


def _check_same(start: EarlierRun, before: torch.Tensor, after: torch.Tensor) -> None:
    """Refuse a growth after which a network would compute something else."""
    difference = float((after - before).abs().max() / before.abs().max())
    if not difference <= _SAME:
        raise InputError(
            f"The network of '{start.path}' would not compute the same after its growth: its logits for validation "
            f"images are up to {difference:.2g} of the largest apart. Give another --space or other limits."
        )
