"""The files that a network is written to, each read back and compared with the network."""

from __future__ import annotations

import importlib.util
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
    """
    from safetensors.torch import save_file

    source, weights = folder / "network.py", folder / FORMATS["safetensors"]
    source.write_text(code.source, encoding="utf-8")
    save_file({name: value.clone() for name, value in code.weights.items()}, weights, dict(facts or {}))
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
    from safetensors import SafetensorError

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
    except (SyntaxError, AttributeError, RuntimeError, SafetensorError, OSError) as error:
        raise InputError(
            f"The network in '{folder}' cannot be loaded ({' '.join(str(error).split())}): fit it again."
        ) from error
    finally:
        sys.dont_write_bytecode = before
    assert isinstance(network, torch.nn.Module)
    return network


def write_torchscript(network: torch.nn.Module, images: torch.Tensor, path: Path) -> float:
    """Write a network as TorchScript, read it back, and give its largest difference from the network on some images.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file.

    Raises:
        TrainlessError: the file gives other numbers than the network.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself, which devices still run
        torch.jit.save(torch.jit.trace(network, images[:2]), path)
        again = torch.jit.load(path)
        return _compared(network, images, lambda batch: again(batch), path)


def write_onnx(network: torch.nn.Module, images: torch.Tensor, path: Path) -> float:
    """Write a network as ONNX for any number of images, run it with onnxruntime, and give its largest difference.

    Args:
        network: in eval mode.
        images: float32 values from 0 to 1, shape ``(images, channels, height, width)``.
        path: the file; its input is called ``images``, its output ``scores``.

    Raises:
        InputError: the packages of the extra `export` are not installed.
        TrainlessError: the file gives other numbers than the network.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise InputError(
            f"ONNX needs the package '{error.name}': pip install 'trainless[export]', or choose another format."
        ) from error
    with _quiet():
        torch.onnx.export(
            network, (images[:2],), path, input_names=["images"], output_names=["scores"], external_data=False,
            dynamo=True, dynamic_shapes={"images": {0: torch.export.Dim("count", min=1)}}, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _compared(network, images, lambda batch: session.run(None, {"images": batch.numpy()})[0], path)


def _compared(network: torch.nn.Module, images: torch.Tensor, other: Any, path: Path) -> float:
    """The largest difference of two networks' numbers, refused where it is more than rounding."""
    largest = 0.0
    with torch.inference_mode():
        for batch in images.split(64):
            expected, found = network(batch).numpy(), np.asarray(other(batch))
            largest = max(largest, float(np.abs(expected - found).max()))
    if not largest <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise TrainlessError(
            f"{path} gives numbers that differ from the network's by up to {largest:g}, expected at most "
            f"{_TOLERANCE:g}: do not use it, and tell the makers of trainless."
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
