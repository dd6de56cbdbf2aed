"""A live search: architectures are scored as a strategy asks for them."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainless.costs import COSTS, cost_named, counted_costs
from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.estimators import Estimate, Setting
from trainless.estimators.fidelities import Fidelity, default_fidelities
from trainless.ranking import NON_FINITE_POLICY
from trainless.scoring import Scorer
from trainless.search.budgets import Budget, parse_budget
from trainless.search.costs import Costs
from trainless.search.journal import Journal, is_kept, key_of
from trainless.search.limits import Limits
from trainless.search.loop import Loop
from trainless.search.results import SearchResult
from trainless.search.run_off import RunOff, fingerprint
from trainless.search.scores import EstimatorScore, SearchScore, search_score
from trainless.search_spaces.base import SearchSpace
from trainless.specs import parse_spec
from trainless.store import Store
from trainless.strategies import STRATEGIES, Result, Strategy, SuccessiveHalving, strategy, strategy_spec, write_study
from trainless.tables import BenchmarkTable
from trainless.types import Architecture, Score

__all__ = ["Search", "save_study"]

Progress = Callable[[int, int], None]
Scored = Callable[[Sequence[Architecture]], list[dict[str, Score]]]

_TOPICS = {"latency": "latencies"}  # as they stood in the first stores


class Search:
    """Finds the architecture with the highest score under limits, without training any where the score is zero-cost.

    With a budget of evaluations the same seed gives the same history, whatever the number of workers and however often
    it was interrupted: scores, and latencies that were measured, are in the store as soon as they are known, so that
    the same search run again reads them and goes on. Not so between two machines or stores where latency is a limit or
    an objective, for it is measured; nor with a budget of time, for how far it comes depends on the machine.

    Where the score is an estimator that trains, a search is the same in all else; trainings are kept one by one, and a
    budget of time may be exceeded by those that were begun.

    Args:
        space: a search space or its name.
        strategy: a name of `trainless.strategies.STRATEGIES`, with options or without; or a fresh `Strategy` of the
            same space and number of objectives.
        score: what `trainless.search.search_score` takes: a proxy, an aggregation, or an estimator that trains.
        data: what `trainless.data.load_data` takes.
        budget: what `trainless.search.parse_budget` takes, a number of evaluations, or a `Budget`. Cheaper evaluations
            of a strategy with several rungs and the run-off are not counted; their time is, but for the run-off's.
        limits: what a network may cost; what breaks a limit is not scored and counts as no evaluation.
        objectives: ``"score"``, and beside it costs to be minimised for a Pareto front: names of `COSTS`, or columns of
            `table`.
        seed: decides everything random.
        batch: proposals asked for at a time; None is what suits the strategy. More keep more workers busy.
        workers: as for `trainless.Scorer`; also processes that train in the run-off.
        store: as for `trainless.Scorer`.
        batch_size: images in the batch.
        device: as for `trainless.Scorer`; latency is measured there.
        table: where limits and objectives named ``<data set>.<column>`` are read.
        fidelities: the reduced evaluations of a strategy with several rungs, the cheapest first; they decide the number
            of rungs of one that is named. None halves width, depth and batch from rung to rung.
        run_off: trains the best-scored few in the end, and the best validated one is what is found; None does not.

    Raises:
        InputError: an argument cannot be used; the message says which, what was expected and what to do.

    Example:
        >>> search = Search(score="params", strategy="local", budget=30, limits=Limits(parameters=5e5), workers=0)
        >>> found = search.run()
        >>> len(found.evaluations), int(found.evaluations["parameters"].max()) <= 500_000
        (30, True)
    """

    def __init__(
        self,
        space: str | SearchSpace = "nasbench201",
        strategy: str | Strategy = "freerea",
        score: Any = "freerea",
        data: str | os.PathLike[str] | ImageDataset = "digits",
        *,
        budget: str | int | Budget = 200,
        limits: Limits | None = None,
        objectives: Sequence[str] = ("score",),
        seed: int = 0,
        batch: int | None = None,
        workers: int | None = None,
        store: Store | str | Path | None = None,
        batch_size: int = 64,
        device: str = "cpu",
        table: BenchmarkTable | None = None,
        fidelities: Sequence[Fidelity] | None = None,
        run_off: RunOff | None = None,
    ) -> None:
        self.budget = budget if isinstance(budget, Budget) else parse_budget(str(budget))
        self.limits = limits or Limits()
        self.objectives = tuple(objectives)
        if self.objectives[:1] != ("score",) or len(set(self.objectives)) < len(self.objectives):
            raise InputError(
                f"The objectives are {', '.join(self.objectives) or 'none'}, expected score first and beside it costs "
                f"such as {', '.join(COSTS)}, each once."
            )
        if batch is not None and batch < 1:
            raise InputError(f"The batch of proposals is {batch}, expected at least 1.")
        self.score: SearchScore = search_score(score)
        self.seed, self.run_off = seed, run_off
        self.scorer = Scorer(
            space, self.score.proxies or "params", data, seed=seed, batch_size=batch_size, workers=workers, store=store,
            device=device,
        )  # fmt: skip
        if run_off:
            run_off.check(self.scorer.dataset, seed)
        self.strategy = strategy
        self._notes: dict[str, None] = {}
        self._rungs = None if fidelities is None else len(fidelities) + 1
        made = self._strategy()
        self.fidelities = tuple(default_fidelities(made.rungs) if fidelities is None else fidelities)
        if len(self.fidelities) != made.rungs - 1:
            raise InputError(
                f"The strategy '{made.name}' was given {len(self.fidelities)} reduced evaluations, expected "
                f"{made.rungs - 1}: one for each of its rungs below the full one."
            )
        self.costs = Costs(self.scorer.space, self.scorer.batch.task, table=table, device=device)
        self.costs.check([*self.limits.most, *self.objectives[1:]])
        self.batch = batch or made.batch
        self.title = (
            f"{self._written_strategy()} by {self.score.name} on {self.scorer.space.name}, {self.costs.task.name}"
        )
        self._settings = self._deciding()

    def _strategy(self) -> Strategy:
        """Give a fresh strategy."""
        if isinstance(self.strategy, Strategy):
            return _checked(self.strategy, self.scorer.space, len(self.objectives))
        options = {"objectives": len(self.objectives)} if len(self.objectives) > 1 else {}
        if self._rungs and issubclass(STRATEGIES.get(parse_spec(self.strategy).name, Strategy), SuccessiveHalving):
            options["rungs"] = self._rungs
        return strategy(self.strategy, self.scorer.space, self.seed, **options)

    def _written_strategy(self) -> str:
        """The strategy with its options; rungs that the reduced evaluations decide are told by these."""
        return strategy_spec(self.strategy) if isinstance(self.strategy, str) else str(self.strategy)

    def is_begun(self) -> bool:
        """Tell whether the store has this search, so that it can be resumed."""
        return self.scorer.store is not None and is_kept(self.scorer.store, self._settings)

    def run(
        self, progress: Progress | None = None, *, resume: bool = False, run_off_progress: Progress | None = None
    ) -> SearchResult:  # fmt: skip
        """Search until the budget is used up or nothing is left to score, and hold the run-off if there is one.

        Args:
            progress: called with the evaluations done and the budget (or the seconds, where that is all there is).
            resume: go on with the same search in the store, and count the time that it had used; without, the time
                begins anew. In neither case anything stored is computed again.
            run_off_progress: called with the epochs of the run-off done and those planned.

        Raises:
            InputError: nothing within the limits was found; or a search is to be resumed that is not in the store.
        """
        made, store = self._strategy(), self.scorer.store
        journal = Journal(store, self._settings, resume)
        if store:
            self._keep_measured(store)
        told: list[float] = []
        with ExitStack() as stack:
            sessions = [stack.enter_context(each) for each in self._sessions()]
            loop = Loop(
                made, [self.score] * made.rungs,
                lambda some, rung: [[each[name].value for name in self.score.columns] for each in sessions[rung](some)],
                check=self._broken, objectives=self.objectives, facts=self._facts, batch=self.batch, seed=self.seed,
            )  # fmt: skip
            stopped = self._search(loop, journal, told, progress)
            scores = sessions[-1](loop.order) if loop.order else []
        if loop.best() is None:
            raise InputError(self._nothing(loop, scores))
        trained = self._trained(loop, run_off_progress)
        return self._result(loop, told, scores, stopped, trained)

    def _search(self, loop: Loop, journal: Journal, told: list[float], progress: Progress | None) -> str:
        most, seconds = self.budget.evaluations, self.budget.seconds
        start = time.monotonic() - journal.seconds
        counts = [0] * len(loop.history)

        def is_over() -> bool:
            # What was told before is only read, so that the time it took then is all that it takes.
            return seconds is not None and time.monotonic() - start >= seconds and not journal.is_repeating

        while True:
            if progress:
                passed = int(time.monotonic() - start)
                progress(*((len(loop.order), most) if most else (passed, int(seconds or 0))))
            # All that is proposed at a time has room where there is time alone: the history is the same either way.
            room = sys.maxsize if most is None else most - len(loop.order)
            if room <= 0:
                return f"the budget of {most} evaluations is spent"
            if is_over() or not loop.step(room, is_over):
                return loop.stopped or f"the budget of {round(seconds or 0, 2):g} s is spent"
            new = [(str(one), rung) for rung, known in enumerate(loop.history) for one in known[counts[rung] :]]
            when = journal.add(new, time.monotonic() - start)
            told += [at for at, (_, rung) in zip(when, new, strict=True) if rung == len(counts) - 1]
            counts = [len(known) for known in loop.history]

    def _nothing(self, loop: Loop, scores: Sequence[Mapping[str, Score]]) -> str:
        """Why nothing was found."""
        reason = next((one.reason for each in scores for one in each.values() if one.reason), "")
        if reason:
            return (
                f"None of the {len(scores):,} architectures that were evaluated got a finite score, the first for "
                f"this reason: {reason.rstrip('.')}; choose another score, other images or larger networks."
            )
        return (
            f"No architecture of {loop.space.name} within the limits ({self.limits}) got a score "
            f"({sum(loop.rejected.values()):,} broke a limit): widen the limits or raise the budget."
        )

    def _sessions(self) -> Iterator[AbstractContextManager[Scored]]:
        """What scores at each rung, the full one last."""
        if isinstance(self.score, EstimatorScore):
            yield from (self._estimates(self.score, each) for each in (*self.fidelities, Fidelity()))
        else:
            yield from (scorer.session() for scorer in (*self._reduced(), self.scorer))

    @contextmanager
    def _estimates(self, score: EstimatorScore, fidelity: Fidelity) -> Iterator[Scored]:
        """Give estimates the form of scores."""
        assert score.estimator is not None
        full, known = self.scorer, dict[Architecture, dict[str, Score]]()
        data = fidelity.of_data(full.dataset)
        if fidelity.batch < 1:
            data = split(data, fidelity.batch, self.seed)[1]
        setting = Setting(fidelity.of_space(full.space), data, self.seed, full.workers, full.store)
        with score.estimator.session(setting) as ask:

            def scored(some: Sequence[Architecture]) -> list[dict[str, Score]]:
                fresh = [one for one in dict.fromkeys(some) if one not in known]
                for one, each in zip(fresh, ask(fresh) if fresh else [], strict=True):
                    known[one] = {score.name: _score_of(each, score.name)}
                    self._notes[each.note] = None
                return [known[one] for one in some]

            yield scored

    def _reduced(self) -> list[Scorer]:
        """The scorers of the cheaper evaluations."""
        full = self.scorer
        return [
            Scorer(
                each.of_space(full.space), full.proxies, each.of_data(full.dataset), seed=self.seed,
                batch_size=each.of_batch(len(full.batch.images)), workers=full.workers, store=full.store,
                device=full.protocol.device,
            )
            for each in self.fidelities
        ]  # fmt: skip

    # Costs.

    def _broken(self, one: Architecture) -> str:
        cost = partial(self.costs, one)
        unknown = (f"{name} unknown" for name in self.objectives[1:] if math.isnan(cost(name)))
        return self.limits.broken(cost) or next(unknown, "")

    def _facts(self, one: Architecture) -> dict[str, float]:
        return {name: self.costs(one, name) for name in self.objectives[1:]}

    def _named_costs(self) -> list[str]:
        """Costs that all evaluated architectures have."""
        counted = [cost.name for cost in counted_costs()]
        return list(dict.fromkeys([*counted, *self.limits.most, *self.objectives[1:]]))

    def _measured_costs(self) -> list[str]:
        return [name for name in self._named_costs() if cost_named(name).is_measured]

    def _keep_measured(self, store: Store) -> None:
        """Measured once, a value stays: a second measurement could let in what the first kept out."""
        settings = {"space": self.scorer.space.label, "task": str(self.costs.task), "device": self.costs.device}
        for name in self._measured_costs():
            topic = f"{_TOPICS.get(name, name)} of {key_of(settings)}"
            self.costs.remember(name, store.notes(topic), partial(_note, store, topic))

    # What came out of it.

    def _trained(self, loop: Loop, progress: Progress | None) -> pd.DataFrame | None:
        if self.run_off is None:
            return None
        front = loop.front() if len(self.objectives) > 1 else range(len(loop.order))
        places = sorted(
            (place for place in front if np.isfinite(loop.values[place])), key=lambda place: -loop.values[place]
        )
        rows = self.run_off.hold(
            [loop.order[place] for place in places], self.scorer.space, self.scorer.dataset, seed=self.seed,
            workers=self.scorer.workers, store=self.scorer.store, progress=progress,
        )  # fmt: skip
        return pd.DataFrame([asdict(row) for row in rows])

    def _result(
        self, loop: Loop, told: list[float], scores: Sequence[Mapping[str, Score]], stopped: str,
        trained: pd.DataFrame | None,
    ) -> SearchResult:  # fmt: skip
        rows: dict[str, Any] = {"architecture": [str(one) for one in loop.order], "score": loop.values}
        costs = [cost_named(name) for name in self._named_costs()]
        rows |= {cost.column: [self.costs(one, cost.name) for one in loop.order] for cost in costs}
        rows |= {
            "seconds": told,
            "status": [_status(each.values()) for each in scores],
            "reason": ["; ".join(sorted({one.reason for one in each.values() if one.reason})) for each in scores],
        }
        rows |= {name: [each[name].value for each in scores] for name in self.score.columns}
        evaluations = pd.DataFrame(rows, index=range(1, len(loop.order) + 1)).astype(
            {cost.column: int for cost in counted_costs() if cost.is_whole}
        )
        front = [str(loop.order[place]) for place in loop.front()]
        best = front[0] if trained is None else str(trained["architecture"].iloc[0])
        return SearchResult(
            title=self.title, space=loop.space.name, best=best, objectives=self.objectives, evaluations=evaluations,
            front=tuple(front) if len(self.objectives) > 1 else (best,),
            rejected=dict(loop.rejected), stopped=stopped, run_off=trained, protocol=self._protocol(loop),
        )  # fmt: skip

    def _deciding(self) -> dict[str, str]:
        """All that decides the history."""
        mix = self.score.aggregate
        return {
            "strategy": f"{self._written_strategy()}, {self.batch} proposals at a time",
            "score": self.score.name,
            "aggregation": key_of({"json": mix.to_json()}) if mix else "",
            "proxies": ", ".join(f"{each.name} {each.version}" for each in self.score.proxies),
            "objectives": ", ".join(self.objectives),
            "limits": str(self.limits),
            "table": self._table(),
            "reduced": "; ".join(map(str, self.fidelities)),
            "scored": str(self.scorer.run),
            "device": self.costs.device,
            **self._estimated(),
        }

    def _estimated(self) -> dict[str, str]:
        """What a search by an estimator depends on beside its name."""
        if not isinstance(self.score, EstimatorScore):
            return {}
        return {"images": fingerprint(self.scorer.dataset)}

    def _protocol(self, loop: Loop) -> dict[str, str]:
        cheaper = [f"{len(known)} with {each}" for known, each in zip(loop.history, self.fidelities, strict=False)]
        protocol = {
            "strategy": f"{self._written_strategy()}, {loop.batch} proposals at a time",
            "score": self.score.name,
            "estimates": self._fidelity(),
            "objectives": ", ".join(self.objectives),
            "limits": str(self.limits),
            "table": self._table(),
            "budget": str(self.budget),
            "cheaper scores": "; ".join(cheaper),
            "run-off": str(self.run_off or ""),
            **dict.fromkeys(self._measured_costs(), f"measured on {self.costs.device}, one image, 1 thread"),
            "repeatable": self._repeatable(),
            "seed": str(self.seed),
            "data": self._images(),
            "not finite": NON_FINITE_POLICY,
        }
        return {name: text for name, text in protocol.items() if text}

    def _fidelity(self) -> str:
        """What is done for each estimate, and what is to be known of all."""
        if not isinstance(self.score, EstimatorScore) or self.score.estimator is None:
            return ""
        return "; ".join([self.score.estimator.fidelity, *filter(None, self._notes)])

    def _images(self) -> str:
        """What is scored on."""
        data, batch = self.scorer.dataset, self.scorer.batch
        if isinstance(self.score, EstimatorScore):
            return f"{data.task.name}, {len(data):,} images, fingerprint {fingerprint(data)}"
        return f"{data.task.name}, batch of {len(batch.images)}, fingerprint {batch.fingerprint}"

    def _table(self) -> str:
        """The table that limits or objectives are read from."""
        is_read = self.costs.table is not None and any("." in name for name in self._named_costs())
        return self.costs.table.name if self.costs.table is not None and is_read else ""

    def _repeatable(self) -> str:
        if self.budget.seconds is not None:
            return "no: how far a budget of time reaches depends on the machine"
        if measured := self._measured_costs():
            return f"with this store only: {' and '.join(measured)} was measured"
        return "yes, whatever the number of workers"


def _checked(given: Strategy, space: SearchSpace, objectives: int) -> Strategy:
    """Refuse a strategy that somebody made for something else."""
    if given.space.label != space.label:
        raise InputError(
            f"The strategy '{given.name}' is for {given.space.label}, expected one for {space.label}: make it of "
            "the same search space."
        )
    if given.objectives != objectives:
        raise InputError(
            f"The strategy '{given.name}' is made for {given.objectives} objective(s) and there are {objectives}: make "
            f"it with objectives={objectives}."
        )
    if given.seen:
        raise InputError(f"The strategy '{given.name}' was told results before, expected a fresh one: make it anew.")
    return given


def _note(store: Store, topic: str, architecture: str, value: float) -> None:
    store.note(topic, {architecture: value})


def _score_of(estimate: Estimate, name: str) -> Score:
    status = "failed" if estimate.reason else "ok" if math.isfinite(estimate.value) else "not finite"
    return Score(estimate.architecture, name, estimate.value, status, estimate.reason, estimate.seconds)


def _status(scores: Iterable[Score]) -> str:
    found = {each.status for each in scores}
    return next((name for name in ("failed", "not finite") if name in found), "ok")


def save_study(found: SearchResult, space: SearchSpace, storage: str, study_name: str) -> None:
    """Write the evaluations of a search as an Optuna study, which optuna-dashboard opens.

    Args:
        found: what the search gave.
        space: its search space.
        storage: a URL such as ``sqlite:///study.db``.
        study_name: the study's name in the storage; one of that name that was written here before is replaced.

    Raises:
        InputError: the storage cannot be opened or written, or has such a study of another origin.
    """
    columns = [cost_named(name).column for name in found.objectives[1:]]
    values = np.column_stack([found.evaluations["score"], *(-found.evaluations[name] for name in columns)])
    results = [
        Result(space.parse(text), tuple(row.tolist()) if np.isfinite(row).all() else ())
        for text, row in zip(found.evaluations["architecture"], values, strict=True)
    ]
    write_study(space, results, storage, study_name, objectives=len(found.objectives))
