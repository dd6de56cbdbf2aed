"""What a search maximises: a score made of proxies, or what an estimator of performance gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainless.aggregation import AGGREGATES
from trainless.errors import InputError, UnknownNameError
from trainless.estimators import ESTIMATORS, Estimator, estimator
from trainless.estimators.scores import NAMED_SCORES, RunningScore, SearchScore, proxy_score
from trainless.proxies import PROXIES
from trainless.specs import parse_spec

__all__ = ["NAMED_SCORES", "USUAL_SCORE", "EstimatorScore", "RunningScore", "SearchScore", "search_score"]

USUAL_SCORE = "robust"
"""What a search maximises unless it or its strategy is told otherwise."""


@dataclass(frozen=True, eq=False)
class EstimatorScore(SearchScore):
    """The value of an estimator as a score; it is relative to no other architecture.

    Args:
        name: what it is called.
        proxies: none.
        aggregate: none.
        estimator: what estimates.

    Raises:
        InputError: there is no estimator.

    Example:
        >>> search_score("full(epochs=8)").columns
        ('full(epochs=8)',)
    """

    estimator: Estimator | None = None

    def __post_init__(self) -> None:
        if self.estimator is None or self.proxies or self.aggregate:
            raise InputError(f"The score '{self.name}' is that of an estimator: give one, and no proxies.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads: the estimator's value."""
        return (self.name,)

    def source(self, batch_size: int = 64, device: str = "cpu", precision: str = "float32") -> Estimator:
        """Give the estimator itself, which decides by its options what its networks see and where they run."""
        assert self.estimator is not None
        return self.estimator

    def __reduce__(self) -> tuple[Any, ...]:
        return EstimatorScore, (self.name, (), None, self.estimator)


def search_score(score: Any) -> SearchScore:
    """Look up what a search shall maximise.

    Args:
        score: what `trainless.estimators.scores.proxy_score` takes: a proxy, an aggregation, a file; or what
            `trainless.estimators.estimator` takes, such as ``"early-stopping(epochs=8)"``.

    Raises:
        UnknownNameError: there is no such proxy, aggregation or estimator.
        InputError: the file cannot be read, or an option cannot be used.

    Example:
        >>> search_score("log-rank(flops, nwot)").is_relative, search_score("early-stopping").is_relative
        (True, False)
    """
    if isinstance(score, Estimator):
        return EstimatorScore(str(score), (), None, score)
    if isinstance(score, str) and not score.strip().endswith(".json"):
        name = parse_spec(score).name
        if name in ESTIMATORS:
            return search_score(estimator(score))
        if name not in (*PROXIES, *NAMED_SCORES, *AGGREGATES):
            known = [*PROXIES, *NAMED_SCORES, *(f"{kind}(...)" for kind in AGGREGATES), *ESTIMATORS]
            raise UnknownNameError("score", score.strip(), known)
    return proxy_score(score)
