"""What is decided before a search begins, and what is to be known of it: how it is told from others, how it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from trainless.costs import COSTS, cost_named, counted_costs
from trainless.data import Batch, fingerprint
from trainless.errors import InputError
from trainless.estimators import Estimator, Setting
from trainless.estimators.fidelities import Fidelity, default_fidelities
from trainless.ranking import NON_FINITE_POLICY
from trainless.search.budgets import Budget
from trainless.search.costs import Costs
from trainless.search.limits import Limits
from trainless.search.run_off import RunOff
from trainless.search.scores import SearchScore
from trainless.search_spaces.base import SearchSpace
from trainless.store import Run, Store, key_of
from trainless.strategies import Strategy
from trainless.types import Architecture

__all__ = ["SearchPlan", "checked_fidelities", "checked_objectives", "checked_strategy"]

_TOPICS = {"latency": "latencies"}  # as they stood in the first stores


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """All that a search is made of but the state of its strategy.

    Args:
        strategy: its name, with options that are not as usual.
        proposals: how many are made at a time.
        score: what is maximised.
        estimator: gives what the score reads.
        setting: where it estimates.
        run: what stored scores are known by.
        batch: images that scores without training see.
        costs: looks costs up.
        limits: what a network may cost.
        objectives: ``"score"`` and names of costs.
        fidelities: the reduced evaluations, the cheapest first.
        budget: what the search may spend.
        run_off: the run-off; None for none.
        first: architectures that are scored before the strategy proposes any.
        learns_from_images: whether the strategy does, before it proposes any.
        minutes: the least of what it may take for that, the estimator before the first estimate and the run-off.
    """

    strategy: str
    proposals: int
    score: SearchScore
    estimator: Estimator
    setting: Setting
    run: Run
    batch: Batch
    costs: Costs
    limits: Limits
    objectives: tuple[str, ...]
    fidelities: tuple[Fidelity, ...]
    budget: Budget
    run_off: RunOff | None
    first: tuple[Architecture, ...] = ()
    learns_from_images: bool = False
    minutes: float = math.inf

    @property
    def title(self) -> str:
        """The search in a few words."""
        return f"{self.strategy} by {self.score.name} on {self.setting.space.name}, {self.batch.task.name}"

    # Costs.

    @property
    def named_costs(self) -> list[str]:
        """The costs that all evaluated architectures have."""
        return list(dict.fromkeys([*(cost.name for cost in counted_costs()), *self.limits.most, *self.objectives[1:]]))

    @property
    def measured_costs(self) -> list[str]:
        """Those of them that are measured."""
        return [name for name in self.named_costs if cost_named(name).is_measured and name not in self.costs.predicted]

    @property
    def table(self) -> str:
        """The name of the table that limits or objectives are read from, empty where none is."""
        is_read = self.costs.table is not None and any("." in name for name in self.named_costs)
        return self.costs.table.name if self.costs.table is not None and is_read else ""

    def broken(self, architecture: Architecture) -> str:
        """Name the limit that an architecture breaks, or the objective that is not known of it; empty for none."""
        cost = partial(self.costs, architecture)
        unknown = (f"{name} unknown" for name in self.objectives[1:] if math.isnan(cost(name)))
        return self.limits.broken(cost) or next(unknown, "")

    def minimised(self, architecture: Architecture) -> dict[str, float]:
        """Give the objectives beside the score."""
        return {name: self.costs(architecture, name) for name in self.objectives[1:]}

    def keep_measured(self, store: Store) -> None:
        """Keep what is measured in a store: a second measurement could let in what the first kept out."""
        settings = {"space": self.setting.space.label, "task": str(self.costs.task), "device": self.costs.device}
        settings |= self._costed
        for name in self.measured_costs:
            topic = f"{_TOPICS.get(name, name)} of {key_of(settings)}"
            self.costs.remember(name, store.notes(topic), partial(_note, store, topic))

    # What is to be known of it.

    def settings(self) -> dict[str, str]:
        """Give all that decides the history, by which a store knows the search."""
        mix = self.score.aggregate
        settings = {
            "strategy": f"{self.strategy}, {self.proposals} proposals at a time",
            "score": self.score.name,
            "aggregation": key_of({"json": mix.to_json()}) if mix else "",
            "proxies": ", ".join(f"{proxy.name} {proxy.version}" for proxy in self.score.proxies),
            "objectives": ", ".join(self.objectives),
            "limits": str(self.limits),
            "table": self.table,
            "reduced": "; ".join(map(str, self.fidelities)),
            "scored": str(self.run),
            "device": self.costs.device,
        }
        sees_all = self.estimator.sees_all_images or self.learns_from_images
        images = {"images": fingerprint(self.setting.data)} if sees_all else {}
        first = {"first": ", ".join(map(str, self.first))} if self.first else {}
        return {**settings, **images, **self._costed, **first}

    def protocol(
        self, history: Sequence[Sequence[Architecture]], notes: Sequence[str], learnt: str = "", verdict: str = "",
    ) -> dict[str, str]:  # fmt: skip
        """Tell how all that was found came about.

        Args:
            history: by rung, what was evaluated.
            notes: what the estimator said of all estimates.
            learnt: what the strategy said of what it learnt from images.
            verdict: what the run-off tells.
        """
        cheaper = [f"{len(known)} with {rung}" for known, rung in zip(history, self.fidelities, strict=False)]
        protocol: Mapping[str, str] = {
            "strategy": f"{self.strategy}, {self.proposals} proposals at a time",
            "learnt": learnt,
            "score": self.score.name,
            "estimates": "; ".join([self.estimator.fidelity, *notes]),
            "objectives": ", ".join(self.objectives),
            "limits": str(self.limits),
            **self._costed,
            "table": self.table,
            "budget": str(self.budget),
            "cheaper scores": "; ".join(cheaper),
            "run-off": "; ".join(filter(None, (str(self.run_off or ""), verdict))),
            **dict.fromkeys(self.measured_costs, f"measured on {self.costs.device}, one image, 1 thread"),
            **dict.fromkeys(self._predicted_costs, "predicted for each architecture, not measured"),
            "repeatable": self._repeatable(),
            "seed": str(self.setting.seed),
            "data": self._images(),
            "not finite": NON_FINITE_POLICY,
        }
        return {name: text for name, text in protocol.items() if text}

    @property
    def _costed(self) -> dict[str, str]:
        """Of which networks costs are, where it is not those that are scored."""
        return {"costs": "of the mean for an image and its mirror image"} if self.costs.mirror_average else {}

    @property
    def _predicted_costs(self) -> list[str]:
        return [name for name in self.named_costs if name in self.costs.predicted]

    def _images(self) -> str:
        data, batch = self.setting.data, self.batch
        if self.estimator.sees_all_images:
            return f"{data.task.name}, {len(data):,} images, fingerprint {fingerprint(data)}"
        return f"{data.task.name}, batch of {len(batch.images)}, fingerprint {batch.fingerprint}"

    def _repeatable(self) -> str:
        if self.budget.seconds is not None:
            return "no: how far a budget of time reaches depends on the machine"
        if not math.isinf(self.minutes):
            return f"no: how much is learnt in {self.minutes:g} minutes depends on the machine"
        if self.measured_costs:
            return f"with this store only: {' and '.join(self.measured_costs)} was measured"
        if self._predicted_costs:
            return f"no: {' and '.join(self._predicted_costs)} was predicted, by measurements"
        return "yes, whatever the number of workers"


def checked_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Refuse objectives that do not begin with the score, or name a cost twice."""
    if tuple(objectives[:1]) != ("score",) or len(set(objectives)) < len(objectives):
        raise InputError(
            f"The objectives are {', '.join(objectives) or 'none'}, expected score first and beside it costs "
            f"such as {', '.join(COSTS)}, each once."
        )
    return tuple(objectives)


def checked_fidelities(fidelities: Sequence[Fidelity] | None, made: Strategy) -> tuple[Fidelity, ...]:
    """Give the reduced evaluations, or those that suit the strategy: one for each of its rungs below the full one."""
    chosen = tuple(default_fidelities(made.rungs) if fidelities is None else fidelities)
    if len(chosen) != made.rungs - 1:
        raise InputError(
            f"The strategy '{made.name}' was given {len(chosen)} reduced evaluations, expected "
            f"{made.rungs - 1}: one for each of its rungs below the full one."
        )
    return chosen


def checked_strategy(given: Strategy, space: SearchSpace, objectives: int) -> Strategy:
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
