"""TransNAS-Bench-101 (Duan et al., CVPR 2021): 3,256 macro and 4,096 micro networks on seven tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import is_file, number, read_json, reason, shown
from trainless.tables.plain import SPACE_STRINGS, read_table
from trainless.tables.published import TRANSNAS_TASKS

__all__ = ["read_transnas_macro", "read_transnas_micro"]


def read_transnas_macro(folder: Path) -> BenchmarkTable:
    """Read the test scores on all tasks: the joined table, or else the JSON file of each task.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    joined = folder / "tables" / "transnas_macro.csv.gz"
    if is_file(joined):
        return read_table(joined, "transnas-macro")
    return _read("transnas-macro", "transnas_macro", folder, str)


def read_transnas_micro(folder: Path) -> BenchmarkTable:
    """Read the test scores on all tasks: the JSON file of each, a list of cells with their scores.

    A cell is its string or a list of its six operations.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    return _read("transnas-micro", "transnas_micro", folder, _micro_string)


def _micro_string(operations: Any) -> str:
    if isinstance(operations, str):
        if not SPACE_STRINGS["transnas_micro"].fullmatch(operations):
            raise ValueError(f"'{shown(operations)}' is no cell in a form like '64-41414-1_33_112'")
        return operations
    a, b, c, d, e, f = map(int, operations)
    if not all(0 <= digit <= 3 for digit in (a, b, c, d, e, f)):
        raise ValueError(f"{operations} are no six operations from 0 to 3")
    return f"64-41414-{a}_{b}{c}_{d}{e}{f}"


def _read(name: str, space: str, folder: Path, string: Callable[[Any], str]) -> BenchmarkTable:
    columns = {f"{task}.test": _read_task(folder / name / f"accuracy_{task}.json", string) for task in TRANSNAS_TASKS}
    return BenchmarkTable(name, space, pd.DataFrame(columns))


def _read_task(path: Path, string: Callable[[Any], str]) -> pd.Series:
    content = read_json(path)
    try:
        pairs = [(string(architecture), number(value)) for architecture, value in content]
    except (TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no list of networks and their scores ({reason(error)}): give the public file."
        ) from error
    scores = pd.Series([score for _, score in pairs], [architecture for architecture, _ in pairs], float)
    if scores.index.has_duplicates:
        twice = shown(scores.index[scores.index.duplicated()][0])
        raise TableError(f"'{path}' has the architecture '{twice}' more than once: fetch it again.")
    return scores
