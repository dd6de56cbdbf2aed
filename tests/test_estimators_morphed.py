"""The estimator by morphisms: the contract, ancestors, and what is gained by them."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.estimators import Setting, estimator
from trainless.estimators.morphed import Morphed, ancestor
from trainless.morphism import can_morph
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.supernets.keeping import KeptState
from trainless.testing import EstimatorContract
from trainless.training import TrainingResult, train
from trainless.types import Architecture, Task

TASK = Task("toy", 10, height=8, width=8)


@pytest.mark.slow
class TestContract(EstimatorContract):
    make = staticmethod(lambda: estimator("morphed(epochs=1, first=1)"))
    space = search_space("chain(unit=2)")
    processes = 2


def some_digits(share: float = 0.3) -> ImageDataset:
    return split(load_data("digits"), share)[1]


def line(space: SearchSpace, architecture: Architecture | None) -> list[Architecture]:
    """An architecture and its ancestors."""
    found = []
    while architecture:
        found.append(architecture)
        architecture = ancestor(space, architecture, TASK)
    return found


@pytest.mark.parametrize("spec", ["chain(unit=2)", "mobile(width=4, depth=3)", "nats_size(unit=2)", "mlp(unit=2)"])
def test_ancestors_are_few_and_can_be_morphed(spec: str) -> None:
    space, rng = search_space(spec), np.random.default_rng(0)
    for _ in range(3):
        ancestors = line(space, space.sample(rng))
        assert len(ancestors) <= 6
        for younger, older in itertools.pairwise(ancestors):
            before, after = (space.blueprint(member, TASK) for member in (older, younger))
            assert before.parameters < after.parameters
            assert can_morph(before, after)
            assert older == space.canonical(older)


def test_ancestors_of_one_network() -> None:
    space = search_space("mobile(width=4, depth=3)")
    wide = space.parse("k7e6d4w150se-k3e2d1w50se-k3e2d1w50-k5e4d2w75-k3e2d1w50")
    assert list(map(str, line(space, wide)))[1:] == [
        "k5e3d2w75se-k3e2d1w50se-k3e2d1w50-k3e3d1w50-k3e2d1w50",
        "k3e2d1w50se-k3e2d1w50se-k3e2d1w50-k3e2d1w50-k3e2d1w50",
    ]
    # Operations are no numbers, and some spaces have no choices at all.
    cells = search_space("nasbench201(channels=4, cells=1)")
    assert ancestor(cells, cells[100], TASK) is None
    recurrent = search_space("nasbench_nlp")
    assert ancestor(recurrent, recurrent.sample(np.random.default_rng(0)), TASK) is None


def test_what_is_inherited_is_a_better_start() -> None:
    space = search_space("convnet(unit=2)")
    architecture = space.parse("conv16-k5w24d2.pool.res-k3w40d2.pool.res-k3w48d1-avg1")
    setting = Setting(space, some_digits(), workers=0)
    (heir,) = estimator("morphed(epochs=1, first=6, batch_size=16)").estimate([architecture], setting)
    (alone,) = estimator("full(epochs=1, batch_size=16, learning_rate=0.01)").estimate([architecture], setting)
    assert heir.value > alone.value + 10
    assert heir.epochs == 1
    assert heir.seconds > alone.seconds  # of its ancestors too, which are trained for it


def test_options_and_worker_processes() -> None:
    made = estimator("morphed(epochs=3, first=5, learning_rate=0.02)")
    assert str(made) == "morphed(epochs=3, first=5, learning_rate=0.02)"
    assert made.fidelity == (
        "a training of 3 epochs from the weights of an ancestor, the first of which is trained for 5"
    )
    with pytest.raises(InputError, match="epochs is 0"):
        Morphed(first=0)
    assert isinstance(made, Morphed)
    digits = some_digits(0.1)
    start, _ = made._start(Setting(search_space("chain"), digits), digits, digits)
    assert type(pickle.loads(pickle.dumps(start))) is type(start)


def test_ancestors_are_trained_once_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, trained = search_space("chain(unit=2)"), list[int]()
    older, younger = space.parse("k3w24-k1w24.pool"), space.parse("k5w48-k3w64.pool")
    assert ancestor(space, younger, load_data("digits").task) == older

    def counted(network: nn.Module, *sets: ImageDataset, epochs: int, **options: Any) -> TrainingResult:
        trained.append(epochs)
        return train(network, *sets, epochs=epochs, **options)

    monkeypatch.setattr("trainless.estimators.morphed.train", counted)
    made, images = estimator("morphed(epochs=1, first=1)"), some_digits(0.1)
    (expected,) = made.estimate([younger], Setting(space, images, workers=0))
    alone = len(trained)
    assert alone >= 2
    for number in (1, 2):
        # Another store of trainings each time, beside the same ancestors.
        with Store(tmp_path / f"{number}.db") as store:
            (found,) = made.estimate([younger], Setting(space, images, workers=0, store=store))
        assert found.value == expected.value
        (tmp_path / f"{number}.db.supernets").rename(tmp_path / f"{number + 1}.db.supernets")
    assert len(trained) == 2 * alone


def test_processes_that_keep_the_same_state_do_not_disturb_each_other(tmp_path: Path) -> None:
    kept = KeptState(Store(tmp_path / "scores.db"), {"seed": "0"})
    states = [{"weight": torch.full((1000,), float(number))} for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(kept.write, 20 * states))
    found = kept.read()
    assert found is not None
    assert any(torch.equal(found["weight"], state["weight"]) for state in states)
    assert len(list((tmp_path / "scores.db.supernets").iterdir())) == 1
