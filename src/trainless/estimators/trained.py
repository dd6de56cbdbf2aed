"""Estimators that train each architecture: wholly, until it brings nothing more, or in a reduced form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting
from trainless.estimators.fidelities import Fidelity
from trainless.estimators.training_cache import TrainingCache
from trainless.estimators.trainings import Start, Training, training_session
from trainless.specs import spec_of
from trainless.training import Recipe, TrainingResult
from trainless.training.train import check_numbers
from trainless.types import Architecture

__all__ = ["VALID", "EarlyStopping", "Full", "Reduced", "Trained"]

VALID = 0.2
"""Share of the images that validates."""

_USUAL = Recipe()


@dataclass(frozen=True)
class Trained(Estimator):
    """What all estimators share that train: the networks are built, trained in workers and validated.

    Of architectures that amount to the same network their representative is trained, once.

    Args:
        epochs: of a whole training.
        recipe: how it is trained.
    """

    measures_accuracy = True
    epochs: int = 12
    recipe: Recipe = _USUAL

    def __post_init__(self) -> None:
        check_numbers(epochs=self.epochs, patience=None)

    def __str__(self) -> str:
        return spec_of(self)

    # What a kind of training differs in.

    def _scaled(self, setting: Setting) -> tuple[Setting, float]:
        """The setting that is trained in, and the share of the images to learn from."""
        return setting, 1.0

    def _options(self) -> Mapping[str, Any]:
        """Further arguments of a training; they are part of the key under which it is kept."""
        return {}

    def _others(self, start: Start | None) -> dict[str, str]:
        """What else decides a training that begins like that; part of that key too."""
        return {}

    def _start(
        self, setting: Setting, train_set: ImageDataset, valid_set: ImageDataset
    ) -> tuple[Start | None, float]:  # fmt: skip
        """What makes the networks that trainings begin with, None for the space; and the seconds that it took."""
        return None, 0.0

    def _estimate(self, architecture: Architecture, result: TrainingResult, valid_set: ImageDataset) -> Estimate:
        return Estimate(str(architecture), result.valid_accuracy, result.seconds, result.epochs, reason=result.reason)

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Keep workers that train."""
        scaled, share = self._scaled(setting)
        train_set, valid_set = split(scaled.data, VALID, scaled.seed)
        reduced = {}
        if share < 1:
            train_set, reduced = split(train_set, share, scaled.seed)[1], {"images": str(share)}
        start, seconds = self._start(scaled, train_set, valid_set)
        others = {name: str(value) for name, value in self._options().items()} | self._others(start) | reduced
        cache = TrainingCache(scaled.store, scaled.space, scaled.data, scaled.seed, self.recipe, others)
        with training_session(
            scaled.space, train_set, valid_set, seed=scaled.seed, workers=scaled.workers, done=cache.found,
            on_result=cache.keep, start=start, recipe=self.recipe, **self._options(),
        ) as train_all:  # fmt: skip

            def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
                canonical = [scaled.space.canonical(architecture) for architecture in architectures]
                results = train_all(
                    [Training(architecture, self.epochs) for architecture in canonical], scaled.progress
                )
                pairs = zip(architectures, results, strict=True)
                return [
                    replace(self._estimate(architecture, result, valid_set), shared_seconds=seconds)
                    for architecture, result in pairs
                ]

            yield ask


@dataclass(frozen=True)
class Full(Trained):
    """Trains each architecture for all epochs.

    Args:
        epochs: of the training.
        recipe: how it is trained.

    Raises:
        InputError: there is no epoch.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> small = search_space("nasbench201", channels=4, cells=1)
        >>> setting = Setting(small, load_data("digits"), workers=0)
        >>> Full(epochs=2).estimate([small[100]], setting)[0].value > 30
        True
    """

    name = "full"

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return f"a whole training of {_epochs(self.epochs)}"


@dataclass(frozen=True)
class EarlyStopping(Trained):
    """Trains each architecture until its validation accuracy does not rise any more.

    Args:
        epochs: most epochs; the learning rate falls as if all were run.
        patience: epochs without a higher accuracy after which it stops.
        recipe: how it is trained.

    Raises:
        InputError: there is no epoch or no patience.

    Example:
        >>> str(EarlyStopping(epochs=8))
        'early-stopping(epochs=8, patience=3)'
    """

    name = "early-stopping"
    patience: int = 3

    def __post_init__(self) -> None:
        check_numbers(epochs=self.epochs, patience=self.patience)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return f"a training of at most {_epochs(self.epochs)}, stopped {_epochs(self.patience)} after the best"

    def _options(self) -> Mapping[str, Any]:
        return {"patience": self.patience}


@dataclass(frozen=True)
class Reduced(Trained):
    """Trains a smaller network on fewer and smaller images for fewer epochs.

    Source: the four reduction factors of Zhou et al., EcoNAS: Finding Proxies for Economical Neural Architecture
    Search, CVPR 2020, which found that fewer channels and pixels keep the order of architectures better than fewer
    images do.

    Args:
        epochs: of the training.
        channels: share of the network's width and depth, as `SearchSpace.resized` takes it.
        resolution: share of the rows and columns of an image.
        images: share of the images to learn from, drawn by the seed; all of the others still validate.
        recipe: how it is trained.

    Raises:
        InputError: there is no epoch, or a share is not above 0 and at most 1.

    Example:
        >>> Reduced(channels=0.25, images=0.5).fidelity
        'a training of 4 epochs, 0.25 of width and depth, 0.5 of the resolution, 0.5 of the images'
    """

    name = "reduced"
    epochs: int = 4
    channels: float = 0.5
    resolution: float = 0.5
    images: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channels", "resolution", "images"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"The {name} of the estimator 'reduced' are a share of {getattr(self, name)}, expected one above 0 "
                    "and at most 1."
                )

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        named = {"width and depth": self.channels, "the resolution": self.resolution, "the images": self.images}
        shares = [f"{value:g} of {name}" for name, value in named.items() if value < 1]
        return ", ".join([f"a training of {_epochs(self.epochs)}", *shares])

    def _scaled(self, setting: Setting) -> tuple[Setting, float]:
        factor = Fidelity(self.channels, self.resolution)
        return setting.within(factor.of_space(setting.space), factor.of_data(setting.data)), self.images


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' if number > 1 else ''}"
