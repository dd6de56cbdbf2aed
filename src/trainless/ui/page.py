"""The page: one frame with three states, of which each window shows one: choose, watch, see what came out."""

from __future__ import annotations

from importlib import resources

from nicegui import ui

from trainless.errors import InputError
from trainless.ui.choosing import Choosing
from trainless.ui.jobs import Job
from trainless.ui.session import Session
from trainless.ui.showing import Showing
from trainless.ui.watching import Watching

__all__ = ["Page", "build"]

_TICK = 0.5  # seconds


def build(session: Session) -> None:
    """Build the page for a window that has opened it."""
    ui.colors(primary="#0b6bb0", negative="#b3261e", positive="#2e7d32")
    ui.add_css(resources.files("trainless.ui").joinpath("style.css").read_text(encoding="utf-8"))
    page = Page(session)
    page.begin()
    ui.timer(_TICK, page.tick)


class Page:
    """The page in one window, a `trainless.ui.window.Window`.

    Args:
        session: what all windows share.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._state: Choosing | Watching | Showing | None = None
        with ui.element("header").classes("top"), ui.element("div").classes("inner"):
            with ui.element("a").classes("name").props('href="#" role="button"').on("click.prevent", self.choose):
                ui.html("<b>trainless</b><span>a network for your images, found without training the candidates</span>")
            self._back = ui.button("New network", icon="add", color=None, on_click=self.choose)
            self._back.props("flat no-caps dense").classes("quiet")
        self._body = ui.element("main").classes("page")

    def begin(self) -> None:
        """Show the fit that runs, or else the form."""
        if self.session.job and self.session.is_busy:
            self.watch()
        else:
            self.choose()

    def choose(self) -> None:
        """Show the form."""
        self._put(None)
        with self._body:
            self._put(Choosing(self))

    def watch(self) -> None:
        """Show the fit that was started last, or what came out of it."""
        job = self.session.job
        if job and job.is_running:
            self._put(None)
            with self._body:
                self._put(Watching(self, job))
        elif job:
            self._after(job)

    def show(self, run: str) -> None:
        """Show what came out of a run."""
        try:
            summary = self.session.workspace.summary(run)
        except InputError as error:
            self.say(str(error))
            return
        self._put(None)
        with self._body:
            self._put(Showing(self, summary))

    def say(self, text: str) -> None:
        """Show a sentence for a while."""
        with self._body:  # what was pressed may be gone meanwhile
            ui.notify(text, type="negative", multi_line=True, position="top", close_button="OK", timeout=15_000)

    def tick(self) -> None:
        """Bring what is shown up to date."""
        if isinstance(self._state, Watching):
            if self._state.job.is_running:
                self._state.tick()
            else:
                self._after(self._state.job)

    def _after(self, job: Job) -> None:
        """Show what came out of a fit that has ended."""
        if job.outcome == "done":
            self.show(job.run)
            return
        self.session.error = job.text or (
            f"It was stopped before there was a network; its scores are kept: go on with '{job.run}' below."
        )
        self.choose()

    def _put(self, state: Choosing | Watching | Showing | None) -> None:
        self._state = state
        self._back.set_visibility(not isinstance(state, Choosing))
        if state is None:
            self._body.clear()
            with self._body:  # what was pressed to come here is gone
                ui.run_javascript("window.scrollTo(0, 0)")
