"""The images on which the networks of a benchmark are scored: those of its data set, or others in their place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainless.data import ImageDataset, load_data
from trainless.data.texts import TEXT
from trainless.errors import DataError
from trainless.types import Task

__all__ = ["first_classes", "suite_images"]

_PLACES: Mapping[str, tuple[str, ...]] = {
    "cifar10": ("cifar-10-batches-bin", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-python", "cifar-100-binary", "image-batches/cifar100_960.npz"),
    "ImageNet16-120": ("image-batches/imagenet16_960.npz",),
}
"""Where public files of the data sets lie below a folder, beside a file or folder of a data set's own name."""

_CLASSES = {"ImageNet16-120": 120}
_TEXTS = ("ptb", "wikitext-2")


def suite_images(dataset: str, data: str | os.PathLike[str]) -> ImageDataset:
    """Load the images of a benchmark's data set.

    Args:
        dataset: name of the data set.
        data: a folder with a folder or file for each data set, by its name or as its public files are called; where it
            has none of this one, its CIFAR-10 images stand for it. Or the images themselves, in any form that
            `trainless.data.load_data` takes, which then stand for every data set.

        A data set of text has the help texts that come with Python in its place, unless the folder has a text file of
        its name.

    Returns:
        The images; the name of their task tells which they are.

    Raises:
        DataError: there are no images.

    Example:
        >>> suite_images("cifar10", "digits").task.name
        'digits'
    """
    if dataset in _TEXTS:
        own = Path(data, f"{dataset}.txt")
        return load_data(own if own.exists() else TEXT)
    located = next((found for name in (dataset, "cifar10") if (found := _place(name, Path(data)))), None)
    if located is None:
        return load_data(data)
    return _loaded(*located)


@lru_cache(maxsize=1)  # that of one data set may stand for all seven of a benchmark
def _loaded(name: str, path: Path) -> ImageDataset:
    return first_classes(load_data(path, name=name), _CLASSES.get(name))


def _place(name: str, folder: Path) -> tuple[str, Path] | None:
    candidates = (name, f"{name}.npz", *_PLACES.get(name, ()))
    # Not Path.exists, which raises where a name is too long.
    return next(((name, folder / path) for path in candidates if os.path.exists(folder / path)), None)


def first_classes(images: ImageDataset, classes: int | None) -> ImageDataset:
    """Keep the images of the first so many classes, where the names of classes are numbers from 1 that go beyond them.

    Raises:
        DataError: none is left.

    Example:
        >>> first_classes(suite_images("cifar10", "digits"), None).task.classes
        10
    """
    if classes is None or not all(name.isdigit() for name in images.class_names):
        return images
    # The labels of a file begin with 1 where it has names for them, and the reader has numbered those that occur.
    original = np.array([int(name) for name in images.class_names])[images.labels]
    if original.max() <= classes:
        return images
    kept = original <= classes
    if not kept.any():
        raise DataError(f"No image of {images.task.name} is of its first {classes} classes: give other images.")
    task = Task(images.task.name, classes, *images.images.shape[1:])
    names = tuple(map(str, range(1, classes + 1)))
    return ImageDataset(task, images.images[kept], original[kept] - 1, names, images.mean, images.std)
