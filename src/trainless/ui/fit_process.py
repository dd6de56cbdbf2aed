"""The process of a fit, apart from the page's: reads a form as one line of JSON, and writes its events as such lines.

It ends with the page's process, whose end closes its standard input, as by Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainless.errors import TrainlessError
from trainless.ui.candidates import candidates
from trainless.ui.form import FitForm
from trainless.ui.workspace import Workspace, check_source

if TYPE_CHECKING:
    from trainless.training import TrainingState
    from trainless.types import Task

__all__ = ["Teller", "fit_form", "main"]

_EVERY = 0.7  # seconds between two tellings of the candidates

Tell = Callable[[Mapping[str, Any]], None]


def fit_form(workspace: Workspace, form: FitForm, folder: Path, tell: Tell) -> None:
    """Fit a network as a form asks for, and report its events.

    Args:
        workspace: folders that may be read and written.
        form: what is asked for.
        folder: of the run.
        tell: called with one document an event, whose ``event`` is ``progress``, ``candidates`` or ``epoch``.

    Raises:
        InputError: the form or its data cannot be used.
    """
    from trainless.fit_artifacts import fit_to_folder

    tell({"event": "progress", "stage": "reading", "done": 0, "total": 0})
    source, plan = workspace.source(form.data), form.plan()
    check_source(source, workspace.root(form.data))
    splits = plan.load(source)
    teller = Teller(tell, folder, splits.train.task)
    fit_to_folder(
        splits, plan, folder, command=form.command(str(source), str(folder)), progress=teller.progress,
        on_epoch=teller.epoch,
    )  # fmt: skip


class Teller:
    """Turns the callbacks of a fit into events.

    Args:
        tell: called with each event.
        folder: of the run, whose store has the candidates.
        task: what the networks are for.
    """

    def __init__(self, tell: Tell, folder: Path, task: Task) -> None:
        self._tell, self._store, self._task = tell, folder / "search.db", task
        self._told_at, self._stage = -_EVERY, ""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is, and in the search the candidates so far."""
        is_new, self._stage = stage != self._stage, stage
        if stage == "writing":
            # All is decided: an interrupt would leave half of it written and gain nothing.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._tell({"event": "progress", "stage": stage, "done": done, "total": total})
        if is_new or (stage == "searching" and time.monotonic() - self._told_at > _EVERY):
            self._told_at = time.monotonic()
            self._tell({"event": "candidates", "rows": candidates(self._store, self._task)})

    def epoch(self, state: TrainingState) -> None:
        """Tell the course of the training so far."""
        self._tell({
            "event": "epoch", "train_losses": list(state.train_losses),
            "valid_accuracies": list(state.valid_accuracies),
        })  # fmt: skip


def main() -> int:
    """Run the form that comes in; the last event is ``done``, ``stopped``, ``refused`` or ``failed``."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # what a package prints is no event

    def tell(event: Mapping[str, Any]) -> None:
        print(json.dumps(event), file=out, flush=True)

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, _interrupt_once)
    workspace = Workspace(Path(request["data"]), Path(request["out"]))
    try:
        fit_form(workspace, FitForm.read(request["form"]), workspace.run(request["run"]), tell)
    except KeyboardInterrupt:
        tell({"event": "stopped"})
    except TrainlessError as error:
        tell({"event": "refused", "text": str(error)})
    except Exception as error:
        traceback.print_exc()
        tell({"event": "failed", "text": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    else:
        tell({"event": "done"})
    return 0


def _interrupt_once(number: int, frame: Any) -> None:
    """What was asked to stop is stopping: asked once more it would stop halfway."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
