"""Chains of convolutions: the simplest search space of neural architecture search (Elsken et al., JMLR 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.layered import Layer, LayeredSpace
from trainless.search_spaces.nodes import OUTPUT
from trainless.types import Architecture, Task

__all__ = ["Chain"]

_KERNELS, _ABSENT = (1, 3, 5), 0
_WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
_REDUCTIONS = ("whole", "stride", "pool")
_CONNECTIONS = ("plain", "skip")
_FORM = re.compile(r"k([0135])w([0-9]+)(\.stride|\.pool)?(\.skip)?")


@dataclass(frozen=True)
class Chain(LayeredSpace):
    """One to eight convolutions, one after another: each with kernel, width, stride or pooling, and perhaps a skip.

    A network is its layers, global average pooling and a linear layer. A layer is a convolution with batch
    normalisation and ReLU. ``.stride`` lets it halve the image, ``.pool`` has max pooling follow, and ``.skip`` adds
    what goes in to what the normalisation gives, where both have one shape. Images are halved where the architecture
    says so, whatever their size. Layers are written ``k3w32.pool.skip`` and joined by hyphens; ``k0`` is none.

    Source: chain-structured networks as in Elsken et al., Neural Architecture Search: A Survey, JMLR 2019.

    Args:
        unit: channels of what is written 8; all widths are multiples of 8.

    Raises:
        InputError: the unit is below 1.

    Example:
        >>> space = Chain()
        >>> f"{space.size:.3g}", str(space[0])
        ('1.39e+18', 'k1w8')
        >>> space.parameters(space.parse("k3w32-k3w64.pool"), Task("cifar10", 10))
        20138
    """

    name = "chain"
    shares_kernels = True
    noun = "chain of layers"
    halves = ("unit", 2)
    layers = 8
    layer = (_KERNELS, _WIDTHS, _REDUCTIONS, _CONNECTIONS)
    nothing = (_ABSENT, 8, "whole", "plain")
    expected = "for each of 8 layers a kernel, a width, a reduction and a connection, the first layer present"
    form = (
        f"a form like 'k3w32.pool.skip', with kernels of {', '.join(map(str, _KERNELS))} and widths of "
        f"{', '.join(map(str, _WIDTHS))}"
    )
    named: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "lenet": "k5w8.pool-k5w16.pool",
            "vgg-like": "k3w32-k3w32.pool.skip-k3w64-k3w64.pool.skip-k3w128-k3w128.pool.skip",
        }
    )

    unit: int = 8

    def layer_text(self, layer: Layer) -> str:
        """Write one layer."""
        kernel, width, reduction, skip = layer
        return f"k{kernel}w{width}{f'.{reduction}' * (reduction != 'whole')}{f'.{skip}' * (skip != 'plain')}"

    def read_layer(self, text: str) -> Layer | None:
        """Read one layer."""
        read = _FORM.fullmatch(text)
        if read is None or int(read[2]) not in _WIDTHS:
            return None
        return int(read[1]), int(read[2]), (read[3] or ".whole")[1:], (read[4] or ".plain")[1:]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all chains that are the same network.

        Layers that are none come last, and a skip stands only where the shape stays.

        Example:
            >>> print(Chain().canonical(Chain().parse("k3w32.skip-k0w64.pool-k1w32.skip")))
            k3w32-k1w32.skip
        """
        layers: list[Layer] = []
        for kernel, width, reduction, skip in self.present(architecture):
            stays = reduction != "stride" and bool(layers) and width == layers[-1][1]
            layers.append((kernel, width, reduction, skip if stays else "plain"))
        return self.made_of(layers)

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is the chain of its layers.

        Example:
            >>> print(Chain().draw(Chain().parse("k3w32-k5w32.pool.skip")))
            layer 1 conv 3×3, 32 channels
            layer 2 conv 5×5, 32 channels, skip, max pool
            head    average pool, linear
        """
        draft, captions = Draft(task), dict[str, str]()
        for number, (kernel, width, reduction, skip) in enumerate(self.present(self.canonical(architecture)), 1):
            name, block, channels = f"features.{number - 1}", f"layer {number}", int(width) * self.unit // 8
            strides, pools, has_skip = reduction == "stride", reduction == "pool", skip == "skip"
            stride = 2 if strides else 1
            nodes = [draft.node(name, "skip_connect", target="1", block=block)] if has_skip else []
            nodes.append(draft.node(name, "conv_bn", channels, kernel=kernel, stride=stride, target="1", block=block))
            draft.extend([], channels, nodes[-1].output_size)
            nodes.append(draft.node(name, "relu", source="1", target="2" if pools else OUTPUT, block=block))
            if pools:
                nodes.append(draft.node(name, "max_pool", kernel=2, stride=2, source="2", block=block))
            draft.extend(nodes, channels, nodes[-1].output_size)
            said = [f"conv {kernel}×{kernel}, {channels} channels"]
            said += ["stride 2"] * strides + ["skip"] * has_skip + ["max pool"] * pools
            captions[block] = ", ".join(said)
        draft.classify(task.classes)
        captions["head"] = "average pool, linear"
        return draft.blueprint(captions=captions)
