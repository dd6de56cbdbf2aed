"""The networks of the mobile space as such: what a stage is made of, where images are halved, what it all costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainless.types import Task

__all__ = [
    "DEPTHS",
    "EXPANSIONS",
    "GATES",
    "KERNELS",
    "PERCENTS",
    "STAGES",
    "Stage",
    "blocks_of",
    "channels_of",
    "head_channels",
    "strides",
]

KERNELS = (3, 5, 7)
EXPANSIONS = (2, 3, 4, 6)
DEPTHS = (1, 2, 3, 4)
PERCENTS = (50, 75, 100, 150)
GATES = ("none", "se")
STAGES = 5

_PROPORTIONS = (2, 3, 5, 8, 10)  # channels of the stages at 100 %, in half widths
_HEAD = 4  # the last convolution widens so many times, as EfficientNet's does (320 to 1,280 channels)
_SQUEEZE = 4  # a squeeze-excite has one channel for so many that enter its block, as EfficientNet's
_FEWEST_PIXELS = 4
_HALVING = (3, 4, 2, 0, 5)  # stages that halve the image, the most willing first; 0 is the stem


class Stage(NamedTuple):
    """What one stage of a network is made of.

    Args:
        blocks: inverted residual blocks; all but the first have a shortcut.
        kernel: rows and columns of the depthwise convolutions.
        expansion: how many times wider a block is inside than what enters it.
        channels: channels that each block gives.
        has_gate: whether the blocks have a squeeze-excite.

    Example:
        >>> Stage(2, 5, 6, 24, True).squeezed(16), Stage(2, 5, 6, 24, False).squeezed(16)
        (4, 0)
    """

    blocks: int
    kernel: int
    expansion: int
    channels: int
    has_gate: bool

    def squeezed(self, inputs: int) -> int:
        """Channels inside the squeeze-excite of a block that so many channels enter; 0 where there is none."""
        return max(1, inputs // _SQUEEZE) if self.has_gate else 0


def blocks_of(depth: int, deepest: int) -> int:
    """Blocks of a stage of depth 1 to 4 where the deepest has so many.

    Example:
        >>> [blocks_of(depth, 6) for depth in DEPTHS]
        [2, 3, 5, 6]
    """
    return -(-depth * deepest // DEPTHS[-1])


def channels_of(stage: int, percent: int, width: int) -> int:
    """Channels of a stage, counted from 0: the nearest multiple of a quarter of the width, at least one.

    Example:
        >>> [channels_of(stage, 100, 16) for stage in range(5)], [channels_of(1, width, 16) for width in PERCENTS]
        ([16, 24, 40, 64, 80], [12, 20, 24, 36])
    """
    step = max(1, width // 4)
    return max(1, (width * _PROPORTIONS[stage] * percent + 100 * step) // (200 * step)) * step


def head_channels(stages: Sequence[Stage]) -> int:
    """Channels of the last convolution.

    Example:
        >>> head_channels([Stage(1, 3, 2, 80, False)])
        320
    """
    return _HEAD * stages[-1].channels


def strides(task: Task) -> tuple[int, ...]:
    """The strides of the stem and the five stages: 2 where the image is halved.

    It is halved as long as at least 4 pixels of its shorter side remain, at most five times: in stage 3, then also in
    stage 4, stage 2, the stem and stage 5.

    Example:
        >>> [strides(Task("toy", 10, height=side, width=side)) for side in (8, 32, 128)]
        [(1, 1, 1, 2, 1, 1), (1, 1, 2, 2, 2, 1), (2, 1, 2, 2, 2, 2)]
    """
    side, halving = min(task.height, task.width), set[int]()
    for stage in _HALVING:
        side = -(-side // 2)
        if side < _FEWEST_PIXELS:
            break
        halving.add(stage)
    return tuple(2 if stage in halving else 1 for stage in range(STAGES + 1))
