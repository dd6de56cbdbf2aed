"""The search space of NAS-Bench-NLP (Klyuchnikov et al., IEEE Access 2022): recurrent cells of language models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from trainless.errors import ArchitectureError
from trainless.recurrent_cells import (
    ACTIVATIONS,
    ARITIES,
    CURRENT,
    MOST_STATES,
    MOST_STEPS,
    RecurrentCell,
    Step,
    changes,
    checked,
    ordered,
    previous,
    pruned,
    state,
)
from trainless.search_spaces.base import Edge, SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Draft, live_edges
from trainless.search_spaces.nodes import INPUT, OUTPUT
from trainless.types import Architecture, Task

__all__ = ["GRU", "LSTM", "RNN", "NASBenchNLP"]

RNN = "linear(x,h0)+h0=tanh(1)"
GRU = "linear(x,h0)+sigm(1)+linear(x,h0)+sigm(3)+prod(h0,2)+linear(x,5)+tanh(6)+h0=blend(4,h0,7)"
LSTM = (
    "linear(x,h0)+tanh(1)+linear(x,h0)+sigm(3)+linear(x,h0)+sigm(5)+linear(x,h0)+tanh(7)+prod(6,h1)+prod(2,4)"
    "+h1=sum(9,10)+tanh(11)+h0=prod(8,12)"
)

_EMBEDDING, _HIDDEN = 4, 6  # widths of the vectors of tokens, and of the states of all layers but the last
_MAIN, _WEIGHTS = ("linear", "blend", "elementwise_prod", "elementwise_sum"), (3, 1, 1, 1)
_INNER = 7  # operations that are drawn, besides activations
_STATES, _CHANCES = (1, 2, 3), (0.25, 0.5, 0.25)
_THREE = 0.2  # of the linear maps read three values
_CROSSINGS = 50
_SHORT = {name: name.removeprefix("activation_").removeprefix("elementwise_") for name in ARITIES}
_LONG = {short: operation for operation, short in _SHORT.items()}
_STEP = re.compile(r"(?:h(\d)=)?([a-z_]+)\(([a-z0-9,]+)\)")
_VALUE = re.compile(r"(h?)(\d+)|x")
_INDEX = re.compile(r"h_new_(\d+)")
_COMPACT = ("in", "activation_sigm", "activation_tanh", "activation_leaky_relu", "elementwise_sum", "elementwise_prod",
            "linear", "blend")  # fmt: skip


@dataclass(frozen=True)
class NASBenchNLP(SearchSpace):
    """NAS-Bench-NLP: language models whose recurrent layers have a cell that is a graph of operations.

    A cell reads the vector ``x`` of a step of time and its one to three states ``h_prev_0``, ... of the step before,
    and gives ``h_new_0``, ..., of which the first is what the layer gives. Its operations are linear maps of two or
    three values, three activations, sums, products, and blends ``a b + (1 - a) c``. Cells are written one operation
    after another, each with what it reads, ``x``, states, and operations by their numbers from 1, as in
    ``linear(x,h0)+h0=tanh(1)``; those that compute the same are one architecture. The benchmark's recipes, JSON of each
    operation's name, kind and inputs, and the compact form of NASLib are read too.

    What comes in are tokens, one-hot: channels tell which, and columns are steps of time (`trainless.data.load_data`
    makes such of text). A network puts vectors in the place of tokens, runs them through three layers, and classifies
    what the last gives at the last step, the next token, by the very vectors of the tokens where there are as many
    classes.

    Args:
        width: a hundredth of the 400 numbers of a vector and of the 600 of a state are four and six of it.
        layers: recurrent layers; the last has as many numbers in a state as a vector.

    Raises:
        InputError: the width or the number of layers is below 1.

    Example:
        >>> space, task = NASBenchNLP(), Task("ptb", classes=10_000, channels=10_000, height=1, width=35)
        >>> [space.parameters(space.parse(name), task) for name in ("rnn", "gru", "lstm")]
        [5731600, 9174800, 10896400]
    """

    name = "nasbench_nlp"
    noun = "cell"
    halves = ("width", 1)
    fixes_size = True
    named = MappingProxyType({"rnn": RNN, "gru": GRU, "lstm": LSTM})
    least: ClassVar[Mapping[str, int]] = MappingProxyType({"width": 1, "layers": 1})

    width: int = 100
    layers: int = 3

    # Architectures.

    def parse(self, text: str) -> Architecture:
        """Read a cell, a published recipe of one, NASLib's compact form, or ``rnn``, ``gru`` or ``lstm``.

        Raises:
            ArchitectureError: the string is no cell of the space; the message tells what is wrong.

        Example:
            >>> print(NASBenchNLP().parse('{"h_new_0": {"op": "linear", "input": ["h_prev_0", "x"]}}'))
            h0=linear(x,h0)
        """
        given = text.strip()
        try:
            return _architecture(_read(self.named.get(given, given)))
        except ValueError as error:
            raise ArchitectureError(
                f"'{given}' is no architecture of nasbench_nlp: {error}; a cell is written like '{RNN}'."
            ) from None

    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the architecture itself: cells that compute the same are one architecture."""
        return _architecture(self.cell_of(architecture))

    def cell_of(self, architecture: Architecture) -> RecurrentCell:
        """Give an architecture's cell.

        Raises:
            ArchitectureError: it is none of the space.

        Example:
            >>> len(NASBenchNLP().cell_of(NASBenchNLP().parse("lstm")).steps)
            13
        """
        text = str(self._own(architecture))
        cell = _known(text)
        if cell is None or _genotype(cell) != architecture.genotype:
            raise ArchitectureError(
                f"'{text}' with the genotype {architecture.genotype} is no cell of nasbench_nlp: make cells by `parse`."
            )
        return cell

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a cell as the benchmark's were drawn.

        There are one to three states, mostly two, and seven operations, linear maps as often as the three others
        together; a linear map reads two or three of what comes in and of the activations, and an activation follows
        it. Which are the states is drawn; what leads to none is left out. Cells that do not use all inputs, or have a
        state that is read straight from those before, are drawn again.
        """
        while True:
            cell = _drawn(rng)
            if cell is not None:
                return _architecture(cell)

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List the cells that are one change away: an operation, a value that is read, an activation more or less."""
        own, found = self.cell_of(architecture), dict[RecurrentCell, None]()
        for changed in changes(own):
            cell = _member(changed)
            if cell is not None and cell != own:
                found[cell] = None
        return [_architecture(cell) for cell in found]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the `neighbors`, each change with the same probability."""
        own = self.cell_of(architecture)
        changed = list(changes(own))
        for number in rng.permutation(len(changed)):
            cell = _member(changed[int(number)])
            if cell is not None and cell != own:
                return _architecture(cell)
        raise AssertionError(f"{architecture} has no neighbor")  # its activations alone give some

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child: the first parent with one of its states computed as one of the second's is.

        What makes no cell is drawn again; after 50 draws it is the first parent.
        """
        first, second = self.cell_of(a), self.cell_of(b)
        for _ in range(_CROSSINGS):
            cell = _member(_crossed(first, second, rng))
            if cell is not None:
                return _architecture(cell)
        return a

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give which operation each step is, what it reads, and which states it gives, at most 24 steps.

        Returns:
            936 numbers; what a blend reads is told by its place from 1 to 3.
        """
        cell, operations = self.cell_of(architecture), list(ARITIES)
        values = [CURRENT, *map(previous, range(MOST_STATES)), *(name for name, _ in cell.steps)]
        kinds, reads = np.zeros((MOST_STEPS, len(operations))), np.zeros((MOST_STEPS, MOST_STEPS + 1 + MOST_STATES))
        states = np.zeros((MOST_STEPS, MOST_STATES))
        for row, (name, (operation, inputs)) in enumerate(cell.steps):
            kinds[row, operations.index(operation)] = 1
            for position, read in enumerate(inputs, 1):
                reads[row, values.index(read)] = position if operation == "blend" else 1
            if name in cell.states:
                states[row, cell.states.index(name)] = 1
        return np.concatenate([kinds.ravel(), reads.ravel(), states.ravel()])

    # Networks.

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network as it is written."""
        cell, draft = self.cell_of(architecture), Draft(task)
        draft.add("embedding", "embedding", _EMBEDDING * self.width, block="embedding")
        for layer in range(self.layers):
            widths = _HIDDEN if layer < self.layers - 1 else _EMBEDDING
            draft.add(
                f"features.{layer}", "recurrent_cell", widths * self.width, cell=cell, block=f"layer {layer + 1}",
                label="cell",
            )  # fmt: skip
        draft.add("last", "last_step", block="head")
        tied = "embedding" if task.classes == task.channels else ""
        draft.add("head", "linear", task.classes, tied=tied, block="head")
        return draft.blueprint()

    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        """Give the cell as a graph; a state that leads to the output by the next step of time alone is said to."""
        cell = self.cell_of(architecture)
        first, *others = cell.states
        named = {CURRENT: INPUT, first: OUTPUT}
        edges = [(INPUT, previous(number), "the step before") for number in range(len(cell.states))]
        edges += [
            (named.get(read, read), named.get(name, name), step.operation)
            for name, step in cell.steps
            for read in step.inputs
        ]
        later = [
            (name, OUTPUT, "the next step") for name in others if not any(name in step.inputs for _, step in cell.steps)
        ]
        # What reads the output itself, as a gate of another state may, does so by the step before.
        edges = [(previous(0) if source == OUTPUT else source, target, kind) for source, target, kind in edges]
        live = live_edges([(source, target) for source, target, _ in edges + later], INPUT, OUTPUT)
        return tuple(Edge(*edge, edge[:2] in live) for edge in edges + later)

    def draw(self, architecture: Architecture) -> str:
        """Draw the cell as text, a line for each operation.

        Example:
            >>> print(NASBenchNLP().draw(NASBenchNLP().parse("rnn")))
            node_0 = linear(x, h_prev_0)
            h_new_0 = tanh(node_0)
        """
        return "\n".join(
            f"{name} = {_SHORT[operation]}({', '.join(inputs)})"
            for name, (operation, inputs) in self.cell_of(architecture).steps
        )


def _architecture(cell: RecurrentCell) -> Architecture:
    return Architecture(NASBenchNLP.name, _genotype(cell), _written(cell))


def _genotype(cell: RecurrentCell) -> tuple[str, ...]:
    return tuple(f"{name}={operation}({','.join(inputs)})" for name, (operation, inputs) in cell.steps)


def _written(cell: RecurrentCell) -> str:
    short = {CURRENT: CURRENT} | {previous(number): f"h{number}" for number in range(len(cell.states))}
    short |= {name: str(number) for number, (name, _) in enumerate(cell.steps, 1)}
    kept = {name: f"h{number}=" for number, name in enumerate(cell.states)}
    return "+".join(
        f"{kept.get(name, '')}{_SHORT[operation]}({','.join(map(short.__getitem__, inputs))})"
        for name, (operation, inputs) in cell.steps
    )


def _read(text: str) -> RecurrentCell:
    """Read a cell in any of its forms; ValueError tells what is wrong."""
    if text[:1] not in tuple("{[("):
        return ordered(checked(_of_text(text)))
    try:
        content = json.loads(text if text[0] == "{" else text.translate(str.maketrans("()", "[]")))
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("it is no JSON") from None
    return ordered(checked(_of_recipe(content) if isinstance(content, dict) else _of_compact(content)))


@lru_cache(maxsize=1 << 12)
def _known(text: str) -> RecurrentCell | None:
    """The cell of a text; None where it is none."""
    try:
        return _read(text)
    except ValueError:
        return None


def _of_text(text: str) -> RecurrentCell:
    steps, states = [], dict[int, str]()
    for number, part in enumerate(text.split("+"), 1):
        read = _STEP.fullmatch(part)
        values = [_VALUE.fullmatch(value) for value in read[3].split(",")] if read else []
        if read is None or read[2] not in _LONG or not all(values):
            raise ValueError(f"'{part}' is no operation and what it reads")
        inputs = [previous(int(value[2])) if value[1] else value[2] or CURRENT for value in values if value]
        steps.append((str(number), Step(_LONG[read[2]], tuple(inputs))))
        if read[1]:
            if int(read[1]) in states:
                raise ValueError(f"two operations give the state h{read[1]}")
            states[int(read[1])] = str(number)
    return RecurrentCell(tuple(steps), tuple(states[number] for number in _all_of(states)))


def _all_of(numbers: Iterable[int]) -> list[int]:
    """The numbers of states in their order; ValueError where one is missing."""
    found = sorted(numbers)
    if not found or found != list(range(len(found))):
        raise ValueError("its states, numbered from 0, are not all there")
    return found


def _of_recipe(recipe: Mapping[str, Any]) -> RecurrentCell:
    steps = []
    for name, step in recipe.items():
        if not isinstance(step, dict) or not isinstance(step.get("op"), str) or not _are_texts(step.get("input")):
            raise ValueError(f"'{name}' is no operation with 'op' and 'input'")
        steps.append((name, Step(step["op"], tuple(step["input"]))))
    numbers = _all_of(int(found[1]) for name in recipe if (found := _INDEX.fullmatch(name)))
    return RecurrentCell(tuple(steps), tuple(map(state, numbers)))


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _of_compact(content: Any) -> RecurrentCell:
    """Read edges, operations and the numbers of the states; the first four values are x and three states."""
    try:
        edges, codes, hiddens = content
        pairs = [(int(source), int(target)) for source, target in edges]
        numbers, states = list(map(int, codes)), list(map(int, hiddens))
        if any(number < 0 for number in (*numbers, *states, *(value for pair in pairs for value in pair))):
            raise ValueError
        kinds = [_COMPACT[number] for number in numbers]
        names = [CURRENT, *map(previous, range(MOST_STATES)), *(f"n{number}" for number in range(4, len(kinds)))]
        reads: dict[int, list[str]] = {}
        for source, target in pairs:
            reads.setdefault(target, []).append(names[source])
        steps = tuple(
            (names[number], Step(kinds[number], tuple(reads.get(number, ())))) for number in range(4, len(kinds))
        )
        return RecurrentCell(steps, tuple(names[number] for number in states))
    except (IndexError, TypeError, ValueError):
        raise ValueError("it is neither a recipe nor edges, operations and states") from None


def _member(cell: RecurrentCell) -> RecurrentCell | None:
    """The cell in the form of all that compute the same; None where it is none."""
    try:
        return ordered(checked(cell))
    except ValueError:
        return None


def _drawn(rng: np.random.Generator) -> RecurrentCell | None:
    """Draw a cell; None where it is one of those that are drawn again."""
    number = int(rng.choice(_STATES, p=_CHANCES))
    steps, values = dict[str, Step](), [*map(previous, range(number))]
    free = [CURRENT, *values]
    for _ in range(_INNER):
        operation = str(rng.choice(_MAIN, p=np.array(_WEIGHTS) / sum(_WEIGHTS)))
        count = max(ARITIES[operation])
        if operation == "linear":
            count -= rng.random() >= _THREE
        among = free if operation == "linear" else values
        if len(among) < count:
            return None
        name = f"n{len(steps)}"
        read = tuple(among[int(position)] for position in rng.choice(len(among), count, replace=False))
        steps[name] = Step(operation, read)
        values.append(name)
        if operation == "linear":
            activation = f"n{len(steps)}"
            steps[activation] = Step(ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))], (name,))
            values.append(activation)
            free.append(activation)
    states = tuple(f"n{drawn}" for drawn in rng.choice(len(steps), number, replace=False))
    cell = pruned(RecurrentCell(tuple(steps.items()), states))
    if cell is None or any(read.startswith("h_prev") for name in states for read in steps[name].inputs):
        return None
    return _member(cell)


def _crossed(a: RecurrentCell, b: RecurrentCell, rng: np.random.Generator) -> RecurrentCell:
    """The first cell with one of its states computed as one of the second's is, which reads the first's states."""
    own, other = int(rng.integers(len(a.states))), int(rng.integers(len(b.states)))
    read = {CURRENT: CURRENT} | {name: f"b_{name}" for name, _ in b.steps}
    read |= {previous(number): previous(int(rng.integers(len(a.states)))) for number in range(len(b.states))}
    taken = [(read[name], Step(step.operation, tuple(read[value] for value in step.inputs))) for name, step in b.steps]
    states: Sequence[str] = [read[b.states[other]] if number == own else name for number, name in enumerate(a.states)]
    both = RecurrentCell((*a.steps, *taken), tuple(states))
    return pruned(both) or both
