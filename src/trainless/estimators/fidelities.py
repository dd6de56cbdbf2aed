"""Cheaper evaluations of the same architecture, for strategies that begin with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainless.data import ImageDataset
from trainless.data.arrays import resize
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace

__all__ = ["Fidelity", "default_fidelities", "parse_fidelity"]


@dataclass(frozen=True)
class Fidelity:
    """How far an evaluation is reduced, each factor above 0 and at most 1.

    Source: the reduction factors c, r and s of Zhou et al., EcoNAS: Finding Proxies for Economical Neural Architecture
    Search, CVPR 2020, of which s is here the share of the batch instead of the training images.

    Args:
        network: share of the network's width and depth, as `SearchSpace.resized` takes it (c).
        resolution: share of the rows and columns of an image (r).
        batch: share of the images in the batch (s).

    Raises:
        InputError: a factor is not above 0 and at most 1.

    Example:
        >>> str(Fidelity(network=0.5, batch=0.25))
        '0.5 of width and depth, 0.25 of the batch'
    """

    network: float = 1.0
    resolution: float = 1.0
    batch: float = 1.0

    def __post_init__(self) -> None:
        for name in ("network", "resolution", "batch"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"The {name} of a fidelity is {getattr(self, name)}, expected above 0 and at most 1.")

    def of_space(self, space: SearchSpace) -> SearchSpace:
        """Give the search space of the reduced networks."""
        return space if self.network == 1 else space.resized(self.network)

    def of_data(self, data: ImageDataset) -> ImageDataset:
        """Give the reduced images."""
        if self.resolution == 1:
            return data
        height, width = (max(1, round(side * self.resolution)) for side in data.images.shape[2:])
        images = resize(data.images, height, width)
        return replace(data, images=images, task=replace(data.task, height=height, width=width))

    def of_batch(self, batch_size: int) -> int:
        """Give the reduced number of images in a batch, at least 2."""
        return min(batch_size, max(2, round(batch_size * self.batch)))

    def __str__(self) -> str:
        named = {"width and depth": self.network, "the resolution": self.resolution, "the batch": self.batch}
        return ", ".join(f"{value:g} of {name}" for name, value in named.items() if value != 1) or "the full one"


def default_fidelities(rungs: int) -> tuple[Fidelity, ...]:
    """Choose the reduced evaluations of a strategy: from rung to rung network and batch are halved.

    Args:
        rungs: kinds of evaluation, the full one included.

    Example:
        >>> [str(fidelity) for fidelity in default_fidelities(3)]
        ['0.25 of width and depth, 0.25 of the batch', '0.5 of width and depth, 0.5 of the batch']
    """
    factors = [0.5 ** (rungs - 1 - rung) for rung in range(rungs - 1)]
    return tuple(Fidelity(network=factor, batch=factor) for factor in factors)


def parse_fidelity(text: str) -> Fidelity:
    """Read the three factors c, r and s, such as ``c=0.5,s=0.25``; what is not named stays whole.

    Raises:
        InputError: the text names none of them, or a factor cannot be used.

    Example:
        >>> parse_fidelity("c=0.5,s=0.25")
        Fidelity(network=0.5, resolution=1.0, batch=0.25)
    """
    names, given = {"c": "network", "r": "resolution", "s": "batch"}, dict[str, float]()
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            given[names[name]] = float(value)
        except (KeyError, ValueError):
            raise InputError(
                f"The fidelity is '{text}', expected factors of width and depth (c), resolution (r) and batch (s) "
                "such as c=0.5,s=0.25."
            ) from None
    return Fidelity(**given)
