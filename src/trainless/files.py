"""Files that are written whole or not at all, and names of files as text."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from trainless.errors import InputError

__all__ = ["printable", "read_state", "write_file", "write_text"]

T = TypeVar("T")


def write_file(path: Path, write: Callable[[Path], T], *, is_shared: bool = False) -> T:
    """Write a file so that there is either all of it or none; an earlier one stays until then.

    Args:
        path: the file.
        write: writes to the path that it is given, which has the same ending.
        is_shared: several processes may write it at once: the last one stays. What one that is killed had begun is then
            left there under a name of its own.

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
    own = f".{os.getpid()}-{secrets.token_hex(4)}" if is_shared else ""
    partial = path.with_name(f".{path.name}.partial").with_suffix(f"{own}.partial{path.suffix}")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            return write(path)  # a device or a pipe is written to, and never replaced by a file
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


def read_state(path: Path) -> dict[str, Any]:
    """Read tensors, numbers and plain containers by name, which ``torch.save`` wrote.

    Raises:
        InputError: the file is damaged. It stays as it is: to begin anew would overwrite what may be mended.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder, "a.pt"), lambda partial: torch.save({"epochs": 3}, partial))
        ...     read_state(Path(folder, "a.pt"))
        {'epochs': 3}
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch reads a file without a look at its checksums
            if broken := archive.testzip():
                raise ValueError(f"the checksum of {broken} is another")
        return dict(torch.load(path, weights_only=True))
    except Exception as error:  # whatever PyTorch makes of a file that is not whole, or of another version
        raise InputError(
            f"The state '{path}' cannot be read ({' '.join(str(error).split())[:200].rstrip('.')}): restore it from a "
            "copy, or move the file away to begin anew."
        ) from error


def printable(name: str) -> str:
    r"""Turn the name of a file into text that can be written as UTF-8: bytes that are none become ``\udc..``.

    Example:
        >>> import os
        >>> printable(os.fsdecode(b"caf\xe9.png"))
        'caf\\udce9.png'
    """
    return name.encode(errors="backslashreplace").decode()
