"""The page of a replay: how fast each strategy comes near the best architecture of a table, by data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.report.common.columns import Column, Table, table_of
from trainless.report.common.pages import render
from trainless.report.replay.plots import Line, line_styles, regret_plot
from trainless.report.replay.views import check, datasets, panels, regret, regret_range

if TYPE_CHECKING:
    from trainless.search.results import ReplayResult

__all__ = ["replay_page"]

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
    names, styles = datasets(result), line_styles(result)
    table = pd.DataFrame(result.rows)
    table = table.assign(regret=table["dataset"].map(dict(result.optima)) - table["mean_test"])
    return render(
        "replay/page.html.j2",
        title=f"Replay of searches: {', '.join(names)}",
        datasets=[_dataset(result, table[table["dataset"] == name], name, styles) for name in names],
        overview=_overview(table, names) if len(names) > 1 else None,
        protocol=result.protocol,
    )


def _dataset(result: ReplayResult, rows: pd.DataFrame, name: str, styles: dict[str, Line]) -> dict[str, Any]:
    """What is shown of one data set."""
    optimum, parts = result.optima[name], panels(result, name)
    ends = regret_range([regret(result.curves[key], optimum) for part in parts for key in part.lines.values()])
    table = rows.sort_values("mean_test", ascending=False, kind="stable").set_index("strategy")
    columns = [column for column in _COLUMNS if column.name in table and table[column.name].notna().any()]
    return {
        "name": name,
        "optimum": optimum,
        "best": _highest(rows, "mean_test"),
        "after_run_off": _highest(rows, "mean_test_runoff"),
        "lines": [styles[line] for line in dict.fromkeys(line for part in parts for line in part.lines)],
        "panels": [{"title": part.title, "figure": regret_plot(result, name, part, styles, ends)} for part in parts],
        "table": table_of(table, columns, "strategy"),
        "has_target": "evaluations_to_target" in rows,
    }


def _highest(rows: pd.DataFrame, metric: str) -> dict[str, Any] | None:
    """The row with the highest value of a metric; None where none is known."""
    if metric not in rows or rows[metric].isna().all():
        return None
    row = rows.iloc[int(np.nanargmax(rows[metric].to_numpy(dtype=float)))]
    return {str(name): value for name, value in row.items()}


def _overview(table: pd.DataFrame, names: Sequence[str]) -> Table:
    """One row a strategy and score, one column a data set."""
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
    return table_of(frame.iloc[order], columns, "strategy")
