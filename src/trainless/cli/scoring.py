"""The commands that score: spaces, proxies, describe, score, show, quickstart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainless.cli.fitting import fit_shown
from trainless.cli.shared import (
    MAXIMUM_ROWS,
    Address,
    Backend,
    Json,
    MemoryLimit,
    Proxies,
    ScorePrecision,
    Seed,
    Space,
    StoreArgument,
    Timeout,
    Workers,
    asked_workers,
    cause,
    check_places,
    chosen_run,
    find_data,
    first_line,
    in_listed_order,
    interruptible,
    new_folder,
    new_store,
    own_version,
    without_password,
)
from trainless.errors import InputError
from trainless.terminal import print_json, print_rows, progress, records, tell, write_file, write_text

if TYPE_CHECKING:
    import pandas as pd

    from trainless.scoring import Scorer
    from trainless.search_spaces.base import SearchSpace
    from trainless.store import Run, Store
    from trainless.types import Architecture

__all__ = ["describe", "proxies", "quickstart", "score", "show", "spaces"]

_MOST = 1_000_000  # architectures that a command lists; a space may have more


def spaces(as_json: Json = False) -> None:
    """List the search spaces."""
    from trainless.search_spaces import SEARCH_SPACES, FiniteSpace

    rows = []
    for name, kind in SEARCH_SPACES.items():
        space = kind()
        options = ", ".join(f"{key}={value}" for key, value in space.options.items())
        size = space.size if isinstance(space, FiniteSpace) else "without end"
        rows.append({"space": name, "architectures": size, "options": options, "summary": first_line(kind)})
    print_rows(rows, as_json)


def proxies(as_json: Json = False) -> None:
    """List the proxies with kind, direction and paper, and the aggregations; a variant's name follows after a colon."""
    from trainless.aggregation import NAMED_AGGREGATES
    from trainless.aggregation.named import PAPERS
    from trainless.proxies import PROXIES

    rows = [
        {
            "proxy": proxy.name,
            "kind": proxy.kind,
            "better": "higher" if proxy.higher_is_better else "lower",
            "measures": proxy.summary,
            "paper": proxy.paper,
        }
        for proxy in PROXIES.values()
    ] + [
        {"proxy": name, "kind": "mix", "better": "higher", "measures": make().name, "paper": PAPERS[name]}
        for name, make in NAMED_AGGREGATES.items()
    ]
    print_rows(rows, as_json)


def describe(
    architecture: Annotated[str, typer.Argument(help="Architecture string, in quotes.")],
    space: Space = "nasbench201",
    classes: Annotated[int, typer.Option(help="Number of classes.")] = 10,
    image_channels: Annotated[int, typer.Option(help="Colour channels of an image.")] = 3,
    image_size: Annotated[int, typer.Option(help="Rows and columns of an image, in pixels.")] = 32,
    as_json: Json = False,
) -> None:
    """Tell an architecture's parameters, multiply-adds and canonical form, and draw it."""
    from trainless.search_spaces import FiniteSpace, search_space
    from trainless.types import Task

    for name, value in (("--classes", classes), ("--image-channels", image_channels), ("--image-size", image_size)):
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1.")
    chosen = search_space(space)
    candidate = chosen.parse(architecture)
    task = Task("custom", classes, image_channels, image_size, image_size)
    canonical = chosen.canonical(candidate)
    facts: dict[str, str | int] = {
        "architecture": str(candidate),
        **({"index": chosen.index(candidate)} if isinstance(chosen, FiniteSpace) else {}),
        "parameters": chosen.parameters(candidate, task),
        "flops": chosen.flops(candidate, task),
        "canonical": str(canonical),
        "canonical_parameters": chosen.parameters(canonical, task),
        "canonical_flops": chosen.flops(canonical, task),
    }
    if as_json:
        print_json(facts)
        return
    for key, fact in facts.items():
        number = f"{fact:,}" if isinstance(fact, int) and key != "index" else str(fact)
        tell(f"{key.replace('_', ' '):22}{number}")
    tell(f"\n{chosen.draw(candidate)}")


def score(
    data: Annotated[str, typer.Option(help="'digits', a folder of class folders, CIFAR batches, or an .npz file.")],
    space: Space = "nasbench201",
    proxies: Proxies = "all",
    architectures: Annotated[Path | None, typer.Option(help="File with one architecture string a line.")] = None,
    sample: Annotated[int | None, typer.Option(help="Score a seeded sample of so many architectures.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Score the whole space.")] = False,
    seed: Seed = 0,
    store: Annotated[str, typer.Option(help="Score store: a file, or a database URL.")] = "scores.db",
    batch_size: Annotated[int, typer.Option(help="Images in the batch.")] = 64,
    balanced: Annotated[bool, typer.Option(help="As many images of each class, or drawn from all alike.")] = True,
    image_size: Annotated[int | None, typer.Option(help="Resize images to so many pixels.")] = None,
    initialization: Annotated[str, typer.Option(help="How weights are drawn.")] = "kaiming_normal_fan_out",
    repeats: Annotated[int, typer.Option(help="Initialisations that each score is averaged over.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, or float64 for exact work.")] = "float32",
    precision: ScorePrecision = "float32",
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    reference: Annotated[
        Path | None, typer.Option(help="Score an aggregation by the reference sample in this file, each by itself.")
    ] = None,
    save_reference: Annotated[
        Path | None,
        typer.Option(help="Save these architectures as the reference of the one aggregation among --proxies."),
    ] = None,
    workers: Workers = None,
    backend: Backend = "local",
    address: Address = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
) -> None:
    """Score architectures and store each score; run the same command again to go on after an interruption."""
    from trainless.data import load_data
    from trainless.scoring import Scorer
    from trainless.search_spaces import search_space

    _check_names(proxies)
    mix = _only_aggregation(proxies) if save_reference else ""
    check_places(save_reference)
    chosen_space = search_space(space)
    chosen = _architectures(chosen_space, architectures, sample, everything, seed)
    images = load_data(find_data(data), image_size=image_size)
    where = asked_workers(backend, address, workers, timeout, memory_limit)
    with new_store(store):
        scorer = Scorer(
            chosen_space, proxies, images, seed=seed, batch_size=batch_size, balanced=balanced,
            initialization=initialization, dtype=dtype, precision=precision, device=device, repeats=repeats,
            store=store, workers=where, reference=reference,
        )  # fmt: skip
    named = without_password(store)
    table, seconds = _scored(scorer, chosen, f"Finished scores are in {named}: run the same command again to go on.")
    if save_reference:
        write_file(save_reference, scorer.fitted(mix).save)
    failures = [{"architecture": f.architecture, "proxy": f.proxy, "reason": f.reason} for f in scorer.failures]
    if as_json:
        print_json({"protocol": _protocol(scorer), "seconds": seconds, "scores": records(table),
                     "failures": failures})  # fmt: skip
    else:
        print_rows(records(table.head(MAXIMUM_ROWS)))
        if len(table) > MAXIMUM_ROWS:
            tell(f"... and {len(table) - MAXIMUM_ROWS} more: trainless show {named}")
        tell(f"{len(table)} architectures in {seconds:.1f} s, stored in {named}")
        if save_reference:
            tell(f"Reference of {mix}: {save_reference}, for `--reference {save_reference}` with the same options.")
        tell("; ".join(f"{key}: {value}" for key, value in _protocol(scorer).items()))
        for failure in failures[:MAXIMUM_ROWS]:
            tell("failed: {architecture} {proxy}: {reason}".format(**failure), err=True)
    if failures:
        raise typer.Exit(1)


def show(
    store: StoreArgument,
    top: Annotated[int | None, typer.Option(help="Only the best so many.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Order by this proxy or aggregation, best first; what is not finite last.")
    ] = None,
    run: Annotated[int | None, typer.Option(help="Which run, where the store holds several.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the table to this Parquet file.")] = None,
    as_json: Json = False,
) -> None:
    """Show the scores of a store, or write them to a file."""
    from trainless.aggregation import NAMED_AGGREGATES
    from trainless.proxies import PROXIES
    from trainless.store import Store

    if top is not None and top < 1:
        raise InputError(f"--top is {top}, expected at least 1.")
    with Store(store, create=False) as opened:
        chosen = chosen_run(opened, run)
        if by is None:
            table = opened.table(chosen)
        elif by in NAMED_AGGREGATES:
            table = _ranked(opened, chosen, by)
        else:
            table = opened.best(chosen, by, top, highest=by not in PROXIES or PROXIES[by].higher_is_better)
    mixed = [name for name in NAMED_AGGREGATES if name == by]
    table = table[mixed + in_listed_order(table.columns.difference(mixed, sort=False))].head(top or len(table))
    for path, write in ((csv, table.to_csv), (parquet, table.to_parquet)):
        if path:
            write_file(path, write)
    if as_json:
        print_json(records(table))
    elif not (csv or parquet):
        print_rows(records(table if top else table.head(MAXIMUM_ROWS)))
        if not top and len(table) > MAXIMUM_ROWS:
            tell(f"... and {len(table) - MAXIMUM_ROWS} more: --top {len(table)} shows all, --csv FILE writes all")


def _ranked(store: Store, run: Run | None, by: str) -> pd.DataFrame:
    """The architectures that all parts of an aggregation have tried, with its score among them, the best first."""
    from trainless.aggregation import named_aggregate
    from trainless.ranking import best_first
    from trainless.study import tried_by

    scores, mix = store.table(run), named_aggregate(by)
    missing = [name for name in mix.proxies if name not in scores.columns]
    tried = [] if missing else tried_by(store.latest_rows(run or store.runs()[0]), mix.proxies)
    if not tried:
        lacking = ", ".join(missing) or "an architecture with all of its parts"
        raise InputError(f"--by is {by}, for which the store lacks {lacking}: score with --proxies {by}.")
    table = scores.loc[tried].copy()
    table.insert(0, by, mix.fit_score(table))
    return table.iloc[best_first(table[by].to_numpy())]


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the network, the pages, the pictures and the scores.")] = Path(
        "trainless-quickstart"
    ),
    time: Annotated[str, typer.Option(help="Time to find and train a network, such as 2m.")] = "2m",
    sample: Annotated[int, typer.Option(help="Number of cells to score.")] = 60,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fit a network to the embedded digits images, then score a sample of cells on them by all proxies."""
    from trainless.automl import Plan
    from trainless.automl.model_card import facts
    from trainless.data import load_splits
    from trainless.report import quickstart_figure, quickstart_page
    from trainless.scoring import Scorer
    from trainless.search_spaces import search_space
    from trainless.units import parse_time

    space = search_space("nasbench201")
    chosen = _architectures(space, None, sample, False, seed)
    plan = Plan(parse_time(time), seed=seed, workers=workers)
    with new_folder(out):
        fitted = fit_shown(load_splits("digits", seed=seed), plan, out / "run", quiet=as_json)
    scorer = Scorer(space, "all", "digits", seed=seed, workers=workers, store=out / "scores.db")
    scores, seconds = _scored(scorer, chosen, "Run the same command again to go on.")
    ranking = _hybrid_ranking(space, scorer, scores)
    costs = _costs(scorer)
    page, picture = out / "quickstart.html", out / "quickstart.png"
    title = f"{len(scores)} NAS-Bench-201 cells on digits, ranked by the Hybrid proxy"
    protocol = {**_protocol(scorer), "seconds": f"{seconds:.1f}"}
    write_text(page, quickstart_page(ranking, scores, costs, protocol, title))
    write_file(picture, lambda path: quickstart_figure(ranking, scores, costs, path))
    if as_json:
        files = {"page": str(page), "picture": str(picture)}
        tables = {"ranking": records(ranking), "costs": records(costs)}
        print_json({"fit": facts(fitted), "protocol": protocol, **tables, **files})
        return
    print_rows(records(ranking.head(MAXIMUM_ROWS).rename_axis("architecture")))
    print_rows(records(costs))
    tell(f"{len(scores)} cells, scored by all proxies, in {seconds:.1f} s.")
    tell(f"Page: {page}  Picture: {picture}  Scores: {out / 'scores.db'}")


# What the commands share.


def _only_aggregation(names: str) -> str:
    """The one aggregation among what is asked for, of which a reference can be saved."""
    from trainless.scoring import parts_of

    found = list(parts_of(names)[2])
    if len(found) != 1:
        raise InputError(
            f"--save-reference is for one aggregation, and --proxies names {', '.join(found) or 'none'}: name one, as "
            "in --proxies robust."
        )
    return found[0]


def _check_names(names: str) -> None:
    """Find a wrong proxy name before any data are read."""
    from trainless.scoring import parts_of

    parts_of(names)


def _architectures(
    space: SearchSpace, file: Path | None, sample: int | None, everything: bool, seed: int
) -> list[Architecture]:
    from trainless.search_spaces import FiniteSpace

    if (file is not None) + (sample is not None) + everything != 1:
        raise InputError("Give exactly one of --architectures FILE, --sample N and --all.")
    if seed < 0:
        raise InputError(f"--seed is {seed}, expected 0 or more.")
    if everything:
        if not isinstance(space, FiniteSpace):
            raise InputError(f"--all would score architectures of {space.name} without end: give --sample N.")
        if space.size > _MOST:
            raise InputError(f"--all would score {space.size:,} architectures: give --sample N.")
        return list(space)
    if sample is not None:
        return _sample(space, sample, seed)
    assert file is not None
    return _read_architectures(space, file)


def _sample(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Distinct architectures by seed: a larger sample with the same seed begins with the smaller one."""
    import numpy as np

    from trainless.search_spaces import FiniteSpace
    from trainless.seeding import derive_seed

    size = space.size if isinstance(space, FiniteSpace) else _MOST
    if not 1 <= count <= size:
        raise InputError(f"--sample is {count}, expected 1 to {size}.")
    rng = np.random.default_rng(derive_seed(seed, "sample"))
    if isinstance(space, FiniteSpace) and size <= _MOST:
        return [space[int(index)] for index in rng.permutation(space.size)[:count]]
    if count > _MOST:
        raise InputError(f"--sample is {count}, expected at most {_MOST:,} of so large a space.")
    drawn: dict[Architecture, None] = {}
    while len(drawn) < count:
        drawn[space.sample(rng)] = None
    return list(drawn)


def _read_architectures(space: SearchSpace, file: Path) -> list[Architecture]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--architectures {file} cannot be read: {cause(error)}.") from error
    chosen = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                chosen.append(space.parse(text))
            except InputError as error:
                raise InputError(f"{file}, line {number}: {error}") from error
    if not chosen:
        raise InputError(f"--architectures {file} holds no architecture: put one string on each line.")
    return chosen


def _scored(scorer: Scorer, chosen: Sequence[Architecture], advice: str) -> tuple[pd.DataFrame, float]:
    start = time.perf_counter()
    with interruptible(advice), progress("scoring") as update:
        table = scorer.score(chosen, update)
    return table, time.perf_counter() - start


def _protocol(scorer: Scorer) -> dict[str, str]:
    """How the scores came about, in words."""
    import torch

    from trainless.ranking import NON_FINITE_POLICY

    protocol, dataset = scorer.protocol, scorer.dataset
    size = len(scorer.batch.images)
    return {
        "space": scorer.space.spec,
        "data": f"{scorer.batch.task.name}, batch of {size}, fingerprint {scorer.batch.fingerprint}",
        **({"left out": scorer.note} if scorer.note else {}),
        "normalisation": f"mean {_numbers(dataset.mean)}, deviation {_numbers(dataset.std)}",
        "initialization": protocol.initialization,
        "repeats": str(protocol.repeats),
        "seed": str(protocol.seed),
        "precision": protocol.dtype,
        **_in_bfloat16(scorer),
        "not finite": NON_FINITE_POLICY,
        "versions": f"trainless {own_version()}, torch {torch.__version__}",
    }


def _in_bfloat16(scorer: Scorer) -> dict[str, str]:
    """Which proxies have their convolutions and linear maps in bfloat16, where any have."""
    precision = scorer.protocol.precision
    names = [proxy.name for proxy in scorer.proxies if proxy.in_precision(precision).pass_spec.bfloat16]
    return {"convolutions and linear maps in bfloat16": ", ".join(names) or "none"} if precision != "float32" else {}


def _numbers(values: Sequence[float]) -> str:
    """One number a channel, or one for all, as those of text are."""
    return " ".join(f"{value:.4f}" for value in (values if len(set(values)) > 1 else values[:1]))


def _hybrid_ranking(space: SearchSpace, scorer: Scorer, scores: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    from trainless.aggregation import HYBRID_PAIR, hybrid
    from trainless.ranking import ranking

    first, second = HYBRID_PAIR
    task = scorer.batch.task
    values = pd.Series(hybrid(scores[first], scores[second]), index=scores.index)
    parsed = [space.parse(text) for text in scores.index]
    table = pd.DataFrame(
        {
            "rank": ranking(values),
            "hybrid": values,
            first: scores[first],
            second: scores[second],
            "parameters": [space.parameters(architecture, task) for architecture in parsed],
            "flops": [space.flops(architecture, task) for architecture in parsed],
        },
        index=scores.index,
    )
    return table.sort_values("rank", kind="stable")


def _costs(scorer: Scorer) -> pd.DataFrame:
    """Mean seconds that each proxy would take alone for a network."""
    import pandas as pd

    kinds = [proxy.kind for proxy in scorer.proxies]
    frame = pd.DataFrame({"seconds": scorer.costs, "kind": kinds}, index=[proxy.name for proxy in scorer.proxies])
    return frame.rename_axis("proxy").sort_values("seconds", ascending=False)
