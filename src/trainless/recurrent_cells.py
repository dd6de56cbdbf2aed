"""Recurrent cells as graphs: which there are, which are the same, and what is one change away from one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

__all__ = [
    "ACTIVATIONS",
    "ARITIES",
    "CURRENT",
    "MOST_STATES",
    "MOST_STEPS",
    "RecurrentCell",
    "Step",
    "changes",
    "checked",
    "ordered",
    "previous",
    "pruned",
    "state",
]

CURRENT = "x"  # what a layer reads at a step of time
ACTIVATIONS = ("activation_tanh", "activation_sigm", "activation_leaky_relu")
ARITIES: Mapping[str, tuple[int, ...]] = {
    "linear": (2, 3), **dict.fromkeys(ACTIVATIONS, (1,)), "elementwise_sum": (2,), "elementwise_prod": (2,),
    "blend": (3,),
}  # fmt: skip
"""How many values an operation reads."""

MOST_STATES, MOST_STEPS = 3, 24


class Step(NamedTuple):
    """One operation of a cell.

    Args:
        operation: key of `ARITIES`.
        inputs: the values that it reads: names of other steps, ``"x"``, or states of the time before.

    Example:
        >>> Step("linear", ("x", "h_prev_0")).inputs
        ('x', 'h_prev_0')
    """

    operation: str
    inputs: tuple[str, ...]


class RecurrentCell(NamedTuple):
    """What a recurrent layer computes at each step of time.

    Args:
        steps: its operations by name, in an order in which each follows what it reads; and, of the same steps
        states: the names of those whose results the next step of time reads; the first is what the layer gives.

    Example:
        >>> steps = (("f", Step("linear", ("x", "h_prev_0"))), ("g", Step(ACTIVATIONS[0], ("f",))))
        >>> ordered(RecurrentCell(steps, ("g",))).states
        ('h_new_0',)
    """

    steps: tuple[tuple[str, Step], ...]
    states: tuple[str, ...]


def state(number: int) -> str:
    """Name a state as it is given: ``h_new_0``."""
    return f"h_new_{number}"


def previous(number: int) -> str:
    """Name a state as the time before gave it: ``h_prev_0``."""
    return f"h_prev_{number}"


def checked(cell: RecurrentCell) -> RecurrentCell:
    """Give a cell back with its steps in an order in which they can run, if it is one.

    Raises:
        ValueError: the message tells what is wrong with it.

    Example:
        >>> checked(RecurrentCell((("f", Step("blend", ("x", "h_prev_0"))),), ("f",)))
        Traceback (most recent call last):
            ...
        ValueError: 'f' is blend of 2 values, where it takes 3
    """
    steps, states = dict(cell.steps), cell.states
    if not 1 <= len(states) <= MOST_STATES:
        raise ValueError(f"it has {len(states)} states, where 1 to {MOST_STATES} are meant")
    if len(steps) > MOST_STEPS:
        raise ValueError(f"it has {len(steps)} operations, where {MOST_STEPS} are the most")
    outside = {CURRENT, *map(previous, range(len(states)))}
    taken = next((name for name in steps if name in outside), None)
    if taken is not None:
        raise ValueError(f"'{taken}' is an input, and can be no operation")
    known = {*outside, *steps}
    for name, (operation, inputs) in steps.items():
        if operation not in ARITIES:
            raise ValueError(f"'{operation}' is no operation; there are {', '.join(ARITIES)}")
        if len(inputs) not in ARITIES[operation]:
            expected = " or ".join(map(str, ARITIES[operation]))
            raise ValueError(f"'{name}' is {operation} of {len(inputs)} values, where it takes {expected}")
        if CURRENT in inputs and operation != "linear":
            raise ValueError(f"'{name}' is {operation} of x, which is of another width: linear maps alone read it")
        if len(set(inputs)) < len(inputs):
            raise ValueError(f"'{name}' reads a value twice")
        strange = next((read for read in inputs if read not in known), None)
        if strange is not None:
            raise ValueError(f"'{name}' reads '{strange}', which nothing gives")
    if len(set(states)) < len(states) or not set(states) <= set(steps):
        raise ValueError("its states are not the results of as many operations")
    if pruned(cell) != cell:
        raise ValueError("one of its inputs or operations leads to no state")
    try:
        order = list(TopologicalSorter({name: step.inputs for name, step in steps.items()}).static_order())
    except CycleError:
        raise ValueError("an operation reads its own result") from None
    return RecurrentCell(tuple((name, steps[name]) for name in order if name in steps), states)


def pruned(cell: RecurrentCell) -> RecurrentCell | None:
    """Leave out the operations that lead to no state; None where one of the inputs leads to none.

    Example:
        >>> gate = Step(ACTIVATIONS[1], ("x",))
        >>> cell = RecurrentCell((("f", Step("linear", ("x", "h_prev_0"))), ("g", gate)), ("f",))
        >>> [name for name, _ in pruned(cell).steps]
        ['f']
    """
    steps = dict(cell.steps)
    needed: set[str] = set()
    waiting = list(cell.states)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += steps[name].inputs if name in steps else ()
    if not {CURRENT, *map(previous, range(len(cell.states)))} <= needed:
        return None
    return RecurrentCell(tuple((name, step) for name, step in cell.steps if name in needed), cell.states)


@lru_cache(maxsize=1 << 14)
def ordered(cell: RecurrentCell) -> RecurrentCell:
    """Give the one representative of all cells that compute the same: names, and orders that make no difference.

    Which state follows the first makes no difference, nor does the order in which values are added, multiplied or
    mapped together.

    Example:
        >>> steps = (("f", Step("linear", ("h_prev_0", "x"))), ("g", Step(ACTIVATIONS[0], ("f",))))
        >>> ordered(RecurrentCell(steps, ("g",))).steps[0]
        ('node_0', Step(operation='linear', inputs=('x', 'h_prev_0')))
    """
    steps, rank = dict(cell.steps), _ranks(cell)
    numbers = sorted(range(1, len(cell.states)), key=lambda number: rank[previous(number)])
    states = [cell.states[0], *(cell.states[number] for number in numbers)]
    named = {CURRENT: CURRENT, previous(0): previous(0)}
    named |= {previous(number): previous(position) for position, number in enumerate(numbers, 1)}
    position = {value: number for number, value in enumerate(named)}
    made: list[tuple[str, Step]] = []
    waiting = set(steps)
    while waiting:
        ready = [name for name in waiting if not waiting & set(steps[name].inputs)]
        chosen = min(ready, key=rank.__getitem__)
        operation, inputs = steps[chosen]
        read = inputs if operation == "blend" else tuple(sorted(inputs, key=position.__getitem__))
        position[chosen] = len(position)
        inner = sum(1 for name, _ in made if name.startswith("node"))
        named[chosen] = state(states.index(chosen)) if chosen in states else f"node_{inner}"
        made.append((named[chosen], Step(operation, tuple(map(named.__getitem__, read)))))
        waiting.remove(chosen)
    return RecurrentCell(tuple(made), tuple(map(state, range(len(states)))))


def _ranks(cell: RecurrentCell) -> dict[str, int]:
    """A number for each value that tells it from all others, by what it is made of and what is made of it alone.

    Colours are refined until they stay; of values that cannot be told apart, which are then symmetric, one is taken.
    """
    steps = dict(cell.steps)
    values = [CURRENT, *map(previous, range(len(cell.states))), *steps]
    readers: dict[str, list[tuple[str, int]]] = {value: [] for value in values}
    for name, (operation, inputs) in steps.items():
        for position, read in enumerate(inputs):
            readers[read].append((name, position if operation == "blend" else 0))
    after = dict(zip(cell.states, map(previous, range(len(cell.states))), strict=True))
    before = {later: name for name, later in after.items()}
    kinds = {value: steps[value].operation if value in steps else value for value in values}
    kinds |= {previous(number): "h" for number in range(1, len(cell.states))}
    rank = _numbered(kinds)
    while True:
        while True:
            finer = _numbered({value: _signature(value, rank, steps, readers, after, before) for value in values})
            if len(set(finer.values())) == len(set(rank.values())):
                break
            rank = finer
        tied = [value for value in values if list(rank.values()).count(rank[value]) > 1]
        if not tied:
            return rank
        single = min(tied, key=rank.__getitem__)
        rank = _numbered({value: (2 * own - (value == single),) for value, own in rank.items()})


def _signature(
    value: str, rank: Mapping[str, int], steps: Mapping[str, Step], readers: Mapping[str, Sequence[tuple[str, int]]],
    after: Mapping[str, str], before: Mapping[str, str],
) -> tuple[object, ...]:  # fmt: skip
    operation, inputs = steps.get(value, Step("", ()))
    read = [rank[name] for name in inputs]
    return (
        rank[value],
        tuple(read if operation == "blend" else sorted(read)),
        tuple(sorted((rank[name], position) for name, position in readers[value])),
        rank[after[value]] if value in after else -1,
        rank[before[value]] if value in before else -1,
    )


def _numbered(keys: Mapping[str, object]) -> dict[str, int]:
    numbers = {key: number for number, key in enumerate(sorted(set(keys.values())))}  # type: ignore[type-var]
    return {value: numbers[key] for value, key in keys.items()}


# What is one change away.


def changes(cell: RecurrentCell) -> Iterator[RecurrentCell]:
    """Give the cells with one operation, one value that is read, or one activation more or less; some may be no cells.

    Where a value is read or kept as a state, another may be; a linear map may read one value more or less; and an
    activation that one operation reads, or that is kept as a state alone, may come or go.

    Example:
        >>> steps = (("f", Step("linear", ("x", "h_prev_0"))), ("g", Step(ACTIVATIONS[0], ("f",))))
        >>> len(list(changes(RecurrentCell(steps, ("g",)))))
        27
    """
    steps = dict(cell.steps)
    values = [CURRENT, *map(previous, range(len(cell.states))), *steps]
    for name, (operation, inputs) in steps.items():
        for other in ARITIES:
            if other != operation and len(inputs) in ARITIES[other]:
                # The order of its inputs comes to count.
                orders = itertools.permutations(inputs) if other == "blend" else [inputs]
                yield from (_with(cell, name, Step(other, read)) for read in orders)
        others = [value for value in values if value not in inputs]
        for position, own in enumerate(inputs):
            yield from (_with(cell, name, Step(operation, _put(inputs, position, value))) for value in others)
            if operation == "linear" and len(inputs) > min(ARITIES["linear"]):
                yield _with(cell, name, Step(operation, inputs[:position] + inputs[position + 1 :]))
            for activation in ACTIVATIONS:
                longer = RecurrentCell((*cell.steps, (_NEW, Step(activation, (own,)))), cell.states)
                yield _with(longer, name, Step(operation, _put(inputs, position, _NEW)))
        if operation == "blend":
            a, b, c = inputs
            yield from (_with(cell, name, Step(operation, read)) for read in ((a, c, b), (b, a, c), (c, b, a)))
        if operation == "linear" and len(inputs) < max(ARITIES["linear"]):
            yield from (_with(cell, name, Step(operation, (*inputs, value))) for value in others)
        if operation in ACTIVATIONS:
            yield from _without(cell, name)
    for number, own in enumerate(cell.states):
        yield from (cell._replace(states=_put(cell.states, number, name)) for name in steps if name not in cell.states)
        for activation in ACTIVATIONS:
            steps_and_new = (*cell.steps, (_NEW, Step(activation, (own,))))
            yield RecurrentCell(steps_and_new, _put(cell.states, number, _NEW))


_NEW = "new"


def _put(values: tuple[str, ...], position: int, value: str) -> tuple[str, ...]:
    return (*values[:position], value, *values[position + 1 :])


def _with(cell: RecurrentCell, name: str, step: Step) -> RecurrentCell:
    return cell._replace(steps=tuple((own, step if own == name else other) for own, other in cell.steps))


def _without(cell: RecurrentCell, name: str) -> Iterator[RecurrentCell]:
    """The cell without an activation that is used once: what it reads takes its position."""
    steps = dict(cell.steps)
    (read,) = steps[name].inputs
    uses = [user for user, step in steps.items() if name in step.inputs]
    if len(uses) + (name in cell.states) != 1:
        return
    rest = tuple((own, step) for own, step in cell.steps if own != name)
    if uses:
        (user,) = uses
        inputs = steps[user].inputs
        yield _with(
            cell._replace(steps=rest), user, Step(steps[user].operation, _put(inputs, inputs.index(name), read))
        )
    else:
        yield RecurrentCell(rest, _put(cell.states, cell.states.index(name), read))
