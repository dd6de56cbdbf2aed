"""Multilayer perceptrons: linear layers with an activation each, for vectors and for images as vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.layered import Layer, LayeredSpace
from trainless.types import Architecture, Task

__all__ = ["MLP"]

_WIDTHS, _ABSENT = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512), 0
_ACTIVATIONS = ("relu", "silu", "tanh")
_FORM = re.compile(r"([0-9]+)(relu|silu|tanh)")


@dataclass(frozen=True)
class MLP(LayeredSpace):
    """One to six linear layers, each of a width and with an activation, and a linear classifier.

    An image is read as one vector of all its values, so that vectors are images of one row and one channel. Each layer
    has batch normalisation before its activation. Layers are written ``256relu`` and joined by hyphens; a width of 0 is
    none.

    Args:
        unit: outputs of what is written 8; all widths are multiples of 8.

    Raises:
        InputError: the unit is below 1.

    Example:
        >>> space = MLP()
        >>> space.size, str(space[0])
        (1174061790, '8relu')
        >>> space.parameters(space.parse("64relu"), Task("vectors", classes=2, channels=1, height=1, width=30))
        2178
    """

    name = "mlp"
    halves = ("unit", 2)
    fixes_size = True
    noun = "perceptron"
    layers = 6
    layer = (_WIDTHS, _ACTIVATIONS)
    nothing = (_ABSENT, "relu")
    expected = "for each of 6 layers a width and an activation, the first layer present"
    form = f"a form like '256relu' or '64silu', with widths of {', '.join(map(str, _WIDTHS))}"
    named: ClassVar[Mapping[str, str]] = MappingProxyType({"small": "64relu", "pyramid": "256relu-128relu-64relu"})

    unit: int = 8

    def layer_text(self, layer: Layer) -> str:
        """Write one layer."""
        return "".join(map(str, layer))

    def read_layer(self, text: str) -> Layer | None:
        """Read one layer."""
        read = _FORM.fullmatch(text)
        if read is None or int(read[1]) not in (_ABSENT, *_WIDTHS):
            return None
        return int(read[1]), read[2]

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is the chain of its layers.

        Example:
            >>> print(MLP().draw(MLP().parse("64relu-32silu")))
            layer 1 64 outputs, relu
            layer 2 32 outputs, silu
            head    linear
        """
        draft, captions = Draft(task), {"head": "linear"}
        draft.add("flatten", "flatten", task.channels * task.height * task.width, block="layer 1")
        draft.extend([], draft.channels, (1, 1))
        for number, (width, activation) in enumerate(self.present(architecture), 1):
            block, outputs = f"layer {number}", int(width) * self.unit // 8
            draft.add(f"features.{2 * number - 2}", "linear_bn", outputs, block=block)
            draft.add(f"features.{2 * number - 1}", str(activation), block=block)
            captions[block] = f"{outputs} outputs, {activation}"
        draft.add("head", "linear", task.classes, block="head")
        return draft.blueprint(captions=captions)
