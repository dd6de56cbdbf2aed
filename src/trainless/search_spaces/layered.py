"""Search spaces of layers one after another, some of which may be absent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import ClassVar

from trainless.errors import ArchitectureError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture

__all__ = ["Layer", "LayeredSpace"]

Layer = tuple[str | int, ...]


class LayeredSpace(ProductSpace):
    """All combinations of up to some number of layers, each of which has the same choices.

    A genotype is what the whole network has, and then the genes of each layer. One that is absent has `absent` as the
    first of its genes, and `nothing` stands for all of them in what is written: absent layers at the end are left out.

    Attributes:
        layers: the most layers there can be; the first is always present.
        head: what there is to choose from for the whole network.
        layer: what there is to choose from for each layer, the first without `absent`.
        nothing: the genes of a layer that is absent.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("mlp")
        >>> isinstance(space, LayeredSpace), space.present(space.parse("64relu-0tanh-8silu"))
        (True, [(64, 'relu'), (8, 'silu')])
    """

    layers: ClassVar[int]
    head: ClassVar[Choices] = ()
    layer: ClassVar[Choices]
    nothing: ClassVar[Layer]

    @property
    def choices(self) -> Choices:
        """What there is to choose from at each position."""
        first, *others = self.layer
        return (*self.head, first, *others, *((self.nothing[0], *first), *others) * (self.layers - 1))

    @abstractmethod
    def layer_text(self, layer: Layer) -> str:
        """Write one layer."""

    @abstractmethod
    def read_layer(self, text: str) -> Layer | None:
        """Read one layer, or give None where it is none."""

    @property
    @abstractmethod
    def form(self) -> str:
        """What a layer's string looks like, for messages."""

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write the layers joined by hyphens, without absent ones at the end."""
        layers = self._split(genotype)
        while layers[-1] == self.nothing:
            layers.pop()
        return "-".join(map(self.layer_text, layers))

    def parse(self, text: str) -> Architecture:
        """Read an architecture's string, or the name of one of `named`; ArchitectureError if it is none of them."""
        given = text.strip()
        return self.made_of(self._read(self.named.get(given, given), given))

    def _read(self, text: str, given: str) -> list[Layer]:
        """Read layers; ArchitectureError names what was given."""
        parts = text.split("-")
        layers = [self.read_layer(part) for part in parts]
        known = [layer for layer in layers if layer is not None]
        if len(known) < len(parts) or not 1 <= len(known) <= self.layers or known[0][0] == self.nothing[0]:
            raise ArchitectureError(
                f"'{given}' is no architecture of {self.name}: expected 1 to {self.layers} layers, joined by hyphens, "
                f"of {self.form}."
            )
        return known

    def made_of(self, layers: Sequence[Layer], head: Sequence[str | int] = ()) -> Architecture:
        """Make the architecture of some layers; ArchitectureError if there are too many.

        Example:
            >>> from trainless.search_spaces import search_space
            >>> print(search_space("mlp").made_of([(64, "relu"), (8, "silu")]))
            64relu-8silu
        """
        return self.make([*head, *chain.from_iterable(layers), *self.nothing * (self.layers - len(layers))])

    def present(self, architecture: Architecture) -> list[Layer]:
        """Tell the genes of the layers that are not absent."""
        return [layer for layer in self._split(self.genotype(architecture)) if layer[0] != self.nothing[0]]

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all that are the same network: absent layers come last."""
        return self.made_of(self.present(architecture), architecture.genotype[: len(self.head)])

    def _split(self, genotype: tuple[str | int, ...]) -> list[Layer]:
        genes = len(self.layer)
        return [genotype[start : start + genes] for start in range(len(self.head), len(genotype), genes)]
