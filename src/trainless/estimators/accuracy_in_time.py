"""The estimator that asks for the accuracy after a time: by how often a network sees the images in it, untrained."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from trainless.errors import InputError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting
from trainless.estimators.formula import Formula
from trainless.estimators.speeds import SpeedModel, seconds_an_image, work_of
from trainless.search_spaces.base import SearchSpace
from trainless.specs import spec_of
from trainless.training.recipes import batch_size_for
from trainless.types import Architecture

__all__ = ["AccuracyInTime", "Prospect"]

_SPACES = ("convnet",)  # of which networks were trained to fit it
_IMAGES = 1500  # that the networks of the table learned from
_TIMES = ("multiply_add", "value", "operation")


class Prospect(NamedTuple):
    """What a network may come to in a time.

    Args:
        image_seconds: that it learns from an image; NaN where epochs are given.
        epochs: that there are in the time.
        terms: by feature, what it adds to the value.

    Example:
        >>> prospect = Prospect(0.001, 12.0, {"average": 50.0, "epochs": 4.5})
        >>> prospect.value
        54.5
        >>> str(prospect).partition(";")[0]
        '12 epochs in the time, at 1 ms an image'
    """

    image_seconds: float
    epochs: float
    terms: Mapping[str, float]

    @property
    def value(self) -> float:
        """The sum of the terms."""
        return sum(self.terms.values())

    def __str__(self) -> str:
        pace = "" if math.isnan(self.image_seconds) else f" in the time, at {1000 * self.image_seconds:.3g} ms an image"
        terms = ", ".join(f"{name} {worth:+.1f}" for name, worth in self.terms.items())
        return f"{self.epochs:.3g} epochs{pace}; points beside the average network of the table: {terms}"


@dataclass(frozen=True)
class AccuracyInTime(Estimator):
    """Estimates the accuracy after a training of so many seconds, from epochs and the shape of the network.

    A ridge regression on trainings of networks of `convnet` that come along, of CIFAR-10's images, made by
    `benchmarks/convnet_trainings.py`: what it says is an accuracy there, and ranks networks elsewhere. See
    docs/estimators.md for its error, and for what was tried beside it.

    Args:
        seconds: of the training.
        epochs: of the training, in place of a time; 0 is none.
        multiply_add: nanoseconds that a training step takes for a multiply-add on this machine; 0 measures it and the
            next two on one thread, once for a store.
        value: nanoseconds for a normalised value.
        operation: nanoseconds for an operation, once a batch.

    Raises:
        InputError: a number is below 0, or there is neither a time nor epochs.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("convnet")
        >>> setting = Setting(space, load_data("digits"))
        >>> with AccuracyInTime(epochs=8).session(setting) as ask:
        ...     plain, separable = (estimate.value for estimate in ask([space.parse("vgg"), space.parse("mobilenet")]))
        >>> plain > separable
        True
    """

    name = "accuracy-in-time"
    seconds: float = 120.0
    epochs: float = 0.0
    multiply_add: float = 0.0
    value: float = 0.0
    operation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seconds", "epochs", *_TIMES):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"The {name} of {self.name} is {getattr(self, name):g}, expected a number from 0.")
        if not (self.seconds or self.epochs):
            raise InputError(f"The estimator {self.name} has neither seconds nor epochs: give one of them.")

    def __str__(self) -> str:
        return spec_of(self)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        budget = f"{self.epochs:g} epochs" if self.epochs else f"{self.seconds:.3g} s"
        return f"no training, the accuracy after {budget} as a formula has it"

    @property
    def topic(self) -> str:
        """Under which a store has its values and the search space, by architecture."""
        return f"estimates by {self}"

    @staticmethod
    def knows(space: SearchSpace) -> bool:
        """Whether it was fitted to trainings of networks of a space."""
        return space.name in _SPACES

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Measure how fast networks learn here, if that is not given, and estimate."""
        if not self.knows(setting.space):
            raise InputError(
                f"The estimator {self.name} was fitted to networks of {', '.join(_SPACES)}, not of "
                f"{setting.space.name}: search there, or take another score."
            )
        timed = self if self.epochs or self.multiply_add else self._timed(setting)

        def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
            estimates = [_estimate(timed, architecture, setting) for architecture in architectures]
            if setting.store:  # for who watches: to compute them again takes no time
                values = {estimate.architecture: [estimate.value, setting.space.spec] for estimate in estimates}
                setting.store.note(self.topic, values)
            return estimates

        yield ask

    def explain(self, architecture: Architecture, setting: Setting) -> Prospect:
        """Tell how many epochs there are in the time for a network, and what the value is the sum of.

        Raises:
            InputError: neither epochs nor times of operations are given.
        """
        blueprint = setting.space.blueprint(setting.space.canonical(architecture), setting.data.task)
        images = len(setting.data)
        if self.epochs:
            return Prospect(math.nan, self.epochs, _formula().terms(blueprint, _counted(self.epochs, images)))
        if not self.multiply_add:
            raise InputError(f"The times of {self.name} are not known: give multiply_add, value and operation.")
        work = work_of(blueprint, batch_size_for(images))
        seconds = SpeedModel([getattr(self, name) for name in _TIMES]).predict(work)
        epochs = self.seconds / (seconds * images)
        return Prospect(seconds, epochs, _formula().terms(blueprint, _counted(epochs, images)))

    def _timed(self, setting: Setting) -> AccuracyInTime:
        """The same with times that were measured here, or were kept."""
        space, task, batch = setting.space, setting.data.task, batch_size_for(len(setting.data))
        topic, key = f"times of {space.label}", f"{task}, batches of {batch}"
        times = setting.store.notes(topic).get(key) if setting.store else None
        if times is None:
            model = SpeedModel()
            for architecture in map(space.parse, space.named):
                blueprint = space.blueprint(space.canonical(architecture), task)
                model.add(work_of(blueprint, batch), seconds_an_image(space, architecture, task, batch=batch))
            times = model.times
            if setting.store:
                setting.store.note(topic, {key: times})
        return replace(self, **dict(zip(_TIMES, times, strict=True)))


@cache
def _formula() -> Formula:
    return Formula.read(json.loads(files("trainless.estimators").joinpath("accuracy_in_time.json").read_bytes()))


def _counted(epochs: float, images: int) -> float:
    """How many epochs of the table's images an epoch of more or fewer images is worth."""
    return epochs * math.sqrt(images / _IMAGES)


def _estimate(score: AccuracyInTime, architecture: Architecture, setting: Setting) -> Estimate:
    start = time.monotonic()
    prospect = score.explain(architecture, setting)
    return Estimate(str(architecture), prospect.value, time.monotonic() - start, deviation=_formula().error)
