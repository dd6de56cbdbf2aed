"""The command that replays searches."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from commands import Command, interrupt

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
        assert err.startswith("trainless: interrupted.")
