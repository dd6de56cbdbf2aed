"""Let a network compute with other tensors for a while, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

__all__ = ["substituted"]


@contextmanager
def substituted(network: nn.Module, tensors: Mapping[str, torch.Tensor], training: bool) -> Iterator[None]:
    """Put other tensors in the place of parameters and buffers, and the modules into one mode.

    On leaving, every module has its own tensors and mode again, and its attributes are what they were: those that are
    tensors or containers of such have their old contents.

    Args:
        network: the module.
        tensors: by the names of `named_parameters` and `named_buffers`; one with several names is put in all places.
        training: whether modules are in train mode. What computes a weight stays in evaluation mode: scores measure
            the weight that a spectral norm gives, and take no step of its power iteration.
    """
    own = {id(t): tensors[name] for name, t in (*network.named_parameters(), *network.named_buffers())}
    modules = list(network.modules())
    restore = [_snapshot(module) for module in modules]
    frozen = {inner for module in modules if isinstance(module, ParametrizationList) for inner in module.modules()}
    try:
        for module in modules:
            hooked = any(hasattr(hook, "compute_weight") for hook in module._forward_pre_hooks.values())
            module.training = training and module not in frozen and not hooked
            for members in (module._parameters, module._buffers):
                for name, tensor in members.items():
                    if tensor is not None:
                        members[name] = own[id(tensor)]  # type: ignore[assignment]
        yield
    finally:
        for undo in restore:
            undo()


def _snapshot(module: nn.Module) -> Callable[[], None]:
    """What puts a module's attributes back."""
    attributes = dict(vars(module))
    members = {
        name: dict(value) for name, value in attributes.items() if name in ("_parameters", "_buffers", "_modules")
    }
    contents = [
        undo
        for name, value in attributes.items()
        if name not in _MODULE_ATTRIBUTES and not isinstance(value, bool | int | float | str | None)
        for undo in _contents(value)
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


_MODULE_ATTRIBUTES = frozenset(vars(nn.Module())) - {"training"}


def _contents(value: Any) -> Iterator[Callable[[], None]]:
    """What puts back the contents of tensors and containers, which may be changed in place."""
    if isinstance(value, torch.Tensor):
        if not isinstance(value, nn.Parameter) and not value.is_meta and value.layout == torch.strided:
            kept, version = value.detach().clone(), None if value.is_inference() else value._version
            yield lambda: None if version is not None and version == value._version else _copy(value, kept)
    elif isinstance(value, list):
        items = list(value)
        yield lambda: value.__setitem__(slice(None), items)
        for item in items:
            yield from _contents(item)
    elif isinstance(value, dict):
        pairs = dict(value)
        yield lambda: (value.clear(), value.update(pairs))[0]  # type: ignore[func-returns-value]
        for item in pairs.values():
            yield from _contents(item)
    elif isinstance(value, set):
        members = set(value)
        yield lambda: (value.clear(), value.update(members))[0]  # type: ignore[func-returns-value]
    elif isinstance(value, tuple):
        for item in value:
            yield from _contents(item)


def _copy(target: torch.Tensor, source: torch.Tensor) -> None:
    with torch.no_grad():
        target.detach().copy_(source)
