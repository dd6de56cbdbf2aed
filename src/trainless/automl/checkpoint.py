"""Checkpoint of a fit on disk, from which an interrupted one is resumed."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from trainless.errors import InputError
from trainless.files import read_state, write_file

__all__ = ["LOGS", "UNFINISHED", "FitCheckpoint"]

LOGS = "tensorboard"
"""Name of the folder of logs for TensorBoard: ``training``, and ``trials`` with a run for each recipe."""

UNFINISHED = "unfinished.pt"
"""Name of the file of a fit that is not finished."""

_FINISHED = "finished.pt"
_RECIPES = "unfinished.log"
_WRITE_SECONDS = 5.0


class FitCheckpoint:
    """Checkpoint of a fit: named values in a file of its folder, under another name once the fit is finished.

    Args:
        folder: where; None keeps nothing.
        key: tells fits apart: values of another one are not taken.
        settings: what decides a fit besides its time, by name.
        go_on: take the values of a fit of the same settings, whatever its time was and whether it is finished or not.

    Raises:
        InputError: the file is damaged; or there is nothing to go on with, or its settings are others.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FitCheckpoint(Path(folder), "a").keep(fraction=0.5)
        ...     FitCheckpoint(Path(folder), "a").values, FitCheckpoint(Path(folder), "b").values
        ({'fraction': 0.5}, {})
    """

    def __init__(
        self, folder: Path | None, key: str, settings: Mapping[str, str] = MappingProxyType({}), *, go_on: bool = False
    ) -> None:
        self._path, self._key, self._settings = None if folder is None else folder / UNFINISHED, key, dict(settings)
        self._written = -_WRITE_SECONDS
        self.goes_on = go_on
        self.values: dict[str, Any] = self._earlier() if go_on else self._own()

    def _own(self) -> dict[str, Any]:
        found = _read(self._path)
        return dict(found["values"]) if found.get("key") == self._key else {}

    def _earlier(self) -> dict[str, Any]:
        path = self._path
        found = {} if path is None else _read(path) or _read(path.with_name(_FINISHED))
        if not found:
            where = "" if path is None else f" in {path.parent}"
            raise InputError(f"There is no fit{where} to go on with: leave out --continue (go_on in Python).")
        before = found.get("settings", {})
        if differ := [name for name in self._settings if before.get(name, "") != self._settings[name]]:
            raise InputError(
                f"The fit to go on with has other {', '.join(differ)}: give the same images and options as before, "
                "but for the time, or leave out --continue (go_on in Python)."
            )
        return {name: value for name, value in found["values"].items() if name != "elapsed"}

    def keep(self, *, soon: bool = True, **values: Any) -> None:
        """Write values beside those that are there; not soon: at most once in some seconds.

        Raises:
            InputError: the file cannot be written; the one before stays.
        """
        self.values |= values
        if self._path is None or not (soon or time.monotonic() - self._written > _WRITE_SECONDS):
            return
        content = io.BytesIO()
        torch.save({"key": self._key, "settings": self._settings, "values": self.values}, content)
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
        """Put the values by: the same fit begins anew, but one of more time may go on with them."""
        if self._path is not None:
            if self._path.exists():
                self._path.replace(self._path.with_name(_FINISHED))
            self._path.with_name(_RECIPES).unlink(missing_ok=True)


def _read(path: Path | None) -> Mapping[str, Any]:
    """What a file holds; nothing where it is not there."""
    return {} if path is None or not path.exists() else read_state(path)
