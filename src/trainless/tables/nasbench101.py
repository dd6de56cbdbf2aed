"""NAS-Bench-101 (Ying et al., ICML 2019): strings for its cells.

There is no published string of a cell, only graphs and hashes. Ours names the vertices after the input one by one, each
with the vertices that it takes its input from: ``conv3x3(0)+maxpool3x3(0,1)+output(1,2)``. Vertices on no path from
input to output are left out. Of all numberings of the vertices in which edges go up, that one counts which makes the
operations, read as a number in base 3 with the first vertex as its least digit, smallest, and then the edges, read as
bits in the order (0,1), (0,2), (1,2), (0,3), ... with the first as the least: so isomorphic cells have one string.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainless.errors import TableError
from trainless.tables.files import shown, whole_numbers

__all__ = ["MOST_VERTICES", "canonical_cells", "cell_from_key", "cell_string", "edge_bit", "module_hash"]

_OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")  # as the public table of graphs numbers them
_KEY_OPERATIONS = (None, None, 2, 1, 0)  # NASLib's codes: input, output, maxpool3x3, conv1x1, conv3x3
_OPS_SHIFT = 21  # a cell as one integer: operations above the 21 bits of the edges


MOST_VERTICES = 7
"""The vertices of the largest cells, input and output counted."""


def edge_bit(source: int, target: int) -> int:
    """Give the position of an edge among the bits: by target, then by source.

    Example:
        >>> edge_bit(0, 1), edge_bit(0, 2), edge_bit(1, 2), edge_bit(0, 3)
        (0, 1, 2, 3)
    """
    return target * (target - 1) // 2 + source


def _edges(vertices: int) -> list[tuple[int, int]]:
    return [(source, target) for target in range(1, vertices) for source in range(target)]


def canonical_cells(
    vertices: NDArray[np.integer[Any]], edge_bits: NDArray[np.integer[Any]], op_codes: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Number each cell so that isomorphic cells, and only those, have one number.

    Args:
        vertices: number of vertices of each cell, input and output counted, 2 to 7.
        edge_bits: bit k is edge (i, j), k running over j = 1 .. V-1 and i = 0 .. j-1.
        op_codes: operations in base 3, the least digit that of vertex 1; 0 is a 3x3 convolution, 1 a 1x1
            convolution, 2 max pooling.

    Returns:
        ``op_codes << 21 | edge_bits`` of the numbering in which that is smallest.

    Example:
        >>> chain, swapped = (0, 2), (2, 0)  # input to both, both to output; the operations the other way round
        >>> codes = np.array([first + 3 * second for first, second in (chain, swapped)])
        >>> np.unique(canonical_cells(np.full(2, 4), np.full(2, 0b110011), codes)).size
        1
    """
    numbers = np.empty(len(vertices), np.int64)
    for size in np.unique(vertices):
        chosen = np.flatnonzero(vertices == size)
        numbers[chosen] = _smallest(int(size), edge_bits[chosen].astype(np.int64), op_codes[chosen].astype(np.int64))
    return numbers


def _smallest(size: int, edge_bits: NDArray[np.int64], op_codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Try every numbering of the inner vertices; tables of half the bits each make one a few look-ups."""
    half = size * (size - 1) // 4 + 1
    low, high = edge_bits & ((1 << half) - 1), edge_bits >> half
    smallest = np.full(len(edge_bits), np.iinfo(np.int64).max)
    for order in permutations(range(1, size - 1)):
        place = (0, *order, size - 1)
        moves = [
            edge_bit(place[source], place[target]) if place[source] < place[target] else -1
            for source, target in _edges(size)
        ]
        edges: NDArray[np.int64] = _moved_bits(moves[:half])[low] | _moved_bits(moves[half:])[high]
        numbers = (_moved_operations(size, place)[op_codes] << _OPS_SHIFT) | edges
        # an edge that would go down has set the sign
        np.minimum(smallest, np.where(edges < 0, smallest, numbers), out=smallest)
    return smallest


def _moved_bits(moves: Sequence[int]) -> NDArray[np.int64]:
    """Where each pattern of bits goes; negative where a bit has no place (-1)."""
    table = np.zeros(1, np.int64)
    for move in moves:
        table = np.concatenate([table, table | (np.int64(-(2**62)) if move < 0 else np.int64(1 << move))])
    return table


def _moved_operations(size: int, place: Sequence[int]) -> NDArray[np.int64]:
    codes = np.arange(3 ** (size - 2))
    moved = np.zeros_like(codes)
    for vertex in range(1, size - 1):
        moved += codes // 3 ** (vertex - 1) % 3 * 3 ** (place[vertex] - 1)
    return moved


def cell_string(vertices: int, number: int) -> str:
    """Write a cell that `canonical_cells` has numbered.

    Example:
        >>> cell_string(4, (2 << 21) | 0b110011)
        'maxpool3x3(0)+conv3x3(0)+output(1,2)'
    """
    codes, edges = number >> _OPS_SHIFT, number & ((1 << _OPS_SHIFT) - 1)
    return "+".join(
        (
            _vertex(_OPERATIONS[codes // 3 ** (target - 1) % 3], edges >> edge_bit(0, target) & ((1 << target) - 1))
            if target < vertices - 1
            else _vertex("output", edges >> edge_bit(0, target))
        )
        for target in range(1, vertices)
    )


@cache
def _vertex(operation: str, sources: int) -> str:
    return f"{operation}({','.join(str(vertex) for vertex in range(MOST_VERTICES) if sources >> vertex & 1)})"


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
        values = whole_numbers(key)
        matrix = np.array(values[: MOST_VERTICES**2], bool).reshape(MOST_VERTICES, MOST_VERTICES)
        live = _live(matrix)
        operations = [_KEY_OPERATIONS[values[MOST_VERTICES**2 + vertex]] for vertex in live[1:-1]]
        if len(values) != MOST_VERTICES * (MOST_VERTICES + 1) or max(values[: MOST_VERTICES**2]) > 1:
            raise ValueError
        if np.tril(matrix).any() or None in operations:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise TableError(
            f"'{shown(key)}' is no cell in NASLib's form, expected 49 bits of an upper triangular matrix that joins "
            "input and output, and 7 operations: fetch the file again."
        ) from error
    pruned = matrix[np.ix_(live, live)]
    edges = sum(1 << edge_bit(source, target) for source, target in _edges(len(live)) if pruned[source, target])
    codes = sum(operation * 3**place for place, operation in enumerate(operations) if operation)
    number = canonical_cells(np.array([len(live)]), np.array([edges]), np.array([codes]))[0]
    return cell_string(len(live), int(number))


def _live(matrix: NDArray[np.bool_]) -> list[int]:
    """Vertices on a path from the first to the last."""
    forward, backward = {0}, {MOST_VERTICES - 1}
    for vertex in range(MOST_VERTICES):
        if vertex in forward:
            forward |= set(np.flatnonzero(matrix[vertex]).tolist())
    for vertex in reversed(range(MOST_VERTICES)):
        if vertex in backward:
            backward |= set(np.flatnonzero(matrix[:, vertex]).tolist())
    if MOST_VERTICES - 1 not in forward:
        raise ValueError
    return sorted(forward & backward)


def module_hash(vertices: int, edge_bits: int, op_code: int) -> str:
    """Compute the published hash of a cell, the name that NAS-Bench-101's own files give it.

    It refines the degrees and operations of the vertices by those of their neighbours, as many times as there are
    vertices, each time by the MD5 of their sorted hashes (Ying, "Enumerating unique computational graphs via an
    iterative graph invariant", 2019).

    Args:
        vertices: number of vertices, input and output counted.
        edge_bits: as for `canonical_cells`.
        op_code: as for `canonical_cells`.

    Example:
        >>> module_hash(4, 0b110011, 0 + 3 * 2) == module_hash(4, 0b110011, 2 + 3 * 0)  # two operations side by side
        True
    """
    before: list[list[int]] = [[] for _ in range(vertices)]
    after: list[list[int]] = [[] for _ in range(vertices)]
    for source, target in _edges(vertices):
        if edge_bits >> edge_bit(source, target) & 1:
            before[target].append(source)
            after[source].append(target)
    labels = [-1, *(op_code // 3**place % 3 for place in range(vertices - 2)), -2]
    hashes = [
        _md5(f"({len(out)}, {len(into)}, {label})") for into, out, label in zip(before, after, labels, strict=True)
    ]
    for _ in range(vertices):
        hashes = [
            _md5(f"{_joined(hashes, into)}|{_joined(hashes, out)}|{own}")
            for into, out, own in zip(before, after, hashes, strict=True)
        ]
    return _md5(str(sorted(hashes)))


def _joined(hashes: Sequence[str], chosen: Sequence[int]) -> str:
    return "".join(sorted([hashes[vertex] for vertex in chosen]))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
