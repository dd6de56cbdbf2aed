"""Training, validation and test parts of a data set, as they are given or split off here."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainless.data.arrays import resize as resized_images
from trainless.data.cifar import is_cifar_folder, read_cifar_test
from trainless.data.dataset import ImageDataset, LabelledImages, channel_statistics
from trainless.data.duplicates import digests, group
from trainless.data.file_lists import check_known, scan_file_list
from trainless.data.image_files import BrokenFile
from trainless.data.left_out import LeftOut
from trainless.data.loading import open_source, split_source
from trainless.data.part_names import PARTS
from trainless.data.preprocessing import Preprocessing, check_resize, choose_resize
from trainless.data.sizes import ImageSize, MostPixels, propose_size
from trainless.data.splitting import choose, part_of
from trainless.errors import DataError
from trainless.files import printable
from trainless.types import Task

__all__ = ["Splits", "drop_leaks", "load_splits"]


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to train on, to validate with and to test on, with the same classes and normalisation.

    Args:
        train: what weights are trained on; mean and standard deviation are those of its pixels.
        valid: what choices are made by.
        test: what is only reported.
        given: names of the parts that the source gave, of ``"valid"`` and ``"test"``; the others were split off here.
        files: for each part the file of each image; empty where images are no files of their own.
        sizes: sizes of the images before resizing, the most common first.
        broken: files that could not be read and were left out.
        dropped: images left out by `drop_leaks`, for each part.
        resize: how the images were brought to their size, a name of `trainless.data.preprocessing.RESIZES`.
        deep_white: the value that is white in files of 16 bits.
        left_out: what else was found in the source and is no part of the data.
        remarks: sentences on how the source was read, where it could be read otherwise.
        origin: what `load_splits` takes to read the same again, as plain values, and whether `drop_leaks` follows; of
            images in memory without a source.

    Example:
        >>> splits = load_splits("digits")
        >>> {name: len(part) for name, part in splits.parts.items()}
        {'train': 1078, 'valid': 360, 'test': 359}
    """

    train: ImageDataset
    valid: ImageDataset
    test: ImageDataset
    given: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: tuple[ImageSize, ...] = ()
    broken: tuple[BrokenFile, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    resize: str = "stretch"
    deep_white: int = 65535
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, ImageDataset]:
        """The three parts by name, in the order train, valid, test."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @property
    def preprocessing(self) -> Preprocessing:
        """What happened to the images, and has to happen to new ones."""
        return Preprocessing(*self.train.task.input_shape, self.resize, self.deep_white)


class _Found(NamedTuple):
    """All images of a source with the part of each."""

    labelled: LabelledImages
    parts: NDArray[np.str_]
    sizes: tuple[ImageSize, ...]
    resize: str
    files: tuple[str, ...] = ()
    broken: tuple[BrokenFile, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()


def load_splits(
    source: str | os.PathLike[str] | ImageDataset,
    *,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    image_size: int | None = None,
    resize: str | None = None,
    at_most: MostPixels = 64,
    name: str | None = None,
    max_broken: float = 0.05,
) -> Splits:
    """Read a labelled set of images in three parts: as they are given, the missing ones split off from training.

    Given are the parts of a folder with ``train`` and maybe ``valid`` and ``test`` inside, by any usual name, of a CSV
    file with a column ``split``, and the test batch of a CIFAR folder. What is missing is split off at random, with the
    same share of every class (`trainless.data.split`), and with all copies of an image in one part: images count as
    copies if they have the same pixels after resizing. The order in which a disk lists its files changes nothing.

    All parts are normalised by the mean and standard deviation of the training part's pixels, except CIFAR-10, which
    has published constants. Files that cannot be read are left out and noted, and so is a given part to validate or
    test with that has images of one class alone: another is split off.

    Args:
        source: what `trainless.data.load_data` takes. An `ImageDataset` is normalised anew.
        fractions: shares of train, valid and test, which sum to 1. With one part given, the shares of the other two
            say how the training images are split.
        seed: which images are split off.
        image_size: rows and columns to which all images are resized; None takes `trainless.data.propose_size`.
        resize: how images are brought to a square: ``stretch`` changes their proportions, ``pad`` adds grey on both
            sides, ``crop`` cuts off on both sides; None takes `trainless.data.preprocessing.choose_resize`.
        at_most: largest size to propose, or what gives it for a number of images.
        name: name of the data set; None takes that of the source.
        max_broken: share of the files that may be broken.

    Raises:
        DataError: the source cannot be read, too many files are broken, there are fewer images than each class needs
            for one in each part, images are smaller than 4 pixels, or a part has a class that train lacks.

    Example:
        >>> splits = load_splits("digits", fractions=(0.5, 1 / 6, 1 / 3))
        >>> {name: len(part) for name, part in splits.parts.items()}
        {'train': 898, 'valid': 300, 'test': 599}
    """
    source, image_size, name = split_source(source, image_size, name)
    _check_options(fractions, image_size, max_broken)
    if resize is not None:
        check_resize(resize)
    found = _find(source, image_size, resize, at_most, max_broken)
    found = found._replace(labelled=found.labelled._replace(name=name or found.labelled.name))
    found = _without_single_classes(found)
    _check_numbers(found.labelled.name, len(found.labelled.class_names), found.parts)
    propose_size(found.sizes)  # images of a pixel or two are refused whatever size was asked for
    given = tuple(part for part in PARTS[1:] if part in found.parts)
    parts = _completed(found, dict(zip(PARTS, fractions, strict=True)), seed)
    data = _datasets(found.labelled, parts)
    files = {part: tuple(compress(found.files, parts == part)) for part in PARTS} if found.files else {}
    origin = {
        "fractions": list(fractions), "seed": seed, "image_size": data["train"].task.height, "resize": found.resize,
        "name": found.labelled.name, "drop_leaks": False,
    }  # fmt: skip
    if not isinstance(source, ImageDataset):
        # A name such as digits is no path.
        origin["source"] = printable(os.path.abspath(source) if os.path.exists(source) else str(source))
    return Splits(
        data["train"], data["valid"], data["test"], given=given, files=files, sizes=found.sizes, broken=found.broken,
        resize=found.resize, deep_white=found.labelled.deep_white,
        left_out=found.left_out, remarks=found.remarks, origin=origin,
    )  # fmt: skip


def drop_leaks(splits: Splits) -> Splits:
    """Leave out of test what is in train or valid too, and out of valid what is in train, pixel by pixel.

    `Splits.dropped` says how many there were. Accuracy on images that were trained on says nothing about new ones.

    Raises:
        DataError: a part would have fewer than two classes.

    Example:
        >>> drop_leaks(load_splits("digits")).dropped
        {'valid': 0, 'test': 0}
    """
    seen = set(digests(splits.train.images))
    kept: dict[str, NDArray[np.bool_]] = {}
    for part in PARTS[1:]:
        keys = digests(splits.parts[part].images)
        kept[part] = np.array([key not in seen for key in keys], bool)
        seen.update(keys)
        _check_classes(splits.parts[part].labels[kept[part]], part, splits.train.task.name, " without its leaks")
    files = {
        part: tuple(compress(names, kept[part])) if part in kept else names for part, names in splits.files.items()
    }
    return replace(
        splits,
        valid=part_of(splits.valid, kept["valid"]),
        test=part_of(splits.test, kept["test"]),
        files=files,
        dropped={part: int((~mask).sum()) for part, mask in kept.items()},
        origin={**splits.origin, "drop_leaks": True},
    )


def _find(
    source: str | os.PathLike[str] | ImageDataset, image_size: int | None, resize: str | None, at_most: MostPixels,
    max_broken: float,
) -> _Found:  # fmt: skip
    if isinstance(source, ImageDataset):
        labelled = LabelledImages(
            source.task.name, source.images, source.labels, source.class_names, deep_white=source.deep_white
        )
        return _of_arrays(labelled, None, image_size, resize, at_most)
    found = open_source(source)
    if isinstance(found, LabelledImages):
        path = Path(source).expanduser()
        test = read_cifar_test(path) if path.is_dir() and source != "digits" and is_cifar_folder(path) else None
        return _of_arrays(found, test, image_size, resize, at_most)
    _check_numbers(found.name, len(found.class_names), np.array(found.parts))  # before thousands of files are read
    reading = scan_file_list(found, image_size, resize=resize, at_most=at_most, max_broken=max_broken)
    return _Found(
        reading.labelled,
        np.array(reading.listing.parts),
        reading.sizes,
        reading.preprocessing.resize,
        tuple(map(str, reading.listing.paths)),
        reading.broken,
        reading.listing.left_out,
        reading.listing.remarks,
    )


def _of_arrays(
    train: LabelledImages, test: LabelledImages | None, image_size: int | None, resize: str | None, at_most: MostPixels
) -> _Found:
    sets = [train] if test is None else [train, test]
    height, width = train.images.shape[2:]
    sizes = (ImageSize(height, width, sum(len(part.labels) for part in sets)),)
    how = resize or choose_resize(sizes)
    size = propose_size(sizes, at_most, how) if image_size is None else image_size
    resized = [resized_images(part.images, size, size, how) for part in sets]
    images = np.concatenate(resized) if test else resized[0]  # which may be all that memory has room for
    labels = np.concatenate([part.labels for part in sets])
    parts = np.repeat(["train", "test"][: len(sets)], [len(part.labels) for part in sets])
    return _Found(train._replace(images=images, labels=labels), parts, sizes, how)


def _without_single_classes(found: _Found) -> _Found:
    """Leave out parts by which no classes can be told apart."""
    labels, kept, remarks = found.labelled.labels, np.ones(len(found.parts), bool), list(found.remarks)
    for part in PARTS[1:]:
        inside = found.parts == part
        if inside.any() and len(np.unique(labels[inside])) < 2:
            kept &= ~inside
            name = found.labelled.class_names[labels[inside][0]]
            remarks.append(
                f"The part '{part}' has images of one class alone, '{name}': its {inside.sum():,} image(s) are left "
                "out, and others are split off for it."
            )
    if kept.all():
        return found
    labelled = found.labelled._replace(images=found.labelled.images[kept], labels=labels[kept])
    return found._replace(
        labelled=labelled, parts=found.parts[kept], files=tuple(compress(found.files, kept)), remarks=tuple(remarks)
    )


def _completed(found: _Found, shares: dict[str, float], seed: int) -> NDArray[np.str_]:
    """Give every image a part, and every part images."""
    parts = found.parts.astype("U5")
    missing = [part for part in reversed(PARTS) if part not in parts]
    groups = group(digests(found.labelled.images)) if missing else np.empty(0, np.int64)
    _check_different(found, groups, 1 + len(missing))
    for number, part in enumerate(missing):
        rest = shares["train"] + sum(shares[other] for other in missing[number:])
        inside = np.flatnonzero(parts == "train")
        # Of the copies of an image the first is drawn for, and the others follow it.
        _, first, copy_of = np.unique(groups[inside], return_index=True, return_inverse=True)
        labels = found.labelled.labels[inside][first]
        chosen = choose(labels, shares[part] / rest, found.labelled.name, seed, part)
        parts[inside[chosen[copy_of]]] = part
    return parts


def _datasets(labelled: LabelledImages, parts: NDArray[np.str_]) -> dict[str, ImageDataset]:
    names, labels = labelled.class_names, labelled.labels
    known = {names[label] for label in np.unique(labels[parts == "train"])}
    for part in PARTS[1:]:
        check_known({(names[label], part) for label in np.unique(labels[parts == part])}, known, labelled.name)
    images = {part: labelled.images[parts == part] for part in PARTS}
    normalisation = labelled.normalisation or channel_statistics(images["train"])
    task = Task(labelled.name, len(names), *labelled.images.shape[1:])
    for part in PARTS:
        _check_classes(labels[parts == part], part, labelled.name)
    return {
        part: ImageDataset(task, images[part], labels[parts == part], names, *normalisation, labelled.deep_white)
        for part in PARTS
    }


def _check_options(fractions: Sequence[float], image_size: int | None, max_broken: float) -> None:
    usable = len(fractions) == len(PARTS) and all(0 < share < 1 for share in fractions)
    if not usable or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise DataError(
            f"The fractions are {', '.join(map(str, fractions))}, but shares of train, valid and test above 0 that "
            "sum to 1 were expected, such as 0.6, 0.2, 0.2."
        )
    if image_size is not None and image_size < 4:
        raise DataError(f"Image size {image_size} is too small for a network: give at least 4 pixels.")
    if not 0 <= max_broken <= 1:
        raise DataError(f"The share of broken files is {max_broken}, expected a number from 0 to 1, such as 0.05.")


def _check_numbers(name: str, classes: int, parts: NDArray[np.str_]) -> None:
    number = int(np.sum(parts == "train"))
    least = sum(part == "train" or part not in parts for part in PARTS)
    if number < least * classes:
        raise DataError(
            f"'{name}' has {classes} classes but {number} images to train on and to split, and at least "
            f"{least} for each class are needed: add images, or check that labels are classes and not names of images."
        )


def _check_different(found: _Found, groups: NDArray[np.int64], least: int) -> None:
    """Refuse to split what has no two classes with an image for each part."""
    if least > 1:
        inside = np.flatnonzero(found.parts == "train")
        _, first = np.unique(groups[inside], return_index=True)
        if np.sum(np.bincount(found.labelled.labels[inside][first]) >= least) < 2:
            raise DataError(
                f"'{found.labelled.name}' has fewer than 2 classes with {least} different images or more, one for each "
                "part: add images."
            )


def _check_classes(labels: NDArray[np.int64], part: str, name: str, how: str = "") -> None:
    classes = len(np.unique(labels))
    if classes < 2:
        raise DataError(
            f"The part '{part}' of '{name}'{how} has images of {classes} class(es), but at least 2 are needed: give "
            "more images of other classes."
        )
