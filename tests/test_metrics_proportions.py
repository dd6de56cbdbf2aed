"""Wilson's interval against the formula written out."""

from __future__ import annotations

import math

import pytest

from trainless.metrics import wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (18, 23), (0, 40), (9_000, 10_000)])
def test_against_the_formula(successes: int, trials: int) -> None:
    z, share = 1.959963984540054, successes / trials
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    expected = [(middle - reach) / (1 + z * z / trials), (middle + reach) / (1 + z * z / trials)]
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-12)


def test_of_nothing_nothing_is_known() -> None:
    assert all(map(math.isnan, wilson_interval(0, 0)))


def test_more_confidence_is_a_wider_interval() -> None:
    low, high = wilson_interval(18, 23, 0.99)
    assert low < wilson_interval(18, 23)[0]
    assert high > wilson_interval(18, 23)[1]
