"""Strategies on spaces that are no product of choices: graphs, of which not all combinations are one, and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from graph_space import CHOICES, GraphSpace, changes, members

from trainless.errors import ArchitectureError, InputError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint, Draft
from trainless.strategies import STRATEGIES, Result, Strategy, strategy
from trainless.strategies.genotype_codes import GenotypeCodes
from trainless.testing import StrategyContract
from trainless.types import Architecture, Task

GRAPHS = GraphSpace()
LETTERS = "abc"


@dataclass(frozen=True)
class Words(SearchSpace):
    """Words of any length: no size, no index, and no choices of which they could be put together."""

    name = "words"

    def make(self, word: str) -> Architecture:
        return Architecture(self.name, tuple(word), word)

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.make("".join(LETTERS[int(code)] for code in rng.integers(len(LETTERS), size=rng.geometric(0.2))))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        neighbors = self.neighbors(architecture)
        return neighbors[int(rng.integers(len(neighbors)))]

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        return self.make(str(a)[: int(rng.integers(1, len(str(a)) + 1))] + str(b)[int(rng.integers(len(str(b)))) :])

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        word = str(architecture)
        shorter = [word[:-1]] if len(word) > 1 else []
        return [self.make(text) for text in (*shorter, *(word + letter for letter in LETTERS))]

    def parse(self, text: str) -> Architecture:
        if not text or not set(text) <= set(LETTERS):
            raise ArchitectureError(f"'{text}' is no word: expected one such as abba.")
        return self.make(text)

    def canonical(self, architecture: Architecture) -> Architecture:
        return architecture

    def encode(self, architecture: Architecture) -> np.ndarray:
        return np.array([str(architecture).count(letter) for letter in LETTERS], float)

    def blueprint(self, architecture: Architecture, task: Task) -> Blueprint:
        draft = Draft(task)
        draft.classify(task.classes)
        return draft.blueprint()


def worth(architecture: Architecture) -> float:
    """A sum of what each option of a graph is worth, drawn once: what a member is worth its neighbors hint at."""
    drawn = np.random.default_rng(4).normal(size=(len(CHOICES), max(map(len, CHOICES))))
    codes = [options.index(option) for options, option in zip(CHOICES, architecture.genotype, strict=True)]
    return float(drawn[np.arange(len(CHOICES)), codes].sum())


def searched(made: Strategy, evaluations: int) -> list[float]:
    """The worth of all that a strategy proposes, in order."""
    found: list[float] = []
    while len(found) < evaluations:
        asked = made.ask(2)
        values = [worth(proposal.architecture) for proposal in asked]
        made.tell([Result(proposal.architecture, (value,)) for proposal, value in zip(asked, values, strict=True)])
        found += values
    return found[:evaluations]


class TestNearest:
    """What a coded strategy puts together becomes the member that the space says is nearest, always the same."""

    def test_a_member_stays_what_it_is(self) -> None:
        codes, rng = GenotypeCodes(GRAPHS), np.random.default_rng(0)
        drawn = [GRAPHS.sample(rng) for _ in range(20)]
        assert [codes.architecture(code) for code in codes.codes(drawn).tolist()] == drawn

    def test_what_is_none_becomes_the_nearest(self) -> None:
        codes, rng = GenotypeCodes(GRAPHS), np.random.default_rng(0)
        repaired = 0
        for _ in range(10):
            code = rng.integers(codes.sizes).tolist()
            genotype = tuple(options[number] for options, number in zip(CHOICES, code, strict=True))
            found = codes.architecture(code)
            least = min(changes(member, genotype) for member in members())
            assert changes(found.genotype, genotype) == least
            assert codes.architecture(code) == found
            repaired += genotype not in members()
        assert repaired > 0


class TestLearning:
    """TPE and REINFORCE find better graphs than chance does with as many evaluations, by several seeds."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "options"), [("tpe", {}), ("reinforce", {"learning_rate": 0.3, "entropy": 0.0})]
    )  # fmt: skip
    def test_better_than_random(self, name: str, options: dict[str, Any]) -> None:
        seeds, evaluations, last = range(3), 90, 25
        learned = [searched(strategy(name, GRAPHS, seed, **options), evaluations) for seed in seeds]
        chance = [searched(strategy("random", GRAPHS, seed), evaluations) for seed in seeds]
        half_a_deviation = float(np.std(chance)) / 2  # of the mean of 75 it is four
        late = np.mean([values[-last:] for values in learned])
        assert late > np.mean(chance) + half_a_deviation, "what it proposes in the end is no better than chance"
        assert np.mean([max(values) for values in learned]) > np.mean([max(values) for values in chance])

    @pytest.mark.parametrize("name", ["tpe", "reinforce"])
    def test_the_same_seed_proposes_the_same(self, name: str) -> None:
        assert searched(strategy(name, GRAPHS, 1), 24) == searched(strategy(name, GRAPHS, 1), 24)


class TestTPEOnGraphs(StrategyContract):
    make = staticmethod(lambda space, seed: strategy("tpe(startup=6)", space, seed))
    space = GRAPHS
    evaluations = 20


class TestReinforceOnGraphs(StrategyContract):
    make = staticmethod(lambda space, seed: strategy("reinforce", space, seed))
    space = GRAPHS
    evaluations = 20


class TestEvolutionOnWords(StrategyContract):
    make = staticmethod(lambda space, seed: strategy("evolution(population=8, tournament=3)", space, seed))
    space = Words()


class TestHalvingOnWords(StrategyContract):
    make = staticmethod(lambda space, seed: strategy("successive-halving(first=9, guided=0)", space, seed))
    space = Words()


class TestWithoutChoices:
    @pytest.mark.parametrize("name", ["random", "local", "evolution", "freerea", "hyperband(guided=0)"])
    def test_what_varies_whole_architectures_needs_none(self, name: str) -> None:
        made = strategy(name, Words())
        for _ in range(5):
            asked = made.ask(3)
            assert asked
            made.tell([Result(proposal.architecture, (1.0,), proposal.rung) for proposal in asked])

    @pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "reinforce", "successive-halving", "hyperband"])
    def test_what_puts_them_together_says_so_when_it_is_made(self, name: str) -> None:
        with pytest.raises(InputError, match=r"space 'words' has no choices .* such as evolution, local or random"):
            strategy(name, Words())

    def test_grid_says_so_too(self) -> None:
        with pytest.raises(InputError, match="words"):
            strategy("grid", Words())

    def test_choices_without_a_nearest_member_are_none(self) -> None:
        class Careless(Words):
            choices = (("a", "b"), ("a", "b"))

        with pytest.raises(InputError, match="has no choices"):
            STRATEGIES["tpe"](Careless())
