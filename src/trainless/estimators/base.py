"""The contract of an estimator: architectures go in, one estimate of the performance of each comes out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trainless.data import ImageDataset, split
from trainless.estimators.fidelities import Fidelity
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.store import Store
from trainless.types import Architecture, Score
from trainless.workers import WorkersChoice

__all__ = ["Ask", "Estimate", "Estimator", "Setting", "distinct_sample"]

_DRAWS = 50  # for each architecture that is wanted, until enough of them are different networks

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Estimate:
    """What an estimator makes of one architecture.

    Args:
        architecture: its published string.
        value: higher is better; validation accuracy in percent where it is one; NaN where there is none.
        seconds: time that this one took, or had taken when it was computed.
        epochs: epochs of training that it took; 0 without training.
        deviation: how uncertain the value is, as a standard deviation in its own unit; NaN where that is not said.
        shared_seconds: time of what was done once for all estimates of a setting, the same in each.
        note: what is to be known of all estimates of a setting; empty for nothing.
        reason: why there is no value; empty otherwise.
        scores: the scores of proxies that it is made of, where it is.

    Example:
        >>> estimate = Estimate("|skip_connect~0|", 61.5, 4.2, 3)
        >>> estimate.status, estimate.row, estimate.deviation
        ('ok', (61.5,), nan)
    """

    architecture: str
    value: float
    seconds: float = 0.0
    epochs: int = 0
    deviation: float = math.nan
    shared_seconds: float = 0.0
    note: str = ""
    reason: str = ""
    scores: tuple[Score, ...] = ()

    @property
    def row(self) -> tuple[float, ...]:
        """The numbers that it consists of: the raw scores of its proxies, or its value."""
        return tuple(score.value for score in self.scores) or (self.value,)

    @property
    def status(self) -> str:
        """``"ok"``, ``"not finite"`` or ``"failed"``, the worst of its scores where it is made of some."""
        found = {score.status for score in self.scores} or {self._own_status()}
        return next((status for status in ("failed", "not finite") if status in found), "ok")

    def _own_status(self) -> str:
        return "failed" if self.reason else "ok" if math.isfinite(self.value) else "not finite"


@dataclass(frozen=True, eq=False)
class Setting:
    """Where architectures are estimated.

    Args:
        space: their search space, in the size that counts.
        data: the images that a whole training has; a part of them validates.
        seed: decides everything random.
        workers: processes; 0 works in this one, None is one a core; or `trainless.workers.Workers`.
        store: where trainings and scores are kept, so that what was interrupted goes on.
        progress: called with what is done of a call and all of it.
    """

    space: SearchSpace
    data: ImageDataset
    seed: int = 0
    workers: WorkersChoice = None
    store: Store | None = None
    progress: Progress | None = None

    def within(self, space: SearchSpace, data: ImageDataset) -> Setting:
        """Give the same setting with another space and other images."""
        return replace(self, space=space, data=data)

    def reduced(self, fidelity: Fidelity) -> Setting:
        """Give the setting of a cheaper evaluation: smaller networks, on smaller images and on a share of them."""
        data = fidelity.of_data(self.data)
        if fidelity.batch < 1:
            data = split(data, fidelity.batch, self.seed)[1]
        return self.within(fidelity.of_space(self.space), data)


Ask = Callable[[Sequence[Architecture]], list[Estimate]]
"""Gives one estimate for each architecture, in the order given."""


class Estimator(ABC):
    """Estimates how good the networks of architectures will be.

    An estimator is a value: its options, no state. The state is that of a session, from the first batch of
    architectures to the last of one search or study: worker processes, a fitted model, a sample that was trained. An
    estimate depends on the estimator, the architecture, and the space, data and seed of the setting. It does not depend
    on the order, on other architectures that are asked for, on the number of workers, or on interruptions; where a time
    ends what is taught before, though, on how fast the machine is.

    Whatever implements `session` can be used wherever an estimator's name can, without being registered. Weight sharing
    fits so: the session trains the supernet of `setting.space` (kept with the store, for it is what must not be lost),
    reports its time as `shared_seconds`, and each estimate is the validation accuracy of the weights that its
    architecture inherits; they are frozen by then, or else estimates would depend on the order. Network morphism fits
    where parents are a fixed function of the architecture, such as a chain of smaller ones down to a seed network: the
    session keeps the weights of what was trained, and an estimate is a short training from those of its parent.

    Attributes:
        name: what it is asked for by.
        sees_all_images: whether an estimate depends on all images of the setting, and not on a batch of them alone.
        measures_accuracy: whether its values are accuracies on validation images in percent, not scores or predictions.
        is_taught: whether a session trains something before its first estimate.
        minutes: how long that may take, in each session; infinite for as long as it takes.

    Example:
        >>> from contextlib import contextmanager
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> class Length(Estimator):
        ...     name = "length"
        ...     fidelity = "the number of letters"
        ...     @contextmanager
        ...     def session(self, setting):
        ...         yield lambda architectures: [Estimate(str(cell), len(str(cell))) for cell in architectures]
        >>> space = search_space("nasbench201")
        >>> estimates = Length().estimate([space[0], space[9]], Setting(space, load_data("digits")))
        >>> [estimate.value for estimate in estimates]
        [95, 71]
    """

    name: ClassVar[str]
    sees_all_images: ClassVar[bool] = True
    measures_accuracy: ClassVar[bool] = False
    is_taught: ClassVar[bool] = False
    minutes: float = math.inf

    @property
    @abstractmethod
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""

    @abstractmethod
    def session(self, setting: Setting) -> AbstractContextManager[Ask]:
        """Begin to estimate in a setting: gives a function for one batch of architectures after the other.

        A failure of one architecture is the `reason` of its estimate, and costs the others nothing.

        Raises:
            InputError: the estimator cannot be used in this setting.
        """

    def check(self, setting: Setting) -> None:  # noqa: B027  most can be used wherever networks can be built
        """Refuse a setting that the estimator cannot be used in, before time goes into anything.

        Raises:
            InputError: it cannot.
        """

    def reduced_session(self, setting: Setting, fidelity: Fidelity) -> AbstractContextManager[Ask]:
        """Begin to estimate more cheaply in a setting, as a rung of a search does; `Fidelity()` reduces nothing."""
        return self.session(setting.reduced(fidelity))

    def estimate(self, architectures: Sequence[Architecture], setting: Setting) -> list[Estimate]:
        """Estimate architectures at one go."""
        with self.session(setting) as ask:
            return ask(architectures)

    def __str__(self) -> str:
        return self.name


def distinct_sample(space: SearchSpace, count: int, seed: int, purpose: str) -> list[Architecture]:
    """Draw architectures that are different networks, of any space; fewer only where hardly more are found.

    Args:
        space: where from.
        count: how many.
        seed: which.
        purpose: leads to other ones with the same seed.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> len(distinct_sample(search_space("nasbench201"), 5, 0, "example"))
        5
    """
    rng = np.random.default_rng(derive_seed(seed, purpose))
    found: dict[Architecture, Architecture] = {}
    for _ in range(_DRAWS * count):
        architecture = space.sample(rng)
        found.setdefault(space.canonical(architecture), architecture)
        if len(found) == count:
            break
    return list(found.values())
