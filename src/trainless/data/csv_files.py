"""Tables of paths and labels, as CSV files."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainless.data.file_lists import FileList, case_remark, check_known, in_class_order
from trainless.data.image_formats import image_suffixes, unread_format
from trainless.data.left_out import LeftOut
from trainless.data.part_names import PARTS, named_parts
from trainless.data.tasks import check_task
from trainless.errors import DataError

__all__ = ["TABLE_SUFFIXES", "list_csv"]

TABLE_SUFFIXES = (".csv", ".tsv")
# The names that a column may have. The first holds whatever others there are, and those of `_DOUBTFUL` where none of
# these is there.
_COLUMNS = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_id", "image_name",
        "image_file", "image_path", "img", "img_name", "img_path",
    ),
    "label": ("label", "class", "classname", "class_name", "class_label", "category", "target"),
    "split": ("split", "part", "partition", "set", "subset"),
}  # fmt: skip
_DOUBTFUL = {"path": ("id",), "label": ("breed", "species"), "split": ()}
_BOXES = ("bbox", "bounding_box", "x_min", "xmin")
_DELIMITERS = ",;\t"
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_FREQUENT = 10  # images of a class that a name of one image may be a typing error of
_MOST_SUSPECTS = 20  # comparing more names takes long, and so many are no typing errors


class _Row(NamedTuple):
    line: int
    cell: str  # the path as the table has it
    path: Path
    label: str
    part: str


class _Table(NamedTuple):
    names: list[str]  # of its columns
    lines: list[tuple[int, list[str]]]
    remarks: tuple[str, ...]


def list_csv(path: Path, *, only_train: bool = False) -> FileList:
    """List a CSV file whose header has a column ``path``, a column ``label`` and maybe a column ``split``.

    Columns may have other usual names, such as ``filename`` and ``class``; those that are not known are ignored. Paths
    are relative to the folder of the CSV file, or absolute, with slashes or backslashes. Labels are any text. Splits
    are train, valid and test, or what else `trainless.data.part_names` knows. Columns are separated by commas,
    semicolons or tabs. The text is UTF-8, UTF-16 with a byte order mark, or else Windows-1252. Class names are the
    labels of the training part, sorted, as numbers where all are numbers.

    Args:
        path: the CSV file.
        only_train: leave the rows of other parts out.

    Raises:
        DataError: the header lacks a column, a row lacks a value, names a file that is not there or was named before,
            or an unknown split; labels are several for an image, or real numbers; a part has a class that train
            lacks; there are fewer than 2 classes; or a class of a single image has nearly the name of a class of 10
            or more.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("1.png", "2.png"):
        ...         Path(folder, name).touch()
        ...     _ = Path(folder, "pets.csv").write_text("filename;class\\n1.png;dog\\n2.png;cat\\n")
        ...     pets = list_csv(Path(folder, "pets.csv"))
        >>> pets.class_names, pets.labels.tolist(), pets.only_train
        (('cat', 'dog'), [1, 0], True)
    """
    table = _table(path)
    rows = [row for row in _rows(path, table) if row.part == "train" or not only_train]
    _check_files(path, rows, [name for name in table.names if name in _BOXES])
    left_out = {row.line: LeftOut(row.cell, reason) for row in rows if (reason := _reason(row))}
    rows = [row for row in rows if row.line not in left_out]
    names = in_class_order(row.label for row in rows if row.part == "train")
    check_known({(row.label, row.part) for row in rows}, names, str(path))
    if len(names) < 2:
        raise DataError(
            f"'{path}' has {len(names)} class(es) to train on, but at least 2 are needed: add images of another class."
        )
    _check_typing(path, rows)
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[row.label] for row in rows], np.int64)
    remarks = (*table.remarks, *case_remark(names))
    return FileList(
        path.stem,
        tuple(row.path for row in rows),
        labels,
        names,
        tuple(row.part for row in rows),
        tuple(left_out.values()),
        remarks,
    )


def _table(path: Path) -> _Table:
    text, remarks = _text(path)
    file = io.StringIO(text, newline="")
    header, before = file.readline(), 0
    while header and (not header.strip() or header.lower().startswith("sep=")):  # a line for spreadsheets
        header, before = file.readline(), before + 1
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        names = [_plain(name) for name in next(csv.reader([header], delimiter=delimiter), [])]
        reader = csv.reader(file, delimiter=delimiter)
        # The header, which the reader has not seen, is a line too.
        lines = [(before + 1 + reader.line_num, fields) for fields in reader if any(map(str.strip, fields))]
    except csv.Error as error:
        raise DataError(f"'{path}' cannot be read as a CSV file ({error}): save it as UTF-8 text.") from error
    return _Table(names, lines, remarks)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a table, and what is to be said of it."""
    content = path.read_bytes()
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # a spreadsheet's "Unicode text"
    for encoding in ("utf-16" if marked else "utf-8-sig", "cp1252", "latin-1"):
        with suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            break
    if _NO_TEXT.search(text):
        raise DataError(f"'{path}' cannot be read as a CSV file (it holds more than text): save it as UTF-8 text.")
    if encoding.startswith("utf"):
        return text, ()
    return text, (f"'{path.name}' is no UTF-8 and was read as Windows-1252: look at names with accents.",)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _rows(path: Path, table: _Table) -> list[_Row]:
    columns = _columns(path, table.names)
    cells = [
        (line, {name: fields[at].strip() if at < len(fields) else "" for name, at in columns.items()})
        for line, fields in table.lines
    ]
    if not cells:
        raise DataError(f"'{path}' lists no images: add rows below its header.")
    check_task(str(path), [(line, values["label"]) for line, values in cells])
    splits = {values.get("split", "") for _, values in cells}
    parts = named_parts(splits)
    if "split" in columns and table.names[columns["split"]] != "split" and not splits <= parts.keys():
        del columns["split"]  # by its name it may be the column of parts, and by its values it is not
    return [_row(path, line, {name: values[name] for name in columns}, parts) for line, values in cells]


def _row(source: Path, line: int, values: dict[str, str], parts: dict[str, str]) -> _Row:
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise DataError(f"Line {line} of '{source}' has no {missing[0]}: fill it in or remove the line.")
    split = values.get("split")
    if split and split not in parts:
        near = difflib.get_close_matches(split.lower(), PARTS, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise DataError(f"Line {line} of '{source}' has the split '{split}'{hint}: give train, valid or test.")
    part = parts[split] if split else "train"
    return _Row(line, values["path"], _find(source.parent, values["path"]), values["label"], part)


def _columns(path: Path, names: list[str]) -> dict[str, int]:
    """Where each known column is."""
    columns = {}
    for wanted, known in _COLUMNS.items():
        # Several may well be names of the file.
        tiers = [(name,) for name in known] if wanted == "path" else [(wanted,), known]
        found = next(
            filter(None, ([name for name in names if name in tier] for tier in (*tiers, _DOUBTFUL[wanted]))), []
        )
        if len(found) == 1:
            columns[wanted] = names.index(found[0])
        elif wanted != "split":
            near = found or difflib.get_close_matches(wanted, set(names) - set(_COLUMNS), n=1)
            hint = f" (is '{near[0]}' the {wanted}?)" if near and near[0] != wanted else ""
            others = ", ".join((*known[1:], *_DOUBTFUL[wanted]))
            raise DataError(
                f"The header of '{path}' has the columns {', '.join(map(repr, names)) or 'none'}, but one 'path', one "
                f"'label' and maybe a 'split' were expected{hint}: name them so in the first line "
                f"(as '{wanted}', {others} are taken too)."
            )
    return columns


def _find(folder: Path, cell: str) -> Path:
    """The file of a path, whatever system the path was written on."""
    for spelling in _spellings(cell):
        path = os.path.normpath(os.path.join(folder, spelling))
        if os.path.isfile(path):
            return Path(path)
    return Path(os.path.normpath(folder / cell.replace("\\", "/")))


def _spellings(cell: str) -> Iterator[str]:
    slashes = cell.replace("\\", "/")
    yield from (cell, slashes)
    for form in ("NFC", "NFD"):  # macOS writes an accent after its letter
        yield unicodedata.normalize(form, slashes)
    if not Path(slashes).suffix:
        yield from (slashes + spelt for suffix in sorted(image_suffixes()) for spelt in (suffix, suffix.upper()))


def _reason(row: _Row) -> str | None:
    """Why a row is left out; None where it is not."""
    if os.path.islink(row.path) and not os.path.exists(row.path):
        return "link(s) to nowhere"
    return unread_format(row.path.name)


def _check_files(source: Path, rows: list[_Row], boxes: list[str]) -> None:
    lines: dict[Path, int] = {}
    for row in rows:
        if row.path in lines:
            task = f", and there is a column '{boxes[0]}', so the task is taken for object detection" if boxes else ""
            raise DataError(
                f"Lines {lines[row.path]} and {row.line} of '{source}' name the same file '{row.path}'{task}: keep one."
            )
        lines[row.path] = row.line
    missing = [row for row in rows if not os.path.isfile(row.path) and not os.path.islink(row.path)]
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
