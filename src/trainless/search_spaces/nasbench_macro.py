"""The search space of NAS-Bench-Macro (Su et al., CVPR 2021): 6,561 choices of eight layers, 3,969 networks."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["NASBenchMacro"]

IDENTITY = "0"
_BLOCKS = {"1": (3, 3), "2": (6, 5)}  # expansion and kernel of an inverted residual block
_OPTIONS = (IDENTITY, *_BLOCKS)
_STAGES = (2, 3, 3)  # layers of each
_STRIDES = (2, 1, 1)  # of the layers of a stage
_LAYERS = sum(_STAGES)
_HEAD = 40  # times the channels of the stem
_EXAMPLE = "22212220"


@dataclass(frozen=True)
class NASBenchMacro(ProductSpace):
    """NAS-Bench-Macro: eight layers in three stages, each an identity or one of two inverted residual blocks.

    A network is a 3 x 3 convolution, three stages of two, three and three layers, a 1 x 1 convolution to forty times
    the channels, global average pooling and a linear layer. The first layer of a stage halves the image and doubles the
    channels; as an identity it is a 1 x 1 convolution with batch normalisation. Elsewhere an identity is nothing, so
    that where it stands makes no difference. Layers are written ``0`` for the identity, ``1`` for a block of expansion
    3 and kernel 3, ``2`` for one of expansion 6 and kernel 5. An architecture's number is the one whose digits to base
    3 these are.

    Source: Su et al., Prioritized Architecture Sampling with Monte-Carlo Tree Search, CVPR 2021.

    Args:
        width: channels of the stem; the stages have twice, four and eight times as many.

    Raises:
        InputError: the width is below 1.

    Example:
        >>> space = NASBenchMacro()
        >>> len(space), str(space[0]), str(space[-1 + len(space)])
        (6561, '00000000', '22222222')
        >>> space.parameters(space[0], Task("cifar10", 10)), space.flops(space[0], Task("cifar10", 10))
        (387882, 7713280)
    """

    name = "nasbench_macro"
    noun = "choice of layers"
    halves = ("width", 2)
    choices = (_OPTIONS,) * _LAYERS
    expected = f"{_LAYERS} of the digits {', '.join(_OPTIONS)}"

    width: int = 32

    def text(self, genotype: tuple[str | int, ...]) -> str:
        """Write the layers as the published string."""
        return "".join(map(str, genotype))

    def parse(self, text: str) -> Architecture:
        """Read a published string, a digit for each layer.

        Raises:
            ArchitectureError: the string is none of the space.

        Example:
            >>> NASBenchMacro().parse("0123")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: '0123' is no architecture of nasbench_macro: expected 8 of the digits...
        """
        if not re.fullmatch(f"[{''.join(_OPTIONS)}]{{{_LAYERS}}}", text.strip()):
            raise ArchitectureError(
                f"'{text.strip()}' is no architecture of nasbench_macro: expected {self.expected}, as in '{_EXAMPLE}'."
            )
        return self.make(list(text.strip()))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one of all that are the same network whose identities end their stages.

        Example:
            >>> print(NASBenchMacro().canonical(NASBenchMacro().parse("22102012")))
            22120012
        """
        layers: list[str | int] = []
        for first, *others in self._by_stage(architecture):
            layers += [first, *sorted(others, key=lambda layer: layer == IDENTITY)]
        return self.make(layers)

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is a chain of the stem, the stages and the classifier.

        Example:
            >>> print(NASBenchMacro().draw(NASBenchMacro().parse("02120100")))
            stem    32 channels, 3×3 conv
            stage 1 64 channels: 1×1 conv, MB6 5×5
            stage 2 128 channels: MB3 3×3, MB6 5×5, identity
            stage 3 256 channels: MB3 3×3, identity, identity
            head    1280 channels, 1×1 conv, pool, linear
        """
        draft, channels = Draft(task), self.width
        captions = {"stem": f"{channels} channels, 3×3 conv"}
        draft.add("features.0", "conv_bn_relu", channels, kernel=3, block="stem")
        number = 1
        for stage, layers in enumerate(self._by_stage(architecture), 1):
            channels, block = 2 * channels, f"stage {stage}"
            captions[block] = f"{channels} channels: {', '.join(map(_caption, layers, _STRIDES))}"
            for layer, stride in zip(layers, _STRIDES, strict=False):
                _add_layer(draft, f"features.{number}", layer, channels, stride, block)
                number += 1
        head = _HEAD * self.width
        captions["head"] = f"{head} channels, 1×1 conv, pool, linear"
        draft.add(f"features.{number}", "conv_bn_relu", head, block="head")
        draft.classify(task.classes)
        return draft.blueprint(captions=captions)

    def _by_stage(self, architecture: Architecture) -> list[tuple[str | int, ...]]:
        layers = iter(self.genotype(architecture))
        return [tuple(itertools.islice(layers, length)) for length in _STAGES]


def _caption(layer: str | int, stride: int) -> str:
    if layer == IDENTITY:
        return "identity" if stride == 1 else "1×1 conv"
    expansion, kernel = _BLOCKS[str(layer)]
    return f"MB{expansion} {kernel}×{kernel}"


def _add_layer(draft: Draft, name: str, layer: str | int, channels: int, stride: int, block: str) -> None:
    if layer == IDENTITY:
        if stride > 1:
            draft.add(name, "conv_bn", channels, stride=stride, block=block)
        return
    if stride == 1:
        draft.add(name, "skip_connect", block=block)
    expansion, kernel = _BLOCKS[str(layer)]
    draft.add(name, "inverted_residual", channels, kernel=kernel, expansion=expansion, stride=stride, block=block)
