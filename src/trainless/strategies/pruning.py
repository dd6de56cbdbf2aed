"""Strategies that score the mixture of all networks without training, and take options away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.taught import Taught, Told
from trainless.types import ANY_TASK, Architecture

if TYPE_CHECKING:
    from trainless.supernets import MixtureScores
    from trainless.supernets.keeping import KeptState

__all__ = ["TENAS", "ZeroCostPT"]


class _Pruning(Taught):
    """What both share: after what was found they propose its neighbours."""

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1) -> None:
        super().__init__(space, seed, objectives=objectives)
        space.relaxation(ANY_TASK)  # refuses a space whose operations cannot be mixed

    def _scores(self, images: ImageDataset, kept: KeptState, names: tuple[str, ...], repeats: int = 1) -> MixtureScores:
        """Scores of mixtures, with those that are kept from an earlier run."""
        from trainless.supernets import MixtureScores

        return MixtureScores(
            self.space, images, names, seed=self.seed, repeats=repeats, known=(kept.read() or {}).get("known", {}),
            on_score=lambda known: kept.write({"known": known}),
        )  # fmt: skip

    def _draw(self) -> Architecture:
        if not self.learnt:
            return self.space.sample(self.rng)
        return self.space.mutate(self.learnt[int(self.rng.integers(len(self.learnt)))], self.rng)


class TENAS(_Pruning):
    """TE-NAS: the options go first that the tangent kernel and the linear regions of the mixture miss least.

    Source: Chen et al., Neural Architecture Search on ImageNet in Four GPU Hours: A Theoretically Inspired Perspective,
    ICLR 2021.

    Args:
        space: the search space, whose operations can be mixed.
        seed: decides all random choices.
        objectives: 1.
        repeats: draws of weights, over which both scores are averaged.

    Raises:
        InputError: the operations of the space cannot be mixed, or there is no draw.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(TENAS(search_space("nasbench201"), repeats=1))
        'te-nas(repeats=1)'
    """

    name = "te-nas"

    def __init__(self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, repeats: int = 3) -> None:
        super().__init__(space, seed, objectives=objectives)
        if repeats < 1:
            raise InputError(f"te-nas has {repeats} draws of weights, expected at least 1.")
        self.repeats = repeats

    def _study(self, images: ImageDataset, kept: KeptState, told: Told) -> None:
        from trainless.supernets import prune_by_trainability

        scores = self._scores(images, kept, ("ntk_condition", "linear_regions"), self.repeats)
        self.learnt = (prune_by_trainability(scores, told),)
        self.note = f"{self.learnt[0]} of {len(scores.known)} mixtures by te-nas, none of them trained"


class ZeroCostPT(_Pruning):
    """Zero-Cost-PT: choice by choice that option stays without which the score of the mixture falls furthest.

    Source: Xiang et al., Zero-Cost Operation Scoring in Differentiable Architecture Search, AAAI 2023.

    Args:
        space: the search space, whose operations can be mixed.
        seed: decides all random choices.
        objectives: 1.
        proxy: by which mixtures, and in the end the candidates, are scored.
        candidates: random orders of the choices, each of which gives one.

    Raises:
        InputError: the operations of the space cannot be mixed, or there is no candidate.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(ZeroCostPT(search_space("nasbench201"), proxy="snip"))
        'zero-cost-pt(proxy=snip)'
    """

    name = "zero-cost-pt"

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, proxy: str = "nwot", candidates: int = 10
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        if candidates < 1:
            raise InputError(f"zero-cost-pt has {candidates} candidates, expected at least 1.")
        self.proxy, self.candidates = proxy, candidates

    def _study(self, images: ImageDataset, kept: KeptState, told: Told) -> None:
        from trainless.supernets import perturb_by_scores

        scores = self._scores(images, kept, (self.proxy,))
        self.learnt = tuple(perturb_by_scores(scores, self.candidates, told))
        others, mixtures = len(self.learnt) - 1, len(scores.known)
        self.note = f"{self.learnt[0]} and {others} more of {mixtures} mixtures by zero-cost-pt, none of them trained"
