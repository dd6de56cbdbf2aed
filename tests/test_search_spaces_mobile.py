"""The mobile space against its definition written out, and networks that are really run."""

from __future__ import annotations

import copy
import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from trainless import score
from trainless.errors import ArchitectureError, InputError
from trainless.initialization import initialize
from trainless.search_spaces import search_space
from trainless.search_spaces.mobile import Mobile
from trainless.search_spaces.mobile_stages import channels_of, strides
from trainless.testing import ProductSpaceContract
from trainless.types import Architecture, Task

SPACE = Mobile()
SMALL = Mobile(width=4, depth=2)
CIFAR10 = Task("cifar10", classes=10)
DIGITS = Task("digits", classes=10, channels=1, height=8, width=8)
MIXED = "k3e4d2w100-k5e3d1w75se-k3e6d4w50-k7e2d3w150-k5e6d2w100se"
SIZE = (3 * 4 * 4 * 4 * 2) ** 5

architectures = st.integers(0, SIZE - 1).map(SPACE.__getitem__)
generators = st.integers(0, 2**32).map(np.random.default_rng)


def drawn(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def uniform(*genes: int | str) -> Architecture:
    return SPACE.make(genes * 5)


class TestContract(ProductSpaceContract):
    space = SMALL
    draws = 5


class TestContractOfTheThinnest(ProductSpaceContract):
    space = SPACE.thin()
    draws = 5


class TestByName:
    def test_the_name_gives_the_usual_size(self) -> None:
        assert search_space("mobile") == Mobile(width=16, depth=4)
        assert search_space("mobile", width=8, depth=2) == Mobile(8, 2)

    def test_an_unknown_option_is_named(self) -> None:
        with pytest.raises(InputError, match="'mobile' has no option 'cells', expected one of width, depth"):
            search_space("mobile", cells=3)

    @pytest.mark.parametrize("options", [{"width": 0}, {"depth": -1}, {"width": True}, {"depth": 2.0}])
    def test_wrong_options_are_refused(self, options: dict[str, int]) -> None:
        ((name, value),) = options.items()
        with pytest.raises(InputError, match=f"The {name} is {value}, expected a whole number of at least 1"):
            Mobile(**options)

    def test_spaces_are_values(self) -> None:
        assert {Mobile(8, 2), Mobile(8, 2), Mobile(8, 3)} == {Mobile(8, 2), Mobile(8, 3)}
        with pytest.raises(AttributeError):
            SMALL.width = 3

    def test_torch_is_loaded_only_to_build(self) -> None:
        code = (
            "import sys; from trainless.search_spaces import search_space; from trainless.types import Task\n"
            "s, t = search_space('mobile'), Task('t', 10); a = s.canonical(s[7])\n"
            "s.parameters(a, t), s.flops(a, t), s.draw(a), s.encode(a); print('torch' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout == "False\n"


class TestNumbers:
    def test_there_are_more_than_a_trillion(self) -> None:
        assert len(SPACE) == SPACE.size == math.prod(map(len, SPACE.choices)) == SIZE == 8_349_416_423_424

    @given(st.integers(0, SIZE - 1))
    @example(0)
    @example(SIZE - 1)
    def test_index_inverts_getitem(self, number: int) -> None:
        assert SPACE.index(SPACE[number]) == number

    @given(architectures)
    def test_getitem_inverts_index(self, architecture: Architecture) -> None:
        assert SPACE[SPACE.index(architecture)] == architecture

    def test_numbers_follow_the_product_of_the_choices(self) -> None:
        # The last stage has 384 settings: its choices vary as the last factors of a product do.
        products = itertools.product(*SPACE.choices[20:])
        assert [SPACE[number].genotype[20:] for number in range(384)] == list(products)
        assert SPACE[384].genotype[15:20] == (3, 2, 1, 50, "se")

    @pytest.mark.parametrize("number", [-1, SIZE])
    def test_there_is_no_architecture_outside(self, number: int) -> None:
        with pytest.raises(IndexError, match="architectures 0 to 8349416423423"):
            SPACE[number]

    def test_a_draw_takes_every_choice_alike(self) -> None:
        genotypes = list(zip(*(each.genotype for each in drawn(2000)), strict=True))
        for place, options in enumerate(SPACE.choices):
            for option in options:
                share = genotypes[place].count(option) / 2000
                assert share == pytest.approx(1 / len(options), abs=6 * (0.25 / 2000) ** 0.5)


class TestStrings:
    @given(architectures)
    def test_parse_inverts_str(self, architecture: Architecture) -> None:
        assert SPACE.parse(f" {architecture}\n") == architecture
        assert len(str(architecture)) <= 64

    def test_the_genotype_lists_stages(self) -> None:
        assert SPACE.parse(MIXED).genotype == (
            *(3, 4, 2, 100, "none"), *(5, 3, 1, 75, "se"), *(3, 6, 4, 50, "none"), *(7, 2, 3, 150, "none"),
            *(5, 6, 2, 100, "se"),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (MIXED.replace("k7", "k9"), "stage 4 is written 'k9e2d3w150'.*expected a form like"),
            (MIXED.replace("w75", "w80"), "stage 2 is written"),
            (MIXED + "e", "stage 5 is written"),
            (MIXED.replace("e4", "e04"), "stage 1 is written"),
            (MIXED.replace("e4", "e٤"), "stage 1 is written"),  # a digit, but not one of ours
            (MIXED.upper(), "stage 1 is written"),
            (MIXED + "-k3e2d1w50", "it has 6 stages instead of 5"),
            ("", "it has 1 stages"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, problem: str) -> None:
        with pytest.raises(ArchitectureError, match=problem):
            SPACE.parse(text)

    @given(st.text(alphabet="kedwsn-0123567", max_size=64))
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ArchitectureError):
            SPACE.parse(text)

    @pytest.mark.parametrize(
        "genotype", [(3, 2, 1, 50, "none") * 4, (3, 2, 1, 50, "none") * 6, (4, 2, 1, 50, "none") * 5, (), ("3",) * 25]
    )
    def test_other_genotypes_are_refused(self, genotype: tuple[str | int, ...]) -> None:
        with pytest.raises(ArchitectureError, match="expected 5 times a kernel"):
            SPACE.make(genotype)
        with pytest.raises(ArchitectureError, match="expected 5 times a kernel"):
            SPACE.parameters(Architecture("mobile", genotype, ""), CIFAR10)

    def test_architectures_of_other_spaces_are_refused(self) -> None:
        with pytest.raises(ArchitectureError, match="of 'nasbench201', expected one of 'mobile'"):
            SPACE.index(search_space("nasbench201")[0])

    def test_numbers_of_other_types_become_the_choices(self) -> None:
        made = SPACE.make([*map(np.int64, (3, 2, True, 50)), "none"] * 5)
        assert made == SPACE[0]
        assert {type(gene) for gene in made.genotype} == {int, str}


class TestMoves:
    @given(architectures, generators)
    def test_mutation_draws_a_neighbor(self, architecture: Architecture, rng: np.random.Generator) -> None:
        neighbors = SPACE.neighbors(architecture)
        assert len(set(neighbors)) == len(neighbors) == 5 * (2 + 3 + 3 + 3 + 1)
        assert SPACE.mutate(architecture, rng) in neighbors

    def test_every_neighbor_is_drawn(self) -> None:
        rng = np.random.default_rng(0)
        one = SPACE.parse(MIXED)
        assert {SPACE.mutate(one, rng) for _ in range(2000)} == set(SPACE.neighbors(one))

    @given(architectures, architectures, generators)
    def test_crossover_takes_each_choice_of_a_parent(
        self, a: Architecture, b: Architecture, rng: np.random.Generator
    ) -> None:
        child = SPACE.crossover(a, b, rng)
        assert all(own in pair for own, *pair in zip(child.genotype, a.genotype, b.genotype, strict=True))


class TestCanonical:
    def test_every_architecture_stands_for_itself_at_the_usual_size(self) -> None:
        for architecture in drawn(100):
            assert SPACE.canonical(architecture) == architecture

    @pytest.mark.parametrize("width", [8, 12, 16, 20, 24, 32, 48, 64])
    def test_widths_are_different_from_8_on(self, width: int) -> None:
        for stage in range(5):
            assert len({channels_of(stage, percent, width) for percent in (50, 75, 100, 150)}) == 4

    def test_the_usual_channels(self) -> None:
        assert [[channels_of(stage, percent, 16) for stage in range(5)] for percent in (50, 75, 100, 150)] == [
            [8, 12, 20, 32, 40], [12, 20, 32, 48, 60], [16, 24, 40, 64, 80], [24, 36, 60, 96, 120],
        ]  # fmt: skip

    @pytest.mark.slow
    @pytest.mark.parametrize("space", [SPACE.thin(), Mobile(2, 2), Mobile(16, 3)])
    def test_equal_networks_are_one_and_different_ones_are_not(self, space: Mobile) -> None:
        # Settings of the first stage, the others fixed: equal is what prints alike, layer by layer.
        printed: dict[Architecture, set[str]] = {}
        settings = itertools.product((3, 7), (2, 6), (1, 2, 3, 4), (50, 75, 100, 150), ("se",))
        for setting in settings:
            one = space.make([*setting, *SPACE[0].genotype[5:]])
            with torch.device("meta"):
                printed.setdefault(space.canonical(one), set()).add(str(space.build(one, DIGITS)))
        assert {len(texts) for texts in printed.values()} == {1}
        assert len(set.union(*printed.values())) == len(printed) < 64

    @given(architectures)
    def test_the_representative_is_the_first_of_its_class(self, architecture: Architecture) -> None:
        for space in (SPACE.thin(), Mobile(2, 2)):
            chosen = space.canonical(architecture)
            assert space.canonical(chosen) == chosen
            assert space.index(chosen) <= space.index(architecture)
            assert space.stages(chosen) == space.stages(architecture)


class TestEncoding:
    def test_choices_are_their_places(self) -> None:
        code = SPACE.encode(SPACE.parse(MIXED))
        assert code.dtype == np.float64
        assert code[:5].tolist() == [0, 2 / 3, 1 / 3, 2 / 3, 0]
        assert code[5:10].tolist() == [1 / 2, 1 / 3, 0, 1 / 3, 1]
        assert SPACE.encode(SPACE[0]).tolist() == [0] * 25
        assert SPACE.encode(SPACE[SIZE - 1]).tolist() == [1] * 25


class TestImages:
    @pytest.mark.parametrize(
        ("height", "width", "halving"),
        [
            (1, 1, []),
            (6, 6, []),
            (7, 7, [3]),
            (8, 8, [3]),
            (8, 64, [3]),
            (16, 16, [3, 4]),
            (28, 28, [2, 3, 4]),
            (32, 32, [2, 3, 4]),
            (64, 64, [0, 2, 3, 4]),
            (128, 128, [0, 2, 3, 4, 5]),
            (224, 320, [0, 2, 3, 4, 5]),
            (1024, 1024, [0, 2, 3, 4, 5]),
        ],
    )
    def test_they_are_halved_where_enough_pixels_remain(self, height: int, width: int, halving: list[int]) -> None:
        assert [n for n, each in enumerate(strides(Task("t", 2, 3, height, width))) if each == 2] == halving

    @pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 16, 28, 32, 48, 64, 96, 128])
    def test_the_last_map_has_at_least_4_pixels_a_side_or_the_image_itself(self, side: int) -> None:
        task = Task("t", 2, 1, side, side)
        features = SMALL.build(SMALL.make([7, 2, 1, 50, "se"] * 5), task).features(torch.zeros(2, 1, side, side))
        assert features.shape[2] == features.shape[3] == max(min(side, 4), -(-side // 32), features.shape[2])
        assert min(side, 4) <= features.shape[2] <= max(6, side // 32)


class Reference(nn.Module):
    """The network of the docstring, written out once more: module by module, by functions."""

    def __init__(self, architecture: Architecture, network: nn.Module, halving: set[int]) -> None:
        super().__init__()
        self.genes = [architecture.genotype[place : place + 5] for place in range(0, 25, 5)]
        self.weights = list(network.parameters())
        self.halving = halving

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = iter(self.weights)

        def convolved(x: torch.Tensor, stride: int = 1, depthwise: bool = False) -> torch.Tensor:
            weight = next(weights)
            padding = (weight.shape[2] - 1) // 2
            y = nn.functional.conv2d(x, weight, None, stride, padding, groups=x.shape[1] if depthwise else 1)
            mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
            scale, shift = next(weights), next(weights)
            return (y - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]

        x = convolved(x, 1 + (0 in self.halving)).clamp(min=0)
        for number, (_, _, depth, _, gate) in enumerate(self.genes, 1):
            for block in range(int(depth)):
                stride = 2 if block == 0 and number in self.halving else 1
                y = convolved(x).clamp(min=0)
                y = convolved(y, stride, depthwise=True).clamp(min=0)
                if gate == "se":
                    means = y.mean((2, 3))
                    for last in (False, True):
                        weight, bias = next(weights), next(weights)
                        means = means @ weight[:, :, 0, 0].t() + bias
                        means = 1 / (1 + torch.exp(-means)) if last else means.clamp(min=0)
                    y = y * means[:, :, None, None]
                y = convolved(y)
                x = y if block == 0 else x + y
        x = convolved(x).clamp(min=0).mean((2, 3))
        return x @ next(weights).t() + next(weights)


class TestNetworks:
    @pytest.mark.parametrize(("task", "halving"), [(CIFAR10, {2, 3, 4}), (DIGITS, {3})])
    def test_they_are_their_definition(self, task: Task, halving: set[int]) -> None:
        for architecture in (SPACE.parse(MIXED), *drawn(2)):
            network = SPACE.build(architecture, task).double()
            initialize(network, generator=torch.Generator().manual_seed(0))
            images = torch.randn(3, *task.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                expected = Reference(architecture, network, halving)(images)
                torch.testing.assert_close(network(images), expected)

    def test_a_network_is_as_wide_and_deep_as_its_genes_say(self) -> None:
        with torch.device("meta"):
            network = SPACE.build(SPACE.parse(MIXED), CIFAR10)
        depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
        assert [(m.kernel_size[0], m.groups) for m in depthwise] == [
            (3, 4 * 16), (3, 4 * 16), (5, 3 * 16), (3, 6 * 20), *[(3, 6 * 20)] * 3, (7, 2 * 20), *[(7, 2 * 96)] * 2,
            (5, 6 * 96), (5, 6 * 80),
        ]  # fmt: skip
        assert network.head.in_features == 4 * 80
        # A quarter of what enters the block, not of what is inside.
        squeezed = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None][::2]
        assert squeezed == [4, 24, 20]

    @pytest.mark.slow
    @pytest.mark.parametrize("task", [DIGITS, Task("wide", 7, 3, 30, 65)], ids=lambda task: task.name)
    def test_counts_are_those_of_the_built_network(self, task: Task) -> None:
        for architecture in drawn(50):
            with torch.device("meta"):
                network, image = SPACE.build(architecture, task), torch.empty(1, *task.input_shape)
            parameters = sum(each.numel() for each in network.parameters())
            assert SPACE.parameters(architecture, task) == parameters
            assert SPACE.flops(architecture, task) == multiply_adds(network.eval(), image)

    def test_sizes_fit_small_devices(self) -> None:
        sizes = [SPACE.parameters(each, CIFAR10) for each in drawn(500)]
        assert SPACE.parameters(SPACE[0], CIFAR10) < 20_000
        assert SPACE.parameters(SPACE[SIZE - 1], CIFAR10) > 2_000_000
        assert np.mean(np.array(sizes) < 300_000) > 0.5
        assert Mobile(width=32).parameters(SPACE[SIZE - 1], CIFAR10) > 7_000_000

    @pytest.mark.parametrize("number", [0, SIZE - 1])
    @pytest.mark.parametrize("task", [CIFAR10, DIGITS, Task("pixel", 2, 1, 1, 1)], ids=lambda task: task.name)
    def test_one_image_is_enough_to_evaluate(self, number: int, task: Task) -> None:
        network = SMALL.build(SMALL[number], task).eval()
        with torch.no_grad():
            assert network(torch.ones(1, *task.input_shape)).shape == (1, task.classes)

    def test_they_train(self) -> None:
        generator = torch.Generator().manual_seed(0)
        network = SMALL.build(SMALL.parse(MIXED), DIGITS)
        initialize(network, generator=generator)
        images, labels = torch.randn(32, 1, 8, 8, generator=generator), torch.arange(32) % 10
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(30):
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0] / 2

    @pytest.mark.slow
    def test_they_are_scripted_and_exported(self) -> None:
        network = SMALL.build(SMALL.parse(MIXED), DIGITS).eval()
        images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network(images)
            torch.testing.assert_close(scripted(network)(images), expected)
            exported = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("images")},))
            torch.testing.assert_close(exported.module()(images[:2]), expected[:2])
        copied = copy.deepcopy(network)
        copied.load_state_dict(network.state_dict())

    def test_the_resized_are_smaller(self) -> None:
        for architecture in drawn(20):
            counts = [SPACE.resized(share).parameters(architecture, CIFAR10) for share in (0.01, 0.25, 0.5, 0.75, 1)]
            assert counts == sorted(counts)
            assert counts[-1] == SPACE.parameters(architecture, CIFAR10)
        assert SPACE.resized(0.01) == SPACE.thin() == Mobile(1, 1)

    @pytest.mark.parametrize("fraction", [0, -1, 1.5])
    def test_other_fractions_are_refused(self, fraction: float) -> None:
        with pytest.raises(InputError, match=f"The fraction is {fraction}, expected"):
            SPACE.resized(fraction)


def multiply_adds(network: nn.Module, image: torch.Tensor) -> int:
    """Count by hooks: for each output value of a convolution or linear layer the inputs that it is a sum of."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()  # type: ignore[index, operator, union-attr]

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(image)
    return total


def scripted(network: nn.Module) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(network)


class TestProxies:
    @pytest.mark.slow
    @pytest.mark.parametrize("task", [DIGITS, Task("colour", 4, 3, 16, 16)], ids=lambda task: task.name)
    def test_all_are_finite(self, task: Task) -> None:
        generator = torch.Generator().manual_seed(0)
        images, labels = torch.randn(16, *task.input_shape, generator=generator), torch.arange(16) % task.classes
        for architecture in drawn(4, seed=1):
            network = SMALL.build(architecture, task)
            initialize(network, generator=generator)
            scores = score(network, images, labels)
            assert {name: value for name, value in scores.items() if not math.isfinite(value)} == {}
            assert scores["params"] == SMALL.parameters(architecture, task)
            assert scores["flops"] == SMALL.flops(architecture, task)


class TestPictures:
    def test_the_graph_is_a_chain_of_stages(self) -> None:
        edges = SPACE.graph(SPACE.parse(MIXED))
        assert [(edge.source, edge.target) for edge in edges] == list(
            itertools.pairwise(["input", "stem", "1", "2", "3", "4", "5", "output"])
        )
        assert edges[2].operation == "1 block, 20 channels, 5×5, expand 3, SE"
        assert edges[4].operation == "3 blocks, 96 channels, 7×7, expand 2"

    def test_the_drawing_has_a_line_for_each_stage(self) -> None:
        lines = SPACE.draw(SPACE.parse(MIXED)).splitlines()
        assert [line[:8].strip() for line in lines] == ["stem", *(f"stage {n}" for n in range(1, 6)), "head"]
        assert lines[3] == "stage 3 4 blocks, 20 channels, 3×3, expand 6"

    def test_a_shortcut_is_around_every_block_but_the_first_of_a_stage(self) -> None:
        assert SPACE.skip_spans(SPACE.parse(MIXED)) == (1,) * (1 + 0 + 3 + 2 + 1)
        assert SPACE.skip_spans(SPACE[0]) == ()
        assert SPACE.thin().skip_spans(SPACE[SIZE - 1]) == ()
