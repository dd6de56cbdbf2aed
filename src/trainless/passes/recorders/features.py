"""Recorders of the last feature map and of what normalisations see, for Zen's pairs of inputs."""

from __future__ import annotations

import torch

from trainless.errors import NetworkError
from trainless.passes.observers import FeatureObserver, Rules
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec

__all__ = ["FeatureChanges", "NormalisationVariances"]


class Features(Recorder):
    """Observes the features of the forward passes of one repeat."""

    inputs = frozenset({"noise_pair"})

    def __init__(self) -> None:
        self._observers: list[FeatureObserver] = []

    def begin(self, run: Run) -> None:
        """Observe another forward pass."""
        self._observers.append(FeatureObserver())

    def rules(self, run: Run) -> Rules:
        """Rules that see normalisations and pooling."""
        return self._observers[-1].rules


class FeatureChanges(Features):
    """Measures how much the last feature map changes between the two inputs of a pair."""

    name = "feature_changes"

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[float] = []

    def finish(self, run: Run) -> None:
        """Compare the two feature maps."""
        first, second = (observer.features for observer in self._observers)
        self._observers = []
        if first is None or second is None:
            raise NetworkError("The network has no global average pooling: Zen reads the feature map before it.")
        self._changes.append(float((first - second).abs().flatten(1).double().sum(1).mean()))

    def value(self) -> list[float]:
        """One number a repeat."""
        return self._changes


class NormalisationVariances(Features):
    """Measures the variance of what goes into each batch normalisation."""

    name = "normalisation_variances"

    def __init__(self) -> None:
        super().__init__()
        self._variances: list[list[tuple[float, float]]] = []

    @classmethod
    def refusal(cls, spec: PassSpec) -> str:
        """Batch normalisation that is left out sees nothing."""
        if spec.batch_norm == "bypassed":
            return "is measured at batch normalisation, which batch_norm='bypassed' leaves out"
        return super().refusal(spec)

    def finish(self, run: Run) -> None:
        """Reduce the variances of both forward passes."""
        self._variances.append(_mean_variances(*self._observers))
        self._observers = []

    def value(self) -> list[list[tuple[float, float]]]:
        """For each repeat and normalisation a pair of variances."""
        return self._variances


def _mean_variances(first: FeatureObserver, second: FeatureObserver) -> list[tuple[float, float]]:
    """Mean over channels of the first batch's variance, and of the running one after both batches, from 1."""
    means = []
    for earlier, later in zip(first.variances, second.variances, strict=True):
        running = torch.ones_like(earlier[0])
        for variance, count, momentum in (earlier, later):
            running = (1 - momentum) * running + momentum * variance * count / max(count - 1, 1)
        means.append((float(earlier[0].mean()), float(running.mean())))
    return means
