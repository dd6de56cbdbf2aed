"""The commands about stores themselves: store copy, store check, store stats."""

from __future__ import annotations

from typing import Annotated

import typer

from trainless.cli.shared import Json, StoreArgument, interruptible, new_store
from trainless.terminal import print_json, print_rows, progress

__all__ = ["stores"]

stores = typer.Typer(
    help="Copy, check and measure score stores: files, or databases of a server.", no_args_is_help=True
)


@stores.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Store to read: a file, or a database URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Store to write; made where there is none.")],
    as_json: Json = False,
) -> None:
    """Copy all scores and notes of a store to another; run the same command again to go on after an interruption."""
    from trainless.store import Store

    advice = "What was copied stays: run the same command again to go on."
    with new_store(target), Store(source, create=False) as read, Store(target) as written:
        with interruptible(advice), progress("copying") as update:
            copied = written.copy_from(read, update)
        facts = {
            "from": read.location,
            "to": written.location,
            "scores copied": copied.scores,
            "scores there before": copied.scores_there,
            "notes copied": copied.notes,
            "notes there before": copied.notes_there,
        }
    if as_json:
        print_json(facts)
    else:
        print_rows([facts])


@stores.command("check")
def check(store: StoreArgument, as_json: Json = False) -> None:
    """Check a store: its file, the hash and the value of each row; exit code 1 where something is wrong."""
    from dataclasses import asdict

    from trainless.store import Store

    with Store(store, create=False) as opened, interruptible("Nothing was changed."), progress("checking") as update:
        checked = opened.check(update)
    if as_json:
        print_json({"store": opened.location, **asdict(checked)})
    else:
        counts = f"{checked.scores:,} scores, {checked.failed:,} of them failed; {checked.notes:,} notes"
        typer.echo(f"{opened.location}: {counts}")
        for names, what in ((checked.spaces, "search spaces"), (checked.proxies, "proxies")):
            if names:
                typer.echo(f"{what} that trainless does not know: {', '.join(names)}")
        typer.echo("\n".join(f"wrong: {fault}" for fault in checked.faults) or "Nothing is wrong.")
    if checked.faults:
        raise typer.Exit(1)


@stores.command("stats")
def stats(store: StoreArgument, as_json: Json = False) -> None:
    """Count what a store holds, by space, proxy and version, with its size and the times of writing."""
    from dataclasses import asdict

    from trainless.store import Store

    with Store(store, create=False) as opened:
        found = opened.statistics()
    if as_json:
        print_json({"store": opened.location, **asdict(found)})
        return
    print_rows(found.proxies)
    architectures = ", ".join(f"{count:,} of {space}" for space, count in found.architectures.items()) or "none"
    typer.echo(f"{opened.location}: schema {found.schema}, {found.size:,} bytes")
    typer.echo(f"scores {found.scores:,}, of them failed {found.failed:,}; runs {found.runs:,}; notes {found.notes:,}")
    typer.echo(f"architectures: {architectures}; first score {found.first or 'none'}, last {found.last or 'none'}")
