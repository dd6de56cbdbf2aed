"""Files that others give: what is at a path, JSON, numbers in text; what is wrong with them is one sentence."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

from trainless.errors import TableError

__all__ = ["contents", "exists", "is_file", "is_folder", "number", "read_json", "reason", "shown", "whole_numbers"]

_LIMIT = 256 << 20  # bytes of a JSON file; the largest of the public ones has 4 MiB
_LENGTH = 80  # of a quotation
_PATH_LENGTH = 200
_WHOLE_NUMBERS = re.compile(r"[(\[][0-9]{1,3}(, ?[0-9]{1,3}){0,99}[)\]]")


def exists(path: Path) -> bool:
    """Tell whether there is anything at a path.

    Raises:
        TableError: the path cannot be looked up.
    """
    return _mode(path) != 0


def is_file(path: Path) -> bool:
    """Tell whether there is a file at a path.

    Raises:
        TableError: the path cannot be looked up.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder at a path.

    Raises:
        TableError: the path cannot be looked up.
    """
    return stat.S_ISDIR(_mode(path))


def contents(folder: Path) -> list[Path]:
    """List what is in a folder.

    Raises:
        TableError: there is no such folder, or it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except (OSError, ValueError) as error:
        raise _not_looked_up(folder, error) from error


def _mode(path: Path) -> int:
    """What kind of thing is at a path; 0 where there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as error:
        raise _not_looked_up(path, error) from error


def _not_looked_up(path: Path, error: Exception) -> TableError:
    return TableError(
        f"'{shown(path, _PATH_LENGTH)}' cannot be looked up ({reason(error)}): change the rights or give another path."
    )


def read_json(path: Path) -> Any:
    """Read a JSON file of at most 256 MiB.

    Raises:
        TableError: there is no such file, or it is too large, damaged or nested too deep.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise ValueError(f"it has more than {_LIMIT >> 20} MiB")
        return json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"'{path}' cannot be read as JSON ({reason(error)}): fetch the public file again.") from error


def number(value: object) -> float:
    """Take a value of a JSON file as a number.

    Raises:
        ValueError: it is none, or beyond all floats; the message is part of a sentence about the file.

    Example:
        >>> number(3), number(float("-inf"))
        (3.0, -inf)
    """
    if type(value) not in (int, float):
        raise ValueError(f"{shown(value)} stands where a number must")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise ValueError("it holds a number beyond all floats") from error


def whole_numbers(text: str) -> list[int]:
    """Read a tuple or list of up to a hundred numbers of up to three digits from text.

    Raises:
        ValueError: the text is none.

    Example:
        >>> whole_numbers("(4, 0, 3)")
        [4, 0, 3]
    """
    if not _WHOLE_NUMBERS.fullmatch(text):
        raise ValueError("no tuple of whole numbers")
    return [int(digits) for digits in re.findall("[0-9]+", text)]


def reason(error: Exception) -> str:
    """Put what an exception says into a few words on one line.

    Example:
        >>> reason(KeyError("score")), reason(FileNotFoundError(2, "No such file or directory"))
        ("it lacks 'score'", 'No such file or directory')
    """
    if isinstance(error, KeyError):
        return shown(f"it lacks {error}", _PATH_LENGTH)
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return shown(said, _PATH_LENGTH) or type(error).__name__


def shown(value: object, length: int = _LENGTH) -> str:
    """Put a value into text that can be printed, cut to a length.

    Example:
        >>> shown("1" * 100, 10), shown("two\\nlines")
        ('1111111...', 'two?lines')
    """
    text = str(value)
    cut = text if len(text) <= length else f"{text[: length - 3]}..."
    return "".join(character if character.isprintable() else "?" for character in cut)
