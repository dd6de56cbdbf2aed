"""Replay: searches over many seeds against stored scores and a table of true accuracies."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainless.errors import InputError, ScoringError, TableError
from trainless.passes import Signals
from trainless.proxies.counts import skipped_layers
from trainless.ranking import NON_FINITE_POLICY, best_first, finite_last
from trainless.search.budgets import Budget, parse_budget
from trainless.search.checkpoints import Checkpoint, Outcome
from trainless.search.loop import Loop
from trainless.search.results import ReplayResult
from trainless.search.scores import SearchScore, search_score
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.specs import parse_spec
from trainless.store import Run, Store
from trainless.strategies import STRATEGIES, strategy, strategy_spec
from trainless.tables import BenchmarkTable, PublishedScores
from trainless.types import Architecture, Task
from trainless.workers import WorkersChoice, chosen_workers, run_in_workers

__all__ = ["replay", "stored_scores"]

_FEWEST = 16  # searches for which processes are started unasked, which takes seconds

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Bench:
    """All that the replays on one data set share."""

    space: SearchSpace
    dataset: str
    rows: dict[str, int]  # by the architecture's string, which a worker finds as fast as its own
    lookups: Mapping[str, list[tuple[float, ...]]]
    seconds: Mapping[str, Array]
    test: Array
    valid: Array | None
    optimum: float


class _Job(NamedTuple):
    """One search: the places of its data set and score in the plan, its strategy and its seed."""

    bench: int
    score: int
    strategy: str
    seed: int


@dataclass(frozen=True)
class _Plan:
    """What all searches of a replay share."""

    benches: tuple[_Bench, ...]
    scores: tuple[SearchScore, ...]
    budget: Budget
    run_off: int


def replay(
    table: BenchmarkTable,
    scores: Mapping[str, PublishedScores],
    *,
    strategies: Sequence[str] = ("random", "local", "evolution", "freerea"),
    searched: Sequence[str] = ("freerea",),
    seeds: int = 100,
    budget: str | int | Budget = 200,
    split: str = "test",
    run_off: int = 0,
    targets: Mapping[str, float] | None = None,
    workers: WorkersChoice = 0,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Search over many seeds with scores read from a file, and look the choices up in a table of true accuracies.

    The search sees the scores alone. Accuracies of `split` are looked up afterwards; a run-off reads those of ``valid``
    of the best-scored few, as if these were trained, and what it chooses is looked up in `split`.

    Args:
        table: true accuracies.
        scores: by data set of the table, the scores of its architectures; params, flops and skipped_layers are counted
            where they are missing.
        strategies: names of `trainless.strategies.STRATEGIES`, with options or without, or ``"all"`` among them.
        searched: names of scores, as `trainless.search.scores.search_score` takes them.
        seeds: number of searches, with seeds 0, 1, ...
        budget: evaluations, or the seconds that the scores are stated to have taken, or both.
        split: of the accuracies that are looked up.
        run_off: how many of the best-scored are compared by ``valid``; 0 for no run-off.
        targets: by data set, an accuracy in percent, to tell how many evaluations it takes to reach it.
        workers: number of processes, which changes nothing but the time; 0 searches in this one, None is one a core; or
            `trainless.workers.Workers`.
        checkpoint: file in which each search is kept as soon as it ends. Those that it holds already, of the same
            scores, accuracies, budget, run-off and version, are not made again.
        progress: called with the number of searches done and that of all.

    Raises:
        UnknownNameError: a strategy or a score is unknown.
        TableError: the table lacks a data set or split.
        InputError: the scores lack a proxy, a number cannot be used, or the checkpoint is another file.
    """
    spent = budget if isinstance(budget, Budget) else parse_budget(str(budget))
    if seeds < 1 or run_off < 0:
        raise InputError(f"There are {seeds} seeds and a run-off of {run_off}, expected at least 1 and 0.")
    chosen_workers(workers)
    without_images = [name for name, kind in STRATEGIES.items() if not kind.needs_images]
    chosen = without_images if "all" in strategies else [strategy_spec(name) for name in strategies]
    if learning := [name for name in chosen if parse_spec(name).name not in without_images]:
        raise InputError(
            f"The strategy '{learning[0]}' learns from images, of which a replay has none: choose others, such as "
            f"{', '.join(without_images[:3])}."
        )
    looked_up = [_stored_score(name) for name in searched]
    benches = [_bench(table, dataset, published, looked_up, split, run_off) for dataset, published in scores.items()]
    if spent.evaluations is None:
        _check_seconds(benches, looked_up)
    plan = _Plan(tuple(benches), tuple(looked_up), spent, run_off)
    found = _searched(plan, chosen, seeds, workers, Checkpoint(checkpoint), progress)
    rows, curves = [], {}
    for bench_number, number, name in product(range(len(benches)), range(len(looked_up)), chosen):
        bench, score = benches[bench_number], looked_up[number]
        outcomes = [found[_Job(bench_number, number, name, seed)] for seed in range(seeds)]
        curves[name, score.name, bench.dataset] = _stacked([outcome.curve for outcome in outcomes])
        target = (targets or {}).get(bench.dataset)
        rows.append(_row(bench, score, name, outcomes, spent, run_off, target))
    protocol = {
        "table": f"{table.name}, accuracies of the split {split}, in percent",
        "scores": "; ".join(f"{dataset}: {published.origin}" for dataset, published in scores.items()),
        "budget": f"{spent}, {seeds} seeds",
        "choice": f"the highest score so far; what is not finite is {NON_FINITE_POLICY}",
        "run-off": f"the best of the {run_off} best-scored by the split valid" if run_off else "none",
    }
    return ReplayResult(rows, curves, {bench.dataset: bench.optimum for bench in benches}, protocol)


def _stored_score(name: str) -> SearchScore:
    """Refuse what trains: a replay reads scores that are there already."""
    score = search_score(name)
    if not score.proxies:
        raise InputError(
            f"The score '{name}' is an estimator, which a replay cannot look up: give a proxy or an aggregation, "
            "such as nwot."
        )
    return score


def _check_seconds(benches: Iterable[_Bench], scores: Sequence[SearchScore]) -> None:
    """Refuse scores that never use up a budget of time."""
    for bench, score in product(benches, scores):
        if not bench.seconds[score.name].any():
            raise InputError(
                f"The scores on {bench.dataset} do not tell how long {score.name} took, expected that for a budget of "
                "seconds alone: give one of evaluations, or both."
            )


# The searches.


def _searched(
    plan: _Plan, chosen: Sequence[str], seeds: int, workers: WorkersChoice, checkpoint: Checkpoint,
    progress: Callable[[int, int], None] | None,
) -> dict[_Job, Outcome]:  # fmt: skip
    """Make all searches that the checkpoint lacks, and keep each in it."""
    keys = {
        _Job(bench_number, number, name, seed): f"{digest} {name} {seed}"
        for bench_number, bench in enumerate(plan.benches)
        for number, score in enumerate(plan.scores)
        for digest in [_digest(bench, score, plan) if checkpoint.path else ""]
        for name in chosen
        for seed in range(seeds)
    }
    found = {job: checkpoint.found[key] for job, key in keys.items() if key in checkpoint.found}
    missing = [job for job in keys if job not in found]
    workers = chosen_workers(0 if workers is None and len(missing) < _FEWEST else workers)
    work = _search_alone if workers.count else _search_here
    with checkpoint.writing():
        for job, outcome in run_in_workers(work, plan, missing, workers, _lost):
            checkpoint.add(keys[job], outcome)
            found[job] = outcome
            if progress:
                progress(len(found), len(keys))
    return found


def _digest(bench: _Bench, score: SearchScore, plan: _Plan) -> str:
    """What decides a search besides strategy and seed, in a few letters."""
    facts = {
        "version": version("trainless"),
        "space": [bench.space.name, dict(bench.space.options)],
        "score": [score.name, list(score.columns), score.signs.tolist()],
        "aggregate": vars(score.aggregate) if score.aggregate else None,
        "budget": str(plan.budget),
        "run-off": plan.run_off,
        "architectures": list(bench.rows),
    }
    digest = hashlib.sha256(json.dumps(facts, default=_written).encode())
    for numbers in (bench.lookups["params"], bench.lookups[score.name], bench.seconds[score.name], bench.test):
        digest.update(np.asarray(numbers, float).tobytes())
    if bench.valid is not None:
        digest.update(bench.valid.tobytes())
    return digest.hexdigest()[:16]


def _written(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else repr(value)


def _search_here(plan: _Plan, job: _Job) -> Outcome:
    bench, score = plan.benches[job.bench], plan.scores[job.score]
    return _search(bench, score, job.strategy, job.seed, plan.budget, plan.run_off)


def _search_alone(plan: _Plan, job: _Job) -> Outcome:
    """Search in a worker, where one thread is enough."""
    import torch

    torch.set_num_threads(1)
    return _search_here(plan, job)


def _lost(job: _Job, reason: str) -> Outcome:
    raise ScoringError(f"The search {job.strategy} with seed {job.seed} was lost ({reason}): use fewer workers.")


def _search(bench: _Bench, score: SearchScore, name: str, seed: int, budget: Budget, run_off: int) -> Outcome:
    start = time.perf_counter()
    made = strategy(name, bench.space, seed)
    # Where a strategy asks for something cheaper first, the number of parameters has to do.
    kinds = [search_score("params")] * (made.rungs - 1) + [score]
    lookup, rows = [bench.lookups[kind.name] for kind in kinds], bench.rows
    loop = Loop(made, kinds, lambda asked, rung: [lookup[rung][rows[architecture.text]] for architecture in asked],
                check=lambda architecture: "" if architecture.text in rows else "scores", seed=seed)  # fmt: skip
    limit = min(budget.evaluations or len(rows), len(rows))
    choices: list[int] = []
    price, seconds = bench.seconds[score.name], 0.0
    while loop.step(limit - len(loop.order)):
        best = loop.best()
        row = -1 if best is None else rows[loop.order[best].text]
        new = len(loop.order) - len(choices)
        if new:
            choices += [choices[-1] if choices else row] * (new - 1) + [row]
        if budget.seconds is not None:
            seconds += sum(price[rows[told.text]] for told in loop.order[len(loop.order) - new :])
            if seconds >= budget.seconds:
                break
    took = time.perf_counter() - start
    chosen = np.array(choices, dtype=int)
    curve = np.where(chosen >= 0, bench.test[chosen], np.nan)
    return Outcome(curve, len(choices), _winner(bench, loop, run_off), took)


def _winner(bench: _Bench, loop: Loop, run_off: int) -> float:
    """The test accuracy of what the run-off chooses."""
    if not run_off or bench.valid is None:
        return np.nan
    first = best_first(loop.values)[:run_off]
    rows = [bench.rows[loop.order[index].text] for index in first if np.isfinite(loop.values[index])]
    return float(bench.test[rows[finite_last(bench.valid[rows]).argmax()]]) if rows else np.nan


def _row(
    bench: _Bench, score: SearchScore, name: str, outcomes: Sequence[Outcome], budget: Budget, run_off: int,
    target: float | None,
) -> dict[str, Any]:  # fmt: skip
    final = np.array([outcome.curve[-1] if len(outcome.curve) else np.nan for outcome in outcomes])
    evaluations = np.array([outcome.evaluations for outcome in outcomes])
    row: dict[str, Any] = {
        "strategy": name,
        "score": score.name,
        "dataset": bench.dataset,
        "seeds": len(outcomes),
        "budget": str(budget),
        "mean_test": float(final.mean()),
        "std_test": float(final.std(ddof=1)) if len(final) > 1 else 0.0,
        "mean_evaluations": float(evaluations.mean()),
        "microseconds": 1e6 * sum(outcome.took for outcome in outcomes) / max(1, int(evaluations.sum())),
    }
    if run_off:
        winners = np.array([outcome.run_off for outcome in outcomes])
        row["mean_test_runoff"] = float(winners.mean())
        row["std_test_runoff"] = float(winners.std(ddof=1)) if len(winners) > 1 else 0.0
    if target is not None:
        needed = np.array([_first_above(outcome.curve, target) for outcome in outcomes])
        row |= {"target": target, "reached": float(np.isfinite(needed).mean()),
                "evaluations_to_target": float(np.median(needed))}  # fmt: skip
    return row


def _first_above(curve: Array, target: float) -> float:
    reached = np.flatnonzero(curve >= target)
    return float(reached[0] + 1) if len(reached) else float("inf")


def _stacked(curves: Sequence[Array]) -> Array:
    """One row a seed; a search that ended early keeps its last choice."""
    longest = max(map(len, curves))
    rows = [np.pad(curve, (0, longest - len(curve)), mode="edge") if len(curve) else np.full(longest, np.nan)
            for curve in curves]  # fmt: skip
    return np.array(rows)


# What is read.


def stored_scores(store: Store, searched: Iterable[str], run: Run | None = None) -> PublishedScores:
    """Read the scores of a store, for `replay`.

    An architecture counts when all the proxies have tried it that the searched scores read and the store holds; a score
    that failed is ranked last.

    Args:
        store: holds the scores.
        searched: names of scores, as `replay` takes them.
        run: the run of the store; None where it holds only one.

    Raises:
        StoreError: the store holds several runs and none is chosen, or none at all.
        InputError: no architecture was tried by all of the proxies.
    """
    scores = store.table(run)
    chosen = run or store.runs()[0]
    rows = store.latest_rows(chosen)
    seconds = rows.pivot(index="architecture", columns="proxy", values="seconds").reindex_like(scores)
    read = {column for name in searched for column in search_score(name).columns}
    needed = [name for name in scores.columns if name in read]
    tried = seconds[needed].notna().all(axis="columns")
    if not tried.any():
        raise InputError(
            f"No architecture of the store '{store.location}' was scored by all of {', '.join(needed)}: choose scores "
            "whose proxies were scored for the same architectures."
        )
    return PublishedScores(
        str(store.location), chosen.space, chosen.task, f"{store.location}, {chosen}", "", scores[tried], seconds[tried]
    )


def _bench(
    table: BenchmarkTable, dataset: str, published: PublishedScores, scores: Sequence[SearchScore], split: str,
    run_off: int,
) -> _Bench:  # fmt: skip
    if published.space != table.space:
        raise TableError(
            f"The scores '{published.name}' are of {published.space} and the table '{table.name}' is of "
            f"{table.space}, expected the same search space: choose other scores."
        )
    space = search_space(table.space)
    test = table.accuracies(dataset, split)
    names = [text for text in published.scores.index if text in test.index]
    if not names:
        raise TableError(f"The scores '{published.name}' have no architecture in common with '{table.name}'.")
    members = [space.parse(text) for text in names]
    needed = {"params", *(column for score in scores for column in score.columns)}
    frame = published.scores.loc[names].reset_index(drop=True)
    frame = _counted(frame, members, space, partial(table.task, dataset), needed)
    if missing := sorted(needed - set(map(str, frame.columns))):
        raise InputError(
            f"The scores '{published.name}' lack {', '.join(missing)}, expected some of {', '.join(frame.columns)}: "
            "choose another score, or score them into a store first."
        )
    valid = table.accuracies(dataset, "valid").reindex(names).to_numpy(float) if run_off else None
    kinds = [search_score("params"), *scores]
    timed = published.seconds.loc[names].reindex(columns=frame.columns).fillna(0.0)
    return _Bench(
        space, dataset, {str(member): row for row, member in enumerate(members)},
        {kind.name: _lookup(frame, kind) for kind in kinds},
        {kind.name: timed[list(kind.columns)].sum(axis="columns").to_numpy(float) for kind in kinds},
        test.loc[names].to_numpy(float), valid, table.optimum(dataset, split)[1],
    )  # fmt: skip


def _counted(
    frame: pd.DataFrame, members: Sequence[Architecture], space: SearchSpace, task: Callable[[], Task], needed: set[str]
) -> pd.DataFrame:
    """Add what the search space tells by itself."""
    closed: dict[str, Callable[[Architecture], float]] = {
        "params": lambda architecture: space.parameters(architecture, task()),
        "flops": lambda architecture: space.flops(architecture, task()),
        "skipped_layers": lambda architecture: skipped_layers(Signals(skip_spans=space.skip_spans(architecture))),
    }
    new = {name: [float(count(member)) for member in members] for name, count in closed.items()
           if name in needed and name not in frame.columns}  # fmt: skip
    return frame.assign(**new)


def _lookup(frame: pd.DataFrame, score: SearchScore) -> list[tuple[float, ...]]:
    """The raw scores of each row, as plain tuples, which are read a hundred times as fast as a table."""
    columns = [frame[name].to_numpy(float).tolist() for name in score.columns]
    return list(zip(*columns, strict=True))
