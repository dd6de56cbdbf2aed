"""A network in several formats in one folder, each with the facts that say how it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainless.data.preprocessing import Preprocessing
from trainless.errors import InputError
from trainless.export.formats import (
    FORMATS,
    PREPROCESSING,
    onnx_model,
    output_name,
    write_onnx,
    write_onnx_bytes,
    write_torchscript,
)
from trainless.export.script import PREDICT, predict_script
from trainless.files import write_text

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["usage", "write_formats", "write_preprocessing"]


def usage(
    preprocessing: Preprocessing, classes: Sequence[str], *, softmax: bool = False, takes_bytes: bool = False
) -> dict[str, Any]:
    """Say what goes into an exported network, what comes out, and all that has to happen to an image before.

    Args:
        preprocessing: what its images need.
        classes: names of the classes, in the order of the output.
        softmax: whether probabilities come out in place of logits.
        takes_bytes: whether RGB bytes of any size go in, as in the format ``onnx-uint8``.

    Example:
        >>> usage(Preprocessing(3, 64, 64), ["cat", "dog"])["output"]
        'logits, float32, (images, 2): the highest is the guess, their softmax the probabilities'
    """
    shape = f"(images, {', '.join(map(str, preprocessing.input_shape))})"
    given = "images, float32 from 0 to 1, " + shape
    as_bytes = "bytes, uint8, (images, rows, columns, 3): red, green, blue, of any size, upright, on white"
    meaning = "the highest is the guess" + ("" if softmax else ", their softmax the probabilities")
    return {
        "input": as_bytes if takes_bytes else given,
        "output": f"{output_name(softmax)}, float32, (images, {len(classes)}): {meaning}",
        **preprocessing.document(classes),
    }


def write_preprocessing(folder: Path, preprocessing: Preprocessing, classes: Sequence[str]) -> Path:
    """Write ``preprocessing.json``, which says what has to happen to an image.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / PREPROCESSING
    write_text(path, json.dumps(usage(preprocessing, classes), indent=1, ensure_ascii=False) + "\n")
    return path


def write_formats(
    network: torch.nn.Module, preprocessing: Preprocessing, classes: Sequence[str], names: Iterable[str],
    folder: Path, images: torch.Tensor, *, softmax: bool = False,
) -> dict[str, Path]:  # fmt: skip
    """Write a network in several formats, each compared with it, and ``predict.py`` beside ``model.onnx``.

    Args:
        network: in eval mode.
        preprocessing: what its images need.
        classes: names of the classes, in the order of its output.
        names: of `trainless.export.FORMATS`; the plain weights are not among them.
        folder: where to; files there are replaced.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``, on which it is compared.
        softmax: give probabilities in place of logits.

    Returns:
        By kind, the files.

    Raises:
        InputError: packages of the extra `export` are not installed, or a file cannot be written.
        TrainlessError: a file would answer otherwise than the network; it is not written.
    """
    facts = usage(preprocessing, classes, softmax=softmax)
    of_bytes = usage(preprocessing, classes, softmax=softmax, takes_bytes=True)
    written = {name: folder / FORMATS[name] for name in names}

    @cache
    def model() -> ModelProto:  # exported once for both formats
        return onnx_model(network, images, folder, softmax=softmax)

    for name, path in dict(written).items():
        if name == "onnx":
            write_onnx(network, images, path, facts, softmax=softmax, model=model())
            written["program"] = folder / PREDICT
            write_text(written["program"], predict_script())
        elif name == "onnx-uint8":
            write_onnx_bytes(network, preprocessing, path, of_bytes, softmax=softmax, model=model())
        elif name == "torchscript":
            write_torchscript(network, images, path, facts, softmax=softmax)
        else:
            raise InputError(f"The format '{name}' is not written so: see trainless.export.write_plain.")
    return written
