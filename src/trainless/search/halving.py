"""Find the best of a few candidates by training them: the better ones longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.estimators.trainings import OnResult, Progress, Results, Training, training_session
from trainless.search_spaces.base import SearchSpace
from trainless.training import Recipe, TrainingResult
from trainless.training.measures import measure_named
from trainless.training.train import check_numbers
from trainless.types import Architecture
from trainless.workers import WorkersChoice

__all__ = ["RunOffRow", "run_off", "rungs"]


@dataclass(frozen=True)
class RunOffRow:
    """How far a candidate came in a run-off.

    Args:
        architecture: its published string.
        score_rank: its rank before the run-off, counted from 1.
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
    workers: WorkersChoice = None,
    done: Results | None = None,
    on_result: OnResult | None = None,
    progress: Progress | None = None,
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
        seed: decides what a training draws, and which images are set aside.
        fraction: share of the images that is set aside.
        recipe: as for `trainless.training.train`.
        measure: as for `trainless.training.train`; ranks the candidates.
        patience: as for `trainless.training.train`.
        workers: number of worker processes of one thread each; 0 trains in this process, with one thread too; None is
            one a core, at most one a candidate; or `trainless.workers.Workers`.
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
    _check(candidates, space, eta)
    plan = rungs(len(candidates), epochs, eta)
    results: dict[Architecture, list[TrainingResult]] = {candidate: [] for candidate in candidates}
    ranked = list(candidates)
    passed, total = 0, sum(count * length for count, length in plan)
    with training_session(
        space, *split(dataset, fraction, seed), seed=seed, workers=workers, done=done,
        on_result=on_result, recipe=recipe, measure=measure, patience=patience,
    ) as train_all:  # fmt: skip
        for count, length in plan:
            best = set(ranked[:count])
            going = [candidate for candidate in candidates if candidate in best and not _has_failed(results[candidate])]
            passed += (count - len(going)) * length  # what failed is not trained any more
            told = progress and _in_epochs(progress, passed, length, total)
            trainings = [Training(candidate, length) for candidate in going]
            for candidate, result in zip(going, train_all(trainings, told), strict=True):
                results[candidate].append(result)
            passed += len(going) * length
            # Those that went on stay before those that did not, and equal ones in the order of their scores.
            ranked[: len(going)] = sorted(going, key=lambda candidate: _rank(results[candidate][-1]))
    ranked.sort(key=lambda candidate: _has_failed(results[candidate]))
    return [_row(candidate, candidates.index(candidate) + 1, plan, results[candidate]) for candidate in ranked]


def _in_epochs(progress: Progress, passed: int, length: int, total: int) -> Progress:
    """Tell the trainings of one rung in epochs of all rungs."""
    return lambda ended, _: progress(passed + ended * length, total)


def _has_failed(results: Sequence[TrainingResult]) -> bool:
    return bool(results and results[-1].reason)


def _rank(result: TrainingResult) -> float:
    return math.inf if result.reason else -result.worth


def _row(
    candidate: Architecture, score_rank: int, plan: Sequence[tuple[int, int]], results: Sequence[TrainingResult]
) -> RunOffRow:  # fmt: skip
    last, (_, epochs) = results[-1], plan[len(results) - 1]
    seconds = sum(result.seconds for result in results)
    return RunOffRow(str(candidate), score_rank, epochs, last.valid_accuracy, seconds, last.reason)


def _check(candidates: Sequence[Architecture], space: SearchSpace, eta: int) -> None:
    if not candidates:
        raise InputError("There are no candidates for a run-off: give at least one architecture.")
    for number, candidate in enumerate(candidates):
        if candidate.space != space.name:
            raise InputError(f"The candidate '{candidate}' is of '{candidate.space}', expected one of '{space.name}'.")
        if candidate in candidates[:number]:
            raise InputError(f"The candidate '{candidate}' is named twice: name each once.")
    if eta < 2:
        raise InputError(f"eta is {eta}, expected at least 2: it divides the number of candidates.")
