"""What the stages of a fit share: plan, images, time, what is kept, and what follows from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainless.automl.checkpoint import FitCheckpoint
from trainless.automl.finalists import Finalist
from trainless.automl.latencies import LatencyModel
from trainless.automl.plans import EVALUATIONS, Plan
from trainless.automl.sizes import EPOCHS, Size
from trainless.automl.time_budget import TimeBudget
from trainless.costs import Candidate
from trainless.data import Splits
from trainless.data.audits import Audit
from trainless.estimators import AccuracyInTime
from trainless.search import USUAL_SCORE, Costs
from trainless.search_spaces.base import SearchSpace
from trainless.training.recipes import batch_size_for
from trainless.types import Architecture
from trainless.workers import threads_here

__all__ = ["FORWARD", "MOST_EPOCHS", "SPEED_KEPT", "TELLING", "Course", "Progress"]

MOST_EPOCHS = 200
"""Most epochs of a training that only the time ends."""

FORWARD = 1 / 3
"""Share of the time of a training step that only a forward pass takes."""

SPEED_KEPT = 0.85
"""Share of the time that is planned for: the rest is for what is slower than measured."""

TELLING = 400
"""Validation images from which on recipes can be told apart, at a standard error of a percent or two."""

_STEPS = 2000  # that a heavy network shall get at least in the time of its training, of few images by more epochs
_SCORED = 64  # images that architectures are scored on, or all where there are fewer
_LEAST_SCORED = 16  # of them, where the time would not suffice for as many architectures otherwise
_WANTED = 40  # architectures that the time of the search shall suffice for
_FIRST_SECONDS = 60.0  # of a fit, in which an interrupt leaves no network before there is an epoch

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, what is done of it and all of it, 0 where that is not known."""


@dataclass
class Course:
    """What the stages of a fit share.

    Args:
        plan: settings of the fit.
        splits: the images.
        report: what the audit found in them.
        budget: the time there is.
        checkpoint: what is kept for an interrupted fit to go on.
        folder: where the search keeps its scores; None keeps them nowhere.
        progress: called with the name of a stage, what is done of it and all of it; None tells nobody.
        notes: what one should know, as sentences.
        seconds: by stage, the time it took.
        rivals: by name, what simple classifiers say of the test images.
        is_interrupted: whether the training shall end where it stands, or be short where there is no epoch yet.
        finalists: the best few networks of the search, measured; none in short fits that do not limit the latency.
        candidates: different networks within the limits of which one is to be chosen; empty leaves it to the search.
        most_epochs: that the training has at most, whatever time there is.
    """

    plan: Plan
    splits: Splits
    report: Audit
    budget: TimeBudget
    checkpoint: FitCheckpoint
    folder: Path | None
    progress: Progress | None
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, torch.Tensor] = field(default_factory=dict)
    is_interrupted: bool = False
    finalists: list[Finalist] = field(default_factory=list)
    candidates: Sequence[Architecture] = ()
    most_epochs: int = MOST_EPOCHS

    def tell(self, stage: str, done: int, total: int) -> None:
        """Say what is being done, and how far it is."""
        if self.progress:
            self.progress(stage, done, total)

    def lap(self, stage: str) -> None:
        """Note that a stage ends here, or a part of it."""
        before = self.seconds.get(stage, 0.0)
        self.seconds[stage] = before + self.budget.elapsed - sum(self.seconds.values())

    def interrupt(self) -> bool:
        """Tell whether an interrupt before the first epoch ends the fit with a short training, and note that it does.

        Not in its first minute, and not where a network from pretrained features is there already.
        """
        self.is_interrupted = self.budget.elapsed >= _FIRST_SECONDS and "start" not in self.checkpoint.values
        return self.is_interrupted

    @property
    def measure(self) -> str:
        """What the network shall be good at."""
        return self.plan.measure or "accuracy"

    @property
    def batch(self) -> int:
        """Images in a step of the training, as long as nothing is tuned."""
        return batch_size_for(len(self.splits.train))

    @property
    def epochs(self) -> int:
        """Epochs that a heavy network shall get."""
        return max(EPOCHS, math.ceil(_STEPS * self.batch / len(self.splits.train)))

    @property
    def threads(self) -> int:
        """Most threads of a process."""
        return threads_here(self.plan.workers)

    @property
    def precision(self) -> str:
        """In which precision a training step is timed."""
        return self.plan.devices.resolved().precision

    def judges_time(self, space: SearchSpace) -> bool:
        """Whether the search itself judges how much a network can learn in the time."""
        return self.plan.searched_score is None and AccuracyInTime.knows(space)

    def evaluations(self, space: SearchSpace, latencies: LatencyModel | None = None) -> int:
        """How many architectures are scored at most; the arguments are those of `starts`."""
        if self.candidates:
            return min(len(self.candidates), self.plan.evaluations or len(self.candidates))
        return self.plan.evaluations or len(self.starts(space, latencies)) or EVALUATIONS

    def starts(self, space: SearchSpace, latencies: LatencyModel | None = None) -> list[Architecture]:
        """List what is scored before all else: the candidates, or where time decides the named architectures in limits.

        Args:
            space: the search space.
            latencies: predicts latencies; without it a limit on them leaves out nothing.
        """
        if self.candidates:
            return list(self.candidates)
        if not self.judges_time(space):
            return []
        return list(filter(self.is_within(space, latencies), space.starts()))

    def is_within(self, space: SearchSpace, latencies: LatencyModel | None = None) -> Callable[[Architecture], bool]:
        """Give what tells whether an architecture is within the limits; the arguments are those of `starts`."""
        predicted = {"latency": partial(latencies.predict, space) if latencies else lambda _: 0.0}
        costs = Costs(
            space, self.splits.train.task, predicted=predicted, mirror_average=self.plan.mirror_average
        )  # fmt: skip
        return lambda architecture: not self.plan.limits.broken(partial(costs, architecture))

    def score(self, size: Size) -> Any:
        """What the search maximises."""
        if not self.judges_time(size.space):
            return self.plan.searched_score or USUAL_SCORE
        if self.plan.epochs:
            return AccuracyInTime(epochs=self.plan.epochs)
        left = self.budget.training_end - time.monotonic() - self.budget.search
        return AccuracyInTime(SPEED_KEPT * max(left, 1.0), 0.0, *size.times)

    @property
    def has_tuning(self) -> bool:
        """Whether recipes can be told apart, and are: not where a network grows or shrinks."""
        return len(self.splits.valid) >= TELLING and not self.plan.is_resizing

    def latency_model(self) -> LatencyModel:
        """Give what predicts latencies, with what an interrupted fit had measured."""
        known = self.checkpoint.values.get("latencies", {})
        return LatencyModel(self.splits.train.task, known, mirror_average=self.plan.mirror_average)

    def candidate(self, space: SearchSpace, architecture: Architecture) -> Candidate:
        """Give an architecture as the network that is handed over, whose costs count."""
        return Candidate(space, architecture, self.splits.train.task, mirror_average=self.plan.mirror_average)

    def scored(self, size: Size) -> int:
        """How many images architectures are scored on, fewer where there is little time for each."""
        if math.isnan(size.seconds) or not self.plan.time:
            return _SCORED
        affordable = self.budget.search / (_WANTED * FORWARD * size.seconds)
        return round(min(_SCORED, max(_LEAST_SCORED, affordable)))

    def planned_epochs(self, size: Size, begun: float | None = None) -> int:
        """How many epochs there may be time for from some value of `time.monotonic` on; 0 where nothing tells."""
        if self.plan.epochs:
            return self.plan.epochs
        epoch_seconds = size.seconds * len(self.splits.train)
        left = self.budget.training_end - (time.monotonic() if begun is None else begun)
        return 0 if math.isnan(epoch_seconds) else max(1, min(self.most_epochs, int(SPEED_KEPT * left / epoch_seconds)))
