"""Which benchmarks the suite runs: the tables of true accuracies that are here, and such of one's own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainless.errors import InputError, TableError, UnknownNameError
from trainless.search_spaces import SEARCH_SPACES, SearchSpace, search_space
from trainless.seeding import derive_seed
from trainless.tables import TABLES, BenchmarkTable, benchmark_table, table_listing

__all__ = ["Benchmark", "find_benchmarks"]

_SINGLE = ("seed", "single")  # in the name of a split whose networks were trained once


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A table of true accuracies with the search space of its networks.

    Args:
        table: the accuracies.
        space: the space that its networks are built by.
        name: what it is called; the table's name where none is given.

    Example:
        >>> import pandas as pd
        >>> table = BenchmarkTable("toy", "nats_size", pd.DataFrame({"cifar10.test": [90.0]}, index=["8:8:8:8:8"]))
        >>> benchmark = Benchmark(table, search_space("nats_size"))
        >>> benchmark.split("cifar10"), benchmark.sample(1)
        ('test', ['8:8:8:8:8'])
    """

    table: BenchmarkTable
    space: SearchSpace
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.table.name)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets of which there are accuracies."""
        return tuple(name for name in self.table.datasets if self.table.splits(name))

    def split(self, dataset: str) -> str:
        """The split that scores are held against: test where there is one, of several trainings before one."""
        splits = self.table.splits(dataset)
        return min(splits, key=lambda name: (not name.startswith("test"), _is_single(name), splits.index(name)))

    def repeated(self, dataset: str) -> str | None:
        """A split of the same networks trained once, where `split` is the mean of several trainings."""
        chosen = self.split(dataset)
        kind = chosen[: len("test")]
        others = (name for name in self.table.splits(dataset) if name.startswith(kind) and _is_single(name))
        return None if _is_single(chosen) else next(others, None)

    def sample(self, size: int | None, datasets: Iterable[str] | None = None) -> list[str]:
        """Draw architectures that have all accuracies, each another network; all of them where no number is given.

        The draw is the same wherever it is made, and a larger sample begins with a smaller one.

        Args:
            size: how many.
            datasets: the data sets of which they have accuracies; None is all.

        Raises:
            TableError: no architecture has all of them.
        """
        wanted = list(self.datasets if datasets is None else datasets)
        known = self.table.frame[[f"{name}.{self.split(name)}" for name in wanted]].notna().all(axis=1)
        listed = sorted(self.table.frame.index[known])
        if not listed:
            raise TableError(
                f"No architecture of the table '{self.name}' has accuracies of all of {', '.join(wanted)}: name some "
                "of these by --datasets."
            )
        if size is None:
            return listed
        rng = np.random.default_rng(derive_seed(0, "suite", self.table.name))
        drawn: dict[str, str] = {}
        for number in rng.permutation(len(listed)):
            if len(drawn) == size:
                break
            text = listed[int(number)]
            drawn.setdefault(str(self.space.canonical(self.space.parse(text))), text)
        return list(drawn.values())


def _is_single(split: str) -> bool:
    return any(word in split for word in _SINGLE)


def find_benchmarks(
    spaces: str | Iterable[str] = "all",
    tables: Iterable[str | os.PathLike[str]] = (),
    folder: str | os.PathLike[str] | None = None,
) -> list[Benchmark]:
    """Find the benchmarks that are here.

    Args:
        spaces: names of search spaces, a list or text with commas; ``"all"`` stands for all that have a table here. Of
            each and each size of its networks the largest table counts.
        tables: further tables: names (`trainless.tables.TABLES`) or files in the plain format, each with the search
            space of another size behind an @ where its networks are not of the usual one, as in
            ``mine.csv@nats_size``.
        folder: where public files are looked for; see `trainless.tables.benchmark_table`.

    Raises:
        UnknownNameError: there is no such space.
        InputError: there is no benchmark, the space of a table is not known, or two tables have one name.
        TableError: a table cannot be read, or a space that was named has none here.
    """
    wanted = _names(spaces)
    public = None if folder is None else Path(folder)
    present = {row["table"]: row["space"] for row in table_listing(public) if row["present"] != "no"}
    chosen: dict[tuple[str, str], None] = {}
    for space in SEARCH_SPACES if wanted is None else wanted:
        names = [name for name, own in present.items() if own == space and _has_accuracies(name)]
        sizes = dict.fromkeys(TABLES[name].networks for name in names)
        for size in sizes:
            alike = [name for name in names if TABLES[name].networks == size]
            chosen[max(alike, key=lambda name: (TABLES[name].architectures, name == space)), ""] = None
        if not names and wanted is not None:
            known = ", ".join(name for name, source in TABLES.items() if source.space == space)
            raise TableError(
                f"No table of {space} is here: "
                + (f"`trainless tables get NAME` fetches one, NAME being one of {known}." if known else
                   "give one of your own by --table FILE.")
            )  # fmt: skip
    for name in map(str, tables):
        path, _, spec = name.partition("@")
        chosen[path, spec] = None
    if not chosen:
        raise InputError("No table of true accuracies is here: `trainless tables` tells how to get some.")
    return _told_apart([_benchmark(path, spec, folder) for path, spec in chosen])


def _told_apart(found: Sequence[Benchmark]) -> list[Benchmark]:
    """Add the search space to names that several have.

    Raises:
        InputError: that does not tell them apart.
    """
    times_named = Counter(benchmark.name for benchmark in found)
    named = [
        benchmark
        if times_named[benchmark.name] == 1
        else replace(benchmark, name=f"{benchmark.name} ({benchmark.space.spec})")
        for benchmark in found
    ]
    name, times = Counter(benchmark.name for benchmark in named).most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} tables are called '{name}': give their files names of their own.")
    return named


def _names(spaces: str | Iterable[str]) -> list[str] | None:
    """The spaces that are named, or None for all."""
    listed = [part.strip() for part in spaces.split(",") if part.strip()] if isinstance(spaces, str) else list(spaces)
    if "all" in listed:
        return None
    for name in listed:
        if name not in SEARCH_SPACES:
            raise UnknownNameError("search space", name, [*SEARCH_SPACES, "all"])
    return list(dict.fromkeys(listed))


def _has_accuracies(name: str) -> bool:
    # Folders in NATS-Bench's own form hold as many networks as somebody has fetched: they are named.
    return TABLES[name].holds_accuracies and TABLES[name].architectures > 0


def _benchmark(name: str, spec: str, folder: str | os.PathLike[str] | None) -> Benchmark:
    table = benchmark_table(name, None if folder is None else Path(folder))
    networks = spec or (TABLES[name].networks if name in TABLES else "") or table.space
    if not networks:
        raise InputError(
            f"The table '{table.name}' does not tell its search space by its strings: name it as in {name}@nats_size."
        )
    benchmark = Benchmark(table, search_space(networks))
    if not benchmark.datasets:
        raise InputError(f"The table '{table.name}' has no accuracies: give another.")
    return benchmark
