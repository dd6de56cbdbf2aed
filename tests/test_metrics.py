"""Metrics by closed forms, by brute force over pairs and sorted lists, and against scipy and scikit-learn."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.linear_model
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from trainless import metrics
from trainless.aggregation import hybrid
from trainless.errors import InputError

INFINITE, NAN = math.inf, math.nan

# Few distinct values, so that there are ties of every kind.
score = st.one_of(st.integers(-4, 4).map(float), st.sampled_from([NAN, INFINITE, -INFINITE]))
accuracy = st.integers(0, 6).map(float)
pairs = st.lists(st.tuples(score, accuracy), min_size=1, max_size=25)
distinct = st.lists(st.integers(-1000, 1000), min_size=2, max_size=25, unique=True)


def split(drawn: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [one for one, _ in drawn], [other for _, other in drawn]


def last(scores: list[float]) -> list[float]:
    """What is not finite in one tie below all others."""
    return [value if math.isfinite(value) else -INFINITE for value in scores]


def sign(one: float, other: float) -> int:
    return (one > other) - (one < other)


def tau_by_pairs(scores: list[float], accuracies: list[float], weights: list[float]) -> float:
    """Tau-b where a pair weighs the sum of the weights of its two."""
    net = first = second = 0.0
    for i, j in itertools.combinations(range(len(scores)), 2):
        by_score, by_accuracy = sign(scores[i], scores[j]), sign(accuracies[i], accuracies[j])
        weight = weights[i] + weights[j]
        net += weight * by_score * by_accuracy
        first += weight * abs(by_score)
        second += weight * abs(by_accuracy)
    return net / math.sqrt(first * second) if first and second else NAN


def hyperbolic(scores: list[float], accuracies: list[float]) -> list[float]:
    """1/(1 + rank), rank 0 the most accurate, equal accuracies by score."""
    order = sorted(range(len(scores)), key=lambda place: (-accuracies[place], -scores[place]))
    return [1 / (1 + order.index(place)) for place in range(len(scores))]


def best(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))


class TestCorrelations:
    @given(pairs)
    def test_kendall_by_pairs(self, drawn) -> None:
        scores, accuracies = split(drawn)
        expected = tau_by_pairs(last(scores), accuracies, [1.0] * len(scores))
        assert metrics.kendall(scores, accuracies) == pytest.approx(expected, abs=1e-12, nan_ok=True)

    @given(pairs)
    def test_weighted_kendall_by_pairs(self, drawn) -> None:
        scores, accuracies = split(drawn)
        expected = tau_by_pairs(last(scores), accuracies, hyperbolic(last(scores), accuracies))
        assert metrics.weighted_kendall(scores, accuracies) == pytest.approx(expected, abs=1e-12, nan_ok=True)

    @given(distinct)
    def test_weighted_kendall_is_that_of_scipy_with_ranks_by_accuracy(self, accuracies) -> None:
        scores = np.sin(accuracies)
        ranks = len(accuracies) - scipy.stats.rankdata(accuracies).astype(int)
        expected = scipy.stats.weightedtau(accuracies, scores, rank=ranks).statistic
        assert metrics.weighted_kendall(scores, accuracies) == pytest.approx(expected, abs=1e-12)

    @given(pairs, st.sampled_from([0.1, 0.3, 0.5, 1.0]))
    def test_top_kendall_by_pairs(self, drawn, share) -> None:
        scores, accuracies = split(drawn)
        tenths = round(10 * share)
        number = -(-tenths * len(scores) // 10)
        threshold = sorted(accuracies, reverse=True)[number - 1]
        chosen = [(one, other) for one, other in zip(last(scores), accuracies, strict=True) if other >= threshold]
        expected = tau_by_pairs(*split(chosen), [1.0] * len(chosen))
        assert metrics.top_kendall(scores, accuracies, share) == pytest.approx(expected, abs=1e-12, nan_ok=True)

    def test_top_kendall_takes_a_tenth(self) -> None:
        accuracies = np.arange(30.0)
        scores = np.append(np.zeros(27), [3.0, 2.0, 1.0])
        assert metrics.top_kendall(scores, accuracies) == -1.0
        assert metrics.top_kendall(scores[3:], accuracies[3:]) == -1.0  # ⌈2.7⌉ are the same three

    @given(pairs)
    def test_spearman_is_that_of_scipy(self, drawn) -> None:
        scores, accuracies = split(drawn)
        expected = NAN
        if len(set(last(scores))) > 1 and len(set(accuracies)) > 1:
            expected = scipy.stats.spearmanr(scipy.stats.rankdata(last(scores)), accuracies).statistic
        assert metrics.spearman(scores, accuracies) == pytest.approx(expected, abs=1e-12, nan_ok=True)

    def test_by_hand(self) -> None:
        # Of 15 pairs: 12 concordant, 1 discordant, 1 tied in score, 1 in accuracy.
        scores, accuracies = [NAN, INFINITE, 1, 2, 4, 3], [10, 20, 20, 40, 50, 60]
        assert metrics.kendall(scores, accuracies) == pytest.approx((12 - 1) / 14)
        # Ranks 1.5 1.5 3 4 6 5 and 1 2.5 2.5 4 5 6.
        assert metrics.spearman(scores, accuracies) == pytest.approx((88.75 - 73.5) / (90.5 - 73.5))

    @pytest.mark.parametrize("name", ["kendall", "spearman", "weighted_kendall", "top_kendall"])
    def test_range_and_what_is_undefined(self, name: str) -> None:
        correlation, accuracies = getattr(metrics, name), np.arange(40.0)
        assert correlation(accuracies, accuracies) == pytest.approx(1.0, abs=1e-12)
        assert correlation(-accuracies, accuracies) == pytest.approx(-1.0, abs=1e-12)
        assert math.isnan(correlation(np.ones(40), accuracies))
        assert math.isnan(correlation(accuracies, np.ones(40)))
        assert math.isnan(correlation([NAN, INFINITE, -INFINITE], [1.0, 2.0, 3.0]))
        assert math.isnan(correlation([1.0], [1.0]))

    def test_normal_scores(self) -> None:
        values = [3.0, 1.0, 3.0, NAN, INFINITE, 7.0]
        ranks = scipy.stats.rankdata([3.0, 1.0, 3.0, -9.0, -9.0, 7.0])
        np.testing.assert_allclose(
            metrics.normal_scores(values), scipy.stats.norm.ppf((ranks - 3 / 8) / 6.25), atol=1e-12
        )
        assert metrics.normal_scores([]).size == 0


class TestTop:
    @given(pairs, st.data())
    def test_by_sorted_lists(self, drawn, data) -> None:
        scores, accuracies = split(drawn)
        k = data.draw(st.integers(1, len(scores)))
        chosen = [accuracies[place] for place in best(last(scores))[:k]]
        threshold = sorted(accuracies, reverse=True)[k - 1]
        assert metrics.best_of_top(scores, accuracies, k) == max(chosen)
        assert metrics.precision_at(scores, accuracies, k) == pytest.approx(sum(a >= threshold for a in chosen) / k)
        first = accuracies[best(last(scores))[0]]
        assert metrics.argmax_accuracy(scores, accuracies) == first
        assert metrics.regret(scores, accuracies) == max(accuracies) - first

    @given(distinct, st.data())
    def test_ndcg_is_that_of_scikit_learn(self, scores, data) -> None:
        accuracies = data.draw(st.lists(accuracy, min_size=len(scores), max_size=len(scores)))
        k = data.draw(st.integers(1, len(scores)))
        gains = [
            sum(0.5 + 0.5 * sign(one, other) for other in accuracies) / (len(scores) - 1) - 0.5 / (len(scores) - 1)
            for one in accuracies
        ]
        expected = sklearn.metrics.ndcg_score([gains], [scores], k=k)
        assert metrics.ndcg_at(scores, accuracies, k) == pytest.approx(expected, abs=1e-12)

    def test_ndcg_by_hand(self) -> None:
        discounts = [1.0, 1 / math.log2(3)]
        # Gains 0, 1/3, 2/3, 1 by accuracy; the two best-scored have 1/3 and 1.
        expected = (1 / 3 * discounts[0] + discounts[1]) / (discounts[0] + 2 / 3 * discounts[1])
        assert metrics.ndcg_at([3, 4, 2, 1], [95, 80, 90, 10], k=2) == pytest.approx(expected)

    def test_ndcg_of_a_random_order_is_about_a_half(self) -> None:
        generator = np.random.default_rng(0)
        found = [metrics.ndcg_at(generator.normal(size=1000), np.arange(1000.0) ** 9) for _ in range(300)]
        assert np.mean(found) == pytest.approx(0.5, abs=0.03)

    def test_ndcg_without_differences(self) -> None:
        assert metrics.ndcg_at([2, 1], [90, 90], k=1) == 1.0
        assert math.isnan(metrics.ndcg_at([1], [90], k=1))

    def test_equal_scores_keep_their_order(self) -> None:
        scores, accuracies = [NAN, 1.0, INFINITE, 1.0], [99, 70, 98, 80]
        assert metrics.argmax_accuracy(scores, accuracies) == 70
        assert metrics.best_of_top(scores, accuracies, 2) == 80
        assert metrics.best_of_top(scores, accuracies, 3) == 99
        assert metrics.argmax_accuracy([NAN, -INFINITE], [60, 70]) == 60

    def test_equal_accuracies_are_all_among_the_most_accurate(self) -> None:
        assert metrics.precision_at([1, 2, 3], [90, 90, 80], k=1) == 0.0
        assert metrics.precision_at([1, 3, 2], [90, 90, 80], k=1) == 1.0


class TestInvariance:
    @given(pairs)
    def test_a_rising_function_of_the_scores_changes_nothing(self, drawn) -> None:
        scores, accuracies = split(drawn)
        changed = [value**3 + 5 if math.isfinite(value) else NAN for value in scores]
        for metric in metrics.METRICS.values():
            k = min(3, len(scores))
            assert metric(changed, accuracies, k) == pytest.approx(metric(scores, accuracies, k), nan_ok=True)

    @given(distinct, st.data())
    def test_the_order_of_the_architectures_changes_nothing(self, scores, data) -> None:
        accuracies = data.draw(st.lists(accuracy, min_size=len(scores), max_size=len(scores)))
        order = data.draw(st.permutations(range(len(scores))))
        moved = [scores[place] for place in order], [accuracies[place] for place in order]
        for metric in metrics.METRICS.values():
            k = min(3, len(scores))
            assert metric(*moved, k) == pytest.approx(metric(scores, accuracies, k), abs=1e-12, nan_ok=True)

    @given(pairs, st.data())
    def test_ties_leave_correlations_independent_of_the_order(self, drawn, data) -> None:
        moved = split(data.draw(st.permutations(drawn)))
        for name in ("kendall", "spearman", "weighted_kendall", "top_kendall"):
            metric = metrics.METRICS[name]
            assert metric(*moved) == pytest.approx(metric(*split(drawn)), abs=1e-12, nan_ok=True)


class TestInput:
    @pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
    def test_columns(self, metric: metrics.Metric) -> None:
        for scores, accuracies, message in (
            ([1.0, 2.0], [1.0], "2 scores and 1 accuracies"),
            ([], [], "no architectures"),
            ([1.0, 2.0], [1.0, NAN], "Accuracy number 2 is nan"),
            ([1.0], [INFINITE], "Accuracy number 1 is inf"),
            (["high"], [1.0], "scores holds something that is no number"),
            ([[1.0]], [1.0], r"scores has shape \(1, 1\)"),
            (pd.Series([1.0], ["a"]), pd.Series([1.0], ["b"]), "different indexes"),
        ):
            with pytest.raises(InputError, match=message):
                metric(scores, accuracies, 1)

    @pytest.mark.parametrize("metric", [metrics.precision_at, metrics.best_of_top, metrics.ndcg_at])
    def test_k(self, metric) -> None:
        with pytest.raises(InputError, match=r"k is 4, expected .* from 1 to 3, .* smaller k"):
            metric([1, 2, 3], [1, 2, 3], 4)
        for wrong in (0, -1, 2.5, "2"):
            with pytest.raises(InputError, match=f"k is {wrong}, expected a whole number from 1 to 3"):
                metric([1, 2, 3], [1, 2, 3], wrong)
        assert metric([1, 2, 3], [1, 2, 3], np.int64(3)) >= 1.0

    @pytest.mark.parametrize("share", [0, -0.1, 1.1, NAN])
    def test_share(self, share: float) -> None:
        with pytest.raises(InputError, match="share is"):
            metrics.top_kendall([1, 2], [1, 2], share)

    def test_registry(self) -> None:
        assert all(name == metric.name and metric.summary for name, metric in metrics.METRICS.items())
        assert [name for name, metric in metrics.METRICS.items() if not metric.higher_is_better] == ["regret"]
        assert {name for name, metric in metrics.METRICS.items() if metric.takes_k} == {
            "best_of_top", "ndcg_at", "precision_at"
        }  # fmt: skip


class TestComparison:
    scores = pd.DataFrame(
        {"a": [1.0, 2, 3, 4, NAN, 6], "b": [2.0, 1, 1, 5, INFINITE, 3], "c": [9.0] * 6, "d": [5.0, 2, 4, 3, 1, 0]}
    )

    def test_agreement_is_that_of_scipy(self) -> None:
        found = metrics.agreement(self.scores)
        ranks = self.scores.replace([INFINITE, NAN], -99.0).rank()
        expected = scipy.stats.spearmanr(ranks["a"], ranks["b"]).statistic
        assert found.loc["a", "b"] == found.loc["b", "a"] == pytest.approx(expected)
        assert found.loc["a", "a"] == 1.0
        assert found["c"].isna().all()
        assert found.loc["c"].isna().all()

    def test_redundancy_is_that_of_scikit_learn(self) -> None:
        generator = np.random.default_rng(0)
        first = generator.normal(size=200)
        scores = pd.DataFrame({"first": np.exp(first), "near": first + generator.normal(size=200),
                               "opposite": -first**3, "noise": generator.normal(size=200)})  # fmt: skip
        found = metrics.redundancy(scores)
        assert found["nearest"].to_dict() == {"first": "opposite", "near": "first", "opposite": "first",
                                              "noise": found.loc["noise", "nearest"]}  # fmt: skip
        assert found.loc["first", "rho"] == pytest.approx(-1.0)
        normal = pd.DataFrame({name: scipy.stats.norm.ppf((scores[name].rank() - 3 / 8) / 200.25) for name in scores})
        for name in scores:
            others = normal.drop(columns=name)
            model = sklearn.linear_model.LinearRegression().fit(others, normal[name])
            assert found.loc[name, "r_squared"] == pytest.approx(model.score(others, normal[name]), abs=1e-9)

    def test_redundancy_where_there_is_nothing_to_tell(self) -> None:
        tied = metrics.redundancy(self.scores)
        assert tied.loc["c", "nearest"] == ""
        assert tied.loc["c", ["rho", "r_squared"]].isna().all()
        assert tied.loc["a", "r_squared"] == pytest.approx(
            metrics.redundancy(self.scores.drop(columns="c")).loc["a", "r_squared"]
        )
        alone = metrics.redundancy(self.scores[["a"]])
        assert alone.loc["a", "nearest"] == ""
        assert alone.loc["a", "r_squared"] == pytest.approx(0.0)
        assert math.isnan(metrics.redundancy(self.scores[:4]).loc["a", "r_squared"])

    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
    def test_front_by_pairs(self, points) -> None:
        names = [f"proxy {place}" for place in range(len(points))]
        quality = pd.Series([float(one) for one, _ in points], names, dtype=float)
        seconds = pd.Series([float(other) for _, other in points], names, dtype=float)
        found = metrics.cost_quality_front(quality, seconds)
        for name, (value, cost) in zip(names, points, strict=True):
            rivals = [
                (-other_value, other_cost)
                for other_value, other_cost in points
                if other_value >= value and other_cost <= cost and (other_value, other_cost) != (value, cost)
            ]
            assert found.loc[name, "on_front"] == (not rivals)
            by = found.loc[name, "dominated_by"]
            assert (by == "") == (not rivals)
            if rivals:
                assert (-quality[by], seconds[by]) == min(rivals)
                assert found.loc[by, "on_front"]

    def test_front_of_unknown_costs(self) -> None:
        quality = pd.Series({"a": 0.9, "b": 0.5, "c": NAN, "d": 0.4})
        found = metrics.cost_quality_front(quality, pd.Series({"d": 2.0, "b": 1.0, "c": 0.0, "other": 0.0}))
        assert found["on_front"].to_dict() == {"a": False, "b": True, "c": False, "d": False}
        assert found["dominated_by"].to_dict() == {"a": "", "b": "", "c": "", "d": "b"}
        assert math.isnan(found.loc["a", "seconds"])
        with pytest.raises(InputError, match="'a' is in quality more than once"):
            metrics.cost_quality_front(pd.Series([1.0, 2.0], ["a", "a"]), quality)

    def test_costs(self) -> None:
        rows = pd.DataFrame(
            [("snip", "ok", 1.0, 100.0), ("nwot", "failed", 9.0, 999.0), ("nwot", "ok", 2.0, NAN),
             ("snip", "not finite", 4.0, 300.0), ("snip", "ok", 1.0, 200.0)],
            columns=["proxy", "status", "seconds", "peak_memory"],
        )  # fmt: skip
        found = metrics.costs_of(rows)
        assert list(found.index) == ["snip", "nwot"]
        assert found.loc["snip"].to_dict() == {"mean_seconds": 2.0, "median_seconds": 1.0, "peak_memory": 300.0}
        assert found.loc["nwot", "mean_seconds"] == 2.0
        assert math.isnan(found.loc["nwot", "peak_memory"])
        assert metrics.costs_of(rows[:0]).empty
        with pytest.raises(InputError, match="no column seconds"):
            metrics.costs_of(rows.drop(columns="seconds"))


@pytest.mark.data
class TestRealTable:
    def test_published_scores_on_nasbench201(self, real_data: Path) -> None:
        folder = real_data / "nats-tss-freerea" / "cifar10"
        truth = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz")["cifar10.test"]
        nwot = pd.read_csv(folder / "naswot.csv")["naswot"]
        logsynflow = pd.read_csv(folder / "logsynflow.csv")["logsynflow"]
        assert (nwot == -INFINITE).sum() == 201
        expected = scipy.stats.kendalltau(nwot.replace(-INFINITE, -1e9), truth).statistic
        assert metrics.kendall(nwot, truth) == pytest.approx(expected, abs=1e-12)
        combined = hybrid(logsynflow, nwot)
        assert metrics.argmax_accuracy(combined, truth) == truth[np.argmax(combined)]
        # A good correlation is no good search: the Hybrid has the higher tau and still chooses below the optimum.
        assert metrics.kendall(combined, truth) > metrics.kendall(logsynflow, truth) > expected
        assert metrics.regret(combined, truth) > 0.3
