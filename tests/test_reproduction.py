"""The thesis's tables once more: what is computed agrees with scipy on the raw files, and with the thesis."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import CELLS, SCORES, TRUTH, write_store
from scipy.stats import kendalltau, rankdata, spearmanr

from trainless import cli
from trainless.aggregation import Hybrid, LogRankSum, hybrid
from trainless.errors import InputError, StoreError
from trainless.reproduction import (
    DATASETS,
    THESIS,
    Reproduction,
    Source,
    candidates,
    choose,
    compare_mixes,
    mix_sources,
    own_scores,
    own_scores_from_store,
    reproduce_rows,
)
from trainless.reproduction.mixes import THESIS_PROXIES, notable_mixes, sizes_of, thesis_mixes, worst_and_mean
from trainless.reproduction.rows import ScoreSet
from trainless.reproduction.run import study_weights
from trainless.store import Run, Store
from trainless.study import make_study
from trainless.tables import BenchmarkTable
from trainless.types import Score

pytestmark = pytest.mark.xdist_group("reproduction")  # what all its tests share is made once

Row = dict[str, Any]
Find = Callable[..., Row]


def correlations(values: pd.Series, truth: pd.Series) -> tuple[float, float]:
    """Tau and rho by scipy, with what is not finite in one tie below all else."""
    low = values.where(np.isfinite(values), -1e300)
    return float(kendalltau(low, truth).statistic), float(spearmanr(low, truth).statistic)


def finder(rows: list[Row]) -> Find:
    def find(table: str, dataset: str, proxy: str, source: str = "published") -> Row:
        key = (table, dataset, proxy, source)
        (only,) = [row for row in rows if (row["table"], row["dataset"], row["proxy"], row["source"]) == key]
        return only

    return find


@pytest.fixture(scope="module")
def public(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of public files, found by TRAINLESS_DATA beside an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINLESS_DATA", str(real_data))
        patch.setenv("TRAINLESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield real_data


@pytest.fixture(scope="module")
def rows(public: Path) -> list[Row]:
    """What `trainless reproduce thesis --json` prints: one JSON document."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr("sys.argv", ["trainless", "reproduce", "thesis", "--resamples", "0", "--json"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    found: list[Row] = json.loads(printed.getvalue())
    return found


@pytest.fixture(scope="module")
def raw(public: Path) -> pd.DataFrame:
    """FreeREA's scores and the accuracies by NATS index, straight from the CSV files."""
    frame = pd.read_csv(public / "tables" / "nasbench201.csv.gz", index_col="index")
    for dataset in DATASETS:
        for column in ("logsynflow", "naswot"):
            path = public / "nats-tss-freerea" / dataset / f"{column}.csv"
            frame[f"{dataset}.{column}"] = pd.read_csv(path, index_col="index")[column]
    assert len(frame) == 15_625
    return frame


@pytest.mark.slow
@pytest.mark.data
class TestRows:
    def test_every_figure_of_the_thesis_is_there(self, rows: list[Row]) -> None:
        figures = {(each.table, each.dataset, each.proxy) for each in THESIS}
        assert len(THESIS) == len(figures) == 3 + 3 * 12 + 3 * 3
        keys = [(row["table"], row["dataset"], row["proxy"], row["source"]) for row in rows]
        assert len(set(keys)) == len(keys)
        assert {key[:3] for key in keys} == figures
        for source in ("published", "own"):
            ours = {key[:3] for key in keys if key[3] == source}
            assert {key for key in figures if key[0] in ("6.1", "6.5", "6.6", "6.7")} <= ours
            assert len(ours) >= 46  # the two that are missing are those that nobody could score

    def test_each_has_ours_beside_the_thesis(self, rows: list[Row]) -> None:
        thesis = {(each.table, each.dataset, each.proxy): each for each in THESIS}
        for row in rows:
            figure = thesis[row["table"], row["dataset"], row["proxy"]]
            assert row["thesis_kendall"] == figure.kendall
            assert row["thesis_spearman"] == figure.spearman
            assert row["thesis_top_accuracy"] == figure.top_accuracy
            assert row["source"] in ("published", "own")
            assert -1 < row["kendall"] < 1
            assert -1 < row["spearman"] < 1
            assert round(row["top_accuracy"], 2) == row["top_accuracy"]
            assert row["kendall_low"] is None  # without resamples

    def test_every_difference_is_told_and_explained(self, rows: list[Row]) -> None:
        for row in rows:
            gaps = {name: row[name] - row[f"thesis_{name}"] for name in ("kendall", "spearman")}
            told, reasons = row["difference"], "; ".join(row["reasons"])
            for name, gap in gaps.items():
                assert (f"{name} {gap:+.3f}" in told) == (abs(gap) > 0.005), row
            if row["thesis_top_accuracy"] is not None:
                assert ("first choice" in told) == (row["top_accuracy"] != row["thesis_top_accuracy"])
            assert bool(told) == (len(reasons) > 40)
            if row["split"] == "test" and row["table"] in ("6.3", "6.6") and reasons:
                assert "mean over seeds" in reasons

    def test_argmax_to_the_digit(self, rows: list[Row]) -> None:
        find = finder(rows)
        for table, dataset, cells, logsynflow, both in (
            ("6.5", "cifar10", 15_625, 90.36, 90.74), ("6.7", "ImageNet16-120", 9_445, 41.23, 45.73),
        ):  # fmt: skip
            for proxy, accuracy in (("logsynflow", logsynflow), ("hybrid", both)):
                row = find(table, dataset, proxy)
                assert (row["top_accuracy"], row["split"], row["networks"]) == (accuracy, "test_seed888", cells)
                assert row["thesis_top_accuracy"] == accuracy

    @pytest.mark.parametrize("source", ["published", "own"])
    def test_hybrid_is_as_good_as_the_thesis_says(self, rows: list[Row], source: str) -> None:
        for table, dataset in zip(("6.5", "6.6", "6.7"), DATASETS, strict=True):
            row = finder(rows)(table, dataset, "hybrid", source)
            assert row["kendall"] == pytest.approx(row["thesis_kendall"], abs=0.015)
            assert row["spearman"] == pytest.approx(row["thesis_spearman"], abs=0.015)

    def test_logsynflow_nwot_and_hybrid_equal_scipy_on_the_raw_files(self, rows: list[Row], raw: pd.DataFrame) -> None:
        find = finder(rows)
        for table, dataset, split in (
            ("6.5", "cifar10", "test_seed888"), ("6.6", "cifar100", "test"), ("6.7", "ImageNet16-120", "test_seed888"),
        ):  # fmt: skip
            scores = raw[[f"{dataset}.logsynflow", f"{dataset}.naswot"]].set_axis(["logsynflow", "nwot"], axis=1)
            din, ddn = (scores[name] / scores[name][np.isfinite(scores[name])].max() for name in ("logsynflow", "nwot"))
            scores["hybrid"] = np.where(din <= ddn, 0.5 * din + 1.5 * ddn, din)
            scores.loc[~np.isfinite(ddn), "hybrid"] = -np.inf
            truth = raw[f"{dataset}.{split}"].dropna()
            for proxy, values in scores.loc[truth.index].items():
                row = find(table, dataset, str(proxy))
                assert (row["kendall"], row["spearman"]) == pytest.approx(correlations(values, truth), abs=6e-5)
                assert row["networks"] == len(truth)
                assert row["not_finite"] == (~np.isfinite(values)).sum()
                top = values[np.isfinite(values)].idxmax()
                assert row["top_architecture"] == raw["architecture"][top]
                assert row["top_accuracy"] == round(truth[top], 2)

    def test_table_1_is_against_the_mean_over_seeds(self, rows: list[Row], raw: pd.DataFrame) -> None:
        for dataset in DATASETS:
            row = finder(rows)("6.1", dataset, "logsynflow")
            expected = correlations(raw[f"{dataset}.logsynflow"], raw[f"{dataset}.test"])
            assert (row["kendall"], row["spearman"]) == pytest.approx(expected, abs=6e-5)
            assert row["split"] == "test"

    def test_naslib_and_suite_zero_equal_scipy_on_the_raw_files(self, rows: list[Row], public: Path) -> None:
        find = finder(rows)
        naslib = pd.read_csv(public / "nb201-published-proxies" / "cifar10.csv", index_col="net")
        seeds = pd.read_csv(public / "nb201-test-seed888" / "cifar10.csv", index_col="net")["val_accs"]
        for proxy in ("jacov", "snip", "plain", "zen"):
            scored = naslib[proxy]  # NASLib's -1e8 for what is not finite is below all else, and so last
            row = find("6.2", "cifar10", proxy)
            assert row["kendall"] == pytest.approx(correlations(scored, seeds[scored.index])[0], abs=6e-5)
            assert row["networks"] == len(scored)
        entries = json.loads((public / "nas-bench-suite-zero" / "zc_nasbench201.json").read_text())
        for table, dataset, proxy in (("6.3", "cifar100", "snip"), ("6.4", "ImageNet16-120", "l2_norm")):
            pairs = [(each[proxy]["score"], each["val_accuracy"]) for each in entries[dataset].values()]
            assert find(table, dataset, proxy)["kendall"] == pytest.approx(
                kendalltau(*zip(*pairs, strict=True)).statistic, abs=6e-5
            )

    def test_own_rows_equal_scipy(self, rows: list[Row], raw: pd.DataFrame) -> None:
        truth = raw.set_index("architecture")["cifar10.test_seed888"]
        scores = own_scores()["cifar10"]
        for proxy, column in (("nwot", "nwot"), ("grasp", "grasp"), ("zen", "zen:running"), ("synflow", "synflow:log")):
            values = scores[column].dropna()
            row = finder(rows)("6.2", "cifar10", proxy, "own")
            assert row["kendall"] == pytest.approx(correlations(values, truth[values.index])[0], abs=6e-5)
            assert row["networks"] == len(values)


class TestOwnScores:
    def test_cover_the_space(self) -> None:
        scores = own_scores()
        assert set(scores) == set(DATASETS)
        for table in scores.values():
            assert len(table) == table.index.nunique() == 15_625
            assert table[["logsynflow", "nwot"]].notna().all(axis=None)
            assert np.isfinite(table["logsynflow"]).all()
            assert set(CELLS) <= set(table.index)

    @pytest.mark.slow
    def test_are_what_the_proxies_give(self) -> None:
        """Parameters of the packaged table against the benchmark's own: 0.129306 million of the first cell."""
        assert own_scores()["cifar10"].loc[CELLS[0], "params"] == 129_306


@pytest.mark.slow
@pytest.mark.data
def test_pair_of_the_thesis_proxies_beats_the_thesis(public: Path) -> None:
    source = next(each for each in mix_sources() if each.name == "NB201 cifar10")
    mix = LogRankSum(("jacov", "logsynflow"))
    assert set(mix.proxies) <= set(THESIS_PROXIES)
    (tau,) = compare_mixes([source], [mix])["NB201 cifar10"]
    # By hand: the logarithms of the ranks, those without a score being last.
    truth = pd.read_csv(public / "tables" / "nasbench201.csv.gz", index_col="architecture")["cifar10.test"]
    low = source.scores.fillna(-1e300)
    total = sum(np.log(rankdata(low[name])) for name in mix.proxies)
    expected = kendalltau(total, truth[low.index]).statistic
    assert tau == pytest.approx(expected)
    assert tau >= 0.72
    assert len(low) == 9_445


# Without real data.


class TestOwnScoresFromStore:
    def test_data_set_is_told_by_the_name_of_the_images(self, tmp_path: Path) -> None:
        for place, name in enumerate(("cifar10", "cifar100", "CIFAR100_960", "imagenet16-120", "digits")):
            count = 10 + place
            write_store(tmp_path / "own.db", SCORES[:count], Run("nasbench201", f"{name}:00", 0, "x"))
        write_store(tmp_path / "own.db", SCORES, Run("nats_size", "cifar10:00", 0, "x"))
        found = own_scores_from_store(tmp_path / "own.db")
        # Of the two of CIFAR-100 the larger.
        assert {name: len(table) for name, table in found.items()} == {
            "cifar10": 10, "cifar100": 12, "ImageNet16-120": 13,
        }  # fmt: skip
        pd.testing.assert_frame_equal(found["cifar100"], SCORES[:12], check_names=False)

    def test_a_smaller_run_that_comes_later_changes_nothing(self, tmp_path: Path) -> None:
        for seed, count in enumerate((20, 5)):
            write_store(tmp_path / "own.db", SCORES[:count], Run("nasbench201", "cifar10:00", seed, "x"))
        assert len(own_scores_from_store(tmp_path / "own.db")["cifar10"]) == 20

    def test_scores_of_others_are_not_our_own(self, tmp_path: Path) -> None:
        write_store(tmp_path / "own.db", SCORES[:5], Run("nasbench201", "cifar10:00", 0, "x"))
        write_store(tmp_path / "own.db", SCORES, Run("nasbench201", "cifar10:published", 0, "origin=FreeREA"))
        assert len(own_scores_from_store(tmp_path / "own.db")["cifar10"]) == 5

    def test_what_failed_is_ranked_last_and_what_was_not_tried_is_not(self, tmp_path: Path) -> None:
        names = [str(name) for name in SCORES.index[:3]]
        scores = [Score(name, "nwot", float(place)) for place, name in enumerate(names)]
        scores += [Score(names[0], "jacov", 1.0), Score(names[1], "jacov", math.nan, "failed", "no gradient")]
        with Store(tmp_path / "own.db") as store:
            store.write(Run("nasbench201", "cifar10:00", 0, "x"), scores, {"nwot": 1, "jacov": 1})
        jacov = own_scores_from_store(tmp_path / "own.db")["cifar10"]["jacov"]
        assert jacov[names[1]] == -math.inf
        assert math.isnan(jacov[names[2]])

    def test_wrong_stores(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="There is no store"):
            own_scores_from_store(tmp_path / "no.db")
        write_store(tmp_path / "other.db", SCORES, Run("nasbench201", "digits:00", 0, "x"))
        with pytest.raises(InputError, match="holds 1 runs, but none of NAS-Bench-201 on images named cifar10, cifar1"):
            own_scores_from_store(tmp_path / "other.db")


class TestReproduceRows:
    @pytest.fixture
    def rows(self) -> list[Row]:
        table = BenchmarkTable(
            "toy", "nasbench201", pd.DataFrame({"cifar10.test": TRUTH.iloc[::-1], "cifar10.test_seed888": TRUTH})
        )
        sample = ScoreSet(SCORES[["plain", "nwot"]][:9], TRUTH, "test_seed888", "a sample", "published", ("few",))
        first = ScoreSet(
            SCORES[["logsynflow", "nwot"]].rename(columns={"nwot": "synflow"}), TRUTH, "test_seed888", "first",
            "published", ("another seed",),
        )  # fmt: skip
        both = ScoreSet(SCORES[["logsynflow", "nwot"]], TRUTH, "test_seed888", "both", "published", ("other weights",))
        return reproduce_rows({"cifar10": [first, sample, both]}, table, resamples=10)

    def test_each_proxy_comes_from_the_first_that_has_it(self, rows: list[Row]) -> None:
        assert {(row["proxy"], row["origin"]) for row in rows} == {
            ("logsynflow", "first"), ("synflow", "first"), ("nwot", "a sample"), ("plain", "a sample"),
            ("hybrid", "both"),
        }  # fmt: skip
        assert [row["table"] for row in rows] == ["6.1", "6.2", "6.2", "6.2", "6.2", "6.5", "6.5", "6.5"]

    def test_figures(self, rows: list[Row]) -> None:
        find = finder(rows)
        both = pd.Series(hybrid(SCORES["logsynflow"], SCORES["nwot"]), index=SCORES.index)
        for table, proxy, values, truth in (
            ("6.5", "hybrid", both, TRUTH), ("6.2", "plain", SCORES["plain"][:9], TRUTH[:9]),
        ):  # fmt: skip
            row = find(table, "cifar10", proxy)
            assert (row["kendall"], row["spearman"]) == pytest.approx(correlations(values, truth), abs=6e-5)
            assert row["kendall_low"] <= row["kendall"] <= row["kendall_high"]
            assert row["top_accuracy"] == truth[values[np.isfinite(values)].idxmax()]
        assert find("6.2", "cifar10", "plain")["kendall"] < 0  # as it is, like the thesis's

    def test_reasons(self, rows: list[Row]) -> None:
        find = finder(rows)
        assert find("6.2", "cifar10", "plain")["reasons"][-1] == "few"
        assert "1 score that is not finite is ranked last" in find("6.5", "cifar10", "hybrid")["reasons"]
        assert find("6.1", "cifar10", "logsynflow")["split"] == "test"
        assert "FreeREA's paper" in find("6.1", "cifar10", "logsynflow")["reasons"][0]


class TestMixes:
    SOURCES = (
        Source("toy", SCORES, TRUTH),
        Source("half", SCORES[["nwot", "params"]].assign(logsynflow=np.nan), TRUTH),
    )

    def test_compare_equals_scipy(self) -> None:
        mixes = [Hybrid(), LogRankSum(("nwot", "plain")), LogRankSum(("params",))]
        steps: list[tuple[int, int]] = []
        table = compare_mixes(self.SOURCES, mixes, metric="spearman", progress=lambda *step: steps.append(step))
        low = SCORES.assign(nwot=SCORES["nwot"].where(np.isfinite(SCORES["nwot"]), -1e300), plain=-SCORES["plain"])
        sums = {
            "hybrid(logsynflow, nwot)": pd.Series(hybrid(SCORES["logsynflow"], SCORES["nwot"]), index=SCORES.index),
            "log-rank(nwot, plain)": low["nwot"].rank() * low["plain"].rank(),  # the same order, and exact
            "log-rank(params)": SCORES["params"],
        }
        assert list(table.index) == list(sums)
        for name, values in sums.items():
            assert table.loc[name, "toy"] == pytest.approx(correlations(values, TRUTH)[1])
        assert table["half"].isna().tolist() == [True, True, False]  # a proxy is missing, or holds nothing
        assert steps == [(0, 2), (1, 2), (2, 2)]

    def test_a_mix_that_cannot_be_made_is_nan(self) -> None:
        zero = Source("zero", SCORES.assign(nwot=0.0), TRUTH)
        assert compare_mixes([zero], [Hybrid()]).isna().all(axis=None)

    def test_unknown_metric(self) -> None:
        with pytest.raises(InputError, match="The metric is 'pearson', expected kendall or spearman"):
            compare_mixes(self.SOURCES, candidates(["nwot"], sizes=[1]), metric="pearson")

    def test_candidates_are_all_of_a_size(self) -> None:
        mixes = candidates()
        assert len(mixes) == 12 * 11 // 2 + 12 * 11 * 10 // 6
        assert len({mix.name for mix in mixes}) == len(mixes)
        assert {len(mix.proxies) for mix in mixes} == {2, 3}
        assert sizes_of(mixes)["log-rank(synflow:log, jacov)"] == 2
        assert all(set(mix.proxies) <= {*THESIS_PROXIES, "flops"} for mix in thesis_mixes())

    TABLE = pd.DataFrame(
        {"a": [0.1, 0.5, 0.4, np.nan], "b": [0.3, -0.2, 0.2, 0.9]}, index=["one", "two", "three", "four"]
    )

    def test_choose(self) -> None:
        assert choose(self.TABLE, "a") == "two"
        assert choose(self.TABLE, "b") == "four"
        with pytest.raises(InputError, match="There is no source 'c', expected one of a, b"):
            choose(self.TABLE, "c")
        with pytest.raises(InputError, match="No mix has a value on 'a'"):
            choose(self.TABLE.loc[["four"]], "a")

    def test_worst_and_mean(self) -> None:
        found = worst_and_mean(self.TABLE.assign(why="text"))
        assert list(found) == ["a", "b", "why", "sources", "lowest", "mean"]
        assert found["lowest"].tolist() == [0.1, -0.2, 0.2, 0.9]
        assert found["mean"].tolist() == pytest.approx([0.2, 0.15, 0.3, 0.9])

    def test_no_mean_over_other_benchmarks(self) -> None:
        table = pd.DataFrame({"a": [0.1, 0.9], "b": [0.2, np.nan], "c": [0.3, np.nan]})
        found = worst_and_mean(table)
        assert found["sources"].tolist() == [3, 1]
        assert np.isnan(found.loc[1, ["lowest", "mean"]].astype(float)).all()

    def test_notable_mixes(self) -> None:
        sizes = {"one": 2, "two": 2, "three": 2, "four": 1}
        found = notable_mixes(self.TABLE.loc[["one", "two", "three"]], "a", sizes)
        assert found["why"].to_dict() == {"two": "best pair on a", "three": "most robust pair"}
        assert list(found) == ["why", "a", "b"]

    def test_robust_mixes_may_lack_one_benchmark(self) -> None:
        table = pd.DataFrame(
            {"a": [0.9, 0.5, 0.8], "b": [0.1, np.nan, np.nan], "c": [0.2, 0.4, np.nan]}, index=["x", "y", "z"]
        )
        found = notable_mixes(table, "a", dict.fromkeys("xyz", 2), allowed=["z", "y"])
        assert found["why"].to_dict() == {"z": "best pair on a", "y": "most robust pair"}


@pytest.fixture(scope="module")
def made() -> Reproduction:
    """A reproduction of two toy studies, over nine weights of each: the sweep itself has tests of its own."""
    rng = np.random.default_rng(1)
    scores = [SCORES[["logsynflow", "nwot"]] * rng.uniform(0.9, 1.1, (24, 2)) for _ in range(2)]
    sets = {"cifar10": [ScoreSet(SCORES, TRUTH, "test", "toy", "published", ("<b>toy</b>",))]}
    table = BenchmarkTable("toy", "nasbench201", pd.DataFrame({"cifar10.test": TRUTH}))
    mixes = worst_and_mean(compare_mixes(TestMixes.SOURCES, candidates(["nwot", "params"])))
    with pytest.MonkeyPatch.context() as patch:
        # The package names the function so too.
        patch.setattr(import_module("trainless.aggregation.sweep"), "grid", lambda: np.arange(9) * 0.5)
        studies = [
            make_study(each, TRUTH, title=title, with_sweep=True)
            for each, title in zip(scores, ("toy, first", "toy, second"), strict=True)
        ]
        weights = study_weights([*studies, make_study(SCORES, TRUTH, title="without weights")])
    return Reproduction(
        reproduce_rows(sets, table, resamples=0),
        studies,
        [study.leaderboard(resamples=0) for study in studies],
        weights,
        pd.DataFrame({"dataset": ["cifar10"], "proxy": ["nwot"], "kendall": [0.5], "thesis_kendall": [None]}),
        mixes.reset_index(),
    )


@pytest.fixture(scope="module")
def folder(made: Reproduction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that it writes, once for these tests."""
    folder = tmp_path_factory.mktemp("reproduction") / "new" / "folder"
    written = made.write(folder)
    assert len(set(written)) == len(written)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    return folder


@pytest.mark.slow
class TestWeightsAndFiles:
    def test_weights_of_one_study_on_the_other(self, made: Reproduction) -> None:
        weights = made.weights
        assert weights["scores"].tolist() == ["toy, first", "toy, second"]
        for place, study in enumerate(made.studies):
            row = weights.iloc[place]
            names = ("logsynflow", "nwot")
            for column, alpha, beta in (
                ("kendall at 0.5, 1.5", 0.5, 1.5), ("kendall in-sample", row["alpha"], row["beta"]),
            ):  # fmt: skip
                values = pd.Series(hybrid(*(study.scores[name] for name in names), alpha=alpha, beta=beta), TRUTH.index)
                assert row[column] == pytest.approx(correlations(values, TRUTH)[0], abs=6e-5)
            other = made.studies[1 - place]
            values = pd.Series(
                hybrid(*(other.scores[name] for name in names), alpha=row["alpha"], beta=row["beta"]), TRUTH.index
            )
            assert row[f"on {other.title}"] == pytest.approx(correlations(values, TRUTH)[0], abs=6e-5)
            assert row[f"on {study.title}"] == row["kendall in-sample"] >= row["kendall at 0.5, 1.5"]

    def test_writes_a_report_and_every_table(self, made: Reproduction, folder: Path) -> None:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        stems = ("table-6.1", "table-6.2", "table-6.5", "weights", "record", "mixes")
        assert {"report.html", "rows.json"} | {f"{s}.{end}" for s in stems for end in ("csv", "md", "tex")} <= names
        assert {"figures/toy-first/weights.svg", "figures/toy-second/ranking.png"} <= names
        assert json.loads((folder / "rows.json").read_text(encoding="utf-8")) == made.rows
        table = pd.read_csv(folder / "table-6.5.csv")
        assert table["proxy"].tolist() == ["hybrid", "nwot", "logsynflow"]
        assert table["thesis_kendall"].tolist() == [0.62, 0.58, 0.56]
        assert len(pd.read_csv(folder / "mixes.csv")) == len(made.mixes)

    def test_page_holds_the_tables_and_no_markup_of_others(self, folder: Path) -> None:
        page = (folder / "report.html").read_text(encoding="utf-8")
        for text in ("Table 6.5 of the thesis: cifar10", "toy, second", "0.62 in the thesis", "label-free record"):
            assert text in page
        assert "<b>toy</b>" not in page
        first = (folder / "table-6.5.md").read_text(encoding="utf-8").splitlines()[0]
        assert first.split("|")[1].strip() == "proxy"  # no column of row numbers

    def test_a_folder_that_cannot_be_written(self, made: Reproduction, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(InputError, match="file cannot be written to: "):
            made.write(tmp_path / "file")
