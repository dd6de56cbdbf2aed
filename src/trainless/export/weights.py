"""Weights in a safetensors file, with a checksum that tells whether they are still those that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from trainless.errors import InputError
from trainless.files import write_file

__all__ = ["read_weights", "write_weights"]

_CHECKSUM = "sha256"


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], facts: Mapping[str, str]) -> None:
    """Write weights, whole or not at all.

    Args:
        path: the file.
        weights: by name.
        facts: noted in the file.

    Raises:
        InputError: it cannot be written.
    """
    from safetensors.torch import save

    own = {name: value.detach().clone() for name, value in weights.items()}
    content = _ordered(save(own, {**facts, _CHECKSUM: _checksum(own)}))
    write_file(path, lambda partial: partial.write_bytes(content))


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read what is noted in a file of weights, and the weights.

    Raises:
        InputError: it cannot be read, its weights are others than were written, or they are no numbers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_weights(Path(folder, "a.safetensors"), {"bias": torch.ones(2)}, {"architecture": "a"})
        ...     read_weights(Path(folder, "a.safetensors"))
        ({'architecture': 'a'}, {'bias': tensor([1., 1.])})
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = dict(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts.pop(_CHECKSUM, None) not in (None, _checksum(weights)):  # earlier versions wrote none
            raise ValueError("they are others than were written")
        if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
            raise ValueError(f"{broken[0]} is not finite")
    except Exception as error:  # whatever safetensors makes of a file that is damaged
        raise InputError(
            f"The weights '{path}' cannot be read ({getattr(error, 'strerror', None) or error}): restore the file from "
            "a copy, or fit it again."
        ) from error
    return facts, weights


def _ordered(content: bytes) -> bytes:
    """The same file with what is noted in it in one order, which safetensors leaves to chance."""
    begin, end = 8, 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[begin:end])
    text = json.dumps({**header, "__metadata__": dict(sorted(header["__metadata__"].items()))}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _checksum(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
