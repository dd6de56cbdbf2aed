"""Let a network compute with other tensors for a while, and leave it as it was."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

__all__ = ["is_plain", "substituted"]


def is_plain(module: nn.Module) -> bool:
    """Whether a module is of PyTorch's or trainless's own kinds, and nobody changed what it does.

    Example:
        >>> changed = nn.ReLU()
        >>> handle = changed.register_forward_hook(lambda module, inputs, output: None)
        >>> is_plain(nn.ReLU()), is_plain(changed)
        (True, False)
    """
    return (
        type(module).__module__.startswith(("torch.nn.modules.", "trainless."))
        and not module._forward_pre_hooks
        and not module._forward_hooks
        and "forward" not in vars(module)
    )


@contextmanager
def substituted(network: nn.Module, tensors: Mapping[int, torch.Tensor], training: bool) -> Iterator[None]:
    """Put other tensors in the place of parameters and buffers, and the modules into one mode.

    On leaving, every module has its own tensors and mode again, and its attributes are what they were: those that are
    tensors or containers of such have their old contents.

    Args:
        network: the module.
        tensors: for each parameter and buffer by its ``id`` what is put in all its places.
        training: whether modules are in train mode. What computes a weight stays in evaluation mode: scores measure
            the weight that a spectral norm gives, and take no step of its power iteration.
    """
    modules, seen = list(network.modules()), set[int]()
    restore = [_snapshot(module, seen) for module in modules]
    frozen = {inner for module in modules if isinstance(module, ParametrizationList) for inner in module.modules()}
    try:
        for module in modules:
            hooked = any(hasattr(hook, "compute_weight") for hook in module._forward_pre_hooks.values())
            vars(module)["training"] = training and module not in frozen and not hooked
            for members in (module._parameters, module._buffers):
                for name, tensor in members.items():
                    if tensor is not None:
                        members[name] = tensors[id(tensor)]  # type: ignore[assignment]
        yield
    finally:
        for undo in restore:
            undo()


def _snapshot(module: nn.Module, seen: set[int]) -> Callable[[], None]:
    """What puts a module's attributes back."""
    if is_plain(module) and not isinstance(module, nn.RNNBase):  # of PyTorch's kinds those alone set more than buffers
        training, parameters, buffers = module.training, dict(module._parameters), dict(module._buffers)

        def undo_plain() -> None:
            vars(module)["training"] = training
            module._parameters.update(parameters)
            module._buffers.update(buffers)

        return undo_plain
    attributes = dict(vars(module))
    members = {
        name: dict(value) for name, value in attributes.items() if name in ("_parameters", "_buffers", "_modules")
    }
    contents = [
        undo
        for name, value in attributes.items()
        if name not in _MODULE_ATTRIBUTES and type(value) not in _VALUES
        for undo in _contents(value, seen)
    ]

    def undo() -> None:
        vars(module).clear()
        vars(module).update(attributes)
        for name, value in members.items():
            attributes[name].clear()
            attributes[name].update(value)
        for put_back in contents:
            put_back()

    return undo


_VALUES = frozenset({bool, int, float, str, type(None)})
_MODULE_ATTRIBUTES = frozenset(vars(nn.Module())) - {"training"}


def _contents(value: Any, seen: set[int]) -> Iterator[Callable[[], None]]:
    """What puts back the contents of tensors, arrays, containers and objects, which may be changed in place."""
    if type(value) in _VALUES or id(value) in seen or (type(value) is tuple and _VALUES.issuperset(map(type, value))):
        return
    seen.add(id(value))
    inner: Iterable[Any] = ()
    if isinstance(value, torch.Tensor):
        if not isinstance(value, nn.Parameter) and not value.is_meta and value.layout == torch.strided:
            kept, version = value.detach().clone(), None if value.is_inference() else value._version
            yield lambda: None if version is not None and version == value._version else _copy(value, kept)
    elif isinstance(value, np.ndarray):
        array = value.copy()
        yield lambda: value.__setitem__(..., array)
    elif isinstance(value, dict | set):
        members = value.copy()
        yield lambda: (value.clear(), value.update(members))[0]
        inner = members.values() if isinstance(members, dict) else ()
    elif isinstance(value, list | deque):
        inner = items = list(value)
        yield lambda: (value.clear(), value.extend(items))[0]
    elif isinstance(value, tuple):
        inner = value
    elif _is_record(value):
        inner = (vars(value),)
    for item in inner:
        yield from _contents(item, seen)


def _is_record(value: Any) -> bool:
    """Whether it is an object of somebody's own class, such as a meter: no module, class, function or logger."""
    home = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not isinstance(value, nn.Module) and home not in _LIBRARIES


_LIBRARIES = sys.stdlib_module_names | {"builtins", "torch", "numpy"}


def _copy(target: torch.Tensor, source: torch.Tensor) -> None:
    with torch.no_grad():
        target.detach().copy_(source)
