"""The command that replays searches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import CELLS, RUN, SCORES, TRUTH, Command, interrupt, write_store, write_tables

pytestmark = pytest.mark.slow

REPLAY = ("replay", "--table", "nasbench201", "--dataset", "cifar10", "--strategies", "random,local", "--seeds", 2,
          "--budget", 40)  # fmt: skip


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def public_files(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINLESS_DATA", str(real_data))


@pytest.mark.data
@pytest.mark.usefixtures("public_files")
class TestReplay:
    def test_prints_a_row_for_each_strategy_and_score(self, command: Command) -> None:
        rows = command.document(*REPLAY, "--scores", "freerea,rank(flops, nwot)", "--run-off", 5)
        assert [(row["strategy"], row["score"]) for row in rows] == [
            ("random", "freerea"), ("local", "freerea"), ("random", "rank(flops, nwot)"), ("local", "rank(flops, nwot)")
        ]  # fmt: skip
        wanted = {"strategy", "score", "dataset", "seeds", "budget", "mean_test", "std_test", "mean_evaluations"}
        assert wanted | {"mean_test_runoff"} <= set(rows[0])
        assert all(80 < row["mean_test"] < 95 and row["mean_evaluations"] == 40 for row in rows)

    def test_writes_page_picture_and_rows(self, command: Command, tmp_path: Path) -> None:
        page, picture, csv = tmp_path / "replay.html", tmp_path / "replay.png", tmp_path / "rows.csv"
        code, out, err = command(*REPLAY, "--out", page, "--figure", picture, "--csv", csv)
        assert (code, err) == (0, "")
        assert "mean_test" in out
        assert "plotly" in page.read_text(encoding="utf-8")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert list(pd.read_csv(csv)["strategy"]) == ["random", "local"]

    @pytest.mark.slow
    def test_two_runs_are_equal(self, command: Command) -> None:
        first, again = (command.document(*REPLAY) for _ in range(2))
        for row in (*first, *again):
            row.pop("microseconds")
        assert json.dumps(first) == json.dumps(again)

    @pytest.mark.parametrize(
        ("extra", "told"),
        [
            (("--scores", "nwott"), "no score 'nwott': did you mean 'nwot'"),
            (("--scores", ","), "--scores names none"),
            (("--strategies", ""), "--strategies names none"),
            (("--dataset", " "), "--dataset names none"),
            (("--figure", "curves.bmp"), "curves.bmp cannot be written: There is no format 'bmp'"),
            (("--scores", "params", "--budget", "5s"), "do not tell how long params took"),
            (("--strategies", "freera"), "no strategy 'freera': did you mean 'freerea'"),
            (("--budget", "soon"), "budget is 'soon', expected a number of evaluations"),
            (("--budget", "0"), "budget is 0, expected more than 0"),
            (("--seeds", 0), "0 seeds"),
            (("--dataset", "cifar11"), "freerea.cifar11"),
            (("--split", "train"), "no split 'train' of cifar10"),
            (("--scores", "jacov"), "lack jacov"),
            (("--out", "no/such/folder/page.html"), "cannot be written"),
        ],
    )
    def test_refusals(self, command: Command, extra: tuple[object, ...], told: str) -> None:
        assert told in command.refusal(*REPLAY, *extra)

    def test_interrupt_is_one_sentence(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.search.replays.strategy", interrupt)
        code, out, err = command(*REPLAY)
        assert (code, out) == (130, "")
        assert err == (
            "trainless: interrupted. Nothing was kept: give --checkpoint a file that keeps finished searches.\n"
        )

    @pytest.mark.slow
    def test_a_checkpoint_is_gone_on_from(
        self, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "kept.jsonl"
        first = command.document(*REPLAY, "--checkpoint", file)
        with monkeypatch.context() as patched:
            patched.setattr("trainless.search.replays.strategy", interrupt)
            assert command.document(*REPLAY, "--checkpoint", file) == first  # its seconds too: nothing was searched
            code, out, err = command(*REPLAY, "--checkpoint", file, "--run-off", 3)
        assert (code, out) == (130, "")
        assert err.endswith(f"Finished searches are in {file}: run the same command again to go on.\n")


class TestStore:
    """Own scores instead of published ones, with toy tables."""

    @pytest.fixture
    def replayed(self, tmp_path: Path) -> tuple[object, ...]:
        write_tables(tmp_path)
        write_store(tmp_path / "scores.db")
        return "replay", "--store", tmp_path / "scores.db", "--strategies", "grid", "--seeds", 1

    def test_all_of_the_scores_give_the_best(
        self, command: Command, replayed: tuple[object, ...], tmp_path: Path
    ) -> None:
        (row,) = command.document(*replayed, "--table", tmp_path / "toy.csv", "--scores", "nwot")
        assert row["mean_evaluations"] == len(CELLS)
        assert row["mean_test"] == pytest.approx(TRUTH[SCORES["nwot"].idxmax()])

    @pytest.mark.parametrize(
        ("table", "extra", "told"),
        [
            ("other.csv", ("--scores", "nwot"), "are of nasbench201 and the table 'other' is of"),
            ("toy.csv", ("--scores", "jacov"), "lack jacov, expected some of logsynflow, nwot, plain, params"),
            ("toy.csv", ("--scores", "nwot", "--published", "freerea"), "expected one of them"),
            ("toy.csv", ("--scores", "nwot", "--run", 2), "--run is 2, expected 1 to 1"),
            ("two.csv", ("--scores", "nwot"), "--dataset is missing beside --store, expected some of first, second"),
        ],
    )
    def test_refusals(
        self, command: Command, replayed: tuple[object, ...], tmp_path: Path, table: str, extra: tuple[object, ...],
        told: str,
    ) -> None:  # fmt: skip
        assert told in command.refusal(*replayed, "--table", tmp_path / table, *extra)

    def test_several_runs_need_a_choice(
        self, command: Command, replayed: tuple[object, ...], tmp_path: Path
    ) -> None:  # fmt: skip
        write_store(tmp_path / "scores.db", -SCORES, replace(RUN, seed=4))
        asked = (*replayed, "--table", tmp_path / "toy.csv", "--scores", "nwot")
        assert "holds 2 runs, choose one by number" in command.refusal(*asked)
        (row,) = command.document(*asked, "--run", 2)
        finite = SCORES["nwot"][np.isfinite(SCORES["nwot"])]
        assert row["mean_test"] == pytest.approx(TRUTH[finite.idxmin()])

    def test_a_run_needs_a_store(self, command: Command, tmp_path: Path) -> None:
        write_tables(tmp_path)
        assert "beside --store alone" in command.refusal("replay", "--table", tmp_path / "toy.csv", "--run", 1)
