"""Finished searches of a replay in a file, so that one that was cut short goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from trainless.errors import InputError

__all__ = ["Checkpoint", "Outcome"]

_HEADER = b'{"trainless": "replay", "format": 1}\n'


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of one search.

    Args:
        curve: accuracy in percent of the choice after 1, 2, ... evaluations, shape ``(evaluations,)``; NaN where
            nothing had a finite score yet.
        evaluations: architectures that were scored.
        run_off: accuracy in percent of what the run-off chose; NaN without one.
        took: seconds spent in the search itself.
    """

    curve: npt.NDArray[np.float64]
    evaluations: int
    run_off: float
    took: float


class Checkpoint:
    """A file with one line of JSON for each finished search, under a key that holds all that decides the search.

    A line is written as a whole as soon as its search ends; one that a kill left unfinished is cut off.

    Args:
        path: the file, made where there is none; None keeps nothing.

    Attributes:
        found: the searches that the file held, by key.

    Raises:
        InputError: the file is none of these, or cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "replay.jsonl"
        ...     with Checkpoint(path).writing() as kept:
        ...         kept.add("random 0", Outcome(np.array([94.0]), 1, 94.0, 0.01))
        ...     Checkpoint(path).found["random 0"].curve
        array([94.])
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.found: dict[str, Outcome] = {}
        self._length = 0  # of the finished lines, in bytes
        self._file: IO[bytes] | None = None
        if self.path is not None:
            self._read(self.path)

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes() if os.path.exists(path) else b""
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
        if _HEADER.startswith(content):  # new, or cut short at once
            return
        if not content.startswith(_HEADER):
            raise InputError(f"{path} holds no searches of a replay: give the file of one, or a new one.")
        self._length = content.rindex(b"\n") + 1
        for line in content[len(_HEADER) : self._length].splitlines():
            try:
                row = json.loads(line)
                self.found[row["key"]] = Outcome(
                    np.array(row["curve"], float), int(row["evaluations"]), float(row["run_off"]), float(row["took"])
                )
            except (KeyError, TypeError, ValueError, OverflowError, RecursionError):  # damaged: it is searched again
                continue

    @contextmanager
    def writing(self) -> Iterator[Checkpoint]:
        """Open the file for `add` and close it.

        Raises:
            InputError: it cannot be written.
        """
        if self.path is None:
            yield self
            return
        try:
            self.path.touch()
            opened = self.path.open("r+b", buffering=0)  # what is written is in the file at once
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        with opened as self._file:
            opened.truncate(self._length)
            opened.seek(self._length)
            if not self._length:
                opened.write(_HEADER)
            yield self
        self._file = None

    def add(self, key: str, outcome: Outcome) -> None:
        """Keep a finished search.

        Raises:
            InputError: it cannot be written.
        """
        if self._file is None:
            return
        row: Mapping[str, object] = {"key": key, **asdict(outcome), "curve": outcome.curve.tolist()}
        try:
            self._file.write(json.dumps(row).encode() + b"\n")
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror or error}.") from error
