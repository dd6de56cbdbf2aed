"""The public files of NAS-Bench-101's accuracies: a table of graphs, and validation accuracies by hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainless.data.arrays import check_unpacked
from trainless.errors import DataError, TableError
from trainless.search_spaces.nasbench101_cells import (
    MOST_VERTICES,
    Graph,
    cell_hash,
    cell_numbers,
    edge_bit,
    graph_of,
    text_of,
)
from trainless.tables.base import BenchmarkTable
from trainless.tables.files import number, read_json, reason

__all__ = ["read_nasbench101", "read_validation"]

_EPOCHS = (4, 12, 36, 108)
_COUNTS = ("vertices", "edge_bits", "op_code", "params")


def read_nasbench101(path: Path) -> BenchmarkTable:
    """Read the test accuracies and parameter counts of all 423,624 cells from their table of graphs (``.npz``).

    Accuracies are in percent, the mean of three runs of 108 epochs.

    Raises:
        TableError: the file is missing, damaged, or of another form.
    """
    return _accuracies(_read_graphs(path))


def _accuracies(graphs: Mapping[str, NDArray[Any]]) -> BenchmarkTable:
    sizes, edges = graphs["vertices"].astype(np.int64), graphs["edge_bits"].astype(np.int64)
    numbers = np.empty(len(sizes), np.int64)
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        numbers[rows] = cell_numbers(size, edges[rows], _first_digit_first(size, graphs["op_code"][rows]))
    strings = [text_of(graph_of(size, number)) for size, number in zip(sizes.tolist(), numbers.tolist(), strict=True)]
    frame = pd.DataFrame(
        {
            "cifar10.test": 100 * graphs["test_accuracy"].astype(float),
            "cifar10.parameters": graphs["params"].astype(np.int64),
        },
        index=pd.Index(strings, name="architecture"),
    )
    return BenchmarkTable("nasbench101", "nasbench101", frame)


def _first_digit_first(vertices: int, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Turn operations around that are written in base 3 with vertex 1 as the last digit."""
    turned = np.zeros(len(codes), np.int64)
    for position in range(vertices - 2):
        turned = 3 * turned + codes.astype(np.int64) // 3**position % 3
    return turned


def _hashes(cells: Iterable[tuple[int, int, int]], progress: Callable[[int, int], None] | None) -> list[str]:
    listed, hashes = list(cells), []
    for done, cell in enumerate(listed):
        if progress and done % 10_000 == 0:
            progress(done, len(listed))
        vertices, edges, code = cell
        hashes.append(cell_hash(Graph(edges, tuple(code // 3**position % 3 for position in range(vertices - 2)))))
    return hashes


def _read_graphs(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            names = (*_COUNTS, "test_accuracy")
            check_unpacked(path, file, names)
            graphs = {name: file[name] for name in names}
    except Exception as error:  # a damaged archive raises whatever its decoder does
        # NumPy's own words for what is no array advise to unpickle it.
        known = isinstance(error, OSError | KeyError | DataError)
        raise _no_graphs(path, reason(error) if known else "it is damaged, or holds more than numbers") from error
    if fault := _fault(graphs):
        raise _no_graphs(path, fault)
    return graphs


def _no_graphs(path: Path, why: str) -> TableError:
    return TableError(f"'{path}' is no table of NAS-Bench-101's graphs ({why}): fetch it again.")


def _fault(graphs: Mapping[str, NDArray[Any]]) -> str:
    """What is wrong with a table of graphs; empty where nothing is."""
    accuracies = graphs["test_accuracy"]
    if not accuracies.size or any(array.shape != (accuracies.size,) for array in graphs.values()):
        return "its arrays are of different lengths"
    if any(graphs[name].dtype.kind not in "iu" for name in _COUNTS):
        return "its graphs and parameters are not whole numbers"
    if accuracies.dtype.kind != "f" or not ((accuracies >= 0) & (accuracies <= 1)).all():
        return "its accuracies are not numbers between 0 and 1"
    sizes, edges, codes, parameters = (graphs[name].astype(np.int64) for name in _COUNTS)
    if sizes.min() < 2 or sizes.max() > MOST_VERTICES or codes.min() < 0 or (codes >= 3 ** (sizes - 2)).any():
        return "it holds graphs that are no cells"
    if edges.min() < 0 or (edges >> (sizes * (sizes - 1) // 2)).any():
        return "it holds edges of vertices that are not there"
    if parameters.min() < 0:
        return "it holds negative numbers of parameters"
    return "" if _all_on_paths(sizes, edges) else "it holds vertices on no path from input to output"


def _all_on_paths(sizes: NDArray[np.int64], edge_bits: NDArray[np.int64]) -> bool:
    """Edges go up, so a vertex is on a path when one leads to it and one on from it."""
    left = np.zeros_like(edge_bits)  # the vertices that an edge leads on from, as bits
    for target in range(1, MOST_VERTICES):
        sources = edge_bits >> edge_bit(0, target) & ((1 << target) - 1)
        if (sources[target < sizes] == 0).any():
            return False
        left |= sources
    return bool((left == (1 << (sizes - 1)) - 1).all())


def read_validation(
    graphs: Path, validation: Path, progress: Callable[[int, int], None] | None = None
) -> BenchmarkTable:
    """Read the validation accuracies of 20,001 cells after 4, 12, 36 and 108 epochs, beside their test accuracies.

    That file names cells by their hash alone, so those of all graphs are computed first: about a minute.

    Args:
        graphs: as for `read_nasbench101`.
        validation: the JSON file of lists.
        progress: called with the hashes done and the number of all.

    Raises:
        TableError: a file is missing, damaged, or of another form.
    """
    values, cells = _read_values(validation), _read_graphs(graphs)
    hashes = _hashes(
        zip(*(cells[name].tolist() for name in ("vertices", "edge_bits", "op_code")), strict=True), progress
    )
    frame = _accuracies(cells).frame.assign(key=hashes).merge(values, left_on="key", right_index=True, how="inner")
    return BenchmarkTable("nasbench101-valid", "nasbench101", frame.drop(columns="key"))


def _read_values(path: Path) -> pd.DataFrame:
    """Accuracies in percent and seconds, by hash."""
    content = read_json(path)
    names = {f"{epochs}_final_validation_accuracy": f"cifar10.valid_epoch{epochs}" for epochs in _EPOCHS}
    names["final_training_time"] = "cifar10.train_seconds"
    try:
        columns = {column: [number(value) for value in content[name]] for name, column in names.items()}
        values = pd.DataFrame(columns).set_axis(pd.Index(map(str, content["key"])), axis="index")
    except (LookupError, TypeError, ValueError) as error:
        raise TableError(
            f"'{path}' is no list of NAS-Bench-101's validation accuracies ({reason(error)}): fetch it again."
        ) from error
    return values.mul([100.0] * len(_EPOCHS) + [1.0])
