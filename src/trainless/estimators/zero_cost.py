"""The estimator that trains nothing: a zero-cost score, relative ones against a seeded reference sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import pandas as pd

from trainless.errors import InputError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting, distinct_sample
from trainless.estimators.scores import RunningScore, SearchScore, proxy_score
from trainless.scoring import Scorer
from trainless.specs import spec_of
from trainless.types import Architecture, Score

__all__ = ["ZeroCost", "scorer_of"]

_BATCH = 64


@dataclass(frozen=True)
class ZeroCost(Estimator):
    """Scores each architecture without training, relative scores against a seeded reference sample.

    Args:
        score: what `trainless.estimators.scores.proxy_score` takes as text.
        reference: architectures of the reference sample, all different networks.

    Raises:
        InputError: there is no such score, or fewer than 2 architectures of reference.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201")
        >>> ZeroCost("params").estimate([space[0]], Setting(space, load_data("digits"), workers=0))[0].value
        129018.0
    """

    name = "zero-cost"
    score: str = "log-rank(flops, nwot)"
    reference: int = 64

    def __post_init__(self) -> None:
        proxy_score(self.score)
        if self.reference < 2:
            raise InputError(f"The reference has {self.reference} architectures, expected at least 2.")

    def __str__(self) -> str:
        return spec_of(self)

    @property
    def fidelity(self) -> str:
        """Say in words what is done for an estimate."""
        against = f", against {self.reference} architectures" if proxy_score(self.score).is_relative else ""
        return f"no training, the score {self.score}{against}"

    @contextmanager
    def session(self, setting: Setting) -> Iterator[Ask]:
        """Keep workers that score."""
        score = proxy_score(self.score)
        shared = 0.0
        with scorer_of(setting, [each.name for each in score.proxies]).session() as scored:

            def ask(some: Sequence[Architecture]) -> list[Estimate]:
                nonlocal score, shared
                if score.is_relative:
                    score, shared = _against(self._sample(setting), score, scored)
                rows = scored(some)
                return [_estimate(one, row, score, shared) for one, row in zip(some, rows, strict=True)]

            yield ask

    def _sample(self, setting: Setting) -> list[Architecture]:
        return distinct_sample(setting.space, self.reference, setting.seed, "reference")


def scorer_of(setting: Setting, proxies: Sequence[str]) -> Scorer:
    """Make the scorer of a setting."""
    return Scorer(
        setting.space, proxies, setting.data, seed=setting.seed, batch_size=min(_BATCH, len(setting.data)),
        workers=setting.workers, store=setting.store,
    )  # fmt: skip


def _against(sample: list[Architecture], score: SearchScore, scored: object) -> tuple[SearchScore, float]:
    assert callable(scored)
    assert score.aggregate is not None
    rows = scored(sample)
    names = [each.name for each in score.proxies]
    frame = pd.DataFrame([[row[name].value for name in names] for row in rows], columns=names)
    seconds = sum(each.seconds for row in rows for each in row.values())
    return SearchScore(score.name, score.proxies, copy(score.aggregate).fit(frame)), seconds


def _estimate(one: Architecture, row: dict[str, Score], score: SearchScore, shared: float) -> Estimate:
    running = RunningScore(score)
    running.add([[row[each.name].value for each in score.proxies]])
    value = float(running.values()[0])
    reason = "; ".join(sorted({row[each.name].reason for each in score.proxies if row[each.name].reason}))
    finite = value > -float("inf")
    return Estimate(
        str(one), value if finite else float("nan"), sum(row[each.name].seconds for each in score.proxies),
        shared_seconds=shared, reason="" if finite else reason or "the score is not finite",
    )  # fmt: skip
