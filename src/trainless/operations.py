"""The convolution, pooling and zero blocks that search spaces build networks from: plain PyTorch, nothing else."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Cell", "ReductionBlock", "Zero", "average_pooling", "relu_conv_bn"]


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
    convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(outputs))


def average_pooling() -> nn.AvgPool2d:
    """Build the 3 x 3 average pooling of NAS-Bench-201: stride 1, padding that is not counted.

    Example:
        >>> average_pooling()(torch.ones(1, 1, 2, 2)).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


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


class Cell(nn.Module):
    """A cell: a directed acyclic graph whose nodes are sums of operations on earlier nodes; the last is the output.

    Args:
        nodes: for each node after the input, the operation on each edge and the node that the edge comes from.
            An edge that gives zero is left out; a node with no edge left is zero.

    Example:
        >>> cell = Cell([[(nn.Identity(), 0)], [(nn.Identity(), 0), (nn.Identity(), 1)]])
        >>> cell(torch.ones(1)).tolist()
        [2.0]
    """

    def __init__(self, nodes: list[list[tuple[nn.Module, int]]]) -> None:
        super().__init__()
        read = {source for node in nodes for _, source in node} | {len(nodes)}
        # A node without edges that nothing reads is only there for its number: it costs no arithmetic.
        filled = [
            node or [(Zero() if number in read else nn.Identity(), 0)] for number, node in enumerate(nodes, start=1)
        ]
        self.sources = [source for node in filled for _, source in node]
        self.targets = [number for number, node in enumerate(filled, start=1) for _ in node]
        self.operations = nn.ModuleList(operation for node in filled for operation, _ in node)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the last node, shaped as the input."""
        values = [x]
        # Edges in the order of their targets, by one flat loop: torch.jit.script can unroll no other.
        for edge, operation in enumerate(self.operations):
            term = operation(values[self.sources[edge]])
            if self.targets[edge] == len(values):
                values.append(term)
            else:
                values[-1] = values[-1] + term
        return values[-1]
