"""NAS-Bench-Macro (Su et al., CVPR 2021): 6,561 choices of layers on CIFAR-10, each network trained three times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trainless.errors import TableError
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import number, read_json, reason

__all__ = ["read_nasbench_macro"]

_OTHERS = {"cifar10.test_single": "test_acc", "cifar10.parameters": "params", "cifar10.flops": "flops"}


def read_nasbench_macro(path: Path) -> BenchmarkTable:
    """Read the public JSON file: for each string its mean accuracy, alone or as ``mean_acc`` among other values.

    Other values that are kept where they are there are ``params``, ``flops``, and of the accuracies of each training,
    ``test_acc``, the first as the split ``test_single``.

    Raises:
        TableError: the file is missing, damaged, or of another form.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "macro.json")
        ...     _ = path.write_text('{"00000000": {"mean_acc": 45.3, "test_acc": [45.1, 45.5]}, "11111111": 91.93}')
        ...     read_nasbench_macro(path).frame.T.to_dict()
        {'00000000': {'cifar10.test': 45.3, 'cifar10.test_single': 45.1}, '11111111': {'cifar10.test': 91.93, ...}}
    """
    content = read_json(path)
    try:
        accuracies = {str(text): _accuracy(value) for text, value in content.items()}
        others = {
            name: pd.Series({str(text): _other(value, key) for text, value in content.items()}, dtype=float)
            for name, key in _OTHERS.items()
        }
        if not accuracies:
            raise ValueError("it holds no network")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no object of networks and their accuracies ({reason(error)}): give the public file."
        ) from error
    frame = pd.DataFrame({"cifar10.test": pd.Series(accuracies), **others})
    return BenchmarkTable("nasbench-macro", "nasbench_macro", frame.dropna(axis="columns", how="all"))


def _accuracy(value: Any) -> float:
    return number(value["mean_acc"] if isinstance(value, dict) else value)


def _other(value: Any, key: str) -> float | None:
    if not isinstance(value, dict) or key not in value:
        return None
    return number(value[key][0] if isinstance(value[key], list) else value[key])
