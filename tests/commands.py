"""What the tests of the commands share: running one in the same process, and toy scores with their accuracies."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainless import cli
from trainless.search_spaces import search_space
from trainless.store import Run, Store
from trainless.types import Score

CELLS = list(map(str, islice(search_space("nasbench201"), 24)))
_RNG = np.random.default_rng(0)
TRUTH = pd.Series(_RNG.uniform(50, 90, 24), index=pd.Index(CELLS, name="architecture")).round(2)
SCORES = pd.DataFrame(
    {
        "logsynflow": np.exp(TRUTH / 30 + _RNG.normal(size=24)),
        "nwot": 700 + TRUTH + _RNG.normal(0, 10, 24),
        "plain": -TRUTH + _RNG.normal(0, 10, 24),
        "params": _RNG.integers(1, 9, 24) * 1000.0,
    },
    index=TRUTH.index,
)
SCORES.loc[CELLS[0], "nwot"] = -np.inf
RUN = Run("nasbench201", "cifar10:00", 3, "batch=64,dtype=float32")


class Command:
    """Runs a command; gives exit code, standard output and standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["trainless", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def document(self, *arguments: object) -> Any:
        """The one JSON document that a command prints with --json, with nothing beside it."""
        code, out, err = self(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    def refusal(self, *arguments: object) -> str:
        """The one sentence with which a command refuses wrong input."""
        code, out, err = self(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("trainless: ")
        assert err.endswith(".\n")
        assert err.count("\n") == 1
        return err.removeprefix("trainless: ").rstrip("\n")


def interrupt(*_: object, **__: object) -> None:
    """What Ctrl-C does, wherever it is put."""
    raise KeyboardInterrupt


def write_store(path: Path, scores: pd.DataFrame = SCORES, run: Run = RUN) -> None:
    """Write scores as `trainless score` does; each took a quarter of a second."""
    rows = [
        Score(str(cell), str(proxy), float(value), "ok" if np.isfinite(value) else "not finite", seconds=0.25)
        for proxy, values in scores.items()
        for cell, value in values.items()
    ]
    with Store(path) as store:
        store.write(run, rows, dict.fromkeys(map(str, scores.columns), 1))


def write_tables(folder: Path) -> None:
    """Write toy.csv of one data set, two.csv of two, and other.csv of another search space."""
    pd.DataFrame({"cifar10.valid": TRUTH - 1, "cifar10.test": TRUTH}).to_csv(folder / "toy.csv")
    pd.DataFrame({"first.valid": TRUTH - 1, "second.test": TRUTH}).to_csv(folder / "two.csv")
    sizes = pd.Index(["8:8:8:8:8", "8:8:8:8:16"], name="architecture")
    pd.DataFrame({"cifar10.test": [50.0, 60.0]}, index=sizes).to_csv(folder / "other.csv")
