"""One description of a network, from which it is built, counted and drawn.

A blueprint is a graph. Its nodes are operations, each of which reads one value and gives one; operations that give the
same value are added up, or concatenated. Nodes of one name are the graph of one module, and modules follow one another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from trainless.errors import InputError
from trainless.search_spaces.nodes import EARLIER, INPUT, OUTPUT, Node, Size
from trainless.types import Task

if TYPE_CHECKING:
    import torch

__all__ = ["Blueprint", "Draft", "Edge", "Part", "Step", "live_edges"]

Value = TypeVar("Value", str, int)
Step = tuple[str, int, Mapping[str, Any]]
"""An operation: its key, the channels that it gives, and settings of its node."""

Make = Callable[..., "torch.nn.Module"]

_HEAD = "head"
# A space of thousands is counted through by these alone.
_PARAMETERS, _MULTIPLY_ADDS = attrgetter("parameters"), attrgetter("multiply_adds")


class Edge(NamedTuple):
    """One edge of an architecture's graph.

    Args:
        source: name of the node that it leaves; the architecture's input is ``"input"``.
        target: name of the node that it enters; the architecture's output is ``"output"``.
        operation: what is done on it, as the benchmark calls it; empty where nothing is.
        live: whether it is on a path from the input to the output.

    Example:
        >>> Edge("input", "output", "skip_connect").live
        True
    """

    source: str
    target: str
    operation: str
    live: bool = True


class Part(tuple[Node, ...]):
    """Nodes that many blueprints share, counted once.

    Example:
        >>> part = Part([Node("features.0", "conv", 2, 4, (8, 8)), Node("features.1", "batch_norm", 4, 4, (8, 8))])
        >>> part.parameters, part.multiply_adds
        (16, 512)
    """

    @cached_property
    def parameters(self) -> int:
        """Number of parameters, frozen ones included."""
        return sum(node.parameters for node in self)

    @cached_property
    def multiply_adds(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return sum(node.multiply_adds for node in self)


class Draft:
    """Writes the nodes of a network one after another, each reading what the last one gave.

    Args:
        task: the shape of an image.

    Attributes:
        tiles: parts of an image that the nodes to come read each as an image.
        gives_maps: whether the network gives maps, and no row of class scores.

    Example:
        >>> import torch
        >>> draft = Draft(Task("toy", classes=2, channels=1, height=9, width=9))
        >>> draft.add("stem", "conv", 4, kernel=3, stride=2)
        >>> draft.classify(2)
        >>> draft.blueprint().build()(torch.zeros(1, 1, 9, 9)).shape
        torch.Size([1, 2])
    """

    def __init__(self, task: Task) -> None:
        self.nodes: list[Node] = []
        self.channels, self.size, self.position = task.channels, (task.height, task.width), 0
        self.tiles, self.gives_maps = 1, False

    def node(
        self, name: str, operation: str, channels: int | None = None, inputs: int | None = None, **settings: Any
    ) -> Node:
        """Make a node that reads what the last one gave, and leave the draft as it is.

        Args:
            name: path of its module.
            operation: key of `OPERATIONS`.
            channels: what it gives; as many as it reads where it says nothing.
            inputs: channels that it reads where that is another value than the last.
            settings: other fields of a `Node`.
        """
        inputs = inputs or self.channels
        settings = {"position": self.position, "tiles": self.tiles} | settings
        return Node(name, operation, inputs, channels or inputs, self.size, **settings)

    def add(self, name: str, operation: str, channels: int | None = None, **settings: Any) -> None:
        """Add a `node`."""
        node = self.node(name, operation, channels, **settings)
        self.extend([node], node.channels, node.output_size)

    def extend(self, nodes: Sequence[Node], channels: int, size: Size) -> None:
        """Add nodes, such as those of a whole cell, of which the last give so many channels of a size."""
        self.nodes += nodes
        self.channels, self.size = channels, size

    def chain(self, name: str, steps: Sequence[Step], *, has_shortcut: bool = False, **settings: Any) -> None:
        """Add one module of several operations, one after another, with a shortcut around all of them or without.

        Args:
            name: path of the module.
            steps: for each operation its key, the channels that it gives and settings of its own.
            has_shortcut: whether what the module reads is added to what the last operation gives.
            settings: of every node.

        Example:
            >>> draft = Draft(Task("toy", classes=2, channels=4, height=9, width=9))
            >>> draft.chain("body", [("conv", 8, {"kernel": 3}), ("relu", 8, {}), ("conv", 4, {})], has_shortcut=True)
            >>> draft.blueprint().build().body.body
            Sequential(
              (0): Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
              (1): ReLU()
              (2): Conv2d(8, 4, kernel_size=(1, 1), stride=(1, 1), bias=False)
            )
        """
        nodes = [self.node(name, "skip_connect", **settings)] if has_shortcut else []
        for number, (operation, channels, own) in enumerate(steps, 1):
            source = str(number - 1) if number > 1 else INPUT
            target = str(number) if number < len(steps) else OUTPUT
            node = self.node(name, operation, channels, source=source, target=target, **settings, **own)
            nodes.append(node)
            self.extend([], node.channels, node.output_size)
        self.extend(nodes, self.channels, self.size)

    def classify(self, classes: int, pooling: str = "global_pool", divisor: int = 1) -> None:
        """Add global pooling and a linear layer: the modules ``pool``, ``flatten`` and ``head``.

        Args:
            classes: number of classes.
            pooling: key of the pooling.
            divisor: what the logits are divided by, in a module ``scale``.
        """
        self.add("pool", pooling, block=_HEAD)
        self.add("flatten", "flatten", block=_HEAD)
        self.add("head", "linear", classes, block=_HEAD)
        if divisor != 1:
            self.add("scale", "divide", divisor=divisor, block=_HEAD)

    def blueprint(self, pictured: str = "", captions: Mapping[str, str] | None = None) -> Blueprint:
        """Give the network that was written; the arguments are those of `Blueprint`."""
        return Blueprint((Part(self.nodes),), pictured, tuple((captions or {}).items()), self.gives_maps)


class Blueprint(NamedTuple):
    """A network as a graph of nodes.

    Args:
        parts: its nodes, in parts that may be shared with other blueprints. By their `Node.position`, and else in the
            order given, they are in the order in which they run: those of a module one after another, and within it
            those that give the same value.
        pictured: name of the module whose graph stands for the network in pictures, such as a cell that is repeated;
            where it is empty, the chain of blocks does.
        captions: for blocks of that chain, what pictures say of them, in pairs.
        gives_maps: whether the outputs are maps, and no row of class scores.

    Example:
        >>> nodes = [Node("body", "skip_connect", 2, 2, (4, 4)), Node("body", "conv", 2, 2, (4, 4), kernel=3)]
        >>> blueprint = Blueprint((Part(nodes),), pictured="body")
        >>> blueprint.parameters, blueprint.skip_spans
        (36, (1,))
        >>> print(blueprint.draw())
        node 0 = input
        output = skip_connect(node 0) + conv(node 0)
    """

    parts: tuple[Part, ...]
    pictured: str = ""
    captions: tuple[tuple[str, str], ...] = ()
    gives_maps: bool = False

    # What it costs.

    @property
    def parameters(self) -> int:
        """Number of parameters, frozen ones included."""
        return sum(map(_PARAMETERS, self.parts))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return sum(map(_MULTIPLY_ADDS, self.parts))

    @property
    def peak_memory(self) -> int:
        """Bytes that the inference of one image needs, weights included, as `trainless.hardware.peak_memory` counts."""
        import torch

        from trainless.hardware import peak_memory

        with torch.device("meta"):
            network = self.build()
        return peak_memory(network, (self.nodes[0].inputs, *self.nodes[0].size))

    # What it is made of.

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in the order in which they run."""
        return tuple(sorted(itertools.chain.from_iterable(self.parts), key=lambda node: node.position))

    @property
    def modules(self) -> dict[str, tuple[Node, ...]]:
        """The nodes of each module, repetitions not written out."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def paths(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """Give the path and the nodes of each module, repetitions written out."""
        for nodes in self.modules.values():
            for path in _repetitions(nodes[0]):
                yield path, nodes

    @property
    def blocks(self) -> tuple[str, ...]:
        """Paths of the modules that end a block, each repetition of one: the features of a network are what they give.

        Example:
            >>> stem = Node("features.0", "conv", 3, 8, (8, 8))
            >>> norm = Node("features.1", "batch_norm", 8, 8, (8, 8), block="stem")
            >>> cell = Node("features.2", "conv", 8, 8, (8, 8), block="cells", repeat=2)
            >>> Blueprint((Part([stem, norm, cell]),)).blocks
            ('features.1', 'features.2', 'features.3')
        """
        ends = [nodes[0] for nodes in self.modules.values() if nodes[0].block not in ("", _HEAD)]
        return tuple(itertools.chain.from_iterable(map(_repetitions, ends)))

    @property
    def places(self) -> dict[str, str]:
        """Where the module of each path stands, each repetition of one: the name of its block, and its number there.

        Modules of two networks of a space that do the same have one place, however many there are before them.

        Example:
            >>> stem = Node("features.0", "conv", 3, 8, (8, 8), block="stem")
            >>> cell = Node("features.1", "conv", 8, 8, (8, 8), block="cells", repeat=2)
            >>> Blueprint((Part([stem, cell]),)).places
            {'features.0': 'stem 0', 'features.1': 'cells 0', 'features.2': 'cells 1'}
        """
        found: dict[str, str] = {}
        unnamed: list[str] = []
        counts: dict[str, int] = {}
        for path, nodes in self.paths():
            unnamed.append(path)
            if block := nodes[0].block:
                for earlier in unnamed:
                    found[earlier] = f"{block} {counts.get(block, 0)}"
                    counts[block] = counts.get(block, 0) + 1
                unnamed = []
        return found | {path: f"end {number}" for number, path in enumerate(unnamed)}

    # What it becomes.

    def build(self, make: Make | None = None) -> torch.nn.Module:
        """Build the network: plain PyTorch, PyTorch's initialisation, dead branches and all.

        Args:
            make: gives the module of a node, of which the second argument is the path of its module; None builds what
                its record does.

        Returns:
            Nested `torch.nn.Sequential` whose children have the names of the nodes; it tells its `blocks` in an
            attribute ``block_paths``, and in ``gives_maps`` whether it gives maps.

        Raises:
            InputError: two modules have one name, or a node reads what no node before it gives.
        """
        tree: dict[str, Any] = {}
        make = make or (lambda node, path: node.record.build(node))
        for path, nodes in self.paths():
            *parents, name = path.split(".")
            folder = tree
            for parent in parents:
                folder = folder.setdefault(parent, {})
            if name in folder:
                raise InputError(f"Two modules are '{path}': a module that is repeated needs as many numbers.")
            folder[name] = _module(nodes, partial(make, path=path))
        network = _nested(tree)
        for node in self.nodes:
            if node.tied:
                network.get_submodule(node.name).weight = network.get_submodule(node.tied).weight
        network.block_paths = self.blocks  # type: ignore[assignment]
        network.gives_maps = self.gives_maps  # type: ignore[assignment]
        return network

    # What pictures show.

    def graph(self) -> tuple[Edge, ...]:
        """Give the pictured module as edges without those of ``none``, or the chain of blocks."""
        if not self.pictured:
            names = [INPUT, *(name.removeprefix("stage ") for name in [*self._chain][:-1]), OUTPUT]
            return tuple(Edge(*edge) for edge in zip(names[:-1], names[1:], self._chain.values(), strict=True))
        nodes = [node for node in self._picture if node.operation != "none"]
        # What the module before read is there as its input is.
        live = live_edges([(INPUT, EARLIER), *((node.source, node.target) for node in nodes)], INPUT, OUTPUT)
        before = [Edge(INPUT, EARLIER, "", (INPUT, EARLIER) in live)] if _reads_earlier(nodes) else []
        edges = (
            Edge(node.source, node.target, node.label or node.operation, (node.source, node.target) in live)
            for node in nodes
        )
        return (*before, *edges)

    def draw(self) -> str:
        """Draw the pictured module as text, a line for each value with a mark on what is dead; or the chain of blocks.

        Example:
            >>> print(Blueprint((Part([Node("body", "conv", 2, 2, (4, 4))]),)).draw())
            body    conv
        """
        if not self.pictured:
            return "\n".join(f"{name:8}{text}" for name, text in self._chain.items())
        names = {value: f"node {number}" for number, value in enumerate(self._values)} | {OUTPUT: OUTPUT}
        terms: dict[str, list[str]] = {value: [] for value in self._values[1:]}
        for edge in self.graph():
            terms[edge.target].append(f"{edge.operation}({names[edge.source]})" + ("" if edge.live else " [dead]"))
        terms |= {EARLIER: ["what the cell before read"]} if EARLIER in terms else {}
        return "\n".join(
            [f"node 0 = {INPUT}", *(f"{names[value]} = {' + '.join(added) or '0'}" for value, added in terms.items())]
        )

    @property
    def skip_spans(self) -> tuple[int, ...]:
        """For each skip edge how many values further it leads; one around a module of a chain of blocks spans 1."""
        if not self.pictured:
            return tuple(itertools.chain.from_iterable((1,) * node.repeat for node in self.nodes if _is_skip(node)))
        rank = {value: number for number, value in enumerate(self._values)}
        return tuple(rank[node.target] - rank[node.source] for node in self._picture if _is_skip(node))

    @property
    def _picture(self) -> tuple[Node, ...]:
        return tuple([node for node in self.nodes if node.name == self.pictured])

    @property
    def _values(self) -> list[str]:
        return _values(self._picture)

    @property
    def _chain(self) -> dict[str, str]:
        """What is said of each block."""
        names: dict[str, dict[str, None]] = {}
        for node in self.nodes:
            names.setdefault(node.block or node.name, {})[node.label or node.operation] = None
        return {block: ", ".join(said) for block, said in names.items()} | dict(self.captions)


def _is_skip(node: Node) -> bool:
    return node.record.is_identity


def _repetitions(node: Node) -> Iterator[str]:
    """Paths of a node's module and of those that repeat it."""
    if node.repeat == 1:
        yield node.name
    else:
        parent, _, number = node.name.rpartition(".")
        yield from (f"{parent}.{int(number) + further}" for further in range(node.repeat))


def _values(nodes: Sequence[Node]) -> list[str]:
    """The values of a module in the order in which they are made."""
    read = [INPUT, EARLIER] if _reads_earlier(nodes) else [INPUT]
    return list(dict.fromkeys([*read, *(node.target for node in nodes)]))


def _reads_earlier(nodes: Sequence[Node]) -> bool:
    return any(node.source == EARLIER for node in nodes)


def live_edges(edges: Sequence[tuple[Value, Value]], first: Value, last: Value) -> set[tuple[Value, Value]]:
    """Find the edges that are on a path from the first value to the last.

    Args:
        edges: pairs of source and target; every edge into a value stands before any edge out of it.
        first: the value from which paths start.
        last: the value at which they end.

    Example:
        >>> live_edges([(0, 1), (0, 2), (2, 3)], 0, 3) == {(0, 2), (2, 3)}
        True
    """
    from_first, to_last = {first}, {last}
    for source, target in edges:
        if source in from_first:
            from_first.add(target)
    for source, target in reversed(edges):
        if target in to_last:
            to_last.add(source)
    return {(source, target) for source, target in edges if source in from_first and target in to_last}


# Modules.


def _nested(tree: Mapping[str, Any]) -> torch.nn.Module:
    from collections import OrderedDict

    from torch import nn

    from trainless.operations import PairCell, PairCells

    modules = OrderedDict((name, _nested(part) if isinstance(part, dict) else part) for name, part in tree.items())
    if any(isinstance(module, PairCell) for module in modules.values()):
        return PairCells(modules)
    return nn.Sequential(modules)


def _module(nodes: Sequence[Node], make: Callable[[Node], torch.nn.Module]) -> torch.nn.Module:
    """Build one module: a single operation, a chain of them, either with a shortcut around it, or a cell."""
    from torch import nn

    from trainless.operations import Residual

    if len(nodes) > 1 and _is_skip(nodes[0]) and nodes[0].target == OUTPUT and _is_chain(nodes[1:]):
        return Residual(_module(nodes[1:], make))
    if not _is_chain(nodes):
        return _cell(nodes, make)
    modules = [make(node) for node in nodes]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _is_chain(nodes: Sequence[Node]) -> bool:
    """Whether each node reads what the one before gives, and nothing else does."""
    sources, targets = [node.source for node in nodes], [node.target for node in nodes]
    return [INPUT, *targets] == [*sources, OUTPUT] and len(set(targets)) == len(targets)


def _cell(nodes: Sequence[Node], make: Callable[[Node], torch.nn.Module]) -> torch.nn.Module:
    from trainless.operations import Cell, PairCell

    number = {value: index for index, value in enumerate(_values(nodes))}
    kind, inputs = (PairCell, 2) if _reads_earlier(nodes) else (Cell, 1)
    terms: list[list[tuple[torch.nn.Module, int]]] = [[] for _ in range(len(number) - inputs)]
    resized: dict[int, Node] = {}  # for values that may have no other term, what gives zeros of their shape
    for node in nodes:
        if number.get(node.source, len(number)) >= number[node.target]:
            raise InputError(
                f"In the module '{node.name}' a node reads '{node.source}' for '{node.target}', expected a value that "
                f"a node before it gives, or '{INPUT}'."
            )
        if node.operation != "none":
            terms[number[node.target] - inputs].append((make(node), number[node.source]))
        elif inputs > 1 or (node.channels, node.output_size) != (node.inputs, node.size):
            resized[number[node.target] - inputs] = node
    for index, node in resized.items():
        terms[index] = terms[index] or [(make(node), number[node.source])]
    return kind(terms, {number[node.target] for node in nodes if node.is_joined})
