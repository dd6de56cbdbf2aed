"""The published spaces are what they were before they stood on blueprints, to the last bit."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from space_facts import SPACES, facts, scores

TABLE = Path(__file__).parent / "spaces_before.json.gz"
# Another processor sums in another order, of terms that may nearly cancel.
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}


@cache
def before() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(gzip.decompress(TABLE.read_bytes()))
    return table


@pytest.mark.slow
@pytest.mark.parametrize("key", SPACES)
def test_what_is_said_is_as_before(key: str) -> None:
    now = json.loads(json.dumps(facts(key)))
    was = before()["facts"][key]
    assert {name: value for name, value in now.items() if was[name] != value} == {}
    assert now.keys() == was.keys()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("key", sorted(before()["scores"]["float64"]))
def test_scores_are_as_before(key: str, dtype: str) -> None:
    was, now = before()["scores"][dtype][key], scores(key, dtype)
    assert was.keys() == now.keys()
    for architecture, values in was.items():
        for proxy, value in values.items():
            expected, found = float.fromhex(value), float.fromhex(now[architecture][proxy])
            same = found == expected or (math.isnan(found) and math.isnan(expected))
            assert same or math.isclose(found, expected, rel_tol=TOLERANCE[dtype]), (architecture, proxy)
