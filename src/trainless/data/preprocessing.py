"""Preprocessing of images: what happens to a file before a network gets it, said for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainless.data.pixels import FILL
from trainless.data.sizes import ImageSize
from trainless.errors import InputError, UnknownNameError

__all__ = ["RESIZES", "Preprocessing", "check_resize", "choose_resize", "count_wide"]

RESIZES = {
    "stretch": "stretched to the size, whatever its proportions",
    "pad": f"scaled until it fits into the size, the rest on both sides grey (each channel {FILL})",
    "crop": "cut in its middle to the proportions of the size, then scaled",
}
"""Ways to bring an image to the size of the network, by name."""

_NUMBERS = ("channels", "height", "width", "deep_white")
_MILD = (4, 3)  # a stretch that changes proportions by no more than usual augmentation does
_SHARE = 0.1  # of the images that may be wider or taller than that


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before a network gets it.

    Args:
        channels: 1 for grey, 3 for red, green and blue.
        height: rows, in pixels.
        width: columns.
        resize: a name of `RESIZES`.
        deep_white: the value that is white in files of 16 bits.

    Raises:
        UnknownNameError: there is no such way to resize.

    Example:
        >>> Preprocessing(3, 64, 64, "pda")
        Traceback (most recent call last):
            ...
        trainless.errors.UnknownNameError: There is no resize 'pda': did you mean 'pad'? Known: crop, pad, stretch.
    """

    channels: int
    height: int
    width: int
    resize: str = "stretch"
    deep_white: int = 65535

    def __post_init__(self) -> None:
        check_resize(self.resize)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width

    def document(self, classes: Sequence[str]) -> dict[str, Any]:
        """Say all that a program has to do with an image, as plain values.

        Args:
            classes: names of the classes, in the order of the network's output.

        Example:
            >>> Preprocessing(1, 8, 8).document(["cat", "dog"])["colour"]
            'grey: 0.299 red + 0.587 green + 0.114 blue (ITU-R 601), as Pillow does'
        """
        grey = "grey: 0.299 red + 0.587 green + 0.114 blue (ITU-R 601), as Pillow does"
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "colour": grey if self.channels == 1 else "red, green, blue",
            "orientation": "upright: the EXIF orientation is applied first",
            "alpha": "what is transparent is laid on white",
            "frames": "of several frames the first",
            "resize": self.resize,
            "resizing": RESIZES[self.resize],
            "filter": "bilinear with antialiasing: Pillow's BILINEAR, rows first, then columns, each rounded to bytes",
            "fill": FILL,
            "depth": f"of 16 bits: {self.deep_white:,} is white, rounded to 8 bits",
            "deep_white": self.deep_white,
            "scaling": "bytes / 255, float32 from 0 to 1; mean and deviation are taken off inside the network",
            "layout": "images, channels, rows, columns",
            "classes": list(classes),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Preprocessing:
        """Read what `document` gave.

        Raises:
            InputError: it is none.

        Example:
            >>> Preprocessing.of(Preprocessing(1, 8, 9, "pad").document(["cat", "dog"]))
            Preprocessing(channels=1, height=8, width=9, resize='pad', deep_white=65535)
        """
        values = [document.get(name) for name in _NUMBERS] if isinstance(document, Mapping) else []
        numbers = [value for value in values if type(value) is int and value > 0]
        if len(numbers) < len(_NUMBERS):
            raise InputError(
                f"A preprocessing has {', '.join(_NUMBERS)} of {values or document!r}, expected whole numbers above 0."
            )
        channels, height, width, deep_white = numbers
        return cls(channels, height, width, str(document.get("resize")), deep_white)


def check_resize(name: str) -> None:
    """Refuse what is no name of `RESIZES`.

    Raises:
        UnknownNameError: it is none.

    Example:
        >>> check_resize("crop")
    """
    if name not in RESIZES:
        raise UnknownNameError("resize", str(name), RESIZES)


def choose_resize(sizes: Sequence[ImageSize]) -> str:
    """Choose how images are brought to a square: stretched, or padded where that would squash them.

    Images up to 4:3 are stretched, which changes them by no more than the usual augmentation by proportions does. Where
    more than a tenth of the images are wider or taller, all are padded: nothing is squashed, and nothing cut off.

    Args:
        sizes: the sizes found, each with its number of images.

    Example:
        >>> choose_resize([ImageSize(480, 640, 100)]), choose_resize([ImageSize(100, 300, 1), ImageSize(8, 8, 5)])
        ('stretch', 'pad')
    """
    return "pad" if count_wide(sizes) > _SHARE * sum(size.images for size in sizes) else "stretch"


def count_wide(sizes: Sequence[ImageSize]) -> int:
    """Count the images that are wider or taller than 4:3.

    Example:
        >>> count_wide([ImageSize(480, 640, 100), ImageSize(300, 100, 7)])
        7
    """
    longer, shorter = _MILD
    sides = ((max(size[:2]), min(size[:2]), size.images) for size in sizes)
    return sum(images for longest, shortest, images in sides if longest * shorter > shortest * longer)
