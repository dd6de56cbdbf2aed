"""The space of NAS-Bench-NLP: published recipes and counts, which cells are the same, and the contract."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from trainless.errors import ArchitectureError
from trainless.recurrence import RecurrentLayer
from trainless.recurrent_cells import RecurrentCell, Step, changes, ordered
from trainless.search_spaces.nasbench_nlp import NASBenchNLP
from trainless.testing import SearchSpaceContract
from trainless.types import Architecture, Task

SPACE = NASBenchNLP()


@pytest.mark.slow
class TestContract(SearchSpaceContract):
    space = NASBenchNLP(width=1)
    tasks = (
        Task("text", classes=7, channels=7, height=1, width=5),
        Task("sentiment", classes=2, channels=9, height=1, width=4),
        Task("rows", classes=3, channels=3, height=2, width=3),
    )


@pytest.mark.parametrize(
    ("name", "penn", "wiki"),
    [("rnn", 5_731_600, 15_066_078), ("gru", 9_174_800, 18_509_278), ("lstm", 10_896_400, 20_230_878)],
)
def test_published_parameters(name: str, penn: int, wiki: int) -> None:
    tokens = {penn: 10_000, wiki: 33_278}
    for parameters, classes in tokens.items():
        task = Task("text", classes=classes, channels=classes, height=1, width=35)
        assert SPACE.parameters(SPACE.parse(name), task) == parameters


def test_the_simplest_cell_is_that_of_pytorch() -> None:
    layer, x = _layer("rnn", hidden=6), torch.randn(3, 4, 1, 5)
    (linear,) = layer.maps.values()
    theirs = torch.nn.RNN(4, 6, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(linear.weight[:, :4])
        theirs.weight_hh_l0.copy_(linear.weight[:, 4:])
        theirs.bias_ih_l0.copy_(linear.bias)
        theirs.bias_hh_l0.zero_()
    expected, _ = theirs(x[:, :, 0].transpose(1, 2))
    torch.testing.assert_close(layer(x)[:, :, 0], expected.transpose(1, 2))


def test_an_lstm_keeps_a_second_state() -> None:
    layer, x = _layer("lstm", hidden=6), torch.randn(3, 4, 1, 5)
    gate = _lstm_gates(layer.cell)
    first = second = torch.zeros(3, 6)
    for moment in range(5):
        read = torch.cat([x[:, :, 0, moment], first], 1)
        linear = {name: layer.maps[gate[name]](read) for name in gate}
        added = torch.tanh(linear["cell"]) * torch.sigmoid(linear["input"])
        second = torch.sigmoid(linear["forget"]) * second + added
        first = torch.tanh(second) * torch.tanh(linear["output"])
    torch.testing.assert_close(layer(x)[:, :, 0, -1], first)


def _layer(name: str, hidden: int) -> RecurrentLayer:
    return RecurrentLayer(SPACE.cell_of(SPACE.parse(name)), 4, hidden, time=5)


def _lstm_gates(cell: RecurrentCell) -> dict[str, str]:
    """Which linear map is which gate, by what its activation is multiplied with."""
    steps = dict(cell.steps)
    reader = {read: name for name, step in cell.steps for read in step.inputs}
    gates: dict[str, str] = {}
    for name in (name for name, step in cell.steps if step.operation == "linear"):
        product = reader[reader[name]]
        if product == "h_new_0":
            gates["output"] = name
        elif "h_prev_1" in steps[product].inputs:
            gates["forget"] = name
        else:
            gates["cell" if steps[reader[name]].operation == "activation_tanh" else "input"] = name
    return gates


def _recipe(cell: RecurrentCell, names: Mapping[str, str], order: Sequence[int], rng: np.random.Generator) -> str:
    """A cell as a published recipe, with other names and orders."""
    steps = [(name, step) for name, step in (cell.steps[number] for number in order)]
    return json.dumps(
        {
            names.get(name, name): {
                "op": operation,
                "input": [
                    names.get(read, read)
                    for read in (inputs if operation == "blend" else rng.permutation(inputs).tolist())
                ],
            }
            for name, (operation, inputs) in steps
        }
    )


def test_names_and_orders_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    for architecture in [SPACE.parse("lstm"), SPACE.parse("gru"), *_sampled(30)]:
        cell = SPACE.cell_of(architecture)
        inner = [name for name, _ in cell.steps if name not in cell.states]
        names = dict(zip(inner, (f"v{number}" for number in rng.permutation(len(inner))), strict=True))
        later = rng.permutation(range(1, len(cell.states))).tolist()
        for number, other in enumerate(later, 1):
            names |= {f"h_new_{number}": f"h_new_{other}", f"h_prev_{number}": f"h_prev_{other}"}
        recipe = _recipe(cell, names, rng.permutation(len(cell.steps)).tolist(), rng)
        assert SPACE.parse(recipe) == architecture


def _sampled(count: int) -> list:  # type: ignore[type-arg]
    rng = np.random.default_rng(1)
    return [SPACE.sample(rng) for _ in range(count)]


def test_equal_cells_compute_the_same_and_others_do_not() -> None:
    """What two symmetric halves of a cell are called makes no difference: all namings lead to one form."""
    gates = [(f"{side}{number}", side) for side in "ab" for number in (0, 1)]
    steps = {name: Step("linear", ("x", "h_prev_0")) for name, _ in gates}
    for side in "ab":
        steps[side] = Step("elementwise_prod", (f"{side}0", f"{side}1"))
    steps["sum"] = Step("elementwise_sum", ("a", "b"))
    forms = set()
    for order in itertools.permutations(steps):
        position = {name: number for number, name in enumerate(order)}
        if all(position[read] < position[name] for name in steps for read in steps[name].inputs if read in steps):
            forms.add(ordered(RecurrentCell(tuple((name, steps[name]) for name in order), ("sum",))))
    assert len(forms) == 1


def test_samples_are_as_drawn_for_the_benchmark() -> None:
    cells = [SPACE.cell_of(cell) for cell in _sampled(200)]
    assert {len(cell.states) for cell in cells} == {1, 2, 3}
    for cell in cells:
        steps = dict(cell.steps)
        assert not any(read.startswith("h_prev") for name in cell.states for read in steps[name].inputs)


def test_changes_reach_any_number_of_steps() -> None:
    cell = SPACE.cell_of(SPACE.parse("rnn"))
    assert {len(changed.steps) for changed in changes(cell)} == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no operation and what it reads"),
        ("linear(x,h0)+tanh(1)", "are not all there"),
        ("h0=linear(x,h0)+h0=tanh(1)", "two operations give the state h0"),
        ("h0=linear(x,h1)", "reads 'h_prev_1', which nothing gives"),
        ("h0=linear(x,h0)+max(1)", "'max(1)' is no operation and what it reads"),
        ("{", "it is no JSON"),
        ("([(0, 4), (1, 4), (4, 5)], [0, 0, 0, 0, 6, -2], [5])", "neither a recipe nor"),
        (
            '{"x": {"op": "linear", "input": ["x"]}, "h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}',
            "'x' is an input, and can be no operation",
        ),
        ("[1, 2]", "neither a recipe nor"),
        ('{"h_new_0": 1}', "'h_new_0' is no operation with 'op' and 'input'"),
        ('{"a": {"op": "linear", "input": ["x", "h_prev_0"]}}', "are not all there"),
        ('{"h_new_0": {"op": "linear", "input": ["x", "h_prev_0", "q"]}}', "reads 'q', which nothing gives"),
        ('{"h_new_0": {"op": "max", "input": ["x", "h_prev_0"]}}', "'max' is no operation; there are linear, "),
        ('{"h_new_0": {"op": "linear", "input": ["x"]}}', "is linear of 1 values, where it takes 2 or 3"),
        ('{"h_new_0": {"op": "linear", "input": ["x", "x"]}}', "reads a value twice"),
        (
            '{"h_new_0": {"op": "activation_tanh", "input": ["x"]}}',
            "is activation_tanh of x, which is of another width",
        ),
        ('{"h_new_0": {"op": "activation_tanh", "input": ["h_prev_0"]}}', "leads to no state"),
        ('{"h_new_0": {"op": "linear", "input": ["x", "h_prev_0", "h_new_0"]}}', "reads its own result"),
    ],
)
def test_what_is_no_cell(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match="no architecture of nasbench_nlp") as caught:
        SPACE.parse(text)
    assert message in str(caught.value)


def test_what_was_put_together_otherwise_is_refused() -> None:
    known = SPACE.parse("rnn")
    for made in (Architecture("nasbench_nlp", known.genotype, "h0=tanh"), Architecture("nasbench_nlp", (), str(known))):
        with pytest.raises(ArchitectureError, match="is no cell of nasbench_nlp: make cells by `parse`"):
            SPACE.cell_of(made)


def test_the_compact_form_is_read() -> None:
    compact = "([(0, 4), (1, 4), (4, 5)], [0, 0, 0, 0, 6, 2], [5])"
    assert SPACE.parse(compact) == SPACE.parse("rnn")
    assert SPACE.parse(compact.replace("(", "[").replace(")", "]")) == SPACE.parse("rnn")
