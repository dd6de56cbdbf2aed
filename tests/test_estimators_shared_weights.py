"""Estimators by shared weights: the contract, what is kept, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError, UnknownNameError
from trainless.estimators import Setting, estimator
from trainless.estimators.shared_weights import OneShot, _Heirs
from trainless.search import Search
from trainless.search_spaces import search_space
from trainless.store import Store
from trainless.supernets import Supernet
from trainless.testing import EstimatorContract

SPACE = search_space("nasbench201(channels=2, cells=1)")


@pytest.mark.slow
class TestContract(EstimatorContract):
    make = staticmethod(lambda: estimator("one-shot(epochs=1)"))
    space = SPACE
    processes = 2


@pytest.mark.slow
class TestContractOfInherited(EstimatorContract):
    make = staticmethod(lambda: estimator("inherited(epochs=1, shared=1)"))
    space = SPACE
    processes = 2


def some_digits() -> ImageDataset:
    digits = load_data("digits")
    return split(digits, 120 / len(digits))[1]


def test_a_supernet_is_trained_once_and_goes_on(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    made = OneShot(epochs=3)

    def stop(done: int, total: int) -> None:
        progress.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    with Store(tmp_path / "store.db") as store:
        setting = Setting(SPACE, some_digits(), 0, 0, store, stop)
        with pytest.raises(KeyboardInterrupt):
            made.estimate([SPACE[5]], setting)
        (file,) = (tmp_path / "store.db.supernets").iterdir()
        progress.clear()
        quiet = Setting(SPACE, some_digits(), 0, 0, store, lambda done, total: progress.append((done, total)))
        first = made.estimate([SPACE[5]], quiet)[0]
        assert progress == [(1, 3), (2, 3), (3, 3), (1, 1)]
        progress.clear()
        again = made.estimate([SPACE[5]], quiet)[0]
        assert progress == [(3, 3), (1, 1)]
        assert (again.value, again.shared_seconds) == (first.value, first.shared_seconds)
        assert first.value == made.estimate([SPACE[5]], Setting(SPACE, some_digits(), workers=0))[0].value
        # Other settings have another supernet.
        made.estimate([SPACE[5]], Setting(SPACE, some_digits(), 1, 0, store))
        assert len(list(file.parent.iterdir())) == 2
        file.write_bytes(b"no supernet")
        with pytest.raises(InputError, match=r"The state '.*' cannot be read .*, or move the file away"):
            made.estimate([SPACE[5]], quiet)


def test_equal_networks_have_one_estimate() -> None:
    space = search_space("nasbench201(channels=2, cells=1)")
    dead = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    first, second = OneShot(epochs=1).estimate([dead, space.canonical(dead)], Setting(space, some_digits(), workers=0))
    assert first.value == second.value


def test_options() -> None:
    made = estimator("one-shot(epochs=5, sampling=sandwich, learning_rate=0.02)")
    assert str(made) == "one-shot(epochs=5, sampling=sandwich, guide=none, learning_rate=0.02)"
    assert str(estimator("inherited(minutes=2.5)")).endswith("sampling=uniform, minutes=2.5)")
    assert made.fidelity == "the accuracy of a path with the weights of a supernet of 5 epochs (sandwich sampling)"
    with pytest.raises(UnknownNameError, match="sampling of paths"):
        OneShot(sampling="fair")
    assert ", at most 2.5 minutes (" in estimator("inherited(minutes=2.5)").fidelity
    with pytest.raises(InputError):
        OneShot(epochs=0)
    with pytest.raises(InputError, match="minutes is -1, expected a number above 0"):
        estimator("inherited(minutes=-1)")
    with pytest.raises(InputError, match="cannot share weights"):
        OneShot(epochs=1).estimate([], Setting(search_space("nasbench_nlp"), some_digits(), workers=0))


def test_what_is_inherited_is_a_better_start() -> None:
    space, digits = search_space("nats_size(unit=2)"), split(load_data("digits"), 0.3)[1]
    architecture, setting = space.parse("32:32:32:32:32"), Setting(space, digits, workers=0)
    (heir,) = estimator("inherited(epochs=1, shared=10, batch_size=16)").estimate([architecture], setting)
    (alone,) = estimator("full(epochs=1, batch_size=16)").estimate([architecture], setting)
    assert heir.value > alone.value + 10
    assert heir.epochs == 1
    assert heir.shared_seconds > heir.seconds


def test_a_guide_scores_before_the_supernet_learns() -> None:
    setting = Setting(SPACE, some_digits(), workers=0)
    cells = [SPACE[number] for number in (5, 100, 9000)]
    plain, guided = (
        [estimate.value for estimate in OneShot(epochs=4, guide=guide).estimate(cells, setting)]
        for guide in ("none", "rank(params, flops)")
    )
    assert guided != plain
    assert "guided by nwot" in OneShot(guide="nwot").fidelity
    with pytest.raises(UnknownNameError, match="no_such"):
        OneShot(guide="no_such")
    with pytest.raises(InputError, match=r"guide one-shot take \d+ s and more, and the minutes are 1e-05"):
        OneShot(guide="nwot", minutes=1e-5).estimate(cells, setting)


def test_a_time_bounds_what_is_taught_and_the_protocol_says_so(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    search = Search(
        SPACE, "random", "one-shot(epochs=5000, minutes=0.05)", some_digits(), budget=2, workers=0,
        store=tmp_path / "scores.db",
    )  # fmt: skip
    found = search.run(lambda done, total: told.append((done, total)))
    assert told[0] == (0, 3)  # seconds
    assert found.protocol["repeatable"] == "no: how much is learnt in 0.05 minutes depends on the machine"
    again = search.run()
    assert list(again.evaluations["score"]) == list(found.evaluations["score"])


def test_heirs_of_another_supernet_are_other_trainings(tmp_path: Path) -> None:
    """Where a time ended what was taught, the same words stand for other weights."""
    made, cell = estimator("inherited(epochs=1, shared=5000, minutes=0.02)"), [SPACE[5]]
    with Store(tmp_path / "scores.db") as store:
        setting = Setting(SPACE, some_digits(), workers=0, store=store)
        (first,), (again,) = made.estimate(cell, setting), made.estimate(cell, setting)
        assert (again.value, again.seconds) == (first.value, first.seconds)
        shutil.rmtree(tmp_path / "scores.db.supernets")
        (other,) = made.estimate(cell, setting)
        assert other.seconds != first.seconds
    fingerprints = {_Heirs(Supernet(SPACE, some_digits().task, seed=seed), []).fingerprint for seed in (0, 0, 1)}
    assert len(fingerprints) == 2


def test_what_a_guide_scored_is_kept_with_what_it_took(tmp_path: Path) -> None:
    made = OneShot(epochs=2, guide="nwot", minutes=60)
    with Store(tmp_path / "scores.db") as store:
        setting = Setting(SPACE, some_digits(), workers=0, store=store)
        (first,) = made.estimate([SPACE[5]], setting)
        assert len(list((tmp_path / "scores.db.supernets").iterdir())) == 2
        (again,) = made.estimate([SPACE[5]], setting)
    assert (again.value, again.shared_seconds) == (first.value, first.shared_seconds)


def test_a_search_tells_of_the_supernet_and_refuses_before_it(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    options = {"data": some_digits(), "budget": 2, "workers": 0, "store": tmp_path / "scores.db"}
    Search(SPACE, "random", "one-shot(epochs=2)", **options).run(lambda done, total: told.append((done, total)))
    assert told[:4] == [(0, 2), (1, 2), (2, 2), (0, 2)]  # epochs, then evaluations
    kept = set((tmp_path / "scores.db.supernets").iterdir())
    with pytest.raises(InputError, match="holds no such search to resume"):
        Search(SPACE, "random", "one-shot(epochs=3)", **options).run(resume=True)
    assert set((tmp_path / "scores.db.supernets").iterdir()) == kept


def test_interrupted_while_the_supernet_is_taught_a_search_can_be_resumed(tmp_path: Path) -> None:
    options = {"data": some_digits(), "budget": 2, "workers": 0, "store": tmp_path / "scores.db"}
    Search(SPACE, "random", "params", **options).run()
    search = Search(SPACE, "random", "one-shot(epochs=2)", **options)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.run(interrupt)
    assert len(search.run(resume=True).evaluations) == 2
