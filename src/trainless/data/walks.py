"""What is in a folder of images and below it, in one order on every disk, and what of it is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trainless.data.image_formats import is_hidden_image, is_image_name, unread_format
from trainless.data.left_out import LeftOut
from trainless.errors import DataError

__all__ = ["Contents", "FolderWalk"]

# What systems put beside the files of people: archives of macOS, network storage of Synology and QNAP, Windows, Linux.
_SYSTEM = frozenset({
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin",
    "system volume information", "lost+found", "__pycache__",
})  # fmt: skip


class Contents(NamedTuple):
    """Folders and images, each sorted by name, and what is left out.

    Args:
        folders: folders right inside.
        images: image files.
        left_out: what is neither and was meant to be, or what systems have put there.
    """

    folders: tuple[Path, ...]
    images: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


class FolderWalk:
    """Looks into folders of one data set.

    Hidden folders, system folders, links to nowhere, images of formats that are not read, and links that lead outside
    of the data set are left out, the last unless it holds no image of its own but such links alone: then it is a
    collection of links, which is meant so.

    Args:
        root: the folder of the data set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "__MACOSX"):
        ...         Path(folder, name).mkdir()
        ...     walk = FolderWalk(Path(folder))
        ...     inside = walk.look(Path(folder))
        >>> [path.name for path in inside.folders], inside.left_out
        (['cat'], (LeftOut(path='__MACOSX', reason='system folder(s)'),))
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = Path(os.path.realpath(root))
        self._seen = dict[Path, Contents]()

    def look(self, folder: Path) -> Contents:
        """Tell what is right inside of a folder.

        Raises:
            DataError: it cannot be read.
        """
        if folder not in self._seen:
            self._seen[folder] = self._look(folder)
        return self._seen[folder]

    def below(self, folder: Path) -> Contents:
        """Tell which images are in a folder, at any depth, and which folders are right inside; links are not entered.

        Raises:
            DataError: a folder cannot be read.
        """
        inside = self.look(folder)
        images, left_out = list(inside.images), list(inside.left_out)
        for inner in inside.folders:
            if inner.is_symlink():
                left_out.append(self.note(inner, "link(s) to a folder, within a class"))
                continue
            deeper = self.below(inner)
            images += deeper.images
            left_out += deeper.left_out
        return Contents(inside.folders, tuple(sorted(images, key=Path.as_posix)), tuple(left_out))

    def note(self, path: Path, reason: str, more: str = "") -> LeftOut:
        """Note a path as it is below the root, and maybe more of it."""
        return LeftOut(self.name(path) + more, reason)

    def name(self, path: Path) -> str:
        """Name a path as it is below the root."""
        return path.relative_to(self.root).as_posix()

    def _look(self, folder: Path) -> Contents:
        folders, images, left_out = list[Path](), list[Path](), list[LeftOut]()
        for entry in _entries(folder):
            path = folder / entry.name
            if reason := self._reason(entry):
                left_out.append(self.note(path, reason))
            elif _is_folder(entry):
                folders.append(path)
            elif is_image_name(entry.name) and entry.is_file():
                images.append(path)
        for path in _repeated(folder, folders):
            folders.remove(path)
            left_out.append(self.note(path, "link(s) to a folder that is there already"))
        return Contents(tuple(folders), tuple(images), tuple(left_out))

    def _reason(self, entry: os.DirEntry[str]) -> str | None:
        """Why something is left out; None of what is not, and of files that are no images."""
        is_folder = _is_folder(entry)
        if is_folder and entry.name.startswith("."):
            return "hidden folder(s)"
        if is_folder and entry.name.casefold() in _SYSTEM:
            return "system folder(s)"
        if is_hidden_image(entry.name):
            return "hidden image(s)"
        if entry.is_symlink() and not os.path.exists(entry.path):
            return "link(s) to nowhere"
        if is_folder or is_image_name(entry.name):
            outside = entry.is_symlink() and self._leads_outside(entry.path) and not self._is_collection_of_links
            return "link(s) that lead outside of the folder" if outside else None
        return unread_format(entry.name)

    def _leads_outside(self, path: str) -> bool:
        return not Path(os.path.realpath(path)).is_relative_to(self._real_root)

    @cached_property
    def _is_collection_of_links(self) -> bool:
        return not _has_images(self.root)


def _repeated(folder: Path, inside: Iterable[Path]) -> list[Path]:
    """Links to a folder that holds them, or that is, holds or is held by another one inside."""
    links = [path for path in inside if path.is_symlink()]
    taken = [Path(os.path.realpath(path)) for path in inside if path not in links] if links else []
    repeated = []
    for path in links:
        real = Path(os.path.realpath(path))
        around = Path(os.path.realpath(folder)).is_relative_to(real)
        if around or any(real.is_relative_to(other) or other.is_relative_to(real) for other in taken):
            repeated.append(path)
        else:
            taken.append(real)
    return repeated


def _has_images(folder: Path) -> bool:
    """Whether there is an image that is no link, at any depth."""
    entries = [entry for entry in _entries(folder) if not entry.name.startswith(".") and not entry.is_symlink()]
    if any(is_image_name(entry.name) and entry.is_file() for entry in entries):
        return True
    inner = [entry for entry in entries if entry.is_dir() and entry.name.casefold() not in _SYSTEM]
    return any(_has_images(folder / entry.name) for entry in inner)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # which raises where links go in circles


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"Folder '{folder}' cannot be read ({error.strerror or error}): check its rights or remove it."
        ) from error
