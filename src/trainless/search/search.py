"""The search for the best architecture: they are estimated as a strategy asks for them."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.estimators import Estimate, Setting
from trainless.estimators.fidelities import Fidelity
from trainless.scoring import Scorer
from trainless.search.budgets import Budget, parse_budget
from trainless.search.costs import Costs
from trainless.search.journal import Journal, is_kept
from trainless.search.limits import Limits
from trainless.search.loop import Loop
from trainless.search.plan import SearchPlan, checked_fidelities, checked_objectives, checked_strategy
from trainless.search.results import SearchResult, evaluation_table
from trainless.search.run_off import RunOff
from trainless.search.scores import USUAL_SCORE, search_score
from trainless.search.sessions import rung_sessions
from trainless.search_spaces.base import SearchSpace
from trainless.specs import parse_spec
from trainless.store import Store
from trainless.strategies import STRATEGIES, Strategy, SuccessiveHalving, strategy, strategy_spec, usual_score
from trainless.tables import BenchmarkTable
from trainless.types import Architecture
from trainless.workers import WorkersChoice

__all__ = ["Search"]

Progress = Callable[[int, int], None]


class Search:
    """Finds the architecture with the highest score under limits, without training any where the score is zero-cost.

    With a budget of evaluations the same seed gives the same history, whatever the number of workers and however often
    it was interrupted: scores, and latencies that were measured, are in the store as soon as they are known, so that
    the same search run again reads them and goes on. Not so between two machines or stores where latency is a limit or
    an objective, for it is measured; nor with a budget of time, or a time for what is learnt before, for how far that
    comes depends on the machine.

    Where the score is an estimator that trains, a search is the same in all else; trainings are kept one by one, and a
    budget of time may be exceeded by those that were begun.

    Args:
        space: a search space or its name.
        strategy: a name of `trainless.strategies.STRATEGIES`, with options or without; or a fresh `Strategy` of the
            same space and number of objectives.
        score: what `trainless.search.search_score` takes: a proxy, an aggregation, or an estimator that trains; None is
            ``"robust"``, or what the strategy is made for.
        data: what `trainless.data.load_data` takes.
        budget: what `trainless.search.parse_budget` takes, a number of evaluations, or a `Budget`. Cheaper evaluations
            of a strategy with several rungs and the run-off are not counted; their time is, but for the run-off's.
        limits: what a network may cost; what breaks a limit is not scored and counts as no evaluation.
        objectives: ``"score"``, and beside it costs to be minimised for a Pareto front: names of
            `trainless.costs.COSTS`, or columns of `table`.
        seed: decides everything random.
        batch: proposals asked for at a time; None is what suits the strategy. More keep more workers busy.
        workers: as for `trainless.Scorer`; also processes that train in the run-off.
        store: as for `trainless.Scorer`.
        batch_size: images in the batch.
        device: as for `trainless.Scorer`; latency is measured there.
        precision: of the scores, as for `trainless.Scorer`; only float32 for an estimator.
        table: where limits and objectives named ``<data set>.<column>`` are read.
        fidelities: the reduced evaluations of a strategy with several rungs, the cheapest first; they decide the number
            of rungs of one that is named. None halves width, depth and batch from rung to rung.
        run_off: trains the best-scored few in the end, or measures them by an estimator, and the best validated one is
            what is found; None does not.
        predicted: costs that are told by a function of the architecture in place of being measured, by name.
        mirror_average: count and measure costs of networks that average over each image and its mirror image.
        first: architectures that are scored before the strategy proposes any.

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
        score: Any = None,
        data: str | os.PathLike[str] | ImageDataset = "digits",
        *,
        budget: str | int | Budget = 200,
        limits: Limits | None = None,
        objectives: Sequence[str] = ("score",),
        seed: int = 0,
        batch: int | None = None,
        workers: WorkersChoice = None,
        store: Store | str | Path | None = None,
        batch_size: int = 64,
        device: str = "cpu",
        precision: str = "float32",
        table: BenchmarkTable | None = None,
        fidelities: Sequence[Fidelity] | None = None,
        run_off: RunOff | None = None,
        predicted: Mapping[str, Callable[[Architecture], float]] = MappingProxyType({}),
        mirror_average: bool = False,
        first: Sequence[Architecture] = (),
    ) -> None:
        budget = budget if isinstance(budget, Budget) else parse_budget(str(budget))
        self.seed, self.objectives = seed, checked_objectives(objectives)
        if batch is not None and batch < 1:
            raise InputError(f"The batch of proposals is {batch}, expected at least 1.")
        searched = search_score((usual_score(strategy) or USUAL_SCORE) if score is None else score)
        if precision != "float32" and not searched.proxies:
            raise InputError(
                f"The precision is '{precision}', which is of proxies, and the score '{searched.name}' an estimator "
                "that has none: leave the precision out."
            )
        # Draws the batch and checks all that it is given; what is scored is the matter of the estimator.
        scorer = Scorer(
            space, searched.proxies or "params", data, seed=seed, batch_size=batch_size, precision=precision,
            workers=workers, store=store, device=device,
        )  # fmt: skip
        self.precision = scorer.protocol.precision
        setting = Setting(scorer.space, scorer.dataset, seed, workers, scorer.store)
        if run_off:
            run_off.check(setting.space, setting.data, seed)
        self.space, self.store, self.strategy = setting.space, setting.store, strategy
        self._rungs = None if fidelities is None else len(fidelities) + 1
        made, source = self._strategy(), searched.source(batch_size, device, self.precision)
        costs = Costs(
            setting.space, scorer.batch.task, table=table, device=device, predicted=predicted,
            mirror_average=mirror_average,
        )  # fmt: skip
        self.plan = SearchPlan(
            strategy=self._written_strategy(), proposals=batch or made.batch, score=searched,
            estimator=source, setting=setting, run=scorer.run,
            batch=scorer.batch, costs=costs, limits=limits or Limits(), objectives=self.objectives,
            fidelities=checked_fidelities(fidelities, made), budget=budget, run_off=run_off, first=tuple(first),
            learns_from_images=made.needs_images,
            minutes=min(made.minutes, source.minutes, run_off.minutes if run_off else math.inf),
        )  # fmt: skip
        costs.check([*self.plan.limits.most, *self.objectives[1:]])

    @property
    def title(self) -> str:
        """The search in a few words."""
        return self.plan.title

    def _strategy(self) -> Strategy:
        """Give a fresh strategy."""
        if isinstance(self.strategy, Strategy):
            return checked_strategy(self.strategy, self.space, len(self.objectives))
        options = {"objectives": len(self.objectives)} if len(self.objectives) > 1 else {}
        if self._rungs and issubclass(STRATEGIES.get(parse_spec(self.strategy).name, Strategy), SuccessiveHalving):
            options["rungs"] = self._rungs
        return strategy(self.strategy, self.space, self.seed, **options)

    def _written_strategy(self) -> str:
        """The strategy with its options; rungs that the reduced evaluations decide are told by these."""
        return strategy_spec(self.strategy) if isinstance(self.strategy, str) else str(self.strategy)

    def is_begun(self) -> bool:
        """Tell whether the store has this search, so that it can be resumed."""
        return self.store is not None and is_kept(self.store, self.plan.settings())

    def run(
        self, progress: Progress | None = None, *, resume: bool = False, run_off_progress: Progress | None = None,
        on_interrupt: Callable[[], bool] | None = None,
    ) -> SearchResult:  # fmt: skip
        """Search until the budget is used up or nothing is left to score, and hold the run-off if there is one.

        Args:
            progress: called with the evaluations done and the budget (or the seconds, where that is all there is), and
                before that with the epochs, or seconds, of what is taught first, if there is any.
            resume: go on with the same search in the store, and count the time that it had used; without, the time
                begins anew. In neither case anything stored is computed again.
            run_off_progress: called with what is done of the run-off and all of it.
            on_interrupt: asked at an interrupt whether the search ends with what was found by then, where that is
                something; otherwise, and without it, the interrupt is raised.

        Raises:
            InputError: nothing within the limits was found; or a search is to be resumed that is not in the store.
        """
        plan, made = self.plan, self._strategy()
        # Before anything is taught, which takes long and may be interrupted; else after what an estimator refuses.
        is_taught = made.needs_images or plan.estimator.is_taught
        journal = Journal(self.store, plan.settings(), resume) if is_taught or resume else None
        if made.needs_images:
            made.prepare(plan.setting.data, self.store, progress)
        with rung_sessions(plan, progress) as sessions:
            journal = journal or Journal(self.store, plan.settings(), resume)
            if self.store:
                plan.keep_measured(self.store)
            loop = Loop(
                made, [plan.score] * made.rungs, sessions, check=plan.broken, objectives=plan.objectives,
                facts=plan.minimised, batch=plan.proposals, seed=self.seed, first=(*plan.first, *made.learnt),
            )  # fmt: skip
            stopped, told = self._explore(loop, journal, progress, on_interrupt)
        estimates = [sessions.estimates[architecture] for architecture in loop.order]
        if loop.best() is None:
            raise InputError(self._nothing(loop, estimates))
        trained, verdict = self._trained(loop, run_off_progress)
        front = [str(loop.order[index]) for index in loop.front()]
        best = front[0] if trained is None else str(trained["architecture"].iloc[0])
        return SearchResult(
            title=plan.title, space=loop.space.name, best=best, objectives=plan.objectives,
            evaluations=evaluation_table(loop, plan, told, estimates),
            front=tuple(front) if len(plan.objectives) > 1 else (best,), rejected=dict(loop.rejected), stopped=stopped,
            run_off=trained, protocol=plan.protocol(loop.history, list(sessions.notes), made.note, verdict),
            shares=made.shares, by_epoch=made.by_epoch,
        )  # fmt: skip

    def _explore(
        self, loop: Loop, journal: Journal, progress: Progress | None, on_interrupt: Callable[[], bool] | None
    ) -> tuple[str, list[float]]:
        """Step until the search ends: why it did, and when each full evaluation was told, in seconds."""
        most, seconds = self.plan.budget.evaluations, self.plan.budget.seconds
        start = time.monotonic() - journal.seconds
        counts, told = [0] * len(loop.history), list[float]()

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
                return f"the budget of {most} evaluations is spent", told
            try:
                if is_over() or not loop.step(room, is_over):
                    return loop.stopped or f"the budget of {round(seconds or 0, 2):g} s is spent", told
            except KeyboardInterrupt:
                is_whole = len(loop.values) == len(loop.order)
                if not (is_whole and loop.best() is not None and on_interrupt is not None and on_interrupt()):
                    raise
                return "it was interrupted", told + [time.monotonic() - start] * (len(loop.order) - len(told))
            new = [
                (str(architecture), rung)
                for rung, known in enumerate(loop.history)
                for architecture in known[counts[rung] :]
            ]
            moments = journal.add(new, time.monotonic() - start)
            told += [moment for moment, (_, rung) in zip(moments, new, strict=True) if rung == len(counts) - 1]
            counts = [len(known) for known in loop.history]

    def _nothing(self, loop: Loop, estimates: Sequence[Estimate]) -> str:
        """Why nothing was found."""
        reason = next((estimate.reason.partition("; ")[0] for estimate in estimates if estimate.reason), "")
        if reason:
            return (
                f"None of the {len(estimates):,} architectures that were evaluated got a finite score, the first for "
                f"this reason: {reason.rstrip('.')}; choose another score, other images or larger networks."
            )
        return (
            f"No architecture of {loop.space.name} within the limits ({self.plan.limits}) got a score "
            f"({sum(loop.rejected.values()):,} broke a limit): widen the limits or raise the budget."
        )

    def _trained(self, loop: Loop, progress: Progress | None) -> tuple[pd.DataFrame | None, str]:
        """The run-off among the best-scored, or among the front where there is one, and what it tells."""
        if self.plan.run_off is None:
            return None, ""
        front = loop.front() if len(self.objectives) > 1 else range(len(loop.order))
        finite = [index for index in front if np.isfinite(loop.values[index])]
        best_first = sorted(finite, key=lambda index: -loop.values[index])
        setting = self.plan.setting
        rows = self.plan.run_off.hold(
            [loop.order[index] for index in best_first], setting.space, setting.data, seed=self.seed,
            workers=setting.workers, store=setting.store, progress=progress,
        )  # fmt: skip
        return pd.DataFrame([asdict(row) for row in rows]), self.plan.run_off.verdict(rows, setting.data, self.seed)
