"""A blueprint against the network that it builds, run and counted by PyTorch, and against sums written out."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainless.errors import InputError, UnknownNameError
from trainless.hardware import peak_memory
from trainless.search_spaces import search_space
from trainless.search_spaces.blueprint import Blueprint, Draft, Edge, Part
from trainless.search_spaces.nasbench_nlp import NASBenchNLP
from trainless.search_spaces.nodes import OPERATIONS, Node
from trainless.types import Task

TASK = Task("odd", classes=3, channels=2, height=9, width=6)
# What an operation needs said besides its channels.
SETTINGS: dict[str, dict[str, Any]] = {
    "reduction": {"stride": 2},
    "conv": {"kernel": 3, "stride": 2, "groups": 2, "has_bias": True},
    "inverted_residual": {"kernel": 5, "stride": 2, "expansion": 3, "squeezed": 2},
    "squeeze_excite_hard": {"squeezed": 2},
    "max_pool": {"kernel": 3},
    "conv_bn_gelu": {"kernel": 5, "stride": 2, "groups": 4},
    "whitening": {"kernel": 3},
    "resize": {"pixels": 7},
    "max_pool_bn": {"kernel": 3, "stride": 2},
    "avg_pool_3x3_bn": {"stride": 2},
    "sep_conv": {"kernel": 5, "stride": 2},
    "dil_conv": {"kernel": 3, "stride": 2, "dilation": 2, "is_affine": False},
    "patches": {"kernel": 2, "stride": 2},
    "transformer_block": {"heads": 2, "head_width": 3, "expansion": 2},
    "recurrent_cell": {"cell": NASBenchNLP().cell_of(NASBenchNLP().parse("gru"))},
    "time_conv": {"kernel": 5, "stride": 2, "dilation": 2, "groups": 2},
}
WIDER = {
    "conv", "relu_conv_bn", "conv_bn", "conv_bn_relu", "conv_bn_gelu", "conv_bn_silu", "reduction", "inverted_residual",
    "sep_conv", "dil_conv", "patches", "time_conv", "time_linear",
}  # fmt: skip


FLAT = {"linear", "flatten", "linear_bn", "recurrent", "last_step"}
TILED = {"tiles", "join_tiles"}  # of which one alone gives other images, not maps


def of(operation: str) -> Blueprint:
    """A network that has the operation in its middle."""
    draft = Draft(TASK)
    draft.add("features.0", "conv", 8, kernel=3)
    channels = 12 if operation in WIDER else {"cut": 3, "whitening": 72}.get(operation)
    draft.add("features.1", operation, channels, **SETTINGS.get(operation, {}))
    draft.classify(TASK.classes)
    return draft.blueprint()


class TestOperations:
    @pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - FLAT - TILED))
    def test_costs_and_shape_are_those_of_the_module(self, operation: str) -> None:
        blueprint = of(operation)
        network = blueprint.build().eval()
        node, image = blueprint.nodes[1], torch.zeros(1, *TASK.input_shape)
        assert sum(weight.numel() for weight in network.parameters()) == blueprint.parameters
        given = network.features(image)
        assert given.shape == (1, node.channels, *node.output_size)
        with FlopCounterMode(display=False) as counter:
            assert network(image).shape == (1, 3)
        assert counter.get_total_flops() // 2 == blueprint.multiply_adds
        assert blueprint.peak_memory == peak_memory(network, TASK.input_shape)

    @pytest.mark.parametrize("operation", ["linear_bn", "recurrent"])
    def test_costs_of_what_reads_no_maps_or_gives_none(self, operation: str) -> None:
        draft = Draft(TASK)
        if operation == "linear_bn":
            draft.add("flatten", "flatten", 2 * 9 * 6)
        draft.add("body", operation, 5, hidden=4)
        network = draft.blueprint().build().eval()
        assert sum(weight.numel() for weight in network.parameters()) == draft.blueprint().parameters
        assert network(torch.zeros(1, *TASK.input_shape)).shape == (1, 5)

    def test_weights_may_be_those_of_another_module(self) -> None:
        draft = Draft(Task("text", classes=4, channels=4, height=1, width=5))
        draft.add("embedding", "embedding", 6)
        draft.add("last", "last_step")
        draft.add("head", "linear", 4, tied="embedding")
        network = draft.blueprint().build()
        assert network.head.weight is network.embedding.weight
        assert sum(weight.numel() for weight in network.parameters()) == draft.blueprint().parameters == 4 * 6 + 4
        assert network(torch.zeros(2, 4, 1, 5)).shape == (2, 4)

    def test_an_even_kernel_halves_the_image(self) -> None:
        draft = Draft(Task("even", classes=2, height=8, width=6))
        draft.add("pool2", "max_pool", kernel=2, stride=2)
        assert draft.size == (4, 3)
        draft.classify(2)
        assert draft.blueprint().build()(torch.zeros(1, 3, 8, 6)).shape == (1, 2)


def cell(*edges: tuple[str, str, str], **settings: Any) -> list[Node]:
    return [Node("body", kind, 2, 2, (4, 4), source=a, target=b, **settings) for kind, a, b in edges]


class TestModules:
    def test_names_are_those_of_the_nodes(self) -> None:
        draft = Draft(TASK)
        draft.add("features.0", "conv", 4, block="stem")
        draft.add("features.1", "relu_conv_bn", repeat=2, block="body")
        draft.classify(TASK.classes)
        network = draft.blueprint().build()
        assert [name for name, _ in network.named_children()] == ["features", "pool", "flatten", "head"]
        assert [name for name, _ in network.features.named_children()] == ["0", "1", "2"]
        assert draft.blueprint().blocks == ("features.0", "features.1", "features.2")

    def test_a_chain_with_a_shortcut_adds_its_input(self) -> None:
        nodes = cell(("skip_connect", "input", "output"), ("tanh", "input", "1"), ("sigmoid", "1", "output"))
        body = Blueprint((Part(nodes),)).build().body
        x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(body(x), x + torch.sigmoid(torch.tanh(x)))

    def test_what_gives_one_value_is_added_up(self) -> None:
        nodes = cell(
            ("tanh", "input", "1"), ("sigmoid", "input", "1"), ("tanh", "1", "output"), ("elu", "input", "output")
        )
        x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        inner = torch.tanh(x) + torch.sigmoid(x)
        expected = torch.tanh(inner) + nn.functional.elu(x)
        torch.testing.assert_close(Blueprint((Part(nodes),)).build().body(x), expected)

    def test_what_is_joined_is_concatenated_in_order(self) -> None:
        joined = cell(("tanh", "input", "both"), ("elu", "input", "both"), is_joined=True)
        nodes = [*joined, *cell(("skip_connect", "both", "output"))]
        x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        network = Blueprint((Part(nodes),)).build()
        expected = torch.cat([torch.tanh(x), nn.functional.elu(x)], 1)
        torch.testing.assert_close(network.body(x), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.testing.assert_close(torch.jit.script(network)(x), expected)

    def test_a_value_that_nothing_gives_is_zero(self) -> None:
        nodes = cell(("none", "input", "1"), ("tanh", "1", "output"), ("elu", "input", "output"))
        x = torch.ones(1, 2, 4, 4)
        torch.testing.assert_close(Blueprint((Part(nodes),)).build().body(x), nn.functional.elu(x))

    @pytest.mark.parametrize("name", ["nasbench201(channels=4, cells=1)", "mobile(width=4, depth=2)"])
    def test_networks_are_copied_and_kept(self, name: str) -> None:
        space = search_space(name)
        network = space.build(space[5], TASK).eval()  # type: ignore[index]
        x = torch.randn(2, *TASK.input_shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
                torch.testing.assert_close(again(x), network(x))


class TestRefusals:
    def test_an_operation_that_is_none(self) -> None:
        with pytest.raises(UnknownNameError, match="operation 'relu_conv': did you mean 'relu_conv_bn'"):
            Draft(TASK).add("body", "relu_conv")

    @pytest.mark.parametrize("source", ["2", "lost"])
    def test_a_value_that_nothing_before_gives(self, source: str) -> None:
        nodes = cell(("tanh", source, "1"), ("tanh", "input", "2"), ("elu", "2", "output"))
        with pytest.raises(InputError, match=f"reads '{source}' for '1', expected a value"):
            Blueprint((Part(nodes),)).build()

    def test_repetitions_that_run_into_another_module(self) -> None:
        draft = Draft(TASK)
        draft.add("features.0", "relu", repeat=2)
        draft.add("features.1", "tanh")
        with pytest.raises(InputError, match=r"Two modules are 'features\.1'"):
            draft.blueprint().build()


class TestPictures:
    def test_the_chain_of_blocks_stands_for_a_network_without_a_cell(self) -> None:
        draft = Draft(TASK)
        draft.add("stem", "conv", 4)
        draft.add("body", "relu_conv_bn", block="stage 1", repeat=1)
        draft.classify(TASK.classes)
        blueprint = draft.blueprint(captions={"stem": "4 channels"})
        assert blueprint.draw().splitlines() == [
            "stem    4 channels", "stage 1 relu_conv_bn", "head    global_pool, flatten, linear",
        ]  # fmt: skip
        assert blueprint.graph() == (
            Edge("input", "stem", "4 channels"),
            Edge("stem", "1", "relu_conv_bn"),
            Edge("1", "output", "global_pool, flatten, linear"),
        )

    def test_dead_edges_are_marked_and_none_is_left_out(self) -> None:
        nodes = cell(("none", "input", "1"), ("tanh", "1", "output"), ("elu", "input", "output"))
        blueprint = Blueprint((Part(nodes),), pictured="body")
        assert blueprint.graph() == (Edge("1", "output", "tanh", False), Edge("input", "output", "elu"))
        assert blueprint.draw().splitlines() == [
            "node 0 = input", "node 1 = 0", "output = tanh(node 1) [dead] + elu(node 0)",
        ]  # fmt: skip

    def test_spans_count_values_in_a_cell_and_modules_in_a_chain(self) -> None:
        skips = cell(("skip_connect", "input", "1"), ("tanh", "1", "2"), ("skip_connect", "input", "output"))
        assert Blueprint((Part(skips),), pictured="body").skip_spans == (1, 3)
        shortcut = cell(("skip_connect", "input", "output"), ("tanh", "input", "output"), repeat=3)
        assert Blueprint((Part(shortcut),)).skip_spans == (1, 1, 1)


class TestParts:
    def test_shared_parts_are_put_in_order_by_position(self) -> None:
        first, second, third = (Node(name, "relu", 2, 2, (4, 4), position=n) for n, name in enumerate("abc"))
        blueprint = Blueprint((Part([first, third]), Part([second])))
        assert blueprint.nodes == (first, second, third)
        assert list(blueprint.modules) == ["a", "b", "c"]

    def test_blueprints_are_values(self) -> None:
        space = search_space("nasbench201")
        first, again, other = (space.blueprint(space[number], TASK) for number in (7, 7, 8))  # type: ignore[index]
        assert first == again != other
        # What two networks differ in are nodes: the ground of morphism.
        assert {node.name for node in set(other.nodes) - set(first.nodes)} <= set(first.modules)
