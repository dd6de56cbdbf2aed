"""Vision transformers: width, depth, and of each block heads and expansion (Chen et al., AutoFormer, ICCV 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.layered import Layer, LayeredSpace
from trainless.types import Architecture, Task

__all__ = ["AutoFormer"]

_WIDTHS = (32, 48, 64, 96, 128, 160, 192)
_HEADS, _ABSENT = (1, 2, 3, 4, 6, 8), 0
_EXPANSIONS = (1, 2, 3, 4)
_HEAD_WIDTH = 16  # numbers of a query, key or value
_TOKENS = 8  # rows and columns of tokens that patches are chosen for
_STEM_FORM = re.compile(r"w([0-9]+)")
_FORM = re.compile(r"h([0-9]+)e([1-4])")


@dataclass(frozen=True)
class AutoFormer(LayeredSpace):
    """Vision transformers of one to twelve blocks: their width, and of each block the heads and the expansion.

    A network cuts images into patches, about 8 x 8 of them, makes a token of each, and adds what tells its position.
    Its blocks are self-attention and a perceptron of each token, each after a layer normalisation and around a
    shortcut. The mean of all tokens, normalised once more, goes to a linear layer. A head has queries, keys and values
    of 16 numbers, whatever the width. It is written ``w64-h4e2-h2e4``: the width, and for each block heads and
    expansion; ``h0`` is none.

    The dimensions are AutoFormer's, at a size for small images. Features between the blocks are maps, so that the
    scores that read them do so here too.

    Source: Chen et al., AutoFormer: Searching Transformers for Visual Recognition, ICCV 2021.

    Args:
        unit: numbers of a token where the width is written 8.

    Raises:
        InputError: the unit is below 1.

    Example:
        >>> space = AutoFormer()
        >>> f"{space.size:.3g}", str(space[0])
        ('1.39e+18', 'w32-h1e1')
        >>> space.parameters(space.parse("tiny"), Task("cifar10", 10))
        81850
    """

    name = "autoformer"
    halves = ("unit", 2)
    fixes_size = True
    noun = "transformer"
    layers = 12
    head = (_WIDTHS,)
    layer = (_HEADS, _EXPANSIONS)
    nothing = (_ABSENT, 1)
    expected = "a width, and for each of 12 blocks a number of heads and an expansion, the first block present"
    form = (
        f"a form like 'w64-h4e2-h2e4', with widths of {', '.join(map(str, _WIDTHS))}, heads of "
        f"{', '.join(map(str, _HEADS))} and expansions of {', '.join(map(str, _EXPANSIONS))}"
    )
    named: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"tiny": "w48-h3e2-h3e2-h3e2-h3e2", "small": "w96-h6e2-h6e2-h6e2-h6e2-h6e2-h6e2"}
    )

    unit: int = 8

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write the width and the blocks, joined by hyphens, without absent ones at the end."""
        return f"w{genotype[0]}-{super().text(genotype)}"

    def layer_text(self, layer: Layer) -> str:
        """Write one block."""
        return f"h{layer[0]}e{layer[1]}"

    def read_layer(self, text: str) -> Layer | None:
        """Read one block."""
        read = _FORM.fullmatch(text)
        if read is None or int(read[1]) not in (_ABSENT, *_HEADS):
            return None
        return int(read[1]), int(read[2])

    def parse(self, text: str) -> Architecture:
        """Read a transformer's string, or the name of one of `named`; ArchitectureError if it is none of the space."""
        given = self.named.get(text.strip(), text.strip())
        first, _, rest = given.partition("-")
        read = _STEM_FORM.fullmatch(first)
        if read is None or int(read[1]) not in _WIDTHS:
            raise ArchitectureError(f"'{given}' is no architecture of {self.name}: expected {self.form}.")
        return self.made_of(self._read(rest, given), (int(read[1]),))

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is the chain of its blocks.

        Example:
            >>> print(AutoFormer().draw(AutoFormer().parse("w64-h4e2-h2e4")))
            patches 4×4, 64 channels
            block 1 4 heads, expand 2
            block 2 2 heads, expand 4
            head    normalisation, average pool, linear
        """
        draft, width = Draft(task), int(self.genotype(architecture)[0]) * self.unit // 8
        patch = max(1, min(task.height, task.width) // _TOKENS)
        draft.add("features.0", "patches", width, kernel=patch, stride=patch, block="patches")
        captions = {"patches": f"{patch}×{patch}, {width} channels"}
        blocks = self.present(architecture)
        for number, (heads, expansion) in enumerate(blocks, 1):
            draft.add(
                f"features.{number}", "transformer_block", heads=int(heads), head_width=_HEAD_WIDTH,
                expansion=int(expansion), block=f"block {number}",
            )  # fmt: skip
            captions[f"block {number}"] = f"{heads} head{'s' * (heads != 1)}, expand {expansion}"
        draft.add(f"features.{len(blocks) + 1}", "channel_norm", block="head")
        draft.classify(task.classes)
        captions["head"] = "normalisation, average pool, linear"
        return draft.blueprint(captions=captions)
