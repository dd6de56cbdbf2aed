"""Conditions: every field of a pass has an effect or is refused, and so is a signal that they do not allow."""

from __future__ import annotations

from typing import Any

import networks
import pytest
import torch

from trainless.errors import InputError
from trainless.passes import RECORDERS, PassSpec, Recorder, Signal, Signals, run_passes
from trainless.passes.plan import check_conditions, merge_backwards, signal_name
from trainless.proxies import PROXIES, Proxy


def measured(spec: PassSpec, signal: Any, name: str = "plain") -> Any:
    images, labels = networks.batch()
    result = run_passes(networks.build(name), images, labels, {spec: frozenset({signal})})[spec]
    assert result.failure == ""
    return getattr(result.signals, signal_name(signal))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 3}, "A pass over 'batch' has no use for image_size=3"),
        ({"input": "ones", "inputs": 5}, "A pass over 'ones' has no use for inputs=5"),
        ({"repeats": 2}, "A pass over 'batch' has no use for repeats=2"),
        ({"input": "none", "weights": "absolute"}, "A pass over 'none' has no use for weights='absolute'"),
        ({"input": "architecture", "float64": True}, "has no use for float64=True"),
        ({"input": "none", "batch_norm": "bypassed"}, "has no use for batch_norm='bypassed'"),
        ({"input": "none", "mode": "eval"}, "has no use for mode='eval'"),
        ({"input": "noise", "repeats": 0}, "A pass has repeats=0, expected 1 or more"),
    ],
)
def test_a_field_without_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PassSpec(**options)


@pytest.mark.parametrize(
    ("options", "signal", "message"),
    [
        ({"input": "noise"}, Signal.HESSIAN_FORM, "'hessian_form' is measured on batch, not on 'noise'"),
        ({"input": "architecture"}, Signal.WEIGHTS, "'weights' is measured on .*, not on 'architecture'"),
        ({"input": "ones"}, Signal.PARAMETERS, "'parameters' is measured on architecture or batch, not on 'ones'"),
        ({}, Signal.FEATURE_CHANGES, "'feature_changes' is measured on noise_pair"),
        (
            {"input": "noise_pair", "batch_norm": "bypassed"},
            Signal.NORMALISATION_VARIANCES,
            "'normalisation_variances' is measured at batch normalisation, which batch_norm='bypassed' leaves out",
        ),
    ],
)
def test_a_proxy_that_cannot_be_measured_is_refused_when_it_is_made(
    options: dict[str, Any], signal: Signal, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Proxy("own", lambda signals: 0.0, PassSpec(**options), frozenset({signal}), data_independent=True, paper="none",
              summary="none")  # fmt: skip


def test_every_proxy_and_signal_has_its_recorder() -> None:
    for proxy in PROXIES.values():
        check_conditions(proxy.pass_spec, proxy.signals)
    for signal in Signal:
        assert RECORDERS[signal].name == signal.name.lower()
        assert hasattr(Signals, RECORDERS[signal].name)


@pytest.mark.parametrize(
    "options", [{"weights": "absolute"}, {"weights": "normal"}, {"batch_norm": "bypassed"}, {"mode": "eval"}]
)
def test_every_condition_changes_what_is_measured(options: dict[str, Any]) -> None:
    usual, other = (measured(spec, Signal.WEIGHT_GRADIENTS) for spec in (PassSpec(), PassSpec(**options)))
    assert [gradient.shape for gradient in usual] == [gradient.shape for gradient in other]
    assert not torch.equal(usual[0], other[0])


def test_evaluation_mode_normalises_by_running_statistics() -> None:
    network, (images, labels) = networks.build("plain"), networks.batch()
    found = measured(PassSpec(mode="eval"), Signal.WEIGHT_GRADIENTS)
    loss = torch.nn.functional.cross_entropy(network.eval()(images), labels)
    expected = torch.autograd.grad(loss, [network.first.weight, network.second.weight, network.head.weight])
    torch.testing.assert_close(list(found), list(expected))


def _normal(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    bound = shape[1:].numel() ** -0.5
    return torch.rand(shape, generator=generator) * 2 * bound - bound


@pytest.mark.parametrize(("kind", "drawn"), [("normal", _normal), ("uniform", _uniform)])
def test_weights_are_drawn_in_registered_order(kind, drawn) -> None:
    spec = PassSpec(weights=kind)
    weights = measured(spec, Signal.WEIGHTS)
    generator = torch.Generator().manual_seed(0)
    images, labels = networks.batch()
    result = run_passes(
        networks.build("plain"), images, labels, {spec: frozenset({Signal.WEIGHTS})}, generators=lambda name: generator
    )[spec]
    again = torch.Generator().manual_seed(0)
    assert result.signals is not None
    for weight, shape in zip(result.signals.weights, [weight.shape for weight in weights], strict=True):
        torch.testing.assert_close(weight, drawn(shape, again))


def test_number_and_size_of_noise_images() -> None:
    class Shape(Recorder):
        name = "shape"

        def after_forward(self, run, output):
            self.shape = tuple(run.inputs[0].shape)

        def value(self):
            return self.shape

    assert measured(PassSpec(input="noise"), Shape) == (8, 3, 8, 8)
    assert measured(PassSpec(input="noise", inputs=5, image_size=4), Shape) == (5, 3, 4, 4)
    assert measured(PassSpec(input="ones"), Shape) == (1, 3, 8, 8)


def test_signals_that_share_a_backward_pass() -> None:
    wanted = [Signal.INPUT_JACOBIAN, Signal.WEIGHT_GRADIENTS, Signal.CHANNEL_SALIENCIES, Signal.HESSIAN_FORM]
    assert [len(shared) for shared in merge_backwards(PassSpec(), wanted).values()] == [1, 3]


def test_repeats_draw_anew() -> None:
    changes = measured(PassSpec(input="noise_pair", weights="normal", repeats=3), Signal.FEATURE_CHANGES)
    assert len(set(changes)) == 3


def test_what_was_not_measured_says_so() -> None:
    with pytest.raises(AttributeError, match="'feature_norms' was not measured"):
        _ = Signals().feature_norms
