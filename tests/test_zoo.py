"""A zoo of small networks, written in the many ways in which people write them, and what holds for each of them.

An animal says how it is built, how many parameters and multiply-adds (of one image) it has by hand, which proxies have
no value on it and why, and which other animal is the same function: their scores must be equal. Below the zoo stand the
laws for all animals, then what is refused.
"""

from __future__ import annotations

import functools
import random
import re
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from trainless.errors import NetworkError
from trainless.evaluation import Scores, score
from trainless.operations import JoinedTiles, Tiles
from trainless.proxies import PROXIES, proxies
from trainless.proxies.transferability import TRANSFERABILITY

# What reads features takes them from linear layers, so there a product that is written otherwise is another network.
EVERYTHING = [
    name for name in PROXIES
    if name not in ("skipped_layers", "zen:repeated", *(record.name for record in TRANSFERABILITY))
    and not name.startswith(("gradsign", "ntk_condition", "vkdnw"))  # these see convolutions and linear maps alone
    and not name.startswith("az_")  # these read blocks, which a network has to tell
    and name not in ("near:published", "meco:published", "meco_opt:published")  # these see modules
]  # fmt: skip
ZEN = {"zen": "no global average pooling", "zen:running": "no global average pooling"}
TINY = {"linear_regions": "^on images of 3 x 3 pixels: RuntimeError: "}
FIXED_SIZE = {**ZEN, **TINY}
NEGATIVE = {"logsynflow": "some gradient is below -1"}
UNITLESS = dict.fromkeys(
    ("nwot", "nwot:output", "nwot:all", "ncd", "swap", "linear_regions"), "no activation function was seen"
)


@dataclass(frozen=True)
class Animal:
    """One network of the zoo.

    Args:
        build: makes it; the seed is set before.
        params: number of its parameters, counted by hand.
        flops: multiply-adds of one image, counted by hand.
        lacks: proxies without a finite value, each with what its reason says.
        same_as: an animal that is the same function with the same weights.
        inputs: what it is called with.
        output: how its class scores are asked for.
        apart: proxies that differ from those of its equal, for they draw inputs of another shape or read a layer's
            output before its bias.
        precision: how near a score comes to that of its equal.
    """

    build: Callable[[], nn.Module]
    params: int
    flops: int
    lacks: dict[str, str] = field(default_factory=dict)
    same_as: str = ""
    inputs: Callable[[], Any] = lambda: batch()[0]
    output: str | int | None = None
    apart: tuple[str, ...] = ()
    precision: float = 1e-5


def batch(images: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 3 x 8 x 8 and their labels, two of each of four classes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, 3, 8, 8, generator=generator, dtype=torch.float32), torch.arange(images) % 4


# Convolutional networks: variations of one.


def convolutional(activation: nn.Module | None = None, norm: nn.Module | None = None) -> nn.Sequential:
    """Convolution, perhaps a normalisation, activation, convolution, activation, global pooling, head."""
    first, second, head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Linear(8, 4)
    activation = activation or nn.ReLU()
    return nn.Sequential(
        first, norm or nn.Identity(), activation, second, activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head
    )


PARAMS = (3 * 6 * 9 + 6) + (6 * 8 * 9 + 8) + (8 * 4 + 4)
FLOPS = 3 * 6 * 9 * 64 + 6 * 8 * 9 * 16 + 8 * 4


class Spelled(nn.Module):
    """An activation as a function of its own spelling."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


RELUS = {
    "functional": F.relu,
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "in_place_method": lambda x: x.clone().relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "where": lambda x: torch.where(x > 0, x, 0),
    "where_zeros": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "mask": lambda x: x * (x > 0),
    "float_mask": lambda x: x * (x > 0).to(x.dtype),
}

ACTIVATIONS = {
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "celu": nn.CELU(),
    "leaky_relu": nn.LeakyReLU(0.1),
    "softplus": nn.Softplus(),
    "tanh": nn.Tanh(),
    "relu6": nn.ReLU6(),
}


class BareParameters(nn.Module):
    """The convolutional network without a module but itself."""

    def __init__(self) -> None:
        super().__init__()
        layers = convolutional()
        self.kernels = nn.ParameterList([layers[number].weight for number in (0, 3, 7)])
        self.biases = nn.ParameterDict({"first": layers[0].bias, "second": layers[3].bias, "head": layers[7].bias})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, self.kernels[0], self.biases["first"], padding=1).relu()
        x = torch.conv2d(x, self.kernels[1], self.biases["second"], stride=2, padding=1).relu()
        return F.linear(x.mean((2, 3)), self.kernels[2], self.biases["head"])


def with_first(change: Callable[[nn.Conv2d], nn.Module]) -> nn.Sequential:
    """The convolutional network with its first layer changed."""
    network = convolutional()
    network[0] = change(network[0])
    return network


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return nn.utils.weight_norm(layer)


def unit_norm(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution whose weight has the spectral norm 1."""
    with torch.no_grad():
        layer.weight /= torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
    return layer


def spectral_norm(layer: nn.Conv2d) -> nn.Module:
    """The same by a parametrisation, its power iteration converged."""
    normed = parametrizations.spectral_norm(unit_norm(layer), n_power_iterations=300)
    normed.train()(torch.zeros(1, 3, 8, 8))
    return normed


def compiled(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.compile(network)  # type: ignore[return-value]


def frozen() -> nn.Module:
    return convolutional().requires_grad_(False)


class Checkpointed(nn.Module):
    """Recomputes its body in the backward pass."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.body = convolutional(norm=nn.BatchNorm2d(6))
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body[0](x)
        x = checkpoint(self.body[1:5], x, use_reentrant=self.use_reentrant)
        return self.body[5:](x)


class ControlFlow(nn.Module):
    """Takes a way that depends on the values, and loops over its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = convolutional()
        self.other = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in list(self.layers)[:-1]:
            x = layer(x)
        return self.layers[7](x) if x.sum() > 0 else self.other(x)


class Meter:
    def __init__(self) -> None:
        self.total, self.values = 0, []


class Stateful(nn.Module):
    """Counts its calls, keeps what it saw, has buffers and objects of every kind, a lock and a closure for a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.body = convolutional(norm=nn.BatchNorm2d(6))
        self.calls, self.history, self.last, self.lock = 0, [], None, threading.Lock()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(3), persistent=False)
        self.plain, self.array, self.recent, self.meter = torch.zeros(3), np.zeros(2), deque(maxlen=2), Meter()
        self.body[3].register_forward_hook(lambda module, _, output: output + 0 * self.body[3].bias.sum())

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        with torch.no_grad():
            self.steps += 1
            self.seen += x.detach().mean((0, 2, 3)).to(self.seen.dtype)
            self.plain += 1
        self.array += 1
        self.recent.append(x)
        self.meter.total += 1
        self.meter.values.append(self.meter.total)
        self.history.append(len(self.history))
        with self.lock:
            self.last = x = self.body(x)
        return x


class Replaced(nn.Module):
    """Its forward is replaced by a function that holds on to its modules."""

    def __init__(self) -> None:
        super().__init__()
        body = self.body = convolutional(norm=nn.BatchNorm2d(6))
        self.forward = lambda x: body(x)  # type: ignore[method-assign]


class SharedModule(nn.Module):
    """One convolution runs three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = torch.relu(self.shared(x))
        return self.head(x.mean((2, 3)))


class TiedParameter(nn.Module):
    """The same with three modules that hold one parameter."""

    def __init__(self) -> None:
        super().__init__()
        untied = SharedModule()
        self.stem, self.layers = untied.stem, nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))
        self.head = untied.head
        for layer in self.layers:
            layer.weight, layer.bias = untied.shared.weight, untied.shared.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x.mean((2, 3)))


class InPlace(nn.Module):
    """Residual sums, scalings and activations in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.in_place = nn.Linear(6, 4), in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x), inplace=self.in_place)
        y = self.body(x)
        if self.in_place:
            y += x
            y.mul_(0.5).relu_()
        else:
            y = torch.relu((y + x) * 0.5)
        return self.head(y.mean((2, 3)))


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.squeeze, self.excite = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        gate = self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))).sigmoid()
        return self.head((x * gate).mean((2, 3)))


def layered(*layers: nn.Module) -> nn.Sequential:
    """Some layers, ReLU, global pooling over all pixels, a head of 6 features."""
    return nn.Sequential(*layers, nn.ReLU(), Spelled(lambda x: x.flatten(2).mean(2)), nn.Linear(6, 4))


HEAD = 6 * 4

# Matrices.


def mlp(activation: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), activation or nn.ReLU(), nn.Linear(16, 4))


class Products(nn.Module):
    """The multilayer perceptron by a product of matrices of one's own spelling."""

    def __init__(self, product: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        layers = mlp()
        self.first, self.offset = nn.Parameter(layers[1].weight.detach()), layers[1].bias
        self.second, self.bias = nn.Parameter(layers[3].weight.detach()), layers[3].bias
        self.product = product

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.product(x.flatten(1), self.first, self.offset))
        return self.product(x, self.second, self.bias)


PRODUCTS = {
    "operator": lambda x, w, b: x @ w.T + b,
    "matmul": lambda x, w, b: torch.matmul(x, w.t()).add(b),
    "left": lambda x, w, b: (w @ x.T).T + b,
    "mm": lambda x, w, b: torch.mm(x, w.t()) + b,
    "addmm": lambda x, w, b: torch.addmm(b, x, w.t()),
    "einsum": lambda x, w, b: torch.einsum("ni,oi->no", x, w) + b,
    "bmm": lambda x, w, b: torch.bmm(x[None], w.t()[None])[0] + b,
    "convolution": lambda x, w, b: F.conv1d(x[:, :, None], w[:, :, None], b)[:, :, 0],
}


# Attention.


class Transformer(nn.Module):
    """Patches, positions, one block of attention and a perceptron, mean over the tokens, head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.positions = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(4, 8) / 10)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.perceptron = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 4)
        nn.init.normal_(self.attention.in_proj_bias, std=0.1)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        x = x + self.attend(self.norms[0](x))
        x = x + self.perceptron(self.norms[1](x))
        return self.head(x.mean(1))


class NeedsWeights(Transformer):
    """The attention module returns its probabilities as well, so that it computes them."""

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0]


class OwnAttention(Transformer):
    """Attention by linear layers and the function of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(8, 24), self.attention.out_proj
        self.project.weight, self.project.bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        del self.attention

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        queries, keys, values = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.project(x).chunk(3, dim=-1))
        return self.out(self.mix(queries, keys, values).transpose(1, 2).flatten(2))

    def mix(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(queries, keys, values)


class AttentionByHand(OwnAttention):
    """Attention by products."""

    def mix(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return (queries @ keys.transpose(-2, -1) / 2).softmax(-1) @ values


class EncoderLayer(Transformer):
    """The block as PyTorch ships it."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        block.self_attn, block.norm1, block.norm2 = self.attention, *self.norms
        block.linear1, block.linear2 = self.perceptron[0], self.perceptron[2]
        self.block = block
        del self.attention, self.norms, self.perceptron

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.block(x).mean(1))


ATTENTION_PARAMS = (3 * 8 * 16 + 8) + 4 * 8 + (24 * 8 + 24) + (8 * 8 + 8) + 32 + (8 * 16 + 16) + (16 * 8 + 8) + 36
ATTENTION_FLOPS = 4 * (3 * 8 * 16) + 4 * 24 * 8 + 2 * 4 * 4 * 8 + 4 * 8 * 8 + 2 * 4 * 8 * 16 + 8 * 4


# Recurrent networks: the rows of an image are a sequence of eight vectors of 24 numbers.


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.cell, self.head = kind(24, 6, batch_first=True, **options), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.run(x.transpose(1, 2).flatten(2)))

    def run(self, rows: torch.Tensor) -> torch.Tensor:
        return self.cell(rows)[0][:, -1]


class OwnRecurrence(Recurrent):
    """The same step by step."""

    def run(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = memory = rows.new_zeros(len(rows), 6)
        cell = self.cell
        for row in rows.unbind(1):
            from_input = F.linear(row, cell.weight_ih_l0, cell.bias_ih_l0)
            from_hidden = F.linear(hidden, cell.weight_hh_l0, cell.bias_hh_l0)
            if isinstance(cell, nn.LSTM):
                enter, forget, new, leave = (from_input + from_hidden).chunk(4, 1)
                memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
                hidden = leave.sigmoid() * memory.tanh()
            elif isinstance(cell, nn.GRU):
                (reset, update, new), (r, u, n) = from_input.chunk(3, 1), from_hidden.chunk(3, 1)
                update = (update + u).sigmoid()
                new = (new + (reset + r).sigmoid() * n).tanh()
                hidden = (1 - update) * new + update * hidden
            else:
                hidden = (from_input + from_hidden).relu()
        return hidden


# Several inputs and outputs.


class TwoInputs(nn.Module):
    """Two images, or one of twice the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        if y is None:
            x, y = x[:, :192].unflatten(1, (3, 8, 8)), x[:, 192:].unflatten(1, (3, 8, 8))
        return self.head(torch.relu(self.first(x) + self.second(y)).mean((2, 3)))


class Conditioned(nn.Module):
    """An image and a class of it: whole numbers that index a table."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.table = convolutional(), nn.Embedding(4, 4)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.table(condition)


@dataclass
class Answer:
    logits: torch.Tensor
    features: torch.Tensor


class Returns(nn.Module):
    """Returns its class scores among other things."""

    def __init__(self, pack: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.body, self.pack = convolutional(), pack

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body[:-1](x)
        return self.pack(self.body[-1](features), features)


def two_inputs() -> tuple[torch.Tensor, ...]:
    images, _ = batch()
    return images, images.flip(0) + 1


def one_flat_input() -> torch.Tensor:
    return torch.cat([tensor.flatten(1) for tensor in two_inputs()], 1)


SAME = {"params": PARAMS, "flops": FLOPS, "same_as": "convolutional"}
NORMED = {"params": PARAMS + 12, "flops": FLOPS, "same_as": "batch_norm"}
MLP = {"params": 192 * 16 + 16 + 16 * 4 + 4, "flops": 192 * 16 + 16 * 4, "lacks": FIXED_SIZE}
LESS = {**FIXED_SIZE, **NEGATIVE}
ATTENTION = {"params": ATTENTION_PARAMS, "flops": ATTENTION_FLOPS, "same_as": "transformer", "lacks": LESS}
LSTM = {"params": 24 * 30 + 48 + 28, "flops": 8 * 24 * 30 + 24, "lacks": FIXED_SIZE}
GRU = {"params": 18 * 30 + 36 + 28, "flops": 8 * 18 * 30 + 24, "lacks": FIXED_SIZE}
BIASED = ("fisher", "fisher:channel")
RNN = {"params": 6 * 30 + 12 + 28, "flops": 8 * 6 * 30 + 24, "lacks": FIXED_SIZE}
TWO = {"params": 2 * (3 * 6 * 9 + 6) + 28, "flops": 2 * 3 * 6 * 9 * 36 + 24}


def pointwise(before: nn.Module, behind: nn.Module, positions: tuple[int, ...]) -> nn.Sequential:
    """A convolution of as many channels as there are images, of which each pixel is one's own, and the mean."""
    convolution, head = nn.Conv2d(3, 8, 1), nn.Linear(8, 4)
    return nn.Sequential(before, convolution, nn.ReLU(), behind, Spelled(lambda x: x.mean(positions)), head)


POINTWISE = {"params": 32 + 36, "flops": 24 * 64 + 32}

ZOO: dict[str, Animal] = {
    "convolutional": Animal(convolutional, PARAMS, FLOPS),
    "batch_norm": Animal(lambda: convolutional(norm=nn.BatchNorm2d(6)), PARAMS + 12, FLOPS),
    "group_norm": Animal(lambda: convolutional(norm=nn.GroupNorm(2, 6)), PARAMS + 12, FLOPS, lacks=NEGATIVE),
    "layer_norm": Animal(
        lambda: convolutional(norm=nn.LayerNorm((6, 8, 8))), PARAMS + 768, FLOPS, lacks={**NEGATIVE, **TINY}
    ),
    "instance_norm": Animal(lambda: convolutional(norm=nn.InstanceNorm2d(6)), PARAMS, FLOPS),
    **{f"relu_{name}": Animal(lambda f=f: convolutional(Spelled(f)), **SAME) for name, f in RELUS.items()},
    "relu_by_absolute_value": Animal(
        lambda: convolutional(Spelled(lambda x: (x + x.abs()) / 2)), PARAMS, FLOPS, lacks=UNITLESS
    ),
    "relu_in_place": Animal(lambda: convolutional(nn.ReLU(inplace=True)), **SAME),
    **{name: Animal(lambda a=a: convolutional(a), PARAMS, FLOPS) for name, a in ACTIVATIONS.items()},
    "prelu": Animal(lambda: convolutional(nn.PReLU()), PARAMS + 1, FLOPS),
    "bare_parameters": Animal(BareParameters, **SAME),
    "weight_norm": Animal(lambda: with_first(parametrizations.weight_norm), **{**SAME, "params": PARAMS + 6}),
    "old_weight_norm": Animal(lambda: with_first(old_weight_norm), **{**SAME, "params": PARAMS + 6}),
    "unit_norm": Animal(lambda: with_first(unit_norm), PARAMS, FLOPS),
    "spectral_norm": Animal(lambda: with_first(spectral_norm), PARAMS, FLOPS, same_as="unit_norm"),
    "frozen": Animal(frozen, **SAME),
    "evaluation_mode": Animal(lambda: convolutional(norm=nn.BatchNorm2d(6)).eval(), **NORMED),
    "checkpointed": Animal(lambda: Checkpointed(use_reentrant=False), **NORMED),
    "checkpointed_reentrant": Animal(lambda: Checkpointed(use_reentrant=True), **NORMED),
    "control_flow": Animal(ControlFlow, **{**SAME, "params": PARAMS + 36}),
    "stateful": Animal(Stateful, **NORMED),
    "replaced_forward": Animal(Replaced, **NORMED),
    "data_parallel": Animal(lambda: nn.DataParallel(convolutional()), **SAME),
    "compiled": Animal(lambda: compiled(convolutional()), **SAME),
    "compiled_part": Animal(lambda: nn.Sequential(compiled(nn.DataParallel(convolutional()))), **SAME),
    "channels_last": Animal(lambda: convolutional().to(memory_format=torch.channels_last), **SAME),
    "half": Animal(lambda: convolutional().half(), **{**SAME, "same_as": ""}),
    "bfloat16": Animal(lambda: convolutional().bfloat16(), **{**SAME, "same_as": ""}),
    "double": Animal(lambda: convolutional().double(), **SAME, precision=1e-3),
    "dropout": Animal(lambda: convolutional(norm=nn.Dropout(0.3)), PARAMS, FLOPS),
    "shared_module": Animal(SharedModule, 24 + 330 + 28, 18 * 64 + 3 * 324 * 64 + HEAD),
    "tied_parameter": Animal(TiedParameter, 24 + 330 + 28, 18 * 64 + 3 * 324 * 64 + HEAD, same_as="shared_module"),
    "out_of_place": Animal(lambda: InPlace(False), 168 + 330 + 28, (162 + 324) * 64 + HEAD),
    "in_place": Animal(lambda: InPlace(True), 168 + 330 + 28, (162 + 324) * 64 + HEAD, same_as="out_of_place"),
    "gated": Animal(Gated, 168 + 14 + 18 + 28, 162 * 64 + 12 + 12 + HEAD),
    "transposed": Animal(
        lambda: layered(nn.ConvTranspose2d(3, 6, 2, stride=2)), 72 + 6 + 28, 72 * 64 + HEAD, lacks=ZEN
    ),
    "grouped": Animal(
        lambda: layered(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=2)), 24 + 168 + 28, 18 * 64 + 162 * 36 + HEAD,
        lacks=ZEN,
    ),
    "depthwise": Animal(
        lambda: layered(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6)), 24 + 60 + 28, 18 * 64 + 54 * 36 + HEAD,
        lacks=ZEN,
    ),
    "one_dimensional": Animal(
        lambda: layered(nn.Flatten(2), nn.Conv1d(3, 6, 3)), 54 + 6 + 28, 54 * 62 + HEAD, lacks=ZEN
    ),
    "three_dimensional": Animal(
        lambda: layered(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 6, 3)), 162 + 6 + 28, 162 * 36 + HEAD, lacks=ZEN
    ),
    "pointwise": Animal(lambda: pointwise(nn.Identity(), nn.Identity(), (2, 3)), **POINTWISE),
    "pointwise_in_tiles": Animal(
        lambda: pointwise(Tiles(2), nn.Sequential(JoinedTiles(4), nn.Unflatten(1, (4, 8))), (1, 3, 4)), **POINTWISE,
        lacks=ZEN, same_as="pointwise", apart=(*ZEN, "linear_regions", "ncd"),
    ),
    "lenet": Animal(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 12), nn.ReLU(), nn.Linear(12, 4)
        ),
        168 + 660 + 52, 162 * 36 + 54 * 12 + 48, lacks=FIXED_SIZE,
    ),
    "mlp": Animal(mlp, **MLP),
    **{
        f"product_by_{name}": Animal(
            lambda f=f: Products(f), **MLP, same_as="mlp", apart=BIASED if name in ("left", "bmm") else ()
        )
        for name, f in PRODUCTS.items()
    },
    "linear_only": Animal(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), 772, 768,
        lacks={**FIXED_SIZE, **UNITLESS, **TINY},
    ),
    "transformer": Animal(Transformer, ATTENTION_PARAMS, ATTENTION_FLOPS, lacks=LESS),
    "attention_with_weights": Animal(NeedsWeights, **ATTENTION),
    "own_attention": Animal(OwnAttention, **ATTENTION),
    "attention_by_hand": Animal(AttentionByHand, **ATTENTION),
    "encoder_layer": Animal(EncoderLayer, **ATTENTION),
    "lstm": Animal(lambda: Recurrent(nn.LSTM), **LSTM),
    "own_lstm": Animal(lambda: OwnRecurrence(nn.LSTM), **LSTM, same_as="lstm"),
    "gru": Animal(lambda: Recurrent(nn.GRU), **GRU),
    "own_gru": Animal(lambda: OwnRecurrence(nn.GRU), **GRU, same_as="gru"),
    "rnn": Animal(lambda: Recurrent(nn.RNN, nonlinearity="relu"), **RNN),
    "own_rnn": Animal(lambda: OwnRecurrence(nn.RNN, nonlinearity="relu"), **RNN, same_as="rnn"),
    "one_flat_input": Animal(TwoInputs, **TWO, inputs=one_flat_input),
    "two_inputs": Animal(
        TwoInputs, **TWO, inputs=two_inputs, same_as="one_flat_input", apart=(*ZEN, *TINY, "intrain:noise"),
    ),
    "conditioned": Animal(
        Conditioned, PARAMS + 16, FLOPS, inputs=lambda: (batch()[0], torch.arange(8) % 4),
    ),
    "returns_dictionary": Animal(lambda: Returns(lambda y, z: {"features": z, "logits": y}), **SAME, output="logits"),
    "returns_tuple": Animal(lambda: Returns(lambda y, z: (z, y)), **SAME, output=1),
    "returns_data_class": Animal(lambda: Returns(Answer), **SAME, output="logits"),
}  # fmt: skip

NAMES = list(ZOO)
COUNTS = ("params", "params:trainable", "flops", "trainable_layers", "vkdnw_dimension")
# Weights whose gradients nearly agree carry a layer of the one, and the square roots of small variances one of the
# other: rounding is large beside them.
ROUGH = {"zico": 1e-2, "near": 1e-3}
# Where a weight is no parameter, a mask is drawn, or precision is fixed, autograd has no plain counterpart.
OTHERWISE = {
    "weight_norm",
    "old_weight_norm",
    "spectral_norm",
    "dropout",
    "checkpointed_reentrant",
    "compiled",
    "compiled_part",
    "data_parallel",
}


def build(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ZOO[name].build()


def scored(name: str, network: nn.Module | None = None, **options: Any) -> Scores:
    animal = ZOO[name]
    options.setdefault("proxies", EVERYTHING)
    return score(network or build(name), animal.inputs(), batch()[1], output=animal.output, **options)


@functools.cache
def scores_of(name: str) -> Scores:
    return scored(name)


# The laws of the zoo.

KEPT_OTHERWISE = {name for name in NAMES if name.startswith("product_by")} | {
    "own_attention", "attention_by_hand", "encoder_layer"
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_finite_or_has_a_reason(name: str) -> None:
    scores, lacks = scores_of(name), {**ZOO[name].lacks}
    if name.startswith(("product_by", "lstm", "own_lstm", "rnn", "own_rnn")) or name == "mlp":
        lacks["ncd"] = "two images have the same code"  # a twentieth of few units tells no two images apart
    lacks |= {f"{proxy}:uniform": reason for proxy, reason in lacks.items() if f"{proxy}:uniform" in EVERYTHING}
    assert list(scores) == EVERYTHING
    assert {proxy for proxy, value in scores.items() if not np.isfinite(value)} == set(scores.reasons)
    assert set(scores.reasons) == set(lacks), scores.reasons
    assert [proxy for proxy, reason in scores.reasons.items() if not re.search(lacks[proxy], reason)] == []


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_by_hand(name: str) -> None:
    scores, animal = scores_of(name), ZOO[name]
    assert (scores["params"], scores["flops"]) == (animal.params, animal.flops)


@pytest.mark.parametrize("name", [name for name in NAMES if ZOO[name].same_as])
def test_one_function_has_one_score_however_it_is_written(name: str) -> None:
    animal, scores = ZOO[name], scores_of(name)
    expected = scores_of(animal.same_as)
    # Weights that are kept otherwise, turned around or in one tensor, are drawn otherwise.
    drawn = [] if name not in KEPT_OTHERWISE else [proxy for proxy in EVERYTHING if proxy.endswith(":uniform")]
    for proxy in EVERYTHING:
        if proxy not in (*COUNTS, *animal.apart, *drawn):
            precision = max(animal.precision, ROUGH.get(proxy, 0.0))
            assert scores[proxy] == pytest.approx(expected[proxy], rel=precision, abs=1e-7, nan_ok=True), proxy


def own_gradients(name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights that the network uses with their gradients by plain autograd, in double precision."""
    network, inputs, output = build(name).double().train().requires_grad_(), ZOO[name].inputs(), ZOO[name].output
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    returned = network(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs))
    if output is not None:
        returned = getattr(returned, output) if isinstance(returned, Answer) else returned[output]
    weights = {
        parameter: None
        for module in network.modules() if not isinstance(module, nn.LayerNorm | nn.Embedding)
        for own, parameter in module.named_parameters(recurse=False) if parameter.dim() > 1 and own != "positions"
    }  # fmt: skip
    gradients = torch.autograd.grad(F.cross_entropy(returned, batch()[1]), list(weights), allow_unused=True)
    return [(w.detach(), g) for w, g in zip(weights, gradients, strict=True) if g is not None]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHERWISE])
def test_gradients_are_those_of_plain_autograd_and_shared_weights_count_once(name: str) -> None:
    scores = scored(name, dtype=torch.float64, proxies="snip, plain, grad_norm, l2_norm")
    pairs = own_gradients(name)
    assert scores["snip"] == pytest.approx(sum(float((w * g).abs().sum()) for w, g in pairs), rel=1e-9)
    assert scores["plain"] == pytest.approx(sum(float((w * g).sum()) for w, g in pairs), rel=1e-9, abs=1e-15)
    assert scores["grad_norm"] == pytest.approx(sum(float(g.norm()) for _, g in pairs), rel=1e-9)
    assert scores["l2_norm"] == pytest.approx(sum(float(w.norm()) for w, _ in pairs), rel=1e-9)


def frozen_state(value: Any, seen: set[int]) -> Any:
    """All that a network holds, down to the bytes, as something that can be compared."""
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        gradient = None if not value.is_leaf or value.grad is None else frozen_state(value.grad, seen)
        return (
            id(value),
            value.data_ptr(),
            value.dtype,
            value.shape,
            value.stride(),
            value.requires_grad,
            data,
            gradient,
        )
    if isinstance(value, dict):
        return {key: frozen_state(item, seen) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return id(value), value.tobytes()
    if isinstance(value, Meter):
        return id(value), frozen_state(vars(value), seen)
    if isinstance(value, list | tuple | deque):
        return id(value), [frozen_state(item, seen) for item in value]
    if isinstance(value, nn.Module) and id(value) not in seen:
        seen.add(id(value))
        return id(value), frozen_state(vars(value), seen)
    return id(value)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_network_images_and_random_state_are_untouched_to_the_last_byte(name: str) -> None:
    network, inputs = build(name), ZOO[name].inputs()
    list(network.modules())[-1].eval()  # modes differ from module to module
    if (last := list(network.parameters())[-1]).is_floating_point():
        last.grad = torch.ones_like(last)
    before = frozen_state(network, set()), frozen_state(inputs, set())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index, union-attr]
    score(network, inputs, batch()[1], proxies=EVERYTHING, output=ZOO[name].output)
    assert (frozen_state(network, set()), frozen_state(inputs, set())) == before
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index, union-attr]
    assert torch.get_rng_state().tolist() == states[2]


@contextmanager
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def rounded_products() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.conv.fp32_precision = "bf16"  # type: ignore[attr-defined]
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.conv.fp32_precision == "bf16"  # type: ignore[attr-defined]
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.conv.fp32_precision = "none"  # type: ignore[attr-defined]


PLACES: dict[str, Callable[[], Any]] = {
    "outside": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "double_by_default": double_by_default,
    "rounded_products": rounded_products,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_same_wherever_they_are_asked_for(name: str) -> None:
    network, inputs, labels, expected = build(name), ZOO[name].inputs(), batch()[1], scores_of(name)
    # For one network place by place, for all of them in all places at once.
    for places in [[place] for place in PLACES] if name == "batch_norm" else [list(PLACES)]:
        with ExitStack() as stack:
            for place in places:
                stack.enter_context(PLACES[place]())
            scores = score(network, inputs, labels, proxies=EVERYTHING, output=ZOO[name].output)
        np.testing.assert_equal(dict(scores), dict(expected), err_msg=str(places))
        assert scores.reasons == expected.reasons


def test_network_and_images_made_in_inference_mode_are_scored() -> None:
    with torch.inference_mode():
        network, (images, labels) = build("batch_norm"), batch()
        scores = score(network, images, labels, proxies=EVERYTHING)
    assert scores == scores_of("batch_norm")
    assert score(network, images, labels, proxies=EVERYTHING) == scores


@pytest.mark.parametrize("name", [*ACTIVATIONS, "prelu", "convolutional"])
def test_the_code_of_a_unit_is_the_sign_of_its_input(name: str) -> None:
    network, codes = build(name), []
    activation = network[2]
    activation.register_forward_pre_hook(lambda _, inputs: codes.append((inputs[0] > 0).flatten(1)))
    network(batch()[0])
    units = torch.cat(codes, 1)
    agreement = torch.stack([(units == row).sum(1) for row in units]).double()
    assert scores_of(name)["nwot"] == pytest.approx(float(torch.linalg.slogdet(agreement).logabsdet), rel=1e-9)


def test_frozen_parameters_count_but_do_not_learn() -> None:
    images, labels = batch()
    network = convolutional()
    network[0].requires_grad_(False)
    scores = score(network, images, labels, proxies="params, params:trainable")
    assert scores == {"params": PARAMS, "params:trainable": PARAMS - 168}


def test_default_scores_a_network_without_global_pooling() -> None:
    scores = score(build("lenet"), *batch())
    told = {"skipped_layers", "az_expressivity", "az_progressivity", "az_trainability"}  # by architectures or by itself
    assert {record.name for record in proxies("all")} - told == set(scores)
    assert set(scores.reasons) == {"zen", "linear_regions"}
    assert scores.notes == ()


# What is refused.


class Distances(nn.Module):
    """Distances to centres, a parameter that is used in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(4, 192))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cdist(x.flatten(1), self.centres)


def quantised() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})


def scripted() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return nn.Sequential(torch.jit.script(convolutional()), nn.Identity())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (quantised, r"^Its module '1' is quantised \(Linear\): .* score the network before it is quantised\.$"),
        (scripted, r"^Its module '0' is a TorchScript module, .* give the Python module\.$"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), r"^Its module '0' is lazy \(LazyConv2d\) .* run the network once"),
        (
            lambda: Returns(lambda y, z: {"logits": y}),
            r"returns a dict, expected .* as in output='logits'; it has 'logits'\.$",
        ),
        (lambda: Returns(lambda y, z: (y, z)), r"returns a tuple, expected .* as in output=0; it has 0, 1\.$"),
        (lambda: Returns(Answer), r"returns a Answer, expected .* as in output='logits'; it has 'logits', 'features'"),
        (lambda: Returns(lambda y, z: None), r"returns a NoneType, expected one tensor"),
        (lambda: Returns(lambda y, z: y[:, :, None]), r"returns shape \(\d, 4, 1\), expected \(\d, classes\)"),
        (Distances, r"The weight 'centres' enters 'cdist', where it cannot be seen: write that as a convolution"),
        (lambda: nn.Linear(7, 4), r"^The network cannot be scored: RuntimeError: .*shape"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_sentence(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        score(make(), *batch())
    assert "\n" not in str(caught.value)


def test_lazy_network_that_ran_once_is_scored() -> None:
    network = nn.Sequential(
        nn.LazyConv2d(6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(4)
    )
    network(batch()[0])
    assert score(network, *batch(), proxies=EVERYTHING).reasons == {}


def test_counts_alone_of_a_network_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = convolutional()
    scores = score(network, *batch())
    assert (scores["params"], scores["flops"]) == (PARAMS, FLOPS)
    assert set(scores.reasons.values()) == {"the network is on the meta device, where its weights have no values"}
    assert len(scores.reasons) == len(scores) - 2
    assert score(network, torch.empty(2, 3, 8, 8, device="meta"), proxies="flops") == {"flops": FLOPS}
    with pytest.raises(NetworkError, match="the meta device"):
        score(network, *batch(), proxies="snip")


def test_one_proxy_that_cannot_be_computed_leaves_the_others() -> None:
    scores = score(build("convolutional"), batch()[0], proxies="nwot, snip, jacov")
    assert set(scores.reasons) == {"snip"}
    assert "give the labels" in scores.reasons["snip"]
