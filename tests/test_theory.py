"""The propositions of docs/theory.md, on synthetic scores, against closed forms, and on the published scores."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from fractions import Fraction
from math import comb, cos, gcd, pi, sqrt
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kendalltau, norm

from trainless import metrics
from trainless.aggregation import Hybrid, LogRankSum, MaximumSum, hybrid
from trainless.aggregation.sweep import grid

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")
CONVOLUTIONS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def theory() -> Iterator[ModuleType]:
    """The script that prints the text's figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import theory

        yield theory
        for name in ("theory", "common"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def published(theory: ModuleType, real_data: Path) -> dict[str, tuple[pd.DataFrame, pd.Series]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINLESS_DATA", str(real_data))
        return {"naslib": theory.naslib(), **{name: theory.freerea(name) for name in DATASETS},
                "seed888": theory.freerea("cifar10", "test_seed888")}  # fmt: skip


whole = st.integers(1, 50)
columns = st.lists(st.tuples(whole, whole), min_size=2, max_size=12)
weight = st.integers(1, 40).map(lambda number: number / 2)
correlations = st.floats(-0.95, 0.95)


def exact(rows: list[tuple[int, int]]) -> tuple[list[Fraction], list[Fraction]]:
    """DIN and DDN of whole scores, without rounding."""
    x, y = zip(*rows, strict=True)
    return [Fraction(each, max(x)) for each in x], [Fraction(each, max(y)) for each in y]


def signs(values: np.ndarray) -> np.ndarray:
    difference = values[:, None] - values[None, :]
    return np.where(np.abs(difference) < 1e-9, 0, np.sign(difference))


def net(values: np.ndarray, truth: np.ndarray) -> float:
    """Concordant less discordant pairs."""
    return float((np.sign(np.subtract.outer(values, values)) * np.sign(np.subtract.outer(truth, truth))).sum() / 2)


class TestOnlyTheRatioCounts:
    @given(columns, weight, weight)
    def test_order_without_the_condition_is_that_of_din_plus_ratio_times_ddn(self, rows, alpha, beta) -> None:
        x, y = exact(rows)
        found = hybrid(*map(np.array, zip(*rows, strict=True)), alpha=alpha, beta=beta, condition=False)
        ratio = Fraction(beta) / Fraction(alpha)
        expected = [a + ratio * b for a, b in zip(x, y, strict=True)]
        assert signs(found).tolist() == [[(p > q) - (p < q) for q in expected] for p in expected]

    @given(columns, weight, weight, st.sampled_from([0.25, 0.5, 3.0, 8.0]))
    def test_with_the_condition_the_same_holds_among_architectures_that_obey_it(self, rows, alpha, beta, scale) -> None:
        x, y = exact(rows)
        obey = [a <= b for a, b in zip(x, y, strict=True)]
        data = tuple(map(np.array, zip(*rows, strict=True)))
        one, other = (hybrid(*data, alpha=c * alpha, beta=c * beta)[obey] for c in (1.0, scale))
        assert (signs(one) == signs(other / scale)).all()

    @given(columns)
    def test_two_architectures_change_places_at_one_ratio_at_most(self, rows) -> None:
        (x, y), ratios = exact(rows), [Fraction(k, 3) for k in range(1, 13)]
        for i, j in itertools.combinations(range(len(rows)), 2):
            dx, dy = x[i] - x[j], y[i] - y[j]
            order = [dx + ratio * dy > 0 for ratio in ratios if dx + ratio * dy != 0]
            changes = sum(a != b for a, b in itertools.pairwise(order))
            assert changes == (dx * dy < 0 and ratios[0] < -dx / dy < ratios[-1])

    @pytest.mark.parametrize("steps", [1, 2, 5, 12, 30])
    def test_number_of_ratios_of_a_grid(self, steps: int) -> None:
        pairs = [(a, b) for a in range(steps + 1) for b in range(steps + 1) if a or b]
        ratios = {Fraction(b, a) if a else None for a, b in pairs}
        totients = sum(sum(gcd(k, m) == 1 for k in range(1, m + 1)) for m in range(1, steps + 1))
        assert len(ratios) == 2 * totients - 1 + 2

    def test_number_of_ratios_of_the_thesis_grid(self) -> None:
        units = (2 * grid()).astype(int)
        assert len(units) ** 2 == 40_401
        divisors = np.maximum(np.gcd.outer(units, units), 1)
        lowest = {*zip(*((each // divisors).ravel().tolist() for each in (units[:, None], units)), strict=True)}
        assert len(lowest - {(0, 0)}) == 24_465

    @pytest.mark.data
    def test_wider_weights_change_nothing_but_one_cell(self, published) -> None:
        scores, accuracies = published["cifar10"]
        taus = [
            kendalltau(hybrid(scores["logsynflow"], scores["nwot"], alpha=c / 2, beta=3 * c / 2), accuracies).statistic
            for c in (1.0, 2.0, 66.0)
        ]
        assert np.ptp(taus) <= 4 / len(scores)


class TestTheCondition:
    @given(columns)
    def test_the_first_by_din_breaks_it_unless_it_is_first_by_ddn_too(self, rows) -> None:
        x, y = (np.array(each, dtype=float) for each in zip(*rows, strict=True))
        top = int(x.argmax())
        value, free = (hybrid(x, y, alpha=2.0, beta=2.0, condition=on)[top] for on in (True, False))
        if y[top] < y.max():
            assert value == 1
        else:
            assert value == free == 4

    @given(columns, weight, weight)
    def test_where_one_that_breaks_it_comes(self, rows, alpha, beta) -> None:
        x, y = exact(rows)
        values = hybrid(*map(np.array, zip(*rows, strict=True)), alpha=alpha, beta=beta)
        obey = [k for k in range(len(rows)) if x[k] <= y[k]]
        broken = [k for k in range(len(rows)) if x[k] > y[k]]
        assume(obey)
        low = min(y[k] for k in obey)
        for k in broken:
            if Fraction(alpha) + Fraction(beta) < x[k]:
                assert values[k] > values[obey].max()
            if Fraction(beta) * low > x[k]:
                assert values[k] < values[obey].min() + 1e-12
        assert (np.diff(values[sorted(broken, key=lambda k: x[k])]) >= 0).all()

    @given(columns, weight, weight)
    def test_a_common_factor_of_the_weights_moves_it_and_nothing_else(self, rows, alpha, beta) -> None:
        data = tuple(np.array(each, dtype=float) for each in zip(*rows, strict=True))
        x, y = (each / each.max() for each in data)
        assume((x > y).any() and (x <= y).any())
        one = int(np.where(x > y, x, -1).argmax())
        others = (alpha * x + beta * y)[x <= y]
        for factor, first in ((0.99 * x[one] / others.max(), True), (1.01 * x[one] / others.min(), False)):
            values = hybrid(*data, alpha=factor * alpha, beta=factor * beta)
            compared = values[one] - values[x <= y]
            assert (compared > 0).all() if first else (compared < 0).all()

    @given(st.permutations(range(9)), st.integers(0, 8), st.integers(0, 8))
    def test_moving_one_architecture_changes_tau_by_4_over_n_at_most(self, order, start, end) -> None:
        truth, before = np.arange(9.0), np.array(order, dtype=float)
        places = sorted(range(9), key=lambda k: before[k])
        places.insert(end, places.pop(start))
        after = np.argsort(places).astype(float)
        assert abs(kendalltau(before, truth).statistic - kendalltau(after, truth).statistic) <= 4 / 9 + 1e-12

    def test_the_bound_is_reached(self) -> None:
        truth = np.arange(9.0)
        assert kendalltau(np.where(truth == 0, 99, truth), truth).statistic == pytest.approx(1 - 4 / 9)

    @pytest.mark.data
    def test_the_cell_that_is_demoted(self, published) -> None:
        for name, with_it, without in (("cifar10", 93.983, 93.76), ("seed888", 90.74, 90.36)):
            scores, accuracies = published[name]
            x, y = scores["logsynflow"] / scores["logsynflow"].max(), scores["nwot"]
            broken = (x > y / y.max()) & np.isfinite(y)
            assert list(scores.index[broken]) == [CONVOLUTIONS] == [x.idxmax()]
            for scale, condition, expected in ((1, True, with_it), (1, False, without), (0.4, True, without)):
                values = hybrid(scores["logsynflow"], y, alpha=scale / 2, beta=1.5 * scale, condition=condition)
                assert metrics.argmax_accuracy(values, accuracies) == pytest.approx(expected, abs=0.01)
            assert accuracies[CONVOLUTIONS] == pytest.approx(without, abs=0.01)


class TestTheBestMix:
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_least_squares_fit(self, theory: ModuleType, seed: int) -> None:
        rng = np.random.default_rng(seed)
        data = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3))
        a, z1, z2 = (data - data.mean(0)).T
        left = a - np.column_stack([z1, z2]) @ np.linalg.lstsq(np.column_stack([z1, z2]), a)[0]
        r = np.corrcoef([a, z1, z2])
        assert theory.best_linear(r[0, 1], r[0, 2], r[1, 2]) ** 2 == pytest.approx(1 - left @ left / (a @ a))

    @given(correlations, correlations, correlations)
    def test_no_mix_is_better_and_the_stated_weights_reach_it(self, r1, r2, r12) -> None:
        angles = np.linspace(0, pi, 721)
        mixes = (r1 * np.cos(angles) + r2 * np.sin(angles)) / np.sqrt(1 + r12 * np.sin(2 * angles))
        reach = sqrt((r1**2 + r2**2 - 2 * r1 * r2 * r12) / (1 - r12**2))
        assert np.abs(mixes).max() <= reach + 1e-12
        w1, w2 = r1 - r2 * r12, r2 - r1 * r12
        assume(abs(w1) + abs(w2) > 1e-6)
        reached = (w1 * r1 + w2 * r2) / sqrt(w1**2 + w2**2 + 2 * w1 * w2 * r12)
        assert reached == pytest.approx(reach)

    @pytest.mark.parametrize("r", [-0.7, 0.0, 0.3, 0.6, 0.9])
    def test_spearman_of_normal_columns(self, theory: ModuleType, r: float) -> None:
        # 12 E[Φ(A) Φ(S)] − 3 by Gauss-Hermite quadrature.
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        weights = weights / weights.sum()
        mean = weights @ (norm.cdf(nodes)[:, None] * norm.cdf(r * nodes[:, None] + sqrt(1 - r * r) * nodes)) @ weights
        assert abs(theory.spearman_of(abs(r))) == pytest.approx(abs(12 * mean - 3), abs=1e-6)
        assert theory.correlation_of(theory.spearman_of(r)) == pytest.approx(r)

    def test_predicts_columns_that_are_normal_after_any_monotone_map(self, theory: ModuleType) -> None:
        rng = np.random.default_rng(0)
        a, common = rng.normal(size=(2, 8_000))
        one, two = (0.8 * a + 0.4 * common + 0.5 * rng.normal(size=8_000) for _ in range(2))
        scores = pd.DataFrame({"one": np.exp(one), "two": two**3, "poor": a + 3 * rng.normal(size=8_000)})
        study = theory.all_pairs(scores, pd.Series(np.tanh(a)), step=10.0)
        assert np.abs(study["predicted"] - study["measured"]).max() < 0.01
        assert np.abs(study["by_scores"] - study["measured"]).max() < 0.01

    @pytest.mark.data
    def test_predicts_logsynflow_and_nwot(self, theory: ModuleType, published) -> None:
        for name in DATASETS:
            scores, accuracies = published[name]
            found = theory.all_pairs(scores[["logsynflow", "nwot"]], accuracies, step=10.0).iloc[0]
            assert abs(found["predicted"] - found["measured"]) < 0.003

    def test_curvature_is_0_for_a_line_and_large_for_a_parabola(self, theory: ModuleType) -> None:
        x = np.random.default_rng(0).normal(size=4000)
        assert abs(theory.curvature(x, x)) < 0.02
        assert theory.curvature(x, x**2) > 0.7


class TestPartners:
    @given(correlations, correlations, correlations)
    def test_gain(self, r1, r2, r12) -> None:
        reach = (r1**2 + r2**2 - 2 * r1 * r2 * r12) / (1 - r12**2)
        assert reach - r1**2 == pytest.approx((r2 - r1 * r12) ** 2 / (1 - r12**2), abs=1e-10)

    @given(correlations, correlations)
    def test_no_gain_exactly_where_r2_is_r1_times_r12(self, r1, r12) -> None:
        def gain(r2: float) -> float:
            return (r1**2 + r2**2 - 2 * r1 * r2 * r12) / (1 - r12**2) - r1**2

        assert gain(r1 * r12) == pytest.approx(0, abs=1e-12)
        assert gain(r1 * r12 + 0.1) > 0.009
        assert gain(r1 * r12 - 0.1) > 0.009

    def test_a_score_without_any_correlation_can_add(self, theory: ModuleType) -> None:
        assert theory.best_linear(0.6, 0.0, 0.8) == pytest.approx(1.0)  # a = 0.6 z₁ + 0.8 e, z₂ = 0.8 z₁ − 0.6 e

    @given(st.floats(0.2, 0.9), st.floats(0.2, 0.9), st.floats(0, 0.9))
    def test_thresholds_of_the_other_partner(self, theory: ModuleType, r1, weak, part) -> None:
        reach = max(r1, weak) + part * (1 - max(r1, weak)) + 1e-3
        assume(reach < 1)
        low, high = theory.thresholds(r1, weak, reach)
        a, b = np.arccos(r1 / reach), np.arccos(weak / reach)
        assert (low, high) == pytest.approx((cos(a + b), cos(a - b)))
        for r12, more in ((low - 0.01, True), (low + 0.01, False), ((low + high) / 2, False), (high + 0.002, True)):
            if abs(r12) < 1 and not (low + 0.01 >= high and not more):
                assert (theory.best_linear(r1, weak, r12) > reach) is more

    @given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(-0.9, 0.95))
    def test_weights_that_may_not_be_negative(self, r1, r2, r12) -> None:
        angles = np.linspace(0, pi / 2, 4001)
        mixes = (r1 * np.cos(angles) + r2 * np.sin(angles)) / np.sqrt(1 + r12 * np.sin(2 * angles))
        inside = r2 > r1 * r12 and r1 > r2 * r12
        reach = sqrt((r1**2 + r2**2 - 2 * r1 * r2 * r12) / (1 - r12**2)) if inside else max(r1, r2)
        assert mixes.max() == pytest.approx(reach, abs=1e-5)

    @pytest.mark.data
    def test_the_two_best_are_not_the_best_pair(self, theory: ModuleType, published) -> None:
        scores, accuracies = published["naslib"]
        rho = {name: metrics.spearman(scores[name], accuracies) for name in scores}
        assert sorted(rho, key=rho.get)[-2:] == ["jacov", "nwot"]
        study = theory.all_pairs(scores[["nwot", "jacov", "flops"]], accuracies, step=10.0)
        mixed = {frozenset((row.first, row.second)): row.measured for row in study.itertuples()}
        assert mixed[frozenset(("jacov", "flops"))] > mixed[frozenset(("jacov", "nwot"))] + 0.05


class TestNotFinite:
    @given(st.permutations(range(10)), st.integers(1, 6))
    def test_a_tie_at_the_bottom_on_top_or_dropped(self, order, number) -> None:
        truth, values = np.arange(10.0), np.array(order, dtype=float)
        bad = np.arange(10) % 7 < 1 if number == 1 else np.isin(np.arange(10), order[:number])
        m, n, pairs = int(bad.sum()), 10, comb(10, 2)
        low, high = np.where(bad, -1.0, values), np.where(bad, 99.0, values)
        difference = net(low, truth) - net(high, truth)
        above = np.sign(truth[~bad][:, None] - truth[bad][None, :]).sum()
        assert difference == 2 * above
        scale = sqrt((pairs - comb(m, 2)) * pairs)
        taus = [metrics.kendall(each, truth) for each in (np.where(bad, np.nan, values), high)]
        assert taus[0] - taus[1] == pytest.approx(2 * above / scale)
        dropped = net(values[~bad], truth[~bad]) / comb(n - m, 2)
        bound = (2 * m * (n - m) + comb(m, 2)) / pairs
        assert abs(net(low, truth) / pairs - dropped) <= bound + 1e-12

    @pytest.mark.data
    def test_the_policy_is_right_where_those_cells_are_the_worst(self, theory: ModuleType, published) -> None:
        for name in DATASETS:
            scores, accuracies = published[name]
            bad = ~np.isfinite(scores["nwot"])
            assert bad.sum() == 201
            assert (accuracies[bad] == accuracies.min()).all()
            taus = {p: metrics.kendall(y, accuracies[y.index]) for p, y, _ in theory._policies(scores, bad)}
            assert taus["ranked last"] > max(taus["dropped"], taus["ranked first"]) + 0.009
            assert abs(taus["ranked last"] - taus["lowest finite score"]) < 4 * 201 / comb(15_625, 2)
            last_to_first = taus["ranked last"] - taus["ranked first"]
            assert last_to_first <= 4 * 201 * (15_625 - 201) / (15_625 * 15_624) * 1.001  # tied pairs are few


class TestLogRanks:
    @given(st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=1, max_size=12))
    def test_monotone_maps_change_nothing(self, rows) -> None:
        frame = pd.DataFrame(rows, columns=["a", "b"], dtype=float)
        mapped = pd.DataFrame({"a": frame["a"] ** 3 - 7, "b": np.exp2(frame["b"])})
        one, other = (LogRankSum(["a", "b"]).fit_score(each).tolist() for each in (frame, mapped))
        assert one == other

    @given(st.floats(0.01, 1), st.floats(0.01, 1))
    def test_of_equal_mean_ranks_the_one_that_is_agreed_on_is_first(self, u, v) -> None:
        disagreement = (u - v) / (u + v)
        assert np.log(u) + np.log(v) == pytest.approx(2 * np.log((u + v) / 2) + np.log(1 - disagreement**2))
        assert min(u, v) >= np.exp(np.log(u) + np.log(v)) * (1 - 1e-12)

    @given(st.floats(0.05, 1))
    def test_at_the_top_it_is_the_sum_of_ranks(self, u) -> None:
        assert 0 <= (u - 1) - np.log(u) <= (1 - u) ** 2 / (2 * u) + 1e-15

    @given(columns, st.integers(2, 50), st.integers(0, 500))
    def test_an_outlier_or_an_offset_changes_the_weights_of_a_weighted_sum(self, rows, times, offset) -> None:
        x, y = (np.array(each, dtype=float) for each in zip(*rows, strict=True))
        alone = hybrid(x, y, alpha=1.0 / times, beta=1.0, condition=False)
        beside = hybrid([*x, times * x.max()], [*y, y.max()], alpha=1.0, beta=1.0, condition=False)[:-1]
        assert beside == pytest.approx(alone)
        shifted = hybrid(x, y + offset, alpha=1.0, beta=1.0, condition=False)
        other = hybrid(x, y, alpha=1.0, beta=y.max() / (y.max() + offset), condition=False)
        assert shifted - offset / (y.max() + offset) == pytest.approx(other)

    @pytest.mark.data
    def test_beats_the_hybrid_in_the_whole_and_not_at_the_top(self, published) -> None:
        for name in DATASETS:
            scores, accuracies = published[name]
            mixed, summed = Hybrid().fit_score(scores), LogRankSum(["logsynflow", "nwot"]).fit_score(scores)
            assert metrics.kendall(summed, accuracies) > metrics.kendall(mixed, accuracies)
            assert metrics.top_kendall(summed, accuracies) < metrics.top_kendall(mixed, accuracies)


class TestSearches:
    @pytest.mark.parametrize("n", [2, 5, 40])
    def test_a_correlation_near_1_may_choose_the_worst_and_one_near_minus_1_the_best(self, n: int) -> None:
        truth = np.arange(float(n))
        for scores, tau, chosen in ((np.where(truth == 0, n, truth), 1 - 4 / n, 0),
                                    (np.where(truth == n - 1, n, -truth), -1 + 4 / n, n - 1)):  # fmt: skip
            assert kendalltau(scores, truth).statistic == pytest.approx(tau)
            assert metrics.argmax_accuracy(scores, truth) == chosen

    @pytest.mark.parametrize(("n", "largest"), [(1, 0.0), (2, 1 / sqrt(pi)), (3, 1.5 / sqrt(pi))])
    @pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
    def test_normal_accuracies_have_a_closed_form(self, theory: ModuleType, n: int, largest: float, rho: float) -> None:
        accuracies = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
        expected = 2 * np.sin(pi * rho / 6) * largest
        assert theory.chosen_accuracies(accuracies, rho, n).mean() == pytest.approx(expected, abs=0.005)

    def test_agrees_with_simulation(self, theory: ModuleType) -> None:
        rng, r = np.random.default_rng(0), 2 * np.sin(pi * 0.8 / 6)
        scores, noise = rng.normal(size=(2, 4000, 100))
        places = norm.cdf(r * scores + sqrt(1 - r * r) * noise)
        chosen = np.take_along_axis(places, scores.argmax(1)[:, None], 1) ** 8
        accuracies = ((np.arange(5000) + 0.5) / 5000) ** 8
        assert theory.chosen_accuracies(accuracies, 0.8, 100).mean() == pytest.approx(chosen.mean(), abs=0.01)

    def test_grows_with_the_correlation(self, theory: ModuleType) -> None:
        accuracies = np.random.default_rng(0).exponential(size=500)
        means = [theory.chosen_accuracies(accuracies, rho, 30).mean() for rho in np.linspace(-0.9, 0.95, 12)]
        assert (np.diff(means) > 0).all()

    @pytest.mark.slow
    @pytest.mark.data
    def test_a_lower_correlation_finds_more(self, theory: ModuleType, published) -> None:
        for name in DATASETS:
            scores, accuracies = published[name]
            spans = scores.assign(skipped_layers=theory.skip_spans(scores.index))
            poor, good = MaximumSum().fit_score(spans), Hybrid().fit_score(spans)
            assert metrics.kendall(poor, accuracies) < metrics.kendall(good, accuracies) - 0.3
            assert metrics.argmax_accuracy(poor, accuracies) > metrics.argmax_accuracy(good, accuracies)
