"""Recipes of training: augmentation, optimizers, class weights, measures, deadlines."""

from __future__ import annotations

import itertools
import math
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError, UnknownNameError
from trainless.initialization import initialize
from trainless.search_spaces import search_space
from trainless.seeding import derive_seed, generator
from trainless.training import MEASURES, Recipe, TrainingState, train
from trainless.training.batches import (
    Batches,
    alternately_mirrored,
    cut_and_mixed,
    erased,
    jittered,
    mirrored_and_shifted,
    mixed,
    warped,
)
from trainless.training.loop import Loop
from trainless.training.measures import measure_named
from trainless.training.recipes import fit_recipe, learning_rate_at
from trainless.training.train import _class_weights
from trainless.types import Task


def toy(labels: list[int], classes: int = 3) -> ImageDataset:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 4, 4), dtype=np.uint8)
    names = tuple("abcdefgh"[:classes])
    return ImageDataset(
        images=images, labels=np.array(labels), task=Task("toy", classes, 1, 4, 4), class_names=names,
        mean=(0.5,), std=(0.25,),
    )  # fmt: skip


def linear(classes: int = 3) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, classes))


class TestWarped:
    def test_without_strength_nothing_changes(self) -> None:
        images = torch.randn(4, 3, 8, 12, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(warped(images, torch.Generator(), 0.0), images, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("shape", [(33, 33), (33, 49)])
    def test_a_bar_is_turned_as_far_as_its_strength_says_and_no_further(self, shape: tuple[int, int]) -> None:
        height, width = shape
        images = torch.zeros(400, 1, height, width)
        images[:, :, height // 2, width // 2 - 10 : width // 2 + 11] = 1.0
        found = warped(images, torch.Generator().manual_seed(0), 0.2)[:, 0]
        y, x = (axis.double() for axis in torch.meshgrid(
            torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij"
        ))  # fmt: skip
        weights = found.double() / found.double().sum((1, 2), keepdim=True)
        across, turned = ((weights * product).sum((1, 2)) for product in (x * x, x * y))
        angles = torch.atan2(turned, across).abs() * 180 / math.pi  # of a bar: its slope
        assert 14 < float(angles.max()) < 25  # 18 degrees, and the shear of a fifth
        lengths = (across / across.median()).sqrt()
        assert 1.1 < float(lengths.max() / lengths.min()) < 1.8

    def test_each_image_has_a_change_of_its_own(self) -> None:
        images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)).expand(5, -1, -1, -1)
        found = warped(images, torch.Generator().manual_seed(0), 0.2)
        assert len({float(image.sum()) for image in found}) == 5
        assert float(found.abs().max()) <= float(images.abs().max()) + 1e-5


class TestJittered:
    def test_without_strength_nothing_changes(self) -> None:
        images = torch.randn(4, 3, 8, 12)
        torch.testing.assert_close(jittered(images, torch.Generator(), 0.0), images, atol=1e-5, rtol=0)

    def test_brightness_contrast_and_saturation_stay_within_the_strength(self) -> None:
        images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)).expand(500, -1, -1, -1)
        found = jittered(images, torch.Generator().manual_seed(0), 0.4)
        brighter = (found.mean((1, 2, 3)) - images.mean((1, 2, 3))).abs()
        assert 0.3 < float(brighter.max()) <= 0.4001
        greys = found.mean(1).flatten(1).std(1) / images.mean(1).flatten(1).std(1)
        assert (0.6 - 1e-4 <= float(greys.min()) < 0.65, 1.35 < float(greys.max()) <= 1.4 + 1e-4) == (True, True)
        colours = (found - found.mean(1, keepdim=True)).flatten(1).std(1) / greys
        colours = colours / (images - images.mean(1, keepdim=True)).flatten(1).std(1)
        assert (0.6 - 1e-4 <= float(colours.min()) < 0.65, 1.35 < float(colours.max()) <= 1.4 + 1e-4) == (True, True)


class TestErased:
    def test_a_square_of_the_side_and_no_more(self) -> None:
        left = erased(torch.ones(500, 2, 8, 12), torch.Generator().manual_seed(0), 0.25)
        holes = (left == 0).all(1)
        assert torch.equal(left[:, 0], left[:, 1])
        rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
        assert torch.equal(holes.flatten(1).sum(1), rows * columns)  # a rectangle
        assert set(rows.tolist()) == {1, 2}  # 2 rows of 8, one where it lies half outside
        assert set(columns.tolist()) == {2, 3}
        assert holes.any(0).all()  # every place is hit


class TestMixed:
    def test_one_share_for_the_batch(self) -> None:
        images, targets = torch.arange(6.0).view(6, 1, 1, 1), torch.eye(6)
        found, shares = mixed(images, targets, torch.Generator().manual_seed(3), 0.4)
        assert torch.allclose(shares.sum(1), torch.ones(6))
        assert torch.allclose((shares * torch.arange(6.0)).sum(1), found.flatten(), atol=1e-6)
        own = shares.diagonal()[shares.diagonal() < 1]
        assert torch.allclose(own, own[0].expand_as(own))

    def test_the_share_is_of_a_beta_distribution(self) -> None:
        images, targets = torch.zeros(2, 1, 1, 1), torch.eye(2)
        stream = torch.Generator().manual_seed(0)
        drawn = np.array([float(mixed(images, targets, stream, 0.5)[1].max()) for _ in range(2000)])
        apart = drawn[drawn < 1]  # half of the pairs are an image with itself
        assert 850 < len(apart) < 1150
        # The larger of x and 1 - x for x of Beta(1/2, 1/2), the arcsine law: mean 1/2 + 1/pi.
        assert abs(apart.mean() - (0.5 + 1 / math.pi)) < 4 * apart.std() / math.sqrt(len(apart))


class TestCutAndMixed:
    def test_a_rectangle_of_another_image_and_targets_by_area(self) -> None:
        stream, areas = torch.Generator().manual_seed(1), set[float]()
        images = torch.arange(6.0).view(6, 1, 1, 1).expand(-1, 2, 12, 8)
        for _ in range(50):
            found, targets = cut_and_mixed(images, torch.eye(6), stream, 1.0)
            changed = found != images
            rows, columns = changed.any(1).any(2).sum(1), changed.any(1).any(1).sum(1)
            assert torch.equal(changed.flatten(1).sum(1), 2 * rows * columns)  # a rectangle, of all channels
            assert torch.allclose((targets * torch.arange(6.0)).sum(1), found.mean((1, 2, 3)), atol=1e-6)
            assert torch.allclose(targets.sum(1), torch.ones(6))
            areas.add(round(float(rows.max() * columns.max()) / 96, 6))
        assert len(areas) > 20
        assert max(areas) > 0.6

    def test_the_area_is_of_a_beta_distribution(self) -> None:
        stream = torch.Generator().manual_seed(0)
        images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 64, 64)
        drawn = np.array([float(cut_and_mixed(images, torch.eye(2), stream, 1.0)[0][0].mean()) for _ in range(800)])
        areas = drawn[drawn > 0]  # half of the pairs are an image with itself
        assert 330 < len(areas) < 470
        # A uniform area has a side s of density 2s, of which s - s^2/4 is inside where its middle is uniform.
        expected = 2 / 4 - 2 / 5 / 2 + 2 / 6 / 16
        assert abs(areas.mean() - expected) < 4 * areas.std() / math.sqrt(len(areas))


class TestMirroredAndShifted:
    def test_what_is_reflected_is_what_numpy_reflects(self) -> None:
        image = torch.arange(2 * 8 * 17.0).reshape(1, 2, 8, 17)
        padded = torch.tensor(np.pad(image.numpy(), ((0, 0), (0, 0), (1, 1), (2, 2)), mode="reflect"))
        shifted = [padded[:, :, y : y + 8, x : x + 17] for y in range(3) for x in range(5)]
        images = image.expand(300, -1, -1, -1)
        drawn = mirrored_and_shifted(images, torch.Generator().manual_seed(0), False, 1 / 8, reflected=True)
        counts = [int((drawn == expected).flatten(1).all(1).sum()) for expected in shifted]
        assert sum(counts) == 300
        assert min(counts) > 5  # of 20 expected each

    def test_each_image_is_mirrored_in_every_second_epoch(self) -> None:
        data, recipe = toy([0, 1, 2] * 20), Recipe(mirror=True, alternating=True)
        plain = torch.cat([images for images, _ in Batches(data, 7)])
        seen = []
        for epoch in range(4):
            batches = Batches(data, 7).shuffled(epoch, recipe, alternately_mirrored(60, epoch, seed=3))
            images = torch.cat([images for images, _ in batches])
            straight, turned = ((images[:, None] == shown).flatten(2).all(2) for shown in (plain, plain.flip(3)))
            assert (straight | turned).any(0).all()
            seen.append(turned.any(0))
        assert torch.equal(seen[0], ~seen[1])
        assert torch.equal(seen[0], seen[2])
        assert torch.equal(seen[1], seen[3])
        assert 15 < int(seen[0].sum()) < 45
        assert not torch.equal(alternately_mirrored(60, 0, seed=3), alternately_mirrored(60, 0, seed=4))


class TestMeasures:
    @pytest.mark.parametrize("name", MEASURES)
    def test_equals_scikit_learn(self, name: str) -> None:
        random = np.random.default_rng(1)
        labels = random.integers(0, 4, 200)  # the class 4 does not occur
        logits = random.normal(size=(200, 5)) + 1.5 * np.eye(5)[labels]
        logits[:, 4] = -50.0
        guesses = logits.argmax(1)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = {
            "accuracy": 100 * (guesses == labels).mean(),
            "balanced-accuracy": 100 * balanced_accuracy_score(labels, guesses),
            "macro-f1": 100 * f1_score(labels, guesses, average="macro"),
            "log-loss": -log_loss(labels, shares, labels=range(5)),
        }[name]
        found = measure_named(name, 5)(torch.tensor(logits), torch.tensor(labels))
        assert found == pytest.approx(expected, rel=1e-5)

    def test_unknown(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'macro-f1'"):
            measure_named("macro-f", 3)


class TestTraining:
    def test_sgd_with_momentum_decay_smoothing_and_class_weights_equals_a_plain_loop(self) -> None:
        data = toy([0, 0, 0, 0, 1, 1, 1, 2])
        recipe = Recipe("sgd", 0.1, 0.01, "cosine", batch_size=4, label_smoothing=0.1, balanced=True)
        network, plain, seen = linear(), linear(), list[TrainingState]()
        train(network, data, data, epochs=2, seed=3, recipe=recipe, on_epoch=seen.append)
        initialize(plain, generator=generator(3, "weights"))
        class_weights = torch.tensor([8 / 3 / 4, 8 / 3 / 3, 8 / 3 / 1])
        speeds = [torch.zeros_like(each) for each in plain.parameters()]
        for epoch in range(2):
            for number, (images, labels) in enumerate(Batches(data, 4).shuffled(derive_seed(3, "images", epoch))):
                targets = 0.9 * torch.eye(3)[labels] + 0.1 / 3
                logs = plain(images).log_softmax(1)
                loss = -(class_weights[labels] * (targets * logs).sum(1)).sum() / class_weights[labels].sum()
                rate = 0.05 * (1 + math.cos(math.pi * (2 * epoch + number) / 4))
                gradients = torch.autograd.grad(loss, list(plain.parameters()))
                with torch.no_grad():
                    for weight, gradient, speed in zip(plain.parameters(), gradients, speeds, strict=True):
                        slope = gradient + 0.01 * weight
                        speed.mul_(0.9).add_(slope)
                        weight.sub_(rate * (slope + 0.9 * speed))
        for mine, weight in zip(seen[-1].weights.values(), plain.parameters(), strict=True):
            assert torch.allclose(mine, weight, atol=1e-5)

    def test_the_average_of_weights_is_validated_and_kept(self) -> None:
        data, others = toy([0, 0, 0, 0, 1, 1, 1, 2]), toy([0, 1, 2] * 11)
        recipe = Recipe("sgd", 0.5, 0.0, "cosine", batch_size=4, average=0.06)
        network, plain, states = linear(), linear(), list[TrainingState]()
        result = train(network, data, others, epochs=2, seed=3, recipe=recipe, on_epoch=states.append)
        initialize(plain, generator=generator(3, "weights"))
        optimizer = torch.optim.SGD(plain.parameters(), 0.5, momentum=0.9, nesterov=True)
        averages = [weight.detach().clone() for weight in plain.parameters()]
        steps = [step for epoch in range(2) for step in Batches(data, 4).shuffled(derive_seed(3, "images", epoch))]
        for number, (images, labels) in enumerate(steps):
            optimizer.param_groups[0]["lr"] = 0.25 * (1 + math.cos(math.pi * number / 4))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(plain(images), labels).backward()
            optimizer.step()
            left = math.exp(-0.25 / min(0.06, 0.1 * 0.25 * (number + 1)))
            averages = [
                left * average + (1 - left) * weight.detach()
                for average, weight in zip(averages, plain.parameters(), strict=True)
            ]
        for name, average, weight in zip(("1.weight", "1.bias"), averages, plain.parameters(), strict=True):
            assert torch.allclose(states[-1].averaged_weights[name], average, atol=1e-5)
            assert torch.allclose(states[-1].weights[name], weight, atol=1e-5)
        images, labels = next(iter(Batches(others, 99)))
        for state in states:
            network.load_state_dict(state.averaged_weights)
            right = float((network(images).argmax(1) == labels).double().mean())
            assert state.valid_accuracies[-1] == pytest.approx(100 * right)
        best = states[result.best_epoch - 1]
        assert all(torch.equal(states[-1].best_weights[name], value) for name, value in best.averaged_weights.items())

    def test_class_weights_of_what_is_not_there(self) -> None:
        assert _class_weights(toy([0, 0, 0, 2])).tolist() == pytest.approx([4 / 6, 0.0, 2.0])

    @pytest.mark.slow
    @pytest.mark.parametrize("recipe", [
        Recipe(mixup=0.4, cutout=0.25, batch_size=16),
        Recipe(affine=0.1, colour_jitter=0.3, batch_size=16),
        Recipe(shift=0.125, balanced=True, label_smoothing=0.1, batch_size=16),
    ])  # fmt: skip
    def test_augmented_it_still_learns_and_repeats(self, recipe: Recipe) -> None:
        space = search_space("nasbench201", channels=4, cells=1)
        parts = split(load_data("digits"), 0.2)
        results = [train(space.build(space[15_000], parts[0].task), *parts, epochs=3, recipe=recipe) for _ in range(2)]
        assert results[0].train_losses == results[1].train_losses
        assert results[0].valid_accuracy > 25  # by chance 10

    def test_the_measure_decides_the_best_epoch(self) -> None:
        data, states = toy([0] * 9 + [1, 1, 2]), list[TrainingState]()
        result = train(
            linear(), data, data, epochs=12, recipe=Recipe(learning_rate=0.05), measure="macro-f1",
            on_epoch=states.append,
        )  # fmt: skip
        measures = list(states[-1].valid_measures)
        assert result.best_epoch == measures.index(max(measures)) + 1
        assert result.valid_measure == max(measures)
        assert result.valid_accuracy == states[-1].valid_accuracies[result.best_epoch - 1]
        assert measures != list(states[-1].valid_accuracies)

    def test_the_first_steps_tell_how_long_an_epoch_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every look at the clock takes a tenth of a second: an epoch of ten steps takes one and some more."""
        moments, states, data = itertools.count(), list[TrainingState](), toy([0, 1, 2] * 30)
        monkeypatch.setattr("trainless.training.loop.time", SimpleNamespace(monotonic=lambda: next(moments) / 10))
        recipe = Recipe(batch_size=9)
        train(linear(), data, data, epochs=1000, recipe=recipe, deadline=8.0, on_epoch=states.append)
        assert states[0].progress > 0.1  # not a thousandth
        assert 3 <= len(states) <= 6
        assert states[-1].progress == pytest.approx(1)
        assert states[-1].seconds <= 8.5

    def test_a_deadline_ends_it_before_not_after(self) -> None:
        data = toy([0, 1, 2] * 30)
        start = time.monotonic()
        result = train(linear(), data, data, epochs=100_000, deadline=start + 2)
        assert 1 < result.epochs < 100_000
        assert time.monotonic() - start < 60  # not the hours that all epochs would take
        assert train(linear(), data, data, epochs=9, deadline=time.monotonic() - 1).epochs == 1

    @pytest.mark.parametrize(("time_for", "epochs", "part"), [(2.6, 3, 0.6), (2.1, 2, 1.0), (0.5, 1, 0.5)])
    def test_the_last_epoch_is_cut_and_the_schedule_whole(
        self, time_for: float, epochs: int, part: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Loop, "_affordable", lambda loop: (time_for - loop.done) / 0.95)
        data, states, rates = toy([0, 1, 2] * 40), list[TrainingState](), list[float]()
        rate_at = Recipe.rate_at
        monkeypatch.setattr(Recipe, "rate_at", lambda *args: rates.append(rate_at(*args)) or rates[-1])
        recipe = Recipe(batch_size=6, average=0.05)  # 20 steps an epoch
        result = train(
            linear(), data, data, epochs=9, recipe=recipe, deadline=math.inf, on_epoch=states.append
        )  # fmt: skip
        assert (result.epochs, result.part) == (epochs, pytest.approx(part))
        assert len(rates) == round(20 * (epochs - 1 + part))
        assert states[-1].progress == 1
        assert rates[-1] < 0.04 * recipe.learning_rate  # of a cosine, one of ten steps before its end


class TestRecipe:
    def test_cosine_begins_at_the_top(self) -> None:
        assert Recipe(schedule="cosine", learning_rate=0.2).rate_at(0, 10) == 0.2
        assert Recipe(learning_rate=0.2).rate_at(0, 10) == learning_rate_at(0, 10, 0.2) == 0.1

    @pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
    def test_rates_fall_to_a_share_of_the_highest(self, schedule: str) -> None:
        usual, held = (Recipe(schedule=schedule, learning_rate=0.2, final_rate=share) for share in (0.0, 0.25))
        rates = [[recipe.rate_at(step, 1000) for step in range(1000)] for recipe in (usual, held)]
        assert [max(own) for own in rates] == [0.2, 0.2]
        assert rates[1][-1] == pytest.approx(0.05, abs=1e-5)
        assert rates[0][-1] == pytest.approx(0, abs=1e-5)
        falling = [(low, high) for low, high in zip(*rates, strict=True)][200:]
        assert all(high == pytest.approx(0.05 + 0.75 * low) for low, high in falling)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"optimizer": "adam"}, "optimizer of the training is 'adam', expected one of adamw, muon, sgd"),
            ({"schedule": "step"}, "schedule of the training is 'step'"),
            ({"learning_rate": 0}, "learning rate is 0"),
            ({"learning_rate": float("nan")}, "learning rate is nan"),
            ({"batch_size": 1}, "batch size is 1, expected at least 2"),
            ({"weight_decay": -1}, "weight_decay of the training is -1, expected a number from 0"),
            ({"shift": 0.6}, "shift of the training is 0.6, expected a number from 0 to 0.5"),
            ({"final_rate": 1.5}, "final_rate of the training is 1.5, expected a number from 0 to 1"),
            ({"affine": 0.6}, "affine of the training is 0.6, expected a number from 0 to 0.5"),
            ({"colour_jitter": -1}, "colour_jitter of the training is -1"),
            ({"cutout": 1.5}, "cutout of the training is 1.5"),
            ({"mixup": float("inf")}, "mixup of the training is inf"),
            ({"label_smoothing": 2}, "label_smoothing of the training is 2"),
            ({"cutmix": -1}, "cutmix of the training is -1"),
            ({"average": 1.5}, "average of the training is 1.5, expected a number from 0 to 1"),
        ],
    )
    def test_refusals(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Recipe(**options)


class TestFitRecipe:
    def test_nothing_is_mirrored_or_hidden_that_is_no_photograph(self) -> None:
        recipe = fit_recipe(300, photographs=False, epochs=100)
        assert (recipe.mirror, recipe.shift, recipe.cutout, recipe.cutmix, recipe.mixup) == (False, 0.0, 0.0, 0.0, 0.0)
        assert recipe.batch_size == 16

    def test_long_trainings_do_not_end_at_no_rate(self) -> None:
        short, long = (fit_recipe(9000, photographs=True, epochs=epochs) for epochs in (60, 100))
        assert (short.final_rate, long.final_rate, long.average > short.average) == (0.0, 0.2, True)
        assert fit_recipe(9000, photographs=False, epochs=100).final_rate == 0
        assert fit_recipe(1000, photographs=True, epochs=100).final_rate == 0

    def test_many_epochs_mix_images(self) -> None:
        short, long = (fit_recipe(9000, photographs=True, epochs=epochs, balanced=True) for epochs in (8, 60))
        assert (short.mixup, long.mixup > 0) == (0.0, True)
        assert {(recipe.cutout, recipe.cutmix) for recipe in (short, long)} == {(0.0, 0.0)}
        assert short.balanced
        assert long.balanced
