"""TransNAS-Bench-101, macro (Duan et al., CVPR 2021): 3,256 networks on seven tasks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import is_file, number, read_json, reason, shown
from trainless.tables.plain import read_table
from trainless.tables.published import TRANSNAS_TASKS

__all__ = ["read_transnas_macro"]


def read_transnas_macro(folder: Path) -> BenchmarkTable:
    """Read the test scores on all tasks: the joined table, or else the JSON file of each task.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    joined = folder / "tables" / "transnas_macro.csv.gz"
    if is_file(joined):
        return read_table(joined, "transnas-macro")
    columns = {
        f"{task}.test": _read_task(folder / "transnas-macro" / f"accuracy_{task}.json") for task in TRANSNAS_TASKS
    }
    return BenchmarkTable("transnas-macro", "transnas_macro", pd.DataFrame(columns))


def _read_task(path: Path) -> pd.Series:
    content = read_json(path)
    try:
        pairs = [(str(architecture), number(value)) for architecture, value in content]
    except (TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no list of networks and their scores ({reason(error)}): give the public file."
        ) from error
    scores = pd.Series([score for _, score in pairs], [architecture for architecture, _ in pairs], float)
    if scores.index.has_duplicates:
        twice = shown(scores.index[scores.index.duplicated()][0])
        raise TableError(f"'{path}' has the architecture '{twice}' more than once: fetch it again.")
    return scores
