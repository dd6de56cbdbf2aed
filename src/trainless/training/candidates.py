"""Find the best of a few candidates by training them: the better ones longer."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, preserve_rng_state
from trainless.training.measures import measure_named
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingResult
from trainless.training.train import check_numbers, train
from trainless.types import Architecture
from trainless.workers import worker_pool

__all__ = ["RunOffRow", "Setting", "lost_training", "run_off", "rungs", "train_one"]


@dataclass(frozen=True)
class RunOffRow:
    """How far a candidate came in a run-off.

    Args:
        architecture: its published string.
        score_rank: its place before the run-off, counted from 1.
        epochs: epochs that its last training was to have.
        valid_accuracy: what this training came to, in percent; NaN where it failed.
        seconds: time of all its trainings.
        reason: why the training failed; empty otherwise.

    Example:
        >>> RunOffRow("|skip_connect~0|", 3, 8, 61.5, 40.0).score_rank
        3
    """

    architecture: str
    score_rank: int
    epochs: int
    valid_accuracy: float
    seconds: float
    reason: str = ""


def rungs(candidates: int, epochs: int, eta: int) -> list[tuple[int, int]]:
    """Plan a successive halving: how many candidates are trained for how many epochs, the shortest first.

    From rung to rung the best 1/eta go on, rounded up, to eta times the epochs. The last rung has at least two
    candidates, for one alone is compared with nothing, and the first has at least one epoch.

    Args:
        candidates: how many there are.
        epochs: epochs of the last rung.
        eta: the divisor, at least 2.

    Example:
        >>> rungs(10, 8, 2), rungs(10, 8, 3), rungs(2, 8, 2)
        ([(10, 1), (5, 2), (3, 4), (2, 8)], [(10, 2), (4, 8)], [(2, 8)])
    """
    counts = [candidates]
    while 2 <= (fewer := math.ceil(counts[-1] / eta)) < counts[-1] and epochs >= eta ** len(counts):
        counts.append(fewer)
    return [(count, epochs // eta ** (len(counts) - 1 - number)) for number, count in enumerate(counts)]


def run_off(
    candidates: Sequence[Architecture],
    space: SearchSpace,
    dataset: ImageDataset,
    *,
    epochs: int = 8,
    eta: int = 3,
    seed: int = 0,
    fraction: float = 0.2,
    recipe: Recipe | None = None,
    measure: str = "accuracy",
    patience: int | None = None,
    workers: int | None = None,
    done: Mapping[tuple[str, int], TrainingResult] | None = None,
    on_result: Callable[[str, int, TrainingResult], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[RunOffRow]:
    """Train candidates by successive halving (Jamieson and Talwalkar 2016), and rank them by validation.

    All are trained for a few epochs, the better ones for more, as `rungs` plans it. Each training is a whole one from
    the same seed, with a learning rate that ends at 0, so what it comes to depends on the seed, the architecture and
    the number of epochs alone, not on the number of workers, and one that is done need not be repeated. Of equal ones
    the one with the better score goes first.

    A training that raises, or whose process dies twice, costs the others nothing: its candidate goes no further and is
    ranked last, with the reason in its row. The same call made again tries it again.

    Args:
        candidates: architectures of the space, the best score first.
        space: builds their networks, for the task of `dataset`.
        dataset: the images; a part of them is set aside to validate with.
        epochs: epochs of the last rung.
        eta: the part of the candidates that goes on is 1/eta, the epochs grow by the factor eta.
        seed: decides what `train` draws, and which images are set aside.
        fraction: share of the images that is set aside.
        recipe: as for `train`.
        measure: as for `train`; ranks the candidates.
        patience: as for `train`.
        workers: number of worker processes of one thread each; 0 trains in this process, with one thread too; None is
            one a core, at most one a candidate.
        done: what is already known, by the architecture's string and epochs.
        on_result: called with the architecture's string, epochs and result as soon as a training has ended well.
        progress: called with the epochs done and those planned, before each rung and after each training.

    Returns:
        One row for each candidate, the winner first.

    Raises:
        InputError: there are no candidates, one is named twice or of another space, or a number cannot be used.
        ScoringError: worker processes die one after another, so that no training ends.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201", channels=4, cells=1)
        >>> candidates = [space.make([operation] * 6) for operation in ("none", "nor_conv_3x3")]
        >>> rows = run_off(candidates, space, load_data("digits"), epochs=2, workers=0)
        >>> [(row.score_rank, row.epochs) for row in rows]
        [(2, 2), (1, 2)]
    """
    check_numbers(epochs=epochs, patience=patience)
    measure_named(measure, dataset.task.classes)
    _check(candidates, space, eta, workers)
    options = {"seed": seed, "recipe": recipe, "measure": measure, "patience": patience}
    setting = Setting(space, *split(dataset, fraction, seed), options)
    known, trained = dict(done or {}), {each: list[TrainingResult]() for each in candidates}
    plan = rungs(len(candidates), epochs, eta)
    passed, total = 0, sum(count * length for count, length in plan)
    ranked = list(candidates)
    with worker_pool(train_one, setting, _worker_count(workers, len(candidates)), lost_training) as run:
        for count, length in plan:
            going = [each for each in candidates if each in ranked[:count] and not _failed(trained[each])]
            units = [(each, length) for each in going if (str(each), length) not in known]
            passed += (count - len(units)) * length
            if progress:
                progress(passed, total)
            for (architecture, _), result in run(units):
                known[str(architecture), length] = result
                if on_result and not result.reason:
                    on_result(str(architecture), length, result)
                passed += length
                if progress:
                    progress(passed, total)
            for each in going:
                trained[each].append(known[str(each), length])
            # Those that went on stay before those that did not, and equal ones in the order of their scores.
            ranked[: len(going)] = sorted(going, key=lambda each: _rank(trained[each][-1]))
    ranked.sort(key=lambda each: _failed(trained[each]))
    return [_row(str(each), candidates.index(each) + 1, plan, trained[each]) for each in ranked]


@dataclass(frozen=True)
class Setting:
    """All that decides a training but the architecture and the epochs, for worker processes."""

    space: SearchSpace
    train_set: ImageDataset
    valid_set: ImageDataset
    options: Mapping[str, Any]


def train_one(setting: Setting, unit: tuple[Architecture, int]) -> TrainingResult:
    """Train one architecture for a number of epochs; what it raises becomes the reason of a failure."""
    import torch

    architecture, epochs = unit
    start = time.monotonic()
    try:
        with preserve_rng_state():
            # Weights that `train` leaves as they are come from here.
            torch.manual_seed(derive_seed(setting.options["seed"], "build"))
            network = setting.space.build(architecture, setting.train_set.task)
        return train(network, setting.train_set, setting.valid_set, epochs=epochs, **setting.options)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _failure(reason, time.monotonic() - start)


def lost_training(unit: tuple[Architecture, int], reason: str) -> TrainingResult:
    """Make the result of a training whose process died."""
    return _failure(reason)


def _failure(reason: str, seconds: float = 0.0) -> TrainingResult:
    return TrainingResult(math.nan, 0, 0, seconds, reason=reason)


def _failed(results: Sequence[TrainingResult]) -> bool:
    return bool(results and results[-1].reason)


def _rank(result: TrainingResult) -> float:
    return math.inf if result.reason else -result.worth


def _row(
    architecture: str, score_rank: int, plan: Sequence[tuple[int, int]], results: Sequence[TrainingResult]
) -> RunOffRow:  # fmt: skip
    last, (_, epochs) = results[-1], plan[len(results) - 1]
    seconds = sum(each.seconds for each in results)
    return RunOffRow(architecture, score_rank, epochs, last.valid_accuracy, seconds, last.reason)


def _worker_count(workers: int | None, candidates: int) -> int:
    return min(os.cpu_count() or 1 if workers is None else workers, candidates)


def _check(candidates: Sequence[Architecture], space: SearchSpace, eta: int, workers: int | None) -> None:
    if not candidates:
        raise InputError("There are no candidates for a run-off: give at least one architecture.")
    for number, each in enumerate(candidates):
        if each.space != space.name:
            raise InputError(f"The candidate '{each}' is of '{each.space}', expected one of '{space.name}'.")
        if each in candidates[:number]:
            raise InputError(f"The candidate '{each}' is named twice: name each once.")
    if eta < 2:
        raise InputError(f"eta is {eta}, expected at least 2: it divides the number of candidates.")
    if workers is not None and workers < 0:
        raise InputError(f"The number of workers is {workers}, expected 0 or more.")
