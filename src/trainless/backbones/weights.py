"""Weights of backbones: read from packages and files, and brought into the order in which a network has its layers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trainless.backbones.architecture import Architecture, Shapes
from trainless.backbones.base import Backbone
from trainless.errors import DataError, InputError

if TYPE_CHECKING:
    import torch

    State = Mapping[str, torch.Tensor]

__all__ = ["is_installed", "layers_of", "read_checkpoint", "read_weights", "shapes_of"]

_NESTED = ("state_dict", "model")  # names under which trainings keep the weights among other things
_PARALLEL = "module."  # how names begin in what was trained by several GPUs
_COUNTER = "num_batches_tracked"  # of a normalisation, which only its training reads


@lru_cache(maxsize=4)
def read_weights(backbone: Backbone) -> tuple[State, ...]:
    """Read the weights of a backbone, one state for each layer that has any, in the order in which they run.

    Layers are convolutions and the batch normalisation behind each, and at last the linear layer, where the file has
    one. They are kept in memory: whoever gets them must not change them.

    Raises:
        InputError: the package that brings them is not installed.
        DataError: the file is not what it should be.
    """
    path = _path(backbone)
    return layers_of(read_checkpoint(path), backbone.architecture, path)


def layers_of(state: State, architecture: Architecture, path: Path) -> tuple[State, ...]:
    """Order the tensors of a checkpoint by layers, as `read_weights` gives them.

    Args:
        state: of the checkpoint.
        architecture: which it holds.
        path: what it was read from, for messages.

    Raises:
        DataError: a layer has not the tensors that it should have.
    """
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        name, _, part = key.rpartition(".")
        if part != _COUNTER:
            layers.setdefault(name, {})[part] = value
    for weights in architecture.weights():
        found = {part: tuple(value.shape) for part, value in layers.get(weights.name, {}).items()}
        if found != weights.shapes:
            raise DataError(
                f"'{path}' has {_said(found) or 'nothing'} of '{weights.name}', expected {_said(weights.shapes)}: give "
                "a whole checkpoint."
            )
    names = [weights.name for weights in architecture.weights()]
    return tuple(layers[name] for name in (*names, architecture.classifier) if name in layers)


def shapes_of(state: State) -> Shapes:
    """Give the shapes of the weights of a checkpoint by the names of the layers.

    Example:
        >>> import torch
        >>> shapes_of({"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)})
        {'fc': (2, 3)}
    """
    return {
        key.rpartition(".")[0]: tuple(value.shape) or (1,) for key, value in state.items() if key.endswith(".weight")
    }


def _said(shapes: Shapes) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


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


def read_checkpoint(path: Path) -> State:
    """Read the state dict of a file of safetensors or of PyTorch, in single precision; no code of it is run.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    import torch
    from safetensors.torch import load_file

    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that PyTorch itself does not write
            loaded = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except Exception as error:  # whatever PyTorch makes of a file that is damaged, or made to harm
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"'{path}' cannot be read as weights ({reason}): give a file of safetensors, or a state dict of PyTorch."
        ) from error
    state = next((loaded[key] for key in _NESTED if isinstance(loaded, Mapping) and key in loaded), loaded)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"'{path}' holds no state dict of tensors: save the network's state_dict().")
    is_parallel = all(key.startswith(_PARALLEL) for key in state)
    return {
        key.removeprefix(_PARALLEL) if is_parallel else key: value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }
