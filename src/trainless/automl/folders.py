"""The folder of a fit: written whole, read by `predict` and `export`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainless.automl.card import facts, model_card
from trainless.automl.results import Fitted
from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.export import FORMATS, load_plain, write_onnx, write_plain, write_torchscript

__all__ = ["RunFolder", "write_run"]

_FACTS = "fit.json"
_MOST_CLASSES = 30  # of a confusion matrix that is still read
_COMPARED = 500  # images on which an exported file is compared with the network


def write_run(fitted: Fitted, folder: Path, images: ImageDataset, *, command: str = "") -> Fitted:
    """Write the network, its card and its facts to a folder.

    Args:
        fitted: what to write.
        folder: where to, made if it is not there.
        images: real ones, on which the written network is compared with the one in memory.
        command: what makes it again, for the card.

    Returns:
        The same with the paths of what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source, weights = write_plain(fitted.code, folder, {"architecture": fitted.architecture})
    files = {"code": source, "weights": weights, "card": folder / "model_card.md", "facts": folder / _FACTS}
    notes = list(fitted.notes)
    try:
        write_onnx(fitted.network, real_images(images), folder / FORMATS["onnx"])
        files["onnx"] = folder / FORMATS["onnx"]
    except InputError as error:
        notes.append(str(error))
    if (folder / "search.db").exists():
        files["scores"] = folder / "search.db"
    written = replace(fitted, files={**fitted.files, **files}, notes=tuple(notes))
    files["card"].write_text(model_card(written, command), encoding="utf-8")
    document = {**facts(written), "input_shape": list(fitted.audit.image_shape), **_course(written)}
    files["facts"].write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def _course(fitted: Fitted) -> dict[str, Any]:
    """What a page draws of a run without its report: the training by epoch, and what was taken for what."""
    classes = len(fitted.test.class_names)
    return {
        "train_losses": list(fitted.training.train_losses),
        "valid_accuracies": list(fitted.training.valid_accuracies),
        "confusion": fitted.test.confusion.tolist() if classes <= _MOST_CLASSES else None,
    }


def real_images(data: ImageDataset, most: int = _COMPARED) -> torch.Tensor:
    """The first images of a data set as float32 values from 0 to 1."""
    return torch.tensor(data.images[:most]).float() / 255


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A folder that a fit wrote.

    Args:
        path: the folder.
        facts: its document of facts.
    """

    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Open a folder.

        Raises:
            InputError: it is none that a fit wrote.
        """
        try:
            document = json.loads((path / _FACTS).read_text(encoding="utf-8"))
            if not (isinstance(document["classes"], list) and len(document["input_shape"]) == 3):
                raise ValueError("facts are missing")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"'{path}' is no folder that `trainless fit` wrote ({getattr(error, 'strerror', None) or error}): give "
                "the folder of its --out."
            ) from error
        return cls(path, document)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.facts["classes"])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.facts["input_shape"]
        return channels, height, width

    def network(self) -> torch.nn.Module:
        """Build the network, in eval mode."""
        return load_plain(self.path)

    def shares(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute the share that the network gives each class, shape ``(images, classes)``, of images as bytes."""
        network = self.network()
        with torch.inference_mode():
            logits = [network(batch.float() / 255) for batch in torch.tensor(images).split(256)]
        shares: NDArray[np.float64] = torch.cat(logits).double().softmax(1).numpy()
        return shares

    def export(self, names: Iterable[str], images: torch.Tensor | None = None) -> dict[str, Path]:
        """Write the network in other formats.

        Args:
            names: of `trainless.export.FORMATS`.
            images: float32 values from 0 to 1 on which it is compared; None takes random ones.

        Returns:
            The file of each format.
        """
        network = self.network()
        if images is None:
            images = torch.rand(_COMPARED, *self.input_shape, generator=torch.Generator().manual_seed(0))
        writers = {"onnx": write_onnx, "torchscript": write_torchscript}
        written = {name: self.path / FORMATS[name] for name in names}
        for name, path in written.items():
            if name in writers:  # the weights are there already
                writers[name](network, images, path)
        return written
