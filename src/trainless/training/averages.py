"""The average of the weights of a network over its training."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["AveragedNetwork"]

_Tensors = list[torch.Tensor]

_RECENT = 0.1  # of what is done: early weights are far off, and are soon to have no part


class AveragedNetwork(nn.Module):
    """A copy of a network whose weights are an exponential moving average of the network's, over its training.

    So are floating-point buffers, such as the running statistics of batch normalisation; others are the latest.

    Args:
        network: of which it begins as a copy.
        horizon: share of the whole training after which weights count 1/e; early on, a tenth of what is done.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> averaged = AveragedNetwork(network, 0.05)
        >>> averaged.update(network, 0.01, 0.01)
        >>> torch.equal(averaged(torch.ones(1)), network(torch.ones(1)))
        True
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        super().__init__()
        self.network, self.horizon = copy.deepcopy(network).requires_grad_(False), horizon
        self._followed: tuple[nn.Module, _Tensors, _Tensors, list[tuple[torch.Tensor, torch.Tensor]]] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what the averaged network makes of images."""
        return self.network(images)  # type: ignore[no-any-return]

    @torch.no_grad()
    def update(self, network: nn.Module, step: float, done: float) -> None:
        """Take in the network after a step.

        Args:
            network: whose weights changed.
            step: how much of the whole training the step was.
            done: how much of it is done, with this step.
        """
        share = -math.expm1(-step / min(self.horizon, _RECENT * done))
        if not self._followed or self._followed[0] is not network:
            pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
            floating = [pair for pair in pairs if pair[0].is_floating_point()]
            # Looked up once: for each step it took a tenth of the time of small networks.
            means, currents = map(list, zip(*floating, strict=True))
            self._followed = network, means, currents, [pair for pair in pairs if not pair[0].is_floating_point()]
        _, means, currents, others = self._followed
        get_ema_multi_avg_fn(1 - share)(means, currents, None)
        for mean, current in others:
            mean.copy_(current)


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()
