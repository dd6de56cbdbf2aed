"""Networks of inverted residual blocks for small images: five stages, each with kernel, widths and depth of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.mobile_stages import (
    DEPTHS,
    EXPANSIONS,
    GATES,
    KERNELS,
    PERCENTS,
    STAGES,
    Stage,
    blocks_of,
    channels_of,
    head_channels,
    strides,
)
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["Mobile"]

_FEW_BLOCKS, _NARROW = 2, 8  # not fewer blocks than these before the network is as narrow as this
_LEAST_WIDTH = 3  # down to which a network is made narrower
_GENES: tuple[tuple[str | int, ...], ...] = (KERNELS, EXPANSIONS, DEPTHS, PERCENTS, GATES)
_STAGE = re.compile(
    "".join(f"{letter}({'|'.join(map(str, options))})" for letter, options in zip("kedw", _GENES[:4], strict=True))
    + "(se)?"
)
_EXAMPLE = "k3e4d2w100-k5e3d1w75se-k3e6d4w50-k7e2d3w150-k5e6d2w100se"

_Genes = tuple[int, int, int, int, str]


@dataclass(frozen=True)
class Mobile(ProductSpace):
    """Inverted residual blocks in five stages that differ in kernel, expansion, depth, width and squeeze-excite.

    A network is a 3 x 3 convolution, five stages of inverted residual blocks, a 1 x 1 convolution to four times the
    channels, global average pooling and a linear layer. All blocks of a stage are alike but for the first, which may
    change the channels and halve the image, and has no shortcut. So no choice is ever without effect.

    Images are halved as long as at least 4 pixels of their shorter side remain, at most five times: in stage 3, then
    also in stage 4, stage 2, the stem and stage 5. So 8 x 8 pixels become 4 x 4, and so do 128 x 128.

    The activation is ReLU throughout. What is smooth has no codes for NWOT, and ReLU6 is flat at the large activations
    of SynFlow, which then has no gradient.

    Source: blocks of Sandler et al., MobileNetV2, CVPR 2018, with Hu et al., Squeeze-and-Excitation Networks, CVPR
    2018; one setting a stage as in Tan et al., MnasNet, CVPR 2019.

    Spaces are equal, and hash alike, by their options.

    Args:
        width: channels of the stem, and of the first stage at 100 %; the later ones have 1.5, 2.5, 4 and 5 times as
            many. Channels are rounded to multiples of a quarter of it.
        depth: blocks of a stage of depth 4; one of depth 1 to 3 has its share of them, rounded up.

    Raises:
        InputError: an option is below 1.

    Example:
        >>> space = Mobile()
        >>> len(space), str(space[0])
        (8349416423424, 'k3e2d1w50-k3e2d1w50-k3e2d1w50-k3e2d1w50-k3e2d1w50')
    """

    name = "mobile"
    shares_kernels = True
    choices = _GENES * STAGES
    expected = (
        f"{STAGES} times a kernel, an expansion, a depth, a width and a gate, each one of {', '.join(map(str, _GENES))}"
    )

    width: int = 16
    depth: int = 4

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write kernel, expansion, depth, width in per cent and perhaps ``se`` of each stage."""
        return "-".join(
            f"k{kernel}e{expansion}d{depth}w{percent}" + ("se" if gate == "se" else "")
            for kernel, expansion, depth, percent, gate in _by_stage(genotype)
        )

    def parse(self, text: str) -> Architecture:
        """Read an architecture's string: kernel, expansion, depth, width in per cent and perhaps ``se`` of each stage.

        Raises:
            ArchitectureError: the string is no architecture of the space; the message tells what is wrong.

        Example:
            >>> Mobile().parse("k3e2d1w50-k3e2d1w50")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'k3e2d1w50-k3e2d1w50' is no architecture of mobile: it has 2 stages...
        """
        parts = text.strip().split("-")
        if len(parts) != STAGES:
            raise _not_one(text, f"it has {len(parts)} stages instead of {STAGES}")
        genotype: list[str | int] = []
        for number, part in enumerate(parts, 1):
            read = _STAGE.fullmatch(part)
            if read is None:
                raise _not_one(text, f"its stage {number} is written '{part}'")
            genotype += [*map(int, read.groups()[:4]), read[5] or "none"]
        return self.make(genotype)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all architectures that are the same network.

        At the usual size no two are. In smaller ones two depths of a stage may be as many blocks, or two of its widths
        as many channels; the representative has the least of them.

        Example:
            >>> print(Mobile(depth=1).canonical(Mobile().make([3, 2, 4, 100, "se"] * 5)))
            k3e2d1w100se-k3e2d1w100se-k3e2d1w100se-k3e2d1w100se-k3e2d1w100se
        """
        genotype: list[str | int] = []
        for number, stage in enumerate(self.stages(architecture)):
            depth = next(depth for depth in DEPTHS if blocks_of(depth, self.depth) == stage.blocks)
            percent = next(
                percent for percent in PERCENTS if channels_of(number, percent, self.width) == stage.channels
            )
            genotype += [stage.kernel, stage.expansion, depth, percent, GATES[stage.has_gate]]
        return self.make(genotype)

    def stages(self, architecture: Architecture) -> list[Stage]:
        """Tell what the five stages are made of, at this width and depth.

        Example:
            >>> Mobile().stages(Mobile()[0])[4]
            Stage(blocks=1, kernel=3, expansion=2, channels=40, has_gate=False)
        """
        stages = []
        for number, (kernel, expansion, depth, percent, gate) in enumerate(_by_stage(self.genotype(architecture))):
            blocks, channels = blocks_of(depth, self.depth), channels_of(number, percent, self.width)
            stages.append(Stage(blocks, kernel, expansion, channels, gate == "se"))
        return stages

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is a chain of the stem, the stages and the classifier.

        Example:
            >>> print(Mobile().draw(Mobile().make([3, 2, 2, 50, "se"] * 5)))
            stem    16 channels, 3×3 conv
            stage 1 2 blocks, 8 channels, 3×3, expand 2, SE
            stage 2 2 blocks, 12 channels, 3×3, expand 2, SE
            stage 3 2 blocks, 20 channels, 3×3, expand 2, SE
            stage 4 2 blocks, 32 channels, 3×3, expand 2, SE
            stage 5 2 blocks, 40 channels, 3×3, expand 2, SE
            head    160 channels, 1×1 conv, pool, linear
        """
        stages, (stem_stride, *later) = self.stages(architecture), strides(task)
        captions = {"stem": f"{self.width} channels, 3×3 conv"}
        draft, number = Draft(task), 1
        draft.add("features.0", "conv_bn_relu", self.width, kernel=3, stride=stem_stride, block="stem")
        for stage, stride, block in zip(stages, later, _NAMES, strict=True):
            captions[block] = _caption(stage)
            # The first block may change the channels and halve the image; the others have a shortcut.
            _add_block(draft, f"features.{number}", stage, block, stride=stride)
            if stage.blocks > 1:
                repeat = stage.blocks - 1
                draft.add(f"features.{number + 1}", "skip_connect", block=block, repeat=repeat)
                _add_block(draft, f"features.{number + 1}", stage, block, repeat=repeat)
            number += stage.blocks
        head = head_channels(stages)
        captions["head"] = f"{head} channels, 1×1 conv, pool, linear"
        draft.add(f"features.{number}", "conv_bn_relu", head, block="head")
        draft.classify(task.classes)
        return draft.blueprint(captions=captions)

    @property
    def sizes(self) -> tuple[Mobile, ...]:
        """The same architectures in ever smaller networks: first with fewer blocks in a stage, then narrower ones.

        Example:
            >>> [(space.width, space.depth) for space in Mobile().sizes]
            [(16, 4), (16, 2), (8, 2), (8, 1), (4, 1), (2, 1)]
        """
        spaces = [self]
        while (last := spaces[-1]).depth > 1 or last.width > _LEAST_WIDTH:
            if last.depth > _FEW_BLOCKS or (last.depth > 1 and last.width <= _NARROW):
                spaces.append(Mobile(last.width, (last.depth + 1) // 2))
            else:
                spaces.append(Mobile(last.width // 2, last.depth))
        return tuple(spaces)


_NAMES = tuple(f"stage {number}" for number in range(1, STAGES + 1))


def _by_stage(genotype: tuple[str | int, ...]) -> list[_Genes]:
    length = len(_GENES)
    return [cast(_Genes, genotype[start : start + length]) for start in range(0, len(genotype), length)]


def _not_one(text: str, problem: str) -> ArchitectureError:
    return ArchitectureError(
        f"'{text.strip()}' is no architecture of mobile: {problem}, expected a form like '{_EXAMPLE}'."
    )


def _caption(stage: Stage) -> str:
    blocks = f"{stage.blocks} block{'s' if stage.blocks > 1 else ''}"
    gate = ", SE" if stage.has_gate else ""
    return f"{blocks}, {stage.channels} channels, {stage.kernel}×{stage.kernel}, expand {stage.expansion}{gate}"


def _add_block(draft: Draft, name: str, stage: Stage, block: str, **settings: int) -> None:
    draft.add(
        name,
        "inverted_residual",
        stage.channels,
        kernel=stage.kernel,
        expansion=stage.expansion,
        squeezed=stage.squeezed(draft.channels),
        block=block,
        **settings,
    )
