"""NAS-Bench-201 against its published tables, its own definitions written out, and networks that are really run."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import math
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from trainless.errors import ArchitectureError, InputError, UnknownNameError
from trainless.search_spaces import SEARCH_SPACES, SearchSpace, search_space
from trainless.search_spaces.nasbench201 import EDGES, OPERATIONS, NASBench201
from trainless.testing import ProductSpaceContract
from trainless.types import Architecture, Task

SPACE = NASBench201()
SMALL = NASBench201(channels=4, cells=1)
CIFAR10 = Task("cifar10", classes=10)
MIXED = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"

architectures = st.integers(0, 15624).map(SPACE.__getitem__)
generators = st.integers(0, 2**32).map(np.random.default_rng)


@pytest.fixture(scope="module")
def everything() -> list[Architecture]:
    return list(SPACE)


@pytest.fixture(scope="module")
def classes(everything: list[Architecture]) -> dict[Architecture, list[Architecture]]:
    """All cells by the representative of their class."""
    found = defaultdict(list)
    for architecture in everything:
        found[SPACE.canonical(architecture)].append(architecture)
    return found


class TestContract(ProductSpaceContract):
    space = SMALL
    draws = 5


class TestByName:
    def test_the_name_gives_the_benchmark(self) -> None:
        assert search_space("nasbench201") == NASBench201(channels=16, cells=5)
        assert search_space("nasbench201", channels=8, cells=2) == NASBench201(8, 2)

    def test_an_object_is_given_back(self) -> None:
        assert search_space(SMALL) is SMALL

    def test_every_name_is_the_one_that_the_space_has(self) -> None:
        assert {name: kind().name for name, kind in SEARCH_SPACES.items()} == {name: name for name in SEARCH_SPACES}

    def test_an_unknown_name_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(UnknownNameError, match="'nasbench210': did you mean 'nasbench201'"):
            search_space("nasbench210")

    def test_an_unknown_option_is_named(self) -> None:
        with pytest.raises(InputError, match="no option 'depth', expected one of channels, cells"):
            search_space("nasbench201", depth=3)

    def test_an_object_takes_no_options(self) -> None:
        with pytest.raises(InputError, match="channels cannot be set"):
            search_space(SMALL, channels=8)

    @pytest.mark.parametrize("options", [{"channels": 0}, {"cells": -1}, {"channels": True}, {"cells": 2.0}])
    def test_wrong_options_are_refused(self, options: dict[str, int]) -> None:
        ((name, value),) = options.items()
        with pytest.raises(InputError, match=f"number of {name} is {value}, expected a whole number of at least 1"):
            NASBench201(**options)

    def test_spaces_are_values(self) -> None:
        assert {NASBench201(8, 2), NASBench201(8, 2), NASBench201(8, 3)} == {NASBench201(8, 2), NASBench201(8, 3)}
        with pytest.raises(AttributeError):
            SMALL.channels = 3

    def test_torch_is_loaded_only_to_build(self) -> None:
        code = (
            "import sys; from trainless.search_spaces import search_space; from trainless.types import Task\n"
            "s, t = search_space('nasbench201'), Task('t', 10); a = s.canonical(s[7])\n"
            "s.parameters(a, t), s.flops(a, t), s.draw(a), s.encode(a); print('torch' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout == "False\n"


class TestStrings:
    @pytest.mark.data
    def test_the_order_is_that_of_the_published_table(self, real_data: Path, everything: list[Architecture]) -> None:
        table = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz", usecols=["index", "architecture"])
        assert table["index"].tolist() == list(range(15625))
        assert [str(each) for each in everything] == table["architecture"].tolist()

    def test_parse_inverts_str_on_all_cells_and_index_numbers_them(self, everything: list[Architecture]) -> None:
        assert len(set(everything)) == len(SPACE) == 15625
        for number, architecture in enumerate(everything):
            assert SPACE.parse(str(architecture)) == architecture
            assert SPACE.index(architecture) == number

    def test_the_genotype_lists_edges_by_their_targets(self) -> None:
        genotype = ("nor_conv_1x1", "nor_conv_3x3", "none", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
        assert SPACE.parse(MIXED).genotype == genotype
        assert EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                MIXED.replace("avg_pool_3x3", "max_pool_3x3"),
                "'max_pool_3x3' is no operation .*nor_conv_1x1, nor_conv_3x3",
            ),
            (MIXED.replace("3x3~2", "3x3~1"), "'nor_conv_3x3~1' of node 3 should come from node 2"),
            (MIXED.replace("none~1", "none"), "'none' of node 2 should come from node 1"),
            (MIXED.replace("|none~1|", "|"), "node 2 is written .* needs 2 edges"),
            (MIXED.replace("|nor_conv_1x1~0|", "||nor_conv_1x1~0||"), "node 1 is written .* needs 1 edges"),
            ("|none~0|+|none~0|none~1|", "it has 2 nodes"),
            (MIXED + "+|none~0|", "it has 4 nodes"),
            (MIXED.strip("|"), "node 1 is written"),
            ("", "it has 1 nodes"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, problem: str) -> None:
        with pytest.raises(ArchitectureError, match=problem):
            SPACE.parse(text)

    @given(st.text(alphabet="|+~0123_nosekip", max_size=60))
    @example("|" * 7)
    @example("+" * 2)
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ArchitectureError):
            SPACE.parse(text)

    @pytest.mark.parametrize("number", [-1, 15625])
    def test_there_is_no_architecture_outside(self, number: int) -> None:
        with pytest.raises(IndexError, match="architectures 0 to 15624"):
            SPACE[number]

    @pytest.mark.parametrize(
        ("architecture", "problem"),
        [
            (Architecture("other", SPACE[0].genotype, "text"), "'text' is an architecture of 'other'"),
            (Architecture("nasbench201", ("none",) * 5, ""), "expected 6 of the operations none,"),
            (Architecture("nasbench201", ("conv",) * 6, ""), "'conv'.* is no cell of 'nasbench201'"),
        ],
    )
    def test_other_architectures_are_refused(self, architecture: Architecture, problem: str) -> None:
        for use in (SPACE.index, SPACE.canonical, SPACE.encode, SPACE.neighbors, lambda a: SPACE.build(a, CIFAR10)):
            with pytest.raises(ArchitectureError, match=problem):
                use(architecture)


class TestMoves:
    @given(architectures, generators)
    def test_mutation_is_one_of_the_neighbors(self, architecture: Architecture, rng: np.random.Generator) -> None:
        neighbors = SPACE.neighbors(architecture)
        assert SPACE.mutate(architecture, rng) in neighbors
        differences = [
            sum(a != b for a, b in zip(architecture.genotype, each.genotype, strict=True)) for each in neighbors
        ]
        assert differences == [1] * 24
        assert len(set(neighbors)) == 24

    @given(architectures, architectures, generators)
    def test_a_child_has_each_edge_from_a_parent(
        self, a: Architecture, b: Architecture, rng: np.random.Generator
    ) -> None:
        child = SPACE.crossover(a, b, rng).genotype
        assert all(own in pair for own, *pair in zip(child, a.genotype, b.genotype, strict=True))

    def test_draws_are_uniform(self) -> None:
        # Chi-squared with 23 and 63 degrees of freedom passes these limits with probability 1e-6.
        rng, a = np.random.default_rng(0), SPACE.parse(EMPTY)
        b = SPACE.parse(EMPTY.replace("none", "skip_connect"))
        for draw, outcomes, limit in (
            (lambda: SPACE.mutate(a, rng), 24, 71),
            (lambda: SPACE.crossover(a, b, rng), 64, 132),
        ):
            counts = pd.Series([str(draw()) for _ in range(6400)]).value_counts()
            assert len(counts) == outcomes
            expected = 6400 / outcomes
            assert ((counts - expected) ** 2 / expected).sum() < limit

    @given(architectures)
    def test_encoding_can_be_inverted(self, architecture: Architecture) -> None:
        code = SPACE.encode(architecture)
        assert code.shape == (30,)
        assert code.dtype == np.float64
        assert tuple(OPERATIONS[k] for k in code.reshape(6, 5).argmax(1)) == architecture.genotype
        assert sorted(code) == [0.0] * 24 + [1.0] * 6


class TestDescriptions:
    @pytest.mark.parametrize(
        ("text", "spans"),
        [
            (EMPTY, ()),
            (EMPTY.replace("none", "skip_connect"), (1, 2, 1, 3, 2, 1)),
            ("|none~0|+|skip_connect~0|none~1|+|skip_connect~0|avg_pool_3x3~1|skip_connect~2|", (2, 3, 1)),
        ],
    )
    def test_spans_are_target_minus_source(self, text: str, spans: tuple[int, ...]) -> None:
        assert SPACE.skip_spans(SPACE.parse(text)) == spans

    def test_a_drawing_marks_what_is_dead(self) -> None:
        assert SPACE.draw(SPACE.parse(MIXED)).splitlines() == [
            "node 0 = input",
            "node 1 = nor_conv_1x1(node 0)",
            "node 2 = nor_conv_3x3(node 0)",
            "output = avg_pool_3x3(node 0) + nor_conv_1x1(node 1) + nor_conv_3x3(node 2)",
        ]
        unreached = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|"
        assert SPACE.draw(SPACE.parse(unreached)).splitlines() == [
            "node 0 = input",
            "node 1 = 0",
            "node 2 = nor_conv_3x3(node 1) [dead]",
            "output = skip_connect(node 2) [dead]",
        ]

    @pytest.mark.parametrize(
        ("text", "zeroize", "expected"),
        [
            (EMPTY, True, "#+#+#"),
            (EMPTY, False, "(((0)@none)@none+(0)@none)@none+((0)@none)@none+(0)@none"),
            (EMPTY.replace("none", "skip_connect"), True, "0+0+0+0"),
            ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|", True, "#+#+0"),
            (
                "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
                True,
                "#+(#+(0)@nor_conv_3x3)@avg_pool_3x3+0",
            ),
            (
                "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|",
                False,
                "((0)@none+(0)@nor_conv_3x3)@none+((0)@nor_conv_3x3)@none+0",
            ),
        ],
    )
    def test_unique_strings_by_hand(self, text: str, zeroize: bool, expected: str) -> None:
        assert SPACE.unique_string(SPACE.parse(text), zeroize=zeroize) == expected

    def test_there_are_as_many_unique_strings_as_published(self, everything: list[Architecture]) -> None:
        assert len({SPACE.unique_string(each, zeroize=False) for each in everything}) == 12751
        assert len({SPACE.unique_string(each, zeroize=True) for each in everything}) == 6466


# Numbers in place of images: a convolution instance is any nonlinear function of its own that keeps zero at zero.
_WEIGHTS = {"nor_conv_1x1": np.sqrt([2, 3, 5, 7, 11, 13]), "nor_conv_3x3": np.sqrt([17, 19, 23, 29, 31, 37])}
_PATHS = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]


def fingerprint(architecture: Architecture, linear_pooling: bool) -> float:
    """A number that tells networks apart: what the cell computes, over all ways to hand weights to its convolutions."""
    operations = dict(zip(EDGES, architecture.genotype, strict=True))
    paths = [path for path in _PATHS if all(operations[edge] != "none" for edge in path)]
    live = {edge for path in paths for edge in path}
    kinds = [[edge for edge in EDGES if edge in live and operations[edge] == kind] for kind in _WEIGHTS]
    choices = [
        itertools.permutations(weights[: len(edges)])
        for edges, weights in zip(kinds, _WEIGHTS.values(), strict=True)
    ]  # fmt: skip
    orders = np.array([first + second for first, second in itertools.product(*choices)])
    weight = dict(zip(itertools.chain(*kinds), orders.T, strict=True))
    node = {0: np.full(len(orders), 0.7), 1: 0.0, 2: 0.0, 3: 0.0}
    for source, target in EDGES:
        x, operation = node[source], operations[source, target]
        if operation == "skip_connect":
            node[target] = node[target] + x
        elif operation == "avg_pool_3x3":
            node[target] = node[target] + (0.43 * x if linear_pooling else np.sin(0.43 * x))
        elif (source, target) in weight:
            node[target] = node[target] + np.sin(weight[source, target] * x)
    return float(np.mean(np.exp(np.broadcast_to(node[3], len(orders)))))


def clusters(values: list[float]) -> int:
    """How many different numbers there are; rounding moves them by 1e-15, nothing else by less than 1e-11."""
    return 1 + int((np.diff(np.sort(values)) > 1e-12).sum())


class TestSameNetworks:
    def test_classes_are_those_of_an_independent_count(
        self, everything: list[Architecture], classes: dict[Architecture, list[Architecture]]
    ) -> None:
        values = {each: fingerprint(each, linear_pooling=False) for each in everything}
        assert clusters(list(values.values())) == 5260
        assert len(classes) == 5260
        for members in classes.values():
            own = [values[each] for each in members]
            assert max(own) - min(own) < 1e-13, f"{members[0]} and another of its class are different networks"

    def test_pooling_is_linear_is_not_asked(self, classes: dict[Architecture, list[Architecture]]) -> None:
        assert clusters([fingerprint(each, linear_pooling=True) for each in classes]) == 5044

    def test_cells_without_a_path_are_one_class(self, classes: dict[Architecture, list[Architecture]]) -> None:
        assert len(classes[SPACE.parse(EMPTY)]) == 341

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            # The same convolution behind a skip, before or after it.
            ("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
             "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|", True),
            # A convolution used twice is not two convolutions.
            ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
             "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|", False),
            # A pooling used twice is two poolings.
            ("|avg_pool_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
             "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|", True),
            # x + x is not x.
            ("|skip_connect~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
             "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", False),
            # A convolution that nothing reads, and one that reads nothing.
            ("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
             "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|", True),
            # Pooling of a sum, and a sum of poolings: equal numbers, another network.
            ("|nor_conv_3x3~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|",
             "|nor_conv_3x3~0|+|none~0|none~1|+|avg_pool_3x3~0|avg_pool_3x3~1|none~2|", False),
        ],
    )  # fmt: skip
    def test_examples(self, one: str, other: str, same: bool) -> None:
        assert (SPACE.canonical(SPACE.parse(one)) == SPACE.canonical(SPACE.parse(other))) is same

    def test_the_representative_is_a_member_and_the_cheapest(
        self, classes: dict[Architecture, list[Architecture]]
    ) -> None:
        for chosen, members in classes.items():
            assert chosen in members
            assert SPACE.canonical(chosen) == chosen
            assert chosen.genotype.count("none") == max(each.genotype.count("none") for each in members)
            assert SPACE.parameters(chosen, CIFAR10) == min(SPACE.parameters(each, CIFAR10) for each in members)
            assert SPACE.flops(chosen, CIFAR10) == min(SPACE.flops(each, CIFAR10) for each in members)

    @pytest.mark.slow
    def test_equal_networks_give_equal_images(self, classes: dict[Architecture, list[Architecture]]) -> None:
        rng = np.random.default_rng(0)
        several = [members for members in classes.values() if len(members) > 1]
        for members in rng.permutation(np.arange(len(several)))[:200]:
            one, other = (several[members][k] for k in rng.choice(len(several[members]), 2, replace=False))
            assert some_weights_agree(one, other), f"{one} and {other} are different networks"

    def test_other_networks_give_other_images(self, classes: dict[Architecture, list[Architecture]]) -> None:
        rng = np.random.default_rng(0)
        alike = defaultdict(list)
        for chosen in classes:
            # Equal parameters and multiply-adds, and no two poolings, which could be equal by being linear.
            if chosen.genotype.count("avg_pool_3x3") < 2:
                alike[SPACE.parameters(chosen, CIFAR10), SPACE.flops(chosen, CIFAR10)].append(chosen)
        several = [members for members in alike.values() if len(members) > 1]
        for _ in range(60):
            members = several[int(rng.integers(len(several)))]
            one, other = (members[k] for k in rng.choice(len(members), 2, replace=False))
            assert not some_weights_agree(one, other), f"{one} and {other} are the same network"


def some_weights_agree(one: Architecture, other: Architecture) -> bool:
    """Whether two cells, run as built, give the same images for some way to hand the weights of one to the other."""
    images = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (SMALL.build(each, CIFAR10).features[2].double() for each in (one, other))
    expected, ours = first(images), living(first, images)
    theirs = living(second, images)
    if sorted(each.shape for each in ours) != sorted(each.shape for each in theirs):
        return False
    with torch.no_grad():
        for order in itertools.permutations(ours):
            if all(a.shape == b.shape for a, b in zip(order, theirs, strict=True)):
                for weight, own in zip(theirs, order, strict=True):
                    weight.copy_(own)
                if torch.allclose(second(images), expected, rtol=1e-9, atol=1e-9):
                    return True
    return False


def living(cell: nn.Module, images: torch.Tensor) -> list[nn.Parameter]:
    """Weights of the convolutions that the output depends on."""
    weights = [each.weight for each in cell.modules() if isinstance(each, nn.Conv2d)]
    output = cell(images)
    if not weights or not output.requires_grad:
        return []
    gradients = torch.autograd.grad(output.pow(3).sum(), weights, allow_unused=True)
    return [each for each, g in zip(weights, gradients, strict=True) if g is not None and g.abs().max() > 0]


class TestCosts:
    @pytest.mark.data
    @pytest.mark.parametrize(
        ("task", "unit"),
        [
            (Task("cifar10", 10), 1e6),
            (Task("cifar100", 100), 1e6),
            (Task("ImageNet16-120", 120, height=16, width=16), 1),
        ],
    )
    def test_parameters_are_the_published_ones(
        self, real_data: Path, everything: list[Architecture], task: Task, unit: float
    ) -> None:
        published = pd.read_csv(real_data / "nats-tss-freerea" / task.name / "params.csv").set_index("index")["params"]
        assert len(published) == 15625
        ours = pd.Series([SPACE.parameters(each, task) for each in everything])
        np.testing.assert_array_equal(ours, (published.sort_index() * unit).round().astype(int))

    def test_the_mixed_cell_has_its_known_costs(self) -> None:
        mixed = SPACE.parse(MIXED)
        assert SPACE.parameters(mixed, CIFAR10) == 615386
        assert round(SPACE.flops(mixed, CIFAR10) / 1e6, 2) == 86.43

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("space", "task"),
        [(NASBench201(6, 2), CIFAR10), (NASBench201(5, 1), Task("odd", 7, channels=1, height=11, width=6))],
    )
    def test_closed_forms_count_what_is_built(
        self, space: NASBench201, task: Task, everything: list[Architecture]
    ) -> None:
        # Costs add up over edges: one cell of each multiset of convolutions stands for all.
        kinds = {
            (each.genotype.count("nor_conv_1x1"), each.genotype.count("nor_conv_3x3")): each for each in everything
        }
        assert len(kinds) == 28
        for architecture in kinds.values():
            parameters, multiply_adds = counted(space, architecture, task)
            assert space.parameters(architecture, task) == parameters
            assert space.flops(architecture, task) == multiply_adds


def counted(space: SearchSpace, architecture: Architecture, task: Task) -> tuple[int, int]:
    """Parameters and multiply-adds of a built network, by what every layer gives out when it runs."""
    with torch.device("meta"):
        network, image = space.build(architecture, task).eval(), torch.empty(1, *task.input_shape)
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * math.prod(layer.weight.shape[1:])

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(image)
    return sum(each.numel() for each in network.parameters()), total


class TestNetworks:
    @pytest.mark.data
    @pytest.mark.parametrize("name", ["nb201_mixed", "nb201_light"])
    def test_it_computes_what_the_golden_network_computes(self, golden: Path, name: str) -> None:
        spec = importlib.util.spec_from_file_location("golden_networks", golden / "networks.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        theirs = module.build(name).double()
        ours = SPACE.build(SPACE.parse(module.MODELS[name][2]), CIFAR10).double()
        states = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
        ours.load_state_dict({key: value for (key, _), value in states})
        images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(ours.features(images), theirs.features(images))
        torch.testing.assert_close(ours(images), theirs(images))

    def test_its_parts_are_features_pool_and_head(self) -> None:
        network = SMALL.build(SPACE.parse(MIXED), Task("odd", 7, height=11, width=6))
        features = network.features(torch.ones(2, 3, 11, 6))
        assert features.shape == (2, 16, 3, 2)
        assert features.min() >= 0
        torch.testing.assert_close(network(torch.ones(2, 3, 11, 6)), network.head(features.mean((2, 3))))

    def test_a_dead_cell_still_has_all_gradients_defined(self) -> None:
        network, images = SMALL.build(SPACE.parse(EMPTY), CIFAR10), torch.ones(2, 3, 8, 8, requires_grad=True)
        network(images).sum().backward()
        assert images.grad is not None
        assert torch.equal(images.grad, torch.zeros_like(images))

    @pytest.mark.parametrize("text", [MIXED, EMPTY])
    def test_it_is_plain_pytorch(self, text: str, tmp_path: Path) -> None:
        task = Task("digits", 10, channels=1, height=8, width=8)
        network, images = SMALL.build(SPACE.parse(text), task).eval(), torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
        expected = network(images)
        exported = torch.export.export(network, (images,)).module()
        torch.testing.assert_close(exported(images), expected)
        torch.testing.assert_close(copy.deepcopy(network)(images), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(network).save(str(tmp_path / "network.pt"))
            torch.testing.assert_close(torch.jit.load(str(tmp_path / "network.pt"))(images), expected)

    def test_weights_come_from_the_global_seed(self) -> None:
        def stem(seed: int) -> torch.Tensor:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                return next(SMALL.build(SPACE.parse(MIXED), CIFAR10).parameters())

        assert torch.equal(stem(3), stem(3))
        assert not torch.equal(stem(3), stem(4))
