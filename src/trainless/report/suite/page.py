"""The page of the suite: a heat map of proxies and benchmarks, what they cost, and a table for each benchmark."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainless.metrics import cost_quality_front
from trainless.report.common.colours import DIVERGING, GREY, LINE_COLOURS
from trainless.report.common.columns import Column, table_of
from trainless.report.common.interactive import ZOOM, Spec, axis, categories, label, rounded, spec
from trainless.report.common.pages import render

if TYPE_CHECKING:
    from trainless.suite import SuiteResult

__all__ = ["suite_page"]

_NUMBERED = 400  # fields of a heat map up to which each has its number
_LEAST_SECONDS = 1e-4  # what costs less stands here
_SUMMARY = (
    Column("mean_spearman", "mean ρ", ".3f", True),
    Column("least_spearman", "least ρ", ".3f", True),
    Column("mean_rank", "mean rank", ".1f", False),
    Column("seconds", "seconds", "#.3g", False),
    Column("noise", "seeds agree", ".3f", True),
    Column("benchmarks", "benchmarks", ",.0f", None),
)
_BENCHMARK = (
    Column("spearman", "Spearman's ρ", ".3f", True, has_interval=True),
    Column("kendall", "Kendall's τ", ".3f", True),
    Column("best_of_top10", "best of 10", ".2f", True),
    Column("regret", "regret, points", ".2f", False),
    Column("noise", "seeds agree", ".3f", True),
    Column("seconds", "seconds", "#.3g", False),
    Column("not_finite", "not finite", ",.0f", False),
    Column("kind", "kind", "", None),
)


def suite_page(result: SuiteResult, title: str = "Zero-cost proxies on all benchmarks") -> str:
    """Write the page of a suite.

    Args:
        result: what `trainless.suite.run_suite` gave.
        title: headline, plain text.

    Returns:
        The document, about 5 MB, most of it plotly.js; write it as UTF-8.

    Example:
        >>> from trainless.suite import SuiteResult
        >>> from trainless.suite.run import COLUMNS
        >>> texts = {"benchmark": "toy", "dataset": "cifar10", "proxy": "nwot", "kind": "mix"}
        >>> row = dict.fromkeys(COLUMNS, 0.5) | texts
        >>> "nwot" in suite_page(SuiteResult(pd.DataFrame([row]), {}))
        True
    """
    heat, summary = result.heat, result.summary
    return render(
        "suite/page.html.j2",
        title=title,
        proxies=len(summary),
        benchmarks=len(heat.columns),
        best=_best(summary),
        heat=_heat_plot(result, heat),
        summary=table_of(summary, _SUMMARY, "proxy"),
        front=_front_plot(summary),
        tables=[
            {
                "title": f"{benchmark}, {dataset}",
                "table": table_of(_with_interval(rows).set_index("proxy"), _BENCHMARK, "proxy"),
                "ceiling": _known(float(rows["ceiling"].iloc[0])),
            }
            for (benchmark, dataset), rows in result.rows.groupby(["benchmark", "dataset"], sort=False)
        ],
        protocol=result.protocol,
    )


def _best(summary: pd.DataFrame) -> dict[str, Any] | None:
    if summary.empty:
        return None
    row = summary.iloc[0]
    return {"name": str(summary.index[0]), "mean": float(row["mean_spearman"]), "least": float(row["least_spearman"])}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _with_interval(rows: pd.DataFrame) -> pd.DataFrame:
    named = rows.rename(columns={"low": "spearman_low", "high": "spearman_high"})
    return named.sort_values("spearman", ascending=False, kind="stable")


def _heat_plot(result: SuiteResult, heat: pd.DataFrame) -> Spec:
    columns = result.rows["benchmark"] + ", " + result.rows["dataset"]
    texts = {
        (proxy, column): f"{low:.3f} to {high:.3f}"
        for proxy, column, low, high in zip(
            result.rows["proxy"], columns, result.rows["low"], result.rows["high"], strict=True
        )
    }
    names, benchmarks = [label(str(name)) for name in heat.index], [label(str(name)) for name in heat.columns]
    trace = {
        "type": "heatmap",
        "x": benchmarks,
        "y": names,
        "z": [rounded(row) for row in heat.to_numpy()],
        "customdata": [[texts.get((proxy, column), "") for column in heat.columns] for proxy in heat.index],
        "zmin": -1,
        "zmax": 1,
        "colorscale": DIVERGING,
        "texttemplate": "%{z:.2f}" if heat.size <= _NUMBERED else "",
        "textfont": {"size": 11},
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "%{y} on %{x}: %{z:.3f} (%{customdata})<extra></extra>",
        "colorbar": {"title": {"text": "Spearman's ρ", "side": "right"}, "thickness": 12},
    }
    layout = {
        "height": max(340, 220 + 24 * len(names)),
        "xaxis": categories(benchmarks, tickangle=-45, autorange=True),
        "yaxis": categories(names),
    }
    return spec([trace], layout)


def _front_plot(summary: pd.DataFrame) -> Spec:
    front = cost_quality_front(summary["mean_spearman"], summary["seconds"])
    known = front[np.isfinite(front["quality"]) & np.isfinite(front["seconds"])]
    traces = []
    for is_on, name, colour in ((True, "worth its time", LINE_COLOURS[0]), (False, "other", GREY)):
        rows = known[known["on_front"] == is_on]
        names = [label(str(proxy)) for proxy in rows.index]
        traces.append({
            "type": "scatter",
            "mode": "markers+text" if is_on else "markers",
            "name": name,
            "x": rounded(rows["seconds"].clip(lower=_LEAST_SECONDS)),
            "y": rounded(rows["quality"]),
            "text": names,
            "textposition": "top center",
            "marker": {"color": colour, "size": 9},
            "hovertemplate": "%{text}: ρ = %{y:.3f}, %{x:.3g} s<extra></extra>",
        })  # fmt: skip
    layout = {
        "height": 480,
        "showlegend": False,
        "xaxis": axis("seconds a network", type="log", dtick=1),
        "yaxis": axis("mean Spearman's ρ"),
    }
    return spec(traces, layout, *ZOOM)
