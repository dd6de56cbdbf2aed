"""Comparison of a network with simple classifiers on the test images, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from trainless.metrics import wilson_interval
from trainless.metrics.resampling import draw
from trainless.training.measures import measure_named
from trainless.training.scales import SCALES, Scale

__all__ = ["FEW_EPOCHS", "Comparison", "Rival", "compare"]

FEW_EPOCHS = 3
"""With fewer, a network has hardly seen what it should learn."""

_RESAMPLES = 1000
_NUMBERS_AT_ONCE = 2**22
_LEVELS = (0.025, 0.975)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rival:
    """A simple classifier beside a network, on the same test images.

    Args:
        name: what it is.
        value: its measure.
        gain: by how much the network is better, in the unit of the measure; negative where it is worse.
        low: lower end of the 95 % interval of the gain.
        high: its upper end.
    """

    name: str
    value: float
    gain: float
    low: float
    high: float

    @property
    def is_beaten(self) -> bool:
        """Whether the network is better by more than the choice of test images explains."""
        return self.low > 0


@dataclass(frozen=True)
class Comparison:
    """A network beside simple classifiers, on the measure that it was chosen by.

    Args:
        measure: a name of `trainless.training.MEASURES`.
        value: of the network, as it is named: percent, or nats, of which less is better.
        low: lower end of its 95 % interval: by Wilson for the accuracy, else by bootstrap over the test images.
        high: its upper end.
        images: number of test images.
        rivals: the simple classifiers.

    Example:
        >>> rival = Rival("a coin", 50.0, -2.0, -9.0, 5.0)
        >>> print(*Comparison("accuracy", 48.0, 38.5, 57.7, 100, (rival,)).warnings(epochs=1), sep="\\n")
        The network is no better than a coin: accuracy 48.00 % beside 50.00 % on 100 test images (gain -2.00 %, \
95 % interval -9.00 to 5.00).
        The network was trained for 1 epoch(s), too few to learn from: give more time, or ask for smaller images or a \
smaller network.
    """

    measure: str
    value: float
    low: float
    high: float
    images: int
    rivals: tuple[Rival, ...]

    @property
    def scale(self) -> Scale:
        """How the measure is written."""
        return SCALES[self.measure]

    def interval(self) -> str:
        """Write the interval of the network's measure."""
        return f"{self.low:{self.scale.form}} to {self.scale.text(self.high)}"

    def beside(self) -> list[str]:
        """Say what each of the simple classifiers comes to."""
        return [f"{rival.name} comes to {self.scale.text(rival.value)}" for rival in self.rivals]

    def warnings(self, epochs: int | None) -> list[str]:
        """Say in sentences why the network is of little use; empty where it is better than all rivals.

        Args:
            epochs: that it was trained for; None where their number tells nothing.
        """
        found = [self._warning(rival) for rival in self.rivals if not rival.is_beaten]
        if epochs is not None and epochs < FEW_EPOCHS:
            found.append(
                f"The network was trained for {epochs} epoch(s), too few to learn from: give more time, or ask for "
                "smaller images or a smaller network."
            )
        return found

    def _warning(self, rival: Rival) -> str:
        scale = self.scale
        relation = "worse" if rival.high < 0 else "no better" if rival.gain <= 0 else "not shown to be better"
        return (
            f"The network is {relation} than {rival.name}: {scale.title} {scale.text(self.value)} beside "
            f"{scale.text(rival.value)} on {self.images:,} test images (gain {scale.text(rival.gain)}, 95 % "
            f"interval {rival.low:{scale.form}} to {rival.high:{scale.form}})."
        )


def compare(
    measure: str, logits: torch.Tensor, rivals: Mapping[str, torch.Tensor], labels: torch.Tensor, *, seed: int = 0
) -> Comparison:
    """Measure a network and simple classifiers on the same images, and how sure the differences are.

    The intervals are percentiles of a paired bootstrap: images are drawn with replacement, and all are measured on the
    same draws.

    Args:
        measure: a name of `trainless.training.MEASURES`.
        logits: of the network, shape ``(images, classes)``.
        rivals: by name the logits of the simple classifiers, of the same shape.
        labels: the true classes, shape ``(images,)``.
        seed: of the bootstrap.

    Example:
        >>> labels = torch.tensor([0, 1] * 20)
        >>> right, always = torch.eye(2)[labels], torch.eye(2)[torch.zeros(40, dtype=torch.int64)]
        >>> found = compare("accuracy", right, {"the first class": always}, labels)
        >>> found.value, found.rivals[0].gain, found.warnings(epochs=9)
        (100.0, 50.0, [])
    """
    scale, worth = SCALES[measure], measure_named(measure, logits.shape[1])
    everyone = [logits, *rivals.values()]
    points = [worth(said, labels) for said in everyone]
    drawn = _resampled(measure, everyone, labels, seed)
    low, high = _ends(drawn[0]) if scale.higher_is_better else _ends(-drawn[0])
    if measure == "accuracy":
        low, high = (100 * end for end in wilson_interval(int((logits.argmax(1) == labels).sum()), len(labels)))
    compared = tuple(
        Rival(name, scale.turned(point), points[0] - point, *_ends(drawn[0] - values))
        for name, point, values in zip(rivals, points[1:], drawn[1:], strict=True)
    )
    return Comparison(measure, scale.turned(points[0]), low, high, len(labels), compared)


def _ends(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, _LEVELS)
    return float(low), float(high)


def _resampled(measure: str, everyone: list[torch.Tensor], labels: torch.Tensor, seed: int) -> list[Array]:
    """For each classifier its measure, higher is better, on each of the same draws of images."""
    rng, images = np.random.default_rng(seed), len(labels)
    size = max(1, _NUMBERS_AT_ONCE // images)
    found: list[list[Array]] = [[] for _ in everyone]
    for start in range(0, _RESAMPLES, size):
        counts = draw(images, min(size, _RESAMPLES - start), rng).T
        for values, logits in zip(found, everyone, strict=True):
            values.append(_on_draws(measure, counts, logits, labels))
    return [np.concatenate(values) for values in found]


def _on_draws(measure: str, counts: Array, logits: torch.Tensor, labels: torch.Tensor) -> Array:
    """The measure on draws that are told by how often each image is in them, shape ``(draws, images)``."""
    if measure == "log-loss":
        losses = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
        mean: Array = -(counts @ losses.numpy()) / counts.sum(1)
        return mean
    guesses = logits.argmax(1)
    right = (guesses == labels).double().numpy()
    if measure == "accuracy":
        share: Array = 100 * (counts @ right) / counts.sum(1)
        return share
    rows = np.arange(len(labels))
    true, guessed, found = (
        counts @ csr_array((weights, (rows, classes)), shape=logits.shape)
        for weights, classes in ((np.ones(len(rows)), labels), (np.ones(len(rows)), guesses), (right, labels))
    )
    # What is left out of the mean is what does not occur in a draw.
    top, bottom = (found, true) if measure == "balanced-accuracy" else (2 * found, true + guessed)
    ratios = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=ratios, where=bottom > 0)
    mean_ratio: Array = 100 * np.nanmean(ratios, axis=1)
    return mean_ratio
