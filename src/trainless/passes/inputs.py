"""What goes into the forward passes of each kind of pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch

from trainless.errors import NetworkError
from trainless.passes.run import Batch, Run

__all__ = ["INPUTS"]

NOISE_SCALE = 0.01  # of the second noise image in Zen's pair (Lin et al. 2021)


def _nothing(run: Run) -> Iterator[Batch]:
    yield from ()


def _images(run: Run) -> Iterator[Batch]:
    yield run.images


def _halves(run: Run) -> Iterator[Batch]:
    half, labels = len(run.images[0]) // 2, run.labels
    if half < 2:
        raise NetworkError(
            f"Halves of {len(run.images[0])} images are too small to be normalised by: give at least 4 images."
        )
    for part in (slice(half), slice(half, 2 * half)):
        run.labels = None if labels is None else labels[part]
        yield tuple(tensor[part] for tensor in run.images)
    run.labels = labels


def _ones(run: Run) -> Iterator[Batch]:
    # What is no number to multiply, such as the indices of words, stays what it is.
    yield tuple(torch.ones_like(t[:1]) if t.is_floating_point() else t[:1] for t in run.images)


def _gaussian(run: Run) -> Batch:
    count, size, generator = run.spec.inputs, run.spec.image_size, run.stream()

    def drawn(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor[torch.arange(count or len(tensor)) % len(tensor)]
        shape = [count or len(tensor), *tensor.shape[1:]]
        if size and tensor.dim() == 4:
            shape[2:] = size, size
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    return tuple(map(drawn, run.images))


def _noise(run: Run) -> Iterator[Batch]:
    yield _gaussian(run)


def _noise_pair(run: Run) -> Iterator[Batch]:
    first = _gaussian(run)
    second = _gaussian(run)
    yield first
    yield tuple(a + NOISE_SCALE * b if a.is_floating_point() else a for a, b in zip(first, second, strict=True))


# For each forward pass what the network is called with, in single precision or that of the batch.
INPUTS: Mapping[str, Callable[[Run], Iterator[Batch]]] = {
    "architecture": _nothing,
    "none": _nothing,
    "batch": _images,
    "halves": _halves,
    "ones": _ones,
    "noise": _noise,
    "labelled_noise": _noise,
    "noise_pair": _noise_pair,
}
