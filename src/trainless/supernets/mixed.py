"""All operations of a space at once, each by its weight: the network that gradient-based searches differentiate."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from trainless.initialization import initialize
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Part
from trainless.search_spaces.nodes import Node
from trainless.seeding import generator, preserve_rng_state
from trainless.types import Architecture, Task

__all__ = ["MixedNetwork"]

_SPREAD = 1e-3  # of the first preferences, as DARTS draws them


class MixedNetwork(nn.Module):
    """A network whose values are sums of all operations that architectures choose among, each times a weight.

    The weights are those of options, which repeated cells have in common. `preferences`, one number an option, are what
    is learnt of the architecture; by their softmax operations are mixed unless a forward pass is given other weights.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019.

    Args:
        space: whose networks are told apart by which operations they have.
        task: the shape of an image and the number of classes.
        seed: decides weights and first preferences.
        affine: whether normalisations of what is mixed have gains and offsets to be learnt, by which an operation could
            undo its weight.

    Raises:
        InputError: the operations of the space cannot be mixed.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201(channels=4, cells=1)")
        >>> network = MixedNetwork(space, Task("toy", 10))
        >>> network(torch.randn(2, 3, 16, 16)).shape, network.preferences.shape
        (torch.Size([2, 10]), torch.Size([30]))
    """

    def __init__(self, space: SearchSpace, task: Task, *, seed: int = 0, affine: bool = False) -> None:
        super().__init__()
        self.space, self.task, self.relaxation = space, task, space.relaxation(task)
        self.mixed, self.operations = list[_Weighted](), dict[tuple[str, Node], nn.Module]()
        # What is zero is computed all the same: where nothing else is, there is a value.
        numbers = {
            replace(node, operation="zero") if node.operation == "none" else node: chosen
            for node, chosen in self.relaxation.nodes
        }

        def make(node: Node, path: str) -> nn.Module:
            operation = self.operations[path, node] = node.record.build(node)
            if not numbers[node]:
                return operation
            self.mixed.append(_Weighted(operation, numbers[node]))
            return self.mixed[-1]

        with preserve_rng_state():
            self.network = Blueprint((Part(numbers),)).build(make)
        initialize(self.network, generator=generator(seed, "mixed"))
        if not affine:
            for weighted in self.mixed:
                for module in weighted.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                        module.requires_grad_(False)
        count = sum(map(len, self.relaxation.choices))
        self.preferences = nn.Parameter(_SPREAD * torch.randn(count, generator=generator(seed, "preferences")))

    @property
    def weights(self) -> list[nn.Parameter]:
        """All that is learnt but the preferences."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def by_choice(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Cut values of all options into those of each choice."""
        return list(values.split([len(options) for options in self.relaxation.choices]))

    def shares(self) -> torch.Tensor:
        """Compute the softmax of the preferences of each choice, one number an option."""
        return torch.cat([own.softmax(0) for own in self.by_choice(self.preferences)])

    def forward(self, images: torch.Tensor, shares: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the logits, shape ``(images, classes)``.

        Args:
            images: a batch.
            shares: the weight of each option, 0 for what is not computed; None takes `shares`.
        """
        shares = self.shares() if shares is None else shares
        computed = (shares.detach() != 0).tolist()
        for weighted in self.mixed:
            weighted.share = shares[weighted.numbers].sum()
            weighted.is_computed = any(computed[number] for number in weighted.numbers)
        logits: torch.Tensor = self.network(images)
        return logits

    def only(self, architecture: Architecture) -> torch.Tensor:
        """Give the shares by which nothing is computed but an architecture's network."""
        return torch.tensor([share for own in self.relaxation.encode(architecture) for share in own])

    def subnetwork(self, architecture: Architecture) -> nn.Module:
        """Build an architecture's network with copies of its weights: plain PyTorch, in the mode of this one."""

        def make(node: Node, path: str) -> nn.Module:
            known = self.operations.get((path, replace(node, position=0)))
            return node.record.build(node) if known is None else copy.deepcopy(known)

        with preserve_rng_state():
            network = self.space.blueprint(architecture, self.task).build(make)
        return network.requires_grad_().train(self.training)

    def architecture(self) -> Architecture:
        """Give the architecture that the preferences lead to."""
        decoded: Sequence[Sequence[float]] = [own.tolist() for own in self.by_choice(self.shares().detach())]
        return self.relaxation.decode(decoded)


class _Weighted(nn.Module):
    """An operation times its share."""

    share: torch.Tensor
    is_computed = True

    def __init__(self, operation: nn.Module, numbers: Sequence[int]) -> None:
        super().__init__()
        self.operation, self.numbers = operation, list(numbers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the product; of what is not computed the share alone, which is 0 and has the gradient of a sum."""
        return self.share * self.operation(x) if self.is_computed else self.share
