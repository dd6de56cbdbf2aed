"""Gradient-based searches: preferences learn, the second order is the derivative that it stands for, and runs go on."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError, UnknownNameError
from trainless.search_spaces import search_space
from trainless.supernets import METHODS, MixedNetwork, search_by_gradients
from trainless.supernets.curvature import dominant_eigenvalue, second_order_gradient
from trainless.supernets.methods import drawn, sampled
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
        if state.epochs == 5:  # within the last stage, of all that have several
            raise KeyboardInterrupt

    options = {"method": method, "epochs": 6, "preference_rate": 0.1}
    whole = search_by_gradients(SPACE, train_set, valid_set, **options)
    with pytest.raises(KeyboardInterrupt):
        search_by_gradients(SPACE, train_set, valid_set, **options, on_epoch=stop)
    resumed = search_by_gradients(SPACE, train_set, valid_set, **options, resume=states[-1])
    assert whole.architecture in SPACE
    assert (resumed.shares, resumed.found) == (whole.shares, whole.found)
    assert len(whole.shares) == len(whole.found) == len(whole.skips) == 6
    assert whole.shares[0] != whole.shares[5]
    assert sum(whole.shares[5]) == pytest.approx(3 if method == "pc-darts" else 6)  # a value shares what edges weigh
    assert whole.skips[-1] == str(whole.architecture).count("skip_connect")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock takes a tenth of a second."""
    moments = itertools.count()
    ticking = SimpleNamespace(monotonic=lambda: next(moments) / 10)
    for module in ("trainless.training.loop", "trainless.supernets.keeping"):
        monkeypatch.setattr(f"{module}.time", ticking)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "stages"), [("darts", 1), ("pc-darts", 1), ("p-darts", 3), ("drnas", 2)])
@pytest.mark.usefixtures("clock")
def test_a_time_ends_a_search_for_good(method: str, stages: int) -> None:
    states: list[TrainingState] = []
    options = {"method": method, "epochs": 3000, "preference_rate": 0.1, "minutes": 0.2}
    found = search_by_gradients(SPACE, *sets(), **options, on_epoch=states.append)
    assert 3 <= len(found.found) < 50
    assert found.state.seconds < 13
    assert found.shares[-1] != found.shares[-2]
    begins = found.state.weights["begins"].tolist()
    assert begins[0] == 0
    assert len({*begins, len(found.found)}) == stages + 1  # each stage has an epoch
    again = search_by_gradients(SPACE, *sets(), **options, resume=found.state)
    assert (again.shares, again.found) == (found.shares, found.found)
    # Interrupted after its first epoch or at the end of a stage, it goes on to its end within what time is left.
    ended = [state for state in states if state.epochs == begins[-1]]
    assert all(own[-1].progress == 1 for own in [ended] if own)
    for state in [states[0], *ended[-1:]]:
        resumed = search_by_gradients(SPACE, *sets(), **options, resume=state)
        assert resumed.state.progress == 1
        assert resumed.state.seconds < 13
        assert resumed.shares[: state.epochs] == found.shares[: state.epochs]
        assert -1 not in resumed.state.weights["begins"].tolist()


@pytest.mark.usefixtures("clock")
def test_a_stage_has_learnt_something_or_the_search_is_refused() -> None:
    """However short the time, no stage hands on what an earlier one came to."""
    options = {"method": "drnas", "epochs": 3000, "preference_rate": 0.1}
    found = search_by_gradients(SPACE, *sets(), **options, minutes=0.025)
    begin = found.state.weights["begins"].tolist()[1]
    assert len(found.shares) == begin + 1 == 2
    assert found.shares[1] != found.shares[0]
    with pytest.raises(InputError, match="over before preferences are learnt, after 1 epochs in 2 of 2 stages"):
        search_by_gradients(SPACE, *sets(), **options, minutes=0.015)


def test_a_time_in_which_no_preference_is_learnt_is_refused() -> None:
    with pytest.raises(InputError, match=r"The 1e-05 minutes of p-darts are over before preferences are learnt"):
        search_by_gradients(SPACE, *sets(), method="p-darts", epochs=6, minutes=1e-5)
    with pytest.raises(InputError, match="minutes is -1, expected a number above 0"):
        search_by_gradients(SPACE, *sets(), minutes=-1)


def test_a_sample_is_one_option_whose_gradient_is_that_of_the_softmax() -> None:
    preferences, stream = torch.zeros(5, requires_grad=True), torch.Generator().manual_seed(0)
    found = torch.stack([sampled(preferences, 1.0, stream) for _ in range(400)])
    assert ((found.detach() == 0).sum(1) == 4).all()
    torch.testing.assert_close(found.detach().sum(1), torch.ones(400))
    torch.testing.assert_close(found.detach().mean(0), torch.full((5,), 0.2), atol=0.07, rtol=0)
    found[:, 0].sum().backward()
    assert preferences.grad[0] > 0 > preferences.grad[1]


def test_dirichlet_shares_have_the_mean_of_their_concentrations() -> None:
    preferences = torch.tensor([1.0, 0.0, 0.0])
    stream = torch.Generator().manual_seed(0)
    state = torch.get_rng_state()
    found = torch.stack([drawn(preferences, stream) for _ in range(2000)])
    torch.testing.assert_close(found.mean(0), torch.tensor([0.5, 0.25, 0.25]), atol=0.02, rtol=0)
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
    (found,) = second_order_gradient(learning, choosing, [weights], [preferences], rate)
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
    with pytest.raises(InputError, match="left out with probability 1"):
        search_by_gradients(SPACE, train_set, valid_set, drop_path=1.0)
    for method, least in {"p-darts": 6, "pc-darts": 2, "drnas": 2}.items():
        with pytest.raises(InputError, match=rf"epochs is {least - 1}, expected at least {least} for {method}"):
            search_by_gradients(SPACE, train_set, valid_set, method=method, epochs=least - 1)
    with pytest.raises(InputError, match="cannot be mixed"):
        search_by_gradients(search_space("nats_size(unit=2)"), train_set, valid_set)


def test_the_dominant_eigenvalue_is_that_of_the_hessian() -> None:
    network = MixedNetwork(SPACE, Task("toy", 4, height=16, width=16), seed=0).double()
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 4

    def loss(preferences: torch.Tensor) -> torch.Tensor:
        shares = torch.cat([own.softmax(0) for own in network.by_choice(preferences)])
        return torch.nn.functional.cross_entropy(network(images, shares), labels)

    point = network.preferences.detach().clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(loss, point)
    expected = max(torch.linalg.eigvalsh(hessian).tolist(), key=abs)
    assert dominant_eigenvalue(loss(point), point) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_stages_of_p_darts_go_deeper_with_fewer_options() -> None:
    train_set, valid_set = sets()
    space = search_space("nasbench201(channels=2, cells=3)")
    cells, states = [], list[TrainingState]()

    def note(state: TrainingState) -> None:
        states.append(state)
        cells.append(sum(1 for name in state.weights if name.endswith("0.operation.op.1.weight")))

    found = search_by_gradients(space, train_set, valid_set, method="p-darts", epochs=6, on_epoch=note)
    kept = [int(state.weights["kept"].sum()) for state in states]
    assert kept == [30, 30, 24, 24, 12, 12]  # of five options four, of which two
    assert [sum(share > 0 for share in row) for row in found.shares] == kept
    depths = [len({name.split(".")[3] for name in state.weights if name.startswith("mixed.network.features.")})
              for state in states]  # fmt: skip
    assert depths[0] == depths[1] < depths[2] == depths[3] < depths[4] == depths[5]
    assert all(skips <= 2 for skips in found.skips)


@pytest.mark.slow
def test_stages_where_mixed_options_are_not_those_of_genotypes() -> None:
    space = search_space("darts(channels=4, layers=3)")
    found = search_by_gradients(space, *sets(40), method="p-darts", epochs=6)
    assert found.architecture in space
    assert [sum(share > 0 for share in row) for row in found.shares][::2] == [28 * 8, 28 * 5, 28 * 3]


@pytest.mark.slow
def test_a_rise_of_eigenvalues_ends_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    train_set, valid_set = sets(80)
    values = iter([1.0] * 7 + [2.0] * 20)
    monkeypatch.setattr("trainless.supernets.gradients.dominant_eigenvalue", lambda loss, wrt: next(values))
    options = {"epochs": 14, "preference_rate": 1.0}
    found = search_by_gradients(SPACE, train_set, valid_set, **options, early_stop=True)
    assert found.is_stopped
    assert found.eigenvalues == (*[1.0] * 7, *[2.0] * 3)  # means of 1.0 and 1.6
    assert found.architecture == found.found[4]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "epochs"), [("p-darts", 33), ("drnas", 22)])
def test_a_rise_in_one_stage_ends_all(method: str, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train_set, valid_set = sets(80)
    values = iter([1.0] * 7 + [2.0] * 3)
    monkeypatch.setattr("trainless.supernets.gradients.dominant_eigenvalue", lambda loss, wrt: next(values))
    options: dict[str, Any] = {"method": method, "epochs": epochs, "early_stop": True}
    found = search_by_gradients(SPACE, train_set, valid_set, **options)
    assert found.is_stopped
    assert len(found.found) == 10
    assert found.architecture == found.found[4]
    again = search_by_gradients(SPACE, train_set, valid_set, **options, resume=found.state)
    assert again.architecture == found.architecture
    assert again.shares == found.shares


def test_options_that_are_left_out_have_no_share_of_what_is_drawn() -> None:
    network = MixedNetwork(SPACE, Task("toy", 4, height=16, width=16), seed=0, kept=[0, 2, 5, 6, 12, 13, 18, 20, 29])
    method, stream = METHODS["drnas"], torch.Generator().manual_seed(0)
    shares = method.weigh(network, 0.5, stream)
    assert {number for number, share in enumerate(shares.tolist()) if share} == network.kept
    assert [float(own.detach().sum()) for own in network.by_choice(shares)] == pytest.approx([1.0] * 6)
    (shares.square().sum() + method.penalty(network)).backward()
    gradient = network.preferences.grad
    assert gradient is not None
    assert {number for number, slope in enumerate(gradient.tolist()) if slope} <= network.kept


def test_watching_eigenvalues_changes_nothing_else() -> None:
    train_set, valid_set = sets(80)
    plain, watched = (
        search_by_gradients(SPACE, train_set, valid_set, epochs=2, has_eigenvalues=watches) for watches in (False, True)
    )
    assert plain.eigenvalues == ()
    assert len(watched.eigenvalues) == 2
    assert 0 not in watched.eigenvalues
    assert plain.shares == watched.shares


def test_paths_are_dropped_while_it_learns() -> None:
    network = MixedNetwork(SPACE, Task("toy", 4, height=16, width=16), seed=0)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    weighted = next(part for part in network.mixed if part.is_skip)
    weighted.share, weighted.drop, x = torch.tensor(0.5), 0.75, torch.ones(400, 2, 2, 2)
    given = weighted(x)
    assert set(given.unique().tolist()) == {0.0, 2.0}  # half of it, four times where it is there
    assert (given.flatten(1).std(1) == 0).all()  # for an image as a whole
    assert float(given.mean()) == pytest.approx(0.5, abs=0.15)
    network.drop_path = network.drop_skips = 0.5
    network.eval()
    assert torch.equal(network(images), network(images))
