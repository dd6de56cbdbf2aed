"""Observers: what they see of a running network, and that they change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.evaluation import score
from trainless.passes.observers import FeatureObserver, Observer, batch_norm_bypassed, precise_batch_norm
from trainless.passes.units import UnitObserver, agreement, packed

X = torch.tensor([[1.0, -1.0, 2.0], [-1.0, -1.0, 3.0]])


@pytest.mark.parametrize(
    "relu",
    [F.relu, torch.relu, nn.ReLU(), nn.ReLU(inplace=True), torch.Tensor.relu, torch.Tensor.relu_, torch.relu_,
     nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), F.rrelu],
)  # fmt: skip
def test_every_kind_of_relu_is_seen(relu: object) -> None:
    relus = UnitObserver(packed)
    with Observer(relus.rules), torch.no_grad():
        output = relu(X.clone())  # type: ignore[operator]
    (codes,) = relus.reaching(output)
    assert np.unpackbits(codes, axis=1)[:, :3].tolist() == [[1, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize("activation", [nn.Hardtanh(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.ELU(), torch.tanh,
                                        torch.sigmoid, nn.Softplus(), nn.Mish(), nn.SELU()])  # fmt: skip
def test_the_code_of_any_activation_is_the_sign_of_its_input(activation: object) -> None:
    units = UnitObserver(packed)
    with Observer(units.rules):
        output = activation(X)  # type: ignore[operator]
    (codes,) = units.reaching(output)
    assert np.unpackbits(codes, axis=1)[:, :3].tolist() == [[1, 0, 1], [0, 0, 1]]


def test_agreement_of_wide_layers_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, 1 << 20, generator=generator)
    expected = [[int(((a > 0) == (b > 0)).sum()) for b in wide] for a in wide]
    assert agreement(wide).tolist() == expected


def test_relu_of_an_input_that_changed_meanwhile_is_seen_anew() -> None:
    relus = UnitObserver(agreement)
    x = X.clone()
    with Observer(relus.rules):
        torch.relu(x)
        x.sub_(1.5)  # now no unit tells the two apart
        output = torch.relu(x)
    first, second = relus.reaching(output, dead_branches=True)
    assert first[0, 1] == 2
    assert second[0, 1] == 3


def test_units_are_the_same_in_any_memory_order() -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        relus = UnitObserver(agreement)
        with Observer(relus.rules):
            output = torch.relu(x.contiguous(memory_format=layout))
        found.append(relus.reaching(output)[0].tolist())
    assert found[0] == found[1]


def test_bypassed_normalisation_is_the_identity() -> None:
    with Observer(batch_norm_bypassed()):
        assert torch.equal(nn.BatchNorm1d(3)(X), X)
    assert not torch.equal(nn.BatchNorm1d(3)(X), X)


def test_precise_normalisation_is_nearer_to_double_precision() -> None:
    x = torch.randn(64, 8, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 + 3
    x = x.contiguous(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(8)
    for parameter in norm.parameters():
        parameter.requires_grad_(False)

    def run(images: torch.Tensor, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        images = images.clone(memory_format=torch.preserve_format).requires_grad_()
        output = layer(images)
        (gradient,) = torch.autograd.grad(output.pow(3).sum(), images)
        return output.detach().double(), gradient.double()

    exact = run(x.double(), nn.BatchNorm2d(8).double())
    plain = run(x, norm)
    with Observer(precise_batch_norm()):
        precise = run(x, norm)
    for true, near, far in zip(exact, precise, plain, strict=True):
        assert float((near - true).abs().mean()) <= float((far - true).abs().mean())
        torch.testing.assert_close(near, true, rtol=1e-3, atol=1e-3)
    assert float((precise[0] - exact[0]).abs().max()) < 5e-6


def test_precise_normalisation_leaves_other_cases_to_pytorch() -> None:
    for layer, x in ((nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)), (nn.BatchNorm1d(3), X), (nn.BatchNorm2d(3),
                     torch.randn(2, 3, 4, 4))):  # fmt: skip
        expected = layer(x)
        with Observer(precise_batch_norm()):
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


def test_variances_and_features_are_those_of_the_batch() -> None:
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = FeatureObserver()
    with Observer(seen.rules), torch.no_grad():
        output = network(x)
    ((variance, count, momentum),) = seen.variances
    torch.testing.assert_close(variance, x.double().var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-6)
    assert (count, momentum) == (4 * 36, 0.3)
    assert seen.features is not None
    assert seen.features.shape == (4, 3, 3, 3)  # what global pooling was given, not what the pooling before it was
    torch.testing.assert_close(seen.features.mean((2, 3)), output)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.mean((2, 3)),
        lambda x: torch.mean(x, dim=[-1, -2], keepdim=True),
        lambda x: F.avg_pool2d(x, 6),
        lambda x: F.adaptive_avg_pool2d(x, (1, 1)),
    ],
)
def test_every_kind_of_global_pooling_is_seen(pool: object) -> None:
    x = torch.randn(4, 3, 6, 6)
    seen = FeatureObserver()
    with Observer(seen.rules):
        pool(x)  # type: ignore[operator]
    assert seen.features is x


def test_strided_pointwise_convolutions_of_few_channels_are_scored() -> None:
    # Computed as it is written, the gradient of such a weight ends the process.
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 1, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 4 * 4, 10),
    )  # fmt: skip
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    names = "snip, grad_norm, fisher, grasp"
    single = score(network, images, labels, proxies=names)
    double = score(network, images, labels, proxies=names, dtype=torch.float64)
    assert single == pytest.approx(double, rel=1e-3)
