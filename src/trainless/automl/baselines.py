"""Simple classifiers that a network has to be better than: the commonest class, and a linear one on small pixels."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainless.data import ImageDataset, Splits
from trainless.data.arrays import resize
from trainless.data.dataset import draw
from trainless.training.measures import measure_named

__all__ = ["COMMONEST", "baseline_logits"]

COMMONEST = "always guessing the commonest class"
"""Name of the baseline that looks at no image."""

_SIDE = 16  # pixels
_MANY_CLASSES = 100  # from which on half of them are enough, for the time that it takes
_IMAGES = (1000, 5000)  # to learn from: always as many as the first, up to the second where few classes leave time
_NUMBERS = 2e8  # images x pixels x classes, which a step goes through
_STEPS = 100
_LEAST_LOGIT = math.log(1e-4)
_STRENGTHS = (
    0.01,
    0.1,
    0.001,
    1.0,
)  # of what the data say against the penalty of the weights, the first for want of time


def baseline_logits(
    splits: Splits, measure: str = "accuracy", *, balanced: bool = False, seconds: float = math.inf,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Compute what simple classifiers say of the test images: log-probabilities, shape ``(images, classes)``, by name.

    One gives every image the shares of the classes among the training images. The other is a logistic regression on at
    most 16 x 16 pixels; how strongly its weights are penalised is chosen on the validation images.

    Args:
        splits: the images.
        measure: what they are chosen by, a name of `trainless.training.MEASURES`.
        balanced: whether rare classes weigh as much as others.
        seconds: after which no other penalty is tried.
        progress: called with penalties that were tried and all that are to be, as far as there is time.

    Example:
        >>> from trainless.data import load_splits
        >>> splits = load_splits("digits")
        >>> found = baseline_logits(splits)
        >>> list(found)
        ['always guessing the commonest class', 'a linear classifier on 16 x 16 pixels']
        >>> bool((found['a linear classifier on 16 x 16 pixels'].argmax(1).numpy() == splits.test.labels).mean() > 0.9)
        True
    """
    shares = _shares(splits.train).log().expand(len(splits.test), -1)
    return {COMMONEST: shares, **_linear(splits, measure, balanced, seconds, progress)}


def _shares(data: ImageDataset) -> torch.Tensor:
    """The shares of the classes; Laplace's rule of succession, for one without images may yet occur."""
    counts = torch.bincount(torch.tensor(data.labels), minlength=data.task.classes).double()
    return (counts + 1) / (counts + 1).sum()


def _linear(
    splits: Splits, measure: str, balanced: bool, seconds: float, progress: Callable[[int, int], None] | None
) -> dict[str, torch.Tensor]:  # fmt: skip
    start, best = time.monotonic(), -math.inf
    task = splits.train.task
    longest = _SIDE if task.classes <= _MANY_CLASSES else _SIDE // 2
    height, width = min(task.height, longest), min(task.width, longest)
    most = int(np.clip(_NUMBERS / (task.channels * height * width * task.classes), *_IMAGES))
    chosen = draw(splits.train.labels, min(most, len(splits.train)), np.random.default_rng(0), balanced=False)
    labels = splits.train.labels[chosen]
    if len(np.unique(labels)) < 2:  # of a class that is so rare that none was drawn nothing can be learned
        return {}
    learnt, *others = (
        _pixels(images, height, width)
        for images in (splits.train.images[chosen], splits.valid.images, splits.test.images)
    )
    mean = learnt.mean(0)
    deviation = (learnt - mean).std() or 1.0
    valid, test = ((pixels - mean) / deviation for pixels in others)
    worth, kept = measure_named(measure, task.classes), torch.empty(0)
    regressions = _fitted((learnt - mean) / deviation, labels, balanced, start + seconds)
    for number, regression in enumerate(regressions, 1):
        found = worth(_logits(regression, valid, task.classes), torch.tensor(splits.valid.labels))
        if found > best:
            best, kept = found, _logits(regression, test, task.classes)
        if progress:
            progress(number, len(_STRENGTHS))
    return {f"a linear classifier on {height} x {width} pixels": kept}


def _pixels(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    small = resize(images, height, width)
    return small.reshape(len(small), -1) / 255


def _fitted(pixels: NDArray[np.float64], labels: NDArray[np.int64], balanced: bool, deadline: float) -> Iterator[Any]:
    """Logistic regressions of other and other penalties, as far as there is time."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    taken = 0.0
    for strength in _STRENGTHS:
        start = time.monotonic()
        if taken and start + taken > deadline:
            return
        with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression = LogisticRegression(
                C=strength, max_iter=_STEPS, class_weight="balanced" if balanced else None
            ).fit(pixels, labels)
        taken = time.monotonic() - start
        yield regression


def _logits(regression: Any, pixels: NDArray[np.float64], classes: int) -> torch.Tensor:
    """Log-probabilities of all classes; one that it met no image of is as improbable as can be told from none."""
    found = np.full((len(pixels), classes), _LEAST_LOGIT)
    found[:, regression.classes_] = regression.predict_log_proba(pixels)
    return torch.tensor(found)
