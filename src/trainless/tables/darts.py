"""Genotypes of DARTS's search space in published files, and those that were trained for SWAP-NAS."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from trainless.errors import ArchitectureError, TableError
from trainless.search_spaces.darts import DARTS
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import shown
from trainless.tables.plain import read_plain

__all__ = ["genotype_string", "read_genotypes"]

_ANY = DARTS(none=1)
_GENOTYPE = r"Genotype\(|^\[\["


def genotype_string(text: str) -> str:
    """Turn a genotype, in either public form, into its string in the search space.

    Raises:
        TableError: the text is no genotype.

    Example:
        >>> genotype_string("[[(0, 3), (1, 5), (1, 1), (0, 1), (1, 3), (0, 3), (1, 3), (3, 2)], "
        ...                 "[(1, 0), (0, 2), (1, 3), (0, 3), (3, 0), (0, 1), (2, 0), (3, 6)]]")[:34]
        '[[(0, 3), (1, 5), (0, 1), (1, 1), '
    """
    try:
        return str(_ANY.canonical(_ANY.parse(text)))
    except ArchitectureError as error:
        raise TableError(f"'{shown(text)}' is no genotype of DARTS: fetch the file again.") from error


def read_genotypes(path: Path) -> BenchmarkTable:
    """Read trained genotypes: a CSV file with a column of genotypes and one of accuracies on CIFAR-10.

    Without a row of names, the first column has the genotypes and the second the accuracies. An accuracy of at most 1
    is a share and becomes a percentage. Of a genotype that is there twice, as some are up to the order of a node's
    edges, the mean counts.

    Raises:
        TableError: the file is missing, damaged, or has no such columns.

    Example:
        >>> import tempfile
        >>> from trainless.search_spaces.darts import V1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "genotypes.csv")
        ...     pd.DataFrame({"genotype": [V1], "accuracy": [0.97]}).to_csv(path)
        ...     read_genotypes(path).frame["cifar10.valid"].tolist()
        [97.0]
    """
    frame = read_plain(path)
    if any(re.search(_GENOTYPE, str(name)) for name in frame.columns):  # as SWAP-NAS publishes them
        frame = read_plain(path, ("genotype", "valid_acc"))
    texts = [name for name in frame.columns if frame[name].astype(str).str.contains(_GENOTYPE).all()]
    numbers = [
        name for name in frame.columns if "acc" in str(name).lower() and pd.api.types.is_numeric_dtype(frame[name])
    ]
    if not texts or not numbers:
        raise TableError(
            f"'{path}' has the columns {shown(', '.join(map(str, frame.columns)))}, expected one of genotypes and one "
            "of numbers whose name holds 'acc': give the public file."
        )
    accuracies = frame[numbers[-1]].astype(float)
    percent = accuracies * 100 if accuracies.max() <= 1 else accuracies
    by_genotype = percent.groupby(frame[texts[0]].map(lambda text: genotype_string(str(text))), sort=False).mean()
    return BenchmarkTable("darts-swap", "darts", pd.DataFrame({"cifar10.valid": by_genotype}))
