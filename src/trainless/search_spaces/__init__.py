"""Search spaces by name."""

from __future__ import annotations

from trainless.registry import refuse_options, registered
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.mobile import Mobile
from trainless.search_spaces.nasbench201 import NASBench201

__all__ = ["SEARCH_SPACES", "SearchSpace", "search_space"]

SEARCH_SPACES: dict[str, type[SearchSpace]] = {"nasbench201": NASBench201, "mobile": Mobile}


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
        refuse_options("search space", options)
        return name
    return registered("search space", name, SEARCH_SPACES, options)(**options)
