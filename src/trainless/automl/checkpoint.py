"""Checkpoint of a fit on disk, from which an interrupted one is resumed."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainless.files import write_file

__all__ = ["LOGS", "FitCheckpoint"]

LOGS = "tensorboard"
"""Name of the folder of logs for TensorBoard: ``training``, and ``trials`` with a run for each recipe."""

_FILE = "unfinished.pt"
_RECIPES = "unfinished.log"
_WRITE_SECONDS = 5.0


class FitCheckpoint:
    """Checkpoint of a fit: named values in a file of its folder, removed when the fit is finished.

    Args:
        folder: where; None keeps nothing.
        key: tells fits apart: values of another one are not taken.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FitCheckpoint(Path(folder), "a").keep(fraction=0.5)
        ...     FitCheckpoint(Path(folder), "a").values, FitCheckpoint(Path(folder), "b").values
        ({'fraction': 0.5}, {})
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path, self._key = None if folder is None else folder / _FILE, key
        self._written = -_WRITE_SECONDS
        self.values: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            found = torch.load(self._path, weights_only=True)
        except Exception:  # whatever PyTorch makes of a file that is not whole, or of another version
            return {}
        is_own = isinstance(found, Mapping) and found.get("key") == self._key
        return dict(found["values"]) if is_own else {}

    def keep(self, *, soon: bool = True, **values: Any) -> None:
        """Write values beside those that are there; not soon: at most once in some seconds.

        Raises:
            InputError: the file cannot be written; the one before stays.
        """
        self.values |= values
        if self._path is None or not (soon or time.monotonic() - self._written > _WRITE_SECONDS):
            return
        content = io.BytesIO()
        torch.save({"key": self._key, "values": self.values}, content)
        write_file(self._path, lambda partial: partial.write_bytes(content.getvalue()))
        self._written = time.monotonic()

    def logs(self, name: str) -> Path | None:
        """Give the folder of the logs of a stage; None where nothing is kept."""
        return None if self._path is None else self._path.parent / LOGS / name

    def journal(self) -> Path | None:
        """Give the file of the recipes that were tried so far, empty where it is another fit's."""
        if self._path is None:
            return None
        path = self._path.with_name(_RECIPES)
        if self.values.get("is_tuning") is None:
            path.unlink(missing_ok=True)
            self.keep(is_tuning=True)
        return path

    def finish(self) -> None:
        """Remove the files: there is nothing to go on with."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path.with_name(_RECIPES).unlink(missing_ok=True)
