"""The two published formats of CIFAR-10 and CIFAR-100: binary records and Python pickles.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from trainless.data.dataset import LabelledImages, Normalisation
from trainless.errors import DataError
from trainless.safe_pickle import read_pickle

__all__ = ["is_cifar_file", "is_cifar_folder", "read_cifar_file", "read_cifar_folder", "read_cifar_test"]

_PIXELS = 3 * 32 * 32
_OPERATIONS = 2**21  # 50,000 labels that are NumPy scalars take 400,000, and CIFAR-100 has two lists of them


@dataclass(frozen=True)
class _Format:
    name: str
    classes: int
    label_bytes: int  # labels before the pixels of a binary record; the last one is the fine label
    training: str  # pattern of the training files, less the suffix
    testing: str  # name of the test file, less the suffix
    files: tuple[str, ...]  # beginnings of all batch files' names
    names_text: str  # text file of the class names
    names_pickle: str
    labels_key: str
    names_key: str
    normalisation: Normalisation | None = None


_CIFAR10 = _Format(
    name="cifar10",
    classes=10,
    label_bytes=1,
    training="data_batch_*",
    testing="test_batch",
    files=("data_batch_", "test_batch"),
    names_text="batches.meta.txt",
    names_pickle="batches.meta",
    labels_key="labels",
    names_key="label_names",
    normalisation=Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
)
_CIFAR100 = _Format(
    name="cifar100",
    classes=100,
    label_bytes=2,
    training="train",
    testing="test",
    files=("train", "test"),
    names_text="fine_label_names.txt",
    names_pickle="meta",
    labels_key="fine_labels",
    names_key="fine_label_names",
)
_KINDS = tuple((kind, suffix) for kind in (_CIFAR10, _CIFAR100) for suffix in (".bin", ""))


def is_cifar_file(path: Path) -> bool:
    """Tell by its name whether a file is a CIFAR batch: any ``.bin`` file, or one of the published names.

    Example:
        >>> is_cifar_file(Path("data_batch_1")), is_cifar_file(Path("photo.png"))
        (True, False)
    """
    return path.suffix == ".bin" or _format_of(path) is not None


def is_cifar_folder(folder: Path) -> bool:
    """Tell by the names of its files whether a folder holds CIFAR batches.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     is_cifar_folder(Path(folder))
        False
    """
    return any(_format_of(path) is not None and path.is_file() for path in folder.iterdir())


def read_cifar_file(path: Path) -> LabelledImages:
    """Read one CIFAR batch, binary (``.bin``) or a Python pickle.

    The names ``train`` and ``test`` mean CIFAR-100, with its 100 fine labels; all others mean CIFAR-10. Class names
    come from the published file of names beside it; where there is none they are the numbers.

    Raises:
        DataError: the file is no such batch, or its pickle asks for anything but arrays and plain containers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "data_batch_1.bin")
        ...     _ = path.write_bytes(bytes([3] + [0] * 3072 + [9] + [255] * 3072))
        ...     batch = read_cifar_file(path)
        >>> batch.name, batch.images.shape, batch.labels.tolist()
        ('cifar10', (2, 3, 32, 32), [3, 9])
    """
    return _read_files([path], _format_of(path) or _CIFAR10)


def read_cifar_folder(folder: Path) -> LabelledImages:
    """Read the training batches of a CIFAR folder; test batches are left alone.

    Raises:
        DataError: there are no training batches, or one cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, label in ("train.bin", 99), ("test.bin", 5):
        ...         _ = Path(folder, name).write_bytes(bytes([0, label] + [0] * 3072))
        ...     read_cifar_folder(Path(folder)).labels.tolist()
        [99]
    """
    for kind, suffix in _KINDS:
        files = _training_files(folder, kind, suffix)
        if files:
            return _read_files(files, kind)
    raise DataError(
        f"Folder '{folder}' holds CIFAR test batches but no training batches (data_batch_* or train): add them, or "
        "name a test batch itself."
    )


def read_cifar_test(folder: Path) -> LabelledImages | None:
    """Read the test batch that belongs to the training batches of a CIFAR folder; None where there is none.

    Raises:
        DataError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, label in ("train.bin", 99), ("test.bin", 5):
        ...         _ = Path(folder, name).write_bytes(bytes([0, label] + [0] * 3072))
        ...     read_cifar_test(Path(folder)).labels.tolist()
        [5]
    """
    for kind, suffix in _KINDS:
        if _training_files(folder, kind, suffix):
            path = folder / (kind.testing + suffix)
            return _read_files([path], kind) if path.is_file() else None
    return None


def _training_files(folder: Path, kind: _Format, suffix: str) -> list[Path]:
    candidates = sorted(folder.glob(kind.training + suffix))
    return [path for path in candidates if path.suffix == suffix and path.is_file()]


def _format_of(path: Path) -> _Format | None:
    stem = path.name.removesuffix(".bin")
    if stem.startswith(_CIFAR10.files) and path.suffix in ("", ".bin"):
        return _CIFAR10
    return _CIFAR100 if stem in _CIFAR100.files else None


def _read_files(files: list[Path], kind: _Format) -> LabelledImages:
    parts = [(_read_binary if path.suffix == ".bin" else _read_pickle)(path, kind) for path in files]
    for path, (_, labels) in zip(files, parts, strict=True):
        _check_range(path, labels, kind)
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return LabelledImages(
        kind.name, images.reshape(-1, 3, 32, 32), labels, _class_names(files[0].parent, kind), kind.normalisation
    )


def _read_binary(path: Path, kind: _Format) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    size, record = path.stat().st_size, kind.label_bytes + _PIXELS
    if size == 0 or size % record:
        raise DataError(
            f"'{path}' has {size} bytes, which is no multiple of the {record} bytes of a {kind.name} record: fetch "
            "the file again."
        )
    records = np.fromfile(path, np.uint8).reshape(-1, record)
    return records[:, kind.label_bytes :], records[:, kind.label_bytes - 1].astype(np.int64)


def _read_pickle(path: Path, kind: _Format) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _unpickle(path)
    images, labels = content.get("data"), content.get(kind.labels_key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,):
        raise DataError(f"'{path}' has no array 'data' of uint8, images x {_PIXELS}: give a {kind.name} batch.")
    if not _is_integers(labels) or len(labels) != len(images) or not len(images):
        raise DataError(
            f"'{path}' has no list '{kind.labels_key}' with one integer for each of its {len(images)} images: give a "
            f"{kind.name} batch."
        )
    return images, np.asarray(labels, np.int64)


def _is_integers(labels: Any) -> TypeGuard[Sequence[int]]:
    if isinstance(labels, np.ndarray):
        return labels.ndim == 1 and labels.dtype.kind in "iu"
    if not isinstance(labels, list):
        return False
    return all(isinstance(label, int | np.integer) and -(2**63) <= label < 2**63 for label in labels)


def _check_range(path: Path, labels: NDArray[np.int64], kind: _Format) -> None:
    if labels.min() < 0 or labels.max() >= kind.classes:
        raise DataError(
            f"Labels in '{path}' go from {labels.min()} to {labels.max()}, but {kind.name} has classes 0 to "
            f"{kind.classes - 1}: give a file of that format."
        )


def _class_names(folder: Path, kind: _Format) -> tuple[str, ...]:
    text, pickled = folder / kind.names_text, folder / kind.names_pickle
    if text.is_file():
        source, names = text, text.read_text(encoding="utf-8", errors="replace").split("\n")
    elif pickled.is_file():
        found = _unpickle(pickled).get(kind.names_key)
        source, names = pickled, found if isinstance(found, list) else []
    else:
        return tuple(map(str, range(kind.classes)))
    names = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    if len(names) != kind.classes:
        raise DataError(f"'{source}' has {len(names)} class names instead of {kind.classes}: mend or remove it.")
    return tuple(names)


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a pickled dict, with keys and values that are bytes as text."""
    try:
        content = read_pickle(path.read_bytes(), integers_only=True, operations=_OPERATIONS)
    except (OSError, pickle.UnpicklingError) as error:
        raise DataError(
            f"'{path}' is no CIFAR batch of arrays and plain values ({error}): fetch it again from a source you trust."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds a {type(content).__name__} instead of a dict: give a CIFAR batch.")
    return {_text(key): _text_list(value) for key, value in content.items()}


def _text_list(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list) else value


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value
