"""Proxies of one's own, from files."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from trainless.aggregation import NAMED_AGGREGATES
from trainless.errors import InputError
from trainless.proxies import PROXIES, Proxy

__all__ = ["proxy_from_file"]

_imported: dict[str, Path] = {}


def proxy_from_file(where: str) -> Proxy:
    """Import a proxy from a Python file, which runs as any import does.

    Args:
        where: the file and, behind a colon, the name of the `Proxy` in it, as in ``my_proxy.py:MY_PROXY``.

    Raises:
        InputError: there is no such file, it cannot be run, the name is no `Proxy` in it, or it is called like what
            there is already.

    Example:
        >>> proxy_from_file("nowhere.py:MINE")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: There is no file 'nowhere.py': name it and the proxy in it, as in my_proxy.py:...
    """
    path, _, name = where.rpartition(":")
    file = Path(path)
    if not os.path.isfile(file) or not name:
        raise InputError(
            f"There is no file '{path or where}': name it and the proxy in it, as in my_proxy.py:MY_PROXY."
        )
    folder, resolved = str(file.resolve().parent), file.resolve()
    if _imported.get(file.stem, resolved) != resolved:
        sys.modules.pop(file.stem, None)  # another file of the name, from another folder
    _imported[file.stem] = resolved
    sys.path[:] = [folder, *(path for path in sys.path if path != folder)]  # worker processes find it by the same path
    try:
        module = importlib.import_module(file.stem)
    except (Exception, SystemExit) as error:  # a file of the user's may raise whatever it likes
        raise InputError(f"'{path}' cannot be imported ({type(error).__name__}: {error}): mend it.") from error
    found = getattr(module, name, None)
    if getattr(module, "__file__", None) is None or Path(str(module.__file__)).resolve() != resolved:
        raise InputError(f"'{path}' has the name of another module, '{file.stem}': rename the file.")
    if not isinstance(found, Proxy):
        raise InputError(f"'{name}' in '{path}' is of type {type(found).__name__}, expected a trainless.proxies.Proxy.")
    if found.name in PROXIES or found.name in NAMED_AGGREGATES:
        raise InputError(
            f"The proxy in '{path}' is called '{found.name}', as one of trainless is: give it a name of its own."
        )
    return found
