"""Lists of image files with their classes and parts, and how they are read into memory."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainless.data.dataset import LabelledImages
from trainless.data.image_files import BrokenFile, Header, largest_value, read_header, read_pixels
from trainless.data.left_out import LeftOut
from trainless.data.preprocessing import Preprocessing, choose_resize
from trainless.data.sizes import ImageSize, MostPixels, check_memory, propose_size
from trainless.errors import DataError

__all__ = ["FileList", "Reading", "case_remark", "check_known", "in_class_order", "read_file_list", "scan_file_list"]

_DEEPEST = 65535  # the largest value of 16 bits
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, eq=False)
class FileList:
    """Image files, the class of each, and the part of the data that each was given to.

    Args:
        name: name of the data set.
        paths: the files.
        labels: int64, one per file, from 0 to the number of class names - 1.
        class_names: one name per class.
        parts: ``"train"``, ``"valid"`` or ``"test"`` of each file; all are ``"train"`` where nothing is given.
        left_out: what was found beside them and is no part of the data.
        remarks: sentences on how the source was read, where it could be read otherwise.

    Example:
        >>> FileList("pets", (Path("1.png"), Path("2.png")), np.arange(2), ("cat", "dog"), ("train", "test")).only_train
        False
    """

    name: str
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    parts: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def only_train(self) -> bool:
        """Whether no file was given to another part."""
        return set(self.parts) == {"train"}

    def where(self, chosen: Iterable[int]) -> FileList:
        """Keep some of the files, by number; the classes stay."""
        kept = list(chosen)
        return replace(
            self,
            paths=tuple(self.paths[number] for number in kept),
            labels=self.labels[kept],
            parts=tuple(self.parts[number] for number in kept),
        )


class Reading(NamedTuple):
    """What became of a list of files.

    Args:
        labelled: the images that could be read.
        listing: their files.
        sizes: sizes of the images before resizing, the most common first.
        broken: files that could not be read.
        preprocessing: how the files became images.
    """

    labelled: LabelledImages
    listing: FileList
    sizes: tuple[ImageSize, ...]
    broken: tuple[BrokenFile, ...]
    preprocessing: Preprocessing


def in_class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names of classes: as numbers where all are such, otherwise as text.

    Example:
        >>> in_class_order(["10", "9", "-1"]), in_class_order(["v10", "v9"])
        (('-1', '9', '10'), ('v10', 'v9'))
    """
    found = set(names)
    if all(map(_NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=lambda name: (Fraction(name), name)))
    return tuple(sorted(found))


def case_remark(names: Iterable[str]) -> tuple[str, ...]:
    """Say that names of classes differ in case alone, if some do: they may be letters, or one class by mistake.

    Example:
        >>> case_remark(["Cat", "cat", "dog"])
        ("Classes 'Cat' and 'cat' differ in case alone: if they are the same, join them.",)
    """
    first = dict[str, str]()
    pairs = [(known, name) for name in sorted(names) if (known := first.setdefault(name.casefold(), name)) != name]
    if not pairs:
        return ()
    more = f" and {len(pairs) - 1:,} more pair(s)" if len(pairs) > 1 else ""
    return (
        f"Classes '{pairs[0][0]}' and '{pairs[0][1]}'{more} differ in case alone: if they are the same, join them.",
    )


def check_known(found: Iterable[tuple[str, str]], known: Collection[str], source: str) -> None:
    """Refuse a class that a part has and the training part lacks.

    Args:
        found: class and part.
        known: classes of the training part.
        source: where they were found.

    Raises:
        DataError: there is such a class; the nearest known one is suggested.

    Example:
        >>> check_known([("dgo", "test")], ["cat", "dog"], "pets")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.DataError: 'pets' has class 'dgo' in test but not in train (did you mean 'dog'?): ...
    """
    for name, part in sorted(found):
        if name not in known:
            same = [other for other in known if other.casefold() == name.casefold()]
            near = same or difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise DataError(
                f"'{source}' has class '{name}' in {part} but not in train{hint}: add images of it to train or remove "
                "the class."
            )


def read_file_list(listing: FileList, image_size: int | None = None) -> LabelledImages:
    """Read all files of a list; the first that cannot be decoded is an error.

    If all images are grey there is one channel, otherwise three. Images of another size are resized bilinearly,
    without keeping their proportions. Sizes are read from the headers before any image is decoded, so memory is that
    of the result and one image.

    Args:
        listing: the files.
        image_size: rows and columns of the result; None takes the most common size, and of several the smallest.

    Raises:
        DataError: a file is damaged or no image.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = (Path(folder, "1.png"), Path(folder, "2.png"))
        ...     for path in paths:
        ...         Image.new("L", (8, 6)).save(path)
        ...     pets = read_file_list(FileList("pets", paths, np.arange(2), ("cat", "dog"), ("train",) * 2))
        >>> pets.images.shape, pets.labels.tolist(), pets.class_names
        ((2, 1, 6, 8), [0, 1], ('cat', 'dog'))
    """
    headers = [read_header(path) for path in listing.paths]
    height, width = (image_size, image_size) if image_size else _common_size(headers)
    images = _room(headers, height, width)
    deep_white = _deep_white(listing, dict(enumerate(headers)))
    preprocessing = Preprocessing(images.shape[1], height, width, deep_white=deep_white)
    for number, path in enumerate(listing.paths):
        images[number] = read_pixels(path, preprocessing)
    return LabelledImages(listing.name, images, listing.labels, listing.class_names, deep_white=deep_white)


def scan_file_list(
    listing: FileList, image_size: int | None = None, *, resize: str | None = None, at_most: MostPixels = 64,
    max_broken: float = 0.05,
) -> Reading:  # fmt: skip
    """Read the files of a list that can be decoded, and note those that cannot, each with its reason.

    Args:
        listing: the files.
        image_size: rows and columns of the result; None takes what `propose_size` proposes.
        resize: how images are brought to a square, a name of `trainless.data.preprocessing.RESIZES`; None takes what
            `choose_resize` chooses.
        at_most: largest size to propose.
        max_broken: share of the files that may be broken.

    Raises:
        DataError: more files are broken, or all of one class.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = tuple(Path(folder, f"{number}.png") for number in range(3))
        ...     for path in paths[:2]:
        ...         Image.new("L", (8, 8)).save(path)
        ...     _ = paths[2].write_text("no image")
        ...     listing = FileList("pets", paths, np.array([0, 1, 1]), ("cat", "dog"), ("train",) * 3)
        ...     reading = scan_file_list(listing, max_broken=0.5)
        >>> reading.labelled.images.shape, [file.reason for file in reading.broken]
        ((2, 1, 16, 16), ['its content is not that of an image'])
    """
    headers, broken = _headers(listing)
    _check_broken(listing, broken, max_broken)
    sizes = _sizes(headers.values())
    how = resize or choose_resize(sizes)
    size = image_size or propose_size(sizes, at_most, how)
    images, kept = _room(list(headers.values()), size, size), list[int]()
    deep_white = _deep_white(listing, headers)
    preprocessing = Preprocessing(images.shape[1], size, size, how, deep_white)
    for number in headers:
        try:
            images[len(kept)] = read_pixels(listing.paths[number], preprocessing)
            kept.append(number)
        except DataError as error:
            broken[number] = BrokenFile.of(listing.paths[number], error)
    _check_broken(listing, broken, max_broken)
    found = replace(listing.where(kept), remarks=listing.remarks + _depth_remark(headers))
    _check_classes(found)
    labelled = LabelledImages(found.name, images[: len(kept)], found.labels, found.class_names, deep_white=deep_white)
    return Reading(labelled, found, sizes, tuple(broken[number] for number in sorted(broken)), preprocessing)


def _headers(listing: FileList) -> tuple[dict[int, Header], dict[int, BrokenFile]]:
    """Read what can be read, by the number of the file."""
    headers: dict[int, Header] = {}
    broken: dict[int, BrokenFile] = {}
    for number, path in enumerate(listing.paths):
        try:
            headers[number] = read_header(path)
        except DataError as error:
            broken[number] = BrokenFile.of(path, error)
    return headers, broken


def _deep_white(listing: FileList, headers: Mapping[int, Header]) -> int:
    """The value that is white in all files of 16 bits: the largest of as many bits as their largest value has.

    Cameras and microscopes write 10 to 14 bits into files of 16, which would all be nearly black. One scale for all
    keeps dark images darker than bright ones.
    """
    deep, largest = [number for number, header in headers.items() if header.deep], 0
    for number in deep:
        with suppress(DataError):  # it is told of where the image itself is read
            value = largest_value(listing.paths[number])
            largest = max(largest, value if value <= _DEEPEST else 0)
    return 2 ** max(8, largest.bit_length()) - 1 if deep else _DEEPEST


def _depth_remark(headers: Mapping[int, Header]) -> tuple[str, ...]:
    number = sum(header.deep_colours for header in headers.values())
    if not number:
        return ()
    return (
        f"{number:,} image(s) have 16 bits for each colour, of which the upper 8 are read: where they use fewer than "
        "16, save them as pictures of 8 bits.",
    )


def _room(headers: list[Header], height: int, width: int) -> NDArray[np.uint8]:
    channels = 1 if all(header.grey for header in headers) else 3
    check_memory(len(headers), channels, height, width)
    return np.empty((len(headers), channels, height, width), np.uint8)


def _sizes(headers: Iterable[Header]) -> tuple[ImageSize, ...]:
    counts = Counter((header.height, header.width) for header in headers)
    found = sorted(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    return tuple(ImageSize(*size, counts[size]) for size in found)


def _common_size(headers: list[Header]) -> tuple[int, int]:
    height, width, _ = _sizes(headers)[0]
    return height, width


def _check_broken(listing: FileList, broken: dict[int, BrokenFile], max_broken: float) -> None:
    if len(broken) > max_broken * len(listing.paths):
        path, reason = broken[min(broken)]
        raise DataError(
            f"{len(broken)} of the {len(listing.paths)} files of '{listing.name}' are damaged or no images, such as "
            f"'{path}' ({reason}), but at most {max_broken:.0%} may be: replace or remove them."
        )


def _check_classes(listing: FileList) -> None:
    counts = np.bincount(listing.labels, minlength=len(listing.class_names))
    if not counts.all():
        raise DataError(
            f"Class '{listing.class_names[counts.argmin()]}' of '{listing.name}' has no image that can be read: add "
            "some or remove the class."
        )
