"""Windows of text as sequences of one-hot tokens, each labelled with the token that follows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from trainless.data.dataset import ImageDataset
from trainless.errors import DataError
from trainless.types import Task

__all__ = ["TEXT", "read_text", "text_windows"]

TEXT = "text"  # the name of Python's own help texts
_TIME = 32  # characters of a window
_MOST = 4096  # windows
_FEWEST = 64
_CHARACTERS = 128  # that are told apart; what is rarer is one token
_RARE = "rare"


def read_text(path: Path | None = None) -> ImageDataset:
    """Read a text file in UTF-8, or the help texts that come with Python where none is given.

    Raises:
        DataError: the file cannot be read, is no text, or is too short.

    Example:
        >>> task = read_text().task
        >>> task.name, task.height, task.width, task.channels == task.classes
        ('text', 1, 32, True)
    """
    if path is None:
        from pydoc_data import topics

        return text_windows("\n".join(topics.topics.values()), TEXT)
    try:
        return text_windows(path.read_text(encoding="utf-8"), path.stem)
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is no text in UTF-8 ({error.reason}): save it as such.") from error


def text_windows(text: str, name: str) -> ImageDataset:
    """Cut text into windows of 32 characters, at most 4,096 at even distances.

    Args:
        text: the text.
        name: name of the data set.

    Returns:
        One-hot characters, an image of one row whose channels tell which and whose columns are steps of time; the
        label is the character that follows. They are not normalised: values are 0 and 1.

    Raises:
        DataError: the text is too short, or has one character alone.

    Example:
        >>> windows = text_windows("to be or not to be " * 200, "hamlet")
        >>> windows.task.input_shape, windows.class_names[:3]
        ((7, 1, 32), (' ', 'b', 'e'))
    """
    if len(text) <= _FEWEST * _TIME or len(set(text)) < 2:
        raise DataError(
            f"The text '{name}' has {len(text):,} characters, {len(set(text))} of them different: give one of more "
            f"than {_FEWEST * _TIME:,}."
        )
    common = [character for character, _ in Counter(text).most_common(_CHARACTERS)]
    if len(set(text)) > _CHARACTERS:
        common[-1] = _RARE
    names = tuple(sorted(common))
    numbers = {character: number for number, character in enumerate(names)}
    tokens = np.array([numbers.get(character, numbers.get(_RARE, 0)) for character in text])
    count = min(_MOST, (len(tokens) - 1) // _TIME)
    starts = np.linspace(0, len(tokens) - 1 - _TIME, count).astype(int)
    windows = tokens[starts[:, None] + np.arange(_TIME)]
    hot = (windows[:, None, None, :] == np.arange(len(names))[:, None, None]).astype(np.uint8) * np.uint8(255)
    task = Task(name, len(names), len(names), 1, _TIME)
    flat = (0.0,) * len(names), (1.0,) * len(names)
    return ImageDataset(task, hot, tokens[starts + _TIME].astype(np.int64), names, *flat)
