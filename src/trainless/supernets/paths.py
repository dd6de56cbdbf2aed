"""The training of a supernet: each step that of paths that are drawn for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from trainless.data import ImageDataset
from trainless.errors import UnknownNameError
from trainless.seeding import derive_seed
from trainless.supernets.keeping import last_state
from trainless.supernets.supernet import Supernet, recalibrate
from trainless.training import Recipe, TrainingState
from trainless.training.batches import Batches
from trainless.training.loop import Loop, evaluated
from trainless.training.recipes import SAMPLINGS, SHARED_RECIPE
from trainless.training.train import check_minutes
from trainless.types import Architecture

__all__ = ["PathLoop", "Paths", "calibration_images", "path_accuracy", "train_supernet"]

_DRAWN = 2  # paths of a sandwich beside the largest and the smallest
_COMPARED = 64  # paths among which these are looked for
_CALIBRATION = (8, 64)  # batches of images from which a path has its statistics, and images of each
_GUIDED = 0.5 - 1e-9  # share of the schedule in which a guide counts, but for what rounding adds to it
_JUDGED = 4  # paths that are validated after an epoch
_VALID_BATCH = 256


def train_supernet(
    supernet: Supernet,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    epochs: int,
    seed: int = 0,
    recipe: Recipe = SHARED_RECIPE,
    sampling: str = "uniform",
    guide: Sequence[Architecture] = (),
    minutes: float = math.inf,
    threads: int = 1,
    resume: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> TrainingState:
    """Train the weights that the networks of a space share, from such as the seed draws.

    Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020, of the path of
    a step; Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019, of the sandwich.

    Args:
        supernet: left with the weights of the last epoch, in evaluation mode.
        train_set: images to learn from.
        valid_set: images on which some paths are measured after each epoch; nothing is chosen by that.
        epochs: most passes over the training images.
        seed: decides weights, paths, order of the images and augmentation.
        recipe: as for `trainless.training.train`.
        sampling: one of `trainless.training.recipes.SAMPLINGS`.
        guide: architectures among which paths are drawn in the first half of the schedule, such as those that score
            well untrained; none draws from the whole space.
        minutes: most time; the schedule is laid over the epochs there is time for, so what is learnt depends on the
            machine.
        threads: as for `trainless.training.train`.
        resume: where an earlier call with the same arguments stood.
        on_epoch: called after each epoch with the state, from which the same call can go on.

    Raises:
        UnknownNameError: there is no such sampling.
        InputError: as by `trainless.training.train`.

    Example:
        >>> from dataclasses import replace
        >>> from trainless.data import load_data, split
        >>> from trainless.search_spaces import search_space
        >>> train_set, valid_set = split(load_data("digits"), 0.5)
        >>> space = search_space("nats_size(unit=2)")
        >>> supernet = Supernet(space, train_set.task)
        >>> recipe = replace(SHARED_RECIPE, batch_size=16)
        >>> state = train_supernet(supernet, train_set, valid_set, epochs=6, recipe=recipe)
        >>> images = calibration_images(train_set)
        >>> path_accuracy(supernet, space.parse("32:32:32:32:32"), images, valid_set) > 30
        True
    """
    if sampling not in SAMPLINGS:
        raise UnknownNameError("sampling of paths", sampling, SAMPLINGS)
    check_minutes(minutes)
    paths = Paths(supernet, sampling, seed, calibration_images(train_set, seed), guide)
    state = last_state(
        paths, train_set, valid_set, epochs=epochs, minutes=minutes, seed=seed, recipe=recipe, threads=threads,
        resume=resume, on_epoch=on_epoch, loop=PathLoop,
    )  # fmt: skip
    paths.load_state_dict(state.weights)
    return state


def calibration_images(dataset: ImageDataset, seed: int = 0) -> list[torch.Tensor]:
    """Draw the images from which paths have the statistics of their batch normalisations, batch by batch.

    Example:
        >>> from trainless.data import load_data
        >>> [len(images) for images in calibration_images(load_data("digits"))][:3]
        [62, 62, 62]
    """
    count, size = _CALIBRATION
    shuffled = Batches(dataset, size).shuffled(derive_seed(seed, "calibration"))
    return [images for images, _ in itertools.islice(shuffled, count)]


def path_accuracy(
    supernet: Supernet, architecture: Architecture, calibration: Sequence[torch.Tensor], valid_set: ImageDataset
) -> float:
    """Compute the accuracy of a path, in percent, with statistics of its own.

    Args:
        supernet: has the weights.
        architecture: the path.
        calibration: images for the statistics, as `calibration_images` gives them.
        valid_set: images that it is measured on.
    """
    right = 0
    for logits, labels in _answers(supernet, architecture, calibration, Batches(valid_set, _VALID_BATCH)):
        right += int((logits.argmax(1) == labels).sum())
    return 100 * right / len(valid_set)


def _answers(
    supernet: Supernet, architecture: Architecture, calibration: Sequence[torch.Tensor], batches: Batches
) -> list[tuple[torch.Tensor, torch.Tensor]]:  # fmt: skip
    """Logits of a path, and labels, batch by batch."""
    network = supernet.subnetwork(architecture)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recalibrate(network, calibration)
    with evaluated(network), torch.inference_mode():
        return [(network(images), labels) for images, labels in batches]


class Paths(nn.Module):
    """A supernet as one network: what it computes is a path, the same one unless another is named."""

    def __init__(
        self, supernet: Supernet, sampling: str, seed: int, calibration: list[torch.Tensor],
        guide: Sequence[Architecture] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.guide, self.is_guided = guide, True  # among which paths are drawn, as long as they are guided
        self.supernet, self.sampling, self.seed, self.calibration = supernet, sampling, seed, calibration
        rng, space, task = np.random.default_rng(derive_seed(seed, "paths")), supernet.space, supernet.task
        drawn = [space.sample(rng) for _ in range(_COMPARED)]
        ends = [space.nearest([options[end] for options in space.choices]) for end in (0, -1)]
        by_size = sorted([*ends, *drawn], key=lambda path: space.parameters(path, task))
        self.smallest, self.largest, self.judged = by_size[0], by_size[-1], drawn[:_JUDGED]

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Compute the logits of a path."""
        logits: torch.Tensor = self.supernet(images, architecture or self.largest)
        return logits

    def drawn(self, epoch: int, step: int) -> list[Architecture]:
        """Draw the paths of a step; the first one learns from the labels."""
        rng, space = np.random.default_rng(derive_seed(self.seed, "paths", epoch, step)), self.supernet.space
        among = self.guide if self.is_guided else ()
        count = 1 if self.sampling == "uniform" else _DRAWN
        drawn = [among[int(rng.integers(len(among)))] if among else space.sample(rng) for _ in range(count)]
        return drawn if self.sampling == "uniform" else [self.largest, self.smallest, *drawn]


class PathLoop(Loop):
    """Learns the paths that are drawn for each step."""

    network: Paths

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        done = self.standing.progress + self.share * self.steps / len(self.train_images)
        self.network.is_guided = done < _GUIDED
        first, *others = self.network.drawn(self.done, self.steps)
        logits = self.shared(images, first)
        total = self._loss_of(logits, images, targets, self.weights)
        soft = logits.detach().softmax(1)
        for path in others:
            total = total + cross_entropy(self.shared(images, path), soft)
        return total / (1 + len(others))

    def _validate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The answers of some paths, one after another."""
        supernet, calibration = self.network.supernet, self.network.calibration
        found = [
            pair for path in self.network.judged for pair in _answers(supernet, path, calibration, self.valid_images)
        ]
        return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])
