"""The precisions of convolutions and linear maps in scoring."""

from __future__ import annotations

from trainless.errors import InputError

__all__ = ["AUTO", "PRECISIONS", "check_precision", "is_rounded"]

PRECISIONS = ("float32", "bfloat16", "bfloat16-noise")
"""As the dtype has them; in bfloat16 for proxies that may be measured so; for those of them that are shown noise."""

AUTO = "auto"
"""The fastest of them."""


def is_rounded(precision: str, sees: str) -> bool:
    """Whether a precision rounds to bfloat16 in passes over such an input, a `PassSpec.input`.

    Example:
        >>> is_rounded("bfloat16", "batch"), is_rounded("bfloat16-noise", "batch")
        (True, False)
    """
    return precision == "bfloat16" or (precision == "bfloat16-noise" and "noise" in sees)


def check_precision(precision: str, is_double: bool = False, *, others: tuple[str, ...] = ()) -> None:
    """Refuse a precision that is none of `PRECISIONS` and `others`, or does not go with double precision.

    Raises:
        InputError: it cannot be used.

    Example:
        >>> check_precision("bfloat16", is_double=True)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The precision is 'bfloat16' and the dtype float64, expected float32 beside it: \
leave one of them out.
    """
    known = (*PRECISIONS, *others)
    if precision not in known:
        raise InputError(f"The precision is '{precision}', expected one of {', '.join(known)}.")
    if is_double and precision != "float32":
        raise InputError(
            f"The precision is '{precision}' and the dtype float64, expected float32 beside it: leave one of them out."
        )
