"""The estimator that learns from a trained sample: a model of architectures and their zero-cost scores."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from trainless.errors import InputError, UnknownNameError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting, distinct_sample
from trainless.estimators.learning import LearningCurve
from trainless.estimators.raw_scores import RawScores
from trainless.estimators.trained import EarlyStopping, Full, Reduced
from trainless.estimators.zero_cost import ZeroCost
from trainless.proxies import proxies
from trainless.seeding import derive_seed
from trainless.specs import look_up, spec_of
from trainless.types import Architecture

__all__ = ["LEAST", "MODELS", "Fitted", "Surrogate", "fit_model"]

MODELS = ("gp", "boosting")
LEAST = 5
"""Fewest trained architectures from which anything can be learned."""

_BASES: dict[str, type[Estimator]] = {
    kind.name: kind for kind in (Full, EarlyStopping, Reduced, LearningCurve, ZeroCost)
}
_BATCH = 64  # images that proxies see
_FOLDS = 5

Array = npt.NDArray[np.float64]


class Fitted(NamedTuple):
    """A model of values.

    Args:
        predict: gives mean and standard deviation for one row of features.
        rank_correlation: Spearman's between values and what is predicted for them by models that did not see them.
        error: root mean square of what these predictions are off.
    """

    predict: Callable[[Array], tuple[float, float]]
    rank_correlation: float
    error: float


@dataclass(frozen=True)
class Surrogate(Estimator):
    """Trains a seeded sample by another estimator, fits a model to it, and predicts all others.

    The features are what `SearchSpace.encode` gives and the scores of proxies. A Gaussian process says how sure it is
    of each prediction; for a boosted one the error in cross-validation stands for all. An architecture of the sample
    is predicted like any other.

    Source: White et al., How Powerful are Performance Predictors in Neural Architecture Search?, NeurIPS 2021, with
    zero-cost scores as features.

    Args:
        model: ``"gp"``, a Gaussian process, or ``"boosting"``, boosted trees.
        sample: architectures that are trained, all different networks.
        proxies: names with spaces between, whose scores are features; ``none`` for none.
        base: the estimator that the sample is trained by.

    Raises:
        InputError: an option cannot be used.

    Example:
        >>> Surrogate("boosting", sample=30, base="full(epochs=12)").fidelity
        'boosting predicts from 30 others, each by a whole training of 12 epochs'
    """

    name = "surrogate"
    is_taught = True
    model: str = "gp"
    sample: int = 20
    proxies: str = "flops nwot"
    base: str | Estimator = "full"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UnknownNameError("model of the surrogate", self.model, MODELS)
        if self.sample < LEAST:
            raise InputError(f"The sample of the surrogate is {self.sample}, expected at least {LEAST} architectures.")
        self._names()
        if isinstance(self._base(), Surrogate):
            raise InputError(f"The base of the surrogate is '{self.base}', expected an estimator that is no surrogate.")

    def __str__(self) -> str:
        return spec_of(self)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return f"{self.model} predicts from {self.sample} others, each by {self._base().fidelity}"

    @property
    def minutes(self) -> float:  # type: ignore[override]  # read only, as in all that are frozen
        """How long what its base is taught may take."""
        return self._base().minutes

    def _base(self) -> Estimator:
        if isinstance(self.base, Estimator):
            return self.base
        return look_up("estimator", self.base, _BASES | {self.name: Surrogate})()

    def _names(self) -> list[str]:
        return [] if self.proxies == "none" else [known.name for known in proxies(self.proxies.split())]

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Train the sample as soon as anything is asked for, and keep the model."""
        names, learned = self._names(), list[_Learned]()
        source = RawScores(tuple(proxies(names or "params")), min(_BATCH, len(setting.data)))
        with source.session(setting) as scored:

            def features(architectures: Sequence[Architecture]) -> Array:
                rows = [estimate.row[: len(names)] for estimate in scored(architectures)]
                codes = [setting.space.encode(architecture) for architecture in architectures]
                return np.array([np.concatenate([code, _damped(row)]) for code, row in zip(codes, rows, strict=True)])

            def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
                if not learned:
                    learned.append(self._learned(setting, features))
                rows = zip(architectures, features(architectures), strict=True)
                return [learned[0].estimate(architecture, row) for architecture, row in rows]

            yield ask

    def _learned(self, setting: Setting, features: Callable[[Sequence[Architecture]], Array]) -> _Learned:
        sample = distinct_sample(setting.space, self.sample, setting.seed, "surrogate")
        estimates = self._base().estimate(sample, setting)
        finite = [number for number, estimate in enumerate(estimates) if np.isfinite(estimate.value)]
        if len(finite) < LEAST:
            reason = next(
                (estimate.reason for estimate in estimates if estimate.reason), "the space has no more networks"
            )
            raise InputError(
                f"Only {len(finite)} of the {self.sample} architectures that the surrogate shall learn from have a "
                f"value by {self.base} ({reason}): mend that, or choose another base."
            )
        values = np.array([estimates[number].value for number in finite])
        fitted = fit_model(self.model, features([sample[number] for number in finite]), values, setting.seed)
        note = (
            f"rank correlation {fitted.rank_correlation:.2f} and error {fitted.error:.3g} in cross-validation over "
            f"{len(finite)} architectures"
        )
        seconds = sum(estimate.seconds for estimate in estimates)
        seconds += max(estimate.shared_seconds for estimate in estimates)
        return _Learned(fitted, note, seconds)


class _Learned(NamedTuple):
    fitted: Fitted
    note: str
    seconds: float

    def estimate(self, architecture: Architecture, features: Array) -> Estimate:
        start = time.monotonic()
        value, deviation = self.fitted.predict(features)
        return Estimate(
            str(architecture), value, time.monotonic() - start, deviation=deviation, shared_seconds=self.seconds,
            note=self.note,
        )  # fmt: skip


def _damped(scores: Sequence[float]) -> Array:
    """Raw scores over many orders of magnitude, brought to a few; NaN for what is not finite."""
    values = np.array(scores, dtype=float)
    return np.where(np.isfinite(values), np.sign(values) * np.log1p(np.abs(values)), np.nan)


def fit_model(kind: str, features: Array, values: Array, seed: int = 0) -> Fitted:
    """Fit a model of values, and tell how it does in cross-validation (5 parts, drawn by the seed).

    Args:
        kind: one of `MODELS`.
        features: shape ``(n, features)``; NaN counts as the lowest of its column.
        values: shape ``(n,)``, higher is better.
        seed: of the parts, of the boosting and of where the Gaussian process begins.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.uniform(size=(40, 2))
        >>> fitted = fit_model("gp", features, 80 + 10 * features[:, 0])
        >>> round(fitted.predict(np.array([0.5, 0.5]))[0], 1), fitted.rank_correlation > 0.95
        (85.0, True)
    """
    from scipy.stats import spearmanr

    folds = np.random.default_rng(derive_seed(seed, "folds")).permutation(len(values)) % min(_FOLDS, len(values))
    unseen = np.empty(len(values))
    for fold in range(folds.max() + 1):
        out = folds == fold
        predict = _predictor(kind, features[~out], values[~out], seed)
        unseen[out] = [predict(row)[0] for row in features[out]]
    varied = np.ptp(values) > 0 and np.ptp(unseen) > 0
    correlation = float(spearmanr(values, unseen).statistic) if varied else 0.0
    error = float(np.sqrt(((values - unseen) ** 2).mean()))
    predict = _predictor(kind, features, values, seed)
    if kind == "gp":
        return Fitted(predict, correlation, error)
    return Fitted(lambda row: (predict(row)[0], error), correlation, error)


def _predictor(kind: str, features: Array, values: Array, seed: int) -> Callable[[Array], tuple[float, float]]:
    """Fit on standardised columns; rows are predicted each alone, so that a number depends on no other."""
    lowest = np.nan_to_num(np.fmin.reduce(features), nan=0.0)
    filled = np.where(np.isnan(features), lowest, features)
    mean, width = filled.mean(axis=0), filled.std(axis=0)
    width[width == 0] = 1.0
    made = _gaussian_process(features.shape[1], seed) if kind == "gp" else _boosting(seed)
    with threadpool_limits(1), warnings.catch_warnings():
        from sklearn.exceptions import ConvergenceWarning

        # A length or a noise at the end of its range is an answer here: the column says nothing, or all.
        warnings.simplefilter("ignore", ConvergenceWarning)
        made.fit((filled - mean) / width, values)

    def predict(row: Array) -> tuple[float, float]:
        scaled = ((np.where(np.isnan(row), lowest, row) - mean) / width)[None]
        with threadpool_limits(1):
            if kind == "gp":
                (value,), (deviation,) = made.predict(scaled, return_std=True)
                return float(value), float(deviation)
            return float(made.predict(scaled)[0]), 0.0

    return predict


def _gaussian_process(columns: int, seed: int) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    # The distance of two standardised rows grows with the root of the number of columns.
    usual = float(np.sqrt(columns))
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(usual, (usual / 10, usual * 100), nu=2.5)
    return GaussianProcessRegressor(
        kernel + WhiteKernel(0.1, (1e-4, 1e1)), normalize_y=True, n_restarts_optimizer=2,
        random_state=derive_seed(seed, "gp") % 2**32,
    )  # fmt: skip


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=150, learning_rate=0.05, max_depth=3, min_samples_leaf=2, subsample=0.8,
        random_state=derive_seed(seed, "boosting") % 2**32,
    )  # fmt: skip
