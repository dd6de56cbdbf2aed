"""The estimator that trains nothing: a zero-cost score, relative ones against a seeded reference sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace

import pandas as pd

from trainless.errors import InputError
from trainless.estimators.base import Ask, Estimate, Estimator, Setting, distinct_sample
from trainless.estimators.scores import RunningScore, SearchScore, proxy_score
from trainless.specs import spec_of
from trainless.types import Architecture

__all__ = ["ZeroCost"]

_BATCH = 64  # images


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
    score: str = "robust"
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
        score, seconds = proxy_score(self.score), 0.0
        with score.source(min(_BATCH, len(setting.data))).session(setting) as scored:

            def ask(architectures: Sequence[Architecture]) -> list[Estimate]:
                nonlocal score, seconds
                if score.is_relative:
                    sample = distinct_sample(setting.space, self.reference, setting.seed, "reference")
                    score, seconds = _against(scored(sample), score)
                return [_joined(estimate, score, seconds) for estimate in scored(architectures)]

            yield ask


def _against(reference: Sequence[Estimate], score: SearchScore) -> tuple[SearchScore, float]:
    """Fit a relative score to a reference sample: the score that it is then, and the seconds of the sample."""
    assert score.aggregate is not None
    frame = pd.DataFrame([estimate.row for estimate in reference], columns=list(score.columns))
    seconds = sum(estimate.seconds for estimate in reference)
    return SearchScore(score.name, score.proxies, copy(score.aggregate).fit(frame)), seconds


def _joined(estimate: Estimate, score: SearchScore, shared_seconds: float) -> Estimate:
    """Make one value of the scores of an estimate."""
    running = RunningScore(score)
    running.add([estimate.row])
    value = float(running.values()[0])
    is_finite = value > -math.inf
    return replace(
        estimate, value=value if is_finite else math.nan, shared_seconds=shared_seconds, scores=(),
        reason="" if is_finite else estimate.reason or "the score is not finite",
    )  # fmt: skip
