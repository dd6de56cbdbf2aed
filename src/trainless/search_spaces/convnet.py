"""Networks of convolutions in stages that train fast, ResNet-9, VGG and MobileNet among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import numpy as np

from trainless.errors import ArchitectureError
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.convnet_stages import (
    ACTIVATIONS,
    CONNECTIONS,
    CONVOLUTIONS,
    DEPTHS,
    DIVISORS,
    POOLINGS,
    REDUCTIONS,
    STEM_WIDTHS,
    STEMS,
    WIDTHS,
    Stage,
    add_stage,
    add_stem,
)
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["ConvNet"]

_STAGES = 4  # the last of which may be absent
_STAGE = (CONVOLUTIONS, WIDTHS, DEPTHS, REDUCTIONS, CONNECTIONS, ACTIVATIONS)
_LAST = (CONVOLUTIONS, WIDTHS, (0, *DEPTHS), REDUCTIONS, CONNECTIONS, ACTIVATIONS)
_ABSENT = ("k3", 16, 0, "whole", "plain", "relu")
_UNSAID = ("whole", "plain", "relu")
_WIDTH_POSITIONS = tuple(range(3, 3 + _STAGES * len(_STAGE), len(_STAGE)))
# Of the widths of named networks, so that multiply-adds grow by half each time.
_FACTORS = (0.35, 0.42, 0.5, 0.6, 0.7, 0.84, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8)

_Genes = tuple[str | int, ...]


def _one_of(options: tuple[str | int, ...]) -> str:
    return f"({'|'.join(map(str, options))})"


_STEM_FORM = re.compile(_one_of(STEMS) + _one_of(STEM_WIDTHS))
_STAGE_FORM = re.compile(
    f"{_one_of(CONVOLUTIONS)}w{_one_of(WIDTHS)}d{_one_of((0, *DEPTHS))}"
    + "".join(rf"(?:\.{_one_of(options[1:])})?" for options in (REDUCTIONS, CONNECTIONS, ACTIVATIONS))
)
_HEAD_FORM = re.compile(_one_of(POOLINGS) + _one_of(DIVISORS))


@dataclass(frozen=True)
class ConvNet(ProductSpace):
    """Three or four stages of 3 x 3, 5 x 5, 1 x 1 or separable convolutions, made to be trained in minutes.

    A network is a stem, three or four stages, global pooling and a linear layer. Batch normalisation and an activation
    follow every convolution, and both halves of a separable one.

    - The stem is a 3 x 3 convolution (``conv``), the same with a stride of 2 (``strided``), or a frozen layer that
      whitens 3 x 3 patches of the images and a 1 x 1 convolution (``whiten``). `trainless.training.train` derives the
      whitening from the training images; until then it is a cosine transform.
    - A stage has a kind of convolution, a width, a depth, perhaps a way to halve the image, perhaps shortcuts around
      its further convolutions, and an activation. See `trainless.search_spaces.convnet_stages.Stage`.
    - The head pools by averages or maxima, and divides the logits by 1, 2, 4 or 8.

    Images are halved where the architecture says so, whatever their size.

    Source: He et al., "Deep Residual Learning", CVPR 2016, as cut down to nine layers by Page, "How to Train Your
    ResNet", 2018; Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015; Howard et al., "MobileNets",
    2017.

    Args:
        unit: channels of what is written 8; all widths are multiples of 8.

    Raises:
        InputError: the unit is below 1.

    Example:
        >>> space = ConvNet()
        >>> space.size, str(space[0])
        (730573937049600000, 'conv8-k3w16d1-k3w16d1-k3w16d1-avg1')
        >>> resnet = space.parse("resnet9")
        >>> print(resnet)
        whiten64-k3w48d3.pool.res-k3w64d1.pool-k3w80d3.pool.res-max8
        >>> space.parameters(resnet, Task("cifar10", 10))
        262339
    """

    name = "convnet"
    shares_kernels = True
    noun = "network"
    halves = ("unit", 2)
    choices = (STEMS, STEM_WIDTHS, *(_STAGES - 1) * _STAGE, *_LAST, POOLINGS, DIVISORS)
    expected = (
        f"a stem, a width, {_STAGES} times a convolution, a width, a depth, a reduction, a connection and an "
        "activation, a pooling and a divisor, each one of its choices"
    )
    named: ClassVar[Mapping[str, str]] = {
        "resnet9": "whiten64-k3w48d3.pool.res-k3w64d1.pool-k3w80d3.pool.res-max8",
        "strided-resnet": "strided32-k3w48d1.pool-k3w72d1.pool-k3w96d3.res-max8",
        "vgg": "conv32-k3w32d1.pool-k3w64d2.endpool-k3w96d2.endpool-k3w128d2.endpool-avg1",
        "mobilenet": "conv32-s3w64d1-s3w128d2.stride-s3w192d2.stride-s3w256d4.stride-avg1",
    }
    """Architectures that `parse` reads by a name."""

    unit: int = 8

    def text(self, genotype: _Genes) -> str:
        """Write stem, stages and head, joined by hyphens; a last stage that is absent is left out."""
        (stem, width), *stages, (pooling, divisor) = _parts(genotype)
        written = ["-".join(map(_stage_text, stages if stages[-1] != _ABSENT else stages[:-1]))]
        return "-".join([f"{stem}{width}", *written, f"{pooling}{divisor}"])

    def parse(self, text: str) -> Architecture:
        """Read an architecture's string, or the name of one of `named`.

        Raises:
            ArchitectureError: it is no architecture of the space; the message tells what is wrong.

        Example:
            >>> ConvNet().parse("conv8-k3w16d1-avg1")
            Traceback (most recent call last):
                ...
            trainless.errors.ArchitectureError: 'conv8-k3w16d1-avg1' is no architecture of convnet: it has 1 stages...
        """
        text = self.named.get(text.strip(), text.strip())
        first, *parts, last = text.split("-") if "-" in text else ("", text)
        if not _STAGES - 1 <= len(parts) <= _STAGES:
            raise _not_one(text, f"it has {len(parts)} stages, not {_STAGES - 1} or {_STAGES}")
        stem, head = _STEM_FORM.fullmatch(first), _HEAD_FORM.fullmatch(last)
        if stem is None or head is None:
            part, written = ("stem", first) if stem is None else ("head", last)
            raise _not_one(text, f"its {part} is written '{written}'")
        stages: list[_Genes] = []
        for number, part in enumerate(parts, 1):
            read = _STAGE_FORM.fullmatch(part)
            if read is None or (read[3] == "0" and number < _STAGES):
                raise _not_one(text, f"its stage {number} is written '{part}'")
            words = (word or unsaid for word, unsaid in zip(read.groups()[3:], _UNSAID, strict=True))
            stages.append((read[1], int(read[2]), int(read[3]), *words))
        stages += [_ABSENT] * (_STAGES - len(stages))
        return self.make([stem[1], int(stem[2]), *chain.from_iterable(stages), head[1], int(head[2])])

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all architectures that are the same network.

        Of a last stage that is absent all else says nothing; a stage of one convolution has no shortcut, and its end is
        where the first convolution is; pooling at the end says nothing before a maximum over all that is left.

        Example:
            >>> space = ConvNet()
            >>> same = space.parse("conv8-k3w16d1.endpool.res-k3w16d1-k3w16d2-k5w64d0.stride-avg1")
            >>> print(space.canonical(same))
            conv8-k3w16d1.pool-k3w16d1-k3w16d2-avg1
        """
        stem, *stages, head = _parts(self.genotype(architecture))
        present = [stage for stage in stages if stage[2] != 0]
        for number, (convolution, width, depth, reduction, connection, activation) in enumerate(present):
            if depth == 1:
                reduction, connection = "pool" if reduction == "endpool" else reduction, "plain"
            elif reduction == "endpool" and number == len(present) - 1 and head[0] == "max":
                reduction = "whole"
            present[number] = (convolution, width, depth, reduction, connection, activation)
        present += [_ABSENT] * (_STAGES - len(present))
        return self.make([*stem, *chain.from_iterable(present), *head])

    def propose(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture whose stages have at most a width that is drawn first."""
        codes = list(self.codes(self.sample(rng)))
        widest = int(rng.integers(len(WIDTHS)))
        for position in _WIDTH_POSITIONS:
            codes[position] = int(rng.integers(widest + 1))
        return self._made(codes)

    def starts(self) -> list[Architecture]:
        """List the named architectures, each also with all widths scaled by some factors, to the nearest there are.

        Example:
            >>> starts = ConvNet().starts()
            >>> len(starts), str(starts[1])
            (52, 'strided32-k3w48d1.pool-k3w72d1.pool-k3w96d3.res-max8')
        """
        named = super().starts()
        scaled = (self._scaled(architecture, factor) for factor in _FACTORS for architecture in named)
        return list(dict.fromkeys([*named, *scaled]))

    def _scaled(self, architecture: Architecture, factor: float) -> Architecture:
        genotype = list(architecture.genotype)
        for position in (1, *_WIDTH_POSITIONS):
            wanted = factor * int(genotype[position])
            genotype[position] = min(self.choices[position], key=lambda width: abs(int(width) - wanted))
        return self.canonical(self.make(genotype))

    def stages(self, architecture: Architecture) -> list[Stage]:
        """Tell what the three or four stages are made of, at this unit.

        Example:
            >>> space = ConvNet(unit=4)
            >>> space.stages(space.parse("resnet9"))[2].caption
            '3 convs 3×3, 40 channels, max pool, residual'
        """
        _, *stages, _ = _parts(self.genotype(architecture))
        return [
            Stage(str(kind), self._channels(width), int(depth), str(reduction), connection == "res", str(activation))
            for kind, width, depth, reduction, connection, activation in stages
            if depth
        ]

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network; in pictures it is a chain of the stem, the stages and the classifier.

        Example:
            >>> print(ConvNet().draw(ConvNet().parse("resnet9")))
            stem    whitening 3×3, conv 1×1, 64 channels
            stage 1 3 convs 3×3, 48 channels, max pool, residual
            stage 2 1 conv 3×3, 64 channels, max pool
            stage 3 3 convs 3×3, 80 channels, max pool, residual
            head    max pool, linear, divided by 8
        """
        stages, draft = self.stages(architecture), Draft(task)
        stem, width, *_, pooling, divisor = architecture.genotype
        # The stem has the activation of the stage that reads it.
        captions = {"stem": add_stem(draft, str(stem), self._channels(width), stages[0].activation)}
        number = 1
        for index, stage in enumerate(stages, 1):
            captions[f"stage {index}"] = stage.caption
            number = add_stage(draft, stage, f"stage {index}", number)
        is_max = pooling == "max"
        draft.classify(task.classes, "global_max_pool" if is_max else "global_pool", int(divisor))
        divided = f", divided by {divisor}" if divisor != 1 else ""
        captions["head"] = f"{'max' if is_max else 'average'} pool, linear{divided}"
        return draft.blueprint(captions=captions)

    def _channels(self, width: str | int) -> int:
        return int(width) * self.unit // 8


def _parts(genotype: _Genes) -> list[_Genes]:
    """Stem, stages and head of a genotype."""
    length = len(_STAGE)
    starts = range(2, 2 + _STAGES * length, length)
    return [genotype[:2], *(genotype[start : start + length] for start in starts), genotype[-2:]]


def _stage_text(stage: _Genes) -> str:
    convolution, width, depth, *words = stage
    said = (f".{word}" for word, unsaid in zip(words, _UNSAID, strict=True) if word != unsaid)
    return f"{convolution}w{width}d{depth}{''.join(said)}"


def _not_one(text: str, problem: str) -> ArchitectureError:
    known, example = ", ".join(ConvNet.named), ConvNet.named["resnet9"]
    return ArchitectureError(
        f"'{text}' is no architecture of convnet: {problem}, expected a form like '{example}', or one of {known}."
    )
