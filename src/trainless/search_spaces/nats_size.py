"""The size search space of NATS-Bench (Dong et al., IEEE TPAMI 2021): 32,768 choices of five numbers of channels."""

from __future__ import annotations

from dataclasses import dataclass

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["NATSSize"]

_CHANNELS = (8, 16, 24, 32, 40, 48, 56, 64)
_LAYERS = 5
_EXAMPLE = "8:16:24:32:64"
# The one cell: 3 x 3 convolutions on all edges but the skip from its input to its output.
_EDGES = (("input", "1"), ("input", "2"), ("1", "2"), ("input", "output"), ("1", "output"), ("2", "output"))


@dataclass(frozen=True)
class NATSSize(ProductSpace):
    """NATS-Bench's size space: 32,768 networks of the same cells that differ in the channels of five layers.

    A network is a 3 x 3 convolution with batch normalisation, a cell, a residual reduction block, a cell, a reduction
    block, a cell, a last batch normalisation and ReLU, global average pooling and a linear layer; the five numbers are
    the channels that the stem, the first and second reduction, and the second and third cell give. The cell is the best
    one of the topology space on CIFAR-100. An architecture's number is the one whose digits to base 8 its channels are.

    Args:
        unit: channels of a layer that is written 8; the others have as many times more as is written.

    Raises:
        InputError: the unit is below 1.

    Example:
        >>> space = NATSSize()
        >>> len(space), str(space[0]), str(space[284])
        (32768, '8:8:8:8:8', '8:8:40:32:40')
        >>> space.parameters(space[0], Task("cifar10", 10))
        11714
    """

    name = "nats_size"
    noun = "choice of channels"
    halves = ("unit", 2)
    choices = (_CHANNELS,) * _LAYERS
    expected = f"{_LAYERS} of the numbers {', '.join(map(str, _CHANNELS))}"

    unit: int = 8

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write the channels as the published string."""
        return ":".join(map(str, genotype))

    def parse(self, text: str) -> Architecture:
        """Read a published string, five numbers of channels between colons.

        Raises:
            ArchitectureError: the string is none of the space; the message tells what is wrong.

        Example:
            >>> NATSSize().parse("8:16")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '8:16' is no architecture of nats_size: it has 2 numbers instead of 5...
        """
        parts = text.strip().split(":")
        if len(parts) != _LAYERS:
            raise _no_architecture(text, f"it has {len(parts)} numbers instead of {_LAYERS}")
        for part in parts:
            if part not in map(str, _CHANNELS):
                raise _no_architecture(text, f"'{part}' is none of {', '.join(map(str, _CHANNELS))}")
        return self.make([int(part) for part in parts])

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures its first cell stands for it.

        Example:
            >>> space = NATSSize()
            >>> print(space.draw(space[0]))
            node 0 = input
            node 1 = conv3x3(node 0)
            node 2 = conv3x3(node 0) + conv3x3(node 1)
            output = skip(node 0) + conv3x3(node 1) + conv3x3(node 2)
        """
        stem, *others = (_CHANNELS[code] * self.unit // _CHANNELS[0] for code in self.codes(architecture))
        draft = Draft(task)
        draft.add("features.0", "conv", stem, kernel=3)
        draft.add("features.1", "batch_norm", block="stem")
        for number, channels in enumerate([stem, *others], 2):
            if number % 2:
                draft.add(f"features.{number}", "reduction", channels, stride=2, block=f"reduction {number // 2}")
            else:
                _add_cell(draft, f"features.{number}", channels, f"cell {number // 2}")
        draft.add(f"features.{number + 1}", "batch_norm")
        draft.add(f"features.{number + 2}", "relu")
        draft.classify(task.classes)
        return draft.blueprint(pictured="features.2")


def _add_cell(draft: Draft, name: str, channels: int, block: str) -> None:
    """Add a cell whose edges from its input bring the channels to what it gives."""
    inputs = draft.channels
    nodes = []
    for source, target in _EDGES:
        # The channels that the edge reads: those of the cell's input, or those that all its nodes have.
        draft.channels = inputs if source == "input" else channels
        kind, kernel, label = ("relu_conv_bn", 3, "conv3x3")
        if (source, target) == ("input", "output"):
            kind, kernel, label = ("skip_connect" if inputs == channels else "conv_bn", 1, "skip")
        nodes.append(
            draft.node(
                name, kind, channels, kernel=kernel, source=source, target=target, block=block, label=label
            )
        )  # fmt: skip
    draft.extend(nodes, channels, draft.size)


def _no_architecture(text: str, problem: str) -> ArchitectureError:
    return ArchitectureError(
        f"'{text.strip()}' is no architecture of nats_size: {problem}, expected a form like '{_EXAMPLE}'."
    )
