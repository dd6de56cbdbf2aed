"""The model card of a fit: input and output, test accuracy, costs, data, and how to reproduce it."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from trainless.automl.results import Fitted
from trainless.costs import COSTS
from trainless.export import usage
from trainless.markdown import escape, table_of_texts
from trainless.training.scales import SCALES

__all__ = ["facts", "model_card"]

_SAID = ("input", "output", "colour", "orientation", "alpha", "frames", "depth", "resizing", "filter", "scaling")
_PACKAGES = ("trainless", "torch", "lightning-fabric", "optuna", "numpy", "scikit-learn")


def facts(fitted: Fitted) -> dict[str, object]:
    """Collect accuracy, costs, limits and protocol of a fit as one document of plain values, for JSON."""
    comparison = fitted.comparison
    return {
        "warnings": fitted.warnings,
        "measure": fitted.measure,
        "measure_value": comparison.value,
        "measure_low": comparison.low,
        "measure_high": comparison.high,
        "baselines": [asdict(rival) for rival in comparison.rivals],
        "test_accuracy": fitted.test.accuracy,
        "test_accuracy_low": fitted.test.low,
        "test_accuracy_high": fitted.test.high,
        "test_images": fitted.test.images,
        "measures": dict(fitted.test.measures),
        "valid_accuracy": fitted.training.valid_accuracy / 100,
        "architecture": fitted.architecture,
        "space": fitted.space,
        "pretrained": dict(fitted.weights),
        "start": dict(fitted.start),
        "setting": dict(fitted.setting),
        **{COSTS[name].column: value for name, value in fitted.costs.items()},
        "limits": dict(fitted.limits.most),
        "classes": list(fitted.test.class_names),
        "preprocessing": fitted.audit.preprocessing.document(fitted.test.class_names),
        "evaluations": len(fitted.search.evaluations),
        "finalists": [asdict(finalist) for finalist in fitted.finalists],
        "epochs": fitted.training.epochs,
        "seconds": sum(fitted.seconds.values()),
        "stages": dict(fitted.seconds),
        "notes": list(fitted.notes),
        "protocol": dict(fitted.protocol),
        "files": {name: str(path) for name, path in fitted.files.items()},
    }


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def model_card(fitted: Fitted, command: str = "") -> str:
    """Write the model card as Markdown.

    Args:
        fitted: the network.
        command: what makes it again.
    """
    test = fitted.test
    parts = [
        f"# {escape(fitted.title)}",
        *(f"**Warning: {escape(sentence)}**" for sentence in fitted.warnings),
        _headline(fitted),
        "## What it is",
        table_of_texts(("what", "value"), [
            ("architecture", fitted.architecture),
            ("search space", fitted.space),
            *fitted.weights.items(),
            *((COSTS[name].summary, COSTS[name].amount(value)) for name, value in fitted.costs.items()),
            ("limits", "; ".join(fitted.held()) or "none"),
        ]),
        "## How it is used",
        table_of_texts(("what", "how"), _use(fitted)),
        "## How good it is",
        table_of_texts(("measure on test images", "value"), [
            (SCALES[name].title, SCALES[name].text(value)) for name, value in test.measures.items()
        ]),
        _classes(fitted),
        "## The data",
        table_of_texts(("what", "found"), fitted.audit.rows()),
        "## How it came about",
        table_of_texts(("what", "value"), fitted.protocol.items()),
        table_of_texts(("stage", "seconds"), [(name, f"{value:.1f}") for name, value in fitted.seconds.items()]),
        *(["Beware:\n\n" + "\n".join(f"- {note}" for note in fitted.notes)] if fitted.notes else []),
        "## Make it again",
        *([f"```\n{command}\n```"] if command else []),
        table_of_texts(("package", "version"), versions().items()),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _headline(fitted: Fitted) -> str:
    test, comparison = fitted.test, fitted.comparison
    how = "Wilson" if fitted.measure == "accuracy" else "bootstrap"
    said = (
        f"**{comparison.scale.title.capitalize()} on {test.images:,} test images: "
        f"{comparison.scale.text(comparison.value)}** (95 % interval {comparison.interval()}, {how}). No choice was "
        f"made by these images. On them {'; '.join(map(escape, comparison.beside()))}."
    )
    if fitted.measure == "accuracy":
        return said
    return f"{said} Accuracy: {test.accuracy:.2%} ({test.low:.2%} to {test.high:.2%}, Wilson)."


def _use(fitted: Fitted) -> list[tuple[str, str]]:
    """What goes in and comes out, the preparation of an image, and the classes in the order of the output."""
    stated = usage(fitted.audit.preprocessing, fitted.test.class_names)
    names = ", ".join(f"{number} {name}" for number, name in enumerate(stated.pop("classes")))
    said = [(name, value) for name, value in stated.items() if name in _SAID]
    return [*said, ("classes, in order", names)]


def _classes(fitted: Fitted) -> str:
    test = fitted.test
    if len(test.class_names) > test.MOST_CLASSES:
        worst = np.argsort(np.nan_to_num(test.recall, nan=2.0))[: test.MOST_CLASSES]
        worst_rows = [(test.class_names[number], f"{test.recall[number]:.1%}") for number in worst]
        return "The classes that are found least often:\n\n" + table_of_texts(("class", "found"), worst_rows)
    header = ("true \\ guessed", *test.class_names, "found")
    rows = [
        (name, *map(str, row), "" if np.isnan(recall) else f"{recall:.1%}")
        for name, row, recall in zip(test.class_names, test.confusion.tolist(), test.recall, strict=True)
    ]
    return "Confusion, images by true class (rows) and guessed class (columns):\n\n" + table_of_texts(header, rows)
