"""State that all windows of the page share: the form as it is filled in, and the one fit that runs."""

from __future__ import annotations

import threading

from trainless.errors import InputError
from trainless.ui.form import FitForm
from trainless.ui.jobs import Job
from trainless.ui.workspace import Workspace

__all__ = ["Session"]


class Session:
    """The state behind the page.

    Args:
        workspace: folders that may be read and written.

    Attributes:
        form: as it is filled in.
        job: the latest fit that was started from here.
        error: why the last one did not start or was refused, shown above the form.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.form = workspace, FitForm()
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
        self.form.check()
        self.workspace.source(self.form.data)
        return self._start(self.form, None)

    def resume(self, run: str) -> Job:
        """Go on with a run that is not finished.

        Raises:
            InputError: it was not started here, or a fit is running.
        """
        document = self.workspace.summary(run).form
        if not document:
            raise InputError(f"The run '{run}' was not started from this page: go on with the command that began it.")
        return self._start(FitForm.read(document), run)

    def close(self) -> None:
        """Stop what runs, and wait for its end."""
        if self.job:
            self.job.close()

    def _start(self, form: FitForm, run: str | None) -> Job:
        with self._lock:
            if self.is_busy:
                raise InputError("A fit is running: stop it, or wait for its end.")
            name = run or self.workspace.new_run(form.data).name
            self.error = ""
            self.job = Job(self.workspace, FitForm.read(form.document()), name)
            return self.job
