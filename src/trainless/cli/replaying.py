"""The command that repeats searches against tables of true accuracies: replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainless.cli.shared import Json, Workers, check_figure, check_places, chosen_run, interruptible
from trainless.errors import InputError
from trainless.terminal import print_json, print_rows, progress, tell, write_file, write_text

if TYPE_CHECKING:
    from trainless.tables import PublishedScores

__all__ = ["replay"]

_SHOWN = ("strategy", "score", "dataset", "mean_test", "std_test", "mean_test_runoff", "mean_evaluations", "seeds")


def replay(
    table: Annotated[str, typer.Option(help="Table of true accuracies: a name (`trainless tables`) or a file.")],
    dataset: Annotated[str, typer.Option(help="Data sets of the table with commas, or 'all'.")] = "all",
    strategies: Annotated[str, typer.Option(help="Names with commas, or 'all'.")] = "all",
    scores: Annotated[str, typer.Option(help="Proxies and aggregations with commas, such as nwot,hybrid.")] = "freerea",
    published: Annotated[
        str | None,
        typer.Option(
            help="Whose scores are read: their name before the data set (`trainless scores import`); default freerea."
        ),
    ] = None,
    store: Annotated[str | None, typer.Option(help="Read your own scores instead: a file, or a database URL.")] = None,
    run: Annotated[int | None, typer.Option(help="Which run, where the store holds several.")] = None,
    seeds: Annotated[int, typer.Option(help="Searches for each strategy, score and data set.")] = 100,
    budget: Annotated[str, typer.Option(help="Evaluations such as 200, seconds such as 45s, or 45s,200.")] = "200",
    split: Annotated[str, typer.Option(help="Split in which the choice is looked up.")] = "test",
    run_off: Annotated[int, typer.Option(help="Compare so many of the best-scored by the split valid.")] = 0,
    workers: Workers = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep finished searches in this file; the same command then goes on.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this CSV file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a page with curves to this HTML file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves: PNG, SVG or PDF by the ending.")] = None,
    as_json: Json = False,
) -> None:
    """Search many times with stored scores, and look up how accurate the choices truly are."""
    import pandas as pd

    from trainless.search import replay as replay_searches
    from trainless.search import search_score, split_names
    from trainless.tables import benchmark_table

    check_places(csv, out, checkpoint)
    check_figure(figure)
    names = split_names(scores)
    for name in names:  # a wrong name is found before any file is read
        search_score(name)
    tried = split_names(strategies)
    for option, named in {"--scores": names, "--strategies": tried, "--dataset": split_names(dataset)}.items():
        if not named:
            raise InputError(f"{option} names none, expected some with commas between.")
    truth = benchmark_table(table)
    chosen = list(truth.datasets) if dataset == "all" else split_names(dataset)
    if store is None:
        read = _published(published or "freerea", chosen, run)
    else:
        read = _stored(store, run, names, published, chosen, dataset)
    advice = (
        f"Finished searches are in {checkpoint}: run the same command again to go on."
        if checkpoint
        else "Nothing was kept: give --checkpoint a file that keeps finished searches."
    )
    with interruptible(advice), progress("searches") as update:
        found = replay_searches(
            truth, read, strategies=tried, searched=names, seeds=seeds,
            budget=budget, split=split, run_off=run_off, workers=workers, checkpoint=checkpoint, progress=update,
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
    tell("; ".join(f"{key}: {value}" for key, value in found.protocol.items()))


def _published(name: str, datasets: list[str], run: int | None) -> dict[str, PublishedScores]:
    from trainless.tables import published_scores

    if run is not None:
        raise InputError(f"--run is {run}, expected it beside --store alone: published scores have no runs.")
    return {dataset: published_scores(f"{name}.{dataset}") for dataset in datasets}


def _stored(
    location: str, run: int | None, searched: list[str], published: str | None, datasets: list[str], asked: str
) -> dict[str, PublishedScores]:
    from trainless.search.replays import stored_scores
    from trainless.store import Store

    if published is not None:
        raise InputError(f"--published is {published} and --store is {location}, expected one of them: leave one out.")
    if asked == "all" and len(datasets) > 1:
        raise InputError(f"--dataset is missing beside --store, expected some of {', '.join(datasets)}.")
    with Store(location, create=False) as opened:
        scores = stored_scores(opened, searched, chosen_run(opened, run))
    return dict.fromkeys(datasets, scores)
