"""What all windows of the page share: the form as it is filled in, what was looked at, the one fit that runs."""

from __future__ import annotations

import threading
from typing import Any

from trainless.errors import InputError
from trainless.ui.form import FitForm
from trainless.ui.jobs import Job
from trainless.ui.workspace import Workspace

__all__ = ["Session"]


class Session:
    """The state behind the page.

    Args:
        places: folders that may be read and written.

    Attributes:
        order: the form.
        looked: what `trainless.ui.previews.look` found in the data of the form; empty before.
        job: the latest fit that was started from here.
        error: why the last one did not start or was refused, shown above the form.
    """

    def __init__(self, places: Workspace) -> None:
        self.places, self.order = places, FitForm()
        self.looked: dict[str, Any] = {}
        self.job: Job | None = None
        self.error = ""
        self._lock = threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a fit is running."""
        return self.job is not None and self.job.is_running

    def start(self) -> Job:
        """Start a fit of what the form says, in a new folder.

        Raises:
            InputError: a value cannot be used, or a fit is running.
        """
        self.order.check()
        self.places.source(self.order.data)
        return self._begun(self.order, None)

    def resume(self, run: str) -> Job:
        """Go on with a run that is not finished.

        Raises:
            InputError: it was not started here, or a fit is running.
        """
        document = self.places.summary(run).order
        if not document:
            raise InputError(f"The run '{run}' was not started from this page: go on with the command that began it.")
        return self._begun(FitForm.read(document), run)

    def close(self) -> None:
        """Stop what runs, and wait for its end."""
        if self.job:
            self.job.close()

    def _begun(self, order: FitForm, run: str | None) -> Job:
        with self._lock:
            if self.is_busy:
                raise InputError("A fit is running: stop it, or wait for its end.")
            name = run or self.places.new_run(order.data).name
            self.error = ""
            self.job = Job(self.places, FitForm.read(order.document()), name)
            return self.job
