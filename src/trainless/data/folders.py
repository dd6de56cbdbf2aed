"""Folders of image files: one folder per class, alone or within train, valid and test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from trainless.data.file_lists import PART_NAMES, PARTS, FileList, check_known
from trainless.data.image_files import SUFFIXES, is_image_name
from trainless.errors import DataError

__all__ = ["list_image_folder"]


def list_image_folder(folder: Path, *, only_train: bool = False) -> FileList:
    """List a folder that has one folder of images per class: BMP, GIF, JPEG, PNG, TIFF or WebP files.

    Class names are the folder names, sorted. Files may lie deeper; what begins with a dot, has another suffix or
    lies beside the class folders is ignored. Where the folders are nothing but train and val, valid, validation or
    test, the class folders are those inside of them.

    Args:
        folder: where the class folders are.
        only_train: leave the other parts alone.

    Raises:
        DataError: there are fewer than 2 class folders, one is empty, the same as another or a link to what holds it,
            or has a name that is no UTF-8; or a part has a class that train lacks.
        OSError: the folder itself cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat", "train/dog", "test/dog"):
        ...         Path(folder, name).mkdir(parents=True)
        ...         Path(folder, name, "1.png").touch()
        ...     pets = list_image_folder(Path(folder))
        >>> pets.class_names, pets.labels.tolist(), pets.parts
        (('cat', 'dog'), [0, 1, 1], ('train', 'train', 'test'))
    """
    folders = _part_folders(folder)
    inside = {part: _subfolders(folders[part]) for part in PARTS if part in folders}
    if only_train:
        inside = {"train": inside["train"]}
    for part, class_folders in inside.items():
        _check_number(folders[part], class_folders, 2 if part == "train" else 1)
        _check_names(folders[part], class_folders)
    names = tuple(path.name for path in inside["train"])
    numbers = {name: number for number, name in enumerate(names)}
    files = [
        (path, part, class_folder.name)
        for part, class_folders in inside.items()
        for class_folder in class_folders
        for path in _image_files(class_folder)
    ]
    check_known({(name, part) for _, part, name in files}, names, str(folder))
    paths, parts, classes = zip(*files, strict=True)
    labels = np.array([numbers[name] for name in classes], np.int64)
    return FileList(folder.resolve().name, paths, labels, names, parts)


def _part_folders(folder: Path) -> dict[str, Path]:
    """The folder of each part that is there; a folder without parts is its own training part."""
    inside = _subfolders(folder)
    names = {path.name for path in inside}
    if "train" not in names or not names <= set(PART_NAMES):
        return {"train": folder}
    folders: dict[str, Path] = {}
    for path in inside:
        part = PART_NAMES[path.name]
        if part in folders:
            raise DataError(
                f"Folder '{folder}' holds both {folders[part].name} and {path.name}, which mean the same part: join "
                "them or remove one."
            )
        folders[part] = path
    return folders


def _check_number(folder: Path, class_folders: list[Path], least: int) -> None:
    if len(class_folders) < least:
        loose = sum(is_image_name(path.name) for path in folder.iterdir())
        raise DataError(
            f"Folder '{folder}' holds {len(class_folders)} class folder(s) and {loose} loose image(s), but at least "
            f"{least} classes are needed: put the images of each class into a folder of its own, such as "
            f"{folder.name}/cat/1.png and {folder.name}/dog/1.png."
        )


def _check_names(folder: Path, class_folders: list[Path]) -> None:
    """Refuse names that cannot be written down, and links by which images would be of several classes."""
    whole, seen = folder.resolve(), dict[Path, Path]()
    for path in class_folders:
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"The name of class folder {path.name!a} in '{folder}' is no UTF-8 text: rename it."
            ) from None
        target = path.resolve()
        if target in (whole, *whole.parents):
            raise DataError(f"Class folder '{path}' is a link to '{target}', which holds it: remove the link.")
        if target in seen:
            raise DataError(f"Class folders '{seen[target]}' and '{path}' are the same folder: remove the link.")
        seen[target] = path


def _subfolders(folder: Path) -> list[Path]:
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(inside, key=lambda path: path.name)  # paths themselves sort without case on Windows


def _image_files(class_folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(class_folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if is_image_name(name)]
    if not found:
        raise DataError(
            f"Class folder '{class_folder}' holds no images ({', '.join(sorted(SUFFIXES))}): add some or remove it."
        )
    return sorted(found, key=Path.as_posix)


def _refuse(error: OSError) -> NoReturn:
    raise DataError(
        f"Folder '{error.filename}' cannot be read ({error.strerror}): check its rights or remove it."
    ) from error
