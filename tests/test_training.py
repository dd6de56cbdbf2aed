"""Training: equal to a plain PyTorch loop, decided by the seed, resumed exactly."""

from __future__ import annotations

import copy
import io
import math
import os
import random
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.initialization import initialize
from trainless.search_spaces import search_space
from trainless.seeding import derive_seed, generator
from trainless.training import TrainingResult, TrainingState, train
from trainless.training.batches import Batches, mirrored_and_shifted
from trainless.training.recipes import Recipe, learning_rate_at
from trainless.training.train import finished
from trainless.types import Task

SPACE = search_space("nasbench201", channels=4, cells=1)
AUGMENTED = Recipe(mirror=True, shift=1 / 8)
ALL_SWITCHES = Recipe(
    optimizer="muon", mirror=True, alternating=True, shift=1 / 8, reflected=True, cutout=0.25, mixup=0.4, cutmix=1.0,
    label_smoothing=0.1, average=0.1, balanced=True, batch_size=8, learning_rate=0.02, weight_decay=0.01,
)  # fmt: skip
CELL = "|{0}~0|+|{0}~0|{0}~1|+|{0}~0|{0}~1|{0}~2|"
CONVOLUTIONS, NOTHING = CELL.format("nor_conv_3x3"), CELL.format("none")


@pytest.fixture(scope="module")
def digits() -> tuple[ImageDataset, ImageDataset]:
    _, some = split(load_data("digits"), 0.4)
    return split(some, 0.3)


def build(text: str = CONVOLUTIONS) -> nn.Module:
    return SPACE.build(SPACE.parse(text), Task("digits", 10, 1, 8, 8))


def toy(count: int = 10, seed: int = 0) -> ImageDataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return ImageDataset(Task("toy", 2, 3, 8, 8), images, np.arange(count) % 2, ("a", "b"), (0.5, 0.4, 0.3), (0.2,) * 3)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))


class Infinite(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * math.inf


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def right_percent(network: nn.Module, dataset: ImageDataset) -> float:
    with torch.no_grad():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(dataset, 100))
    return 100 * (right / len(dataset))  # in the order in which a training rounds


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize(
    ("counts", "fraction", "shares"),
    [
        ([20, 2, 2], 0.25, [4, 1, 1]),  # 6 of 24: the small classes give more than their share, the large one less
        ([2, 2, 2, 2, 30], 0.9, [1, 1, 1, 1, 29]),  # 34 of 38 cannot be, for one of each class stays
        ([2, 2, 20], 0.75, [1, 1, 16]),  # 18 of 24
    ],
)
def test_images_set_aside_make_up_for_small_classes(counts: list[int], fraction: float, shares: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = tuple(map(str, range(len(counts))))
    images = np.zeros((len(labels), 1, 1, 1), np.uint8)
    _, aside = split(ImageDataset(Task("toy", len(counts), 1, 1, 1), images, labels, names, (0.5,), (0.5,)), fraction)
    assert np.bincount(aside.labels).tolist() == shares


class TestBatches:
    def test_are_normalised_and_differ_by_at_most_one_image(self) -> None:
        dataset = toy()
        batches = list(Batches(dataset, 4))
        assert [len(labels) for _, labels in batches] == [4, 3, 3]
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert labels.tolist() == dataset.labels.tolist()
        for number, channel in ((0, 0), (7, 2)):
            expected = (dataset.images[number, channel] / 255 - dataset.mean[channel]) / dataset.std[channel]
            assert np.allclose(images[number, channel], expected, atol=1e-5)

    @pytest.mark.parametrize(("count", "size"), [(3, 2), (5, 2), (5, 3), (4, 3), (2, 2), (9, 4), (7, 100)])
    def test_none_is_of_one_image(self, count: int, size: int) -> None:
        sizes = [len(labels) for _, labels in Batches(toy(count), size)]
        assert sum(sizes) == count
        assert min(sizes) >= 2
        assert max(sizes) <= max(size, 3)
        assert max(sizes) - min(sizes) <= 1

    def test_shuffled_are_all_of_them_in_the_order_of_the_seed(self) -> None:
        dataset = toy()
        first, same, other = (
            torch.cat([images for images, _ in Batches(dataset, 4).shuffled(seed)]) for seed in (1, 1, 2)
        )
        plain = torch.cat([images for images, _ in Batches(dataset, 4)])
        assert torch.equal(first, same)
        assert not torch.equal(first, other)
        assert not torch.equal(first, plain)
        key = plain[:, 0, 0].double().sum(1)
        assert torch.equal(first[:, 0, 0].double().sum(1).sort().values, key.sort().values)

    def test_of_one_are_shuffled_in_the_same_order_each_time_they_are_read(self) -> None:
        batches = Batches(toy(), 4).shuffled(1, AUGMENTED)
        first, again = ([images for images, _ in batches] for _ in range(2))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))

    def test_read_only_arrays_do(self) -> None:
        dataset = toy()
        dataset.images.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(list(Batches(dataset, 4))) == 3

    def test_images_are_mirrored_and_shifted_by_up_to_an_eighth(self) -> None:
        image = torch.arange(1, 2 * 8 * 17 + 1.0).reshape(1, 2, 8, 17)
        padded = nn.functional.pad(image, (2, 2, 1, 1))
        shifted = [padded[:, :, y : y + 8, x : x + 17] for y in range(3) for x in range(5)]
        possible = [each.flip(3) if mirrored else each for each in shifted for mirrored in (False, True)]
        drawn = mirrored_and_shifted(image.expand(900, -1, -1, -1), torch.Generator().manual_seed(0))
        counts = [int((drawn == each).flatten(1).all(1).sum()) for each in possible]
        assert sum(counts) == 900
        assert min(counts) > 10  # of 30 expected each


def test_learning_rate_rises_for_a_fifth_and_falls_along_a_cosine() -> None:
    rates = [learning_rate_at(step, 100, 0.5) for step in range(100)]
    assert rates[:20] == pytest.approx([0.5 * step / 20 for step in range(1, 21)])
    assert rates[20:] == pytest.approx([0.25 + 0.25 * math.cos(math.pi * step / 80) for step in range(80)])
    assert learning_rate_at(0, 1, 0.5) > 0


class TestTrain:
    @pytest.mark.slow
    def test_equals_a_plain_loop(self) -> None:
        train_set, valid_set, epochs, seed = toy(10), toy(6, 1), 3, 5
        network, plain = linear(), linear()
        seen: list[TrainingState] = []
        train(
            network, train_set, valid_set, epochs=epochs, seed=seed, recipe=Recipe(batch_size=4, learning_rate=0.003),
            on_epoch=seen.append,
        )  # fmt: skip

        initialize(plain, generator=generator(seed, "weights"))
        moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in plain.parameters()]
        for epoch in range(epochs):
            losses = []
            batches = Batches(train_set, 4).shuffled(derive_seed(seed, "images", epoch))
            for number, (images, labels) in enumerate(batches):
                step = 3 * epoch + number
                rate = learning_rate_at(step, 3 * epochs, 0.003)
                loss = -plain(images).log_softmax(1)[range(len(labels)), labels].mean()
                gradients = torch.autograd.grad(loss, list(plain.parameters()))
                losses += [float(loss.detach())] * len(labels)
                with torch.no_grad():
                    for weight, gradient, (first, second) in zip(plain.parameters(), gradients, moments, strict=True):
                        first.mul_(0.9).add_(0.1 * gradient)
                        second.mul_(0.999).add_(0.001 * gradient**2)
                        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                        weight.mul_(1 - rate * 0.05).sub_(rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8))
            for mine, weight in zip(seen[epoch].weights.values(), plain.parameters(), strict=True):
                assert torch.allclose(mine, weight, atol=1e-5)
            assert seen[epoch].train_losses[-1] == pytest.approx(sum(losses) / 10, rel=1e-4)
            assert seen[epoch].valid_accuracies[-1] == right_percent(plain, valid_set)

    @pytest.mark.parametrize(
        ("measures", "images", "kept"),
        [
            ([50.0, 90.0, 88.0], 100, 3),  # 90 of 100: one standard error is 3.0 points
            ([50.0, 90.0, 86.0], 100, 2),
            ([50.0, 90.0, 88.0], 10_000, 2),  # 0.3 points
            ([50.0, 90.0, 88.0], None, 2),
            ([50.0, 100.0, 99.5], 200, 3),  # all right of 200 is no proof of no error at all
        ],
    )
    def test_the_last_epoch_is_preferred_where_it_is_as_good(
        self, measures: list[float], images: int | None, kept: int
    ) -> None:
        layer = torch.nn.Linear(1, 1)
        last, best = ({"weight": torch.full((1, 1), value), "bias": torch.zeros(1)} for value in (1.0, 2.0))
        result = finished(layer, TrainingState(last, best, {}, [1.0] * 3, measures, measures, 1.0), images=images)
        assert (result.best_epoch, result.valid_accuracy) == (kept, measures[kept - 1])
        assert layer.weight.item() == (1.0 if kept == 3 else 2.0)

    @pytest.mark.slow
    def test_learns_and_leaves_the_best_weights(self, digits: tuple[ImageDataset, ImageDataset]) -> None:
        network = build()
        result = train(network, *digits, epochs=4, recipe=Recipe(batch_size=16))
        assert result.valid_accuracy > 60  # by chance 10
        assert result.valid_accuracy == max(result.valid_accuracies)
        assert result.best_epoch == result.valid_accuracies.index(result.valid_accuracy) + 1
        assert result.epochs == len(result.valid_accuracies) == len(result.train_losses) == 4
        assert result.train_losses[-1] < result.train_losses[0]
        assert not any(module.training for module in network.modules())
        assert all(value.is_contiguous() for value in network.state_dict().values())
        assert right_percent(network, digits[1]) == result.valid_accuracy

    def test_the_seed_alone_decides(self, digits: tuple[ImageDataset, ImageDataset]) -> None:
        def trained(seed: int) -> tuple[nn.Module, TrainingResult]:
            network = nn.Sequential(build(), nn.Dropout(0.1))
            return network, train(network, *digits, epochs=1, seed=seed, recipe=AUGMENTED)

        first, result = trained(0)
        torch.rand(3)
        same, again = trained(0)
        other, _ = trained(1)
        assert_equal_weights(first, same)
        assert (result.train_losses, result.valid_accuracies) == (again.train_losses, again.valid_accuracies)
        assert not torch.equal(next(first.parameters()), next(other.parameters()))

    @pytest.mark.slow
    @pytest.mark.parametrize("epoch", [1, 2, 3])
    def test_goes_on_from_any_epoch(self, digits: tuple[ImageDataset, ImageDataset], epoch: int) -> None:
        states: list[TrainingState] = []
        options: dict[str, Any] = {"epochs": 3, "seed": 3, "recipe": AUGMENTED}
        whole, resumed = (nn.Sequential(build(), nn.Dropout(0.2)) for _ in range(2))
        result = train(whole, *digits, on_epoch=states.append, **options)

        file = io.BytesIO()
        torch.save(asdict(states[epoch - 1]), file)
        file.seek(0)
        state = TrainingState(**torch.load(file, weights_only=True))
        before = copy.deepcopy(state)
        again: list[TrainingState] = []
        continued = train(resumed, *digits, resume=state, on_epoch=again.append, **options)

        assert_equal_weights(whole, resumed)
        assert (continued.train_losses, continued.valid_accuracies) == (result.train_losses, result.valid_accuracies)
        assert [each.epochs for each in again] == list(range(epoch + 1, 4))
        assert all(torch.equal(value, before.weights[name]) for name, value in state.weights.items())

    def test_goes_on_from_any_epoch_with_all_switches_on(self) -> None:
        def convolutional() -> nn.Module:
            layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()
            return nn.Sequential(*layers, nn.Linear(288, 2))

        states: list[TrainingState] = []
        options: dict[str, Any] = {"epochs": 4, "seed": 3, "recipe": ALL_SWITCHES}
        whole = convolutional()
        result = train(whole, toy(41), toy(20, 1), on_epoch=states.append, **options)
        for epoch in (1, 2, 3):
            file = io.BytesIO()
            torch.save(vars(states[epoch - 1]), file)
            file.seek(0)
            state = TrainingState(**torch.load(file, weights_only=True))
            resumed, again = convolutional(), list[TrainingState]()
            continued = train(resumed, toy(41), toy(20, 1), resume=state, on_epoch=again.append, **options)
            assert_equal_weights(whole, resumed)
            for name, value in states[-1].averaged_weights.items():
                assert torch.equal(value, again[-1].averaged_weights[name])
                assert torch.equal(states[-1].weights[name], again[-1].weights[name])
            assert continued.train_losses == result.train_losses
            assert continued.valid_accuracies == result.valid_accuracies

    def test_stops_where_nothing_comes_of_it(self) -> None:
        states: list[TrainingState] = []
        options: dict[str, Any] = {
            "epochs": 9,
            "recipe": Recipe(learning_rate=1e-12),
            "patience": 2,
            "on_epoch": states.append,
        }
        result = train(linear(), toy(), toy(6, 1), **options)
        assert (result.epochs, result.best_epoch) == (3, 1)
        assert train(linear(), toy(), toy(6, 1), resume=states[-1], **options).epochs == 3
        assert len(states) == 3

    def test_changes_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        network = linear()
        before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        environment = dict(os.environ)
        seen: list[int] = []
        train(network, toy(), toy(), epochs=1, threads=2, on_epoch=lambda _: seen.append(torch.get_num_threads()))
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
        assert dict(os.environ) == environment
        assert (seen, torch.get_num_threads()) == ([2], 1)
        assert torch.is_grad_enabled()
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
    def test_lets_what_is_raised_through(self, error: type[BaseException]) -> None:
        def fail(_: TrainingState) -> None:
            raise error("stop")

        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(error, match="stop"):
            train(linear(), toy(), toy(), epochs=2, on_epoch=fail)
        assert signal.getsignal(signal.SIGINT) is handler

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
    def test_a_terminated_process_ends_at_once_and_not_as_if_all_were_well(self) -> None:
        code = (
            "import os, signal, test_training as t; from trainless.training import train; "
            "train(t.linear(), t.toy(), t.toy(), epochs=2, on_epoch=lambda _: os.kill(os.getpid(), signal.SIGTERM))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
        assert done.returncode == -signal.SIGTERM

    def test_batch_normalisation_of_one_pixel_trains_with_an_odd_number_of_images(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
        assert train(network, toy(5), toy(), epochs=1, recipe=Recipe(batch_size=2)).epochs == 1

    def test_a_loss_that_is_not_finite_ends_nothing(self) -> None:
        result = train(nn.Sequential(linear(), Infinite()), toy(), toy(), epochs=2)
        assert all(math.isnan(loss) for loss in result.train_losses)
        assert result.epochs == 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epochs": 0}, "epochs is 0, expected a finite number above 0"),
            ({"measure": "acuracy"}, "did you mean 'accuracy'"),
            ({"patience": 0}, "patience is 0"),
            ({"threads": 0}, "number of threads is 0"),
            ({"network": nn.Flatten()}, r"\(2, 3, 8, 8\) \(2, 192\), expected \(2, 2\): give a network that is built"),
            ({"network": nn.Linear(5, 2)}, r"Linear makes of images of shape \(2, 3, 8, 8\) an error"),
            ({"network": Pair()}, "Pair makes of images .* an error .*tuple.*, expected"),
            ({"network": nn.Sequential(nn.AdaptiveAvgPool3d((2, 1, 1)), nn.Flatten())}, "without any trainable weight"),
            (
                {"resume": TrainingState({}, {}, {}, [2.0], [50.0], [50.0], 1.0)},
                "of another network than this Sequential",
            ),
            ({"valid_set": "digits"}, "images to validate with have shape, classes"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        if "valid_set" in options:
            options["valid_set"] = load_data("digits")
        given = {"network": linear(), "train_set": toy(), "valid_set": toy(), "epochs": 1} | options
        with pytest.raises(InputError, match=message):
            train(**given)


def test_of_kept_weights_the_statistics_are_kept_or_learnt(digits: tuple[ImageDataset, ImageDataset]) -> None:
    norms = {}
    for is_kept in (True, False):
        network = build()
        train(network, *digits, epochs=1, keep_weights=True, adapt_statistics=not is_kept)
        norms[is_kept] = {name: value for name, value in network.state_dict().items() if "running_mean" in name}
    fresh = {name: value for name, value in build().state_dict().items() if "running_mean" in name}
    assert all(torch.equal(value, fresh[name]) for name, value in norms[True].items())
    assert not any(torch.equal(value, fresh[name]) for name, value in norms[False].items())
