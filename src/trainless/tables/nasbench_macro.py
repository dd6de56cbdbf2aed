"""NAS-Bench-Macro (Su et al., CVPR 2021): 6,561 choices of layers on CIFAR-10, each network trained three times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import number, read_json, reason

__all__ = ["read_nasbench_macro"]


def read_nasbench_macro(path: Path) -> BenchmarkTable:
    """Read the public JSON file: for each string its mean accuracy, alone or as ``mean_acc`` among other values.

    Raises:
        TableError: the file is missing, damaged, or of another form.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "macro.json")
        ...     _ = path.write_text('{"00000000": {"mean_acc": 45.363, "params": 387882}, "11111111": 91.93}')
        ...     read_nasbench_macro(path).frame["cifar10.test"].tolist()
        [45.363, 91.93]
    """
    content = read_json(path)
    try:
        accuracies = {str(text): _accuracy(value) for text, value in content.items()}
        costs = {str(text): _parameters(value) for text, value in content.items()}
        if not accuracies:
            raise ValueError("it holds no network")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no object of networks and their accuracies ({reason(error)}): give the public file."
        ) from error
    frame = pd.DataFrame({"cifar10.test": pd.Series(accuracies), "cifar10.parameters": pd.Series(costs, dtype=float)})
    return BenchmarkTable("nasbench-macro", "nasbench_macro", frame.dropna(axis="columns", how="all"))


def _accuracy(value: Any) -> float:
    return number(value["mean_acc"] if isinstance(value, dict) else value)


def _parameters(value: Any) -> float | None:
    return number(value["params"]) if isinstance(value, dict) and "params" in value else None
