"""The bootstrap against the plain functions on samples written out, and against the known truth of simulated data."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainless import metrics
from trainless.errors import InputError, UnknownNameError
from trainless.metrics import METRICS, difference_interval, evaluate, intervals
from trainless.metrics.concordance import net_concordance
from trainless.metrics.resampling import Samples, draw

INFINITE, NAN = math.inf, math.nan

score = st.one_of(st.integers(-4, 4).map(float), st.sampled_from([NAN, INFINITE, -INFINITE]))
accuracy = st.integers(0, 6).map(float)
pairs = st.lists(st.tuples(score, accuracy), min_size=1, max_size=30)


def written_out(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sample that counts stand for."""
    return np.repeat(values, counts.astype(int))


def check(scores: np.ndarray, accuracies: np.ndarray, counts: np.ndarray, k: int) -> None:
    found = Samples(accuracies, counts, k).metrics(scores)
    assert set(found) == set(METRICS)
    for name, metric in METRICS.items():
        expected = [metric(written_out(scores, one), written_out(accuracies, one), k) for one in counts.T]
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-11, err_msg=name)


def two_proxies(architectures: int = 60, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    generator = np.random.default_rng(seed)
    names = [f"cell {number}" for number in range(architectures)]
    accuracies = pd.Series(generator.normal(90, 2, architectures).round(1), names)
    good = accuracies + generator.normal(0, 1, architectures)
    bad = generator.normal(size=architectures).round(1)
    bad[:2] = NAN, -INFINITE
    return pd.DataFrame({"good": good, "bad": bad}, names), accuracies


class TestSamples:
    @given(pairs, st.data())
    def test_every_metric_is_the_plain_one_on_the_sample_written_out(self, drawn, data) -> None:
        scores, accuracies = np.array(drawn).T
        counts = draw(len(drawn), 5, np.random.default_rng(data.draw(st.integers(0, 99))))
        check(scores, accuracies, counts, data.draw(st.integers(1, len(drawn))))

    @pytest.mark.parametrize("digits", [0, 8])
    def test_also_for_many_architectures(self, digits: int) -> None:
        generator = np.random.default_rng(1)
        scores = generator.normal(0, 5, 700).round(digits)
        accuracies = (scores + generator.normal(0, 5, 700)).round(digits)
        check(scores, accuracies, draw(700, 4, generator), k=150)

    def test_also_where_few_architectures_fill_the_sample(self) -> None:
        # The first k of an order are looked for at its beginning; here they lie far behind.
        scores, counts = np.arange(500.0), np.zeros((500, 1))
        counts[:2] = 250.0
        check(scores, scores[::-1].copy(), counts, k=40)

    def test_draws_as_many_as_there_are(self) -> None:
        counts = draw(1000, 30, np.random.default_rng(0))
        assert (counts.sum(axis=0) == 1000).all()
        assert (counts == 0).mean() == pytest.approx(math.exp(-1), abs=0.01)
        np.testing.assert_array_equal(draw(1000, 3, np.random.default_rng(0)), counts[:, :3])

    @pytest.mark.parametrize("architectures", [1, 2, 3, 8, 9, 10, 50, 101])
    @pytest.mark.parametrize("distinct", [1, 3, 10_000])
    def test_net_concordance_by_pairs(self, architectures: int, distinct: int) -> None:
        generator = np.random.default_rng(architectures)
        first, second = generator.integers(distinct, size=(2, architectures))
        counts = generator.integers(0, 4, (architectures, 3)).astype(float)
        signs = np.sign(first[:, None] - first) * np.sign(second[:, None] - second)
        groups = [np.unique(values, return_inverse=True)[1] for values in (first, second)]
        np.testing.assert_array_equal(net_concordance(*groups, counts), signs @ counts)


class TestEvaluate:
    def test_points_are_the_plain_functions_and_intervals_their_quantiles(self) -> None:
        scores, accuracies = two_proxies()
        table = evaluate(scores, accuracies, k=5, resamples=40, seed=3, confidence=0.8)
        samples = draw(60, 40, np.random.default_rng(3)).T
        for proxy in scores:
            column, truth = scores[proxy].to_numpy(), accuracies.to_numpy()
            for name, metric in METRICS.items():
                assert table.loc[proxy, name] == metric(column, truth, 5)
                values = [metric(written_out(column, one), written_out(truth, one), 5) for one in samples]
                ends = table.loc[proxy, [f"{name}_low", f"{name}_high"]].tolist()
                assert ends == pytest.approx(np.nanquantile(values, [0.1, 0.9]).tolist(), abs=1e-11)

    def test_columns_and_rows(self) -> None:
        scores, accuracies = two_proxies()
        table = evaluate(scores, accuracies, resamples=2)
        ends = ("", "_low", "_high")
        expected = [name + end for name in METRICS for end in ends] + ["networks", "not_finite"]
        assert list(table.columns) == expected
        assert list(table.index) == ["good", "bad"]
        assert table.index.name == "proxy"
        assert table["networks"].tolist() == [60, 60]
        assert table["not_finite"].tolist() == [0, 2]
        plain = evaluate(scores, accuracies, resamples=0)
        assert list(plain.columns) == [*METRICS, "networks", "not_finite"]
        pd.testing.assert_frame_equal(plain, table[plain.columns])

    def test_only_architectures_in_both_joined_by_name(self) -> None:
        scores, accuracies = two_proxies()
        shuffled = accuracies.sample(frac=1, random_state=0)
        more = pd.concat([shuffled[:50], pd.Series({"unscored": 99.0})])
        table = evaluate(scores, more, resamples=3)
        both = scores.index[scores.index.isin(shuffled.index[:50])]
        pd.testing.assert_frame_equal(table, evaluate(scores.loc[both], accuracies.loc[both], resamples=3))
        assert table["networks"].tolist() == [50, 50]

    def test_depends_on_the_seed_alone_and_not_on_the_company(self) -> None:
        scores, accuracies = two_proxies()
        table = evaluate(scores, accuracies, resamples=20, seed=1)
        pd.testing.assert_frame_equal(table, evaluate(scores, accuracies, resamples=20, seed=1))
        pd.testing.assert_frame_equal(table.loc[["bad"]], evaluate(scores[["bad"]], accuracies, resamples=20, seed=1))
        other = evaluate(scores, accuracies, resamples=20, seed=2)
        assert (table["kendall_low"] != other["kendall_low"]).all()

    def test_batches_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scores, accuracies = two_proxies()
        whole = evaluate(scores, accuracies, resamples=40)
        monkeypatch.setattr(intervals, "_NUMBERS_AT_ONCE", 1)
        seen: list[tuple[int, int]] = []
        cut = evaluate(scores, accuracies, resamples=40, progress=lambda done, total: seen.append((done, total)))
        pd.testing.assert_frame_equal(whole, cut, rtol=0, atol=1e-12)
        # Two proxies, each at the points and in batches of 16, 16 and 8.
        assert seen == [(step, 8) for step in range(1, 9)]

    def test_no_interval_where_nothing_is_known(self) -> None:
        names = ["a", "b"]
        table = evaluate(
            pd.DataFrame({"tied": [NAN, INFINITE]}, names), pd.Series([80.0, 90.0], names), k=1, resamples=9
        )
        row = table.loc["tied"]
        assert row[["kendall", "kendall_low", "kendall_high", "spearman_low", "top_kendall_high"]].isna().all()
        assert row["argmax_accuracy"] == 80.0
        assert row["not_finite"] == 2

    @pytest.mark.parametrize(
        ("change", "options", "message"),
        [
            (lambda s, a: (s, a.rename("other {}".format)), {}, "None of the 60 architectures with scores"),
            (lambda s, a: (pd.concat([s, s[:1]]), a), {}, "'cell 0' is in the scores more than once"),
            (lambda s, a: (s, pd.concat([a, a[3:4]])), {}, "'cell 3' is in the accuracies more than once"),
            (lambda s, a: (s[["good", "good"]], a), {}, "'good' is in the proxies more than once"),
            (lambda s, a: (s[[]], a), {}, "no columns"),
            (lambda s, a: (s, a.replace(a["cell 7"], NAN)), {}, r"is nan, expected a finite number .*dropna"),
            (lambda s, a: (s.assign(good="high"), a), {}, "The column 'good' holds something that is no number"),
            (lambda s, a: (s, a), {"k": 61}, "k is 61, expected a whole number from 1 to 60"),
            (lambda s, a: (s, a), {"resamples": -1}, "resamples is -1"),
            (lambda s, a: (s, a), {"resamples": 1.5}, "resamples is 1.5"),
            (lambda s, a: (s, a), {"confidence": 95}, "confidence is 95"),
        ],
    )  # fmt: skip
    def test_bad_input(self, change, options, message) -> None:
        with pytest.raises(InputError, match=message):
            evaluate(*change(*two_proxies()), **options)

    @pytest.mark.slow
    def test_intervals_hold_the_truth_as_often_as_they_say(self) -> None:
        # Bivariate normal: tau = 2/π asin(ρ), Spearman's = 6/π asin(ρ/2).
        rho, trials, architectures = 0.6, 200, 80
        truth = {"kendall": 2 / math.pi * math.asin(rho), "spearman": 6 / math.pi * math.asin(rho / 2)}
        generator = np.random.default_rng(0)
        held = dict.fromkeys(truth, 0)
        for trial in range(trials):
            accuracies = pd.Series(generator.normal(size=architectures))
            scores = rho * accuracies + math.sqrt(1 - rho**2) * generator.normal(size=architectures)
            row = evaluate(scores.to_frame("proxy"), accuracies, resamples=200, seed=trial, confidence=0.9).iloc[0]
            for name, value in truth.items():
                held[name] += row[f"{name}_low"] <= value <= row[f"{name}_high"]
        # Four standard errors of a share of 0.9 in 200 trials are 0.085.
        assert {name: share / trials for name, share in held.items()} == pytest.approx(
            dict.fromkeys(truth, 0.9), abs=0.085
        )


class TestDifference:
    def test_of_a_proxy_to_itself(self) -> None:
        scores, accuracies = two_proxies()
        for metric in METRICS:
            assert difference_interval(scores["good"], scores["good"], accuracies, metric, 20) == (0.0, 0.0, 0.0)

    def test_is_paired_and_turns_its_sign(self) -> None:
        scores, accuracies = two_proxies()
        difference, low, high = difference_interval(scores["good"], scores["bad"], accuracies, "spearman", 50, 7)
        expected = metrics.spearman(scores["good"], accuracies) - metrics.spearman(scores["bad"], accuracies)
        assert difference == pytest.approx(expected)
        assert 0 < low < difference < high
        turned = difference_interval(scores["bad"], scores["good"], accuracies, "spearman", 50, 7)
        assert turned == pytest.approx((-difference, -high, -low))
        samples = draw(60, 50, np.random.default_rng(7)).T
        good, bad, truth = (column.to_numpy() for column in (scores["good"], scores["bad"], accuracies))
        values = [
            metrics.spearman(written_out(good, one), written_out(truth, one))
            - metrics.spearman(written_out(bad, one), written_out(truth, one))
            for one in samples
        ]
        assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))

    @pytest.mark.parametrize("name", ["kendall", "precision_at"])
    def test_a_metric_of_your_own(self, name: str) -> None:
        scores, accuracies = two_proxies()
        known = METRICS[name]
        own = metrics.Metric("own", known.function, known.unit, True, "the same function", known.takes_k)
        columns = scores["good"], scores["bad"], accuracies
        assert difference_interval(*columns, own, 20, k=7) == pytest.approx(
            difference_interval(*columns, name, 20, k=7)
        )

    def test_fewer_architectures_than_k_matter_only_where_k_does(self) -> None:
        assert difference_interval([1, 2, 3], [3, 2, 1], [1, 2, 3], "regret", 5)[0] == -2.0
        with pytest.raises(InputError, match="k is 10"):
            difference_interval([1, 2, 3], [3, 2, 1], [1, 2, 3], "best_of_top", 5)

    def test_bad_input(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'kendall'"):
            difference_interval([1, 2], [2, 1], [1, 2], "kendal")
        with pytest.raises(InputError, match="resamples is 0"):
            difference_interval([1, 2], [2, 1], [1, 2], resamples=0)
        with pytest.raises(InputError, match="3 scores and 2 accuracies"):
            difference_interval([1, 2], [2, 1, 3], [1, 2])
