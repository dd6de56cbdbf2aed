"""Networks of inverted residual blocks, read from the names and shapes of a checkpoint's weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from trainless.backbones.architecture import Architecture, Block, Layer, Shapes

__all__ = ["FAMILIES", "Family", "Stage", "mobile"]

Pair = tuple[str, str]
"""Names of a convolution and of the normalisation behind it."""


class Stage(NamedTuple):
    """What the blocks of one stage have in common, whatever their width.

    Args:
        repeats: number of blocks.
        kernel: rows and columns of the depthwise kernel.
        stride: step of the first block's.
        activation: of all but the last convolution of a block.
        is_gated: whether a squeeze-excite comes before that.
    """

    repeats: int
    kernel: int
    stride: int
    activation: str = "relu6"
    is_gated: bool = False


class Family(NamedTuple):
    """Networks that differ in width, and maybe in depth.

    Args:
        name: as backbones are called.
        stages: one after another.
        depths: factors of the number of blocks of each stage but the first and the last, rounded up, that there are.
        activation: of the first and the last convolution.
        pools_first: whether the last convolution comes after the pooling, and one more 1 x 1 convolution before it.
    """

    name: str
    stages: tuple[Stage, ...]
    depths: tuple[float, ...] = (1.0,)
    activation: str = "relu6"
    pools_first: bool = False

    def blocks(self, number: int) -> list[tuple[Stage, int]]:
        """Give stage and stride of so many blocks, as one of the depths has them; none where no depth has so many."""
        for depth in self.depths:
            inner = [math.ceil(depth * stage.repeats) for stage in self.stages[1:-1]]
            repeats = (self.stages[0].repeats, *inner, self.stages[-1].repeats)
            if sum(repeats) == number:
                return [
                    (stage, stage.stride if first == 0 else 1)
                    for stage, many in zip(self.stages, repeats, strict=True)
                    for first in range(many)
                ]
        return []


# Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019; Lite: 2020.
_LITE = (
    Stage(1, 3, 1), Stage(2, 3, 2), Stage(2, 5, 2), Stage(3, 3, 2), Stage(3, 5, 1), Stage(4, 5, 2), Stage(1, 3, 1),
)  # fmt: skip
# Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018; 110d and 120d of timm are deeper.
_V2 = (
    Stage(1, 3, 1), Stage(2, 3, 2), Stage(3, 3, 2), Stage(4, 3, 2), Stage(3, 3, 1), Stage(3, 3, 2), Stage(1, 3, 1),
)  # fmt: skip
# Howard et al., Searching for MobileNetV3, ICCV 2019.
_V3_SMALL = (
    Stage(1, 3, 2, "relu", True), Stage(2, 3, 2, "relu"), Stage(3, 5, 2, "hard_swish", True),
    Stage(2, 5, 1, "hard_swish", True), Stage(3, 5, 2, "hard_swish", True),
)  # fmt: skip
_V3_LARGE = (
    Stage(1, 3, 1, "relu"), Stage(2, 3, 2, "relu"), Stage(3, 5, 2, "relu", True), Stage(4, 3, 2, "hard_swish"),
    Stage(2, 3, 1, "hard_swish", True), Stage(3, 5, 2, "hard_swish", True),
)  # fmt: skip

FAMILIES = (
    Family("lite", _LITE, depths=(1.0, 1.1, 1.4, 1.8)),
    Family("mobilenetv2", _V2, depths=(1.0, 1.2, 1.4)),
    Family("mobilenetv3_small", _V3_SMALL, activation="hard_swish", pools_first=True),
    Family("mobilenetv3_large", _V3_LARGE, activation="hard_swish", pools_first=True),
)
"""All families that are known."""


class _Naming(NamedTuple):
    """How a library names layers: those of a block that widens come first among `blocks`, then of one that does not."""

    stem: Pair
    block: re.Pattern[str]
    blocks: tuple[Sequence[Pair], Sequence[Pair]]
    gate: Pair
    last: Pair
    classifier: str


_TIMM = _Naming(
    ("conv_stem", "bn1"),
    re.compile(r"blocks\.(\d+)\.(\d+)\."),
    (
        (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
        (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    ),
    ("se.conv_reduce", "se.conv_expand"),
    ("conv_head", "bn2"),
    "classifier",
)
_TORCHVISION = _Naming(
    ("features.0.0", "features.0.1"),
    re.compile(r"features\.(\d+)\.conv\."),
    (
        (("0.0", "0.1"), ("1.0", "1.1"), ("2", "3")),
        (("0.0", "0.1"), ("1", "2")),
    ),
    ("", ""),
    ("features.18.0", "features.18.1"),
    "classifier.1",
)
_PACKAGE = _Naming(
    ("_conv_stem", "_bn0"),
    re.compile(r"_blocks\.(\d+)\."),
    (
        (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")),
        (("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")),
    ),
    ("", ""),
    ("_conv_head", "_bn1"),
    "_fc",
)


def mobile(shapes: Shapes) -> tuple[str, Architecture] | None:
    """Read a network of inverted residual blocks of any width, under the names of timm, torchvision or the packages.

    Kernels, squeeze-excites and the number of blocks tell its family, and that tells strides and activations.

    Args:
        shapes: of the weights, by the name of the layer.

    Returns:
        The name of its family and the architecture; None where it is something else.
    """
    for naming in (_TIMM, _TORCHVISION, _PACKAGE):
        found = {match[0]: tuple(map(int, match.groups())) for match in map(naming.block.match, shapes) if match}
        paths = sorted(found, key=found.__getitem__)
        for family in FAMILIES if {naming.stem[0], naming.last[0]} <= shapes.keys() else ():
            architecture = _read(shapes, naming, family, paths)
            if architecture and architecture.fits(shapes):
                return family.name, architecture
    return None


def _read(shapes: Shapes, naming: _Naming, family: Family, paths: Sequence[str]) -> Architecture | None:
    stem = _convolution(shapes, naming.stem, f"conv_bn_{family.activation}", stride=2)
    inner, blocks, inputs = paths[: len(paths) - family.pools_first], list[Block](), stem.channels
    planned = family.blocks(len(inner))
    for path, (stage, stride) in zip(inner, planned, strict=False):
        block = _block(shapes, naming, path, stage, stride, inputs)
        if block is None:
            return None
        blocks.append(block)
        inputs = block.channels
    if family.pools_first:
        wide, last = (f"{paths[-1]}conv", f"{paths[-1]}bn1"), naming.last[:1]
        if not planned or wide[0] not in shapes:
            return None
        blocks.append(Block((_convolution(shapes, wide, f"conv_bn_{family.activation}"),)))
        convolution = _convolution(shapes, last, "conv")
        pool, activation = (
            Layer(name, channels)
            for name, channels in (("global_pool", blocks[-1].channels), (family.activation, convolution.channels))
        )
        blocks.append(Block((pool, convolution, activation)))
    else:
        blocks.append(Block((_convolution(shapes, naming.last, f"conv_bn_{family.activation}"),)))
    return Architecture(Block((stem,)), tuple(blocks), naming.classifier)


def _block(
    shapes: Shapes, naming: _Naming, path: str, stage: Stage, stride: int, inputs: int
) -> Block | None:  # fmt: skip
    """One block; None where it is none of the stage."""
    named = next((pairs for pairs in naming.blocks if all(path + first in shapes for first, _ in pairs)), None)
    gate = tuple(path + name for name in naming.gate)
    if named is None or (gate[0] in shapes) != stage.is_gated:
        return None
    *earlier, depthwise, last = [(path + first, path + second) for first, second in named]
    layers = [_convolution(shapes, pair, f"conv_bn_{stage.activation}") for pair in earlier]
    layers.append(_convolution(shapes, depthwise, f"conv_bn_{stage.activation}", stride))
    hidden = layers[-1].channels
    layers[-1] = layers[-1]._replace(groups=hidden)
    if layers[-1].kernel != stage.kernel:
        return None
    if stage.is_gated:
        layers.append(Layer("squeeze_excite_hard", hidden, squeezed=shapes[gate[0]][0], names=gate))
    layers.append(_convolution(shapes, last, "conv_bn"))
    return Block(tuple(layers), () if stride == 1 and inputs == layers[-1].channels else None)


def _convolution(shapes: Shapes, names: tuple[str, ...], operation: str, stride: int = 1) -> Layer:
    shape = shapes[names[0]]
    return Layer(operation, shape[0], shape[-1], stride, names=names)
