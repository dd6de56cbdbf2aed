"""The heads of TransNAS-Bench-101 (Duan et al., CVPR 2021): what its seven tasks put behind an encoder.

Class and scene classification and the layout of a room have a linear layer; a puzzle has nine tiles of an image, each
read by the encoder; the segmentation has a decoder that gives one map a class, autoencoding and surface normals one
that gives as many maps as an image has.
"""

from __future__ import annotations

from trainless.search_spaces.blueprint import Draft
from trainless.types import Task

__all__ = ["HEADS", "STEM_HALVINGS", "add_head", "add_tiles"]

CLASSIFICATION, JIGSAW, SEGMENTATION, GENERATION = "classification", "jigsaw", "segmentation", "generation"

HEADS = (CLASSIFICATION, JIGSAW, SEGMENTATION, GENERATION)
"""The values of the option ``head`` of both spaces, the usual one first."""

STEM_HALVINGS = 2
"""How often the first two convolutions of a network halve an image."""

_UNIT = 64  # channels of the published networks, for which the widths of the decoders are
_WIDEST = 1024
_MOST_HALVINGS = 6  # of an encoder, its stem's included
_CONV, _UP = "conv_bn_leaky_relu", "up_conv_bn_leaky_relu"


def add_tiles(draft: Draft, head: str) -> None:
    """Cut images into the nine tiles of a puzzle, where that is the head."""
    if head == JIGSAW:
        draft.add("tiles", "tiles", block="head")
        draft.tiles = 9


def add_head(draft: Draft, head: str, task: Task, unit: int, halvings: int) -> None:
    """Add a head.

    Args:
        draft: the encoder.
        head: one of `HEADS`.
        task: whose classes, or channels, are the outputs.
        unit: channels of the encoder's first layer, to which the widths of a decoder are in proportion.
        halvings: how often the encoder halves an image, which a decoder doubles as often.
    """
    if head == SEGMENTATION:
        _add_decoder(draft, _segmentation(halvings), unit, task.classes)
    elif head == GENERATION:
        _add_decoder(draft, _generation(halvings), unit, task.channels)
        draft.add("head.bound", "tanh", block="head")
    else:
        if head == JIGSAW:
            draft.add("join", "join_tiles", draft.tiles * draft.channels, block="head")
            draft.tiles = 1
        draft.classify(task.classes)


def _segmentation(halvings: int) -> list[tuple[str, int]]:
    """Convolutions that halve the channels, then such as double the image too, down to 32 channels."""
    operations = [_CONV] * (1 + _MOST_HALVINGS - halvings) + [_UP] * (halvings - 1)
    steps = [(operation, _WIDEST >> number) for number, operation in enumerate(operations)]
    return [*steps, (_UP, steps[-1][1])]


def _generation(halvings: int) -> list[tuple[str, int]]:
    """Convolutions, of which some double the image if the encoder halves it more often than twice."""
    ups = [_UP if halvings >= least else _CONV for least in (6, 5, 4, 3)]
    return [
        (_CONV, 1024), (_CONV, 1024), (ups[0], 512), (_CONV, 512), (ups[1], 256), (_CONV, 128), (ups[2], 64),
        (_CONV, 64), (ups[3], 32), (_CONV, 32), (_UP, 16), (_CONV, 32), (_UP, 16),
    ]  # fmt: skip


def _add_decoder(draft: Draft, steps: list[tuple[str, int]], unit: int, outputs: int) -> None:
    draft.gives_maps = True
    for number, (operation, width) in enumerate(steps):
        draft.add(f"head.{number}", operation, max(1, width * unit // _UNIT), kernel=3, has_bias=True, block="head")
    draft.add("head.outputs", "conv", outputs, kernel=3, has_bias=True, block="head")
