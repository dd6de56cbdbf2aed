"""A labelled set of images in memory, its normalisation, and the batches that are drawn from it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainless.errors import DataError
from trainless.seeding import derive_seed
from trainless.types import Task

if TYPE_CHECKING:
    import torch

__all__ = [
    "Batch", "ImageDataset", "LabelledImages", "Normalisation", "channel_statistics", "draw", "fingerprint",
]  # fmt: skip

_HISTOGRAM_VALUES = 2**22  # pixels counted at a time: np.bincount copies them to 8 bytes each


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel, in units of pixel values from 0 to 1.

    Example:
        >>> Normalisation((0.5,), (0.25,)).std
        (0.25,)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class LabelledImages(NamedTuple):
    """What a reader finds in files, before it becomes an `ImageDataset`.

    Args:
        name: name of the data set.
        images: uint8, images x channels x height x width.
        labels: int64, one per image, from 0 to the number of class names - 1.
        class_names: one name per class.
        normalisation: published constants to use, or None to compute them from the images.
        deep_white: the value that was taken for white in files of 16 bits.

    Example:
        >>> images, labels = np.zeros((2, 1, 8, 8), np.uint8), np.arange(2)
        >>> LabelledImages("toy", images, labels, ("cat", "dog")).normalisation is None
        True
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    normalisation: Normalisation | None = None
    deep_white: int = 65535


@dataclass(frozen=True, eq=False)
class Batch:
    """Normalised images with their labels, and a fingerprint of these numbers.

    Args:
        images: torch.float32, images x channels x height x width, contiguous.
        labels: torch.int64, one per image.
        task: what the images are of.
        fingerprint: 16 hexadecimal digits that change with the shape, any image value or any label; computed from
            them where it is left empty.

    Example:
        >>> import torch
        >>> images, task = torch.zeros(2, 1, 8, 8), Task("toy", classes=2, channels=1, height=8, width=8)
        >>> first, second = (Batch(images, torch.tensor(labels), task) for labels in ([0, 1], [1, 0]))
        >>> len(first.fingerprint), first.fingerprint == second.fingerprint
        (16, False)
    """

    images: torch.Tensor
    labels: torch.Tensor
    task: Task
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self.images, self.labels))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A labelled set of images, held in memory as one byte per value.

    Args:
        task: name, number of classes and shape of one image.
        images: uint8, images x channels x height x width.
        labels: int64, one per image, from 0 to ``task.classes - 1``.
        class_names: one name per class.
        mean: mean of each channel, in units of pixel values from 0 to 1.
        std: standard deviation of each channel, in the same units.
        deep_white: the value that was taken for white in files of 16 bits.

    Raises:
        DataError: the parts do not fit together.

    Example:
        >>> task = Task("toy", classes=2, channels=1, height=8, width=8)
        >>> images, labels = np.zeros((6, 1, 8, 8), np.uint8), np.arange(6) % 2
        >>> toy = ImageDataset(task, images, labels, ("cat", "dog"), mean=(0.5,), std=(0.5,))
        >>> len(toy), float(toy.batch(size=4).images.mean())
        (6, -1.0)
    """

    task: Task
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    deep_white: int = 65535

    def __post_init__(self) -> None:
        _check_images(self)
        _check_labels(self)
        _check_normalisation(self)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, size: int = 64, seed: int = 0, balanced: bool = True) -> Batch:
        """Draw a batch without replacement and normalise it to ``(x / 255 - mean) / std``.

        The same arguments draw the same images on every machine, whatever the global random state. A smaller batch
        is the beginning of a larger one with the same seed.

        Args:
            size: number of images, at least 2.
            seed: which batch.
            balanced: draw as equal a number of images per class as possible; False draws from all images alike.

        Raises:
            DataError: there are fewer than `size` images, or `size` is below 2.

        Example:
            >>> from trainless.data import load_data
            >>> batch = load_data("digits").batch(size=20)
            >>> tuple(batch.images.shape), batch.labels.bincount().tolist()
            ((20, 1, 8, 8), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
        """
        import torch

        _check_size(size, len(self), self.task.name)
        rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "batch")))
        chosen = draw(self.labels, size, rng, balanced=balanced)
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        images = (self.images[chosen].astype(np.float32) / np.float32(255) - mean) / std
        # Fancy indexing keeps the memory order of its source, which may be height x width x channels.
        images = np.ascontiguousarray(images)
        return Batch(torch.from_numpy(images), torch.from_numpy(self.labels[chosen]), self.task)


def draw(labels: NDArray[np.int64], size: int, rng: np.random.Generator, *, balanced: bool = True) -> NDArray[np.int64]:
    """Draw the indices of `size` different images.

    Balanced, the classes take turns in a random order: each gives one image per round, at random, until it has no
    more. So the numbers per class differ by at most one, except for classes that are used up.

    Args:
        labels: class of each image, none negative.
        size: how many to draw, at most as many as there are labels.
        rng: source of randomness.
        balanced: False draws from all images alike.

    Example:
        >>> labels = np.array([0] * 97 + [1, 1, 2])
        >>> np.bincount(labels[draw(labels, 8, np.random.default_rng(0))]).tolist()
        [5, 2, 1]
    """
    shuffled = rng.permutation(len(labels))
    if not balanced:
        return shuffled[:size]
    counts = np.bincount(labels)
    turn = rng.permutation(len(counts))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rounds = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return by_class[np.lexsort((turn[labels[by_class]], rounds))[:size]]


def channel_statistics(images: NDArray[np.uint8]) -> Normalisation:
    """Compute the mean and population standard deviation of each channel, in units of pixel values from 0 to 1.

    Sums of bytes and of their squares are integers, so nothing is rounded before the last division. A constant
    channel gets the deviation 1, which leaves it constant.

    Args:
        images: uint8, images x channels x height x width.

    Example:
        >>> channel_statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
        Normalisation(mean=(0.5,), std=(0.5,))
    """
    moments = [_mean_and_deviation(_histogram(images[:, channel])) for channel in range(images.shape[1])]
    return Normalisation(tuple(mean for mean, _ in moments), tuple(deviation for _, deviation in moments))


def _histogram(planes: NDArray[np.uint8]) -> list[int]:
    counts = np.zeros(256, np.int64)
    step = max(1, _HISTOGRAM_VALUES // planes[0].size)
    for start in range(0, len(planes), step):
        counts += np.bincount(planes[start : start + step].ravel(), minlength=256)
    return [int(count) for count in counts]


def _mean_and_deviation(histogram: list[int]) -> tuple[float, float]:
    number = sum(histogram)
    total = sum(value * count for value, count in enumerate(histogram))
    squares = sum(value * value * count for value, count in enumerate(histogram))
    scaled_variance = number * squares - total * total
    deviation = math.sqrt(scaled_variance) / (255 * number) if scaled_variance else 1.0
    return total / (255 * number), deviation


def fingerprint(data: ImageDataset) -> str:
    """Hash images, labels and normalisation of a data set, for one other label is another training.

    Example:
        >>> from trainless.data import load_data
        >>> len(fingerprint(load_data("digits")))
        16
    """
    digest = hashlib.sha256(repr([data.images.shape, *map(float, (*data.mean, *data.std))]).encode())
    for values in (data.images, data.labels):
        digest.update(np.ravel(values).data)
    return digest.hexdigest()[:16]


def _fingerprint(images: torch.Tensor, labels: torch.Tensor) -> str:
    digest = hashlib.sha256(f"trainless batch 1 {tuple(images.shape)}".encode())
    for tensor in (images, labels):
        array = tensor.detach().cpu().numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]


def _check_size(size: int, available: int, name: str) -> None:
    if size < 2:
        raise DataError(f"A batch of {size} cannot be scored: give a --batch-size of at least 2 images.")
    if size > available:
        raise DataError(
            f"A batch of {size} images was asked for, but '{name}' has {available}: "
            "give a --batch-size of at most that."
        )


def _check_images(data: ImageDataset) -> None:
    images, expected = data.images, data.task.input_shape
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise DataError(
            f"Images of '{data.task.name}' are {images.dtype} of shape {images.shape}, but its task expects uint8 of "
            f"shape (images, {', '.join(map(str, expected))}): change one of them."
        )


def _check_labels(data: ImageDataset) -> None:
    labels, classes, name = data.labels, data.task.classes, data.task.name
    if labels.dtype != np.int64 or labels.shape != data.images.shape[:1]:
        raise DataError(
            f"Labels of '{name}' are {labels.dtype} of shape {labels.shape}, but int64 of shape "
            f"{data.images.shape[:1]} was expected: give one label per image."
        )
    if len(data.class_names) != classes:
        raise DataError(f"'{name}' has {classes} classes but {len(data.class_names)} class names: give one for each.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"Labels of '{name}' go from {labels.min()} to {labels.max()}: number the {classes} classes from 0 to "
            f"{classes - 1}."
        )
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"'{name}' has images of {len(np.unique(labels))} class(es): at least 2 classes are needed to score "
            "networks, so add images of another class."
        )


def _check_normalisation(data: ImageDataset) -> None:
    channels = data.task.channels
    usable = len(data.mean) == len(data.std) == channels and all(map(math.isfinite, (*data.mean, *data.std)))
    if not usable or min(data.std) <= 0:
        raise DataError(
            f"'{data.task.name}' has mean {data.mean} and deviation {data.std}: give one finite number for each of "
            f"its {channels} channels, with deviations above 0."
        )
