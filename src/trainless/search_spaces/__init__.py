"""Search spaces by name."""

from __future__ import annotations

import inspect

from trainless.errors import InputError, UnknownNameError
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.nasbench201 import NASBench201

__all__ = ["SEARCH_SPACES", "SearchSpace", "search_space"]

SEARCH_SPACES: dict[str, type[NASBench201]] = {"nasbench201": NASBench201}


def search_space(name: str | SearchSpace, **options: int) -> SearchSpace:
    """Look a search space up by its name and build it with options; an object is given back as it is.

    Raises:
        UnknownNameError: no search space has that name.
        InputError: an option is wrong, or options are given with an object.

    Example:
        >>> search_space("nasbench201", channels=8).options
        {'channels': 8, 'cells': 5}
    """
    if isinstance(name, SearchSpace):
        if options:
            raise InputError(f"The search space is an object, so {', '.join(options)} cannot be set: set it there.")
        return name
    if name not in SEARCH_SPACES:
        raise UnknownNameError("search space", name, SEARCH_SPACES)
    kind = SEARCH_SPACES[name]
    known = inspect.signature(kind).parameters
    for option in options:
        if option not in known:
            raise InputError(f"The search space '{name}' has no option '{option}', expected one of {', '.join(known)}.")
    return kind(**options)
