"""What the commands share: options, the way to data, runs and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from trainless.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from trainless.workers import WorkersChoice

__all__ = [
    "BACKENDS",
    "MAXIMUM_ROWS",
    "Address",
    "Backend",
    "InterruptedRunError",
    "Json",
    "MemoryLimit",
    "Proxies",
    "ScorePrecision",
    "Seed",
    "Space",
    "StoreArgument",
    "Timeout",
    "TrainlessCommand",
    "Workers",
    "asked_workers",
    "cause",
    "check_figure",
    "check_places",
    "chosen_run",
    "find_data",
    "first_line",
    "in_listed_order",
    "interruptible",
    "new_folder",
    "new_store",
    "own_version",
    "without_password",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Space = Annotated[
    str, typer.Option(help="Search space, such as 'nasbench201(channels=8)'; `trainless spaces` lists them.")
]
Proxies = Annotated[str, typer.Option(help="Names with commas, or 'all'; `trainless proxies` lists them.")]
ScorePrecision = Annotated[
    str,
    typer.Option(
        help="Of convolutions and linear maps in scoring: float32; bfloat16 for proxies whose order it keeps, "
        "bfloat16-noise for those of them that see noise; auto for the fastest here."
    ),
]
Seed = Annotated[int, typer.Option(help="Decides the sample, the batch, the weights and all noise.")]
StoreArgument = Annotated[str, typer.Argument(help="Score store: a file, or a database URL.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes of one thread each; default one a core.")]
Timeout = Annotated[
    str | None, typer.Option(help="Most time for an architecture, such as 60s; one that takes more has failed.")
]
MemoryLimit = Annotated[
    str | None, typer.Option(help="Most memory of a worker process, such as 2GB; a network that needs more has failed.")
]
Backend = Annotated[
    str, typer.Option(help="Where workers are: local, on this machine, or ray, on the nodes of a cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Cluster of --backend ray: HOST:PORT, or auto; default begins one on this machine."),
]

BACKENDS = ("local", "ray")
"""Where workers are."""

MAXIMUM_ROWS = 20
"""How many rows a command prints before it names the option that shows more."""


_SIZES = ("--channels", "--cells", "--width", "--depth")


class InterruptedRunError(Exception):
    """Ctrl-C, with a sentence on what to do."""


class TrainlessCommand(TyperCommand):
    """A command that says where an option went that it had in earlier versions, and that it was interrupted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; refuse sizes of a search space that stand beside its name."""
        if any(parameter.name == "space" for parameter in self.params):
            _refuse_sizes(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C where there is nothing else to say of it, such as in imports, ends it in a word."""
        with interruptible("Run the same command again."):
            if ctx.params.get("workers", 0) != 0 and ctx.params.get("backend", "local") == "local":
                from trainless.workers import prepare_processes

                prepare_processes()  # beside the imports and the data of this one
            return super().invoke(ctx)


def _refuse_sizes(arguments: Sequence[str]) -> None:
    from trainless.search_spaces import search_space

    given: dict[str, str] = {}
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, equals, value = argument.partition("=")
        given[name] = value if equals else following
    if sizes := {name: value for name, value in given.items() if name in _SIZES}:
        space = given.get("--space", "nasbench201").strip()
        begun = f"{space[:-1]}, " if space.endswith(")") else f"{space}("
        options = ", ".join(f"{name.removeprefix('--')}={value}" for name, value in sizes.items())
        meant = search_space(f"{begun}{options})")  # which says first what else is wrong with it
        raise InputError(
            f"{', '.join(sizes)}: the size of a search space stands with its name now: --space '{meant.spec}'."
        )


def first_line(thing: Any) -> str:
    """Give the first line of a docstring."""
    return (thing.__doc__ or "").strip().splitlines()[0]


def asked_workers(
    backend: str, address: str | None, workers: int | None, timeout: str | None = None,
    memory_limit: str | None = None,
) -> WorkersChoice:  # fmt: skip
    """Give the workers that the options ask for, limited where they are to be; those of a cluster are connected to."""
    from trainless.costs import COSTS
    from trainless.units import parse_time
    from trainless.workers import RayWorkers, limited_workers

    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    if backend == "local" and address is not None:
        raise InputError(f"--address is {address}, but workers are on this machine: add --backend ray.")
    chosen: WorkersChoice = workers
    if backend == "ray":
        chosen = cluster = RayWorkers(address, workers)
        cluster.connect()  # what is wrong with it is found before any work is done
    seconds = None if timeout is None else parse_time(timeout)
    memory = None if memory_limit is None else int(COSTS["memory"].parse(memory_limit, "--memory-limit") * 2**20)
    return limited_workers(chosen, seconds, memory)


def find_data(data: str) -> str:
    """A path as given or, where that is not there, below the folder that TRAINLESS_DATA names; options stay with it."""
    folder, (path, opened, options) = os.environ.get("TRAINLESS_DATA"), data.partition("(")
    for name, rest in ((data, ""), (path, opened + options)):
        if os.path.exists(name):
            break
        if folder and name and os.path.exists(Path(folder) / name):
            return f"{Path(folder) / name}{rest}"
    return data


def cause(error: Exception) -> str:
    """Say why something could not be read or written."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def interruptible(advice: str | Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C into one sentence and exit code 130; what it advises may depend on how far things came."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(advice if isinstance(advice, str) else advice()) from None


def own_version() -> str:
    """Tell the installed version."""
    from importlib.metadata import version

    return version("trainless")


def without_password(store: str) -> str:
    """Name a store as it may be printed."""
    from trainless.store.addresses import parse_url, shown

    return shown(parse_url(store)) if "://" in store else store


def chosen_run(store: Any, number: int | None) -> Any:
    """Look a run up by its number, counted from 1; None stays None."""
    if number is None:
        return None
    runs = store.runs()
    if not 1 <= number <= len(runs):
        raise InputError(f"--run is {number}, expected 1 to {len(runs)}.")
    return runs[number - 1]


def in_listed_order(names: Iterable[str]) -> list[str]:
    """Order proxies as `trainless proxies` lists them, and after them those that are not listed."""
    from trainless.proxies import PROXIES

    ranks = {name: rank for rank, name in enumerate(PROXIES)}
    return sorted(names, key=lambda name: ranks.get(name, len(ranks)))


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # the latter for a name that no folder can have
        raise InputError(f"The folder {folder} cannot be made ({cause(error)}): give another.") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} may not be written to: give another, or mend its rights.")


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again where nothing came of it."""
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    make_folder(folder)
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # there is something in it, which may be gone on with
                path.rmdir()
        raise


@contextmanager
def new_store(location: str) -> Iterator[None]:
    """Remove a score store again that was made here, where nothing was written to it before an error."""
    from trainless.errors import StoreError
    from trainless.store import Store
    from trainless.store.addresses import parse_url, sqlite_path

    path = Path(location) if "://" not in location else sqlite_path(parse_url(location))
    before = os.path.getsize(path) if path and os.path.isfile(path) else None
    try:
        yield
    except BaseException:
        if path and not before and os.path.isfile(path):
            try:
                with Store(location, create=False) as store:
                    is_empty = store.is_empty()
            except StoreError:  # it came to no tables
                is_empty = True
            for end in ("", "-wal", "-shm") if is_empty else ():
                Path(f"{path}{end}").unlink(missing_ok=True)
            if is_empty and before == 0:
                path.touch()
        raise


def check_figure(path: Path | None) -> None:
    """Refuse a figure that cannot be written, there or in the format that its ending names."""
    check_places(path)
    if path is not None:
        from trainless.report.common.static import format_of

        try:
            format_of(path)
        except InputError as error:
            raise InputError(f"{path} cannot be written: {error}") from error


def check_places(*paths: Path | None) -> None:
    """Refuse a file that cannot be written before anything long is computed for it."""
    for path in filter(None, paths):
        try:
            is_folder, has_place = path.is_dir(), path.parent.is_dir() and os.access(path.parent, os.W_OK)
        except (OSError, ValueError) as error:  # a name that no file can have
            raise InputError(f"{path} cannot be written: {cause(error)}.") from error
        if is_folder:
            raise InputError(f"{path} cannot be written: it is a folder, give a file in it.")
        if not has_place:
            raise InputError(f"{path} cannot be written: '{path.parent}' is no folder that may be written to.")
