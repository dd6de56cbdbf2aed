"""What a search keeps in its store beside the scores: its history, measured latencies, trainings of a run-off."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from trainless.errors import InputError
from trainless.store import Store, key_of

__all__ = ["Journal", "is_kept", "key_of"]

_SEARCHES = "searches"
_NOTE_SECONDS = 1.0  # so much of the time used may be forgotten when the process is killed


def is_kept(store: Store, settings: Mapping[str, str]) -> bool:
    """Tell whether a store has the record of a search."""
    return key_of(settings) in store.notes(_SEARCHES)


class Journal:
    """The record of one search: what was told, and when since it began.

    A search is known by all that decides its history: its budget, the workers and the run-off are no part of it.

    Args:
        store: where it is kept; None keeps it nowhere.
        settings: all that decides the history, as name and value.
        resume: go on with the record in the store, instead of beginning it anew.

    Attributes:
        seconds: time used by what is resumed.

    Raises:
        InputError: a search is to be resumed, but there is no store, or it has others only; the message tells what
            differs. With a store without any search it begins.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "search.db") as store:
        ...     first = Journal(store, {"strategy": "random", "seed": "0"})
        ...     first.add([("a", 0)], seconds=1.5)
        ...     again = Journal(store, {"strategy": "random", "seed": "0"}, resume=True)
        ...     again.add([("a", 0), ("b", 0)], seconds=2.5)
        [1.5]
        [1.5, 2.5]
    """

    def __init__(self, store: Store | None, settings: Mapping[str, str], resume: bool = False) -> None:
        self.store, self.settings = store, dict(settings)
        self.seconds = 0.0
        self._key = key_of(self.settings)
        self._topic = f"history of {self._key}"
        self._before: list[tuple[str, int, float]] = []
        self._count = 0
        self._noted = -_NOTE_SECONDS
        if resume:
            self._resume()
        elif store:
            store.forget(self._topic)
            self._note_time()

    def _resume(self) -> None:
        if self.store is None:
            raise InputError("A search without a store cannot be resumed: name the store that it was begun with.")
        searches = self.store.notes(_SEARCHES)
        if self._key in searches:
            rows = sorted(self.store.notes(self._topic).items())
            self._before = [(architecture, rung, seconds) for _, (architecture, rung, seconds) in rows]
            self.seconds = max([searches[self._key]["seconds"], *(seconds for *_, seconds in self._before)])
        elif searches:
            raise InputError(self._not_there([search["settings"] for search in searches.values()]))

    def _not_there(self, others: Sequence[Mapping[str, str]]) -> str:
        def differing(other: Mapping[str, str]) -> list[str]:
            return [name for name, value in self.settings.items() if other.get(name) != value]

        nearest = min(others, key=lambda other: len(differing(other)))
        told = "; ".join(
            f"{name} is '{self.settings[name]}', there '{nearest.get(name)}'" for name in differing(nearest)
        )
        location = self.store.location if self.store else ""
        return (
            f"'{location}' holds no such search to resume, the nearest differs ({told}): give the same settings, or "
            "begin this one without resuming."
        )

    @property
    def is_repeating(self) -> bool:
        """Whether what comes next was told before."""
        return self._count < len(self._before)

    def add(self, told: Sequence[tuple[str, int]], seconds: float) -> list[float]:
        """Write what was told now: architecture and rung.

        Returns:
            When each was told first, in seconds since the search began: of what is only repeated, not now.
        """
        self.seconds = max(self.seconds, seconds)
        when, new = list[float](), dict[str, Any]()
        for number, (architecture, rung) in enumerate(told, self._count):
            if number < len(self._before) and self._before[number][:2] == (architecture, rung):
                when.append(self._before[number][2])
            else:
                del self._before[number:]  # from where it differs nothing is repeated
                when.append(seconds)
                new[f"{number:08}"] = (architecture, rung, seconds)
        self._count += len(told)
        if self.store:
            self.store.note(self._topic, new)
            if time.monotonic() - self._noted >= _NOTE_SECONDS:
                self._note_time()
        return when

    def _note_time(self) -> None:
        assert self.store is not None
        self._noted = time.monotonic()
        self.store.note(_SEARCHES, {self._key: {"settings": self.settings, "seconds": self.seconds}})
