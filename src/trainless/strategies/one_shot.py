"""ENAS, whose controller learns by the accuracies of shared weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainless.data import ImageDataset
from trainless.search_spaces.base import SearchSpace
from trainless.strategies.genotype_codes import GenotypeCodes
from trainless.strategies.taught import Taught, Told
from trainless.types import Architecture

if TYPE_CHECKING:
    import torch

    from trainless.supernets.keeping import KeptState

__all__ = ["ENAS"]


class ENAS(Taught):
    """ENAS: a recurrent controller and the weights that all paths share learn in turns.

    The first proposals are the paths that the controller drew in the end, the most accurate with the shared weights
    first; then it draws on.

    Source: Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018.

    Args:
        space: the search space, whose architectures are put together of choices.
        seed: decides all random choices.
        objectives: 1.
        epochs: of the shared weights.
        steps: of the controller after each epoch.
        minutes: most time that both learn; how far they come depends on the machine then.

    Raises:
        InputError: the space has no choices.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(ENAS(search_space("nasbench201"), epochs=20))
        'enas(epochs=20)'
    """

    name = "enas"

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, epochs: int = 50, steps: int = 50,
        minutes: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, objectives=objectives, minutes=minutes)
        GenotypeCodes(space)  # refuses a space without choices
        self.epochs, self.steps = epochs, steps
        self._policy: Callable[[torch.Generator], Architecture] | None = None

    def _study(self, images: ImageDataset, kept: KeptState, told: Told) -> None:
        from trainless.supernets import search_by_controller

        found = search_by_controller(
            self.space, *self._split(images), epochs=self.epochs, steps=self.steps, seed=self.seed,
            minutes=self.minutes, resume=kept.training(), on_epoch=kept.keeper(told, self.epochs, self.minutes),
        )  # fmt: skip
        self.learnt, self._policy = found.found, found.draw
        first, last = found.rewards[0], found.rewards[-1]
        self.note = (
            f"{found.found[0]} after {len(found.rewards)} epochs of enas: {found.accuracies[0]:.2f} % with shared "
            f"weights; what the controller drew had {first:.2f} % in the first epoch and {last:.2f} % in the last"
        )

    def _draw(self) -> Architecture:
        import torch

        if self._policy is None:
            return self.space.sample(self.rng)
        return self._policy(torch.Generator().manual_seed(int(self.rng.integers(2**63))))
