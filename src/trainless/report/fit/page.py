"""The page of a fit: how good the network is, what it costs, and how it came about, for those who are no experts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from trainless.costs import COSTS
from trainless.report.common.formats import number
from trainless.report.common.pages import document
from trainless.report.common.parts import NO_SCRIPT, entries, figure, protocol, section
from trainless.report.common.tables import breakable, html_table, scrolled
from trainless.report.common.text_tables import Column, columns_of
from trainless.report.fit import plots as fit_plots
from trainless.report.fit.views import MOST_CLASSES, class_table, commonest_share, stage_table, trial_table
from trainless.report.search.page import SCRIPTS, counts_text, graph_section, search_sections
from trainless.report.search.plots import cost_text
from trainless.report.search.views import check

if TYPE_CHECKING:
    from trainless.automl.results import Fitted

__all__ = ["fit_page"]

_WORST = 20
_MEASURES = {
    "accuracy": ("accuracy", "%"),
    "balanced-accuracy": ("balanced accuracy", "%"),
    "macro-f1": ("macro-F1", "%"),
    "log-loss": ("log loss", "nats"),
}


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
    title = f"A network for {fitted.audit.name}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _headline(fitted),
        _notes(fitted),
        NO_SCRIPT,
        graph_section(fitted.graph),
        _training(fitted),
        _confusion(fitted),
        _recall(fitted),
        _trials(fitted),
        _search(fitted),
        *search_sections(fitted.search),
        _audit(fitted),
        _stages(fitted),
        protocol(fitted.protocol),
    ]
    return document(title, "\n".join(filter(None, parts)) + "\n", SCRIPTS)


# The answer.


def _headline(fitted: Fitted) -> str:
    test = fitted.test
    sentences = [
        f"The network recognises <strong>{100 * test.accuracy:.2f} %</strong> of {test.images:,} test images (95 % "
        f"interval {100 * test.low:.2f} to {100 * test.high:.2f} %), by which no choice was made; to guess the "
        f"commonest class every time would be right for {100 * commonest_share(test):.1f} %.",
        _measured(fitted),
        _costs(fitted),
        f"Limits: {escape('; '.join(fitted.held()))}." if fitted.held() else "No limit was set.",
        f"It is <code>{breakable(fitted.architecture)}</code> of {escape(fitted.space)}.",
    ]
    return f'<p class="lead">{" ".join(filter(None, sentences))}</p>'


def _costs(fitted: Fitted) -> str:
    first, *others, last = (cost_text(COSTS[name], value) for name, value in fitted.costs.items())
    return (
        f"It has <strong>{first}</strong>, {', '.join(others)} and {last} for one image on one thread of this machine."
    )


def _measured(fitted: Fitted) -> str:
    """The value of what decided, where it is not the accuracy."""
    if fitted.measure == "accuracy" or fitted.measure not in fitted.test.measures:
        return ""
    value = fitted.test.measures[fitted.measure]
    name, unit = _MEASURES[fitted.measure]
    shown = f"{-value:.4f} {unit}" if fitted.measure == "log-loss" else f"{value:.2f} {unit}"
    return f"Its {name}, by which networks and recipes were chosen on other images, is <strong>{shown}</strong>."


def _notes(fitted: Fitted) -> str:
    return section("notes", "What one should know", _listed(fitted.notes)) if fitted.notes else ""


def _listed(sentences: tuple[str, ...] | list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in sentences)}</ul>"


# How good it is.


def _training(fitted: Fitted) -> str:
    result = fitted.training
    if not result.valid_accuracies:
        return ""
    loss = figure("loss", "Loss by epoch", fit_plots.loss_plot(result))
    accuracy = figure("accuracy", "Validation accuracy by epoch", fit_plots.accuracy_plot(result))
    note = (
        "In an epoch the network sees each training image once. The loss is how wrong it is on these and should fall; "
        "the validation accuracy, on images that it does not learn from, should rise and then level out: still rising "
        "at the end, more time would help. The weights of the starred epoch were kept: the last, unless the best by "
        f"{_MEASURES[fitted.measure][0]} is clearly better."
    )
    return section("training", "Training", f'<div class="pair">{loss}{accuracy}</div>\n<p class="note">{note}</p>')


def _confusion(fitted: Fitted) -> str:
    classes = len(fitted.test.class_names)
    if classes > MOST_CLASSES:
        return _worst(fitted)
    drawn = figure(
        "confusion", "Confusion matrix of the test images", fit_plots.confusion_plot(fitted.test), 220 + 24 * classes
    )
    note = (
        "Each row is a true class, and its numbers say what its test images were taken for: what is on the diagonal "
        "is right, a dark field beside it is a pair of classes that the network confuses."
    )
    return section("confusion", "What is taken for what", f'{drawn}\n<p class="note">{note}</p>')


def _worst(fitted: Fitted) -> str:
    table = class_table(fitted.test).head(_WORST)
    note = (
        f"Of {len(fitted.test.class_names):,} classes the {len(table)} that are found least often, each with the class "
        "that its test images are most often mistaken for."
    )
    inside = scrolled(_classes(table, *_TAKEN), "confusion", "tall")
    return section("confusion", "What is taken for what", f'{inside}\n<p class="note">{note}</p>')


_FOUND = (Column("found", "found", ".1%", None, has_interval=True), Column("images", "test images", ",.0f", None))
_TAKEN = (
    Column("taken_for", "most often taken for", "", None),
    Column("mistaken", "images so taken", ",.0f", None),
)


def _classes(table: pd.DataFrame, *columns: Column) -> str:
    return html_table(table.set_index("class"), [*_FOUND, *columns], "class")


def _recall(fitted: Fitted) -> str:
    note = (
        "The share of the test images of a class that are recognised as it (its recall), the worst first, with the 95 "
        "% interval by Wilson: where it is wide, too few images of the class were tested to know."
    )
    if len(fitted.test.class_names) > MOST_CLASSES:
        shown = scrolled(_classes(class_table(fitted.test)), "recall")
    else:
        shown = figure("recall", "Share of each class that is found", fit_plots.recall_plot(fitted.test))
    return section("recall", "How well each class is found", f'{shown}\n<p class="note">{note}</p>')


# How it came about.


def _trials(fitted: Fitted) -> str:
    if not fitted.trials:
        return ""
    table, same = trial_table(fitted)
    name, unit = _MEASURES[fitted.measure]
    known = [
        Column("measure", f"validation {name}, {unit}", ".4f" if unit == "nats" else ".2f", unit != "nats"),
        Column("epochs", "epochs", ",.0f", None),
        Column("course", "trained", "", None),
    ]
    rest = [each for each in columns_of(table) if each.name not in {column.name for column in known}]
    rest = [Column(each.name, each.heading.replace("_", " "), "#.3g" if each.form else "", None) for each in rest]
    inside = scrolled(html_table(table, [*known, *rest], "trial"), "trials", "tall")
    note = (
        "A recipe says how the network learns. Each was tried on the network found by a short training, which was "
        "stopped early where it lagged; only those that went to the end are compared, and the best of them trained "
        "the network."
    )
    if same:
        shared = ", ".join(f"{escape(key.replace('_', ' '))} {escape(value)}" for key, value in same.items())
        note += f" The same in all: {shared}."
    return section("trials", "Recipes that were tried", f'{inside}\n<p class="note">{note}</p>')


def _search(fitted: Fitted) -> str:
    score = fitted.protocol.get("search", "")
    text = (
        "An architecture is how a network is built. Each candidate got a score, computed without training it: a high "
        "score means that it promises to learn well, and the best within the limits was trained. What the score is in "
        "itself means nothing, it only tells the candidates of this search apart."
    )
    sentences = [text, counts_text(fitted.search), f"The search ended: {escape(_sentence(fitted.search.stopped))}"]
    if score:
        sentences.append(f"How: {escape(_sentence(score))}")
    return section("search", "The search", f"<p>{' '.join(sentences)}</p>")


def _sentence(text: str) -> str:
    return f"{text.strip().rstrip('.')}."


def _audit(fitted: Fitted) -> str:
    advice = fitted.audit.advice()
    found = _listed(advice) if advice else '<p class="note">Nothing in the data calls for attention.</p>'
    return section("audit", "The data", entries(fitted.audit.rows()) + "\n" + found)


def _stages(fitted: Fitted) -> str:
    columns = [Column("seconds", "seconds", ",.1f", None), Column("share", "share of all", ".1%", None)]
    inside = scrolled(html_table(stage_table(fitted), columns, "stage"), "stages")
    total = number(sum(fitted.seconds.values()), ",.0f")
    note = f"Where the {total} seconds went; more time goes to larger networks, more recipes and more epochs."
    return section("stages", "Time by stage", f'{inside}\n<p class="note">{note}</p>')
