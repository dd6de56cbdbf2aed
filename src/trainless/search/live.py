"""A live search: architectures are scored as a strategy asks for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.scoring import Scorer
from trainless.search.budgets import Budget, parse_budget
from trainless.search.limits import Limits
from trainless.search.loop import Loop
from trainless.search.results import SearchResult
from trainless.search.scores import SearchScore, search_score
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store
from trainless.strategies import Strategy, strategy
from trainless.types import Architecture

__all__ = ["OBJECTIVES", "Search"]

OBJECTIVES = ("score", "params", "flops")
"""What a live search can aim at: the score is maximised, the others are minimised."""


class Search:
    """Finds the architecture with the highest score under limits, without training any.

    With a budget of evaluations the same seed gives the same history, whatever the number of workers and however often
    it was interrupted: scores are in the store as soon as they are known, so that the same search run again reads them
    and goes on. With a budget of time, how far it comes depends on the machine, and the time counts anew.

    Args:
        space: a search space or its name.
        strategy: a name of `trainless.strategies.STRATEGIES`, or a fresh `Strategy`.
        score: what `trainless.search.search_score` takes.
        data: what `trainless.data.load_data` takes.
        budget: what `trainless.search.parse_budget` takes, a number of evaluations, or a `Budget`.
        limits: what a network may cost; what breaks a limit is not scored and counts as no evaluation.
        objectives: ``"score"``, and ``"params"`` or ``"flops"`` beside it for a Pareto front.
        seed: decides everything random.
        batch: proposals asked for at a time; None is what suits the strategy. More keep more workers busy.
        workers: as for `trainless.Scorer`.
        store: as for `trainless.Scorer`.
        batch_size: images in the batch.

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
    ) -> None:
        self.budget = budget if isinstance(budget, Budget) else parse_budget(str(budget))
        self.limits = limits or Limits()
        self.objectives = tuple(objectives)
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        if unknown or self.objectives[:1] != ("score",) or len(set(self.objectives)) < len(self.objectives):
            raise InputError(
                f"The objectives are {', '.join(self.objectives) or 'none'}, expected score first and beside it any of "
                f"{', '.join(OBJECTIVES[1:])}."
            )
        if batch is not None and batch < 1:
            raise InputError(f"The batch of proposals is {batch}, expected at least 1.")
        self.score: SearchScore = search_score(score)
        self.strategy, self.batch, self.seed = strategy, batch, seed
        self.scorer = Scorer(
            space, self.score.proxies, data, seed=seed, batch_size=batch_size, workers=workers, store=store
        )

    def run(self, progress: Callable[[int, int], None] | None = None) -> SearchResult:
        """Search until the budget is used up or nothing is left to score.

        Args:
            progress: called with the evaluations done and the budget (or the seconds, where that is all there is).

        Raises:
            InputError: nothing within the limits was found.
        """
        space, task = self.scorer.space, self.scorer.batch.task
        options = {"objectives": len(self.objectives)} if len(self.objectives) > 1 else {}
        made = strategy(self.strategy, space, self.seed, **options)
        if made.rungs > 1:
            raise InputError(f"The strategy '{made.name}' needs cheaper scores too: choose another one.")
        start, told = time.monotonic(), list[float]()
        with self.scorer.session() as score:
            loop = Loop(
                made, [self.score],
                lambda some, rung: [[each[proxy.name].value for proxy in self.score.proxies] for each in score(some)],
                check=lambda one: self.limits.broken(space, one, task), objectives=self.objectives,
                facts=self._facts, batch=self.batch, seed=self.seed,
            )  # fmt: skip
            stopped = self._search(loop, start, told, progress)
            scores = score(loop.order) if loop.order else []
        if loop.best() is None:
            raise InputError(
                f"No architecture of {space.name} within the limits ({self.limits}) got a score "
                f"({sum(loop.rejected.values()):,} broke a limit): widen the limits or raise the budget."
            )
        return self._result(loop, made, told, scores, stopped)

    def _search(
        self, loop: Loop, start: float, told: list[float], progress: Callable[[int, int], None] | None
    ) -> str:  # fmt: skip
        most, seconds = self.budget.evaluations, self.budget.seconds
        while True:
            passed = time.monotonic() - start
            if progress:
                progress(*((len(loop.order), most) if most else (int(passed), int(seconds or 0))))
            if seconds is not None and passed >= seconds:
                return f"the budget of {seconds:g} s is spent"
            room = loop.batch if most is None else most - len(loop.order)
            if room <= 0:
                return f"the budget of {most} evaluations is spent"
            if not loop.step(room):
                return loop.stopped
            told += [time.monotonic() - start] * (len(loop.order) - len(told))

    def _facts(self, one: Architecture) -> dict[str, float]:
        space, task = self.scorer.space, self.scorer.batch.task
        return {"params": space.parameters(one, task), "flops": space.flops(one, task)}

    def _result(
        self, loop: Loop, made: Strategy, told: list[float], scores: list[Any], stopped: str
    ) -> SearchResult:  # fmt: skip
        facts = [self._facts(one) for one in loop.order]
        rows: dict[str, Any] = {
            "architecture": [str(one) for one in loop.order],
            "score": loop.values,
            "parameters": [each["params"] for each in facts],
            "flops": [each["flops"] for each in facts],
            "seconds": told,
            "status": [_status(each.values()) for each in scores],
            "reason": ["; ".join(sorted({one.reason for one in each.values() if one.reason})) for each in scores],
        }
        rows |= {proxy.name: [each[proxy.name].value for each in scores] for proxy in self.score.proxies}
        front = tuple(str(loop.order[place]) for place in loop.front())
        data = self.scorer.batch
        return SearchResult(
            title=f"{made.name} by {self.score.name} on {loop.space.name}, {data.task.name}",
            space=loop.space.name, best=front[0], objectives=self.objectives,
            evaluations=pd.DataFrame(rows, index=range(1, len(loop.order) + 1)), front=front,
            rejected=dict(loop.rejected), stopped=stopped,
            protocol={
                "strategy": f"{made.name}, {loop.batch} proposals at a time",
                "score": self.score.name,
                "objectives": ", ".join(self.objectives),
                "limits": str(self.limits),
                "budget": str(self.budget),
                "seed": str(self.seed),
                "data": f"{data.task.name}, batch of {len(data.images)}, fingerprint {data.fingerprint}",
                "not finite": "ranked last",
            },
        )  # fmt: skip


def _status(scores: Any) -> str:
    found = {each.status for each in scores}
    return next((name for name in ("failed", "not finite") if name in found), "ok")
