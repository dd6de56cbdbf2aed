"""Transferability proxies: how well what a network computes before its classifier suits the labels of a task.

They are meant for pretrained weights, where each takes one forward pass and linear algebra, and no training. On drawn
weights they tell how good random features are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from trainless.passes import PassSpec, Recorder, Signals
from trainless.passes.observers import Rules
from trainless.passes.run import Run
from trainless.proxies.base import Proxy
from trainless.proxies.closed_form import discriminant, ridge, spectrum

__all__ = ["TRANSFERABILITY", "ClassifierInputs", "logme", "standardised", "transrate"]

_GRID = np.linspace(-30, 30, 121)  # logarithms of the ratio of both precisions that are tried first
_DISTORTION = 1e-4


class ClassifierInputs(Recorder):
    """Keeps the features of each image: what the last linear layer reads."""

    name = "classifier_inputs"
    inputs = frozenset({"batch"})
    reason = "the network does not end in a linear layer that reads one row of features an image"

    def __init__(self) -> None:
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None
        self._features: torch.Tensor | None = None

    def rules(self, run: Run) -> Rules:
        """A rule that sees linear layers."""
        return {F.linear: self._linear}

    def _linear(
        self, linear: Callable[..., torch.Tensor], input: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:  # fmt: skip
        output = linear(input, *args, **kwargs)
        self._seen = input, output
        return output

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Keep the features, if the layer that was seen last gave what the network gives."""
        if self._seen is not None and self._seen[1].shape == output.shape and self._seen[0].dim() == 2:
            self._features = self._seen[0].detach().double().cpu()
        self._seen = None

    def value(self) -> torch.Tensor | None:
        """The features, shape ``(images, features)``."""
        return self._features


def standardised(
    features: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Bring each feature to mean 0 and deviation 1, and give both as they were; what does not vary becomes 0.

    Args:
        features: shape ``(images, features)``.

    Example:
        >>> values, mean, deviation = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> values.tolist(), mean.tolist(), deviation.tolist()
        ([[-1.0, 0.0], [1.0, 0.0]], [2.0, 5.0], [1.0, 1.0])
    """
    values = np.asarray(features, np.float64)
    mean, deviation = values.mean(0), values.std(0)
    deviation = np.where(deviation > 1e-9 * np.abs(mean).max(initial=1e-9), deviation, 1.0)
    return (values - mean) / deviation, mean, deviation


def logme(features: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Compute LogME: log evidence of a Bayesian linear model of each class indicator, per image, mean over classes.

    The model is y = F w + noise with w ~ N(0, I/α) and noise ~ N(0, I/β), and the evidence is at its maximum over α and
    β. For a given ratio t = α/β the best β is n/Q with Q = ‖y‖² − yᵀF(tI + FᵀF)⁻¹Fᵀy, which leaves a maximum over t.
    Classes without images do not count.

    Source: You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021. There α and
    β are found by a fixed-point iteration, stopped early; here t is searched over 60 orders of e and then refined.

    Args:
        features: shape ``(images, features)``.
        labels: class of each image.

    Example:
        >>> good, bad = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([[1.0], [0.0], [1.0], [0.0]])
        >>> labels = np.array([0, 0, 1, 1])
        >>> logme(good, labels) > logme(bad, labels)
        True
    """
    from scipy.optimize import minimize_scalar  # slow to import, and few processes need it

    values = np.asarray(features, np.float64)
    sides, singular, _ = np.linalg.svd(values, full_matrices=False)
    squares = singular**2
    evidences = []
    for label in np.unique(labels):
        indicator = (labels == label).astype(np.float64)
        along = (sides.T @ indicator) ** 2
        evidence = partial(_negative_evidence, squares, along, float(indicator.sum()), len(labels))
        scale = math.log(max(float(squares.max()), 1e-300))
        first = min(_GRID + scale, key=evidence)
        step = _GRID[1] - _GRID[0]
        best = minimize_scalar(evidence, bounds=(first - step, first + step), method="bounded", options={"xatol": 1e-9})
        evidences.append(-min(float(best.fun), evidence(first)) / len(labels))
    return float(np.mean(evidences))


def _negative_evidence(
    squares: NDArray[np.float64], along: NDArray[np.float64], total: float, images: int, log_ratio: float
) -> float:  # fmt: skip
    ratio = math.exp(log_ratio)
    # Q, written as a sum of terms above zero: outside of the features' span, and within it.
    rest = max(total - float(along.sum()), 0.0) + float((along * ratio / (ratio + squares)).sum())
    if rest <= 0:
        return -math.inf
    shrunk = float(np.log1p(squares / ratio).sum())
    return (images * (math.log(2 * math.pi * rest / images) + 1) + shrunk) / 2


def transrate(features: NDArray[np.floating], labels: NDArray[np.int64], distortion: float = _DISTORTION) -> float:
    """Compute TransRate: coding rate of the features less that within classes, a lower bound of mutual information.

    R(Z) = ½ log det(I + ZᵀZ / (nε)) of the centred features, less the mean over classes of the same of their rows.

    Source: Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022, with the mean over classes of its
    listing, which is right for classes of one size.

    Args:
        features: shape ``(images, features)``.
        labels: class of each image.
        distortion: ε.

    Example:
        >>> round(transrate(np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([0, 0, 1, 1])), 9)
        0.0
        >>> transrate(np.array([[1.0], [1.01], [-1.0], [-1.01]]), np.array([0, 0, 1, 1]), 1.0) < 0.1
        True
    """
    values = np.asarray(features, np.float64)
    centred = values - values.mean(0)
    within = [_coding_rate(centred[labels == label], distortion) for label in np.unique(labels)]
    return _coding_rate(centred, distortion) - float(np.mean(within))


def _coding_rate(rows: NDArray[np.float64], distortion: float) -> float:
    products = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
    return float(np.log1p(np.linalg.eigvalsh(products).clip(0) / (len(rows) * distortion)).sum()) / 2


def _of_features(compute: Callable[[NDArray[np.float64], NDArray[np.int64]], float], signals: Signals) -> float:
    """A formula of features and labels, as one of signals; NaN where either is missing, or not finite."""
    features = signals.classifier_inputs
    if signals.labels is None or not bool(features.isfinite().all()):
        return math.nan
    return compute(features.numpy(), signals.labels.cpu().numpy())


def _leave_one_out(
    fit: Callable[..., Any], features: NDArray[np.float64], labels: NDArray[np.int64]
) -> float:  # fmt: skip
    present, numbers = np.unique(labels, return_inverse=True)
    return float(fit(spectrum(standardised(features)[0]), numbers, len(present)).accuracy(numbers))


def ridge_accuracy(features: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Compute the leave-one-out accuracy of ridge regression on standardised features, from 0 to 1.

    Example:
        >>> ridge_accuracy(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1]))
        1.0
    """
    return _leave_one_out(ridge, np.asarray(features, np.float64), labels)


def discriminant_accuracy(features: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Compute the leave-one-out accuracy of linear discriminant analysis on standardised features, from 0 to 1.

    Example:
        >>> discriminant_accuracy(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1]))
        1.0
    """
    return _leave_one_out(discriminant, np.asarray(features, np.float64), labels)


def _proxy(name: str, compute: Callable[..., float], paper: str, summary: str) -> Proxy:
    return Proxy(
        name,
        partial(_of_features, compute),
        PassSpec(mode="eval"),
        frozenset({ClassifierInputs}),
        data_independent=False,
        paper=paper,
        summary=summary,
        when_not_finite="there are no labels, or features that are not finite",
    )


TRANSFERABILITY = (
    _proxy(
        "logme", logme, "You et al., LogME: Practical Assessment of Pre-trained Models, ICML 2021",
        "log evidence of a Bayesian linear model of the labels on the features, per image",
    ),
    _proxy(
        "ridge_loo", ridge_accuracy, "Allen, Technometrics 1974; as a score of features Renggli et al., CVPR 2022",
        "leave-one-out accuracy of ridge regression on the features",
    ),
    _proxy(
        "lda_loo", discriminant_accuracy, "Lachenbruch and Mickey, Technometrics 1968",
        "leave-one-out accuracy of linear discriminant analysis on the features",
    ),
    _proxy(
        "transrate", transrate, "Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022",
        "coding rate of the features less that within classes",
    ),
)  # fmt: skip
"""Proxies of pretrained features; ``"all"`` proxies are those of untrained networks, without these."""
