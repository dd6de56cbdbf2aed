"""Features that a pretrained backbone computes, after all of its blocks at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from trainless.backbones import Backbone
from trainless.data import ImageDataset
from trainless.hardware import limited_threads
from trainless.search_spaces.pretrained import Pretrained

__all__ = ["FeatureCache", "compute_features"]

_PIXELS = 2**20  # of a batch of resized images: some 64 MiB in the widest block


def compute_features(
    space: Pretrained, backbone: Backbone, dataset: ImageDataset, pixels: int, depth: int | None = None, *,
    threads: int = 1, progress: Callable[[int, int], None] | None = None,
) -> dict[int, NDArray[np.float32]]:  # fmt: skip
    """Compute the features of images after each block of a backbone, by one forward pass.

    Args:
        space: the space that the backbone is of.
        backbone: one of the space.
        dataset: the images, normalised as the backbone wants it.
        pixels: rows and columns to which they are resized, one of the space's resolutions.
        depth: after how many blocks to stop; None computes all.
        threads: threads that PyTorch may use.
        progress: called with images that are done and all of them.

    Returns:
        By the number of blocks the features, the mean over all pixels of what the last of these gives: float32, shape
        ``(images, features)``.

    Raises:
        InputError: the weights are not installed, or images are neither grey nor of three colours.
    """
    last = backbone.cuts if depth is None else depth
    architecture = space.cut_after(backbone, last, pixels)
    network = space.build(architecture, dataset.task)
    space.start(network, architecture)
    network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    layers = dict(network.named_children())
    resize, blocks = layers.get("resize", torch.nn.Identity()), list(layers["features"].children())
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
    found: dict[int, list[torch.Tensor]] = {number: [] for number in range(1, last + 1)}
    size = max(1, _PIXELS // pixels**2)
    with limited_threads(threads), torch.inference_mode():
        for start in range(0, len(dataset), size):
            images = (torch.tensor(dataset.images[start : start + size]).float() / 255 - mean) / std
            values = resize(images.contiguous(memory_format=torch.channels_last))
            for number, block in enumerate(blocks):
                values = block(values)
                if number:  # the first is the stem
                    found[number].append(values.mean((2, 3)))
            if progress:
                progress(min(start + size, len(dataset)), len(dataset))
    return {number: torch.cat(batches).numpy() for number, batches in found.items()}


@dataclass
class FeatureCache:
    """Features of one set of images, each computed once.

    Args:
        space: the space whose backbones compute them.
        dataset: the images, normalised as the backbones want it.
        threads: threads that PyTorch may use.

    Attributes:
        seconds: by backbone and resolution, how long the forward pass took.
    """

    space: Pretrained
    dataset: ImageDataset
    threads: int = 1
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)
    _known: dict[tuple[str, int], dict[int, NDArray[np.float32]]] = field(default_factory=dict)

    def compute(self, backbone: Backbone, pixels: int, depths: Iterable[int]) -> None:
        """Compute the features after some numbers of blocks, if they are not there yet."""
        key, wanted = (backbone.name, pixels), max(depths)
        if wanted > max(self._known.get(key, {}), default=0):
            start = time.monotonic()
            self._known[key] = compute_features(
                self.space, backbone, self.dataset, pixels, wanted, threads=self.threads
            )
            self.seconds[key] = time.monotonic() - start

    def get(self, backbone: Backbone, pixels: int, depth: int) -> NDArray[np.float32]:
        """Give the features after some blocks, computed now if they are not there."""
        self.compute(backbone, pixels, [depth])
        return self._known[backbone.name, pixels][depth]
