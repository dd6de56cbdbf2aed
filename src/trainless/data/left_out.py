"""What is left out of a data set while its files are listed, and how that is said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trainless.files import printable

__all__ = ["LeftOut", "examples", "summary"]

_SHOWN = 5  # names written out in a row


class LeftOut(NamedTuple):
    """A file or folder that is no part of the data, and why.

    Args:
        path: below the folder of the data, or as a table has it.
        reason: what it is, so that "3 " can stand before it.
    """

    path: str
    reason: str


def summary(left_out: Iterable[LeftOut]) -> str:
    """Count what is left out by reason, with some names of each.

    Example:
        >>> summary([LeftOut("__MACOSX", "system folder(s)"), LeftOut("a/1.png", "link(s) to nowhere")])
        '1 system folder(s): __MACOSX; 1 link(s) to nowhere: a/1.png'
    """
    names = defaultdict[str, list[str]](list)
    for path, reason in left_out:
        names[reason].append(path)
    return "; ".join(f"{len(paths):,} {reason}{examples(paths)}" for reason, paths in names.items())


def examples(names: Sequence[str]) -> str:
    """Write out some names behind a colon, and how many more there are; nothing where there are none.

    Example:
        >>> examples(["a", "b"]), examples(list("abcdefgh"))
        (': a, b', ': a, b, c, d, e and 3 more')
    """
    if not names:
        return ""
    # A file's name may be no text, which neither a terminal nor a page could show.
    shown = [printable(name) for name in names[:_SHOWN]]
    more = len(names) - _SHOWN
    return ": " + ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
