"""Optuna's samplers as strategies: they learn, depend on what is known alone, stay quiet, and write studies."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from toy_space import ToySpace

from trainless.errors import InputError
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.strategies import Result, Strategy
from trainless.strategies import optuna as module
from trainless.strategies.optuna import GP, NSGA2, TPE, OptunaStrategy, check_study, write_study
from trainless.strategies.sampling import Random
from trainless.types import Architecture

CELLS = search_space("nasbench201", channels=4, cells=1)
TOYS = ToySpace()


def worth(one: Architecture) -> float:
    """How many edges hold a 3 x 3 convolution, 6 for the best cell."""
    return float(one.genotype.count("nor_conv_3x3"))


def toy_worth(one: Architecture) -> float:
    """A worth that adds up over the places, highest for toy 29 alone."""
    return float(TOYS.encode(one) @ np.arange(10.0))


def search(strategy: Strategy, evaluations: int) -> list[Architecture]:
    order: list[Architecture] = []
    value = toy_worth if strategy.space is TOYS else worth
    while len(order) < evaluations and (asked := strategy.ask(2)):
        strategy.tell([Result(each.architecture, (value(each.architecture),)) for each in asked])
        order += [each.architecture for each in asked]
    return order


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TPE, NSGA2])
def test_beats_random_search(kind: type[Strategy]) -> None:
    means = []
    for each in (kind, Random):
        means.append(np.mean([max(map(worth, search(each(CELLS, seed), 120))) for seed in range(5)]))
    # 120 random cells hold at most 4 or 5 convolutions (six in 15,625).
    assert means[0] >= means[1] + 0.5


def test_a_gaussian_process_needs_fewer_than_chance() -> None:
    best = max(TOYS, key=toy_worth)
    needed = []
    for seed in range(4):
        strategy = GP(TOYS, seed, startup=6)
        while best not in strategy.values:
            search(strategy, 2)
        needed.append(len(strategy.values))
    # By chance the best of 30 comes 15.5th on average.
    assert np.mean(needed) < 15.5 / 1.5


def test_parents_of_a_generation_are_the_best_of_the_two_before() -> None:
    strategy = NSGA2(CELLS, seed=0, population=4)
    good, bad = ("nor_conv_3x3", "skip_connect"), ("none", "avg_pool_3x3")
    rng = np.random.default_rng(0)
    for values in ((9.0, 1.0, 8.0, 2.0), (7.0, 3.0, 4.0, 6.0)):  # generations 0 and 1
        for value in values:
            one = CELLS.make([(good if value > 5 else bad)[number] for number in rng.integers(2, size=6)])
            strategy.tell([Result(one, (value,))])
    chosen = [option for each in strategy.ask(30) for option in each.architecture.genotype]
    # Each choice is a parent's, but for one mutation in six, of which two in five are of the good choices too, and for
    # mutations of what was proposed before. Without parents it would be two in five.
    assert np.mean([option in good for option in chosen]) > 0.7


def test_generations_are_those_that_optuna_counts() -> None:
    strategy = NSGA2(CELLS, seed=0, population=3)
    for number in range(10):
        strategy.tell([Result(CELLS[2 * number], (1.0,)), Result(CELLS[2 * number + 1], ())])
    strategy.ask()
    study = strategy._current()
    done = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.COMPLETE]
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in done]
    assert generations == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    # A trial that Optuna makes itself gets the generation that comes next.
    own = study.ask(module._distributions(CELLS))
    assert study.trials[own.number].system_attrs["NSGAIISampler:generation"] == 3


def test_two_objectives_are_both_raised() -> None:
    def values(one: Architecture) -> tuple[float, float]:
        return float(one.genotype.count("nor_conv_3x3")), float(one.genotype.count("skip_connect"))

    strategy = NSGA2(CELLS, seed=0, objectives=2, population=12)
    for _ in range(60):
        strategy.tell([Result(each.architecture, values(each.architecture)) for each in strategy.ask(2)])
    last = list(strategy.values.values())[-24:]
    # Of six edges at random 2.4 hold one of the two operations.
    assert np.mean([sum(each) for each in last]) > 4


@pytest.mark.parametrize("kind", [TPE, NSGA2])
@pytest.mark.parametrize("space", [CELLS, TOYS], ids=["nasbench201", "toy"])
def test_only_what_is_known_at_last_counts(kind: type[OptunaStrategy], space: SearchSpace) -> None:
    some = [space[number] for number in range(16)]
    wavering, plain = kind(space, seed=0), kind(space, seed=0)
    for place, one in enumerate(some):
        wavering.tell([Result(one, (float(-place),) if place % 3 else ())])
        wavering.ask(2)  # the study is there, and has to be made anew
    final = [Result(one, (float(place),) if place % 5 else ()) for place, one in enumerate(some)]
    wavering.tell(reversed(final))
    plain.tell(final)
    for _ in range(4):
        wavering.rng.bit_generator.state = plain.rng.bit_generator.state
        asked = plain.ask(2)
        assert wavering.ask(2) == asked
        for each in (wavering, plain):
            each.tell([Result(one, (1.0,)) for one, _ in asked])


def test_forgets_the_trials_of_earlier_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = search(TPE(CELLS, seed=0), 40)
    monkeypatch.setattr(module, "_DRAFTS", 5)
    strategy = TPE(CELLS, seed=0)
    assert search(strategy, 40) == plain
    assert len(strategy._current().trials) <= 40 + 5 + 4


@pytest.mark.parametrize("kind", [TPE, GP, NSGA2])
def test_asks_are_quiet_and_leave_no_trace_outside(
    kind: type[Strategy], capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    level, threads = optuna.logging.get_verbosity(), torch.get_num_threads()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index,union-attr]
    search(kind(TOYS, seed=0), 14)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index,union-attr]
    assert after == before
    assert (optuna.logging.get_verbosity(), torch.get_num_threads()) == (level, threads)
    assert capfd.readouterr() == ("", "")


class TestStorage:
    def test_is_a_study_of_optuna(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        url = f"sqlite:///{tmp_path}/search.db"
        write_study(TOYS, [Result(TOYS[3], (0.75,)), Result(TOYS[7], ()), Result(TOYS[1], (1.5,))], url, "toys")
        study = optuna.load_study(study_name="toys", storage=url)
        assert study.direction is optuna.study.StudyDirection.MAXIMIZE
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
        assert [trial.values for trial in study.trials] == [[0.75], None, [1.5]]
        assert [trial.user_attrs["architecture"] for trial in study.trials] == [str(TOYS[place]) for place in (3, 7, 1)]
        assert "broke a limit" in study.trials[1].user_attrs["reason"]
        assert tuple(study.best_trial.params.values()) == TOYS[1].genotype
        assert "A new study" not in capfd.readouterr().err

    def test_is_replaced_by_the_same_search(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/search.db"
        for values in ((1.0,), (2.0,)):
            check_study(url)
            write_study(TOYS, [Result(TOYS[0], values)], url)
            check_study(url)
        assert optuna.get_all_study_names(url) == ["trainless"]
        assert [trial.values for trial in optuna.load_study(study_name="trainless", storage=url).trials] == [[2.0]]

    def test_keeps_the_studies_of_others(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/search.db"
        optuna.create_study(storage=url, study_name="mine")
        with pytest.raises(InputError, match=r"has a study 'mine' that was not written by trainless: give another"):
            check_study(url, "mine")
        with pytest.raises(InputError, match="has a study 'mine'"):
            write_study(TOYS, [], url, "mine")
        assert optuna.get_all_study_names(url) == ["mine"]

    def test_takes_several_objectives(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/search.db"
        write_study(TOYS, [Result(TOYS[0], (1.0, -2.0))], url, objectives=2)
        study = optuna.load_study(study_name="trainless", storage=url)
        assert [trial.values for trial in study.best_trials] == [[1.0, -2.0]]

    @pytest.mark.parametrize(
        "url",
        [
            "nonsense",
            "sqlite:////no/such/folder/a.db",
            "strange://host/name",
            "mysql+nodriver://me:secret@host/name",
            "strange://host/name?password=secret",
        ],
    )
    def test_wrong_ones_are_one_sentence(self, url: str) -> None:
        with pytest.raises(InputError, match=r"^The storage '.*' cannot be used \(.*\): give a database URL") as caught:
            check_study(url)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_one_that_can_only_be_read(self, tmp_path: Path) -> None:
        file = tmp_path / "search.db"
        write_study(TOYS, [Result(TOYS[0], (1.0,))], f"sqlite:///{file}")
        file.chmod(0o400)
        with pytest.raises(InputError, match="readonly"):
            check_study(f"sqlite:///{file}")

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
    def test_memory_is_no_place(self, url: str) -> None:
        with pytest.raises(InputError, match="is in memory and gone at once"):
            check_study(url)


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="startup is 0"):
        TPE(TOYS, startup=0)
    with pytest.raises(InputError, match="population is 1"):
        NSGA2(TOYS, population=1)
