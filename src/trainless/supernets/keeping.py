"""What was learnt so far, kept in a folder beside a store of scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainless.data import ImageDataset, fingerprint
from trainless.errors import InputError
from trainless.files import read_state, write_file
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store, key_of
from trainless.tables.downloads import cache_folder
from trainless.training import TrainingState, train

__all__ = ["KeptState", "last_state", "standing"]


class KeptState:
    """A file with the last state of one training or search, named by all that decides it.

    It is plain data, which worker processes can be given.

    Args:
        store: beside whose file the folder is, ``scores.db.supernets`` for ``scores.db``; of a database on a server it
            is in `trainless.tables.cache_folder`, for this machine. Where there is no store, or this machine has not
            the folder of its file, nothing is kept.
        settings: what decides it, by name.

    Example:
        >>> KeptState(None, {"seed": "0"}).read() is None
        True
    """

    def __init__(self, store: Store | None, settings: Mapping[str, str]) -> None:
        location = store.location if store else ""
        self._folder = Path(f"{location}.supernets") if location and "://" not in location else None
        self._is_beside = self._folder is not None
        if location.startswith("postgresql"):
            self._folder = cache_folder() / "supernets" / key_of({"store": location})
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
        if self._folder is None or (self._is_beside and not self._folder.parent.is_dir()):
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
        """Keep a state, of tensors, numbers and plain containers, in place of the one before.

        Raises:
            InputError: it cannot be written.
        """
        path = self._path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=not self._is_beside, exist_ok=True)
            write_file(path, lambda path: torch.save(dict(state), path), is_shared=True)
        except OSError as error:
            elsewhere = "" if self._is_beside else ", or name another by TRAINLESS_CACHE"
            raise InputError(
                f"What is learnt cannot be kept in '{path.parent}' ({error.strerror}): make the folder one that can be "
                f"written to{elsewhere}."
            ) from error

    def keeper(
        self, told: Callable[[int, int], None], epochs: int, minutes: float = math.inf
    ) -> Callable[[TrainingState], None]:  # fmt: skip
        """Give what keeps each state of a training, and tells of what is done and all of it: epochs, or seconds."""

        def keep(state: TrainingState) -> None:
            self.write(vars(state))
            told(*standing(state, epochs, minutes))

        return keep


def standing(state: TrainingState | None, epochs: int, minutes: float) -> tuple[int, int]:
    """Say what of a training is done, and all of it: in epochs, or in seconds where a time ends it.

    Example:
        >>> standing(None, 50, math.inf), standing(None, 50, 2.5)
        ((0, 50), (0, 150))
    """
    if math.isinf(minutes):
        return (state.epochs if state else 0), epochs
    seconds = math.ceil(60 * minutes)
    return (min(seconds, int(state.seconds)) if state else 0), seconds


def last_state(
    network: torch.nn.Module, train_set: ImageDataset, valid_set: ImageDataset, *, resume: TrainingState | None,
    on_epoch: Callable[[TrainingState], None] | None, minutes: float = math.inf, **options: Any,
) -> TrainingState:  # fmt: skip
    """Train a network as `trainless.training.train` does, and give the state after the last epoch, not the best.

    Args:
        network: as for `train`, as all that is not named here.
        train_set: likewise.
        valid_set: likewise.
        resume: likewise.
        on_epoch: likewise.
        minutes: of the training, with what it took before it is resumed, after which no epoch shall end.
        options: further arguments of `train`.
    """
    states: list[TrainingState] = [resume] if resume else []

    def keep(state: TrainingState) -> None:
        states[:] = [state]
        if on_epoch:
            on_epoch(state)

    taken, begin = resume.seconds if resume else 0.0, time.monotonic()
    deadline = None if math.isinf(minutes) else begin + 60 * minutes - taken
    train(network, train_set, valid_set, resume=resume, on_epoch=keep, deadline=deadline, **options)
    if states[-1].progress < 1 and deadline is not None:
        # It ends here for good: resumed, it could else go on for what is left of the time. An epoch that was left took
        # some of it too.
        keep(replace(states[-1], progress=1.0, seconds=taken + time.monotonic() - begin))
    return states[-1]
