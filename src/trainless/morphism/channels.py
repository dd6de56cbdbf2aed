"""Which channels of a larger network stand for those of a smaller one, value by value."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from trainless.errors import InputError

__all__ = ["Group", "Value", "united"]


class Group:
    """Channels that are made together, in a smaller network and in a larger one.

    Those of values that are added up are one group: they are kept or left out together.

    Args:
        small: how many the smaller network has.
        large: how many the larger one has.

    Example:
        >>> group, other = Group(2, 4), Group(2, 4)
        >>> group.unite(other)
        >>> other.weigh("gain", torch.tensor([1.0, 3.0, 0.0, 2.0]))
        >>> group.choose()
        >>> other.positions.tolist()
        [1, 3]
    """

    def __init__(self, small: int, large: int) -> None:
        self.small, self.large = small, large
        self._joined: Group | None = None
        self._worths: dict[str, torch.Tensor] = {}
        self._positions = torch.arange(small)

    @property
    def root(self) -> Group:
        """The group that stands for all that are united."""
        return self._joined.root if self._joined else self

    @property
    def positions(self) -> torch.Tensor:
        """For each channel of the smaller network the one of the larger: the first ones, unless others were chosen."""
        return self.root._positions

    def unite(self, other: Group) -> None:
        """Make one group of two."""
        if self.root is not other.root:
            other.root._joined = self.root

    def weigh(self, kind: str, worths: torch.Tensor) -> None:
        """Add what a layer says of the channels of the larger network, as shares of all that it says."""
        known, shares = self.root._worths, worths / worths.sum().clamp(min=torch.finfo(worths.dtype).tiny)
        known[kind] = known[kind] + shares if kind in known else shares

    def choose(self) -> None:
        """Let the smaller network have those for which the product of all kinds of worths is largest."""
        if worths := list(self.root._worths.values()):
            product = torch.stack(worths).log().sum(0)
            self.root._positions = product.topk(self.small).indices.sort().values


class Value(NamedTuple):
    """A value of the larger network, by what it is of one of the smaller.

    Args:
        groups: its channels, one group after another.
        scale: how many times larger than in the smaller network the values of these are.
        is_positive: whether it is nowhere below 0.
        is_zero: whether it is 0 in both networks.
        is_fresh: whether it was 0 in the smaller network and is anything in the larger one.
        norms: batch normalisations of the larger network whose sum it is, each with whether ReLU came after; empty
            where that is not so.

    Example:
        >>> Value((Group(2, 4), Group(1, 1))).positions.tolist()
        [0, 1, 4]
    """

    groups: tuple[Group, ...]
    scale: float = 1.0
    is_positive: bool = False
    is_zero: bool = False
    is_fresh: bool = False
    norms: tuple[tuple[nn.modules.batchnorm._BatchNorm, bool], ...] = ()

    @property
    def small(self) -> int:
        """Channels in the smaller network."""
        return sum(group.small for group in self.groups)

    @property
    def large(self) -> int:
        """Channels in the larger network."""
        return sum(group.large for group in self.groups)

    @property
    def positions(self) -> torch.Tensor:
        """For each channel of the smaller network the one of the larger."""
        starts = torch.tensor([0, *(group.large for group in self.groups)]).cumsum(0).tolist()
        return torch.cat([group.positions + start for group, start in zip(self.groups, starts, strict=False)])

    @property
    def is_same(self) -> bool:
        """Whether both networks have the same channels in the same order."""
        return all(group.small == group.large for group in self.groups)

    def weigh(self, kind: str, worths: torch.Tensor) -> None:
        """Add what a layer says of its channels."""
        for group, part in zip(self.groups, worths.split([group.large for group in self.groups]), strict=True):
            group.weigh(kind, part)

    def moments(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mean and variance of each channel, where all that is added up are independent normal variables."""
        if not self.norms:
            return None
        means, variances = zip(*(_moments(norm, is_rectified) for norm, is_rectified in self.norms), strict=True)
        return sum(means), sum(variances)


def united(values: list[Value], name: str) -> Value:
    """Give the sum of values, whose channels become the same; InputError where they cannot.

    Example:
        >>> total = united([Value((Group(2, 4),), is_positive=True), Value((Group(2, 4),))], "cell")
        >>> total.large, total.is_positive
        (4, False)
    """
    first = values[0]
    for other in values[1:]:
        sizes = [[(group.small, group.large) for group in value.groups] for value in (first, other)]
        if first.is_same and other.is_same and first.small == other.small:
            continue
        if sizes[0] != sizes[1] or first.is_fresh or other.is_fresh:
            raise InputError(
                f"'{name}' cannot be changed so: what it adds up would not have the same channels any more."
            )
        for group, own in zip(first.groups, other.groups, strict=True):
            group.unite(own)
    return first._replace(
        is_positive=all(value.is_positive for value in values),
        norms=sum((value.norms for value in values), ()) if all(value.norms for value in values) else (),
    )


def _moments(norm: nn.modules.batchnorm._BatchNorm, is_rectified: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of what a batch normalisation gives, perhaps after ReLU."""
    mean, deviation = norm.bias.detach(), norm.weight.detach().abs()
    if not is_rectified:
        return mean, deviation**2
    ratio = mean / deviation.clamp(min=torch.finfo(mean.dtype).tiny)
    density = torch.exp(-(ratio**2) / 2) / (2 * torch.pi) ** 0.5
    above = torch.special.ndtr(ratio)
    rectified = mean * above + deviation * density
    square = (mean**2 + deviation**2) * above + mean * deviation * density
    return rectified, (square - rectified**2).clamp(min=0)
