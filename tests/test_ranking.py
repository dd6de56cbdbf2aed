"""Ranks and orders against independent sorts, with what is not finite last."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from trainless.errors import InputError
from trainless.ranking import average_ranks, best_first, check_same_index, column, finite_last, ranking

INFINITE, NAN = math.inf, math.nan
FLOATS = st.lists(st.floats(), max_size=30)


class TestRanking:
    def test_best_first_and_what_is_not_finite_last(self) -> None:
        scores = pd.Series([0.5, NAN, 0.9, INFINITE, -INFINITE, 0.7], index=list("abcdef"))
        ranks = ranking(scores)
        assert ranks.to_dict() == {"c": 1, "f": 2, "a": 3, "b": 4, "d": 5, "e": 6}
        assert ranks.index.equals(scores.index)
        assert ranks.name == "rank"
        assert ranks.dtype == np.int64

    def test_lower_is_better(self) -> None:
        assert list(ranking(pd.Series([0.5, INFINITE, 0.9, -INFINITE]), higher_is_better=False)) == [1, 3, 2, 4]

    def test_equal_scores_keep_their_order(self) -> None:
        assert list(ranking(pd.Series([1.0, 2.0, 1.0, 2.0]))) == [3, 1, 4, 2]
        assert list(ranking(pd.Series([1.0, 2.0, 1.0, 2.0]), higher_is_better=False)) == [1, 3, 2, 4]

    def test_nothing_to_rank(self) -> None:
        assert ranking(pd.Series([], dtype=float)).empty

    def test_repeated_labels(self) -> None:
        assert list(ranking(pd.Series([1.0, 3.0, 2.0], index=["a", "a", "b"]))) == [3, 1, 2]

    def test_no_number(self) -> None:
        with pytest.raises(InputError, match="no number"):
            ranking(pd.Series(["first", "second"]))

    @given(st.lists(st.floats(), max_size=30), st.booleans())
    def test_against_the_sort_of_python(self, values, higher_is_better) -> None:
        finite = [position for position, value in enumerate(values) if math.isfinite(value)]
        rest = [position for position, value in enumerate(values) if not math.isfinite(value)]
        order = sorted(finite, key=lambda position: values[position], reverse=higher_is_better) + rest
        assert (
            sorted(range(len(values)), key=list(ranking(pd.Series(values, dtype=float), higher_is_better)).__getitem__)
            == order
        )


class TestOrder:
    @given(FLOATS)
    def test_best_first_is_the_order_of_the_ranks(self, values) -> None:
        order = best_first(np.array(values, dtype=float))
        assert list(ranking(pd.Series(values, dtype=float)).iloc[order]) == list(range(1, len(values) + 1))

    @given(FLOATS)
    def test_finite_last_keeps_what_is_finite(self, values) -> None:
        expected = [value if math.isfinite(value) else -INFINITE for value in values]
        assert finite_last(np.array(values, dtype=float)).tolist() == expected


class TestAverageRanks:
    @given(st.lists(st.sampled_from([-INFINITE, -2.0, 0.0, 1.0, 1.5]), min_size=1, max_size=20))
    def test_among_themselves(self, values) -> None:
        np.testing.assert_array_equal(average_ranks(np.array(values)), rankdata(values))

    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.integers(-4, 4))
    def test_in_a_reference(self, reference, value) -> None:
        below, equal = (sum(other < value for other in reference), reference.count(value))
        ranks = average_ranks(np.array([float(value)]), np.sort(np.array(reference, dtype=float)))
        assert ranks.tolist() == [below + (equal + 1) / 2]


class TestColumns:
    @pytest.mark.parametrize("values", [[[1.0]], 1.0, ["a"], [10**400]])
    def test_what_is_no_column(self, values) -> None:
        with pytest.raises(InputError, match="scores"):
            column(values, "scores")

    def test_labels_that_differ(self) -> None:
        first, second = pd.Series([1.0, 2.0], ["a", "b"]), pd.Series([1.0, 2.0], ["b", "a"])
        with pytest.raises(InputError, match="The scores have different indexes"):
            check_same_index(first, second, "The scores")
        check_same_index(first, second.to_numpy(), "The scores")
