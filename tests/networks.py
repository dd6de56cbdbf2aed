"""Small networks that tests score, each with a habit that hooks and passes have to survive."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    """Two convolutions with batch normalisation, global pooling, a head."""

    def __init__(self, classes: int = 4, inplace: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=inplace)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Functional(Plain):
    """The same network with functional ReLUs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = torch.relu(self.second(x))
        return self.head(x.mean((2, 3)))


class Mobile(nn.Module):
    """Depthwise, grouped and pointwise convolutions, ReLU6, a residual connection added in place."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norms[0](self.stem(x)))
        y = F.relu6(self.norms[1](self.depthwise(x)), inplace=True)
        y = self.norms[2](self.grouped(y))
        y += x
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Pooled(nn.Module):
    """Max pooling, leaky ReLU, concatenation, dropout of nothing."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.0)
        self.head = nn.Linear(8 * 4 * 4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.left(x), self.right(x)], dim=1)
        x = F.max_pool2d(F.leaky_relu(self.norm(x), 0.1), 2)
        return self.head(self.drop(x).view(x.size(0), -1))


class Smooth(nn.Module):
    """Operations that jets have no rule for: GELU and layer normalisation."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 12), nn.LayerNorm(12), nn.GELU())
        self.head = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


class Arithmetic(Plain):
    """Slices, differences and quotients, which jets do not know, and an assertion about the type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert isinstance(x, torch.Tensor)
        x = self.relu(self.norm(self.first(x)))
        x = torch.relu(self.second((x - x[:, :1]) / 2))
        return self.head(x.mean((2, 3)))


class Tied(nn.Module):
    """Two layers that share one weight, and one layer that runs twice."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.second(torch.relu(self.first(torch.relu(self.first(x))))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class DeadBranch(Plain):
    """A branch with a ReLU that never reaches the output."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__(classes)
        self.dead = nn.Conv2d(3, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.relu(self.dead(x))
        return super().forward(x)


class Dropped(Plain):
    """Dropout in the middle: random in train mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.dropout(x, 0.3, self.training))


ALL = {
    "plain": Plain,
    "in_place": lambda: Plain(inplace=True),
    "no_norm_in_place": lambda: Plain(inplace=True, norm=False),
    "functional": Functional,
    "mobile": Mobile,
    "pooled": Pooled,
    "smooth": Smooth,
    "arithmetic": Arithmetic,
    "tied": Tied,
    "dead_branch": DeadBranch,
    "dropped": Dropped,
}


def build(name: str, seed: int = 0) -> nn.Module:
    """Build one of `ALL` from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = ALL[name]()
    return network


def batch(seed: int = 0, images: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of 8 x 8 images with labels, two a class."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, 3, 8, 8, generator=generator), torch.arange(images) % 4
