"""The folders of NATS-Bench (``NATS-*-simple``): one compressed pickle for each architecture.

Dong, Liu, Musial and Gabrys, "NATS-Bench: Benchmarking NAS algorithms for architecture topology and size", IEEE TPAMI
2021. A file holds, for each length of training, the runs of several seeds on four data sets: ``cifar10-valid`` is
CIFAR-10 with half of its training images held out for validation, ``cifar10`` trains on all of them.
"""

from __future__ import annotations

import bz2
import math
import operator
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from trainless.errors import TableError
from trainless.safe_pickle import read_pickle
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import contents, is_folder
from trainless.tables.plain import SPACE_STRINGS

__all__ = ["read_nats_folder"]

_Content = Mapping[str, Mapping[str, Any]]  # by length of training

_FILE = re.compile(r"[0-9]{6}\.pickle\.pbz2")
_LIMIT = 64 << 20  # bytes after decompression; the largest files have 0.3 MiB
_STEPS = 2**19  # of the unpickler; the largest files take 48,285
_LENGTHS = {"nasbench201": ("200", "12"), "nats_size": ("90", "12", "01")}  # epochs, the longest first
# For each data set and split, the runs and the evaluation that it is taken from.
_SPLITS = {
    "cifar10": {"valid": ("cifar10-valid", "x-valid"), "test": ("cifar10", "ori-test")},
    "cifar100": {"valid": ("cifar100", "x-valid"), "test": ("cifar100", "x-test")},
    "ImageNet16-120": {"valid": ("ImageNet16-120", "x-valid"), "test": ("ImageNet16-120", "x-test")},
}
# What NASLib returns as validation accuracy: the test accuracy of one seed, for CIFAR-10 of the 25,000-image run.
_SINGLE_SEED = 888
_SINGLE_SEED_TESTS = {
    "cifar10": ("cifar10-valid", "ori-test"),
    "cifar100": ("cifar100", "x-test"),
    "ImageNet16-120": ("ImageNet16-120", "x-test"),
}


def read_nats_folder(folder: str | Path, progress: Callable[[int, int], None] | None = None) -> BenchmarkTable:
    """Read the accuracies and costs of the architectures in a folder of NATS-Bench, topology or size space.

    The folder need not be complete: its files are the rows. Columns of each data set, all means over the seeds:

    - ``valid``, ``test``: accuracy in percent after the longest training (200 epochs; 90 in the size space);
    - ``test_seed888``: test accuracy of that one seed, on CIFAR-10 of the training on half of the training images;
    - ``valid_epoch12``, ``test_epoch12`` and the like: accuracy after a shorter training, with a schedule of its own;
    - ``parameters``, ``flops`` (multiply-adds, and one for each class), ``latency_seconds`` as the authors measured it,
      and ``train_seconds`` of all epochs of the longest training, which on CIFAR-10 is the one of the ``test`` split.

    What a file lacks is NaN; a column that all files lack is left out.

    Args:
        folder: the folder with files such as ``000011.pickle.pbz2``; all others are left alone.
        progress: called after each file with the number of files read and that of all.

    Raises:
        TableError: the folder has no such file, or one is damaged, of another form, or asks for more than plain values.

    Example:
        >>> import tempfile
        >>> run = {"eval_acc1es": {"ori-test@89": 93.5}, "train_times": {}, "params": 1.5, "flop": 2.0, "latency": []}
        >>> results = {"arch_index": 7, "arch_str": "8:8:8:8:64", "all_results": {("cifar10", 777): run}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "000007.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({"90": results})))
        ...     table = read_nats_folder(folder)
        >>> table.space, table.query("8:8:8:8:64", "cifar10", "test"), table.costs("cifar10")
        ('nats_size', 93.5, ('parameters', 'flops'))
    """
    folder = Path(folder)
    files = _files(folder)
    _, space = _architecture(_read_file(files[0]), files[0])
    columns = dict(_columns(space))
    names, values = [], np.empty((len(files), len(columns)))
    for row, path in enumerate(files):
        content = _read_file(path)
        names.append(_architecture(content, path, space)[0])
        values[row] = _row(content, columns.values(), path)
        if progress is not None:
            progress(row + 1, len(files))
    frame = pd.DataFrame(values, index=names, columns=list(columns)).dropna(axis="columns", how="all")
    return BenchmarkTable(folder.resolve().name, space, frame, "NATS-Bench (Dong et al., TPAMI 2021)", "MIT")


def _files(folder: Path) -> list[Path]:
    files = sorted(path for path in contents(folder) if _FILE.fullmatch(path.name)) if is_folder(folder) else []
    if not files:
        raise TableError(
            f"'{folder}' is no folder with files such as 000011.pickle.pbz2: give an unpacked folder of NATS-Bench, "
            "NATS-tss-v1_0-3ffb9-simple or NATS-sss-v1_0-50262-simple."
        )
    return files


def _read_file(path: Path) -> _Content:
    try:
        with bz2.open(path) as file:
            content = file.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise ValueError(f"it unpacks to more than {_LIMIT >> 20} MiB")
        results: _Content = read_pickle(content, operations=_STEPS)
    except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise TableError(
            f"'{path}' cannot be read as a file of NATS-Bench ({error}): fetch it again from a source you trust."
        ) from error
    return results


def _architecture(content: _Content, path: Path, space: str | None = None) -> tuple[str, str]:
    """The architecture's string and its space, which must be the one given."""
    try:
        results = next(iter(content.values()))
        name, index = results["arch_str"], operator.index(results["arch_index"])
        found = next(space for space in _LENGTHS if SPACE_STRINGS[space].fullmatch(name))
    except (AttributeError, LookupError, StopIteration, TypeError) as error:
        raise TableError(f"'{path}' holds no architecture of NATS-Bench: fetch it again.") from error
    if index != int(path.name[:6]):
        raise TableError(f"'{path}' holds the architecture of index {index}: give it its own name, or fetch it again.")
    if space not in (None, found):
        raise TableError(f"'{path}' is of the space {found}, the files before it of {space}: keep them in two folders.")
    return name, found


def _row(content: _Content, columns: Iterable[Callable[[_Content], float]], path: Path) -> list[float]:
    try:
        return [column(content) for column in columns]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' holds results that are not in the form of NATS-Bench ({type(error).__name__}: {error}): fetch "
            "it again."
        ) from error


def _columns(space: str) -> Iterator[tuple[str, Callable[[_Content], float]]]:
    longest, *shorter = _LENGTHS[space]
    for dataset, splits in _SPLITS.items():
        for split, source in splits.items():
            yield f"{dataset}.{split}", partial(_accuracy, length=longest, source=source)
        yield (
            f"{dataset}.test_seed{_SINGLE_SEED}",
            partial(_accuracy, length=longest, source=_SINGLE_SEED_TESTS[dataset], seed=_SINGLE_SEED),
        )
        for length in shorter:
            for split, source in splits.items():
                yield f"{dataset}.{split}_epoch{int(length)}", partial(_accuracy, length=length, source=source)
        for cost, measure in _COSTS.items():
            yield f"{dataset}.{cost}", partial(_cost, length=longest, runs=dataset, measure=measure)


def _accuracy(content: _Content, length: str, source: tuple[str, str], seed: int | None = None) -> float:
    runs, evaluation = source
    last = f"{evaluation}@{int(length) - 1}"
    return _mean(run["eval_acc1es"].get(last) for run in _runs(content, length, runs, seed))


def _cost(content: _Content, length: str, runs: str, measure: Callable[[Mapping[str, Any]], Any]) -> float:
    return _mean(measure(run) for run in _runs(content, length, runs))


def _runs(content: _Content, length: str, name: str, seed: int | None = None) -> list[Mapping[str, Any]]:
    results = content[length]["all_results"] if length in content else {}
    return [run for (dataset, its_seed), run in results.items() if dataset == name and seed in (None, its_seed)]


def _mean(values: Iterable[Any]) -> float:
    known = [value for value in values if value is not None]
    if wrong := [value for value in known if type(value) not in (int, float)]:
        raise TypeError(f"a {type(wrong[0]).__name__} stands where a number must")
    return fmean(known) if known else math.nan


def _latency(run: Mapping[str, Any]) -> float | None:
    measured = [seconds for seconds in run["latency"] or () if seconds > 0]
    return fmean(measured) if measured else None


# The files count parameters and multiply-adds in millions, with six decimals: the counts are whole.
_COSTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "parameters": lambda run: round(run["params"] * 1e6),
    "flops": lambda run: round(run["flop"] * 1e6),
    "latency_seconds": _latency,
    "train_seconds": lambda run: sum(run["train_times"].values()) if run["train_times"] else None,
}
