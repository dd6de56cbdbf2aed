"""What a backbone is made of: layers in blocks, with the names that a checkpoint has for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

__all__ = ["Architecture", "Block", "Layer", "Shape", "Shapes", "Weights"]

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""By the name of a layer the shape of its weights."""

_COLOURS = 3
_STATISTICS = ("bias", "running_mean", "running_var")


class Weights(NamedTuple):
    """The tensors of a convolution or a normalisation in a checkpoint.

    Args:
        name: of the layer.
        shape: of its weights.
        has_bias: whether it is a convolution with a bias.
    """

    name: str
    shape: Shape
    has_bias: bool = False

    @property
    def shapes(self) -> dict[str, Shape]:
        """By name the shapes of all its tensors.

        Example:
            >>> Weights("conv_head", (64, 8, 1, 1), has_bias=True).shapes
            {'weight': (64, 8, 1, 1), 'bias': (64,)}
        """
        others = _STATISTICS if len(self.shape) == 1 else _STATISTICS[:1] * self.has_bias
        return {"weight": self.shape, **dict.fromkeys(others, self.shape[:1])}


class Layer(NamedTuple):
    """One layer of a backbone.

    Args:
        operation: what it does, a key of `trainless.search_spaces.nodes.OPERATIONS`.
        channels: what it gives.
        kernel: rows and columns of its kernel.
        stride: step of it.
        groups: parts of the channels that are convolved each for itself.
        squeezed: channels inside a squeeze-excite.
        names: in the checkpoint, of its parts that have weights: a convolution and its normalisation, or both
            convolutions of a squeeze-excite.

    Example:
        >>> [*Layer("conv_bn_relu", 64, kernel=7, stride=2, names=("conv1", "bn1")).weights(3)]
        [Weights(name='conv1', shape=(64, 3, 7, 7), has_bias=False), Weights(name='bn1', shape=(64,), has_bias=False)]
    """

    operation: str
    channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    squeezed: int = 0
    names: tuple[str, ...] = ()

    def weights(self, inputs: int) -> Iterator[Weights]:
        """Give what has weights in it, where it reads so many channels."""
        if self.squeezed:
            shapes: list[Shape] = [(self.squeezed, inputs, 1, 1), (self.channels, self.squeezed, 1, 1)]
        else:
            shapes = [(self.channels, inputs // self.groups, self.kernel, self.kernel), (self.channels,)]
        is_bare = self.squeezed > 0 or len(self.names) == 1
        return (Weights(name, shape, is_bare) for name, shape in zip(self.names, shapes, strict=False))


class Block(NamedTuple):
    """Layers after which a backbone can be cut.

    Args:
        layers: one after another.
        shortcut: layers of a way around them, whose result is added: none where the input is, None without it.
        activation: key of what follows the sum; empty where nothing does.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] | None = None
    activation: str = ""

    @property
    def channels(self) -> int:
        """Channels that it gives."""
        return self.layers[-1].channels

    @property
    def caption(self) -> str:
        """What pictures say of it.

        Example:
            >>> Block((Layer("conv_bn_relu", 64, 3, 2), Layer("conv_bn", 24))).caption
            '24 channels, 3×3 conv, 64 inside, stride 2'
        """
        kernel, widest, stride = (
            max(getattr(layer, name) for layer in self.layers) for name in ("kernel", "channels", "stride")
        )
        inside = f", {widest} inside" if widest > self.channels else ""
        return f"{self.channels} channels, {kernel}×{kernel} conv{inside}{f', stride {stride}' if stride > 1 else ''}"

    def weights(self, inputs: int) -> Iterator[Weights]:
        """Give what has weights in it, those of the shortcut last, where it reads so many channels."""
        for layers in (self.layers, self.shortcut or ()):
            channels = inputs
            for layer in layers:
                yield from layer.weights(channels)
                channels = layer.channels


@dataclass(frozen=True)
class Architecture:
    """A backbone as a chain of blocks.

    Args:
        stem: what comes before the first block; no cut is there.
        blocks: all others.
        classifier: name of the linear layer in the checkpoint.
    """

    stem: Block
    blocks: tuple[Block, ...]
    classifier: str

    def weights(self) -> Iterator[Weights]:
        """Give what has weights in it, but for the classifier, in the order in which they run."""
        inputs = (_COLOURS, self.stem.channels, *(block.channels for block in self.blocks))
        parts = zip((self.stem, *self.blocks), inputs, strict=False)
        return chain.from_iterable(block.weights(channels) for block, channels in parts)

    def fits(self, shapes: Shapes) -> bool:
        """Tell whether a checkpoint has exactly these weights, with a classifier of any number of classes or without.

        Example:
            >>> stem = Block((Layer("conv_bn_relu", 8, 3, 2, names=("conv1", "bn1")),))
            >>> Architecture(stem, (), "fc").fits({"conv1": (8, 3, 3, 3), "bn1": (8,), "fc": (10, 8)})
            True
        """
        own = {weights.name: weights.shape for weights in self.weights()}
        return {name: shape for name, shape in shapes.items() if name != self.classifier} == own
