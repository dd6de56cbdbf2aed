"""The parts of vision transformers, on feature maps: plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["ChannelNorm", "PatchEmbedding", "SelfAttention", "TransformerBlock"]


class PatchEmbedding(nn.Module):
    """Makes one token of each patch of an image, and adds what tells its position.

    Source: Dosovitskiy et al., An Image Is Worth 16 x 16 Words, ICLR 2021.

    Args:
        inputs: channels of the images.
        channels: numbers of a token.
        patch: rows and columns of a patch; what is left over at the end is not read.
        rows: of tokens.
        columns: of tokens.

    Example:
        >>> PatchEmbedding(3, 16, 4, 2, 2)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 16, 2, 2])
    """

    def __init__(self, inputs: int, channels: int, patch: int, rows: int, columns: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(inputs, channels, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, channels, rows, columns))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute tokens, shape ``(images, channels, rows, columns)``."""
        tokens: torch.Tensor = self.patches(images) + self.positions
        return tokens


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a feature map.

    Example:
        >>> ChannelNorm(2, eps=0)(torch.tensor([[[[1.0]], [[3.0]]]])).flatten().tolist()
        [-1.0, 1.0]
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, shaped as the input."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class SelfAttention(nn.Module):
    """Multi-head attention of every token of a feature map to all of them.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017.

    Args:
        channels: that come in and go out.
        heads: number of heads.
        width: numbers of a query, key or value.

    Example:
        >>> SelfAttention(16, heads=2, width=4)(torch.zeros(1, 16, 2, 3)).shape
        torch.Size([1, 16, 2, 3])
    """

    def __init__(self, channels: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.project_in = nn.Linear(channels, 3 * heads * width)
        self.project_out = nn.Linear(heads * width, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute what the tokens attend to, shaped as the input."""
        tokens = x.flatten(2).transpose(1, 2)
        parts = self.project_in(tokens).unflatten(2, (3, self.heads, self.width)).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(self.width), 3)
        attended = (weights @ value).transpose(1, 2).flatten(2)
        mapped: torch.Tensor = self.project_out(attended).transpose(1, 2).unflatten(2, x.shape[2:])
        return mapped


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron of each token, both after a normalisation and around a shortcut.

    Source: as of `PatchEmbedding`.

    Args:
        channels: that come in and go out.
        heads: number of heads.
        width: numbers of a query, key or value.
        expansion: how many times wider the perceptron is inside.

    Example:
        >>> TransformerBlock(16, heads=2, width=4, expansion=3)(torch.zeros(1, 16, 2, 3)).shape
        torch.Size([1, 16, 2, 3])
    """

    def __init__(self, channels: int, heads: int, width: int, expansion: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(ChannelNorm(channels), SelfAttention(channels, heads, width))
        hidden = expansion * channels
        self.perceptron = nn.Sequential(
            ChannelNorm(channels), nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute both, shaped as the input."""
        x = x + self.attention(x)
        result: torch.Tensor = x + self.perceptron(x)
        return result
