"""Where a learning curve leads: parametric families are fitted to its beginning, and their forecasts weighed.

Source: Domhan, Springenberg and Hutter, Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by
Extrapolation of Learning Curves, IJCAI 2015. There the mixture is sampled; here each family is fitted once, by least
squares with a weak prior, and weighed by its likelihood, so that the forecast is a fixed function of the curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError

__all__ = ["FAMILIES", "Forecast", "extrapolate"]

Array = npt.NDArray[np.float64]

_NOISE = 0.1  # points; a curve is never known better than that
_PRIOR = 0.01  # points that a parameter costs when it is one width off its usual value
_STARTS = (0.5, 1.0, 2.0)  # usual rate times these


class Forecast(NamedTuple):
    """Where a curve leads.

    Args:
        value: the accuracy at the end, in percent.
        deviation: its standard deviation, by the disagreement of the families and the noise of the curve.
        families: by name, the weight of each family.

    Example:
        >>> Forecast(91.0, 0.5, {"pow3": 1.0}).value
        91.0
    """

    value: float
    deviation: float
    families: dict[str, float]


class _Family(NamedTuple):
    """A curve that rises from its start to a limit; `shape` falls from 1 to 0 over the epochs."""

    shape: Callable[[Array, float, float], Array]  # of epochs, rate and exponent
    rate: float  # usual value
    exponent: float | None  # usual value; None where there is none


FAMILIES: dict[str, _Family] = {
    # c - a x^-rate, the power law
    "pow3": _Family(lambda x, rate, _: x**-rate, 0.7, None),
    # c - a exp(-rate x)
    "exp3": _Family(lambda x, rate, _: np.exp(-rate * (x - 1)), 0.4, None),
    # c - a / log(x + 1)
    "ilog2": _Family(lambda x, rate, _: np.log(2.0) / np.log(x + 1), 1.0, None),
    # Morgan-Mercer-Flodin: c - a / (1 + (rate x)^exponent)
    "mmf4": _Family(lambda x, rate, power: (1 + rate**power) / (1 + (rate * x) ** power), 0.5, 1.5),
    # Janoschek and Weibull: c - a exp(-rate x^exponent)
    "weibull4": _Family(lambda x, rate, power: np.exp(-rate * (x**power - 1)), 0.5, 0.8),
}
"""The families of curves, each with its usual parameters."""


def extrapolate(curve: Sequence[float], length: int, *, noise: float = _NOISE) -> Forecast:
    """Forecast a curve of accuracies from its beginning.

    All families have the form ``c - a f(x)`` with an f that falls from 1 to 0, c at most 100 and a not below 0; of f
    none to two parameters are fitted. A family counts by its likelihood under the noise, with half a logarithm of the
    number of epochs off for each parameter. The noise is that given, or what the best family leaves if that is more.

    Args:
        curve: accuracies after each epoch so far, in percent.
        length: epochs at the end.
        noise: standard deviation of an accuracy, in points.

    Returns:
        The forecast; never above 100, nor below the last accuracy by more than the noise. Fewer than 3 epochs say
        nothing of where they lead, so that the highest of them is given, and what is missing to 100 as its deviation.

    Raises:
        InputError: the curve is empty, longer than the end, or holds what is no accuracy.

    Example:
        >>> curve = [90 - 50 * epoch**-0.8 for epoch in range(1, 9)]
        >>> abs(extrapolate(curve, 30).value - (90 - 50 * 30**-0.8)) < 0.5
        True
    """
    seen = np.asarray(curve, dtype=float)
    if not 1 <= len(seen) <= length or not ((seen >= 0) & (seen <= 100)).all():
        raise InputError(
            f"The learning curve has {len(seen)} epochs and shall be continued to {length}, expected 1 to {length} "
            "accuracies from 0 to 100."
        )
    noise = max(noise, _NOISE)
    if len(seen) == length:
        return Forecast(float(seen[-1]), 0.0, {})
    if len(seen) < 3:
        highest = float(seen.max())
        return Forecast(highest, max(noise, 100 - highest), {})
    fits = {name: _fitted(family, seen, length) for name, family in FAMILIES.items()}
    # What a fit leaves over, with the freedom that it has: the noise where that is more than was said.
    spread = max(noise, min(math.sqrt(rss / max(1, len(seen) - 1)) for _, rss, _ in fits.values()))
    costs = {name: rss / spread**2 / 2 + count * math.log(len(seen)) / 2 for name, (_, rss, count) in fits.items()}
    least = min(costs.values())
    raw = {name: math.exp(least - cost) for name, cost in costs.items()}
    weights = {name: weight / sum(raw.values()) for name, weight in raw.items()}
    bounded = {name: min(100.0, max(value, float(seen[-1]) - spread)) for name, (value, _, _) in fits.items()}
    value = sum(weights[name] * bounded[name] for name in fits)
    variance = sum(weights[name] * (bounded[name] - value) ** 2 for name in fits)
    return Forecast(value, math.sqrt(variance + spread**2), weights)


def _fitted(family: _Family, seen: Array, length: int) -> tuple[float, float, int]:
    """The forecast of one family, the squares that it leaves, and the number of its parameters."""
    from scipy.optimize import least_squares

    epochs = np.arange(1.0, len(seen) + 1)
    usual = [math.log(family.rate)] + ([] if family.exponent is None else [math.log(family.exponent)])
    free = 0 if family is FAMILIES["ilog2"] else len(usual)

    def shape(logs: Array, x: Array) -> Array:
        rate, exponent = np.exp(logs[0]), np.exp(logs[1]) if len(logs) > 1 else 1.0
        return family.shape(x, float(rate), float(exponent))

    def residuals(logs: Array) -> Array:
        form = shape(logs, epochs)
        limit, fall = _line(form, seen)
        return np.concatenate([limit - fall * form - seen, _PRIOR * (logs - usual)])

    best = np.array(usual)
    if free:
        starts = [np.array([usual[0] + math.log(start), *usual[1:]]) for start in _STARTS]
        bounds = ([math.log(0.01)] + [math.log(0.1)] * (free - 1), [math.log(10.0)] + [math.log(5.0)] * (free - 1))
        found = [least_squares(residuals, start, bounds=bounds, x_scale=1.0, xtol=1e-12) for start in starts]
        best = min(found, key=lambda fit: float(fit.cost)).x
    form = shape(best, epochs)
    limit, fall = _line(form, seen)
    value = limit - fall * float(shape(best, np.array([float(length)]))[0])
    return value, float(((limit - fall * form - seen) ** 2).sum()), free + 2


def _line(form: Array, seen: Array) -> tuple[float, float]:
    """The best limit of at most 100 and fall of at least 0 for a given form."""
    centred = form - form.mean()
    squares = float(centred @ centred)
    fall = max(0.0, -float(centred @ seen) / squares) if squares > 1e-12 else 0.0
    limit = float(seen.mean()) + fall * float(form.mean())
    if limit > 100:
        # On the bound what is left is the fall alone.
        limit, fall = 100.0, max(0.0, float(form @ (100 - seen)) / float(form @ form))
    return limit, fall
