"""Looking up what is registered by name: search spaces, strategies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from trainless.errors import InputError, UnknownNameError

__all__ = ["refuse_options", "registered"]

Made = TypeVar("Made")


def registered(
    kind: str, name: str, registry: Mapping[str, Callable[..., Made]], options: Iterable[str], own: Collection[str] = ()
) -> Callable[..., Made]:
    """Look up what makes a thing of some name, and check that it takes these options.

    Args:
        kind: what is looked up, for the message.
        name: what it is asked for by.
        registry: makers by name.
        options: names of the options that somebody wants to set.
        own: parameters of the maker that are no options.

    Raises:
        UnknownNameError: there is none of that name.
        InputError: it has no such option.

    Example:
        >>> registered("number", "whole", {"whole": lambda base: 7}, ["bass"])
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The number 'whole' has no option 'bass', expected one of base.
    """
    if name not in registry:
        raise UnknownNameError(kind, name, registry)
    known = [each for each in inspect.signature(registry[name]).parameters if each not in own]
    for option in options:
        if option not in known:
            raise InputError(f"The {kind} '{name}' has no option '{option}', expected one of {', '.join(known)}.")
    return registry[name]


def refuse_options(kind: str, options: Collection[str]) -> None:
    """Refuse options beside an object, which has its own.

    Raises:
        InputError: there are any.

    Example:
        >>> refuse_options("strategy", {})
    """
    if options:
        raise InputError(f"The {kind} is an object, so {', '.join(options)} cannot be set: set it there.")
