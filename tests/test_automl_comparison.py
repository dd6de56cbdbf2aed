"""A network beside simple classifiers: the same measures as elsewhere, intervals of known cases, what is warned of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss

from trainless.automl.baselines import COMMONEST, baseline_logits
from trainless.automl.comparison import Comparison, Rival, _on_draws, compare
from trainless.data import Splits, load_splits
from trainless.training import MEASURES


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_splits("digits")


def one_hot(guesses: list[int], classes: int = 3) -> torch.Tensor:
    return 4 * torch.eye(classes)[torch.tensor(guesses)]


class TestCompare:
    @pytest.mark.parametrize("measure", MEASURES)
    def test_a_draw_is_measured_as_scikit_learn_measures_its_images(self, measure: str) -> None:
        rng = np.random.default_rng(0)
        labels, logits = torch.tensor(rng.integers(3, size=12)), torch.tensor(rng.normal(size=(12, 3)))
        counts = np.stack([np.bincount(rng.integers(12, size=12), minlength=12) for _ in range(5)]).astype(float)
        found = _on_draws(measure, counts, logits, labels)
        for draw, value in zip(counts.astype(int), found, strict=True):
            true, said = np.repeat(labels.numpy(), draw), np.repeat(logits.numpy(), draw, axis=0)
            guessed, shares = said.argmax(1), torch.tensor(said).softmax(1).numpy()
            expected = {
                "accuracy": 100 * (true == guessed).mean(),
                "balanced-accuracy": 100 * np.mean([(guessed[true == kind] == kind).mean() for kind in set(true)]),
                "macro-f1": 100 * f1_score(true, guessed, average="macro"),
                "log-loss": -log_loss(true, shares, labels=range(3)),
            }
            assert value == pytest.approx(expected[measure])

    def test_paired_images_tell_more_than_two_intervals(self) -> None:
        # Of 100 images both find the same 50, and the network 10 more.
        labels = torch.zeros(100, dtype=torch.int64)
        network, other = one_hot([0] * 60 + [1] * 40), one_hot([0] * 50 + [1] * 50)
        found = compare("accuracy", network, {"other": other}, labels)
        assert (found.value, found.rivals[0].value, found.rivals[0].gain) == (60, 50, 10)
        # The gain is a mean of 0 and 1: of 10 in 100, so a standard deviation of 3 points.
        assert found.rivals[0].low == pytest.approx(10 - 1.96 * 3, abs=1.1)
        assert found.rivals[0].high == pytest.approx(10 + 1.96 * 3, abs=1.1)
        assert found.rivals[0].is_beaten
        # Wilson's interval of 60 of 100.
        assert (found.low, found.high) == pytest.approx((50.2, 69.1), abs=0.05)
        assert compare("accuracy", other, {"network": network}, labels).rivals[0].gain == -10

    def test_log_loss_is_positive_and_less_is_better(self) -> None:
        labels = torch.tensor([0, 1, 2] * 30)
        network, other = torch.eye(3)[labels] * 3, torch.zeros(90, 3)
        found = compare("log-loss", network, {"uniform": other}, labels)
        assert found.value == pytest.approx(np.log(np.exp(3) + 2) - 3)
        assert found.rivals[0].value == pytest.approx(np.log(3))
        assert found.rivals[0].gain == pytest.approx(found.rivals[0].value - found.value)
        assert found.rivals[0].is_beaten
        assert found.low == pytest.approx(found.value)
        assert found.interval() == "0.0949 to 0.0949 nats"

    def test_what_few_images_cannot_show(self) -> None:
        labels = torch.tensor([0, 1, 1, 0])
        found = compare("accuracy", one_hot([0, 1, 1, 0]), {"other": one_hot([0, 1, 1, 1])}, labels)
        assert found.rivals[0].gain == 25
        assert found.warnings(9) == [
            "The network is not shown to be better than other: accuracy 100.00 % beside 75.00 % on 4 test images "
            "(gain 25.00 %, 95 % interval 0.00 to 75.00)."
        ]

    def test_what_is_warned_of(self) -> None:
        worse, same = Rival("a", 60.0, -10.0, -15.0, -5.0), Rival("b", 50.0, 0.0, -5.0, 5.0)
        found = Comparison("accuracy", 50.0, 45.0, 55.0, 200, (worse, same, Rival("c", 9.0, 41.0, 30.0, 50.0)))
        first, second = found.warnings(3)
        assert first.startswith("The network is worse than a: accuracy 50.00 % beside 60.00 % on 200 test images")
        assert second.startswith("The network is no better than b:")
        assert found.warnings(2)[2].startswith("The network was trained for 2 epoch(s), too few")


class TestBaselines:
    def test_the_commonest_class_has_the_shares_of_the_training_images(self, digits: Splits) -> None:
        found = baseline_logits(digits)[COMMONEST]
        counts = np.bincount(digits.train.labels, minlength=10)
        assert found.shape == (len(digits.test), 10)
        assert found[3].exp().tolist() == pytest.approx((counts + 1) / (counts.sum() + 10))
        assert set(found.argmax(1).tolist()) == {int(counts.argmax())}

    def test_penalties_are_counted(self, digits: Splits) -> None:
        told: list[tuple[int, int]] = []
        baseline_logits(digits, progress=lambda *steps: told.append(steps))
        assert told == [(number, 4) for number in range(1, 5)]

    def test_a_class_without_images_is_never_certain_and_never_impossible(self, digits: Splits) -> None:
        known = digits.train.labels < 9
        train = replace(digits.train, images=digits.train.images[known], labels=digits.train.labels[known])
        for logits in baseline_logits(replace(digits, train=train), seconds=0).values():
            assert logits.isfinite().all()
            assert not (logits.argmax(1) == 9).any()

    def test_pixels_are_at_most_16_and_no_more_than_there_are(self, digits: Splits) -> None:
        small = replace(
            digits,
            **{
                name: replace(part, images=part.images[:, :, ::2, ::2], task=replace(part.task, height=8, width=8))
                for name, part in digits.parts.items()
            },
        )
        assert "a linear classifier on 8 x 8 pixels" in baseline_logits(small, seconds=0)
