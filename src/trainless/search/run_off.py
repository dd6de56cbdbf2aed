"""The run-off of a search: the best-scored few are trained or measured on the real data, the best validated wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from trainless.data import ImageDataset, split
from trainless.errors import DataError, InputError
from trainless.estimators import Estimator, Setting, estimator
from trainless.estimators.training_cache import TrainingCache
from trainless.estimators.trainings import Progress
from trainless.ranking import finite_last
from trainless.search.halving import RunOffRow, run_off
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.training import Recipe
from trainless.training.train import nearly_as_good
from trainless.types import Architecture
from trainless.workers import WorkersChoice

__all__ = ["RunOff"]

_VALIDATED = 0.2  # share of the images


@dataclass(frozen=True)
class RunOff:
    """How the last candidates of a search are compared by training them, the better ones longer.

    Args:
        candidates: how many of the best-scored are trained.
        epochs: epochs of the last rung of the successive halving among them. The first rung has a third of it: after
            fewer than 4 epochs shallow networks are ahead that end behind.
        eta: the part of the candidates that goes on is 1/eta, the epochs grow by the factor eta.
        images: most images to train and validate on, drawn with the same share of every class.
        augment: mirror and shift the training images at random; for photographs.
        by: an estimator that all candidates are compared by in place of the halving, such as ``inherited`` or
            ``one-shot``, with epochs and recipe of its own.

    Raises:
        InputError: there is less than one candidate, epoch or image, eta is below 2, the estimator measures no
            accuracy, or images shall be augmented beside it, which has a recipe of its own.
        UnknownNameError: there is no such estimator.

    Example:
        >>> str(RunOff(candidates=5, epochs=4))
        '5 candidates, up to 4 epochs of 2,500 images, 1 in 3 goes on'
        >>> str(RunOff(candidates=5, by="full(epochs=8)"))
        '5 candidates, at most 2,500 images, by a whole training of 8 epochs'
    """

    candidates: int = 10
    epochs: int = 12
    eta: int = 3
    images: int = 2500
    augment: bool = False
    by: str | Estimator | None = None

    def __post_init__(self) -> None:
        for name in ("candidates", "epochs", "images"):
            if getattr(self, name) < 1:
                raise InputError(f"The {name} of the run-off are {getattr(self, name)}, expected at least 1.")
        if self.eta < 2:
            raise InputError(f"The eta of the run-off is {self.eta}, expected at least 2: 1 in eta candidates goes on.")
        if self.by is None:
            return
        if not self._estimator.measures_accuracy:
            raise InputError(
                f"The run-off is by '{self.by}', which measures no accuracy: take an estimator that does, such as "
                "inherited or full."
            )
        if self.augment:
            raise InputError(
                f"The run-off is by '{self.by}', which has a recipe of its own, and images shall be mirrored and "
                "shifted: say that there, as in full(mirror=yes, shift=0.125)."
            )

    @property
    def _estimator(self) -> Estimator:
        assert self.by is not None
        return estimator(self.by)

    @property
    def minutes(self) -> float:
        """How long it may be taught before the first candidate is measured; infinite for as long as it takes."""
        return math.inf if self.by is None else self._estimator.minutes

    def __str__(self) -> str:
        if self.by is not None:
            return f"{self.candidates} candidates, at most {self.images:,} images, by {self._estimator.fidelity}"
        mirrored = ", mirrored and shifted" if self.augment else ""
        return (
            f"{self.candidates} candidates, up to {self.epochs} epochs of {self.images:,} images{mirrored}, "
            f"1 in {self.eta} goes on"
        )

    def check(self, space: SearchSpace, data: ImageDataset, seed: int = 0) -> None:
        """Refuse images that cannot be trained and validated on, and a space that the estimator cannot be used in.

        Raises:
            DataError: too few images, or of a class.
            InputError: the estimator cannot be used.
        """
        drawn = self.drawn(data, seed)
        if self.by is not None:
            self._estimator.check(Setting(space, drawn, seed))
        try:
            split(drawn, _VALIDATED, seed)
        except DataError as error:
            if drawn is data:
                raise
            raise DataError(
                f"The images of the run-off are {self.images}, expected at least 2 of each of {data.task.classes} "
                "classes, to train and to validate: give more."
            ) from error

    def drawn(self, data: ImageDataset, seed: int) -> ImageDataset:
        """Draw the images that are used."""
        return data if len(data) <= self.images else split(data, self.images / len(data), seed)[1]

    def hold(
        self,
        candidates: Sequence[Architecture],
        space: SearchSpace,
        data: ImageDataset,
        *,
        seed: int = 0,
        workers: WorkersChoice = None,
        store: Store | None = None,
        progress: Progress | None = None,
    ) -> list[RunOffRow]:
        """Train or measure the first `candidates` of some architectures; what the store holds is not trained again.

        Of architectures that amount to the same network the first stands for all.

        Args:
            candidates: the best score first.
            space: builds the networks.
            data: the images.
            seed: decides which images are drawn, and all of the training.
            workers: processes that train at a time; None is one a core; or `trainless.workers.Workers`.
            store: where finished trainings are kept.
            progress: called with the epochs done and those planned.

        Returns:
            One row a candidate, the winner first.
        """
        distinct: dict[Architecture, Architecture] = {}
        for candidate in candidates:
            distinct.setdefault(space.canonical(candidate), candidate)
        chosen, drawn = list(distinct.values())[: self.candidates], self.drawn(data, seed)
        if self.by is not None:
            return self._measured(chosen, Setting(space, drawn, seed, workers, store, progress))
        recipe = Recipe(mirror=True, shift=1 / 8) if self.augment else Recipe()
        cache = TrainingCache(store, space, drawn, seed, recipe)
        return run_off(
            chosen, space, drawn, epochs=self.epochs, eta=self.eta, seed=seed,
            fraction=_VALIDATED, recipe=recipe, workers=workers, done=cache.found, on_result=cache.keep,
            progress=progress,
        )  # fmt: skip

    def _measured(self, candidates: Sequence[Architecture], setting: Setting) -> list[RunOffRow]:
        """The candidates by what the estimator makes of them, the best first."""
        rows = [
            RunOffRow(str(candidate), rank, estimate.epochs, estimate.value, estimate.seconds, estimate.reason)
            for rank, (candidate, estimate) in enumerate(
                zip(candidates, self._estimator.estimate(candidates, setting), strict=True), 1
            )
        ]
        values = finite_last(np.array([row.valid_accuracy for row in rows]))
        return [rows[number] for number in np.argsort(-values, kind="stable")]

    def verdict(self, rows: Sequence[RunOffRow], data: ImageDataset, seed: int = 0) -> str:
        """Say whether the winner can be told from the one with the best score among those that were trained as long.

        Args:
            rows: what `hold` gave.
            data: the images, as they were given to it.
            seed: likewise.
        """
        winner, images = rows[0], len(split(self.drawn(data, seed), _VALIDATED, seed)[1])
        # An estimator does the same for all, whatever the epochs come to.
        compared = [row for row in rows if (self.by or row.epochs == winner.epochs) and not row.reason]
        ones = "candidates" if self.by else "last ones"
        first = min(compared, default=winner, key=attrgetter("score_rank"))
        gain = winner.valid_accuracy - first.valid_accuracy
        if first == winner or math.isnan(gain):
            return f"what won has the best score of the {ones}"
        is_alike = first.valid_accuracy >= nearly_as_good(winner.valid_accuracy, "accuracy", images)
        size, chance = ("within", ": it cannot be told from chance") if is_alike else ("more than", "")
        return (
            f"what won is {gain:.2f} points ahead of the best-scored of the {ones}, which is {size} one standard "
            f"error on {images:,} images{chance}"
        )
