"""An estimator by network morphisms: short trainings from the weights of smaller networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trainless.data import ImageDataset
from trainless.estimators.base import Setting
from trainless.estimators.trained import Trained
from trainless.estimators.trainings import Start
from trainless.search_spaces.base import SearchSpace
from trainless.training import Recipe, train
from trainless.training.recipes import SHARED_RECIPE
from trainless.training.train import check_numbers
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    import torch

    from trainless.supernets.keeping import KeptState

__all__ = ["Morphed", "ancestor"]

_KEPT = 64  # trained networks in the memory of a process


@dataclass(frozen=True)
class Morphed(Trained):
    """Trains each architecture shortly, from the weights of a smaller one whose function it begins with.

    The smaller one is its `ancestor`: half as far up all options that are numbers, as far as the function can be kept.
    That one was trained in the same way, and so on down to one that has no ancestor, which is trained from drawn
    weights. So an estimate depends on nothing but its architecture, and architectures that are near to each other have
    ancestors in common, which a process trains once, and keeps for others where a store is.

    Source: Elsken et al., Simple and Efficient Architecture Search for Convolutional Neural Networks, 2017, for the
    short trainings; there the parent is the best network so far, and estimates depend on the order.

    Args:
        epochs: of each short training.
        recipe: how all are trained.
        first: epochs of those that have no ancestor, before their short training.

    Raises:
        InputError: there is no epoch.

    Example:
        >>> print(Morphed(epochs=1))
        morphed(epochs=1, first=8)
    """

    name = "morphed"
    epochs: int = 2
    recipe: Recipe = SHARED_RECIPE
    first: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(epochs=self.first, patience=None)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        return (
            f"a training of {self.epochs} epoch{'s' if self.epochs > 1 else ''} from the weights of an ancestor, the "
            f"first of which is trained for {self.first}"
        )

    def _options(self) -> Mapping[str, Any]:
        return {"keep_weights": True, "adapt_statistics": True}

    def _others(self, start: Start | None) -> dict[str, str]:
        return {"ancestors": f"first={self.first}"}

    def _start(
        self, setting: Setting, train_set: ImageDataset, valid_set: ImageDataset
    ) -> tuple[Start | None, float]:  # fmt: skip
        from trainless.supernets.keeping import KeptState

        kept = KeptState.on_images(setting.store, setting.space, setting.data, setting.seed, estimator=str(self))
        return _Descendants(self, setting.space, train_set, valid_set, setting.seed, kept), 0.0


def ancestor(space: SearchSpace, architecture: Architecture, task: Task) -> Architecture | None:
    """Find the architecture whose networks an architecture's network is grown from; None where there is none.

    Of each choice among numbers it has the option half as far up, of all other choices the same. Where the network
    could not begin with its function then, those choices alone are halved, from the last to the first, that let it.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space, task = search_space("chain"), Task("toy", 10)
        >>> print(ancestor(space, space.parse("k5w48-k3w64.pool"), task))
        k3w24-k1w24.pool
        >>> print(ancestor(space, space.parse("k1w8"), task))
        None
    """
    from trainless.morphism import can_morph

    after = space.blueprint(architecture, task)

    def found(genotype: list[str | int]) -> Architecture | None:
        smaller = space.canonical(space.nearest(genotype))
        blueprint = space.blueprint(smaller, task)
        return smaller if blueprint.parameters < after.parameters and can_morph(blueprint, after) else None

    genotype = list(architecture.genotype)
    halves = dict(_halved(space, architecture))
    if not halves:
        return None
    if whole := found([halves.get(position, gene) for position, gene in enumerate(genotype)]):
        return whole
    best = None
    for position in sorted(halves, reverse=True):
        trial = [*genotype[:position], halves[position], *genotype[position + 1 :]]
        if smaller := found(trial):
            genotype, best = trial, smaller
    return best


def _halved(space: SearchSpace, architecture: Architecture) -> Iterator[tuple[int, str | int]]:
    """The positions of the choices among numbers that can be less, with the options half as far up."""
    for position, (options, gene) in enumerate(zip(space.choices, architecture.genotype, strict=False)):
        if all(str(option).isdecimal() for option in options) and (code := options.index(gene)):
            yield position, options[code // 2]


class _Descendants:
    """Makes networks with the weights of their ancestors, each of which is trained once."""

    def __init__(
        self, estimator: Morphed, space: SearchSpace, train_set: ImageDataset, valid_set: ImageDataset, seed: int,
        kept: KeptState,
    ) -> None:  # fmt: skip
        self._all = estimator, space, train_set, valid_set, seed, kept
        self._trained = lru_cache(_KEPT)(self._train)

    def __call__(self, architecture: Architecture) -> torch.nn.Module:
        from trainless.morphism import morph

        estimator, space, train_set, _, seed, _ = self._all
        if parent := ancestor(space, architecture, train_set.task):
            before, after = (space.blueprint(member, train_set.task) for member in (parent, architecture))
            return morph(self._trained(parent), before, after, seed=seed)
        return self._fitted(space.build(architecture, train_set.task), estimator.first)

    def _train(self, architecture: Architecture) -> torch.nn.Module:
        estimator, space, train_set, _, _, kept = self._all
        kept = kept.part(ancestor=str(architecture))
        if state := kept.read():
            network = space.build(architecture, train_set.task)
            network.load_state_dict(state)
            return network
        network = self._fitted(self(architecture), estimator.epochs, further=True)
        kept.write(network.state_dict())
        return network

    def _fitted(self, network: torch.nn.Module, epochs: int, *, further: bool = False) -> torch.nn.Module:
        estimator, _, train_set, valid_set, seed, _ = self._all
        train(
            network, train_set, valid_set, epochs=epochs, seed=seed, recipe=estimator.recipe, keep_weights=further,
            adapt_statistics=further,
        )  # fmt: skip
        return network

    def __reduce__(self) -> tuple[type[_Descendants], tuple[Any, ...]]:
        # What is kept for speed stays in its process.
        return _Descendants, self._all
