"""View of a finished run: accuracy and costs of its network, its files, and class probabilities of any image."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import events, run, ui

from trainless.costs import COSTS
from trainless.report.common.formats import compact, duration, percent
from trainless.training.scales import SCALES
from trainless.ui.addresses import run_address
from trainless.ui.charts import bars, confusion_table, training_curve
from trainless.ui.previews import classify_image
from trainless.ui.window import Window
from trainless.ui.workspace import RunSummary

__all__ = ["Showing"]

_PICTURE_BYTES = 20 * 2**20
_FEW = 10  # classes of a confusion matrix that leaves room beside it
_FILES = (
    ("model.onnx", "ONNX", "for other runtimes"),
    ("model.safetensors", "Weights", "safetensors"),
    ("network.py", "Code", "plain PyTorch"),
    ("predict.py", "Program", "classes of images, without trainless"),
    ("preprocessing.json", "Preprocessing", "what has to happen to an image"),
    ("model_card.md", "Model card", "data, limits, accuracy, how to make it again"),
)


class Showing:
    """A finished run in a window.

    Args:
        window: where it is.
        summary: the run.
    """

    def __init__(self, window: Window, summary: RunSummary) -> None:
        self.window, self.run, facts = window, summary.name, summary.facts
        self._workspace = window.session.workspace
        ui.html(_headline(self.run, facts), sanitize=False)
        for sentence in facts.get("warnings", ()):
            ui.html(f'<p class="alert" role="alert">{escape(str(sentence))}</p>', sanitize=False)
        if facts["notes"]:
            notes = "".join(f"<li>{escape(str(note))}</li>" for note in facts["notes"])
            ui.html(f'<ul class="advice">{notes}</ul>', sanitize=False)
        with ui.element("div").classes("pair"):
            self._try(facts)
            self._files(facts)
        with ui.element("div").classes("pair" if len(facts["classes"]) <= _FEW else ""):
            if facts.get("confusion"):
                self._figure("What is taken for what", confusion_table(facts["confusion"], facts["classes"]))
            if facts.get("valid_accuracies"):
                self._figure("Training: validation accuracy by epoch", training_curve(facts), "narrow")
        self._figure("How it came about", _entries(facts))

    def _figure(self, title: str, content: str, kind: str = "") -> None:
        with ui.element("section").classes(kind):
            ui.html(f"<h2>{title}</h2>{content}", sanitize=False)

    # Class probabilities of an image.

    def _try(self, facts: Mapping[str, Any]) -> None:
        with ui.element("section"):
            ui.html("<h2>Try it on a picture</h2>")
            self._upload = ui.upload(
                on_upload=self._given, auto_upload=True, max_file_size=_PICTURE_BYTES, max_files=1,
                label="Choose a picture or drop it here",
                on_rejected=lambda: self.window.say(f"It is no picture, or larger than {_PICTURE_BYTES // 2**20} MiB."),
            ).props('accept="image/*" flat bordered').classes("upload picture")  # fmt: skip
            seen = " x ".join(map(str, facts["input_shape"]))
            ui.html(f'<p class="note">It is reduced to {escape(seen)}, as the images were that it learned from.</p>')
            self._result = ui.element("div").classes("classified")

    async def _given(self, event: events.UploadEventArguments) -> None:
        name = event.file.name
        if event.file.size() > _PICTURE_BYTES:
            self.window.say(f"The picture is larger than {_PICTURE_BYTES // 2**20} MiB.")
            return
        content = await event.file.read()
        self._upload.reset()
        self._result.clear()
        with self._result, ui.element("div").classes("waiting"):
            ui.spinner(size="1.5em")
            ui.label("The network is looking at it")
        try:
            found = await run.cpu_bound(classify_image, self._workspace, self.run, name, content)
        except run.SubprocessException as error:
            found = {"error": f"The network failed on it ({error.original_type}: {error.original_message})."}
        if found is None or self._result.is_deleted:
            return
        self._result.clear()
        with self._result:
            ui.html(_classified(found, name), sanitize=False)

    # Files.

    def _files(self, facts: Mapping[str, Any]) -> None:
        present = {path.name for path in self._workspace.run(self.run).iterdir()}
        links = "".join(
            f'<a class="file" href="{run_address(self.run, name)}" download><b>{label}</b><span>{told}</span></a>'
            for name, label, told in _FILES
            if name in present
        )
        report = ""
        if "report.html" in present:
            report = (
                f'<a class="file report" href="{run_address(self.run, "report.html")}" target="_blank" rel="noopener">'
                "<b>Full report</b><span>curves, candidates, recipes, data</span></a>"
            )
        self._figure("Take it along", f'<div class="files">{report}{links}</div>')


def _headline(name: str, facts: Mapping[str, Any]) -> str:
    tiles = [
        (cost.title, f"{compact(facts[cost.column])} {cost.unit}".rstrip())
        for cost in COSTS.values() if cost.column in facts
    ] + [("time", duration(facts["seconds"]))]  # fmt: skip
    costs = "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in tiles)
    return (
        f'<h1>{escape(name)}</h1><section class="result"><div class="accuracy">'
        f"{_measured(facts)}; no choice was made by these images</span></div>"
        f'<dl class="tiles">{costs}</dl>'
        '<p class="note">For one image on one thread of the machine that found it.</p></section>'
    )


def _measured(facts: Mapping[str, Any]) -> str:
    """What the network was chosen by, or the accuracy of a run of an earlier version, which says no more."""
    scale = SCALES.get(str(facts.get("measure")))
    if facts.get("measure") == "accuracy" or scale is None or "measure_value" not in facts:
        low, high = 100 * facts["test_accuracy_low"], 100 * facts["test_accuracy_high"]
        return (
            f"<b>{percent(facts['test_accuracy'], 2)}</b><span>of {facts['test_images']:,} test images are recognised"
            f"<br>95 % interval {low:.2f} to {high:.2f} %"
        )
    low, high = facts["measure_low"], facts["measure_high"]
    return (
        f"<b>{scale.text(facts['measure_value'])}</b><span>{scale.title} on {facts['test_images']:,} test images"
        f"<br>95 % interval {low:{scale.form}} to {scale.text(high)}; accuracy {percent(facts['test_accuracy'], 2)}"
    )


def _classified(found: Mapping[str, Any], name: str) -> str:
    if "error" in found:
        return f'<p class="alert" role="alert">{escape(found["error"])}</p>'
    pictures = "".join(
        f'<figure><img src="{address}" alt=""><figcaption>{escape(told)}</figcaption></figure>'
        for address, told in ((found["given"], name), (found["seen"], "as the network sees it"))
    )
    return f'<div class="pictures tried">{pictures}</div>{bars(found["probabilities"])}'


def _entries(facts: Mapping[str, Any]) -> str:
    known = facts.get("protocol")
    protocol = known if isinstance(known, dict) else {}
    rows = [("architecture", str(facts.get("architecture", ""))), *((str(k), str(v)) for k, v in protocol.items())]
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"
