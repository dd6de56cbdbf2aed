"""Archives of images that somebody uploads, unpacked so that nothing lands elsewhere and no disk is filled."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from trainless.data.csv_files import TABLE_SUFFIXES
from trainless.data.image_formats import is_image_name, unread_format
from trainless.errors import DataError

__all__ = ["Allowance", "unpack"]

_CHUNK = 2**20
_LONGEST = 200  # letters of one name of a path


@dataclass(frozen=True)
class Allowance:
    """The most that an archive may hold.

    Args:
        packed: bytes of the archive.
        unpacked: bytes of all its files.
        files: their number.

    Example:
        >>> Allowance().files
        100000
    """

    packed: int = 512 * 2**20
    unpacked: int = 2 * 2**30
    files: int = 100_000


def unpack(archive: Path | IO[bytes], name: str, folder: Path, allowance: Allowance | None = None) -> Path:
    """Unpack the images and tables of a zip archive into a new folder.

    Other files are left out, so that nothing which could be run comes with them. The result is the folder that holds
    all, or the table where it holds a single CSV file.

    Args:
        archive: the file.
        name: what it is called; names the new folder.
        folder: where that is made; itself made if it is not there.
        allowance: the most that it may hold.

    Returns:
        The folder or the table.

    Raises:
        DataError: it is no zip archive, is damaged or encrypted, holds too much, a link or a path that leaves it, or
            no images. Nothing is left of it then.

    Example:
        >>> with tempfile.TemporaryDirectory() as there:
        ...     with zipfile.ZipFile(Path(there, "pets.zip"), "w") as pets:
        ...         pets.writestr("pets/cat/1.png", b"...")
        ...     unpack(Path(there, "pets.zip"), "pets.zip", Path(there)).relative_to(there).as_posix()
        'pets/pets'
    """
    allowed = allowance or Allowance()
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
    try:
        with zipfile.ZipFile(archive) as opened:
            _extract(opened, name, partial, allowed)
        target = _free(folder, name)
        partial.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"'{name}' cannot be unpacked ({error}): give a zip archive of image files.") from error
    except OSError as error:
        raise DataError(f"'{name}' cannot be unpacked ({error.strerror or error}): is there room for it?") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _inner(target)


def _extract(opened: zipfile.ZipFile, name: str, target: Path, allowed: Allowance) -> None:
    entries = opened.infolist()
    if len(entries) > allowed.files:
        raise DataError(f"'{name}' holds {len(entries):,} files, but at most {allowed.files:,} are taken: give fewer.")
    announced = sum(entry.file_size for entry in entries)
    if announced > allowed.unpacked:
        raise _overflow(name, allowed)
    wanted = [(entry, path) for entry in entries if (path := _relative_path(entry, name)) is not None]
    if not any(is_image_name(path.name) for _, path in wanted):
        raise DataError(f"'{name}' holds no images: give a zip archive with one folder of image files per class.")
    left = allowed.unpacked
    for entry, path in wanted:
        file = target.joinpath(*path.parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        left -= _copied(opened, entry, file, left)
        if left < 0:  # whatever was announced
            raise _overflow(name, allowed)


def _copied(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path, most: int) -> int:
    """Unpack one file, of which no more than a little beyond the most; how many bytes it had."""
    size = 0
    with opened.open(entry) as source, file.open("xb") as target:
        while size <= most and (chunk := source.read(_CHUNK)):
            size += len(chunk)
            target.write(chunk)
    return size


def _relative_path(entry: zipfile.ZipInfo, name: str) -> PurePosixPath | None:
    """The path of a file below the folder; None where it is not wanted."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    leaves = path.is_absolute() or ".." in path.parts or any(":" in part or "\0" in part for part in path.parts)
    if leaves or any(len(part) > _LONGEST for part in path.parts):
        raise DataError(f"'{name}' holds '{entry.filename[:_LONGEST]}', a path that leaves it: nothing was unpacked.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"'{name}' holds '{entry.filename}', a link to another place: nothing was unpacked.")
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    # Images that are not read are told of in the audit, by their names.
    wanted = is_image_name(path.name) or path.suffix.lower() in TABLE_SUFFIXES or unread_format(path.name)
    if entry.filename.endswith("/") or hidden or not wanted:  # `is_dir` fails for an empty name
        return None
    if entry.flag_bits & 1:
        raise DataError(f"'{name}' is encrypted: give a zip archive without a password.")
    return path


def _overflow(name: str, allowed: Allowance) -> DataError:
    return DataError(
        f"'{name}' is larger than {allowed.unpacked / 2**20:,.0f} MiB when unpacked, the most that is taken: give "
        "smaller images, or their folder by --data."
    )


def _free(folder: Path, name: str) -> Path:
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in Path(name).stem)[:60].strip("-")
    for number in range(1, 10_000):
        target = folder / (f"{stem or 'images'}-{number}" if number > 1 else stem or "images")
        if not target.exists():
            return target
    raise DataError(f"'{folder}' holds too many uploads called '{stem}': remove some.")


def _inner(target: Path) -> Path:
    """What is the data set: the folder that holds all, or its table."""
    inside = list(target.iterdir())
    while len(inside) == 1 and inside[0].is_dir() and any(_leads(path) for path in inside[0].iterdir()):
        target, inside = inside[0], list(inside[0].iterdir())
    tables = [path for path in inside if path.suffix.lower() in TABLE_SUFFIXES]
    return tables[0] if len(tables) == 1 else target


def _leads(path: Path) -> bool:
    """Whether what lies here is more than the images of one class."""
    return path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES
