"""Settings of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from trainless.automl.time_budget import TimeBudget
from trainless.errors import InputError
from trainless.scoring import check_run
from trainless.search import Budget, Limits, search_score
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.strategies import strategy
from trainless.training import Devices
from trainless.training.measures import measure_named
from trainless.training.train import check_numbers

__all__ = ["EVALUATIONS", "Plan"]

EVALUATIONS = 200
"""Most architectures that a search scores."""


@dataclass(frozen=True)
class Plan:
    """Settings of a fit.

    Args:
        time: seconds that all of it may take; None where `epochs` is given.
        limits: what the network may cost.
        space: a search space or its name.
        strategy: as for `trainless.Search`.
        score: as for `trainless.Search`; the log-rank sum of FLOPs and NWOT is the most robust that is known here.
        measure: what the network shall be good at, a name of `trainless.training.MEASURES`.
        photographs: whether images may be mirrored; None decides by their number of channels.
        image_size: rows and columns of the images; None takes what the data propose.
        seed: decides everything random.
        workers: processes of the search, and most threads of the training; 0 is one thread of this process, None one a
            core.
        epochs: of the training, instead of a time: then networks are as large as the space says, nothing is tuned, and
            the same seed gives the same network, trained on one thread, unless latency is limited, which is measured.
        evaluations: most architectures that the search scores.
        devices: where the network is trained; recipes are tried in one process there. The search is on the CPU.

    Raises:
        InputError: a value cannot be used.

    Example:
        >>> Plan(time=0)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The time is 0 s, expected more than 0: give a time such as 20m.
    """

    time: float | None = None
    limits: Limits = field(default_factory=Limits)
    space: str | SearchSpace = "nasbench201"
    strategy: str = "evolution"
    score: str = "log-rank(flops, nwot)"
    measure: str = "accuracy"
    photographs: bool | None = None
    image_size: int | None = None
    seed: int = 0
    workers: int | None = None
    epochs: int | None = None
    evaluations: int = EVALUATIONS
    devices: Devices = field(default_factory=Devices)

    def __post_init__(self) -> None:
        if (self.time is None) == (self.epochs is None):
            raise InputError(f"The time is {self.time} and epochs {self.epochs}, expected one of both: leave one out.")
        if self.epochs is not None:
            check_numbers(epochs=self.epochs, patience=None)
        elif self.time == math.inf:
            raise InputError("The time is infinite, expected an end: give a time such as 20m, or epochs.")
        else:
            TimeBudget(self.time or 0.0)
        Budget(self.evaluations)
        measure_named(self.measure, 2)
        if self.devices.nodes > 1:
            raise InputError(
                f"The number of nodes is {self.devices.nodes}, but a fit is of one machine: train what it finds on "
                "several with trainless.training.train."
            )
        self.devices.resolved()
        # What a search would refuse, before time goes into measuring how large networks may be.
        check_run(self.seed, self.workers)
        strategy(self.strategy, search_space(self.space), self.seed)
        search_score(self.score)
