"""Searches without training that score the mixture of all networks, and take options away until one network is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainless.data import ImageDataset
from trainless.evaluation import score
from trainless.initialization import initialize
from trainless.proxies import proxies
from trainless.ranking import average_ranks
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, generator
from trainless.supernets.mixed import MixedNetwork
from trainless.types import Architecture

__all__ = ["MixtureScores", "perturb_by_scores", "prune_by_trainability"]

Told = Callable[[int, int], None]


@dataclass
class MixtureScores:
    """Scores of mixtures of those options that are kept, each alike; what was scored is known.

    Args:
        space: whose operations can be mixed.
        images: from which a batch is taken.
        names: proxies.
        seed: decides weights and batch.
        repeats: draws of weights, over which scores are averaged.
        batch_size: images of the batch.
        known: scores by the numbers of the options that are kept, from an earlier run too.
        on_score: called with all that are known after each that is new.

    Raises:
        InputError: the operations of the space cannot be mixed.
        UnknownNameError: there is no such proxy.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201(channels=2, cells=1)")
        >>> scores = MixtureScores(space, load_data("digits"), ("nwot",), batch_size=8)
        >>> len(scores(range(30))), len(scores.known)
        (1, 1)
    """

    space: SearchSpace
    images: ImageDataset
    names: Sequence[str]
    seed: int = 0
    repeats: int = 1
    batch_size: int = 32
    known: dict[tuple[int, ...], list[float]] = field(default_factory=dict)
    on_score: Callable[[dict[tuple[int, ...], list[float]]], None] = lambda known: None

    def __post_init__(self) -> None:
        self.signs = [1.0 if proxy.higher_is_better else -1.0 for proxy in proxies(self.names)]
        self.batch = self.images.batch(self.batch_size, derive_seed(self.seed, "mixture"))
        self.relaxation = self.space.relaxation(self.images.task)

    def __call__(self, kept: Collection[int]) -> list[float]:
        """Give the score by each proxy, higher is better; what is not finite is −∞."""
        key = tuple(sorted(kept))
        if key not in self.known:
            draws = np.array([self._scored(key, draw) for draw in range(self.repeats)])
            self.known[key] = draws.mean(0).tolist()
            self.on_score(self.known)
        return self.known[key]

    def _scored(self, kept: Collection[int], draw: int) -> list[float]:
        network = MixedNetwork(self.space, self.images.task, kept=kept, affine=True)
        initialize(network, generator=generator(self.seed, "mixture", draw))
        network.preferences.requires_grad_(False).zero_()
        found = score(
            network, self.batch.images, self.batch.labels, proxies=self.names, seed=derive_seed(self.seed, draw)
        )
        values = [sign * found[name] for sign, name in zip(self.signs, found, strict=True)]
        return [value if math.isfinite(value) else -math.inf for value in values]

    def decoded(self, worth: Mapping[int, float]) -> Architecture:
        """Give the architecture of one option of each choice, of whose edges a space may take those of most worth."""
        return self.relaxation.decode([[worth.get(number, 0.0) for number in own] for own in self.relaxation.numbers])


def prune_by_trainability(scores: MixtureScores, told: Told = lambda done, total: None) -> Architecture:
    """Take from each choice the option that the mixture misses least, again and again, until one of each is left.

    An option is missed by what two scores lose without it: the condition of the neural tangent kernel and the number
    of linear regions. Their ranks are added up.

    Source: Chen et al., Neural Architecture Search on ImageNet in Four GPU Hours (TE-NAS), ICLR 2021, algorithm 1.

    Args:
        scores: by ``ntk_condition`` and ``linear_regions``, or by others.
        told: called with how many mixtures are scored, and how many there will be.
    """
    choices = scores.relaxation.numbers
    kept, done, total = set[int]().union(*choices), 0, _rounds(choices)
    worth: dict[int, float] = {}
    while left := [[number for number in own if number in kept] for own in choices if len(kept & set(own)) > 1]:
        options, whole = [number for own in left for number in own], np.array(scores(kept))
        losses = []
        for number in options:
            losses.append(whole - np.array(scores(kept - {number})))
            done += 1
            told(done, total)
        # What has no score without an option misses it most, and where there is none with it either, nothing is known.
        ranks = np.sum([average_ranks(np.nan_to_num(column, nan=0.0)) for column in np.array(losses).T], axis=0)
        worth |= dict(zip(options, (ranks / ranks.max()).tolist(), strict=True))
        kept -= {min(own, key=lambda number: worth[number]) for own in left}
    return scores.decoded({number: worth.get(number, 1.0) for number in kept})


def _rounds(choices: Sequence[Collection[int]]) -> int:
    """Mixtures that are scored where each round takes one option from each choice."""
    return sum(sum(range(2, len(own) + 1)) for own in choices)


def perturb_by_scores(
    scores: MixtureScores, candidates: int, told: Told = lambda done, total: None
) -> list[Architecture]:  # fmt: skip
    """Decide choice by choice for the option without which the mixture's score is lowest, in several orders.

    Each order gives a candidate; those with the highest score of their own come first.

    Source: Xiang et al., Zero-Cost Operation Scoring in Differentiable Architecture Search, AAAI 2023.

    Args:
        scores: by one proxy.
        candidates: orders in which choices are decided, drawn by the seed.
        told: called with how many mixtures are scored, and how many there will be.
    """
    rng, choices, done = np.random.default_rng(derive_seed(scores.seed, "orders")), scores.relaxation.numbers, 0
    total = candidates * sum(map(len, choices))
    found: dict[Architecture, float] = {}
    for _ in range(candidates):
        kept, worth = set[int]().union(*choices), dict[int, float]()
        for own in (choices[number] for number in rng.permutation(len(choices))):
            without = dict[int, float]()
            for number in own:
                (without[number],) = scores(kept - {number})
                done += 1
                told(done, total)
            best = min(own, key=lambda number: without[number])
            (whole,) = scores(kept)
            kept -= set(own) - {best}
            worth[best] = whole - without[best]
        least = min(worth.values())
        # What is worth most is 1, and what is worth least above 0, which an option that is not there has.
        size = max(worth.values()) - least or 1.0
        spread = {number: 0.5 + 0.5 * (value - least) / size for number, value in worth.items()}
        found.setdefault(scores.decoded(spread), scores(kept)[0])
    return sorted(found, key=lambda architecture: -found[architecture])
