"""What every search space has to hold to, and what finite ones and products hold to besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.finite import FiniteSpace
from trainless.search_spaces.product import ProductSpace
from trainless.types import Architecture, Task

__all__ = ["FiniteSpaceContract", "ProductSpaceContract", "SearchSpaceContract"]


class SearchSpaceContract:
    """What every search space has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        space: the space under test, set by the subclass; small networks keep it quick.
        tasks: what networks are built for: square and odd images, several channels and one.
        draws: architectures that each test draws.
        seed: seed of all draws.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> class TestMine(SearchSpaceContract):
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_parse_reads_what_str_writes()
    """

    space: SearchSpace
    tasks: Sequence[Task] = (
        Task("colour", classes=10, height=16, width=16),
        Task("digits", classes=3, channels=1, height=8, width=8),
        Task("odd", classes=2, height=13, width=9),
    )
    draws: int = 20
    seed: int = 0

    def drawn(self) -> Iterator[tuple[Architecture, np.random.Generator]]:
        """Draw architectures, each with a random generator for what a test does to it."""
        rng = np.random.default_rng(self.seed)
        for _ in range(self.draws):
            yield self.space.sample(rng), rng

    def test_samples_are_members(self) -> None:
        """An architecture that was drawn names the space and is in it."""
        for architecture, _ in self.drawn():
            assert architecture.space == self.space.name, f"{architecture} names another space"
            assert architecture in self.space, f"{architecture} is drawn, but no member"

    def test_samples_depend_on_the_generator_alone(self) -> None:
        """The same generator draws the same architectures, and they are not all one."""
        first, again = ([architecture for architecture, _ in self.drawn()] for _ in range(2))
        assert first == again, "the same seed drew other architectures"
        assert len(set(first)) > 1, "all draws are the same architecture"

    def test_parse_reads_what_str_writes(self) -> None:
        """A printed architecture is read back, with white space around it too."""
        for architecture, _ in self.drawn():
            parsed = self.space.parse(f" {architecture}\n")
            assert parsed == architecture, f"{architecture} is read as {parsed}"
            assert str(parsed) == str(architecture), f"{architecture} is printed as {parsed} once read"

    def test_parse_refuses_what_is_no_architecture(self) -> None:
        """Text that is no architecture raises ArchitectureError with a message that names it."""
        import pytest

        from trainless.errors import ArchitectureError

        known, _ = next(self.drawn())
        for wrong in ("no architecture at all", str(known)[:-3], f"{known}?"):
            with pytest.raises(ArchitectureError) as caught:
                self.space.parse(wrong)
            assert wrong in str(caught.value), f"the message does not name '{wrong}': {caught.value}"

    def test_mutation_draws_a_neighbor(self) -> None:
        """A mutation is a neighbor; the same generator gives the same one."""
        for architecture, rng in self.drawn():
            seed = int(rng.integers(2**32))
            child, same = (self.space.mutate(architecture, np.random.default_rng(seed)) for _ in range(2))
            assert child == same, f"the same seed mutated {architecture} to {child} and {same}"
            assert child in self.space.neighbors(architecture), f"{child} is no neighbor of {architecture}"

    def test_neighbors_are_distinct_members(self) -> None:
        """Neighbors are other members, all different, and the relation is symmetric."""
        for architecture, rng in self.drawn():
            neighbors = self.space.neighbors(architecture)
            assert len(set(neighbors)) == len(neighbors) > 0, f"{architecture} has a neighbor twice, or none"
            assert architecture not in neighbors, f"{architecture} is its own neighbor"
            for neighbor in neighbors:
                assert neighbor in self.space, f"{neighbor} is no member"
            chosen = neighbors[int(rng.integers(len(neighbors)))]
            assert architecture in self.space.neighbors(chosen), f"{architecture} is no neighbor of its own, {chosen}"

    def test_crossover_gives_members(self) -> None:
        """A child is a member, and the same generator gives the same child."""
        for a, rng in self.drawn():
            b, seed = self.space.sample(rng), int(rng.integers(2**32))
            child, same = (self.space.crossover(a, b, np.random.default_rng(seed)) for _ in range(2))
            assert child == same, f"the same seed crossed {a} and {b} to {child} and {same}"
            assert child in self.space, f"{a} and {b} were crossed to {child}, which is no member"

    def test_architectures_of_other_spaces_are_refused(self) -> None:
        """What names another space raises ArchitectureError that names both."""
        import pytest

        from trainless.errors import ArchitectureError

        own, _ = next(self.drawn())
        foreign = Architecture("another space", own.genotype, str(own))
        for use in (self.space.neighbors, self.space.encode, self.space.draw):
            with pytest.raises(ArchitectureError, match=f"'another space'.*'{self.space.name}'"):
                use(foreign)

    def test_canonical_is_idempotent(self) -> None:
        """The representative is a member and represents itself."""
        for architecture, _ in self.drawn():
            chosen = self.space.canonical(architecture)
            assert chosen in self.space, f"{chosen} is no member"
            again = self.space.canonical(chosen)
            assert again == chosen, f"{architecture} stands for {chosen}, but that for {again}"

    def test_encoding_tells_architectures_apart(self) -> None:
        """Features are vectors of one length, finite, equal for equal architectures and for no others."""
        drawn = {architecture for architecture, _ in self.drawn()}
        codes = [self.space.encode(architecture) for architecture in drawn]
        assert len({(code.shape, code.dtype) for code in codes}) == 1, "encodings differ in shape or type"
        assert np.isfinite(codes).all(), "an encoding is not finite"
        assert len({code.tobytes() for code in codes}) == len(drawn), "two architectures have the same encoding"

    def test_spans_belong_to_skips(self) -> None:
        """Spans of skip edges are positive whole numbers, and a drawing is text."""
        for architecture, _ in self.drawn():
            spans = self.space.skip_spans(architecture)
            assert all(isinstance(span, int) and span > 0 for span in spans), f"{architecture} has spans {spans}"
            assert self.space.draw(architecture).strip(), f"{architecture} has no drawing"

    def test_graph_runs_from_input_to_output(self) -> None:
        """A graph has no cycle, and its live edges are those on a path from its input to its output."""
        from graphlib import TopologicalSorter

        for architecture, _ in self.drawn():
            edges = self.space.graph(architecture)
            sources: dict[str, set[str]] = {"input": set(), "output": set()}
            for edge in edges:
                sources.setdefault(edge.target, set()).add(edge.source)
            order = list(TopologicalSorter(sources).static_order())  # refuses a cycle
            reached, needed = {"input"}, {"output"}
            for node in order:
                if sources.get(node, set()) & reached:
                    reached.add(node)
            for node in reversed(order):
                if node in needed:
                    needed |= sources.get(node, set())
            for edge in edges:
                assert edge.live == (edge.source in reached and edge.target in needed), f"{architecture} has {edge}"

    def test_counts_are_those_of_the_network(self) -> None:
        """Parameters and multiply-adds are those that PyTorch counts on the network itself."""
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        for task in self.tasks:
            for architecture, _ in self.drawn():
                with torch.device("meta"):
                    network, image = self.space.build(architecture, task), torch.empty(1, *task.input_shape)
                counted = sum(parameter.numel() for parameter in network.parameters())
                closed = self.space.parameters(architecture, task)
                assert closed == counted, f"{architecture} has {counted} parameters for {task}, not {closed}"
                with FlopCounterMode(display=False) as counter:
                    network.eval()(image)
                counted, closed = counter.get_total_flops() // 2, self.space.flops(architecture, task)
                assert closed == counted, f"{architecture} has {counted} multiply-adds for {task}, not {closed}"

    def test_sizes_are_ever_smaller(self) -> None:
        """The sizes begin with the space as it is, have the same architectures, and ever fewer parameters."""
        sizes, task = self.space.sizes, self.tasks[0]
        assert sizes[0] == self.space
        assert len(set(sizes)) == len(sizes)
        for architecture, _ in self.drawn():
            counts = [size.parameters(size.parse(str(architecture)), task) for size in sizes]
            assert counts == sorted(counts, reverse=True), f"{architecture} has {counts} parameters in {sizes}"

    def test_networks_give_a_row_of_logits_for_each_image(self) -> None:
        """A network maps images to (images, classes), finite, and a gradient reaches the images."""
        import torch

        for task in self.tasks:
            for architecture, _ in self.drawn():
                images = torch.linspace(-1, 1, 2 * int(np.prod(task.input_shape)))
                images = images.reshape(2, *task.input_shape).requires_grad_()
                logits = self.space.build(architecture, task)(images)
                assert logits.shape == (2, task.classes), f"{architecture} gives {tuple(logits.shape)} for {task}"
                assert torch.isfinite(logits).all(), f"{architecture} gives {logits} for {task}"
                (gradient,) = torch.autograd.grad(logits.square().sum(), images)
                assert torch.isfinite(gradient).all(), f"{architecture} has a gradient that is not finite for {task}"

    def test_blocks_are_modules_of_the_network(self) -> None:
        """Features are taken of modules that the network has, in the order in which they run."""
        import torch

        for architecture, _ in self.drawn():
            blueprint = self.space.blueprint(architecture, self.tasks[0])
            with torch.device("meta"):
                names = [name for name, _ in blueprint.build().named_modules()]
            numbers = [names.index(block) for block in blueprint.blocks]
            assert numbers == sorted(set(numbers)), f"{architecture} has the blocks {blueprint.blocks}"


class FiniteSpaceContract(SearchSpaceContract):
    """What every space has to hold to that numbers its architectures.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> class TestMine(FiniteSpaceContract):
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_there_is_nothing_outside()
    """

    space: FiniteSpace
    listed: int = 50_000  # architectures up to which all of a space are looked at

    def test_numbers_find_architectures(self) -> None:
        """An architecture has a number, by which it is found again."""
        for architecture, _ in self.drawn():
            number = self.space.index(architecture)
            assert 0 <= number < self.space.size, f"{architecture} has number {number}"
            assert self.space[number] == architecture, f"number {number} is {self.space[number]}, not {architecture}"

    def test_there_is_nothing_outside(self) -> None:
        """Numbers below 0 and from the size on raise IndexError that names the range."""
        import pytest

        for number in (-1, self.space.size):
            with pytest.raises(IndexError, match=f"0 to {self.space.size - 1}"):
                self.space[number]

    def test_the_length_is_the_size_or_a_sentence(self) -> None:
        """The length is the size; where Python can tell no such length, a sentence says so."""
        import sys

        import pytest

        assert self.space, "a space is true, however large"
        if self.space.size <= sys.maxsize:
            assert len(self.space) == self.space.size
        else:
            with pytest.raises(OverflowError, match="ask its size"):
                len(self.space)

    def test_iteration_is_by_number(self) -> None:
        """Architectures come in the order of their numbers, all of them once where they are not too many."""
        import itertools

        first = list(itertools.islice(self.space, self.draws))
        assert first == [self.space[number] for number in range(len(first))]
        if self.space.size <= self.listed:
            assert len(set(self.space)) == self.space.size


class ProductSpaceContract(FiniteSpaceContract):
    """What every space of independent choices has to hold to.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> class TestMine(ProductSpaceContract):
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_genotypes_are_one_option_of_each_choice()
    """

    space: ProductSpace

    def test_genotypes_are_one_option_of_each_choice(self) -> None:
        """A genotype makes its architecture, and an option that is none of its choice is refused."""
        import pytest

        from trainless.errors import ArchitectureError

        for architecture, rng in self.drawn():
            assert self.space.make(architecture.genotype) == architecture
            pairs = zip(architecture.genotype, self.space.choices, strict=True)
            assert all(gene in options for gene, options in pairs), f"{architecture} has a gene that is no choice"
            wrong = list(architecture.genotype)
            wrong[int(rng.integers(len(wrong)))] = "no option"
            for genotype in (wrong, wrong[:-1]):
                with pytest.raises(ArchitectureError, match="expected"):
                    self.space.make(genotype)

    def test_neighbors_differ_in_one_choice(self) -> None:
        """Neighbors are all that differ in exactly one choice."""
        count = sum(len(options) - 1 for options in self.space.choices)
        for architecture, _ in self.drawn():
            differences = [_differences(architecture, neighbor) for neighbor in self.space.neighbors(architecture)]
            assert differences == [1] * count, f"the neighbors of {architecture} differ in {differences} choices"

    def test_crossover_takes_from_parents(self) -> None:
        """A child has each choice from one of its parents."""
        for a, rng in self.drawn():
            b = self.space.sample(rng)
            child = self.space.crossover(a, b, rng)
            for own, *parents in zip(child.genotype, a.genotype, b.genotype, strict=True):
                assert own in parents, f"{child} has '{own}' from neither {a} nor {b}"


def _differences(a: Architecture, b: Architecture) -> int:
    return sum(first != second for first, second in zip(a.genotype, b.genotype, strict=True))
