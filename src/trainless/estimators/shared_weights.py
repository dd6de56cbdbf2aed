"""Estimators by shared weights: accuracies of paths through one supernet, or short trainings from what they inherit."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainless.data import ImageDataset, split
from trainless.errors import InputError, UnknownNameError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting, distinct_sample
from trainless.estimators.scores import proxy_score
from trainless.estimators.trained import VALID, Trained
from trainless.estimators.trainings import Start
from trainless.estimators.zero_cost import ZeroCost
from trainless.ranking import finite_last
from trainless.specs import spec_of
from trainless.training import Recipe
from trainless.training.recipes import SAMPLINGS, SHARED_RECIPE
from trainless.training.train import check_minutes, check_numbers
from trainless.types import Architecture
from trainless.workers import worker_pool

if TYPE_CHECKING:
    import torch

    from trainless.supernets import Supernet
    from trainless.supernets.keeping import KeptState

__all__ = ["NO_GUIDE", "Inherited", "OneShot"]

NO_GUIDE = "none"
"""The guide of a supernet whose paths are drawn from the whole space."""

_POOL, _BEST = 256, 4  # architectures that a guide scores, of which one part guides
_LAYOUT = "2"  # of kept supernets that were guided
_CHUNK = 32  # of them between two looks at the clock


@dataclass(frozen=True)
class OneShot(Estimator):
    """Trains one supernet, and measures each architecture with the weights that it shares with all others.

    The supernet is trained once for a space, images and seed, and kept in a folder beside the store after each epoch.
    An estimate is the validation accuracy of a path, whose batch normalisations have statistics of its own. How far the
    order of paths is that of networks that are trained for themselves, `trainless trust` tells.

    Source: Bender et al., Understanding and Simplifying One-Shot Architecture Search, ICML 2018; Guo et al., Single
    Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020.

    Args:
        epochs: of the supernet, at most.
        sampling: which paths learn in a step: ``uniform``, one that is drawn; ``sandwich``, the largest, and by its
            answers the smallest and two that are drawn.
        guide: a zero-cost score, by whose best quarter of 256 architectures paths are drawn in the first half of the
            schedule; ``none`` draws from the whole space.
        recipe: how it is trained.
        minutes: most time; how far it comes depends on the machine then. A guide scores fewer than 256 where that takes
            more than half of it.

    Raises:
        InputError: there is no epoch or no time.
        UnknownNameError: there is no such sampling, or no such score.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nats_size(unit=2)")
        >>> setting = Setting(space, load_data("digits"), workers=0)
        >>> wide = OneShot(epochs=2, sampling="sandwich").estimate([space.parse("64:64:64:64:64")], setting)[0]
        >>> wide.value > 30, wide.shared_seconds > wide.seconds
        (True, True)
    """

    name = "one-shot"
    measures_accuracy = True
    is_taught = True
    epochs: int = 30
    sampling: str = "uniform"
    guide: str = NO_GUIDE
    recipe: Recipe = SHARED_RECIPE
    minutes: float = math.inf

    def __post_init__(self) -> None:
        check_numbers(epochs=self.epochs, patience=None)
        check_minutes(self.minutes)
        if self.guide != NO_GUIDE:
            proxy_score(self.guide)
        if self.sampling not in SAMPLINGS:
            raise UnknownNameError("sampling of paths", self.sampling, SAMPLINGS)

    def __str__(self) -> str:
        return spec_of(self)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return f"the accuracy of a path with {self.weights}"

    @property
    def weights(self) -> str:
        """What weights there are, in words."""
        guided = "" if self.guide == NO_GUIDE else f", guided by {self.guide}"
        timed = "" if math.isinf(self.minutes) else f", at most {self.minutes:g} minutes"
        return f"the weights of a supernet of {self.epochs} epochs{timed} ({self.sampling} sampling{guided})"

    def check(self, setting: Setting) -> None:
        """Refuse a space whose networks cannot share weights."""
        from trainless.supernets.supernet import check_shareable

        check_shareable(setting.space)

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Train the supernet, or read it, and keep workers that measure paths."""
        from trainless.supernets import calibration_images

        train_set, valid_set = split(setting.data, VALID, setting.seed)
        supernet, seconds = trained_supernet(self, setting, train_set, valid_set)
        shared = _Shared(supernet, calibration_images(train_set, setting.seed), valid_set)
        known: dict[Architecture, tuple[float, float, str]] = {}

        with worker_pool(_measure, shared, setting.workers, _lost) as run:

            def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
                canonical = [setting.space.canonical(architecture) for architecture in architectures]
                missing = [path for path in dict.fromkeys(canonical) if path not in known]
                for number, (path, found) in enumerate(run(missing), 1):
                    known[path] = found
                    if setting.progress:
                        setting.progress(number, len(missing))
                measured = [
                    (str(architecture), *known[path])
                    for architecture, path in zip(architectures, canonical, strict=True)
                ]
                return [
                    Estimate(text, value, own, shared_seconds=seconds, reason=reason)
                    for text, value, own, reason in measured
                ]

            yield ask


@dataclass(frozen=True)
class Inherited(Trained):
    """Trains each architecture shortly, from the weights that it inherits from one supernet.

    The supernet is that of `OneShot`. Batch normalisations keep the statistics of the path.

    Source: Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018, for the weights that are
    taken over.

    Args:
        epochs: of each training.
        recipe: how supernet and networks are trained.
        shared: epochs of the supernet.
        sampling: as for `OneShot`.
        minutes: likewise, of the supernet.

    Raises:
        InputError: there is no epoch or no time.
        UnknownNameError: there is no such sampling.

    Example:
        >>> print(Inherited(epochs=1, shared=20))
        inherited(epochs=1, shared=20, sampling=uniform)
    """

    name = "inherited"
    is_taught = True
    epochs: int = 2
    recipe: Recipe = SHARED_RECIPE
    shared: int = 30
    sampling: str = "uniform"
    minutes: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_shot()

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        plural = "s" if self.epochs > 1 else ""
        return f"a training of {self.epochs} epoch{plural} from {self._one_shot().weights}"

    def _one_shot(self) -> OneShot:
        return OneShot(self.shared, self.sampling, recipe=self.recipe, minutes=self.minutes)

    def check(self, setting: Setting) -> None:
        """Refuse a space whose networks cannot share weights."""
        self._one_shot().check(setting)

    def _options(self) -> Mapping[str, Any]:
        return {"keep_weights": True}

    def _others(self, start: Start | None) -> dict[str, str]:
        others = {"supernet": str(self._one_shot())}
        if not math.isinf(self.minutes):
            # How far it was taught is not in what it was asked for.
            assert isinstance(start, _Heirs)
            others["weights"] = start.fingerprint
        return others

    def _start(
        self, setting: Setting, train_set: ImageDataset, valid_set: ImageDataset
    ) -> tuple[Start | None, float]:  # fmt: skip
        from trainless.supernets import calibration_images

        supernet, seconds = trained_supernet(self._one_shot(), setting, train_set, valid_set)
        return _Heirs(supernet, calibration_images(train_set, setting.seed)), seconds


@dataclass(frozen=True)
class _Heirs:
    """Makes networks with the weights of a supernet, and statistics of their own."""

    supernet: Supernet
    calibration: list[torch.Tensor]

    @property
    def fingerprint(self) -> str:
        """Tells these weights from others."""
        weights = self.supernet.state_dict().values()
        return sha256(b"".join(weight.contiguous().numpy().tobytes() for weight in weights)).hexdigest()

    def __call__(self, architecture: Architecture) -> torch.nn.Module:
        from trainless.supernets import recalibrate

        network = self.supernet.subnetwork(architecture)
        recalibrate(network, self.calibration)
        return network


def trained_supernet(
    estimator: OneShot, setting: Setting, train_set: ImageDataset, valid_set: ImageDataset
) -> tuple[Supernet, float]:  # fmt: skip
    """Give the trained supernet of a setting, and the seconds that it took."""
    from trainless.supernets import Supernet, train_supernet
    from trainless.supernets.keeping import KeptState, standing

    supernet = Supernet(setting.space, train_set.task, seed=setting.seed)
    kept = KeptState.on_images(
        setting.store, setting.space, setting.data, setting.seed, estimator=str(estimator),
        **({} if estimator.guide == NO_GUIDE else {"layout": _LAYOUT}),
    )  # fmt: skip
    state, progress = kept.training(), setting.progress or (lambda done, total: None)
    guide, guided = _guide(estimator, setting, kept.part(of="guide"), is_needed=not (state and state.progress == 1))
    minutes = estimator.minutes - guided.passed / 60
    if minutes <= 0 and state is None:
        raise InputError(
            f"The scores that guide {estimator.name} take {guided.passed:.0f} s and more, and the minutes are "
            f"{estimator.minutes:g}: give more, or another guide."
        )
    progress(*standing(state, estimator.epochs, minutes))
    state = train_supernet(
        supernet, train_set, valid_set, epochs=estimator.epochs, minutes=minutes, seed=setting.seed,
        recipe=estimator.recipe, sampling=estimator.sampling, guide=guide, resume=state,
        on_epoch=kept.keeper(progress, estimator.epochs, minutes),
    )  # fmt: skip
    return supernet, guided.seconds + state.seconds


class _Guided(NamedTuple):
    """How many architectures a guide scored, what that costs in seconds of processors, and how long it took."""

    scored: int = 0
    seconds: float = 0.0
    passed: float = 0.0


def _guide(
    estimator: OneShot, setting: Setting, kept: KeptState, *, is_needed: bool
) -> tuple[list[Architecture], _Guided]:  # fmt: skip
    """The architectures that score best among some, as many as there was time for at first."""
    if estimator.guide == NO_GUIDE:
        return [], _Guided()
    known = _Guided(**found) if (found := kept.read()) else None
    if known and not is_needed:
        return [], known
    begin, pool = time.monotonic(), distinct_sample(setting.space, _POOL, setting.seed, "guide")
    pool, estimates = pool[: known.scored] if known else pool, list[Estimate]()
    with ZeroCost(estimator.guide).session(setting) as ask:
        for start in range(0, len(pool), _CHUNK):
            estimates += ask(pool[start : start + _CHUNK])
            if known is None and time.monotonic() - begin > 60 * estimator.minutes / 2:
                break
    values = finite_last(np.array([estimate.value for estimate in estimates]))
    best = np.argsort(-values, kind="stable")[: max(1, len(values) // _BEST)]
    if known is None:
        seconds = sum(estimate.seconds for estimate in estimates) + estimates[0].shared_seconds
        known = _Guided(len(estimates), seconds, time.monotonic() - begin)
        kept.write(known._asdict())
    return [pool[number] for number in best], known


@dataclass(frozen=True)
class _Shared:
    """What decides the accuracy of a path."""

    supernet: Supernet
    calibration: list[torch.Tensor]
    valid_set: ImageDataset


def _measure(shared: _Shared, path: Architecture) -> tuple[float, float, str]:
    """The accuracy of a path, the seconds, and what it failed by."""
    from trainless.hardware import limited_threads
    from trainless.supernets import path_accuracy

    start = time.monotonic()
    try:
        with limited_threads(1):
            value = path_accuracy(shared.supernet, path, shared.calibration, shared.valid_set)
    except Exception as error:
        return math.nan, time.monotonic() - start, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return value, time.monotonic() - start, ""


def _lost(path: Architecture, reason: str) -> tuple[float, float, str]:
    return math.nan, 0.0, reason
