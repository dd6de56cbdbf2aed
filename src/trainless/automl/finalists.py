"""The finalists of a fit: the best-scored few beside those that were measured, with predicted and measured latency."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from trainless.automl.latencies import measured_latency
from trainless.costs import Candidate
from trainless.hardware import Latency

__all__ = ["Finalist", "finalists"]

_BEST = 5  # that are measured though none above them kept the limit, so that one sees what else there is


@dataclass(frozen=True)
class Finalist:
    """A network that a fit may hand over.

    Args:
        architecture: its string.
        score: by which the search ranked it.
        parameters: their number.
        flops: multiply-adds for one image.
        predicted_latency_ms: milliseconds for one image, as the search reckoned with; None where it did not.
        latency_ms: the same as it was measured, the median.
        latency_high_ms: the upper quartile, which with a margin keeps the limit or does not.
        is_chosen: whether it is the one that was trained.
        valid_accuracy: share of the validation images, after the training; None for what was not trained.
    """

    architecture: str
    score: float
    parameters: int
    flops: int
    predicted_latency_ms: float | None
    latency_ms: float
    latency_high_ms: float
    is_chosen: bool
    valid_accuracy: float | None = None


def finalists(
    evaluations: pd.DataFrame, best_first: Iterable[Candidate], measured: Mapping[Candidate, Latency],
    chosen: Candidate, *, deadline: float = math.inf,
) -> list[Finalist]:  # fmt: skip
    """Describe the best few networks of a search, and all others that were measured; the former are measured if needed.

    Args:
        evaluations: of the search, with the predicted latency.
        best_first: the networks, the best-scored first.
        measured: what is known of them.
        chosen: the one that is trained.
        deadline: value of `time.monotonic` from which on no other is measured.
    """
    rows = {str(row["architecture"]): row for row in evaluations.to_dict("records")}
    found = list[Finalist]()
    for number, candidate in enumerate(best_first):
        is_late = found and time.monotonic() > deadline
        if candidate not in measured and (number >= _BEST or is_late):
            continue
        name, latency = str(candidate.architecture), measured.get(candidate) or measured_latency(candidate)
        row = rows[name]
        found.append(
            Finalist(
                name, float(row["score"]), int(row["parameters"]), int(row["flops"]), row.get("latency_ms"),
                latency.milliseconds, latency.high, candidate == chosen,
            )
        )  # fmt: skip
    return found
