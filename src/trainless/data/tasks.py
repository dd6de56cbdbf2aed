"""The task that the labels of a table are for: one class for each image, or another one, which is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from trainless.errors import DataError

__all__ = ["check_task"]

_REAL = re.compile(r"[-+]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"(nan|[-+]?inf(inity)?)?", re.IGNORECASE)  # what tables of numbers have where one is missing
_LIST = re.compile(r"\[.*\]|\{.*\}|\(.*\)")
_NAME = re.compile(r"\w[^;|]*")


def check_task(source: str, labels: Sequence[tuple[int, str]]) -> None:
    """Refuse labels that are no names of classes: real numbers, or several names for one image.

    Whole numbers are classes; of real numbers some may be missing. Several names are separated by ``;`` or ``|``, stand
    in brackets, or are separated by commas where each of them is in another label too, or where one is a label of its
    own and so it is with most labels that have commas: a class may well be called "tench, Tinca tinca".

    Args:
        source: where they were found.
        labels: line and label of each image.

    Raises:
        DataError: the labels are such.

    Example:
        >>> check_task("pets.csv", [(2, "cat;dog"), (3, "dog")])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.DataError: 'cat;dog' on line 2 of 'pets.csv' names several classes (cat, dog), so the task ...
    """
    lines = {label: line for line, label in reversed(labels)}  # the first of each
    real = [label for label in lines if _REAL.fullmatch(label)]
    broken = [label for label in real if not float(label.replace(",", ".")).is_integer()]
    if broken and all(_REAL.fullmatch(label) or _NO_NUMBER.fullmatch(label) for label in lines):
        label = min(broken, key=lines.__getitem__)
        raise DataError(
            f"All labels of '{source}' are numbers, such as '{label}' on line {lines[label]}, so the task is taken for "
            f"regression, and only classification is done here: give names of classes, such as 'size {label}' if that "
            "is one."
        )
    by_comma = {label: _split(label, ",") for label in lines}
    occurrences = Counter(name for names in by_comma.values() for name in set(names))
    combined = [label for label, names in by_comma.items() if len(set(names)) > 1]
    partly_alone = {label for label in combined if not lines.keys().isdisjoint(by_comma[label])}
    if 2 * len(partly_alone) <= len(combined):  # among names with commas, a few may well begin as others
        partly_alone = set()
    for label in sorted(lines, key=lines.__getitem__):
        names = _split(label, "[;|]") if all(map(_NAME.fullmatch, _split(label, "[;|]"))) else [label]
        is_elsewhere = label in partly_alone or all(occurrences[name] > 1 for name in by_comma[label])
        if _LIST.fullmatch(label) or is_elsewhere:
            names = by_comma[label]
        if len(set(names)) > 1:
            raise DataError(
                f"'{label}' on line {lines[label]} of '{source}' names several classes ({', '.join(names)}), so the "
                "task is taken for multi-label classification, and only one class for each image is learned here: "
                "give one, or write names of classes without such signs."
            )


def _split(label: str, sign: str) -> list[str]:
    inside = label[1:-1] if _LIST.fullmatch(label) else label
    return [name.strip(" \t'\"") for name in re.split(sign, inside) if name.strip(" \t'\"")]
