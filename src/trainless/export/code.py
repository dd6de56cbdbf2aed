"""Export of a network as Python code that needs PyTorch alone."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from trainless.errors import InputError

__all__ = ["PlainCode", "plain_code", "take_weights"]

_SIGNS = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/", operator.iadd: "+",
          operator.imul: "*", operator.matmul: "@"}  # fmt: skip
_ADDED = ("mean", "std")  # the normalisation, which the network itself does not have
_HEAD = '''"""{title}

Images go in as float32 values from 0 to 1, shape (images, {channels}, {height}, {width}); out comes one number for each
class, of which the highest is the guess. Weights: `load("model.safetensors")`.
"""

import torch
from torch import nn

CLASSES = {classes}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor({mean}).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor({std}).view(-1, 1, 1))
{layers}

    def forward(self, images):
        {entry} = (images - self.mean) / self.std
{lines}


def load(path="model.safetensors"):
    """Build the network with its weights, ready for inference."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()
'''


@dataclass(frozen=True, eq=False)
class PlainCode:
    """A network as code and weights.

    Args:
        source: a Python module with ``Network``, ``load`` and ``CLASSES``, which imports PyTorch and safetensors alone.
        weights: the state of its ``Network``.
    """

    source: str
    weights: Mapping[str, torch.Tensor]


def plain_code(
    network: nn.Module,
    input_shape: Sequence[int],
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    title: str = "A network for images.",
) -> PlainCode:
    """Write a network of PyTorch's own layers as plain code, with the normalisation of its images inside.

    Args:
        network: maps normalised images to one number for each class, without looking at their values; its layers are
            those of `torch.nn`, joined by sums, products and functions of PyTorch.
        input_shape: channels, height and width of an image.
        classes: names of the classes.
        mean: mean of each channel, of values from 0 to 1.
        std: standard deviation of each channel.
        title: first line of the code.

    Raises:
        InputError: the network cannot be written so; the message tells what stands in the way.

    Example:
        >>> code = plain_code(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), ("a", "b"), (0.5,), (0.25,))
        >>> print(code.source[code.source.index("        self._0"):code.source.index("def load")].rstrip())
                self._0 = nn.Flatten()
                self._1 = nn.Linear(4, 2)
        <BLANKLINE>
            def forward(self, images):
                input_1 = (images - self.mean) / self.std
                _0 = self._0(input_1)
                _1 = self._1(_0)
                return _1
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception as error:
        raise InputError(
            f"The {type(network).__name__} cannot be written as plain code ({' '.join(str(error).split())}): its "
            "forward must not depend on the values of the images."
        ) from error
    layers = dict(network.named_modules())
    used = list(dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module"))
    tensors = {
        str(node.target): operator.attrgetter(str(node.target))(network)
        for node in graph.nodes
        if node.op == "get_attr"
    }
    _check_attributes([*used, *tensors])
    entry = next(node.name for node in graph.nodes if node.op == "placeholder")
    source = _HEAD.format(
        title=_one_line(title), channels=input_shape[0], height=input_shape[1], width=input_shape[2],
        classes=repr(tuple(classes)), mean=list(mean), std=list(std), entry=entry,
        layers="\n".join([
            *(f"        self.{_attribute(name)} = {_constructor(layers[name])}" for name in used),
            *(f'        self.register_buffer("{_attribute(name)}", torch.zeros({tuple(value.shape)}))'
              for name, value in tensors.items()),
        ]),
        lines="\n".join(f"        {_line(node)}" for node in graph.nodes if node.op != "placeholder"),
    )  # fmt: skip
    weights = {"mean": torch.tensor(list(mean)).view(-1, 1, 1), "std": torch.tensor(list(std)).view(-1, 1, 1)}
    for name in used:
        state = layers[name].state_dict()
        weights |= {f"{_attribute(name)}.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    weights |= {_attribute(name): value.detach().cpu().contiguous() for name, value in tensors.items()}
    return PlainCode(source, weights)


def take_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a network the weights of the plain code that `plain_code` wrote of one like it.

    Args:
        network: changed in place.
        weights: as in `PlainCode`.

    Raises:
        InputError: they are not finite, or of another network.

    Example:
        >>> written = plain_code(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), ("a", "b"), (0.5,), (0.25,))
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> take_weights(network, written.weights)
        >>> torch.equal(network[1].weight, written.weights["_1.weight"])
        True
    """
    state, left = dict[str, torch.Tensor](), {name: value for name, value in weights.items() if name not in _ADDED}
    for name in network.state_dict():
        layer, _, value = name.rpartition(".")
        written = (f"{_attribute(layer)}.{value}", _attribute(name))  # of a layer, or of a module that holds a tensor
        for known in filter(left.__contains__, written):
            state[name] = left.pop(known)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"The weights are of another network: {' '.join(str(error).split())}") from error
    if left:
        raise InputError(f"The weights are of another network: it has no {next(iter(left))}.")
    if not all(value.isfinite().all() for value in state.values()):
        raise InputError("The weights are not finite.")


def _one_line(text: str) -> str:
    """A text that cannot end the docstring that it stands in."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())


def _attribute(name: str) -> str:
    """A layer's path as one name."""
    flat = name.replace(".", "_")
    return f"_{flat}" if flat[0].isdigit() else flat


def _check_attributes(names: Sequence[str]) -> None:
    """Refuse layers that would be one attribute, or stand for the normalisation."""
    seen = {name: name for name in _ADDED}
    for name in names:
        other = seen.setdefault(_attribute(name), name)
        if other != name or name in _ADDED:
            raise InputError(
                f"The layers '{other}' and '{name}' would both be '{_attribute(name)}' in plain code: rename one."
            )


def _constructor(layer: nn.Module) -> str:
    """The call that makes a layer of `torch.nn` anew; what is PyTorch's default is left out."""
    kind = type(layer)
    if not kind.__module__.startswith("torch.nn.modules"):
        raise InputError(f"The layer {kind.__name__} is none of PyTorch's own and cannot be written as plain code.")
    positional, named = [], []
    # Recurrent layers take what their common kind does, and say so nowhere.
    maker = nn.RNNBase if isinstance(layer, nn.LSTM | nn.GRU) else kind
    for name, parameter in inspect.signature(maker.__init__).parameters.items():
        if name in ("self", "mode", "device", "dtype") or not hasattr(layer, name):
            continue
        value = getattr(layer, name)
        if name == "bias" and (value is None or isinstance(value, torch.Tensor)):
            value = value is not None
        if parameter.default is inspect.Parameter.empty:
            positional.append(repr(value))
        elif not _is_default(value, parameter.default):
            named.append(f"{name}={value!r}")
    return f"nn.{kind.__name__}({', '.join([*positional, *named])})"


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is what the default amounts to; PyTorch keeps a number as a pair of it."""
    return bool(value == default or (isinstance(value, tuple) and set(value) == {default}))


def _line(node: fx.Node) -> str:
    if node.op == "output":
        return f"return {_value(node.args[0])}"
    arguments = ", ".join(
        [*map(_value, node.args), *(f"{name}={_value(value)}" for name, value in node.kwargs.items())]
    )
    if node.op == "call_module":
        return f"{node.name} = self.{_attribute(str(node.target))}({arguments})"
    if node.op == "call_method":
        owner, _, rest = arguments.partition(", ")
        return f"{node.name} = {owner}.{node.target}({rest})"
    if node.op == "call_function" and node.target in _SIGNS:
        return f"{node.name} = {_value(node.args[0])} {_SIGNS[node.target]} {_value(node.args[1])}"
    if node.op == "call_function" and node.target is operator.getitem:
        return f"{node.name} = {_value(node.args[0])}[{_value(node.args[1])}]"
    if node.op == "call_function" and node.target is getattr:
        return f"{node.name} = {_value(node.args[0])}.{node.args[1]}"
    if node.op == "get_attr":
        return f"{node.name} = self.{_attribute(str(node.target))}"
    name = getattr(node.target, "__name__", str(node.target))
    for module, prefix in ((torch, "torch"), (nn.functional, "nn.functional")):
        if node.op == "call_function" and getattr(module, name, None) is node.target:
            return f"{node.name} = {prefix}.{name}({arguments})"
    raise InputError(f"'{name}' cannot be written as plain code: build the network of PyTorch's layers and functions.")


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_value, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside},)"
    return value.name if isinstance(value, fx.Node) else repr(value)
