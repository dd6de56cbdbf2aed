"""The page of a replay: how fast each strategy comes near the best architecture of a table, by data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.report.common.colours import LINE_COLOURS
from trainless.report.common.interactive import Spec, axis, rounded, spec
from trainless.report.common.pages import document
from trainless.report.common.parts import NO_SCRIPT, figure, panel, protocol, section, tabs
from trainless.report.common.tables import html_table, scrolled
from trainless.report.common.text_tables import Column
from trainless.report.replay.views import Panel, check, datasets, marks, panels, regret, regret_range, series
from trainless.report.search.plots import band

if TYPE_CHECKING:
    from trainless.search.results import ReplayResult

__all__ = ["replay_page"]

_SCRIPTS = ("study.js", "search.js", "paint.js")
_DASHES = {"solid": "", "dash": "7 3", "dot": "2 3"}  # of plotly.js, and the same for SVG
_COLUMNS = (
    Column("score", "score", "", None),
    Column("mean_test", "mean test accuracy, %", ".2f", True),
    Column("std_test", "standard deviation", ".2f", None),
    Column("regret", "mean regret, points", ".2f", False),
    Column("mean_test_runoff", "mean after the run-off, %", ".2f", True),
    Column("std_test_runoff", "its standard deviation", ".2f", None),
    Column("target", "target, %", ".2f", None),
    Column("reached", "seeds that reach it", ".0%", True),
    Column("evaluations_to_target", "evaluations to it", ",.0f", False),
    Column("mean_evaluations", "mean evaluations", ",.1f", None),
    Column("budget", "budget", "", None),
    Column("seeds", "seeds", ",.0f", None),
    Column("microseconds", "µs an evaluation", ",.0f", False),
)


def replay_page(result: ReplayResult) -> str:
    """Write the page of a replay: the best of each data set in a sentence, regret curves, tables and the protocol.

    Args:
        result: what the replay gave.

    Returns:
        The document, 5 MB and about 20 kB a curve, nearly all of it plotly.js; write it as UTF-8.

    Raises:
        InputError: the replay has no curve or no row, or lacks the optimum of a data set.

    Example:
        >>> import numpy as np
        >>> from trainless.search.results import ReplayResult
        >>> row = {"strategy": "random", "score": "nwot", "dataset": "toy", "seeds": 2, "mean_test": 94.0,
        ...        "budget": "2 evaluations", "std_test": 0.0, "mean_evaluations": 2.0, "microseconds": 9.0}
        >>> curves = {("random", "nwot", "toy"): np.array([[90.0, 94.0], [92.0, 94.0]])}
        >>> page = replay_page(ReplayResult([row], curves, {"toy": 94.5}))
        >>> "<strong>94.00 %</strong>, 0.50 points below the best of all (94.50 %)" in page
        True
    """
    check(result)
    names = datasets(result)
    title = f"Replay of searches: {', '.join(names)}"
    table = pd.DataFrame(result.rows)
    table = table.assign(regret=table["dataset"].map(dict(result.optima)) - table["mean_test"])
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(_headline(table, name, result.optima[name], len(names) > 1) for name in names),
        NO_SCRIPT,
        _overview(table, names),
        protocol(result.protocol),
        tabs(names, "Data sets"),
        *(panel(place, name, _dataset(result, table, name, place)) for place, name in enumerate(names)),
    ]
    return document(title, "\n".join(filter(None, parts)) + "\n", _SCRIPTS)


def _headline(table: pd.DataFrame, dataset: str, optimum: float, named: bool) -> str:
    rows = table[table["dataset"] == dataset]
    if rows["mean_test"].isna().all():
        return ""
    best = _highest(rows, "mean_test")
    begin = f"{escape(dataset)}: " if named else ""
    text = (
        f"{begin}<strong>{escape(best['strategy'])}</strong> by the score <strong>{escape(best['score'])}</strong> "
        f"finds the best architectures within {escape(str(best['budget']))}: a mean test accuracy of "
        f"{_reached(float(best['mean_test']), optimum)}."
    )
    if "mean_test_runoff" in rows and rows["mean_test_runoff"].notna().any():
        closest = _highest(rows, "mean_test_runoff")
        text += (
            f" After a run-off it is {escape(closest['strategy'])} by {escape(closest['score'])}: "
            f"{_reached(float(closest['mean_test_runoff']), optimum)}."
        )
    return f'<p class="lead">{text}</p>'


def _highest(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows.iloc[int(np.nanargmax(rows[name].to_numpy(dtype=float)))]


def _reached(accuracy: float, optimum: float) -> str:
    lost = optimum - accuracy
    where = "which is" if abs(lost) < 0.005 else f"{lost:.2f} points below"
    return f"<strong>{accuracy:.2f} %</strong>, {where} the best of all ({optimum:.2f} %)"


# Tables.


def _overview(table: pd.DataFrame, names: Sequence[str]) -> str:
    """One row a strategy and score, one column a data set."""
    if len(names) < 2:
        return ""
    searches = pd.MultiIndex.from_frame(table[["strategy", "score"]].drop_duplicates())
    columns = [Column("score", "score", "", None)]
    shown: dict[str, Any] = {"score": searches.get_level_values("score")}
    for metric, after in (("mean_test", ""), ("mean_test_runoff", " after the run-off")):
        if metric not in table or table[metric].isna().all():
            continue
        for name in names:
            values = table[table["dataset"] == name].set_index(["strategy", "score"])[metric]
            columns.append(Column(f"{metric} {name}", f"{name}{after}, %", ".2f", True))
            shown[f"{metric} {name}"] = values.reindex(searches).to_numpy()
    frame = pd.DataFrame(shown, index=searches.get_level_values("strategy"))
    order = np.argsort(-frame[[f"mean_test {name}" for name in names]].mean(axis=1).to_numpy(), kind="stable")
    frame = frame.iloc[order]
    inside = scrolled(html_table(frame, columns, "strategy"), "overview", "tall")
    note = "Mean test accuracy of what a search chooses, over all seeds. Ordered by the mean over the data sets."
    return section("overview", "All data sets", f'{inside}\n<p class="note">{note}</p>')


def _dataset(result: ReplayResult, table: pd.DataFrame, name: str, place: int) -> str:
    rows = table[table["dataset"] == name].sort_values("mean_test", ascending=False, kind="stable")
    rows = rows.set_index("strategy")
    columns = [column for column in _COLUMNS if column.name in rows and rows[column.name].notna().any()]
    inside = scrolled(html_table(rows, columns, "strategy"), f"rows-{place}", "tall")
    note = f"The best of the table has {result.optima[name]:.2f} %. Every column can be sorted: choose its name."
    if "evaluations_to_target" in rows:
        note += " Evaluations to the target are the median over all seeds: ∞ where fewer than half reach it."
    board = section(f"rows-{place}", "Results", f'{inside}\n<p class="note">{note}</p>', 3)
    return f"{_curves(result, name, place)}\n{board}"


# Figures.


def _curves(result: ReplayResult, dataset: str, place: int) -> str:
    styles = _styles(result)
    parts, group = panels(result, dataset), f"curves-{place}"
    everything = [regret(result.curves[key], result.optima[dataset]) for part in parts for key in part.lines.values()]
    ends = regret_range(everything)
    figures = "\n".join(
        f"<div><h4>{escape(part.title)}</h4>"
        + figure(f"{group}-{number}", f"Regret, {part.title}", _plot(result, dataset, part, styles, ends))
        + "</div>"
        for number, part in enumerate(parts)
    )
    shown = dict.fromkeys(name for part in parts for name in part.lines)
    note = (
        "Regret is the best test accuracy of the table less the mean test accuracy of what the search would choose "
        "after so many evaluations; lower is better, and the axis is logarithmic. Bands are one standard error of the "
        "mean over the seeds. Choose a name to hide or show its lines."
    )
    inside = f'{_key(styles, list(shown), group)}<div class="pair" id="{group}">{figures}</div>'
    return section(f"{group}-section", "Regret by evaluations", f'{inside}\n<p class="note">{note}</p>', 3)


def _styles(result: ReplayResult) -> dict[str, tuple[str, str]]:
    """Colour and dash of each line's name, the same in all figures of the page."""
    dashes = list(_DASHES)
    return {
        name: (LINE_COLOURS[place % len(LINE_COLOURS)], dashes[place // len(LINE_COLOURS) % len(dashes)])
        for place, name in enumerate(series(result))
    }


def _key(styles: dict[str, tuple[str, str]], names: Sequence[str], group: str) -> str:
    """The lines' names, once for all figures of a data set."""
    places = {name: place for place, name in enumerate(styles)}
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-series="{places[name]}">'
        f'<svg width="28" height="8" aria-hidden="true"><line x1="0" y1="4" x2="28" y2="4" stroke="{styles[name][0]}" '
        f'stroke-width="3" stroke-dasharray="{_DASHES[styles[name][1]]}"/></svg>{escape(name)}</button>'
        for name in names
    )
    return f'<div class="key" role="group" aria-label="Lines" data-key-of="{group}">{buttons}</div>'


def _plot(
    result: ReplayResult, dataset: str, part: Panel, styles: dict[str, tuple[str, str]], ends: tuple[float, float]
) -> Spec:
    places = {name: str(place) for place, name in enumerate(styles)}
    bands, lines = [], []
    for name, key in part.lines.items():
        curve = regret(result.curves[key], result.optima[dataset])
        colour, dash = styles[name]
        bands.append({**band(curve.evaluations, curve.low, curve.high, colour), "meta": places[name]})
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": escape(name),
                "meta": places[name],
                "x": curve.evaluations.tolist(),
                "y": rounded(curve.mean, 4),
                "line": {"color": colour, "width": 2, "dash": dash},
                "hovertemplate": "%{fullData.name}<br>after %{x}: regret %{y:.3g}<extra></extra>",
            }
        )
    ticks = marks(*ends)
    layout = {
        "height": 400,
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 10, "r": 40, "t": 10, "b": 10},
        "xaxis": axis("architectures evaluated", rangemode="tozero", tickformat=",d"),
        "yaxis": axis(
            "regret, points",
            type="log",
            range=[math.log10(end) for end in ends],
            tickvals=list(ticks),
            ticktext=list(ticks.values()),
        ),
    }
    return spec([*bands, *lines], layout, "zoomIn2d", "zoomOut2d", "resetScale2d")
