"""Units: ReLU is seen however it is written, and a gate is no unit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.passes.observers import Observer
from trainless.passes.units import UnitObserver, agreement

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
Function = Callable[[torch.Tensor], torch.Tensor]


def fill(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[x < 0] = 0
    return x


def product_in_place(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x *= x > 0
    return x


RELUS: dict[str, Function] = {
    "module": nn.ReLU(),
    "in place": lambda x: F.relu_(x.clone()),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0.0),
    "clamp in place": lambda x: x.clone().clamp_(0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where, turned round": lambda x: torch.where(x < 0, torch.zeros_like(x), x),
    "where as a method": lambda x: x.where(x > 0, torch.zeros(())),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max of two": lambda x: torch.max(torch.tensor(0.0), x),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "product with a mask": lambda x: x * (x > 0),
    "product with numbers": lambda x: (x > 0).float() * x,
    "product in place": product_in_place,
    "masked fill": lambda x: x.masked_fill(x <= 0, 0.0),
    "assignment": fill,
}
OTHERS: dict[str, Function] = {
    "gelu": nn.GELU(),
    "gelu written out": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "gelu by tanh": lambda x: 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3))),
    "silu": nn.SiLU(inplace=False),
    "silu written out": lambda x: x * torch.sigmoid(x),
    "leaky relu written out": lambda x: torch.where(x >= 0, x, 0.1 * x),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.Softplus(),
    "prelu": nn.PReLU(),
}


def kernels(function: Function) -> list[list[list[float]]]:
    units = UnitObserver(agreement)
    with Observer(units.rules):
        output = function(X)
    return [kernel.tolist() for kernel in units.reaching(output)]


@pytest.mark.parametrize("name", [*RELUS, *OTHERS])
def test_activation_has_the_code_of_its_input_once(name: str) -> None:
    expected = [[float(((a > 0) == (b > 0)).sum()) for b in X] for a in X]
    assert kernels({**RELUS, **OTHERS}[name]) == [expected]


@pytest.mark.parametrize("name", RELUS)
def test_spellings_are_relu(name: str) -> None:
    torch.testing.assert_close(RELUS[name](X), F.relu(X))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flip(1) * torch.sigmoid(x),
        lambda x: x.flip(1) * F.hardsigmoid(x),
        lambda x: x.view(4, 2, 3) * torch.sigmoid(x[:, :2]).view(4, 2, 1),
        lambda x: (1 - torch.sigmoid(x)) * x.flip(1),
        lambda x: F.glu(x, 1),
        lambda x: x.softmax(1),
        lambda x: x.clamp(min=-1),
        lambda x: F.threshold(x, 0.5, 0.0),
        lambda x: torch.maximum(x, x.flip(1)),
        lambda x: torch.where(x > 1, x, 0.0),
        lambda x: x * (x.flip(1) > 0),
    ],
)
def test_gates_and_what_does_not_turn_at_zero_are_no_units(function: Function) -> None:
    assert kernels(function) == []


def test_squeeze_and_excite_has_the_units_of_its_relu_alone() -> None:
    gate = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 6), nn.Sigmoid())
    assert kernels(lambda x: x * gate(x)) == kernels(lambda x: F.relu(gate[0](x)))


def test_a_gate_is_no_unit_for_any_of_several_observers() -> None:
    first, second = UnitObserver(agreement), UnitObserver(agreement)
    with Observer(first.rules, second.rules):
        output = torch.relu(X) * torch.sigmoid(X)
    assert [len(units.reaching(output)) for units in (first, second)] == [1, 1]
