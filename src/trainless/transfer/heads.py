"""Heads of networks, fitted to features in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from trainless.proxies.closed_form import calibrated, discriminant, ridge, spectrum
from trainless.proxies.transferability import standardised
from trainless.seeding import generator

__all__ = ["ClosedForm", "closed_form"]

Floats = NDArray[np.float64]

_ROUNDING = 1e-6  # of a feature's mean; single precision has 6e-8, of each of some hundred sums


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """A head that was fitted in closed form.

    Args:
        kind: ``"ridge"`` or ``"discriminant"``, whichever has the smaller log-loss on images left out.
        layers: weight and bias of the hidden layer, if there is one, and of the last.
        accuracy: leave-one-out accuracy, from 0 to 1.
        loss: leave-one-out log-loss, in nats; an image that is the only one of its class counts as a guess.
    """

    kind: str
    layers: tuple[tuple[Floats, Floats], ...]
    accuracy: float
    loss: float

    def put_into(self, network: torch.nn.Module) -> None:
        """Set the weights of a network's head; the network is one of the space `pretrained`."""
        names = ("hidden", "head")[-len(self.layers) :]
        with torch.no_grad():
            for name, (weight, bias) in zip(names, self.layers, strict=True):
                layer = network.get_submodule(name)
                layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})


def closed_form(
    features: NDArray[np.floating], labels: NDArray[np.int64], classes: int, hidden: int = 0, *,
    balanced: bool = False, seed: int = 0,
) -> ClosedForm:  # fmt: skip
    """Fit a head in closed form: ridge regression or a linear discriminant, whichever suits images left out better.

    A hidden layer is drawn, and only what follows it is fitted (Huang et al., Extreme learning machine, Neurocomputing
    2006). Features are brought to mean 0 and deviation 1, which becomes part of the weights; numbers are scaled so that
    class probabilities are calibrated on images left out.

    Args:
        features: shape ``(images, features)``.
        labels: class of each image.
        classes: number of classes.
        hidden: width of the hidden layer; 0 is none.
        balanced: take all classes for equally frequent.
        seed: decides the weights of the hidden layer.

    Example:
        >>> head = closed_form(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1]), 2)
        >>> head.accuracy, len(head.layers)
        (1.0, 1)
    """
    values, mean, deviation = standardised(_without_rounding(features))
    layers: list[tuple[Floats, Floats]] = []
    if hidden:
        stream = generator(seed, "hidden layer")
        weight = torch.randn(hidden, values.shape[1], generator=stream, dtype=torch.float64).numpy()
        weight /= math.sqrt(values.shape[1])
        bias = torch.randn(hidden, generator=stream, dtype=torch.float64).numpy()
        layers.append(_folded(weight, bias, mean, deviation))
        values, mean, deviation = standardised(_without_rounding(np.maximum(values @ weight.T + bias, 0)))
    found = spectrum(values)
    fits = {"discriminant": discriminant(found, labels, classes, balanced=balanced)}
    if not balanced:
        fits["ridge"] = ridge(found, labels, classes)
    heads = []
    for kind, fit in fits.items():
        scaled = calibrated(fit, labels)
        last = _folded(scaled.weight, scaled.bias, mean, deviation)
        heads.append(ClosedForm(kind, (*layers, last), fit.accuracy(labels), _loss(scaled.left_out, labels)))
    return min(heads, key=lambda head: head.loss)


def _loss(left_out: Floats, labels: NDArray[np.int64]) -> float:
    losses = -log_softmax(left_out, 1)[np.arange(len(labels)), labels]
    return float(np.where(np.isfinite(losses), losses, math.log(left_out.shape[1])).mean())


def _without_rounding(features: NDArray[np.floating]) -> Floats:
    """Features of which those that vary by no more than single precision tells are constant."""
    values = np.asarray(features, np.float64)
    mean = values.mean(0)
    return np.where(values.std(0) > _ROUNDING * np.abs(mean), values, mean)


def _folded(weight: Floats, bias: Floats, mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """A linear map of standardised features as one of the features themselves."""
    scaled = weight / deviation
    return scaled, bias - scaled @ mean
