"""Linear classifiers in closed form, with what each would say of an image that it was fitted without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

__all__ = ["STRENGTHS", "LinearClassifier", "calibrated", "discriminant", "ridge", "spectrum"]

Floats = NDArray[np.float64]

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 3))
"""Strengths of regularisation that are tried, in units of the number of images."""

_NEVER = -1e4  # the number of a class without images: finite, so that a training can raise it
_LEAST = 1e-12  # share of the largest variance below which a direction is rounding


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A linear classifier of features, fitted in closed form.

    Args:
        weight: shape ``(classes, features)``.
        bias: shape ``(classes,)``.
        left_out: for each image the numbers of the classifier that is fitted to all the others, shape ``(images,
            classes)``; minus infinity for the class of an image that is its only one.
        strength: of the regularisation, that which does best on images left out.
    """

    weight: Floats
    bias: Floats
    left_out: Floats
    strength: float

    def accuracy(self, labels: NDArray[np.int64]) -> float:
        """Compute the leave-one-out accuracy, from 0 to 1.

        Args:
            labels: class of each image.
        """
        return float((self.left_out.argmax(1) == labels).mean())


class Spectrum(NamedTuple):
    """Centred features in the directions of their variance.

    Args:
        mean: of each feature.
        axes: directions, shape ``(features, directions)``.
        scores: centred features along them, shape ``(images, directions)``.
        variances: sums of squares of the scores.
    """

    mean: Floats
    axes: Floats
    scores: Floats
    variances: Floats


def spectrum(features: NDArray[np.floating]) -> Spectrum:
    """Compute the principal directions of features, without those in which they do not vary.

    Args:
        features: shape ``(images, features)``.

    Example:
        >>> found = spectrum(np.array([[1.0, 0.0], [3.0, 0.0]]))
        >>> found.mean.tolist(), found.variances.tolist()
        ([2.0, 0.0], [2.0])
    """
    values = np.asarray(features, np.float64)
    mean = values.mean(0)
    centred = values - mean
    # The smaller of both matrices of products has all that varies.
    if len(centred) > centred.shape[1]:
        variances, axes = np.linalg.eigh(centred.T @ centred)
        kept = variances > _LEAST * max(variances.max(), 0.0)
        return Spectrum(mean, axes[:, kept], centred @ axes[:, kept], variances[kept])
    variances, sides = np.linalg.eigh(centred @ centred.T)
    kept = variances > _LEAST * max(variances.max(), 0.0)
    scale = np.sqrt(variances[kept])
    return Spectrum(mean, centred.T @ (sides[:, kept] / scale), sides[:, kept] * scale, variances[kept])


def ridge(
    found: Spectrum, labels: NDArray[np.int64], classes: int, strengths: Sequence[float] = STRENGTHS
) -> LinearClassifier:
    """Fit ridge regression of class indicators, with the strength of the least error on images left out.

    With centred features Z and indicators Y the map is (ZᵀZ + λI)⁻¹ZᵀY. The hat matrix H = 1/n + Z(ZᵀZ + λI)⁻¹Zᵀ
    gives the residual of an image left out as the residual divided by 1 − H_ii (Allen, The relationship between
    variable selection and data augmentation and a method for prediction, Technometrics 1974).

    Args:
        found: features of `spectrum`.
        labels: class of each image.
        classes: number of classes.
        strengths: values of λ to choose from, in units of the number of images.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> ridge(spectrum(np.array([[-2.0], [-1.0], [1.0], [2.0]])), labels, 2).accuracy(labels)
        1.0
    """
    indicators = np.eye(classes)[labels]
    means = indicators.mean(0)
    products = found.scores.T @ (indicators - means)

    def fits() -> Iterator[tuple[float, LinearClassifier]]:
        for strength in strengths:
            inverse = 1 / (found.variances + strength * len(labels))
            map_ = inverse[:, None] * products
            hat = 1 / len(labels) + found.scores**2 @ inverse
            residuals = (indicators - means - found.scores @ map_) / (1 - hat)[:, None]
            weight = (found.axes @ map_).T
            classifier = LinearClassifier(weight, means - weight @ found.mean, indicators - residuals, strength)
            yield float((residuals**2).mean()), classifier

    return _best(fits())


def discriminant(
    found: Spectrum, labels: NDArray[np.int64], classes: int, strengths: Sequence[float] = STRENGTHS, *,
    balanced: bool = False,
) -> LinearClassifier:  # fmt: skip
    """Fit linear discriminant analysis with a regularised covariance, chosen by the log-loss on images left out.

    The numbers are logarithms of class probabilities but for a constant: n (xᵀA⁻¹μ_k − ½ μ_kᵀA⁻¹μ_k) + log π_k, with
    class means μ_k, shares π_k, and A the sum of squares within classes plus λI. Leaving an image out changes A by a
    matrix of rank one and one class mean, so the numbers for it are exact (Sherman and Morrison 1950; for linear
    discriminants Lachenbruch and Mickey, Estimation of error rates in discriminant analysis, Technometrics 1968).

    Args:
        found: features of `spectrum`.
        labels: class of each image.
        classes: number of classes; one without images is never guessed.
        strengths: values of λ to choose from, in units of the number of images.
        balanced: take all classes for equally frequent.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> discriminant(spectrum(np.array([[-2.0], [-1.0], [1.0], [2.0]])), labels, 2).accuracy(labels)
        1.0
    """
    present, own = np.unique(labels, return_inverse=True)
    counts = np.bincount(own)
    means = (np.eye(len(present))[own].T @ found.scores) / counts[:, None]
    is_told = counts[own] > 1  # without its only image nothing is known of a class

    def fits() -> Iterator[tuple[float, LinearClassifier]]:
        for strength in strengths:
            inverse = 1 / (found.variances + strength * len(labels))
            within, weight = _products(found.scores, means, counts, inverse)
            left_out = _left_out(within, own, counts, balanced)
            losses = -log_softmax(left_out[is_told], 1)[np.arange(int(is_told.sum())), own[is_told]]
            bias = np.log(_shares(counts, balanced)) - len(labels) * within.between.diagonal() / 2
            weight = len(labels) * weight @ found.axes.T
            biases = bias - weight @ found.mean
            yield float(losses.sum()), LinearClassifier(
                _spread(weight, present, classes, 0.0), _spread(biases, present, classes, _NEVER),
                _spread(left_out.T, present, classes, -np.inf).T, strength,
            )  # fmt: skip

    return _best(fits())


class _Products(NamedTuple):
    """Products in the metric of A⁻¹: of images with themselves, with class means, and of these with each other."""

    images: Floats
    crossed: Floats
    between: Floats


def _products(scores: Floats, means: Floats, counts: NDArray[np.int64], inverse: Floats) -> tuple[_Products, Floats]:
    """The products, and the class means times A⁻¹.

    A is the sum of squares of all scores, which is diagonal, less that of the class means: its inverse follows from one
    of a matrix of classes (Woodbury 1950).
    """
    scaled = means * inverse
    between, crossed = scaled @ means.T, scores @ scaled.T
    middle = np.linalg.inv(np.diag(1 / counts) - between)
    images = scores**2 @ inverse + ((crossed @ middle) * crossed).sum(1)
    return (
        _Products(images, crossed + crossed @ middle @ between, between + between @ middle @ between),
        scaled + between @ middle @ scaled,
    )


def _left_out(within: _Products, own: NDArray[np.int64], counts: NDArray[np.int64], balanced: bool) -> Floats:
    """The numbers of each image by what is fitted to all others."""
    rows, count = np.arange(len(own)), counts[own]
    is_alone = count == 1
    # The class mean without the image is μ − d / (count − 1), and A is less by factor · d dᵀ, with d = x − μ.
    back, factor = np.where(is_alone, 0, [1 / np.maximum(count - 1, 1), count / np.maximum(count - 1, 1)])
    own_crossed, own_between = within.crossed[rows, own], within.between[own, own]
    image_by_d = within.images - own_crossed
    d_by_d = image_by_d - own_crossed + own_between
    d_by_means = within.crossed - within.between[own]
    factor = factor / (1 - factor * d_by_d)
    crossed = within.crossed + (factor * image_by_d)[:, None] * d_by_means
    squares = within.between.diagonal() + factor[:, None] * d_by_means**2
    own_d = d_by_means[rows, own]
    grown = 1 + factor * d_by_d
    crossed[rows, own] -= back * image_by_d * grown
    squares[rows, own] += -2 * back * own_d * grown + back**2 * d_by_d * grown
    shares = _shares(counts, balanced)
    if not balanced:
        shares = (counts - np.eye(len(counts), dtype=int)[own]) / (len(own) - 1)
    with np.errstate(divide="ignore"):
        numbers: Floats = (len(own) - 1) * (crossed - squares / 2) + np.log(shares)
    numbers[rows[is_alone], own[is_alone]] = -np.inf
    return numbers


def _shares(counts: NDArray[np.int64], balanced: bool) -> Floats:
    return np.full(len(counts), 1 / len(counts)) if balanced else counts / counts.sum()


def _spread(rows: Floats, present: NDArray[np.int64], classes: int, value: float) -> Floats:
    """Rows of the classes that are present among those of all classes, the others filled with a value."""
    filled: Floats = np.full((classes, *rows.shape[1:]), value)
    filled[present] = rows
    return filled


def _best(fits: Iterator[tuple[float, LinearClassifier]]) -> LinearClassifier:
    """The classifier of the least loss, the more regularised one of equals."""
    return min(((loss, -fit.strength, fit) for loss, fit in fits), key=lambda row: row[:2])[2]


def calibrated(classifier: LinearClassifier, labels: NDArray[np.int64]) -> LinearClassifier:
    """Scale a classifier's numbers so that its class probabilities have the least log-loss on images left out.

    Which class has the highest one stays as it is (Guo et al., On Calibration of Modern Neural Networks, ICML 2017). As
    if one image more had been of any class, targets are mixed with uniform ones: where all images are guessed right,
    ever larger numbers would otherwise be ever better, and the first one that is not would have a probability of 0
    (Platt, Probabilistic Outputs for Support Vector Machines, 1999).

    Args:
        classifier: any classifier.
        labels: class of each image that it was fitted to.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> scaled = calibrated(ridge(spectrum(np.array([[-9.0], [-8.0], [8.0], [9.0]])), labels, 2), labels)
        >>> bool(0.05 < np.exp(log_softmax(scaled.left_out, 1)).min() < 0.2)
        True
    """
    from scipy.optimize import minimize_scalar  # slow to import, and few processes need it

    rows = np.flatnonzero(np.isfinite(classifier.left_out[np.arange(len(labels)), labels]))
    left_out = classifier.left_out[rows]
    left_out = left_out[:, np.isfinite(left_out).all(0)]  # without classes that have no images
    own = classifier.left_out[rows, labels[rows]]

    def loss(exponent: float) -> float:
        scale = np.exp(exponent)
        whole = logsumexp(scale * left_out, 1)
        return float((whole - scale * own).sum() + (whole[:, None] - scale * left_out).mean())

    if not len(rows):
        return classifier
    found = minimize_scalar(loss, bounds=(-14, 7), method="bounded", options={"xatol": 1e-3})
    scale = float(np.exp(found.x))
    return replace(
        classifier, weight=scale * classifier.weight, bias=scale * classifier.bias, left_out=scale * classifier.left_out
    )
