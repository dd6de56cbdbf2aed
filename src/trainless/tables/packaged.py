"""Tables that come with the package: those that its own scripts made."""

from __future__ import annotations

from functools import cache
from importlib import resources

from trainless.errors import UnknownNameError
from trainless.tables.base import BenchmarkTable
from trainless.tables.plain import read_table

__all__ = ["PACKAGED", "packaged_table"]

PACKAGED = ("convnet-trainings",)


@cache
def packaged_table(name: str) -> BenchmarkTable:
    """Read a table that comes with the package.

    ``convnet-trainings`` has networks of the space ``convnet``, each trained for the same times on two data sets, as
    `benchmarks/convnet_trainings.py` did: ``<data set>.valid_<seconds>s`` is the accuracy on images that were held out,
    ``<data set>.epochs_<seconds>s`` how many there were in the time, and the other columns are costs and the scores of
    all proxies.

    Raises:
        UnknownNameError: there is no such table.

    Example:
        >>> packaged_table("convnet-trainings").space
        'convnet'
    """
    if name not in PACKAGED:
        raise UnknownNameError("table of the package", name, PACKAGED)
    with resources.as_file(resources.files("trainless.tables") / f"{name.replace('-', '_')}.csv") as path:
        return read_table(path, name)
