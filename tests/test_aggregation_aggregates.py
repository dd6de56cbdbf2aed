"""Aggregates equal the formulas on their own sample, score new architectures by it, and come back from disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, zscore

from trainless.aggregation import (
    AGGREGATES,
    Aggregate,
    Hybrid,
    LogRankSum,
    MaximumSum,
    RankSum,
    ZScoreSum,
    aggregate,
    hybrid,
    load_aggregate,
)
from trainless.errors import InputError, UnknownNameError

PAIR = ("a", "b")
SAMPLE = pd.DataFrame({"a": [1.0, 5.0, 2.0, 2.0], "b": [10.0, 20.0, 40.0, 5.0]}, index=list("wxyz"))


def every(pair: tuple[str, str] = PAIR) -> list[Aggregate]:
    return [kind(pair) for kind in AGGREGATES.values()]


class TestFormulas:
    def test_hybrid_is_the_function(self) -> None:
        for options in ({}, {"alpha": 2.0, "beta": 0.5}, {"condition": False}):
            expected = hybrid(SAMPLE["a"], SAMPLE["b"], **options)
            assert Hybrid(PAIR, **options).fit_score(SAMPLE).tolist() == expected.tolist()

    def test_sums_equal_scipy(self) -> None:
        ranks = [rankdata(SAMPLE[name]) / 4 for name in PAIR]
        np.testing.assert_allclose(RankSum(PAIR).fit_score(SAMPLE), sum(ranks))
        np.testing.assert_allclose(LogRankSum(PAIR).fit_score(SAMPLE), sum(np.log(each) for each in ranks))
        np.testing.assert_allclose(ZScoreSum(PAIR).fit_score(SAMPLE), sum(zscore(SAMPLE[name]) for name in PAIR))

    def test_what_is_halved_counts_half_and_travels(self, tmp_path: Path) -> None:
        ranks = [rankdata(SAMPLE[name]) / 4 for name in PAIR]
        mix = LogRankSum(PAIR, halved=["b"])
        np.testing.assert_allclose(mix.fit_score(SAMPLE), np.log(ranks[0]) + np.log(ranks[1]) / 2)
        np.testing.assert_allclose(RankSum(PAIR, halved=["a"]).fit_score(SAMPLE), ranks[0] / 2 + ranks[1])
        mix.save(tmp_path / "mix.json")
        assert load_aggregate(tmp_path / "mix.json").score(SAMPLE).tolist() == mix.score(SAMPLE).tolist()

    def test_maximum_sum_is_freereas(self) -> None:
        assert MaximumSum(PAIR).fit_score(SAMPLE).tolist() == [0.2 + 0.25, 1.5, 1.4, 0.4 + 0.125]
        assert MaximumSum().proxies == ("nwot", "logsynflow", "skipped_layers")

    def test_lower_is_better_turns_the_sign(self) -> None:
        turned = SAMPLE.assign(a=-SAMPLE["a"])
        expected = RankSum(PAIR).fit_score(turned)
        assert RankSum(PAIR, lower_is_better=["a"]).fit_score(SAMPLE).tolist() == expected.tolist()
        assert RankSum(["nwot", "plain"]).lower_is_better == ("plain",)

    @given(st.lists(st.floats(-50, 50), min_size=3, max_size=20))
    def test_rank_sums_do_not_change_under_monotone_maps(self, values: list[float]) -> None:
        one = pd.DataFrame({"a": values, "b": values[::-1]})
        other = pd.DataFrame({"a": one["a"] * 8 - 3, "b": one["b"] / 4})
        for kind in (RankSum, LogRankSum):
            if (other.rank() == one.rank()).all(axis=None):
                assert kind(PAIR).fit_score(one).tolist() == kind(PAIR).fit_score(other).tolist()


class TestNotFinite:
    SCORES = pd.DataFrame({"a": [1.0, np.nan, 3.0, np.inf], "b": [1.0, 2.0, -np.inf, 4.0]})

    @pytest.mark.parametrize("kind", [Hybrid, ZScoreSum, MaximumSum])
    def test_weighted_sums_give_what_ranks_last(self, kind: type[Aggregate]) -> None:
        values = kind(PAIR).fit_score(self.SCORES)
        assert np.isfinite(values[0])
        assert np.isnan(values[1])
        assert values[2] == values[3] == -np.inf

    def test_rank_sums_tie_them_below_the_finite_of_that_proxy(self) -> None:
        # By scipy, with the same tie written as one low number.
        low = self.SCORES.where(np.isfinite(self.SCORES), -9.0)
        expected = sum(rankdata(low[name]) for name in PAIR) / 4
        assert RankSum(PAIR).fit_score(self.SCORES).tolist() == expected.tolist()
        # a: both NaN and inf share rank 1.5; b: -inf has rank 1.
        assert RankSum(PAIR).fit_score(self.SCORES).tolist() == [(3 + 2) / 4, (1.5 + 3) / 4, (4 + 1) / 4, (1.5 + 4) / 4]


class TestReference:
    @pytest.mark.parametrize("mix", every(), ids=lambda mix: mix.kind)
    def test_an_architecture_scores_the_same_in_any_company(self, mix: Aggregate) -> None:
        together = mix.fit(SAMPLE).score(SAMPLE)
        for name in SAMPLE.index:
            assert mix.score(SAMPLE.loc[[name]])[name] == together[name]

    @pytest.mark.parametrize("mix", every(), ids=lambda mix: mix.kind)
    def test_a_new_architecture_better_in_all_is_ranked_first(self, mix: Aggregate) -> None:
        mix.fit(SAMPLE)
        assert mix.score(pd.DataFrame({"a": [6.0], "b": [99.0]}))[0] > mix.score(SAMPLE).max()

    def test_hybrid_normalises_by_the_reference(self) -> None:
        new = pd.DataFrame({"a": [4.0], "b": [80.0]}, index=["new"])
        assert Hybrid(PAIR).fit(SAMPLE).score(new)["new"] == 0.5 * 4 / 5 + 1.5 * 80 / 40

    def test_unfitted_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"rank\(a, b\) has no reference sample yet"):
            RankSum(PAIR).score(SAMPLE)

    def test_missing_column_is_named(self) -> None:
        with pytest.raises(InputError, match="needs scores of c, which are not among a, b"):
            RankSum(["a", "c"]).fit(SAMPLE)

    def test_empty_sample_is_refused(self) -> None:
        with pytest.raises(InputError, match="reference sample is empty"):
            RankSum(PAIR).fit(SAMPLE.head(0))

    def test_constant_scores_have_no_standard_score(self) -> None:
        with pytest.raises(InputError, match="standard deviation of 'a' over 4 finite scores is 0"):
            ZScoreSum(PAIR).fit(SAMPLE.assign(a=1.0))


class TestFiles:
    @pytest.mark.parametrize("mix", every(), ids=lambda mix: mix.kind)
    def test_comes_back_the_same(self, mix: Aggregate, tmp_path: Path) -> None:
        sample = pd.concat([SAMPLE, pd.DataFrame({"a": [np.nan, 3.3], "b": [1.0, np.inf]}, index=["n", "i"])])
        mix.fit(sample, origin="a toy").save(tmp_path / "mix.json")
        again = load_aggregate(tmp_path / "mix.json")
        assert type(again) is type(mix)
        assert again.origin == "a toy"
        pd.testing.assert_series_equal(again.score(sample), mix.score(sample))
        assert json.loads((tmp_path / "mix.json").read_text())["not_finite"] == "ranked last"

    def test_options_come_back(self, tmp_path: Path) -> None:
        Hybrid(PAIR, alpha=3, beta=0.25, condition=False, lower_is_better=["b"]).fit(
            SAMPLE.assign(b=-SAMPLE["b"])
        ).save(tmp_path / "mix.json")
        again = load_aggregate(tmp_path / "mix.json")
        assert isinstance(again, Hybrid)
        assert (again.alpha, again.beta, again.condition, again.lower_is_better) == (3, 0.25, False, ("b",))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense", "cannot be read as JSON"),
            ("[]", "holds no aggregate"),
            ('{"trainless": "aggregate", "format": 99}', "has format 99, this trainless knows 1"),
            ('{"trainless": "aggregate", "format": 1}', "is damaged"),
            ('{"trainless": "aggregate", "format": 1, "kind": "rank", "proxies": ["a"], "lower_is_better": [], '
             '"options": {}, "reference": {"size": 2}}', "is damaged"),
            ('{"trainless": "aggregate", "format": 1, "kind": "hybrid", "proxies": ["a", "b"], "lower_is_better": [], '
             '"options": {"alpha": -1}, "reference": {"largest": [1, 1]}}', "is damaged"),
        ],
    )  # fmt: skip
    def test_damaged_file_is_refused(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "mix.json").write_text(text)
        with pytest.raises(InputError, match=message):
            load_aggregate(tmp_path / "mix.json")

    @pytest.mark.parametrize(
        ("kind", "change", "message"),
        [
            ("rank", {"size": 10**12}, r"'size' is 1000000000000, expected a whole number from 4 to 1000000000"),
            ("rank", {"size": 0}, "'size' is 0, expected a whole number from 4"),
            ("rank", {"size": 3}, "'size' is 3, expected a whole number from 4"),
            ("rank", {"size": 4.5}, "'size' is 4.5"),
            ("rank", {"size": True}, "'size' is True"),
            ("log-rank", {"size": 0, "finite": [[], []]}, "'size' is 0, expected a whole number from 1"),
            ("log-rank", {"finite": [[1.0, np.nan], [1.0]]}, "'finite' of 'a' is not finite numbers sorted upwards"),
            ("log-rank", {"finite": [[1.0], [2.0, 1.0]]}, "'finite' of 'b' is not finite numbers sorted upwards"),
            ("log-rank", {"finite": [[1.0], [10**400]]}, "'finite' holds something that is no number"),
            ("log-rank", {"finite": [[1.0]]}, "'finite' holds 1 lists, expected one for each of 2 proxies"),
            ("log-rank", {"finite": 5}, "not iterable"),
            ("log-rank", {"finite": [1.0, 2.0]}, r"'finite' has shape \(\)"),
            ("z-score", {"deviation": [1.0, 0]}, r"'deviation' is \[1.0, 0.0\], expected a finite number above 0"),
            ("z-score", {"deviation": [1.0]}, "expected a finite number above 0 for each of 2 proxies"),
            ("z-score", {"mean": [1.0, np.inf]}, "expected a finite number for each of 2 proxies"),
            ("z-score", {"mean": "high"}, "'mean' holds something that is no number"),
            ("maximum", {"largest": [1.0, -2.0]}, r"'largest' is \[1.0, -2.0\], expected a finite number above 0"),
            ("hybrid", {"largest": [np.nan, 2.0]}, r"'largest' is \[nan, 2.0\], expected a finite number above 0"),
            ("hybrid", {"largest": [1.0, 2.0, 3.0]}, "for each of 2 proxies"),
        ],
    )
    def test_reference_that_no_sample_gives_is_refused(self, kind: str, change: dict, message: str, tmp_path) -> None:
        self.change(kind, tmp_path / "mix.json", "reference", change)
        with pytest.raises(InputError, match=rf"mix\.json is damaged \(.*{message}.*\): fit the aggregate again\.$"):
            load_aggregate(tmp_path / "mix.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"alpha": 10**400}, "alpha is 1000"),
            ({"beta": np.inf}, "beta is inf, expected a finite number"),
            ({"alpha": "1"}, "alpha is '1', expected a finite number"),
            ({"condition": "false"}, "condition is 'false', expected True or False"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, change: dict, message: str, tmp_path: Path) -> None:
        self.change("hybrid", tmp_path / "mix.json", "options", change)
        with pytest.raises(InputError, match=message):
            load_aggregate(tmp_path / "mix.json")

    @staticmethod
    def change(kind: str, path: Path, part: str, change: dict) -> None:
        aggregate(kind, PAIR).fit(SAMPLE).save(path)
        document = json.loads(path.read_text())
        document[part] |= change
        path.write_text(json.dumps(document))

    def test_depth_and_what_is_lacking_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "deep.json").write_text("[" * 200_000)
        with pytest.raises(InputError, match=r"deep\.json cannot be read as JSON"):
            load_aggregate(tmp_path / "deep.json")
        (tmp_path / "bare.json").write_text('{"trainless": "aggregate", "format": 1}')
        with pytest.raises(InputError, match=r"is damaged \(it lacks 'kind'\)"):
            load_aggregate(tmp_path / "bare.json")

    def test_a_large_reference_that_is_not_finite_takes_no_room(self, tmp_path: Path) -> None:
        # Of 10^9, 999,999,996 are one tie of rank 499,999,998.5, and 5.0 is the best.
        self.change("rank", tmp_path / "mix.json", "reference", {"size": 10**9})
        values = load_aggregate(tmp_path / "mix.json").score(pd.DataFrame({"a": [5.0, np.nan], "b": [np.inf, 40.0]}))
        assert values.tolist() == pytest.approx([1.4999999985] * 2, abs=1e-11)

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            load_aggregate(tmp_path / "none.json")
        with pytest.raises(InputError, match="cannot be written"):
            RankSum(PAIR).fit(SAMPLE).save(tmp_path / "none" / "mix.json")


class TestLookUp:
    def test_by_name_with_options(self) -> None:
        found = aggregate("hybrid", alpha=1, beta=2)
        assert isinstance(found, Hybrid)
        assert (found.alpha, found.beta, found.proxies) == (1, 2, ("logsynflow", "nwot"))
        assert aggregate(found) is found

    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'log-rank'"):
            aggregate("log-rang", PAIR)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: aggregate("rank"), "name its proxies"),
            (lambda: aggregate("rank", PAIR, alpha=1), "cannot be made of that"),
            (lambda: RankSum([]), "expected one or more different names"),
            (lambda: RankSum(["a", "a"]), "expected one or more different names"),
            (lambda: RankSum(["a"], halved=["b"]), "'b' is to count half, expected one of a"),
            (lambda: RankSum("nwot"), r"are the text 'nwot', expected a list of names: write \['nwot'\]"),
            (lambda: RankSum(["plain"], lower_is_better="plain"), "are the text 'plain', expected a list"),
            (lambda: Hybrid(["a"]), "is given 1 proxies"),
            (lambda: Hybrid(condition="no"), "condition is 'no'"),
            (lambda: Hybrid(alpha=10**400), "alpha is 1000"),
            (lambda: Hybrid(alpha=-1), "alpha is -1"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, make, message: str) -> None:
        with pytest.raises(InputError, match=message):
            make()


def test_equal_products_of_ranks_are_equal_log_rank_sums() -> None:
    # Ranks (2, 6), (3, 4), (4, 3), (6, 2) of six: one product, 12, and so one tie.
    scores = pd.DataFrame({"a": [2.0, 3.0, 4.0, 6.0, 1.0, 5.0], "b": [6.0, 4.0, 3.0, 2.0, 1.0, 5.0]})
    assert LogRankSum(["a", "b"]).fit_score(scores)[:4].nunique() == 1
