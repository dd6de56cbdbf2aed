"""Scores of features and classifiers in closed form, against what each stands for, computed the long way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from trainless.evaluation import score
from trainless.proxies.closed_form import LinearClassifier, calibrated, discriminant, ridge, spectrum
from trainless.proxies.transferability import discriminant_accuracy, logme, ridge_accuracy, standardised, transrate

NAMES = "logme, ridge_loo, lda_loo, transrate"


def drawn(images: int, features: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of overlapping classes, correlated and far from zero."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    centres = 0.6 * rng.normal(size=(classes, features))
    values = centres[labels] + rng.normal(size=(images, features)) @ rng.normal(size=(features, features))
    return values + 5, labels


SHAPES = [(24, 4), (15, 30)]  # more images than features, and fewer


class TestRidge:
    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_each_image_is_judged_by_the_fit_to_all_others(self, images: int, features: int) -> None:
        values, labels = drawn(images, features)
        found = ridge(spectrum(values), labels, 3, (0.01,))
        for image in range(images):
            rest = np.arange(images) != image
            weight, bias = solved(values[rest], labels[rest], 0.01 * images)
            np.testing.assert_allclose(found.left_out[image], weight @ values[image] + bias, rtol=1e-6, atol=1e-8)

    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_weights_are_those_of_the_normal_equations(self, images: int, features: int) -> None:
        values, labels = drawn(images, features)
        found = ridge(spectrum(values), labels, 3, (0.01,))
        weight, bias = solved(values, labels, 0.01 * images)
        np.testing.assert_allclose(found.weight, weight, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.bias, bias, rtol=1e-6, atol=1e-8)

    def test_the_strength_has_the_least_error_on_images_left_out(self) -> None:
        values, labels = drawn(15, 30)
        strengths = (1e-4, 1e-2, 1.0, 100.0)
        errors = [
            ((ridge(spectrum(values), labels, 3, (s,)).left_out - np.eye(3)[labels]) ** 2).sum() for s in strengths
        ]
        assert ridge(spectrum(values), labels, 3, strengths).strength == strengths[int(np.argmin(errors))]

    def test_features_that_do_not_vary_leave_the_shares(self) -> None:
        labels = np.array([0, 0, 1])
        found = ridge(spectrum(np.ones((3, 2))), labels, 2)
        np.testing.assert_allclose(found.bias, [2 / 3, 1 / 3])
        np.testing.assert_allclose(found.left_out, [[0.5, 0.5], [0.5, 0.5], [1, 0]], atol=1e-12)


def solved(values: np.ndarray, labels: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with an intercept that is not regularised, by the normal equations."""
    extended = np.hstack([values, np.ones((len(values), 1))])
    penalty = strength * np.diag([*np.ones(values.shape[1]), 0.0])
    weights = np.linalg.solve(extended.T @ extended + penalty, extended.T @ np.eye(3)[labels])
    return weights[:-1].T, weights[-1]


class TestDiscriminant:
    @pytest.mark.parametrize("balanced", [False, True])
    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_each_image_is_judged_by_the_fit_to_all_others(self, images: int, features: int, balanced: bool) -> None:
        values, labels = drawn(images, features)
        labels[:4] = 0  # classes of different sizes
        found = discriminant(spectrum(values), labels, 3, (0.01,), balanced=balanced)
        for image in range(images):
            rest = np.arange(images) != image
            expected = posterior(values[rest], labels[rest], values[image], 0.01 * images, balanced)
            np.testing.assert_allclose(log_softmax(found.left_out[image]), expected, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_weights_give_the_class_probabilities(self, images: int, features: int) -> None:
        values, labels = drawn(images, features)
        found = discriminant(spectrum(values), labels, 3, (0.01,))
        for image in range(images):
            expected = posterior(values, labels, values[image], 0.01 * images, False)
            numbers = found.weight @ values[image] + found.bias
            np.testing.assert_allclose(log_softmax(numbers), expected, rtol=1e-6, atol=1e-7)

    def test_without_regularisation_it_is_that_of_scikit_learn(self) -> None:
        values, labels = drawn(40, 3)
        found = discriminant(spectrum(values), labels, 3, (1e-12,))
        other = LinearDiscriminantAnalysis(solver="lsqr").fit(values, labels)
        numbers = values @ found.weight.T + found.bias
        np.testing.assert_allclose(log_softmax(numbers, 1), other.predict_log_proba(values), atol=1e-6)

    def test_a_class_of_one_image_is_not_found_without_it(self) -> None:
        values, labels = drawn(12, 3)
        labels = np.where(np.arange(12) == 7, 2, labels % 2)
        found = discriminant(spectrum(values), labels, 4)
        assert found.left_out[7, 2] == -math.inf
        assert np.isfinite(found.weight).all()
        assert (values @ found.weight.T + found.bias).argmax(1).max() <= 2, "the class without images is never guessed"


def posterior(
    values: np.ndarray, labels: np.ndarray, image: np.ndarray, strength: float, balanced: bool
) -> np.ndarray:  # fmt: skip
    """Logarithms of class probabilities by Gaussians with one covariance matrix, written out."""
    means = np.array([values[labels == label].mean(0) for label in range(3)])
    within = values - means[labels]
    precision = len(values) * np.linalg.inv(within.T @ within + strength * np.eye(values.shape[1]))
    shares = np.full(3, 1 / 3) if balanced else np.bincount(labels, minlength=3) / len(labels)
    distances = np.array([(image - mean) @ precision @ (image - mean) for mean in means])
    return np.asarray(log_softmax(np.log(shares) - distances / 2))


class TestCalibration:
    def test_the_scale_has_the_least_log_loss(self) -> None:
        values, labels = drawn(40, 3)
        found = ridge(spectrum(values), labels, 3)
        scaled = calibrated(found, labels)
        ratio = float(scaled.weight[0, 0] / found.weight[0, 0])

        def loss(scale: float) -> float:
            logs = log_softmax(scale * found.left_out, 1)
            return -float(logs[np.arange(40), labels].sum() + logs.mean())

        assert min(loss(0.99 * ratio), loss(1.01 * ratio)) > loss(ratio)
        np.testing.assert_allclose(scaled.left_out, ratio * found.left_out)
        assert scaled.accuracy(labels) == found.accuracy(labels)

    @pytest.mark.parametrize("fit", [ridge, discriminant])
    def test_images_that_are_all_guessed_right_leave_some_doubt(self, fit: Callable[..., LinearClassifier]) -> None:
        stream = np.random.default_rng(0)
        centres, labels = 10 * stream.normal(size=(10, 20)), np.repeat(np.arange(10), 10)
        found = fit(spectrum(centres[labels] + stream.normal(size=(100, 20))), labels, 10)
        scaled = calibrated(found, labels)
        logs = log_softmax(scaled.left_out, 1)
        assert scaled.accuracy(labels) == 1
        # Of 101 targets one is uniform: by that a class that is wrong has a thousandth.
        assert -math.log(0.995) < -logs[np.arange(100), labels].mean() < -math.log(0.95)
        assert logs.min() > math.log(1e-30)

    def test_a_class_without_images_does_not_count(self) -> None:
        values, labels = drawn(40, 3)
        few = discriminant(spectrum(values), labels, 3)
        more = discriminant(spectrum(values), labels, 5)
        np.testing.assert_allclose(calibrated(more, labels).weight[:3], calibrated(few, labels).weight, rtol=1e-3)


class TestFormulas:
    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_logme_is_the_largest_evidence(self, images: int, features: int) -> None:
        values, labels = drawn(images, features)

        def log_evidence(logarithms: np.ndarray, indicator: np.ndarray) -> float:
            alpha, beta = np.exp(logarithms)
            matrix = alpha * np.eye(features) + beta * values.T @ values
            mean = beta * np.linalg.solve(matrix, values.T @ indicator)
            error = ((values @ mean - indicator) ** 2).sum()
            return float(
                images / 2 * math.log(beta) + features / 2 * math.log(alpha) - images / 2 * math.log(2 * math.pi)
                - beta / 2 * error - alpha / 2 * mean @ mean - np.linalg.slogdet(matrix)[1] / 2
            )  # fmt: skip

        expected = []
        for label in range(3):
            indicator = (labels == label).astype(float)
            starts = [np.array([a, b]) for a in (-3.0, 0.0, 3.0) for b in (0.0, 3.0)]
            options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
            runs = [
                minimize(
                    lambda x, y=indicator: -log_evidence(x, y), start, method="Nelder-Mead", bounds=[(-14, 14)] * 2,
                    options=options,
                )
                for start in starts
            ]  # fmt: skip
            expected.append(-min(run.fun for run in runs) / images)
        assert logme(values, labels) == pytest.approx(np.mean(expected), abs=1e-6)

    @pytest.mark.parametrize(("images", "features"), SHAPES)
    def test_transrate_is_the_difference_of_coding_rates(self, images: int, features: int) -> None:
        values, labels = drawn(images, features)

        def rate(rows: np.ndarray) -> float:
            return float(np.linalg.slogdet(np.eye(features) + rows.T @ rows / (len(rows) * 1e-4))[1]) / 2

        centred = values - values.mean(0)
        expected = rate(centred) - np.mean([rate(centred[labels == label]) for label in range(3)])
        assert transrate(values, labels) == pytest.approx(expected, rel=1e-9)

    def test_accuracies_do_not_depend_on_units_or_on_how_classes_are_numbered(self) -> None:
        values, labels = drawn(60, 5)
        scales = 10.0 ** np.arange(5)
        for accuracy in (ridge_accuracy, discriminant_accuracy):
            assert accuracy(values * scales, 7 * labels) == accuracy(values, labels)
            assert 0.4 < accuracy(values, labels) < 1

    def test_a_feature_that_does_not_vary_becomes_zero(self) -> None:
        values, mean, deviation = standardised(np.array([[1.0, 1e6], [3.0, 1e6]], np.float32))
        assert values.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
        assert (mean.tolist(), deviation.tolist()) == ([2.0, 1e6], [1.0, 1.0])


class TestProxies:
    def test_they_read_what_the_last_linear_layer_reads(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3))
        images, labels = torch.randn(30, 3, 2, 2), torch.arange(30) % 3
        found = score(network, images, labels, proxies=NAMES)
        with torch.no_grad():
            features = network.eval()[:4](images).double().numpy()
        numbers = labels.numpy()
        expected = (logme, ridge_accuracy, discriminant_accuracy, transrate)
        for name, compute in zip(NAMES.split(", "), expected, strict=True):
            assert found[name] == pytest.approx(compute(features, numbers), rel=1e-4), name

    def test_a_network_without_a_last_linear_layer_has_a_reason(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 3, 2), nn.Flatten())
        found = score(network, torch.randn(6, 3, 2, 2), torch.arange(6) % 3, proxies=["logme", "params"])
        assert math.isnan(found["logme"])
        assert (
            found.reasons["logme"]
            == "the network does not end in a linear layer that reads one row of features an image"
        )

    def test_without_labels_there_is_a_reason(self) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        found = score(network, torch.randn(6, 3, 2, 2), proxies=["lda_loo", "params"])
        assert found.reasons["lda_loo"] == "there are no labels, or features that are not finite"
