"""Gradient-based strategies: shares of options are learnt from images, and architectures drawn by them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.relaxation import Relaxation
from trainless.strategies.taught import Taught, Told
from trainless.types import ANY_TASK, Architecture

if TYPE_CHECKING:
    from trainless.supernets.keeping import KeptState

__all__ = ["GDAS", "Darts", "DrNAS", "GradientBased", "PCDarts", "PDarts"]


class GradientBased(Taught):
    """What all gradient-based strategies share: the first proposal is what was learnt, the others are drawn by it.

    Before the first proposal `prepare` trains a mixed network, by `trainless.supernets.search_by_gradients`. Without it
    all options are alike.

    Args:
        space: the search space, whose operations can be mixed.
        seed: decides all random choices.
        objectives: 1.
        epochs: of the mixed network.
        rate: learning rate of the preferences.
        early_stop: whether a rise of the Hessian's dominant eigenvalue ends it, as for `search_by_gradients`.
        eigenvalues: whether that eigenvalue is computed after each epoch, to be shown.
        drop_path: probability by which an operation is left out for an image.
        minutes: most time that it learns; how far it comes depends on the machine then.

    Raises:
        InputError: the operations of the space cannot be mixed.
    """

    method: str

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, epochs: int = 50, rate: float = 3e-4,
        early_stop: bool = False, eigenvalues: bool = False, drop_path: float = 0.0, minutes: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, objectives=objectives, minutes=minutes)
        self.epochs, self.rate, self.early_stop = epochs, rate, early_stop
        self.eigenvalues, self.drop_path = eigenvalues, drop_path
        if not 0 <= drop_path < 1:
            raise InputError(f"The drop_path of {self.name} is {drop_path}, expected a number from 0 to below 1.")
        self._relaxation: Relaxation = space.relaxation(ANY_TASK)
        self._shares = [np.full(len(options), 1 / len(options)) for options in self._relaxation.choices]

    def _study(self, images: ImageDataset, kept: KeptState, told: Told) -> None:
        from trainless.supernets import search_by_gradients

        found = search_by_gradients(
            self.space, *self._split(images), method=self.method, epochs=self.epochs, seed=self.seed,
            preference_rate=self.rate, early_stop=self.early_stop, has_eigenvalues=self.eigenvalues,
            drop_path=self.drop_path, minutes=self.minutes, resume=kept.training(),
            on_epoch=kept.keeper(told, self.epochs, self.minutes),
        )  # fmt: skip
        ends = np.cumsum([len(options) for options in self._relaxation.choices])[:-1]
        self._shares = np.split(np.array(found.shares[-1]), ends)
        self.learnt, self.shares, self.by_epoch = (found.architecture,), found.table(), found.by_epoch()
        skips = len(self.space.skip_spans(found.architecture))
        ended = f", which the rise of the eigenvalue ended at {found.eigenvalues[-1]:.3g}" if found.is_stopped else ""
        self.note = (
            f"{found.architecture} after {len(found.found)} epochs of {self.method}{ended}; its skip connections are "
            f"{skips}, after the first epoch they were {found.skips[0]}"
        )

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
        early_stop: as for `GradientBased`.
        eigenvalues: as for `GradientBased`.
        drop_path: as for `GradientBased`.
        minutes: as for `GradientBased`.
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
        early_stop: bool = False, eigenvalues: bool = False, drop_path: float = 0.0, minutes: float = math.inf,
        order: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(
            space, seed, objectives=objectives, epochs=epochs, rate=rate, early_stop=early_stop,
            eigenvalues=eigenvalues, drop_path=drop_path, minutes=minutes,
        )  # fmt: skip
        if order not in (1, 2):
            raise InputError(f"The order of darts is {order}, expected 1 or 2.")
        self.order, self.method = order, "darts" if order == 1 else "darts-2"


class _AtTwiceTheRate(GradientBased):
    """What learns preferences twice as fast as the first of them did."""

    def __init__(
        self, space: SearchSpace, seed: int = 0, *, objectives: int = 1, epochs: int = 50, rate: float = 6e-4,
        early_stop: bool = False, eigenvalues: bool = False, drop_path: float = 0.0, minutes: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(
            space, seed, objectives=objectives, epochs=epochs, rate=rate, early_stop=early_stop,
            eigenvalues=eigenvalues, drop_path=drop_path, minutes=minutes,
        )  # fmt: skip


class PCDarts(_AtTwiceTheRate):
    """PC-DARTS: operations compute a quarter of the channels, and edges into a value are weighed against each other.

    Source: Xu et al., PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search, ICLR 2020.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(PCDarts(search_space("nasbench201"), rate=1e-3))
        'pc-darts(rate=0.001)'
    """

    name = method = "pc-darts"


class PDarts(_AtTwiceTheRate):
    """P-DARTS: three stages of ever more cells and ever fewer options, in which skip connections are left out at times.

    Source: Chen et al., Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and
    Evaluation, ICCV 2019.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(PDarts(search_space("nasbench201"), epochs=75))
        'p-darts(epochs=75)'
    """

    name = method = "p-darts"


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

    Source: Chen et al., DrNAS: Dirichlet Neural Architecture Search, ICLR 2021, with its partial channels and one
    pruning half way.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> str(DrNAS(search_space("nasbench201")))
        'drnas'
    """

    name = method = "drnas"
