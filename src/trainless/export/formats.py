"""Export files of a network, each read back and compared with the network."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trainless.data.pixels import prepare
from trainless.data.preprocessing import Preprocessing
from trainless.errors import InputError, TrainlessError
from trainless.export.byte_input import with_preparation
from trainless.export.code import PlainCode
from trainless.export.weights import read_weights, write_weights
from trainless.files import write_file, write_text

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["FORMATS", "PREPROCESSING", "load_plain", "module_of", "onnx_model", "output_name", "write_onnx",
           "write_onnx_bytes", "write_plain", "write_torchscript"]  # fmt: skip

FORMATS = {
    "onnx": "model.onnx", "onnx-uint8": "model-uint8.onnx", "torchscript": "model.pt",
    "safetensors": "model.safetensors",
}  # fmt: skip
"""Formats by name, with the file of each."""

PREPROCESSING = "preprocessing.json"
"""The file that says what has to happen to an image."""

Facts = Mapping[str, Any]

_TOLERANCE = 1e-4


def write_plain(code: PlainCode, folder: Path, facts: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """Write ``network.py`` and ``model.safetensors``, which together run without trainless.

    Args:
        code: the network.
        folder: where to; files there are replaced.
        facts: noted in the file of the weights.

    Returns:
        The paths of both.

    Raises:
        InputError: they cannot be written.
    """
    source, weights = folder / "network.py", folder / FORMATS["safetensors"]
    write_text(source, code.source)
    write_weights(weights, code.weights, facts or {})
    return source, weights


def module_of(code: PlainCode) -> torch.nn.Module:
    """Build the network of plain code, in eval mode, as who reads the files does.

    Example:
        >>> from trainless.export import plain_code
        >>> code = plain_code(torch.nn.Flatten(), (1, 1, 2), ("a", "b"), (0.5,), (0.5,))
        >>> module_of(code)(torch.ones(1, 1, 1, 2))
        tensor([[1., 1.]])
    """
    with tempfile.TemporaryDirectory() as folder:
        write_plain(code, Path(folder))
        return load_plain(Path(folder))


def load_plain(folder: Path) -> torch.nn.Module:
    """Build the network of ``network.py`` with the weights of ``model.safetensors``, in eval mode.

    The code is run: open only what you or people you trust have written.

    Raises:
        InputError: the folder lacks the files, they are damaged, or they do not belong together.
    """
    source, weights = folder / "network.py", folder / FORMATS["safetensors"]
    for path in (source, weights):
        if not os.path.isfile(path):
            raise InputError(f"There is no {path.name} in '{folder}', expected the folder that `trainless fit` wrote.")
    read_weights(weights)
    spec = importlib.util.spec_from_file_location("trainless_exported_network", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
        network = module.load(weights)
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"its load() gives a {type(network).__name__}")
    except (Exception, SystemExit) as error:  # whatever the code does that somebody may have edited
        raise InputError(
            f"The network in '{folder}' cannot be loaded ({' '.join(str(error).split())}): fit it again."
        ) from error
    finally:
        sys.dont_write_bytecode = before
    return network


def write_torchscript(
    network: torch.nn.Module, images: torch.Tensor, path: Path, facts: Facts | None = None, *, softmax: bool = False
) -> float:
    """Write a network as TorchScript, read it back, and give its largest difference from the network on some images.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file.
        facts: noted in it, as the extra file ``preprocessing.json``.
        softmax: give probabilities in place of logits.

    Raises:
        InputError: the file cannot be written.
        TrainlessError: it would give other numbers than the network; it is not written.
    """
    whole, text = _with_softmax(network, softmax), json.dumps(dict(facts or {}), ensure_ascii=False)

    def write(partial: Path) -> float:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself, which devices still run
            content = io.BytesIO()
            noted = {PREPROCESSING: text} if facts else {}
            torch.jit.save(torch.jit.trace(whole, images[:2]), content, _extra_files=noted)
            partial.write_bytes(content.getvalue())
            again = torch.jit.load(partial)
            return _compared(whole, images, lambda batch: again(batch), path)

    return write_file(path, write)


def onnx_model(network: torch.nn.Module, images: torch.Tensor, path: Path, *, softmax: bool = False) -> ModelProto:
    """Export a network as ONNX for any number of images, its input ``images``, its output as `output_name` says.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: of the file that it is for, for messages.
        softmax: give probabilities in place of logits.

    Raises:
        InputError: the packages of the extra `export` are not installed.
        TrainlessError: PyTorch cannot export the network.
    """
    try:
        import onnxruntime  # noqa: F401  the comparison needs it
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise InputError(
            f"ONNX needs the package '{error.name}': pip install 'trainless[export]', or choose another format."
        ) from error
    try:
        with _quiet():
            program = torch.onnx.export(
                _with_softmax(network, softmax), (images[:2],), input_names=["images"],
                output_names=[output_name(softmax)], external_data=False, dynamo=True, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("count", min=1)},),
            )  # fmt: skip
    except RuntimeError as error:
        raise TrainlessError(
            f"{path} is not written, for PyTorch's exporter fails ({' '.join(str(error).split())}): choose another "
            "format."
        ) from error
    assert program is not None
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # where in whose code it comes from, with the paths of this machine
    return model


def write_onnx(
    network: torch.nn.Module, images: torch.Tensor, path: Path, facts: Facts | None = None, *, softmax: bool = False,
    model: ModelProto | None = None,
) -> float:  # fmt: skip
    """Write a network as ONNX for any number of images, run it with onnxruntime, and give its largest difference.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file; its input is called ``images``, its output ``logits``, or ``probabilities`` with softmax.
        facts: noted in it, as its ``metadata_props``: texts as they are, all else as JSON.
        softmax: give probabilities in place of logits.
        model: what `onnx_model` gave, where it was called already.

    Raises:
        InputError: the packages of the extra `export` are not installed, or the file cannot be written.
        TrainlessError: PyTorch cannot export the network, or the file would give other numbers; it is not written.
    """
    found = model or onnx_model(network, images, path, softmax=softmax)

    def write(partial: Path) -> float:
        session = _written(found, partial, facts, output_name(softmax), path)
        other = lambda batch: session.run(None, {"images": batch.numpy()})[0]  # noqa: E731
        return _compared(_with_softmax(network, softmax), images, other, path)

    return write_file(path, write)


def write_onnx_bytes(
    network: torch.nn.Module, preprocessing: Preprocessing, path: Path, facts: Facts | None = None, *,
    softmax: bool = False, model: ModelProto | None = None,
) -> float:  # fmt: skip
    """Write a network as ONNX for RGB bytes of any size, run it with onnxruntime, and give its largest difference.

    The resizing is a part of the graph, to the bit that of `trainless.data.pixels.prepare`; it is compared on images
    of several sizes and proportions.

    Args:
        network: in eval mode.
        preprocessing: what its images need.
        path: the file; its input ``bytes`` is uint8, ``(count, rows, columns, 3)``, its output as for `write_onnx`.
        facts: as for `write_onnx`.
        softmax: as for `write_onnx`.
        model: as for `write_onnx`.

    Raises:
        InputError: as for `write_onnx`.
        TrainlessError: as for `write_onnx`.
    """
    found = model or onnx_model(network, torch.zeros(2, *preprocessing.input_shape), path, softmax=softmax)
    whole = _with_softmax(network, softmax)

    def write(partial: Path) -> float:
        merged = with_preparation(found, preprocessing)
        session = _written(merged, partial, facts, output_name(softmax), path)
        differences = []
        for pixels in _photographs(preprocessing):
            seen = prepare(Image.fromarray(pixels), *preprocessing.input_shape, preprocessing.resize)
            images, given = torch.tensor(seen[None]).float() / 255, {"bytes": pixels[None]}
            differences.append(_compared(whole, images, lambda _, given=given: session.run(None, given)[0], path))
        return max(differences)

    return write_file(path, write)


def output_name(softmax: bool) -> str:
    """Name the output of an exported network."""
    return "probabilities" if softmax else "logits"


def _with_softmax(network: torch.nn.Module, softmax: bool) -> torch.nn.Module:
    return torch.nn.Sequential(network, torch.nn.Softmax(1)).eval() if softmax else network


def _photographs(preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    """Images of noise and of soft colours, larger, smaller, wider and taller than a network takes them."""
    stream, (_, height, width) = np.random.default_rng(0), preprocessing.input_shape
    for tall, wide in ((1, 1), (3, 2), (1 / 3, 1 / 2), (1, 5), (4, 1)):
        size = max(1, round(height * tall)), max(1, round(width * wide))
        noise = stream.integers(0, 256, (*size, 3), np.uint8)
        yield noise
        small = Image.fromarray(noise[: max(1, size[0] // 8), : max(1, size[1] // 8)])
        yield np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))


def _written(model: ModelProto, partial: Path, facts: Facts | None, output: str, path: Path) -> Any:
    """Write a model with facts, read it back by onnxruntime, and refuse it where it does not say what it should."""
    import onnx
    import onnxruntime

    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (facts or {}).items()}
    onnx.helper.set_model_props(model, texts)
    partial.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
    outputs, noted = [value.name for value in session.get_outputs()], session.get_modelmeta().custom_metadata_map
    if outputs != [output] or noted != texts:
        raise TrainlessError(
            f"{path} would have the outputs {', '.join(outputs)} and the facts {', '.join(noted) or 'none'}, expected "
            f"{output} and {', '.join(texts) or 'none'}, so it is not written: tell the makers of trainless."
        )
    return session


def _compared(network: torch.nn.Module, images: torch.Tensor, other: Any, path: Path) -> float:
    """The largest difference of two networks' numbers, refused where it is more than rounding."""
    with torch.inference_mode():
        batches = images.split(64)
        expected = np.concatenate([network(batch).numpy() for batch in batches])
        found = np.concatenate([np.asarray(other(batch)) for batch in batches])
    largest = float(np.abs(expected - found).max())
    # What is no number is no agreement, so the comparison must hold, not fail to be broken.
    if not largest <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise TrainlessError(
            f"{path} would give numbers that differ from the network's by up to {largest:g}, expected at most "
            f"{_TOLERANCE:g}, so it is not written: tell the makers of trainless."
        )
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's reports and its warnings of its own parts to itself."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
