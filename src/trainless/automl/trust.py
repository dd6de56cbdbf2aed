"""How far the proxies can be trusted on somebody's own images: a small sample is trained and held against them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from trainless.data import ImageDataset, load_data
from trainless.errors import InputError
from trainless.metrics import evaluate
from trainless.scoring import Scorer
from trainless.search import RunOff
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed
from trainless.store import Store
from trainless.types import Architecture

__all__ = ["Trust", "trust"]

LEAST = 5
"""Fewest architectures whose order says anything."""

_DRAWS = 50  # for each architecture that is wanted, until enough of them are different networks


@dataclass(frozen=True, eq=False)
class Trust:
    """How proxies rank a sample of architectures that was trained.

    Args:
        metrics: one row a proxy, as `trainless.evaluate` gives them; the intervals say how little a small sample tells.
        scores: one row an architecture, one column a proxy, higher is better.
        accuracies: validation accuracy in percent after the training, by architecture.
        failed: by architecture, why its training came to nothing.
        protocol: how all this came about, as name and value.
    """

    metrics: pd.DataFrame
    scores: pd.DataFrame
    accuracies: pd.Series
    failed: dict[str, str] = field(default_factory=dict)
    protocol: dict[str, str] = field(default_factory=dict)


def trust(
    data: str | os.PathLike[str] | ImageDataset,
    space: str | SearchSpace = "nasbench201",
    *,
    train: int = 30,
    proxies: str | Iterable[str] = "params, flops, logsynflow, nwot, snip, grad_norm, zen",
    epochs: int = 12,
    images: int = 2500,
    augment: bool = False,
    seed: int = 0,
    workers: int | None = None,
    store: Store | str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trust:
    """Train a small seeded sample of a space on some images, and hold the scores of proxies against its accuracies.

    Short trainings rank other networks first than long ones: this tells how proxies agree with trainings of so many
    epochs.

    Args:
        data: what `trainless.data.load_data` takes.
        space: a search space or its name.
        train: architectures that are trained, all different networks.
        proxies: as for `trainless.Scorer`.
        epochs: of each training.
        images: most images to train and validate on.
        augment: mirror and shift training images; for photographs.
        seed: decides everything random.
        workers: processes; None is one a core.
        store: where scores and trainings are kept, so that an interrupted call goes on.
        progress: called with the epochs done and all of them.

    Raises:
        InputError: fewer than 5 architectures, or an argument cannot be used.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> small = search_space("nasbench201", channels=4, cells=1)
        >>> found = trust("digits", small, train=5, proxies="params, flops", epochs=1, images=200, workers=0)
        >>> len(found.accuracies), found.metrics.index.tolist()
        (5, ['params', 'flops'])
    """
    if train < LEAST:
        raise InputError(f"{train} architectures are to be trained, expected at least {LEAST}: fewer have no order.")
    chosen, dataset = search_space(space), load_data(data)
    kept = Store(store) if isinstance(store, str | Path) else store
    # With so large a divisor there is one rung: all are trained alike.
    training = RunOff(train, epochs=epochs, eta=train + 1, images=images, augment=augment)
    training.check(dataset, seed)
    scorer = Scorer(chosen, proxies, dataset, seed=seed, workers=workers, store=kept)
    sample = _sample(chosen, train, seed)
    scores = scorer.score(sample)
    rows = training.hold(sample, chosen, dataset, seed=seed, workers=workers, store=kept, progress=progress)
    accuracies = pd.Series({row.architecture: row.valid_accuracy for row in rows if not row.reason}, dtype=float)
    if len(accuracies) < LEAST:
        raise InputError(
            f"Only {len(accuracies)} of {train} trainings came to an end ({rows[-1].reason}): mend that, and try again."
        )
    signs = {each.name: 1.0 if each.higher_is_better else -1.0 for each in scorer.proxies}
    turned = scores * pd.Series(signs)
    protocol = {
        "data": f"{dataset.task.name}, {min(images, len(dataset)):,} images, a fifth of them validates",
        "space": chosen.label,
        "training": f"{len(sample)} different networks, {epochs} epochs each",
        "not finite": "ranked last",
        "seed": str(seed),
    }
    return Trust(
        evaluate(turned, accuracies, k=min(10, len(accuracies) // 2)), turned, accuracies,
        {row.architecture: row.reason for row in rows if row.reason}, protocol,
    )  # fmt: skip


def _sample(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Architectures that are different networks, drawn by the seed."""
    rng = np.random.default_rng(derive_seed(seed, "trust"))
    found: dict[Architecture, Architecture] = {}
    for _ in range(_DRAWS * count):
        one = space.sample(rng)
        found.setdefault(space.canonical(one), one)
        if len(found) == count:
            return list(found.values())
    raise InputError(
        f"The space {space.name} has only {len(found)} different networks, fewer than {count}: train fewer."
    )
