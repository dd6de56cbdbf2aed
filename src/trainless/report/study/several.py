"""The page of several studies: the proxies side by side, further tables, and a tab for each study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from trainless.errors import InputError
from trainless.report.common.columns import Column, Table, table_of
from trainless.report.common.pages import render
from trainless.report.study.page import complete_captions, study_context
from trainless.report.study.views import Views, make_views

if TYPE_CHECKING:
    from trainless.study import Study

__all__ = ["several_studies_page"]


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
    texts = complete_captions(captions)
    given = [None] * len(studies) if leaderboards is None else leaderboards
    views = [make_views(study, board, resamples, k) for study, board in zip(studies, given, strict=True)]
    names = _short_titles(titles)
    return render(
        "study/several.html.j2",
        title=title,
        introduction=introduction_html,
        overview=_overview(views, names),
        tables=[{"caption": caption, "table": table_of(frame), "note": note} for caption, frame, note in tables],
        names=names,
        studies=[study_context(shown, texts) for shown in views],
    )


def _short_titles(titles: Sequence[str]) -> list[str]:
    """Leave out what all titles share, part by part."""
    parts = [title.split(", ") for title in titles]
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    return [
        ", ".join(part for part in own if part not in shared) or title for own, title in zip(parts, titles, strict=True)
    ]


def _overview(all_views: Sequence[Views], names: Sequence[str]) -> Table:
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
    return table_of(frame, columns, "proxy")
