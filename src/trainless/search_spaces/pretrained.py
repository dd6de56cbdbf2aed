"""Networks cut from pretrained backbones: which one, after which block, at which resolution, with which head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainless.backbones import Backbone, Block, Layer, backbones, read_weights
from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.base import Choices
from trainless.search_spaces.blueprint import Blueprint, Draft, Step
from trainless.search_spaces.nodes import INPUT
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    import torch

__all__ = ["HIDDEN", "RESOLUTIONS", "Cut", "Pretrained"]

RESOLUTIONS = (32, 48, 64, 96, 128, 160, 192, 224)
"""Rows and columns to which images are resized within the network."""

HIDDEN = (0, 64, 256)
"""Widths of the hidden layer of a head; 0 is none, so that the head is linear."""

_WHOLE = "all"
_SUM = "sum"  # of a block and its shortcut
_TEXT = re.compile(r"(\w+)-(b\d+|all)-r(\d+)-(linear|h\d+)")
_EXAMPLE = "lite0-b9-r64-linear"


@dataclass(frozen=True)
class Cut:
    """What an architecture of the space is made of.

    Args:
        backbone: the pretrained network.
        depth: after how many blocks it is cut.
        pixels: rows and columns to which images are resized.
        hidden: width of the head's hidden layer; 0 is none.
    """

    backbone: Backbone
    depth: int
    pixels: int
    hidden: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are kept."""
        return self.backbone.architecture.blocks[: self.depth]

    @property
    def features(self) -> int:
        """Number of features that the head reads."""
        return self.blocks[-1].channels


@dataclass(frozen=True)
class Pretrained(ProductSpace):
    """The first blocks of a pretrained network with a head of one's own.

    A network resizes its images, unless they have the size, runs the stem and the first blocks of a backbone, of which
    its last convolution may be the last, averages over all pixels, and ends in a linear layer, or in one hidden layer
    with ReLU and a linear one. It is built, counted and drawn without any weights; `start` puts the pretrained ones in.

    Images are to be normalised by the mean and standard deviation of the backbone. Grey ones are taken for colour
    images of three equal channels: the weights of the first convolution are added up.

    Source: Tan and Le, EfficientNet, ICML 2019 (the Lite variants of 2020); early cuts as in Yosinski et al., How
    transferable are features in deep neural networks?, NeurIPS 2014.

    Args:
        backbone: a name of `trainless.backbones.BACKBONES`, ``"all"`` of them, or a file with weights, as
            `trainless.backbones.backbones` takes it.

    Raises:
        InputError: there is no such backbone.

    Example:
        >>> space = Pretrained()
        >>> len(space), str(space[0])
        (1464, 'lite0-b1-r32-linear')
        >>> space.parameters(space.parse("lite0-b9-r64-linear"), Task("photos", 10, height=64, width=64))
        361418
    """

    name = "pretrained"
    noun = "network"
    is_pretrained = True

    backbone: str = "all"

    def __post_init__(self) -> None:
        _ = self.backbones  # refuses what is none

    @property
    def options(self) -> Mapping[str, str]:
        """The backbone."""
        return {"backbone": self.backbone}

    @cached_property
    def backbones(self) -> tuple[Backbone, ...]:
        """The backbones that networks are cut from."""
        return backbones(self.backbone)

    @cached_property
    def choices(self) -> Choices:
        """Where a backbone is cut, the resolution, and the head."""
        cuts = [f"{known.name}-{_depth_text(known, depth)}" for known in self.backbones for depth in _depths(known)]
        return tuple(cuts), RESOLUTIONS, tuple("linear" if width == 0 else f"h{width}" for width in HIDDEN)

    @property
    def expected(self) -> str:
        """What a genotype has to be, for messages."""
        ends = ", ".join(f"{known.name}-b1 to {known.name}-{_WHOLE}" for known in self.backbones)
        return f"a cut ({ends}), a resolution ({', '.join(map(str, RESOLUTIONS))}) and a head (linear, h64, h256)"

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write backbone and cut, resolution and head."""
        cut, pixels, head = genotype
        return f"{cut}-r{pixels}-{head}"

    def parse(self, text: str) -> Architecture:
        """Read an architecture's string: backbone, ``b`` and number of blocks or ``all``, resolution, head.

        Raises:
            ArchitectureError: the string is no architecture of the space.

        Example:
            >>> Pretrained("lite0").parse("lite1-b3-r64-linear")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'lite1-b3-r64-linear' is no architecture of pretrained: expected a ...
        """
        read = _TEXT.fullmatch(text.strip())
        if read:
            try:
                return self.make([f"{read[1]}-{read[2]}", int(read[3]), read[4]])
            except ArchitectureError:
                pass
        raise ArchitectureError(
            f"'{text.strip()}' is no architecture of pretrained: expected {self.expected}, in a form like '{_EXAMPLE}'."
        )

    def cut(self, architecture: Architecture) -> Cut:
        """Tell what an architecture is made of.

        Example:
            >>> space = Pretrained()
            >>> cut = space.cut(space.parse("lite1-all-r96-h64"))
            >>> cut.backbone.name, len(cut.blocks), cut.features, cut.pixels, cut.hidden
            ('lite1', 22, 1280, 96, 64)
        """
        where, resolution, head = self.codes(architecture)
        known, depth = self._cuts[where]
        return Cut(known, depth, RESOLUTIONS[resolution], HIDDEN[head])

    def cut_after(self, backbone: Backbone, depth: int, pixels: int) -> Architecture:
        """Make the architecture of a backbone, a number of blocks, a resolution, and a linear head.

        Raises:
            ArchitectureError: the space has no such choice.

        Example:
            >>> space = Pretrained()
            >>> print(space.cut_after(space.backbones[0], 17, 64))
            lite0-all-r64-linear
        """
        return self.make([f"{backbone.name}-{_depth_text(backbone, depth)}", pixels, "linear"])

    @cached_property
    def _cuts(self) -> tuple[tuple[Backbone, int], ...]:
        return tuple((known, depth) for known in self.backbones for depth in _depths(known))

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is a chain of stem, blocks and head."""
        cut, draft = self.cut(architecture), Draft(task)
        stem, is_tensorflow = cut.backbone.architecture.stem, cut.backbone.is_tensorflow
        captions = {"stem": f"{stem.caption} at {cut.pixels}×{cut.pixels} pixels"}
        if draft.size != (cut.pixels, cut.pixels):
            draft.add("resize", "resize", pixels=cut.pixels)
        _add_block(draft, "features.0", "stem", stem, is_tensorflow)
        for number, block in enumerate(cut.blocks, 1):
            captions[f"block {number}"] = block.caption
            _add_block(draft, f"features.{number}", f"block {number}", block, is_tensorflow)
        if cut.hidden:
            draft.add("pool", "global_pool", block="head")
            draft.add("flatten", "flatten", block="head")
            draft.add("hidden", "linear", cut.hidden, block="head")
            draft.add("activation", "relu", block="head")
            draft.add("head", "linear", task.classes, block="head")
        else:
            draft.classify(task.classes)
        captions["head"] = f"pool, {f'{cut.hidden} hidden, ' if cut.hidden else ''}linear"
        return draft.blueprint(captions=captions)

    def start(self, network: torch.nn.Module, architecture: Architecture) -> None:
        """Put the pretrained weights into a network that was built here; the head stays as it is.

        Raises:
            InputError: the weights are not installed, or images are neither grey nor of three colours.
            DataError: they cannot be read.
        """
        import torch
        from torch import nn

        weights = read_weights(self.cut(architecture).backbone)
        modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
        with torch.no_grad():
            for module, layer in zip(modules, weights, strict=False):  # of those after the cut there is no module
                module.load_state_dict(_fitting(layer, module), strict=False)

    # It comes in one size only, for the weights have one.

    def resized(self, fraction: float) -> Pretrained:
        """Give the space itself: pretrained weights are of one width."""
        if not 0 < fraction <= 1:
            raise InputError(f"The fraction is {fraction}, expected one above 0 and at most 1.")
        return self

    def thin(self) -> Pretrained:
        """Give the space itself: pretrained weights are of one width."""
        return self


def _depths(backbone: Backbone) -> range:
    return range(1, backbone.cuts + 1)


def _depth_text(backbone: Backbone, depth: int) -> str:
    return _WHOLE if depth == backbone.cuts else f"b{depth}"


def _step(layer: Layer, is_tensorflow: bool) -> Step:
    """A layer as an operation of the blueprint, its channels and settings."""
    settings = {
        "kernel": layer.kernel, "stride": layer.stride, "groups": layer.groups, "squeezed": layer.squeezed,
        "has_bias": layer.operation == "conv",
    }  # fmt: skip
    is_padded = is_tensorflow and layer.operation.startswith("conv_bn")
    return f"same_{layer.operation}" if is_padded else layer.operation, layer.channels, settings


def _add_block(draft: Draft, name: str, title: str, block: Block, is_tensorflow: bool) -> None:
    """Add a block as one module."""
    steps, shortcut = ([_step(layer, is_tensorflow) for layer in way] for way in (block.layers, block.shortcut or ()))
    if not block.activation:
        draft.chain(name, steps, has_shortcut=block.shortcut is not None, block=title)
        return
    ((operation, channels, settings),) = shortcut or [("skip_connect", block.channels, {})]
    way = draft.node(name, operation, channels, target=_SUM, block=title, **settings)
    for number, (operation, channels, settings) in enumerate(steps, 1):
        source, target = (str(number - 1) if number > 1 else INPUT), (str(number) if number < len(steps) else _SUM)
        draft.add(name, operation, channels, source=source, target=target, block=title, **settings)
    draft.extend([way], draft.channels, draft.size)
    draft.add(name, block.activation, source=_SUM, block=title)


def _fitting(layer: Mapping[str, torch.Tensor], module: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """The weights of a layer, those of the first convolution added up for grey images."""
    import torch

    if not isinstance(module, torch.nn.Conv2d) or module.weight.shape == layer["weight"].shape:
        return layer
    if module.in_channels != 1:
        raise InputError(
            f"The images have {module.in_channels} channels, but pretrained weights are for 3, or for grey ones: give "
            "images of 1 or 3 channels."
        )
    return {"weight": layer["weight"].sum(1, keepdim=True)}
