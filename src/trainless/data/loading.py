"""Reading an `ImageDataset` from a name, a path or a data set."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

from trainless.data.arrays import read_digits, read_npz, resize
from trainless.data.cifar import is_cifar_file, is_cifar_folder, read_cifar_file, read_cifar_folder
from trainless.data.csv_files import TABLE_SUFFIXES, list_csv
from trainless.data.dataset import ImageDataset, LabelledImages, channel_statistics
from trainless.data.file_lists import FileList, read_file_list
from trainless.data.folders import list_image_folder
from trainless.data.left_out import summary
from trainless.data.texts import TEXT, read_text
from trainless.errors import DataError, InputError
from trainless.specs import parse_spec, read_options
from trainless.types import Task

__all__ = ["load_data", "open_source", "resized", "split_source"]

_FORMS = (
    "'digits', a folder with one folder of images per class, a CIFAR-10 or CIFAR-100 folder or batch file (binary or "
    "Python), a CSV file with columns path and label, or an .npz file with arrays x and y"
)
_TEXT_SUFFIX = ".txt"


def load_data(
    source: str | os.PathLike[str] | ImageDataset, *, image_size: int | None = None, name: str | None = None
) -> ImageDataset:
    """Read a labelled set of images into memory.

    It is normalised by the mean and population standard deviation of its own pixels after resizing, except CIFAR-10,
    which has the constants that most papers use: mean (.4914, .4822, .4465), deviation (.2023, .1994, .2010).

    What is left out of a folder or a table is said in a warning.

    Args:
        source: one of

            - ``"digits"``: the handwritten digits of scikit-learn, 1 x 8 x 8. A folder of that name is ``"./digits"``.
            - a folder with one folder of image files per class, or with such folders inside ``train``.
            - a CSV file whose header has the columns ``path`` and ``label``, with paths relative to its folder. If it
              has a column ``split`` too, the rows of ``train`` are read.
            - a CIFAR-10 or CIFAR-100 folder, binary or Python, of which the training batches are read; or one batch.
            - an ``.npz`` file with uint8 images x and integer labels y.
            - one of these with options, such as ``"digits(image_size=16)"`` or ``"pets.csv(name=pets)"``, unless that
              is the name of a file.
            - a text file ``.txt``, or ``"text"`` for the help texts that come with Python: windows of text for language
              models, see `trainless.data.texts.text_windows`.
            - an `ImageDataset`, which keeps its normalisation.
        image_size: rows and columns to which all images are resized; None keeps their size, and takes the most common
            one where a folder mixes them.
        name: name of the data set; None takes that of the folder or file, ``cifar10`` or ``cifar100``.

    Raises:
        DataError: the source is of no known form, is damaged, or has fewer than 2 classes.

    Example:
        >>> load_data("digits", image_size=16).task
        Task(name='digits', classes=10, channels=1, height=16, width=16)
    """
    source, image_size, name = split_source(source, image_size, name)
    if image_size is not None and image_size < 1:
        raise DataError(f"Image size {image_size} is too small: give at least 1 pixel.")
    if isinstance(source, ImageDataset):
        return resized(source, image_size, name)
    if _is_text(source):
        return _text(source, image_size, name)
    found = open_source(source, only_train=True)
    if isinstance(found, FileList):
        if found.left_out:
            warnings.warn(f"Left out of '{found.name}': {summary(found.left_out)}.", stacklevel=2)
        found = read_file_list(found, image_size)
    return _dataset(found, image_size, name)


def _is_text(source: str | os.PathLike[str]) -> bool:
    if isinstance(source, str) and source == TEXT:
        return True
    path = Path(source) if isinstance(source, str | os.PathLike) else Path()
    return path.suffix.lower() == _TEXT_SUFFIX and not path.is_dir()


def _text(source: str | os.PathLike[str], image_size: int | None, name: str | None) -> ImageDataset:
    if image_size is not None:
        raise DataError(f"Image size {image_size} was asked for, but '{source}' is text: leave it out.")
    path = None if source == TEXT else Path(source).expanduser()
    try:
        return resized(read_text(path), None, name)
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str | os.PathLike[str], error: OSError) -> DataError:
    return DataError(f"'{source}' cannot be read ({error.strerror or error}): check the path and its rights.")


def split_source(
    source: str | os.PathLike[str] | ImageDataset, image_size: int | None, name: str | None
) -> tuple[str | os.PathLike[str] | ImageDataset, int | None, str | None]:
    """Split the options off the text of a data set, and join them with those that are given beside it.

    Raises:
        InputError: there is no such option, its value cannot be read, or it is given twice.

    Example:
        >>> split_source("digits(image_size=16)", None, "numbers")
        ('digits', 16, 'numbers')
    """
    # Folders such as "photos (2)" are frequent, so here every option has its name.
    if not isinstance(source, str) or not source.rstrip().endswith(")") or "=" not in source or os.path.exists(source):
        return source, image_size, name
    spec = parse_spec(source)
    options = read_options("data set", spec, {"image_size": 32, "name": "pets"})
    for option, value in {"image_size": image_size, "name": name}.items():
        if option in options and value is not None:
            raise InputError(f"The option '{option}' of the data set '{spec.name}' is given twice: give it once.")
    return spec.name, options.get("image_size", image_size), options.get("name", name)


def open_source(source: str | os.PathLike[str], *, only_train: bool = False) -> LabelledImages | FileList:
    """Read the images of a source or, where they are files of their own, list them.

    Args:
        source: what `load_data` takes, but no `ImageDataset`.
        only_train: list no files of other parts than train. What is not listed has none.

    Raises:
        DataError: the source is of no known form or is damaged.

    Example:
        >>> open_source("digits").images.shape
        (1797, 1, 8, 8)
    """
    if not isinstance(source, str | os.PathLike):
        raise DataError(f"Data cannot be read from a {type(source).__name__}: give {_FORMS}.")
    if source == "digits":
        return read_digits()
    if source == "":
        raise DataError(f"The path of the data is empty: give {_FORMS}.")  # it would be the current folder
    try:
        return _open(Path(source).expanduser(), only_train)
    except OSError as error:
        raise _unreadable(source, error) from error


def _open(path: Path, only_train: bool) -> LabelledImages | FileList:
    if not path.exists():
        raise DataError(f"There is no data set or path '{path}': give {_FORMS}.")
    if path.is_dir():
        return read_cifar_folder(path) if is_cifar_folder(path) else list_image_folder(path, only_train=only_train)
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return list_csv(path, only_train=only_train)
    if is_cifar_file(path):
        return read_cifar_file(path)
    raise DataError(f"File '{path}' is of no known form: give {_FORMS}.")


def _dataset(found: LabelledImages, image_size: int | None, name: str | None) -> ImageDataset:
    images = resize(found.images, image_size, image_size) if image_size else found.images
    mean, std = found.normalisation or channel_statistics(images)
    task = Task(name or found.name, len(found.class_names), *images.shape[1:])
    return ImageDataset(task, images, found.labels, found.class_names, mean, std, found.deep_white)


def resized(data: ImageDataset, image_size: int | None, name: str | None = None) -> ImageDataset:
    """Resize and rename a data set, which keeps its normalisation; None keeps its size or name.

    Example:
        >>> resized(load_data("digits"), 4).task.input_shape
        (1, 4, 4)
    """
    images = resize(data.images, image_size, image_size) if image_size else data.images
    if images is data.images and name in (None, data.task.name):
        return data
    height, width = images.shape[2:]
    return replace(
        data, images=images, task=replace(data.task, name=name or data.task.name, height=height, width=width)
    )
