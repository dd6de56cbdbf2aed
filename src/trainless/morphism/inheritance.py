"""What a network takes over from another one that was trained, perhaps for another task."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from trainless.morphism.elements import Built
from trainless.morphism.transform import built_like, built_of
from trainless.search_spaces.blueprint import Blueprint
from trainless.search_spaces.nodes import Node
from trainless.supernets.supernet import Keys

__all__ = ["inherit"]


def inherit(network: nn.Module, before: Blueprint, after: Blueprint, *, seed: int = 0) -> tuple[nn.Module, float]:
    """Compute a network of any blueprint that takes over what fits of another network, and how much that is.

    An operation fits where the same one stands at the same place: its block, its number there, and the values that it
    reads and gives. Of weights and running statistics of another size the first channels and the middle of the kernel
    are taken over; all else is drawn as in any new network. A classifier of another number of classes is new.

    Args:
        network: of the blueprint `before`; it is left as it is.
        before: what it is made of.
        after: what is wanted, perhaps for other images or classes.
        seed: decides the new weights.

    Returns:
        A plain network of the blueprint `after`, with the mode, type and device of `network`; and the share of its
        parameters that were taken over.

    Raises:
        InputError: the network is none of `before`.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space, digits, letters = search_space("chain"), Task("digits", 10, channels=1), Task("letters", 26)
        >>> before, after = space.blueprint(space.parse("k3w16"), digits), space.blueprint(space.parse("k5w8"), letters)
        >>> other, share = inherit(before.build(), before, after)
        >>> f"{share:.2f}"  # 8 * 3 * 3 weights of its first channel, and the normalisation
        '0.10'
    """
    old, new = built_of(network, before), built_like(network, after, seed)
    known = {key: (node, module) for key, node, module in _keyed(old)}
    heads = [[node for node in blueprint.nodes if node.parameters][-1] for blueprint in (before, after)]
    is_headed = heads[0].channels == heads[1].channels
    taken = 0
    with torch.no_grad():
        for key, node, module in _keyed(new):
            if key in known and (is_headed or (known[key][0] is not heads[0] and node is not heads[1])):
                taken += _taken(known[key][1], module)
    total = sum(parameter.numel() for parameter in new.network.parameters())
    return new.network.train(network.training), taken / max(1, total)


def _keyed(built: Built) -> Iterator[tuple[str, Node, nn.Module]]:
    keys = Keys(built.blueprint, shares_kernels=True)
    for items in built.made.values():
        for node, module, path in items:
            yield keys(node, path), node, module


def _taken(old: nn.Module, new: nn.Module) -> int:
    """Take over what fits of a module, and count the parameters."""
    parameters, state, count = dict(new.named_parameters()), old.state_dict(), 0
    for name, tensor in new.state_dict().items():
        if name in state and state[name].dim() == tensor.dim():
            sizes = [min(pair) for pair in zip(state[name].shape, tensor.shape, strict=True)]
            _part(tensor, sizes).copy_(_part(state[name], sizes))
            count += _part(tensor, sizes).numel() if name in parameters else 0
    return count


def _part(tensor: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """The first of all channels, and the middle of a kernel: a view."""
    for dim, size in enumerate(sizes):
        is_kernel = tensor.dim() == 4 and dim > 1
        tensor = tensor.narrow(dim, (tensor.shape[dim] - size) // 2 if is_kernel else 0, size)
    return tensor
