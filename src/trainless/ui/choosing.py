"""View of the form: data and their audit, limits and time, and earlier runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from nicegui import events, run, ui

from trainless.costs import COSTS
from trainless.errors import InputError
from trainless.report.common.formats import compact, percent
from trainless.search_spaces import SEARCH_SPACES
from trainless.training.measures import MEASURES
from trainless.ui.form import FitForm
from trainless.ui.previews import preview_data
from trainless.ui.uploads import Allowance, unpack
from trainless.ui.window import Window
from trainless.ui.workspace import RunSummary

__all__ = ["Choosing"]

_MORE = ("space", "seed", "image_size", "resize", "mirror_average", "evaluations", "epochs")
_RESIZES = {
    "": "what suits the data", "stretch": "stretch them", "pad": "pad them with grey", "crop": "crop the middle",
}  # fmt: skip
_MIRRORED = {"": "no", "yes": "yes, for twice the multiply-adds"}
_LISTED = 50  # runs


class Choosing:
    """The form in a window.

    Args:
        window: where it is.
    """

    def __init__(self, window: Window) -> None:
        self.window, self.session = window, window.session
        self._allowed = Allowance()
        ui.html(
            "<h1>Which images shall it tell apart?</h1><p>Choose labelled images and what the network may cost. "
            "Architectures are scored without training them, the best one is trained, tested and exported: all on this "
            "machine, nothing leaves it.</p>"
        )
        self._running = ui.element("div")
        self._data()
        self._limits_and_time()
        self._runs()
        ui.timer(0.0, self._list_data, once=True)

    # Images.

    def _data(self) -> None:
        with ui.element("section"):
            ui.html("<h2><i>1</i> Images</h2>")
            self._select = ui.select(
                {"digits": "digits"}, value=None, label="Data set", with_input=True, on_change=self._data_chosen,
            ).props("outlined dense").classes("field data")  # fmt: skip
            ui.html(
                f'<p class="note">Folders with one folder of images per class, CSV tables with the columns path and '
                f"label, and .npz files beneath <code>{escape(str(self.session.workspace.data))}</code>.</p>"
            )
            with ui.expansion("Upload a zip archive instead").classes("more"):
                size = self._allowed.packed // 2**20
                ui.html(
                    f'<p class="note">One folder of images per class, at most {size} MiB and {self._allowed.files:,} '
                    "files. It is unpacked on this machine, to "
                    f"<code>{escape(str(self.session.workspace.uploads))}</code>.</p>"
                )
                self._upload = ui.upload(
                    on_upload=self._uploaded, auto_upload=True, max_file_size=self._allowed.packed, max_files=1,
                    on_rejected=lambda: self.window.say(f"It is no zip archive, or larger than {size} MiB."),
                    label="Choose an archive or drop it here",
                ).props('accept=".zip" flat bordered').classes("upload archive")  # fmt: skip
            self._audit = ui.element("div").classes("audit")

    async def _list_data(self) -> None:
        found = await run.io_bound(self.session.workspace.found)
        if found is None or self._select.is_deleted:
            return
        name = self.session.form.data
        if name not in found:  # it does not look like data: why not is told when it is looked at
            try:
                self.session.workspace.source(name)
                found[name] = name.partition(":")[2]
            except InputError:
                name = "digits"
        self._select.set_options(found, value=name)

    async def _data_chosen(self, event: events.ValueChangeEventArguments[Any]) -> None:
        if event.value:
            self.session.form.data = event.value
            await self._preview()

    async def _preview(self) -> None:
        """Audit what is chosen, before anything is spent."""
        form = FitForm.read(self.session.form.document())
        self._audit.clear()
        with self._audit, ui.element("div").classes("waiting"):
            ui.spinner(size="1.5em")
            ui.label("Looking at the images")
        try:
            found = await run.cpu_bound(preview_data, self.session.workspace, form)
        except run.SubprocessException as error:
            found = {"error": f"The images could not be looked at ({error.original_type}: {error.original_message})."}
        is_late = form.data != self.session.form.data or self._audit.is_deleted
        if found is None or is_late:  # another choice was made meanwhile
            return
        self._audit.clear()
        with self._audit:
            _show_audit(found)
        self._begin.set_enabled("error" not in found and not self.session.is_busy)

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        workspace, name = self.session.workspace, event.file.name
        try:
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder, "archive.zip")
                await event.file.save(archive)
                target = await run.io_bound(unpack, archive, name, workspace.uploads, self._allowed)
        except InputError as error:
            self._audit.clear()
            with self._audit:
                _alert(str(error))
            return
        finally:
            self._upload.reset()
        if target is not None:
            self.session.form.data = workspace.upload_name(target)
            await self._list_data()

    # Limits, time and the rest.

    def _limits_and_time(self) -> None:
        form = self.session.form
        with ui.element("section"):
            ui.html("<h2><i>2</i> What it may cost</h2>")
            with ui.element("div").classes("grid"):
                for name, cost in COSTS.items():
                    _field(form, f"max_{name}", cost.title.capitalize(), "no limit", f"such as {cost.examples[0]}")
        with ui.element("section"):
            ui.html("<h2><i>3</i> Time</h2>")
            with ui.element("div").classes("grid"):
                _field(form, "time", "Time for all of it", "", "such as 90s, 20m or 1h")
                _select(
                    form,
                    "measure",
                    "It shall be good at",
                    {"": "what suits the data", **{name: name.replace("-", " ") for name in MEASURES}},
                )
            usual = FitForm()
            is_open = any(getattr(form, name) != getattr(usual, name) for name in _MORE)
            with ui.expansion("More", value=is_open).classes("more"), ui.element("div").classes("grid"):
                _select(form, "space", "Search space", {name: name for name in ("auto", *SEARCH_SPACES)})
                _field(form, "seed", "Seed", "", "decides everything random")
                _field(form, "image_size", "Image size", "by the data", "rows and columns", self._preview)
                _select(form, "resize", "Make images square", _RESIZES, self._preview)
                _select(form, "mirror_average", "Average over mirror images", _MIRRORED)
                _field(form, "evaluations", "Architectures", "200", "scored at most")
                _field(form, "epochs", "Epochs", "by the time", "given them, time does not count")
            self._error = ui.element("div").classes("error")
            self._begin = ui.button("Find a network", icon="search", on_click=self._start).props("no-caps unelevated")
            self._begin.classes("begin").set_enabled(False)
        self._show_error(self.session.error)
        with self._running:
            if self.session.is_busy:
                with ui.element("div").classes("notice"):
                    ui.label("A network is being found.")
                    ui.button("Watch it", color=None, on_click=self.window.watch).props("flat no-caps dense").classes(
                        "quiet"
                    )

    def _show_error(self, text: str) -> None:
        self._error.clear()
        if text:
            with self._error:
                _alert(text)

    async def _start(self) -> None:
        self._begin.set_enabled(False)
        try:
            # Apart from the page, for what reads the limits takes seconds to load.
            job = await run.io_bound(self.session.start)
        except InputError as error:
            self._show_error(str(error))
            self._begin.set_enabled(not self.session.is_busy)
            return
        if job is not None:
            self.window.watch()

    # Runs.

    def _runs(self) -> None:
        runs = self.session.workspace.runs()
        if not runs:
            return
        with ui.element("section"):
            ui.html("<h2>Earlier runs</h2>")
            with ui.element("ul").classes("runs"):
                for summary in runs[:_LISTED]:
                    self._run(summary)
            if len(runs) > _LISTED:
                ui.html(f'<p class="note">and {len(runs) - _LISTED} older ones.</p>')

    def _run(self, summary: RunSummary) -> None:
        job = self.session.job
        is_running = self.session.is_busy and job is not None and job.run == summary.name
        if not (summary.facts or summary.form):
            return
        with ui.element("li"):
            name = self.session.workspace.out.name if summary.name == "." else summary.name
            when = time.strftime("%d %B %Y, %H:%M", time.localtime(summary.when))
            ui.html(f"<b>{escape(name)}</b><span>{_what(summary, is_running)}</span><small>{when}</small>")
            if is_running:
                ui.button("Watch", color=None, on_click=self.window.watch).props("flat no-caps dense").classes("quiet")
            elif summary.facts:
                ui.button("Open", color=None, on_click=lambda: self.window.show(summary.name)).props(
                    "flat no-caps dense"
                ).classes("quiet")
            else:
                ui.button("Go on", color=None, on_click=lambda: self._resume(summary.name)).props(
                    "flat no-caps dense"
                ).classes("quiet")

    def _resume(self, name: str) -> None:
        try:
            self.session.resume(name)
        except InputError as error:
            self.window.say(str(error))
            return
        self.window.watch()


def _what(summary: RunSummary, is_running: bool) -> str:
    if is_running:
        return "running"
    if not summary.facts:
        return "not finished"
    facts = summary.facts
    return f"{percent(facts['test_accuracy'])} of test images, {compact(facts['parameters'])} parameters"


def _show_audit(found: dict[str, Any]) -> None:
    if "error" in found:
        _alert(found["error"])
        return
    examples = "".join(
        f'<figure><img src="{address}" alt=""><figcaption>{escape(name)}</figcaption></figure>'
        for name, address in found["examples"]
    )
    advice = "".join(f"<li>{escape(sentence)}</li>" for sentence in found["advice"])
    told = f'<ul class="advice">{advice}</ul>' if advice else '<p class="fine">Nothing calls for attention.</p>'
    absent = [what for what, value in found["rows"] if value == "0"]
    shown = [(what, value) for what, value in found["rows"] if value != "0"]
    shown += [("none", ", ".join(absent))] if absent else []
    rows = "".join(f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in shown)
    # What comes from data is escaped; DOMPurify would take the images' URLs for harm.
    ui.html(f'<div class="pictures">{examples}</div>{told}<dl>{rows}</dl>', sanitize=False)


def _alert(text: str) -> None:
    ui.html(f'<p class="alert" role="alert">{escape(text)}</p>', sanitize=False)


def _field(
    form: FitForm, name: str, label: str, placeholder: str, hint: str, then: Callable[..., Any] | None = None
) -> None:  # fmt: skip
    made = ui.input(label, placeholder=placeholder).bind_value(form, name)
    made.props(f'hint="{hint}" stack-label outlined dense').classes(f"field {name}")
    if then:
        made.on("blur", then)


def _select(
    form: FitForm, name: str, label: str, options: dict[str, str], then: Callable[[], Any] | None = None
) -> None:  # fmt: skip
    made = ui.select(options, label=label).bind_value(form, name)
    made.props("outlined dense").classes(f"field {name}")
    if then:
        made.on_value_change(then)
