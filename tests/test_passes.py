"""Passes: they measure what the formulas say on any network, and leave no trace."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import trainless
from trainless.errors import NetworkError
from trainless.evaluation import plan_passes, score
from trainless.passes import PassSpec, Signal, Signals, run_passes
from trainless.passes.weights import weight_layers
from trainless.proxies import PROXIES, proxies

NAMES = list(networks.ALL)
# Blocks are what a network has to tell.
EVERYTHING = [name for name in PROXIES if name not in ("skipped_layers", "zen:repeated") and not name.startswith("az_")]


def applicable(name: str) -> list[str]:
    without_pooling = ("pooled", "smooth")
    return [each for each in EVERYTHING if not (each.startswith("zen") and name in without_pooling)
            and not (each == "linear_regions" and name in without_pooling)]  # fmt: skip


def batch_signals(network: nn.Module, *signals: Signal, dtype: torch.dtype | None = None) -> Signals:
    images, labels = networks.batch()
    result = run_passes(network, images, labels, {PassSpec(): frozenset(signals)}, dtype=dtype)[PassSpec()]
    assert result.failure == ""
    assert result.signals is not None
    return result.signals


def plain_weights(network: nn.Module) -> list[torch.Tensor]:
    return list(dict.fromkeys(m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)))


def plain_loss(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    network.train()
    return F.cross_entropy(network(images), labels)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "dropped"])
def test_gradients_and_jacobian_are_those_of_plain_autograd(name: str) -> None:
    network = networks.build(name).double()
    signals = batch_signals(network, Signal.WEIGHT_GRADIENTS, Signal.INPUT_JACOBIAN)
    images, labels = networks.batch()
    inputs = images.double().requires_grad_()
    weights = plain_weights(network)
    expected = torch.autograd.grad(plain_loss(network, inputs, labels), weights, allow_unused=True)
    for ours, theirs, weight in zip(signals.weight_gradients, expected, weights, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(weight) if theirs is None else theirs)
    (jacobian,) = torch.autograd.grad(network(inputs).sum(), inputs)
    assert signals.input_jacobian is not None
    torch.testing.assert_close(signals.input_jacobian, jacobian.flatten(1))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "dropped"])
def test_hessian_form_is_that_of_a_double_backward_pass(name: str) -> None:
    network = networks.build(name).double()
    images, labels = networks.batch()
    weights = plain_weights(network)
    loss = plain_loss(network, images.double(), labels)
    first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)
    inner = torch.stack([(g.detach() * g).sum() for g in first]).sum()
    second = torch.autograd.grad(inner, weights, allow_unused=True, materialize_grads=True)
    expected = sum((w.detach() * h).sum().item() for w, h in zip(weights, second, strict=True))
    assert batch_signals(network, Signal.HESSIAN_FORM).hessian_form == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "tied"])  # the reference knows no layer that runs twice
def test_channel_saliencies_are_those_of_kept_activations(name: str) -> None:
    network = networks.build(name).double()
    if name == "dropped":
        network.forward = super(networks.Dropped, network).forward  # type: ignore[method-assign]
    signals = batch_signals(network, Signal.CHANNEL_SALIENCIES)
    images, labels = networks.batch()
    # The reference puts a clone behind each layer, so that nothing later can overwrite what it looks at.
    kept: dict[nn.Module, torch.Tensor] = {}

    def hook(module: nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        kept[module] = output
        return output.clone()

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    loss = plain_loss(network, images.double(), labels)
    gradients = torch.autograd.grad(loss, [kept[m] for m in layers], allow_unused=True)
    for handle in handles:
        handle.remove()
    for ours, layer, gradient in zip(signals.channel_saliencies, layers, gradients, strict=True):
        if gradient is None:
            assert float(ours.sum()) == 0
            continue
        product = kept[layer] * gradient
        sums = product.flatten(2).sum(2) if product.dim() == 4 else product
        torch.testing.assert_close(ours, (sums.square().mean(0) / 2).detach())


def test_relu_kernel_counts_agreements() -> None:
    network = networks.build("plain")
    kernel = batch_signals(network, Signal.RELU_KERNEL).relu_kernel
    images, _ = networks.batch()
    codes = []
    handle = network.relu.register_forward_hook(lambda m, i, o: codes.append((o > 0).flatten(1)))
    network.train()(images)
    handle.remove()
    units = torch.cat(codes, 1)
    expected = torch.stack([(units == row).sum(1) for row in units]).double()
    assert kernel is not None
    torch.testing.assert_close(kernel, expected, rtol=0, atol=0)


@pytest.mark.parametrize("other", ["in_place", "functional"])
def test_relu_kernel_is_the_same_however_relu_is_written(other: str) -> None:
    expected = batch_signals(networks.build("plain"), Signal.RELU_KERNEL).relu_kernel
    found = batch_signals(networks.build(other), Signal.RELU_KERNEL).relu_kernel
    assert expected is not None
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_relu_of_a_dead_branch_counts_only_when_asked_for() -> None:
    network, (images, labels) = networks.build("dead_branch"), networks.batch()
    alive = networks.Plain()
    alive.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("dead")})
    scores = score(network, images, labels, proxies="nwot, nwot:all")
    assert scores["nwot"] == score(alive, images, labels, proxies="nwot")["nwot"]
    assert scores["nwot:all"] != scores["nwot"]


def test_no_relu_gives_nan() -> None:
    images, labels = networks.batch()
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    assert np.isnan(score(network, images, labels, proxies="nwot")["nwot"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_scored_alone_equals_scored_in_the_group(name: str) -> None:
    network, (images, labels) = networks.build(name), networks.batch()
    names = applicable(name)
    group = score(network, images, labels, proxies=names)
    backwards = score(network, images, labels, proxies=names[::-1])
    for each in names:
        alone = score(network, images, labels, proxies=[each])[each]
        np.testing.assert_equal([alone, backwards[each]], [group[each]] * 2, err_msg=each)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_about_the_network_or_the_random_state_changes(name: str) -> None:
    network, (images, labels) = networks.build(name), networks.batch()
    list(network.modules())[1].eval()  # modes differ from module to module
    next(network.parameters()).requires_grad_(False)
    next(iter(network.parameters())).grad = None
    list(network.parameters())[-1].grad = torch.ones_like(list(network.parameters())[-1])
    before = copy.deepcopy(network.state_dict())
    addresses = [p.data_ptr() for p in network.parameters()]
    modes = [m.training for m in network.modules()]
    flags = [p.requires_grad for p in network.parameters()]
    image_copy = images.clone()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr, index]

    score(network, images, labels, proxies=applicable(name))

    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert [p.data_ptr() for p in network.parameters()] == addresses
    assert [m.training for m in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == flags
    assert [p.grad is None for p in network.parameters()] == [True] * (len(flags) - 1) + [False]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())
    assert "forward" not in vars(network)
    torch.testing.assert_close(images, image_copy, rtol=0, atol=0)
    assert not images.requires_grad
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[union-attr, index]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_everything_is_restored_when_the_network_fails() -> None:
    class Failing(networks.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            raise RuntimeError("out of order\nmore lines")

    network, (images, labels) = Failing().eval(), networks.batch()
    with pytest.raises(NetworkError, match=r"cannot be scored: RuntimeError: out of order$"):
        score(network, images, labels, proxies="snip, fisher, nwot")
    assert not any(m.training or m._forward_hooks for m in network.modules())
    # No function mode is left behind: a ReLU is a ReLU again.
    assert torch.relu(torch.tensor([-1.0])).item() == 0


def test_one_pass_serves_all_proxies_with_equal_conditions() -> None:
    calls = 0

    class Counting(networks.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += type(x) is torch.Tensor
            return super().forward(x)

    images, labels = networks.batch()
    score(Counting(), images, labels, proxies="snip, grad_norm, plain, fisher, nwot, jacov, epe_nas, grasp")
    assert calls == 1  # GraSP's second derivative travels as a jet, not as a tensor


def test_pass_that_fails_leaves_the_others() -> None:
    images, labels = networks.batch()
    chosen = proxies("snip, zen")
    results = run_passes(networks.build("smooth"), images, labels, plan_passes(chosen))
    assert results[chosen[0].pass_spec].signals is not None
    assert "no global average pooling" in results[chosen[1].pass_spec].failure


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 4)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer(x.flatten(1))
        return y, y


class Maps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.mark.parametrize(
    ("network", "labels", "message"),
    [
        (Several(), torch.zeros(8, dtype=torch.long), r"returns a tuple, expected one tensor of shape \(images, cl"),
        (Maps(), torch.zeros(8, dtype=torch.long), r"returns shape \(8, 4, 8, 8\), expected \(8, classes\)"),
        (networks.Plain(), torch.full((8,), 4), r"labels run from 4 to 4, the network has 4 outputs"),
        (networks.Plain(), None, "reads the loss: give the labels"),
        (networks.Plain(), torch.zeros(3, dtype=torch.long), r"shape \(3,\), expected \(8,\) whole numbers"),
        (networks.Plain(), torch.zeros(8), r"labels are torch.float32"),
        (torch.jit.ScriptModule(), torch.zeros(8, dtype=torch.long), "TorchScript module"),
    ],
)
def test_what_cannot_be_scored_is_refused(network: nn.Module, labels: torch.Tensor | None, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        score(network, networks.batch()[0], labels, proxies=["snip"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    whole = score(network, images, labels, proxies="params, nwot, synflow:log")
    assert all(math.isfinite(number) for number in whole.values())
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] = value
    with pytest.raises(NetworkError, match=r"The network's '0.weight' holds NaN or infinite numbers"):
        score(network, images, labels, proxies="nwot, synflow:log")
    # What is only counted is counted.
    assert score(network, images, labels, proxies="params") == {"params": whole["params"]}


def test_wrong_arguments_are_refused() -> None:
    images, labels = networks.batch()
    with pytest.raises(NetworkError, match=r"is a int, expected a torch\.nn\.Module"):
        score(3, images, labels)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="expected normalised floating-point numbers"):
        score(networks.Plain(), images.byte(), labels)
    with pytest.raises(NetworkError, match="expected at least two"):
        score(networks.Plain(), images[:1], labels[:1])
    with pytest.raises(NetworkError, match="needs an architecture of a search space"):
        score(networks.Plain(), images, labels, proxies=["skipped_layers"])
    with pytest.raises(trainless.proxies.UnknownNameError, match="did you mean 'snip'"):
        score(networks.Plain(), images, labels, proxies=["snipp"])


def test_all_proxies_of_a_bare_network_and_those_without_labels() -> None:
    images, labels = networks.batch()
    named = {"logme", "ridge_loo", "lda_loo", "transrate", "gradsign", "ntk_condition", "vkdnw", "vkdnw_entropy"}
    named |= {"az_expressivity", "az_progressivity", "az_trainability"}  # the network does not tell its blocks
    usual = {name for name in PROXIES if ":" not in name} - named
    assert set(score(networks.Plain(), images, labels)) == usual - {"skipped_layers"}
    assert set(score(networks.Plain(), images)) == {
        "params", "flops", "l2_norm", "synflow", "logsynflow", "zen", "linear_regions", "trainable_layers",
        "vkdnw_dimension",
    }  # fmt: skip


def test_multiply_adds_by_hand() -> None:
    first, second, head = 3 * 6 * 9 * 64, 6 * 8 * 9 * 16, 8 * 4
    assert score(networks.Plain(), networks.batch()[0], proxies="flops")["flops"] == first + second + head


def test_synflow_of_two_linear_layers_by_hand() -> None:
    # R = Σ|W2||W1|1; every layer's Σ|θ ∂R/∂θ| is R itself.
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -2.0]]))
        network[2].weight.copy_(torch.tensor([[3.0], [-4.0]]))
    scores = score(network, torch.zeros(2, 1, 1, 2), proxies="synflow, logsynflow, synflow:log")
    assert scores["synflow"] == 2 * 21
    # ∂R/∂W1 = 7 at both inputs, ∂R/∂W2 = 3 at both outputs.
    assert scores["logsynflow"] == pytest.approx(3 * np.log(8) + 7 * np.log(4))
    assert scores["synflow:log"] == pytest.approx(np.log(42))


def test_noise_depends_on_the_seed_alone() -> None:
    images, _ = networks.batch()
    network = networks.build("plain")
    first = score(network, images, proxies="zen", seed=1)
    torch.rand(5)
    assert score(network, images, proxies="zen, l2_norm", seed=1)["zen"] == first["zen"]
    assert score(network, images, proxies="zen", seed=2) != first


def test_weight_layers_skip_normalisations() -> None:
    assert list(weight_layers(networks.Mobile())) == ["stem", "depthwise", "grouped", "head"]
