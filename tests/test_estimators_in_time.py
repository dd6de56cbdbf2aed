"""The estimator of the accuracy after a time: its formula, what it refuses, and the times that it measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from trainless.data import load_data, split
from trainless.errors import InputError
from trainless.estimators import AccuracyInTime, Setting, estimator
from trainless.estimators.accuracy_in_time import _formula
from trainless.estimators.formula import FEATURES, cross_validated, fit_formula, samples
from trainless.estimators.speeds import SpeedModel, work_of
from trainless.search import Search
from trainless.search_spaces import search_space
from trainless.store import Store
from trainless.tables import BenchmarkTable, benchmark_table, packaged_table
from trainless.tables.tasks import TASKS
from trainless.testing import EstimatorContract
from trainless.training.recipes import batch_size_for

SPACE = search_space("convnet")
DIGITS = load_data("digits")
TIMES = (0.1, 14.0, 1e6)


class TestContract(EstimatorContract):
    make = staticmethod(lambda: AccuracyInTime(30.0, 0.0, *TIMES))
    space = SPACE


class TestContractOfEpochs(EstimatorContract):
    make = staticmethod(lambda: estimator("accuracy-in-time(epochs=8)"))
    space = SPACE


class TestEpochs:
    def test_they_are_what_fits_into_the_time(self) -> None:
        setting, network = Setting(SPACE, DIGITS), SPACE.parse("resnet9")
        work = work_of(SPACE.blueprint(SPACE.canonical(network), DIGITS.task), batch_size_for(len(DIGITS)))
        seconds = SpeedModel(TIMES).predict(work)
        assert seconds == pytest.approx(1e-9 * np.dot(work, TIMES))
        found = AccuracyInTime(30.0, 0.0, *TIMES).explain(network, setting)
        assert found.image_seconds == pytest.approx(seconds)
        assert found.epochs == pytest.approx(30.0 / (seconds * len(DIGITS)))

    def test_where_they_are_given_no_time_counts(self) -> None:
        setting, network = Setting(SPACE, DIGITS), SPACE.parse("vgg")
        found = AccuracyInTime(epochs=8).explain(network, setting)
        assert found.epochs == 8
        assert math.isnan(found.image_seconds)

    def test_more_time_is_worth_more(self) -> None:
        setting, network = Setting(SPACE, DIGITS), SPACE.parse("resnet9")
        values = [AccuracyInTime(seconds, 0.0, *TIMES).explain(network, setting).value for seconds in (10, 40, 160)]
        assert values == sorted(values)
        assert values[0] < values[-1]


class TestTimes:
    def test_they_are_measured_once_for_a_store(self, tmp_path: Path) -> None:
        few, network = split(DIGITS, 0.1)[1], SPACE.parse("mobilenet")
        with Store(tmp_path / "store.db") as store:
            setting = Setting(SPACE, few, store=store)
            first, second = (AccuracyInTime(30.0).estimate([network], setting)[0].value for _ in range(2))
        assert first == second
        assert math.isfinite(first)

    def test_without_them_there_is_nothing_to_explain(self) -> None:
        with pytest.raises(InputError, match="give multiply_add, value and operation"):
            AccuracyInTime(30.0).explain(SPACE.parse("vgg"), Setting(SPACE, DIGITS))


class TestRefusals:
    def test_of_spaces_that_it_was_not_fitted_to(self) -> None:
        other = search_space("nasbench201")
        assert not AccuracyInTime.knows(other)
        with pytest.raises(InputError, match="fitted to networks of convnet, not of nasbench201"):
            AccuracyInTime(epochs=8).estimate([other[0]], Setting(other, DIGITS))

    @pytest.mark.parametrize("options", [{"seconds": -1.0}, {"epochs": math.inf}, {"seconds": 0.0}])
    def test_of_numbers(self, options: dict[str, float]) -> None:
        with pytest.raises(InputError, match=r"expected a number from 0|give one of them"):
            AccuracyInTime(**options)


def test_a_search_begins_with_what_it_is_told_to() -> None:
    named = [SPACE.parse(name) for name in SPACE.named]
    search = Search(
        SPACE, "evolution", "accuracy-in-time(epochs=8)", DIGITS, budget=8, workers=0, first=named,
    )  # fmt: skip
    found = search.run()
    assert list(found.evaluations["architecture"])[: len(named)] == list(map(str, named))
    assert len(found.evaluations) == 8


def table_of(worth: Callable[[dict[str, float]], float], networks: int = 60) -> BenchmarkTable:
    """A table in which what the features amount to is what a function says."""
    rng, task, rows = np.random.default_rng(0), TASKS["convnet"]["cifar10"], {}
    for _ in range(networks):
        network = SPACE.canonical(SPACE.propose(rng))
        blueprint, row = SPACE.blueprint(network, task), {}
        for budget, epochs in ((10, rng.uniform(1, 5)), (40, rng.uniform(5, 30))):
            features = {name: feature(blueprint, epochs) for name, feature in FEATURES.items()}
            row |= {f"cifar10.valid_{budget}s": worth(features), f"cifar10.epochs_{budget}s": epochs}
        rows[str(network)] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("architecture")
    return BenchmarkTable("toy", "convnet", frame)


class TestFormula:
    def test_what_is_linear_is_found_again(self) -> None:
        found = fit_formula(table_of(lambda of: 50 + 6 * of["epochs"] - 5 * of["depth"]), "cifar10")
        blueprint = SPACE.blueprint(SPACE.parse("vgg"), TASKS["convnet"]["cifar10"])
        for epochs in (2.0, 20.0):
            expected = 50 + 6 * math.log(epochs) - 5 * FEATURES["depth"](blueprint, epochs)
            assert sum(found.terms(blueprint, epochs).values()) == pytest.approx(expected, abs=0.7)
        assert found.error < 0.7

    def test_beyond_what_was_seen_it_is_flat(self) -> None:
        found = fit_formula(table_of(lambda of: 50 + 6 * of["epochs"]), "cifar10")
        blueprint = SPACE.blueprint(SPACE.parse("vgg"), TASKS["convnet"]["cifar10"])
        assert found.terms(blueprint, 1e3)["epochs"] == found.terms(blueprint, 1e6)["epochs"]

    def test_predictions_of_unseen_networks_rank_them(self) -> None:
        table = packaged_table("convnet-trainings")
        predictions, (_, _, accuracies) = cross_validated(table, "cifar10"), samples(table, "cifar10")
        assert spearmanr(predictions, accuracies).statistic > 0.8
        assert fit_formula(table, "cifar10").error == pytest.approx(np.sqrt(((predictions - accuracies) ** 2).mean()))

    def test_noise_is_told(self) -> None:
        noise = iter(np.random.default_rng(1).normal(0, 3, 1000))
        found = fit_formula(table_of(lambda of: 50 + 6 * of["epochs"] + next(noise)), "cifar10")
        assert 2 < found.error < 4.5

    def test_samples_are_those_of_the_table(self) -> None:
        table = table_of(lambda of: 60.0, networks=4)
        table.frame.iloc[0, 0] = math.nan
        names, rows, accuracies = samples(table, "cifar10")
        assert len(names) == len(rows) == len(accuracies) == 7
        assert set(accuracies) == {60.0}

    def test_the_coefficients_of_the_package_are_those_of_its_table(self) -> None:
        found, kept = fit_formula(packaged_table("convnet-trainings"), "cifar10").document(), _formula().document()
        assert kept.keys() == found.keys()
        assert kept["features"].keys() == FEATURES.keys()
        for name, column in found["features"].items():
            assert kept["features"][name] == pytest.approx(column, rel=1e-9)
        assert (kept["average"], kept["error"]) == pytest.approx((found["average"], found["error"]))

    def test_the_table_of_the_package(self) -> None:
        table = packaged_table("convnet-trainings")
        names, _, accuracies = samples(table, "cifar10")
        assert len(set(names)) == 110
        assert all(str(SPACE.canonical(SPACE.parse(name))) == name for name in set(names))
        assert 0 < accuracies.min() < accuracies.max() < 100
        assert benchmark_table("convnet-trainings") is table
