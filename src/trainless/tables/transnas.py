"""TransNAS-Bench-101, macro (Duan et al., CVPR 2021): 3,256 networks on seven tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.plain import read_table
from trainless.tables.published import TRANSNAS_TASKS

__all__ = ["read_transnas_macro"]


def read_transnas_macro(folder: Path) -> BenchmarkTable:
    """Read the test scores on all tasks: the joined table, or else the JSON file of each task.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    joined = folder / "tables" / "transnas_macro.csv.gz"
    if joined.is_file():
        return read_table(joined, "transnas-macro")
    columns = {
        f"{task}.test": _read_task(folder / "transnas-macro" / f"accuracy_{task}.json") for task in TRANSNAS_TASKS
    }
    return BenchmarkTable("transnas-macro", "transnas-macro", pd.DataFrame(columns))


def _read_task(path: Path) -> pd.Series:
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))
        return pd.Series({str(architecture): float(value) for architecture, value in pairs})
    except (OSError, ValueError, TypeError) as error:
        raise TableError(
            f"'{path}' is no list of networks and their scores ({' '.join(str(error).split())}): give the public file."
        ) from error
