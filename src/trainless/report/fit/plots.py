"""The interactive figures of a fit, as plain data for plotly.js."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainless.report.common.colours import LINE_COLOURS
from trainless.report.common.interactive import LEGEND, Spec, axis, categories, label, rounded, spec
from trainless.report.fit.views import class_table, confusion_shares

if TYPE_CHECKING:
    from trainless.automl.results import TestResult
    from trainless.training import TrainingResult

__all__ = ["accuracy_plot", "confusion_plot", "loss_plot", "recall_plot"]

_HEIGHT = 360
# From nearly white to blue, light for as long as dark numbers stand on it.
_SHARES = ((0.0, "#f4f7fa"), (0.02, "#d6e4f1"), (0.5, "#8db9e0"), (1.0, "#3f87d0"))


def loss_plot(result: TrainingResult) -> Spec:
    """Draw the mean loss of each epoch."""
    layout = {**_over_epochs(result), "yaxis": axis("mean cross-entropy", rangemode="tozero"), "showlegend": False}
    return spec([_line(result.train_losses, LINE_COLOURS[1], "%{y:.4f}", "loss in training")], layout)


def accuracy_plot(result: TrainingResult) -> Spec:
    """Draw the validation accuracy after each epoch, and mark the one that was kept."""
    best: Spec = {
        "type": "scatter",
        "mode": "markers",
        "name": f"kept: epoch {result.best_epoch}",
        "x": [result.best_epoch],
        "y": rounded([result.valid_accuracy]),
        "marker": {"color": LINE_COLOURS[1], "symbol": "star", "size": 14},
        "hovertemplate": "epoch %{x}, the one kept: %{y:.2f} %<extra></extra>",
    }
    layout = {**_over_epochs(result), "yaxis": axis("validation accuracy, %"), "showlegend": True, "legend": LEGEND}
    return spec([_line(result.valid_accuracies, LINE_COLOURS[0], "%{y:.2f} %", "after each epoch"), best], layout)


def _over_epochs(result: TrainingResult) -> Spec:
    marks = {"dtick": 1} if result.epochs <= 10 else {}  # else there would be marks between epochs
    over = axis("epoch", range=[0, result.epochs * 1.03 + 0.5], tickformat=",d", **marks)
    return {"height": _HEIGHT, "hovermode": "closest", "xaxis": over}


def _line(values: Sequence[float], colour: str, shown: str, name: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(values) < 40 else "lines",
        "name": name,
        "x": list(range(1, len(values) + 1)),
        "y": rounded(values),
        "line": {"color": colour, "width": 2.5},
        "hovertemplate": f"epoch %{{x}}: {shown}<extra></extra>",
    }


def confusion_plot(test: TestResult) -> Spec:
    """Draw the confusion matrix: images by true class (rows) and guessed class (columns), coloured by share of row."""
    shares = confusion_shares(test.confusion)
    names = [label(name) for name in test.class_names]
    trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [rounded(row) for row in shares],
        "zmin": 0,
        "zmax": 1,
        "colorscale": _SHARES,
        "text": [[f"{count:,}" if count else "" for count in row] for row in test.confusion.tolist()],
        "texttemplate": "%{text}",
        "textfont": {"size": 11, "color": "#1d2328"},
        "customdata": test.confusion.tolist(),
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "true %{y}, guessed %{x}: %{customdata:,} images, %{z:.1%} of the class<extra></extra>",
        "colorbar": {"title": {"text": "share of the true class", "side": "right"}, "thickness": 12,
                     "tickformat": ".0%"},
    }  # fmt: skip
    longest = max(map(len, test.class_names))
    layout = {
        "height": max(360, 190 + 30 * len(names)) + 4 * max(0, longest - 8),  # long names hang below the matrix
        "xaxis": {
            **categories(names, tickangle=0 if longest < 4 else -45, autorange=True),
            "title": {"text": "guessed", "standoff": 12},
        },
        "yaxis": {**categories(names), "title": {"text": "true", "standoff": 12}},
    }
    return spec([trace], layout)


def recall_plot(test: TestResult) -> Spec:
    """Draw the share of each class that is found, with its interval; the least first."""
    table = class_table(test)
    table = table[np.isfinite(table["found"])]
    names = [label(name) for name in table["class"]]
    trace: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(table["found"]),
        "y": names,
        "marker": {"color": LINE_COLOURS[0], "size": 9},
        "error_x": {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
                    "array": rounded(table["found_high"] - table["found"]),
                    "arrayminus": rounded(table["found"] - table["found_low"])},
        "customdata": table["images"].tolist(),
        "hovertemplate": "%{y}: %{x:.1%} of %{customdata:,} images<extra></extra>",
        "cliponaxis": False,
    }  # fmt: skip
    layout = {
        "height": max(220, 110 + 24 * len(names)),
        "showlegend": False,
        "xaxis": axis("share of the class that is found", range=[0, 1], tickformat=".0%", fixedrange=True),
        "yaxis": categories(names),
    }
    return spec([trace], layout)
