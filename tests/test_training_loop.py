"""The training loop comes to what it came to when Lightning's Trainer ran it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_facts import TRAININGS, facts

from trainless.data import load_data, split
from trainless.training import train
from trainless.training.loop import synchronised

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


def test_synchronised_normalisations_leave_their_statistics_behind() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    norm = network[1][0]
    with synchronised(network):
        inner = network[1][0]
        assert type(inner) is nn.SyncBatchNorm
        inner.running_mean.add_(1)
        inner.num_batches_tracked.add_(2)
        with torch.no_grad():
            inner.weight.mul_(3)
    assert network[1][0] is norm
    assert (norm.running_mean.tolist(), int(norm.num_batches_tracked), norm.weight.tolist()) == ([1] * 4, 2, [3] * 4)


@pytest.mark.parametrize("adapts", [False, True])
def test_kept_weights_keep_their_statistics_or_adapt_them(adapts: bool) -> None:
    digits = load_data("digits")
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    train(network, *split(digits, 0.9), epochs=1, keep_weights=True, adapt_statistics=adapts)
    assert torch.equal(network[1].running_var, torch.ones(4)) != adapts  # type: ignore[arg-type]


def test_nothing_is_told_of_precision_and_devices() -> None:
    command = "from training_facts import facts; facts('bfloat16')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", command], cwd=Path(__file__).parent, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
