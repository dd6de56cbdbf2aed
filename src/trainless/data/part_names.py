"""Parts of a data set by the names that folders and tables give them: train, valid and test."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

__all__ = ["PARTS", "named_parts", "part_of_name"]

PARTS = ("train", "valid", "test")
_WORDS = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validate": "valid",
    "validation": "valid",
    "dev": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
}
_EVALUATION = frozenset({"eval", "evaluation"})
# What is often said beside the part, and tells nothing.
_EMPTY_WORDS = frozenset({"data", "dataset", "folder", "image", "images", "img", "imgs", "part", "set", "split"})


def part_of_name(name: str) -> str | None:
    """Tell which part a name stands for by itself, in any case; None where it stands for none.

    Example:
        >>> part_of_name("Training_Set"), part_of_name("VAL2017"), part_of_name("seg_train"), part_of_name("cat")
        ('train', 'valid', None, None)
    """
    part, rest = _read(name)
    return part if rest == () else None


def named_parts(names: Iterable[str]) -> dict[str, str]:
    """Tell which names stand for parts of one data set, with the part of each.

    A name may say more than the part, such as ``seg_train``, if the training part and another one say the same beside
    it. ``eval`` is the validation part where ``test`` stands beside it and nothing else does for validation.

    Example:
        >>> named_parts(["Train", "docs", "eval", "test"])
        {'Train': 'train', 'eval': 'valid', 'test': 'test'}
        >>> named_parts(["seg_train", "seg_test", "test tube"])
        {'seg_train': 'train', 'seg_test': 'test'}
    """
    found, groups = dict[str, str](), defaultdict[tuple[str, ...], dict[str, str]](dict)
    for name in names:
        part, rest = _read(name)
        if part and rest == ():
            found[name] = part
        elif part:
            groups[rest][name] = part
    for group in groups.values():
        if "train" in group.values() and len(set(group.values())) > 1:
            found |= group
    evaluated = [name for name, part in found.items() if part == "test" and _EVALUATION & set(_words(name))]
    if "valid" not in found.values() and evaluated and list(found.values()).count("test") > len(evaluated):
        found |= dict.fromkeys(evaluated, "valid")
    return found


def _read(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The part of which a name speaks, and the words beside it, the part itself among them where there are others."""
    words = [word for word in _words(name) if word not in _EMPTY_WORDS]
    parts = [_WORDS[word] for word in words if word in _WORDS]
    if len(parts) != 1:
        return None, ()
    rest = tuple("" if word in _WORDS else word for word in words)
    return parts[0], rest if len(rest) > 1 else ()


def _words(name: str) -> list[str]:
    separate = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W\d_]+", separate.casefold())
    return [word.removesuffix("set") if word.removesuffix("set") in _WORDS else word for word in words]
