"""The networks of the convnet space as such: what stems, stages and heads are made of."""

from __future__ import annotations

from typing import NamedTuple

from trainless.search_spaces.blueprint import Draft, Step

__all__ = [
    "ACTIVATIONS", "CONNECTIONS", "CONVOLUTIONS", "DEPTHS", "DIVISORS", "POOLINGS", "REDUCTIONS", "STEMS",
    "STEM_WIDTHS", "WIDTHS", "Stage", "add_stage", "add_stem",
]  # fmt: skip

STEMS = ("conv", "strided", "whiten")
STEM_WIDTHS = (8, 16, 24, 32, 48, 64, 96)
CONVOLUTIONS = ("k3", "k5", "k1", "s3", "s5")
WIDTHS = (16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256)
DEPTHS = (1, 2, 3, 4)
REDUCTIONS = ("whole", "stride", "pool", "endpool")
CONNECTIONS = ("plain", "res")
ACTIVATIONS = ("relu", "silu", "gelu")
POOLINGS = ("avg", "max")
DIVISORS = (1, 2, 4, 8)

_PATCH = 3  # rows and columns of what is whitened
_HALVES = {"kernel": 2, "stride": 2}


class Stage(NamedTuple):
    """What one stage of a network is made of.

    Args:
        convolution: ``"k"`` or, of depthwise-separable convolutions, ``"s"``, with the rows and columns of the kernel.
        channels: channels that each convolution gives.
        depth: number of convolutions.
        reduction: how the image is halved: ``"whole"`` is not at all, ``"stride"`` by the first convolution, ``"pool"``
            by max pooling between the first convolution and its normalisation, ``"endpool"`` by max pooling at the end.
        is_residual: whether there are shortcuts around the further convolutions: around each two, and around the one
            that is left over.
        activation: key of the operation.

    Example:
        >>> Stage("s5", 64, 3, "stride", True, "silu").caption
        '3 separable convs 5×5, 64 channels, stride 2, residual, SiLU'
    """

    convolution: str
    channels: int
    depth: int
    reduction: str
    is_residual: bool
    activation: str

    @property
    def caption(self) -> str:
        """What pictures say of it."""
        separable = "separable " if self.convolution[0] == "s" else ""
        kernel, plural = self.convolution[1], "s" if self.depth > 1 else ""
        reduction = {"stride": "stride 2", "pool": "max pool", "endpool": "max pool at the end"}.get(self.reduction)
        activation = {"silu": "SiLU", "gelu": "GELU"}.get(self.activation)
        parts = [
            f"{self.depth} {separable}conv{plural} {kernel}×{kernel}", f"{self.channels} channels", reduction,
            "residual" if self.is_residual else None, activation,
        ]  # fmt: skip
        return ", ".join(filter(None, parts))


def add_stem(draft: Draft, stem: str, channels: int, activation: str) -> str:
    """Add the stem, and tell what pictures say of it.

    Example:
        >>> from trainless.types import Task
        >>> draft = Draft(Task("cifar10", 10))
        >>> add_stem(draft, "whiten", 64, "relu"), draft.channels, draft.size
        ('whitening 3×3, conv 1×1, 64 channels', 64, (32, 32))
    """
    activated = f"conv_bn_{activation}"
    if stem == "whiten":
        directions = ("whitening", draft.channels * _PATCH**2, {"kernel": _PATCH})
        draft.chain("features.0", [directions, (activated, channels, {})], block="stem")
        return f"whitening {_PATCH}×{_PATCH}, conv 1×1, {channels} channels"
    stride = 2 if stem == "strided" else 1
    draft.add("features.0", activated, channels, kernel=3, stride=stride, block="stem")
    return f"conv 3×3, {channels} channels" + (", stride 2" if stride == 2 else "")


def add_stage(draft: Draft, stage: Stage, block: str, number: int) -> int:
    """Add a stage as modules that are numbered from a number on, and tell the next number.

    Example:
        >>> from trainless.types import Task
        >>> draft = Draft(Task("cifar10", 10))
        >>> add_stage(draft, Stage("k3", 64, 4, "endpool", True, "relu"), "stage 1", 1), draft.size
        (5, (16, 16))
        >>> [len(nodes) for nodes in draft.blueprint().modules.values()]  # one, two and one convolution, pooling
        [1, 3, 2, 1]
    """
    pools = stage.reduction == "pool" or (stage.reduction == "endpool" and stage.depth == 1)
    stride, further = 2 if stage.reduction == "stride" else 1, stage.depth - 1
    draft.chain(f"features.{number}", _convolution(stage, draft.channels, stride, pools=pools), block=block)
    number += 1
    for length in (2, 1) if stage.is_residual else (1,):
        repeat, further = divmod(further, length)
        if repeat:
            steps = length * _convolution(stage, stage.channels)
            draft.chain(
                f"features.{number}", steps, has_shortcut=stage.is_residual, block=block, repeat=repeat,
            )  # fmt: skip
            number += repeat
    if stage.reduction == "endpool" and not pools:
        draft.add(f"features.{number}", "max_pool", block=block, **_HALVES)
        number += 1
    return number


def _convolution(stage: Stage, inputs: int, stride: int = 1, *, pools: bool = False) -> list[Step]:
    """A convolution of a stage with its normalisation and activation; a separable one has them after both halves."""
    kernel, activated, steps = int(stage.convolution[1]), f"conv_bn_{stage.activation}", list[Step]()
    if stage.convolution[0] == "s":
        steps.append((activated, inputs, {"kernel": kernel, "stride": stride, "groups": inputs}))
        kernel = stride = 1
    if not pools:
        return [*steps, (activated, stage.channels, {"kernel": kernel, "stride": stride})]
    # Pooled before they are normalised, there are a quarter of the values to normalise.
    channels = stage.channels
    return [
        *steps,
        ("conv", channels, {"kernel": kernel}),
        ("max_pool", channels, _HALVES),
        ("batch_norm", channels, {}),
        (stage.activation, channels, {}),
    ]
