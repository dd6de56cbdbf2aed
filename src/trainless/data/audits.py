"""Audit of a data set: counts by class, image sizes, broken files, duplicates, leaks between parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainless.data.dataset import ImageDataset
from trainless.data.duplicates import digests, group, nearly_constant
from trainless.data.image_files import BrokenFile
from trainless.data.left_out import LeftOut, examples, summary
from trainless.data.preprocessing import RESIZES, Preprocessing, count_wide
from trainless.data.sizes import ImageSize
from trainless.data.splits import Splits, load_splits

__all__ = ["Audit", "Copy", "audit"]

_FEW = 10  # images of a class to train on
_UNEQUAL = 10  # images of the largest class for one of the smallest
_SHOWN = 5  # sizes or classes written out in a row


class Copy(NamedTuple):
    """An image that has the same pixels as an earlier one.

    Args:
        part: where it is: train, valid or test.
        image: its file, or its number within the part.
        of_part: where the earlier one is.
        of_image: the earlier one.
        same_label: whether both are of one class.
        same_file: whether both files are the same byte by byte; False where images are no files of their own.
    """

    part: str
    image: str
    of_part: str
    of_image: str
    same_label: bool
    same_file: bool


@dataclass(frozen=True)
class Audit:
    """Result of an audit of a data set; ``str`` of it is a text to show.

    Args:
        name: name of the data set.
        image_shape: channels, height and width of the images as networks see them.
        class_names: one name per class.
        counts: for each part, the number of images of each class.
        given: parts that the source gave; the others were split off at random, with copies kept together.
        sizes: sizes of the images before resizing, the most common first.
        broken: files that could not be read and were left out.
        constant: images of which no channel has a standard deviation above 2 of 255.
        copies: images with the same pixels as an earlier one of their own part.
        leaks: images with the same pixels as one of an earlier part, in the order train, valid, test.
        dropped: leaks that were left out, for each part.
        resize: how the images were brought to their size, a name of `trainless.data.preprocessing.RESIZES`.
        deep_white: the value that is white in files of 16 bits.
        left_out: what else was found in the source and is no part of the data.
        remarks: sentences on how the source was read, where it could be read otherwise.

    Example:
        >>> report = audit("digits")
        >>> report.total, report.broken, report.leaks, report.advice()
        (1797, (), (), [])
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    given: tuple[str, ...]
    sizes: tuple[ImageSize, ...]
    broken: tuple[BrokenFile, ...]
    constant: tuple[str, ...]
    copies: tuple[Copy, ...]
    leaks: tuple[Copy, ...]
    dropped: dict[str, int]
    resize: str = "stretch"
    deep_white: int = 65535
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def preprocessing(self) -> Preprocessing:
        """What happened to the images, and has to happen to new ones."""
        return Preprocessing(*self.image_shape, self.resize, self.deep_white)

    @property
    def total(self) -> int:
        """Number of images in all parts."""
        return sum(map(sum, self.counts.values()))

    @property
    def imbalance(self) -> float:
        """Images of the largest class of the training part for one of the smallest that has any."""
        return max(self.counts["train"]) / min(filter(None, self.counts["train"]))

    @property
    def conflicts(self) -> int:
        """Number of copies whose class is not that of the earlier image."""
        return sum(not copy.same_label for copy in (*self.copies, *self.leaks))

    def rows(self) -> list[tuple[str, str]]:
        """Say what was found, in rows of what and how much.

        Example:
            >>> audit("digits").rows()[1]
            ('images', '1,797: train 1,078, valid 360, test 359 (valid, test split off at random)')
        """
        leaks = f"{len(self.leaks):,}" + examples([f"{copy.image} = {copy.of_image}" for copy in self.leaks])
        return [
            ("data set", f"{self.name}: {len(self.class_names):,} classes, networks see {_times(self.image_shape)}"),
            ("images", self._images()),
            ("classes", self._classes()),
            ("imbalance", f"{self.imbalance:.2f} images of the largest class for one of the smallest, in train"),
            ("sizes found", self._sizes()),
            ("resized", self._resized()),
            *self._depth(),
            ("left out", summary(self.left_out) or "0"),
            ("broken files", f"{len(self.broken):,}" + examples([f"{path} ({why})" for path, why in self.broken])),
            ("nearly constant", f"{len(self.constant):,}" + examples(self.constant)),
            ("copies in a part", f"{len(self.copies):,}" + examples([copy.image for copy in self.copies])),
            ("leaks between parts", leaks + self._dropped()),
            ("copies, other class", f"{self.conflicts:,}"),
        ]

    @property
    def is_unequal(self) -> bool:
        """Whether accuracy says little, because the classes are of so unequal size."""
        return self.imbalance >= _UNEQUAL

    def advice(self) -> list[str]:
        """Say what should be looked at before training, in sentences; empty where nothing was found.

        Example:
            >>> audit("digits").advice()
            []
        """
        tests = sum(copy.part == "test" for copy in self.leaks)
        rare = sum(0 < count < _FEW for count in self.counts["train"])
        unknown, untested = (sum(count == 0 for count in self.counts[part]) for part in ("train", "test"))
        found = [
            (len(self.broken), "{} file(s) cannot be read and are left out: replace or remove them."),
            (len(self.leaks), f"{{}} image(s) are in two parts, {tests} of them in test, so accuracy will look better "
             "than it is: leave them out with --drop-leaks (drop_leaks in Python)."),
            (self.conflicts, "{} image(s) have a copy of another class: correct their labels."),
            (len(self.constant), "{} image(s) are nearly of one colour: look at them."),
            (unknown, "{} class(es) have no image in train, so they will never be predicted: add some."),
            (rare, f"{{}} class(es) have fewer than {_FEW} images in train: add some."),
            (untested, "{} class(es) have no image in test, so nothing will be known about them: add some."),
            (int(self.imbalance) * self.is_unequal, "Classes are unequal by a factor of {}: prefer "
             "balanced accuracy or macro-F1, by which the training weighs classes."),
        ]  # fmt: skip
        return [*self.remarks, *(sentence.format(number) for number, sentence in found if number)]

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self.rows())
        return "\n".join([*(f"{what:{width}}  {value}" for what, value in self.rows()), *self.advice()])

    def _images(self) -> str:
        ours = ", ".join(part for part in ("valid", "test") if part not in self.given)
        numbers = ", ".join(f"{part} {sum(counts):,}" for part, counts in self.counts.items())
        return f"{self.total:,}: {numbers} ({f'{ours} split off at random' if ours else 'parts as given'})"

    def _classes(self) -> str:
        sums = np.sum(list(self.counts.values()), axis=0)
        order = np.argsort(-sums, kind="stable")
        named = [f"{self.class_names[number]} {sums[number]:,}" for number in order]
        if len(named) <= 2 * _SHOWN:
            return ", ".join(named)
        return f"{', '.join(named[:_SHOWN])}, ..., {', '.join(named[-_SHOWN:])}"

    def _sizes(self) -> str:
        named = [f"{height} x {width} ({count:,})" for height, width, count in self.sizes[:_SHOWN]]
        more = len(self.sizes) - len(named)
        return ", ".join(named) + (f" and {more:,} more" if more else "")

    def _resized(self) -> str:
        if all(size[:2] == self.image_shape[1:] for size in self.sizes):
            return "no"
        wide, all_of_them = count_wide(self.sizes), sum(size.images for size in self.sizes)
        more = f"; {wide:,} of {all_of_them:,} images are wider or taller than 4:3: see --resize" if wide else ""
        return RESIZES[self.resize] + more

    def _depth(self) -> list[tuple[str, str]]:
        bits = self.deep_white.bit_length()
        return [("files of 16 bits", f"{self.deep_white:,} is white: values have {bits} bits")] if bits < 16 else []

    def _dropped(self) -> str:
        left_out = ", ".join(f"{part} {number:,}" for part, number in self.dropped.items() if number)
        return f" (left out: {left_out})" if left_out else ""


def audit(source: str | os.PathLike[str] | ImageDataset | Splits, *, image_size: int | None = None) -> Audit:
    """Audit a data set: count classes and sizes, find broken files, duplicates and leaks between parts.

    Images are compared as they are after decoding and resizing. Of each set of copies, all but the first are named.

    Args:
        source: parts from `trainless.data.load_splits`, or what it takes; that is split as it splits by default.
        image_size: what `load_splits` takes; ignored where the parts are there already.

    Raises:
        DataError: the source cannot be split.

    Example:
        >>> print(audit("digits"))  # doctest: +ELLIPSIS
        data set             digits: 10 classes, networks see 1 x 16 x 16
        images               1,797: train 1,078, valid 360, test 359 (valid, test split off at random)
        ...
    """
    splits = source if isinstance(source, Splits) else load_splits(source, image_size=image_size)
    task = splits.train.task
    copies = _copies(splits)
    return Audit(
        name=task.name,
        image_shape=task.input_shape,
        class_names=splits.train.class_names,
        counts={
            part: tuple(np.bincount(data.labels, minlength=task.classes).tolist())
            for part, data in splits.parts.items()
        },
        given=splits.given,
        sizes=splits.sizes,
        broken=splits.broken,
        constant=_constant(splits),
        copies=tuple(copy for copy in copies if copy.part == copy.of_part),
        leaks=tuple(copy for copy in copies if copy.part != copy.of_part),
        dropped=dict(splits.dropped),
        resize=splits.resize,
        deep_white=splits.deep_white,
        left_out=splits.left_out,
        remarks=splits.remarks,
    )


def _constant(splits: Splits) -> tuple[str, ...]:
    return tuple(
        _image_name(splits, part, number)
        for part, data in splits.parts.items()
        for number in np.flatnonzero(nearly_constant(data.images)).tolist()
    )


def _copies(splits: Splits) -> list[Copy]:
    """All images that have an earlier copy, with the first of them."""
    groups = group(key for data in splits.parts.values() for key in digests(data.images))
    labels = np.concatenate([data.labels for data in splits.parts.values()])
    places = [(part, number) for part, data in splits.parts.items() for number in range(len(data))]
    first = _first_of_each(groups)
    found = []
    for number in np.flatnonzero(first != np.arange(len(groups))).tolist():
        (part, inside), (of_part, of_inside) = places[number], places[first[number]]
        names = _image_name(splits, part, inside), _image_name(splits, of_part, of_inside)
        same_file = bool(splits.files) and _bytes(names[0]) == _bytes(names[1])
        found.append(Copy(part, names[0], of_part, names[1], bool(labels[number] == labels[first[number]]), same_file))
    return found


def _first_of_each(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def _image_name(splits: Splits, part: str, number: int) -> str:
    return splits.files[part][number] if splits.files else f"{part} {number}"


def _bytes(name: str) -> bytes | None:
    try:
        return Path(name).read_bytes()
    except OSError:  # removed since it was read
        return None


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
