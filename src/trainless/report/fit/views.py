"""What the page and the picture of a fit both show, computed once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.metrics import wilson_interval

if TYPE_CHECKING:
    from trainless.automl.results import Fitted, TestResult

__all__ = [
    "class_table",
    "confusion_shares",
    "finalist_table",
    "stage_table",
    "trial_table",
]

Array = npt.NDArray[np.float64]

_STATES = {"complete": "to the end", "pruned": "stopped early", "fail": "failed"}


def confusion_shares(confusion: npt.NDArray[np.int64]) -> Array:
    """Divide each row of a confusion matrix by its sum; NaN for a class without images.

    Example:
        >>> confusion_shares(np.array([[3, 1], [0, 0]])).tolist()
        [[0.75, 0.25], [nan, nan]]
    """
    totals = confusion.sum(1, keepdims=True)
    shares = np.full(confusion.shape, np.nan)
    np.divide(confusion, totals, out=shares, where=totals > 0)
    return shares


def class_table(test: TestResult) -> pd.DataFrame:
    """Describe the classes, what is found least often first and what has no images last.

    Returns:
        Indexed by the class's number: ``class``, ``images``, ``found`` (share, NaN without images) with the ends of its
        95 % interval by Wilson, ``found_low`` and ``found_high``, ``taken_for`` (the class that it is most often
        mistaken for, empty where none) and ``mistaken`` (images of it).
    """
    totals, right = test.confusion.sum(1), test.confusion.diagonal()
    wrong = test.confusion - np.diag(right)
    ends = np.array([wilson_interval(*pair) for pair in zip(right, totals, strict=True)])
    rows = pd.DataFrame({
        "class": list(test.class_names),
        "images": totals,
        "found": test.recall,
        "found_low": ends[:, 0],
        "found_high": ends[:, 1],
        "taken_for": [test.class_names[row.argmax()] if row.any() else "" for row in wrong],
        "mistaken": wrong.max(1),
    })  # fmt: skip
    return rows.sort_values("found", kind="stable")


def finalist_table(fitted: Fitted) -> pd.DataFrame:
    """Describe the finalists, the best-scored first: the fields of `trainless.automl.finalists.Finalist`, percent."""
    table = pd.DataFrame([asdict(finalist) for finalist in fitted.finalists])
    table["valid_accuracy"] = 100 * table["valid_accuracy"].astype(float)
    table["predicted_latency_ms"] = table["predicted_latency_ms"].astype(float)  # None where it was not predicted
    table["course"] = table["is_chosen"].map({True: "yes", False: ""})
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def trial_table(fitted: Fitted) -> tuple[pd.DataFrame, dict[str, str]]:
    """Describe the recipes that were tried, in the order of their trials, and what they have in common.

    Returns:
        Indexed by the number of the trial from 1: ``measure`` (log loss as it is named, lower is better), ``epochs``,
        ``course`` in words, and a column for each hyper-parameter that differs between them, as text where it is not
        a number; and the hyper-parameters that are the same in all, by name.
    """
    trials = pd.DataFrame(list(fitted.trials))
    values = pd.DataFrame([{name: str(value) for name, value in recipe.items()} for recipe in trials["recipe"]])
    same = [str(name) for name in values if len(values) > 1 and values[name].nunique(dropna=False) == 1]
    table = pd.DataFrame({
        "measure": trials["measure"].astype(float).map(fitted.comparison.scale.turned),
        "epochs": trials["epochs"],
        "course": trials["state"].map(lambda state: _STATES.get(state, state)),
    })  # fmt: skip
    table = table.join(values.drop(columns=same).apply(_as_numbers))
    table = table.set_axis(pd.Index(trials["trial"] + 1, name="trial"))
    return table, {name: values[name].iloc[0] for name in same}


def _as_numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().any() or column.isin(["True", "False"]).any() else numbers


def stage_table(fitted: Fitted) -> pd.DataFrame:
    """Give the seconds of each stage and their share of all; the last row is their sum."""
    seconds = pd.Series(dict(fitted.seconds), dtype=float)
    total = seconds.sum()
    table = pd.DataFrame({"seconds": seconds, "share": seconds / (total or 1.0)})
    return pd.concat([table, pd.DataFrame({"seconds": [total], "share": [1.0]}, index=["all"])])
