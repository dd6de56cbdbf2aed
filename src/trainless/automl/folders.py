"""The folder of a finished fit: network, weights, model card and facts, written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainless.automl.checkpoint import LOGS
from trainless.automl.inference import class_probabilities
from trainless.automl.model_card import facts, model_card
from trainless.automl.results import Fitted
from trainless.data import ImageDataset
from trainless.data.dataset import draw
from trainless.data.preprocessing import Preprocessing
from trainless.errors import InputError, TrainlessError
from trainless.export import FORMATS, load_plain, write_formats, write_plain, write_preprocessing
from trainless.export.formats import PREPROCESSING
from trainless.export.script import PREDICT
from trainless.files import write_file, write_text

__all__ = ["RunFolder", "write_run"]

_FACTS = "fit.json"
_PLAIN = ("network.py", FORMATS["safetensors"])
_COMPARED = 500  # images on which an exported file is compared with the network


def write_run(
    fitted: Fitted, folder: Path, images: ImageDataset, *, command: str = "",
    overrun: Callable[[], list[str]] = list, pages: Callable[[Fitted, Path], None] | None = None,
) -> Fitted:  # fmt: skip
    """Write the network, its card and its facts to a folder, and the facts last of all.

    Args:
        fitted: what to write.
        folder: where to, made if it is not there.
        images: real ones, on which the written network is compared with the one in memory.
        command: what makes it again, for the card.
        overrun: says whether it took too long, once all but the card and the pages are written.
        pages: writes what else belongs to it into a folder, whose files move to this one.

    Returns:
        The same with the paths of what was written.

    Raises:
        InputError: the folder cannot be written; what was there is as it was.
    """
    notes = list(fitted.notes)
    with _staged(folder) as staged:
        source, weights = write_plain(fitted.code, staged, {"architecture": fitted.architecture})
        names = {"code": source.name, "weights": weights.name, "card": "model_card.md", "facts": _FACTS}
        wanted, classes = fitted.audit.preprocessing, fitted.test.class_names
        names["preprocessing"] = write_preprocessing(staged, wanted, classes).name
        try:
            exported = write_formats(fitted.network, wanted, classes, ["onnx"], staged, real_images(images))
            names |= {kind: path.name for kind, path in exported.items()}
        except TrainlessError as error:  # the network is worth having without
            notes.append(str(error))
        files = {kind: folder / name for kind, name in names.items()}
        kept = {"scores": folder / "search.db", "tensorboard": folder / LOGS}
        files |= {name: path for name, path in kept.items() if path.exists()}
        written = replace(fitted, files={**fitted.files, **files}, notes=(*notes, *overrun()))
        if pages:
            pages(written, staged)
        write_text(staged / names["card"], model_card(written, command))
        document = {**facts(written), "input_shape": list(fitted.audit.image_shape), **_curves(written)}
        write_text(staged / _FACTS, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return written


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder for files that replace those of another once all are written, and the network in any form that was."""
    staged = folder / ".partial"
    try:
        shutil.rmtree(staged, ignore_errors=True)  # of a call that was killed
        staged.mkdir(parents=True)
        yield staged
        for name in {_FACTS, PREPROCESSING, PREDICT, *FORMATS.values()}:
            (folder / name).unlink(missing_ok=True)
        # Facts come last: without them the folder is none of a fit.
        for path in sorted(staged.iterdir(), key=lambda path: path.name == _FACTS):
            path.replace(folder / path.name)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written ({error.strerror or error}): give another.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _curves(fitted: Fitted) -> dict[str, Any]:
    """What a page draws of a run without its report: the curves of the training, and the confusion matrix."""
    classes = len(fitted.test.class_names)
    return {
        "train_losses": list(fitted.training.train_losses),
        "valid_accuracies": list(fitted.training.valid_accuracies),
        "confusion": fitted.test.confusion.tolist() if classes <= fitted.test.MOST_CLASSES else None,
    }


def real_images(data: ImageDataset, most: int = _COMPARED) -> torch.Tensor:
    """Some images of all classes as float32 values from 0 to 1, shape ``(images, channels, height, width)``."""
    chosen = draw(data.labels, min(most, len(data)), np.random.default_rng(0))
    return torch.tensor(data.images[chosen]).float() / 255


@dataclass(frozen=True, eq=False)
class RunFolder:
    """The folder of a finished fit, read back.

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
            shape, classes = document["input_shape"], document["classes"]
            if not (isinstance(classes, list) and classes and len(shape) == 3 and all(length > 0 for length in shape)):
                raise ValueError("classes or input_shape are missing")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
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
    def preprocessing(self) -> Preprocessing:
        """What has to happen to an image; runs of earlier versions stretched all of them.

        Raises:
            InputError: the document of facts has something else there.
        """
        document = self.facts.get("preprocessing")
        if document is None:
            return Preprocessing(*self.input_shape)
        found = Preprocessing.of(document)
        if found.input_shape != self.input_shape:
            raise InputError(
                f"{_FACTS} in '{self.path}' tells of images of shape {found.input_shape} and {self.input_shape}, "
                "expected one of both: fit it again."
            )
        return found

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.facts["input_shape"]
        return channels, height, width

    def network(self) -> torch.nn.Module:
        """Build the network, in eval mode.

        Raises:
            InputError: it cannot be loaded, or is no network for these images and classes.
        """
        network, expected = load_plain(self.path), (1, len(self.classes))
        try:
            with torch.inference_mode():
                found = str(tuple(network(torch.zeros(1, *self.input_shape)).shape))
        except Exception as error:  # whatever its code does
            found = f"an error ({' '.join(str(error).split())})"
        if found != str(expected):
            raise InputError(
                f"The network in '{self.path}' makes of an image of shape {self.input_shape} {found}, expected "
                f"{expected}, a number for each class of {_FACTS}: the files are of different fits, so fit it again."
            )
        return network

    def class_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute the class probabilities of images as bytes, shape ``(images, classes)``."""
        return class_probabilities(self.network(), images)

    def export(
        self, names: Iterable[str], images: torch.Tensor | None = None, *, folder: Path | None = None,
        softmax: bool = False,
    ) -> dict[str, Path]:  # fmt: skip
        """Write the network in other formats, with the facts that say how they are used.

        Args:
            names: of `trainless.export.FORMATS`.
            images: float32 values from 0 to 1 on which it is compared; None takes random ones.
            folder: where to, made if it is not there; None takes that of the fit.
            softmax: give probabilities in place of logits, in all formats but the plain weights.

        Returns:
            By kind, the files.

        Raises:
            InputError: the folder of the fit is damaged, or the other cannot be written.
            TrainlessError: a file would answer otherwise than the network; it is not written.
        """
        network, target, wanted = self.network(), folder or self.path, self.preprocessing
        if images is None:
            images = torch.rand(_COMPARED, *self.input_shape, generator=torch.Generator().manual_seed(0))
        chosen = list(names)
        try:
            target.mkdir(parents=True, exist_ok=True)
            copied = [self.path / name for name in _PLAIN] if "safetensors" in chosen else []
            for path in copied:
                if not (target / path.name).exists() or not path.samefile(target / path.name):
                    write_file(target / path.name, partial(shutil.copyfile, path))
        except OSError as error:
            raise InputError(
                f"The folder {target} cannot be made ({error.strerror or error}): give another."
            ) from error
        written = {"safetensors": target / FORMATS["safetensors"], "code": target / _PLAIN[0]} if copied else {}
        others = [name for name in chosen if name != "safetensors"]
        written |= write_formats(network, wanted, self.classes, others, target, images, softmax=softmax)
        return {**written, "preprocessing": write_preprocessing(target, wanted, self.classes)}
