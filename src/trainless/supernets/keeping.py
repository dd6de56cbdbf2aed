"""What was learnt so far, kept in a folder beside a store of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import torch

from trainless.data import ImageDataset, fingerprint
from trainless.files import read_state, write_file
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store, key_of
from trainless.training import TrainingState, train

__all__ = ["KeptState", "last_state"]


class KeptState:
    """A file with the last state of one training or search, named by all that decides it.

    It is plain data, which worker processes can be given.

    Args:
        store: beside whose file the folder is, ``scores.db.supernets`` for ``scores.db``; where there is none, or it is
            no file, or this machine has not its folder, nothing is kept.
        settings: what decides it, by name.

    Example:
        >>> KeptState(None, {"seed": "0"}).read() is None
        True
    """

    def __init__(self, store: Store | None, settings: Mapping[str, str]) -> None:
        location = store.location if store else ""
        self._folder = Path(f"{location}.supernets") if location and "://" not in location else None
        self._settings = dict(settings)

    @classmethod
    def on_images(
        cls, store: Store | None, space: SearchSpace, images: ImageDataset, seed: int, **settings: str
    ) -> KeptState:  # fmt: skip
        """Give the state of what is also decided by a search space, images and a seed."""
        data = f"{images.task} {fingerprint(images)}"
        return cls(store, {**settings, "space": space.spec, "seed": str(seed), "data": data})

    @property
    def _path(self) -> Path | None:
        if self._folder is None or not self._folder.parent.is_dir():
            return None
        return self._folder / f"{key_of(self._settings)}.pt"

    def part(self, **settings: str) -> KeptState:
        """Give the state of a part of it, which is decided by more."""
        part = copy(self)
        part._settings = self._settings | settings
        return part

    def read(self) -> dict[str, Any] | None:
        """Give what an earlier one came to; None where there was none.

        Raises:
            InputError: the file is damaged.
        """
        path = self._path
        return read_state(path) if path and path.is_file() else None

    def training(self) -> TrainingState | None:
        """Give the state that an earlier training came to; None where there was none."""
        found = self.read()
        return None if found is None else TrainingState(**found)

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep a state, of tensors, numbers and plain containers, in place of the one before."""
        if path := self._path:
            path.parent.mkdir(exist_ok=True)
            write_file(path, lambda path: torch.save(dict(state), path), is_shared=True)

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
