"""Trainings of many architectures that outlive the process: stored one by one, in workers that stay."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from trainless.data import ImageDataset
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store, key_of
from trainless.training.candidates import Setting, lost_training, train_one
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingResult
from trainless.types import Architecture
from trainless.workers import worker_pool

__all__ = ["TrainingCache", "fingerprint", "training_session"]

Progress = Callable[[int, int], None]


class TrainingCache:
    """The trainings in a store that share all but the architecture and the epochs.

    Args:
        store: where they are; None keeps none.
        space: builds the networks.
        data: the images, before a part is set aside to validate with.
        seed: of the trainings.
        recipe: of the trainings.
        others: what else decides a training and is not as usual, as name and value.

    Attributes:
        found: what the store held, by the architecture's string and the epochs.

    Example:
        >>> import tempfile
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/scores.db") as store:
        ...     place = (store, search_space("nasbench201"), load_data("digits"), 0, Recipe())
        ...     TrainingCache(*place).keep("a cell", 3, TrainingResult(91.0, 3, 2, 1.0))
        ...     TrainingCache(*place).found["a cell", 3].valid_accuracy, TrainingCache(*place, {"images": "0.5"}).found
        (91.0, {})
    """

    def __init__(
        self, store: Store | None, space: SearchSpace, data: ImageDataset, seed: int, recipe: Recipe,
        others: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        # The name and the options, as they stood in the first stores.
        settings = {"space": f"{space.name} {dict(space.options)}", "data": f"{data.task} {fingerprint(data)}",
                    "seed": str(seed), "recipe": str(recipe), **(others or {})}  # fmt: skip
        self._store, self._topic = store, f"trainings of {key_of(settings)}"
        self.found: dict[tuple[str, int], TrainingResult] = {}
        for name, value in store.notes(self._topic).items() if store else ():
            architecture, _, epochs = name.rpartition(" ")
            fields: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each
                                      for key, each in value.items()}  # fmt: skip
            self.found[architecture, int(epochs)] = TrainingResult(**fields)

    def keep(self, architecture: str, epochs: int, result: TrainingResult) -> None:
        """Store a training that has ended."""
        if self._store:
            self._store.note(self._topic, {f"{architecture} {epochs}": asdict(result)})


@contextmanager
def training_session(
    space: SearchSpace, train_set: ImageDataset, valid_set: ImageDataset, kept: TrainingCache, *, epochs: int,
    seed: int = 0, workers: int | None = None, progress: Progress | None = None, **options: Any,
) -> Iterator[Callable[[Sequence[Architecture]], list[TrainingResult]]]:  # fmt: skip
    """Keep workers for trainings of architectures that come a few at a time.

    Gives a function that trains architectures and returns what each came to, in the order given. The same one is
    trained once; what has ended is kept at once, and what failed is tried again by another session.

    Args:
        space: builds the networks.
        train_set: images to learn from.
        valid_set: images to validate with.
        kept: where results are kept.
        epochs: of each training.
        seed: decides all of a training.
        workers: processes of one thread each; 0 trains in this process, None is one a core.
        progress: called with the trainings done and all of those that a call asks for.
        options: further arguments of `trainless.training.train`.

    Example:
        >>> from trainless.data import load_data, split
        >>> from trainless.search_spaces import search_space
        >>> small, digits = search_space("nasbench201", channels=2, cells=1), load_data("digits")
        >>> kept = TrainingCache(None, small, digits, 0, Recipe())
        >>> with training_session(small, *split(digits, 0.8), kept, epochs=1, workers=0) as trained:
        ...     [result.epochs for result in trained([small[0], small[1], small[0]])]
        [1, 1, 1]
    """
    known = dict(kept.found)
    setting = Setting(space, train_set, valid_set, {"seed": seed, **options})
    count = os.cpu_count() or 1 if workers is None else workers

    def trained(architectures: Sequence[Architecture]) -> list[TrainingResult]:
        distinct = dict.fromkeys(architectures)
        units = [(one, epochs) for one in distinct if (str(one), epochs) not in known]
        done = len(distinct) - len(units)
        if progress:
            progress(done, len(distinct))
        for (one, _), result in run(units):
            known[str(one), epochs] = result
            if not result.reason:
                kept.keep(str(one), epochs, result)
            done += 1
            if progress:
                progress(done, len(distinct))
        return [known[str(one), epochs] for one in architectures]

    with worker_pool(train_one, setting, count, lost_training) as run:
        yield trained


def fingerprint(data: ImageDataset) -> str:
    """Tell images, labels and normalisation apart; one other label is another training."""
    digest = hashlib.sha256(repr([data.images.shape, *map(float, (*data.mean, *data.std))]).encode())
    for values in (data.images, data.labels):
        digest.update(np.ravel(values).data)
    return digest.hexdigest()[:16]
