"""Find the weights of a network where its functions use them, and put tensors of a pass's own in their place.

A weight is what a convolution, a linear map or a matrix product multiplies activations by: the operand that does not
depend on the images. So it makes no difference which module owns it, which function is called, or whether it is
computed from other parameters: it counts by its value then. Biases, gains, tables of embeddings and positions are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from trainless.errors import NetworkError
from trainless.passes.decompositions import DECOMPOSITIONS
from trainless.passes.graph import reached_nodes
from trainless.passes.marks import METADATA, Batched, Origin, batched, mark_batched, mark_origin, origin, tensors_in
from trainless.passes.observers import Observer, Rules
from trainless.passes.substitution import is_plain

__all__ = ["Listener", "Weight", "WeightTracker", "plain_weights", "weight_layers"]


@dataclass(slots=True)
class Weight:
    """One weight: the tensor that a pass computes with in its place, and how it is used.

    Args:
        key: the same for the same weight.
        leaf: the tensor; gradients are taken with respect to it.
        order: which registered tensor is the first of those it is computed from.
        names: those tensors.
        linear: whether it is a matrix that only linear maps use.
        inputs: for each use what goes in, by serial number.
        channels: how many numbers come out for each that is computed from; 0 before it was used.
    """

    key: Hashable
    leaf: torch.Tensor
    order: int
    names: frozenset[str]
    linear: bool
    inputs: list[int] = field(default_factory=list)
    channels: int = 0


Listener = Callable[[Weight, torch.Tensor, tuple[int, ...]], Callable[[torch.Tensor], None]]

_USE = "_trainless_use"  # marks what came out of a weight that has no bias yet

_CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d})
_T = torch.Tensor
_PRODUCTS = frozenset({torch.matmul, _T.matmul, _T.__matmul__, torch.mm, _T.mm, torch.bmm, _T.bmm})
_REVERSED = frozenset({_T.__rmatmul__})
_WEIGHTED = _CONVOLUTIONS | {F.linear, torch.einsum} | _PRODUCTS | _REVERSED

_MARKED = (torch.Tensor, list, tuple)  # what a function gives that may hold marked tensors
# What looks at the shape of its argument alone.
_SHAPED = frozenset(
    {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
     "new_full", "new_empty", "new_tensor"}
)  # fmt: skip
# What puts the same numbers into another order or shape, or repeats them: a weight is not another one for it.
_REARRANGING = frozenset(
    {"t", "transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "view", "reshape",
     "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "expand", "expand_as", "broadcast_to"}
)  # fmt: skip
_REGROUPING = frozenset({"view", "reshape", "flatten", "unflatten"})  # of those that keep the order of the numbers
_ARRANGING_ATTRIBUTES = {getattr(_T, name).__get__ for name in ("T", "mT", "H", "mH")}
_PERMUTING = frozenset(
    {"t", "transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims"}
)  # of those that move the dimension that counts images
# Where a parameter is no weight when it meets an activation: offsets, gains, tables, limits, and what chooses.
_NEUTRAL = frozenset(
    {"add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide", "where", "cat", "concat",
     "concatenate", "stack", "hstack", "vstack", "embedding", "embedding_bag", "batch_norm", "layer_norm", "group_norm",
     "instance_norm", "rms_norm", "normalize", "prelu", "maximum", "minimum", "max", "min", "fmax", "fmin", "clamp",
     "clamp_min", "clamp_max", "copy", "setitem", "getitem", "index_select", "gather", "take_along_dim", "masked_fill",
     "expand_as", "view_as", "reshape_as", "type_as", "to", "lerp", "addcmul", "addcdiv", "pow", "eq", "ne", "gt", "ge",
     "lt", "le", "index_add", "index_copy", "scatter", "scatter_add", "interpolate", "pad", "broadcast_tensors",
     "masked_scatter", "cross_entropy", "mse_loss", "rfft2", "ifft2", "softplus", "threshold"}
)  # fmt: skip
_MULTIPLYING = frozenset({"mul", "multiply", "div", "divide", "true_divide"})
# Position and name of the gains and offsets of normalisations, and of the biases of layers.
_GAINS = {F.batch_norm: 3, F.layer_norm: 2, F.group_norm: 2, F.instance_norm: 3}
_OFFSETS = {F.batch_norm: 4, F.layer_norm: 3, F.group_norm: 3, F.instance_norm: 4, F.linear: 2} | dict.fromkeys(
    _CONVOLUTIONS, 2
)


@cache
def _name(function: Any) -> str:
    """The plain name of a torch function, be it a method, an operator or in place."""
    name: str = getattr(function, "__name__", "")
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        return name[1:] if name[1:] in _NEUTRAL and name not in _NEUTRAL and name[0] in "ri" else name
    return name.rstrip("_")


class WeightTracker(Observer):
    """While active, follows activations and parameters, and hands the functions a pass's own tensors for weights.

    Args:
        tensors: the copies of the registered parameters and buffers that the network runs on, in their order.
        originals: the network's own tensors by name; where the network holds on to one, its copy is taken.
        rules: rules of an `Observer`.
        like: has the device and the precision of parameters that are registered nowhere.
        draw: gives a new value for a weight by its key and value; None leaves weights as they are.
        absolute: whether all that is computed from parameters enters by its absolute value.

    Attributes:
        weights: the weights seen so far, by key.
        listeners: called at each use with the weight, what came out, and the dimensions that count channels; each
            gives a function that takes a bias which is added later.
        directions: for tensors by ``id`` a second value that is rearranged as the tensor is.
        differentiates: whether weights that are met for the first time shall have gradients.
        recomputes: whether a backward pass is under way, in which activations may be computed once more.
        without_graph: whether a weight was met where no graph is recorded.
        saves_otherwise: whether a function ran that does not simply keep its activations for the backward pass.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        originals: Mapping[str, torch.Tensor],
        *rules: Rules,
        like: torch.Tensor | None = None,
        draw: Callable[[Hashable, torch.Tensor], torch.Tensor] | None = None,
        absolute: bool = False,
    ) -> None:
        super().__init__(*rules)
        self.weights: dict[Hashable, Weight] = {}
        self.listeners: list[Listener] = []
        self.directions: dict[int, torch.Tensor] = {}
        self.differentiates = True
        self.recomputes = self.without_graph = self.saves_otherwise = False
        self._like, self._draw, self._absolute = like, draw, absolute
        self._copies = {id(original): tensors[name] for name, original in originals.items()}
        self._tensors = dict(tensors)
        self._met: set[str] = set()
        self._strange: dict[str, str] = {}
        self._foreign: list[torch.Tensor] = []
        for order, (name, tensor) in enumerate(tensors.items()):
            mark_origin(tensor, Origin(name, order, frozenset({name}), tensor))

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Be active during a backward pass, if activations may be computed once more in it."""
        if not (self.without_graph or self.saves_otherwise):
            yield
            return
        self.recomputes = True
        try:
            with self:
                yield
        finally:
            self.recomputes = False

    # What a function is called with.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in METADATA:
            return func(*args, **kwargs)
        if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
            self.saves_otherwise = True
        decomposed = DECOMPOSITIONS.get(func)
        if decomposed is not None:
            with self:  # so that the functions inside are seen
                return decomposed(*args, **kwargs)
        mark, parts, held = self._look(args, kwargs)
        if held:
            args, kwargs = self._with_copies(args, kwargs)
        used = None
        if mark is not None and func in _WEIGHTED:
            args, used = self._weigh(func, args, kwargs)
            kwargs = {} if used else kwargs
        if mark is not None and parts and (self._absolute or self._draw):
            args = self._adjust(func, args, used[0].leaf if used else None)
        out = self._rules.get(func, func)(*args, **kwargs)
        if mark is not None:
            self._mark_batched(func, args, out, mark)
            if used:
                self._tell(used[0], out, used[1], func in _OFFSETS and len(args) > 2 and args[2] is not None)
            else:
                if parts:
                    self._account(func, args, parts, out)
                if self.listeners:
                    self._take_bias(func, args, parts, out)
        elif parts:
            self._mark_origin(func, args, kwargs, out, parts)
        return out

    def _tell(self, weight: Weight, out: torch.Tensor, channels: tuple[int, ...], has_bias: bool) -> None:
        """Tell the listeners of what comes out of a weight."""
        weight.channels = math.prod(out.shape[channel] for channel in channels)
        takers = [listener(weight, out, channels) for listener in self.listeners]
        if takers and not has_bias:
            setattr(out, _USE, (weight.channels, takers))

    def _take_bias(self, func: Any, args: Any, parts: Sequence[Origin], out: Any) -> None:
        """A bias that is added afterwards belongs to what comes out of a weight, as one that is given with it."""
        use = next((getattr(tensor, _USE) for tensor in tensors_in(args) if hasattr(tensor, _USE)), None)
        if use is None or not isinstance(out, torch.Tensor):
            return
        channels, takers = use
        name = _name(func)
        if not parts and name in _REARRANGING | {"getitem", "select"} and out.numel() == args[0].numel():
            setattr(out, _USE, use)
        elif name == "add" and len(parts) == 1 and parts[0].base.numel() == channels:
            for take in takers:
                take(parts[0].base)

    def _look(self, args: Any, kwargs: Any) -> tuple[Batched | None, list[Origin], bool]:
        """The mark of what depends on the images, those of what comes of parameters, and whether copies are wanted."""
        mark: Batched | None = None
        parts: list[Origin] = []
        held = False
        for tensor in tensors_in((*args, *kwargs.values()) if kwargs else args):
            found = batched(tensor)
            if found is not None:
                mark = mark or found
            elif (made := origin(tensor)) is not None:
                parts.append(made)
            elif self.recomputes and mark is None and tensor.dim() and type(tensor) is not nn.Parameter:
                mark = Batched(0, len(tensor), -1)  # what was saved for a backward pass has lost its mark
            elif type(tensor) is nn.Parameter or (tensor.requires_grad and tensor.is_leaf):
                parts.append(self._registered(tensor))
                held = True
        return mark, parts, held

    def _registered(self, parameter: torch.Tensor) -> Origin:
        """The mark of the copy of one of the network's own parameters; one that is registered nowhere gets it now."""
        if id(parameter) not in self._copies:
            like = parameter if self._like is None else self._like
            copy = parameter.detach().to(like.device, like.dtype, copy=True).requires_grad_(parameter.dim() > 1)
            name = f"unregistered parameter {len(self._foreign)}"
            mark_origin(copy, Origin(name, len(self._tensors), frozenset({name}), copy))
            self._foreign.append(parameter)  # kept, so that its id stays its own
            self._tensors[name] = self._copies[id(parameter)] = copy
        mark = origin(self._copies[id(parameter)])
        assert mark is not None
        return mark

    def _with_copies(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with the copy of each of the network's own parameters, which it may hold in other places."""

        def copied(arg: Any) -> Any:
            if isinstance(arg, torch.Tensor):
                return self._copies.get(id(arg), arg)
            return type(arg)(map(copied, arg)) if type(arg) in (list, tuple) else arg

        return tuple(map(copied, args)), {name: copied(arg) for name, arg in kwargs.items()}

    def _weigh(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, tuple[Weight, tuple[int, ...]] | None]:
        """Put the leaf in the place of the weight, if one operand is a weight and the other an activation."""
        if func is torch.einsum:
            return self._weigh_einsum(args)
        given, args = args, _positional(func, args, kwargs)
        at = 1 if batched(args[0]) is not None or not _is_weight(args[0]) else 0
        weight, activation = args[at], args[1 - at]
        if batched(weight) is not None or not _is_weight(weight) or (at == 0 and func not in _PRODUCTS | _REVERSED):
            return given, None
        dims = (-1,)
        if func in _CONVOLUTIONS:
            dims = (1 - weight.dim(),)
        elif (at == 0) != (func in _REVERSED) and weight.dim() > 1 and activation.dim() > 1:
            dims = (-2,)
        linear = func is F.linear or (dims == (-1,) and func not in _CONVOLUTIONS)
        used, tensor = self._weight(weight, linear and weight.dim() == 2, activation)
        return (*args[:at], tensor, *args[at + 1 :]), (used, dims)

    def _weigh_einsum(self, args: Any) -> tuple[Any, tuple[Weight, tuple[int, ...]] | None]:
        equation, *operands = args
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = list(operands[0])
        constant = [number for number, operand in enumerate(operands) if batched(operand) is None]
        if len(operands) != 2 or len(constant) != 1 or not isinstance(equation, str):
            return args, None
        at = constant[0]
        terms, _, result = equation.replace(" ", "").replace("...", ".").partition("->")
        own, other = (terms.split(",")[number] for number in (at, 1 - at))
        dims = tuple(
            number - len(result) for number, letter in enumerate(result) if letter in own and letter not in other
        )
        operand = operands[at]
        used, operands[at] = self._weight(operand, operand.dim() == 2 and len(dims) == 1, operands[1 - at])
        return (equation, *operands), (used, dims)

    def _weight(self, tensor: torch.Tensor, linear: bool, activation: torch.Tensor) -> tuple[Weight, torch.Tensor]:
        made = origin(tensor)
        assert made is not None  # see _is_weight
        weight = self.weights.get(made.key)
        if weight is None:
            weight = self.weights[made.key] = Weight(made.key, self._leaf(made), made.order, made.names, linear)
        weight.linear &= linear
        mark = batched(activation)
        weight.inputs.append(mark.serial if mark else -1)
        if torch.is_grad_enabled():
            self._met |= made.names
        else:
            self.without_graph = True
        tensor, direction = weight.leaf, self.directions.get(id(weight.leaf))
        for arrange in made.arrange:
            tensor = arrange(tensor)
        if made.arrange and direction is not None:
            for arrange in made.arrange:
                direction = arrange(direction)
            self.directions[id(tensor)] = direction
            self._foreign.append(tensor)
        return weight, tensor

    def _leaf(self, made: Origin) -> torch.Tensor:
        value = made.base.detach()
        if self._draw:
            value = self._draw(made.key, value)
        elif self._absolute:
            value = value.clone().abs_()  # the layout stays what it was
        return value.requires_grad_(self.differentiates)

    def _adjust(self, func: Any, args: Any, leaf: torch.Tensor | None) -> Any:
        """Gains 1 and offsets 0 beside weights that are drawn, or absolute values of all that comes of parameters."""
        if self._draw:
            changed = list(args)
            for position, fill in ((_GAINS.get(func), torch.ones_like), (_OFFSETS.get(func), torch.zeros_like)):
                if position is not None and position < len(args) and args[position] is not None:
                    changed[position] = fill(args[position])
            return tuple(changed)

        def absolute(arg: Any) -> Any:
            if isinstance(arg, torch.Tensor) and arg is not leaf and arg.is_floating_point() and origin(arg):
                return arg.abs()
            return type(arg)(map(absolute, arg)) if type(arg) in (list, tuple) else arg

        return tuple(map(absolute, args))

    # What is known of what comes out.

    def _mark_batched(self, func: Any, args: Any, out: Any, mark: Batched) -> None:
        name = _name(func)
        if name == "setitem":
            out = args[0]
        if name in _SHAPED or not isinstance(out, _MARKED):
            return
        for tensor in tensors_in((out,)):
            mark_batched(tensor, _dim_of_images(name, func, args, tensor, mark), mark.images)

    def _mark_origin(self, func: Any, args: Any, kwargs: Any, out: Any, parts: list[Origin]) -> None:
        name = _name(func)
        if name in _SHAPED:
            return
        rearranges = name in _REARRANGING or func in _ARRANGING_ATTRIBUTES
        for number, tensor in enumerate(tensors_in((out,))):
            if origin(tensor) is not None or not tensor.is_floating_point():
                continue
            if rearranges and len(parts) == 1:
                made = parts[0]
                again = _again(func, args[1:], kwargs)
                mark_origin(tensor, Origin(made.key, made.order, made.names, made.base, (*made.arrange, again)))
                continue
            key = (func, number, _signature(args), _signature(tuple(kwargs.items())))
            names = frozenset().union(*(part.names for part in parts))
            mark_origin(tensor, Origin(key, min(part.order for part in parts), names, tensor))

    def _account(self, func: Any, args: Any, parts: Iterable[Origin], out: Any) -> None:
        """Tell parameters that are no weights from such as cannot be seen to be one."""
        if not torch.is_grad_enabled():
            return
        name = _name(func)
        for part in parts:
            if sum(size > 1 for size in part.base.shape) < 2:
                continue
            neutral = name in _NEUTRAL
            if name in _MULTIPLYING and isinstance(out, torch.Tensor):
                # A gain leaves the activation its size; a product that makes it larger is summed later on.
                largest = max(tensor.numel() for tensor in tensors_in(args) if batched(tensor) is not None)
                neutral = out.numel() <= largest
            if neutral:
                self._met |= part.names
            else:
                self._strange.update(dict.fromkeys(part.names, getattr(func, "__name__", str(func))))

    # What was found.

    def layers(self) -> list[list[Weight]]:
        """The weights in the order in which their tensors are registered, each with those that act as one with it.

        Matrices that only ever multiply the same activations are one linear map: its outputs side by side are the same
        function, so that a projection in one piece and in three is one layer.
        """
        groups: dict[Hashable, list[Weight]] = {}
        for key, weight in self.weights.items():
            shared = ("inputs", *weight.inputs) if weight.linear else ("alone", key)
            groups.setdefault(shared, []).append(weight)
        layers = [sorted(group, key=lambda weight: weight.order) for group in groups.values()]
        return sorted(layers, key=lambda group: group[0].order)

    def refuse_unseen(self, output: torch.Tensor) -> None:
        """Raise a NetworkError if the output depends on a parameter in a way that scores cannot see."""
        wide = {
            name: tensor
            for name, tensor in self._tensors.items()
            if tensor.requires_grad and tensor.is_leaf and name not in self._met
        }
        if not wide:
            return
        reached = {id(node.variable) for node in reached_nodes(output) if hasattr(node, "variable")}
        for name, tensor in wide.items():
            if id(tensor) in reached:
                where = f"enters '{self._strange[name]}'" if name in self._strange else "enters a function of its own"
                raise NetworkError(
                    f"The weight '{name}' {where}, where it cannot be seen: write that as a convolution, a linear map "
                    "or a matrix product."
                )


def weight_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Find convolutions and linear layers by name, in module order.

    Example:
        >>> list(weight_layers(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))))
        ['0', '3']
    """
    layers: dict[str, nn.Module] = {}
    seen: set[int] = set()  # weights that two layers share count once
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and "weight" in module._parameters:
            if id(module.weight) not in seen:
                layers[name] = module
            seen.add(id(module.weight))
    return layers


def plain_weights(network: nn.Module) -> list[Weight] | None:
    """The weights of a network whose modules tell what its functions use, or None where only running it tells.

    That is so where all modules are PyTorch's or trainless's own, matrices and more belong to layers alone, and there
    are no two linear maps that might be one.
    """
    layers = weight_layers(network)
    owned = {id(layer.weight) for layer in layers.values()}
    for module in network.modules():
        if not is_plain(module):
            return None
        if any(p is not None and p.dim() > 1 and id(p) not in owned for p in module._parameters.values()):
            return None
    if sum(isinstance(layer, nn.Linear) for layer in layers.values()) > 1:
        return None
    names = {id(parameter): (order, name) for order, (name, parameter) in enumerate(network.named_parameters())}
    weights = []
    for layer in layers.values():
        order, name = names[id(layer.weight)]
        weights.append(Weight(name, layer.weight, order, frozenset({name}), False))  # type: ignore[arg-type]
    return weights


def _is_weight(tensor: Any) -> bool:
    """Whether a constant operand is a weight: a parameter, a buffer or computed from these, and no other constant."""
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        return False
    return origin(tensor) is not None


def _positional(func: Any, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of a function with a weight without their names."""
    if not kwargs:
        return tuple(args)
    names: tuple[str, ...] = ("input", "mat2" if _name(func) in ("mm", "bmm") else "other")
    if func is F.linear:
        names = ("input", "weight", "bias")
    elif func in _CONVOLUTIONS:
        strides = ("output_padding", "groups", "dilation") if "transpose" in _name(func) else ("dilation", "groups")
        names = ("input", "weight", "bias", "stride", "padding", *strides)
    defaults = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    last = max(names.index(name) for name in given)
    return tuple(given[name] if name in given else defaults[name] for name in names[: last + 1])


def _again(func: Any, rest: Any, kwargs: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def arrange(tensor: torch.Tensor) -> torch.Tensor:
        arranged: torch.Tensor = func(tensor, *rest, **kwargs)
        return arranged

    return arrange


def _signature(arg: Any) -> Hashable:
    """A value that is the same for the same computation: tensors by their origin, all else by what it is."""
    if isinstance(arg, torch.Tensor):
        made = origin(arg)
        return ("constant", tuple(arg.shape)) if made is None else (made.key, tuple(arg.shape))
    if isinstance(arg, list | tuple):
        return tuple(map(_signature, arg))
    return arg if isinstance(arg, Hashable) else repr(arg)


def _dim_of_images(name: str, func: Any, args: Any, out: torch.Tensor, mark: Batched) -> int:
    """The dimension of a result along which images are counted."""
    dim, images, shape = mark.dim, mark.images, out.shape
    permutes = name in _PERMUTING or func in _ARRANGING_ATTRIBUTES
    source = next((tensor for tensor in tensors_in(args) if batched(tensor) is mark), None)
    if dim == 0 and not permutes and name not in ("stack", "unsqueeze") and shape:
        # Of several rows for each image there are as many as before, or as an outermost dimension is regrouped into.
        rows = (images, len(source) if source is not None and source.dim() else images)
        if shape[0] in rows or (name in _REGROUPING and shape[0] % images == 0):
            return 0
    if source is not None and permutes:
        # A tensor without data whose dimensions have sizes of their own shows where each of them goes.
        probe = torch.empty(tuple(range(2, source.dim() + 2)), device="meta")
        rest = args[1:] if args and args[0] is source else args
        return tuple(func(probe, *rest).shape).index(dim + 2)
    if name in ("unsqueeze", "stack") and not (dim == 0 and len(shape) and shape[0] == images):
        dim += 1
    elif source is not None and len(shape) < source.dim() and dim > 0:
        dim -= 1
    for candidate in sorted(range(len(shape)), key=lambda d: (abs(d - dim), d)):
        if shape[candidate] == images:
            return candidate
    return 0 if shape and shape[0] % images == 0 else min(dim, max(len(shape) - 1, 0))
