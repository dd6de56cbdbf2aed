"""The record of a pretrained backbone."""

from __future__ import annotations

from dataclasses import dataclass

from trainless.backbones.architecture import Architecture

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, of which a part becomes another one.

    Args:
        name: what it is called in architectures.
        architecture: what it is made of.
        mean: of each channel of the images that it was trained on, of values from 0 to 1.
        std: standard deviation of each channel.
        is_tensorflow: whether convolutions are padded, and normalisations guarded, as in TensorFlow.
        origin: who trained it, on what, and by which way the weights come here.
        licence: of the weights.
        package: the package that brings the weights, as pip knows it; empty for a file.
        file: the file with the weights; for a package its name there.
        sha256: digest of a package's file, which is not read if it has another.
    """

    name: str
    architecture: Architecture
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    is_tensorflow: bool
    origin: str
    licence: str
    package: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def cuts(self) -> int:
        """Where it can be cut: after each of its blocks."""
        return len(self.architecture.blocks)

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Give mean and standard deviation for images of so many channels; those of grey ones are the means of all."""
        if channels == len(self.mean):
            return self.mean, self.std
        return (sum(self.mean) / len(self.mean),), (sum(self.std) / len(self.std),)

    def facts(self) -> dict[str, str]:
        """Say where the weights come from and what images they were made for, for model cards."""
        mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (self.mean, self.std))
        return {
            "pretrained weights": self.origin,
            "licence of the weights": self.licence,
            "normalisation of the weights": f"mean {mean}, deviation {std}, of red, green and blue from 0 to 1",
        }
