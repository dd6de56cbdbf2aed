"""Contract tests to inherit: whoever writes a space, a strategy or an estimator gets its tests by naming it.

Example:
    >>> from trainless.search_spaces import search_space
    >>> class TestMine(SearchSpaceContract):
    ...     space = search_space("nasbench201", channels=4, cells=1)
    >>> TestMine().test_canonical_is_idempotent()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from trainless.data import load_data, split
from trainless.estimators import Estimator, Setting, distinct_sample
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.strategies.base import Proposal, Result, Strategy
from trainless.types import Architecture, Task

__all__ = ["EstimatorContract", "SearchSpaceContract", "StrategyContract"]


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
        """An architecture that was drawn has a number in the space, by which it is found again."""
        for architecture, _ in self.drawn():
            assert architecture.space == self.space.name, f"{architecture} names another space"
            number = self.space.index(architecture)
            assert 0 <= number < len(self.space), f"{architecture} has number {number}"
            assert self.space[number] == architecture, f"number {number} is {self.space[number]}, not {architecture}"

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

        for wrong in ("no architecture at all", str(self.space[0])[:-3]):
            with pytest.raises(ArchitectureError) as caught:
                self.space.parse(wrong)
            assert wrong in str(caught.value), f"the message does not name '{wrong}': {caught.value}"

    def test_mutation_changes_one_choice(self) -> None:
        """A mutation is a member that differs in exactly one choice; the same generator gives the same one."""
        for architecture, rng in self.drawn():
            seed = int(rng.integers(2**32))
            child, same = (self.space.mutate(architecture, np.random.default_rng(seed)) for _ in range(2))
            assert child == same, f"the same seed mutated {architecture} to {child} and {same}"
            assert _differences(architecture, child) == 1, f"{architecture} mutated to {child}"
            assert child in self.space.neighbors(architecture), f"{child} is no neighbor of {architecture}"

    def test_neighbors_are_distinct_members(self) -> None:
        """Neighbors are members, all different, one choice away, and the relation is symmetric."""
        for architecture, rng in self.drawn():
            neighbors = self.space.neighbors(architecture)
            assert len(set(neighbors)) == len(neighbors) > 0, f"{architecture} has a neighbor twice, or none"
            for each in neighbors:
                assert self.space[self.space.index(each)] == each, f"{each} is no member"
                assert _differences(architecture, each) == 1, f"{each} is not one choice from {architecture}"
            one = neighbors[int(rng.integers(len(neighbors)))]
            assert architecture in self.space.neighbors(one), f"{architecture} is no neighbor of its neighbor {one}"

    def test_crossover_takes_from_parents(self) -> None:
        """A child has each choice from one of its parents; the same generator gives the same child."""
        for a, rng in self.drawn():
            b, seed = self.space.sample(rng), int(rng.integers(2**32))
            child, same = (self.space.crossover(a, b, np.random.default_rng(seed)) for _ in range(2))
            assert child == same, f"the same seed crossed {a} and {b} to {child} and {same}"
            for own, *parents in zip(child.genotype, a.genotype, b.genotype, strict=True):
                assert own in parents, f"{child} has '{own}' from neither {a} nor {b}"

    def test_canonical_is_idempotent(self) -> None:
        """The representative is a member and represents itself."""
        for architecture, _ in self.drawn():
            chosen = self.space.canonical(architecture)
            assert self.space[self.space.index(chosen)] == chosen, f"{chosen} is no member"
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
                counted = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
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


class StrategyContract:
    """What every search strategy has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        make: makes a strategy of a space and a seed; a static method of the subclass.
        space: the space that is searched. One of at most `small` architectures is searched to its end.
        objectives: number of values that the strategy is told.
        has_chance: whether the seed decides anything.
        evaluations: results that each test tells; more than the strategy draws at random before it learns.
        batch: proposals asked for at a time.
        small: architectures up to which a space is searched to its end.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.strategies import strategy
        >>> class TestMine(StrategyContract):
        ...     make = staticmethod(lambda space, seed: strategy("local", space, seed))
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_the_seed_decides_all()
    """

    make: Callable[[SearchSpace, int], Strategy]
    space: SearchSpace
    objectives: int = 1
    has_chance: bool = True
    evaluations: int = 40
    batch: int = 3
    small: int = 100

    def worth(self, architecture: Architecture, rung: int = 0) -> tuple[float, ...]:
        """Sum up a worth of each feature, on another scale for each rung."""
        features = self.space.encode(architecture)
        weights = np.random.default_rng(0).normal(size=(len(features), self.objectives))
        return tuple(((features @ weights) * (rung + 1)).tolist())

    def results(self, proposals: Iterable[Proposal]) -> list[Result]:
        """Evaluate proposals."""
        return [Result(one, self.worth(one, rung), rung) for one, rung in proposals]

    def searched(self, strategy: Strategy, evaluations: int | None = None) -> list[Proposal]:
        """Ask and tell until that many are told or nothing more is proposed; gives all proposals in order."""
        told: list[Proposal] = []
        while len(told) < (evaluations or self.evaluations) and (asked := strategy.ask(self.batch)):
            strategy.tell(self.results(asked))
            told += asked
        return told

    def test_proposals_are_new_members(self) -> None:
        """What is proposed at a time is distinct, of the space, and was never told at that rung or a higher one."""
        strategy, highest = self.make(self.space, 0), dict[Architecture, int]()
        while len(highest) < self.evaluations and (asked := strategy.ask(self.batch)):
            assert len(asked) <= self.batch, f"{len(asked)} proposals for {self.batch}"
            assert len({one for one, _ in asked}) == len(asked), f"one is proposed twice: {asked}"
            for one, rung in asked:
                assert self.space[self.space.index(one)] == one, f"{one} is no member"
                assert highest.get(one, -1) < rung < strategy.rungs, f"{one} is proposed at rung {rung} again"
                highest[one] = rung
            strategy.tell(self.results(asked))
        assert highest, "nothing was proposed"

    def test_the_seed_decides_all(self) -> None:
        """The same seed searches in the same way, and another seed in another."""
        first, again = (self.searched(self.make(self.space, 1)) for _ in range(2))
        assert first == again, "the same seed made other proposals"
        if self.has_chance:
            assert first != self.searched(self.make(self.space, 2)), "another seed made the same proposals"

    def test_asking_changes_the_generator_alone(self) -> None:
        """With the generator put back, an ask is repeated, and asks that nobody answered leave no trace."""
        plain, nosy = self.make(self.space, 3), self.make(self.space, 3)
        for _ in range(self.evaluations // self.batch):
            state = nosy.rng.bit_generator.state
            asked = nosy.ask(self.batch)
            nosy.ask(self.batch + 2)
            nosy.rng.bit_generator.state = state
            assert nosy.ask(self.batch) == asked, "asked again with the generator put back, it proposed others"
            assert plain.ask(self.batch) == asked, "asks that nobody answered changed what is proposed"
            for strategy in (plain, nosy):
                strategy.tell(self.results(asked))

    def test_results_come_in_any_order(self) -> None:
        """Results may come late, one by one, and the last first."""
        strategy = self.make(self.space, 4)
        told = 0
        while told < self.evaluations and (asked := strategy.ask(self.batch)):
            for result in reversed(self.results(asked)):
                strategy.tell([result])
            told += len(asked)
        full = strategy.rungs - 1
        assert strategy.values, "after all these results it knows no value"
        for one, values in strategy.values.items():
            assert values == self.worth(one, full), f"{one} was worth {self.worth(one, full)}, not {values}"

    def test_learns_what_it_did_not_propose(self) -> None:
        """Results of others, without values and with changed ones are taken in, and not proposed."""
        strategy = self.make(self.space, 5)
        full, (a, b, c) = strategy.rungs - 1, (self.space[number] for number in range(3))
        low, high = (0.5,) * self.objectives, (2.0,) * self.objectives
        strategy.tell([Result(a, low, full), Result(b, (), full), Result(c, low, full)])
        asked = self.searched(strategy)
        strategy.tell([Result(a, high, full), Result(c, (), full), Result(b, (), full)])
        asked += strategy.ask(self.batch)
        assert strategy.values[a] == high, f"{a} was told to be worth {high}"
        assert b not in strategy.values, f"{b} has no value"
        assert c not in strategy.values, f"{c} has no value any more"
        assert {a, b, c}.isdisjoint(one for one, _ in asked), "what was told is proposed"

    def test_survives_that_all_is_refused(self) -> None:
        """Where nothing gets a value it still proposes, each architecture once."""
        strategy, refused = self.make(self.space, 6), set[Architecture]()
        while len(refused) < self.evaluations and (asked := strategy.ask(self.batch)):
            assert refused.isdisjoint(one for one, _ in asked), f"what was refused is proposed: {asked}"
            refused.update(one for one, _ in asked)
            strategy.tell([Result(one, (), rung) for one, rung in asked])
        assert len(refused) >= min(self.evaluations, len(self.space)), f"it ended after {len(refused)}"
        assert strategy.values == {}, "what was refused has values"

    def test_ends_with_the_space(self) -> None:
        """Every architecture is proposed once (by the cheapest evaluation), every third refused, and then no more."""
        self._need_small()
        strategy, proposed = self.make(self.space, 7), list[Architecture]()
        while asked := strategy.ask(self.batch):
            assert len(proposed) <= len(self.space), "it does not end"
            proposed += [one for one, _ in asked if one not in proposed]
            strategy.tell([
                Result(one, self.worth(one, rung) if self.space.index(one) % 3 else (), rung) for one, rung in asked
            ])  # fmt: skip
        assert set(proposed) == set(self.space), f"{len(proposed)} of {len(self.space)} were proposed"
        assert strategy.seen == set(self.space), "not all was told"
        assert all(self.space.index(one) % 3 for one in strategy.values), "what was refused has a value"
        assert strategy.ask(1) == [], "after the end it proposes more"

    def test_finds_the_best_of_a_small_space(self) -> None:
        """Searched to its end, the best is among what is known."""
        self._need_small()
        strategy = self.make(self.space, 8)
        self.searched(strategy, evaluations=len(self.space) * strategy.rungs + 1)
        best = max(self.space, key=self.worth)
        assert best in strategy.values, f"{best} is the best and has no value"

    def _need_small(self) -> None:
        if len(self.space) > self.small:
            import pytest

            pytest.skip(f"the space has more than {self.small} architectures: its end is not searched for")


class EstimatorContract:
    """What every estimator has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        make: makes the estimator; a static method of the subclass.
        space: whose architectures are estimated; small networks keep it quick.
        images: of the digits that are trained and validated on.
        count: architectures that each test estimates.
        processes: workers of the test that compares them with none; 0 leaves that test out.

    Example:
        >>> from trainless.estimators import estimator
        >>> from trainless.search_spaces import search_space
        >>> class TestMine(EstimatorContract):
        ...     make = staticmethod(lambda: estimator("zero-cost(params)"))
        ...     space = search_space("nasbench201", channels=4, cells=1)
        >>> TestMine().test_neither_order_nor_company_change_it()
    """

    make: Callable[[], Estimator]
    space: SearchSpace
    images: int = 120
    count: int = 3
    processes: int = 0

    def setting(self, seed: int = 0, workers: int = 0, store: Store | None = None) -> Setting:
        """Make a setting with some of the digits."""
        digits = load_data("digits")
        return Setting(self.space, split(digits, self.images / len(digits))[1], seed, workers, store)

    def sample(self) -> list[Architecture]:
        """Draw what is estimated."""
        return distinct_sample(self.space, self.count, 0, "contract")

    def values(self, setting: Setting, some: Sequence[Architecture]) -> list[tuple[str, float]]:
        """Estimate architectures at one go."""
        return [(each.architecture, each.value) for each in self.make().estimate(some, setting)]

    def test_each_architecture_gets_an_estimate(self) -> None:
        """There is one for each, in order, with a value that is finite or a reason, and times that are not negative."""
        some, told = self.sample(), self.make().estimate(self.sample(), self.setting())
        assert [each.architecture for each in told] == [str(one) for one in some], "not one for each, in order"
        for each in told:
            assert np.isfinite(each.value) != bool(each.reason), f"a value or a reason was expected: {each}"
            assert min(each.seconds, each.shared_seconds, each.epochs) >= 0, f"a cost is negative: {each}"

    def test_neither_order_nor_company_change_it(self) -> None:
        """One by one, the last first, in one session or in several, the values are those of all at one go."""
        some, setting = self.sample(), self.setting()
        whole = self.values(setting, some)
        with self.make().session(setting) as ask:
            backwards = [(each.architecture, each.value) for one in reversed(some) for each in ask([one])]
        assert backwards[::-1] == whole, "one by one, the last first, there are other values"
        assert self.values(setting, some[1:2]) == whole[1:2], "alone it has another value"
        assert self.values(setting, [some[0], some[0]]) == [whole[0]] * 2, "named twice it has another value"

    def test_goes_on_with_what_is_stored(self, tmp_path: Path) -> None:
        """With a store, and a part of the work done before, the values are the same."""
        some = self.sample()
        with Store(tmp_path / "store.db") as store:
            self.values(self.setting(store=store), some[:1])
            first = self.values(self.setting(store=store), some)
            again = self.values(self.setting(store=store), some)
        assert first == again == self.values(self.setting(), some), "a store changes the values"

    def test_workers_change_nothing(self) -> None:
        """With worker processes the values are those without."""
        if not self.processes:
            import pytest

            pytest.skip("no number of processes is set")
        some = self.sample()
        with_workers = self.values(self.setting(workers=self.processes), some)
        assert with_workers == self.values(self.setting(), some), "workers change the values"

    def test_random_state_is_left_alone(self) -> None:
        """Neither is the global random state read, nor is it changed."""
        first = self.values(self.setting(), self.sample()[:1])
        state = np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert self.values(self.setting(), self.sample()[:1]) == first, "the second time there is another value"
        after = np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert after == state, "the global random state was changed"


def _differences(a: Architecture, b: Architecture) -> int:
    return sum(one != other for one, other in zip(a.genotype, b.genotype, strict=True))
