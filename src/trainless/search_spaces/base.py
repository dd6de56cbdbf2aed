"""The contract of a search space: which architectures there are, which are the same, how one becomes a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.blueprint import Blueprint, Edge
from trainless.search_spaces.relaxation import Relaxation
from trainless.specs import write_spec
from trainless.types import ANY_TASK, Architecture, Task

if TYPE_CHECKING:
    import torch

__all__ = ["Choices", "Edge", "SearchSpace"]

Choices = tuple[tuple[str | int, ...], ...]


class SearchSpace(ABC):
    """A set of architectures, finite or not, with its moves, its equalities and its networks.

    A space is a frozen dataclass whose fields are its options, whole numbers of at least 1 or words, each with a
    default. It says how architectures are drawn, written, varied and compared, and gives the `blueprint` of one;
    networks, counts and pictures follow from that. What is true of finite spaces only is in `FiniteSpace`, and
    `ProductSpace` has all moves of spaces of independent choices.

    Attributes:
        name: what it is asked for by; part of every `Architecture`.
        least: the least value of each option of which it is not 1.
        words: for each option that is no number, what it may be.
        fixes_size: whether a network takes images of the size that it was built for alone.
        halves: the option that each of the `sizes` has half as large as the one before, and the least value it comes
            to; None for a space of one size, or of others.
        is_pretrained: whether `start` puts in weights, which a training from drawn ones would lose.
        shares_kernels: whether shared weights of a convolution are those of its largest kernel, of which smaller ones
            are the middle; otherwise kernels of two sizes are two operations.

    Raises:
        InputError: an option is no whole number or below its least value, or is none of its words.
    """

    name: str
    least: ClassVar[Mapping[str, int]] = {}
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    fixes_size: ClassVar[bool] = False
    halves: ClassVar[tuple[str, int] | None] = None
    is_pretrained: ClassVar[bool] = False
    shares_kernels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option, known in self.words.items():
            if (value := self.options[option]) not in known:
                raise InputError(f"The {option} is {value!r}, expected one of {', '.join(known)}.")
        for option, value in self._whole_options.items():
            least = self.least.get(option, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                what = f"number of {option}" if option.endswith("s") else option
                raise InputError(
                    f"The {what} is {value!r}, expected a whole number of at least {least}: leave it out for the usual "
                    "one."
                )

    def __getstate__(self) -> dict[str, Any]:
        # What is kept for speed is made anew where a space is copied to, and two equal spaces look alike.
        return dict(self.options)

    # What a space has to say.

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture; a finite space draws each with the same probability."""

    @abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw one of the `neighbors`."""

    @abstractmethod
    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Draw a child of two parents."""

    @abstractmethod
    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """List all architectures that are one smallest change away, each once."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read an architecture's string; ArchitectureError tells what is wrong with it."""

    @abstractmethod
    def canonical(self, architecture: Architecture) -> Architecture:
        """Give the one representative of all architectures that are the same network."""

    @abstractmethod
    def encode(self, architecture: Architecture) -> np.ndarray:
        """Give features for a surrogate model, a float64 vector of the same length for every architecture."""

    @abstractmethod
    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        """Describe the network as it is written, dead branches and all.

        Args:
            architecture: one of the space; ArchitectureError if it is not.
            task: the shape of an image and the number of classes; images need not be square.
        """

    def propose(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture of any size; a space most of which is heavy draws light ones as often."""
        return self.sample(rng)

    def sample_within(
        self, rng: np.random.Generator, is_within: Callable[[Architecture], bool], draws: int = 10_000
    ) -> Architecture | None:
        """Draw one architecture that is within limits, of those that `propose` draws.

        Args:
            rng: the source of all randomness.
            is_within: whether an architecture may be drawn.
            draws: how many may be refused.

        Returns:
            The first that is within, or None where none of so many is.

        Example:
            >>> from trainless.search_spaces import search_space
            >>> space, task = search_space("nasbench201"), Task("toy", 10)
            >>> rng = np.random.default_rng(0)
            >>> cell = space.sample_within(rng, lambda cell: space.parameters(cell, task) < 80_000)
            >>> space.parameters(cell, task)
            73306
        """
        proposals = (self.propose(rng) for _ in range(draws))
        return next(filter(is_within, proposals), None)

    # What follows from its options. A space that has more to say of its sizes overrides these.

    @property
    def options(self) -> Mapping[str, Any]:
        """What its networks depend on besides the architecture and the task; part of a stored score's key."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """Its name with its options, which tells it from the same space in another size."""
        return ", ".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def spec(self) -> str:
        """Its name with its options, as `trainless.search_spaces.search_space` reads it."""
        return write_spec(self.name, self.options)

    def resized(self, fraction: float) -> SearchSpace:
        """Give the same architectures as networks of this fraction of the width and depth: of every option.

        Raises:
            InputError: the fraction is not above 0 and at most 1.
        """
        if not 0 < fraction <= 1:
            raise InputError(f"The fraction is {fraction}, expected one above 0 and at most 1.")
        smaller = {name: int(value * fraction) for name, value in self._whole_options.items()}
        return self._with({name: max(self.least.get(name, 1), value) for name, value in smaller.items()})

    @property
    def sizes(self) -> tuple[SearchSpace, ...]:
        """The same architectures as networks of ever less time and fewer parameters, as they are first.

        Example:
            >>> from trainless.search_spaces import search_space
            >>> [space.spec for space in search_space("nats_size").sizes]
            ['nats_size(unit=8)', 'nats_size(unit=4)', 'nats_size(unit=2)']
        """
        option, least = self.halves or ("", 0)
        spaces = [self]
        while option and (half := spaces[-1].options[option] // 2) >= least:
            spaces.append(self._with({option: half}))
        return tuple(spaces)

    def thin(self) -> SearchSpace:
        """Give the same architectures with as few channels and repeated cells as there can be."""
        return self._with(dict.fromkeys(self._whole_options, 1) | dict(self.least))

    @property
    def _whole_options(self) -> dict[str, int]:
        """The options that are numbers."""
        return {option: value for option, value in self.options.items() if option not in self.words}

    def _with(self, options: Mapping[str, Any]) -> SearchSpace:
        """The same space with other options."""
        return type(self)(**{**self.options, **options})

    def start(self, network: torch.nn.Module, architecture: Architecture) -> None:  # noqa: B027
        """Put in the weights that networks of the space start from, in place of drawn ones; most spaces have none."""

    def relaxation(self, task: Task) -> Relaxation:
        """Join all operations that networks choose among, for searches that mix them by weights.

        Raises:
            InputError: the networks of the space are not told apart by which operations they have.
        """
        raise InputError(
            f"The operations of '{self.name}' cannot be mixed: its networks are no choice among them. Choose another "
            "space, or a strategy that takes single paths."
        )

    # What follows from the blueprint.

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        """Build the network as it is written: plain PyTorch, PyTorch's initialisation.

        Returns:
            A module that maps ``(images, channels, height, width)`` to ``(images, classes)``.
        """
        return self.blueprint(architecture, task).build()

    def parameters(self, architecture: Architecture, task: Task) -> int:
        """Count the parameters of the network as it is written, frozen ones included, by a closed form."""
        return self.blueprint(architecture, task).parameters

    def flops(self, architecture: Architecture, task: Task) -> int:
        """Count the multiply-adds of convolutions and linear layers for one image, as it is written."""
        return self.blueprint(architecture, task).multiply_adds

    def peak_memory(self, architecture: Architecture, task: Task) -> int:
        """Compute the bytes that the inference of one image needs, weights included; the network runs as it is written.

        Nothing is computed with numbers: it takes some milliseconds, and no arithmetic.
        """
        return self.blueprint(architecture, task).peak_memory

    def skip_spans(self, architecture: Architecture) -> tuple[int, ...]:
        """Give for each skip edge how many nodes further it leads, as it is written."""
        return self.blueprint(architecture, ANY_TASK).skip_spans

    def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
        """Give the architecture, or the cell that it repeats, as the edges of an acyclic graph, dead ones marked."""
        return self.blueprint(architecture, ANY_TASK).graph()

    def draw(self, architecture: Architecture) -> str:
        """Draw the architecture as text."""
        return self.blueprint(architecture, ANY_TASK).draw()

    # Members.

    named: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Architectures with names of their own, which `parse` reads too; a search may begin with them."""

    def starts(self) -> list[Architecture]:
        """List the architectures that a search may begin with: those with names, and what the space makes of them."""
        return [self.parse(name) for name in self.named]

    @property
    def choices(self) -> Choices:
        """What there is to choose from at each position of a genotype; none where genotypes have no fixed form."""
        return ()

    def nearest(self, genotype: Sequence[str | int]) -> Architecture:
        """Make the architecture of a genotype that has one option of each of the `choices`.

        A space in which not every combination is a member gives the one that is nearest, by a rule that it documents:
        whoever puts genotypes together, as strategies do, never gets another one without a word.

        Raises:
            ArchitectureError: the space has no such genotypes, or this is none of them.
        """
        raise ArchitectureError(f"{self.name} has no choices of which {tuple(genotype)} could be put together.")

    def __contains__(self, architecture: object) -> bool:
        """Whether an architecture is one of the space: it is read back from its string."""
        try:
            return isinstance(architecture, Architecture) and self.parse(str(architecture)) == architecture
        except ArchitectureError:
            return False

    def _own(self, architecture: Architecture) -> Architecture:
        """Give an architecture back if it names this space.

        Raises:
            ArchitectureError: it is one of another space.
        """
        if architecture.space != self.name:
            raise ArchitectureError(
                f"'{architecture}' is an architecture of '{architecture.space}', expected one of '{self.name}'."
            )
        return architecture
