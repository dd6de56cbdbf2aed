"""The page of a search: what was found, how the search went, and what it chose from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trainless.costs import COSTS, cost_named
from trainless.report.common.cells import cell_plot
from trainless.report.common.formats import number
from trainless.report.common.graphs import lay_out
from trainless.report.common.pages import document
from trainless.report.common.parts import NO_SCRIPT, figure, protocol, section
from trainless.report.common.tables import breakable, html_table, scrolled
from trainless.report.common.text_tables import Column
from trainless.report.search import plots as search_plots
from trainless.report.search.views import best_first, check, known_costs, shown
from trainless.search_spaces.base import Edge

if TYPE_CHECKING:
    from trainless.search.results import SearchResult

__all__ = ["SCRIPTS", "counts_text", "graph_section", "search_page", "search_sections"]

SCRIPTS = ("study.js", "search.js", "paint.js")
"""What runs at the end of a page with the sections of a search."""

_CANDIDATES = 20
_KNOWN = ("architecture", "score", *(cost.column for cost in COSTS.values()), "seconds", "status", "reason")


def search_page(result: SearchResult, graph: Sequence[Edge], *, others: Sequence[SearchResult] = ()) -> str:
    """Write the page of one search: the answer in a sentence, the winner's graph, curves, tables and the protocol.

    Args:
        result: what the search gave.
        graph: of its best architecture, as ``space.graph(space.parse(result.best))`` gives it.
        others: the same search with other seeds; the curve shows their mean and range with it.

    Returns:
        The document, about 5 MB, nearly all of it plotly.js; write it as UTF-8.

    Raises:
        InputError: a search evaluated nothing.

    Example:
        >>> from trainless.search.results import SearchResult
        >>> rows = pd.DataFrame({"architecture": ["a", "b"], "score": [1.0, 2.0], "parameters": [9, 8]}, index=[1, 2])
        >>> result = SearchResult("toy", "toy", "b", ("score",), rows, ("b",), {"params": 3}, "the budget is spent")
        >>> page = search_page(result, [Edge("input", "output", "skip_connect")])
        >>> "<code>b</code>" in page, "3 broke a limit" in page
        (True, True)
    """
    for each in (result, *others):
        check(each)
    parts = [
        f"<h1>{escape(result.title)}</h1>",
        _headline(result),
        NO_SCRIPT,
        graph_section(graph),
        *search_sections(result, others),
        protocol(result.protocol),
    ]
    return document(result.title, "\n".join(filter(None, parts)) + "\n", SCRIPTS)


def search_sections(result: SearchResult, others: Sequence[SearchResult] = ()) -> list[str]:
    """Write the sections that show how a search went and what it chose from.

    Args:
        result: as for `search_page`.
        others: as for `search_page`.
    """
    written = [
        _curve(result, others),
        _fronts(result),
        _front_table(result),
        _candidates(result),
        _run_off(result),
        _rejected(result),
    ]
    return [each for each in written if each]


# The answer.


def _headline(result: SearchResult) -> str:
    evaluations = result.evaluations
    chosen = evaluations[evaluations["architecture"] == result.best]
    facts = ""
    if len(chosen):
        costs = search_plots.costs_text(chosen.iloc[0], known_costs(result))
        facts = f": score <strong>{number(float(chosen['score'].iloc[0]))}</strong>" + (f", {costs}" if costs else "")
    sentences = [f"Found: <code>{breakable(result.best)}</code>{facts}.", _why(result), counts_text(result)]
    sentences.append(f"The search ended: {escape(result.stopped.strip().rstrip('.'))}.")
    return f'<p class="lead">{" ".join(filter(None, sentences))}</p>'


def _why(result: SearchResult) -> str:
    """How the best came to be the best, where it is more than the highest score."""
    if result.run_off is not None and len(result.run_off):
        first = result.run_off.iloc[0]
        if not np.isfinite(first["valid_accuracy"]):
            return f"None of the {len(result.run_off)} that were to be trained could be, so the score alone decides."
        return (
            f"Of the {len(result.run_off)} that were trained briefly it has the best validation accuracy, "
            f"<strong>{first['valid_accuracy']:.2f} %</strong>; by its score it is number {int(first['score_rank'])}."
        )
    if len(result.objectives) > 1:
        listed = ", ".join(escape(name) for name in result.objectives)
        return f"It is one of {len(result.front)} that no other beats in all of {listed}."
    return ""


def counts_text(result: SearchResult) -> str:
    """Say how many architectures were evaluated and how many broke a limit."""
    scores = result.evaluations["score"].to_numpy(dtype=float)
    missing = int((~np.isfinite(scores)).sum())
    rejected = sum(result.rejected.values())
    text = f"{len(scores):,} architecture{'s were' if len(scores) != 1 else ' was'} evaluated"
    text += f" ({missing:,} without a finite score)" if missing else ""
    return text + (f"; {rejected:,} broke a limit and were not." if rejected else "; no limit kept any out.")


# Figures.


def graph_section(graph: Sequence[Edge]) -> str:
    """Write the section that shows an architecture as a graph."""
    is_chain = len({edge.target for edge in graph}) == len(graph)
    note = (
        "From left to right, one after the other."
        if is_chain
        else "Each arrow is an operation; each node adds up what enters it."
    )
    if not graph:
        note = "No operation leads anywhere: nothing reaches the output."
    elif not all(edge.live for edge in graph):
        note += " Grey and dashed: not on a path from input to output, and so without effect on what the network gives."
    least_width = max(520, 100 * lay_out(graph).layers)  # as wide as a line of a name
    drawn = figure("cell", "Graph of the architecture found", cell_plot(graph), least_width)
    return section("cell", "The architecture found", f'{drawn}\n<p class="note">{note}</p>')


def _curve(result: SearchResult, others: Sequence[SearchResult]) -> str:
    note = "The line is the best score up to there, a faint point one evaluation; touch or point at it to read which."
    if others:
        note += (
            f" The band reaches from the lowest to the highest of {len(others) + 1} searches with different seeds, "
            "from where all have found something. A score that is relative to the architectures of its own search is "
            "not quite the same from one search to another."
        )
    drawn = figure("curve", "Best score by evaluations", search_plots.curve_plot(result, others))
    return section("curve", "Best so far", f'{drawn}\n<p class="note">{note}{_below(result)}</p>')


def _fronts(result: SearchResult) -> str:
    costs = known_costs(result)
    if not costs:
        return ""
    options = "".join(f'<option value="{escape(name)}">{escape(cost_named(name).heading)}</option>' for name in costs)
    menu = f'<label>Horizontal <select data-shows="front">{options}</select></label>'
    parts = "\n".join(
        f'<div data-part-of="front" data-part="{escape(name)}">'
        + figure(f"front-{escape(name)}", f"Score by {cost_named(name).heading}", search_plots.front_plot(result, name))
        + "</div>"
        for name in costs
    )
    note = "On the front is what no other evaluated architecture beats in both: as high a score for less."
    if len(result.front) > 1:
        note += " Rings are the front of the search, over all its objectives together."
    controls = f'<div class="controls" hidden>{menu}</div>' if len(costs) > 1 else ""
    return section("front", "Score and cost", f'{controls}{parts}\n<p class="note">{note}{_below(result)}</p>')


def _below(result: SearchResult) -> str:
    below = shown(result).below
    lie = "lies" if below == 1 else "lie"
    return f" {below:,} of the evaluations {lie} below what is shown: zoom out for them." if below else ""


# Tables.


def _columns(table: pd.DataFrame) -> list[Column]:
    proxies = [str(name) for name in table.columns if name not in (*_KNOWN, "evaluation")]
    columns = [Column("score", "score", "#,.5g", None)]
    columns += [Column(cost.column, cost.heading, cost.number_format, None) for cost in COSTS.values()]
    columns += [Column("evaluation", "evaluation", ",.0f", None), Column("architecture", "architecture", "", None)]
    columns += [Column(name, name, "#,.5g" if _is_numeric(table[name]) else "", None) for name in proxies]
    return [column for column in columns if column.name in table and table[column.name].notna().any()]


def _is_numeric(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def _ranking(result: SearchResult) -> pd.DataFrame:
    table = best_first(result.evaluations.assign(evaluation=result.evaluations.index))
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def _candidates(result: SearchResult) -> str:
    table = _ranking(result).head(_CANDIDATES)
    inside = scrolled(html_table(table, _columns(table), "rank"), "candidates", "tall")
    note = "By their score, whatever their cost. Every column can be sorted: choose its name."
    heading = f"The {len(table)} best-scored" if len(table) > 1 else "The only one evaluated"
    return section("candidates", heading, f'{inside}\n<p class="note">{note}</p>')


def _front_table(result: SearchResult) -> str:
    """The front of the search in its own order, with the rank by score alone; only where there is more than one."""
    if len(result.front) < 2:
        return ""
    places = {name: place for place, name in enumerate(result.front)}
    table = _ranking(result)
    table = table[table["architecture"].isin(places)].drop_duplicates("architecture")
    table = table.sort_values("architecture", key=lambda names: names.map(places))
    inside = scrolled(html_table(table, _columns(table), "rank by score"), "members", "tall")
    return section("members", "The front of the search", inside)


def _run_off(result: SearchResult) -> str:
    if result.run_off is None or result.run_off.empty:
        return ""
    columns = [
        Column("valid_accuracy", "validation accuracy, %", ".2f", True),
        Column("score_rank", "rank by score", ",.0f", None),
        Column("epochs", "epochs", ",.0f", None),
        Column("seconds", "seconds", ",.1f", None),
        Column("architecture", "architecture", "", None),
    ]
    if "reason" in result.run_off and (result.run_off["reason"] != "").any():
        columns.append(Column("reason", "why it failed", "", None))
    table = result.run_off.set_axis(pd.RangeIndex(1, len(result.run_off) + 1))
    columns = [column for column in columns if column.name in table]
    inside = scrolled(html_table(table, columns, "place"), "run-off", "tall")
    note = "The best-scored were trained briefly; the best validated of them is what the search found."
    return section("run-off", "Run-off", f'{inside}\n<p class="note">{note}</p>')


def _rejected(result: SearchResult) -> str:
    everything = len(result.evaluations) + sum(result.rejected.values())
    counts = [("evaluated", len(result.evaluations))]
    counts += [(f"rejected: {name}", count) for name, count in result.rejected.items()]
    if len(counts) == 1:
        return ""
    table = pd.DataFrame(
        {"architectures": [count for _, count in counts], "share": [count / everything for _, count in counts]},
        index=[name for name, _ in counts],
    )
    columns = [Column("architectures", "architectures", ",.0f", None), Column("share", "share of all", ".1%", None)]
    inside = scrolled(html_table(table, columns, "proposed"), "rejected")
    note = "What breaks a limit is told to the strategy as worth nothing, and is not scored."
    return section("rejected", "Limits", f'{inside}\n<p class="note">{note}</p>')
