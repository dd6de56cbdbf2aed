"""The study of the Hybrid's weights equals brute force, whatever is tied, flipped or not finite."""

from __future__ import annotations

import tracemalloc
from math import gcd
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from trainless.aggregation import HYBRID_PAIR, Hybrid, Sweep, cross_validate, hybrid, sweep
from trainless.aggregation.sweep import grid
from trainless.errors import InputError
from trainless.ranking import finite_last


def brute_force(first, second, accuracies, alpha, beta, condition) -> tuple[float, float]:
    values = finite_last(hybrid(first, second, alpha=alpha, beta=beta, condition=condition))
    if len(set(values.tolist())) == 1 or len(set(np.asarray(accuracies).tolist())) == 1:
        return np.nan, np.nan
    return kendalltau(values, accuracies).statistic, spearmanr(values, accuracies).statistic


def check(first, second, accuracies, alphas, betas, condition: bool) -> Sweep:
    study = sweep(first, second, accuracies, alphas=alphas, betas=betas, condition=condition)
    for row, alpha in enumerate(study.alphas):
        for place, beta in enumerate(study.betas):
            tau, rho = brute_force(first, second, accuracies, alpha, beta, condition)
            assert study.kendall[row, place] == pytest.approx(tau, abs=1e-12, nan_ok=True), (alpha, beta)
            assert study.spearman[row, place] == pytest.approx(rho, abs=1e-12, nan_ok=True), (alpha, beta)
    return study


WEIGHTS = [0.0, 0.5, 1.0, 1.5, 2.0, 7.5]


class TestSweep:
    @pytest.mark.parametrize("condition", [True, False])
    @pytest.mark.parametrize("seed", range(4))
    def test_equals_brute_force_on_continuous_scores(self, seed: int, condition: bool) -> None:
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=70)
        first, second = np.exp(truth + rng.normal(size=70)), 5 + truth + rng.normal(size=70)
        study = check(first, second, truth, WEIGHTS, WEIGHTS, condition)
        assert study.flipped == (int((first / first.max() > second / second.max()).sum()) if condition else 0)

    @pytest.mark.slow
    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=14).filter(
            lambda rows: max(r[0] for r in rows) > 0 and max(r[1] for r in rows) > 0
        ),
        st.booleans(),
    )
    def test_equals_brute_force_on_tied_scores(self, rows: list[tuple[int, int, int]], condition: bool) -> None:
        # Whole numbers below 5 tie at the grid's own ratios, and flip often.
        first, second, truth = (np.array(each, dtype=float) for each in zip(*rows, strict=True))
        check(first, second, truth, WEIGHTS, WEIGHTS, condition)

    def test_equals_brute_force_with_scores_that_are_not_finite(self) -> None:
        rng = np.random.default_rng(5)
        first, second, truth = rng.uniform(1, 2, 50), rng.uniform(1, 2, 50), rng.uniform(size=50)
        first[[3, 7]], second[[7, 9]], second[11] = np.nan, -np.inf, np.inf
        check(first, second, truth, WEIGHTS, WEIGHTS, True)

    def test_equals_brute_force_where_most_cells_flip(self) -> None:
        rng = np.random.default_rng(6)
        first, second, truth = rng.uniform(5, 6, 260), rng.uniform(1, 6, 260), rng.uniform(size=260)
        study = check(first, second, truth, [0.5, 2.0], [0.0, 1.5], True)
        assert study.flipped > 200

    def test_equals_brute_force_where_scores_are_zero_or_negative_and_many_flip(self) -> None:
        rng = np.random.default_rng(8)
        first, second, truth = (rng.normal(size=90).round(1) for _ in range(3))
        second[rng.permutation(90)[:20]] = 0.0
        study = check(first, second, truth, [2.0, 0.3, 1.0, 0.7], [*WEIGHTS[::-1], 1.0], True)
        assert 30 < study.flipped < 56  # few enough for thresholds: 8 for each beta

    def test_equals_brute_force_where_half_is_not_finite(self) -> None:
        rng = np.random.default_rng(9)
        first, second, truth = rng.uniform(1, 2, 60), rng.uniform(1, 2, 60), rng.integers(0, 9, 60)
        first[::2] = -np.inf
        check(first, second, truth, WEIGHTS, WEIGHTS, True)
        check(first, second, truth, WEIGHTS, WEIGHTS, False)

    def test_memory_does_not_grow_with_the_pairs_of_what_is_not_finite(self) -> None:
        # 20,000 by 1,000 pairs are 160 MB a matrix.
        rng = np.random.default_rng(10)
        first, second, truth = rng.uniform(1, 2, (3, 21_000))
        first[1_000:] = -np.inf
        tracemalloc.start()
        try:
            sweep(first, second, truth, alphas=[1.0], betas=[1.0], condition=False)
            assert tracemalloc.get_traced_memory()[1] < 80e6
        finally:
            tracemalloc.stop()

    def test_order_of_scores_that_only_rounding_ties_is_kept(self) -> None:
        # 1.5 + 1e-16 is 1.5 in double precision, but 1e-16 is above 0.
        study = sweep([0.0, 1e-16, 1.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0], alphas=[1.0], betas=[1.5])
        assert study.kendall.item() == pytest.approx(1.0, abs=1e-12)

    def test_equals_brute_force_across_blocks(self) -> None:
        rng = np.random.default_rng(7)
        truth = rng.normal(size=300)
        check(np.exp(truth + rng.normal(size=300)), 9 + truth, truth, [0.0, 1.0], [0.5, 3.0], True)

    @pytest.mark.slow
    @pytest.mark.data
    def test_equals_brute_force_on_a_whole_benchmark(self, real_data: Path) -> None:
        folder = real_data / "nats-tss-freerea" / "cifar10"
        first = pd.read_csv(folder / "logsynflow.csv")["logsynflow"]
        second = pd.read_csv(folder / "naswot.csv")["naswot"]
        truth = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz")["cifar10.test"]
        study = sweep(first, second, truth)
        assert study.kendall.shape == (201, 201)
        assert study.flipped == 1
        rng = np.random.default_rng(0)
        for row, place in rng.integers(0, 201, (12, 2)):
            tau, rho = brute_force(first, second, truth, study.alphas[row], study.betas[place], True)
            assert study.kendall[row, place] == pytest.approx(tau, abs=1e-12)
            assert study.spearman[row, place] == pytest.approx(rho, abs=1e-12)

    def test_progress_ends_with_all_steps(self) -> None:
        seen: list[tuple[int, int]] = []
        rng = np.random.default_rng(0)
        sweep(rng.uniform(size=9), rng.uniform(size=9), rng.uniform(size=9), alphas=WEIGHTS, betas=WEIGHTS,
              progress=lambda done, total: seen.append((done, total)))  # fmt: skip
        assert seen[-1] == (36, 36)

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            (([1.0, 2.0], [1.0, 2.0], [1.0]), {}, "There are 2 and 2 scores and 1 accuracies"),
            (([1.0], [1.0], [1.0]), {}, "at least 2"),
            (([1.0, 2.0], [1.0, 2.0], [1.0, np.nan]), {}, "An accuracy is not finite"),
            (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"alphas": [-1.0]}, "The weights alpha hold a negative"),
            (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"betas": []}, "The weights beta hold a negative or infinite"),
            (([-1.0, -2.0], [1.0, 2.0], [1.0, 2.0]), {}, "largest finite score in logsynflow is -1"),
            ((pd.Series([1.0, 2.0], index=["a", "b"]), pd.Series([1.0, 2.0], index=["b", "a"]), [1.0, 2.0]), {},
             "different indexes"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_used_is_refused(self, arguments, options, message: str) -> None:
        with pytest.raises(InputError, match=message):
            sweep(*arguments, **options)


class TestBest:
    def test_smallest_weights_that_reach_the_maximum(self) -> None:
        kendall = np.array([[0.1, 0.2, 0.2], [0.5, 0.5 + 1e-15, 0.1], [0.5, 0.1, 0.1]])
        study = Sweep(HYBRID_PAIR, grid(1), grid(1), kendall, -kendall)
        assert study.best() == (0.5, 0.0, 0.5)
        assert study.best("spearman") == (0.0, 0.0, -0.1)

    def test_nan_is_never_best(self) -> None:
        values = np.array([[np.nan, 0.3], [0.2, 0.3]])
        assert Sweep(HYBRID_PAIR, grid(0.5), grid(0.5), values, values).best() == (0.0, 0.5, 0.3)

    def test_unknown_metric_is_refused(self) -> None:
        study = Sweep(HYBRID_PAIR, grid(0.5), grid(0.5), np.eye(2), np.eye(2))
        with pytest.raises(InputError, match="'pearson', expected kendall or spearman"):
            study.best("pearson")

    def test_at_reads_the_grid(self) -> None:
        study = Sweep(HYBRID_PAIR, grid(1), grid(1), np.arange(9.0).reshape(3, 3), np.eye(3))
        assert study.at(0.5, 1.0) == 5
        with pytest.raises(InputError, match=r"no pair alpha 0\.3, beta 1"):
            study.at(0.3, 1.0)


def test_grid_of_the_thesis_has_as_many_ratios_as_coprime_pairs() -> None:
    weights = grid()
    assert len(weights) ** 2 == 40401
    rng = np.random.default_rng(0)
    study = sweep(rng.uniform(size=12), rng.uniform(size=12), rng.uniform(size=12), condition=False)
    coprime = sum(gcd(a, b) == 1 for a in range(1, 201) for b in range(1, 201))
    assert len(study.by_ratio()) == coprime + 2


def test_grid_step_must_fit() -> None:
    with pytest.raises(InputError, match="step 0, expected a step above 0"):
        grid(1, 0)


class TestCrossValidate:
    def test_held_out_architectures_have_no_part_in_the_fit(self) -> None:
        rng = np.random.default_rng(1)
        truth = pd.Series(rng.normal(size=90), index=[f"n{i}" for i in range(90)])
        scores = pd.DataFrame({name: np.exp(truth + rng.normal(size=90)) for name in HYBRID_PAIR}, index=truth.index)
        found = cross_validate(scores, truth, folds=3, alphas=[0.5, 1.0], betas=[0.5, 1.5])
        part = np.random.default_rng(0).permutation(90) % 3
        assert found.folds["networks"].tolist() == [30, 30, 30]
        for fold, row in found.folds.iterrows():
            train, held = scores[part != fold], scores[part == fold]
            inside = {
                (a, b): kendalltau(hybrid(train["logsynflow"], train["nwot"], alpha=a, beta=b), truth[train.index])
                for a in (0.5, 1.0)
                for b in (0.5, 1.5)
            }
            assert inside[row["alpha"], row["beta"]].statistic == pytest.approx(
                max(each.statistic for each in inside.values())
            )
            mix = Hybrid(alpha=row["alpha"], beta=row["beta"]).fit(train)
            assert row["kendall"] == pytest.approx(kendalltau(mix.score(held), truth[held.index]).statistic)
        assert found.kendall == pytest.approx(found.folds["kendall"].mean())

    def test_weights_fitted_to_noise_show_by_the_held_out_figure(self) -> None:
        rng = np.random.default_rng(2)
        scores = pd.DataFrame({name: rng.uniform(size=60) for name in HYBRID_PAIR})
        found = cross_validate(scores, pd.Series(rng.uniform(size=60)), alphas=[0.0, 1.0, 5.0], betas=[0.5, 1.0, 5.0])
        assert found.kendall < found.folds["kendall_in_sample"].mean()

    def test_mean_is_unknown_where_a_fold_has_no_correlation(self) -> None:
        rng = np.random.default_rng(3)
        truth = pd.Series(rng.uniform(size=40))
        part = np.random.default_rng(0).permutation(40) % 4
        scores = pd.DataFrame({name: truth + rng.uniform(size=40) for name in HYBRID_PAIR})
        scores.loc[part == 1, "nwot"] = -np.inf
        found = cross_validate(scores, truth, folds=4, alphas=[1.0], betas=[0.5, 1.0])
        assert found.folds["kendall"].isna().tolist() == [False, True, False, False]
        assert np.isnan([found.kendall, found.spearman]).all()

    def test_too_many_folds_are_refused(self) -> None:
        scores = pd.DataFrame({name: [1.0, 2.0, 3.0] for name in HYBRID_PAIR})
        with pytest.raises(InputError, match="5 folds for 3 architectures"):
            cross_validate(scores, pd.Series([1.0, 2.0, 3.0]))
