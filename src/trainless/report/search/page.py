"""The page of a search: what was found, how the search went, and what it chose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.costs import COSTS
from trainless.report.common.cells import cell_plot
from trainless.report.common.columns import Column, Table, table_of
from trainless.report.common.formats import costs_text
from trainless.report.common.graphs import lay_out
from trainless.report.common.pages import render
from trainless.report.search.plots import curve_plot, front_plot
from trainless.report.search.shares import shares_plot
from trainless.report.search.views import best_first, check, known_costs, shown
from trainless.search_spaces.base import Edge

if TYPE_CHECKING:
    from trainless.search.results import SearchResult

__all__ = ["graph_context", "search_context", "search_page"]

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
    for search in (result, *others):
        check(search)
    return render(
        "search/page.html.j2", title=result.title, graph=graph_context(graph), search=search_context(result, others)
    )


def graph_context(graph: Sequence[Edge]) -> dict[str, Any]:
    """Give what the section of the architecture found shows."""
    return {
        "edges": len(graph),
        "is_chain": len({edge.target for edge in graph}) == len(graph),
        "all_live": all(edge.live for edge in graph),
        "figure": cell_plot(graph),
        "least_width": max(520, 100 * lay_out(graph).layers),  # as wide as a line of a name
    }


def search_context(result: SearchResult, others: Sequence[SearchResult] = ()) -> dict[str, Any]:
    """Give what the sections of a search show.

    Args:
        result: as for `search_page`.
        others: as for `search_page`.
    """
    scores = result.evaluations["score"].to_numpy(dtype=float)
    fronts = [
        {"name": cost.name, "title": cost.heading, "figure": front_plot(result, cost)} for cost in known_costs(result)
    ]
    return {
        "result": result,
        "found": _found(result),
        "trained": _trained(result),
        "evaluated": len(scores),
        "not_finite": int((~np.isfinite(scores)).sum()),
        "rejected": sum(result.rejected.values()),
        "searches": len(others) + 1,
        "below": shown(result).below,
        "curve": curve_plot(result, others),
        "shares": None if result.shares is None else shares_plot(result.shares),
        "by_epoch": _by_epoch(result),
        "fronts": fronts,
        "members": _members(result),
        "candidates": _candidates(result),
        "run_off": _run_off(result),
        "limits": _limits(result),
    }


def _by_epoch(result: SearchResult) -> Table | None:
    """What a mixture led to after each epoch."""
    if result.by_epoch is None:
        return None
    columns = [Column("skips", "skip connections", ",.0f", None), Column("eigenvalue", "eigenvalue", ".3g", None),
               Column("architecture", "architecture", "", None)]  # fmt: skip
    return table_of(result.by_epoch, [column for column in columns if column.name in result.by_epoch], "epoch")


def _found(result: SearchResult) -> dict[str, Any] | None:
    """Score and costs of the best; None where it is not among the evaluations."""
    chosen = result.evaluations[result.evaluations["architecture"] == result.best]
    if chosen.empty:
        return None
    return {
        "score": float(chosen["score"].iloc[0]),
        "costs": costs_text(chosen.iloc[0], known_costs(result)),
    }


def _trained(result: SearchResult) -> dict[str, Any] | None:
    """How the best did in a run-off; None where there was none, an accuracy of None where every training failed."""
    if result.run_off is None or result.run_off.empty:
        return None
    first = result.run_off.iloc[0]
    accuracy = float(first["valid_accuracy"])
    return {
        "count": len(result.run_off),
        "accuracy": accuracy if np.isfinite(accuracy) else None,
        "rank": int(first["score_rank"]),
    }


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


def _candidates(result: SearchResult) -> Table:
    table = _ranking(result).head(_CANDIDATES)
    return table_of(table, _columns(table), "rank")


def _members(result: SearchResult) -> Table | None:
    """The front of the search in its own order, with the rank by score alone; only where there is more than one."""
    if len(result.front) < 2:
        return None
    order = {architecture: number for number, architecture in enumerate(result.front)}
    table = _ranking(result)
    table = table[table["architecture"].isin(order)].drop_duplicates("architecture")
    table = table.sort_values("architecture", key=lambda architectures: architectures.map(order))
    return table_of(table, _columns(table), "rank by score")


def _run_off(result: SearchResult) -> Table | None:
    if result.run_off is None or result.run_off.empty:
        return None
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
    return table_of(table, [column for column in columns if column.name in table], "place")


def _limits(result: SearchResult) -> Table | None:
    """How many proposals each limit kept out; None where there is no limit."""
    if not result.rejected:
        return None
    counts = {"evaluated": len(result.evaluations)}
    counts |= {f"rejected: {name}": count for name, count in result.rejected.items()}
    table = pd.DataFrame({"architectures": pd.Series(counts), "share": pd.Series(counts) / sum(counts.values())})
    columns = [Column("architectures", "architectures", ",.0f", None), Column("share", "share of all", ".1%", None)]
    return table_of(table, columns, "proposed")
