"""Images in memory, given in normalised batches, mirrored and shifted where that is wanted."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch

from trainless.data import ImageDataset

__all__ = ["Batches", "mirrored_and_shifted"]

_SHIFT = 8  # images are shifted by up to an eighth of their height and width: 4 pixels of 32, as is usual for CIFAR


class Batches:
    """All images of a data set in batches that differ by at most one image, normalised, laid out channels-last.

    Args:
        dataset: the images; they are kept as one byte per value.
        size: most images in a batch; a batch of 2 that one image is left over from takes it in, for batch normalisation
            cannot train on one image alone.

    Example:
        >>> from trainless.data import load_data
        >>> [len(labels) for images, labels in Batches(load_data("digits"), 600)]
        [599, 599, 599]
    """

    def __init__(self, dataset: ImageDataset, size: int) -> None:
        # torch.tensor copies: arrays of others may be read-only, or have strides that PyTorch does not take.
        self._images, self._labels = torch.tensor(dataset.images), torch.tensor(dataset.labels)
        self._mean, self._std = (torch.tensor(each).view(-1, 1, 1) for each in (dataset.mean, dataset.std))
        self._number = min(math.ceil(len(dataset) / size), max(len(dataset) // 2, 1))
        self._seed: int | None = None
        self._augment = False

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        stream = None if self._seed is None else torch.Generator().manual_seed(self._seed)
        count = len(self._labels)
        order = torch.arange(count) if stream is None else torch.randperm(count, generator=stream)
        for chosen in order.tensor_split(self._number):
            images = (self._images[chosen].float() / 255 - self._mean) / self._std
            if stream is not None and self._augment:
                images = mirrored_and_shifted(images, stream)
            yield images.contiguous(memory_format=torch.channels_last), self._labels[chosen]

    def shuffled(self, seed: int, augment: bool = False) -> Batches:
        """Give the same images in an order drawn by a seed, and mirrored and shifted where that is wanted."""
        other = copy.copy(self)
        other._seed, other._augment = seed, augment
        return other


def mirrored_and_shifted(images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
    """Mirror each image left to right with probability 1/2, and shift it by up to an eighth of its height and width.

    What is shifted in is zero, the mean colour of normalised images.

    Args:
        images: shape ``(images, channels, height, width)``.
        stream: the source of all randomness.

    Example:
        >>> mirrored_and_shifted(torch.ones(2, 3, 7, 7), torch.Generator().manual_seed(0)).unique()
        tensor([1.])
    """
    count, _, height, width = images.shape
    down, across = height // _SHIFT, width // _SHIFT
    rows = torch.arange(height) + torch.randint(2 * down + 1, (count, 1), generator=stream)
    columns = torch.arange(width) + torch.randint(2 * across + 1, (count, 1), generator=stream)
    mirrored = torch.rand(count, 1, generator=stream) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (across, across, down, down))
    numbers = torch.arange(count)[:, None, None]
    return padded[numbers, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
