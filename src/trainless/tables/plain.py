"""The plain format of a table: CSV or Parquet with the columns ``architecture`` and ``<data set>.<column>``."""

from __future__ import annotations

import gzip
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import reason, shown

__all__ = ["SPACE_STRINGS", "is_plain", "read_plain", "read_table", "write_table"]

_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet",)
# The largest public table has 423,624 rows of five columns.
_MOST_BYTES, _MOST_COLUMNS, _MOST_CELLS = 1 << 30, 10_000, 10**8
_FACTS = ("name", "space", "origin", "licence")
_FORMER = {
    "nats-sss": "nats_size",
    "transnas-macro": "transnas_macro",
    "nasbench301": "darts",
}  # names of spaces in earlier versions
_OPERATION = "(none|skip_connect|nor_conv_1x1|nor_conv_3x3|avg_pool_3x3)"

SPACE_STRINGS = {
    "nasbench201": re.compile(r"\|O~0\|\+\|O~0\|O~1\|\+\|O~0\|O~1\|O~2\|".replace("O", _OPERATION)),
    "transnas_macro": re.compile(r"64-[1-4]+-basic"),
    "transnas_micro": re.compile(r"64-41414-[0-3]_[0-3]{2}_[0-3]{3}"),
    "nasbench_macro": re.compile(r"[012]{8}"),
    "nats_size": re.compile(r"[0-9]{1,4}(:[0-9]{1,4}){4}"),
    "darts": re.compile(r"\[\[(\([0-9], [0-9]\)(, )?)+\], \[(\([0-9], [0-9]\)(, )?)+\]\]"),
    "convnet": re.compile(r"(conv|strided|whiten)[0-9]+(-[ks][135]w[0-9]+d[1-4][a-z.]*){3,4}-(avg|max)[1248]"),
    "nasbench_nlp": re.compile(r"((h[0-9]=)?(linear|tanh|sigm|leaky_relu|sum|prod|blend)\([xh0-9,]+\)\+?)+"),
    "nasbench101": re.compile(r"([a-z0-9]+\([0-9,]+\)\+)*output\([0-9,]+\)"),
}
"""What the published strings of each space look like: they tell it, and a CSV file has no other place for it."""


def read_table(path: str | Path, name: str | None = None) -> BenchmarkTable:
    """Read a table in the plain format, CSV (also compressed, ``.csv.gz``) or Parquet by its ending.

    A Parquet file that `write_table` wrote keeps the table's name, space, origin and licence; for any other file the
    name is the file's, and the space is told from the architecture strings (empty where they are of none that is
    known).

    Args:
        path: the file.
        name: what to call the table; None keeps the name in the file, or takes the file's.

    Raises:
        TableError: there is no such file, it cannot be read, or it is no table.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mine.csv")
        ...     _ = path.write_text("architecture,cifar10.test,cifar10.latency\\n64:64:64:64:64,93.1,4.5\\n")
        ...     table = read_table(path)
        >>> table.name, table.space, table.query("64:64:64:64:64", "cifar10", "test")
        ('mine', 'nats_size', 93.1)
    """
    path = Path(path)
    frame = read_plain(path)
    if "architecture" not in frame.columns:
        columns = shown(", ".join(map(str, frame.columns[:4])))
        raise TableError(
            f"'{path}' has the columns {columns}, ... but none named 'architecture': "
            "name that of the architecture strings so."
        )
    kept = {fact: value for fact, value in frame.attrs.items() if fact in _FACTS and isinstance(value, str)}
    frame.attrs = {}
    frame = frame.drop(columns="index", errors="ignore").set_index("architecture")  # the joined table numbers its rows
    if frame.index.hasnans:
        raise TableError(f"'{path}' has a row without an architecture: fill it in or remove the row.")
    frame.index = frame.index.astype(str)
    if "space" in kept:
        kept["space"] = _FORMER.get(kept["space"], kept["space"])
    facts = {"name": path.name.split(".")[0], "space": _space_of(frame.index), **kept}
    return BenchmarkTable(**{**facts, "name": name or facts["name"]}, frame=frame)


def write_table(table: BenchmarkTable, path: str | Path) -> None:
    """Write a table in the plain format, CSV or Parquet by the ending of the path; all of it or nothing.

    Raises:
        TableError: the ending is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> table = BenchmarkTable("toy", "", pd.DataFrame({"digits.test": [97.0]}, index=["a"]), licence="MIT")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(table, Path(folder, "toy.parquet"))
        ...     read_table(Path(folder, "toy.parquet")).licence
        'MIT'
    """
    path = Path(path)
    frame = table.frame.reset_index()
    frame.attrs = {fact: getattr(table, fact) for fact in _FACTS}
    writers: dict[str, Callable[[Path], Any]] = {
        ".csv": lambda target: frame.to_csv(target, index=False),
        ".csv.gz": lambda target: frame.to_csv(target, index=False, compression={"method": "gzip", "mtime": 0}),
        ".parquet": lambda target: frame.to_parquet(target, index=False),
    }
    ending = _ending(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A temporary file would be its owner's alone; a file in a temporary folder has the rights of any new one.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part.") as folder:
            whole = Path(folder, path.name)
            writers[ending](whole)
            os.replace(whole, path)
    except (OSError, ValueError) as error:
        raise TableError(f"'{path}' cannot be written ({reason(error)}): give another place.") from error


def read_plain(path: Path, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the rows of a CSV or Parquet file, by its ending; a column ``architecture`` of a CSV file stays text.

    Args:
        path: the file.
        names: of the columns of a CSV file that does not begin with them.

    Raises:
        TableError: there is no such file, its ending is unknown, it is damaged, or two columns have one name.
    """
    ending = _ending(path)
    try:
        return _read_parquet(path) if ending in _PARQUET else _read_csv(path, names)
    except FileNotFoundError as error:
        raise TableError(f"There is no file '{path}': give a table that exists.") from error
    except Exception as error:  # damaged files raise whatever their decoder does
        raise TableError(f"'{path}' cannot be read as a table ({reason(error)}): fetch or write it again.") from error


def _read_csv(path: Path, given: Sequence[str] | None) -> pd.DataFrame:
    # What is small as a file may unpack to more than the memory holds.
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
    if (columns := re.split(rb"[\r\n]", content, maxsplit=1)[0].count(b",") + 1) > _MOST_COLUMNS:
        raise ValueError(f"it has {columns:,} columns, more than {_MOST_COLUMNS:,}")
    # Without a header, pandas refuses a first row that is longer; with one, it would shift the columns.
    names = pd.read_csv(io.BytesIO(content), header=None, nrows=2, dtype=str).iloc[0].dropna()
    if names.duplicated().any():
        raise ValueError(f"it has the column {names[names.duplicated()].iloc[0]} more than once")
    if given is not None:
        if len(names) != len(given):
            raise ValueError(f"it has {len(names)} columns without names, expected {len(given)}")
        return pd.read_csv(io.BytesIO(content), header=None, names=list(given), low_memory=False)
    return pd.read_csv(io.BytesIO(content), dtype={"architecture": str}, low_memory=False)


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow.parquet import read_metadata

    facts = read_metadata(path)
    if facts.num_rows * facts.num_columns > _MOST_CELLS:
        raise ValueError(f"it has {facts.num_rows:,} rows of {facts.num_columns:,}, more than {_MOST_CELLS:,} values")
    return pd.read_parquet(path)


def is_plain(path: Path) -> bool:
    """Tell by its ending whether a file may be a table in the plain format.

    Example:
        >>> is_plain(Path("mine.csv.gz")), is_plain(Path("graphs.npz"))
        (True, False)
    """
    return path.name.lower().endswith((*_CSV, *_PARQUET))


def _ending(path: Path) -> str:
    for ending in (".csv.gz", *_CSV, *_PARQUET):
        if path.name.lower().endswith(ending):
            return ending
    raise TableError(f"'{path}' has an unknown ending, expected {', '.join((*_CSV, *_PARQUET))}: rename the file.")


def _space_of(architectures: pd.Index) -> str:
    first = str(architectures[0]) if len(architectures) else ""
    return next((space for space, pattern in SPACE_STRINGS.items() if pattern.fullmatch(first)), "")
