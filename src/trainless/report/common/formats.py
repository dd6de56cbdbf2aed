"""Numbers as the pages, the figures and the tables show them."""

from __future__ import annotations

import math

__all__ = ["count", "milliseconds", "number", "power_of_ten", "seconds"]

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


def milliseconds(value: float) -> str:
    """Write milliseconds to three digits.

    Example:
        >>> milliseconds(1310.4), milliseconds(0.0212)
        ('1,310', '0.0212')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Write a duration in the unit that suits it.

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


def count(value: float) -> str:
    """Write a large count with a unit prefix.

    Example:
        >>> count(1_073_466), count(999)
        ('1.1 M', '999')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def power_of_ten(exponent: int) -> str:
    """Write a power of ten with raised digits.

    Example:
        >>> power_of_ten(-12)
        '10⁻¹²'
    """
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
