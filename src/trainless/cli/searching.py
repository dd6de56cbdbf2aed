"""The commands of the search: search, strategies, estimators, latency."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trainless.cli.limits import NO_LIMITS, Most, limit_options
from trainless.cli.shared import (
    Address,
    Backend,
    Json,
    MemoryLimit,
    ScorePrecision,
    Seed,
    Space,
    Timeout,
    Workers,
    asked_workers,
    check_figure,
    check_places,
    find_data,
    first_line,
    interruptible,
    new_store,
    without_password,
)
from trainless.costs import COSTS
from trainless.errors import InputError
from trainless.terminal import Update, print_json, print_rows, progress, records, tell, write_file, write_text

__all__ = ["estimators", "latency", "search", "strategies"]


@limit_options
def search(
    data: Annotated[str, typer.Option(help="'digits', a folder of class folders, CIFAR batches, or an .npz file.")],
    space: Space = "nasbench201",
    strategy: Annotated[
        str, typer.Option(help="How architectures are proposed; `trainless strategies` lists them.")
    ] = ("freerea"),
    score: Annotated[
        str | None,
        typer.Option(
            help="A proxy, an aggregation such as 'rank(flops, nwot)', or an estimator that trains; robust if left "
            "out, one-shot for spos."
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="score, and beside it for a front: params, flops, latency, memory, a table's column.")
    ] = "score",
    most: Most = NO_LIMITS,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", help="Limit a table's column: cifar10.edgegpu_latency=5; repeatable.")
    ] = None,
    table: Annotated[str, typer.Option(help="Table that --limit and --objective name columns of.")] = "hw-nas-bench",
    budget: Annotated[str, typer.Option(help="Evaluations such as 200, a time such as 45s, or 45s,200.")] = "200",
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option(help="Search with so many seeds from --seed on, to show how they differ; the first decides.")
    ] = 1,
    store: Annotated[str, typer.Option(help="Score store: a file, or a database URL.")] = "search.db",
    resume: Annotated[bool, typer.Option(help="Go on with a search in the store; its time counts on.")] = False,
    run_off: Annotated[int, typer.Option(help="Train so many of the best-scored briefly; 10 do well, 0 none.")] = 0,
    run_off_epochs: Annotated[
        int | None, typer.Option(help="Epochs of the longest of these trainings; 12 if left out.")
    ] = None,
    run_off_images: Annotated[int, typer.Option(help="Most images for these trainings.")] = 2500,
    run_off_by: Annotated[
        str | None,
        typer.Option(help="Compare them by an estimator such as inherited or one-shot instead, with its own epochs."),
    ] = None,
    augment: Annotated[bool, typer.Option(help="Mirror and shift images in the run-off; for photographs.")] = False,
    reduced: Annotated[
        list[str] | None,
        typer.Option(
            help="Cheaper score of a halving strategy, as shares of channels and cells (c), resolution (r) and batch "
            "(s): c=0.5,s=0.25; repeatable, the cheapest first."
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Proposals at a time; default what suits the strategy.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in the batch that networks are scored on.")] = 64,
    image_size: Annotated[int | None, typer.Option(help="Resize images to so many rows and columns.")] = None,
    device: Annotated[str, typer.Option(help="Where scores are computed and latency is measured.")] = "cpu",
    precision: ScorePrecision = "float32",
    workers: Workers = None,
    backend: Backend = "local",
    address: Address = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    out: Annotated[Path | None, typer.Option(help="Write a page that explains the search to this HTML file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the search: PNG, SVG or PDF by the ending.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the evaluations of the first seed to this CSV file.")] = None,
    study: Annotated[str | None, typer.Option(help="Write an Optuna study to this URL: sqlite:///study.db.")] = None,
    as_json: Json = False,
) -> None:
    """Find the best architecture under limits, by a score without training or an estimator; run it again to go on."""
    from trainless.data import load_data
    from trainless.search import (
        Limits,
        Search,
        parse_budget,
        parse_fidelity,
        parse_limits,
        save_study,
        search_score,
        split_names,
    )
    from trainless.search_spaces import search_space
    from trainless.strategies import check_study

    check_places(csv, out)
    check_figure(figure)
    if score is not None:
        search_score(score)  # what is wrong with an option is found before any data are read
    is_timed = parse_budget(budget).seconds is not None
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}, expected at least 1.")
    objectives = split_names(objective)
    columns = parse_limits(limit or ())
    limits = Limits({**most, **columns})
    final = _run_off(run_off, run_off_epochs, run_off_images, augment, run_off_by)
    chosen = search_space(space)
    images = load_data(find_data(data), image_size=image_size)
    known = _table_of_costs(table, [*columns, *objectives])
    where = asked_workers(backend, address, workers, timeout, memory_limit)
    searches: list[Search] = []
    with new_store(store):
        for search_seed in range(seed, seed + seeds):
            planned = Search(
                chosen, strategy, score, images, budget=budget, limits=limits, objectives=objectives, seed=search_seed,
                batch=batch, workers=where, store=store, batch_size=batch_size, device=device, precision=precision,
                table=known, fidelities=[parse_fidelity(text) for text in reduced] if reduced else None, run_off=final,
            )  # fmt: skip
            searches.append(planned)
            precision = planned.precision  # measured once, for all seeds
        if study:
            for planned in searches:
                check_study(study, _study_name(planned.title, planned.seed))
        # Of a URL without the password that it may have.
        location = kept.location if (kept := searches[0].store) else store
        hint = ", with --resume to count the time that it has used" if is_timed else ""
        advice = f"What is finished is in {location}: run the same command again to go on{hint}."
        first, *rest = searches
        found = _searched(first, resume, advice)
    # The search that is resumed may have been cut short before it came to these.
    others = [_searched(planned, resume and planned.is_begun(), advice) for planned in rest]
    graph = chosen.graph(chosen.parse(found.best))
    if csv:
        write_file(csv, lambda path: found.evaluations.to_csv(path, index=False))
    if out:
        from trainless.report import search_page

        write_text(out, search_page(found, graph, others=others))
    if figure:
        from trainless.report import search_figure

        write_file(figure, lambda path: search_figure(found, graph, path, others=others))
    if study:
        for number, result in enumerate([found, *others], seed):
            save_study(result, chosen, study, _study_name(result.title, number))
    best, *_ = records(_row_of(found))
    if as_json:
        print_json({
            "best": best, "evaluations": len(found.evaluations), "front": list(found.front),
            "rejected": dict(found.rejected), "stopped": found.stopped,
            **({} if found.run_off is None else {"run_off": records(found.run_off.set_index("architecture"))}),
            **({} if not others else {"others": [
                {"seed": number, **records(_row_of(other))[0]} for number, other in enumerate(others, seed + 1)]}),
            "protocol": dict(found.protocol),
        })  # fmt: skip
        return
    _print_search(found, others, seed, location)
    tell(f"\nBest: {found.best}\n{chosen.draw(chosen.parse(found.best))}")


def _run_off(candidates: int, epochs: int | None, images: int, augment: bool, by: str | None) -> Any:
    """The run-off that is asked for, if there is one."""
    from trainless.search import RunOff

    if by and not candidates:
        raise InputError(f"--run-off-by is '{by}' and there is no run-off: say of how many, as --run-off 10 does.")
    if by and epochs is not None:
        raise InputError(
            f"--run-off-epochs is {epochs} and --run-off-by '{by}', which has epochs of its own: say them there, as in "
            f"'inherited(epochs={epochs})'."
        )
    usual = {} if epochs is None else {"epochs": epochs}
    return RunOff(candidates, **usual, images=images, augment=augment, by=by) if candidates else None


def _study_name(title: str, seed: int) -> str:
    return f"{title}, seed {seed}"


def _table_of_costs(table: str, names: Iterable[str]) -> Any:
    """The table, where a limit or objective is a column of it."""
    from trainless.tables import benchmark_table

    return benchmark_table(table) if any("." in name for name in names) else None


def _searched(search: Any, resume: bool, advice: str) -> Any:
    with interruptible(advice), progress("searching") as update:
        # The bar turns to the run-off when that begins.
        return search.run(update, resume=resume, run_off_progress=_Staged(update, "training"))


class _Staged:
    """Gives a progress bar another name as soon as it is moved."""

    def __init__(self, update: Update, name: str) -> None:
        self._update, self._name, self._begun = update, name, False

    def __call__(self, done: int, total: int) -> None:
        if not self._begun:
            self._update.stage(self._name)
            self._begun = True
        self._update(done, total)


def _row_of(found: Any) -> Any:
    """The evaluation of what was found, with its number."""
    rows = found.evaluations.rename_axis("number")
    return rows[rows["architecture"] == found.best]


def _print_search(found: Any, others: Sequence[Any], seed: int, store: str) -> None:
    rows = found.evaluations.rename_axis("number")
    columns = {cost.column for cost in COSTS.values()}
    costs = [name for name in rows if name in columns or "." in name]
    shown = rows[rows["architecture"].isin(found.front)] if len(found.objectives) > 1 else rows
    best_first = shown.sort_values("score", ascending=False, kind="stable").head(10)
    print_rows(records(best_first[["architecture", "score", *costs]]))
    if found.run_off is not None:
        tell("Run-off, the winner first:")
        print_rows(records(found.run_off.set_index("architecture")))
    if others:
        tell("Other seeds:")
        print_rows([
            {"seed": number, **records(_row_of(other)[["architecture", "score", *costs]])[0]}
            for number, other in enumerate(others, seed + 1)
        ])  # fmt: skip
    broken = ", ".join(f"{count:,} by {name}" for name, count in found.rejected.items())
    named = without_password(store)
    tell(f"{len(rows)} evaluations; rejected: {broken or 'none'}; {found.stopped}. Scores are in {named}.")
    tell("; ".join(f"{key}: {value}" for key, value in found.protocol.items()))


def strategies(as_json: Json = False) -> None:
    """List the search strategies, with their options."""
    from trainless.strategies import CONTEXT, STRATEGIES

    rows = [
        {
            "strategy": name,
            "options": _options(kind, CONTEXT),
            "objectives": "several" if kind.several_objectives else "one",
            "what": first_line(kind),
        }
        for name, kind in STRATEGIES.items()
    ]
    print_rows(rows, as_json)


def estimators(as_json: Json = False) -> None:
    """List the estimators of performance, with their options."""
    from trainless.estimators import ESTIMATORS

    rows = [
        {"estimator": name, "options": _options(kind), "what": first_line(kind)} for name, kind in ESTIMATORS.items()
    ]
    print_rows(rows, as_json)


def _options(maker: Callable[..., Any], context: Collection[str] = ()) -> str:
    from trainless.specs import options_of

    return ", ".join(f"{option}={value}" for option, value in options_of(maker, context).items())


def latency(
    architecture: Annotated[str, typer.Argument(help="The architecture's published string.")],
    space: Space = "nasbench201",
    device: Annotated[str, typer.Option(help="Where to measure, as PyTorch names it.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads for one operation.")] = 1,
    repeats: Annotated[int, typer.Option(help="Timed runs, of which the median counts.")] = 20,
    classes: Annotated[int, typer.Option(help="Classes that the network tells apart.")] = 10,
    image_size: Annotated[int, typer.Option(help="Rows and columns of an image.")] = 32,
    image_channels: Annotated[int, typer.Option(help="Colour channels of an image.")] = 3,
    table: Annotated[
        str | None, typer.Option(help="Tell too what this table knows of its costs, such as hw-nas-bench.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how long an inference takes on this machine; with --table also read what it takes elsewhere."""
    from trainless.search import Costs
    from trainless.search_spaces import search_space
    from trainless.tables import benchmark_table
    from trainless.types import Task

    for name, value in {"--classes": classes, "--image-size": image_size, "--image-channels": image_channels}.items():
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1.")
    chosen = search_space(space)
    candidate = chosen.parse(architecture)
    known = benchmark_table(table) if table else None
    costs = Costs(chosen, Task("images", classes, image_channels, image_size, image_size), table=known, device=device)
    columns = [f"{dataset}.{name}" for dataset in known.datasets for name in known.costs(dataset)] if known else []
    costs.check(columns)
    parameters, flops = (int(costs(candidate, name)) for name in ("params", "flops"))
    measured = costs.measure(candidate, batch=batch, threads=threads, repeats=repeats)
    stored = {name: costs(candidate, name) for name in columns}
    memory = costs(candidate, "memory")
    if as_json:
        print_json({"architecture": str(candidate), "latency_ms": measured.milliseconds, "low_ms": measured.low,
                    "high_ms": measured.high, "repeats": measured.repeats, "batch": batch, "threads": threads,
                    "device": measured.device, "parameters": parameters, "flops": flops, "memory_mib": memory,
                    "table": stored})  # fmt: skip
        return
    tell(f"{measured}.")
    tell(f"{parameters:,} parameters, {flops:,} multiply-adds, {memory:.2f} MiB.")
    if known:
        told = "latency in ms and energy in mJ:" if stored else "tells no costs."
        tell(f"{known.name} ({known.origin}), {told}")
        print_rows([{"cost": name, "value": value} for name, value in stored.items()])
