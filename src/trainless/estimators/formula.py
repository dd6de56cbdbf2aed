"""The formula of the accuracy after a time: a ridge regression on trainings of the same networks for several times."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainless.search_spaces import search_space
from trainless.search_spaces.blueprint import Blueprint
from trainless.search_spaces.nodes import Node
from trainless.tables import BenchmarkTable
from trainless.tables.tasks import TASKS

__all__ = ["FEATURES", "Formula", "cross_validated", "fit_formula", "samples"]

_RIDGE = 1.0  # beside the number of samples, of standardised features
_FOLDS = 10
_SMOOTH = ("silu", "gelu")
_COLUMNS = ("mean", "least", "most", "points")

Array = npt.NDArray[np.float64]
Feature = Callable[[Blueprint, float], float]


def _convolutions(blueprint: Blueprint) -> list[Node]:
    return [node for node in blueprint.nodes if "conv" in node.operation]


def _depth(blueprint: Blueprint) -> int:
    """Convolutions, with their repetitions."""
    return sum(node.repeat for node in _convolutions(blueprint))


def _separable(blueprint: Blueprint) -> float:
    """Share of the convolutions that are depthwise."""
    return sum(node.repeat for node in _convolutions(blueprint) if node.groups > 1) / _depth(blueprint)


def _residual(blueprint: Blueprint) -> float:
    """Shortcuts for each convolution."""
    return sum(node.repeat for node in blueprint.nodes if node.operation == "skip_connect") / _depth(blueprint)


def _smooth(blueprint: Blueprint) -> float:
    """Share of the activations that are no ReLU."""
    activated = [node for node in blueprint.nodes if node.operation.endswith(("relu", *_SMOOTH))]
    return sum(node.operation.endswith(_SMOOTH) for node in activated) / max(1, len(activated))


def _last_rows(blueprint: Blueprint) -> int:
    """Rows that are left before the pooling over all of the image."""
    return next(node.size[0] for node in blueprint.nodes if node.operation.startswith("global"))


FEATURES: Mapping[str, Feature] = {
    "epochs": lambda _, epochs: math.log(epochs),
    "multiply-adds": lambda blueprint, _: math.log(blueprint.multiply_adds),
    "multiply-adds by epochs": lambda blueprint, epochs: math.log(blueprint.multiply_adds) * math.log(epochs),
    "parameters": lambda blueprint, _: math.log(blueprint.parameters),
    "depth": lambda blueprint, _: math.log(_depth(blueprint)),
    "residual": lambda blueprint, _: _residual(blueprint),
    "separable": lambda blueprint, _: _separable(blueprint),
    "whitening": lambda blueprint, _: any(node.operation == "whitening" for node in blueprint.nodes),
    "smooth activations": lambda blueprint, _: _smooth(blueprint),
    "rows at the end": lambda blueprint, _: math.log(_last_rows(blueprint)),
}
"""What the accuracy is explained by, of a network and the epochs of its training; amounts in logarithms."""

_PRODUCT = list(FEATURES).index("multiply-adds by epochs")
_FACTORS = [list(FEATURES).index(name) for name in ("multiply-adds", "epochs")]


@dataclass(frozen=True)
class Formula:
    """A sum of terms, one a feature, each linear in it between the least and the most that was seen, and flat beyond.

    Of the term of multiply-adds by epochs that holds for each of the two.

    Args:
        mean: of each feature, where its term is 0.
        least: the least that was seen of each.
        most: the most.
        slopes: points of accuracy for one more of a feature.
        average: accuracy in percent where all terms are 0.
        error: root mean square of what predictions of networks that were not seen are off, in points.
    """

    mean: Array
    least: Array
    most: Array
    slopes: Array
    average: float
    error: float

    def document(self) -> dict[str, Any]:
        """Give the coefficients by feature, as plain numbers that `read` makes the formula of again."""
        columns = zip(self.mean, self.least, self.most, self.slopes, strict=True)
        features = {
            name: dict(zip(_COLUMNS, map(float, column), strict=True))
            for name, column in zip(FEATURES, columns, strict=True)
        }
        return {"average": self.average, "error": self.error, "features": features}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Formula:
        """Make it of what `document` gave."""
        mean, least, most, points = (
            np.array([document["features"][name][column] for name in FEATURES]) for column in _COLUMNS
        )
        return cls(mean, least, most, points, document["average"], document["error"])

    def terms(self, blueprint: Blueprint, epochs: float) -> dict[str, float]:
        """Give what each feature adds, and the average of all networks under ``"average"``."""
        row = np.array([feature(blueprint, epochs) for feature in FEATURES.values()])
        return {"average": self.average, **dict(zip(FEATURES, self._added(row).tolist(), strict=True))}

    def predict(self, rows: Array) -> Array:
        """Predict accuracies of rows of features, shape ``(n, features)``."""
        predicted: Array = self.average + self._added(rows).sum(axis=1)
        return predicted

    def _added(self, rows: Array) -> Array:
        within = np.clip(rows, self.least, self.most)
        # Of the product each factor is within what was seen: heavy networks with many epochs are not in the table.
        within[..., _PRODUCT] = within[..., _FACTORS].prod(axis=-1)
        added: Array = self.slopes * (within - self.mean)
        return added


def samples(table: BenchmarkTable, dataset: str, scores: Sequence[str] = ()) -> tuple[list[str], Array, Array]:
    """Read the trainings of a table: architectures, their features, shape ``(n, features)``, and accuracies.

    Args:
        table: with the columns ``valid_<seconds>s`` and ``epochs_<seconds>s`` of the data set.
        dataset: its name.
        scores: columns of it that are features too, after all of `FEATURES`: each as sign times log(1 + amount).
    """
    space, names, rows, accuracies = search_space(table.space), list[str](), list[list[float]](), list[float]()
    task = TASKS[table.space][dataset]
    for split in table.splits(dataset):
        found = table.frame[[f"{dataset}.{split}", f"{dataset}.{split.replace('valid', 'epochs')}"]].dropna()
        told = table.frame.loc[found.index, [f"{dataset}.{score}" for score in scores]].to_numpy(float)
        added = np.sign(told) * np.log1p(np.abs(told))
        for (name, accuracy, epochs), more in zip(found.itertuples(), added.tolist(), strict=True):
            blueprint = space.blueprint(space.canonical(space.parse(name)), task)
            names.append(name)
            rows.append([*(feature(blueprint, epochs) for feature in FEATURES.values()), *more])
            accuracies.append(accuracy)
    return names, np.array(rows), np.array(accuracies)


def fit_formula(table: BenchmarkTable, dataset: str, scores: Sequence[str] = ()) -> Formula:
    """Fit the formula to the trainings of a table on a data set.

    Args:
        table: as for `samples`.
        dataset: its name.
        scores: as for `samples`; a formula with any tells no `Formula.terms`.
    """
    names, rows, accuracies = samples(table, dataset, scores)
    mean, slopes, average = _regression(rows, accuracies)
    error = float(np.sqrt(((_unseen(names, rows, accuracies) - accuracies) ** 2).mean()))
    return Formula(mean, rows.min(axis=0), rows.max(axis=0), slopes, average, error)


def cross_validated(table: BenchmarkTable, dataset: str, scores: Sequence[str] = ()) -> Array:
    """Predict each training by a formula that was fitted without its network, in ten parts; shape ``(n,)``.

    Args:
        table: as for `samples`.
        dataset: its name.
        scores: as for `samples`.
    """
    return _unseen(*samples(table, dataset, scores))


def _unseen(names: Sequence[str], rows: Array, accuracies: Array) -> Array:
    part = {name: number % _FOLDS for number, name in enumerate(dict.fromkeys(names))}
    parts, unseen = np.array([part[name] for name in names]), np.empty(len(accuracies))
    for number in range(_FOLDS):
        out = parts == number
        mean, slopes, average = _regression(rows[~out], accuracies[~out])
        unseen[out] = average + (rows[out] - mean) @ slopes
    return unseen


def _regression(rows: Array, accuracies: Array) -> tuple[Array, Array, float]:
    """Mean of the rows, slopes and mean of the accuracies."""
    mean, width, average = rows.mean(axis=0), rows.std(axis=0), float(accuracies.mean())
    scaled = (rows - mean) / width
    penalty = _RIDGE * np.eye(rows.shape[1])
    slopes: Array = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (accuracies - average)) / width
    return mean, slopes, average
