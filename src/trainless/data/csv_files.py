"""Tables of paths and labels, as CSV files."""

from __future__ import annotations

import csv
import difflib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainless.data.file_lists import PART_NAMES, FileList, check_known
from trainless.errors import DataError

__all__ = ["list_csv"]

_COLUMNS = ("path", "label", "split")
_DELIMITERS = ",;\t"
_FREQUENT = 10  # images of a class that a name of one image may be a typing error of
_MOST_SUSPECTS = 20  # comparing more names takes long, and so many are no typing errors


class _Row(NamedTuple):
    line: int
    path: Path
    label: str
    part: str


def list_csv(path: Path, *, only_train: bool = False) -> FileList:
    """List a CSV file whose header has a column ``path``, a column ``label`` and maybe a column ``split``.

    Paths are relative to the folder of the CSV file, or absolute. Labels are any text. Splits are train, valid (or
    val, validation) and test. Other columns are ignored. Columns are separated by commas, semicolons or tabs; the text
    is UTF-8. Class names are the labels of the training part, sorted.

    Args:
        path: the CSV file.
        only_train: leave the rows of other parts out.

    Raises:
        DataError: the header lacks a column, a row lacks a value, names a file that is not there or was named before,
            or an unknown split; a part has a class that train lacks; there are fewer than 2 classes; or a class of a
            single image has nearly the name of a class of 10 or more.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("1.png", "2.png"):
        ...         Path(folder, name).touch()
        ...     _ = Path(folder, "pets.csv").write_text("path,label\\n1.png,dog\\n2.png,cat\\n")
        ...     pets = list_csv(Path(folder, "pets.csv"))
        >>> pets.class_names, pets.labels.tolist(), pets.only_train
        (('cat', 'dog'), [1, 0], True)
    """
    rows = [row for row in _rows(path) if row.part == "train" or not only_train]
    _check_files(path, rows)
    names = tuple(sorted({row.label for row in rows if row.part == "train"}))
    check_known({(row.label, row.part) for row in rows}, names, str(path))
    if len(names) < 2:
        raise DataError(
            f"'{path}' has {len(names)} class(es) to train on, but at least 2 are needed: add images of another class."
        )
    _check_typing(path, rows)
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[row.label] for row in rows], np.int64)
    return FileList(path.stem, tuple(row.path for row in rows), labels, names, tuple(row.part for row in rows))


def _rows(path: Path) -> list[_Row]:
    try:
        # A byte order mark, as spreadsheets write it, is no part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(_DELIMITERS, key=header.count)
            names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
            columns = _columns(path, names)
            reader = csv.reader(file, delimiter=delimiter)
            # Line 1 is the header, which the reader has not seen.
            rows = [_row(path, reader.line_num + 1, fields, columns) for fields in reader if any(fields)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read as a CSV file ({error}): save it as UTF-8 text.") from error
    if not rows:
        raise DataError(f"'{path}' lists no images: add rows below its header.")
    return rows


def _columns(path: Path, names: list[str]) -> dict[str, int]:
    """Where each known column is."""
    for wanted in _COLUMNS[:2]:
        if names.count(wanted) != 1:
            near = difflib.get_close_matches(wanted, set(names) - set(_COLUMNS), n=1)
            hint = f" (is '{near[0]}' the {wanted}?)" if near else ""
            raise DataError(
                f"The header of '{path}' has the columns {', '.join(map(repr, names)) or 'none'}, but one 'path', one "
                f"'label' and maybe a 'split' were expected{hint}: name them so in the first line."
            )
    return {name: names.index(name) for name in _COLUMNS if name in names}


def _row(source: Path, line: int, fields: list[str], columns: dict[str, int]) -> _Row:
    values = {name: fields[number].strip() if number < len(fields) else "" for name, number in columns.items()}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise DataError(f"Line {line} of '{source}' has no {missing[0]}: fill it in or remove the line.")
    split = values.get("split", "train")
    if split.lower() not in PART_NAMES:
        near = difflib.get_close_matches(split.lower(), PART_NAMES, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise DataError(f"Line {line} of '{source}' has the split '{split}'{hint}: give train, valid or test.")
    path = Path(os.path.normpath(source.parent / values["path"]))
    return _Row(line, path, values["label"], PART_NAMES[split.lower()])


def _check_files(source: Path, rows: list[_Row]) -> None:
    lines: dict[Path, int] = {}
    for row in rows:
        if row.path in lines:
            raise DataError(
                f"Lines {lines[row.path]} and {row.line} of '{source}' name the same file '{row.path}': keep one."
            )
        lines[row.path] = row.line
    missing = [row for row in rows if not os.path.isfile(row.path)]
    if missing:
        raise DataError(
            f"'{missing[0].path}', on line {missing[0].line} of '{source}', is no file ({len(missing)} of {len(rows)} "
            "are not there): give paths relative to the folder of the CSV file."
        )


def _check_typing(source: Path, rows: list[_Row]) -> None:
    """Refuse a name of one image that is nearly the name of many."""
    counts = Counter(row.label for row in rows)
    single = [name for name, count in counts.items() if count == 1]
    frequent = [name for name, count in counts.items() if count >= _FREQUENT]
    for name in single if len(single) <= _MOST_SUSPECTS else ():
        near = difflib.get_close_matches(name, frequent, n=1, cutoff=0.75)
        if near and _without_digits(name) != _without_digits(near[0]):
            line = next(row.line for row in rows if row.label == name)
            raise DataError(
                f"Class '{name}' has a single image, on line {line} of '{source}': did you mean '{near[0]}', which has "
                f"{counts[near[0]]}? Correct the label, or add images of '{name}'."
            )


def _without_digits(name: str) -> str:
    """Names that differ in a number alone are different classes."""
    return "".join(character for character in name if not character.isdigit())
