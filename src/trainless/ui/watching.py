"""View of a fit while it runs: its stage, the candidates so far, the curve of its training."""

from __future__ import annotations

from html import escape
from typing import Any

from nicegui import ui

from trainless.costs import counted_costs
from trainless.report.common.formats import costs_text, duration
from trainless.ui.charts import candidate_scatter, training_curve
from trainless.ui.jobs import Job
from trainless.ui.window import Window

__all__ = ["Watching", "candidate_table"]

_STAGES = {
    "reading": "Read", "sizing": "Measure", "searching": "Search", "tuning": "Tune", "training": "Train",
    "writing": "Test and write",
}  # fmt: skip
_PARTS = {"baselines": "sizing", "judging": "searching", "probing": "searching", "testing": "writing"}
_SAID = {
    "": "It is starting.",
    "reading": "The images are being read.",
    "baselines": "Simple classifiers are being fitted, to compare with.",
    "sizing": "How fast networks learn here is being measured.",
    "judging": "Pretrained features are being judged, none is trained.",
    "probing": "A network from scratch is trained for a short while, to hold it against pretrained features.",
    "searching": "Architectures are being scored, none is trained.",
    "tuning": "Short trainings compare recipes.",
    "training": "The network is being trained.",
    "testing": "It is being tested.",
    "writing": "It is being tested and written.",
}


class Watching:
    """A fit in a window.

    Args:
        window: where it is.
        job: the fit.
    """

    def __init__(self, window: Window, job: Job) -> None:
        self.window, self.job = window, job
        self._version = -1
        self._rows: list[dict[str, Any]] | None = None
        self._epochs = -1
        ui.html(f"<h1>Finding a network: {escape(job.run)}</h1>")
        with ui.element("section").classes("status"):
            self._steps = ui.html().classes("steps")
            with ui.element("div").classes("line"):
                self._said = ui.html().classes("said").props('aria-live="polite"')
                self._stop = ui.button("Stop", icon="stop", color=None, on_click=self._stopped)
                self._stop.props("outline no-caps").classes("quiet")
            self._bar = ui.linear_progress(0, show_value=False, size="6px").props("rounded")
            self._facts = ui.html().classes("facts")
        with ui.element("div").classes("pair"):
            with ui.element("section"):
                ui.html("<h2>Candidates</h2>")
                self._scatter = ui.html(sanitize=False)
            with ui.element("section"):
                ui.html("<h2>Training</h2>")
                self._curve = ui.html(sanitize=False)
        with ui.element("section"):
            ui.html("<h2>Candidates compared</h2>")
            self._table = candidate_table([])
        self.tick()

    def tick(self) -> None:
        """Bring it up to date."""
        job = self.job
        self._facts.set_content(_facts(job))
        if job.version == self._version:
            return
        self._version = job.version
        self._steps.set_content(_steps(job))
        self._said.set_content(f"<b>{_SAID.get(job.stage, job.stage)}</b> {_done(job)}")
        share = job.done / job.total if job.total else 0.0
        self._bar.set_value(min(1.0, share))
        self._stop.set_enabled(job.can_stop)
        self._stop.set_text("Stopping" if job.is_stopping else "Stop")
        if job.candidates is not self._rows:
            self._rows = job.candidates
            self._scatter.set_content(candidate_scatter(job.candidates))
            self._table.update_rows(_table_rows(job.candidates), clear_selection=False)
        if len(job.curve["valid_accuracies"]) != self._epochs:
            self._epochs = len(job.curve["valid_accuracies"])
            self._curve.set_content(training_curve(job.curve))

    def _stopped(self) -> None:
        self.job.stop()
        self.tick()


def candidate_table(rows: list[dict[str, Any]]) -> ui.table:
    """Make the table of candidates, the best first; it can be sorted by each column."""
    right = {"align": "right", "sortable": True}
    columns: list[dict[str, Any]] = [
        {"name": "rank", "label": "rank", "field": "rank", **right},
        {"name": "score", "label": "score", "field": "score",
         ":format": "value => value === null ? '−' : value.toFixed(3)", **right},
        *({"name": cost.column, "label": cost.heading, "field": cost.column,
           ":format": "value => value.toLocaleString('en')", **right} for cost in counted_costs()),
        {"name": "architecture", "label": "architecture", "field": "architecture", "align": "left",
         "classes": "architecture"},
    ]  # fmt: skip
    table = ui.table(columns=columns, rows=_table_rows(rows), row_key="rank", pagination={"rowsPerPage": 8})
    return table.props("flat dense").classes("candidates")


def _table_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"rank": rank, **row} for rank, row in enumerate(rows, 1)]


def _steps(job: Job) -> str:
    names = list(_STAGES)
    shown = _PARTS.get(job.stage, job.stage)
    current = names.index(shown) if shown in names else 0
    parts = []
    for stage, (name, label) in enumerate(_STAGES.items()):
        kind = "now" if stage == current else "past" if stage < current else "next"
        if kind == "past" and name not in job.stages:
            kind = "skipped"
        parts.append(f'<li class="{kind}">{label}</li>')
    return f"<ol>{''.join(parts)}</ol>"


def _done(job: Job) -> str:
    if not job.total or job.stage == "writing":
        return ""
    if job.stage == "tuning":
        return f"{duration(job.done)} of {duration(job.total)}"
    kind = {"judging": "candidates", "searching": "candidates", "training": "epochs"}.get(job.stage, "")
    return f"{job.done:,} of {job.total:,} {kind}"


def _facts(job: Job) -> str:
    form = job.form
    limit = f"{form.epochs} epochs" if form.epochs.strip() else form.time
    facts = [("elapsed", f"{duration(job.seconds)} of {limit}" if not form.epochs.strip() else duration(job.seconds))]
    if job.candidates:
        best = job.candidates[0]
        facts.append(("candidates", f"{len(job.candidates):,}"))
        facts.append(("best so far", costs_text(best, counted_costs())))
    if values := job.curve["valid_accuracies"]:
        facts.append(("validation accuracy", f"{max(values):.1f} % at best"))
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts) + "</dl>"
