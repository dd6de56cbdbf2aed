"""Run-offs: successive halving among candidates that are trained."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_training import AUGMENTED, NOTHING, SPACE, build, digits, toy
from torch import nn
from toy_space import ToySpace

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.estimators.training_cache import _written
from trainless.search import RunOff
from trainless.search.halving import RunOffRow, run_off, rungs
from trainless.training import Recipe, TrainingResult, train
from trainless.types import Architecture, Task

__all__ = ["digits"]  # a fixture


class TestRungs:
    @pytest.mark.parametrize(
        ("count", "epochs", "eta", "expected"),
        [
            (1, 8, 2, [(1, 8)]),
            (3, 8, 3, [(3, 8)]),  # one alone would be compared with nothing
            (4, 8, 3, [(4, 2), (2, 8)]),
            (10, 8, 3, [(10, 2), (4, 8)]),  # 4 candidates could be 2, but 8 epochs cannot be thirds of thirds
            (10, 9, 3, [(10, 1), (4, 3), (2, 9)]),
            (10, 1, 2, [(10, 1)]),
            (27, 27, 3, [(27, 3), (9, 9), (3, 27)]),
        ],
    )
    def test_by_hand(self, count: int, epochs: int, eta: int, expected: list[tuple[int, int]]) -> None:
        assert rungs(count, epochs, eta) == expected


class Trainings:
    """Stands for `train`: what it comes to is written in a table, and all calls are noted."""

    def __init__(self, table: dict[str, dict[int, float]]) -> None:
        self.table, self.calls, self.options = table, [], {}

    def __call__(self, network: str, train_set: Any, valid_set: Any, *, epochs: int, **options: Any) -> TrainingResult:
        self.calls.append((network, epochs))
        self.options = options
        if epochs not in self.table[network]:
            raise RuntimeError(f"{network}\ncannot")
        return TrainingResult(self.table[network][epochs], epochs, 1, 0.5 * epochs)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainings]:
    def use(**table: dict[int, float]) -> Trainings:
        made = Trainings(table)
        monkeypatch.setattr("trainless.estimators.trainings.train", made)
        return made

    return use


# Accuracies by candidate and epochs.
TABLE = {"a": {2: 30.0}, "b": {2: 50.0, 6: 60.0}, "c": {2: 40.0}, "d": {2: 50.0, 6: 70.0}, "e": {2: 40.0}}
LETTERS = [Architecture("toy", (letter,), letter) for letter in "abcde"]


class Letters(ToySpace):
    """Builds no network: its name stands for it."""

    def build(self, architecture: Architecture, task: Task) -> Any:
        return str(architecture)


def letters_run_off(**options: Any) -> list[RunOffRow]:
    return run_off(LETTERS, Letters(), toy(), epochs=6, workers=0, **options)


class Unsteady(ToySpace):
    """Networks with a weight of their own; some cannot be built, some kill their process."""

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        if architecture == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        if architecture == BROKEN:
            raise ValueError("no\nnetwork")
        return nn.Sequential(super().build(architecture, task), Offset(task.classes))


class Offset(nn.Module):
    """Adds numbers that are drawn where it is made, from the global random state."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.offset


SOUND, BROKEN, FATAL = [ToySpace()[number] for number in (5, 15, 20)], ToySpace()[9], ToySpace()[2]


class TestRunOff:
    def test_the_better_ones_go_on(self, trainings: Callable[..., Trainings]) -> None:
        made, progress = trainings(**TABLE), []
        rows = letters_run_off(
            eta=3, seed=4, patience=3, recipe=AUGMENTED, progress=lambda *counts: progress.append(counts)
        )  # fmt: skip
        assert made.calls == [*((each, 2) for each in "abcde"), ("b", 6), ("d", 6)]
        assert made.options == {"seed": 4, "recipe": AUGMENTED, "measure": "accuracy", "patience": 3}
        assert progress == [
            (0, 22), (2, 22), (4, 22), (6, 22), (8, 22), (10, 22), (10, 22), (16, 22), (22, 22),
        ]  # fmt: skip
        assert rows == [
            RunOffRow("d", 4, 6, 70.0, 4.0),
            RunOffRow("b", 2, 6, 60.0, 4.0),
            RunOffRow("c", 3, 2, 40.0, 1.0),  # of equal ones the better score
            RunOffRow("e", 5, 2, 40.0, 1.0),
            RunOffRow("a", 1, 2, 30.0, 1.0),
        ]

    def test_equal_ones_are_ranked_by_score_in_the_last_rung(self, trainings: Callable[..., Trainings]) -> None:
        trainings(**TABLE | {"b": {2: 50.0, 6: 70.0}, "d": {2: 60.0, 6: 70.0}})
        assert [row.architecture for row in letters_run_off()][:2] == ["b", "d"]

    @pytest.mark.parametrize("interrupted_after", range(1, 8))
    def test_what_is_done_is_not_repeated(
        self, trainings: Callable[..., Trainings], interrupted_after: int
    ) -> None:  # fmt: skip
        made, done = trainings(**TABLE), dict[tuple[str, int], TrainingResult]()

        def keep(architecture: str, epochs: int, result: TrainingResult) -> None:
            done[architecture, epochs] = result
            if len(done) == interrupted_after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            letters_run_off(on_result=keep)
        progress: list[tuple[int, int]] = []
        rows = letters_run_off(done=done, progress=lambda *counts: progress.append(counts))
        assert sorted(made.calls) == sorted({(each, 2) for each in "abcde"} | {("b", 6), ("d", 6)})
        assert rows == letters_run_off()
        assert len(done) == interrupted_after  # what the caller holds is the caller's to fill
        assert progress[0] == (2 * min(interrupted_after, 5), 22)
        assert progress[-1] == (22, 22)

    def test_what_fails_goes_no_further_and_is_ranked_last(self, trainings: Callable[..., Trainings]) -> None:
        made, progress, results = trainings(**TABLE | {"b": {2: 50.0}, "e": {}}), [], []
        rows = letters_run_off(
            progress=lambda *counts: progress.append(counts), on_result=lambda *known: results.append(known[:2])
        )
        assert [(row.architecture, row.epochs) for row in rows] == [("d", 6), ("c", 2), ("a", 2), ("b", 6), ("e", 2)]
        assert [row.reason for row in rows] == ["", "", "", "RuntimeError: b cannot", "RuntimeError: e cannot"]
        assert [math.isnan(row.valid_accuracy) for row in rows] == [False, False, False, True, True]
        assert [row.seconds for row in rows][:3] == [4.0, 1.0, 1.0]
        assert rows[3].seconds >= 1.0  # with what its first training took
        assert results == [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("d", 6)]  # so the next run tries the others again
        assert progress[-1] == (22, 22)
        assert len(made.calls) == 7

    @pytest.mark.parametrize("sound", ["", "c"])
    def test_fewer_are_left_than_a_rung_has_room_for(self, trainings: Callable[..., Trainings], sound: str) -> None:
        made, progress = trainings(**{each: {2: 1.0, 6: 2.0} if each in sound else {} for each in "abcde"}), []
        rows = letters_run_off(progress=lambda *counts: progress.append(counts))
        assert made.calls == [*((each, 2) for each in "abcde"), *((each, 6) for each in sound)]
        assert [row.architecture for row in rows] == [*sound, *(each for each in "abcde" if each not in sound)]
        assert progress[-1] == (22, 22)

    @pytest.mark.slow
    def test_of_real_networks(self, digits: tuple[ImageDataset, ImageDataset]) -> None:
        state = torch.get_rng_state()
        order = [SPACE.make([operation] * 6) for operation in ("none", "nor_conv_3x3", "skip_connect", "nor_conv_1x1")]
        results: dict[tuple[str, int], TrainingResult] = {}
        rows = run_off(
            order, SPACE, digits[0], epochs=2, eta=2, fraction=0.3, recipe=Recipe(batch_size=16), workers=0,
            on_result=lambda text, epochs, result: results.update({(text, epochs): result}),
        )  # fmt: skip
        assert torch.equal(torch.get_rng_state(), state)
        assert [(row.epochs, row.reason) for row in rows] == [(2, ""), (2, ""), (1, ""), (1, "")]
        assert rows[0].valid_accuracy > 30  # by chance 10
        # A cell without any path gives the head zeros: all images are of one class.
        nothing = rows[-1]
        assert (nothing.architecture, nothing.score_rank) == (NOTHING, 1)
        assert nothing.valid_accuracy < 15
        # A training has the same result alone, whatever was trained before it.
        winner = rows[0].architecture
        alone = train(build(winner), *split(digits[0], 0.3), epochs=2, recipe=Recipe(batch_size=16))
        assert alone.valid_accuracies == results[winner, 2].valid_accuracies

    @pytest.mark.slow
    def test_is_the_same_with_any_number_of_workers(self) -> None:
        def found(workers: int) -> tuple[list[RunOffRow], dict[tuple[str, int], tuple[float, ...]]]:
            results: dict[tuple[str, int], tuple[float, ...]] = {}
            rows = run_off(
                [*SOUND, BROKEN], Unsteady(), toy(20), epochs=2, eta=2, recipe=Recipe(batch_size=4), workers=workers,
                on_result=lambda text, epochs, result: results.update({(text, epochs): result.train_losses}),
            )  # fmt: skip
            return [replace(row, seconds=0.0) for row in rows], results

        (rows, results), (others, other_results) = found(0), found(2)
        assert (rows[:3], results) == (others[:3], other_results)
        for last in (rows[3], others[3]):
            assert replace(last, valid_accuracy=0.0) == RunOffRow(str(BROKEN), 4, 1, 0.0, 0.0, "ValueError: no network")

    @pytest.mark.slow
    def test_a_candidate_that_kills_its_process_costs_the_others_nothing(self) -> None:
        rows = run_off([SOUND[0], FATAL, SOUND[1]], Unsteady(), toy(), epochs=1, workers=2)
        died = "the worker process died 2 times"
        assert [row.reason for row in rows] == ["", "", f"{died}, killed from outside, as where memory runs out"]
        assert rows[-1].architecture == str(FATAL)
        assert math.isnan(rows[-1].valid_accuracy)

    @pytest.mark.slow
    def test_an_interrupt_ends_the_workers(self) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_off(SOUND, ToySpace(), toy(), epochs=1, workers=2, on_result=interrupt)
        assert not multiprocessing.active_children()

    @pytest.mark.parametrize(
        ("given", "options", "message"),
        [
            ([], {}, "no candidates for a run-off"),
            ([0, 1, 0], {}, "candidate '2-skip_connect-relu' is named twice"),
            ([0], {"space": SPACE}, "candidate '2-skip_connect-relu' is of 'toy', expected one of 'nasbench201'"),
            ([0], {"epochs": 0}, "epochs is 0, expected a finite number above 0"),
            ([0], {"measure": "acuracy"}, "did you mean 'accuracy'"),
            ([0], {"eta": 1}, "eta is 1, expected at least 2"),
            ([0], {"fraction": 1.5}, "fraction is 1.5"),
            ([0], {"workers": -1}, "number of workers is -1, expected 0 or more"),
        ],
    )
    def test_refuses(self, given: list[int], options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            run_off([ToySpace()[number] for number in given], **{"space": ToySpace(), "dataset": toy()} | options)


def test_trainings_are_known_as_in_the_first_stores() -> None:
    """Parts of a recipe that came later are written where they are not as usual."""
    written = _written(Recipe())
    assert not any(name in written for name in ("final_rate", "affine", "colour_jitter"))
    assert written.startswith(
        "Recipe(optimizer='adamw', learning_rate=0.003, weight_decay=0.05, schedule='one-cycle', "
    )
    assert "affine=0.1" in _written(Recipe(affine=0.1))


class TestVerdict:
    """Whether the images of a run-off can tell its winner from the best-scored."""

    DIGITS = load_data("digits")

    def said(self, *results: tuple[int, float]) -> str:
        rows = [RunOffRow(str(rank), rank, 12, accuracy, 1.0) for rank, accuracy in results]
        rows.append(RunOffRow("failed", 1, 12, math.nan, 1.0, "it raised"))
        rows.append(RunOffRow("short", 0, 4, 99.0, 1.0))
        return RunOff(images=1000).verdict(rows, self.DIGITS)

    def test_a_lead_within_one_standard_error_is_chance(self) -> None:
        assert self.said((3, 91.0), (2, 90.0)) == (
            "what won is 1.00 points ahead of the best-scored of the last ones, which is within one standard error on "
            "200 images: it cannot be told from chance"
        )

    def test_a_lead_above_it_is_told(self) -> None:
        assert self.said((3, 91.0), (2, 80.0)).endswith("which is more than one standard error on 200 images")

    def test_by_an_estimator_all_are_compared_whatever_epochs_they_came_to(self) -> None:
        rows = [RunOffRow(str(rank), rank, epochs, accuracy, 1.0) for rank, epochs, accuracy in
                ((3, 7, 91.0), (2, 5, 90.0), (1, 9, 80.0))]  # fmt: skip
        said = RunOff(images=1000, by="early-stopping").verdict(rows, self.DIGITS)
        assert said.startswith("what won is 11.00 points ahead of the best-scored of the candidates, which is more")

    def test_the_best_scored_may_win(self) -> None:
        assert self.said((2, 91.0), (3, 90.5)) == "what won has the best score of the last ones"
