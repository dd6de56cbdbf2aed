"""The public forms of NAS-Bench-201's tables: FreeREA's cache, single-seed test accuracies, HW-NAS-Bench."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from trainless.errors import TableError
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import is_file, shown, whole_numbers
from trainless.tables.plain import read_plain, read_table
from trainless.tables.tasks import TASKS

__all__ = [
    "DATASETS",
    "architectures_by_index",
    "cell_string",
    "column_of_numbers",
    "read_freerea_accuracies",
    "read_freerea_column",
    "read_hardware",
    "read_hardware_table",
    "read_nasbench201",
    "read_single_seed",
    "with_architectures",
]

DATASETS = tuple(TASKS["nasbench201"])
_HARDWARE = ("_latency", "_energy")

# NASLib numbers the operations so, and lists the edges by their source: 0→1, 0→2, 0→3, 1→2, 1→3, 2→3.
_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
# The published string lists them by their target: 0→1 | 0→2, 1→2 | 0→3, 1→3, 2→3.
_BY_TARGET = "|{0}~0|+|{1}~0|{3}~1|+|{2}~0|{4}~1|{5}~2|"


def cell_string(codes: str) -> str:
    """Turn NASLib's tuple of operation codes into the published string of the cell.

    Args:
        codes: six codes as text, in the order of the edges 0→1, 0→2, 0→3, 1→2, 1→3, 2→3, with 0 for skip, 1 for none,
            2 for a 3x3 convolution, 3 for a 1x1 convolution and 4 for average pooling.

    Raises:
        TableError: the text is no such tuple.

    Example:
        >>> cell_string("(4, 0, 3, 1, 4, 3)")
        '|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|'
    """
    try:
        return _BY_TARGET.format(*(_OPERATIONS[code] for code in _codes(codes)))
    except (ValueError, IndexError) as error:
        raise TableError(
            f"'{shown(codes)}' is no cell in NASLib's form, expected six codes from 0 to 4 such as (4, 0, 3, 1, 4, 3): "
            "fetch the file again."
        ) from error


def _codes(text: str) -> list[int]:
    codes = whole_numbers(text)
    if len(codes) != 6:
        raise ValueError
    return codes


@lru_cache(maxsize=1)
def architectures_by_index() -> tuple[str, ...]:
    """List the strings of all 15,625 cells in the public order of NATS-Bench.

    Example:
        >>> architectures_by_index()[1]
        '|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|'
    """
    return tuple(map(str, NASBench201()))


def with_architectures(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Index rows by the published string, from NASLib's codes (``net``) or the index of NATS-Bench (``index``).

    Raises:
        TableError: there is neither column, an index or a code is wrong, or an architecture is there twice.

    Example:
        >>> rows = pd.DataFrame({"net": ["(4, 0, 3, 1, 4, 3)"], "val_accs": [84.99]})
        >>> with_architectures(rows, Path("cifar10.csv"))["val_accs"].tolist()
        [84.99]
    """
    if "net" in frame.columns:
        strings = [cell_string(str(codes)) for codes in frame["net"]]
    elif "index" in frame.columns:
        strings = _by_index(frame["index"], path)
    else:
        columns = shown(", ".join(map(str, frame.columns[:4])))
        raise TableError(
            f"'{path}' has the columns {columns}, expected 'net' or 'index' among them: give the public file."
        )
    indexed = frame.set_axis(pd.Index(strings, name="architecture"), axis="index")
    if indexed.index.has_duplicates:
        raise TableError(
            f"'{path}' has the architecture '{indexed.index[indexed.index.duplicated()][0]}' more than once: fetch it "
            "again."
        )
    return indexed.drop(columns=["net", "net_str", "index"], errors="ignore")


def _by_index(index: pd.Series, path: Path) -> list[str]:
    known = architectures_by_index()
    wrong = [value for value in index if not (isinstance(value, int | np.integer) and 0 <= value < len(known))]
    if wrong:
        raise TableError(
            f"'{path}' has the index {shown(wrong[0])}, expected 0 to {len(known) - 1}: fetch the file again."
        )
    return [known[value] for value in index]


def read_freerea_column(path: Path, column: str) -> pd.Series:
    """Read one column of a file of FreeREA's cache, indexed by architecture string in the order of NATS-Bench.

    Raises:
        TableError: the file is missing, damaged, or lacks the column.
    """
    frame = with_architectures(read_plain(path), path)
    return column_of_numbers(frame, column, path)


def column_of_numbers(frame: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """Take a column of a file that holds numbers, or nothing at all, which is NaN.

    Raises:
        TableError: there is no such column, or a value of it is no number.

    Example:
        >>> column_of_numbers(pd.DataFrame({"nwot": [700, None]}), "nwot", Path("nwot.csv")).tolist()
        [700.0, nan]
    """
    if column not in frame.columns or not pd.api.types.is_numeric_dtype(frame[column]):
        raise TableError(f"'{path}' has no column '{column}' of numbers: give the public file.")
    return frame[column].astype(float)


def read_freerea_accuracies(folder: Path) -> BenchmarkTable:
    """Read the test accuracies of all cells, the mean over seeds, from FreeREA's cache.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    files = {dataset: folder / "nats-tss-freerea" / dataset / "accuracies.csv" for dataset in DATASETS}
    columns = {f"{dataset}.test": read_freerea_column(path, "accuracy") for dataset, path in files.items()}
    return BenchmarkTable("nasbench201-freerea", "nasbench201", _in_order(columns))


def read_single_seed(path: Path) -> pd.Series:
    """Read single-seed test accuracies in percent, as NASLib calls them validation accuracies, by architecture.

    Raises:
        TableError: the file is missing, damaged, or of another form.
    """
    return column_of_numbers(with_architectures(read_plain(path), path), "val_accs", path)


def read_hardware(path: Path) -> pd.DataFrame:
    """Read HW-NAS-Bench's latencies (ms) and energies (mJ) of one data set, by architecture.

    Raises:
        TableError: the file is missing, damaged, or of another form.
    """
    frame = with_architectures(read_plain(path), path)
    chosen = [name for name in frame.columns if str(name).endswith(_HARDWARE)]
    if not chosen:
        raise TableError(f"'{path}' has no columns that end in _latency or _energy: give the file of HW-NAS-Bench.")
    return _measured(pd.DataFrame({name: column_of_numbers(frame, name, path) for name in chosen}))


def read_hardware_table(folder: Path) -> BenchmarkTable:
    """Read HW-NAS-Bench: latencies (ms) and energies (mJ) of all cells on six devices, and no accuracies.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    columns: dict[str, pd.Series] = {}
    for dataset in DATASETS:
        hardware = read_hardware(folder / "hw-nas-bench" / f"{dataset}.csv")
        columns |= {f"{dataset}.{name}": values for name, values in hardware.items()}
    return BenchmarkTable("hw-nas-bench", "nasbench201", _in_order(columns))


def read_nasbench201(folder: Path) -> BenchmarkTable:
    """Read the table of NAS-Bench-201 from its public files: the joined one where it is there, or else all raw ones.

    Raises:
        TableError: a raw file is missing, or one is damaged.
    """
    joined = folder / "tables" / "nasbench201.csv.gz"
    if is_file(joined):
        table = read_table(joined)
        hardware = [name for name in table.frame.columns if str(name).endswith(_HARDWARE)]
        return replace(table, frame=table.frame.assign(**_measured(table.frame[hardware])))
    seeds = {
        f"{dataset}.test_seed888": read_single_seed(folder / "nb201-test-seed888" / f"{dataset}.csv")
        for dataset in DATASETS
        if dataset != "cifar100"  # of which nobody published single seeds
    }
    tables = read_freerea_accuracies(folder).frame, _in_order(seeds), read_hardware_table(folder).frame
    frame = pd.concat(tables, axis="columns")
    return BenchmarkTable("nasbench201", "nasbench201", frame)


def _measured(hardware: pd.DataFrame) -> pd.DataFrame:
    """Without what could not be measured: HW-NAS-Bench writes -1 for cells that its Edge TPU does not run."""
    return hardware.where(hardware > 0)


def _in_order(columns: dict[str, pd.Series]) -> pd.DataFrame:
    """Join columns over all architectures, in the order of NATS-Bench."""
    known = pd.Index(architectures_by_index())
    return pd.DataFrame({name: values.reindex(known) for name, values in columns.items()})
