"""The commands of the search: replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainless.cli.shared import Json, check_places, interruptible
from trainless.errors import InputError
from trainless.terminal import print_json, print_rows, progress, write_file, write_text

__all__ = ["replay"]

_SHOWN = ("strategy", "score", "dataset", "mean_test", "std_test", "mean_test_runoff", "mean_evaluations", "seeds")


def replay(
    table: Annotated[str, typer.Option(help="Table of true accuracies: a name (`trainless tables`) or a file.")],
    dataset: Annotated[str, typer.Option(help="Data sets of the table with commas, or 'all'.")] = "all",
    strategies: Annotated[str, typer.Option(help="Names with commas, or 'all'.")] = "all",
    scores: Annotated[str, typer.Option(help="Proxies and aggregations with commas, such as nwot,hybrid.")] = "freerea",
    published: Annotated[
        str, typer.Option(help="Whose scores are read: their name before the data set (`trainless scores import`).")
    ] = "freerea",
    seeds: Annotated[int, typer.Option(help="Searches for each strategy, score and data set.")] = 100,
    budget: Annotated[str, typer.Option(help="Evaluations such as 200, seconds such as 45s, or 45s,200.")] = "200",
    split: Annotated[str, typer.Option(help="Split in which the choice is looked up.")] = "test",
    run_off: Annotated[int, typer.Option(help="Compare so many of the best-scored by the split valid.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this CSV file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a page with curves to this HTML file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves: PNG, SVG or PDF by the ending.")] = None,
    as_json: Json = False,
) -> None:
    """Search many times with stored scores, and look up how accurate the choices truly are."""
    import pandas as pd

    from trainless.search import replay as replay_searches
    from trainless.search import search_score, split_names
    from trainless.tables import benchmark_table, published_scores

    check_places(csv, out, figure)
    names = split_names(scores)
    for name in names:  # a wrong name is found before any file is read
        search_score(name)
    if not names:
        raise InputError("--scores names none, expected some with commas between.")
    truth = benchmark_table(table)
    chosen = truth.datasets if dataset == "all" else tuple(part.strip() for part in dataset.split(",") if part.strip())
    with interruptible("Nothing was changed."), progress("searches") as update:
        found = replay_searches(
            truth, {each: published_scores(f"{published}.{each}") for each in chosen},
            strategies=[part.strip() for part in strategies.split(",") if part.strip()], searched=names, seeds=seeds,
            budget=budget, split=split, run_off=run_off, progress=update,
        )  # fmt: skip
    if csv:
        write_file(csv, lambda path: pd.DataFrame(found.rows).to_csv(path, index=False))
    if out:
        from trainless.report import replay_page

        write_text(out, replay_page(found))
    if figure:
        from trainless.report import replay_figure

        write_file(figure, lambda path: replay_figure(found, path))
    if as_json:
        print_json(found.rows)
        return
    print_rows([{key: row[key] for key in _SHOWN if key in row} for row in found.rows])
    typer.echo("; ".join(f"{key}: {value}" for key, value in found.protocol.items()))
