"""The size of a search space whose networks can be trained in time, by a measurement on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from trainless.automl.reach import check_reachable, is_reachable
from trainless.costs import Effort, cost_named
from trainless.errors import InputError
from trainless.estimators.speeds import SpeedModel, Work, fastest_threads, work_of
from trainless.search import Costs, Limits
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.types import Architecture, Task

__all__ = ["EPOCHS", "Size", "choose_size", "time_networks", "timed_size"]

# On 9,000 images of CIFAR-10, 24 epochs of nasbench201 with 8 channels validated at 74.4 %, and 12 with 16 channels, in
# as much time, at 71.3 and 71.8. With three times as much, 62 epochs with 8 channels came to 76.5, 33 with 16 to 78.3.
EPOCHS = 16
"""Epochs that a heavy network shall get in the time of its training."""

_ENOUGH = 64  # architectures drawn of one size
_OUTSIDE = 3  # of them may break a limit, so that it leaves nineteen of twenty
_DRAWN = 200  # of the smallest size at most, until one is within the limits
_WORTH = 1 / 3  # with a quarter of the multiply-adds a size has to be faster by 4 to the power of this, so by 1.6
_MEASURED_SECONDS = 0.5
_MEASUREMENTS = 6  # into as many parts the time for them is cut
_LEAST_STEPS = 2  # that a measurement takes at least, with what comes before it
_TIMED = 4  # networks by which the times of a space are told
_TRIES = 200  # networks that are drawn for each of these at most
_HOPE = 0.8  # of a predicted time, so that a size that might be fast enough is measured

CostOf = Callable[[SearchSpace, Architecture, str], float]


@dataclass(frozen=True)
class Size:
    """A search space of a size that can be trained in time.

    Args:
        space: the search space.
        index: among the sizes of the space asked for; that itself is 0.
        seconds: time in which a heavy network of it learns from one image once; NaN where it was not measured.
        threads: with how many it learns faster, one or the most there may be.
        times: nanoseconds of what networks of the space do, as `SpeedModel` has them; none where nothing asks for them.
    """

    space: SearchSpace
    index: int
    seconds: float
    threads: int
    times: tuple[float, ...] = ()


def choose_size(
    space: SearchSpace, task: Task, limits: Limits, images: int, seconds: float, *, epochs: int = EPOCHS,
    seed: int = 0, most_threads: int = 1, batch: int = 64, precision: str = "32-true", share: float = math.inf,
    cost: CostOf | None = None,
) -> Size:  # fmt: skip
    """Choose the largest size of a space that the limits leave whole and at which a heavy network gets its epochs.

    If none does, it is the smallest. But a size that is hardly faster than the one before is not worth it: layers of
    few channels take nearly as long as wider ones. The smallest size is measured, the times of the others are predicted
    by a `SpeedModel`, and what they make the choice is measured too, until the choice is one that was measured.

    Args:
        space: the search space in the size that is wanted.
        task: shape of the images and number of classes.
        limits: what a network may cost.
        images: number of images of an epoch.
        seconds: time for the training; where it is infinite, nothing is measured.
        epochs: how many there shall be.
        seed: which networks are measured.
        most_threads: that the training may have.
        batch: images in a step.
        precision: as for `seconds_an_image`.
        share: seconds that all of this may take: no measurement but the first is begun that would take longer than is
            left, by what the last one took; predictions decide then.
        cost: what an architecture of a size costs, by name; None takes `trainless.search.Costs`.

    Raises:
        InputError: no network of any size is within the limits; it names the least cost that was found.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> task = Task("digits", 10, channels=1, height=8, width=8)
        >>> choose_size(search_space("nasbench201"), task, Limits(), 1000, 1e9).index
        0
    """
    end = time.monotonic() + share
    cost = cost or _costs_of(task)
    check_reachable(space.sizes[-1], limits, partial(cost, space.sizes[-1]), seed=seed)
    sizes = _within(space, task, limits, seed, cost)
    if seconds == math.inf:
        index, resized, _ = next(sizes)
        return Size(resized, index, math.nan, 1)
    heavy, model, known, pace = list(sizes), SpeedModel(), dict[int, Size](), _Pace(end, batch)
    limit = min(_MEASURED_SECONDS, share / _MEASUREMENTS)
    options: dict[str, Any] = {"batch": batch, "precision": precision, "seconds": limit, "end": end}
    works = [work_of(resized.blueprint(network, task), batch) for _, resized, network in heavy]
    chosen = len(heavy) - 1
    while pace.has_time(works[chosen]):
        begun, (index, resized, network) = time.monotonic(), heavy[chosen]
        found = fastest_threads(resized, network, task, {1, most_threads}, **options)
        known[chosen] = Size(resized, index, *found)
        pace.took(works[chosen], known[chosen].seconds, begun)
        model.add(works[chosen], known[chosen].seconds)
        times = [known[n].seconds if n in known else _HOPE * model.predict(work) for n, work in enumerate(works)]
        if (chosen := _choice(times, works, seconds / (images * epochs))) in known:
            return known[chosen]
    times = [known[n].seconds if n in known else model.predict(work) for n, work in enumerate(works)]
    chosen = _choice(times, works, seconds / (images * epochs))
    index, resized, _ = heavy[chosen]
    return known.get(chosen, Size(resized, index, times[chosen], max(size.threads for size in known.values())))


def timed_size(
    space: SearchSpace, task: Task, limits: Limits, *, seed: int = 0, most_threads: int = 1, batch: int = 64,
    precision: str = "32-true", share: float = math.inf, cost: CostOf | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Size:  # fmt: skip
    """Choose the largest size of a space in which known networks keep the limits, and measure how long networks learn.

    For a search that itself judges how much a network can learn in the time: it needs the times of all networks, and
    no choice of size. Some networks are measured, the lightest first; a `SpeedModel` tells the times of all others.

    Args:
        space: the search space in the size that is wanted.
        task: shape of the images and number of classes.
        limits: what a network may cost.
        seed: which networks are measured.
        most_threads: that the training may have.
        batch: images in a step.
        precision: as for `seconds_an_image`.
        share: seconds that all of this may take, as for `choose_size`.
        cost: what an architecture of a size costs, by name; None takes `trainless.search.Costs`.
        progress: called with networks that are measured and all that are to be, as far as there is time.

    Returns:
        The size; its `seconds` are those of the heaviest network that was measured.

    Raises:
        InputError: no network of any size is within the limits; it names the least cost that was found.
    """
    end = time.monotonic() + share
    cost = cost or _costs_of(task)
    check_reachable(space.sizes[-1], limits, partial(cost, space.sizes[-1]), seed=seed)
    index, resized = next(_with_starts(space, limits, cost), None) or next(
        (index, resized) for index, resized in enumerate(space.sizes)
        if resized == space.sizes[-1] or is_reachable(resized, limits, partial(cost, resized), seed=seed)
    )  # fmt: skip
    rng = np.random.default_rng(derive_seed(seed, "times"))

    def is_within(architecture: Architecture) -> bool:
        return not limits.broken(partial(cost, resized, architecture))

    networks = [network for network in map(resized.parse, resized.named) if is_within(network)]
    for _ in range(_TIMED - len(networks)):
        drawn = resized.sample_within(rng, is_within, _TRIES) if time.monotonic() < end or not networks else None
        networks += [drawn] if drawn is not None else []
    options: dict[str, Any] = {
        "most_threads": most_threads, "batch": batch, "precision": precision, "progress": progress,
    }  # fmt: skip
    return time_networks(resized, networks, task, index=index, share=max(0.0, end - time.monotonic()), **options)


def _with_starts(space: SearchSpace, limits: Limits, cost: CostOf) -> Iterator[tuple[int, SearchSpace]]:
    """The sizes of which a network that a search begins with is within the limits."""
    counted = Limits({
        name: most for name, most in limits.most.items() if cost_named(name).effort == Effort.COUNTED
    })  # fmt: skip
    for index, resized in enumerate(space.sizes):
        costs = [partial(cost, resized, network) for network in resized.starts()]
        costs = [found for found in costs if not counted.broken(found)]
        # What takes long to find is asked of the lightest alone: others have more of it.
        if costs and not limits.broken(min(costs, key=lambda found: found("flops"))):
            yield index, resized


def time_networks(
    space: SearchSpace, networks: Sequence[Architecture], task: Task, *, index: int = 0, most_threads: int = 1,
    batch: int = 64, precision: str = "32-true", share: float = math.inf,
    progress: Callable[[int, int], None] | None = None,
) -> Size:  # fmt: skip
    """Measure how long some networks of a space learn, the lightest first, from which follow the times of all others.

    Args:
        space: the search space.
        networks: what is measured, as far as the time goes, at least one.
        task: shape of the images and number of classes.
        index: of the space among its sizes.
        most_threads: that the training may have.
        batch: images in a step.
        precision: as for `seconds_an_image`.
        share: seconds that all of this may take, as for `choose_size`.
        progress: as for `timed_size`.

    Returns:
        The size; its `seconds` are those of the heaviest network that was measured.
    """
    end = time.monotonic() + share
    pace = _Pace(end, batch)
    works = [work_of(space.blueprint(space.canonical(network), task), batch) for network in networks]
    lightest_first = sorted(zip(works, networks, strict=True), key=lambda pair: pair[0].multiply_adds)
    model, threads, seconds = SpeedModel(), 1, math.nan
    limit = min(_MEASURED_SECONDS, share / _TIMED / 2)
    options: dict[str, Any] = {"batch": batch, "precision": precision, "seconds": limit, "end": end}
    for number, (work, network) in enumerate(lightest_first):
        if not pace.has_time(work):
            break
        tried = {1, most_threads} if number < 2 else {threads}
        begun = time.monotonic()
        seconds, faster = fastest_threads(space, network, task, tried, **options)
        pace.took(work, seconds, begun)
        if faster != threads:  # what was measured with others says nothing of these
            model, threads = SpeedModel(), faster
        model.add(work, seconds)
        if progress:
            progress(number + 1, len(lightest_first))
    return Size(space, index, seconds, threads, model.times)


class _Pace:
    """Tells from the last measurement whether there is time for the next.

    Args:
        end: value of `time.monotonic` at which all shall be done.
        batch: images in a step.
    """

    def __init__(self, end: float, batch: int) -> None:
        self._end, self._batch = end, batch
        self._last: tuple[Work, float, float] | None = None

    def took(self, work: Work, seconds: float, begun: float) -> None:
        """Note a measurement that began then and found so many seconds an image."""
        self._last = work, seconds, time.monotonic() - begun

    def has_time(self, work: Work) -> bool:
        """Whether a measurement is done in time; for the first there always is.

        One takes as long as the last, and longer by its least steps, each of which takes longer than those by the
        multiply-adds at most.
        """
        if self._last is None:
            return True
        last, seconds, taken = self._last
        step = self._batch * seconds * work.multiply_adds / last.multiply_adds
        return time.monotonic() + taken + _LEAST_STEPS * step <= self._end


def _choice(times: Sequence[float], works: Sequence[Work], most: float) -> int:
    """The first that is fast enough, or that the next is hardly faster than; else the last."""
    for number in range(len(times) - 1):
        lighter = works[number].multiply_adds / works[number + 1].multiply_adds
        if times[number] <= most or times[number] / times[number + 1] < lighter**_WORTH:
            return number
    return len(times) - 1


def _costs_of(task: Task) -> CostOf:
    known: dict[SearchSpace, Costs] = {}

    def cost(space: SearchSpace, architecture: Architecture, name: str) -> float:
        return known.setdefault(space, Costs(space, task))(architecture, name)

    return cost


def _within(
    space: SearchSpace, task: Task, limits: Limits, seed: int, cost: CostOf
) -> Iterator[tuple[int, SearchSpace, Architecture]]:  # fmt: skip
    """Index, space and a heavy network of the sizes that are nearly all within the limits, or else of the smallest.

    Where a limit leaves only the lightest networks of a large size, they learn less than any of a smaller one.
    """
    sizes, has_room = list(enumerate(space.sizes)), False
    for index, resized in sizes:
        heavy = _heavy(resized, task, limits, seed, cost, most_outside=_OUTSIDE)
        if heavy is not None:
            has_room = True
            yield index, resized, heavy
    if not has_room:
        for index, resized in reversed(sizes):
            heavy = _heavy(resized, task, limits, seed, cost, most_outside=_DRAWN - 1)
            if heavy is not None:
                yield index, resized, heavy
                return
        raise InputError(
            f"None of {len(sizes) * _DRAWN:,} networks of {space.name}, large and small, is within the limits "
            f"({limits}): widen them."
        )


def _heavy(
    space: SearchSpace, task: Task, limits: Limits, seed: int, cost: CostOf, *, most_outside: int
) -> Architecture | None:  # fmt: skip
    """The heaviest of some architectures within the limits, by multiply-adds; None where too many are outside.

    Scores favour the heavy ones. No more are drawn than decide it, as a cost may have to be computed each time.
    """
    rng = np.random.default_rng(derive_seed(seed, "sizes"))
    is_counted = all(cost_named(name).effort == Effort.COUNTED for name in limits.most)
    within, outside = list[Architecture](), 0
    while len(within) + outside < (_ENOUGH if is_counted else _ENOUGH // 4) or not within:
        drawn = space.sample(rng)
        if not limits.broken(partial(cost, space, drawn)):
            within.append(drawn)
        elif outside == most_outside:
            return None
        else:
            outside += 1
    return max(within, key=lambda architecture: space.flops(architecture, task))
