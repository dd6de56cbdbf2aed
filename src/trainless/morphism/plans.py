"""What has to be done to the layers of two networks, one larger than the other, so that both compute the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from trainless.errors import InputError
from trainless.morphism.channels import Group, Value, united
from trainless.morphism.elements import Element, Item, item_fits, matched
from trainless.morphism.layers import BatchNorm, Identity, Map, Normalisation, Rescaled, Step, Weighted, Whole
from trainless.operations import Cut, Divide, GlobalMaxPool, ReductionBlock, SqueezeExcite, Whitening
from trainless.search_spaces.nodes import EARLIER, INPUT, OUTPUT, Node

__all__ = ["Plan"]

_POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, GlobalMaxPool)
# Of these a multiple of what they read is the same multiple of what they give.
_HOMOGENEOUS = (*_POOLINGS, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.Flatten, Divide)
_KEEP_SIGN = (*_POOLINGS, nn.Identity, nn.Flatten, Divide)
# These are 0 at 0 and rise there: what ends in one of them learns although it starts as 0. ReLU does not.
_RISING = (nn.SiLU, nn.GELU, nn.Tanh, nn.ELU, nn.Identity)
_FREE, _ZERO, _IDENTITY = "free", "zero", "identity"
_EACH = "each channel"


class Plan:
    """The steps by which a smaller network becomes a larger one, or the other way round.

    Args:
        exact: whether the larger network has to compute what the smaller one does; otherwise what only the larger one
            has is not there for the smaller one.

    Example:
        >>> from trainless.morphism.elements import Built
        >>> from trainless.search_spaces.blueprint import Draft
        >>> from trainless.types import Task
        >>> found = []
        >>> for channels in (4, 6):
        ...     draft = Draft(Task("toy", 2))
        ...     draft.add("features.0", "conv_bn_relu", channels, kernel=3)
        ...     draft.classify(2)
        ...     found.append(Built.of(draft.blueprint()))
        >>> plan = Plan(exact=True)
        >>> plan.network(*(built.elements for built in found))
        >>> [type(step).__name__ for step in plan.steps]
        ['Map', 'Normalisation', 'Map']
    """

    def __init__(self, *, exact: bool) -> None:
        self.exact = exact
        self.steps: list[Step] = []

    # Sequences.

    def network(self, small: Sequence[Element], large: Sequence[Element]) -> None:
        """Plan two networks.

        Raises:
            InputError: it cannot be done; the message says why.
        """
        try:
            self._network(small, large)
        except InputError as error:
            advice = "can_morph tells it beforehand" if self.exact else "choose what is smaller in all its parts"
            raise InputError(f"{str(error).removesuffix('.')}: {advice}, and inherit takes over what fits.") from error

    def _network(self, small: Sequence[Element], large: Sequence[Element]) -> None:
        reads = [elements[0].reads.inputs for elements in (small, large)]
        if reads[0] != reads[1]:
            raise InputError(f"The networks read images of {reads[0]} and {reads[1]} channels, expected the same.")
        value = self._sequence(small, large, Value((Group(*reads),)))
        if value.small != value.large or value.scale != 1:
            raise InputError(f"The networks give {value.small} and {value.large} outputs, expected the same of both.")

    def _sequence(self, small: Sequence[Element], large: Sequence[Element], value: Value) -> Value:
        pairs = matched(small, large, exact=self.exact)
        if pairs is None:
            raise InputError(
                f"In '{large[0][0].path}' and what follows, not all operations of the smaller network have a "
                "larger counterpart in the same order, with what is new between them able to hand on what it reads."
            )
        earlier: Value | None = None
        for old, new in pairs:
            if self.exact and new.reads_earlier and len(small) < len(large):
                raise InputError(f"The module '{new[0].path}' reads what the one before reads, which would be another.")
            before, value = value, self._element(old, new, value, earlier or value)
            earlier = before if new.reads_earlier else None
        return value

    def _element(self, old: Element | None, new: Element, value: Value, earlier: Value) -> Value:
        if old is None:
            return self._graft(new, value) if self.exact else _dropped(new.gives, value)
        if len(new) == 1:
            return self._item(old[0], new[0], value)
        if new.is_shortcut:
            body = self._sequence(old.body, new.body, value)
            return self._sum([(value, None), (body, new[-1])], new[0].path)
        return self._cell(old, new, {INPUT: value, EARLIER: earlier})

    def _item(self, old: Item, new: Item, value: Value) -> Value:
        name = new.path
        if old.node.operation != new.node.operation:
            return self._handed_on(new.module, value, name) if self.exact else _dropped(new.node, value)
        gives = self._carried(old.module, new.module, value, name)
        channels = old.node.channels, new.node.channels
        if (gives.small, gives.large) == channels or gives.is_fresh or new.node.is_joined:
            return gives
        if channels[0] != channels[1] or not gives.is_same:
            raise InputError(f"The module '{name}' reads channels that it would not have in the same order.")
        return gives._replace(groups=(Group(*channels),))

    # Graphs.

    def _cell(self, old: Element, new: Element, values: dict[str, Value]) -> Value:
        """Plan two cells, whose values have the same names."""
        name, zeros = new[0].path, _zeros(old)
        for target in _targets((*new, *old)):
            if any(item.node.is_joined for item in _terms(new, target)):
                values[target] = self._joined(_terms(old, target), _terms(new, target), values)
                continue
            terms, added, rest = list[tuple[Value, Item | None]](), list[Item](), _terms(old, target)
            for item in _terms(new, target):
                twin = next((known for known in rest if _is_twin(known, item, self.exact)), None)
                if twin is None:
                    added.append(item)
                    continue
                rest.remove(twin)
                terms.append((self._item(twin, item, values[item.node.source]), item))
            lost = [item for item in rest if not (_keeps_zero(item.module) and item.node.source in zeros)]
            if lost:
                raise InputError(f"In '{name}' {_said(lost[0])} would be lost, and with it what it adds.")
            channels = next((item.node.channels for item in new if item.node.target == target), 0)
            if self.exact and target in zeros and added and target != OUTPUT and _convolves(new, target):
                # So it is something: of 0 the ReLU of what reads it would hand back no gradient.
                values[target] = Value((Group(0, channels),), is_fresh=True)
            else:
                for item in added:
                    self._silenced(item, values[item.node.source])
                present = [term for term in terms if not term[0].is_zero]
                count = next((item.node.channels for item in old if item.node.target == target), channels)
                nothing = Value((Group(count, channels),), is_zero=True, is_positive=True)
                values[target] = self._sum(present, name) if present else nothing
        return values[OUTPUT]

    def _joined(self, olds: list[Item], news: list[Item], values: Mapping[str, Value]) -> Value:
        """Plan what is concatenated, in its order, by operations that keep their channels."""
        groups: list[Group] = []
        for item in news:
            if olds and _is_twin(olds[0], item, self.exact):
                groups += self._item(olds.pop(0), item, values[item.node.source]).groups
            else:
                groups.append(Group(0, item.node.inputs))
        if olds:
            raise InputError(f"In '{olds[0].path}' {_said(olds[0])} would be lost, or be joined in another order.")
        return Value(tuple(groups))

    def _silenced(self, item: Item, reads: Value) -> None:
        """Let a new term add nothing."""
        if not self.exact or (_keeps_zero(item.module) and reads.is_zero):
            return
        last = _last_layer(item.module, _RISING)
        if last is None:
            raise InputError(f"In '{item.path}' {_said(item)} would be new, and cannot start as nothing.")
        self.steps.append(Rescaled(last, 0.0))

    def _sum(self, terms: Sequence[tuple[Value, Item | None]], name: str) -> Value:
        """Add values up, of which those with weights are scaled as those without are."""
        plain = {value.scale for value, item in terms if item is None or _is_plain(item.module)}
        scale = max(plain, default=1.0)
        if len(plain) > 1:
            raise InputError(f"In '{name}' values would be added up that are scaled by different factors.")
        values = []
        for value, item in terms:
            if value.scale != scale:
                assert item is not None
                self._rescale(item.module, scale / value.scale, name)
            values.append(value._replace(scale=scale))
        return united(values, name)

    def _rescale(self, module: nn.Module, factor: float, name: str) -> None:
        last = _last_layer(module, _HOMOGENEOUS)
        if last is None:
            raise InputError(f"In '{name}' what is added up cannot be scaled by {factor:g}, as the rest is.")
        self.steps.append(Rescaled(last, factor))

    def _graft(self, new: Element, value: Value) -> Value:
        """Let a new element hand on what it reads."""
        if len(new) == 1:
            return self._handed_on(new[0].module, value, new[0].path)
        inner = _targets(new)[:-1]
        done = len(self.steps)
        # What need be nothing in particular stays as it was drawn, and learns at once.
        for states in itertools.product((_FREE, _ZERO, _IDENTITY), repeat=len(inner)):
            try:
                return self._trial(new, dict(zip(inner, states, strict=True)), value)
            except InputError:
                del self.steps[done:]
        raise InputError(f"The module '{new[0].path}' would be new, and cannot start by handing on what it reads.")

    def _trial(self, new: Element, states: Mapping[str, str], value: Value) -> Value:
        values = {INPUT: value}  # of what is free nothing is known
        for target in _targets(new):
            if (state := states.get(target, _IDENTITY)) != _FREE:
                values[target] = self._grafted(new, target, state, values)
        return values[OUTPUT]

    def _grafted(self, new: Element, target: str, state: str, values: Mapping[str, Value]) -> Value:
        """Let a value of a new module be what the module reads, or 0."""
        name, carried, quiet = new[0].path, list[Value](), list[Item]()
        for item in _terms(new, target):
            source = values.get(item.node.source)
            if not _is_plain(item.module) and _last_layer(item.module, _RISING) is not None:
                quiet.append(item)
            elif source is None:
                raise InputError(f"In '{name}' {_said(item)} adds what is not known.")
            elif not (source.is_zero and _keeps_zero(item.module)):
                carried.append(self._handed_on(item.module, source, name))
        if state == _IDENTITY and not carried:
            carrier = next((item for item in quiet if item.node.source in values), None)
            if carrier is None:
                raise InputError(f"In '{name}' nothing hands on what is read.")
            quiet.remove(carrier)
            carried.append(self._handed_on(carrier.module, values[carrier.node.source], name))
        for item in quiet:
            self._silenced(item, values[INPUT])
        if (state == _ZERO) == bool(carried):
            raise InputError(f"In '{name}' a value would not be {state}.")
        if not carried:
            return values[INPUT]._replace(is_zero=True)
        total = united(carried, name)
        if len(carried) == 1:
            return total
        return total._replace(scale=sum(value.scale for value in carried), norms=())

    # Modules.

    def _carried(self, small: Any, large: Any, value: Value, name: str) -> Value:
        """Let a module of the larger network do what that of the smaller one does."""
        if type(small) is not type(large):
            raise InputError(f"The module '{name}' would be another: {_kind(large)} in place of {_kind(small)}.")
        if isinstance(small, Weighted):
            return self._mapped(small, large, value, name)
        if isinstance(small, BatchNorm):
            return self._normalised(small, large, value, name)
        if isinstance(small, nn.Sequential):
            return self._chained(list(small), list(large), value, name)
        if isinstance(small, Whitening):
            return self._carried(small.convolution, large.convolution, value, name)
        if isinstance(small, SqueezeExcite):
            gate = self._carried(small.gate, large.gate, value, name)
            return united([value, gate], name)._replace(is_positive=value.is_positive, norms=())
        if isinstance(small, ReductionBlock):
            ways = [self._carried(*pair, value, name) for pair in
                    ((small.shortcut, large.shortcut), (small.main, large.main))]  # fmt: skip
            return united(ways, name)
        if _is_plain(small):
            return self._passed(small, large, value, name)
        return self._copied(small, large, value, name)

    def _chained(self, smalls: list[nn.Module], larges: list[nn.Module], value: Value, name: str) -> Value:
        """Plan modules one after another, of which a squeeze-excite may be new."""
        for large in larges:
            if smalls and type(smalls[0]) is type(large):
                value = self._carried(smalls.pop(0), large, value, name)
            elif isinstance(large, SqueezeExcite):
                if self.exact:
                    # A gate whose last weights are 0 is a half, whatever it reads.
                    last = _last_layer(large.gate[:-1], ())
                    assert last is not None
                    self.steps.append(Rescaled(last, 0.0))
                    value = value._replace(scale=value.scale / 2, norms=())
            else:
                raise InputError(f"The module '{name}' has {_kind(large)} where the smaller network has none.")
        if smalls:
            raise InputError(f"The module '{name}' would lose its {_kind(smalls[0])}.")
        return value

    def _mapped(self, small: Weighted, large: Weighted, value: Value, name: str) -> Value:
        kinds = _groupings(small) & _groupings(large)
        if kinds.isdisjoint({_EACH, 1}):
            return self._copied(small, large, value, name)
        if _settings(small) != _settings(large):
            raise InputError(f"The convolution of '{name}' would step or pad in another way, or have a bias or none.")
        is_read = _is_depthwise(large) or (small.weight.shape[1], large.weight.shape[1]) == (value.small, value.large)
        if not is_read and not value.is_fresh:
            raise InputError(f"The module '{name}' reads channels that it would not have in the same order.")
        if any(own > wanted for own, wanted in zip(small.weight.shape, large.weight.shape, strict=True)):
            raise InputError(f"The module '{name}' would have fewer weights than it has.")
        if _is_depthwise(large):
            if value.is_fresh and small.bias is not None:
                raise InputError(f"The convolution of '{name}' has a bias, and reads what would be 0 no more.")
            is_zero = value.is_zero and small.bias is None
            gives = value._replace(scale=1.0, is_positive=False, is_zero=is_zero, norms=())
        else:
            group = Group(small.weight.shape[0], large.weight.shape[0])
            gives = Value((group,), is_zero=value.is_zero and small.bias is None)
        self.steps.append(Map(small, large, value, gives))
        return gives

    def _normalised(self, small: BatchNorm, large: BatchNorm, value: Value, name: str) -> Value:
        if (small.affine, small.eps) != (large.affine, large.eps):
            raise InputError(f"The normalisation of '{name}' would have another epsilon, or gains where it has none.")
        is_read = (small.num_features, large.num_features) == (value.small, value.large)
        if not is_read or value.scale < 1:
            raise InputError(f"The normalisation of '{name}' reads what would not be what it was.")
        self.steps.append(Normalisation(small, large, value))
        return Value(value.groups, norms=((large, False),) if large.affine else ())

    def _passed(self, small: nn.Module, large: Any, value: Value, name: str) -> Value:
        """What has no weights does the same to each channel."""
        if str(small) != str(large):
            raise InputError(f"The module '{name}' would be {large} in place of {small}.")
        if isinstance(small, Cut):
            if small.channels != large.channels or not value.is_same:
                raise InputError(f"The module '{name}' would cut off other channels.")
            return value._replace(groups=(Group(small.channels, small.channels),), norms=())
        if value.scale != 1 and not isinstance(small, _HOMOGENEOUS):
            raise InputError(f"In '{name}' {_kind(small)} reads what would be scaled by {value.scale:g}.")
        rectified = tuple((norm, True) for norm, _ in value.norms) if len(value.norms) == 1 else ()
        return value._replace(
            is_positive=isinstance(small, nn.ReLU | nn.Sigmoid)
            or (value.is_positive and isinstance(small, _KEEP_SIGN)),
            is_zero=value.is_zero and _keeps_zero(small),
            norms=value.norms if isinstance(small, _KEEP_SIGN) else rectified if isinstance(small, nn.ReLU) else (),
        )

    def _copied(self, small: nn.Module, large: nn.Module, value: Value, name: str) -> Value:
        """What is of another kind stays as large as it is."""
        shapes = [{key: tensor.shape for key, tensor in module.state_dict().items()} for module in (small, large)]
        if shapes[0] != shapes[1] or not value.is_same or value.is_fresh or value.scale != 1:
            raise InputError(f"The module '{name}' is {_kind(small)}, of which no larger one does the same.")
        self.steps.append(Whole(small, large))
        return Value(value.groups)

    def _handed_on(self, module: nn.Module, value: Value, name: str) -> Value:
        """Let a module of the larger network hand on what it reads."""
        if isinstance(module, nn.Sequential):
            for layer in module:
                value = self._handed_on(layer, value, name)
            return value
        if isinstance(module, nn.Identity) or (isinstance(module, nn.ReLU) and value.is_positive):
            return value
        gives = value
        if isinstance(module, Weighted):
            new = 0 if _is_depthwise(module) else module.weight.shape[0] - value.large
            is_grouped = _groupings(module).isdisjoint({_EACH, 1})
            if new < 0 or is_grouped or not _settings(module).items() >= {"stride": (1, 1), "offset": (0, 0)}.items():
                raise InputError(f"The convolution of '{name}' would be new, and cannot hand on what it reads.")
            groups = value.groups
            if new:
                first, *others = value.groups
                groups = (*groups, Group(0, new)) if others else (Group(first.small, first.large + new),)
            gives = value._replace(groups=groups, scale=1.0, norms=value.norms if value.scale == 1 else ())
        elif not (isinstance(module, BatchNorm) and module.affine and value.scale == 1):
            raise InputError(f"In '{name}' {_kind(module)} would be new, and does not hand on what it reads.")
        self.steps.append(Identity(module, value))
        return gives


# Items.


def _targets(items: Sequence[Item]) -> list[str]:
    """The values that are made, in their order, the output last."""
    return [*dict.fromkeys(item.node.target for item in items if item.node.target != OUTPUT), OUTPUT]


def _terms(element: Element, target: str | None) -> list[Item]:
    """What is added up, or joined, to a value, or to any, as far as it reaches the output."""
    needed, found = {OUTPUT}, list[Item]()
    for item in reversed(element):
        if item.node.operation not in ("none", "zero") and item.node.target in needed:
            needed.add(item.node.source)
            found.append(item)
    return [item for item in reversed(found) if target in (None, item.node.target)]


def _is_twin(old: Item, new: Item, exact: bool) -> bool:
    return old.node.source == new.node.source and item_fits(old, new, exact)


def _zeros(element: Element) -> set[str]:
    """The values that are 0."""
    found: set[str] = set()
    for target in _targets(element):
        if all(_keeps_zero(item.module) and item.node.source in found for item in _terms(element, target)):
            found.add(target)
    return found


def _convolves(element: Element, source: str) -> bool:
    """Whether all that reads a value begins with a convolution, perhaps of its ReLU."""
    readers = [item for item in _terms(element, None) if item.node.source == source]
    firsts = [[layer for layer in item.module.modules() if next(layer.children(), None) is None] for item in readers]
    return all(isinstance(next((layer for layer in layers if not isinstance(layer, nn.ReLU)), None), nn.Conv2d)
               for layers in firsts)  # fmt: skip


def _said(item: Item) -> str:
    return f"'{item.node.label or item.node.operation}' from '{item.node.source}' to '{item.node.target}'"


def _dropped(node: Node, value: Value) -> Value:
    """What a node gave that the smaller network does not have: what it read, in as many channels as may be."""
    if node.channels < value.small:
        raise InputError(f"Without '{node.name}' there are {value.small} channels, where {node.channels} were made.")
    return value if node.channels == value.large else Value((Group(value.small, node.channels),))


# Modules.


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def _is_plain(module: nn.Module) -> bool:
    """Whether it has no weights."""
    return not module.state_dict()


def _keeps_zero(module: nn.Module) -> bool:
    return _is_plain(module) and not isinstance(module, nn.Sigmoid)


def _last_layer(module: nn.Module, passed: tuple[type[nn.Module], ...]) -> nn.Module | None:
    """The layer whose gains or weights scale what a module gives, behind which only some others may come."""
    if isinstance(module, nn.Sequential):
        last = next((layer for layer in reversed(module) if not isinstance(layer, passed)), None)
        return None if last is None else _last_layer(last, passed)
    is_affine = isinstance(module, Weighted) or (isinstance(module, BatchNorm) and module.affine)
    return module if is_affine else None


def _is_depthwise(layer: nn.Module) -> bool:
    return getattr(layer, "groups", 1) > 1


def _groupings(layer: Weighted) -> set[str | int]:
    """How channels are grouped: all together, each for itself, or by some number; one channel is the first two."""
    groups = getattr(layer, "groups", 1)
    is_each = layer.weight.shape[0] == groups and layer.weight.shape[1] == 1
    return {_EACH, groups} if is_each and groups == 1 else {_EACH} if is_each else {groups}


def _settings(layer: Weighted) -> dict[str, Any]:
    """What a kernel that grows leaves as it is."""
    if isinstance(layer, nn.Linear):
        return {"stride": (1, 1), "offset": (0, 0), "has_bias": layer.bias is not None}
    paddings: Any = layer.padding  # of which words are none here
    reach = [step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    return {
        "stride": layer.stride,
        "offset": tuple(2 * padding - pixels for padding, pixels in zip(paddings, reach, strict=True)),
        "parity": tuple(size % 2 for size in layer.kernel_size),
        "dilation": layer.dilation,
        "has_bias": layer.bias is not None,
    }
