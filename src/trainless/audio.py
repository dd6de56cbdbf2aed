"""The parts of networks for speech, on maps of features over time: plain PyTorch."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["RecurrentHead", "time_convolution", "time_padding"]

_AHEAD = 4  # steps of time that are looked ahead
_MOST = 20.0  # what activations are cut at


def time_padding(kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    """Tell by how many steps a convolution over time is padded before and behind, looking ahead by four at the most.

    Example:
        >>> time_padding(8, 2, 1), time_padding(5, 1, 1)
        ((5, 2), (0, 4))
    """
    span, ahead = kernel_size * dilation - stride, _AHEAD // stride
    if ahead >= span:
        return 0, span
    return (kernel_size - 1) * dilation - ahead, ahead


def time_convolution(
    inputs: int, outputs: int, kernel_size: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution along the last dimension with a bias, ReLU, cut at 20, as NAS-Bench-ASR has them.

    Source: Mehrotra et al., NAS-Bench-ASR: Reproducible Neural Architecture Search for Speech Recognition, ICLR 2021.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: steps of the kernel.
        stride: step of the convolution.
        dilation: distance of the steps that its kernel reads.
        groups: parts of the channels that are convolved each for itself.

    Example:
        >>> time_convolution(4, 8, 5, stride=2)(torch.zeros(2, 4, 1, 9)).shape
        torch.Size([2, 8, 1, 5])
    """
    before, behind = time_padding(kernel_size, stride, dilation)
    convolution = nn.Conv2d(inputs, outputs, (1, kernel_size), (1, stride), 0, (1, dilation), groups)
    return nn.Sequential(nn.ZeroPad2d((before, behind, 0, 0)), convolution, nn.ReLU(), nn.Hardtanh(0.0, _MOST))


class RecurrentHead(nn.Module):
    """A recurrent layer over time, a linear map at each step, and the mean of what it gives.

    Args:
        inputs: channels that come in; their rows are averaged.
        hidden: numbers of the recurrent state.
        outputs: numbers that go out.

    Example:
        >>> RecurrentHead(8, 6, 4)(torch.zeros(2, 8, 1, 9)).shape
        torch.Size([2, 4])
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(inputs, hidden, batch_first=True)
        self.classify = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute one row of class scores for each recording, shape ``(recordings, outputs)``."""
        states, _ = self.recurrent(x.mean(2).transpose(1, 2))
        scores: torch.Tensor = self.classify(states).mean(1)
        return scores
