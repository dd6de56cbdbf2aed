"""Weights are what the functions use: two spellings of a function are one, and what cannot be seen is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.errors import NetworkError
from trainless.passes import PassSpec, Signal, Signals, run_passes
from trainless.passes.weights import plain_weights, weight_layers

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
GRADIENTS = frozenset(
    {Signal.WEIGHTS, Signal.WEIGHT_GRADIENTS, Signal.CHANNEL_SALIENCIES, Signal.HESSIAN_FORM, Signal.RELU_KERNEL}
)
FLOW = PassSpec(input="ones", weights="absolute", batch_norm="bypassed", float64=True)


BATCH = PassSpec()


def measured(network: nn.Module, spec: PassSpec = BATCH, wanted: frozenset[Signal] = GRADIENTS) -> Signals:
    result = run_passes(network, IMAGES, LABELS, {spec: wanted}, dtype=torch.float64)[spec]
    assert result.failure == ""
    assert result.signals is not None
    return result.signals


def numbers(network: nn.Module) -> dict[str, float]:
    """What proxies make of the weights: sums of norms, of products and of saliencies."""
    signals, flow = measured(network), measured(network, FLOW, frozenset({Signal.WEIGHTS, Signal.WEIGHT_GRADIENTS}))
    none = measured(network, PassSpec(input="none"), frozenset({Signal.WEIGHTS}))
    layers = list(zip(signals.weights, signals.weight_gradients, signals.channel_saliencies, strict=True))
    return {
        "norms": sum(float(weight.norm()) for weight in none.weights),
        "gradient norms": sum(float(gradient.norm()) for _, gradient, _ in layers),
        "products": sum(float((weight * gradient).abs().sum()) for weight, gradient, _ in layers),
        "saliencies": sum(float(s.sum()) * w.numel() / len(s) for w, _, s in layers),
        "hessian": signals.hessian_form,
        "flow": sum(float((w * g).sum()) for w, g in zip(flow.weights, flow.weight_gradients, strict=True)),
    }


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.second, self.head = nn.Conv2d(5, 6, 3, 2, 1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        return self.head(F.relu(self.second(x)).mean((2, 3)))


class Bare(nn.Module):
    """The same with parameters of its own, the head as a product with a matrix or as an einsum."""

    def __init__(self, head: Callable[..., torch.Tensor], listed: bool = False) -> None:
        super().__init__()
        other = Convolutional()
        self.tensors = nn.ParameterList(p.detach().clone() for p in other.parameters())
        if listed:  # where named_parameters does not find them
            self.listed = list(self.tensors)
            del self.tensors
        self.multiply = head

    def unparametrised(self) -> Bare:
        self.listed = [parameter.detach().requires_grad_() for parameter in self.listed]
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w1, b1, g, b, w2, b2, w3, b3 = self.listed if hasattr(self, "listed") else self.tensors
        g, b, b1, b2, b3 = (t.to(x.dtype) for t in (g, b, b1, b2, b3))
        x = F.conv2d(x, weight=w1, bias=b1, padding=1)
        x = F.relu(F.batch_norm(x, None, None, g, b, training=True))
        x = F.relu(F.conv2d(x, w2, stride=2, padding=1) + b2.view(1, -1, 1, 1))
        return self.multiply(x.mean((2, 3)), w3) + b3


def normed(normalise: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = Convolutional()
    network.first = normalise(network.first)  # type: ignore[assignment]
    return network


CONVOLUTIONAL: dict[str, Callable[[], nn.Module]] = {
    "matmul": lambda: Bare(lambda x, w: x @ w.t()),
    "einsum": lambda: Bare(lambda x, w: torch.einsum("bi,oi->bo", x, w)),
    "matrix on the left": lambda: Bare(lambda x, w: (w @ x.t()).t()),
    "tensordot": lambda: Bare(lambda x, w: torch.tensordot(x, w, dims=([1], [1]))),
    "one image at a time": lambda: Bare(lambda x, w: torch.bmm(w.expand(len(x), -1, -1), x[:, :, None])[:, :, 0]),
    "weight computed": lambda: Bare(lambda x, w: F.linear(x, 2 * (w / 2))),
    "unregistered": lambda: Bare(F.linear, listed=True),
    "unregistered tensors": lambda: Bare(F.linear, listed=True).unparametrised(),
}


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_two_spellings_of_a_convolutional_network_are_one(name: str) -> None:
    assert numbers(CONVOLUTIONAL[name]()) == pytest.approx(numbers(Convolutional()), rel=1e-9)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_the_old_weight_norm_counts_by_its_value() -> None:
    assert numbers(normed(nn.utils.weight_norm)) == pytest.approx(numbers(Convolutional()), rel=1e-6)


def test_weight_norm_counts_by_its_value() -> None:
    network = normed(nn.utils.parametrizations.weight_norm)
    assert numbers(network) == pytest.approx(numbers(Convolutional()), rel=1e-6)


def test_spectral_norm_counts_by_its_value() -> None:
    network = normed(nn.utils.parametrizations.spectral_norm).eval()
    plain = Convolutional()
    plain.first.weight.data = network.first.weight.detach().clone()  # type: ignore[union-attr, operator]
    vectors = copy.deepcopy(network.state_dict())
    assert numbers(network) == pytest.approx(numbers(plain), rel=1e-5)  # its value is made in single precision here
    assert all(torch.equal(value, vectors[key]) for key, value in network.state_dict().items())


class Attention(nn.Module):
    """One layer of self-attention on patches, as PyTorch's module, packed, or in three projections."""

    def __init__(self, spelling: str, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.spelling, self.heads = spelling, heads
        self.patches, self.head = nn.Conv2d(3, width, 2, 2), nn.Linear(width, 3)
        layer = nn.MultiheadAttention(width, heads, batch_first=True)
        nn.init.normal_(layer.in_proj_bias)
        self.out = layer.out_proj
        if spelling == "module":
            self.layer = layer
            return
        self.out = nn.Linear(width, width)
        self.out.load_state_dict(layer.out_proj.state_dict())
        weights, biases = layer.in_proj_weight.detach(), layer.in_proj_bias.detach()
        if spelling == "packed":
            self.projection = nn.Linear(width, 3 * width)
            self.projection.load_state_dict({"weight": weights, "bias": biases})
            return
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        for linear, weight, bias in zip(self.projections, weights.chunk(3), biases.chunk(3), strict=True):
            linear.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = F.gelu(tokens + self.attention(tokens))
        return self.head(tokens.mean(1))

    def attention(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.spelling == "module":
            return self.layer(tokens, tokens, tokens, need_weights=False)[0]
        packed = self.spelling == "packed"
        parts = self.projection(tokens).chunk(3, -1) if packed else [linear(tokens) for linear in self.projections]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        if packed:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("spelling", ["packed", "three"])
def test_three_spellings_of_attention_are_one(spelling: str) -> None:
    assert numbers(Attention(spelling)) == pytest.approx(numbers(Attention("module")), rel=1e-9)


def test_attention_has_its_projections_as_layers() -> None:
    shapes = [tuple(weight.shape) for weight in measured(Attention("three")).weights]
    assert shapes == [(8, 3, 2, 2), (3, 8), (8, 8), (24, 8)]  # in the order in which they are registered


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image: as PyTorch's layer, its cell, or a linear map for each gate."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.spelling = spelling
        layer, self.head = nn.LSTM(24, 5, batch_first=True), nn.Linear(5, 3)
        tensors = [p.detach() for p in layer.parameters()]
        if spelling == "layer":
            self.layer = layer
        elif spelling == "cell":
            self.cell = nn.LSTMCell(24, 5)
            for own, given in zip(self.cell.parameters(), tensors, strict=True):
                own.data.copy_(given)
        else:
            self.inner = nn.ModuleList(nn.Linear(24, 5) for _ in range(4))
            self.outer = nn.ModuleList(nn.Linear(5, 5) for _ in range(4))
            for linears, weight, bias in ((self.inner, *tensors[::2]), (self.outer, *tensors[1::2])):
                for linear, w, b in zip(linears, weight.chunk(4), bias.chunk(4), strict=True):
                    linear.load_state_dict({"weight": w, "bias": b})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.transpose(1, 2).flatten(2)
        if self.spelling == "layer":
            return self.head(self.layer(rows)[0][:, -1])
        h = c = torch.zeros(len(x), 5)
        for row in rows.unbind(1):
            if self.spelling == "cell":
                h, c = self.cell(row, (h, c))
            else:
                i, f, g, o = (a(row) + b(h) for a, b in zip(self.inner, self.outer, strict=True))
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
        return self.head(h)


@pytest.mark.parametrize("spelling", ["cell", "gates"])
def test_three_spellings_of_a_recurrent_layer_are_one(spelling: str) -> None:
    assert numbers(Recurrent(spelling)) == pytest.approx(numbers(Recurrent("layer")), rel=1e-9)


def test_a_shared_weight_counts_once_with_all_its_gradient() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.encode, self.head = nn.Linear(192, 192, bias=False), nn.Linear(192, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.encode(x.flatten(1)))
            return self.head(torch.tanh(x @ self.encode.weight))  # the transpose, as a decoder has it

    network = Shared()
    signals = measured(network)
    network.double()
    (expected,) = torch.autograd.grad(F.cross_entropy(network(IMAGES.double()), LABELS), network.encode.weight)
    assert [tuple(weight.shape) for weight in signals.weights] == [(192, 192), (3, 192)]
    torch.testing.assert_close(signals.weight_gradients[0], expected)


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(3, 192))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(x.flatten(1), self.prototypes)


class Broadcast(Distances):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1)[:, None] * self.prototypes).sum(-1)


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.t() @ x


class Own(Distances):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Linear.apply(x.flatten(1), self.prototypes)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Distances(), "The weight 'prototypes' enters 'cdist', where it cannot be seen: write that as a convolution"),
        (Broadcast(), "The weight 'prototypes' enters 'mul'"),
        (Own(), "The weight 'prototypes' enters a function of its own"),
    ],
)
@pytest.mark.parametrize(
    ("spec", "signal"),
    [(BATCH, Signal.WEIGHT_GRADIENTS), (FLOW, Signal.WEIGHT_GRADIENTS), (PassSpec(input="none"), Signal.WEIGHTS)],
)
def test_a_weight_that_cannot_be_seen_is_refused_by_name(
    network: nn.Module, message: str, spec: PassSpec, signal: Signal
) -> None:
    result = run_passes(network, IMAGES, LABELS, {spec: frozenset({signal})})[spec]
    assert message in result.failure


def test_tables_positions_and_gains_are_no_weights() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.positions = nn.Embedding(4, 8), nn.Parameter(torch.randn(192, 8))
            self.gain, self.head = nn.Parameter(torch.ones(192, 8)), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.table((x.flatten(1) > 0).long()) * self.gain + self.positions
            return self.head(tokens.mean(1))

    assert [tuple(weight.shape) for weight in measured(Tokens()).weights] == [(3, 8)]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_change_nothing(reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Convolutional):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = checkpoint(lambda y: F.relu(self.norm(self.first(y))), x, use_reentrant=reentrant)
            x = checkpoint(lambda y: F.relu(self.second(y)), x, use_reentrant=reentrant)
            return self.head(x.mean((2, 3)))

    network = Checkpointed()
    before = copy.deepcopy(network.state_dict())
    assert numbers(network) == pytest.approx(numbers(Convolutional()), rel=1e-9)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_hessian_of_attention_is_that_of_a_double_backward_pass_by_hand() -> None:
    network = Attention("packed").double()
    found = measured(network).hessian_form
    weights = [network.patches.weight, network.projection.weight, network.out.weight, network.head.weight]
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        loss = F.cross_entropy(network(IMAGES.double()), LABELS)
    first = torch.autograd.grad(loss, weights, create_graph=True)
    second = torch.autograd.grad(sum((g.detach() * g).sum() for g in first), weights)
    assert found == pytest.approx(
        sum(float((w.detach() * h).sum()) for w, h in zip(weights, second, strict=True)), rel=1e-9
    )


def test_weights_of_plain_networks_need_no_run() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                            nn.Linear(4, 2))  # fmt: skip
    plain = plain_weights(network)
    assert plain is not None
    assert [weight.key for weight in plain] == ["0.weight", "5.weight"]
    assert plain_weights(Convolutional()) is None  # its forward may use a weight in any way
    assert plain_weights(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))) is None  # two that might be one
    assert plain_weights(nn.MultiheadAttention(4, 2)) is None


def test_weight_layers_are_convolutions_and_linear_maps() -> None:
    assert list(weight_layers(Convolutional())) == ["first", "second", "head"]


def test_refusals_are_network_errors() -> None:
    from trainless.evaluation import score

    with pytest.raises(NetworkError, match="'prototypes' enters 'cdist'"):
        score(Distances(), IMAGES, LABELS, proxies="snip")


def multiply_adds(network: nn.Module) -> int:
    spec = PassSpec(input="architecture")
    return measured(network, spec, frozenset({Signal.MULTIPLY_ADDS})).multiply_adds


@pytest.mark.parametrize("spelling", ["module", "packed", "three"])
def test_multiply_adds_of_attention_by_hand(spelling: str) -> None:
    tokens, width = 16, 8
    patches, projections, out = 3 * 4 * width * tokens, 3 * width * width * tokens, width * width * tokens
    products = 2 * tokens * tokens * width  # queries by keys, and shares by values, all heads together
    assert multiply_adds(Attention(spelling)) == patches + projections + products + out + width * 3


@pytest.mark.parametrize("spelling", ["layer", "cell", "gates"])
def test_multiply_adds_of_a_recurrent_layer_by_hand(spelling: str) -> None:
    assert multiply_adds(Recurrent(spelling)) == 8 * (24 * 20 + 5 * 20) + 5 * 3


def test_a_shared_layer_is_counted_at_each_use() -> None:
    layer = nn.Linear(192, 192)
    assert multiply_adds(nn.Sequential(nn.Flatten(), layer, layer, nn.Linear(192, 3))) == 2 * 192 * 192 + 192 * 3


def test_counts_need_no_values() -> None:
    spec = PassSpec(input="architecture")
    wanted = frozenset({Signal.PARAMETERS, Signal.MULTIPLY_ADDS})
    result = run_passes(Convolutional().to("meta"), IMAGES, None, {spec: wanted})[spec]
    assert result.signals is not None
    assert result.signals.parameters == sum(p.numel() for p in Convolutional().parameters())
    assert result.signals.multiply_adds == multiply_adds(Convolutional())


def test_frozen_parameters_count_but_do_not_learn() -> None:
    network = Convolutional()
    network.head.requires_grad_(False)
    spec = PassSpec(input="architecture")
    signals = measured(network, spec, frozenset({Signal.PARAMETERS, Signal.TRAINABLE_PARAMETERS}))
    assert signals.parameters - signals.trainable_parameters == 6 * 3 + 3
