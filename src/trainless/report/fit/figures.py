"""The picture of a fit: its training, what it confuses, and what it was chosen from, for papers and documentation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainless.report.common.static import LINES, PAGE, draw_file, new_figure
from trainless.report.fit.views import confusion_shares
from trainless.report.search.figures import draw_front
from trainless.report.search.views import check, known_costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trainless.automl.results import Fitted, TestResult
    from trainless.training import TrainingResult

__all__ = ["fit_figure"]

_MOST_NAMED = 12  # classes of a matrix with room for names and numbers
_LONGEST = 14  # letters of a name


def fit_figure(fitted: Fitted, path: str | Path) -> None:
    """Draw the training, the confusion matrix, and the scores of the search against a cost, 7 inches wide.

    Args:
        fitted: what `trainless.automl.fit` gave.
        path: file to write; its ending decides the format: ``.png`` (300 dots an inch), ``.svg`` or ``.pdf``.

    Raises:
        InputError: the search evaluated nothing.
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.
    """
    check(fitted.search)
    with warnings.catch_warnings():
        # Names of classes may be of any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        draw_file(path, lambda: _figure(fitted))


def _figure(fitted: Fitted) -> Figure:
    costs = known_costs(fitted.search)
    figure = new_figure(2.4, PAGE)
    panels = figure.subplots(1, 3 if costs else 2)
    _draw_training(panels[0], fitted.training)
    _draw_confusion(panels[1], fitted.test)
    if costs:
        draw_front(panels[2], fitted.search, next((cost for cost in costs if cost.name == "params"), costs[0]))
    return figure


def _draw_training(axes: Axes, result: TrainingResult) -> None:
    epochs = np.arange(1, len(result.valid_accuracies) + 1)
    axes.plot(epochs, result.valid_accuracies, color=LINES[0], linewidth=1.3, label="after each epoch")
    axes.scatter(result.best_epoch, result.valid_accuracy, s=45, marker="*", color=LINES[1], zorder=3, label="kept")
    axes.set(xlabel="epoch", ylabel="validation accuracy, %")
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0.2, handlelength=1.6)


def _draw_confusion(axes: Axes, test: TestResult) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shares, names = confusion_shares(test.confusion), test.class_names
    colours = LinearSegmentedColormap.from_list("shares", ["#f7f7f7", LINES[0]])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    has_room = len(names) <= _MOST_NAMED
    shown = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names] if has_room else []
    axes.set_xticks(range(len(shown)), shown, fontsize=6.5, rotation=0 if max(map(len, shown), default=0) < 3 else 90)
    axes.set_yticks(range(len(shown)), shown, fontsize=6.5)
    axes.set(xlabel="guessed", ylabel="true")
    if has_room:
        for (row, column), number in np.ndenumerate(test.confusion):
            if number:
                colour = "white" if shares[row, column] > 0.5 else "0.1"
                axes.text(column, row, f"{number:,}", ha="center", va="center", fontsize=4.5, color=colour)
