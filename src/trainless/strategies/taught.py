"""What strategies share that learn from images before they propose."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainless.data import ImageDataset, split
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.specs import spec_of
from trainless.store import Store
from trainless.strategies.base import CONTEXT, Proposal, Strategy
from trainless.training.train import check_minutes
from trainless.types import Architecture

if TYPE_CHECKING:
    from trainless.supernets.keeping import KeptState

__all__ = ["Taught"]

_LAYOUT = "2"  # of the states that are kept; those of another are not read
_VALID = 0.2  # share of the images by which shared weights are measured

Told = Callable[[int, int], None]


class Taught(Strategy):
    """A strategy whose first proposals are what was learnt from images; the others are drawn near to that."""

    batch = 8
    needs_images = True

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, minutes: float = math.inf
    ) -> None:  # fmt: skip
        super().__init__(space, seed, objectives=objectives)
        check_minutes(minutes)
        self.seed, self.minutes = seed, minutes

    def prepare(self, images: ImageDataset, store: Store | None = None, progress: Told | None = None) -> None:
        """Learn from images, or take what is kept beside the store."""
        from trainless.supernets.keeping import KeptState

        spec = spec_of(self, CONTEXT)
        kept = KeptState.on_images(store, self.space, images, self.seed, strategy=spec, layout=_LAYOUT)
        self._study(images, kept, progress or (lambda done, total: None))

    @abstractmethod
    def _study(self, images: ImageDataset, kept: KeptState, told: Told) -> None:
        """Learn, and set `learnt` and `note`."""

    def _split(self, images: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
        """The images to learn from, and those by which shared weights are measured."""
        return split(images, _VALID, derive_seed(self.seed, "gradients"))

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose what was learnt, then architectures drawn near to it."""
        first = [architecture for architecture in self.learnt if architecture not in self.seen][:n]
        drawn = self._fresh(n - len(first), self._draw, first, walk=True)
        return [Proposal(architecture) for architecture in [*first, *drawn]]

    @abstractmethod
    def _draw(self) -> Architecture:
        """Draw an architecture by what was learnt, or any where nothing was."""
