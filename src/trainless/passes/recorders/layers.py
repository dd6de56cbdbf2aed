"""Recorders of what each weight gives: how its channels vary together, over all images or within the first one."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch

from trainless.passes.graph import reached_nodes
from trainless.passes.marks import by_image
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run
from trainless.passes.weights import Listener, Weight

__all__ = ["FirstImageCorrelations", "LayerCovariances"]


class _Use(NamedTuple):
    """What one use of a weight gave.

    Args:
        node: where it stands in the graph, or None where there is none.
        moments: of what came out.
    """

    node: Any
    moments: _Moments


class _Moments(NamedTuple):
    """Number of rows, their mean, and the sum of the products of what is left of them without it."""

    rows: int
    mean: torch.Tensor
    products: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> _Moments:
        """Those of a matrix ``(rows, channels)``, which is centred before it is multiplied."""
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean.double(), (centred.t() @ centred).double())

    def joined(self, other: _Moments) -> _Moments:
        """Those of the rows of both (Chan, Golub and LeVeque 1983)."""
        rows, gap = self.rows + other.rows, other.mean - self.mean
        between = torch.outer(gap, gap) * (self.rows * other.rows / rows)
        return _Moments(rows, self.mean + gap * (other.rows / rows), self.products + other.products + between)


class LayerOutputs(Recorder):
    """Reduces what each weight gives to the moments of its channels.

    A bias is added to all rows alike, and says nothing in them. What never reaches the output is left out.
    """

    inputs = frozenset({"batch", "noise", "labelled_noise"})
    needs_graph = True
    goes_back = False
    reason = "no weight gives what the output depends on"

    def __init__(self) -> None:
        self._uses: dict[Hashable, tuple[Weight, list[_Use]]] = {}
        self._layers: list[_Moments] = []

    def begin(self, run: Run) -> None:
        """Forget what an earlier attempt left, and listen to the uses of weights."""
        self._uses = {}
        run.tracker.listeners.append(self._listener(run))

    def _listener(self, run: Run) -> Listener:
        def on_use(weight: Weight, output: torch.Tensor, channels: tuple[int, ...]) -> Callable[[torch.Tensor], None]:
            if not run.tracker.recomputes:
                with run.clock(type(self)), torch.no_grad():
                    use = _Use(output.grad_fn, _Moments.of(self.rows(output, channels)))
                # One that maps both ways, as tied embeddings do, is two layers.
                key = (weight.key, len(use.moments.mean))
                self._uses.setdefault(key, (weight, []))[1].append(use)
            return lambda bias: None

        return on_use

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Keep those uses that the output depends on, weight by weight."""
        reached = None if run.spec.dead_branches else reached_nodes(output)
        self._layers = []
        for _, uses in sorted(self._uses.values(), key=lambda pair: pair[0].order):
            kept = [use.moments for use in uses if reached is None or use.node is None or use.node in reached]
            if kept:
                together = kept[0]
                for moments in kept[1:]:
                    together = together.joined(moments)
                self._layers.append(together)
        self._uses = {}

    def value(self) -> list[torch.Tensor] | None:
        """One matrix a weight, in double precision."""
        return [self.matrix(moments) for moments in self._layers] or None

    @abstractmethod
    def rows(self, output: torch.Tensor, channels: tuple[int, ...]) -> torch.Tensor:
        """What is looked at, one row a position: shape ``(positions, channels)``."""

    @abstractmethod
    def matrix(self, moments: _Moments) -> torch.Tensor:
        """What is kept of it."""


class LayerCovariances(LayerOutputs):
    """Computes the covariance of the channels over all images and positions."""

    name = "layer_covariances"

    def rows(self, output: torch.Tensor, channels: tuple[int, ...]) -> torch.Tensor:
        """All of it."""
        return _channels_last(output, channels)

    def matrix(self, moments: _Moments) -> torch.Tensor:
        """Shape ``(channels, channels)``."""
        return moments.products / moments.rows


class FirstImageCorrelations(LayerOutputs):
    """Computes the correlation of the channels over the positions of the first image."""

    name = "first_image_correlations"

    def rows(self, output: torch.Tensor, channels: tuple[int, ...]) -> torch.Tensor:
        """The first image."""
        return _channels_last(by_image(output)[0], channels).double()

    def matrix(self, moments: _Moments) -> torch.Tensor:
        """Shape ``(channels, channels)``; zeros where a channel is constant."""
        deviations = moments.products.diagonal().sqrt()
        scale = torch.where(deviations > 0, deviations.reciprocal(), 0.0)
        return moments.products * torch.outer(scale, scale)


def _channels_last(output: torch.Tensor, channels: tuple[int, ...]) -> torch.Tensor:
    dims = [channel % output.dim() for channel in channels]
    sizes = [output.shape[dim] for dim in dims]
    return output.movedim(dims, list(range(-len(dims), 0))).reshape(-1, math.prod(sizes))
