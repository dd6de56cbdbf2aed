"""What is made of raw scores: one proxy, or an aggregation of several against all that was scored so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainless.aggregation import (
    AGGREGATES,
    NAMED_AGGREGATES,
    Aggregate,
    aggregate,
    load_aggregate,
    named_aggregate,
)
from trainless.errors import InputError, UnknownNameError
from trainless.estimators.base import Estimator
from trainless.estimators.raw_scores import RawScores
from trainless.proxies import PROXIES, Proxy, proxy
from trainless.ranking import finite_last
from trainless.specs import parse_spec

__all__ = ["NAMED_SCORES", "RunningScore", "SearchScore", "proxy_score"]

NAMED_SCORES = tuple(NAMED_AGGREGATES)
"""Aggregations with a name of their own, such as the Hybrid of LogSynflow and NWOT, and FreeREA's sum of three."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SearchScore:
    """One number for each architecture, higher is better, made of the raw scores of proxies.

    Args:
        name: what it is called.
        proxies: what it reads, in order.
        aggregate: None for a single proxy.

    Raises:
        InputError: several proxies and nothing that joins them.

    Example:
        >>> proxy_score("freerea").proxies
        (Proxy(name='nwot', ...), Proxy(name='logsynflow', ...), Proxy(name='skipped_layers', ...))
    """

    name: str
    proxies: tuple[Proxy, ...]
    aggregate: Aggregate | None = None

    def __post_init__(self) -> None:
        if self.aggregate is None and len(self.proxies) != 1:
            raise InputError(f"The score '{self.name}' reads {len(self.proxies)} proxies: name what joins them.")

    def __reduce__(self) -> tuple[Any, ...]:
        # Built-in proxies go to another process by name, for not all of their functions can.
        names = tuple(known.name if PROXIES.get(known.name) is known else known for known in self.proxies)
        return _restored, (self.name, names, self.aggregate)

    @property
    def is_relative(self) -> bool:
        """Whether it depends on the other architectures that were scored."""
        return self.aggregate is not None and self.aggregate.is_relative and not self.aggregate.reference

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the raw values that it reads, in order."""
        return tuple(proxy.name for proxy in self.proxies)

    def source(self, batch_size: int = 64, device: str = "cpu", precision: str = "float32") -> Estimator:
        """Give the estimator whose estimates have the raw values that it reads.

        Args:
            batch_size: images that proxies see.
            device: where they are computed.
            precision: as for `trainless.Scorer`.
        """
        return RawScores(self.proxies, batch_size, device, precision)

    @property
    def signs(self) -> Array:
        """For each column 1, or -1 where lower is better."""
        if not self.proxies:
            return np.ones(len(self.columns))
        if self.aggregate is None:
            return np.array([1.0 if self.proxies[0].higher_is_better else -1.0])
        turned = self.aggregate.lower_is_better
        return np.array([-1.0 if name in turned else 1.0 for name in self.columns])


def _restored(name: str, proxies: Sequence[str | Proxy], mix: Aggregate | None) -> SearchScore:
    return SearchScore(name, tuple(map(proxy, proxies)), mix)


def proxy_score(score: str | Proxy | Aggregate | SearchScore) -> SearchScore:
    """Look up a score that is made of proxies.

    Args:
        score: the name of a proxy; one of `NAMED_SCORES`; an aggregation with its proxies, such as
            ``"log-rank(flops, nwot)"``; the path of a file that `trainless.aggregation.Aggregate.save` wrote; or an
            object. An aggregation that was fitted keeps its reference; one that was not is computed anew among all
            architectures scored so far whenever these become more.

    Raises:
        UnknownNameError: there is no such proxy or aggregation.
        InputError: the file cannot be read.

    Example:
        >>> proxy_score("log-rank(flops, nwot)").is_relative, proxy_score("nwot").is_relative
        (True, False)
    """
    if isinstance(score, SearchScore):
        return score
    if isinstance(score, Proxy):
        return SearchScore(score.name, (score,))
    if isinstance(score, Aggregate):
        return SearchScore(score.name, tuple(proxy(name) for name in score.proxies), score)
    text = score.strip()
    if text in NAMED_SCORES:
        named = named_aggregate(text)
        return SearchScore(text, tuple(proxy(name) for name in named.proxies), named)
    if text.endswith(".json"):
        return proxy_score(load_aggregate(Path(text)))
    spec = parse_spec(text)
    if spec.arguments:
        return proxy_score(aggregate(spec.name, [name for _, name in spec.arguments]))
    if text not in PROXIES:
        raise UnknownNameError("score", text, [*PROXIES, *NAMED_SCORES, *(f"{kind}(...)" for kind in AGGREGATES)])
    return proxy_score(PROXIES[text])


class RunningScore:
    """The score of all architectures of a growing set: after each addition as if the set had been whole at once.

    Args:
        score: what is computed.

    Example:
        >>> running = RunningScore(proxy_score("rank(flops, nwot)"))
        >>> running.add([(1.0, 5.0), (2.0, 9.0)])
        >>> running.values()
        array([1., 2.])
        >>> running.add([(3.0, float("nan"))])
        >>> running.values().round(2)
        array([1.  , 1.67, 1.33])
    """

    def __init__(self, score: SearchScore) -> None:
        self.score = score
        self._signs = score.signs
        self._rows = np.empty((len(score.columns), 64))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def raw(self) -> Array:
        """The raw scores, shape ``(architectures, proxies)``."""
        return (self._rows[:, : self._count].T * self._signs).copy()

    def add(self, rows: Sequence[Sequence[float]]) -> None:
        """Add the raw scores of further architectures, one row each."""
        if not rows:
            return
        end = self._count + len(rows)
        if end > self._rows.shape[1]:
            larger = np.empty((len(self._rows), 2 * end))
            larger[:, : self._count] = self._rows[:, : self._count]
            self._rows = larger
        self._rows[:, self._count : end] = (np.asarray(rows, dtype=float) * self._signs).T
        self._count = end

    def values(self) -> Array:
        """Give the score of each, shape ``(n,)``, higher is better; what is not finite is −∞, ranked last."""
        columns = list(self._rows[:, : self._count])
        mix = self.score.aggregate
        if mix is None:
            return finite_last(columns[0])
        if not self._count:
            return np.empty(0)
        return finite_last(mix.joined(columns) if mix.reference else mix.among(columns))
