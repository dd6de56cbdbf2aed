"""The values that travel between the parts: an architecture, a task, a score."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ANY_TASK", "Architecture", "Score", "Task"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture of a search space: a hashable value, equal by space and genotype.

    Args:
        space: name of the search space.
        genotype: the choices that define it, in the space's own order.
        text: the benchmark's published string; ``str(architecture)`` gives it.

    Example:
        >>> str(Architecture("toy", ("skip_connect",), "|skip_connect~0|"))
        '|skip_connect~0|'
    """

    space: str
    genotype: tuple[str | int, ...]
    text: str = field(compare=False)
    _hash: int = field(init=False, repr=False, compare=False)  # a search looks an architecture up some 30 times

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.space, self.genotype)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Architecture], tuple[str, tuple[str | int, ...], str]]:
        # Made anew where it is read: strings hash differently in another process.
        return Architecture, (self.space, self.genotype, self.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Task:
    """What a network is built for: the shape of one image and the number of classes.

    Args:
        name: name of the data set.
        classes: number of classes.
        channels: colour channels of an image.
        height: rows of an image, in pixels.
        width: columns of an image, in pixels.

    Example:
        >>> Task("cifar10", classes=10).input_shape
        (3, 32, 32)
    """

    name: str
    classes: int
    channels: int = 3
    height: int = 32
    width: int = 32

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: channels, height, width."""
        return self.channels, self.height, self.width


ANY_TASK = Task("any", classes=2)
"""Stands for any task where next to nothing depends on it: what there is to choose among, or how it is drawn."""


@dataclass(frozen=True, slots=True)
class Score:
    """One proxy's value for one architecture, with how it came about.

    Args:
        architecture: the architecture's published string.
        proxy: the proxy's full name, variant included.
        value: the raw number of the paper; may be infinite or NaN, then `reason` says why.
        status: ``"ok"``, ``"not finite"`` or ``"failed"``.
        reason: why the value is not finite or there is none; empty otherwise.
        seconds: wall-clock time that it would take alone under the same protocol: building the network, and those parts
            of a pass that it needs.
        peak_memory: highest resident memory of the worker so far, in MiB, or None where unknown.
        spent: seconds of the run that fall to it, its share of what it had in common with others; None where unknown.
    """

    architecture: str
    proxy: str
    value: float
    status: str = "ok"
    reason: str = ""
    seconds: float = 0.0
    peak_memory: float | None = None
    spent: float | None = None
