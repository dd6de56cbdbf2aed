"""Export files of a network, each read back and compared with the network."""

from __future__ import annotations

import importlib.util
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainless.errors import InputError, TrainlessError
from trainless.export.code import PlainCode
from trainless.files import write_file, write_text

__all__ = ["FORMATS", "load_plain", "module_of", "write_onnx", "write_plain", "write_torchscript"]

FORMATS = {"onnx": "model.onnx", "torchscript": "model.pt", "safetensors": "model.safetensors"}
"""Formats by name, with the file of each."""

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
    from safetensors.torch import save

    source, weights = folder / "network.py", folder / FORMATS["safetensors"]
    content = save({name: value.clone() for name, value in code.weights.items()}, dict(facts or {}))
    write_text(source, code.source)
    write_file(weights, lambda partial: partial.write_bytes(content))
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
        InputError: the folder lacks the files, or they do not belong together.
    """
    source, weights = folder / "network.py", folder / FORMATS["safetensors"]
    for path in (source, weights):
        if not path.is_file():
            raise InputError(f"There is no {path.name} in '{folder}', expected the folder that `trainless fit` wrote.")
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
    except Exception as error:  # whatever the code does that somebody may have edited
        raise InputError(
            f"The network in '{folder}' cannot be loaded ({' '.join(str(error).split())}): fit it again."
        ) from error
    finally:
        sys.dont_write_bytecode = before
    return network


def write_torchscript(network: torch.nn.Module, images: torch.Tensor, path: Path) -> float:
    """Write a network as TorchScript, read it back, and give its largest difference from the network on some images.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file.

    Raises:
        InputError: the file cannot be written.
        TrainlessError: it would give other numbers than the network; it is not written.
    """

    def write(partial: Path) -> float:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself, which devices still run
            content = io.BytesIO()
            torch.jit.save(torch.jit.trace(network, images[:2]), content)
            partial.write_bytes(content.getvalue())
            again = torch.jit.load(partial)
            return _compared(network, images, lambda batch: again(batch), path)

    return write_file(path, write)


def write_onnx(network: torch.nn.Module, images: torch.Tensor, path: Path) -> float:
    """Write a network as ONNX for any number of images, run it with onnxruntime, and give its largest difference.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file; its input is called ``images``, its output ``scores``.

    Raises:
        InputError: the packages of the extra `export` are not installed, or the file cannot be written.
        TrainlessError: PyTorch cannot export the network, or the file would give other numbers; it is not written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise InputError(
            f"ONNX needs the package '{error.name}': pip install 'trainless[export]', or choose another format."
        ) from error

    def write(partial: Path) -> float:
        try:
            with _quiet():
                torch.onnx.export(
                    network, (images[:2],), partial, input_names=["images"], output_names=["scores"],
                    external_data=False, dynamo=True, verbose=False,
                    dynamic_shapes={"images": {0: torch.export.Dim("count", min=1)}},
                )  # fmt: skip
        except RuntimeError as error:
            raise TrainlessError(
                f"{path} is not written, for PyTorch's exporter fails ({' '.join(str(error).split())}): choose another "
                "format."
            ) from error
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
        return _compared(network, images, lambda batch: session.run(None, {"images": batch.numpy()})[0], path)

    return write_file(path, write)


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
