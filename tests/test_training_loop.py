"""The training loop comes to what it came to when Lightning's Trainer ran it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from training_facts import TRAININGS, facts

TABLE = Path(__file__).parent / "trainings_before.json"
# Another processor sums in another order, from which trainings drift apart; half precision tells less.
TOLERANCES = {"bfloat16": 2e-2}
USUAL = 2e-3
IMAGES = 2.0  # of validation, in percent, that may be on the other side


@cache
def before() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


@pytest.mark.parametrize("key", TRAININGS)
def test_trainings_are_as_before(key: str) -> None:
    was, now = before()[key], facts(key)
    for name in ("losses", "weights", "buffers"):
        assert now[name] == pytest.approx(was[name], rel=TOLERANCES.get(key, USUAL)), name
    for name in ("accuracies", "measure"):
        assert now[name] == pytest.approx(was[name], abs=IMAGES), name
    assert [now[name] for name in ("part", "modes")] == [was[name] for name in ("part", "modes")]


def test_nothing_is_told_of_precision_and_devices() -> None:
    command = "from training_facts import facts; facts('bfloat16')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", command], cwd=Path(__file__).parent, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
