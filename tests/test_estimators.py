"""Estimators of performance: closed forms, the contract, and small real trainings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from scipy.stats import spearmanr
from toy_space import ToySpace

from trainless.aggregation import aggregate
from trainless.automl import trust
from trainless.data import load_data, split
from trainless.data.arrays import resize
from trainless.errors import InputError, UnknownNameError
from trainless.estimators import (
    ESTIMATORS,
    Ask,
    EarlyStopping,
    Estimate,
    Estimator,
    Setting,
    distinct_sample,
    estimator,
    extrapolate,
)
from trainless.estimators.raw_scores import RawScores
from trainless.estimators.surrogate import fit_model
from trainless.proxies import proxies
from trainless.scoring import Scorer
from trainless.search import Fidelity, Search, replay, search_score, split_names
from trainless.search_spaces import search_space
from trainless.store import Store
from trainless.testing import EstimatorContract
from trainless.training import Recipe, train
from trainless.types import Score

SMALL = search_space("nasbench201", channels=4, cells=1)
DIGITS = load_data("digits")
SOME = split(DIGITS, 0.1)[1]

SPECS = {
    "Full": "full(epochs=2)",
    "EarlyStopping": "early-stopping(epochs=3, patience=1)",
    "Reduced": "reduced(epochs=1, channels=0.5, resolution=0.5, images=0.5)",
    "LearningCurve": "learning-curve(epochs=8, share=0.4)",
    "GaussianProcess": "surrogate(gp, sample=6, base=full(epochs=1))",
    "Boosting": "surrogate(boosting, sample=6, base=zero-cost(nwot), proxies=params)",
    "ZeroCost": "zero-cost(log-rank(flops, nwot), reference=6)",
}


def contract(name: str, spec: str) -> tuple[str, type]:
    body = {"make": staticmethod(lambda: estimator(spec)), "space": SMALL, "processes": 2 * (name == "EarlyStopping")}
    trains = {} if name == "ZeroCost" else {"pytestmark": pytest.mark.slow}
    return f"Test{name}", type(f"Test{name}", (EstimatorContract,), body | trains)


globals().update(contract(name, spec) for name, spec in SPECS.items())


class TestRawScoresContract(EstimatorContract):
    make = staticmethod(lambda: RawScores(tuple(proxies("nwot")), batch_size=8))
    space = SMALL


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(ToySpace(), SOME, seed=2, workers=0)


class Worth(Estimator):
    """A closed form: nothing of trainless registers it."""

    name = "worth"
    asked: list[list[str]]

    def __init__(self) -> None:
        self.asked = []

    @property
    def fidelity(self) -> str:
        return "a closed form"

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        def ask(some: Sequence[Any]) -> list[Estimate]:
            self.asked.append([str(one) for one in some])
            return [self.one(setting, architecture) for architecture in some]

        yield ask

    def one(self, setting: Setting, architecture: Any) -> Estimate:
        if setting.space.index(architecture) % 7 == 6:
            return Estimate(str(architecture), math.nan, reason="a seventh")
        return Estimate(str(architecture), float(setting.space.index(architecture)), seconds=1.0, note="known")


class TestSpecs:
    @pytest.mark.parametrize("spec", [*ESTIMATORS, *SPECS.values()])
    def test_text_and_back(self, spec: str) -> None:
        made = estimator(spec)
        assert estimator(str(made)) == made
        assert estimator(made) is made
        assert made.name == spec.split("(")[0]
        assert made.fidelity

    def test_options_of_a_recipe(self) -> None:
        made = estimator("early-stopping(8, mirror=yes, learning_rate=0.01)")
        assert made == EarlyStopping(epochs=8, recipe=Recipe(mirror=True, learning_rate=0.01))

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("full(epoch=3)", "The estimator 'full' has no option 'epoch', expected one of epochs, or of a recipe"),
            ("full(3, 4)", "has no option '4'"),
            ("full(epochs=3, epochs=4)", "'epochs' of the estimator 'full' is given twice"),
            ("full(epochs=many)", "The option 'epochs' is 'many', expected a whole number, such as 12"),
            ("full(mirror=perhaps)", "expected yes or no"),
            ("full(0)", "epochs is 0"),
            ("early-stopping(patience=0)", "patience is 0"),
            ("reduced(channels=2)", "channels of the estimator 'reduced' are a share of 2.0"),
            ("learning-curve(share=0)", "share of the epochs is 0.0"),
            ("surrogate(forest)", "There is no model of the surrogate 'forest'"),
            ("surrogate(sample=2)", "expected at least 5"),
            ("surrogate(base=surrogate)", "no surrogate"),
            ("surrogate(proxies=nwott)", "did you mean 'nwot'"),
            ("zero-cost(nwott)", "did you mean 'nwot'"),
            ("zero-cost(reference=1)", "expected at least 2"),
            ("zero-cost(mirror=yes)", "has no option 'mirror', expected one of score, reference, as in"),
        ],
    )
    def test_refusals(self, spec: str, message: str) -> None:
        with pytest.raises(InputError) as caught:
            estimator(spec)
        assert message in str(caught.value)
        assert str(caught.value).endswith(".")

    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'reduced'"):
            estimator("reducedd(epochs=3)")
        with pytest.raises(UnknownNameError, match="early-stopping"):
            search_score("early-stoppin(epochs=3)")

    def test_names_are_split_outside_parentheses(self) -> None:
        assert split_names("a, b(c, d(e, f), g), h") == ["a", "b(c, d(e, f), g)", "h"]


class TestExtrapolation:
    @pytest.mark.parametrize("seen", [8, 12])
    @pytest.mark.parametrize(
        "curve",
        [
            lambda x: 92 - 60 * x**-0.9,
            lambda x: 80 - 50 * np.exp(-0.35 * x),
            lambda x: 70 - 30 / np.log(x + 1),
            lambda x: 95 - 80 / (1 + (0.6 * x) ** 1.4),
            lambda x: 85 - 60 * np.exp(-0.6 * x**0.7),
        ],
        ids=["power", "exponential", "logarithm", "mmf", "weibull"],
    )
    def test_curves_of_known_families(self, curve: Any, seen: int) -> None:
        values = curve(np.arange(1.0, 31.0))
        forecast = extrapolate(values[:seen], 30)
        assert forecast.value == pytest.approx(values[-1], abs=1.0)
        assert abs(forecast.value - values[-1]) < abs(values[seen - 1] - values[-1])
        assert sum(forecast.families.values()) == pytest.approx(1)

    def test_a_constant_stays(self) -> None:
        forecast = extrapolate([50.0] * 5, 20)
        assert forecast.value == pytest.approx(50.0)
        assert forecast.deviation == pytest.approx(0.1)

    def test_bounds(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(30):
            curve = rng.uniform(0, 100, rng.integers(1, 8))
            noise = float(rng.uniform(0, 5))
            forecast = extrapolate(curve, 12, noise=noise)
            assert forecast.value <= 100
            assert math.isfinite(forecast.value)
            assert forecast.deviation >= noise
            if len(curve) > 2:
                assert forecast.value >= curve[-1] - forecast.deviation - 1e-9
        assert extrapolate([60.0, 99.0, 100.0], 50).value <= 100

    def test_what_says_little(self) -> None:
        assert extrapolate([30.0, 40.0], 9) == (40.0, 60.0, {})
        assert extrapolate([30.0, 40.0, 50.0], 3) == (50.0, 0.0, {})
        short, long = (extrapolate([90 - 60 * x**-0.8 for x in range(1, n + 1)], 40, noise=1.0) for n in (4, 20))
        assert short.deviation > long.deviation

    @pytest.mark.parametrize("curve", [[], [1.0, 2.0, 3.0], [101.0], [math.nan]])
    def test_refuses_what_is_no_curve(self, curve: list[float]) -> None:
        with pytest.raises(InputError, match="expected 1 to 2 accuracies"):
            extrapolate(curve, 2)


class TestModels:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["gp", "boosting"])
    def test_learn_a_known_function(self, kind: str) -> None:
        rng = np.random.default_rng(1)
        features = rng.uniform(-1, 1, (160, 4))
        values = 70 + 10 * features[:, 0] - 5 * features[:, 1] ** 2 + rng.normal(0, 0.3, 160)
        fitted = fit_model(kind, features[:80], values[:80])
        predicted = np.array([fitted.predict(row)[0] for row in features[80:]])
        off = np.sqrt(((predicted - values[80:]) ** 2).mean())
        assert off < 0.5 * values[80:].std()
        assert spearmanr(predicted, values[80:]).statistic > 0.85
        assert fitted.rank_correlation > 0.8
        assert 0 < fitted.predict(features[90])[1] < values.std()

    @pytest.mark.slow
    def test_nothing_to_learn(self) -> None:
        rng = np.random.default_rng(2)
        assert abs(fit_model("gp", rng.normal(size=(60, 3)), rng.normal(size=60)).rank_correlation) < 0.4
        assert fit_model("boosting", np.full((8, 2), np.nan), np.full(8, 3.0)).predict(np.zeros(2))[0] == 3.0

    def test_a_surrogate_predicts_what_its_base_says(self, setting: Setting) -> None:
        made = ESTIMATORS["surrogate"](sample=24, base=Worth(), proxies="none")  # type: ignore[call-arg]
        whole = list(setting.space)
        told = made.estimate(whole, setting)
        assert spearmanr([each.value for each in told], range(30)).statistic > 0.9
        assert {each.shared_seconds for each in told} <= {float(n) for n in range(15, 25)}
        assert "rank correlation" in told[0].note

    def test_a_sample_that_cannot_be_learned_from(self, setting: Setting) -> None:
        class Never(Worth):
            def one(self, setting: Setting, architecture: Any) -> Estimate:
                return Estimate(str(architecture), math.nan, reason="never")

        made = ESTIMATORS["surrogate"](sample=6, base=Never())  # type: ignore[call-arg]
        with pytest.raises(InputError, match=r"Only 0 of the 6 .* \(never\)"):
            made.estimate([setting.space[0]], setting)


@pytest.mark.slow
class TestTrainings:
    def test_full_is_a_plain_training(self, setting: Setting) -> None:
        one = setting.space[8]
        (told,) = estimator("full(2)").estimate([one], setting)
        parts = split(SOME, 0.2, 2)
        result = train(setting.space.build(one, SOME.task), *parts, epochs=2, seed=2)
        assert (told.value, told.epochs) == (result.valid_accuracy, 2)

    def test_reduced_has_all_four_factors(self, setting: Setting) -> None:
        deep = setting.within(ToySpace(depth=4), SOME)
        (told,) = estimator("reduced(1, channels=0.5, resolution=0.5, images=0.5)").estimate([deep.space[8]], deep)
        data = Fidelity(resolution=0.5).of_data(SOME)
        np.testing.assert_array_equal(data.images, resize(SOME.images, 4, 4))
        learned, valid = split(data, 0.2, 2)
        network = ToySpace(depth=2).build(deep.space[8], data.task)
        result = train(network, split(learned, 0.5, 2)[1], valid, epochs=1, seed=2)
        assert told.value == result.valid_accuracy

    def test_a_learning_curve_is_that_of_the_whole_training(self, setting: Setting) -> None:
        one = setting.space[8]
        (told,) = estimator("learning-curve(epochs=8, share=0.5)").estimate([one], setting)
        parts = split(SOME, 0.2, 2)
        whole = train(setting.space.build(one, SOME.task), *parts, epochs=8, seed=2).valid_accuracies
        right = whole[3] / 100
        noise = 50 * math.sqrt(right * (1 - right) / len(parts[1]))
        expected = extrapolate(whole[:4], 8, noise=noise)
        assert (told.value, told.deviation, told.epochs) == (expected.value, expected.deviation, 4)

    def test_early_stopping_stops(self, setting: Setting) -> None:
        told = estimator("early-stopping(epochs=6, patience=1)").estimate(list(setting.space)[:4], setting)
        assert min(each.epochs for each in told) < 6

    def test_what_is_stored_is_not_trained_again(
        self, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        some = list(setting.space)[:3]
        with Store(tmp_path / "store.db") as store:
            stored = Setting(setting.space, SOME, store=store, workers=0)
            first = estimator("full(1)").estimate(some, stored)
            monkeypatch.setattr("trainless.estimators.trainings.train", None)
            assert estimator("full(1)").estimate(some[::-1], stored) == first[::-1]
            # Another recipe is another training, and what fails costs the others nothing.
            failed = estimator("full(1, mirror=yes)").estimate(some, stored)
            assert all(math.isnan(each.value) and "TypeError" in each.reason for each in failed)


class TestRawScores:
    def test_are_those_of_the_scorer(self, setting: Setting) -> None:
        source = RawScores(tuple(proxies("params, nwot")), batch_size=16)
        estimates = source.estimate(list(setting.space)[:4], setting)
        scorer = Scorer(setting.space, "params, nwot", SOME, seed=2, batch_size=16, workers=0)
        expected = scorer.score(list(setting.space)[:4])
        np.testing.assert_array_equal([estimate.row for estimate in estimates], expected)
        assert all(math.isnan(estimate.value) and not estimate.reason for estimate in estimates)
        assert {estimate.status for estimate in estimates} == {"ok"}

    def test_a_reduced_session_has_a_smaller_batch_of_as_many_images(self, setting: Setting) -> None:
        source = RawScores(tuple(proxies("nwot")), batch_size=16)
        with source.reduced_session(setting, Fidelity(resolution=0.5, batch=0.5)) as ask:
            (estimate,) = ask([setting.space[8]])
        smaller = Fidelity(resolution=0.5).of_data(SOME)
        expected = Scorer(setting.space, "nwot", smaller, seed=2, batch_size=8, workers=0).score([setting.space[8]])
        assert estimate.value == expected["nwot"].item()

    def test_the_value_of_one_of_which_lower_is_better_is_turned(self, setting: Setting) -> None:
        turned = replace(proxies("params")[0], higher_is_better=False)
        (estimate,) = RawScores((turned,)).estimate([setting.space[8]], setting)
        assert estimate.value == -estimate.row[0] < 0

    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [(["ok", "ok"], "ok"), (["ok", "not finite"], "not finite"), (["failed", "not finite", "ok"], "failed")],
    )
    def test_the_worst_status_counts(self, statuses: list[str], expected: str) -> None:
        scores = tuple(Score("a", str(number), 1.0, status) for number, status in enumerate(statuses))
        assert Estimate("a", 1.0, reason="told", scores=scores).status == expected

    def test_without_scores_the_value_tells(self) -> None:
        assert [Estimate("a", value).status for value in (1.0, math.nan, -math.inf)] == ["ok", *["not finite"] * 2]
        assert Estimate("a", math.nan, reason="none").status == "failed"


class TestZeroCost:
    def test_is_relative_to_the_seeded_reference(self, setting: Setting) -> None:
        told = estimator("zero-cost(rank(params, flops), reference=10)").estimate(list(setting.space), setting)
        scorer = Scorer(setting.space, "params, flops", SOME, seed=2, workers=0)
        mix = aggregate("rank", ["params", "flops"])
        reference = distinct_sample(setting.space, 10, 2, "reference")
        mix.fit(scorer.score(reference))
        expected = mix.score(scorer.score(list(setting.space)))
        np.testing.assert_allclose([each.value for each in told], expected)


@pytest.mark.slow
class TestSearching:
    def options(self, **others: Any) -> dict[str, Any]:
        return {"data": SOME, "workers": 0, "strategy": "evolution", "budget": 9, "batch_size": 8, **others}

    def test_finds_what_the_estimator_says(self) -> None:
        made = Worth()
        found = Search(ToySpace(), score=made, **self.options(strategy="grid", budget=30)).run()
        assert found.best == str(ToySpace()[29])
        assert found.evaluations["worth"].notna().sum() == 26
        assert set(found.evaluations.loc[found.evaluations["status"] == "failed", "reason"]) == {"a seventh"}
        assert found.protocol["estimates"] == "a closed form; known"
        # Nothing is asked twice, and rungs ask in their own session.
        asked = [text for some in made.asked for text in some]
        assert len(asked) == len(set(asked)) == 30

    def test_goes_on_where_it_was_interrupted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        score = "early-stopping(epochs=2)"
        plain = Search(ToySpace(), score=score, **self.options()).run()
        whole = plain.evaluations.drop(columns="seconds")
        assert plain.evaluations["score"].between(0, 100).all()
        store = tmp_path / "search.db"
        Search(ToySpace(), score=score, **self.options(budget=5, store=store)).run()
        done = []
        real = train
        monkeypatch.setattr(
            "trainless.estimators.trainings.train", lambda *given, **more: done.append(1) or real(*given, **more)
        )
        search = Search(ToySpace(), score=score, **self.options(store=store))
        assert search.is_begun()
        resumed = search.run(resume=True)
        assert resumed.evaluations.drop(columns="seconds").equals(whole)
        assert len(done) == 4
        with pytest.raises(InputError, match=r"estimates|images|score"):
            Search(ToySpace(), score="early-stopping(epochs=3)", **self.options(store=store)).run(resume=True)

    def test_cheaper_rungs_train_less(self) -> None:
        found = Search(
            ToySpace(depth=2), score="full(1)",
            **self.options(strategy="successive-halving", fidelities=[Fidelity(0.5, 0.5, 0.5)], budget=3),
        ).run()  # fmt: skip
        assert len(found.evaluations) == 3

    def test_replays_refuse_it(self) -> None:
        with pytest.raises(InputError, match="The score 'full' is an estimator, which a replay cannot look up"):
            replay(None, {}, strategies=["random"], searched=["full"])  # type: ignore[arg-type]


@pytest.mark.slow
class TestTrust:
    def test_has_a_row_for_each(self, tmp_path: Path) -> None:
        found = trust(
            "digits", ToySpace(), train=6, proxies="params", epochs=2, images=150, workers=0,
            estimators=("full(2)", Worth()), store=tmp_path / "trust.db",
        )  # fmt: skip
        assert found.metrics.index.tolist() == ["params", "full(epochs=2)", "worth"]
        assert found.scores["full(epochs=2)"].equals(found.accuracies.rename("full(epochs=2)"))
        assert found.seconds["full(epochs=2)"] == found.seconds["training"] > 0
        assert found.protocol["worth"] == "a closed form; known"

    def test_commands(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        command = Command(monkeypatch, capsys)
        rows = command.document("estimators")
        assert [row["estimator"] for row in rows] == list(ESTIMATORS)
        assert rows[2]["options"] == "epochs=4, channels=0.5, resolution=0.5, images=1.0"
        small = (
            "--data",
            "digits",
            "--space",
            "nasbench201(channels=2, cells=1)",
            "--workers",
            0,
            "--store",
            tmp_path / "kept.db",
        )
        given = ("trust", *small, "--train", 5, "--epochs", 1, "--images", 100, "--proxies", "params")
        document = command.document(*given, "--estimators", "zero-cost(log-rank(flops, params)), full(1)")
        assert [row["proxy"] for row in document["proxies"]][1:] == [
            "zero-cost(score=log-rank(flops, params), reference=64)", "full(epochs=1)",
        ]  # fmt: skip
        assert all(row["seconds"] > 0 for row in document["proxies"])
        assert "did you mean 'full'" in command.refusal(*given, "--estimators", "ful")
        found = command.document("search", *small, "--score", "reduced(1, images=0.1)", "--strategy", "random",
                                 "--budget", 2, "--out", tmp_path / "page.html")  # fmt: skip
        assert 0 <= found["best"]["score"] <= 100
        assert found["protocol"]["estimates"].startswith("a training of 1 epoch, 0.5 of width and depth")
        assert "no option 'epoch'" in command.refusal("search", *small, "--score", "reduced(epoch=1)")
