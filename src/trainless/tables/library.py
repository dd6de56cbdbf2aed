"""Getting tables and published scores: from the cache, from a folder of public files, or by download."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainless.errors import TableError, UnknownNameError
from trainless.tables.base import BenchmarkTable
from trainless.tables.downloads import cache_folder, fetch
from trainless.tables.files import contents, exists, is_file, is_folder
from trainless.tables.nats import read_nats_folder
from trainless.tables.packaged import PACKAGED, packaged_table
from trainless.tables.plain import is_plain, read_table, write_table
from trainless.tables.published import PublishedScores, published_files, read_published
from trainless.tables.sources import TABLES, TableSource, public_files

__all__ = ["benchmark_table", "get_table", "published_scores", "table_listing"]

Progress = Callable[[int, int], None]


def benchmark_table(name: str | Path | BenchmarkTable, folder: str | Path | None = None) -> BenchmarkTable:
    """Look up a table of true accuracies by its name or read it from a path; an object is given back as it is.

    Args:
        name: a name of `TABLES` or `PACKAGED`, or the path of a table in the plain format or of a NATS-Bench folder.
        folder: a folder of public files, in which names are looked for; None is the cache that `get_table` fills, and
            then the folder that the environment variable TRAINLESS_DATA names.

    Raises:
        UnknownNameError: there is no such table.
        TableError: the table is known but not here, or cannot be read, or a path cannot be looked up.

    Example:
        >>> import pandas as pd
        >>> table = BenchmarkTable("toy", "nasbench201", pd.DataFrame({"digits.test": [97.0]}, index=["a"]))
        >>> benchmark_table(table) is table
        True
    """
    if isinstance(name, BenchmarkTable):
        return name
    if str(name) in TABLES:
        return _known_table(str(name), folder)
    if str(name) in PACKAGED:
        return packaged_table(str(name))
    path = Path(name)
    if is_folder(path):
        return read_nats_folder(path)
    if is_file(path) or path.suffix:
        return read_table(path)
    raise UnknownNameError("table", str(name), (*TABLES, *PACKAGED))


def _known_table(name: str, folder: str | Path | None) -> BenchmarkTable:
    source = TABLES[name]
    if folder is None and is_file(cached := _cached(name)):
        return read_table(cached, name)
    for candidate in _folders(folder):
        if not source.missing(candidate):
            return source.read(name, candidate)
    download = f" `trainless tables get {name}` downloads it, and" if source.can_download else ""
    raise TableError(
        f"The table '{name}' is not in {_places(folder)}:{download} `trainless tables get {name} --from PATH` imports "
        "a local copy."
    )


def _cached(name: str) -> Path:
    revision = TABLES[name].revision if name in TABLES else 1
    return cache_folder() / "tables" / (f"{name}.parquet" if revision == 1 else f"{name}-{revision}.parquet")


def _folders(folder: str | Path | None) -> list[Path]:
    """Where public files are looked for."""
    if folder is not None:
        return [Path(folder)]
    named = os.environ.get("TRAINLESS_DATA")
    return [cache_folder() / "public", *([Path(named)] if named else [])]


def _places(folder: str | Path | None) -> str:
    if folder is not None:
        return f"'{folder}'"
    return f"the cache '{cache_folder()}' nor in TRAINLESS_DATA ({os.environ.get('TRAINLESS_DATA', 'not set')})"


def get_table(name: str, source: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Put a table into the cache, by download or from a local public file, where `benchmark_table` finds it.

    Args:
        name: a name of `TABLES`.
        source: a table in the plain format, a folder of public files in the layout of `docs/tables.md`, a single
            public file or folder that makes the table by itself, or None to download.
        progress: called with the bytes or steps done and all.

    Returns:
        The file of the table, Parquet in the plain format.

    Raises:
        UnknownNameError: there is no such table.
        TableError: it cannot be downloaded, read or written, or the source is of another search space; an earlier
            copy stays as it was.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    if source is None:
        table = _downloaded(name, TABLES[name], progress)
    else:
        table = _imported(name, TABLES[name], Path(source), progress)
    write_table(table, _cached(name))
    return _cached(name)


def _downloaded(name: str, source: TableSource, progress: Progress | None) -> BenchmarkTable:
    if not source.can_download:
        raise TableError(
            f"The table '{name}' is at no public address as one file: import a local copy ({source.origin}) with "
            f"`trainless tables get {name} --from PATH`."
        )
    folder = cache_folder() / "public"
    download(source.files, folder, progress)
    return source.read(name, folder)


def download(paths: Iterable[str], folder: Path, progress: Progress | None = None) -> None:
    """Download public files, each verified by its checksum; those that are there and right are left alone.

    Args:
        paths: keys of `public_files`.
        folder: where they go, below which each has its path.
        progress: called with the bytes done and all.

    Raises:
        TableError: a file cannot be had; those fetched before stay.
    """
    files = [public_files()[path] for path in paths]
    total, before = sum(file.size for file in files), 0
    for file in files:
        fetch(file.url, file.sha256, file.size, folder / file.path, _beyond(progress, before, total))
        before += file.size
        if progress:
            progress(before, total)


def _beyond(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one file as that of all."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _imported(name: str, source: TableSource, path: Path, progress: Progress | None) -> BenchmarkTable:
    table = _read_local(name, source, path, progress)
    if table.space and table.space != source.space:
        raise TableError(
            f"'{path}' holds architectures of {table.space}, expected {source.space} for the table '{name}': give "
            "another file or another name."
        )
    if len(table.frame) < source.architectures:
        raise TableError(
            f"'{path}' holds {len(table.frame):,} architectures, but the table '{name}' has {source.architectures:,}: "
            "fetch it again, or give the file itself as a table of its own."
        )
    return replace(table, name=name, space=source.space)


def _read_local(name: str, source: TableSource, path: Path, progress: Progress | None) -> BenchmarkTable:
    """Recognise what is given: public files, a NATS-Bench folder, or the plain format."""
    if not exists(path):
        raise TableError(f"There is no file or folder '{path}': give a copy that exists.")
    if is_folder(path) and not source.missing(path):
        _check_unchanged({file: path / file for file in source.files})
        return source.read(name, path, progress)
    if places := _without_their_folders(source, path):
        _check_unchanged(places)
        return _read_in_place(name, source, places, progress)
    if is_file(path):
        if is_plain(path) and path.name not in {Path(file).name for file in source.files}:
            return read_table(path, name)
        raise TableError(
            f"'{path}' does not make the table '{name}' by itself, which needs {', '.join(source.files)}: give the "
            "folder that holds all of them, or a table in the plain format."
        )
    if any(file.name.endswith(".pickle.pbz2") for file in contents(path)):
        return read_nats_folder(path, progress)
    raise TableError(
        f"'{path}' lacks {source.missing(path)[0]} of the table '{name}', and is no NATS-Bench folder: give a folder "
        "of the public files, or a table in the plain format."
    )


def _check_unchanged(places: Mapping[str, Path]) -> None:
    """Refuse a copy of a public file that is not the published one, such as one that was cut short."""
    import pooch  # type: ignore[import-untyped]

    for file, path in places.items():
        known = public_files().get(file)
        if known is None or not is_file(path):
            continue
        if path.stat().st_size != known.size or pooch.file_hash(str(path)) != known.sha256:
            raise TableError(
                f"'{path}' is not the file that {known.repository} publishes ({known.size:,} bytes, SHA-256 "
                f"{known.sha256[:12]}...): fetch it again, or give a table of your own in the plain format."
            )


def _without_their_folders(source: TableSource, path: Path) -> dict[str, Path]:
    """Find all files of a table below a folder that is itself part of the layout, or the one file that makes it."""
    if is_file(path):
        only = source.files[0]
        return {only: path} if len(source.files) == 1 and path.suffix == Path(only).suffix else {}
    least = min(len(Path(file).parts) for file in source.files)
    for depth in range(1, least):
        places = {file: path.joinpath(*Path(file).parts[depth:]) for file in source.files}
        # Further down, several may come to share one name: which of them the file is cannot be told.
        if len(set(places.values())) == len(places) and all(map(exists, places.values())):
            return places
    return {}


def _read_in_place(
    name: str, source: TableSource, places: dict[str, Path], progress: Progress | None
) -> BenchmarkTable:
    """Read public files from elsewhere as if they were in their layout."""
    with tempfile.TemporaryDirectory() as folder:
        for file, path in places.items():
            link = Path(folder, file)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        try:
            return source.read(name, Path(folder), progress)
        except TableError as error:  # which names a link that nobody has seen
            told = str(error)
            for file, path in places.items():
                told = told.replace(str(Path(folder, file)), str(path))
            raise TableError(told) from error


def published_scores(
    name: str, folder: str | Path | None = None, *, fetch_missing: bool = False, progress: Progress | None = None
) -> PublishedScores:
    """Read scores that others have published, by their name.

    Args:
        name: a name of `PUBLISHED`.
        folder: a folder of public files; None is the cache, and then TRAINLESS_DATA.
        fetch_missing: download them into the cache where they are in neither.
        progress: called with the bytes done and all of a download.

    Raises:
        UnknownNameError: no published scores have that name.
        TableError: a file is missing, damaged, or cannot be downloaded.
    """
    files = published_files(name)
    for candidate in _folders(folder):
        if all(is_file(candidate / path) for path in files):
            return read_published(name, candidate)
    if fetch_missing and folder is None:
        download(files, cache_folder() / "public", progress)
        return read_published(name, cache_folder() / "public")
    raise TableError(
        f"The file {files[0]} of the published scores '{name}' is not in {_places(folder)}: `trainless scores import "
        f"{name}` downloads it."
    )


def table_listing(folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the tables: what each holds, whether it is here, how to get it, where it comes from and its licence.

    Args:
        folder: as for `benchmark_table`.

    Raises:
        TableError: a path cannot be looked up.

    Example:
        >>> table_listing()[0]["table"]
        'nasbench201'
    """
    return [
        {
            "table": name,
            "space": source.space,
            "holds": source.summary,
            "present": _where(name, source, folder),
            "get": "download or import" if source.can_download else "import",
            "origin": source.origin,
            "licence": source.licence,
        }
        for name, source in TABLES.items()
    ]


def _where(name: str, source: TableSource, folder: str | Path | None) -> str:
    if folder is None and is_file(_cached(name)):
        return "cache"
    return next((f"files in {candidate}" for candidate in _folders(folder) if not source.missing(candidate)), "no")
