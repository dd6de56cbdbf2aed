"""The sessions of an estimator that a search drives: one for each rung, from the cheapest to the full one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from trainless.estimators import Ask, Estimate
from trainless.estimators.fidelities import Fidelity
from trainless.estimators.trainings import Progress
from trainless.search.plan import SearchPlan
from trainless.types import Architecture

__all__ = ["RungSessions", "rung_sessions"]


class RungSessions:
    """Asks the session of a rung for raw scores, and keeps what is told at the end of a search.

    Args:
        sessions: one a rung, the full one last.

    Attributes:
        estimates: those of the full rung.
        notes: what is to be known of all estimates, each once.

    Example:
        >>> from trainless.types import Architecture
        >>> one = Architecture("toy", ("a",), "a")
        >>> rungs = RungSessions([lambda some: [Estimate(str(architecture), 1.0) for architecture in some]])
        >>> rungs([one], 0), rungs.estimates[one].value
        ([(1.0,)], 1.0)
    """

    def __init__(self, sessions: Sequence[Ask]) -> None:
        self.sessions = sessions
        self.estimates: dict[Architecture, Estimate] = {}
        self.notes: dict[str, None] = {}

    def __call__(self, architectures: Sequence[Architecture], rung: int) -> list[tuple[float, ...]]:
        estimates = self.sessions[rung](architectures)
        self.notes.update((estimate.note, None) for estimate in estimates if estimate.note)
        if rung == len(self.sessions) - 1:
            self.estimates.update(zip(architectures, estimates, strict=True))
        return [estimate.row for estimate in estimates]


@contextmanager
def rung_sessions(plan: SearchPlan, progress: Progress | None = None) -> Iterator[RungSessions]:
    """Begin the sessions of all rungs of a search, and end them.

    Args:
        plan: of the search.
        progress: called with what is done, and all of it, of what is taught before the first estimate, such as shared
            weights.
    """
    is_begun = False

    def told(done: int, total: int) -> None:
        if progress and not is_begun:
            progress(done, total)

    with ExitStack() as stack:
        setting, fidelities = replace(plan.setting, progress=told), (*plan.fidelities, Fidelity())
        begun = [plan.estimator.reduced_session(setting, fidelity) for fidelity in fidelities]
        sessions = [stack.enter_context(session) for session in begun]
        is_begun = True
        yield RungSessions(sessions)
