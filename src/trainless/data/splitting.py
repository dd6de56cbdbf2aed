"""Stratified splits of a data set in two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainless.data.dataset import ImageDataset
from trainless.errors import DataError
from trainless.seeding import derive_seed

__all__ = ["choose", "part_of", "split"]


def split(dataset: ImageDataset, fraction: float, seed: int = 0) -> tuple[ImageDataset, ImageDataset]:
    """Split off a stratified random fraction of the images: the same share of every class.

    How many images each class gives is settled by largest remainder: its share rounded down, and one more for the
    classes with the largest remainders until the total is the fraction of all, rounded. A class of two or more images
    has at least one on either side, a class of one image stays in the first part; other classes give more or less in
    return. Both parts keep the order of the images, the classes and the normalisation.

    Args:
        dataset: what to split.
        fraction: share of the images that goes to the second part, between 0 and 1.
        seed: which images.

    Returns:
        The rest, and the part that was split off: such as images to train on and images to validate with.

    Raises:
        DataError: the fraction is not between 0 and 1, or one part would have fewer than two classes.

    Example:
        >>> from trainless.data import load_data
        >>> train, valid = split(load_data("digits"), 0.2)
        >>> len(train), len(valid)
        (1438, 359)
    """
    chosen = choose(dataset.labels, fraction, dataset.task.name, seed)
    return part_of(dataset, ~chosen), part_of(dataset, chosen)


def choose(labels: NDArray[np.int64], fraction: float, name: str, seed: int, *purpose: str) -> NDArray[np.bool_]:
    """Choose a fraction of the images, as `split` does.

    Args:
        labels: class of each image, none negative.
        fraction: share of the images to choose, between 0 and 1.
        name: name of the data set.
        seed: which images.
        purpose: names that lead to another choice with the same seed.

    Raises:
        DataError: the fraction is not between 0 and 1, or the chosen would be of fewer than two classes.

    Example:
        >>> labels = np.array([0] * 6 + [1] * 4)
        >>> chosen = choose(labels, 0.5, "toy", 0)
        >>> np.bincount(labels[chosen]).tolist()
        [3, 2]
    """
    if not 0 < fraction < 1:
        raise DataError(f"The fraction is {fraction}, expected a number between 0 and 1, such as 0.2.")
    counts = np.bincount(labels)
    shares = _shares(counts, fraction)
    if np.count_nonzero(shares) < 2:
        raise DataError(
            f"'{name}' has fewer than 2 classes with 2 images or more: add images, for a network "
            "cannot be validated on one class."
        )
    rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "split", *purpose)))
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[rank < np.repeat(shares, counts)]] = True
    return chosen


def part_of(dataset: ImageDataset, chosen: NDArray[np.bool_]) -> ImageDataset:
    """Keep some of the images, with the classes and the normalisation of all.

    Example:
        >>> from trainless.data import load_data
        >>> digits = load_data("digits")
        >>> len(part_of(digits, digits.labels < 2))
        360
    """
    return replace(dataset, images=dataset.images[chosen], labels=dataset.labels[chosen])


def _shares(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """How many images each class gives."""
    quotas = counts * fraction
    least, most = np.minimum(1, counts // 2), np.maximum(counts - 1, 0)
    shares: NDArray[np.int64] = np.clip(np.floor(quotas).astype(np.int64), least, most)
    missing = round(float(quotas.sum())) - int(shares.sum())
    step, farthest = (1, most) if missing > 0 else (-1, least)
    for _ in range(abs(missing)):
        # The class that is farthest from its share, of those that have another image to give or to keep.
        lacks = np.where(shares == farthest, -np.inf, step * (quotas - shares))
        if np.isfinite(lacks).any():
            shares[np.argmax(lacks)] += step
    return shares
