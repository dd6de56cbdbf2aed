"""What was learnt so far, kept in a folder beside a store of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from trainless.data import ImageDataset
from trainless.files import read_state, write_file
from trainless.store import Store, key_of
from trainless.training import TrainingState, train

__all__ = ["KeptState", "last_state"]


class KeptState:
    """A file with the last state of one training or search, named by all that decides it.

    Args:
        store: beside whose file the folder is, ``scores.db.supernets`` for ``scores.db``; where there is none, or it is
            no file, nothing is kept.
        settings: what decides it, by name.

    Example:
        >>> KeptState(None, {"seed": "0"}).read() is None
        True
    """

    def __init__(self, store: Store | None, settings: Mapping[str, str]) -> None:
        location = store.location if store else ""
        is_file = bool(location) and "://" not in location
        self._path = Path(f"{location}.supernets", f"{key_of(settings)}.pt") if is_file else None

    def read(self) -> dict[str, Any] | None:
        """Give what an earlier one came to; None where there was none.

        Raises:
            InputError: the file is damaged.
        """
        if self._path is None or not self._path.is_file():
            return None
        return read_state(self._path)

    def training(self) -> TrainingState | None:
        """Give the state that an earlier training came to; None where there was none."""
        found = self.read()
        return None if found is None else TrainingState(**found)

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep a state, of tensors, numbers and plain containers, in place of the one before."""
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)
            write_file(self._path, lambda path: torch.save(dict(state), path))

    def keeper(self, told: Callable[[int, int], None], epochs: int) -> Callable[[TrainingState], None]:
        """Give what keeps each state of a training, and tells of its epochs and all of them."""

        def keep(state: TrainingState) -> None:
            self.write(vars(state))
            told(state.epochs, epochs)

        return keep


def last_state(
    network: torch.nn.Module, train_set: ImageDataset, valid_set: ImageDataset, *, resume: TrainingState | None,
    on_epoch: Callable[[TrainingState], None] | None, **options: Any,
) -> TrainingState:  # fmt: skip
    """Train a network as `trainless.training.train` does, and give the state after the last epoch, not the best."""
    states: list[TrainingState] = [resume] if resume else []

    def keep(state: TrainingState) -> None:
        states[:] = [state]
        if on_epoch:
            on_epoch(state)

    train(network, train_set, valid_set, resume=resume, on_epoch=keep, **options)
    return states[-1]
