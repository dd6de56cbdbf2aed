"""The commands that hold scores against true accuracies: evaluate, hybrid fit, report, reproduce thesis."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainless.cli.shared import (
    Json,
    StoreArgument,
    cause,
    check_figure,
    check_places,
    chosen_run,
    interruptible,
    new_folder,
)
from trainless.errors import InputError
from trainless.terminal import print_json, print_rows, progress, records, tell, write_file, write_text

if TYPE_CHECKING:
    import pandas as pd

    from trainless.study import Study

__all__ = ["evaluate", "hybrid", "report", "reproduce"]

hybrid = typer.Typer(help="The Hybrid proxy and its weights.", no_args_is_help=True)
reproduce = typer.Typer(help="Published results once more.", no_args_is_help=True)

Table = Annotated[str, typer.Option(help="Table of true accuracies: a name (`trainless tables`) or a file.")]
Dataset = Annotated[str | None, typer.Option(help="Data set of the table; may be left out where it has one.")]
Split = Annotated[str | None, typer.Option(help="Split of the accuracies, such as valid, test, test_seed888.")]
RunNumber = Annotated[int | None, typer.Option("--run", help="Which run, where the store holds several.")]
Names = Annotated[str | None, typer.Option(help="Only these proxies, with commas between; default all stored.")]
Resamples = Annotated[int, typer.Option(help="Bootstrap samples behind each interval; 0 for none.")]

_FEWEST = 20  # bootstrap samples of which percentiles can be taken
# The first ones matter most: a narrow terminal shows no more.
_SHOWN = ("kendall", "kendall_low", "kendall_high", "spearman", "best_of_top", "regret", "seconds", "noise",
          "argmax_accuracy", "top_kendall", "weighted_kendall", "precision_at", "ndcg_at", "not_finite", "redundancy",
          "nearest", "kind", "networks")  # fmt: skip


def evaluate(
    store: StoreArgument,
    table: Table,
    dataset: Dataset = None,
    split: Split = None,
    proxies: Names = None,
    run: RunNumber = None,
    k: Annotated[
        int | None,
        typer.Option("--top", help="How many of the best-scored count as found; default 10, or all of fewer."),
    ] = None,
    resamples: Resamples = 200,
    csv: Annotated[Path | None, typer.Option(help="Write all columns to this CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Hold scores against true accuracies: correlations, top k, regret, each with its interval, and cost."""
    check_places(csv)
    _check_resamples(resamples)
    with interruptible("Nothing was changed."), progress("evaluating") as update:
        study = _study(store, table, dataset, split, proxies, run)
        found = min(10, len(study.accuracies)) if k is None else k
        if not 1 <= found <= len(study.accuracies):
            raise InputError(f"--top is {k}, expected 1 to {len(study.accuracies)}, the number of architectures.")
        board = study.leaderboard(resamples=resamples, k=found, progress=update)
    if csv:
        write_file(csv, board.to_csv)
    if as_json:
        print_json({"protocol": dict(study.protocol), "top": found, "resamples": resamples,
                    "proxies": records(board.rename_axis("proxy"))})  # fmt: skip
        return
    shown = board[[name for name in _SHOWN if name in board.columns]]
    print_rows(records(shown.rename_axis("proxy")))
    tell("; ".join(f"{key}: {value}" for key, value in study.protocol.items()))
    intervals = (
        "; intervals are 95 % by bootstrap, and rough for what hangs on single architectures (argmax_accuracy, regret, "
        "best_of_top)"
    )
    tell(f"precision_at, ndcg_at and best_of_top count the best {found}{intervals if resamples else ''}.")


@hybrid.command("fit")
def fit(
    store: StoreArgument,
    table: Table,
    dataset: Dataset = None,
    split: Split = None,
    run: RunNumber = None,
    folds: Annotated[int, typer.Option(help="Parts of the cross-validation.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Save the fitted Hybrid with its reference as JSON.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw figure 6.1, the correlations over the weights.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every pair of weights to this CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Study the Hybrid's weights alpha and beta: all 40,401 pairs of the grid, in-sample and by cross-validation."""
    from trainless.aggregation import ALPHA, BETA, HYBRID_PAIR, Hybrid, cross_validate

    check_places(out, csv)
    check_figure(figure)
    with interruptible("Nothing was changed."), progress("weights") as update:
        study = _study(store, table, dataset, split, ", ".join(HYBRID_PAIR), run, with_sweep=True, update=update)
        weights = study.sweep
        if weights is None:
            raise InputError(f"The store lacks {' or '.join(HYBRID_PAIR)}, of which the Hybrid is made: score both.")
        held = cross_validate(study.scores[list(HYBRID_PAIR)], study.accuracies, folds=folds, progress=update)
    alpha, beta, inside = weights.best()
    ratios = held.folds["beta"] / held.folds["alpha"]
    rows: list[dict[str, Any]] = [
        {"weights": "as published", "alpha": ALPHA, "beta": BETA, "ratio": BETA / ALPHA,
         "kendall": weights.at(ALPHA, BETA), "spearman": weights.at(ALPHA, BETA, "spearman"),
         "measured": "on all; nothing was fitted"},
        {"weights": "best of the grid", "alpha": alpha, "beta": beta, "ratio": beta / alpha if alpha else math.inf,
         "kendall": inside, "spearman": weights.at(alpha, beta, "spearman"), "measured": "in-sample, too good"},
        {"weights": f"fitted {folds} times", "alpha": None, "beta": None, "ratio": ratios.median(),
         "kendall": held.kendall, "spearman": held.spearman, "measured": "held out, mean over folds; median ratio"},
    ]  # fmt: skip
    if out:
        origin = f"{study.title}, {len(study.scores):,} architectures, weights fitted to them"
        mix = Hybrid(alpha=alpha, beta=beta).fit(study.scores, origin=origin)
        write_file(out, mix.save)
    if csv:
        write_file(csv, lambda path: weights.frame().to_csv(path, index=False))
    if figure:
        from trainless.report import sweep_figure

        write_file(figure, lambda path: sweep_figure(weights, path))
    if as_json:
        print_json({"protocol": dict(study.protocol), "flipped": weights.flipped, "weights": rows,
                    "folds": records(held.folds)})  # fmt: skip
        return
    print_rows(rows)
    if out:
        tell(f"Saved in {out}: the best of the grid, alpha {alpha:g} and beta {beta:g}, fitted in-sample.")
    if not alpha or not beta:
        tell("One of the weights is 0, so that the best of the grid is one proxy alone.")
    tell(f"DIN > DDN, so that the sum is not taken, for {weights.flipped} of {len(study.scores):,}.")
    tell("; ".join(f"{key}: {value}" for key, value in study.protocol.items()))


def report(
    store: StoreArgument,
    table: Table,
    dataset: Dataset = None,
    split: Split = None,
    proxies: Names = None,
    run: RunNumber = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    figures: Annotated[Path | None, typer.Option(help="Folder for PNG, SVG, LaTeX and Markdown, for papers.")] = None,
    resamples: Resamples = 200,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page that explains how well the stored scores find good architectures."""
    from trainless.report import study_page

    check_places(out)
    _check_resamples(resamples)
    folder = new_folder(figures) if figures else nullcontext()
    with folder, interruptible("Files that were finished stay."), progress("evaluating") as update:
        study = _study(store, table, dataset, split, proxies, run, with_sweep=True, update=update)
        board = study.leaderboard(resamples, progress=update.stage("intervals"))
        write_text(out, study_page(study, leaderboard=board))
        files = [str(out)]
        if figures:
            files += _paper_files(study, board, figures)
    if as_json:
        print_json({"files": files, "protocol": dict(study.protocol)})
    else:
        tell("\n".join(files))


def _paper_files(study: Study, board: pd.DataFrame, folder: Path) -> list[str]:
    from trainless.report import latex_table, markdown_table, study_figures

    try:
        files = [str(path) for path in study_figures(study, folder, leaderboard=board)]
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {cause(error)}.") from error
    for ending, text in (("md", markdown_table(board)), ("tex", latex_table(board, study.title, "tab:proxies"))):
        path = folder / f"leaderboard.{ending}"
        write_text(path, text)
        files.append(str(path))
    return files


@reproduce.command("thesis")
def thesis(
    data: Annotated[
        Path | None, typer.Option(help="Folder of public files; default the cache or TRAINLESS_DATA.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report, figures and tables.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Store of our own scores; default those packaged.")] = None,
    resamples: Resamples = 200,
    as_json: Json = False,
) -> None:
    """Compute tables 6.1 to 6.7 and figure 6.1 of the thesis on the Hybrid proxy, ours beside the thesis's."""
    import pandas as pd

    from trainless.reproduction import reproduce_thesis

    _check_resamples(resamples)
    folder = new_folder(out) if out else nullcontext()
    with folder, interruptible("Files that were finished stay."), progress("") as update:
        found = reproduce_thesis(data, scores, resamples=resamples, with_extras=out is not None, progress=update.stage)
        written = found.write(out) if out else []
    if as_json:
        print_json(found.rows)
        return
    _print_reproduction(pd.DataFrame(found.rows))
    if out:
        tell(f"{len(written)} files in {out}: open {out / 'report.html'}")


def _print_reproduction(rows: pd.DataFrame) -> None:
    from trainless.ranking import NON_FINITE_POLICY

    for (table, dataset), part in rows.groupby(["table", "dataset"], sort=False):
        tell(f"\nTable {table}, {dataset}")
        print_rows(
            [
                {
                    "proxy": row["proxy"],
                    "source": row["source"],
                    "tau": _figure(row["kendall"], 3),
                    "thesis tau": _figure(row["thesis_kendall"], 2),
                    "rho": _figure(row["spearman"], 3),
                    "thesis rho": _figure(row["thesis_spearman"], 2),
                    "top %": _figure(row["top_accuracy"], 2),
                    "thesis top": _figure(row["thesis_top_accuracy"], 2),
                    "networks": row["networks"],
                    "difference": row["difference"] or "none in the digits printed",
                }
                for row in part.to_dict(orient="records")
            ]
        )
    tell(f"\nScores that are not finite are {NON_FINITE_POLICY}. What differs from the thesis's making:")
    for reason in dict.fromkeys(reason for reasons in rows["reasons"] for reason in reasons):
        tell(f"- {reason}")


def _figure(value: Any, digits: int) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"


def _check_resamples(resamples: int) -> None:
    if resamples != 0 and resamples < _FEWEST:
        raise InputError(f"--resamples is {resamples}, expected 0 for no intervals, or at least {_FEWEST}.")


def _study(
    store: str, table: str, dataset: str | None, split: str | None, proxies: str | None, run: int | None,
    *, with_sweep: bool = False, update: Any = None,
) -> Study:  # fmt: skip
    from trainless.store import Store
    from trainless.study import study_from_store
    from trainless.tables import benchmark_table

    found = benchmark_table(table)
    chosen = dataset or (found.datasets[0] if len(found.datasets) == 1 else "")
    if not chosen:
        raise InputError(f"--dataset is missing, expected one of {', '.join(found.datasets)}.")
    splits = found.splits(chosen)
    if split is None:
        raise InputError(f"--split is missing, expected one of {', '.join(splits)}.")
    names = None if proxies is None else [name.strip() for name in proxies.split(",") if name.strip()]
    if names == []:
        raise InputError("--proxies names none, expected some with commas between: leave it out for all.")
    with Store(store, create=False) as opened:
        return study_from_store(
            opened, found, chosen, split, run=chosen_run(opened, run), proxies=names, with_sweep=with_sweep,
            progress=update,
        )  # fmt: skip
