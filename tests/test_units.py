"""Quantities with units, against products by hand."""

from __future__ import annotations

import pytest

from trainless.errors import InputError
from trainless.units import LONG_TIMES, SHORT_TIMES, parse_quantity, parse_time


def test_times() -> None:
    assert [parse_time(text) for text in ("90s", "20m", "1.5h", "2 min", ".5h")] == [90, 1200, 5400, 120, 1800]
    for text in ("90", "0s", "soon", "-5m", "45s,200", "", "9" * 400 + "s", "5ms", "1h 30m"):
        with pytest.raises(InputError, match="The time is"):
            parse_time(text)


def test_each_unit_is_worth_what_it_says() -> None:
    assert [parse_quantity(f"3{unit}", LONG_TIMES) for unit in LONG_TIMES] == [3, 180, 180, 10800]
    assert [parse_quantity(f" 3 {unit} ", SHORT_TIMES) for unit in SHORT_TIMES] == [0.003, 3, 3000]
    assert parse_quantity("2.5", {"": 2.0}) == 5


@pytest.mark.parametrize("text", ["", "s", "5", "5 x", "1e3s", "5.s", "5S", "5 s s", "5_s", "-5s", "½s", "5,0s"])
def test_what_is_no_quantity(text: str) -> None:
    assert parse_quantity(text, LONG_TIMES) is None
