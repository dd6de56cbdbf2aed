"""Candidates of the space `pretrained`, judged on images left out, within limits and a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from trainless.backbones import Backbone
from trainless.costs import COSTS, Effort, cost_named
from trainless.data import ImageDataset
from trainless.data.splitting import part_of
from trainless.errors import InputError
from trainless.proxies.transferability import logme, transrate
from trainless.search import Costs, Limits
from trainless.search_spaces.pretrained import Cut, Pretrained
from trainless.seeding import derive_seed
from trainless.transfer.features import FeatureCache
from trainless.transfer.heads import closed_form
from trainless.types import Architecture

__all__ = ["JUDGED", "LEAST_EPOCH", "Judged", "counted_within", "judge", "left_after", "some_images"]

JUDGED = 1000
"""Images that candidates are judged on: a standard error of 1.5 points."""

LEAST_EPOCH = 0.5
"""Share of the images that further training has to see at least."""

# By `benchmarks/further_training.py`:
# On 1,000 images of CIFAR-10 (lite0-b12, 60 s of one thread) 0.82, 0.81 and 0.85 of what was wrong with a head in
# closed form was left by 11, 7 and 3 epochs at 48, 64 and 96 pixels.
_GAIN, _GAINED = 0.19, 8.0  # the most that training further takes away, and the epochs that it needs for that
_BACKWARD = 3.0  # how many times as long as its features a training step of an image takes
_TOLD = 10  # of the best, for which the other scores are computed too
_HIDDEN_FROM = 5  # of the best cuts, for which hidden layers are tried

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """A candidate with what is known of it before any training.

    Args:
        architecture: one of the space `pretrained`.
        accuracy: leave-one-out accuracy of its head in closed form, from 0 to 1.
        loss: leave-one-out log-loss of the same, calibrated, in nats: it tells more.
        parameters: number of them.
        flops: multiply-adds for one image.
        image_seconds: about how long the features of one image take here.
        seconds: from the beginning of the judging until it was judged.
        logme: see `trainless.proxies.transferability.logme`; NaN where it was not computed.
        transrate: see `trainless.proxies.transferability.transrate`; NaN where it was not computed.
        expected: what may be left of the loss by training all weights in the time there is: it decides.
    """

    architecture: Architecture
    accuracy: float
    loss: float
    parameters: int
    flops: int
    image_seconds: float
    seconds: float
    logme: float = math.nan
    transrate: float = math.nan
    expected: float = math.nan

    def epoch_seconds(self, images: int) -> float:
        """Compute about how long training by so many images takes, each seen once."""
        return _BACKWARD * self.image_seconds * images

    def row(self) -> dict[str, Any]:
        """Give it as a row of a table."""
        return {
            name: str(value) if isinstance(value, Architecture) else value if isinstance(value, int) else float(value)
            for name, value in vars(self).items()
        }

    @classmethod
    def read(cls, space: Pretrained, row: Mapping[str, Any]) -> Judged:
        """Make it of a row of a table."""
        return cls(**{**row, "architecture": space.parse(row["architecture"])})


class _Judge:
    """Holds what judging needs, and the costs that are found on the way."""

    def __init__(
        self, space: Pretrained, dataset: ImageDataset, limits: Limits, *, balanced: bool, seed: int, threads: int,
        costs: Costs | None, training_seconds: float,
    ) -> None:  # fmt: skip
        self.epoch_images, self.training_seconds = len(dataset), training_seconds
        self.space, self.limits, self.balanced, self.seed = space, limits, balanced, seed
        self.dataset, self.task = some_images(dataset, JUDGED, seed), dataset.task
        self.cache = FeatureCache(space, self.dataset, threads)
        self.costs = costs or Costs(space, dataset.task)
        self.begun = time.monotonic()
        self.rates = dict[tuple[str, int], float]()  # seconds a multiply-add, by backbone and resolution

    def groups(self) -> list[tuple[Backbone, int, list[Architecture]]]:
        """Candidates with a linear head that counted limits allow, by backbone and resolution.

        Those of the first backbone come before those of the next, and within one the quickest first.

        Raises:
            InputError: there are none, or the smallest breaks another limit.
        """
        found: dict[tuple[Backbone, int], list[Architecture]] = {}
        for architecture in counted_within(self.space, self.limits, self.costs):
            cut = self.space.cut(architecture)
            found.setdefault((cut.backbone, cut.pixels), []).append(architecture)
        if not found:
            raise self.nothing([name for name in self.limits.most if cost_named(name).effort == Effort.COUNTED])
        smallest = min((group[0] for group in found.values()), key=lambda least: self.costs(least, "flops"))
        if self.limits.broken(partial(self.costs, smallest)):
            raise self.nothing(list(self.limits.most))
        return [(backbone, pixels, group) for (backbone, pixels), group in found.items()]

    def nothing(self, names: Sequence[str]) -> InputError:
        """Say that nothing is within limits, and the least that there is."""
        least = min(self.space, key=lambda architecture: self.costs(architecture, "flops"))
        said = ", ".join(f"{name} {COSTS[name].amount(self.costs(least, name))}" for name in names if name in COSTS)
        return InputError(
            f"No network of pretrained is within the limits ({self.limits}): the smallest, {least}, has {said}. Allow "
            "more, or take another search space."
        )

    def linear(
        self, deadline: float, image_seconds: float, progress: Progress | None
    ) -> tuple[list[Judged], int]:  # fmt: skip
        """Judge linear heads until the time is over; gives also how many candidates there was no time for."""
        groups = self.groups()
        total, judged, rate, whole_rate = sum(len(group) for *_, group in groups), list[Judged](), 0.0, 0.0
        for backbone, pixels, group in groups:
            # Without any there would be nothing to choose from.
            quick = [member for member in group if rate * self.costs(member, "flops") <= image_seconds or not judged]
            work = self.costs(quick[-1], "flops") * len(self.dataset) if quick else math.inf
            if not quick or (judged and time.monotonic() + whole_rate * work > deadline):
                continue
            start = time.monotonic()
            self.cache.compute(backbone, pixels, [self.space.cut(member).depth for member in quick])
            self.rates[backbone.name, pixels] = rate = self.cache.seconds[backbone.name, pixels] / work
            for architecture in quick:
                judged.append(self.judged(architecture))
                if progress:
                    progress(len(judged), total)
            whole_rate = (time.monotonic() - start) / work
        return judged, total - len(judged)

    def with_hidden(self, best: Sequence[Judged], deadline: float) -> Iterator[Judged]:
        """Judge the hidden layers that the best linear candidates could have, until the time is over."""
        for candidate in best:
            cut, _, head = candidate.architecture.genotype
            for option in self.space.choices[2]:
                architecture = self.space.make([cut, candidate.architecture.genotype[1], option])
                if option != head and not self.limits.broken(partial(self._counted, architecture)):
                    if time.monotonic() > deadline:
                        return
                    yield self.judged(architecture)

    def judged(self, architecture: Architecture) -> Judged:
        """Fit its head in closed form."""
        cut = self.space.cut(architecture)
        features = self.cache.get(cut.backbone, cut.pixels, cut.depth)
        head = closed_form(
            features, self.dataset.labels, self.task.classes, cut.hidden, balanced=self.balanced, seed=self.seed
        )
        parameters, flops = (int(self.costs(architecture, name)) for name in ("params", "flops"))
        seconds = self.rates[cut.backbone.name, cut.pixels] * flops
        found = Judged(
            architecture, head.accuracy, head.loss, parameters, flops, seconds, time.monotonic() - self.begun
        )  # fmt: skip
        epochs = self.training_seconds / found.epoch_seconds(self.epoch_images)
        return replace(found, expected=head.loss * left_after(epochs))

    def told(self, candidate: Judged) -> Judged:
        """Add the other scores of its features."""
        cut, labels = self.space.cut(candidate.architecture), self.dataset.labels
        features = self.cache.get(cut.backbone, cut.pixels, cut.depth)
        return replace(candidate, logme=logme(features, labels), transrate=transrate(features, labels))

    def _counted(self, architecture: Architecture, name: str) -> float:
        """A cost, 0 for those that are checked later."""
        return self.costs(architecture, name) if cost_named(name).effort == Effort.COUNTED else 0.0

    def first_within(self, ranked: Sequence[Judged]) -> Judged:
        """Give the first that is within all limits; what is deeper than one that is not, and else alike, is not asked.

        Raises:
            InputError: none is.
        """
        broken: list[Cut] = []
        for candidate in ranked:
            cut = self.space.cut(candidate.architecture)
            if any(_is_heavier(cut, other) for other in broken):
                continue
            if not self.limits.broken(partial(self.costs, candidate.architecture)):
                return candidate
            broken.append(cut)
        raise self.nothing(list(self.limits.most))


def counted_within(space: Pretrained, limits: Limits, costs: Costs) -> list[Architecture]:
    """List the architectures with a linear head that keep the limits on what is counted.

    Example:
        >>> from trainless.types import Task
        >>> space = Pretrained("lite0")
        >>> found = counted_within(space, Limits(flops=500_000), Costs(space, Task("photos", 10)))
        >>> [str(architecture) for architecture in found]
        ['lite0-b1-r32-linear']
    """
    counted = {name: most for name, most in limits.most.items() if cost_named(name).effort == Effort.COUNTED}
    linear = (architecture for architecture in space if not space.cut(architecture).hidden)
    return [found for found in linear if all(costs(found, name) <= most for name, most in counted.items())]


def judge(
    space: Pretrained, dataset: ImageDataset, limits: Limits, deadline: float, *, balanced: bool = False,
    seed: int = 0, threads: int = 1, progress: Progress | None = None, image_seconds: float = math.inf,
    costs: Costs | None = None, training_seconds: float = 0.0,
) -> tuple[Judged, list[Judged], list[str]]:  # fmt: skip
    """Find the candidate with the least log-loss on images left out, within limits and a time, without training.

    Where its weights are to be trained further, that is the loss that may be left then: a slow one sees the images less
    often.

    Features of up to 1,000 images are computed once for each backbone and resolution, the quickest first, as long as
    there is time. All cuts get a linear head in closed form, the best ones hidden layers too.

    Args:
        space: the space.
        dataset: images to learn from, normalised as the backbones want it.
        limits: what the network may cost; what has to be measured is measured only until one is within.
        deadline: value of `time.monotonic` at which it shall be done.
        balanced: take all classes for equally frequent.
        seed: decides which images are taken, and hidden layers.
        threads: threads that PyTorch may use.
        progress: called with candidates that are judged and all of them.
        image_seconds: candidates whose features of one image take longer are left out.
        costs: tells what networks cost; None takes them as they are written, and measures what has to be.
        training_seconds: for which all weights of the chosen one will be trained.

    Returns:
        The chosen candidate, all that were judged with the best first, and notes.

    Raises:
        InputError: nothing is within the limits, or the weights are not installed.
    """
    judging = _Judge(
        space, dataset, limits, balanced=balanced, seed=seed, threads=threads, costs=costs,
        training_seconds=training_seconds,
    )  # fmt: skip
    judged, left = judging.linear(deadline, image_seconds, progress)
    best = sorted(judged, key=lambda candidate: candidate.expected)[:_HIDDEN_FROM]
    judged += judging.with_hidden(best, deadline)
    ranked = sorted(judged, key=lambda candidate: (candidate.expected, candidate.flops))
    chosen = judging.first_within(ranked)
    notes = []
    if left:
        notes.append(
            f"{left} of {len(judged) + left} pretrained candidates were not judged for want of time, the largest ones."
        )
    table = [judging.told(candidate) if number < _TOLD else candidate for number, candidate in enumerate(ranked)]
    return judging.told(chosen), table, notes


def left_after(epochs: float) -> float:
    """Which share of what is wrong with a head in closed form may be left by so many epochs of all weights.

    Example:
        >>> left_after(0), left_after(8), round(left_after(3), 2)
        (1.0, 0.81, 0.88)
    """
    return 1 - _GAIN * min(1.0, math.log1p(epochs) / math.log1p(_GAINED))


def _is_heavier(cut: Cut, other: Cut) -> bool:
    """Whether a network has all that another one has, and maybe more pixels, more blocks or a wider head."""
    same = cut.backbone == other.backbone and cut.pixels >= other.pixels
    return same and cut.depth >= other.depth and cut.hidden >= other.hidden


def some_images(dataset: ImageDataset, most: int, seed: int) -> ImageDataset:
    """Draw at most so many images by a seed, in the order that they have.

    Example:
        >>> from trainless.data import load_data
        >>> len(some_images(load_data("digits"), 50, seed=0))
        50
    """
    if len(dataset) <= most:
        return dataset
    chosen = np.random.default_rng(derive_seed(seed, "some images")).permutation(len(dataset))[:most]
    kept = np.zeros(len(dataset), bool)
    kept[chosen] = True
    return part_of(dataset, kept)
