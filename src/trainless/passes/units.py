"""Codes of activation units: for each image and unit, whether what goes into the activation function is above zero.

Seen is every elementwise activation function of PyTorch, and ReLU by any other name: a clamp at zero, a maximum with
zero, a threshold, a choice or a product with the sign of its own input. A sigmoid whose output multiplies something
else, as in squeeze-and-excite and in recurrent cells, is a gate and no unit.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from trainless.passes.graph import reached_nodes
from trainless.passes.marks import batched, by_image, mark_batched
from trainless.passes.observers import Rules

__all__ = ["Masks", "UnitObserver", "agreement", "distinct_patterns", "distinct_rows", "packed"]

_T = torch.Tensor
Function = Callable[..., Any]

_ACTIVATIONS: tuple[Any, ...] = (
    F.relu, F.relu_, torch.relu, torch.relu_, _T.relu, _T.relu_, F.relu6, F.hardtanh, F.hardtanh_, F.leaky_relu,
    F.leaky_relu_, F.prelu, torch.prelu, _T.prelu, F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_, F.elu, F.elu_, F.selu,
    F.selu_, torch.selu, torch.selu_, F.celu, F.celu_, torch.celu, torch.celu_, F.gelu, F.silu, F.mish, F.hardswish,
    F.softplus, F.softsign, F.tanhshrink, F.hardshrink, F.softshrink, F.logsigmoid, F.tanh, torch.tanh, torch.tanh_,
    _T.tanh, _T.tanh_, torch.erf, _T.erf, torch.atan, _T.atan,
)  # fmt: skip
_GATES: tuple[Any, ...] = (F.sigmoid, torch.sigmoid, torch.sigmoid_, _T.sigmoid, _T.sigmoid_, torch.special.expit,
                           F.hardsigmoid)  # fmt: skip
_CLAMPS = (torch.clamp, torch.clamp_, _T.clamp, _T.clamp_, torch.clip, torch.clip_, _T.clip, _T.clip_)
_CLAMPS_BELOW = (torch.clamp_min, torch.clamp_min_, _T.clamp_min, _T.clamp_min_)
_MAXIMA = (torch.maximum, _T.maximum, torch.max, _T.max, torch.fmax, _T.fmax)
_THRESHOLDS = (F.threshold, torch.threshold, torch.threshold_)
_COMPARISONS = (torch.gt, _T.gt, torch.ge, _T.ge, torch.lt, _T.lt, torch.le, _T.le, _T.__gt__, _T.__ge__, _T.__lt__,
                _T.__le__, torch.greater, torch.less, torch.sign, _T.sign, torch.heaviside, _T.heaviside)  # fmt: skip
_CHOICES = (torch.where, _T.where)
_FILLS = (torch.masked_fill, _T.masked_fill, _T.masked_fill_, _T.__setitem__)
_PRODUCTS = (torch.mul, _T.mul, _T.mul_, torch.multiply, _T.multiply, _T.__mul__, _T.__rmul__, _T.__imul__)
# What keeps a mask or a gate what it is.
_CARRIERS = (
    _T.to, _T.float, _T.double, _T.half, _T.bfloat16, _T.type_as, _T.type, _T.view, _T.reshape, torch.reshape,
    _T.view_as, _T.expand, _T.expand_as, torch.unsqueeze, _T.unsqueeze, torch.squeeze, _T.squeeze, torch.flatten,
    _T.flatten, _T.unflatten, torch.permute, _T.permute, torch.transpose, _T.transpose, torch.chunk, _T.chunk,
    torch.split, _T.split, torch.unbind, _T.unbind, _T.__getitem__, _T.contiguous, torch.rsub, _T.__rsub__, torch.sub,
    _T.sub, _T.__sub__, _T.detach, torch.logical_not, _T.logical_not, _T.__invert__, F.interpolate, F.dropout,
)  # fmt: skip
_SIGN, _GATE = "_trainless_sign_of", "_trainless_gate"


class _Unit:
    """One activation function that ran."""

    __slots__ = ("gate", "node", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.node: Any = None
        self.gate = False


class UnitObserver:
    """Collects the codes of every activation function, reduced at once to what is needed.

    Args:
        reduce: what to keep of a code: it is given what goes into the activation function as a matrix (images, units)
            in any unit order.
        depends: tells whether a tensor depends on the images; others have no codes.
        masks: what sets a share of the units to 0; None for all of them as they are.

    Attributes:
        rules: what to give an `Observer`.

    Example:
        >>> from trainless.passes.observers import Observer
        >>> units = UnitObserver(agreement)
        >>> with Observer(units.rules):
        ...     output = torch.relu(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        >>> units.reaching(output)[0].tolist()
        [[2.0, 1.0], [1.0, 2.0]]
    """

    def __init__(
        self, reduce: Callable[[torch.Tensor], Any], depends: Callable[[Any], bool] | None = None,
        masks: Masks | None = None,
    ) -> None:  # fmt: skip
        self._reduce, self._masks = reduce, masks
        self._depends = depends or (lambda tensor: isinstance(tensor, torch.Tensor))
        self._kept: list[_Unit] = []
        self._seen: dict[int, tuple[weakref.ref[torch.Tensor], int, Any]] = {}
        self.rules: Rules = {
            function: rule
            for functions, rule in (
                (_CARRIERS, self._carry),
                (_ACTIVATIONS, self._activation),
                (_GATES, self._sigmoid),
                (_CLAMPS, self._clamp),
                (_CLAMPS_BELOW, self._clamp),
                (_MAXIMA, self._maximum),
                (_THRESHOLDS, self._threshold),
                (_COMPARISONS, self._comparison),
                (_CHOICES, self._choice),
                (_FILLS, self._fill),
                (_PRODUCTS, self._product),
            )
            for function in functions
        }

    # What is a unit.

    def _activation(self, call: Function, input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return self._record(input, lambda: call(input, *args, **kwargs))

    def _sigmoid(self, call: Function, input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = self._record(input, lambda: call(input, *args, **kwargs))
        if self._kept and self._depends(input):
            setattr(output, _GATE, (*getattr(output, _GATE, ()), self._kept[-1]))  # of each observer its own
            setattr(output, _SIGN, (weakref.ref(input), input._version))
        return output

    def _clamp(self, call: Function, input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        low = args[0] if args else kwargs.get("min")
        if not _is_zero(low):
            return call(input, *args, **kwargs)
        return self._record(input, lambda: call(input, *args, **kwargs))

    def _maximum(self, call: Function, input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        other = args[0] if args else kwargs.get("other")
        source = input if isinstance(other, torch.Tensor) and _is_zero(other) else None
        if source is None and isinstance(other, torch.Tensor) and _is_zero(input):
            source = other
        if source is None:
            return call(input, *args, **kwargs)
        return self._record(source, lambda: call(input, *args, **kwargs))

    def _threshold(self, call: Function, input: torch.Tensor, threshold: float, *args: Any, **kwargs: Any) -> Any:
        if threshold != 0:
            return call(input, threshold, *args, **kwargs)
        return self._record(input, lambda: call(input, threshold, *args, **kwargs))

    def _comparison(self, call: Function, input: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = call(input, *args, **kwargs)
        other = args[0] if args else kwargs.get("other")
        if isinstance(output, torch.Tensor) and isinstance(input, torch.Tensor) and (other is None or _is_zero(other)):
            setattr(output, _SIGN, (weakref.ref(input), input._version))
        return output

    def _choice(self, call: Function, first: Any, *args: Any, **kwargs: Any) -> Any:
        source = self._source(first if _is_mask(first) or not args else args[0])  # as a method it comes second
        if source is None or not any(value is source for value in (first, *args, *kwargs.values())):
            return call(first, *args, **kwargs)
        return self._record(source, lambda: call(first, *args, **kwargs))

    def _fill(self, call: Function, input: torch.Tensor, mask: Any, *args: Any, **kwargs: Any) -> Any:
        if self._source(mask) is not input:
            return call(input, mask, *args, **kwargs)
        return self._record(input, lambda: call(input, mask, *args, **kwargs))

    def _product(self, call: Function, input: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        for mask, factor in ((input, other), (other, input)):
            if isinstance(factor, torch.Tensor):
                if self._depends(factor):
                    for gate in getattr(mask, _GATE, ()):
                        gate.gate = True  # it multiplies something: as a unit of its own it does not count
                if self._source(mask) is factor:
                    return self._record(factor, lambda: call(input, other, *args, **kwargs))
        return call(input, other, *args, **kwargs)

    def _carry(self, call: Function, *args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        for source in args[:2]:
            for name in (_SIGN, _GATE):
                mark = getattr(source, name, None) if isinstance(source, torch.Tensor) else None
                if mark is not None:
                    for tensor in output if isinstance(output, list | tuple) else (output,):
                        setattr(tensor, name, mark)
        return output

    @staticmethod
    def _source(mask: Any) -> Any:
        """The tensor whose sign a mask tells, unless it has changed since."""
        reference, version = getattr(mask, _SIGN, (None, 0))
        source = reference() if reference is not None else None
        return source if source is not None and source._version == version else None

    # What is kept of it.

    def _record(self, source: torch.Tensor, call: Callable[[], Any]) -> Any:
        if not self._depends(source):
            return call()
        unit = _Unit(self._reduced(source))  # before the call, which may overwrite it
        output = call()
        unit.node = (source if output is None else output).grad_fn  # an assignment gives nothing back
        self._kept.append(unit)
        return output

    def _reduced(self, source: torch.Tensor) -> Any:
        """Reduce a code, or take it from before: several edges of a cell apply ReLU to the same node."""
        known = self._seen.get(id(source))
        if known and known[0]() is source and known[1] == source._version:
            return known[2]
        with torch.no_grad():
            inputs = _as_matrix(by_image(source))
            kept = inputs if self._masks is None else inputs * _as_matrix(by_image(self._masks.of(source)))
            value = self._reduce(kept)
        self._seen[id(source)] = weakref.ref(source), source._version, value
        return value

    def reaching(self, output: torch.Tensor, dead_branches: bool = False) -> list[Any]:
        """What was kept of those units that the output depends on, or of all, in the order they ran."""
        kept = [unit for unit in self._kept if not unit.gate]
        if dead_branches or output.grad_fn is None:
            return [unit.value for unit in kept]
        reached = reached_nodes(output)
        return [unit.value for unit in kept if unit.node is None or unit.node in reached]


class Masks(UnitObserver):
    """Sets a share of what activation functions give to 0, drawn anew for each of its numbers.

    Args:
        share: of the numbers.
        generator: what they are drawn with.

    Example:
        >>> from trainless.passes.observers import Observer
        >>> images = torch.ones(8)
        >>> mark_batched(images, 0, 8)
        >>> with Observer(Masks(0.5, torch.Generator().manual_seed(0)).rules):
        ...     torch.clamp(images, min=0).tolist()
        [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__(lambda inputs: None, lambda tensor: batched(tensor) is not None)
        self._share, self._generator = share, generator
        self._drawn: dict[int, tuple[weakref.ref[torch.Tensor], int, torch.Tensor]] = {}

    def of(self, source: torch.Tensor) -> torch.Tensor:
        """The mask of what goes into an activation function: the same to all who ask, until it is written over."""
        known = self._drawn.get(id(source))
        if known and known[0]() is source and known[1] == source._version:
            return known[2]
        # In plain order and single precision, so that the layout and dtype of the pass change nothing.
        kept = torch.bernoulli(
            torch.full(source.shape, 1 - self._share, dtype=torch.float32), generator=self._generator
        )
        # A byte each, and no longer than what they belong to: there are as many as all activations together.
        mask = torch.empty_like(source, dtype=torch.bool, requires_grad=False).copy_(kept)
        _mark_as(mask, source)
        key = id(source)
        self._drawn[key] = weakref.ref(source, lambda _: self._drawn.pop(key, None)), source._version, mask
        return mask

    def _record(self, source: torch.Tensor, call: Callable[[], Any]) -> Any:
        if not self._depends(source):
            return call()
        mask, output = self.of(source), call()
        if output is None or output is source:  # written over in place
            source.mul_(mask)
            return output
        masked = output * mask
        _mark_as(masked, source)
        return masked


def _mark_as(tensor: torch.Tensor, source: torch.Tensor) -> None:
    mark = batched(source)
    if mark is not None:
        mark_batched(tensor, mark.dim, mark.images)


def _is_zero(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() > 0 and not bool(value.detach().any())
    return isinstance(value, int | float) and value == 0


def _is_mask(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.bool


def _as_matrix(tensor: torch.Tensor) -> torch.Tensor:
    """One row an image; in the order of memory, so that channels-last activations are not copied."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]


def agreement(inputs: torch.Tensor) -> torch.Tensor:
    """Count the units on which each pair of images agrees, as an exact float64 matrix.

    The bits in which two packed codes differ are counted: a third of the time of a product of zeros and ones.
    """
    bits = packed(inputs)
    words = np.ascontiguousarray(np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))).view(np.uint64)
    differing = np.zeros((len(bits), len(bits)), np.int64)
    for start in range(0, words.shape[1], _WORDS):
        piece = words[:, start : start + _WORDS]
        for row in range(0, len(piece), _ROWS):
            both = piece[row : row + _ROWS, None] ^ piece[None, row:]
            differing[row : row + _ROWS, row:] += np.bitwise_count(both).sum(2, dtype=np.int64)
    differing = np.triu(differing) + np.triu(differing, 1).T
    return torch.from_numpy(float(inputs.shape[1]) - differing).to(inputs.device)


# At once, so that what is counted stays in a core's cache.
_ROWS, _WORDS = 8, 256


def _codes(inputs: torch.Tensor) -> np.ndarray:
    """Which numbers are above zero, shape as `inputs`; NumPy compares several times as fast as PyTorch."""
    if inputs.device.type == "cpu" and inputs.dtype in (torch.float32, torch.float64):
        above: np.ndarray = inputs.detach().numpy() > 0
        return above
    return (inputs > 0).cpu().numpy()


def packed(inputs: torch.Tensor) -> np.ndarray:
    """Pack the codes into bits, shape (images, bytes)."""
    return np.packbits(_codes(inputs), axis=1)


def distinct_patterns(inputs: torch.Tensor) -> np.ndarray:
    """Find the distinct patterns of the images that turn a unit on: words of 64 images, shape (patterns, words).

    Example:
        >>> distinct_patterns(torch.tensor([[1.0, -1.0, 2.0], [-1.0, 1.0, -1.0]])).shape
        (2, 1)
    """
    bits = np.packbits(_codes(inputs), axis=0)  # (bytes, units)
    words = np.zeros((bits.shape[1], -(-len(bits) // 8) * 8), np.uint8)
    words[:, : len(bits)] = bits.T
    return distinct_rows(words.view(np.uint64))


def distinct_rows(words: np.ndarray) -> np.ndarray:
    """Keep each row once; a single column is sorted as numbers, which takes a small part of the time."""
    return np.unique(words)[:, None] if words.shape[1] == 1 else np.unique(words, axis=0)
