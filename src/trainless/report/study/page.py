"""The page of one study or of several: one self-contained HTML document with tables and interactive figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from trainless.aggregation import ALPHA, BETA
from trainless.errors import InputError, UnknownNameError
from trainless.report.common.formats import number
from trainless.report.common.interactive import Spec
from trainless.report.common.pages import data_block, document
from trainless.report.common.parts import NO_SCRIPT, figure, panel, protocol, section, tabs
from trainless.report.common.tables import html_table, scrolled
from trainless.report.common.text_tables import Column, columns_of
from trainless.report.study import plots, weights
from trainless.report.study.headline import headline
from trainless.report.study.scatter import scatter_data
from trainless.report.study.views import Views, make_views

if TYPE_CHECKING:
    from trainless.study import Study

__all__ = ["CAPTIONS", "several_studies_page", "study_page"]

CAPTIONS = {
    "leaderboard": "Every column can be sorted: choose its name. A correlation tells how well a proxy orders all "
    "architectures; first choice, best of {k} and regret tell what a search that trusts it gets, and the two need not "
    "agree.",
    "ranking": "Kendall's τ is 1 where a proxy orders all architectures as their accuracies do, and 0 where it knows "
    "nothing of them. Bars that overlap widely are no difference to build upon.",
    "scatter": "One point an architecture; touch or point at it to read its string, accuracy and parameters. A good "
    "proxy has a narrow cloud that rises to the right; what counts for a search is the upper right corner.",
    "agreement": "Two proxies near 1 say the same. What joins well is two good ones with a low correlation. The "
    "leaderboard's last columns name the proxy that is nearest to each, and the share of its order that all others "
    "together hold already.",
    "top": "How accurate the best network is if the k best-scored are trained. The dashed line is the most accurate of "
    "all, the dotted one what k architectures drawn at random give on average. Thin grey lines are the other proxies; "
    "those that begin lower come in from below.",
    "front": "A proxy on the front is worth its time: none is both as good and as quick. A mix takes as long as its "
    "parts together. Touch or point at the others to read their names.",
    "weights": "First every pair of weights of the grid, then the same by the ratio β/α, which alone decides the order "
    "of nearly all architectures. The straight lines are the two proxies, each with the other's weight 0. The best "
    "ratio was chosen on the very architectures it is measured on, and so promises a little too much.",
}
"""How to read each figure; ``{k}`` stands for the number of best-scored architectures."""

_HEADINGS = {
    "leaderboard": "Leaderboard",
    "ranking": "Rank correlation with accuracy",
    "scatter": "Scores and accuracies",
    "agreement": "Correlation of the proxies",
    "top": "Accuracy of the k best-scored",
    "front": "Quality and cost",
    "weights": "Weights of the Hybrid",
}
_LEADERBOARD = (
    "kendall", "spearman", "argmax_accuracy", "regret", "best_of_top", "kind", "seconds", "precision_at", "ndcg_at",
    "weighted_kendall", "top_kendall", "memory", "not_finite", "nearest", "redundancy",
)  # fmt: skip
_SCRIPTS = ("study.js", "paint.js")


def study_page(
    study: Study,
    *,
    leaderboard: pd.DataFrame | None = None,
    resamples: int = 200,
    k: int = 10,
    captions: Mapping[str, str] | None = None,
) -> str:
    """Write the page of one study: the answer in a sentence, the protocol, the leaderboard and six figures.

    Args:
        study: scores beside accuracies.
        leaderboard: as ``study.leaderboard()`` gives it, with the same `k`; None computes it.
        resamples: bootstrap samples behind each interval, for that.
        k: how many of the best-scored count as found.
        captions: other words than `CAPTIONS` for how to read a figure, by its name there; plain text.

    Returns:
        The document, 5 to 12 MB, most of it plotly.js; write it as UTF-8. Of more than 3,100 architectures the scatter
        shows 3,000 at random, the 100 most accurate, and the first choice of each proxy.

    Raises:
        UnknownNameError: a caption is for no figure.
        InputError: as for ``study.leaderboard()``, or the leaderboard is that of another study.

    Example:
        >>> from trainless.study import make_study
        >>> scores = pd.DataFrame({"nwot": [1.0, 3.0, 2.0]}, index=["a", "b", "c"])
        >>> study = make_study(scores, pd.Series({"a": 60.0, "b": 70.0, "c": 65.0}), title="toy")
        >>> "<strong>nwot</strong> orders the 3 architectures best" in study_page(study, resamples=0, k=1)
        True
    """
    texts = _captions(captions)
    views = make_views(study, leaderboard, resamples, k)
    body = f"<h1>{escape(study.title)}</h1>\n{headline(views)}\n{_sections(views, texts, 'study', 2)}"
    return document(study.title, body, _SCRIPTS)


def several_studies_page(
    studies: Sequence[Study],
    title: str,
    introduction_html: str = "",
    tables: Sequence[tuple[str, pd.DataFrame, str]] = (),
    *,
    leaderboards: Sequence[pd.DataFrame] | None = None,
    resamples: int = 200,
    k: int = 10,
    captions: Mapping[str, str] | None = None,
) -> str:
    """Write one page of several studies: the proxies side by side, further tables, and a tab for each study.

    Args:
        studies: at least one; their titles are different.
        title: headline, plain text.
        introduction_html: HTML below the headline, taken as it is: it must hold nothing from untrusted data unescaped.
        tables: further tables, each with a caption and a note, both plain text; the index is the first column.
        leaderboards: of each study, as for `study_page`.
        resamples: as for `study_page`.
        k: as for `study_page`.
        captions: as for `study_page`.

    Returns:
        The document, 5 MB and 1 to 2 MB for each large study.

    Raises:
        UnknownNameError: a caption is for no figure.
        InputError: there is no study, two have one title, leaderboards and studies are not as many, or as for
            `study_page`.

    Example:
        >>> from trainless.study import make_study
        >>> scores = pd.DataFrame({"nwot": [1.0, 3.0, 2.0]}, index=["a", "b", "c"])
        >>> truth = pd.Series({"a": 60.0, "b": 70.0, "c": 65.0})
        >>> studies = [make_study(scores, truth, title=f"toy, {name}") for name in ("cifar10", "cifar100")]
        >>> page = several_studies_page(studies, "Two studies", resamples=0, k=1)
        >>> "<h1>Two studies</h1>" in page, page.count('role="tabpanel"')
        (True, 2)
    """
    titles = [study.title for study in studies]
    if not titles or len(set(titles)) < len(titles):
        raise InputError(f"The studies have the titles {titles}, expected at least one study, each with its own title.")
    if leaderboards is not None and len(leaderboards) != len(studies):
        raise InputError(f"There are {len(leaderboards)} leaderboards for {len(studies)} studies, expected one each.")
    texts = _captions(captions)
    given = [None] * len(studies) if leaderboards is None else leaderboards
    all_views = [make_views(study, table, resamples, k) for study, table in zip(studies, given, strict=True)]
    names = _short_titles(titles)
    parts = [f"<h1>{escape(title)}</h1>", introduction_html, _overview(all_views, names)]
    parts += [_extra_table(place, *table) for place, table in enumerate(tables)]
    parts += [tabs(names, "Studies"), *(_panel(views, texts, place) for place, views in enumerate(all_views))]
    return document(title, "\n".join(parts) + "\n", _SCRIPTS)


# Text.


def _captions(captions: Mapping[str, str] | None) -> dict[str, str]:
    for name in captions or {}:
        if name not in CAPTIONS:
            raise UnknownNameError("figure", name, CAPTIONS)
    return {**CAPTIONS, **(captions or {})}


def _short_titles(titles: Sequence[str]) -> list[str]:
    """Leave out what all titles share, part by part."""
    parts = [title.split(", ") for title in titles]
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    return [", ".join(part for part in each if part not in shared) or title
            for each, title in zip(parts, titles, strict=True)]  # fmt: skip


# Sections.


def _sections(views: Views, captions: Mapping[str, str], prefix: str, level: int) -> str:
    texts = {name: escape(text.replace("{k}", str(views.k))) for name, text in captions.items()}
    columns = [name for name in _LEADERBOARD if name in views.leaderboard]
    columns = [name for name in columns if name != "memory" or views.leaderboard["memory"].notna().any()]
    table = html_table(views.leaderboard, columns_of(views.leaderboard, views.k, columns), "proxy")

    def titled(name: str, inside: str) -> str:
        return section(f"{prefix}-{name}", _HEADINGS[name], f'{inside}\n<p class="note">{texts[name]}</p>', level)

    board = scrolled(table, f"{prefix}-leaderboard", "tall")
    if "kendall_low" in views.leaderboard:
        board += (
            '\n<p class="note">In smaller type the 95 % interval by bootstrap over architectures; where single '
            "architectures decide, as for the first choice, it is rough.</p>"
        )
    parts = [
        protocol(views.study.protocol, f"{prefix}-protocol", level),
        titled("leaderboard", board),
        NO_SCRIPT,
        titled("ranking", _figure(prefix, "ranking", plots.ranking_plot(views))),
        titled("scatter", _scatter(views, prefix)),
        titled("top", _figure(prefix, "top", plots.top_plot(views))),
        titled("front", _front(views, prefix)),
        titled("agreement", _figure(prefix, "agreement", plots.agreement_plot(views), 260 + 34 * len(views.names))),
    ]
    if views.study.sweep is not None:
        heat = _figure(prefix, "weights", weights.weights_plot(views))
        ratio = _figure(prefix, "ratio", weights.ratio_plot(views))
        parts.append(titled("weights", f'{_weights_text(views)}<div class="pair">{heat}{ratio}</div>'))
    return "\n".join(parts) + "\n"


def _figure(prefix: str, name: str, spec: Spec, least_width: int = 300) -> str:
    return figure(f"{prefix}-{name}", _HEADINGS.get(name, name), spec, least_width)


def _scatter(views: Views, prefix: str) -> str:
    data = scatter_data(views)
    place = f"{prefix}-scatter"
    options = "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(views.names))
    shown = len(data["names"])
    everything = len(views.study.accuracies)
    thin = ""
    if shown < everything:
        thin = (
            f"Of {everything:,} architectures {shown:,} are drawn: 3,000 at random, the 100 most accurate, and the "
            "first choice of each proxy. "
        )
    return (
        f'<div class="controls" data-controls="{place}"><label>Proxy <select name="proxy">{options}</select></label>'
        '<label>Horizontal <select name="axis"><option value="values">score</option>'
        '<option value="ranks">rank of the score</option></select></label>'
        '<label>Vertical <select name="zoom"><option value="upper">upper half of the accuracies</option>'
        '<option value="all">all accuracies</option></select></label></div>'
        f'<div class="scroll figure"><div id="{place}" data-scatter="{place}-data" role="img" '
        f'aria-label="{_HEADINGS["scatter"]}" style="height:520px"></div></div>{data_block(f"{place}-data", data)}'
        f'<p class="note">{thin}<span data-note="{place}"></span></p>'
    )


def _front(views: Views, prefix: str) -> str:
    table, _ = views.known_costs()
    if table.empty:
        return "<p>No proxy's time is known.</p>"
    unknown = [escape(name) for name in views.names if name not in table.index]
    note = f'<p class="note">Not shown, for their time is unknown: {", ".join(unknown)}.</p>' if unknown else ""
    return _figure(prefix, "front", plots.front_plot(views), 520) + note


def _weights_text(views: Views) -> str:
    sweep = views.study.sweep
    assert sweep is not None
    alpha, beta, value = sweep.best()
    try:
        published = f" The published α = {ALPHA} and β = {BETA} give {number(sweep.at(ALPHA, BETA), '.4f')}."
    except InputError:
        published = ""  # the grid does not hold them
    return (
        f"<p>α is the weight of {escape(sweep.pair[0])}, β that of {escape(sweep.pair[1])}. Of the grid α = {alpha:g} "
        f"and β = {beta:g} are best: Kendall's τ is {number(value, '.4f')}.{published}</p>"
    )


def _extra_table(place: int, caption: str, frame: pd.DataFrame, note: str) -> str:
    name = f"table-{place}"
    table = scrolled(html_table(frame, columns_of(frame)), name, "tall")
    return section(name, caption, table + (f'\n<p class="note">{escape(note)}</p>' if note else ""), 2)


def _overview(all_views: Sequence[Views], names: Sequence[str]) -> str:
    frame = pd.concat(
        {
            (metric, name): views.leaderboard[metric]
            for metric in ("kendall", "regret")
            for views, name in zip(all_views, names, strict=True)
        },
        axis=1,
    )
    columns = [
        Column(f"{metric} {name}", f"{symbol}, {name}", form, better)
        for metric, symbol, form, better in (("kendall", "τ", ".3f", True), ("regret", "regret", ".2f", False))
        for name in names
    ]
    frame.columns = pd.Index([column.name for column in columns])
    frame = frame.loc[frame.iloc[:, : len(names)].mean(axis=1).sort_values(ascending=False, kind="stable").index]
    table = scrolled(html_table(frame, columns, "proxy"), "overview", "tall")
    note = (
        "Kendall's τ with the accuracies, and the regret of the first choice in percentage points: the best accuracy "
        "of all less that of the architecture that the proxy puts first. Ordered by the mean τ."
    )
    return section("overview", "All studies", f'{table}\n<p class="note">{note}</p>', 2)


def _panel(views: Views, captions: Mapping[str, str], place: int) -> str:
    inside = f"{headline(views)}\n{_sections(views, captions, f'study-{place}', 3)}"
    return panel(place, views.study.title, inside)
