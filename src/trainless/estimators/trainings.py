"""The one loop that trains many architectures: in workers that stay, each training once, handed on as soon as it ends.

A result depends on the architecture, the epochs and the setting alone: neither on the number of workers, nor on what
was trained before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, preserve_rng_state
from trainless.training import TrainingResult, train
from trainless.types import Architecture
from trainless.workers import WorkersChoice, worker_pool

if TYPE_CHECKING:
    import torch

__all__ = ["Start", "Training", "training_session"]

Progress = Callable[[int, int], None]
OnResult = Callable[[str, int, TrainingResult], None]
Results = Mapping[tuple[str, int], TrainingResult]
Start = Callable[[Architecture], "torch.nn.Module"]


class Training(NamedTuple):
    """One training that is asked for.

    Args:
        architecture: a member of the space, trained as it is written.
        epochs: how long.
    """

    architecture: Architecture
    epochs: int

    @property
    def key(self) -> tuple[str, int]:
        """What its result is known by: the architecture's string and the epochs."""
        return str(self.architecture), self.epochs


TrainAll = Callable[[Sequence[Training], Progress | None], list[TrainingResult]]
"""Trains, and gives one result for each in the order given; the progress is told in trainings done and all of them."""


@contextmanager
def training_session(
    space: SearchSpace, train_set: ImageDataset, valid_set: ImageDataset, *, seed: int = 0,
    workers: WorkersChoice = None, done: Results | None = None, on_result: OnResult | None = None,
    start: Start | None = None, **options: Any,
) -> Iterator[TrainAll]:  # fmt: skip
    """Keep workers for trainings of architectures that come a few at a time.

    The same training is done once in a session. One that raises, or whose process dies twice, costs the others nothing:
    its result has the reason, and it is tried again by another session.

    Args:
        space: builds the networks.
        train_set: images to learn from.
        valid_set: images to validate with.
        seed: decides all of a training.
        workers: processes of one thread each; 0 trains in this process, None is one a core; or
            `trainless.workers.Workers`.
        done: what is already known, by the architecture's string and epochs.
        on_result: called with the architecture's string, epochs and result as soon as a training has ended well.
        start: makes the network that a training begins with, which has to be importable; None builds it by the space.
        options: further arguments of `trainless.training.train`.

    Raises:
        InputError: networks of the space start from weights of their own, which these trainings would draw anew.

    Example:
        >>> from trainless.data import load_data, split
        >>> from trainless.search_spaces import search_space
        >>> small, digits = search_space("nasbench201", channels=2, cells=1), load_data("digits")
        >>> with training_session(small, *split(digits, 0.8), workers=0) as train_all:
        ...     wanted = [Training(small[number], 1) for number in (0, 1, 0)]
        ...     [result.epochs for result in train_all(wanted, None)]
        [1, 1, 1]
    """
    if space.is_pretrained:
        raise InputError(
            f"Networks of the space '{space.name}' are not trained from drawn weights: rank them without training, as "
            "by the score lda_loo, and train the best with trainless.transfer.fit_pretrained."
        )
    known = dict(done or {})
    shared = _Shared(space, train_set, valid_set, {"seed": seed, **options}, start)

    def train_all(trainings: Sequence[Training], progress: Progress | None = None) -> list[TrainingResult]:
        distinct = dict.fromkeys(trainings)
        missing = [training for training in distinct if training.key not in known]
        ended = len(distinct) - len(missing)
        if progress:
            progress(ended, len(distinct))
        for training, result in run(missing):
            ended += 1
            known[training.key] = result
            if on_result and not result.reason:
                on_result(*training.key, result)
            if progress:
                progress(ended, len(distinct))
        return [known[training.key] for training in trainings]

    with worker_pool(_train, shared, workers, _lost) as run:
        yield train_all


@dataclass(frozen=True)
class _Shared:
    """All that decides a training but the architecture and the epochs, sent to each worker once."""

    space: SearchSpace
    train_set: ImageDataset
    valid_set: ImageDataset
    options: Mapping[str, Any]
    start: Start | None = None


def _train(shared: _Shared, training: Training) -> TrainingResult:
    """Train one architecture; what it raises becomes the reason of a failure."""
    import torch

    start = time.monotonic()
    try:
        with preserve_rng_state():
            # Weights that `train` leaves as they are come from here.
            torch.manual_seed(derive_seed(shared.options["seed"], "build"))
            network = (
                shared.start(training.architecture)
                if shared.start
                else shared.space.build(training.architecture, shared.train_set.task)
            )
        made = time.monotonic() - start if shared.start else 0.0
        result = train(network, shared.train_set, shared.valid_set, epochs=training.epochs, **shared.options)
        # What a start is made by may be trainings too.
        return replace(result, seconds=result.seconds + made)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _failure(reason, time.monotonic() - start)


def _lost(training: Training, reason: str) -> TrainingResult:
    """The result of a training whose process died."""
    return _failure(reason)


def _failure(reason: str, seconds: float = 0.0) -> TrainingResult:
    return TrainingResult(math.nan, 0, 0, seconds, reason=reason)
