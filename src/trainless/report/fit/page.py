"""The page of a fit: how good the network is, what it costs, and how it came about, for those who are no experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from trainless.costs import COSTS
from trainless.report.common.columns import Column, Table, columns_of, table_of
from trainless.report.common.formats import cost_text
from trainless.report.common.pages import render
from trainless.report.fit.plots import accuracy_plot, confusion_plot, loss_plot, recall_plot
from trainless.report.fit.views import class_table, finalist_table, stage_table, trial_table
from trainless.report.search.page import graph_context, search_context
from trainless.report.search.views import check

if TYPE_CHECKING:
    from trainless.automl.results import Fitted, TestResult
    from trainless.training import TrainingResult
    from trainless.training.scales import Scale

__all__ = ["fit_page"]

_WORST = 20
_FINALISTS = [
    Column("course", "trained", "", None),
    Column("score", "score", "#,.5g", None),
    Column("parameters", "parameters", ",.0f", None),
    Column("flops", "multiply-adds", ",.0f", None),
    Column("predicted_latency_ms", "predicted latency, ms", ".3g", None),
    Column("latency_ms", "measured, ms", ".3g", None),
    Column("latency_high_ms", "upper quartile, ms", ".3g", None),
    Column("valid_accuracy", "validation accuracy, %", ".2f", None),
    Column("architecture", "architecture", "", None),
]


def fit_page(fitted: Fitted) -> str:
    """Write the page of a fit: the answer in a few sentences, figures that each say how to read them, the protocol.

    Args:
        fitted: what `trainless.automl.fit` gave.

    Returns:
        The document, about 5 MB, nearly all of it plotly.js; write it as UTF-8.

    Raises:
        InputError: the search evaluated nothing.
    """
    check(fitted.search)
    stages = [Column("seconds", "seconds", ",.1f", None), Column("share", "share of all", ".1%", None)]
    return render(
        "fit/page.html.j2",
        title=f"A network for {fitted.audit.name}",
        fitted=fitted,
        comparison=fitted.comparison,
        scale=fitted.comparison.scale,
        costs=[cost_text(COSTS[name], value) for name, value in fitted.costs.items()],
        limits=fitted.held(),
        graph=graph_context(fitted.graph),
        training=_training(fitted.training),
        confusion=_confusion(fitted.test),
        finalists=_finalists(fitted) if fitted.finalists else None,
        limits_latency="latency" in fitted.limits.most,
        trials=_trials(fitted),
        search=search_context(fitted.search),
        advice=fitted.audit.advice(),
        stages=table_of(stage_table(fitted), stages, "stage"),
    )


def _finalists(fitted: Fitted) -> Table:
    """The finalists in the order in which they would be taken."""
    table = finalist_table(fitted)
    is_predicted = table["predicted_latency_ms"].notna().any()
    columns = [column for column in _FINALISTS if is_predicted or column.name != "predicted_latency_ms"]
    return table_of(table, columns, "turn")


def _training(result: TrainingResult) -> dict[str, Any] | None:
    return {"loss": loss_plot(result), "accuracy": accuracy_plot(result)} if result.valid_accuracies else None


def _confusion(test: TestResult) -> dict[str, Any]:
    """Figures of the confusion matrix and the recall, or tables where there are too many classes to draw."""
    classes = len(test.class_names)
    if classes <= test.MOST_CLASSES:
        return {"classes": classes, "figure": confusion_plot(test), "recall_figure": recall_plot(test)}
    found = [Column("found", "found", ".1%", None, has_interval=True), Column("images", "test images", ",.0f", None)]
    taken = [
        Column("taken_for", "most often taken for", "", None),
        Column("mistaken", "images so taken", ",.0f", None),
    ]
    table = class_table(test).set_index("class")
    return {
        "classes": classes,
        "figure": None,
        "worst": table_of(table.head(_WORST), [*found, *taken], "class"),
        "recall": table_of(table, found, "class"),
    }


def _trials(fitted: Fitted) -> dict[str, Any] | None:
    if not fitted.trials:
        return None
    table, same = trial_table(fitted)
    return {"table": _trials_shown(table, fitted.comparison.scale), "same": same}


def _trials_shown(table: pd.DataFrame, scale: Scale) -> Table:
    known = [
        Column("measure", f"validation {scale.title}, {scale.unit}", scale.form, scale.higher_is_better),
        Column("epochs", "epochs", ",.0f", None),
        Column("course", "trained", "", None),
    ]
    settings = [column for column in columns_of(table) if column.name not in {column.name for column in known}]
    columns = [
        Column(column.name, column.heading.replace("_", " "), "#.3g" if column.form else "", None)
        for column in settings
    ]
    return table_of(table, [*known, *columns], "trial")
