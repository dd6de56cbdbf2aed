"""The two folders that the page may touch: where data are read, and where runs are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainless.costs import COSTS
from trainless.data.cifar import is_cifar_folder
from trainless.data.csv_files import TABLE_SUFFIXES
from trainless.data.file_lists import FileList
from trainless.data.image_formats import is_image_name
from trainless.data.loading import open_source
from trainless.data.part_names import named_parts
from trainless.errors import DataError, InputError

__all__ = ["FILES", "RunSummary", "Workspace", "check_source"]

FILES = {
    "report.html": "text/html; charset=utf-8",
    "report.png": "image/png",
    "model.onnx": "application/octet-stream",
    "model.safetensors": "application/octet-stream",
    "network.py": "text/x-python; charset=utf-8",
    "predict.py": "text/x-python; charset=utf-8",
    "preprocessing.json": "application/json",
    "model_card.md": "text/markdown; charset=utf-8",
    "fit.json": "application/json",
}
"""What is served of a run, with its type."""

FACTS = "fit.json"
FORM = "order.json"  # the name that runs of earlier versions have
_UPLOADS = "uploads"
_DEPTH = 3
_MOST_FOLDERS = 3000  # looked into for data
_MOST_FOUND = 300
_ITSELF = "."


@dataclass(frozen=True)
class RunSummary:
    """A run in the folder of runs.

    Args:
        name: of its folder; ``.`` is the folder of runs itself.
        when: when it was last written, in seconds since 1970.
        facts: its ``fit.json``; empty where it is not finished.
        form: what it was started with from this page; empty where it was not.
    """

    name: str
    when: float
    facts: Mapping[str, Any]
    form: Mapping[str, Any]


@dataclass(frozen=True)
class Workspace:
    """The folders of data and of runs, and all that is asked of them.

    Args:
        data: nothing outside of it is read, but what was uploaded.
        out: nothing outside of it is written.

    Example:
        >>> workspace = Workspace(Path("photos"), Path("runs"))
        >>> workspace.source("digits")
        'digits'
        >>> workspace.source("data:../secrets")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: '../secrets' is not beneath the folder 'photos', which this page may read.
    """

    data: Path
    out: Path

    # Data.

    @property
    def uploads(self) -> Path:
        """Where uploads are unpacked."""
        return self.out / _UPLOADS

    def source(self, name: str) -> str | Path:
        """Give the data set of a name: ``digits``, or ``data:`` or ``upload:`` and a path beneath that folder.

        Raises:
            InputError: it is not there or lies elsewhere, links followed.
        """
        if name == "digits":
            return name
        kind, _, rest = name.partition(":")
        root = {"data": self.data, "upload": self.uploads}.get(kind)
        if root is None:
            raise InputError(f"'{name}' names no data: choose some.")
        path = _beneath(root, rest)
        if not path.exists():
            raise InputError(f"There is no '{rest}' in '{root}': choose something that is there.")
        return path

    def root(self, name: str) -> Path:
        """Give the folder that no image of a data set may lie outside of."""
        return self.uploads if name.startswith("upload:") else self.data

    def upload_name(self, path: Path) -> str:
        """Give the name of what was unpacked."""
        return f"upload:{path.relative_to(self.uploads).as_posix()}"

    def found(self) -> dict[str, str]:
        """List what looks like data, name by name with what to call it; there may be more further down."""
        named = {"digits": "digits: 1,797 handwritten digits, comes with trainless"}
        for kind, root in (("data", self.data), ("upload", self.uploads)):
            for path in _data_sets(root):
                rest = path.relative_to(root).as_posix()
                shown = root.resolve().name if rest == "." else rest
                named[f"{kind}:{rest}"] = f"{shown} (uploaded)" if kind == "upload" else shown
        return named

    # Runs.

    def new_run(self, name: str) -> Path:
        """Make a folder for a run on some data."""
        stem = name.partition(":")[2] or name
        stem = self.data.resolve().name if stem == "." else Path(stem).stem
        stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem).strip("-")[:60]
        number = 1
        while True:
            folder = self.out / f"{stem or 'run'}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise InputError(
                    f"The folder '{folder}' cannot be made ({error.strerror}): choose another --out."
                ) from error
            else:
                return folder

    def run(self, name: str) -> Path:
        """Give the folder of a run.

        Raises:
            InputError: there is none of this name here.
        """
        folder = _beneath(self.out, name)
        if len(Path(name).parts) > 1 or not folder.is_dir():
            raise InputError(f"There is no run '{name}' in '{self.out}'.")
        return folder

    def runs(self) -> list[RunSummary]:
        """List the runs, finished or not, the latest first."""
        if not self.out.is_dir():
            return []
        folders = [self.out, *(path for path in self.out.iterdir() if path.is_dir() and path.name != _UPLOADS)]
        found = [summary for folder in folders if _is_beneath(folder, self.out) and (summary := self._summary(folder))]
        return sorted(found, key=lambda summary: -summary.when)

    def summary(self, name: str) -> RunSummary:
        """Read one run.

        Raises:
            InputError: it is none.
        """
        if found := self._summary(self.run(name)):
            return found
        raise InputError(f"'{name}' in '{self.out}' is no folder that a fit wrote.")

    def file(self, run: str, name: str) -> Path:
        """Give a file of a run that may be served, one of `FILES`.

        Raises:
            InputError: it is none, not there, or leads elsewhere.
        """
        path = _beneath(self.run(run), name)
        if name not in FILES or not path.is_file():
            raise InputError(f"The run '{run}' has no '{name}'.")
        return path

    def _summary(self, folder: Path) -> RunSummary | None:
        name = _ITSELF if folder == self.out else folder.name
        documents = {}
        for file in (FACTS, FORM):
            try:
                text = _beneath(folder, file).read_text(encoding="utf-8")
                documents[file] = json.loads(text)
                when = (folder / file).stat().st_mtime
            except (OSError, ValueError, RecursionError):  # InputError is a ValueError
                continue
        documents = {file: document for file, document in documents.items() if isinstance(document, dict)}
        if not documents or not _is_sound(documents.get(FACTS)):
            return None
        return RunSummary(name, when, documents.get(FACTS, {}), documents.get(FORM, {}))


def check_source(source: str | Path, root: Path) -> None:
    """Refuse data of which a file lies outside a folder: named so by a table, or linked.

    Raises:
        DataError: there is such a file.
    """
    if isinstance(source, str):
        return
    is_list = source.suffix.lower() in TABLE_SUFFIXES or (source.is_dir() and not is_cifar_folder(source))
    # Links that lead out of a list of images are left out of it, unless it consists of nothing else.
    inside = list(source.iterdir()) if source.is_dir() and not is_list else [source]
    _check_inside(inside, root, source)
    found = open_source(source) if is_list else None
    if isinstance(found, FileList):
        _check_inside(found.paths, root, source)


def _check_inside(paths: list[Path] | tuple[Path, ...], root: Path, source: Path) -> None:
    whole = os.path.realpath(root)
    for path in paths:
        if os.path.commonpath([whole, os.path.realpath(path)]) != whole:
            raise DataError(
                f"'{path}' of '{source.name}' lies outside the folder '{root}', which is all that this page may read: "
                "copy it there, or start `trainless ui` with another --data."
            )


def _beneath(root: Path, rest: str) -> Path:
    """A path below a folder, with links followed."""
    try:
        whole, path = root.resolve(), (root / rest).resolve()
        if path.is_relative_to(whole):
            return root / os.path.normpath(rest)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links in a circle
        pass
    raise InputError(f"'{rest}' is not beneath the folder '{root}', which this page may read.")


def _is_beneath(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _is_sound(facts: Mapping[str, Any] | None) -> bool:
    """Whether the facts of a run, where there are any, have what is shown of them."""
    if facts is None:
        return True
    numbers = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_images", "seconds")
    costs = [cost.column for cost in COSTS.values() if cost.column in facts]
    lists = ("classes", "input_shape", "notes")
    return all(isinstance(facts.get(name), int | float) for name in (*numbers, *costs)) and all(
        isinstance(facts.get(name), list) for name in lists
    )


def _data_sets(root: Path) -> Iterator[Path]:
    """What looks like data in a folder, itself included; links to folders are not followed."""
    found = 0
    for number, (parent, folders, names) in enumerate(os.walk(root)):
        here = Path(parent)
        if number > _MOST_FOLDERS or found > _MOST_FOUND:
            return
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        is_whole = _is_data_folder(here, folders, names)
        if is_whole or len(here.relative_to(root).parts) >= _DEPTH:
            folders.clear()
        files = [here / name for name in sorted(names) if name.lower().endswith((*TABLE_SUFFIXES, ".npz"))]
        for path in [*([here] if is_whole else []), *files]:
            found += 1
            yield path


def _is_data_folder(here: Path, folders: list[str], names: list[str]) -> bool:
    if "train" in named_parts(folders).values():
        return True
    if any(name.startswith(("data_batch_1", "train")) and name.endswith((".bin", "_1", "train")) for name in names):
        return is_cifar_folder(here)
    with_images = 0
    for name in folders[:20]:
        with_images += _has_image(here / name)
        if with_images == 2:
            return True
    return False


def _has_image(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(is_image_name(entry.name) for _, entry in zip(range(50), entries, strict=False))
    except OSError:
        return False
