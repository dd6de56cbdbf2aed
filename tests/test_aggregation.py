"""The Hybrid by hand-computed values and published accuracies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainless.aggregation import ALPHA, BETA, HYBRID_PAIR, hybrid, normalize
from trainless.errors import InputError
from trainless.ranking import NON_FINITE_POLICY, ranking

INFINITE, NAN = math.inf, math.nan

# Scores that are exact in double precision and far apart, so that scaling cannot turn a difference into a tie.
columns = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)).map(lambda pair: (float(pair[0]), float(pair[1]))),
    min_size=1,
    max_size=30,
)
powers_of_two = st.integers(-20, 20).map(lambda exponent: 2.0**exponent)


def split(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs)
    return array[:, 0], array[:, 1]


class TestNormalize:
    def test_divides_by_the_largest_finite_score(self) -> None:
        np.testing.assert_array_equal(normalize([2.0, 8.0, -4.0]), [0.25, 1.0, -0.5])

    def test_leaves_what_is_not_finite(self) -> None:
        np.testing.assert_array_equal(normalize([INFINITE, 5.0, NAN, -INFINITE]), [INFINITE, 1.0, NAN, -INFINITE])


class TestHybrid:
    def test_published_weights(self) -> None:
        assert (ALPHA, BETA) == (0.5, 1.5)
        assert HYBRID_PAIR == ("logsynflow", "nwot")

    def test_by_hand(self) -> None:
        # DIN = 1/8, 1/4, 1; DDN = 1/2, 1, 1/2. The last has DIN above DDN and so keeps DIN alone.
        expected = [0.5 / 8 + 1.5 / 2, 0.5 / 4 + 1.5, 1.0]
        np.testing.assert_array_equal(hybrid([1.0, 2.0, 8.0], [10.0, 20.0, 10.0]), expected)

    def test_equal_normalized_scores_are_summed(self) -> None:
        np.testing.assert_array_equal(hybrid([3.0, 6.0], [50.0, 100.0]), [1.0, 2.0])

    def test_without_condition_the_sum_is_taken_everywhere(self) -> None:
        np.testing.assert_array_equal(hybrid([1.0, 2.0], [4.0, 2.0], condition=False), [0.25 + 1.5, 0.5 + 0.75])

    def test_weights(self) -> None:
        np.testing.assert_array_equal(hybrid([1.0, 4.0], [2.0, 2.0], alpha=2.0, beta=3.0), [3.5, 5.0])

    def test_negative_scores_are_kept(self) -> None:
        np.testing.assert_array_equal(hybrid([-1.0, 2.0], [1.0, 4.0]), [-0.25 + 0.375, 2.0])

    def test_what_is_not_finite_is_ranked_last(self) -> None:
        first = [1.0, -INFINITE, 2.0, NAN, -INFINITE, INFINITE, 1.0]
        second = [2.0, 2.0, -INFINITE, 2.0, NAN, 2.0, INFINITE]
        expected = [0.5 / 2 + 1.5, -INFINITE, -INFINITE, NAN, NAN, -INFINITE, -INFINITE]
        np.testing.assert_array_equal(hybrid(first, second), expected)
        assert NON_FINITE_POLICY == "ranked last"

    def test_infinite_scores_with_a_weight_of_zero(self) -> None:
        np.testing.assert_array_equal(hybrid([-INFINITE, 1.0], [1.0, 1.0], alpha=0.0), [-INFINITE, 1.5])

    def test_takes_lists_arrays_and_series_and_gives_an_array(self) -> None:
        lists = hybrid([1, 2], [3, 4])
        series = hybrid(pd.Series([1, 2], index=["a", "b"]), pd.Series([3, 4], index=["a", "b"]))
        assert isinstance(series, np.ndarray)
        assert series.dtype == np.float64
        np.testing.assert_array_equal(series, lists)
        np.testing.assert_array_equal(hybrid(np.array([1, 2], np.float32), np.array([3, 4])), lists)

    def test_leaves_its_input_alone(self) -> None:
        first, second = np.array([1.0, -INFINITE, 2.0]), np.array([3.0, 1.0, NAN])
        hybrid(first, second)
        np.testing.assert_array_equal(first, [1.0, -INFINITE, 2.0])
        np.testing.assert_array_equal(second, [3.0, 1.0, NAN])

    @given(columns, powers_of_two, powers_of_two)
    def test_a_positive_scale_of_either_input_changes_nothing(self, pairs, first_scale, second_scale) -> None:
        first, second = split(pairs)
        np.testing.assert_array_equal(hybrid(first * first_scale, second * second_scale), hybrid(first, second))

    @given(columns, st.floats(0.1, 10.0), st.floats(0.1, 10.0))
    def test_where_the_condition_holds_the_order_depends_on_the_ratio_of_the_weights_alone(
        self, pairs, alpha, beta
    ) -> None:
        # As on NAS-Bench-201, where DIN ≤ DDN for all cells but one: here the last makes both largest scores equal.
        first, second = (np.append(column, 1000.0) for column in split([(min(pair), max(pair)) for pair in pairs]))
        by_ratio = first / 1000 + beta / alpha * second / 1000
        value = hybrid(first, second, alpha=alpha, beta=beta)
        clear = np.subtract.outer(by_ratio, by_ratio) > 1e-9  # beyond what rounding can swap
        assert (np.subtract.outer(value, value)[clear] > 0).all()

    @given(columns)
    def test_every_value_is_one_of_the_two_cases(self, pairs) -> None:
        first, second = split(pairs)
        for value, one, other in zip(hybrid(first, second), first / max(first), second / max(second), strict=True):
            assert value == (0.5 * one + 1.5 * other if one <= other else one)

    @pytest.mark.parametrize(
        ("first", "second", "options", "message"),
        [
            ([], [], {}, "data_independent holds no finite score among 0"),
            ([1.0], [NAN], {}, "data_dependent holds no finite score among 1"),
            ([0.0, -1.0], [1.0, 2.0], {}, "largest finite score in data_independent is 0"),
            ([1.0, 2.0], [-3.0, -INFINITE], {}, "largest finite score in data_dependent is -3"),
            ([1.0, 2.0], [1.0], {}, "There are 2 data-independent and 1 data-dependent scores"),
            ([[1.0, 2.0]], [1.0, 2.0], {}, r"data_independent has shape \(1, 2\)"),
            (1.0, [1.0], {}, r"data_independent has shape \(\)"),
            (["high"], [1.0], {}, "data_independent holds something that is no number"),
            ([1.0], [1.0], {"alpha": -0.5}, "alpha is -0.5"),
            ([1.0], [1.0], {"beta": NAN}, "beta is nan"),
            ([1.0], [1.0], {"beta": INFINITE}, "beta is inf"),
            (pd.Series([1.0, 2.0], ["a", "b"]), pd.Series([1.0, 2.0], ["b", "a"]), {}, "different indexes"),
        ],
    )
    def test_bad_input(self, first, second, options, message) -> None:
        with pytest.raises(InputError, match=message):
            hybrid(first, second, **options)


@pytest.fixture(scope="module")
def nasbench201(real_data: Path) -> pd.DataFrame:
    table = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz", index_col="index")
    for name in ("logsynflow", "naswot"):
        scores = pd.read_csv(real_data / "nats-tss-freerea" / "cifar10" / f"{name}.csv", index_col="index")
        table[name] = scores[name]
    assert len(table) == 15_625
    return table


@pytest.mark.data
class TestPublishedAccuracies:
    """The thesis's table 6.5: the accuracy, in per cent, of the cell that each proxy ranks first on CIFAR-10."""

    @staticmethod
    def accuracy_of_the_best(table: pd.DataFrame, scores: pd.Series) -> float:
        return float(table.loc[ranking(scores).idxmin(), "cifar10.test_seed888"])

    def test_logsynflow(self, nasbench201: pd.DataFrame) -> None:
        assert self.accuracy_of_the_best(nasbench201, nasbench201["logsynflow"]) == 90.36

    def test_hybrid(self, nasbench201: pd.DataFrame) -> None:
        values = pd.Series(hybrid(nasbench201["logsynflow"], nasbench201["naswot"]), index=nasbench201.index)
        assert self.accuracy_of_the_best(nasbench201, values) == 90.74

    def test_cells_without_a_finite_score_are_ranked_last(self, nasbench201: pd.DataFrame) -> None:
        infinite = nasbench201["naswot"] == -INFINITE
        values = pd.Series(hybrid(nasbench201["logsynflow"], nasbench201["naswot"]), index=nasbench201.index)
        assert infinite.sum() == 201  # a fact of the public file
        assert ranking(values)[infinite].min() == 15_625 - 201 + 1
