"""A study joins scores and accuracies by architecture, adds the mixes, and answers from both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from trainless.aggregation import HYBRID_PAIR, LogRankSum, hybrid
from trainless.errors import InputError, StoreError, TableError
from trainless.store import Run, Store
from trainless.study import MIXES, Study, import_scores, make_study, study_from_store
from trainless.tables import BenchmarkTable, PublishedScores
from trainless.types import Score

NAMES = [f"cell{number}" for number in range(30)]
RNG = np.random.default_rng(0)
TRUTH = pd.Series(RNG.uniform(50, 90, 30), index=NAMES)
SCORES = pd.DataFrame(
    {
        "logsynflow": np.exp(TRUTH / 30 + RNG.normal(size=30)),
        "nwot": 700 + TRUTH + RNG.normal(0, 10, 30),
        "plain": -TRUTH + RNG.normal(0, 10, 30),
        "params": RNG.integers(1, 9, 30) * 1000.0,
    },
    index=NAMES,
)
TABLE = BenchmarkTable(
    "toy", "toy", pd.DataFrame({"digits.test": TRUTH, "digits.valid": TRUTH - 1}).rename_axis("architecture")
)
RUN = Run("toy", "digits:00", 3, "batch=64,dtype=float32")


def filled(path: Path, scores: pd.DataFrame = SCORES, run: Run = RUN) -> Store:
    store = Store(path)
    rows = [
        Score(str(name), str(proxy), float(value), seconds=0.5 if proxy == "nwot" else 0.25, peak_memory=100.0)
        for proxy, values in scores.items()
        for name, value in values.items()
    ]
    store.write(run, rows, dict.fromkeys(map(str, scores.columns), 1))
    return store


class TestMakeStudy:
    def test_joins_by_architecture_whatever_the_order(self) -> None:
        study = make_study(SCORES.iloc[::-1], TRUTH.drop("cell3"), title="toy")
        assert study.scores.index.equals(study.accuracies.index)
        assert len(study.accuracies) == 29
        pd.testing.assert_series_equal(study.accuracies, TRUTH.loc[study.accuracies.index])
        assert study.protocol["architectures"] == "29 of the 30 scored have an accuracy"
        assert study.protocol["not finite"] == "ranked last"

    def test_mixes_are_those_whose_proxies_are_there(self) -> None:
        study = make_study(SCORES, TRUTH, title="toy")
        assert [name for name, kind in study.kinds.items() if kind == "mix"] == [
            "hybrid", "log-rank(logsynflow, nwot)", "rank(logsynflow, nwot)", "z-score(logsynflow, nwot)",
        ]  # fmt: skip
        assert study.scores["hybrid"].tolist() == hybrid(SCORES["logsynflow"], SCORES["nwot"]).tolist()
        assert set(MIXES) >= set(study.kinds) - set(SCORES)

    def test_own_mixes(self) -> None:
        study = make_study(SCORES, TRUTH, title="toy", mixes={"mine": LogRankSum(["plain", "nwot"])})
        assert list(study.scores) == [*SCORES, "mine"]
        turned = SCORES.assign(plain=-SCORES["plain"])
        expected = LogRankSum(["plain", "nwot"], lower_is_better=[]).fit_score(turned)
        assert study.scores["mine"].tolist() == expected.tolist()

    def test_lower_is_better_is_turned_for_the_metrics_alone(self) -> None:
        study = make_study(SCORES, TRUTH, title="toy")
        assert study.lower_is_better == {"plain"}
        assert study.scores["plain"].tolist() == SCORES["plain"].tolist()
        assert study.oriented["plain"].tolist() == (-SCORES["plain"]).tolist()
        board = study.leaderboard(resamples=0, k=3)
        assert board.loc["plain", "kendall"] == pytest.approx(kendalltau(-SCORES["plain"], TRUTH).statistic)
        assert board["kendall"].is_monotonic_decreasing

    def test_redundancy_is_of_proxies_among_proxies(self) -> None:
        twins = SCORES.assign(snip=SCORES["nwot"] * 2)
        board = make_study(twins, TRUTH, title="toy").leaderboard(resamples=0, k=3)
        assert board.loc["snip", "nearest"] == "nwot"
        assert board.loc["snip", "redundancy"] == pytest.approx(1)
        assert board.loc["params", "redundancy"] < 0.5
        assert board.loc["hybrid", "nearest"] == ""
        assert np.isnan(board.loc["hybrid", "redundancy"])

    def test_a_mix_costs_what_its_proxies_cost(self) -> None:
        seconds = pd.Series({"logsynflow": 0.25, "nwot": 0.5})
        memory = pd.Series({"logsynflow": 80.0, "nwot": 100.0})
        study = make_study(SCORES, TRUTH, title="toy", seconds=seconds, memory=memory)
        assert study.seconds["hybrid"] == 0.75
        assert study.memory["hybrid"] == 100
        assert np.isnan(study.seconds["plain"])

    def test_front_of_a_metric_where_lower_is_better(self) -> None:
        perfect = pd.DataFrame({"nwot": TRUTH, "plain": TRUTH})  # plain is better lower, so this one is the worst
        study = make_study(perfect, TRUTH, title="toy", seconds=pd.Series({"nwot": 0.5, "plain": 0.5}), mixes={})
        assert study.front(metric="regret")["on_front"].to_dict() == {"nwot": True, "plain": False}
        with pytest.raises(InputError, match=r"There is no metric 'nope'"):
            study.front(metric="nope")

    def test_rows_that_cannot_be_joined(self) -> None:
        twice = pd.concat([SCORES, SCORES.iloc[:1]])
        with pytest.raises(InputError, match="'cell0' is in the scores more than once"):
            make_study(twice, TRUTH, title="toy")
        with pytest.raises(InputError, match="'cell0' is in the accuracies more than once"):
            make_study(SCORES, pd.concat([TRUTH, TRUTH.iloc[:1]]), title="toy")
        with pytest.raises(InputError, match="The accuracy of 'cell3' is nan"):
            make_study(SCORES, TRUTH.where(TRUTH.index != "cell3"), title="toy")
        with pytest.raises(InputError, match="of type list and the accuracies of type Series, expected a pandas DataF"):
            make_study([1.0], TRUTH, title="toy")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="only 'cell2' has an accuracy, expected at least 2"):
            make_study(SCORES, TRUTH[2:3], title="toy")

    def test_a_proxy_without_any_score_is_named(self) -> None:
        study = make_study(SCORES.assign(snip=np.nan), TRUTH, title="toy")
        assert "snip" not in study.scores
        assert study.protocol["without any score"] == "snip"
        with pytest.raises(InputError, match="None of snip has a score of any of the 30 architectures"):
            make_study(SCORES[[]].assign(snip=np.nan), TRUTH, title="toy")

    def test_front_takes_the_metric_and_the_seconds(self) -> None:
        seconds = pd.Series({"logsynflow": 0.25, "nwot": 0.5, "plain": 9.0, "params": 0.001})
        study = make_study(SCORES, TRUTH, title="toy", seconds=seconds, mixes={})
        front = study.front()
        assert front.loc["params", "on_front"]
        assert not front.loc["plain", "on_front"] or front.loc["plain", "quality"] == front["quality"].max()

    def test_top_curves_end_at_the_optimum(self) -> None:
        curves = make_study(SCORES, TRUTH, title="toy").top_curves()
        assert curves.index[0] == 1
        assert curves.index[-1] == 30
        assert (curves.iloc[-1] == TRUTH.max()).all()
        assert (curves.diff().iloc[1:] >= 0).all(axis=None)
        assert curves.loc[1, "nwot"] == TRUTH[SCORES["nwot"].idxmax()]

    def test_sweep_on_request(self) -> None:
        assert make_study(SCORES, TRUTH, title="toy").sweep is None
        study = make_study(SCORES, TRUTH, title="toy", with_sweep=True)
        assert study.sweep is not None
        expected = kendalltau(hybrid(SCORES["logsynflow"], SCORES["nwot"]), TRUTH).statistic
        assert study.sweep.at(0.5, 1.5) == pytest.approx(expected)
        assert make_study(SCORES[["plain"]], TRUTH, title="toy", with_sweep=True).sweep is None

    def test_nothing_in_common_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"None of the 30 architectures .* 'cell0'.* among the 2 .* 'a'"):
            make_study(SCORES, pd.Series({"a": 1.0, "b": 2.0}), title="toy")


class TestFromStore:
    def test_reads_scores_costs_and_protocol(self, tmp_path: Path) -> None:
        with filled(tmp_path / "scores.db") as store:
            study = study_from_store(store, TABLE, "digits", "test")
        assert isinstance(study, Study)
        assert study.title == "toy, digits, test"
        assert study.seconds["nwot"] == 0.5
        assert study.memory["nwot"] == 100
        assert study.protocol["seed"] == "3"
        assert study.protocol["fidelity"] == "batch=64, dtype=float32"
        assert study.parameters is not None
        assert study.parameters.tolist() == SCORES["params"].tolist()

    def test_chosen_proxies_only(self, tmp_path: Path) -> None:
        with filled(tmp_path / "scores.db") as store:
            study = study_from_store(store, TABLE, "digits", "test", proxies=["nwot", "logsynflow"])
            assert [name for name in study.scores if study.kinds[name] != "mix"] == ["nwot", "logsynflow"]
            with pytest.raises(InputError, match="no scores of snip, expected some of logsynflow, nwot, plain, params"):
                study_from_store(store, TABLE, "digits", "test", proxies=["snip"])

    def test_aggregations_stand_for_their_parts(self, tmp_path: Path) -> None:
        with filled(tmp_path / "scores.db") as store:
            study = study_from_store(store, TABLE, "digits", "test", proxies=["hybrid"])
            assert [name for name in study.scores if study.kinds[name] != "mix"] == ["logsynflow", "nwot"]
            assert "hybrid" in study.scores
            with pytest.raises(InputError, match="no scores of flops, az_expressivity"):
                study_from_store(store, TABLE, "digits", "test", proxies=["robust"])

    def test_noise_by_other_seeds(self, tmp_path: Path) -> None:
        """Of the seed asked for and those with the same images and protocol, on what all of them have scored."""
        path = tmp_path / "scores.db"
        alike = Run("toy", "digits:11", 4, "batch=64,dtype=float32")
        others = [
            Run("toy", "mnist:11", 5, "batch=64,dtype=float32"),
            Run("toy", "digits:11", 6, "batch=8,dtype=float32"),
        ]
        turned = SCORES.iloc[:20].assign(nwot=2 * SCORES["nwot"].max() - SCORES["nwot"].iloc[:20])
        with filled(path) as store, filled(path, turned, alike):
            for other in others:
                filled(path, SCORES, other).close()
            first = next(run for run in store.runs() if run.seed == 3)
            study = study_from_store(store, TABLE, "digits", "test", run=first)
        board = study.leaderboard(resamples=0)
        assert study.protocol["noise"] == "by 2 seeds"
        assert board.loc["nwot", "noise"] == pytest.approx(-1)
        assert board.loc["params", "noise"] == pytest.approx(1)
        assert np.isfinite(board.loc["hybrid", "noise"])

    def test_other_seeds_on_other_architectures_tell_nothing(self, tmp_path: Path) -> None:
        path, alike = tmp_path / "scores.db", Run("toy", "digits:11", 4, "batch=64,dtype=float32")
        others = SCORES.set_axis([f"other{number}" for number in range(len(SCORES))])
        with filled(path) as store, filled(path, others, alike):
            first = next(run for run in store.runs() if run.seed == 3)
            study = study_from_store(store, TABLE, "digits", "test", run=first)
        assert study.noise is None
        assert "noise" not in study.protocol
        assert "noise" not in study.leaderboard(resamples=0)

    def test_splits_never_stand_in_for_one_another(self, tmp_path: Path) -> None:
        with filled(tmp_path / "scores.db") as store, pytest.raises(TableError, match="valid"):
            study_from_store(store, TABLE, "digits", "test_seed888")

    def test_one_of_several_runs_has_to_be_chosen(self, tmp_path: Path) -> None:
        other = Run("toy", "digits:00", 4, "batch=64,dtype=float32")
        with filled(tmp_path / "scores.db") as store, filled(tmp_path / "scores.db", SCORES * 2, other):
            with pytest.raises(StoreError, match="holds 2 runs"):
                study_from_store(store, TABLE, "digits", "test")
            study = study_from_store(store, TABLE, "digits", "test", run=other)
        assert study.protocol["seed"] == "4"
        assert study.scores["nwot"].tolist() == (SCORES["nwot"] * 2).tolist()


class TestImportScores:
    def test_origin_is_part_of_the_key(self, tmp_path: Path) -> None:
        scores = SCORES[list(HYBRID_PAIR)].copy()
        scores.iloc[0, 1], scores.iloc[1, 1] = -np.inf, np.nan
        seconds = pd.DataFrame(0.125, index=scores.index, columns=["nwot"])
        made = [
            PublishedScores("x", "toy", "digits", f"paper {number} @ 00", "MIT", scores * number, seconds, None, "")
            for number in (1, 2)
        ]
        with Store(tmp_path / "scores.db") as store:
            runs = [import_scores(each, store) for each in made]
            assert runs[0].fidelity == "origin=paper 1 @ 00"
            assert store.runs() == runs
            count = store.count()
            import_scores(made[0], store)
            assert store.count() == count == 2 * 60
            first, second = (store.table(run) for run in runs)
            rows = store.rows(runs[0]).set_index(["architecture", "proxy"])
        pd.testing.assert_frame_equal(first, scores, check_names=False)
        assert second.loc["cell5", "nwot"] == 2 * scores.loc["cell5", "nwot"]
        assert rows.loc[("cell0", "nwot"), "status"] == "not finite"
        assert rows.loc[("cell0", "nwot"), "seconds"] == 0.125
        assert rows.loc[("cell1", "nwot"), "status"] == "not finite"


class TestUnequalSamples:
    """Two proxies that were scored for different architectures of one run."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        run = Run("nats_size", "digits:ab12", 0, "batch=64")
        names = [str(name) for name in SCORES.index]
        scores = [Score(name, "nwot", float(place), "ok", "", 0.5) for place, name in enumerate(names)]
        scores += [Score(name, "jacov", float(place), "ok", "", 0.5) for place, name in enumerate(names[:10])]
        scores.append(Score(names[10], "jacov", float("nan"), "failed", "too few images", 0.1))
        with Store(tmp_path / "unequal.db") as opened:
            opened.write(run, scores, {"nwot": 1, "jacov": 1})
            yield opened

    def test_only_what_all_have_tried_counts(self, store: Store) -> None:
        study = study_from_store(store, TABLE, "digits", "test")
        assert list(study.scores.index) == list(SCORES.index[:11])  # the failed one is ranked last, not left out
        assert study.protocol["left out"] == "19 that not all proxies have tried"

    def test_fewer_proxies_have_tried_more(self, store: Store) -> None:
        assert len(study_from_store(store, TABLE, "digits", "test", proxies=["nwot"]).scores) == 30

    def test_nothing_in_common(self, store: Store) -> None:
        run = store.runs()[0]
        store.write(run, [Score(str(SCORES.index[20]), "snip", 1.0, "ok", "", 0.5)], {"snip": 1})
        with pytest.raises(InputError, match=r"scored by all of the proxies \(jacov 11, snip 1\)"):
            study_from_store(store, TABLE, "digits", "test", proxies=["jacov", "snip"])

    def test_only_the_latest_version_of_a_proxy_counts(self, store: Store) -> None:
        run = store.runs()[0]
        newer = [Score(str(name), "nwot", -float(place), "ok", "", 9.0) for place, name in enumerate(SCORES.index[:5])]
        store.write(run, newer, {"nwot": 2})
        study = study_from_store(store, TABLE, "digits", "test", proxies=["nwot"])
        assert study.scores["nwot"].tolist() == [0.0, -1.0, -2.0, -3.0, -4.0]
        assert study.seconds["nwot"] == 9
