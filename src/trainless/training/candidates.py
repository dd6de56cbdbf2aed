"""Find the best of a few candidates by training them: the better ones longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.seeding import preserve_rng_state
from trainless.training.results import TrainingResult
from trainless.training.single import train

if TYPE_CHECKING:
    import torch

__all__ = ["RunOffRow", "run_off", "rungs"]


@dataclass(frozen=True)
class RunOffRow:
    """How far a candidate came in a run-off.

    Args:
        architecture: its published string.
        score_rank: its place before the run-off, counted from 1.
        epochs: epochs of its longest training.
        valid_accuracy: what this training came to, in percent.
        seconds: time of all its trainings.

    Example:
        >>> RunOffRow("|skip_connect~0|", 3, 8, 61.5, 40.0).score_rank
        3
    """

    architecture: str
    score_rank: int
    epochs: int
    valid_accuracy: float
    seconds: float


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
    while (
        math.ceil(counts[-1] / eta) >= 2 and math.ceil(counts[-1] / eta) < counts[-1] and epochs >= eta ** len(counts)
    ):
        counts.append(math.ceil(counts[-1] / eta))
    return [(count, epochs // eta ** (len(counts) - 1 - number)) for number, count in enumerate(counts)]


def run_off(
    candidates: Sequence[str],
    make_network: Callable[[str], torch.nn.Module],
    dataset: ImageDataset,
    *,
    epochs: int = 8,
    eta: int = 3,
    seed: int = 0,
    fraction: float = 0.2,
    done: Mapping[tuple[str, int], TrainingResult] | None = None,
    on_result: Callable[[str, int, TrainingResult], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> list[RunOffRow]:
    """Train candidates by successive halving (Jamieson and Talwalkar 2016), and rank them by validation accuracy.

    All are trained for a few epochs, the better ones for more, as `rungs` plans it. Each training is a whole one from
    the same seed, with a learning rate that ends at 0, so what it comes to depends on the seed, the architecture and
    the number of epochs alone, and one that is done need not be repeated. Of equal ones the one with the better score
    goes first.

    Args:
        candidates: architectures, the best score first.
        make_network: builds the network of an architecture for the task of `dataset`.
        dataset: the images; a part of them is set aside to validate with.
        epochs: epochs of the last rung.
        eta: the part of the candidates that goes on is 1/eta, the epochs grow by the factor eta.
        seed: decides what `train` draws, and which images are set aside.
        fraction: share of the images that is set aside.
        done: what is already known, by architecture and epochs.
        on_result: called with architecture, epochs and result as soon as a training ends.
        progress: called with the epochs done and those planned, before the first training and after each.
        **options: ``batch_size``, ``learning_rate``, ``augment``, ``patience`` and ``threads`` as for `train`.

    Returns:
        One row for each candidate, the winner first.

    Raises:
        InputError: there are no candidates, one is named twice, or a number cannot be used.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space, digits = search_space("nasbench201", channels=4, cells=1), load_data("digits")
        >>> candidates = ["|{0}~0|+|{0}~0|{0}~1|+|{0}~0|{0}~1|{0}~2|".format(each) for each in ("none", "nor_conv_3x3")]
        >>> rows = run_off(candidates, lambda text: space.build(space.parse(text), digits.task), digits, epochs=2)
        >>> [(row.score_rank, row.epochs) for row in rows]
        [(2, 2), (1, 2)]
    """
    _check(candidates, epochs, eta)
    parts, options = split(dataset, fraction, seed), {"seed": seed, **options}
    known, trained = dict(done or {}), dict[str, list[TrainingResult]]()
    plan = rungs(len(candidates), epochs, eta)
    passed, total = 0, sum(count * length for count, length in plan)
    ranked = list(candidates)
    for count, length in plan:
        for architecture in ranked[:count]:
            if progress:
                progress(passed, total)
            if (architecture, length) not in known:
                with preserve_rng_state():
                    network = make_network(architecture)
                known[architecture, length] = train(network, *parts, epochs=length, **options)
                if on_result:
                    on_result(architecture, length, known[architecture, length])
            trained.setdefault(architecture, []).append(known[architecture, length])
            passed += length
        # Those that went on stay before those that did not, and equal ones in the order of their scores.
        going = sorted(ranked[:count], key=candidates.index)
        ranked[:count] = sorted(going, key=lambda each: -trained[each][-1].valid_accuracy)
    if progress:
        progress(total, total)
    lengths = {each: plan[len(trained[each]) - 1][1] for each in ranked}
    return [
        RunOffRow(
            architecture=each,
            score_rank=candidates.index(each) + 1,
            epochs=lengths[each],
            valid_accuracy=trained[each][-1].valid_accuracy,
            seconds=sum(result.seconds for result in trained[each]),
        )
        for each in ranked
    ]


def _check(candidates: Sequence[str], epochs: int, eta: int) -> None:
    if not candidates:
        raise InputError("There are no candidates for a run-off: give at least one architecture.")
    twice = [each for number, each in enumerate(candidates) if each in candidates[:number]]
    if twice:
        raise InputError(f"The candidate '{twice[0]}' is named twice: name each once.")
    if epochs < 1:
        raise InputError(f"The run-off has {epochs} epochs, expected at least 1.")
    if eta < 2:
        raise InputError(f"eta is {eta}, expected at least 2: it divides the number of candidates.")
