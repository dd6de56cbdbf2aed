"""Jets: each rule against PyTorch's own nested derivatives, and a refusal where there is no rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import jvp

from trainless.passes.jets import Jet, JetError

# The reference is PyTorch's nested forward differentiation, whose first use compiles its rules by torch.jit.script.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

Function = Callable[[Any], Any]


def blocks(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Value and three derivatives for two images, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 2, *shape, generator=generator, dtype=torch.float64)


def expected(function: Function, x: torch.Tensor) -> torch.Tensor:
    """Value, ∂/∂s, ∂/∂t and ∂²/∂s∂t at 0 of f(x0 + s x1 + t x2 + s t x3), by nested forward differentiation."""
    zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)

    def path(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return function(x[0] + s * x[1] + t * x[2] + s * t * x[3])

    def along_s(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return jvp(lambda s: path(s, t), (zero,), (one,))

    (value, first), (second, mixed) = jvp(along_s, (zero,), (one,))
    return torch.stack([value, first, second, mixed])


NORM = nn.BatchNorm2d(3).double()
with torch.no_grad():
    NORM.weight.copy_(torch.tensor([1.5, -0.5, 2.0]))
    NORM.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
EVALUATED = nn.BatchNorm2d(3).double().eval()
EVALUATED.running_var.copy_(torch.tensor([0.5, 2.0, 3.0]))
EVALUATED.running_mean.copy_(torch.tensor([0.5, -1.0, 0.0]))
WEIGHT = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
BIAS = torch.randn(5, generator=torch.Generator().manual_seed(8), dtype=torch.float64)

RULES: dict[str, Function] = {
    "batch_norm": lambda x: F.batch_norm(x, None, None, NORM.weight, NORM.bias, training=True),
    "batch_norm_evaluated": EVALUATED,
    "conv2d": lambda x: F.conv2d(x, WEIGHT, BIAS, stride=2, padding=1),
    "linear": lambda x: F.linear(x, torch.ones(2, 6, dtype=torch.float64), torch.ones(2, dtype=torch.float64)),
    "relu": F.relu,
    "relu6": nn.ReLU6(),
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
    "functional_relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "avg_pool2d": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d(1),
    "max_pool2d": nn.MaxPool2d(3, 2, 1),
    "flatten": nn.Flatten(),
    "mean": lambda x: x.mean((2, 3)),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape": lambda x: torch.reshape(x, (x.shape[0], 3, -1)),
    "cat": lambda x: torch.cat([x, F.relu(x)], dim=1),
    "sum": lambda x: 0 + x + F.relu(x) * 2.0,
    "product": lambda x: F.relu(x) * x,
    "product_with_a_gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "product_of_a_gate": lambda x: nn.Sigmoid()(F.adaptive_avg_pool2d(x, 1)) * x,
    "identity_dropout": lambda x: F.dropout(x, 0.5, training=False),
}


def batch_norm_written_out(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's own takes the batch's statistics for constants in the second of two nested derivatives."""
    centred = x - x.mean((0, 2, 3), keepdim=True)
    normalised = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return normalised * NORM.weight.detach().view(-1, 1, 1) + NORM.bias.detach().view(-1, 1, 1)


REFERENCES = {**RULES, "batch_norm": batch_norm_written_out}


@pytest.mark.parametrize("name", RULES)
def test_rule_agrees_with_nested_forward_differentiation(name: str) -> None:
    x = blocks((3, 6, 6))
    with torch.no_grad():
        found = RULES[name](Jet(x.flatten(0, 1), {}))
    torch.testing.assert_close(found.blocks.unflatten(0, (4, 2)), expected(REFERENCES[name], x))


def test_large_batch_norm_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainless.passes import jets

    x = blocks((3, 7, 5))
    monkeypatch.setattr(jets, "_PIECE", 4 * 3 * 11)  # eleven rows at a time, of seventy
    with torch.no_grad():
        found = RULES["batch_norm"](Jet(x.flatten(0, 1), {}))
    torch.testing.assert_close(found.blocks.unflatten(0, (4, 2)), expected(batch_norm_written_out, x))


def test_a_weight_moves_by_itself_and_by_its_direction() -> None:
    x = blocks((3, 6, 6))
    direction = torch.randn(WEIGHT.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)

    def path(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x[0] + s * x[1] + t * x[2] + s * t * x[3], (1 + s) * WEIGHT + t * direction, BIAS)

    (value, first), (second, mixed) = jvp(lambda t: jvp(lambda s: path(s, t), (zero,), (one,)), (zero,), (one,))
    found = F.conv2d(Jet(x.flatten(0, 1), {id(WEIGHT): direction}), WEIGHT, BIAS)
    torch.testing.assert_close(found.blocks.unflatten(0, (4, 2)), torch.stack([value, first, second, mixed]))


def test_in_place_operations_reach_other_names_of_the_activation() -> None:
    jet = Jet(blocks((3,)).flatten(0, 1), {})
    name = jet
    before = jet.blocks.clone()
    jet += jet
    torch.testing.assert_close(name.blocks, 2 * before)
    F.relu(jet, inplace=True)
    assert bool((name.blocks[:2] >= 0).all())


@pytest.mark.parametrize(
    "function",
    [
        F.gelu,
        lambda x: x + torch.ones(2, 3),
        lambda x: x * torch.ones(2, 3),
        lambda x: x * Jet(blocks((3, 1, 1)).flatten(0, 1), {}),
        lambda x: x.mean(0),
        lambda x: x.flatten(0),
        lambda x: x.view(-1, 3),
        lambda x: torch.cat([x, x]),
        lambda x: F.dropout(x, 0.5, training=True),
        lambda x: x.new_zeros(2),
    ],
)
def test_what_has_no_rule_is_refused(function: Function) -> None:
    with pytest.raises(JetError, match="jets"):
        function(Jet(blocks((3,)).flatten(0, 1), {}))
