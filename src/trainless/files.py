"""Files that are written whole or not at all, and names of files as text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from trainless.errors import InputError

__all__ = ["printable", "write_file", "write_text"]

T = TypeVar("T")


def write_file(path: Path, write: Callable[[Path], T]) -> T:
    """Write a file so that there is either all of it or none; an earlier one stays until then.

    Args:
        path: the file.
        write: writes to the path that it is given, which has the same ending.

    Returns:
        What `write` gives.

    Raises:
        InputError: it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder, "a.txt"), lambda partial: partial.write_text("whole"))
        5
    """
    if not path.name:
        raise InputError(f"{path} cannot be written: it is a folder, give a file in it.")
    # The ending decides the format for some writers.
    partial = path.with_name(f".{path.name}.partial").with_suffix(f".partial{path.suffix}")
    try:
        result = write(partial)
        partial.replace(path)
    except InputError:
        raise
    except (OSError, ImportError, ValueError) as error:  # the last two where an ending asks for what is not there
        raise InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return result


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 so that there is either all of it or none.

    Raises:
        InputError: it cannot be written.
    """
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def printable(name: str) -> str:
    r"""Turn the name of a file into text that can be written as UTF-8: bytes that are none become ``\udc..``.

    Example:
        >>> import os
        >>> printable(os.fsdecode(b"caf\xe9.png"))
        'caf\\udce9.png'
    """
    return name.encode(errors="backslashreplace").decode()
