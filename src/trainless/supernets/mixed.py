"""All operations of a space at once, each by its weight: the network that gradient-based searches differentiate."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import channel_shuffle

from trainless.errors import InputError
from trainless.initialization import initialize
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Part
from trainless.search_spaces.nodes import Node
from trainless.search_spaces.relaxation import Relaxation
from trainless.seeding import generator, preserve_rng_state
from trainless.types import Architecture, Task

__all__ = ["MixedNetwork"]

_SPREAD = 1e-3  # of the first preferences, as DARTS draws them


class MixedNetwork(nn.Module):
    """A network whose values are sums of all operations that architectures choose among, each times a weight.

    The weights are those of options, which repeated cells have in common. `preferences`, one number an option, are what
    is learnt of the architecture; by their softmax operations are mixed unless a forward pass is given other weights.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019; Xu et al., PC-DARTS: Partial Channel
    Connections for Memory-Efficient Architecture Search, ICLR 2020, of partial channels and edge normalisation.

    Args:
        space: whose networks are told apart by which operations they have.
        task: the shape of an image and the number of classes.
        seed: decides weights and first preferences.
        affine: whether normalisations of what is mixed have gains and offsets to be learnt, by which an operation could
            undo its weight.
        kept: numbers of the options that there are, at least one of each choice; the operations of others are left out,
            and their share is 0. None keeps all.
        partial: operations that give as many channels as they read compute one of so many parts of these, or of as
            many as divide them, and hand on the others, halved by pooling where their stride is 2; then channels are
            shuffled.
        weighs_edges: whether choices that lead to the same value are weighed against each other, by a softmax of
            `edges`, one number a choice.

    Attributes:
        drop_path: probability by which an operation is left out for an image while the network trains.
        drop_skips: the same of skip connections.

    Raises:
        InputError: the operations of the space cannot be mixed, a choice has nothing left, or there is no such part.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201(channels=4, cells=1)")
        >>> network = MixedNetwork(space, Task("toy", 10))
        >>> network(torch.randn(2, 3, 16, 16)).shape, network.preferences.shape
        (torch.Size([2, 10]), torch.Size([30]))
    """

    def __init__(
        self, space: SearchSpace, task: Task, *, seed: int = 0, affine: bool = False,
        kept: Iterable[int] | None = None, partial: int = 1, weighs_edges: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if partial < 1:
            raise InputError(f"The channels are to be cut into {partial} parts, expected at least 1.")
        self.space, self.task, self.relaxation, self.partial = space, task, space.relaxation(task), partial
        count = sum(map(len, self.relaxation.choices))
        self.kept = frozenset(range(count) if kept is None else kept)
        self._check_kept()
        self.drop_path = self.drop_skips = 0.0
        self.mixed, self.operations = list[_Weighted](), dict[tuple[str, Node], nn.Module]()
        # What is zero is computed all the same: where nothing else is, there is a value.
        numbers = {
            replace(node, operation="zero") if node.operation == "none" else node: chosen
            for node, chosen in self.relaxation.nodes
            if not chosen or self.kept.intersection(chosen)
        }

        def make(node: Node, path: str) -> nn.Module:
            chosen = numbers[node]
            operation = node.record.build(node) if not chosen or partial == 1 else _cut(node, partial)
            self.operations[path, node] = operation
            if not chosen:
                return operation
            self.mixed.append(_Weighted(operation, chosen, node.record.is_identity))
            return self.mixed[-1]

        with preserve_rng_state():
            self.network = Blueprint((Part(numbers),)).build(make)
        initialize(self.network, generator=generator(seed, "mixed"))
        if not affine:
            for weighted in self.mixed:
                for module in weighted.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                        module.requires_grad_(False)
        self.preferences = nn.Parameter(_SPREAD * torch.randn(count, generator=generator(seed, "preferences")))
        self._left_out = torch.tensor([number for number in range(count) if number not in self.kept], dtype=torch.long)
        self._rivals = _rivals(self.relaxation)
        self.edges = nn.Parameter(torch.zeros(len(self.relaxation.choices))) if weighs_edges else None

    def _check_kept(self) -> None:
        for number, options in enumerate(self.relaxation.numbers):
            if not self.kept.intersection(options):
                raise InputError(f"None of the options {list(options)} of choice {number} is kept: keep at least one.")

    @property
    def weights(self) -> list[nn.Parameter]:
        """All that is learnt but the preferences."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def by_choice(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Cut values of all options into those of each choice."""
        return list(values.split([len(options) for options in self.relaxation.choices]))

    @property
    def learnt(self) -> list[nn.Parameter]:
        """The preferences, and what edges weigh where they do."""
        return [self.preferences] if self.edges is None else [self.preferences, self.edges]

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Name each option by its choice, which is an edge of a cell, and what pictures call it."""
        nodes: dict[int, Node] = {}
        for node, chosen in self.relaxation.nodes:
            for number in chosen:
                nodes.setdefault(number, node)
        numbers = self.relaxation.numbers
        first = [next((nodes[number] for number in own if number in nodes), None) for own in numbers]
        names = [f"{node.source} to {node.target}" if node else "nothing" for node in first]
        # As little as tells them apart.
        for more in ([node.block if node else "" for node in first], [f"choice {n}" for n in range(1, len(first) + 1)]):
            if len(set(names)) < len(names):
                names = [f"{own}: {name}" for own, name in zip(more, names, strict=True)]
        found = list[tuple[str, str]]()
        for name, own, options in zip(names, numbers, self.relaxation.choices, strict=True):
            named = {number: nodes[number].label for number in own if number in nodes}
            found += [(name, named.get(number) or str(option)) for number, option in zip(own, options, strict=True)]
        return tuple(found)

    def skips(self) -> list[list[int]]:
        """Give the numbers of the options that are skip connections, for each cell that has options of its own."""
        found: dict[str, list[int]] = {}
        for node, chosen in self.relaxation.nodes:
            if node.record.is_identity:
                found.setdefault(node.name, []).extend(chosen)
        return [list(numbers) for numbers in dict.fromkeys(map(tuple, found.values())) if numbers]

    def choosable(self) -> list[torch.Tensor]:
        """Give the preferences of each choice, −∞ for options that are not kept."""
        return self.by_choice(self.preferences.index_fill(0, self._left_out, -math.inf))

    def weighed(self, shares: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join the shares of each choice, times what its edge weighs."""
        if self.edges is None:
            return torch.cat(list(shares))
        weights = torch.empty_like(self.edges)
        for rivals in self._rivals:
            weights = weights.index_copy(0, rivals, self.edges[rivals].softmax(0))
        return torch.cat([own * weight for own, weight in zip(shares, weights, strict=True)])

    def shares(self) -> torch.Tensor:
        """Compute the softmax of the preferences of each choice, times what its edge weighs, one number an option."""
        return self.weighed([own.softmax(0) for own in self.choosable()])

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
            weighted.drop = self.drop_skips if weighted.is_skip else self.drop_path
        logits: torch.Tensor = self.network(images)
        return logits

    def only(self, architecture: Architecture) -> torch.Tensor:
        """Give the shares by which nothing is computed but an architecture's network."""
        return torch.tensor([share for own in self.relaxation.encode(architecture) for share in own])

    def subnetwork(self, architecture: Architecture) -> nn.Module:
        """Build an architecture's network with copies of its weights: plain PyTorch, in the mode of this one.

        Raises:
            InputError: operations compute a part of the channels, or one of the network's is left out.
        """
        if self.partial > 1:
            raise InputError(f"Operations on one of {self.partial} parts of the channels have no weights for all.")
        left_out = [share > 0 and number not in self.kept for number, share in enumerate(self.only(architecture))]
        if any(left_out):
            raise InputError(f"The network of {architecture} has options that are left out: {left_out.index(True)}.")

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
    drop = 0.0

    def __init__(self, operation: nn.Module, numbers: Sequence[int], is_skip: bool) -> None:
        super().__init__()
        self.operation, self.numbers, self.is_skip = operation, list(numbers), is_skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the product; of what is not computed the share alone, which is 0 and has the gradient of a sum."""
        if not self.is_computed:
            return self.share
        share = self.share
        if self.training and self.drop:
            there = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.drop
            share = share * there / (1 - self.drop)
        product: torch.Tensor = share * self.operation(x)
        return product


class _Partial(nn.Module):
    """An operation on the first channels; the others are handed on."""

    def __init__(self, operation: nn.Module, parts: int, stride: int) -> None:
        super().__init__()
        self.operation, self.parts = operation, parts
        self.others = nn.MaxPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute, join and shuffle."""
        first = x.shape[1] // self.parts
        joined = torch.cat([self.operation(x[:, :first]), self.others(x[:, first:])], 1)
        return channel_shuffle(joined, self.parts)


def _cut(node: Node, parts: int) -> nn.Module:
    """The operation of a node on one part of its channels, if it gives as many as it reads."""
    if node.inputs != node.channels:
        return node.record.build(node)
    parts = math.gcd(node.inputs, parts)
    channels = node.inputs // parts
    groups = channels if node.groups == node.inputs else node.groups
    small = replace(node, inputs=channels, channels=channels, groups=groups)
    return _Partial(small.record.build(small), parts, node.stride)


def _rivals(relaxation: Relaxation) -> list[torch.Tensor]:
    """The numbers of choices that lead to the same value, for each value."""
    owner = [choice for choice, options in enumerate(relaxation.choices) for _ in options]
    targets: dict[tuple[str, str], dict[int, None]] = {}
    for node, chosen in relaxation.nodes:
        for number in chosen:
            targets.setdefault((node.name, node.target), {})[owner[number]] = None
    found = dict.fromkeys(tuple(choices) for choices in targets.values())
    return [torch.tensor(choices) for choices in found]
