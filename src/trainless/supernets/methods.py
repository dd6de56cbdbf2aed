"""How gradient-based searches weigh the options of a mixed network, and by what stages they go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.nn.functional import elu, log_softmax, one_hot

from trainless.supernets.mixed import MixedNetwork

__all__ = ["METHODS", "Method", "Stage"]

_HOT, _COLD = 10.0, 0.1  # first and last temperature of GDAS
_CONCENTRATION = 1e-3  # what DrNAS's distance from the even distribution counts in the loss

Weigh = Callable[[MixedNetwork, float, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Stage:
    """A part of a search with a network of its own.

    Args:
        depth: share of the cells of the space's networks.
        options: share of the options of each choice, those that weighed most in the stage before.
        partial: as of `MixedNetwork`.
        drop_skips: probability by which skip connections are left out in its first epochs; it falls to a tenth of that.
    """

    depth: float = 1.0
    options: float = 1.0
    partial: int = 1
    drop_skips: float = 0.0


@dataclass(frozen=True)
class Method:
    """What tells a gradient-based search from another.

    Args:
        weigh: computes the shares of the options in one forward pass, from the network, the share of the search that is
            done and a stream of random numbers.
        penalty: computes what is added to the loss of the preferences.
        order: of the gradient of the preferences.
        weighs_edges: as of `MixedNetwork`.
        rate: learning rate of the preferences.
        waits: share of the epochs in which weights alone are learnt.
        stages: of equal lengths.
        most_skips: skip connections that a cell of what is found may have; None allows any.
    """

    weigh: Weigh = lambda network, progress, stream: network.shares()
    penalty: Callable[[MixedNetwork], torch.Tensor | float] = lambda network: 0.0
    order: int = 1
    weighs_edges: bool = False
    rate: float = 3e-4
    waits: float = 0.0
    stages: tuple[Stage, ...] = (Stage(),)
    most_skips: int | None = None


def sampled(preferences: torch.Tensor, temperature: float, stream: torch.Generator) -> torch.Tensor:
    """Draw one option by the Gumbel trick, whose share is 1; the gradient is that of the softmax it was drawn from."""
    noise = -torch.empty_like(preferences).exponential_(generator=stream).log()
    soft = ((log_softmax(preferences, 0) + noise) / temperature).softmax(0)
    hard = one_hot(soft.argmax(), len(soft)).to(soft.dtype)
    return hard - soft.detach() + soft


def drawn(preferences: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
    """Draw shares from the Dirichlet distribution that preferences are the concentration of; 0 where they are −∞."""
    (kept,) = preferences.isfinite().nonzero(as_tuple=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=stream)))
        shares = Dirichlet(elu(preferences[kept]) + 1).rsample()
    return torch.zeros_like(preferences).index_copy(0, kept, shares)


def _gumbel(network: MixedNetwork, progress: float, stream: torch.Generator) -> torch.Tensor:
    temperature = _HOT + (_COLD - _HOT) * progress
    return network.weighed([sampled(own, temperature, stream) for own in network.choosable()])


def _dirichlet(network: MixedNetwork, progress: float, stream: torch.Generator) -> torch.Tensor:
    return network.weighed([drawn(own, stream) for own in network.choosable()])


def _distance(network: MixedNetwork) -> torch.Tensor:
    """How far the Dirichlet distributions are from the even one."""
    kept = [own[own.isfinite()] for own in network.choosable()]
    distances = [kl_divergence(Dirichlet(elu(own) + 1), Dirichlet(torch.ones_like(own))) for own in kept]
    return _CONCENTRATION * torch.stack(distances).sum()


METHODS: dict[str, Method] = {
    "darts": Method(),
    "darts-2": Method(order=2),
    "pc-darts": Method(weighs_edges=True, rate=6e-4, waits=0.3, stages=(Stage(partial=4),)),
    "p-darts": Method(
        rate=6e-4, waits=0.4, most_skips=2,
        stages=(Stage(1 / 3), Stage(2 / 3, 5 / 8, drop_skips=0.4), Stage(1.0, 3 / 8, drop_skips=0.7)),
    ),
    "gdas": Method(weigh=_gumbel),
    # Three of NAS-Bench-201's five operations, four of DARTS's eight.
    "drnas": Method(
        weigh=_dirichlet, penalty=_distance, stages=(Stage(partial=4), Stage(options=1 / 2, partial=2))
    ),
}  # fmt: skip
"""DARTS of the first and second order (Liu et al., ICLR 2019), PC-DARTS (Xu et al., ICLR 2020), P-DARTS (Chen et al.,
ICCV 2019), GDAS (Dong and Yang, CVPR 2019), DrNAS (Chen et al., ICLR 2021)."""
