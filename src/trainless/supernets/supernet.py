"""One set of weights for all networks of a space: a network is a path through it, whose weights are slices of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from trainless.errors import InputError
from trainless.initialization import initialize
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint
from trainless.search_spaces.nodes import Node
from trainless.seeding import derive_seed, generator, preserve_rng_state
from trainless.training.convolutions import mended_convolutions
from trainless.training.loop import evaluated
from trainless.types import Architecture, Task

__all__ = ["Keys", "Supernet", "recalibrate"]

_SIZES = ("inputs", "channels", "expansion", "squeezed", "hidden", "heads", "head_width")
"""The fields of a node that decide how large its weights are; those of the largest hold those of all."""

_UNCHANGED = 400  # architectures in a row that bring nothing new, after which all weights are known
_PATHS = 256  # that are kept


class Supernet(nn.Module):
    """The weights that all networks of a space share, each operation of a place once.

    A place is a block of the networks and a module's number in it. There each operation that any network has has
    weights of its own, between each two values of the module; weights of another size are slices: the first channels,
    and where the space says so the middle of a kernel. A network that is made of them is a path.

    Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020; Yu et al.,
    Slimmable Neural Networks, ICLR 2019; Cai et al., Once-for-All, ICLR 2020.

    Args:
        space: whose architectures are put together of choices.
        task: the shape of an image and the number of classes.
        seed: decides the weights, each whatever else there is.

    Raises:
        InputError: the space has no choices, or its networks start from weights of their own.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201(channels=4, cells=1)")
        >>> supernet, images = Supernet(space, Task("toy", 10)).eval(), torch.randn(2, 3, 32, 32)
        >>> network = supernet.subnetwork(space[100])
        >>> torch.equal(network(images), supernet(images, space[100]))
        True
        >>> space.parameters(space[100], supernet.task) < sum(weight.numel() for weight in supernet.parameters())
        True
    """

    def __init__(self, space: SearchSpace, task: Task, *, seed: int = 0) -> None:
        super().__init__()
        check_shareable(space)
        self.space, self.task = space, task
        self.layers = nn.ModuleDict()
        for key, node in _largest_nodes(space, task).items():
            with preserve_rng_state():
                layer = node.record.build(node)
            if next(iter(layer.state_dict()), None) is not None:
                initialize(layer, generator=generator(seed, "supernet", key))
                self.layers[key] = layer
        self._path = lru_cache(_PATHS)(self._made_path)

    def forward(self, images: torch.Tensor, architecture: Architecture) -> torch.Tensor:
        """Compute the logits of a path, shape ``(images, classes)``."""
        path = self._path(architecture)
        path.network.train(self.training)
        with mended_convolutions(path.network):
            logits: torch.Tensor = functional_call(path.network, path.tensors(self.layers), (images,))
        return logits

    def tensors(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """Give the weights and buffers of an architecture's network by their names: views of the shared ones.

        Raises:
            InputError: a weight is not here, for the architecture is of another space, size or task.
        """
        return self._path(architecture).tensors(self.layers)

    def subnetwork(self, architecture: Architecture) -> nn.Module:
        """Build an architecture's network with copies of its weights: plain PyTorch, in the mode of the supernet."""
        with preserve_rng_state():
            network = self.space.build(architecture, self.task)
        network.load_state_dict({name: tensor.detach().clone() for name, tensor in self.tensors(architecture).items()})
        return network.train(self.training)

    def inherit(self, architecture: Architecture, network: nn.Module) -> None:
        """Take over the weights of a network of an architecture."""
        with torch.no_grad():
            for name, tensor in self.tensors(architecture).items():
                tensor.copy_(network.state_dict()[name])

    def _made_path(self, architecture: Architecture) -> _Path:
        return _Path(self.space, self.space.blueprint(architecture, self.task))

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_path"}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._path = lru_cache(_PATHS)(self._made_path)


class _Path:
    """A network without numbers, and where those of each of its weights and buffers are."""

    def __init__(self, space: SearchSpace, blueprint: Blueprint) -> None:
        made: dict[nn.Module, tuple[Node, str]] = {}

        def make(node: Node, path: str) -> nn.Module:
            module = node.record.build(node)
            made[module] = node, path
            return module

        with torch.device("meta"):
            self.network = blueprint.build(make)
        keys = Keys(blueprint, shares_kernels=space.shares_kernels)
        prefixes = {module: name for name, module in self.network.named_modules()}
        self.sources: dict[str, tuple[str, str, torch.Size]] = {}
        for module, (node, path) in made.items():
            key = keys(node, path)
            for name, tensor in module.state_dict().items():
                self.sources[f"{prefixes[module]}.{name}"] = key, name, tensor.shape
        for node in blueprint.nodes:
            if node.tied:
                self.sources[f"{node.name}.weight"] = self.sources[f"{node.tied}.weight"]

    def tensors(self, layers: nn.ModuleDict) -> dict[str, torch.Tensor]:
        states = {key: _tensors_of(layers, key) for key in {key for key, _, _ in self.sources.values()}}
        return {name: _slice(states[key][own], shape) for name, (key, own, shape) in self.sources.items()}


def check_shareable(space: SearchSpace) -> None:
    """Refuse a space whose networks cannot share weights.

    Raises:
        InputError: it has no choices, or its networks start from weights of their own.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> check_shareable(search_space("nasbench201"))
    """
    if not space.choices or space.is_pretrained:
        why = "its networks start from weights of their own" if space.is_pretrained else "it has no choices"
        raise InputError(f"The networks of '{space.name}' cannot share weights: {why}. Choose another space.")


def _tensors_of(layers: nn.ModuleDict, key: str) -> dict[str, torch.Tensor]:
    if key not in layers:
        raise InputError(f"The supernet has no weights '{key}': give an architecture of its space.")
    return dict(layers[key].state_dict(keep_vars=True))


def _slice(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The first of all channels, and the middle of a kernel."""
    if tensor.shape == torch.Size(shape):
        return tensor
    if any(own < wanted for own, wanted in zip(tensor.shape, shape, strict=True)):
        raise InputError(f"The supernet has weights of shape {tuple(tensor.shape)}, smaller than {tuple(shape)}.")
    is_kernel = len(shape) == 4
    for dim, (own, wanted) in enumerate(zip(tensor.shape, shape, strict=True)):
        if own != wanted:
            tensor = tensor.narrow(dim, (own - wanted) // 2 if is_kernel and dim > 1 else 0, wanted)
    return tensor


class Keys:
    """Names the weights of the nodes of a blueprint, asked for in their order: alike in all networks that share them.

    Args:
        blueprint: of one network.
        shares_kernels: whether kernels of all sizes share their weights.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("chain")
        >>> blueprint = space.blueprint(space.parse("k3w16"), Task("toy", 2))
        >>> Keys(blueprint, shares_kernels=True)(blueprint.nodes[0], "features.0")
        'layer 1 0, input to 1, conv_bn'
    """

    def __init__(self, blueprint: Blueprint, *, shares_kernels: bool) -> None:
        self._shares_kernels, self._places = shares_kernels, blueprint.places
        self._seen: dict[str, int] = {}

    def __call__(self, node: Node, path: str) -> str:
        kind = [node.operation]
        if not self._shares_kernels and node.kernel > 1:
            kind.append(f"{node.kernel}x{node.kernel}")
        kind += [
            said
            for said, holds in (("depthwise", node.groups == node.inputs > 1), ("gate", node.squeezed > 0),
                                ("bias", node.has_bias), ("plain", not node.is_affine))
            if holds
        ]  # fmt: skip
        key = f"{self._places[path]}, {node.source} to {node.target}, {' '.join(kind)}".replace(".", "-")
        # Two alike are told apart by their order.
        self._seen[key] = self._seen.get(key, -1) + 1
        return f"{key} {self._seen[key]}" if self._seen[key] else key


def _largest_nodes(space: SearchSpace, task: Task) -> dict[str, Node]:
    """For each of the weights that networks share the largest node that has them."""
    found: dict[str, Node] = {}
    unchanged = 0
    for architecture in _covering(space):
        blueprint = space.blueprint(architecture, task)
        keys, before = Keys(blueprint, shares_kernels=space.shares_kernels), dict(found)
        for path, nodes in blueprint.paths():
            for node in nodes:
                key = keys(node, path)
                found[key] = _joined(found.get(key, node), node)
        unchanged = unchanged + 1 if found == before else 0
        if unchanged == _UNCHANGED:
            break
    return found


def _covering(space: SearchSpace) -> Iterator[Architecture]:
    """Architectures that have all first, all second options and so on, then random ones without end."""
    for number in range(max(map(len, space.choices))):
        yield space.nearest([options[min(number, len(options) - 1)] for options in space.choices])
    rng = np.random.default_rng(derive_seed(0, "supernet"))
    while True:
        yield space.sample(rng)


def _joined(node: Node, other: Node) -> Node:
    """The node that is as large as two in all that sizes weights."""
    sizes = {name: max(getattr(node, name), getattr(other, name)) for name in (*_SIZES, "kernel")}
    groups = sizes["inputs"] if node.groups == node.inputs > 1 else node.groups
    return replace(node, **sizes, groups=groups)


def recalibrate(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Compute the statistics of batch normalisations anew, as the mean over batches of images.

    Those of shared weights are of all paths, and of none.

    Args:
        network: changed in place; its mode is left as it is.
        batches: images, shape ``(images, channels, height, width)``, each time.

    Example:
        >>> network = nn.BatchNorm2d(1).eval()
        >>> recalibrate(network, [torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), 5.0)])
        >>> float(network.running_mean), network.training
        (4.0, False)
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        with evaluated(network), torch.no_grad():
            for norm in norms:
                norm.reset_running_stats()
                norm.train()
                norm.momentum = None  # a mean of all batches, each alike
            for images in batches:
                network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
