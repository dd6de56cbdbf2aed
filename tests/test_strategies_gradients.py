"""Strategies that learn from images: what they learn is proposed first and kept; refused is where nothing can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainless.automl import Plan
from trainless.data import ImageDataset, load_data, split
from trainless.errors import InputError
from trainless.search import Search, replay
from trainless.search_spaces import search_space
from trainless.store import Store
from trainless.strategies import STRATEGIES, strategy, strategy_spec

SPACE = search_space("nasbench201(channels=2, cells=1)")
OPTIONS = {
    **dict.fromkeys(("darts", "pc-darts", "p-darts", "gdas", "drnas"), "epochs=3, rate=0.1"),
    "p-darts": "epochs=6, rate=0.1",
    "enas": "epochs=2, steps=3", "te-nas": "repeats=1", "zero-cost-pt": "candidates=2",
}  # fmt: skip


def test_all_are_tried() -> None:
    assert list(OPTIONS) == [name for name, kind in STRATEGIES.items() if kind.needs_images]


def some_digits(images: int = 160) -> ImageDataset:
    digits = load_data("digits")
    return split(digits, images / len(digits))[1]


def test_what_was_learnt_comes_before_the_reference_sample_of_a_relative_score() -> None:
    search = Search(SPACE, "gdas(epochs=1)", "rank(params, flops)", some_digits(), budget=3, workers=0)
    found = search.run()
    assert str(found.evaluations["architecture"].iloc[0]) in found.protocol["learnt"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_search_begins_with_what_was_learnt(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    options = {
        "space": SPACE, "strategy": f"{name}({OPTIONS[name]})", "score": "params", "data": some_digits(),
        "budget": 5, "workers": 0, "store": tmp_path / "store.db",
    }  # fmt: skip
    found = Search(**options).run(lambda done, total: told.append((done, total)))
    total = told[0][1]
    assert told[:total] == [(done, total) for done in range(1, total + 1)]
    assert len(found.evaluations) == 5
    assert str(found.evaluations["architecture"].iloc[0]) in found.protocol["learnt"]

    def computed(*_: object) -> None:
        raise AssertionError("it was kept")

    for what in ("pruning.MixtureScores._scored", "gradients._PreferenceLoop._step", "paths.PathLoop._loss"):
        monkeypatch.setattr(f"trainless.supernets.{what}", computed)
    again = Search(**options).run()
    assert list(again.evaluations["architecture"]) == list(found.evaluations["architecture"])
    assert again.protocol["learnt"] == found.protocol["learnt"]
    if (shares := found.shares) is not None:
        assert list(shares.index) == list(range(1, total + 1))
        assert found.by_epoch is not None
        assert list(found.by_epoch.columns) == ["skips", "architecture"]
        assert list(found.by_epoch.index) == list(shares.index)
        assert f"its skip connections are {found.by_epoch['skips'].iloc[-1]}" in found.protocol["learnt"]
        assert list(shares.columns)[3:6] == [
            ("input to 1", "nor_conv_3x3"),
            ("input to 1", "avg_pool_3x3"),
            ("input to 2", "none"),
        ]


def test_eigenvalues_and_paths_left_out_are_options() -> None:
    text = "darts(epochs=2, eigenvalues=yes, drop_path=0.2)"
    found = Search(SPACE, text, "params", some_digits(), budget=2, workers=0).run()
    assert found.by_epoch is not None
    assert list(found.by_epoch.columns) == ["skips", "eigenvalue", "architecture"]
    assert np.isfinite(found.by_epoch["eigenvalue"]).all()
    assert strategy_spec(text) == text
    plain = Search(SPACE, "darts(epochs=2, eigenvalues=yes)", "params", some_digits(), budget=2, workers=0).run()
    assert plain.shares is not None
    assert found.shares is not None
    assert not plain.shares.equals(found.shares)


def test_draws_follow_the_shares() -> None:
    chosen = strategy("gdas", SPACE, seed=0)
    chosen._shares = [np.array([0.0, 0.0, 0.0, 1.0, 0.0])] * 5 + [np.array([0.5, 0.0, 0.0, 0.5, 0.0])]
    drawn = {proposal.architecture.genotype for proposal in chosen.ask(2)}
    assert drawn == {(*["nor_conv_3x3"] * 5, last) for last in ("none", "nor_conv_3x3")}


def test_what_is_kept_is_of_these_images_and_options(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        for options, images in (("epochs=1", 160), ("epochs=1", 120), ("epochs=2", 160), ("epochs=1", 160)):
            strategy(f"gdas({options})", SPACE).prepare(some_digits(images), store)
        assert len(list((tmp_path / "store.db.supernets").iterdir())) == 3


@pytest.mark.parametrize("name", OPTIONS)
def test_where_there_is_nothing_to_learn_from(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' learns from images, of which a replay has none"):
        replay(None, {}, strategies=[name])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"'{name}' learns from images, as long as it takes"):
        Plan(time=60, space=SPACE, strategy=name)
    with pytest.raises(InputError, match="trains before the first estimate, as long as it takes"):
        Plan(time=60, space=SPACE, score="one-shot(epochs=2)")
    Plan(epochs=2, space=SPACE, score="one-shot(epochs=2)")
    with pytest.raises(InputError, match=r"the first estimate, for up to 2 minutes, .*: give minutes=0\.05 in all"):
        Plan(time=60, space=SPACE, score="one-shot(minutes=2)")
    assert Plan(time=600, space=SPACE, score="one-shot(minutes=0.5)").taught_seconds == 30
    with pytest.raises(InputError, match=r"for up to 1 minutes, .*: give minutes=0\.5 in all"):  # one for each rung
        Plan(time=600, space=SPACE, strategy="hyperband", score="one-shot(minutes=0.5)")
    with pytest.raises(InputError, match=r"'gdas.*for up to 0\.4 minutes and the score 'one-shot.*for up to 0\.2"):
        Plan(time=600, space=SPACE, strategy="gdas(minutes=0.4)", score="one-shot(minutes=0.2)")
    space, why = ("nasbench_nlp", "has no choices") if name == "enas" else ("mobile", "cannot be mixed")
    with pytest.raises(InputError, match=why):
        strategy(name, search_space(space))


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="The order of darts is 3, expected 1 or 2"):
        strategy("darts(order=3)", SPACE)
    with pytest.raises(InputError, match=r"The drop_path of gdas is 1\.0, expected a number from 0 to below 1"):
        strategy("gdas(drop_path=1)", SPACE)
