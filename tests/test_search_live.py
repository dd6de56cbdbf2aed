"""A live search: deterministic, resumable, within limits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Command

from trainless.errors import InputError
from trainless.search import Limits, Search, parse_number
from trainless.search_spaces import search_space
from trainless.store import Store

SMALL = search_space("nasbench201", channels=4, cells=1)
OPTIONS = {"data": "digits", "workers": 0, "batch_size": 16}


def found(**options: object) -> pd.DataFrame:
    return Search(SMALL, **{**OPTIONS, **options}).run().evaluations.drop(columns="seconds")  # type: ignore[arg-type]


class TestSearch:
    def test_neither_workers_nor_a_store_change_it(self, tmp_path: Path) -> None:
        first = found(budget=60, score="freerea", strategy="evolution")
        assert len(first) == 60
        assert first["architecture"].is_unique
        pd.testing.assert_frame_equal(found(budget=60, score="freerea", strategy="evolution", workers=2), first)
        store = tmp_path / "search.db"
        found(budget=37, score="freerea", strategy="evolution", store=store)
        resumed = found(budget=60, score="freerea", strategy="evolution", store=store)
        pd.testing.assert_frame_equal(resumed, first)
        with Store(store, create=False) as opened:
            assert opened.count() == 60 * 3  # nothing twice

    def test_scores_are_those_of_the_scorer(self) -> None:
        from trainless.scoring import Scorer

        search = Search(SMALL, "random", "nwot", budget=12, **OPTIONS)  # type: ignore[arg-type]
        evaluations = search.run().evaluations
        scorer = Scorer(SMALL, "nwot", "digits", workers=0, batch_size=16)
        table = scorer.score(evaluations["architecture"])
        np.testing.assert_array_equal(evaluations["nwot"], table["nwot"])

    def test_limits_hold_and_what_they_reject_is_counted(self) -> None:
        result = Search(SMALL, "random", "params", budget=40, limits=Limits(9000, 250_000), **OPTIONS).run()  # type: ignore[arg-type]
        assert result.evaluations["parameters"].max() <= 9000
        assert result.evaluations["flops"].max() <= 250_000
        assert sum(result.rejected.values()) > 0
        assert result.best == result.evaluations.loc[result.evaluations["score"].idxmax(), "architecture"]

    def test_a_front_of_score_and_parameters(self) -> None:
        result = Search(SMALL, "random", "nwot", budget=30, objectives=("score", "params"), **OPTIONS).run()  # type: ignore[arg-type]
        rows = result.evaluations.set_index("architecture").loc[list(result.front)]
        assert rows["score"].is_monotonic_decreasing
        assert rows["parameters"].is_monotonic_decreasing
        assert len(rows) > 1

    def test_time_ends_it(self) -> None:
        result = Search(SMALL, "random", "params", budget="1s", **OPTIONS).run()  # type: ignore[arg-type]
        assert "1 s is spent" in result.stopped
        assert len(result.evaluations) > 0

    def test_refusals(self) -> None:
        with pytest.raises(InputError, match=r"within the limits \(params at most 10\) got a score"):
            Search(SMALL, "random", "params", budget=5, limits=Limits(10), **OPTIONS).run()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="objectives are params, expected score first"):
            Search(SMALL, objectives=("params",))
        with pytest.raises(InputError, match="maximises one objective and was given 2"):
            Search(SMALL, "freerea", objectives=("score", "params"), **OPTIONS).run()  # type: ignore[arg-type]
        with pytest.raises(InputError, match="--max-params is 'many'"):
            parse_number("many", "--max-params")


COMMAND = ["search", "--data", "digits", "--channels", "4", "--cells", "1", "--batch-size", "16", "--budget", "60",
           "--strategy", "local", "--workers", "0"]  # fmt: skip


def test_killed_at_random_moments_it_ends_with_the_same_history(tmp_path: Path) -> None:
    moments = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "trainless.cli", *COMMAND, "--store", str(tmp_path / "search.db")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (tmp_path / "search.db").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    resumed = found(budget=60, strategy="local", store=tmp_path / "search.db")
    pd.testing.assert_frame_equal(resumed, found(budget=60, strategy="local"))
    with Store(tmp_path / "search.db", create=False) as store:
        assert store.count() == 60 * 3


class TestCommand:
    @pytest.fixture
    def command(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
        return Command(monkeypatch, capsys)

    def test_document_and_files(self, command: Command, tmp_path: Path) -> None:
        files = [tmp_path / name for name in ("search.db", "page.html", "picture.png", "rows.csv")]
        document = command.document(*COMMAND, "--store", files[0], "--out", files[1], "--figure", files[2], "--csv",
                                    files[3], "--max-params", "9k")  # fmt: skip
        assert document["evaluations"] == 60
        assert document["best"]["parameters"] <= 9000
        assert {"architecture", "score", "flops", "nwot"} <= set(document["best"])
        assert all(file.stat().st_size > 1000 for file in files)

    def test_printed(self, command: Command, tmp_path: Path) -> None:
        code, out, err = command(*COMMAND, "--store", tmp_path / "search.db")
        assert (code, err) == (0, "")
        assert "60 evaluations; rejected: none; the budget of 60 evaluations is spent." in out
        assert "node 0 = input" in out

    @pytest.mark.parametrize(
        ("extra", "told"),
        [
            (("--max-params", "0"), "--max-params is '0'"),
            (("--max-flops", "-1M"), "--max-flops is '-1M'"),
            (("--strategy", "evolutoin"), "did you mean 'evolution'"),
            (("--score", "nwott"), "did you mean 'nwot'"),
            (("--budget", "x"), "The budget is 'x'"),
            (("--batch", 0), "batch of proposals is 0"),
            (("--objective", "speed"), "objectives are speed"),
            (("--space", "nasbench"), "no search space 'nasbench'"),
            (("--data", "nowhere"), "'nowhere'"),
            (("--max-params", "10"), "widen the limits"),
        ],
    )
    def test_refusals(self, command: Command, tmp_path: Path, extra: tuple[object, ...], told: str) -> None:
        assert told in command.refusal(*COMMAND, "--store", tmp_path / "search.db", *extra)
