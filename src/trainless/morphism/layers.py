"""What becomes of the layers of two networks: numbers go from the smaller to the larger one, or back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from trainless.morphism.channels import Value

__all__ = ["BatchNorm", "Identity", "Map", "Normalisation", "Rescaled", "Step", "Weighted", "Whole"]

BatchNorm = nn.modules.batchnorm._BatchNorm
Weighted = nn.Conv2d | nn.Linear


class Step:
    """One layer's part in a change: ``grow`` fills the larger network, ``cut`` the smaller, ``weigh`` tells worths."""

    def grow(self) -> None:
        """Write what keeps the function into the layer of the larger network."""

    def cut(self) -> None:
        """Write the chosen channels into the layer of the smaller network."""

    def weigh(self) -> None:
        """Say how much the channels of the larger network count."""


@dataclass(frozen=True)
class Map(Step):
    """A convolution or linear layer that both networks have.

    Channels that only the larger one has are read with weights of 0 by what both have. What they are made by stays as
    it was drawn, so that the gradient of those weights is not 0, and no two of them are alike.

    Args:
        small: the layer of the smaller network.
        large: the layer of the larger one.
        reads: what it reads.
        gives: what it gives.

    Example:
        >>> from trainless.morphism.channels import Group
        >>> small, large = nn.Linear(1, 1), nn.Linear(1, 2)
        >>> step = Map(small, large, Value((Group(1, 1),)), Value((Group(1, 2),)))
        >>> with torch.no_grad():
        ...     step.grow()
        >>> torch.equal(small(torch.ones(1)), large(torch.ones(1))[:1])
        True
    """

    small: Weighted
    large: Weighted
    reads: Value
    gives: Value

    def grow(self) -> None:
        """Copy the weights to the channels and into the middle of the kernel."""
        rows, large = self.gives.positions, self.large.state_dict()
        large["weight"][rows] = 0
        if not self.reads.is_fresh:
            self._middle()[rows[:, None], self._columns()] = self.small.weight / self.reads.scale
        if self.small.bias is not None:
            large["bias"][rows] = self.small.bias

    def cut(self) -> None:
        """Copy the weights from the channels and the middle of the kernel."""
        rows = self.gives.positions
        self.small.weight.copy_(self._middle()[rows[:, None], self._columns()])
        if self.small.bias is not None:
            self.small.bias.copy_(self.large.state_dict()["bias"][rows])

    def weigh(self) -> None:
        """Norms of the weights into a channel and out of it."""
        weight = self._middle()
        self.gives.weigh("incoming", weight.flatten(1).norm(dim=1))
        if not self._is_depthwise:
            self.reads.weigh("outgoing", weight.transpose(0, 1).flatten(1).norm(dim=1))

    @property
    def _is_depthwise(self) -> bool:
        return getattr(self.large, "groups", 1) > 1

    def _columns(self) -> torch.Tensor:
        return torch.zeros(1, dtype=torch.long) if self._is_depthwise else self.reads.positions

    def _middle(self) -> torch.Tensor:
        """The weights of the larger layer as far as the kernel of the smaller one reaches: a view."""
        weight = self.large.weight
        for dim in range(2, weight.dim()):
            own, wanted = weight.shape[dim], self.small.weight.shape[dim]
            weight = weight.narrow(dim, (own - wanted) // 2, wanted)
        return weight


@dataclass(frozen=True)
class Normalisation(Step):
    """A batch normalisation that both networks have.

    Args:
        small: the layer of the smaller network.
        large: the layer of the larger one.
        reads: what it reads.
    """

    small: BatchNorm
    large: BatchNorm
    reads: Value

    def grow(self) -> None:
        """Copy gains, offsets and statistics; these are of what is read, which may be scaled."""
        rows, scale, large = self.reads.positions, self.reads.scale, self.large.state_dict()
        for name, numbers in self.small.state_dict().items():
            large[name][rows if numbers.dim() else ()] = numbers
        if scale != 1:
            large["running_mean"][rows] *= scale
            large["running_var"][rows] = (large["running_var"][rows] + self.small.eps) * scale**2 - self.small.eps

    def cut(self) -> None:
        """Copy gains, offsets and statistics of the chosen channels."""
        rows, large = self.reads.positions, self.large.state_dict()
        for name, numbers in self.small.state_dict().items():
            numbers.copy_(large[name][rows] if numbers.dim() else large[name])

    def weigh(self) -> None:
        """Gains."""
        if self.large.weight is not None:
            self.reads.weigh("gain", self.large.weight.abs())


@dataclass(frozen=True)
class Whole(Step):
    """A module that both networks have in the same size.

    Args:
        small: that of the smaller network.
        large: that of the larger one.
    """

    small: nn.Module
    large: nn.Module

    def grow(self) -> None:
        """Copy all of it."""
        self.large.load_state_dict(self.small.state_dict())

    def cut(self) -> None:
        """Copy all of it."""
        self.small.load_state_dict(self.large.state_dict())


@dataclass(frozen=True)
class Identity(Step):
    """A convolution, linear layer or batch normalisation of the larger network that hands on what it reads.

    Args:
        large: the layer.
        reads: what it reads.

    Example:
        >>> from trainless.morphism.channels import Group
        >>> layer, images = nn.Conv2d(2, 2, 3, padding=1), torch.randn(1, 2, 4, 4)
        >>> with torch.no_grad():
        ...     Identity(layer, Value((Group(2, 2),))).grow()
        >>> torch.equal(layer(images), images)
        True
    """

    large: Weighted | BatchNorm
    reads: Value

    def grow(self) -> None:
        """Write a Dirac kernel, or gains and offsets that undo the statistics; new channels stay as they were drawn."""
        state = self.large.state_dict()
        if isinstance(self.large, BatchNorm):
            # Near to what it will see, so that a training begins with the same function too.
            if moments := self.reads.moments():
                known = len(moments[0])
                state["running_mean"][:known], state["running_var"][:known] = moments
            state["weight"].copy_((state["running_var"] + self.large.eps).sqrt())
            state["bias"].copy_(state["running_mean"])
            return
        rows, weight = self.reads.positions, state["weight"]
        weight[rows] = 0
        middle = weight[(..., *(size // 2 for size in weight.shape[2:]))]
        middle[rows, 0 if getattr(self.large, "groups", 1) > 1 else rows] = 1 / self.reads.scale
        if self.large.bias is not None:
            state["bias"][rows] = 0


@dataclass(frozen=True)
class Rescaled(Step):
    """A layer of the larger network that gives so many times what it would; 0 times what ends a branch that is new.

    Args:
        large: the layer.
        factor: how many times.
    """

    large: nn.Module
    factor: float

    def grow(self) -> None:
        """Multiply weights, or gains, and offsets."""
        for parameter in self.large.parameters():
            parameter.mul_(self.factor)
