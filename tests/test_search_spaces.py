"""The kinds of search spaces: finite and not, products and not, small and beyond what a computer counts to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from graph_space import GraphSpace, members
from toy_space import ToySpace

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces import SEARCH_SPACES, FiniteSpace
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.search_spaces.product import ProductSpace
from trainless.testing import FiniteSpaceContract, ProductSpaceContract, SearchSpaceContract
from trainless.types import Architecture, Task

TASK = Task("toy", classes=3, channels=1, height=8, width=8)


@dataclass(frozen=True)
class Tower(ProductSpace):
    """Twenty-five convolutions of kernel 1, 3, 5, ... 15: 8 to the power of 25, which is 2 to that of 75."""

    name = "tower"
    choices = ((1, 3, 5, 7, 9, 11, 13, 15),) * 25

    channels: int = 2

    def text(self, genotype: tuple[str | int, ...]) -> str:
        return "-".join(map(str, genotype))

    def parse(self, text: str) -> Architecture:
        try:
            return self.make([int(kernel) for kernel in text.split("-")])
        except ValueError as error:
            raise ArchitectureError(f"'{text.strip()}' is no tower: expected 25 odd numbers.") from error

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        draft = Draft(task)
        for number, code in enumerate(self.codes(architecture)):
            draft.add(f"features.{number}", "relu_conv_bn", self.channels, kernel=2 * code + 1, block=f"layer {number}")
        draft.classify(task.classes)
        return draft.blueprint()


@dataclass(frozen=True)
class Words(SearchSpace):
    """Words over two convolutions, as long as one likes: a grammar, which has no number of architectures."""

    name = "words"

    channels: int = 2

    def of(self, letters: str) -> Architecture:
        return Architecture(self.name, tuple(letters), letters)

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.of("".join("ab"[int(rng.integers(2))] for _ in range(int(rng.geometric(0.3)))))

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        word = str(self._own(architecture))
        longer = [word + letter for letter in "ab"]
        return [self.of(other) for other in (*longer, word[:-1]) if other]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        neighbors = self.neighbors(architecture)
        return neighbors[int(rng.integers(len(neighbors)))]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        return self.of(str(a)[: int(rng.integers(len(str(a)) + 1))] + str(b))

    def parse(self, text: str) -> Architecture:
        if not text.strip() or set(text.strip()) - set("ab"):
            raise ArchitectureError(f"'{text.strip()}' is no word of a and b.")
        return self.of(text.strip())

    def canonical(self, architecture: Architecture) -> Architecture:
        return self._own(architecture)

    def encode(self, architecture: Architecture) -> np.ndarray:
        word = str(self._own(architecture))
        digits = int("1" + word.translate(str.maketrans("ab", "01")), 2)
        return np.array([float(digits), float(len(word))])

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        draft = Draft(task)
        for number, letter in enumerate(str(self._own(architecture))):
            draft.add(f"{number}", "relu_conv_bn", self.channels, kernel={"a": 1, "b": 3}[letter], block="word")
        draft.classify(task.classes)
        return draft.blueprint()


class TestTower(ProductSpaceContract):
    space = Tower()
    draws = 4
    tasks = (TASK,)


class TestGraph(FiniteSpaceContract):
    space = GraphSpace()
    draws = 8


class TestWords(SearchSpaceContract):
    space = Words()
    draws = 8


class TestKinds:
    def test_all_registered_spaces_are_values(self) -> None:
        for kind in SEARCH_SPACES.values():
            assert kind() == kind()
            assert len({kind(), kind()}) == 1

    def test_a_space_without_end_has_nothing_that_counts(self) -> None:
        words = Words()
        assert not isinstance(words, FiniteSpace)
        for name in ("size", "index", "__getitem__", "__iter__", "__len__"):
            assert not hasattr(words, name)
        assert words
        with pytest.raises(ArchitectureError, match="words has no choices"):
            words.nearest(("a",))

    def test_members_are_found_by_their_strings(self) -> None:
        graph = GraphSpace()
        assert graph[3] in graph
        assert str(graph[3]) not in graph
        assert Architecture("graph", (0,) * 13, "0000000000:pool,pool,pool") not in graph
        assert ToySpace()[3] not in graph


class TestLargeProducts:
    def test_numbers_are_exact_beyond_what_a_computer_counts_to(self) -> None:
        tower = Tower()
        assert tower.size == 2**75
        for number in (0, 1, 8, 2**63, 2**75 - 1):
            assert tower.index(tower[number]) == number
        assert str(tower[2**75 - 1]) == "-".join(["15"] * 25)

    def test_draws_are_uniform_in_each_choice(self) -> None:
        rng = np.random.default_rng(0)
        codes = np.array([Tower().codes(Tower().sample(rng)) for _ in range(400)])
        counts = np.stack([np.bincount(column, minlength=8) for column in codes.T])
        # Chi-squared with 7 degrees of freedom passes 45 with probability 1e-7.
        assert (((counts - 50) ** 2 / 50).sum(1) < 45).all()


class TestNoProduct:
    def test_the_nearest_member_differs_in_the_fewest_choices(self) -> None:
        graph, rng = GraphSpace(), np.random.default_rng(0)
        table = np.array([[str(gene) for gene in genotype] for genotype in members()])
        for _ in range(20):
            genotype = [options[int(rng.integers(len(options)))] for options in graph.choices]
            differences = (table != np.array([str(gene) for gene in genotype])).sum(1)
            assert graph.index(graph.nearest(genotype)) == differences.argmin()

    def test_not_every_combination_is_a_member(self) -> None:
        graph = GraphSpace()
        with pytest.raises(ArchitectureError, match="is no graph"):
            graph.make((0,) * 10 + ("pool",) * 3)
        assert graph.size < 2**10 * 27


class TestOptions:
    def test_sizes_of_a_space_that_says_nothing_of_them(self) -> None:
        assert Words(8).sizes == (Words(8),)
        assert Words(8).resized(0.3) == Words(2)
        assert Words(8).thin() == Words(1)
        assert Words(8).label == "words, channels=8"

    @pytest.mark.parametrize("value", [0, -3, True, 1.0, "2"])
    def test_what_is_no_size_is_refused(self, value: object) -> None:
        with pytest.raises(InputError, match=f"number of channels is {value!r}, expected a whole number of at least 1"):
            Words(value)  # type: ignore[arg-type]
