"""The training of shared weights: paths learn, the same ones whatever interrupts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError, UnknownNameError
from trainless.initialization import initialize
from trainless.search_spaces import search_space
from trainless.search_spaces.nats_size import NATSSize
from trainless.seeding import generator
from trainless.supernets import Supernet, calibration_images, path_accuracy, train_supernet
from trainless.supernets.paths import Paths
from trainless.training import TrainingState
from trainless.training.batches import batch_count
from trainless.training.recipes import SHARED_RECIPE
from trainless.types import Architecture

SPACE = NATSSize(unit=2)
CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


def sets(images: int = 600) -> tuple[ImageDataset, ImageDataset]:
    digits = load_data("digits")
    few, _ = split(digits, 1 - images / len(digits), seed=0)
    return split(few, 0.3, seed=0)


def weights_of(supernet: Supernet) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in supernet.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["uniform", "sandwich"])
def test_paths_learn(sampling: str) -> None:
    train_set, valid_set = sets()
    supernet = Supernet(SPACE, train_set.task)
    recipe = replace(SHARED_RECIPE, batch_size=16)
    state = train_supernet(supernet, train_set, valid_set, epochs=12, sampling=sampling, recipe=recipe)
    assert state.epochs == 12
    assert not supernet.training
    images = calibration_images(train_set)
    found = [path_accuracy(supernet, SPACE.parse(text), images, valid_set) for text in
             ("32:32:32:32:32", "64:64:64:64:64", "8:40:16:64:24")]  # fmt: skip
    assert min(found) > 40  # of ten classes
    assert state.valid_accuracies[-1] > state.valid_accuracies[0]


def test_a_training_goes_on_where_it_stopped() -> None:
    train_set, valid_set = sets(300)
    states: list[TrainingState] = []

    def stop(state: TrainingState) -> None:
        states.append(state)
        if len(states) == 1:
            raise KeyboardInterrupt

    whole, resumed = (Supernet(SPACE, train_set.task) for _ in range(2))
    train_supernet(whole, train_set, valid_set, epochs=2, seed=3)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(resumed, train_set, valid_set, epochs=2, seed=3, on_epoch=stop)
    assert not torch.equal(weights_of(whole), weights_of(resumed))
    train_supernet(resumed, train_set, valid_set, epochs=2, seed=3, resume=states[0])
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_a_time_ends_the_training_for_good() -> None:
    train_set, valid_set = sets(80)
    options = {"epochs": 5000, "seed": 3, "minutes": 0.02}
    state = train_supernet(Supernet(SPACE, train_set.task), train_set, valid_set, **options)
    assert 0 < state.epochs < 5000
    assert state.progress == 1
    again = train_supernet(Supernet(SPACE, train_set.task), train_set, valid_set, **options, resume=state)
    assert again.epochs == state.epochs
    with pytest.raises(InputError, match="minutes is 0, expected a number above 0"):
        train_supernet(Supernet(SPACE, train_set.task), train_set, valid_set, epochs=1, minutes=0)


def test_paths_are_guided_in_the_first_half_of_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    train_set, valid_set = sets(80)
    guided, drawn = list[bool](), Paths.drawn

    def noted(paths: Paths, epoch: int, step: int) -> list[Architecture]:
        if step == 0:
            guided.append(paths.is_guided)
        return drawn(paths, epoch, step)

    monkeypatch.setattr(Paths, "drawn", noted)
    train_supernet(Supernet(SPACE, train_set.task), train_set, valid_set, epochs=6, guide=[SPACE.parse("8:8:8:8:8")])
    assert guided == [True] * 3 + [False] * 3


def test_what_no_path_of_a_step_has_stays_as_it_is() -> None:
    train_set, valid_set = sets(80)
    space = search_space("nasbench201(channels=2, cells=1)")
    supernet, fresh = (Supernet(space, train_set.task) for _ in range(2))
    paths = Paths(fresh, "uniform", 0, calibration_images(train_set))
    initialize(paths, generator=generator(0, "weights"))
    before = {name: weight.detach().clone() for name, weight in fresh.named_parameters()}
    steps = batch_count(len(train_set), SHARED_RECIPE.batch_size)
    drawn = [path for step in range(steps) for path in paths.drawn(0, step)]
    used = {tensor.data_ptr() for path in drawn for tensor in fresh.tensors(path).values()}
    others = {name for name, weight in fresh.named_parameters() if weight.data_ptr() not in used}
    train_supernet(supernet, train_set, valid_set, epochs=1)
    changed = {name for name, weight in supernet.named_parameters() if not torch.equal(weight, before[name])}
    assert others
    assert changed == before.keys() - others


def test_a_sandwich_has_the_largest_and_the_smallest() -> None:
    train_set, _ = sets(80)
    paths = Paths(Supernet(SPACE, train_set.task), "sandwich", 0, [])
    drawn = paths.drawn(0, 0)
    assert [str(path) for path in drawn[:2]] == ["64:64:64:64:64", "8:8:8:8:8"]
    assert len(drawn) == 4
    assert drawn[2:] != paths.drawn(0, 1)[2:]


def test_the_accuracy_of_a_path_is_that_of_its_network_with_statistics_of_its_own() -> None:
    train_set, valid_set = sets(300)
    space = search_space("nasbench201(channels=4, cells=1)")
    supernet = Supernet(space, train_set.task)
    train_supernet(supernet, train_set, valid_set, epochs=1)
    images, cell = calibration_images(train_set), space.parse(CELL)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    first = path_accuracy(supernet, cell, images, valid_set)
    assert path_accuracy(supernet, cell, images, valid_set) == first
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_unknown_samplings_are_refused() -> None:
    train_set, valid_set = sets(80)
    with pytest.raises(UnknownNameError, match="sampling of paths"):
        train_supernet(Supernet(SPACE, train_set.task), train_set, valid_set, epochs=1, sampling="fair")


def test_a_guide_draws_paths_in_its_epochs() -> None:
    train_set, _ = sets()
    guide = [SPACE.sample(np.random.default_rng(seed)) for seed in range(2)]
    for sampling, drawn in (("uniform", slice(0, None)), ("sandwich", slice(2, None))):
        paths = Paths(Supernet(SPACE, train_set.task), sampling, 0, [], guide)
        early = {path for epoch in range(2) for step in range(10) for path in paths.drawn(epoch, step)[drawn]}
        paths.is_guided = False
        late = {path for step in range(20) for path in paths.drawn(2, step)[drawn]}
        assert early == set(guide)
        assert len(late) > 10
