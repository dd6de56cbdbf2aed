"""Folders of image files: one folder per class, alone, within parts such as train and test, or around such parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainless.data.csv_files import TABLE_SUFFIXES
from trainless.data.file_lists import FileList, case_remark, check_known, in_class_order
from trainless.data.image_formats import unread_format
from trainless.data.left_out import LeftOut, summary
from trainless.data.part_names import PARTS, named_parts, part_of_name
from trainless.data.walks import FolderWalk
from trainless.errors import DataError

__all__ = ["list_image_folder"]

_LOOSE = "image(s) beside the class folders"


class _Branch(NamedTuple):
    """A folder of images of one class and one part."""

    folder: Path
    part: str
    name: str


class _Layout(NamedTuple):
    """Where images are, and what is known of the rest.

    Args:
        tops: for each part, the folder that holds its class folders.
        branches: the folders of images.
        left_out: what is beside them.
        remarks: how the folder was understood where it could be otherwise.
    """

    tops: dict[str, Path]
    branches: list[_Branch]
    left_out: list[LeftOut]
    remarks: list[str]


def list_image_folder(folder: Path, *, only_train: bool = False) -> FileList:
    """List a folder that has one folder of images per class.

    Class names are the folder names, sorted, as numbers where all are numbers. Files may lie deeper. Where folders are
    called train, val, test or the like (`trainless.data.part_names`), the class folders are those inside of them, or
    the parts lie inside of every class folder. A folder that holds nothing but one other folder stands for that.

    What is no part of the data is left out and noted, as `trainless.data.walks.FolderWalk` does, and so are folders
    beside parts, images beside class folders, and class folders without images.

    Args:
        folder: where the class folders are.
        only_train: leave the other parts alone.

    Raises:
        DataError: there are fewer than 2 classes, or one has a name that is no UTF-8; it cannot be told which folders
            are parts and which are classes; there are parts but none to train on, one part twice, or a class that
            train lacks; or a folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Train/cat", "Train/dog", "eval/dog"):
        ...         Path(folder, name).mkdir(parents=True)
        ...         Path(folder, name, "1.png").touch()
        ...     pets = list_image_folder(Path(folder))
        >>> pets.class_names, pets.labels.tolist(), pets.parts
        (('cat', 'dog'), [0, 1, 1], ('train', 'train', 'test'))
    """
    walk = FolderWalk(folder)
    layout = _layout(walk)
    left_out, remarks, files = list(layout.left_out), list(layout.remarks), list[tuple[Path, _Branch]]()
    for branch in layout.branches:
        if branch.part == "train" or not only_train:
            inside = walk.below(branch.folder)
            files += [(path, branch) for path in inside.images]
            left_out += inside.left_out
            if not inside.images:
                left_out.append(walk.note(branch.folder, "class folder(s) without an image that is read"))
            if not inside.images and any(unread_format(path) for path, _ in inside.left_out):
                remarks.append(
                    f"Folder '{walk.name(branch.folder)}' holds images, but none of a format that is read, so it is "
                    "no class: see what is left out."
                )
    for part, top in layout.tops.items():
        if part == "train" or not only_train:
            _check_number(walk, top, len({branch.name for _, branch in files if branch.part == part}), part, left_out)
    names = in_class_order(branch.name for _, branch in files if branch.part == "train")
    _check_names(folder, names)
    check_known({(branch.name, branch.part) for _, branch in files}, names, str(folder))
    numbers = {name: number for number, name in enumerate(names)}
    return FileList(
        folder.resolve().name,
        tuple(path for path, _ in files),
        np.array([numbers[branch.name] for _, branch in files], np.int64),
        names,
        tuple(branch.part for _, branch in files),
        tuple(left_out),
        (*remarks, *case_remark(names)),
    )


def _layout(walk: FolderWalk) -> _Layout:
    layout = _Layout({}, [], [], [])
    top = _enter(walk, walk.root, layout)
    folders = walk.look(top).folders
    parts = _part_folders(walk, top, folders)
    if parts:
        layout.left_out.extend(walk.note(path, "image(s) beside the parts") for path in walk.look(top).images)
        for other in folders:
            if other not in parts.values():
                images = len(walk.below(other).images)
                layout.left_out.append(walk.note(other, "folder(s) beside the parts", f" ({images:,} image(s))"))
        for part, folder in parts.items():
            layout.tops[part] = _enter(walk, folder, layout)
            _add_classes(walk, part, layout)
        return layout
    layout.tops["train"] = top
    _add_classes(walk, "train", layout)
    for name in named_parts(folder.name for folder in folders):
        layout.remarks.append(
            f"Folder '{name}' is named like a part of the data, but holds no class folders, so it is taken for a class."
        )
    layout = _with_parts_inside(walk, layout)
    layout.remarks.extend(_alike_inside(walk, layout))
    return layout


def _alike_inside(walk: FolderWalk, layout: _Layout) -> Iterator[str]:
    """What is to be said where the classes may be those within, and the folders around them parts."""
    within: dict[str, set[str]] = {}
    for branch in layout.branches:
        inside = walk.look(branch.folder)
        if branch.folder.name == branch.name and not inside.images:
            within[branch.name] = {folder.name for folder in inside.folders if walk.below(folder).images}
    shared = set.intersection(*within.values()) if 1 < len(within) == len(layout.branches) else set()
    if len(shared) > 1:
        names = ", ".join(map(repr, sorted(shared)[:3]))
        yield (
            f"{', '.join(map(repr, sorted(within)[:3]))} are taken for the classes, and each of them holds {names}: if "
            "those are the classes, call the folders around them train, valid and test."
        )


def _enter(walk: FolderWalk, folder: Path, layout: _Layout) -> Path:
    """Go down where a folder holds nothing but one other folder, up to the one that holds several or parts."""
    top, passed = folder, list[LeftOut]()
    while True:
        inside = walk.look(top)
        passed += inside.left_out
        if inside.images or len(inside.folders) != 1 or part_of_name(inside.folders[0].name):
            break
        (top,) = inside.folders
    if top != folder and (inside.images or not inside.folders):  # a single class
        top, passed = folder, list(walk.look(folder).left_out)
    layout.left_out.extend(passed)
    if top != folder:
        layout.remarks.append(f"The classes were looked for in '{walk.name(top)}', the only folder that is there.")
    return top


def _part_folders(walk: FolderWalk, top: Path, folders: tuple[Path, ...]) -> dict[str, Path]:
    """The folder of each part; none where folders are classes, or are named like parts and hold images right inside."""
    named = named_parts(folder.name for folder in folders)
    found = {folder: named[folder.name] for folder in folders if folder.name in named}
    others = [folder for folder in folders if folder not in found]
    kinds = set(found.values())
    if len(kinds) == 1 and (others or kinds != {"train"}):  # the name may be that of a class
        if not any(_holds_classes(walk, folder) for folder in found):
            return {}
        with_images = [folder.name for folder in others if walk.below(folder).images]
        if with_images:
            (name, *_) = (folder.name for folder in found)
            raise DataError(
                f"Folder '{top}' holds '{name}', which is named and built like a part of the data, beside "
                f"{', '.join(map(repr, with_images[:3]))}{', ...' if with_images[3:] else ''}, which hold images too: "
                f"put all that is to be trained on into a folder 'train', move away what is not, or rename '{name}' if "
                "it is a class."
            )
    if kinds and "train" not in kinds:
        raise DataError(
            f"Folder '{top}' holds parts of the data ({', '.join(sorted(named))}), but none to train on: call one of "
            "them 'train', or rename them if they are classes."
        )
    parts: dict[str, Path] = {}
    for folder, part in found.items():
        if part in parts:
            raise DataError(
                f"Folder '{top}' holds both {parts[part].name} and {folder.name}, which mean the same part: join them "
                "or remove one."
            )
        parts[part] = folder
    return {part: parts[part] for part in PARTS if part in parts}


def _holds_classes(walk: FolderWalk, folder: Path) -> bool:
    """Whether a folder is built like a part: several folders of images, and no image beside them."""
    inside = walk.look(folder)
    return not inside.images and sum(bool(walk.below(inner).images) for inner in inside.folders) > 1


def _add_classes(walk: FolderWalk, part: str, layout: _Layout) -> None:
    """Add the class folders of a part, whose own top was looked at before."""
    inside = walk.look(layout.tops[part])
    layout.branches.extend(_Branch(path, part, path.name) for path in inside.folders)
    layout.left_out.extend(walk.note(path, _LOOSE) for path in inside.images)


def _with_parts_inside(walk: FolderWalk, layout: _Layout) -> _Layout:
    """Take the parts that are in every class folder; the layout as it is where none holds any."""
    classes = [branch for branch in layout.branches if walk.below(branch.folder).images]
    inside = {branch: parts for branch in classes if (parts := _parts_of_class(walk, branch.folder))}
    if not inside:
        return layout
    if len(inside) < len(classes):
        without = next(branch for branch in classes if branch not in inside)
        raise DataError(
            f"Class folder '{next(iter(inside)).folder}' holds parts of the data, but '{without.folder}' does not: "
            "give all classes such folders, or none."
        )
    branches = [branch for branch in layout.branches if branch not in inside]  # without images, as is to be said
    for branch, parts in inside.items():
        contents = walk.look(branch.folder)
        branches += [_Branch(folder, part, branch.name) for part, folder in parts.items()]
        beside = [path for path in contents.folders if path not in parts.values()] + list(contents.images)
        layout.left_out.extend(contents.left_out)
        layout.left_out.extend(walk.note(path, "file(s) or folder(s) beside the parts of a class") for path in beside)
    return layout._replace(branches=sorted(branches, key=lambda branch: PARTS.index(branch.part)))


def _parts_of_class(walk: FolderWalk, folder: Path) -> dict[str, Path]:
    """The parts within a class folder: some to train on and others."""
    folders = walk.look(folder).folders
    kinds = set(named_parts(path.name for path in folders).values())
    return _part_folders(walk, folder, folders) if "train" in kinds and len(kinds) > 1 else {}


def _check_number(walk: FolderWalk, top: Path, classes: int, part: str, left_out: list[LeftOut]) -> None:
    least, loose = 2 if part == "train" else 1, len(walk.look(top).images)
    if part != "train" and not classes and not loose:
        left_out.append(walk.note(top, "part(s) without images"))
    elif classes < least:
        others = [note for note in left_out if note.reason != _LOOSE]
        besides = f" (left out: {summary(others)})" if others else ""
        tables = [path.name for path in top.iterdir() if path.suffix.lower() in TABLE_SUFFIXES]
        or_table = f", or give the table '{min(tables)}' if it tells of them" if tables else ""
        or_move = "" if part == "train" else ", or move them away if it is not known of what class they are"
        needed = "1 class is" if least == 1 else f"{least} classes are"
        raise DataError(
            f"Folder '{top}' holds {classes} class folder(s) and {loose} loose image(s){besides}, but at least "
            f"{needed} needed: put the images of each class into a folder of its own, such as {top.name}/cat/1.png and "
            f"{top.name}/dog/1.png{or_table}{or_move}."
        )


def _check_names(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse names that cannot be written down."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"The name of class folder {name!a} in '{folder}' is no UTF-8 text: rename it.") from None
