"""Gradient-based strategies: shares of options are learnt from images, and architectures drawn by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainless.data import ImageDataset, fingerprint, split
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.relaxation import Relaxation
from trainless.seeding import derive_seed
from trainless.store import Store
from trainless.strategies.base import Proposal, Strategy
from trainless.types import Architecture, Task

__all__ = ["GDAS", "Darts", "DrNAS", "GradientBased"]

_VALID = 0.2  # share of the images on which the mixed network is measured; nothing is chosen by that
_ANY = Task("any", 1)  # what there is to choose among does not depend on the task


class GradientBased(Strategy):
    """What all gradient-based strategies share: the first proposal is what was learnt, the others are drawn by it.

    Before the first proposal `prepare` trains a mixed network, by `trainless.supernets.search_by_gradients`. Without it
    all options are alike.

    Args:
        space: the search space, whose operations can be mixed.
        seed: decides all random choices.
        objectives: 1.
        epochs: of the mixed network.
        rate: learning rate of the preferences.

    Raises:
        InputError: the operations of the space cannot be mixed.
    """

    batch = 8
    needs_images = True
    method: str

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, epochs: int = 50, rate: float = 3e-4
    ) -> None:
        super().__init__(space, seed, objectives=objectives)
        self.epochs, self.rate, self.seed = epochs, rate, seed
        self._relaxation: Relaxation = space.relaxation(_ANY)
        self._shares = [np.full(len(options), 1 / len(options)) for options in self._relaxation.choices]

    def prepare(
        self, images: ImageDataset, store: Store | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Learn the shares of the options."""
        from trainless.supernets import search_by_gradients
        from trainless.supernets.keeping import KeptState
        from trainless.training import TrainingState

        kept = KeptState(
            store,
            {"strategy": f"{self.method} {self.epochs} {self.rate}", "space": self.space.spec, "seed": str(self.seed),
             "data": f"{images.task} {fingerprint(images)}"},
        )  # fmt: skip
        told = progress or (lambda done, total: None)

        def keep(state: TrainingState) -> None:
            kept.write(state)
            told(state.epochs, self.epochs)

        train_set, valid_set = split(images, _VALID, derive_seed(self.seed, "gradients"))
        found = search_by_gradients(
            self.space, train_set, valid_set, method=self.method, epochs=self.epochs, seed=self.seed,
            preference_rate=self.rate, resume=kept.read(), on_epoch=keep,
        )  # fmt: skip
        ends = np.cumsum([len(options) for options in self._relaxation.choices])[:-1]
        self._shares = np.split(np.array(found.shares[-1]), ends)
        self.learnt = (found.architecture,)
        self.note = (
            f"{found.architecture} after {self.epochs} epochs of {self.method}; its skip connections are "
            f"{found.skips[-1]}, after the first epoch they were {found.skips[0]}"
        )

    def ask(self, n: int = 1) -> list[Proposal]:
        """Propose what was learnt, then architectures drawn by the shares of their options."""
        first = [architecture for architecture in self.learnt if architecture not in self.seen][:n]
        drawn = self._fresh(n - len(first), self._draw, first, walk=True)
        return [Proposal(architecture) for architecture in [*first, *drawn]]

    def _draw(self) -> Architecture:
        # The largest of logarithms with Gumbel noise is an option drawn by its share.
        return self._relaxation.decode(
            [(np.log(np.maximum(own, 1e-12)) + self.rng.gumbel(size=len(own))).tolist() for own in self._shares]
        )


class Darts(GradientBased):
    """DARTS: operations mixed by a softmax of preferences, which learn on images set aside.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019.

    Args:
        space: as for `GradientBased`.
        seed: as for `GradientBased`.
        objectives: 1.
        epochs: of the mixed network.
        rate: learning rate of the preferences.
        order: 1, or 2 for gradients after the step that the weights are about to take, at four times the cost.

    Raises:
        InputError: the operations of the space cannot be mixed, or there is no such order.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(Darts(search_space("nasbench201"), epochs=10, order=2))
        'darts(epochs=10, order=2)'
    """

    name = "darts"

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, epochs: int = 50, rate: float = 3e-4,
        order: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, objectives=objectives, epochs=epochs, rate=rate)
        if order not in (1, 2):
            raise InputError(f"The order of darts is {order}, expected 1 or 2.")
        self.order, self.method = order, "darts" if order == 1 else "darts-2"


class GDAS(GradientBased):
    """GDAS: one operation an edge is drawn and computed, by the Gumbel trick at a temperature that falls.

    Source: Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(GDAS(search_space("nasbench201")))
        'gdas'
    """

    name = method = "gdas"


class DrNAS(GradientBased):
    """DrNAS: shares are drawn from Dirichlet distributions, whose concentrations are learnt.

    Source: Chen et al., DrNAS: Dirichlet Neural Architecture Search, ICLR 2021; without its partial channels and
    progressive pruning.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(DrNAS(search_space("nasbench201")))
        'drnas'
    """

    name = method = "drnas"
