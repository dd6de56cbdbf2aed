"""The nodes of blueprints, and the operations there are: how each is built, what it costs, what shape it gives.

A new operation is a new record of `OPERATIONS`. What a record builds comes from PyTorch and `trainless.operations`;
its layers are told apart from that in closed form, without PyTorch, and the contract tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trainless.errors import UnknownNameError

if TYPE_CHECKING:
    import torch

    from trainless.recurrent_cells import RecurrentCell

__all__ = ["EARLIER", "INPUT", "OPERATIONS", "OUTPUT", "Layer", "Node", "Operation", "Size"]

INPUT, OUTPUT = "input", "output"  # the values that a module reads and gives
EARLIER = "earlier"  # what the module before read, for the cells that read it too

Size = tuple[int, int]

_SLOPE = 0.2  # of a decoder's LeakyReLU below zero
_TILES_A_SIDE = 3  # of a puzzle


class Layer(NamedTuple):
    """What one layer costs.

    Args:
        parameters: its weights and biases.
        multiply_adds: those of a convolution or a linear map for one image, biases not counted; 0 for all else.

    Example:
        >>> Layer(parameters=20, multiply_adds=0)
        Layer(parameters=20, multiply_adds=0)
    """

    parameters: int = 0
    multiply_adds: int = 0


@dataclass(frozen=True)
class Operation:
    """One kind of operation.

    Args:
        build: makes the module of a node.
        layers: tells the layers of a node that have weights.
        size: tells rows and columns of what a node gives; its stride decides by default.
        is_identity: whether it hands on what it reads, as a skip connection does.
    """

    build: Callable[[Node], torch.nn.Module]
    layers: Callable[[Node], Sequence[Layer]] = lambda node: ()
    size: Callable[[Node], Size] = lambda node: strided(node.size, node.stride)
    is_identity: bool = False


@dataclass(frozen=True)
class Node:
    """One operation of a network.

    Args:
        name: path of the module that it belongs to, such as ``"features.2"``; nodes of one name are its graph.
        operation: key of `OPERATIONS`.
        inputs: channels that it reads.
        channels: channels that it gives.
        size: rows and columns that it reads.
        kernel: rows and columns of its kernel, odd.
        stride: step of its convolution or pooling.
        source: value of its module that it reads; ``"input"`` is what the module before gives, ``"earlier"`` what that
            one read, and the same as ``"input"`` in the first of the modules that read it.
        target: value that it gives; ``"output"`` is what its module gives.
        is_joined: whether its result is concatenated with the others of its target; otherwise it is added.
        groups: parts of the channels that are convolved each for itself.
        dilation: distance of the pixels that its kernel reads.
        is_affine: whether its batch normalisation has gains and offsets.
        has_bias: whether its convolution has a bias, which normalised ones need not.
        expansion: how many times wider an inverted residual is inside.
        heads: of self-attention.
        head_width: numbers of a query, key or value of each.
        hidden: numbers of a recurrent state.
        squeezed: channels inside a squeeze-excite; 0 leaves it out.
        pixels: rows and columns to which images are resized.
        repeat: how often its module follows upon itself, as ``"features.2"``, ``"features.3"`` and so on.
        tiles: parts of an image that it reads each as an image.
        position: when it runs: before nodes of higher positions, and after those of its own that are written before.
        block: what the part of the network is called that its module ends, with each repetition; ``"head"`` is the
            classifier, and what has no name belongs to the next.
        label: what pictures call it; the operation, unless a benchmark has a name of its own.
        divisor: what values are divided by.
        cell: of a recurrent layer.
        tied: path of the module whose weights it has, if it has none of its own.

    Example:
        >>> node = Node("features.2", "relu_conv_bn", 16, 16, (32, 32), kernel=3, repeat=5)
        >>> node.parameters, node.multiply_adds
        (11680, 11796480)
    """

    name: str
    operation: str
    inputs: int
    channels: int
    size: Size
    kernel: int = 1
    stride: int = 1
    source: str = INPUT
    target: str = OUTPUT
    is_joined: bool = False
    groups: int = 1
    dilation: int = 1
    is_affine: bool = True
    has_bias: bool = False
    expansion: int = 1
    heads: int = 1
    head_width: int = 1
    hidden: int = 0
    squeezed: int = 0
    pixels: int = 0
    repeat: int = 1
    tiles: int = 1
    position: int = 0
    block: str = ""
    label: str = ""
    divisor: int = 1
    cell: RecurrentCell | None = None
    tied: str = ""

    @property
    def record(self) -> Operation:
        """What is known of its operation; UnknownNameError where there is no such."""
        if self.operation not in OPERATIONS:
            raise UnknownNameError("operation", self.operation, OPERATIONS)
        return OPERATIONS[self.operation]

    @property
    def output_size(self) -> Size:
        """Rows and columns that it gives."""
        return self.record.size(self)

    @property
    def parameters(self) -> int:
        """Parameters of all its repetitions, frozen ones included."""
        return self.repeat * sum(layer.parameters for layer in self.record.layers(self))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of convolutions and linear maps, of all its repetitions, for one image."""
        return self.repeat * self.tiles * sum(layer.multiply_adds for layer in self.record.layers(self))


def strided(size: Size, stride: int) -> Size:
    """Rows and columns after a step of this stride, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _convolution(
    inputs: int, outputs: int, kernel: int, size: Size, groups: int = 1, *, normalised: bool = True, bias: bool = False
) -> Layer:
    """A convolution that gives maps of a size, with the batch normalisation that follows it."""
    weights = inputs * outputs // groups * kernel * kernel
    return Layer(weights + 2 * outputs * normalised + outputs * bias, weights * size[0] * size[1])


def _convolutions(node: Node) -> list[Layer]:
    return [
        _convolution(
            node.inputs, node.channels, node.kernel, node.output_size, node.groups, normalised=node.is_affine,
            bias=node.has_bias,
        )
    ]  # fmt: skip


def _transposed_convolution(node: Node) -> list[Layer]:
    weights = node.inputs * node.channels * node.kernel**2
    return [Layer(weights + 3 * node.channels, weights * node.size[0] * node.size[1])]


def _doubled(node: Node) -> Size:
    return 2 * node.size[0], 2 * node.size[1]


def _dilated(node: Node) -> list[Layer]:
    size = node.output_size
    return [
        _convolution(node.inputs, node.inputs, node.kernel, size, node.inputs, normalised=False),
        _convolution(node.inputs, node.channels, 1, size, normalised=node.is_affine),
    ]


def _separable(node: Node) -> list[Layer]:
    size = node.output_size
    return [
        _convolution(node.inputs, node.inputs, node.kernel, size, node.inputs, normalised=False),
        _convolution(node.inputs, node.inputs, 1, size, normalised=node.is_affine),
        *_dilated(node),
    ]


def _bare_convolution(node: Node) -> list[Layer]:
    return [
        _convolution(
            node.inputs, node.channels, node.kernel, node.output_size, node.groups, normalised=False, bias=node.has_bias
        )
    ]


def _reduction(node: Node) -> list[Layer]:
    inputs, outputs, size = node.inputs, node.channels, node.output_size
    return [
        _convolution(inputs, outputs, 3, size),
        _convolution(outputs, outputs, 3, size),
        _convolution(inputs, outputs, 1, size, normalised=False),
    ]


def _gate(channels: int, squeezed: int) -> list[Layer]:
    """A squeeze-excite."""
    return [
        _convolution(channels, squeezed, 1, (1, 1), normalised=False, bias=True),
        _convolution(squeezed, channels, 1, (1, 1), normalised=False, bias=True),
    ]


def _inverted_residual(node: Node) -> list[Layer]:
    hidden, size = node.expansion * node.inputs, node.output_size
    return [
        _convolution(node.inputs, hidden, 1, node.size),
        _convolution(hidden, hidden, node.kernel, size, groups=hidden),
        *(_gate(hidden, node.squeezed) if node.squeezed else []),
        _convolution(hidden, node.channels, 1, size),
    ]


def _whitening(node: Node) -> list[Layer]:
    return [_convolution(node.inputs, node.channels, node.kernel, node.size, normalised=False)]


def _over_time(node: Node) -> Size:
    return node.size[0], -(-node.size[1] // node.stride)


def _time_convolution(node: Node) -> list[Layer]:
    rows, columns = _over_time(node)
    weights = node.inputs * node.channels // node.groups * node.kernel
    return [Layer(weights + node.channels, weights * rows * columns)]


def _recurrent(node: Node) -> list[Layer]:
    steps, gates = node.size[1], 4 * node.hidden
    products = gates * (node.inputs + node.hidden)
    return [
        Layer(products + 2 * gates, steps * products),
        Layer((node.hidden + 1) * node.channels, steps * node.hidden * node.channels),
    ]


def _recurrent_cell(node: Node) -> list[Layer]:
    assert node.cell is not None
    widths = [
        sum(node.inputs if read == "x" else node.channels for read in step.inputs)
        for _, step in node.cell.steps
        if step.operation == "linear"
    ]
    return [Layer((width + 1) * node.channels, node.size[1] * width * node.channels) for width in widths]


def _embedding(node: Node) -> list[Layer]:
    weights = node.inputs * node.channels
    return [Layer(weights, node.size[0] * node.size[1] * weights)]


def _patches(node: Node) -> list[Layer]:
    rows, columns = node.output_size
    weights = node.inputs * node.channels * node.kernel**2
    return [Layer(weights + node.channels * (1 + rows * columns), weights * rows * columns)]


def _transformer_block(node: Node) -> list[Layer]:
    tokens, channels = node.size[0] * node.size[1], node.channels
    attended, hidden = node.heads * node.head_width, node.expansion * channels
    return [
        Layer(2 * 2 * channels),
        Layer((channels + 1) * 3 * attended, tokens * channels * 3 * attended),
        Layer(0, 2 * tokens**2 * attended),
        Layer((attended + 1) * channels, tokens * attended * channels),
        Layer((channels + 1) * hidden, tokens * channels * hidden),
        Layer((hidden + 1) * channels, tokens * hidden * channels),
    ]


def _linear(node: Node) -> list[Layer]:
    weights = node.inputs * node.channels
    return [Layer(node.channels + (0 if node.tied else weights), weights)]


# Modules are made late: whoever only counts does not load PyTorch.


def _build_convolution(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.Conv2d(
        node.inputs, node.channels, node.kernel, node.stride, node.kernel // 2, groups=node.groups, bias=node.has_bias
    )


def _build_norm(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.BatchNorm2d(node.channels)


def _build_relu_conv_bn(node: Node) -> torch.nn.Module:
    from trainless.operations import relu_conv_bn

    return relu_conv_bn(node.inputs, node.channels, node.kernel, node.stride)


def _build_conv_bn_relu(node: Node) -> torch.nn.Module:
    from trainless.operations import conv_bn_relu

    return conv_bn_relu(node.inputs, node.channels, node.kernel, node.stride, node.groups)


def _build_activated(activation: str) -> Callable[[Node], torch.nn.Module]:
    def build(node: Node) -> torch.nn.Module:
        from torch import nn

        from trainless.operations import conv_bn

        return nn.Sequential(
            *conv_bn(node.inputs, node.channels, node.kernel, node.stride, node.groups), getattr(nn, activation)()
        )

    return build


def _build_conv_bn_leaky_relu(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(_build_convolution(node), nn.BatchNorm2d(node.channels), nn.LeakyReLU(_SLOPE))


def _build_transposed_convolution(node: Node) -> torch.nn.Module:
    from torch import nn

    # Padded so that it gives twice the rows and columns.
    padding = node.kernel // 2
    convolution = nn.ConvTranspose2d(node.inputs, node.channels, node.kernel, 2, padding, output_padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(node.channels), nn.LeakyReLU(_SLOPE))


def _build_tiles(node: Node) -> torch.nn.Module:
    from trainless.operations import Tiles

    return Tiles(_TILES_A_SIDE)


def _build_join_tiles(node: Node) -> torch.nn.Module:
    from trainless.operations import JoinedTiles

    return JoinedTiles(node.tiles)


def _build_whitening(node: Node) -> torch.nn.Module:
    from trainless.operations import Whitening

    return Whitening(node.inputs, node.kernel)


def _build_global_max_pool(node: Node) -> torch.nn.Module:
    from trainless.operations import GlobalMaxPool

    return GlobalMaxPool()


def _build_divide(node: Node) -> torch.nn.Module:
    from trainless.operations import Divide

    return Divide(node.divisor)


def _build_conv_bn(node: Node) -> torch.nn.Module:
    from trainless.operations import conv_bn

    return conv_bn(node.inputs, node.channels, node.kernel, node.stride)


def _build_same_conv_bn(node: Node) -> torch.nn.Module:
    from trainless.operations import same_conv_bn

    return same_conv_bn(node.inputs, node.channels, node.kernel, node.stride, node.groups, node.size)


def _build_same_activated(activation: str) -> Callable[[Node], torch.nn.Module]:
    def build(node: Node) -> torch.nn.Module:
        from torch import nn

        return nn.Sequential(*_build_same_conv_bn(node).children(), getattr(nn, activation)())

    return build


def _build_hard_gate(node: Node) -> torch.nn.Module:
    from trainless.operations import SqueezeExcite

    return SqueezeExcite(node.channels, node.squeezed, is_hard=True)


def _build_resize(node: Node) -> torch.nn.Module:
    from trainless.operations import Resize

    return Resize(node.pixels, antialias=node.pixels < max(node.size))


def _build_max_pooling(node: Node) -> torch.nn.Module:
    from torch import nn

    # A window of even size has no padding, and so takes the last row of an odd image by rounding up.
    return nn.MaxPool2d(node.kernel, node.stride, padding=(node.kernel - 1) // 2, ceil_mode=node.kernel % 2 == 0)


def _build_cut(node: Node) -> torch.nn.Module:
    from torch import nn

    from trainless.operations import Cut

    return Cut(node.channels) if node.channels < node.inputs else nn.Identity()


def _build_average_pooling(node: Node) -> torch.nn.Module:
    from trainless.operations import average_pooling

    return average_pooling(node.stride)


def _build_normalised(pooling: Callable[[Node], torch.nn.Module]) -> Callable[[Node], torch.nn.Module]:
    def build(node: Node) -> torch.nn.Module:
        from torch import nn

        return nn.Sequential(pooling(node), nn.BatchNorm2d(node.channels, affine=False))

    return build


def _build_dilated(node: Node) -> torch.nn.Module:
    from trainless.operations import depthwise_separable

    return depthwise_separable(node.inputs, node.channels, node.kernel, node.stride, node.dilation, node.is_affine)


def _build_separable(node: Node) -> torch.nn.Module:
    from torch import nn

    from trainless.operations import depthwise_separable

    kernel, affine = node.kernel, node.is_affine
    return nn.Sequential(
        *depthwise_separable(node.inputs, node.inputs, kernel, node.stride, affine=affine),
        *depthwise_separable(node.inputs, node.channels, kernel, affine=affine),
    )


def _build_reduction(node: Node) -> torch.nn.Module:
    from trainless.operations import ReductionBlock

    return ReductionBlock(node.inputs, node.channels)


def _build_inverted_residual(node: Node) -> torch.nn.Module:
    from trainless.operations import inverted_residual

    return inverted_residual(node.inputs, node.channels, node.kernel, node.expansion, node.stride, node.squeezed)


def _build_zero(node: Node) -> torch.nn.Module:
    from trainless.operations import StridedZero, Zero

    return Zero() if (node.inputs, node.stride) == (node.channels, 1) else StridedZero(node.channels, node.stride)


def _build_factorized_reduction(node: Node) -> torch.nn.Module:
    from trainless.operations import FactorizedReduction

    return FactorizedReduction(node.inputs, node.channels, node.is_affine)


def _build_linear(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.Linear(node.inputs, node.channels)


def _build_patches(node: Node) -> torch.nn.Module:
    from trainless.attention import PatchEmbedding

    return PatchEmbedding(node.inputs, node.channels, node.kernel, *node.output_size)


def _build_transformer_block(node: Node) -> torch.nn.Module:
    from trainless.attention import TransformerBlock

    return TransformerBlock(node.channels, node.heads, node.head_width, node.expansion)


def _build_channel_norm(node: Node) -> torch.nn.Module:
    from trainless.attention import ChannelNorm

    return ChannelNorm(node.channels)


def _build_time_convolution(node: Node) -> torch.nn.Module:
    from trainless.audio import time_convolution

    return time_convolution(node.inputs, node.channels, node.kernel, node.stride, node.dilation, node.groups)


def _build_time_linear(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.Conv2d(node.inputs, node.channels, 1), nn.ReLU(), nn.Hardtanh(0.0, 20.0))


def _build_recurrent(node: Node) -> torch.nn.Module:
    from trainless.audio import RecurrentHead

    return RecurrentHead(node.inputs, node.hidden, node.channels)


def _build_recurrent_cell(node: Node) -> torch.nn.Module:
    from trainless.recurrence import RecurrentLayer

    assert node.cell is not None
    return RecurrentLayer(node.cell, node.inputs, node.channels, node.size[1])


def _build_embedding(node: Node) -> torch.nn.Module:
    from trainless.recurrence import TokenEmbedding

    return TokenEmbedding(node.inputs, node.channels)


def _build_last_step(node: Node) -> torch.nn.Module:
    from trainless.recurrence import LastStep

    return LastStep()


def _build_linear_bn(node: Node) -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.Linear(node.inputs, node.channels, bias=False), nn.BatchNorm1d(node.channels))


def _plain(name: str, *arguments: int) -> Callable[[Node], torch.nn.Module]:
    """Makes a module of `torch.nn` that has no weights."""

    def build(node: Node) -> torch.nn.Module:
        from torch import nn

        module: torch.nn.Module = getattr(nn, name)(*arguments)
        return module

    return build


OPERATIONS: Mapping[str, Operation] = {
    "none": Operation(_build_zero),
    "zero": Operation(_build_zero),  # which is computed, where what is none is left out
    "skip_connect": Operation(_plain("Identity"), is_identity=True),
    "conv": Operation(_build_convolution, _bare_convolution),
    "batch_norm": Operation(_build_norm, lambda node: [Layer(2 * node.channels)]),
    "relu": Operation(_plain("ReLU")),
    "tanh": Operation(_plain("Tanh")),
    "sigmoid": Operation(_plain("Sigmoid")),
    "elu": Operation(_plain("ELU")),
    "silu": Operation(_plain("SiLU")),
    "gelu": Operation(_plain("GELU")),
    "hard_swish": Operation(_plain("Hardswish")),
    "relu_conv_bn": Operation(_build_relu_conv_bn, _convolutions),
    "conv_bn_relu": Operation(_build_conv_bn_relu, _convolutions),
    "conv_bn_silu": Operation(_build_activated("SiLU"), _convolutions),
    "conv_bn_gelu": Operation(_build_activated("GELU"), _convolutions),
    "conv_bn": Operation(_build_conv_bn, _convolutions),
    "whitening": Operation(_build_whitening, _whitening),
    "conv_bn_relu6": Operation(_build_activated("ReLU6"), _convolutions),
    "same_conv_bn": Operation(_build_same_conv_bn, _convolutions),
    "conv_bn_hard_swish": Operation(_build_activated("Hardswish"), _convolutions),
    "same_conv_bn_relu": Operation(_build_same_activated("ReLU"), _convolutions),
    "same_conv_bn_relu6": Operation(_build_same_activated("ReLU6"), _convolutions),
    "same_conv_bn_hard_swish": Operation(_build_same_activated("Hardswish"), _convolutions),
    "squeeze_excite_hard": Operation(_build_hard_gate, lambda node: _gate(node.channels, node.squeezed)),
    "resize": Operation(_build_resize, size=lambda node: (node.pixels, node.pixels)),
    "cut": Operation(_build_cut),
    "conv_bn_leaky_relu": Operation(_build_conv_bn_leaky_relu, _convolutions),
    "up_conv_bn_leaky_relu": Operation(_build_transposed_convolution, _transposed_convolution, size=_doubled),
    "tiles": Operation(_build_tiles, size=lambda node: (node.size[0] // _TILES_A_SIDE, node.size[1] // _TILES_A_SIDE)),
    "join_tiles": Operation(_build_join_tiles),
    "max_pool": Operation(_build_max_pooling),
    "avg_pool_3x3": Operation(_build_average_pooling),
    "max_pool_bn": Operation(_build_normalised(_build_max_pooling)),
    "avg_pool_3x3_bn": Operation(_build_normalised(_build_average_pooling)),
    "sep_conv": Operation(_build_separable, _separable),
    "dil_conv": Operation(_build_dilated, _dilated),
    "join": Operation(_plain("Identity")),
    "reduction": Operation(_build_reduction, _reduction),
    "factorized_reduction": Operation(
        _build_factorized_reduction, _convolutions, size=lambda node: strided(node.size, 2)
    ),
    "inverted_residual": Operation(_build_inverted_residual, _inverted_residual),
    "global_pool": Operation(_plain("AdaptiveAvgPool2d", 1), size=lambda node: (1, 1)),
    "global_max_pool": Operation(_build_global_max_pool, size=lambda node: (1, 1)),
    "flatten": Operation(_plain("Flatten")),
    "linear": Operation(_build_linear, _linear),
    "linear_bn": Operation(
        _build_linear_bn,
        lambda node: [Layer((node.inputs + 2) * node.channels, node.inputs * node.channels)],
    ),
    "patches": Operation(
        _build_patches, _patches, size=lambda node: (node.size[0] // node.kernel, node.size[1] // node.kernel)
    ),
    "transformer_block": Operation(_build_transformer_block, _transformer_block),
    "channel_norm": Operation(_build_channel_norm, lambda node: [Layer(2 * node.channels)]),
    "time_conv": Operation(_build_time_convolution, _time_convolution, size=_over_time),
    "time_linear": Operation(_build_time_linear, _time_convolution),
    "recurrent": Operation(_build_recurrent, _recurrent, size=lambda node: (1, 1)),
    "embedding": Operation(_build_embedding, _embedding, size=lambda node: (1, node.size[0] * node.size[1])),
    "recurrent_cell": Operation(_build_recurrent_cell, _recurrent_cell, size=lambda node: (1, node.size[1])),
    "last_step": Operation(_build_last_step, size=lambda node: (1, 1)),
    "divide": Operation(_build_divide),
}
