"""Rank correlation of proxies and estimators with accuracies on a user's own images, from a small trained sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trainless.data import ImageDataset, load_data
from trainless.errors import InputError
from trainless.estimators import Estimator, Full, Setting, distinct_sample, estimator
from trainless.metrics import evaluate
from trainless.ranking import NON_FINITE_POLICY
from trainless.scoring import Scorer
from trainless.search import RunOff
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.training import Recipe
from trainless.workers import WorkersChoice

__all__ = ["Trust", "trust"]

LEAST = 5
"""Fewest architectures whose order says anything."""


@dataclass(frozen=True, eq=False)
class Trust:
    """Rank correlations of proxies and estimators with the accuracies of a sample that was trained.

    Args:
        metrics: one row a proxy or estimator, as `trainless.evaluate` gives them; the intervals say how little a small
            sample tells.
        scores: one row an architecture, one column a proxy or estimator, higher is better.
        accuracies: validation accuracy in percent after the training, by architecture.
        failed: by architecture, why its training came to nothing.
        protocol: how all this came about, as name and value.
        seconds: by proxy or estimator, mean seconds an architecture, a share of a surrogate's sample among them; and
            ``"training"``, those of the training that they are held against.
    """

    metrics: pd.DataFrame
    scores: pd.DataFrame
    accuracies: pd.Series
    failed: dict[str, str] = field(default_factory=dict)
    protocol: dict[str, str] = field(default_factory=dict)
    seconds: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))


def trust(
    data: str | os.PathLike[str] | ImageDataset,
    space: str | SearchSpace = "nasbench201",
    *,
    train: int = 30,
    proxies: str | Iterable[str] = "params, flops, logsynflow, nwot, snip, grad_norm, zen",
    epochs: int = 12,
    images: int = 2500,
    augment: bool = False,
    estimators: Iterable[str | Estimator] = (),
    seed: int = 0,
    precision: str = "float32",
    workers: WorkersChoice = None,
    store: Store | str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trust:
    """Correlate proxies and estimators with the accuracies of a small seeded sample that is trained on some images.

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
        estimators: what `trainless.estimators.estimator` takes; each is held against the same trainings, on the same
            images.
        seed: decides everything random.
        precision: of the scores, as for `trainless.Scorer`.
        workers: processes; None is one a core; or `trainless.workers.Workers`.
        store: where scores and trainings are kept, so that an interrupted call goes on.
        progress: called with the trainings done and all of them, of the sample and of each estimator.

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
    chosen, dataset, others = search_space(space), load_data(data), [estimator(spec) for spec in estimators]
    kept = Store(store) if isinstance(store, str | Path) else store
    whole = Full(epochs, Recipe(mirror=True, shift=1 / 8) if augment else Recipe())
    images_of = RunOff(train, epochs=epochs, images=images)
    images_of.check(chosen, dataset, seed)
    setting = Setting(chosen, images_of.drawn(dataset, seed), seed, workers, kept, progress)
    scorer = Scorer(chosen, proxies, dataset, seed=seed, precision=precision, workers=workers, store=kept)
    sample = distinct_sample(chosen, train, seed, "trust")
    if len(sample) < train:
        raise InputError(
            f"The space {chosen.name} has only {len(sample)} different networks, fewer than {train}: train fewer."
        )
    scores = scorer.score(sample)
    rows = whole.estimate(sample, setting)
    accuracies = pd.Series({row.architecture: row.value for row in rows if not row.reason}, dtype=float)
    if len(accuracies) < LEAST:
        reason = next(row.reason for row in rows if row.reason)
        raise InputError(
            f"Only {len(accuracies)} of {train} trainings came to an end ({reason}): mend that, and try again."
        )
    signs = {proxy.name: 1.0 if proxy.higher_is_better else -1.0 for proxy in scorer.proxies}
    turned = scores * pd.Series(signs)
    seconds = {**scorer.costs, "training": sum(row.seconds for row in rows) / len(rows)}
    notes = dict[str, str]()
    for other in others:
        estimates, spec = other.estimate(sample, setting), str(other)
        turned[spec] = pd.Series({estimate.architecture: estimate.value for estimate in estimates})
        whole_seconds = sum(estimate.seconds for estimate in estimates) + estimates[0].shared_seconds
        seconds[spec] = whole_seconds / len(estimates)
        notes[spec] = "; ".join(filter(None, [other.fidelity, estimates[0].note]))
    protocol = {
        "data": f"{dataset.task.name}, {min(images, len(dataset)):,} images, a fifth of them validates",
        "space": chosen.label,
        "training": f"{len(sample)} different networks, {epochs} epochs each",
        "precision": scorer.protocol.precision,
        "not finite": NON_FINITE_POLICY,
        "seed": str(seed),
        **notes,
    }
    return Trust(
        evaluate(turned, accuracies, k=min(10, len(accuracies) // 2)), turned, accuracies,
        {row.architecture: row.reason for row in rows if row.reason}, protocol, pd.Series(seconds),
    )  # fmt: skip
