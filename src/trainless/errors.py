"""The exceptions of trainless, all under one root.

    TrainlessError
    ├── InputError (also a ValueError)   what the caller gave cannot be used; the message says what to do
    │   ├── UnknownNameError             a name that is in no registry
    │   ├── ArchitectureError            text or a genotype that is no architecture of the space
    │   ├── DataError                    files or images that cannot be used
    │   ├── NetworkError                 a network that the passes cannot score
    │   ├── StoreError                   a score store that cannot be opened, read or written
    │   └── TableError                   a table of true accuracies that cannot be had, read or asked that
    └── ScoringError                     something failed while scoring, through no fault of the input

The command line prints the message of an `InputError` as one sentence and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArchitectureError",
    "DataError",
    "InputError",
    "NetworkError",
    "ScoringError",
    "StoreError",
    "TableError",
    "TrainlessError",
    "UnknownNameError",
]


class TrainlessError(Exception):
    """The root of all exceptions that trainless raises on purpose."""


class InputError(TrainlessError, ValueError):
    """What the caller gave cannot be used; the message names the value, what was expected and what to do."""


class UnknownNameError(InputError):
    """A name was given that is in no registry.

    Args:
        kind: what was looked up, such as ``"proxy"``.
        name: the name that was not found.
        known: the names there are; the nearest is suggested.

    Example:
        >>> str(UnknownNameError("proxy", "nwott", ["nwot", "snip"]))
        "There is no proxy 'nwott': did you mean 'nwot'? Known: nwot, snip."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'? Known" if near else "known"
        super().__init__(f"There is no {kind} '{name}': {hint}: {', '.join(names)}.")


class ArchitectureError(InputError):
    """Text or a genotype was given that is no architecture of the search space."""


class DataError(InputError):
    """Files or images were given that cannot be used as a labelled data set."""


class NetworkError(InputError):
    """A network was given that the passes cannot score."""


class StoreError(InputError):
    """A score store cannot be opened, read or written."""


class TableError(InputError):
    """A table of true accuracies cannot be had or read, or lacks what it was asked for."""


class ScoringError(TrainlessError):
    """Something failed while scoring, through no fault of the input."""
