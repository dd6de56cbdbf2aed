"""The commands that hold scores against accuracies: evaluate, hybrid fit, report and reproduce thesis."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import CELLS, RUN, SCORES, TRUTH, Command, interrupt, write_store, write_tables
from scipy.stats import kendalltau, spearmanr

import trainless
from trainless import study
from trainless.aggregation import hybrid
from trainless.cli import shared, studies
from trainless.store import Run

pytestmark = pytest.mark.slow

COMMANDS = (["evaluate"], ["hybrid", "fit"], ["report"])
TOY = ["scores.db", "--table", "toy.csv", "--split", "test"]
QUICK = [*TOY, "--resamples", "0"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run commands in a folder with toy scores and tables, where nothing of the machine is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRAINLESS_DATA", raising=False)
    write_store(tmp_path / "scores.db")
    write_tables(tmp_path)
    return Command(monkeypatch, capsys)


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine weights of each instead of 201: the sweep itself has tests of its own."""
    # The package names the function so too.
    monkeypatch.setattr(import_module("trainless.aggregation.sweep"), "grid", lambda: np.arange(9) * 0.5)


def ranked_last(scores: pd.Series) -> pd.Series:
    return scores.replace([np.inf, -np.inf, np.nan], -1e300)


class TestEvaluate:
    def test_gives_what_the_library_gives(self, run: Command) -> None:
        found = run.document("evaluate", *TOY, "--resamples", 20, "--top", 5)
        assert set(found) == {"protocol", "top", "resamples", "proxies"}
        assert (found["top"], found["resamples"]) == (5, 20)
        assert (
            found["protocol"] | {"table": "toy", "data set": "cifar10", "split": "test", "seed": "3"}
            == (found["protocol"])
        )
        assert found["protocol"]["architectures"] == "24 of the 24 scored have an accuracy"
        rows = {row["proxy"]: row for row in found["proxies"]}
        oriented = SCORES.assign(plain=-SCORES["plain"], hybrid=hybrid(SCORES["logsynflow"], SCORES["nwot"]))
        expected = trainless.evaluate(oriented, TRUTH, k=5, resamples=20)
        for proxy, values in expected.iterrows():
            for name in ("kendall", "spearman", "weighted_kendall", "top_kendall", "precision_at", "ndcg_at",
                         "best_of_top", "argmax_accuracy", "regret", "networks", "not_finite"):  # fmt: skip
                assert float(rows[str(proxy)][name]) == pytest.approx(float(values[name]), nan_ok=True), (proxy, name)

    def test_correlations_equal_scipy(self, run: Command) -> None:
        rows = {row["proxy"]: row for row in run.document("evaluate", *QUICK)["proxies"]}
        assert set(rows) == {
            *SCORES, "hybrid", "log-rank(logsynflow, nwot)", "rank(logsynflow, nwot)", "z-score(logsynflow, nwot)",
        }  # fmt: skip
        for name, sign in (("logsynflow", 1), ("nwot", 1), ("plain", -1), ("params", 1)):  # lower plain is better
            values = ranked_last(sign * SCORES[name])
            assert rows[name]["kendall"] == pytest.approx(kendalltau(values, TRUTH).statistic)
            assert rows[name]["spearman"] == pytest.approx(spearmanr(values, TRUTH).statistic)
            assert rows[name]["argmax_accuracy"] == TRUTH[values.idxmax()]
            assert rows[name]["regret"] == pytest.approx(TRUTH.max() - TRUTH[values.idxmax()])
            assert rows[name]["seconds"] == 0.25
        assert rows["nwot"]["not_finite"] == 1
        assert rows["hybrid"]["kind"] == "mix"
        assert rows["hybrid"]["seconds"] == 0.5

    def test_the_best_come_first_with_their_intervals(self, run: Command) -> None:
        rows = run.document("evaluate", *TOY, "--resamples", 20)["proxies"]
        taus = [row["kendall"] for row in rows]
        assert taus == sorted(taus, reverse=True)
        assert all(row["kendall_low"] <= row["kendall"] <= row["kendall_high"] for row in rows)
        assert "kendall_low" not in run.document("evaluate", *QUICK)["proxies"][0]

    def test_split_and_data_set_are_those_asked_for(self, run: Command) -> None:
        rows = run.document(
            "evaluate", "scores.db", "--table", "two.csv", "--dataset", "first", "--split", "valid", "--proxies",
            "params", "--resamples", 0,
        )  # fmt: skip
        assert [row["proxy"] for row in rows["proxies"]] == ["params"]
        assert rows["proxies"][0]["argmax_accuracy"] == pytest.approx(TRUTH[SCORES["params"].idxmax()] - 1)
        assert rows["protocol"]["data set"] == "first"

    def test_prints_a_table_and_how_it_came_about(self, run: Command) -> None:
        code, out, err = run("evaluate", *TOY, "--resamples", 20)
        assert (code, err) == (0, "")
        assert "log-rank(logsynflow, nwot)" in out
        assert "fidelity: batch=64, dtype=float32" in out
        assert out.endswith(
            "count the best 10; intervals are 95 % by bootstrap, and rough for what hangs "
            "on single architectures (argmax_accuracy, regret, best_of_top).\n"
        )  # there are no more
        assert run("evaluate", *QUICK)[1].endswith("count the best 10.\n")

    def test_csv_holds_every_column(self, run: Command, tmp_path: Path) -> None:
        rows = run.document("evaluate", *TOY, "--resamples", 20, "--csv", "board.csv")["proxies"]
        table = pd.read_csv(tmp_path / "board.csv")
        assert list(table) == list(rows[0])
        assert table["kendall"].tolist() == pytest.approx([row["kendall"] for row in rows])
        assert not list(tmp_path.glob(".*"))

    def test_one_of_several_runs(self, run: Command, tmp_path: Path) -> None:
        write_store(tmp_path / "scores.db", SCORES * 2, Run("nasbench201", "cifar10:00", 4, RUN.fidelity))
        sentence = run.refusal("evaluate", *QUICK)
        assert "holds 2 runs, choose one by number" in sentence
        assert run.document("evaluate", *QUICK, "--run", 2)["protocol"]["seed"] == "4"
        assert "--run is 3, expected 1 to 2" in run.refusal("evaluate", *QUICK, "--run", 3)

    def test_a_mix_that_cannot_be_made_is_left_out(self, run: Command, tmp_path: Path) -> None:
        write_store(tmp_path / "flat.db", SCORES.assign(skipped_layers=0.0))
        rows = run.document("evaluate", "flat.db", *QUICK[1:])["proxies"]
        assert {"skipped_layers", "hybrid"} <= {row["proxy"] for row in rows}
        assert "freerea" not in {row["proxy"] for row in rows}


class TestHybridFit:
    @pytest.mark.slow
    def test_all_pairs_of_the_thesis(self, run: Command, tmp_path: Path) -> None:
        found = run.document("hybrid", "fit", *TOY, "--folds", 2, "--csv", "weights.csv")
        table = pd.read_csv(tmp_path / "weights.csv")
        assert list(table) == ["alpha", "beta", "kendall", "spearman"]
        assert len(table) == 40_401
        assert table["beta"].max() == table["alpha"].max() == 100
        published, best, _ = found["weights"]
        truth = TRUTH.to_numpy()
        for alpha, beta in ((0.5, 1.5), (0.0, 2.0), (best["alpha"], best["beta"]), (37.5, 92.0)):
            values = ranked_last(pd.Series(hybrid(SCORES["logsynflow"], SCORES["nwot"], alpha=alpha, beta=beta)))
            row = table[(table["alpha"] == alpha) & (table["beta"] == beta)].iloc[0]
            assert row["kendall"] == pytest.approx(kendalltau(values, truth).statistic)
            assert row["spearman"] == pytest.approx(spearmanr(values, truth).statistic)
        assert best["kendall"] == pytest.approx(table["kendall"].max())
        assert (published["alpha"], published["beta"]) == (0.5, 1.5)

    @pytest.mark.usefixtures("small_grid")
    def test_document(self, run: Command) -> None:
        found = run.document("hybrid", "fit", *TOY, "--folds", 3)
        assert set(found) == {"protocol", "flipped", "weights", "folds"}
        assert [set(row) for row in found["weights"]] == [
            {"weights", "alpha", "beta", "ratio", "kendall", "spearman", "measured"}
        ] * 3
        din, ddn = SCORES["logsynflow"] / SCORES["logsynflow"].max(), SCORES["nwot"] / SCORES["nwot"].max()
        assert found["flipped"] == int(((din > ddn) & np.isfinite(ddn)).sum())
        assert [row["networks"] for row in found["folds"]] == [8, 8, 8]
        held = found["weights"][2]
        assert held["kendall"] == pytest.approx(np.mean([row["kendall"] for row in found["folds"]]))
        assert (held["alpha"], held["beta"]) == (None, None)  # medians of each would be nobody's weights
        with np.errstate(divide="ignore"):
            ratios = [np.divide(row["beta"], row["alpha"]) for row in found["folds"]]
        assert float(held["ratio"]) == pytest.approx(np.median(ratios))

    @pytest.mark.usefixtures("small_grid")
    def test_saved_hybrid_scores_the_same(self, run: Command, tmp_path: Path) -> None:
        found = run.document("hybrid", "fit", *TOY, "--out", "mix.json", "--figure", "weights.png")
        mix = trainless.load_aggregate(tmp_path / "mix.json")
        best = found["weights"][1]
        expected = hybrid(SCORES["logsynflow"], SCORES["nwot"], alpha=best["alpha"], beta=best["beta"])
        np.testing.assert_allclose(mix.score(SCORES), expected, rtol=1e-15)
        assert mix.origin == "toy, cifar10, test, 24 architectures, weights fitted to them"
        # One alone is scored against the sample's largest, not its own.
        assert mix.score(SCORES.loc[[CELLS[5]]]).iloc[0] == pytest.approx(expected[5])
        assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.usefixtures("small_grid")
    def test_prints_three_rows(self, run: Command) -> None:
        code, out, err = run("hybrid", "fit", *TOY)
        assert (code, err) == (0, "")
        for text in ("as published", "best of the grid", "fitted 5 times", "in-sample, too good", "of 24."):
            assert text in out

    def test_a_store_without_the_pair(self, run: Command, tmp_path: Path) -> None:
        write_store(tmp_path / "one.db", SCORES[["nwot"]])
        assert run.refusal("hybrid", "fit", "one.db", *TOY[1:]).startswith("The store holds no scores of logsynflow")

    @pytest.mark.usefixtures("small_grid")
    def test_scores_without_any_order(self, run: Command, tmp_path: Path) -> None:
        flat = SCORES.assign(logsynflow=1.0, nwot=1.0)
        write_store(tmp_path / "flat.db", flat)
        assert "all scores or all accuracies are equal" in run.refusal("hybrid", "fit", "flat.db", *TOY[1:])
        # Two that stand out leave some folds without: those are not known, and no library warns of it.
        flat.loc[CELLS[:2], "nwot"] = -np.inf
        write_store(tmp_path / "nearly.db", flat)
        folds = run.document("hybrid", "fit", "nearly.db", *TOY[1:])["folds"]
        assert 0 < [row["spearman"] for row in folds].count("nan") < 5

    @pytest.mark.usefixtures("small_grid")
    @pytest.mark.parametrize("folds", [-1, 0, 1, 13, 25])
    def test_folds_that_cannot_be(self, run: Command, folds: int) -> None:
        sentence = run.refusal("hybrid", "fit", *TOY, "--folds", folds)
        assert f"There are {folds} folds for 24 architectures, expected 2" in sentence


@pytest.mark.usefixtures("small_grid")
class TestReport:
    @pytest.mark.slow
    def test_page_and_files_for_papers(self, run: Command, tmp_path: Path) -> None:
        found = run.document(
            "report", *QUICK, "--proxies", "nwot, logsynflow", "--out", "page.html", "--figures", "paper/figures"
        )
        assert set(found) == {"files", "protocol"}
        assert found["files"][0] == "page.html"
        names = {Path(name).name for name in found["files"]}
        assert {"leaderboard.md", "leaderboard.tex", "ranking.png", "ranking.svg", "weights.svg"} <= names
        assert {path.name for path in (tmp_path / "paper" / "figures").iterdir()} == names - {"page.html"}
        assert all((tmp_path / name).stat().st_size for name in found["files"])
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "toy, cifar10, test" in page
        assert "hybrid" in (tmp_path / "paper" / "figures" / "leaderboard.md").read_text(encoding="utf-8")

    def test_default_name_is_printed(self, run: Command, tmp_path: Path) -> None:
        assert run("report", *QUICK, "--proxies", "params") == (0, "report.html\n", "")
        assert (tmp_path / "report.html").is_file()

    def test_figures_where_there_is_a_file(self, run: Command, tmp_path: Path) -> None:
        assert "The folder toy.csv cannot be made" in run.refusal("report", *QUICK, "--figures", "toy.csv")
        assert not (tmp_path / "report.html").exists()


class TestWrongInput:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["no.db", "--table", "toy.csv", "--split", "test"], "There is no store 'no.db'"),
            (["toy.csv", "--table", "toy.csv", "--split", "test"], "'toy.csv' is no SQLite database"),
            (["scores.db", "--table", "toy", "--split", "test"], "There is no table 'toy'"),
            (["scores.db", "--table", "nasbench102", "--split", "test"], "did you mean 'nasbench10"),
            (["scores.db", "--table", "nasbench201", "--split", "test"], "`trainless tables get nasbench201` downlo"),
            (["scores.db", "--table", "no.csv", "--split", "test"], "There is no file 'no.csv'"),
            (["scores.db", "--table", "toy.csv"], "--split is missing, expected one of valid, test."),
            (["scores.db", "--table", "toy.csv", "--split", "train"], "no split 'train' of cifar10: choose one of va"),
            (["scores.db", "--table", "two.csv", "--split", "test"], "--dataset is missing, expected one of first, s"),
            (["scores.db", "--table", "two.csv", "--dataset", "first", "--split", "test"], "choose one of valid."),
            (["scores.db", "--table", "two.csv", "--dataset", "third", "--split", "test"],
             "no data set 'third': choose one of first, second."),
            (["scores.db", "--table", "other.csv", "--split", "test"], "check that both are of the same search space"),
            (["scores.db", "--table", "toy.csv", "--split", "test", "--run", "0"], "--run is 0, expected 1 to 1"),
        ],
    )  # fmt: skip
    def test_one_sentence_and_exit_code_2(
        self, run: Command, tmp_path: Path, command: list[str], arguments: list[str], message: str
    ) -> None:
        before = sorted(tmp_path.iterdir())
        assert message in run.refusal(*command, *arguments)
        assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.usefixtures("small_grid")
    @pytest.mark.parametrize("command", [["evaluate"], ["report"]], ids=" ".join)
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--proxies", "nwott"], "no scores of nwott, expected some of logsynflow, nwot, plain, params"),
            (["--proxies", " , "], "--proxies names none"),
            (["--resamples", "-1"], "resamples is -1"),
        ],
    )
    def test_proxies_and_resamples(self, run: Command, command: list[str], arguments: list[str], message: str) -> None:
        assert message in run.refusal(*command, *TOY, *arguments)

    def test_top(self, run: Command) -> None:
        for top in (0, 25):
            assert f"--top is {top}, expected 1 to 24" in run.refusal("evaluate", *QUICK, "--top", top)

    @pytest.mark.parametrize("command", ["evaluate", "report"])
    def test_too_few_resamples(self, run: Command, command: str) -> None:
        message = run.refusal(command, "scores.db", "--table", "toy.csv", "--split", "test", "--resamples", 1)
        assert "--resamples is 1, expected 0 for no intervals, or at least 20" in message

    @pytest.mark.parametrize(
        "arguments",
        [["evaluate", *QUICK, "--csv"], ["hybrid", "fit", *TOY, "--out"], ["hybrid", "fit", *TOY, "--csv"],
         ["hybrid", "fit", *TOY, "--figure"], ["report", *QUICK, "--out"]],
        ids=lambda each: f"{each[0]} {each[-1]}",
    )  # fmt: skip
    def test_a_place_that_cannot_be_written_is_refused_before_the_work(
        self, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        def never(*_: Any, **__: Any) -> None:
            raise AssertionError("the work began")

        monkeypatch.setattr(studies, "_study", never)
        assert run.refusal(*arguments, "no/file.png") == (
            "no/file.png cannot be written: 'no' is no folder that may be written to."
        )
        (tmp_path / "folder").mkdir()
        assert "folder cannot be written: it is a folder" in run.refusal(*arguments, "folder")
        monkeypatch.setattr(shared.os, "access", lambda *_: False)
        assert "'.' is no folder that may be written to" in run.refusal(*arguments, "file.png")

    @pytest.mark.usefixtures("small_grid")
    def test_unknown_ending_of_a_figure(self, run: Command, tmp_path: Path) -> None:
        assert "'xyz'" in run.refusal("hybrid", "fit", *TOY, "--figure", "weights.xyz")
        assert not list(tmp_path.glob("*weights*"))

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_missing_options_are_usage_errors(self, run: Command, command: list[str]) -> None:
        code, out, err = run(*command, "scores.db")
        assert (code, out) == (2, "")
        assert "--table" in err
        assert "Traceback" not in err


class TestInterrupted:
    @pytest.mark.usefixtures("small_grid")
    @pytest.mark.parametrize(
        ("arguments", "owner", "name"),
        [
            (["evaluate", *QUICK], study, "evaluate"),
            (["hybrid", "fit", *TOY], study, "sweep_weights"),
            (["report", *QUICK], study.Study, "leaderboard"),
            (["report", *QUICK, "--figures", "figures"], studies, "_paper_files"),
        ],
    )
    def test_130_and_a_sentence(
        self, run: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], owner: Any, name: str
    ) -> None:
        monkeypatch.setattr(owner, name, interrupt)
        code, out, err = run(*arguments)
        assert (code, out) == (130, "")
        assert err.startswith("trainless: interrupted. ")
        assert err.count("\n") == 1


ROWS: list[dict[str, Any]] = [
    {
        "table": "6.5", "dataset": "cifar10", "proxy": proxy, "kendall": 0.6, "kendall_low": None,
        "kendall_high": None, "spearman": 0.8, "spearman_low": None, "spearman_high": None, "top_accuracy": 90.7,
        "thesis_kendall": 0.62, "thesis_spearman": 0.81, "thesis_top_accuracy": thesis_top, "source": "own",
        "origin": "toy", "split": "test", "networks": 24, "not_finite": 0, "top_architecture": CELLS[0],
        "difference": difference, "reasons": ["another batch", "another seed"] if difference else [],
    }
    for proxy, thesis_top, difference in (
        ("hybrid", 90.74, "kendall -0.020"),
        ("nwot", None, ""),
    )
]  # fmt: skip


class TestReproduceThesis:
    """With rows that are given: tests/test_reproduction.py computes them."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What the command asks of the library, which answers with two rows."""
        from trainless import reproduction

        calls: list[dict[str, Any]] = []

        def answer(folder: Path | None, scores: Path | None, *, progress: Any, **options: Any) -> Any:
            progress("rows")(1, 2)
            calls.append({"folder": folder, "scores": scores, **options})
            empty = pd.DataFrame()
            return reproduction.Reproduction(ROWS, [], [], empty, empty, empty)

        def write(self: Any, folder: Path) -> list[Path]:
            return [folder / "report.html"]

        monkeypatch.setattr(reproduction, "reproduce_thesis", answer)
        monkeypatch.setattr(reproduction.Reproduction, "write", write)
        return calls

    def test_json_is_the_rows(self, run: Command, asked: list[dict[str, Any]]) -> None:
        assert run.document("reproduce", "thesis") == ROWS
        assert asked == [{"folder": None, "scores": None, "resamples": 200, "with_extras": False}]

    def test_options_are_passed_on(self, run: Command, asked: list[dict[str, Any]], tmp_path: Path) -> None:
        code, out, _ = run(
            "reproduce", "thesis", "--data", "public", "--scores", "own.db", "--resamples", 70, "--out", "new/folder"
        )
        assert code == 0
        assert asked == [
            {"folder": Path("public"), "scores": Path("own.db"), "resamples": 70, "with_extras": True},
        ]  # fmt: skip
        assert (tmp_path / "new" / "folder").is_dir()
        assert "1 files in new/folder" in out

    def test_prints_ours_beside_the_thesis_and_each_reason_once(
        self, run: Command, asked: list[dict[str, Any]]
    ) -> None:
        code, out, err = run("reproduce", "thesis")
        assert (code, err) == (0, "")
        assert "Table 6.5, cifar10" in out
        line = next(line for line in out.splitlines() if "hybrid" in line).split()
        assert line[:8] == ["hybrid", "own", "0.600", "0.62", "0.800", "0.81", "90.70", "90.74"]
        assert out.endswith("- another batch\n- another seed\n")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "nowhere"], "The table 'nasbench201' is not in 'nowhere'"),
            ([], "The table 'nasbench201' is not in the cache"),
            (["--out", "toy.csv"], "The folder toy.csv cannot be made"),
        ],
    )
    def test_wrong_input(self, run: Command, arguments: list[str], message: str) -> None:
        assert message in run.refusal("reproduce", "thesis", *arguments)

    def test_interrupted(self, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        from trainless import reproduction

        monkeypatch.setattr(reproduction, "reproduce_thesis", interrupt)
        code, out, err = run("reproduce", "thesis")
        assert (code, out) == (130, "")
        assert err.startswith("trainless: interrupted. ")


def test_groups_without_a_command_tell_what_there_is(run: Command) -> None:
    for group, command in (("hybrid", "fit"), ("reproduce", "thesis")):
        _, out, err = run(group)
        assert command in out + err
    assert "--resamples" in run("evaluate", "--help")[1]
