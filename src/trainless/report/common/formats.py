"""Numbers as the pages, the figures and the tables show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from trainless.costs import Cost

__all__ = [
    "compact",
    "cost_text",
    "costs_text",
    "duration",
    "milliseconds",
    "number",
    "percent",
    "power_of_ten",
    "seconds",
]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, form: str = "#,.5g") -> str:
    """Write a number with a true minus sign; what is not finite as NaN or ∞.

    Example:
        >>> number(-1234.5), number(float("-inf")), number(0.5, ".2f")
        ('−1,234.5', '−∞', '0.50')
    """
    if math.isnan(value):
        return "NaN"
    return format(value, form).replace("-", "−").replace("inf", "∞")


def compact(value: float) -> str:
    """Write a number in a few letters, a large one with a unit prefix.

    Example:
        >>> compact(1_073_466), compact(73_018), compact(999), compact(0.25), compact(-12_345)
        ('1.1 M', '73 k', '999', '0.25', '−12.3 k')
    """
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:  # what three digits would round to the next prefix has it
            return f"{number(value / size, '.1f').removesuffix('.0')} {prefix}"
    return number(value, ".3g")


def percent(share: float, digits: int = 1) -> str:
    """Write a share as percent.

    Example:
        >>> percent(0.435), percent(0.78261, 2)
        ('43.5 %', '78.26 %')
    """
    return f"{number(100 * share, f'.{digits}f')} %"


def milliseconds(value: float) -> str:
    """Write milliseconds to three digits.

    Example:
        >>> milliseconds(1310.4), milliseconds(0.0212)
        ('1,310', '0.0212')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Write a short time in the unit that suits it.

    Example:
        >>> seconds(0.0), seconds(0.00002), seconds(0.1), seconds(2.5), seconds(100.0)
        ('0', '20 µs', '100 ms', '2.5 s', '100 s')
    """
    if value == 0:
        return "0"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size * (1 - 1e-9):
            return f"{milliseconds(value / size)} {unit}"
    return f"{value:.0e} s".replace("-", "−")


def duration(value: float) -> str:
    """Write the seconds of a long time in whole seconds, minutes and hours.

    Example:
        >>> duration(7.2), duration(65), duration(3720)
        ('7 s', '1 min 05 s', '1 h 02 min')
    """
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def cost_text(cost: Cost, value: float) -> str:
    """Write a cost for running text.

    Example:
        >>> from trainless.costs import cost_named
        >>> cost_text(cost_named("params"), 802_426), cost_text(cost_named("memory"), 0.51234)
        ('802.4 k parameters', '0.512 MiB memory')
    """
    amount = compact(value) if cost.is_whole else number(value, ".3g")
    return " ".join(filter(None, [amount, cost.unit, cost.title]))


def costs_text(row: Mapping[str, Any] | pd.Series, costs: Iterable[Cost]) -> str:
    """Write those costs of a row of results that are known.

    Example:
        >>> from trainless.costs import COSTS
        >>> costs_text({"parameters": 802426, "latency_ms": 4.25, "memory_mib": math.nan}, COSTS.values())
        '802.4 k parameters, 4.25 ms latency'
    """
    values = {cost: float(row[cost.column]) for cost in costs if cost.column in row}
    return ", ".join(cost_text(cost, value) for cost, value in values.items() if math.isfinite(value))


def power_of_ten(exponent: int) -> str:
    """Write a power of ten with raised digits.

    Example:
        >>> power_of_ten(-12)
        '10⁻¹²'
    """
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
