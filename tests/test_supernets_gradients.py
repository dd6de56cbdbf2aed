"""Gradient-based searches: preferences learn, the second order is the derivative that it stands for, and runs go on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError, UnknownNameError
from trainless.search_spaces import search_space
from trainless.supernets import METHODS, MixedNetwork, search_by_gradients
from trainless.supernets.gradients import _drawn, _PreferenceLoop, _sampled, second_order_gradient
from trainless.training import TrainingState
from trainless.types import Task

SPACE = search_space("nasbench201(channels=2, cells=1)")


def sets(images: int = 200) -> tuple[ImageDataset, ImageDataset]:
    digits = load_data("digits")
    few, _ = split(digits, 1 - images / len(digits), seed=0)
    return split(few, 0.3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_search_finds_a_member_and_goes_on_where_it_stopped(method: str) -> None:
    train_set, valid_set = sets()
    states: list[TrainingState] = []

    def stop(state: TrainingState) -> None:
        states.append(state)
        raise KeyboardInterrupt

    options = {"method": method, "epochs": 2, "preference_rate": 0.1}
    whole = search_by_gradients(SPACE, train_set, valid_set, **options)
    with pytest.raises(KeyboardInterrupt):
        search_by_gradients(SPACE, train_set, valid_set, **options, on_epoch=stop)
    resumed = search_by_gradients(SPACE, train_set, valid_set, **options, resume=states[0])
    assert whole.architecture in SPACE
    assert (resumed.shares, resumed.found) == (whole.shares, whole.found)
    assert len(whole.shares) == len(whole.found) == len(whole.skips) == 2
    assert whole.shares[0] != whole.shares[1]
    assert sum(whole.shares[1]) == pytest.approx(6)
    assert whole.skips[-1] == str(whole.architecture).count("skip_connect")


def test_preferences_step_as_adam_does() -> None:
    network = MixedNetwork(SPACE, Task("toy", 4))
    for name in ("first_moment", "second_moment"):
        network.register_buffer(name, torch.zeros(30))
    expected = network.preferences.detach().clone().requires_grad_()
    adam = torch.optim.Adam([expected], 0.1, betas=(0.5, 0.999), weight_decay=1e-3)
    loop = SimpleNamespace(
        network=network, done=0, train_images=range(3), steps=0, settings=SimpleNamespace(rate=0.1),
    )  # fmt: skip
    for step in range(6):
        expected.grad = torch.randn(30, generator=torch.Generator().manual_seed(step))
        loop.done, loop.steps = divmod(step, 3)
        _PreferenceLoop._prefer(loop, expected.grad)  # type: ignore[arg-type]
        adam.step()
    torch.testing.assert_close(network.preferences.detach(), expected.detach())


def test_a_sample_is_one_option_whose_gradient_is_that_of_the_softmax() -> None:
    preferences, stream = torch.zeros(5, requires_grad=True), torch.Generator().manual_seed(0)
    drawn = torch.stack([_sampled(preferences, 1.0, stream) for _ in range(400)])
    assert ((drawn.detach() == 0).sum(1) == 4).all()
    torch.testing.assert_close(drawn.detach().sum(1), torch.ones(400))
    torch.testing.assert_close(drawn.detach().mean(0), torch.full((5,), 0.2), atol=0.07, rtol=0)
    drawn[:, 0].sum().backward()
    assert preferences.grad[0] > 0 > preferences.grad[1]


def test_dirichlet_shares_have_the_mean_of_their_concentrations() -> None:
    preferences = torch.tensor([1.0, 0.0, 0.0])
    stream = torch.Generator().manual_seed(0)
    state = torch.get_rng_state()
    drawn = torch.stack([_drawn(preferences, stream) for _ in range(2000)])
    torch.testing.assert_close(drawn.mean(0), torch.tensor([0.5, 0.25, 0.25]), atol=0.02, rtol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_second_order_is_the_derivative_through_a_step() -> None:
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(20, 4, generator=generator).double(), torch.randn(20, generator=generator).double()
    weights = torch.randn(4, generator=generator).double().requires_grad_()
    preferences, rate = torch.randn(4, generator=generator).double().requires_grad_(), 0.1

    def learning(w: torch.Tensor = weights) -> torch.Tensor:
        return ((features[:10] * preferences.softmax(0)) @ w - targets[:10]).square().mean()

    def choosing(w: torch.Tensor = weights) -> torch.Tensor:
        return ((features[10:] * preferences.softmax(0)) @ w - targets[10:]).square().mean()

    before = weights.detach().clone()
    found = second_order_gradient(learning, choosing, [weights], preferences, rate)
    assert torch.equal(weights, before)
    (step,) = torch.autograd.grad(learning(), weights, create_graph=True)
    (expected,) = torch.autograd.grad(choosing(weights - rate * step), preferences)
    (first,) = torch.autograd.grad(choosing(), preferences)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(first, expected, rtol=1e-2)


def test_wrong_arguments() -> None:
    train_set, valid_set = sets(80)
    with pytest.raises(UnknownNameError, match="gradient-based method"):
        search_by_gradients(SPACE, train_set, valid_set, method="enas")
    with pytest.raises(InputError, match="learning rate of the preferences is 0"):
        search_by_gradients(SPACE, train_set, valid_set, preference_rate=0)
    with pytest.raises(InputError, match="cannot be mixed"):
        search_by_gradients(search_space("nats_size(unit=2)"), train_set, valid_set)
