"""A classifier from pretrained features: judged without training, fitted in closed form, then trained further."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch

from trainless.backbones import Backbone
from trainless.data import ImageDataset, Splits
from trainless.errors import InputError
from trainless.hardware import limited_threads
from trainless.search import Costs, Limits
from trainless.search_spaces import search_space
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import Devices, Recipe, TrainingResult, TrainingState, train
from trainless.training.measures import BALANCED, measure_named
from trainless.training.train import check_numbers, nearly_as_good
from trainless.transfer.features import compute_features
from trainless.transfer.heads import closed_form
from trainless.transfer.judging import LEAST_EPOCH, Judged, judge, some_images
from trainless.types import Architecture, Task

__all__ = [
    "NO_TIME",
    "PretrainedFit",
    "Settled",
    "Start",
    "draw_back",
    "fine_tuning_recipe",
    "fit_pretrained",
    "in_closed_form",
    "most_epochs",
    "normalised",
    "start_pretrained",
]

_JUDGING, _JUDGING_SECONDS = 0.35, 60.0  # share of the time, and the most of it: then there is a network
# On 160 images of CIFAR-10 (lite0-b12-r96, three seeds) 6, 10, 20, 30 and 60 epochs came to 60.4, 61.5, 61.4, 61.1 and
# 59.4 %, and as many as there was time for, 76, to 56.4; on 800, 6 and 15 epochs to 74.9 and 74.6.
_MOST_EPOCHS, _LEAST_STEPS = 20, 200  # of further training: more epochs only where few images make few steps
_TRAINING = 0.7  # share of the time that is left then, for training: mostly the features take less than theirs
_FITTING = 0.5  # share of the time that is left then, for features of images that the head is fitted to
# By `benchmarks/further_training.py`, on 1,000 images of CIFAR-10 (lite0-b12-r64, 60 s of one thread), 0.0003 came from
# 64.9 % to 71.2 %, and 0.001 to 72.3 %. On 200 (12 epochs) 0.001 was a point or two below 0.0003, and is not when drawn
# back: 56.6 % became 60.1 and 58.1 %, and half way back 59.7 and 60.3 %. One seed; the standard error is 1.1 points.
_RATE = 1e-3
_FURTHER = 2 / 3  # how far from the weights before further training to those after it the ones are that are kept
_HEAD = ("hidden.", "head.")  # how names of its weights begin
_LEAST = 200  # images that the head is fitted to, however little time there is
_BATCHES = ((2000, 64), (500, 32), (0, 16))  # from how many training images on a batch has how many of them

NO_TIME = "There was no time for half an epoch of further training: the network is that in closed form."
"""What a fit says then."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Start:
    """A network from pretrained features whose head was fitted in closed form: what a training begins with.

    Args:
        space: the search space.
        chosen: the candidate that was chosen.
        candidates: all that were judged, the best first.
        network: maps images that are normalised as the backbone wants it to one number a class; in eval mode.
        worth: the measure on the validation images, as it is maximised.
        accuracy: on the validation images, in percent.
        seconds: of the ``judging`` and of the ``closed form``.
        weights: of the network, before any training.
        notes: what happened that one should know, as sentences.
    """

    space: Pretrained
    chosen: Judged
    candidates: Sequence[Judged]
    network: torch.nn.Module
    worth: float
    accuracy: float
    seconds: Mapping[str, float]
    weights: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The one that was chosen."""
        return self.chosen.architecture

    @property
    def backbone(self) -> Backbone:
        """What it is cut from."""
        return self.space.cut(self.architecture).backbone

    def facts(self) -> dict[str, str]:
        """Say where the weights come from, for model cards."""
        return self.backbone.facts()

    def document(self) -> dict[str, Any]:
        """Give what `read` makes it of again: tensors, numbers, texts and plain containers."""
        return {
            "candidates": [candidate.row() for candidate in (self.chosen, *self.candidates)],
            "head": {name: value for name, value in self.weights.items() if name.startswith(_HEAD)},
            "worth": self.worth, "accuracy": self.accuracy, "seconds": dict(self.seconds), "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def read(cls, space: Pretrained, task: Task, document: Mapping[str, Any]) -> Start:
        """Make it of what `document` gave; the pretrained weights are read anew."""
        chosen, *candidates = (Judged.read(space, row) for row in document["candidates"])
        network = space.build(chosen.architecture, task)
        space.start(network, chosen.architecture)
        network.load_state_dict(document["head"], strict=False)
        return cls(
            space, chosen, candidates, network.eval(), document["worth"], document["accuracy"], document["seconds"],
            _copied(network), tuple(document["notes"]),
        )  # fmt: skip

    def result(self, measure: str) -> TrainingResult:
        """Give it as the result of a training without any epoch."""
        return TrainingResult(self.accuracy, 0, 0, 0.0, valid_measure=None if measure == "accuracy" else self.worth)

    def restore(self) -> None:
        """Give the network the weights that it had before any training."""
        self.network.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        self.network.load_state_dict(self.weights)

    def settle(self, result: TrainingResult, measure: str, valid: ImageDataset, threads: int = 1) -> Settled:
        """Decide by the validation images which weights are kept, and leave the network with them.

        They are those of the training, drawn back by `draw_back`. Where it alone is better by more than one standard
        error, its own weights are kept, and where neither is as good as before it, those from before.

        Args:
            result: of the training, whose weights the network has.
            measure: as it was trained for.
            valid: the validation images.
            threads: threads that PyTorch may use.
        """
        trained = _copied(self.network)
        draw_back(self.network, self.weights)
        worth, accuracy = _measured(self.network, valid, measure, threads)
        kept = replace(
            result, valid_accuracy=accuracy, valid_measure=None if measure == "accuracy" else worth
        )  # fmt: skip
        said = (
            f"two parts of those after and one of those before {result.epochs} epochs of further training, "
            f"{accuracy:.2f} % of the validation images; those after it alone {result.valid_accuracy:.2f} %"
        )
        if worth < nearly_as_good(result.worth, measure, len(valid)):
            self.network.load_state_dict(trained)
            kept, said = result, f"those after {result.epochs} epochs of further training"
        if kept.worth >= self.worth:
            return Settled(kept, said)
        self.restore()
        before = self.result(measure)
        note = (
            f"{result.epochs} epochs of further training came to {kept.valid_accuracy:.2f} % of the validation images, "
            f"and the head in closed form to {self.accuracy:.2f} %: by {measure} this is better, and was kept."
        )
        kept = replace(
            result, valid_accuracy=before.valid_accuracy, valid_measure=before.valid_measure, best_epoch=0
        )  # fmt: skip
        return Settled(kept, "those before any training", note)


class Settled(NamedTuple):
    """Which weights were kept after further training.

    Args:
        result: of the training, with the accuracy of what was kept; ``best_epoch`` is 0 where that is from before it.
        weights: what they are, in words.
        note: what one should know of it; empty where all went as expected.
    """

    result: TrainingResult
    weights: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class PretrainedFit:
    """What a fit from pretrained features came to.

    Args:
        space: the search space.
        architecture: the one that was chosen.
        backbone: what it is cut from, with origin and licence of the weights.
        network: maps images that are normalised as in `splits` to one number a class; plain PyTorch, in eval mode.
        splits: the images, normalised as the backbone wants it; its mean and deviation are those to export with.
        valid_accuracy: on the validation images, in percent.
        closed_form_accuracy: the same before any training.
        training: the training that followed; None where there was none.
        is_trained: whether the network is that of the training, which was no worse on the validation images.
        recipe: of the training.
        candidates: all that were judged, the best first; `table` has them as rows.
        seconds: by stage, ``judging``, ``closed form`` and ``training``.
        notes: what happened that one should know, as sentences.
    """

    space: Pretrained
    architecture: Architecture
    backbone: Backbone
    network: torch.nn.Module
    splits: Splits
    valid_accuracy: float
    closed_form_accuracy: float
    training: TrainingResult | None
    is_trained: bool
    recipe: Recipe
    candidates: Sequence[Judged]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> list[dict[str, Any]]:
        """All candidates as rows: architecture, leave-one-out accuracy, costs, LogME and TransRate of the best."""
        return [candidate.row() for candidate in self.candidates]

    def facts(self) -> dict[str, str]:
        """Say where the weights come from, for model cards."""
        return self.backbone.facts()


def fine_tuning_recipe(images: int, *, photographs: bool, balanced: bool = False) -> Recipe:
    """Give the recipe by which all weights of a fitted network are trained further: small steps, mild augmentation.

    Args:
        images: number of images to learn from.
        photographs: whether images may be mirrored and shifted.
        balanced: weigh each class by the inverse of its number of images.

    Example:
        >>> fine_tuning_recipe(200, photographs=True).batch_size
        16
    """
    return Recipe(
        optimizer="adamw",
        learning_rate=_RATE,
        weight_decay=0.01,
        batch_size=next(batch for least, batch in _BATCHES if images >= least),
        mirror=photographs,
        shift=1 / 8 if photographs else 0.0,
        balanced=balanced,
    )


def most_epochs(images: int) -> int:
    """Compute how many epochs of further training there are at most: of more, few images make a network forget.

    Args:
        images: number of images to learn from.

    Example:
        >>> most_epochs(800), most_epochs(40)
        (20, 67)
    """
    steps = math.ceil(images / fine_tuning_recipe(images, photographs=False).batch_size)
    return max(_MOST_EPOCHS, math.ceil(_LEAST_STEPS / steps))


def fit_pretrained(
    splits: Splits, limits: Limits | None = None, seconds: float | None = None, *, backbone: str = "all",
    epochs: int | None = None, measure: str = "accuracy", photographs: bool | None = None,
    recipe: Recipe | None = None, seed: int = 0, threads: int = 1, devices: Devices | None = None,
    progress: Progress | None = None, on_epoch: Callable[[TrainingState], None] | None = None,
) -> PretrainedFit:  # fmt: skip
    """Find a classifier that starts from pretrained features, within limits and a time.

    Candidates are judged without training (`trainless.transfer.judge`). The chosen one gets a head in closed form, and
    is a usable network after these seconds; then all its weights are trained in the time that is left. The network is
    that of the training, if it is no worse on the validation images, and else that of the closed form.

    Args:
        splits: images to learn from and to choose by; the test images are not looked at, only normalised alike.
        limits: what the network may cost; None is no limit.
        seconds: time that all of it may take; None where `epochs` is given.
        backbone: as for `trainless.search_spaces.pretrained.Pretrained`.
        epochs: of the training, in place of a time; 0 leaves it out.
        measure: what decides on the validation images, a name of `trainless.training.MEASURES`.
        photographs: whether images may be mirrored and shifted; None decides by their number of channels.
        recipe: of the training; None is `fine_tuning_recipe`.
        seed: decides everything random.
        threads: threads that PyTorch may use.
        devices: where it is trained; judged and fitted it is on the CPU.
        progress: called with the name of a stage, what is done of it and all of it.
        on_epoch: called with where the training stands after each epoch.

    Raises:
        InputError: nothing is within the limits, the weights are not installed, or an argument cannot be used.

    Example:
        >>> from trainless.data import load_splits
        >>> splits, limits = load_splits("digits", fractions=(0.1, 0.1, 0.8)), Limits(params=20_000, flops=2_000_000)
        >>> fitted = fit_pretrained(splits, limits, epochs=0, backbone="lite0")
        >>> str(fitted.architecture).startswith("lite0-b"), fitted.valid_accuracy > 70
        (True, True)
    """
    begun = time.monotonic()
    if (seconds is None) == (epochs is None) or (seconds is not None and not 0 < seconds < math.inf):
        raise InputError(f"The time is {seconds} s and epochs {epochs}, expected one of both, and a time above 0.")
    if epochs:
        check_numbers(epochs=epochs, patience=None)
    space = search_space("pretrained", backbone=backbone)
    assert isinstance(space, Pretrained)
    splits = normalised(splits, space.backbones[0])
    data, notes, end = splits.train, list[str](), begun + (seconds or math.inf)
    judging = min(_JUDGING * seconds, _JUDGING_SECONDS) if seconds else math.inf
    start = start_pretrained(
        space, splits, limits or Limits(), judging_end=begun + judging,
        fitting_seconds=_FITTING * (seconds - judging) if seconds else math.inf, measure=measure, seed=seed,
        threads=threads, progress=progress, training_seconds=_TRAINING * (seconds - judging) if seconds else 0.0,
    )  # fmt: skip
    is_photographs = data.task.channels == 3 if photographs is None else photographs
    used = recipe or fine_tuning_recipe(len(data), photographs=is_photographs, balanced=measure in BALANCED)
    epoch_seconds, result, settled = start.chosen.epoch_seconds(len(data)), None, start.result(measure)
    if epochs or (epochs is None and end - time.monotonic() > LEAST_EPOCH * epoch_seconds):
        result = train(
            start.network, data, splits.valid, epochs=epochs or most_epochs(len(data)), seed=seed, recipe=used,
            measure=measure, deadline=None if epochs else end - start.chosen.image_seconds * len(splits.valid),
            epoch_seconds=epoch_seconds, threads=threads, devices=devices, on_epoch=on_epoch,
            prefer_last=True, keep_weights=True,
        )  # fmt: skip
        settled, _, note = start.settle(result, measure, splits.valid, threads)
        notes += [note] if note else []
    elif epochs is None:
        notes.append(NO_TIME)
    spent = {**start.seconds, "training": time.monotonic() - begun - sum(start.seconds.values())}
    return PretrainedFit(
        space, start.architecture, start.backbone, start.network.eval(), splits, settled.valid_accuracy, start.accuracy,
        result, settled.best_epoch > 0, used, start.candidates, spent, (*start.notes, *notes),
    )  # fmt: skip


def start_pretrained(
    space: Pretrained, splits: Splits, limits: Limits, *, judging_end: float = math.inf,
    fitting_seconds: float = math.inf, measure: str = "accuracy", seed: int = 0, threads: int = 1,
    progress: Progress | None = None, image_seconds: float = math.inf,
    costs: Costs | None = None, training_seconds: float = 0.0,
) -> Start:  # fmt: skip
    """Choose a network from pretrained features without training, and fit its head in closed form.

    Args:
        space: the space.
        splits: the images, normalised as its backbones want it.
        limits: what the network may cost.
        judging_end: value of `time.monotonic` at which the judging of candidates shall be done.
        fitting_seconds: that the features may take to which the head is fitted; of as many images as that allows.
        measure: as for `fit_pretrained`.
        seed: decides everything random.
        threads: threads that PyTorch may use.
        progress: called with the name of a stage, what is done of it and all of it.
        image_seconds: candidates whose features of one image take longer are left out.
        costs: tells what networks cost; None takes them as they are written, and measures what has to be.
        training_seconds: for which all weights will be trained further.

    Raises:
        InputError: nothing is within the limits, or the weights are not installed.
    """
    begun, data, is_balanced = time.monotonic(), splits.train, measure in BALANCED
    chosen, candidates, notes = judge(
        space, data, limits, judging_end, balanced=is_balanced, seed=seed, threads=threads,
        progress=None if progress is None else partial(progress, "judging"), image_seconds=image_seconds,
        costs=costs, training_seconds=training_seconds,
    )  # fmt: skip
    judged = time.monotonic()
    most = int(min(len(data), fitting_seconds / chosen.image_seconds))
    network = in_closed_form(
        space, chosen.architecture, some_images(data, max(most, _LEAST), seed), balanced=is_balanced, seed=seed,
        threads=threads,
    )  # fmt: skip
    worth, accuracy = _measured(network, splits.valid, measure, threads)
    seconds = {"judging": judged - begun, "closed form": time.monotonic() - judged}
    return Start(
        space, chosen, candidates, network, worth, accuracy, seconds, _copied(network), tuple(notes)
    )  # fmt: skip


def draw_back(network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Draw the weights of a network back by a third of the way to those that it had before it was trained further.

    Few images then let it forget less of what it learnt from many. Source: Wortsman et al., Robust fine-tuning of
    zero-shot models, CVPR 2022.

    Args:
        network: as it was trained; it is changed.
        weights: its state before.

    Example:
        >>> network = torch.nn.Linear(1, 1, bias=False)
        >>> network.weight.data.fill_(3.0).tolist()
        [[3.0]]
        >>> draw_back(network, {"weight": torch.zeros(1, 1)})
        >>> network.weight.tolist()
        [[2.0]]
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(weights[name], 1 - _FURTHER)


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def in_closed_form(
    space: Pretrained, architecture: Architecture, data: ImageDataset, *, balanced: bool = False, seed: int = 0,
    threads: int = 1,
) -> torch.nn.Module:  # fmt: skip
    """Build a network with pretrained weights and a head that is fitted to images.

    Args:
        space: the space.
        architecture: one of it.
        data: the images, normalised as its backbones want them.
        balanced: take all classes for equally frequent.
        seed: decides a hidden layer.
        threads: threads that PyTorch may use.

    Raises:
        InputError: the weights are not installed.
    """
    cut = space.cut(architecture)
    features = compute_features(space, cut.backbone, data, cut.pixels, cut.depth, threads=threads)[cut.depth]
    head = closed_form(features, data.labels, data.task.classes, cut.hidden, balanced=balanced, seed=seed)
    network = space.build(architecture, data.task)
    space.start(network, architecture)
    head.put_into(network)
    return network.eval()


def normalised(splits: Splits, backbone: Backbone) -> Splits:
    """Normalise the images as a backbone wants it."""
    mean, std = backbone.normalisation(splits.train.task.channels)
    train_set, valid_set, test_set = (replace(part, mean=mean, std=std) for part in splits.parts.values())
    return replace(splits, train=train_set, valid=valid_set, test=test_set)


def _measured(network: torch.nn.Module, data: ImageDataset, measure: str, threads: int) -> tuple[float, float]:
    """The measure and the accuracy, in percent, of a network on images."""
    from trainless.training.batches import Batches

    with limited_threads(threads), torch.inference_mode():
        logits = torch.cat([network(images) for images, _ in Batches(data, 256)])
    labels = torch.tensor(data.labels)
    worth, accuracy = (measure_named(name, data.task.classes)(logits, labels) for name in (measure, "accuracy"))
    return worth, accuracy
