"""ENAS: the controller is a distribution over paths, learns what is rewarded, and a search goes on where it stopped."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.supernets import search_by_controller
from trainless.supernets.controller import Controller
from trainless.training import TrainingState

SPACE = search_space("nasbench201(channels=2, cells=1)")


def sets(images: int = 200) -> tuple[ImageDataset, ImageDataset]:
    return split(split(load_data("digits"), 1 - images / 1797, seed=0)[0], 0.3, seed=0)


def test_probabilities_of_all_paths_are_one() -> None:
    torch.manual_seed(0)
    controller, stream = Controller([3, 2]), torch.Generator().manual_seed(0)
    found: dict[tuple[int, ...], float] = {}
    while len(found) < 6:
        codes, logarithm, entropy = controller.draw(stream)
        assert 0 < float(entropy.detach()) <= math.log(3) + math.log(2) + 1e-6
        found[tuple(codes)] = float(logarithm.detach().exp())
    assert set(found) == set(product(range(3), range(2)))
    assert sum(found.values()) == pytest.approx(1)


def test_a_controller_learns_what_is_rewarded() -> None:
    torch.manual_seed(0)
    controller, stream = Controller([4, 4]), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(controller.parameters(), 0.01)
    for _ in range(150):
        codes, logarithm, _ = controller.draw(stream)
        adam.zero_grad()
        (-(float(codes == [2, 1]) - 0.1) * logarithm).backward()
        adam.step()
    drawn = [controller.draw(stream)[0] for _ in range(100)]
    assert drawn.count([2, 1]) > 40  # of 6 by chance


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped() -> None:
    train_set, valid_set = sets()
    states: list[TrainingState] = []

    def stop(state: TrainingState) -> None:
        states.append(state)
        raise KeyboardInterrupt

    options = {"epochs": 2, "steps": 3}
    whole = search_by_controller(SPACE, train_set, valid_set, **options)
    with pytest.raises(KeyboardInterrupt):
        search_by_controller(SPACE, train_set, valid_set, **options, on_epoch=stop)
    resumed = search_by_controller(SPACE, train_set, valid_set, **options, resume=states[0])
    assert (resumed.found, resumed.accuracies, resumed.rewards) == (whole.found, whole.accuracies, whole.rewards)
    assert list(whole.accuracies) == sorted(whole.accuracies, reverse=True)
    assert all(0 < reward < 100 for reward in whole.rewards)
    assert whole.draw(torch.Generator().manual_seed(0)) == resumed.draw(torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_time_ends_a_search() -> None:
    found = search_by_controller(SPACE, *sets(120), epochs=5000, steps=1, minutes=0.03)
    assert 0 < len(found.rewards) == found.state.epochs < 5000


@pytest.mark.slow
def test_spaces_of_sizes_have_a_controller_too() -> None:
    space = search_space("nats_size(unit=2)")
    found = search_by_controller(space, *sets(120), epochs=1, steps=1)
    assert found.found[0] in space


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="The controller has 0 steps an epoch, expected at least 1"):
        search_by_controller(SPACE, *sets(80), steps=0)
