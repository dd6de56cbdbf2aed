"""Results of a fit: test accuracy, costs, and the protocol of how they came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainless.costs import cost_named

if TYPE_CHECKING:
    import torch

    from trainless.automl.comparison import Comparison
    from trainless.automl.finalists import Finalist
    from trainless.data import Splits
    from trainless.data.audits import Audit
    from trainless.export import PlainCode
    from trainless.search import Limits, SearchResult
    from trainless.search_spaces.base import Edge, SearchSpace
    from trainless.training import Recipe, TrainingResult
    from trainless.types import Architecture

__all__ = ["Fitted", "TestResult", "Trained"]


@dataclass(frozen=True, eq=False)
class TestResult:
    """Test accuracy of a network, on images that no choice was made by.

    Args:
        accuracy: share of the images whose class was found, from 0 to 1.
        low: lower end of the 95 % interval of the accuracy (Wilson).
        high: its upper end.
        measures: by name of `trainless.training.MEASURES`, its value; percent, or nats, of which less is better.
        confusion: number of images by true class (rows) and guessed class (columns).
        class_names: one name a class, in that order.

    Attributes:
        MOST_CLASSES: up to how many a confusion matrix is shown; of more, the classes that are found least often.

    Example:
        >>> result = TestResult(0.75, 0.3, 0.95, {"accuracy": 75.0}, np.array([[2, 0], [1, 1]]), ("cat", "dog"))
        >>> result.images, result.recall.tolist()
        (4, [1.0, 0.5])
    """

    __test__ = False  # for pytest, whose tests have such names
    MOST_CLASSES: ClassVar[int] = 30

    accuracy: float
    low: float
    high: float
    measures: Mapping[str, float]
    confusion: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the images of each class that was found; NaN for a class without images."""
        totals = self.confusion.sum(1)
        found: NDArray[np.float64] = np.full(len(totals), np.nan)
        np.divide(self.confusion.diagonal(), totals, out=found, where=totals > 0)
        return found


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that is to be tested, and how it came about.

    Args:
        space: the search space.
        architecture: one of it.
        network: maps images that are normalised as in `splits` to one number a class; in eval mode.
        splits: the images, normalised as the network wants them.
        training: its training.
        recipe: how it was trained.
        search: what it was chosen from.
        trials: the recipes that were tried, as in `Fitted`.
        weights: where its pretrained weights come from, as in `Fitted`.
        protocol: more of how it came about, as name and value.
        start: the run that it started from, as in `Fitted`.
    """

    space: SearchSpace
    architecture: Architecture
    network: torch.nn.Module
    splits: Splits
    training: TrainingResult
    recipe: Recipe
    search: SearchResult
    trials: Sequence[Mapping[str, Any]] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    protocol: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Result of a fit: a trained network, its test accuracy, its costs, and how it came about.

    Args:
        title: data and architecture in a few words.
        space: name of the search space with its options.
        architecture: what was found, as its published string.
        graph: its edges, as `SearchSpace.graph` gives them.
        network: maps float32 images with values from 0 to 1 to one number a class; plain PyTorch, in eval mode.
        code: the same as code and weights.
        test: what it does on the test images.
        comparison: the same beside simple classifiers.
        training: its training, measured on the validation images.
        recipe: how it was trained.
        trials: one row a recipe that was tried: ``trial``, ``recipe`` (hyper-parameter and value), ``measure``,
            ``epochs``, ``state``; the measure as it is maximised, log loss with its sign turned.
        search: the search that found it; of pretrained features all that were judged.
        audit: what is in the data.
        costs: by name all of `trainless.costs.COSTS`, measured on this machine where they are measured.
        limits: what the network may cost.
        seconds: by stage, the time it took: ``data``, ``search``, ``tuning``, ``training``, ``test``.
        finalists: the best few networks that it found, measured; empty in short fits that do not limit the latency.
        weights: origin and licence of the pretrained weights that it starts from; empty where there are none.
        notes: what happened that one should know, as sentences.
        protocol: how all this came about, as name and value.
        files: by kind, what was written where.
        start: the run that it started from, as `trainless.automl.EarlierRun.document` has it; empty without.
        setting: what a fit that starts from this one takes from it: seed, options, and where its images are.

    It can be pickled: the network is left out and made again of its code.
    """

    title: str
    space: str
    architecture: str
    graph: Sequence[Edge]
    network: torch.nn.Module
    code: PlainCode
    test: TestResult
    comparison: Comparison
    training: TrainingResult
    recipe: Recipe
    trials: Sequence[Mapping[str, Any]]
    search: SearchResult
    audit: Audit
    costs: Mapping[str, float]
    limits: Limits
    seconds: Mapping[str, float]
    finalists: Sequence[Finalist] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    protocol: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    setting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """What decided between networks and recipes, a name of `trainless.training.MEASURES`."""
        return self.comparison.measure

    @property
    def warnings(self) -> list[str]:
        """Why the network may be of little use, as sentences; empty where it is not."""
        broken = [
            f"The network breaks a limit: {said}." for said, is_broken in self._limits() if is_broken
        ]  # fmt: skip
        # What starts from pretrained weights, or from those for the same images, has learnt before.
        has_learnt = bool(self.weights) or self.start.get("use", "from") != "from"
        return [*self.comparison.warnings(None if has_learnt else self.training.epochs), *broken]

    def held(self) -> list[str]:
        """Say of each limit what the network has and the most that it may have.

        What is measured is measured anew, so it may be a little above a limit that was kept before the training.
        """
        return [said for said, _ in self._limits()]

    def _limits(self) -> Iterator[tuple[str, bool]]:
        """What is said of each limit, and whether it is broken."""
        for name, most in self.limits.most.items():
            cost, value = cost_named(name), self.costs.get(name)
            has = "" if value is None else f"{value:,.0f} of " if cost.is_whole else f"{value:.3g} of "
            is_broken = value is not None and value > most
            above = " (above it when measured anew)" if is_broken else ""
            yield f"{name} {has}at most {most:,.10g} {cost.unit}".rstrip() + above, is_broken

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "network"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from trainless.export.formats import module_of

        # A frozen object refuses assignment.
        vars(self).update(state, network=module_of(state["code"]))
