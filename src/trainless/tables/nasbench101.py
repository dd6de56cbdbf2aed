"""Keys of NAS-Bench-101's cells (Ying et al., ICML 2019) in published files, as strings of the search space.

There is no published string of a cell, only graphs and hashes. `trainless.search_spaces.nasbench101_cells` says how
ours are made, so that isomorphic cells have one string.
"""

from __future__ import annotations

import numpy as np

from trainless.errors import TableError
from trainless.search_spaces.nasbench101_cells import (
    MOST_VERTICES,
    Graph,
    canonical_graph,
    edge_bit,
    pruned,
    text_of,
)
from trainless.tables.files import shown, whole_numbers

__all__ = ["cell_from_key"]

_KEY_OPERATIONS = (None, None, 2, 1, 0)  # NASLib's codes: input, output, maxpool3x3, conv1x1, conv3x3


def cell_from_key(key: str) -> str:
    """Turn NASLib's key of a cell, 49 bits of adjacency and 7 operations as text, into its string.

    Raises:
        TableError: the text is no such key, or no path leads from input to output.

    Example:
        >>> rows = [[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], *[[0] * 7] * 5]
        >>> cell_from_key(str((*sum(rows, []), 0, 3, 2, 2, 2, 2, 1)))
        'conv1x1(0)+output(1)'
    """
    try:
        graph = _graph(whole_numbers(key))
    except (ValueError, IndexError) as error:
        raise TableError(
            f"'{shown(key)}' is no cell in NASLib's form, expected 49 bits of an upper triangular matrix that joins "
            "input and output, and 7 operations: fetch the file again."
        ) from error
    return text_of(canonical_graph(graph))


def _graph(values: list[int]) -> Graph:
    matrix = np.array(values[: MOST_VERTICES**2]).reshape(MOST_VERTICES, MOST_VERTICES)
    if len(values) != MOST_VERTICES * (MOST_VERTICES + 1) or matrix.max() > 1 or np.tril(matrix).any():
        raise ValueError
    edges = sum(1 << edge_bit(source, target) for source, target in np.argwhere(matrix).tolist())
    # What the key calls input or output between the two, on no path, is left out before it is looked at.
    operations = [_KEY_OPERATIONS[value] for value in values[MOST_VERTICES**2 + 1 : -1]]
    graph = pruned(Graph(edges, tuple(-1 if operation is None else operation for operation in operations)))
    if graph is None or -1 in graph.operations:
        raise ValueError
    return graph
