"""The commands about public benchmarks: tables, tables get, scores import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from trainless.cli.shared import Json, interruptible
from trainless.errors import InputError
from trainless.terminal import print_json, print_rows, progress

__all__ = ["scores", "tables"]

tables = typer.Typer(help="List the tables of true accuracies, or get one.", invoke_without_command=True)
scores = typer.Typer(help="Published scores of others.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Folder of public files; default the cache, then TRAINLESS_DATA.")]


@tables.callback()
def listing(context: typer.Context, data: Data = None, as_json: Json = False) -> None:
    """List the tables of true accuracies: what there is, what is present, where it comes from."""
    if context.invoked_subcommand is None:
        from trainless.tables import table_listing

        if data is not None and not os.path.isdir(data):
            raise InputError(f"--data is '{data}', expected a folder of public files: there is none of that name.")
        print_rows(table_listing(data), as_json)
    elif data is not None or as_json:
        raise InputError(f"Options stand behind '{context.invoked_subcommand}', not before it: move them there.")


@tables.command("get")
def get(
    name: Annotated[str, typer.Argument(help="Name of the table; `trainless tables` lists them.")],
    source: Annotated[Path | None, typer.Option("--from", help="A local public file or folder to import.")] = None,
    as_json: Json = False,
) -> None:
    """Download a table with its checksum verified, or import a local public file."""
    from trainless.tables import get_table, read_table

    with interruptible("Nothing half-finished was kept: run the same command again."), progress("bytes") as update:
        path = get_table(name, source, update)
    table = read_table(path, name)
    facts = {
        "table": name,
        "architectures": len(table.frame),
        "data sets": ", ".join(table.datasets),
        "file": str(path),
    }
    if as_json:
        print_json(facts)
    else:
        print_rows([facts])


@scores.command("import")
def import_(
    name: Annotated[str | None, typer.Argument(help="Name of the score set; without one, all are listed.")] = None,
    store: Annotated[str, typer.Option(help="Score store: a file, or a database URL.")] = "scores.db",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Import published scores into a store, as a run of their own with their origin in its key."""
    from trainless.store import Store
    from trainless.study import import_scores
    from trainless.tables import PUBLISHED, published_scores

    if name is None:
        print_rows([{"scores": key, "summary": summary} for key, summary in PUBLISHED.items()], as_json)
        return
    with interruptible("What was fetched is kept: run the same command again."), progress("bytes") as update:
        found = published_scores(name, data, fetch_missing=True, progress=update)
    with Store(store) as opened:
        run = import_scores(found, opened)
        number = opened.runs().index(run) + 1
    facts = {
        "scores": name,
        "architectures": len(found.scores),
        "proxies": ", ".join(map(str, found.scores.columns)),
        "origin": found.origin,
        "store": opened.location,
        "run": number,
    }
    if as_json:
        print_json(facts)
    else:
        print_rows([facts])
