"""Recorders: one defined here plugs in as it is, fails alone, and is timed alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import networks
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.evaluation import score
from trainless.passes import Backward, PassSpec, Recorder, Signal, plan_passes, run_passes
from trainless.passes.objectives import loss
from trainless.passes.run import Run
from trainless.proxies import Proxy, proxies

IMAGES, LABELS = networks.batch()


class ImageGradients(Recorder):
    """The gradient of each image's own loss, as GradSign reads it."""

    name = "image_gradients"
    inputs = frozenset({"batch"})

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        return Backward(loss, "weights")

    def finish(self, run: Run) -> None:
        assert run.labels is not None
        self.rows = []
        for image, label in zip(run.inputs[0].split(1), run.labels.split(1), strict=True):
            weights = [weight.leaf for weight in run.weights]
            gradients = run.gradients(F.cross_entropy(run.forward(image.detach()), label), weights, keep_graph=False)
            self.rows.append(torch.cat([gradient.flatten() for gradient in gradients]))

    def value(self) -> torch.Tensor:
        return torch.stack(self.rows)


class BlockFeatures(Recorder):
    """What comes out of each child of a network, as AZ-NAS reads it."""

    name = "block_features"

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        self.features: list[torch.Tensor] = []
        hooks = [
            child.register_forward_hook(lambda module, inputs, output: self.features.append(output.detach()))
            for child in run.network.children()
        ]
        yield
        for hook in hooks:
            hook.remove()

    def value(self) -> list[torch.Tensor]:
        return self.features


class FirstElements(Recorder):
    """The gradient of the first logit by the first element of each named parameter, as VKDNW reads it."""

    name = "first_elements"

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        self.elements = {name: tensor.flatten()[0].item() for name, tensor in run.tensors.items()}

    def value(self) -> dict[str, float]:
        return self.elements


def own(recorder: type[Recorder], formula: Any, spec: PassSpec) -> Proxy:
    return Proxy("own", formula, spec, frozenset({recorder}), data_independent=False, paper="none", summary="none")


def test_gradients_of_each_image_plug_in() -> None:
    network = networks.build("no_norm_in_place").double()
    found: list[torch.Tensor] = []
    proxy = own(ImageGradients, lambda signals: found.append(signals.image_gradients) or 1.0, PassSpec())
    score(network, IMAGES, LABELS, proxies=[proxy, "snip", "nwot"], dtype=torch.float64)
    weights = [network.first.weight, network.second.weight, network.head.weight]
    for row, image, label in zip(found[0], IMAGES.double().split(1), LABELS.split(1), strict=True):
        expected = torch.autograd.grad(F.cross_entropy(network(image), label), weights)
        torch.testing.assert_close(row, torch.cat([gradient.flatten() for gradient in expected]))


def test_features_of_blocks_on_gaussian_inputs_in_evaluation_mode_plug_in() -> None:
    network = networks.build("plain").eval()
    spec = PassSpec(input="noise", mode="eval")
    noise = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    result = run_passes(network, IMAGES, None, {spec: frozenset({BlockFeatures})},
                        generators=lambda name: torch.Generator().manual_seed(5))[spec]  # fmt: skip
    assert result.signals is not None
    first = network.first(noise)
    torch.testing.assert_close(result.signals.block_features[0], first)
    torch.testing.assert_close(result.signals.block_features[1], network.norm(first))
    assert not any(module._forward_hooks for module in network.modules())


def test_elements_of_named_parameters_plug_in() -> None:
    network = networks.build("plain")
    result = run_passes(network, IMAGES, None, {PassSpec(): frozenset({FirstElements})})[PassSpec()]
    assert result.signals is not None
    expected = {name: tensor.flatten()[0].item() for name, tensor in network.named_parameters()}
    assert {name: result.signals.first_elements[name] for name in expected} == expected


@pytest.mark.parametrize("step", ["begin", "after_forward", "after_backward", "finish"])
def test_a_recorder_that_fails_fails_alone(step: str) -> None:
    def fail(self: Recorder, *arguments: Any) -> None:
        raise RuntimeError("out of order\nmore lines")

    failing = type("Failing", (ImageGradients,), {"name": "failing", "finish": lambda self, run: None, step: fail})
    plan = {PassSpec(): frozenset({failing, Signal.WEIGHT_GRADIENTS})}
    result = run_passes(networks.build("plain"), IMAGES, LABELS, plan)[PassSpec()]
    assert result.failure_of(frozenset({failing})) == "RuntimeError: out of order"
    assert result.failure_of(frozenset({Signal.WEIGHT_GRADIENTS})) == ""
    assert result.signals is not None
    assert len(result.signals.weight_gradients) == 3


def test_a_signal_that_a_network_does_not_have_has_a_reason() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    (nwot,) = proxies("nwot")
    result = run_passes(network, IMAGES, LABELS, plan_passes([nwot]))[nwot.pass_spec]
    assert result.signals is not None
    value, reason = nwot.compute(result.signals)
    assert value != value
    assert reason == "no activation function was seen, and so no unit that is on or off"


def test_negative_flow_has_a_reason() -> None:
    (proxy,) = proxies("logsynflow")
    for seed in range(10):
        network = networks.build("smooth", seed)
        result = run_passes(network, IMAGES, None, plan_passes([proxy]))[proxy.pass_spec]
        assert result.signals is not None
        value, reason = proxy.compute(result.signals)
        if value != value:
            assert "layer normalisation, attention and differences turn a positive flow around" in reason
            return
    raise AssertionError("no network had a negative flow")


class Slow(Recorder):
    """Takes half a second."""

    name = "slow"

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        time.sleep(0.5)

    def value(self) -> int:
        return 0


def test_seconds_are_those_of_the_parts_that_a_signal_needs() -> None:
    signals = frozenset({Slow, Signal.WEIGHT_GRADIENTS, Signal.RELU_KERNEL, Signal.HESSIAN_FORM, Signal.INPUT_JACOBIAN})
    result = run_passes(networks.build("plain"), IMAGES, LABELS, {PassSpec(): signals})[PassSpec()]
    alone = {signal: result.seconds_of(frozenset({signal})) for signal in signals}
    assert alone[Slow] > 0.5
    assert all(0 < seconds < alone[Slow] for signal, seconds in alone.items() if signal is not Slow)
    assert alone[Signal.HESSIAN_FORM] > alone[Signal.WEIGHT_GRADIENTS]  # the jets come on top of the same gradient
    assert result.seconds_of(signals) == pytest.approx(sum(result.parts.values()))
    assert sum(result.parts.values()) <= result.seconds < sum(alone.values())
