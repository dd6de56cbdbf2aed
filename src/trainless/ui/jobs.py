"""One fit in a process of its own, as it is seen from the page."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trainless.ui.form import FitForm
from trainless.ui.workspace import FORM, Workspace

__all__ = ["Job"]

_LOG = "log.txt"


class Job:
    """Starts a fit, keeps what it tells, and stops it.

    Args:
        workspace: folders that may be read and written.
        form: what is asked for.
        run: name of the folder of the run, which is there.

    Attributes:
        stage: what it is at; empty in the beginning.
        done: how much of that.
        total: of how much; 0 where that is not known.
        stages: when each stage began, in seconds since the start.
        candidates: rows of `trainless.ui.candidates.candidates`.
        curve: ``train_losses`` and ``valid_accuracies`` by epoch.
        outcome: empty while it runs, then ``done``, ``stopped``, ``refused`` or ``failed``.
        text: why it was refused or failed.
        version: another number whenever something of this has changed.
    """

    def __init__(self, workspace: Workspace, form: FitForm, run: str) -> None:
        self.form, self.run = form, run
        self.stage, self.done, self.total = "", 0, 0
        self.stages: dict[str, float] = {}
        self.candidates: list[dict[str, Any]] = []
        self.curve: dict[str, list[float]] = {"train_losses": [], "valid_accuracies": []}
        self.outcome = self._outcome = self.text = ""
        self.version, self.is_stopping = 0, False
        self._start, self._end = time.monotonic(), 0.0
        self._folder = folder = workspace.run(run)
        (folder / FORM).write_text(json.dumps(form.document(), indent=1) + "\n", encoding="utf-8")
        with (folder / _LOG).open("a", encoding="utf-8") as log:
            # In a session of its own: Ctrl-C at the terminal reaches the page's process, which hands it on once.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trainless.ui.fit_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, encoding="utf-8", start_new_session=True, env=_environment(),
            )  # fmt: skip
        request = {"data": str(workspace.data), "out": str(workspace.out), "form": form.document(), "run": run}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()  # and left open: its end would end the fit
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self.outcome

    @property
    def seconds(self) -> float:
        """Seconds since it was started, or that it took."""
        return (self._end or time.monotonic()) - self._start

    @property
    def can_stop(self) -> bool:
        """Whether there is something that stopping would save."""
        return self.is_running and not self.is_stopping and self.stage != "writing"

    def stop(self) -> None:
        """Do as Ctrl-C does: a training ends with the best so far, all before it can be resumed."""
        if self.can_stop:
            self.is_stopping = True
            self.version += 1
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Stop it and wait for its end; a second interrupt meanwhile kills it, and it can be resumed even then."""
        try:
            self.stop()
            self._reader.join()
        except KeyboardInterrupt:
            self._process.kill()
        self._process.wait()

    def wait(self, timeout: float) -> bool:
        """Wait for its end; False where that takes longer."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _listen(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._take(json.loads(line))
        status = self._process.wait()
        self._process.stdout.close()
        with suppress(OSError):  # what it did not read
            self._process.stdin.close()
        self._end = time.monotonic()
        if not self._outcome:
            self.text = (
                f"The process of the fit ended unexpectedly ({_ending(status)}): go on with the run to resume it."
            )
            self._outcome = "failed"
        if self._outcome == "refused" and not (self._folder / "search.db").exists():
            shutil.rmtree(self._folder, ignore_errors=True)  # nothing came of it that one could go on with
        self.outcome = self._outcome
        self.version += 1

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            self.stages.setdefault(event["stage"], self.seconds)
            self.stage, self.done, self.total = event["stage"], event["done"], event["total"]
        elif kind == "candidates":
            self.candidates = event["rows"]
        elif kind == "epoch":
            self.curve = {name: event[name] for name in self.curve}
        else:
            self.text = event.get("text", "")
            self._outcome = kind
        self.version += 1


def _environment() -> dict[str, str]:
    """Of the child: it finds the packages that this process has found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}


def _ending(status: int) -> str:
    return f"signal {-status}, perhaps for want of memory" if status < 0 else f"exit code {status}"
