"""The convolution, pooling and zero blocks that networks are built from, and what wraps them: plain PyTorch."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

__all__ = [
    "Cell",
    "Cut",
    "Divide",
    "FactorizedReduction",
    "GlobalMaxPool",
    "JoinedTiles",
    "MirrorAveraged",
    "PairCell",
    "PairCells",
    "ReductionBlock",
    "Residual",
    "Resize",
    "SqueezeExcite",
    "StridedZero",
    "Tiles",
    "Whitening",
    "Zero",
    "average_pooling",
    "conv_bn",
    "conv_bn_relu",
    "depthwise_separable",
    "inverted_residual",
    "is_perilous",
    "relu_conv_bn",
    "same_conv_bn",
    "strided_pointwise",
]

_FEW_CHANNELS = 8


def relu_conv_bn(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Build ReLU, convolution without bias, batch normalisation; the image keeps its size at stride 1.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the kernel, odd.
        stride: step of the convolution.

    Example:
        >>> relu_conv_bn(4, 8, 3, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """
    return nn.Sequential(nn.ReLU(), *conv_bn(inputs, outputs, kernel_size, stride))


def conv_bn(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Build convolution without bias and batch normalisation; the image keeps its size at stride 1.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the kernel, odd.
        stride: step of the convolution.
        groups: parts of the channels that are convolved each for itself; as many as channels make it depthwise.

    Example:
        >>> [type(layer).__name__ for layer in conv_bn(4, 8, 1)]
        ['Conv2d', 'BatchNorm2d']
    """
    convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Build convolution without bias, batch normalisation, ReLU; the image keeps its size at stride 1.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the kernel, odd.
        stride: step of the convolution.
        groups: as for `conv_bn`.

    Example:
        >>> conv_bn_relu(4, 8, 5, stride=2)(torch.zeros(2, 4, 7, 8)).shape
        torch.Size([2, 8, 4, 4])
    """
    return nn.Sequential(*conv_bn(inputs, outputs, kernel_size, stride, groups), nn.ReLU())


def same_conv_bn(
    inputs: int, outputs: int, kernel_size: int, stride: int, groups: int, size: tuple[int, int]
) -> nn.Sequential:
    """Build convolution without bias and batch normalisation as TensorFlow has them: padding "same", epsilon 0.001.

    There a step of 2 over an even number of pixels pads one pixel more behind than before, where PyTorch pads both
    sides alike.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the kernel, odd.
        stride: step of the convolution.
        groups: as for `conv_bn`.
        size: rows and columns that come in.

    Example:
        >>> [type(layer).__name__ for layer in same_conv_bn(4, 8, 3, 2, 1, (6, 6))]
        ['ZeroPad2d', 'Conv2d', 'BatchNorm2d']
        >>> [type(layer).__name__ for layer in same_conv_bn(4, 8, 3, 2, 1, (5, 5))]
        ['Conv2d', 'BatchNorm2d']
    """
    # What the windows of all steps cover beyond the image.
    (above, below), (left, right) = (
        (missing // 2, missing - missing // 2)
        for missing in (max((-(-pixels // stride) - 1) * stride + kernel_size - pixels, 0) for pixels in size)
    )
    is_even = (above, left) == (below, right)
    convolution = nn.Conv2d(
        inputs, outputs, kernel_size, stride, (above, left) if is_even else 0, groups=groups, bias=False
    )
    pad = [] if is_even else [nn.ZeroPad2d((left, right, above, below))]
    return nn.Sequential(*pad, convolution, nn.BatchNorm2d(outputs, eps=1e-3))


def inverted_residual(
    inputs: int, outputs: int, kernel_size: int, expansion: int, stride: int = 1, squeeze: int = 0
) -> nn.Sequential:
    """Build an inverted residual block without its shortcut: widen by 1 x 1, convolve depthwise, narrow by 1 x 1.

    What goes out is linear: no ReLU follows the last normalisation.

    Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the depthwise kernel, odd.
        expansion: how many times wider it is inside.
        stride: step of the depthwise convolution.
        squeeze: channels of a `SqueezeExcite` between the last two convolutions; 0 leaves it out.

    Example:
        >>> inverted_residual(4, 8, 5, expansion=3, stride=2, squeeze=1)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 8, 3, 3])
    """
    hidden = expansion * inputs
    layers = [conv_bn_relu(inputs, hidden, 1), conv_bn_relu(hidden, hidden, kernel_size, stride, groups=hidden)]
    gate = [SqueezeExcite(hidden, squeeze)] if squeeze else []
    return nn.Sequential(*layers, *gate, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def average_pooling(stride: int = 1) -> nn.AvgPool2d:
    """Build 3 x 3 average pooling with padding that is not counted.

    Args:
        stride: step of the pooling.

    Example:
        >>> average_pooling()(torch.ones(1, 1, 2, 2)).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def depthwise_separable(
    inputs: int, outputs: int, kernel_size: int, stride: int = 1, dilation: int = 1, affine: bool = True
) -> nn.Sequential:
    """Build ReLU, depthwise convolution, 1 x 1 convolution, batch normalisation, as DARTS has them.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: rows and columns of the depthwise kernel, odd.
        stride: step of the depthwise convolution.
        dilation: distance of the pixels that its kernel reads.
        affine: whether the normalisation has gains and offsets.

    Example:
        >>> depthwise_separable(4, 8, 3, stride=2, dilation=2)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 8, 3, 3])
    """
    padding = dilation * (kernel_size // 2)
    depthwise = nn.Conv2d(inputs, inputs, kernel_size, stride, padding, dilation, groups=inputs, bias=False)
    pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(outputs, affine=affine))


class Zero(nn.Module):
    """Gives zeros of the input's shape, still attached to it so that gradients are zeros and not missing.

    Example:
        >>> Zero()(torch.ones(2)).tolist()
        [0.0, 0.0]
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute zeros, shaped as the input."""
        zeros: torch.Tensor = x * 0.0
        return zeros


class StridedZero(nn.Module):
    """Gives zeros of another size or number of channels, still attached to what it reads as those of `Zero` are.

    Args:
        channels: how many it gives.
        stride: by which it gives fewer rows and columns, rounded up.

    Example:
        >>> StridedZero(8, 2)(torch.ones(2, 4, 5, 5)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute zeros, shape ``(images, channels, height / stride, width / stride)``."""
        # Written so that it can be exported as plain code.
        zeros = nn.functional.max_pool2d(torch.narrow(x, 1, 0, 1), 1, self.stride) * 0.0
        return zeros.expand(-1, self.channels, -1, -1)

    def extra_repr(self) -> str:
        """Tell channels and stride."""
        return f"{self.channels}, stride={self.stride}"


class FactorizedReduction(nn.Module):
    """Halves the image by two 1 x 1 convolutions, of which the second reads the pixels that the first leaves out.

    ReLU comes before, batch normalisation after. Source: Zoph et al., Learning Transferable Architectures for Scalable
    Image Recognition, CVPR 2018.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, an even number.
        affine: whether the normalisation has gains and offsets.

    Example:
        >>> FactorizedReduction(4, 8)(torch.zeros(2, 4, 5, 5)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.first, self.second = (nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False) for _ in range(2))
        self.normalisation = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute both halves of the channels, shape ``(images, outputs, height / 2, width / 2)``."""
        x = self.relu(x)
        # Cut before and padded behind, so that it has as many rows and columns as before.
        shifted = nn.functional.pad(x, (-1, 1, -1, 1))
        joined: torch.Tensor = self.normalisation(torch.cat([self.first(x), self.second(shifted)], 1))
        return joined


class ReductionBlock(nn.Module):
    """The residual block between stages: halves the image; the shortcut is average pooling and a 1 x 1 convolution.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.

    Example:
        >>> ReductionBlock(4, 8)(torch.zeros(2, 4, 5, 5)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(relu_conv_bn(inputs, outputs, 3, stride=2), relu_conv_bn(outputs, outputs, 3))
        # Rounded up, as the convolution beside it does: images of odd size have a last row too.
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the sum of both ways, shape ``(images, outputs, height / 2, width / 2)``."""
        total: torch.Tensor = self.shortcut(x) + self.main(x)
        return total


class Cut(nn.Module):
    """Keeps the first channels.

    Args:
        channels: how many.

    Example:
        >>> Cut(2)(torch.zeros(1, 3, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give a view of the first channels."""
        return torch.narrow(x, 1, 0, self.channels)


class Divide(nn.Module):
    """Divides by a fixed number: logits of a network that learns fast are kept small by it.

    Args:
        divisor: the number.

    Example:
        >>> Divide(8)(torch.ones(2)).tolist()
        [0.125, 0.125]
    """

    def __init__(self, divisor: int) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the quotient, shaped as the input."""
        quotient: torch.Tensor = x / self.divisor
        return quotient

    def extra_repr(self) -> str:
        """Tell the divisor."""
        return str(self.divisor)


class GlobalMaxPool(nn.Module):
    """Keeps the largest value of each channel.

    Example:
        >>> GlobalMaxPool()(torch.arange(8.0).view(1, 2, 2, 2)).flatten().tolist()
        [3.0, 7.0]
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the maxima, shape ``(images, channels, 1, 1)``."""
        largest: torch.Tensor = torch.amax(x, (2, 3), keepdim=True)
        return largest


class Whitening(nn.Module):
    """A frozen convolution that makes the values of each patch of an image uncorrelated, and their variances 1.

    It gives as many channels as a patch has values, and the image keeps its size. Its filters are the principal
    directions of the patches of training images, each divided by the standard deviation along it. Before `derive` has
    seen any images they are the cosines that are near these in photographs, all of length 1, so that a network has the
    same ones wherever it is built.

    Source: the frozen first layer of fast trainings on CIFAR-10: Page, "How to Train Your ResNet", part 8, 2019;
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024.

    Args:
        channels: channels of the images.
        kernel_size: rows and columns of a patch, odd.

    Example:
        >>> layer = Whitening(1)
        >>> layer(torch.ones(1, 1, 5, 5)).shape, layer.convolution.weight.requires_grad
        (torch.Size([1, 9, 5, 5]), False)
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        values = channels * kernel_size**2
        self.convolution = nn.Conv2d(channels, values, kernel_size, padding=kernel_size // 2, bias=False)
        self.convolution.weight.requires_grad_(False)
        cosines = torch.kron(_cosines(channels), torch.kron(_cosines(kernel_size), _cosines(kernel_size)))
        self._set(cosines)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the values along each direction, shape ``(images, values of a patch, height, width)``."""
        directions: torch.Tensor = self.convolution(x)
        return directions

    def derive(self, images: torch.Tensor, epsilon: float = 1e-2) -> None:
        """Take the directions from images, which no label is needed for.

        Args:
            images: what the layer will read, with means of about 0: normalised images, shape
                ``(images, channels, height, width)``.
            epsilon: added to the variances, so that directions in which next to nothing varies are not blown up.
        """
        kernel, values = self.convolution.kernel_size, self.convolution.out_channels
        moments, patches = torch.zeros(values, values, dtype=torch.float64), 0
        for part in images.split(max(1, _AT_ONCE // (images.shape[2] * images.shape[3]))):
            # With the border that the convolution sees.
            columns = nn.functional.unfold(part, kernel, padding=self.convolution.padding).double()  # type: ignore[arg-type]
            columns = columns.transpose(0, 1).flatten(1)
            moments += columns @ columns.t()
            patches += columns.shape[1]
        variances, directions = torch.linalg.eigh(moments / patches)
        directions = directions.t() / (variances.clamp(min=0) + epsilon).sqrt()[:, None]
        # An eigenvector may point either way: the largest value is positive.
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        self._set((directions * largest.sign()).flip(0))

    def _set(self, directions: torch.Tensor) -> None:
        weight = self.convolution.weight
        with torch.no_grad():
            weight.copy_(directions.view(weight.shape))


_AT_ONCE = 2**18  # patches that are laid out, which takes some hundred bytes each


def _cosines(size: int) -> torch.Tensor:
    """The orthonormal basis of the discrete cosine transform, a row each, the constant first."""
    numbers = torch.arange(size, dtype=torch.float64)
    rows: torch.Tensor = torch.cos(torch.pi / size * numbers[:, None] * (numbers + 0.5)) * (2 / size) ** 0.5
    rows[0] /= 2**0.5
    return rows


class Resize(nn.Module):
    """Resizes images to a square by bilinear interpolation, without aliasing where they become smaller.

    Args:
        pixels: rows and columns of what it gives.
        antialias: whether each pixel is a mean over all that it stands for; for images that become smaller.

    Example:
        >>> Resize(6)(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 3, 6, 6])
    """

    def __init__(self, pixels: int, antialias: bool = False) -> None:
        super().__init__()
        self.pixels, self.antialias = pixels, antialias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the resized images."""
        size = [self.pixels, self.pixels]
        return nn.functional.interpolate(x, size=size, mode="bilinear", antialias=self.antialias)


class Tiles(nn.Module):
    """Cuts images into tiles, each an image of its own: those of the first image come first, row by row.

    Args:
        side: tiles along a side; rows and columns that are left over are cut off.

    Example:
        >>> Tiles(3)(torch.zeros(2, 3, 9, 13)).shape
        torch.Size([18, 3, 3, 4])
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the tiles, shape ``(images * side², channels, height / side, width / side)``."""
        side, (height, width) = self.side, (x.shape[2] // self.side, x.shape[3] // self.side)
        tiles = x[:, :, : side * height, : side * width].unflatten(3, (side, width)).unflatten(2, (side, height))
        flat: torch.Tensor = tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        return flat

    def extra_repr(self) -> str:
        """Tell how many there are."""
        return str(self.side)


class JoinedTiles(nn.Module):
    """Concatenates the channels of an image's tiles.

    Args:
        tiles: of an image.

    Example:
        >>> JoinedTiles(9)(torch.zeros(18, 4, 2, 2)).shape
        torch.Size([2, 36, 2, 2])
    """

    def __init__(self, tiles: int) -> None:
        super().__init__()
        self.tiles = tiles

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the joined maps, shape ``(images, tiles * channels, height, width)``."""
        joined: torch.Tensor = x.unflatten(0, (-1, self.tiles)).flatten(1, 2)
        return joined

    def extra_repr(self) -> str:
        """Tell how many there are."""
        return str(self.tiles)


class SqueezeExcite(nn.Module):
    """Scales each channel by a factor from 0 to 1 that two 1 x 1 convolutions compute of all channels' means.

    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; with a hard sigmoid Howard et al., Searching for
    MobileNetV3, ICCV 2019.

    Args:
        channels: channels that come in and go out.
        squeezed: channels between the two convolutions.
        is_hard: whether the factor is a piecewise linear function in place of the sigmoid.

    Example:
        >>> SqueezeExcite(8, 2)(torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(self, channels: int, squeezed: int, is_hard: bool = False) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid() if is_hard else nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the scaled channels, shaped as the input."""
        scaled: torch.Tensor = x * self.gate(x)
        return scaled


class Residual(nn.Module):
    """Adds what a module computes to its input.

    Args:
        body: a module that keeps the shape.

    Example:
        >>> Residual(nn.Identity())(torch.ones(2)).tolist()
        [2.0, 2.0]
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the sum, shaped as the input."""
        total: torch.Tensor = x + self.body(x)
        return total


class Cell(nn.Module):
    """A cell: an acyclic graph whose nodes are sums of operations on earlier nodes; the last is the output.

    Args:
        nodes: for each node after the input, the operation on each edge and the node that the edge comes from.
            An edge that gives zero is left out; a node with no edge left is zero.
        concatenated: numbers of the nodes whose terms are concatenated along the channels, and not added.
        inputs: how many values it reads; the first node has this number.

    Example:
        >>> cell = Cell([[(nn.Identity(), 0)], [(nn.Identity(), 0), (nn.Identity(), 1)]])
        >>> cell(torch.ones(1)).tolist()
        [2.0]
    """

    def __init__(
        self, nodes: list[list[tuple[nn.Module, int]]], concatenated: Collection[int] = (), inputs: int = 1
    ) -> None:
        super().__init__()
        read = {source for node in nodes for _, source in node} | {len(nodes) + inputs - 1}
        # A node without edges that nothing reads is only there for its number: it costs no arithmetic.
        filled = [
            node or [(Zero() if number in read else nn.Identity(), 0)]
            for number, node in enumerate(nodes, start=inputs)
        ]
        self.sources = [source for node in filled for _, source in node]
        self.targets = [number for number, node in enumerate(filled, start=inputs) for _ in node]
        self.are_joined = [target in concatenated for target in self.targets]
        self.operations = nn.ModuleList(operation for node in filled for operation, _ in node)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the last node, shaped as the input."""
        return self.last_of([x])

    def last_of(self, values: list[torch.Tensor]) -> torch.Tensor:
        """Compute the last node from the values that the cell reads."""
        # Edges in the order of their targets, by one flat loop: torch.jit.script can unroll no other.
        for edge, operation in enumerate(self.operations):
            term = operation(values[self.sources[edge]])
            if self.targets[edge] == len(values):
                values.append(term)
            elif self.are_joined[edge]:
                values[-1] = torch.cat((values[-1], term), 1)
            else:
                values[-1] = values[-1] + term
        return values[-1]


class PairCell(Cell):
    """A `Cell` that reads two values: what the cell before it gives, and what that one read.

    Example:
        >>> cell = PairCell([[(nn.Identity(), 0), (nn.Identity(), 1)]])
        >>> cell(torch.ones(1), torch.ones(1)).tolist()
        [2.0]
    """

    def __init__(self, nodes: list[list[tuple[nn.Module, int]]], concatenated: Collection[int] = ()) -> None:
        super().__init__(nodes, concatenated, inputs=2)

    def forward(self, x: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the last node."""
        return self.last_of([x, earlier])


class PairCells(nn.Sequential):
    """Cells one after another, each of which also reads what the one before it read; the first reads its input twice.

    Example:
        >>> cells = PairCells(*(PairCell([[(nn.Identity(), 0), (nn.Identity(), 1)]]) for _ in range(2)))
        >>> cells(torch.ones(1)).tolist()
        [3.0]
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the last cell."""
        earlier = x
        for cell in self:
            earlier, x = x, cell(x, earlier)
        return x


class MirrorAveraged(nn.Module):
    """The mean of a network's logits for an image and for its mirror image, left to right, in one pass.

    For images that mean the same mirrored. It takes twice the multiply-adds of the network.

    Args:
        network: maps images, shape ``(images, channels, height, width)``, to logits.

    Example:
        >>> network = MirrorAveraged(nn.Flatten()).eval()
        >>> network(torch.tensor([[[[1.0, 2.0, 6.0]]]]))
        tensor([[3.5000, 2.0000, 3.5000]])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the mean logits, shape ``(images, classes)``."""
        logits: torch.Tensor = self.network(torch.cat((images, images.flip(3))))
        mean: torch.Tensor = logits.unflatten(0, (2, -1)).mean(0)
        return mean


def is_perilous(weight: torch.Tensor, stride: int | tuple[int, ...], padding: int | str | tuple[int, ...]) -> bool:
    """Tell whether the gradient of a convolution's weights may write where it should not.

    So it is for 1 x 1 convolutions of a stride above 1 with fewer than 8 channels going in, of images that lie
    channels-last on a CPU (PyTorch 2.13 with oneDNN on AVX2): the process ends soon after with "corrupted double-linked
    list" or the like. `strided_pointwise` computes the same by other means.

    Example:
        >>> is_perilous(torch.zeros(8, 4, 1, 1), 2, 0), is_perilous(torch.zeros(8, 4, 1, 1), 1, 0)
        (True, False)
    """
    strides = stride if isinstance(stride, tuple | list) else (stride,)
    pads = padding if isinstance(padding, tuple | list) else (padding,)
    is_strided = max(strides) > 1 and set(pads) <= {0, "valid"}
    return is_strided and weight.shape[2:] == (1, 1) and weight.shape[1] < _FEW_CHANNELS


def strided_pointwise(
    images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int | tuple[int, ...],
    groups: int = 1,
) -> torch.Tensor:  # fmt: skip
    """Compute a 1 x 1 convolution of a stride from those pixels alone that it reads.

    Example:
        >>> images, weight = torch.randn(2, 4, 5, 5), torch.randn(3, 4, 1, 1)
        >>> expected = nn.functional.conv2d(images, weight, None, stride=2)
        >>> torch.allclose(strided_pointwise(images, weight, None, 2), expected, atol=1e-6)
        True
    """
    rows, columns = stride if isinstance(stride, tuple | list) else (stride, stride)
    return nn.functional.conv2d(images[..., ::rows, ::columns], weight, bias, groups=groups)
